# cython: freethreading_compatible = True
"""Orthogonal matching pursuit of many signals on one dictionary, from its Gram matrix."""
import numpy as np

from libc.math cimport sqrt
from scipy.linalg.cython_blas cimport dgemm, sgemm

ctypedef fused floating:
    float
    double

cdef extern from "_pursuit_loops.h" nogil:
    void update_float(
        float *, float *, float *, const float *, const float *, const float *, Py_ssize_t, float, float, Py_ssize_t
    )
    void update_double(
        double *, double *, double *, const double *, const double *, const double *, Py_ssize_t, double, double,
        Py_ssize_t
    )
    Py_ssize_t largest_float(const float *, Py_ssize_t)
    Py_ssize_t largest_double(const double *, Py_ssize_t)
    void reductions_float(float *, const float *, const float *, float, Py_ssize_t)
    void reductions_double(double *, const double *, const double *, double, Py_ssize_t)

# Signals whose scores are computed by one matrix product.
cdef Py_ssize_t BLOCK = 128


cdef void _update(
    floating *scores, floating *left, floating *image, const floating *gram, const floating *images, const floating *w,
    Py_ssize_t k, floating scale, floating step, Py_ssize_t n
) noexcept nogil:
    if floating is float:
        update_float(scores, left, image, gram, images, w, k, scale, step, n)
    else:
        update_double(scores, left, image, gram, images, w, k, scale, step, n)


cdef Py_ssize_t _largest(const floating *values, Py_ssize_t n) noexcept nogil:
    if floating is float:
        return largest_float(values, n)
    else:
        return largest_double(values, n)


cdef void _reductions(
    floating *values, const floating *scores, const floating *left, floating least, Py_ssize_t n
) noexcept nogil:
    if floating is float:
        reductions_float(values, scores, left, least, n)
    else:
        reductions_double(values, scores, left, least, n)


cdef void _solve_triangular(const double *rows, const double *projections, Py_ssize_t k, double *b) noexcept nogil:
    """``b = L'^-1 projections`` for the rows of the lower triangle L, packed one after the other."""
    cdef Py_ssize_t i, j
    cdef double value
    for i in range(k):
        b[i] = projections[i]
    for i in range(k - 1, -1, -1):
        value = b[i] / rows[i * (i + 1) // 2 + i]
        b[i] = value
        for j in range(i):
            b[j] -= value * rows[i * (i + 1) // 2 + j]


cdef double _residual_square(
    const floating *signal, const floating *atoms, Py_ssize_t m, const Py_ssize_t *support, const double *b,
    Py_ssize_t k, double *residual
) noexcept nogil:
    """Square of the norm of ``signal - sum_i b_i atoms[support_i]``."""
    cdef Py_ssize_t i, r
    cdef double total = 0.0, value
    cdef const floating *atom
    for r in range(m):
        residual[r] = signal[r]
    for i in range(k):
        atom = atoms + support[i] * m
        value = b[i]
        for r in range(m):
            residual[r] -= value * atom[r]
    for r in range(m):
        total += residual[r] * residual[r]
    return total


cdef bint _is_orthogonal(
    const double *residual, double norm, const floating *atoms, Py_ssize_t n, Py_ssize_t m, double bound
) noexcept nogil:
    """Whether no atom of unit norm has more than ``bound * norm`` in common with the residual."""
    cdef Py_ssize_t j, r
    cdef double total
    for j in range(n):
        total = 0.0
        for r in range(m):
            total += residual[r] * atoms[j * m + r]
        if not (-bound * norm <= total <= bound * norm):
            return False
    return True


cdef struct Limits:
    double least_pivot      # squared; below, an atom may depend on those chosen
    double rounding         # of the squares left of unit atoms
    double least_score      # squared, relative to the signal; below, scores are rounding errors
    double least_left       # squared norm relative to the signal; below, the recursion has lost it
    double smallest, largest    # squared norms between which all squares are safe
    double orthogonal       # cosine below which an atom has nothing in common with a residual
    double exact            # squared norm relative to the signal; below, it is zero up to rounding


cdef Limits _limits(bint single) noexcept nogil:
    cdef Limits limits
    if single:
        limits.least_pivot, limits.least_score, limits.least_left, limits.exact = 1e-4, 1e-9, 1e-3, 1e-12
        limits.smallest, limits.largest, limits.rounding, limits.orthogonal = 1e-20, 1e20, 1e-5, 0.0
    else:
        limits.smallest, limits.largest, limits.rounding, limits.orthogonal = 1e-200, 1e200, 1e-13, 1e-10
        limits.least_pivot, limits.least_score, limits.least_left, limits.exact = 1e-8, 1e-20, 1e-6, 1e-28
    return limits


cdef bint _pursue(
    const floating *gram, Py_ssize_t n, floating *scores, double square, Py_ssize_t k_most, double tol, bint ols,
    const floating *signal, const floating *atoms, Py_ssize_t m, const Limits *limits, floating *images,
    floating *left, floating *values, floating *w, double *rows, double *projections, double *b, double *residual,
    Py_ssize_t *support, Py_ssize_t *count,
    bint *exhausted
) noexcept nogil:
    """One signal. Fills ``support``, ``count``, and ``b`` (for atoms of unit norm).

    Sets ``exhausted`` if no further atom could reduce the residual. Returns whether the Gram matrix is too inaccurate
    for it, so that the caller must solve it in another way.
    """
    cdef Py_ssize_t k = 0, i, j
    cdef double remaining = square, pivot, value, step, exact
    cdef double *row
    # whatever the order in which the caller has summed
    cdef bint fits = tol >= square * (1.0 - 1e-13), undecided = False
    if ols:
        for j in range(n):
            left[j] = gram[j * n + j]
    while k < k_most and not fits:
        if ols:
            _reductions(values, scores, left, <floating> limits.rounding, n)
            j = _largest(values, n)
        else:
            j = _largest(scores, n)
        row = rows + k * (k + 1) // 2
        pivot = gram[j * n + j]
        for i in range(k):
            w[i] = images[i * n + j]
            row[i] = w[i]
            pivot -= row[i] * row[i]
        value = scores[j]
        # not: a NaN is undecided too
        if not (pivot > limits.least_pivot and value * value > limits.least_score * square):
            undecided = True
            if atoms != NULL and k and value * value <= limits.least_score * square:
                _solve_triangular(rows, projections, k, b)
                exact = _residual_square(signal, atoms, m, support, b, k, residual)
                undecided = exact > limits.exact * square
                if undecided and _is_orthogonal(residual, sqrt(exact), atoms, n, m, limits.orthogonal):
                    undecided = False
                    exhausted[0] = True
            break
        pivot = sqrt(pivot)
        row[k] = pivot
        step = value / pivot
        _update(
            scores, left if ols else NULL, images + k * n, gram + j * n, images, w, k, <floating> (1.0 / pivot),
            <floating> step, n
        )
        support[k] = j
        projections[k] = step
        k += 1
        for i in range(k):
            scores[support[i]] = 0.0
        remaining -= step * step
        if tol >= 0.0:
            if remaining < limits.least_left * square:
                if atoms == NULL:
                    undecided = True
                    break
                _solve_triangular(rows, projections, k, b)
                exact = _residual_square(signal, atoms, m, support, b, k, residual)
                fits = exact <= tol
            else:
                fits = remaining <= tol
    count[0] = k
    _solve_triangular(rows, projections, k, b)
    return undecided


cdef void _multiply(
    const floating *atoms, const floating *signals, floating *scores, int n, int m, int count
) noexcept nogil:
    """scores (count x n) = signals (count x m) atoms' (m x n), all row-major."""
    cdef float one_s = 1.0, zero_s = 0.0
    cdef double one_d = 1.0, zero_d = 0.0
    if floating is float:
        sgemm("T", "N", &n, &count, &m, &one_s, <float *> atoms, &m, <float *> signals, &m, &zero_s, scores, &n)
    else:
        dgemm("T", "N", &n, &count, &m, &one_d, <double *> atoms, &m, <double *> signals, &m, &zero_d, scores, &n)


cdef class _Workspace:
    """What one thread needs beside scores: arrays for signals of length m, n atoms and up to k choices."""

    cdef double[::1] triangle, projections, b, residual
    cdef Py_ssize_t[::1] chosen

    def __init__(self, Py_ssize_t k, Py_ssize_t m):
        self.triangle = np.empty(k * (k + 1) // 2)
        self.projections, self.b, self.residual = np.empty(k), np.empty(k), np.empty(max(1, m))
        self.chosen = np.empty(k, dtype=np.intp)


cdef void _write(
    _Workspace work, const double[::1] norms, Py_ssize_t count, bint sort, int *support, floating *coefs
) noexcept nogil:
    """Support and coefficients for the original atoms."""
    cdef Py_ssize_t i, j, atom
    cdef double value
    if sort:
        for i in range(1, count):
            atom, value, j = work.chosen[i], work.b[i], i
            while j > 0 and work.chosen[j - 1] > atom:
                work.chosen[j], work.b[j] = work.chosen[j - 1], work.b[j - 1]
                j -= 1
            work.chosen[j], work.b[j] = atom, value
    for i in range(count):
        support[i] = <int> work.chosen[i]
        coefs[i] = <floating> (work.b[i] / norms[work.chosen[i]])


def pursue_signals(
    const floating[:, ::1] gram, const floating[:, ::1] atoms, const double[::1] norms, const floating[:, :] signals,
    double tol, double rtol, bint ols, int[:, ::1] support, floating[:, ::1] coefs, int[::1] counts
):
    """Sparse codes of the rows of ``signals``, atoms in increasing order.

    Parameters
    ----------
    gram, atoms : (n, n), (n, m)
        Gram matrix and atoms, of unit norm, a row each.
    norms : (n,)
        What the atoms were divided by; coefficients are for the original ones.
    tol, rtol : float
        Stop when the squared residual is at most ``tol + rtol ||signal||^2``; a negative sum stops nothing.
    support, coefs, counts
        Outputs, at most ``support.shape[1]`` atoms a signal; entries beyond a signal's count are not touched.

    Returns
    -------
    undecided : ndarray
        Signals that the Gram matrix is not accurate enough for.
    exhausted : int
        How many of the others ended because no further atom could reduce the residual.
    """
    cdef Py_ssize_t n = atoms.shape[0], m = atoms.shape[1], total = signals.shape[0], k_most = support.shape[1]
    cdef Py_ssize_t batch, start, size, s, r, count = 0, block = min(BLOCK, max(1, total))
    cdef Limits limits = _limits(floating is float)
    dtype = np.float32 if floating is float else np.float64
    cdef floating[:, ::1] scores = np.zeros((block, n), dtype=dtype)
    cdef floating[:, ::1] rows = np.empty((block, m), dtype=dtype)
    cdef floating[:, ::1] images = np.empty((k_most, n), dtype=dtype)
    cdef floating[:, ::1] extra = np.empty((2, n if ols else 1), dtype=dtype)
    cdef floating[::1] w = np.empty(k_most, dtype=dtype)
    cdef _Workspace work = _Workspace(k_most, m)
    cdef unsigned char[::1] undecided = np.zeros(total, dtype=np.uint8)
    cdef double square
    cdef bint ended = False
    cdef Py_ssize_t exhausted = 0
    with nogil:
        for batch in range((total + block - 1) // block):
            start = batch * block
            size = min(block, total - start)
            for s in range(size):
                for r in range(m):
                    rows[s, r] = signals[start + s, r]
            _multiply(&atoms[0, 0], &rows[0, 0], &scores[0, 0], <int> n, <int> m, <int> size)
            for s in range(size):
                square = 0.0
                for r in range(m):
                    square += <double> rows[s, r] * rows[s, r]
                count = 0
                ended = False
                if not (limits.smallest < square < limits.largest):
                    # squares would under- or overflow, unless there is no signal at all
                    for r in range(m):
                        if rows[s, r] != 0.0:
                            undecided[start + s] = True
                else:
                    undecided[start + s] = _pursue(
                        &gram[0, 0], n, &scores[s, 0], square, k_most, tol + rtol * square, ols, &rows[s, 0],
                        &atoms[0, 0], m, &limits, &images[0, 0], &extra[0, 0], &extra[1, 0], &w[0], &work.triangle[0],
                        &work.projections[0], &work.b[0], &work.residual[0], &work.chosen[0], &count, &ended
                    )
                    exhausted += ended
                _write(work, norms, count, True, &support[start + s, 0], &coefs[start + s, 0])
                counts[start + s] = <int> count
    return np.flatnonzero(undecided), exhausted


def pursue_scores(
    const double[:, ::1] gram, const double[::1] norms, double[:, ::1] scores, const double[::1] squares,
    const double[::1] tol, double rtol, bint ols, int[:, ::1] support, double[:, ::1] coefs, int[::1] counts
):
    """The same from inner products with the atoms (a signal a row, overwritten) and squared norms of the signals.

    Atoms are in the order of selection.
    """
    cdef Py_ssize_t n = gram.shape[0], total = scores.shape[0], k_most = support.shape[1], s, count = 0
    cdef Limits limits = _limits(False)
    cdef double[:, ::1] images = np.empty((k_most, n)), extra = np.empty((2, n if ols else 1))
    cdef double[::1] w = np.empty(k_most)
    cdef _Workspace work = _Workspace(k_most, 1)
    cdef unsigned char[::1] undecided = np.zeros(total, dtype=np.uint8)
    cdef bint ended = False
    with nogil:
        for s in range(total):
            count = 0
            if squares[s] > 0.0:
                undecided[s] = _pursue[double](
                    &gram[0, 0], n, &scores[s, 0], squares[s], k_most, tol[s] + rtol * squares[s], ols, NULL, NULL, 0,
                    &limits, &images[0, 0], &extra[0, 0], &extra[1, 0], &w[0], &work.triangle[0],
                    &work.projections[0], &work.b[0], &work.residual[0], &work.chosen[0], &count, &ended
                )
            _write(work, norms, count, False, &support[s, 0], &coefs[s, 0])
            counts[s] = <int> count
    return np.flatnonzero(undecided)


def pack(int[:, ::1] support, floating[:, ::1] coefs, const int[::1] counts):
    """Move the used entries of the rows together, in place; returns how many there are."""
    cdef Py_ssize_t s, i, place = 0, k = support.shape[1]
    cdef int *indices = &support[0, 0]
    cdef floating *data = &coefs[0, 0]
    with nogil:
        for s in range(support.shape[0]):
            for i in range(counts[s]):
                indices[place] = indices[s * k + i]
                data[place] = data[s * k + i]
                place += 1
    return place
