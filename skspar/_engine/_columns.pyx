# cython: freethreading_compatible = True
"""Kernels that read the columns of a design: moments, copies, products.

Every kernel reads float32 or float64 and accumulates in float64. A column j is always seen shifted by
``shift[j]`` (zero for most): columns whose mean is large beside their spread are shifted before any product is
formed, because a correction afterwards cancels.
"""
import numpy as np

from cython cimport floating
from libc.math cimport sqrt

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
    double[::1, :] out,
):
    """``out[a, b] = X[rows[a], columns[b]] - shift[columns[b]]``."""
    cdef Py_ssize_t a, b, j, i, n = rows.shape[0], m = columns.shape[0], start, stop
    cdef double s
    with nogil:
        if X.strides[0] <= X.strides[1]:
            for b in range(m):
                j = columns[b]
                s = shift[j]
                for a in range(n):
                    out[a, b] = X[rows[a], j] - s
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
                        out[a, b] = X[i, j] - s
                start = stop


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
    cdef double[::1] sums = np.empty(width)
    with nogil:
        for b in range(m):
            j = columns[b]
            for c in range(width):
                sums[c] = 0.0
            if shift[j] == 0.0:
                for k in range(indptr[j], indptr[j + 1]):
                    x = data[k]
                    i = indices[k]
                    for c in range(width):
                        sums[c] += x * R[i, c]
            else:
                # such a column has hardly a zero (its mean is far above its spread): walk all rows
                k = indptr[j]
                end = indptr[j + 1]
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
