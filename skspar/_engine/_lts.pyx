# cython: freethreading_compatible = True
"""Concentration steps of least trimmed squares: fit the rows with the smallest residuals, again and again."""
import numpy as np

from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from scipy.linalg.cython_blas cimport dgemv, dsyrk
from scipy.linalg.cython_lapack cimport dpotrf, dpotrs

cdef Py_ssize_t BLOCK = 256


cdef inline void _swap(double *value, double *weight, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef double kept = value[i]
    value[i] = value[j]
    value[j] = kept
    kept = weight[i]
    weight[i] = weight[j]
    weight[j] = kept


cdef double _cut(
    double *value, double *weight, Py_ssize_t n, double wanted, double *below
) noexcept nogil:
    """Smallest value v with weight at least ``wanted`` on values <= v; ``below``: the weight on values < v.

    Quickselect with three parts; both arrays are permuted together.
    """
    cdef Py_ssize_t low = 0, high = n - 1, i, lesser, greater
    cdef double taken = 0.0, pivot, left, equal, a, b, c
    while True:
        if low >= high:
            below[0] = taken
            return value[low]
        a, b, c = value[low], value[(low + high) // 2], value[high]
        pivot = max(min(a, b), min(max(a, b), c))
        lesser, i, greater = low, low, high
        left = 0.0
        equal = 0.0
        while i <= greater:
            if value[i] < pivot:
                left += weight[i]
                _swap(value, weight, i, lesser)
                lesser += 1
                i += 1
            elif value[i] > pivot:
                _swap(value, weight, i, greater)
                greater -= 1
            else:
                equal += weight[i]
                i += 1
        if taken + left >= wanted and lesser > low:
            high = lesser - 1
        elif taken + left + equal >= wanted or greater == high:
            below[0] = taken + left
            return pivot
        else:
            taken += left + equal
            low = greater + 1


def trimmed_cut(values, weights, double wanted):
    """Smallest v with weight at least ``wanted`` on values <= v, and the weight on values < v."""
    cdef double[::1] value = np.array(values, dtype=np.float64)
    cdef double[::1] weight = np.array(weights, dtype=np.float64)
    cdef double below = 0.0, cut
    with nogil:
        cut = _cut(&value[0], &weight[0], value.shape[0], wanted, &below)
    return cut, below


cdef double _trimmed(
    const double[:, ::1] Q, const double[::1] y, const double[::1] s, double wanted, const double *beta,
    double *residual, double *square, double *weight, double *cut, double *share
) noexcept nogil:
    """Residuals, and the trimmed sum of their squares; rows at the cut count with ``share`` of their weight."""
    cdef Py_ssize_t n = Q.shape[0], i
    cdef int k = <int> Q.shape[1], rows = <int> n, one = 1
    cdef double minus = -1.0, plus = 1.0, below = 0.0, total = 0.0, equal = 0.0
    for i in range(n):
        residual[i] = y[i]
    dgemv("T", &k, &rows, &minus, <double *> &Q[0, 0], &k, <double *> beta, &one, &plus, residual, &one)
    for i in range(n):
        square[i] = residual[i] * residual[i]
        weight[i] = s[i]
    cut[0] = _cut(square, weight, n, wanted, &below)
    for i in range(n):
        square[i] = residual[i] * residual[i]
        if square[i] < cut[0]:
            total += s[i] * square[i]
        elif square[i] == cut[0]:
            equal += s[i]
    share[0] = min(1.0, (wanted - below) / equal) if equal > 0.0 else 1.0
    return total + max(wanted - below, 0.0) * cut[0]


cdef int _fit(
    const double[:, ::1] Q, const double[::1] y, const double[::1] s, const double *square, double cut, double share,
    double *block, double *gram, double *beta
) noexcept nogil:
    """Least squares on the rows up to the cut, with a ridge at the level of rounding."""
    cdef Py_ssize_t n = Q.shape[0], i, j, filled = 0
    cdef int k = <int> Q.shape[1], one = 1, info = 0, size
    cdef double plus = 1.0, root, trace = 0.0, yi
    for i in range(k * k):
        gram[i] = 0.0
    for j in range(k):
        beta[j] = 0.0
    for i in range(n):
        if square[i] > cut:
            continue
        root = s[i] * (share if square[i] == cut else 1.0)
        yi = root * y[i]
        root = sqrt(root)
        for j in range(k):
            block[filled * k + j] = root * Q[i, j]
            beta[j] += yi * Q[i, j]
        filled += 1
        if filled == BLOCK:
            size = <int> filled
            dsyrk("L", "N", &k, &size, &plus, block, &k, &plus, gram, &k)
            filled = 0
    if filled:
        size = <int> filled
        dsyrk("L", "N", &k, &size, &plus, block, &k, &plus, gram, &k)
    for j in range(k):
        trace += gram[j * k + j]
    for j in range(k):
        gram[j * k + j] += 1e-11 * trace / k
    dpotrf("L", &k, gram, &k, &info)
    if info == 0:
        dpotrs("L", &k, &one, gram, &k, beta, &k, &info)
    return info


cdef void _through_rows(
    const double[:, ::1] Q, const double[::1] y, const Py_ssize_t[:] draws, double *basis, double *beta
) noexcept nogil:
    """The smallest beta that fits the first k of the drawn rows which are independent (fewer, if there are not k)."""
    cdef Py_ssize_t k = Q.shape[1], d, i, j, m, count = 0, _again
    cdef double size, left, dot, target
    cdef double *v
    for j in range(k):
        beta[j] = 0.0
    for d in range(draws.shape[0]):
        if count == k:
            return
        i = draws[d]
        v = basis + count * k
        size = 0.0
        for j in range(k):
            v[j] = Q[i, j]
            size += v[j] * v[j]
        # beta so far lies in the span of the rows before, so its part along the new direction is what is missing
        for _again in range(2):
            for m in range(count):
                dot = 0.0
                for j in range(k):
                    dot += v[j] * basis[m * k + j]
                for j in range(k):
                    v[j] -= dot * basis[m * k + j]
        left = 0.0
        target = y[i]
        for j in range(k):
            left += v[j] * v[j]
            target -= Q[i, j] * beta[j]
        if left <= 1e-12 * size or size == 0.0:
            continue
        left = sqrt(left)
        for j in range(k):
            v[j] /= left
        dot = 0.0
        for j in range(k):
            dot += Q[i, j] * v[j]
        for j in range(k):
            beta[j] += target / dot * v[j]
        count += 1


def concentrate(
    const double[:, ::1] Q,
    const double[::1] y,
    const double[::1] s,
    double wanted,
    const double[:, ::1] starts,
    const Py_ssize_t[:, ::1] draws,
    int max_steps,
    double tol,
):
    """Concentration steps from given coefficients and from fits through few drawn rows.

    Minimises the sum of the smallest squared residuals, of total weight ``wanted``. Every start takes up to
    ``max_steps`` steps, and stops when one lowers the sum by less than ``tol`` of it.

    Returns
    -------
    betas : ndarray of shape (n_starts + n_draws, k)
    objectives : ndarray
    """
    cdef Py_ssize_t n = Q.shape[0], k = Q.shape[1], n_given = starts.shape[0], at, j
    cdef Py_ssize_t total = n_given + draws.shape[0]
    cdef int _step
    cdef double cut = 0.0, share = 1.0, value, before
    betas = np.zeros((total, k))
    objectives = np.zeros(total)
    cdef double[:, ::1] betas_ = betas
    cdef double[::1] objectives_ = objectives
    if n == 0 or k == 0 or total == 0:
        return betas, objectives
    cdef double *work = <double *> malloc((3 * n + BLOCK * k + 2 * k * k + k) * sizeof(double))
    if work == NULL:
        raise MemoryError()
    cdef double *residual = work
    cdef double *square = work + n
    cdef double *weight = work + 2 * n
    cdef double *block = work + 3 * n
    cdef double *gram = block + BLOCK * k
    cdef double *basis = gram + k * k
    cdef double *beta = basis + k * k
    with nogil:
        for at in range(total):
            if at < n_given:
                for j in range(k):
                    betas_[at, j] = starts[at, j]
            else:
                _through_rows(Q, y, draws[at - n_given], basis, &betas_[at, 0])
            before = _trimmed(Q, y, s, wanted, &betas_[at, 0], residual, square, weight, &cut, &share)
            for _step in range(max_steps):
                if before == 0.0 or _fit(Q, y, s, square, cut, share, block, gram, beta) != 0:
                    break
                value = _trimmed(Q, y, s, wanted, beta, residual, square, weight, &cut, &share)
                if value > before:
                    break
                for j in range(k):
                    betas_[at, j] = beta[j]
                if before - value <= tol * before:
                    before = value
                    break
                before = value
            objectives_[at] = before
    free(work)
    return betas, objectives
