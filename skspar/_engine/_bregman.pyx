# cython: freethreading_compatible = True
"""Kernels of the (split) linearised Bregman iteration: the steps of the recursion on the rows that matter.

For a loss L with residual ``R = -dL/d(eta)`` (weights included, so ``grad L(b) = -X'R``), a step is

    split:  b_new = b + kappa delta (X'R - D'(D b - g) / nu),  z += delta (D b - g) / nu,  g = kappa prox(z),  b = b_new
    plain:  z += delta X'R,  b = g = kappa prox(z)

The kernels advance some rows of z, those in their working set, and add up what the others need (residuals, or
coefficients), together with the drift: the sum over the steps of the distance from where the working set was chosen.
As long as the drift stays within its limit, none of the other rows can have become nonzero.
"""
import numpy as np

from libc.math cimport exp, fabs, log, sqrt
from libc.string cimport memcpy, memset
from scipy.linalg.cython_blas cimport dgemm, dswap
from scipy.linalg.cython_lapack cimport dposv

cdef extern from "_add_columns.h" nogil:
    void add_columns(
        double *, const double *, Py_ssize_t, Py_ssize_t, const Py_ssize_t *, const double *, double, Py_ssize_t
    )

cdef extern from "_bregman_loops.h" nogil:
    void dots(double *, const double *, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t)
    void both_products(
        double *, double *, const double *, Py_ssize_t, Py_ssize_t, const double *, double, const double *, Py_ssize_t
    )
    void relax(double *, const double *, const double *, double, double, Py_ssize_t)
    void add(double *, const double *, Py_ssize_t)
    void move_and_shrink(double *, double *, const double *, double, double, Py_ssize_t)
    double distance(
        const double *, const double *, const double *, const double *, const double *, Py_ssize_t
    )
    void logistic(
        const double *, const double *, const double *, double, double *, double *, double *, Py_ssize_t
    )


cdef enum:
    SQUARED = 0
    LOGISTIC = 1
    MULTINOMIAL = 2

# what `iterate_*` return
FINISHED, REFRESH = 0, 1


cdef inline double _clip(double z) noexcept nogil:
    return -1.0 if z < -1.0 else (1.0 if z > 1.0 else z)


cdef void _shrink(
    const double *z, double *g, Py_ssize_t m, Py_ssize_t K, Py_ssize_t stride,
    const Py_ssize_t[::1] ptr, const Py_ssize_t[::1] rows, double kappa
) noexcept nogil:
    """``g = kappa prox(z)``; column c of z begins at ``c * stride``. No ``ptr`` means that every entry is its own."""
    cdef Py_ssize_t i, c, u, a
    cdef double norm, factor
    if ptr.shape[0] == 0:
        for c in range(K):
            for i in range(m):
                g[c * stride + i] = kappa * (z[c * stride + i] - _clip(z[c * stride + i]))
        return
    for u in range(ptr.shape[0] - 1):
        norm = 0.0
        for a in range(ptr[u], ptr[u + 1]):
            for c in range(K):
                norm += z[c * stride + rows[a]] * z[c * stride + rows[a]]
        norm = sqrt(norm)
        factor = kappa * (1.0 - 1.0 / norm) if norm > 1.0 else 0.0
        for a in range(ptr[u], ptr[u + 1]):
            for c in range(K):
                g[c * stride + rows[a]] = factor * z[c * stride + rows[a]]


cdef void _advance(
    double *z, double *g, const double *gradient, double delta, Py_ssize_t m, Py_ssize_t K,
    const Py_ssize_t[::1] ptr, const Py_ssize_t[::1] rows, double kappa
) noexcept nogil:
    """``z += delta gradient`` and ``g = kappa prox(z)`` for arrays (m, K) with contiguous columns."""
    cdef Py_ssize_t i
    if ptr.shape[0] == 0:
        move_and_shrink(z, g, gradient, delta, kappa, m * K)
        return
    for i in range(m * K):
        z[i] += delta * gradient[i]
    _shrink(z, g, m, K, m, ptr, rows, kappa)


cdef void _note_entries(
    const double *g, Py_ssize_t m, Py_ssize_t K, Py_ssize_t stride, const Py_ssize_t[::1] index,
    Py_ssize_t[::1] first, Py_ssize_t step
) noexcept nogil:
    cdef Py_ssize_t i, c
    for i in range(m):
        if first[index[i]] < 0:
            for c in range(K):
                if g[c * stride + i] != 0.0:
                    first[index[i]] = step
                    break


cdef void _logistic_residual(
    const double *eta, const double *y, const double *v, Py_ssize_t n, bint intercept, double *b0, double *last,
    double *prob, double *r
) noexcept nogil:
    """``r = v (y - sigma(b0 + eta))`` with the b0 that makes its sum zero, searched from b0 on."""
    cdef Py_ssize_t i, _trial
    cdef double s, h, x, move, start = b0[0], low = -1e300, high = 1e300
    cdef double sums[2]
    if intercept:
        # where the intercept is heading
        start = b0[0] + (b0[0] - last[0])
        last[0] = b0[0]
    for _trial in range(200):
        logistic(eta, y, v, start, prob, r, sums, n)
        if not intercept:
            return
        s, h = sums[0], sums[1]
        # the sum falls in b0: keep a bracket, and halve it where Newton would leave it
        if s > 0.0:
            low = start
        else:
            high = start
        move = s / h if h > 0.0 else (1.0 if s > 0.0 else -1.0)
        if fabs(move) < 1e-5:
            # two terms of the Taylor series leave an error of the third power
            for i in range(n):
                x = prob[i] * (1.0 - prob[i])
                r[i] -= v[i] * x * move * (1.0 + 0.5 * move * (1.0 - 2.0 * prob[i]))
            start += move
            break
        if move > 5.0:
            move = 5.0
        elif move < -5.0:
            move = -5.0
        x = start + move
        if x <= low or x >= high:
            if low > -1e299 and high < 1e299:
                x = 0.5 * (low + high)
            if x == start:
                break
        start = x
    b0[0] = start


cdef void _softmax(
    const double *eta, const double *y, const double *v, Py_ssize_t n, Py_ssize_t K, const double *b0,
    double *prob, double *r, double *s
) noexcept nogil:
    """Class probabilities, ``r = v (y - prob)`` and its column sums."""
    cdef Py_ssize_t i, c
    cdef double top, total
    memset(s, 0, K * sizeof(double))
    for i in range(n):
        top = b0[0] + eta[i]
        for c in range(1, K):
            if b0[c] + eta[c * n + i] > top:
                top = b0[c] + eta[c * n + i]
        total = 0.0
        for c in range(K):
            prob[c * n + i] = exp(b0[c] + eta[c * n + i] - top)
            total += prob[c * n + i]
        for c in range(K):
            prob[c * n + i] /= total
            r[c * n + i] = v[i] * (y[c * n + i] - prob[c * n + i])
            s[c] += r[c * n + i]


cdef void _multinomial_residual(
    const double *eta, const double *y, const double *v, Py_ssize_t n, Py_ssize_t K, bint intercept, double *b0,
    double *prob, double *r, double *work
) noexcept nogil:
    """``r = v (y - softmax(b0 + eta))`` with the b0, of sum zero, that makes its columns' sums zero."""
    cdef Py_ssize_t i, c, d, trial
    cdef double size, before = 1e300, x, mean
    cdef double *s = work
    cdef double *H = work + K
    cdef double *share = work + K + K * K
    cdef int order = <int> K, one = 1, info
    cdef bint newton = True
    for trial in range(200):
        _softmax(eta, y, v, n, K, b0, prob, r, s)
        if not intercept:
            return
        size = 0.0
        for c in range(K):
            size = max(size, fabs(s[c]))
        if size < 1e-15:
            return
        if size < 1e-13 and size >= 0.5 * before:
            return
        newton = size < before and trial < 60
        before = size
        if newton:
            memset(H, 0, K * K * sizeof(double))
            for c in range(K):
                for d in range(c, K):
                    x = 0.0
                    for i in range(n):
                        x -= v[i] * prob[c * n + i] * prob[d * n + i]
                    H[c * K + d] = x
            for c in range(K):
                x = 0.0
                for i in range(n):
                    x += v[i] * prob[c * n + i]
                H[c * K + c] += x
            # constants do nothing to the probabilities: fix the sum of the step at zero
            for c in range(K):
                for d in range(c, K):
                    H[c * K + d] += 1.0 / K
            for c in range(K):
                share[c] = s[c]
            dposv("L", &order, &one, H, &order, share, &order, &info)
            newton = info == 0
            if newton:
                for c in range(K):
                    newton = newton and fabs(share[c]) < 5.0
        if not newton:
            # iterative scaling: slower, and always downhill
            for c in range(K):
                x = mean = 0.0
                for i in range(n):
                    x += v[i] * y[c * n + i]
                    mean += v[i] * prob[c * n + i]
                share[c] = log(x / mean) if x > 0.0 and mean > 0.0 else 0.0
            before = 1e300
        mean = 0.0
        for c in range(K):
            b0[c] += share[c]
            mean += b0[c] / K
        for c in range(K):
            b0[c] -= mean


cdef void _residual(
    int loss, const double *eta, const double *y, const double *v, Py_ssize_t n, Py_ssize_t K, bint intercept,
    double *b0, double *prob, double *r, double *work
) noexcept nogil:
    """Minus the derivative of the loss in eta, the intercept being the best one; ``work`` has K (K + 2) + 1 entries."""
    cdef Py_ssize_t i
    cdef double mean = 0.0
    if loss == SQUARED:
        for i in range(n):
            r[i] = v[i] * (y[i] - eta[i])
            mean += r[i]
        if intercept:
            b0[0] = mean
            for i in range(n):
                r[i] -= v[i] * mean
    elif loss == LOGISTIC:
        _logistic_residual(eta, y, v, n, intercept, b0, work, prob, r)
    else:
        _multinomial_residual(eta, y, v, n, K, intercept, b0, prob, r, work)


def residual(
    int loss, const double[::1, :] eta, const double[::1, :] y, const double[::1] v, bint intercept, double[::1] b0,
):
    """Minus the derivative of the loss in eta; ``b0`` is replaced by the best intercept, searched from there on."""
    cdef Py_ssize_t n = eta.shape[0], K = eta.shape[1]
    out = np.empty((n, K), order="F")
    cdef double[::1, :] out_ = out
    cdef double[::1, :] prob = np.empty((n, K), order="F")
    cdef double[::1] work = np.zeros(K * (K + 2) + 1)
    work[0] = b0[0]
    with nogil:
        _residual(loss, &eta[0, 0], &y[0, 0], &v[0], n, K, intercept, &b0[0], &prob[0, 0], &out_[0, 0], &work[0])
    return out


cdef struct Matrix:
    # a matrix in CSR form, or dense with contiguous columns, or the identity
    Py_ssize_t rows
    Py_ssize_t columns
    const double *dense
    Py_ssize_t lead
    const double *data
    const int *indices
    const int *indptr
    bint is_identity


cdef void _add_nonzero(
    double *out, const double *M, Py_ssize_t lead, Py_ssize_t rows, const double *x, Py_ssize_t columns, double scale
) noexcept nogil:
    """``out += scale M x``, without the columns for which x is zero."""
    cdef Py_ssize_t which[64]
    cdef double factors[64]
    cdef Py_ssize_t j, some = 0
    for j in range(columns):
        if x[j] != 0.0:
            which[some], factors[some] = j, x[j]
            some += 1
        if some == 64 or (some and j == columns - 1):
            add_columns(out, M, lead, rows, which, factors, scale, some)
            some = 0


cdef void _times(Matrix M, const double *B, Py_ssize_t K, double *out) noexcept nogil:
    """``out = M B``; columns of B that are mostly zero are read as such."""
    cdef Py_ssize_t i, j, c
    cdef int k, n = <int> M.rows, p = <int> M.columns, many = <int> K, lead = <int> M.lead
    cdef double x, unit = 1.0, zero = 0.0
    cdef Py_ssize_t nonzero = 0
    if M.is_identity:
        for i in range(M.rows * K):
            out[i] = B[i]
    elif M.columns == 0:
        memset(out, 0, M.rows * K * sizeof(double))
    elif M.dense != NULL:
        for j in range(p * K):
            nonzero += B[j] != 0.0
        if K == 1 or nonzero < 0.6 * p * K:
            memset(out, 0, n * K * sizeof(double))
            for c in range(K):
                _add_nonzero(out + c * n, M.dense, M.lead, n, B + c * p, p, 1.0)
        else:
            dgemm("N", "N", &n, &many, &p, &unit, <double *> M.dense, &lead, <double *> B, &p, &zero, out, &n)
    else:
        for c in range(K):
            for i in range(n):
                x = 0.0
                for k in range(M.indptr[i], M.indptr[i + 1]):
                    x += M.data[k] * B[c * p + M.indices[k]]
                out[c * n + i] = x


cdef void _transposed_times(Matrix M, const double *R, Py_ssize_t K, double *out) noexcept nogil:
    """``out = M' R``."""
    cdef Py_ssize_t i, c
    cdef int k, n = <int> M.rows, p = <int> M.columns, many = <int> K, lead = <int> M.lead
    cdef double x, unit = 1.0, zero = 0.0
    if M.is_identity:
        for i in range(M.rows * K):
            out[i] = R[i]
    elif M.columns == 0:
        pass
    elif M.dense != NULL:
        if K == 1:
            dots(out, M.dense, lead, n, R, p)
        else:
            dgemm("T", "N", &p, &many, &n, &unit, <double *> M.dense, &lead, <double *> R, &n, &zero, out, &p)
    else:
        memset(out, 0, p * K * sizeof(double))
        for c in range(K):
            for i in range(n):
                x = R[c * n + i]
                if x != 0.0:
                    for k in range(M.indptr[i], M.indptr[i + 1]):
                        out[c * p + M.indices[k]] += M.data[k] * x


cdef Matrix _matrix(
    Py_ssize_t rows, Py_ssize_t columns, const double[::1, :] dense, const double[::1] data, const int[::1] indices,
    const int[::1] indptr, bint is_identity
) noexcept:
    cdef Matrix M
    M.rows, M.columns, M.is_identity = rows, columns, is_identity
    M.dense = NULL
    M.lead = 0
    M.data = NULL
    M.indices = NULL
    M.indptr = NULL
    if is_identity:
        pass
    elif dense is not None:
        M.dense = &dense[0, 0]
        M.lead = dense.shape[0]
    else:
        M.data = &data[0] if data.shape[0] else NULL
        M.indices = &indices[0] if indices.shape[0] else NULL
        M.indptr = &indptr[0]
    return M


def aligned(rows, columns):
    """Zeros whose columns are contiguous and begin where lines of the cache do; with up to seven more rows."""
    rows += -rows % 8
    memory = np.zeros(rows * columns + 8)
    skip = -memory.ctypes.data // 8 % 8
    return memory[skip:skip + rows * columns].reshape((rows, columns), order="F")


cdef _align(const double[::1, :] X, Matrix *M):
    """Let M stand for an aligned copy of X, if that stays in a cache; returns it."""
    cdef double[::1, :] columns
    if X is None or not 0 < X.shape[0] * X.shape[1] <= 500_000:
        return None
    copy = aligned(X.shape[0], X.shape[1])
    copy[:X.shape[0]] = X
    columns = copy
    M.dense, M.lead = &columns[0, 0], columns.shape[0]
    return copy


def iterate_split(
    Py_ssize_t n, const double[::1, :] X, const double[::1] data, const int[::1] indices, const int[::1] indptr,
    const double[::1, :] y, const double[::1] v, int loss, bint intercept,
    const double[::1] D_data, const int[::1] D_indices, const int[::1] D_indptr, bint D_is_identity,
    double nu, double kappa, double delta, const Py_ssize_t[::1] unit_ptr, const Py_ssize_t[::1] unit_rows,
    double[::1, :] b, double[::1, :] z, double[::1, :] g, double[::1] b0,
    Py_ssize_t[::1] first, const Py_ssize_t[::1] recorded, double[:, :, ::1] out_b, double[:, :, ::1] out_g,
):
    """All steps of the split recursion from the arrays given, which are changed in place.

    X is dense (n x p) or, where that is None, CSR; D likewise CSR or the identity. ``recorded`` are the numbers of
    steps, increasing, after which b and g are written to ``out_b`` (times, p, K) and ``out_g`` (times, m, K).
    """
    cdef Py_ssize_t p = b.shape[0], K = b.shape[1], m = z.shape[0], k, i, j, c, place = 0, last
    cdef Matrix A = _matrix(n, p, X, data, indices, indptr, False)
    cdef Matrix D = _matrix(m, p, None, D_data, D_indices, D_indptr, D_is_identity)
    cdef double[::1, :] eta = np.zeros((n, K), order="F"), r = np.zeros((n, K), order="F")
    cdef double[::1, :] prob = np.zeros((n, K), order="F"), gradient = np.zeros((p, K), order="F")
    cdef double[::1, :] pull = np.zeros((p, K), order="F"), gap = np.zeros((m, K), order="F")
    cdef double[::1] work = np.zeros(K * (K + 2) + 1)
    cdef Py_ssize_t[::1] everything = np.arange(m, dtype=np.intp)
    cdef double rate = delta / nu
    _memory = _align(X, &A)
    work[0] = b0[0]
    last = recorded[recorded.shape[0] - 1]
    with nogil:
        k = 0
        while True:
            while place < recorded.shape[0] and recorded[place] == k:
                for c in range(K):
                    for j in range(p):
                        out_b[place, j, c] = b[j, c]
                    for i in range(m):
                        out_g[place, i, c] = g[i, c]
                place += 1
            if k == last:
                break
            _times(A, &b[0, 0], K, &eta[0, 0])
            _residual(loss, &eta[0, 0], &y[0, 0], &v[0], n, K, intercept, &b0[0], &prob[0, 0], &r[0, 0], &work[0])
            _transposed_times(A, &r[0, 0], K, &gradient[0, 0])
            _times(D, &b[0, 0], K, &gap[0, 0])
            for c in range(K):
                for i in range(m):
                    gap[i, c] = (gap[i, c] - g[i, c])
            _transposed_times(D, &gap[0, 0], K, &pull[0, 0])
            for c in range(K):
                for j in range(p):
                    b[j, c] += kappa * (delta * gradient[j, c] - rate * pull[j, c])
                for i in range(m):
                    z[i, c] += rate * gap[i, c]
            _shrink(&z[0, 0], &g[0, 0], m, K, m, unit_ptr, unit_rows, kappa)
            k += 1
            _note_entries(&g[0, 0], m, K, m, everything, first, k)
    return k


def iterate_plain(
    Py_ssize_t n, const double[::1, :] X, const double[::1] data, const int[::1] indices, const int[::1] indptr,
    const double[::1, :] y, const double[::1] v, int loss, bint intercept, double kappa, double delta,
    const Py_ssize_t[::1] unit_ptr, const Py_ssize_t[::1] unit_rows,
    double[::1, :] z, double[::1, :] g, double[::1] b0, double[::1, :] r, double[::1, :] total,
    const Py_ssize_t[::1] index, Py_ssize_t[::1] first, const Py_ssize_t[::1] recorded, double[:, :, ::1] out,
    Py_ssize_t k, Py_ssize_t place, Py_ssize_t limit, double drift_limit,
):
    """Steps of the plain recursion on a working set: the columns X (or CSR), the rows ``index`` of ``out``.

    ``total`` receives the sum of the residuals before each step taken; r, the residual at the start, those at the end.
    Stops after step ``limit``, or before a step that would take the drift (in the weighted norm) over its limit.
    Returns the steps taken since the start of the path, the next time to record, and the drift.
    """
    cdef Py_ssize_t w = z.shape[0], K = z.shape[1], i, j, c, last = recorded[recorded.shape[0] - 1]
    cdef Matrix A = _matrix(n, w, X, data, indices, indptr, False)
    cdef double[::1, :] eta = np.zeros((n, K), order="F"), prob = np.zeros((n, K), order="F")
    cdef double[::1, :] gradient = np.zeros((w, K), order="F"), origin = np.array(r, order="F")
    cdef double[::1] inverse = 1.0 / np.maximum(v, 1e-300)
    cdef double[::1] work = np.zeros(K * (K + 2) + 1)
    cdef double drift = 0.0, away
    cdef bint watch = drift_limit < 1e300
    _memory = _align(X, &A)
    work[0] = b0[0]
    with nogil:
        while True:
            while place < recorded.shape[0] and recorded[place] == k:
                for c in range(K):
                    for j in range(w):
                        out[place, index[j], c] = g[j, c]
                place += 1
            _times(A, &g[0, 0], K, &eta[0, 0])
            _residual(loss, &eta[0, 0], &y[0, 0], &v[0], n, K, intercept, &b0[0], &prob[0, 0], &r[0, 0], &work[0])
            if k >= last or k >= limit:
                break
            if watch:
                away = 0.0
                for c in range(K):
                    away += distance(&inverse[0], &r[0, c], &origin[0, c], &r[0, c], &origin[0, c], n)
                away = sqrt(away)
                if drift + away > drift_limit:
                    break
                drift += away
                for c in range(K):
                    for i in range(n):
                        total[i, c] += r[i, c]
            _transposed_times(A, &r[0, 0], K, &gradient[0, 0])
            _advance(&z[0, 0], &g[0, 0], &gradient[0, 0], delta, w, K, unit_ptr, unit_rows, kappa)
            k += 1
            _note_entries(&g[0, 0], w, K, w, index, first, k)
    return k, place, drift


cdef struct WorkingSet:
    # what is kept of its rows: columns of a matrix, which may have them as rows as well; vectors; their numbers
    double *matrix
    Py_ssize_t lead
    Py_ssize_t length
    bint symmetric
    double *vectors[9]
    Py_ssize_t n_vectors
    Py_ssize_t *index


cdef void _exchange(WorkingSet *rows, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Exchange two rows of the working set."""
    cdef int length = <int> rows.length, one = 1, stride = <int> rows.lead
    cdef Py_ssize_t k
    if i == j:
        return
    dswap(&length, rows.matrix + i * rows.lead, &one, rows.matrix + j * rows.lead, &one)
    if rows.symmetric:
        dswap(&length, rows.matrix + i, &stride, rows.matrix + j, &stride)
    for k in range(rows.n_vectors):
        rows.vectors[k][i], rows.vectors[k][j] = rows.vectors[k][j], rows.vectors[k][i]
    rows.index[i], rows.index[j] = rows.index[j], rows.index[i]


cdef Py_ssize_t _nonzero_first(
    WorkingSet *rows, const double *g, Py_ssize_t s, Py_ssize_t near, Py_ssize_t[::1] first, Py_ssize_t step
) noexcept nogil:
    """Bring the nonzero ones of the first ``near`` rows to the front, where s were; note those that enter."""
    cdef Py_ssize_t j = 0
    while j < s:
        if g[j] == 0.0:
            s -= 1
            _exchange(rows, j, s)
        else:
            j += 1
    for j in range(s, near):
        if g[j] != 0.0:
            if first[rows.index[j]] < 0:
                first[rows.index[j]] = step
            _exchange(rows, j, s)
            s += 1
    return s


cdef double _away(
    const double *g, const double *start, const double *origin, const double *gradient, Py_ssize_t n
) noexcept nogil:
    """Norm of ``X (g - start)``, given the gradients at both."""
    cdef double total = distance(NULL, g, start, origin, gradient, n)
    return sqrt(total) if total > 0.0 else 0.0


def iterate_gram(
    double[::1, :] G, double[::1] q, double kappa, double delta,
    const Py_ssize_t[::1] unit_ptr, const Py_ssize_t[::1] unit_rows, double[::1] z, double[::1] g,
    double[::1] total, Py_ssize_t[::1] index, Py_ssize_t[::1] first, const Py_ssize_t[::1] recorded,
    double[:, :, ::1] out, Py_ssize_t k, Py_ssize_t place, Py_ssize_t limit, double drift_limit,
):
    """`iterate_plain` for the squared loss, by the Gram matrix of the working set (the leading part of G).

    ``total`` receives the sum of the coefficients before each step taken. Unless there are units, the working set is
    reordered, ``index`` and all that goes with it: nonzero coefficients come first, then those that may become so
    within the next steps. The rest is caught up with afterwards, on the same grounds as what is not in the working set.
    """
    cdef Py_ssize_t w = z.shape[0], lead = G.shape[0], j, s, near, taken = 0
    cdef Py_ssize_t last = recorded[recorded.shape[0] - 1], horizon = 32
    cdef double[::1] gradient = np.zeros(w), origin = np.zeros(w), start = np.array(g)
    cdef double[::1] near_origin = np.zeros(w), near_start = np.array(g), some = np.zeros(w)
    cdef double drift = 0.0, away, slack, reach, near_drift = 0.0, near_limit = 0.0, expected
    cdef bint watch = drift_limit < 1e300, begun = False, sorting = unit_ptr.shape[0] == 0, stale = True
    cdef WorkingSet rows
    if w:
        rows.matrix, rows.lead, rows.length, rows.symmetric = &G[0, 0], lead, w, True
        rows.n_vectors, rows.index = 9, &index[0]
        rows.vectors[0], rows.vectors[1], rows.vectors[2] = &q[0], &z[0], &g[0]
        rows.vectors[3], rows.vectors[4], rows.vectors[5] = &total[0], &origin[0], &start[0]
        rows.vectors[6], rows.vectors[7], rows.vectors[8] = &near_origin[0], &near_start[0], &some[0]
    with nogil:
        s = near = 0 if sorting and w else w
        if sorting and w:
            s = _nonzero_first(&rows, &g[0], 0, w, first, k)
        while w:
            while place < recorded.shape[0] and recorded[place] == k:
                for j in range(w):
                    out[place, index[j], 0] = g[j]
                place += 1
            if k >= last or k >= limit:
                break
            away = 0.0
            if not stale:
                for j in range(near):
                    gradient[j] = q[j]
                add_columns(&gradient[0], &G[0, 0], lead, near, NULL, &g[0], -1.0, s)
                if sorting:
                    away = _away(&g[0], &near_start[0], &near_origin[0], &gradient[0], near)
                    stale = taken >= horizon or near_drift + away > near_limit
            if stale:
                _catch_up(G, q, z, some, w, near, taken, delta)
                for j in range(w):
                    gradient[j] = q[j]
                add_columns(&gradient[0], &G[0, 0], lead, w, NULL, &g[0], -1.0, s)
                # twice the drift that the last steps let expect
                expected = 2.0 * near_drift * (<double> horizon / taken) ** 2 if taken else 0.0
                near, near_limit = s, 1e299
                for j in range(s, w):
                    slack = 1.0 - 1e-9 - max(fabs(z[j]), fabs(z[j] + horizon * delta * gradient[j]))
                    reach = delta * sqrt(G[j, j])
                    if not sorting or slack <= reach * expected or (watch and start[j] != 0.0):
                        _exchange(&rows, j, near)
                        gradient[j], gradient[near] = gradient[near], gradient[j]
                        near += 1
                    elif reach > 0.0 and slack < near_limit * reach:
                        near_limit = slack / reach
                for j in range(w):
                    near_origin[j], near_start[j], some[j] = gradient[j], g[j], 0.0
                stale, taken, near_drift, away = False, 0, 0.0, 0.0
            near_drift += away
            if watch:
                if not begun:
                    # the working set has just been looked at as a whole
                    begun = True
                    for j in range(w):
                        origin[j] = gradient[j]
                away = _away(&g[0], &start[0], &origin[0], &gradient[0], near)
                if drift + away > drift_limit:
                    break
                drift += away
                for j in range(s):
                    total[j] += g[j]
            for j in range(s):
                some[j] += g[j]
            # with units near is w
            _advance(&z[0], &g[0], &gradient[0], delta, near, 1, unit_ptr, unit_rows, kappa)
            k += 1
            taken += 1
            if sorting:
                s = _nonzero_first(&rows, &g[0], s, near, first, k)
            else:
                _note_entries(&g[0], w, 1, w, index, first, k)
        _catch_up(G, q, z, some, w, near, taken, delta)
        if w == 0:
            # nothing moves
            k = min(limit, last)
            while place < recorded.shape[0] and recorded[place] <= k:
                place += 1
    return k, place, drift


cdef void _catch_up(
    double[::1, :] G, const double[::1] q, double[::1] z, const double[::1] some, Py_ssize_t w, Py_ssize_t near,
    Py_ssize_t taken, double delta
) noexcept nogil:
    """Bring the rows from ``near`` on up to date; ``some`` sums the coefficients before each of the steps taken."""
    cdef Py_ssize_t j
    if taken == 0 or near == w:
        return
    for j in range(near, w):
        z[j] += taken * delta * q[j]
    add_columns(&z[near], &G[near, 0], G.shape[0], w - near, NULL, &some[0], -delta, near)


def iterate_modal(
    double[::1, :] P, const double[::1] values, const double[::1] q, bint thin, double nu, double kappa,
    double delta, const Py_ssize_t[::1] unit_ptr, const Py_ssize_t[::1] unit_rows, double[::1] a, double[::1] e,
    double[::1] c, double[::1] z, double[::1] g, double[::1] total, Py_ssize_t[::1] index,
    Py_ssize_t[::1] first, const Py_ssize_t[::1] recorded, double[:, ::1] out_modes, double[:, ::1] out_rest,
    double[:, :, ::1] out_g, Py_ssize_t k, Py_ssize_t place, Py_ssize_t limit, double drift_limit,
):
    """Steps of the split recursion for the squared loss, on a working set, in the eigenbasis V of a Hessian.

    The leading rows and columns of P are ``V'd`` for the working set's rows d of D. In the basis of X'VX + D'D / nu,
    with eigenvalues ``values``, b = V a. With ``thin``, D is the identity and V spans only the rows of X, with the
    eigenvalues of X'VX: then b = V e + c, where c is zero off the working set. ``total`` receives the sum of a, or e,
    before each step taken. Unless there are units, or ``thin``, the working set is reordered as in `iterate_gram`.
    """
    cdef Py_ssize_t r = a.shape[0], w = z.shape[0], i, j, last = recorded[recorded.shape[0] - 1]
    cdef Py_ssize_t lead = P.shape[0], s, near, taken = 0, horizon = 64
    cdef double[::1] pull = np.zeros(r), gap = np.zeros(w), o = e if thin else a, origin = np.array(o)
    cdef double[::1] some = np.zeros(r), near_origin = np.array(o)
    # how far a row's z may go in a step for each unit of distance
    cdef double[::1] reach = delta / nu * np.sqrt(np.einsum("ij,ij->j", P[:, :w], P[:, :w]))
    cdef double drift = 0.0, away, x, rate = delta / nu, quick = kappa * delta
    cdef double slow = kappa * delta / nu, near_drift = 0.0, near_limit = 0.0, expected, slack
    cdef bint watch = drift_limit < 1e300, sorting = unit_ptr.shape[0] == 0 and not thin and w > 0, stale = sorting
    cdef WorkingSet rows
    if w:
        rows.matrix, rows.lead, rows.length, rows.symmetric = &P[0, 0], lead, lead, False
        rows.n_vectors, rows.index = 4, &index[0]
        rows.vectors[0], rows.vectors[1], rows.vectors[2], rows.vectors[3] = &z[0], &g[0], &gap[0], &reach[0]
    with nogil:
        s = near = 0 if sorting else w
        if sorting:
            s = _nonzero_first(&rows, &g[0], 0, w, first, k)
        while True:
            while place < recorded.shape[0] and recorded[place] == k:
                for i in range(r):
                    out_modes[place, i] = o[i]
                for j in range(w):
                    out_g[place, index[j], 0] = g[j]
                    if thin:
                        out_rest[place, index[j]] = c[j]
                place += 1
            if k >= last or k >= limit:
                break
            away = 0.0
            if sorting and not stale:
                away = sqrt(distance(NULL, &o[0], &near_origin[0], &o[0], &near_origin[0], r))
                stale = taken >= horizon or near_drift + away > near_limit
            if stale:
                _follow(P, z, some, near, rate, taken, &gap[0])
                # twice the drift that the last steps let expect
                expected = 2.0 * near_drift * (<double> horizon / taken) ** 2 if taken else 0.0
                dots(&gap[s], &P[0, s], lead, r, &o[0], w - s)
                near, near_limit = s, 1e299
                for j in range(s, w):
                    slack = 1.0 - 1e-9 - max(fabs(z[j]), fabs(z[j] + horizon * rate * gap[j]))
                    if slack <= reach[j] * expected:
                        _exchange(&rows, j, near)
                        near += 1
                    elif reach[j] > 0.0 and slack < near_limit * reach[j]:
                        near_limit = slack / reach[j]
                for i in range(r):
                    near_origin[i], some[i] = o[i], 0.0
                stale, taken, near_drift, away = False, 0, 0.0, 0.0
            near_drift += away
            if watch:
                away = sqrt(distance(NULL, &o[0], &origin[0], &o[0], &origin[0], r))
                if drift + away > drift_limit:
                    break
                drift += away
                add(&total[0], &o[0], r)
            if near < w:
                add(&some[0], &o[0], r)
            memcpy(&pull[0], &q[0], r * sizeof(double))
            if s:
                both_products(&pull[0], &gap[0], &P[0, 0], lead, r, &g[0], 1.0 / nu, &o[0], s)
                for j in range(s):
                    gap[j] -= g[j]
            if s < near:
                dots(&gap[s], &P[0, s], lead, r, &o[0], near - s)
            if thin:
                for i in range(r):
                    e[i] -= quick * (values[i] * a[i] - q[i]) + slow * e[i]
                for j in range(w):
                    x = c[j]
                    c[j] -= slow * (x - g[j])
                    gap[j] += x
            relax(&a[0], &values[0], &pull[0], quick, slow if thin else 0.0, r)
            if near:
                _advance(&z[0], &g[0], &gap[0], rate, near, 1, unit_ptr, unit_rows, kappa)
            k += 1
            taken += 1
            if sorting:
                s = _nonzero_first(&rows, &g[0], s, near, first, k)
            else:
                _note_entries(&g[0] if w else NULL, w, 1, w, index, first, k)
        if sorting:
            _follow(P, z, some, near, rate, taken, &gap[0])
    return k, place, drift


cdef void _follow(
    double[::1, :] P, double[::1] z, const double[::1] some, Py_ssize_t near, double rate, Py_ssize_t taken,
    double *seen
) noexcept nogil:
    """Bring z from ``near`` on up to date; ``some`` sums the coefficients before each of the steps taken."""
    cdef Py_ssize_t j, w = z.shape[0]
    if taken == 0 or near == w:
        return
    dots(seen + near, &P[0, near], P.shape[0], some.shape[0], &some[0], w - near)
    for j in range(near, w):
        z[j] += rate * seen[j]
