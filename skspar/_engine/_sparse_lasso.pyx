# cython: freethreading_compatible = True
"""Kernels of the Lasso on some columns of a CSC matrix: epochs of coordinate descent, gradients, Gram products.

The columns are seen projected: with Q orthonormal in the metric V = diag(v) (the intercept and the unpenalised columns)
and ``h_j = Q' V x_j``, the projected column is ``x_j - Q h_j``. It is never formed. Of the residual ``R - Q w`` the
kernels keep ``V R`` and w.
"""
import numpy as np

from cython cimport floating
from libc.math cimport fabs

ctypedef fused index_t:
    int
    long long


def squared_norms(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[::1] v,
    const double[:, ::1] h,
):
    """``||x_j - Q h_j||_V^2``."""
    cdef Py_ssize_t a, i, m = columns.shape[0]
    cdef index_t k
    cdef double total, plain
    out = np.empty(m)
    cdef double[::1] out_ = out
    with nogil:
        for a in range(m):
            plain = 0.0
            for k in range(indptr[columns[a]], indptr[columns[a] + 1]):
                plain += <double> data[k] * data[k] * v[indices[k]]
            total = plain
            for i in range(h.shape[1]):
                total -= h[a, i] * h[a, i]
            # a column within the span of Q leaves rounding errors only
            out_[a] = total if total > 1e-14 * plain else 0.0
    return out


cdef double _gradient(
    const floating[::1] data, const index_t[::1] indices, const index_t[::1] indptr, Py_ssize_t column,
    const double[:, ::1] h, Py_ssize_t a, const double[::1] weighted, const double[::1] w
) noexcept nogil:
    cdef index_t k
    cdef Py_ssize_t i
    cdef double total = 0.0
    for k in range(indptr[column], indptr[column + 1]):
        total += data[k] * weighted[indices[k]]
    for i in range(w.shape[0]):
        total -= h[a, i] * w[i]
    return total


def gradients(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[:, ::1] h,
    const double[::1] weighted,
    const double[::1] w,
):
    """``(x_j - Q h_j)' V (R - Q w)`` for every column, given ``weighted = V R``."""
    cdef Py_ssize_t a
    out = np.empty(columns.shape[0])
    cdef double[::1] out_ = out
    with nogil:
        for a in range(columns.shape[0]):
            out_[a] = _gradient(data, indices, indptr, columns[a], h, a, weighted, w)
    return out


def subtract(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[::1] v,
    const double[:, ::1] h,
    const double[::1] b,
    double[::1] weighted,
    double[::1] w,
):
    """Subtract ``sum_j b_j (x_j - Q h_j)`` from the residual, in place."""
    cdef Py_ssize_t a, i
    cdef index_t k
    with nogil:
        for a in range(columns.shape[0]):
            if b[a] == 0.0:
                continue
            for k in range(indptr[columns[a]], indptr[columns[a] + 1]):
                weighted[indices[k]] -= b[a] * data[k] * v[indices[k]]
            for i in range(w.shape[0]):
                w[i] -= b[a] * h[a, i]


def epochs(
    const floating[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] columns,
    const double[::1] v,
    const double[:, ::1] h,
    const double[::1] squares,
    const double[::1] bounds,
    const double[::1] offset,
    bint positive,
    const Py_ssize_t[::1] order,
    int count,
    double tol,
    double[::1] b,
    double[::1] weighted,
    double[::1] w,
):
    """At most ``count`` epochs of coordinate descent over the columns in ``order``, in place.

    Returns how many were run: they end when no gradient changes by more than ``tol`` of its bound.
    """
    cdef Py_ssize_t o, a, i
    cdef index_t k
    cdef int epoch = 0
    cdef double z, new, step, largest
    with nogil:
        while epoch < count:
            epoch += 1
            largest = 0.0
            for o in range(order.shape[0]):
                a = order[o]
                if squares[a] == 0.0:
                    continue
                z = offset[a] + squares[a] * b[a] + _gradient(data, indices, indptr, columns[a], h, a, weighted, w)
                if z > bounds[a]:
                    new = (z - bounds[a]) / squares[a]
                elif z < -bounds[a] and not positive:
                    new = (z + bounds[a]) / squares[a]
                else:
                    new = 0.0
                step = new - b[a]
                if step == 0.0:
                    continue
                b[a] = new
                largest = max(largest, fabs(step) * squares[a] / bounds[a])
                for k in range(indptr[columns[a]], indptr[columns[a] + 1]):
                    weighted[indices[k]] -= step * data[k] * v[indices[k]]
                for i in range(w.shape[0]):
                    w[i] -= step * h[a, i]
            if largest <= tol:
                break
    return epoch
