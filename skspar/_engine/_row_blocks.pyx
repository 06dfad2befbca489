# cython: freethreading_compatible = True
"""Passes over the rows of a tall matrix, a block at a time, so that what a block needs stays in cache."""
import numpy as np

from cython cimport floating
from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from scipy.linalg.cython_blas cimport dgemm, dgemv, dsyrk

cdef Py_ssize_t BLOCK = 512


cdef void _read(
    const floating[:, :] X, const double *origin, Py_ssize_t start, Py_ssize_t size, double *out
) noexcept nogil:
    """Rows less the origin, one after another."""
    cdef Py_ssize_t i, j, p = X.shape[1]
    if X.strides[1] <= X.strides[0]:
        for i in range(size):
            for j in range(p):
                out[i * p + j] = X[start + i, j] - origin[j]
    else:
        for j in range(p):
            for i in range(size):
                out[i * p + j] = X[start + i, j] - origin[j]


def centred_gram(const floating[:, :] X, const double[::1] origin, const double[::1] weights):
    """``Z' S Z`` (lower triangle) and ``Z' s`` for ``Z = X - origin``."""
    cdef Py_ssize_t n = X.shape[0], p = X.shape[1], b, i, j, start, size
    cdef int width = <int> p, rows, one_step = 1
    cdef double one = 1.0, root
    gram = np.zeros((p, p), order="F")
    total = np.zeros(p)
    cdef double[::1, :] gram_ = gram
    cdef double[::1] total_ = total
    if p == 0 or n == 0:
        return gram, total
    cdef double *block = <double *> malloc(BLOCK * p * sizeof(double))
    if block == NULL:
        raise MemoryError()
    with nogil:
        for b in range((n + BLOCK - 1) // BLOCK):
            start = b * BLOCK
            size = min(BLOCK, n - start)
            rows = <int> size
            _read(X, &origin[0], start, size, block)
            dgemv("N", &width, &rows, &one, block, &width, <double *> &weights[start], &one_step, &one, &total_[0],
                  &one_step)
            for i in range(size):
                root = weights[start + i]
                if root != 1.0:
                    root = sqrt(root)
                    for j in range(p):
                        block[i * p + j] *= root
            dsyrk("L", "N", &width, &rows, &one, block, &width, &one, &gram_[0, 0], &width)
    free(block)
    return gram, total


def centred_product(
    const floating[:, :] X,
    const double[::1] origin,
    const double[::1, :] T,
    Py_ssize_t first,
    double constant,
    double[:, ::1] out,
    double[::1] lengths,
):
    """Write ``(X - origin) T`` after ``first`` columns of a constant, and the squared lengths of these rows."""
    cdef Py_ssize_t n = X.shape[0], p = X.shape[1], b, i, j, start, size
    cdef int width = <int> p, rows, k = <int> T.shape[1], lead = <int> out.shape[1]
    cdef double one = 1.0, zero = 0.0, total
    cdef double *block = <double *> malloc((BLOCK * p + 1) * sizeof(double))
    if block == NULL:
        raise MemoryError()
    with nogil:
        for b in range((n + BLOCK - 1) // BLOCK):
            start = b * BLOCK
            size = min(BLOCK, n - start)
            rows = <int> size
            if k > 0:
                _read(X, &origin[0], start, size, block)
                # out' = T' Z'
                dgemm("T", "N", &k, &rows, &width, &one, <double *> &T[0, 0], &width, block, &width, &zero,
                      &out[start, first], &lead)
            for i in range(start, start + size):
                total = 0.0
                for j in range(first):
                    out[i, j] = constant
                for j in range(lead):
                    total += out[i, j] * out[i, j]
                lengths[i] = total
    free(block)


def weighted_gram(const double[:, ::1] Q, const double[::1] weights):
    """``Q' diag(weights) Q`` (lower triangle), reading only the rows whose weight is positive."""
    cdef Py_ssize_t n = Q.shape[0], k = Q.shape[1], i, j, filled = 0
    cdef int width = <int> k, rows
    cdef double one = 1.0, root
    gram = np.zeros((k, k), order="F")
    cdef double[::1, :] gram_ = gram
    if k == 0 or n == 0:
        return gram
    cdef double *block = <double *> malloc(BLOCK * k * sizeof(double))
    if block == NULL:
        raise MemoryError()
    with nogil:
        for i in range(n):
            if weights[i] > 0.0:
                root = sqrt(weights[i])
                for j in range(k):
                    block[filled * k + j] = root * Q[i, j]
                filled += 1
            if filled == BLOCK or (i == n - 1 and filled > 0):
                rows = <int> filled
                dsyrk("L", "N", &width, &rows, &one, block, &width, &one, &gram_[0, 0], &width)
                filled = 0
    free(block)
    return gram


def residual_gradient(
    const double[:, ::1] Q, const double[::1] y, const double[::1] beta, const double[::1] weights, double[::1] residual
):
    """Write ``y - Q beta``; return ``Q' diag(weights) (y - Q beta)``."""
    cdef Py_ssize_t n = Q.shape[0], b, i, start, size
    cdef int k = <int> Q.shape[1], rows, step = 1
    cdef double minus = -1.0, one = 1.0
    gradient = np.zeros(k)
    cdef double[::1] gradient_ = gradient
    cdef double *weighted = <double *> malloc(BLOCK * sizeof(double))
    if weighted == NULL:
        raise MemoryError()
    with nogil:
        for b in range((n + BLOCK - 1) // BLOCK):
            start = b * BLOCK
            size = min(BLOCK, n - start)
            rows = <int> size
            for i in range(size):
                residual[start + i] = y[start + i]
            if k > 0:
                dgemv("T", &k, &rows, &minus, <double *> &Q[start, 0], &k, <double *> &beta[0], &step, &one,
                      &residual[start], &step)
                for i in range(size):
                    weighted[i] = weights[start + i] * residual[start + i]
                dgemv("N", &k, &rows, &one, <double *> &Q[start, 0], &k, weighted, &step, &one, &gradient_[0], &step)
    free(weighted)
    return gradient


def squared_lengths(const double[:, ::1] Q, whiten=None):
    """Squared lengths of the rows of Q, or of ``Q whiten``."""
    cdef Py_ssize_t n = Q.shape[0], b, i, j, start, size
    cdef int k = <int> Q.shape[1], m, rows
    cdef double one = 1.0, zero = 0.0, total
    cdef const double[::1, :] W
    out = np.zeros(n)
    cdef double[::1] out_ = out
    if n == 0 or k == 0:
        return out
    if whiten is None:
        with nogil:
            for i in range(n):
                total = 0.0
                for j in range(k):
                    total += Q[i, j] * Q[i, j]
                out_[i] = total
        return out
    W = np.asfortranarray(whiten)
    m = <int> W.shape[1]
    if m == 0:
        return out
    cdef double *block = <double *> malloc(BLOCK * m * sizeof(double))
    if block == NULL:
        raise MemoryError()
    with nogil:
        for b in range((n + BLOCK - 1) // BLOCK):
            start = b * BLOCK
            size = min(BLOCK, n - start)
            rows = <int> size
            dgemm("T", "N", &m, &rows, &k, &one, <double *> &W[0, 0], &k, <double *> &Q[start, 0], &k, &zero, block, &m)
            for i in range(size):
                total = 0.0
                for j in range(m):
                    total += block[i * m + j] * block[i * m + j]
                out_[start + i] = total
    free(block)
    return out
