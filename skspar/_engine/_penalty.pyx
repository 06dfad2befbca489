# cython: freethreading_compatible = True
"""Kernels of the block penalty: dual norms of every group at once."""
import numpy as np

from libc.math cimport fabs, sqrt


cdef double _mixed_dual_norm(const double *x, Py_ssize_t size, double ridge, double rho, bint positive) noexcept nogil:
    """Root c of ``||soft(x, c rho)|| = c ridge`` with ``ridge = (1 - rho) w > 0``, ``0 < rho < 1``.

    The difference of the two sides is convex and decreasing in c, so Newton's iteration from the left of the root
    is monotone.
    """
    cdef Py_ssize_t i, count = 0, _sweep
    cdef double value, total = 0.0, plain, norm, c, step
    for i in range(size):
        value = x[i] if positive else fabs(x[i])
        if value > 0.0:
            total += value * value
            count += 1
    if count == 0:
        return 0.0
    c = sqrt(total) / (ridge + rho * sqrt(<double> count))
    for _sweep in range(100):
        total = 0.0
        plain = 0.0
        for i in range(size):
            value = (x[i] if positive else fabs(x[i])) - c * rho
            if value > 0.0:
                total += value * value
                plain += value
        norm = sqrt(total)
        if norm == 0.0:
            return c
        step = (norm - c * ridge) / (rho * plain / norm + ridge)
        c += step
        if step <= 1e-16 * c:
            break
    return c


def dual_norms(
    const double[:, ::1] C,
    const Py_ssize_t[::1] ptr,
    const double[::1] weights,
    double rho,
    bint positive,
):
    """For each group the smallest alpha at which correlations ``C`` (features x targets) keep it at zero.

    The value c solves ``||soft(C_g, c rho)||_F = c (1 - rho) w_g``; for positive coefficients only positive
    correlations count.
    """
    cdef Py_ssize_t n_groups = ptr.shape[0] - 1, width = C.shape[1], g, i
    cdef const double *x
    cdef double total, value
    out = np.zeros(n_groups)
    cdef double[::1] out_ = out
    if n_groups == 0 or width == 0:
        return out
    if C.shape[0] == n_groups and width == 1 and n_groups == ptr[n_groups]:
        # one coefficient each: every norm is its absolute value
        x = &C[0, 0]
        with nogil:
            for g in range(n_groups):
                value = x[g] if positive else fabs(x[g])
                out_[g] = (value if value > 0.0 else 0.0) / (1.0 if rho == 1.0 else (1.0 - rho) * weights[g] + rho)
        return out
    with nogil:
        for g in range(n_groups):
            x = &C[ptr[g], 0]
            total = 0.0
            if rho == 1.0:
                for i in range((ptr[g + 1] - ptr[g]) * width):
                    value = x[i] if positive else fabs(x[i])
                    total = max(total, value)
                out_[g] = total
            elif rho == 0.0 or (ptr[g + 1] - ptr[g]) * width == 1:
                # one coefficient: both norms are its absolute value
                for i in range((ptr[g + 1] - ptr[g]) * width):
                    value = max(x[i], 0.0) if positive else x[i]
                    total += value * value
                out_[g] = sqrt(total) / ((1.0 - rho) * weights[g] + rho)
            else:
                out_[g] = _mixed_dual_norm(
                    x, (ptr[g + 1] - ptr[g]) * width, (1.0 - rho) * weights[g], rho, positive
                )
    return out
