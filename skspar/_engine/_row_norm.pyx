# cython: freethreading_compatible = True
"""Huber's loss of the norms of residual rows, in single passes over the rows.

    sum_i s_i H(||r_i||; t),  H(u; t) = u^2 / 2 up to t and t u - t^2 / 2 beyond,  R = Y - Q B
"""
import numpy as np

from libc.math cimport sqrt
from scipy.linalg.cython_blas cimport dgemm

# Rows whose part of Q and of the residuals stays in cache between the two products.
cdef Py_ssize_t BLOCK = 256


cdef void _times(const double *q, const double *b, double *out, int rows, int k, int c, double scale,
                 double keep) noexcept nogil:
    """out (rows x c) = keep out + scale Q B, all stored row by row."""
    dgemm("N", "N", &c, &rows, &k, &scale, <double *> b, &c, <double *> q, &k, &keep, out, &c)


cdef void _gather(const double *q, const double *t, double *out, int rows, int k, int c) noexcept nogil:
    """out (k x c) += Q' T, all stored row by row."""
    cdef double one = 1.0
    dgemm("N", "T", &c, &k, &rows, &one, <double *> t, &c, <double *> q, &k, &one, out, &c)


def evaluate(
    const double[:, ::1] Q,
    const double[:, ::1] Y,
    const double[:, ::1] B,
    const double[::1] weights,
    double threshold,
    double[:, ::1] residual,
    double[::1] norms,
):
    """Write the residuals and their norms; return the loss and minus its gradient in B."""
    cdef Py_ssize_t n = Q.shape[0], k = Q.shape[1], c = Y.shape[1], block, start, size, i, j
    cdef double total = 0.0, block_total, square, norm, share
    gradient = np.zeros((k, c))
    scratch = np.empty((BLOCK, c))
    cdef double[:, ::1] gradient_ = gradient, part = scratch
    with nogil:
        for block in range((n + BLOCK - 1) // BLOCK):
            start = block * BLOCK
            size = min(BLOCK, n - start)
            for i in range(start, start + size):
                for j in range(c):
                    residual[i, j] = Y[i, j]
            if k > 0:
                _times(&Q[start, 0], &B[0, 0], &residual[start, 0], <int> size, <int> k, <int> c, -1.0, 1.0)
            block_total = 0.0
            for i in range(size):
                square = 0.0
                for j in range(c):
                    square += residual[start + i, j] * residual[start + i, j]
                norm = sqrt(square)
                norms[start + i] = norm
                if norm <= threshold:
                    share = weights[start + i]
                    block_total += 0.5 * weights[start + i] * square
                else:
                    share = weights[start + i] * threshold / norm
                    block_total += weights[start + i] * threshold * (norm - 0.5 * threshold)
                for j in range(c):
                    part[i, j] = share * residual[start + i, j]
            total += block_total
            if k > 0:
                _gather(&Q[start, 0], &part[0, 0], &gradient_[0, 0], <int> size, <int> k, <int> c)
    return total, gradient


def curvature(
    const double[:, ::1] Q,
    const double[:, ::1] V,
    const double[:, ::1] residual,
    const double[::1] norms,
    const double[::1] weights,
    double threshold,
):
    """The Hessian of the loss times V, at residuals and norms that `evaluate` wrote."""
    cdef Py_ssize_t n = Q.shape[0], k = Q.shape[1], c = V.shape[1], block, start, size, i, j
    cdef double share, along
    out = np.zeros((k, c))
    scratch = np.empty((BLOCK, c))
    cdef double[:, ::1] out_ = out, part = scratch
    if k == 0:
        return out
    with nogil:
        for block in range((n + BLOCK - 1) // BLOCK):
            start = block * BLOCK
            size = min(BLOCK, n - start)
            _times(&Q[start, 0], &V[0, 0], &part[0, 0], <int> size, <int> k, <int> c, 1.0, 0.0)
            for i in range(size):
                share = weights[start + i]
                if norms[start + i] > threshold:
                    share *= threshold / norms[start + i]
                    along = 0.0
                    for j in range(c):
                        along += part[i, j] * residual[start + i, j]
                    along /= norms[start + i] * norms[start + i]
                    for j in range(c):
                        part[i, j] = share * (part[i, j] - along * residual[start + i, j])
                else:
                    for j in range(c):
                        part[i, j] *= share
            _gather(&Q[start, 0], &part[0, 0], &out_[0, 0], <int> size, <int> k, <int> c)
    return out


def dual_parts(
    const double[:, ::1] Q,
    const double[:, ::1] residual,
    const double[::1] norms,
    const double[::1] weights,
    double threshold,
    const double[:, ::1] gradient,
):
    """Of the dual point theta, the clipped residuals less what Q explains of them: its largest row norm,
    ``sum_i s_i r_i' theta_i`` and ``sum_i s_i ||theta_i||^2``."""
    cdef Py_ssize_t n = Q.shape[0], k = Q.shape[1], c = residual.shape[1], block, start, size, i, j
    cdef double share, largest = 0.0, square, cross, theta, total_cross = 0.0, total_square = 0.0
    scratch = np.zeros((BLOCK, c))
    cdef double[:, ::1] part = scratch
    with nogil:
        for block in range((n + BLOCK - 1) // BLOCK):
            start = block * BLOCK
            size = min(BLOCK, n - start)
            if k > 0:
                _times(&Q[start, 0], &gradient[0, 0], &part[0, 0], <int> size, <int> k, <int> c, 1.0, 0.0)
            for i in range(size):
                share = 1.0 if norms[start + i] <= threshold else threshold / norms[start + i]
                square = 0.0
                cross = 0.0
                for j in range(c):
                    theta = share * residual[start + i, j] - part[i, j]
                    square += theta * theta
                    cross += theta * residual[start + i, j]
                largest = max(largest, square)
                total_cross += weights[start + i] * cross
                total_square += weights[start + i] * square
    return sqrt(largest), total_cross, total_square


def derivative_in_threshold(
    const double[:, ::1] Q,
    const double[:, ::1] residual,
    const double[::1] norms,
    const double[::1] weights,
    double threshold,
):
    """The derivative of `evaluate`'s gradient in the threshold: the sum of s_i q_i u_i' over rows beyond it."""
    cdef Py_ssize_t n = Q.shape[0], k = Q.shape[1], c = residual.shape[1], block, start, size, i, j
    cdef double share
    out = np.zeros((k, c))
    scratch = np.empty((BLOCK, c))
    cdef double[:, ::1] out_ = out, part = scratch
    if k == 0:
        return out
    with nogil:
        for block in range((n + BLOCK - 1) // BLOCK):
            start = block * BLOCK
            size = min(BLOCK, n - start)
            for i in range(size):
                share = weights[start + i] / norms[start + i] if norms[start + i] > threshold else 0.0
                for j in range(c):
                    part[i, j] = share * residual[start + i, j]
            _gather(&Q[start, 0], &part[0, 0], &out_[0, 0], <int> size, <int> k, <int> c)
    return out
