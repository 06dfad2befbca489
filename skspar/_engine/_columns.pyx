# cython: freethreading_compatible = True
"""Kernels that read the columns of a design: moments, copies, products.

Every kernel reads float32 or float64 and accumulates in float64. A column j is always seen shifted by
``shift[j]`` (zero for most): columns whose mean is large beside their spread are shifted before any product is
formed, because a correction afterwards cancels.
"""
import numpy as np

from cython cimport floating
from libc.math cimport sqrt

cdef extern from "_add_columns.h" nogil:
    void add_columns(
        double *, const double *, Py_ssize_t, Py_ssize_t, const Py_ssize_t *, const double *, double, Py_ssize_t
    )

cdef extern from "_columns_loops.h" nogil:
    void add_correlations(
        const double *, Py_ssize_t, Py_ssize_t, const Py_ssize_t *, Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t,
        double *, Py_ssize_t
    )

# what is written, where that may be of another type than what is read
ctypedef fused number:
    float
    double

ctypedef fused index_t:
    int
    long long


def dense_moments(const floating[:, :] X, const double[::1] v):
    """Weighted mean and standard deviation of every column, ``v`` summing to one.

    Sums are taken about the first row of positive weight, so that a large mean does not cancel.
    """
    cdef Py_ssize_t n = X.shape[0], p = X.shape[1], i, j, first = 0
    cdef double x, reference, total, square
    mean = np.zeros(p)
    deviation = np.zeros(p)
    cdef double[::1] mean_ = mean, deviation_ = deviation
    cdef double[::1] reference_
    if p == 0 or n == 0:
        return mean, deviation
    while first < n - 1 and v[first] == 0.0:
        first += 1
    if X.strides[0] <= X.strides[1]:
        with nogil:
            for j in range(p):
                reference = X[first, j]
                total = 0.0
                square = 0.0
                for i in range(n):
                    x = X[i, j] - reference
                    total += v[i] * x
                    square += v[i] * x * x
                mean_[j] = reference + total
                deviation_[j] = sqrt(max(square - total * total, 0.0))
    else:
        reference_ = np.array(X[first], dtype=np.float64)
        with nogil:
            for i in range(n):
                for j in range(p):
                    x = X[i, j] - reference_[j]
                    mean_[j] += v[i] * x
                    deviation_[j] += v[i] * x * x
            for j in range(p):
                deviation_[j] = sqrt(max(deviation_[j] - mean_[j] * mean_[j], 0.0))
                mean_[j] += reference_[j]
    return mean, deviation


def dense_columns(
    const floating[:, :] X,
    const Py_ssize_t[::1] rows,
    const Py_ssize_t[::1] columns,
    const double[::1] shift,
    number[::1, :] out,
):
    """``out[a, b] = X[rows[a], columns[b]] - shift[columns[b]]``."""
    cdef Py_ssize_t a, b, j, i, n = rows.shape[0], m = columns.shape[0], start, stop
    cdef double s
    cdef const floating *x
    cdef number *o
    cdef bint together = n > 0 and X.strides[0] == sizeof(floating)
    with nogil:
        for a in range(1, n):
            together = together and rows[a] == rows[a - 1] + 1
        if together:
            for b in range(m):
                s, x, o = shift[columns[b]], &X[rows[0], columns[b]], &out[0, b]
                for a in range(n):
                    o[a] = <number> (x[a] - s)
        elif X.strides[0] <= X.strides[1]:
            for b in range(m):
                j = columns[b]
                s = shift[j]
                for a in range(n):
                    out[a, b] = <number> (X[rows[a], j] - s)
        else:
            # tiles of rows keep the strided writes in cache
            start = 0
            while start < n:
                stop = min(start + 32, n)
                for b in range(m):
                    j = columns[b]
                    s = shift[j]
                    for a in range(start, stop):
                        i = rows[a]
                        out[a, b] = <number> (X[i, j] - s)
                start = stop


cdef enum:
    # numbers of R that stay in the second cache
    KEPT = 32768


def dense_correlate(const double[:, :] X, const double[:, :] R, double[:, :] out):
    """``out += X' R`` for a few columns R; those of all three are contiguous."""
    cdef Py_ssize_t n = X.shape[0], p = X.shape[1], width = R.shape[1], i, k, rows
    cdef Py_ssize_t step = max(8, KEPT // max(width, 1) // 8 * 8)
    if n == 0 or p == 0 or width == 0:
        return
    with nogil:
        for k in range((n + step - 1) // step):
            i = k * step
            rows = min(step, n - i)
            add_correlations(
                &X[i, 0], X.strides[1] // 8, rows, NULL, p, &R[i, 0], R.strides[1] // 8, width, &out[0, 0],
                out.strides[1] // 8,
            )


cdef enum:
    # rows and, of a Gram matrix, columns whose products are formed together
    TOGETHER = 512
    DIAGONAL = 6


def dense_subtract_product(
    const double[:, :] X, const Py_ssize_t[::1] columns, const double[::1, :] B, double[:, :] R
):
    """``R -= X_J B``, each J read as often as R has columns; the columns of X and R are contiguous."""
    cdef Py_ssize_t n = X.shape[0], i, k, c
    if n == 0 or columns.shape[0] == 0:
        return
    with nogil:
        for k in range((n + TOGETHER - 1) // TOGETHER):
            i = k * TOGETHER
            for c in range(R.shape[1]):
                add_columns(
                    &R[i, c], &X[i, 0], X.strides[1] // 8, min(TOGETHER, n - i), &columns[0], &B[0, c], -1.0,
                    columns.shape[0],
                )


def dense_gram(
    const double[:, :] X,
    const Py_ssize_t[::1] columns,
    const double[::1] mean,
    const double[::1] root,
    double[:, :] out,
    double[::1] sums,
):
    """``out += X_K' V Z`` for ``Z = (X - mean)_N``, the last columns N of K; their own rows are of ``Z' V Z``.

    The columns of X and of out are contiguous. ``root`` holds the roots of the weights, or nothing if all are one.
    Unless ``sums`` is empty, ``X_K' V 1`` is added to it, for the columns N ``Z' V 1``.
    """
    cdef Py_ssize_t n = X.shape[0], m = columns.shape[0], last = out.shape[1], a, b, i, j, k, rows, old = m - last
    # an odd number of cache lines, lest all columns share the same few places of a cache
    cdef Py_ssize_t lead = TOGETHER + 8, apart = X.strides[1] // 8, stride = out.strides[1] // 8
    cdef bint weighted = root.shape[0] > 0
    cdef double[::1, :] part = np.empty((lead, last), order="F")
    cdef double[::1] v = np.ones(TOGETHER)
    cdef const double *x
    cdef double *z
    cdef double s
    if n == 0 or last == 0:
        return
    with nogil:
        for k in range((n + TOGETHER - 1) // TOGETHER):
            i = k * TOGETHER
            rows = min(TOGETHER, n - i)
            for b in range(last):
                s, x, z = mean[columns[old + b]], &X[i, columns[old + b]], &part[0, b]
                for a in range(rows):
                    z[a] = x[a] - s
            if weighted:
                for a in range(rows):
                    v[a] = root[i + a] * root[i + a]
                for b in range(last):
                    z = &part[0, b]
                    for a in range(rows):
                        z[a] *= root[i + a]
            # of blocks of columns, those before the diagonal's
            for j in range((last + DIAGONAL - 1) // DIAGONAL):
                b = j * DIAGONAL
                a = min(DIAGONAL, last - b)
                add_correlations(
                    &part[0, 0], lead, rows, NULL, b + a, &part[0, b], lead, a, &out[old, b], stride
                )
            if weighted:
                for b in range(last):
                    z = &part[0, b]
                    for a in range(rows):
                        z[a] *= root[i + a]
            add_correlations(&X[i, 0], apart, rows, &columns[0], old, &part[0, 0], lead, last, &out[0, 0], stride)
            if sums.shape[0]:
                add_correlations(&X[i, 0], apart, rows, &columns[0], old, &v[0], rows, 1, &sums[0], m)
                for b in range(last):
                    z = &part[0, b]
                    for a in range(rows):
                        sums[old + b] += z[a]
        for b in range(last):
            for a in range(b):
                out[old + b, a] = out[old + a, b]


def sparse_moments(
    const floating[::1] data, const index_t[::1] indices, const index_t[::1] indptr, const double[::1] v
):
    """Weighted mean and standard deviation of every column of a CSC matrix, ``v`` summing to one."""
    cdef Py_ssize_t p = indptr.shape[0] - 1, j, k
    cdef double total, square, covered, x
    mean = np.zeros(p)
    deviation = np.zeros(p)
    cdef double[::1] mean_ = mean, deviation_ = deviation
    with nogil:
        for j in range(p):
            total = 0.0
            covered = 0.0
            for k in range(indptr[j], indptr[j + 1]):
                total += v[indices[k]] * data[k]
                covered += v[indices[k]]
            square = total * total * max(1.0 - covered, 0.0)
            for k in range(indptr[j], indptr[j + 1]):
                x = data[k] - total
                square += v[indices[k]] * x * x
            mean_[j] = total
            deviation_[j] = sqrt(square)
    return mean, deviation


def sparse_columns(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[::1] shift,
    double[::1, :] out,
):
    """Dense copy of some shifted columns of a CSC matrix, all rows."""
    cdef Py_ssize_t b, i, j, k, n = out.shape[0], m = columns.shape[0]
    with nogil:
        for b in range(m):
            j = columns[b]
            for i in range(n):
                out[i, b] = -shift[j]
            for k in range(indptr[j], indptr[j + 1]):
                out[indices[k], b] = data[k] - shift[j]


cdef enum:
    # columns of R whose sums are formed together
    LANES = 8


cdef inline double _sum(
    const floating *data, const index_t *rows, Py_ssize_t count, const double *r
) noexcept nogil:
    cdef Py_ssize_t k
    cdef double even = 0.0, odd = 0.0
    for k in range(0, count - 1, 2):
        even += data[k] * r[rows[k]]
        odd += data[k + 1] * r[rows[k + 1]]
    if count % 2:
        even += data[count - 1] * r[rows[count - 1]]
    return even + odd


cdef inline void _sums(
    const floating *data, const index_t *rows, Py_ssize_t count, const double *R, double *out
) noexcept nogil:
    """The same for LANES columns of R."""
    cdef Py_ssize_t k, c
    cdef double x
    cdef const double *r
    cdef double[LANES] sums
    for c in range(LANES):
        sums[c] = 0.0
    for k in range(count):
        x = data[k]
        r = R + LANES * <Py_ssize_t> rows[k]
        for c in range(LANES):
            sums[c] += x * r[c]
    for c in range(LANES):
        out[c] = sums[c]


def sparse_correlate(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[::1] shift,
    const double[:, ::1] R,
    double[::1, :] out,
):
    """``out[b] = (X[:, columns[b]] - shift)' R`` for a CSC matrix with sorted indices."""
    cdef Py_ssize_t b, c, i, j, k, end, n = R.shape[0], width = R.shape[1], m = columns.shape[0]
    cdef double x
    cdef double[:, ::1] lanes
    cdef double[::1] sums = np.empty(max(width, LANES))
    if width == 0 or n == 0 or data.shape[0] == 0:
        np.asarray(out)[:] = -np.outer(np.asarray(shift)[np.asarray(columns)], np.sum(R, axis=0))
        return
    if 1 < width <= LANES:
        # filled up with zeros, so that the number of columns is known beforehand
        padded = np.zeros((n, LANES))
        padded[:, :width] = R
        lanes = padded
    with nogil:
        for b in range(m):
            j = columns[b]
            k = indptr[j]
            end = indptr[j + 1]
            if shift[j] == 0.0 and width == 1:
                sums[0] = _sum(&data[0] + k, &indices[0] + k, end - k, &R[0, 0])
            elif shift[j] == 0.0 and width <= LANES:
                _sums(&data[0] + k, &indices[0] + k, end - k, &lanes[0, 0], &sums[0])
            else:
                for c in range(width):
                    sums[c] = 0.0
                if shift[j] == 0.0:
                    for k in range(k, end):
                        x = data[k]
                        i = indices[k]
                        for c in range(width):
                            sums[c] += x * R[i, c]
                else:
                    # such a column has hardly a zero (its mean is far above its spread): walk all rows
                    for i in range(n):
                        x = -shift[j]
                        if k < end and indices[k] == i:
                            x = data[k] - shift[j]
                            k += 1
                        for c in range(width):
                            sums[c] += x * R[i, c]
            for c in range(width):
                out[b, c] = sums[c]


def sparse_subtract_product(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[::1] shift,
    const double[:, ::1] B,
    double[:, ::1] R,
):
    """``R -= (X[:, columns] - shift) B`` for a CSC matrix with sorted indices."""
    cdef Py_ssize_t b, c, i, j, k, end, n = R.shape[0], width = R.shape[1], m = columns.shape[0]
    cdef double x
    with nogil:
        for b in range(m):
            j = columns[b]
            if shift[j] == 0.0:
                for k in range(indptr[j], indptr[j + 1]):
                    x = data[k]
                    i = indices[k]
                    for c in range(width):
                        R[i, c] -= x * B[b, c]
            else:
                k = indptr[j]
                end = indptr[j + 1]
                for i in range(n):
                    x = -shift[j]
                    if k < end and indices[k] == i:
                        x = data[k] - shift[j]
                        k += 1
                    for c in range(width):
                        R[i, c] -= x * B[b, c]
