# cython: freethreading_compatible = True
"""Residuals, influence and loss of M-estimators with a piecewise linear influence function, in one pass over the rows.

The losses are what is left of ``(r - g)^2 / 2 + P(|g|)`` when g is chosen best; ``psi(r) = r - g`` is their slope:

    zone 0, slope 1     |r| <= t                 psi = r             all
    zone 1, constant    t < |r| (< 2 t: SCAD)    psi = t sign(r)     l1, SCAD; -1 where r is negative
    zone 2, falling     up to a t                psi = (a t - |r|) / (a - 1) sign(r) (MCP), / (a - 2) (SCAD)
    zone 3, nothing     beyond                   psi = 0             hard, SCAD, MCP
"""
import numpy as np

from libc.math cimport fabs
from scipy.linalg.cython_blas cimport dgemv

cdef enum Kind:
    L1 = 0
    HARD = 1
    SCAD = 2
    MCP = 3

KINDS = {"l1": L1, "hard": HARD, "scad": SCAD, "mcp": MCP}

# Rows whose part of Q stays in cache between the two products.
cdef Py_ssize_t BLOCK = 512


cdef inline signed char _piece(double r, double t, int kind, double a, double *psi, double *loss) noexcept nogil:
    """Zone of a residual with threshold t; its influence and loss."""
    cdef double size = fabs(r), sign = 1.0 if r > 0.0 else -1.0, end = a * t
    if size <= t:
        psi[0] = r
        loss[0] = 0.5 * r * r
        return 0
    if kind == L1 or (kind == SCAD and size <= 2.0 * t):
        psi[0] = sign * t
        loss[0] = t * size - 0.5 * t * t
        return 1 if r > 0.0 else -1
    if kind == HARD or size > end:
        psi[0] = 0.0
        loss[0] = 0.5 * t * t * (1.0 if kind == HARD else a + 1.0 if kind == SCAD else a)
        return 3
    if kind == MCP:
        psi[0] = sign * (end - size) / (a - 1.0)
        loss[0] = 0.5 * (a * t * t - (end - size) * (end - size) / (a - 1.0))
    else:
        psi[0] = sign * (end - size) / (a - 2.0)
        loss[0] = 0.5 * ((a + 1.0) * t * t - (end - size) * (end - size) / (a - 2.0))
    return 2


def apply_loss(
    const double[::1] residual,
    const double[::1] weights,
    const double[::1] thresholds,
    int kind,
    double a,
    double[::1] influence,
    signed char[::1] zone,
):
    """Write weights times influence, and the zones; return the weighted loss and how many zones changed."""
    cdef Py_ssize_t i, n = residual.shape[0], changed = 0
    cdef double total = 0.0, psi, loss
    cdef signed char z
    with nogil:
        for i in range(n):
            z = _piece(residual[i], thresholds[i], kind, a, &psi, &loss)
            influence[i] = weights[i] * psi
            total += weights[i] * loss
            changed += z != zone[i]
            zone[i] = z
    return total, changed


def evaluate(
    const double[:, ::1] Q,
    const double[::1] y,
    const double[::1] beta,
    const double[::1] weights,
    const double[::1] thresholds,
    int kind,
    double a,
    double[::1] residual,
    double[::1] influence,
    signed char[::1] zone,
):
    """The same at ``residual = y - Q beta``, which is written too; also returns ``Q' influence``."""
    cdef Py_ssize_t n = Q.shape[0], b, start, size, i, changed = 0
    cdef int k = <int> Q.shape[1], rows, one = 1
    cdef double total = 0.0, block_total, psi, loss, minus = -1.0, plus = 1.0
    cdef signed char z
    gradient = np.zeros(k)
    cdef double[::1] gradient_ = gradient
    with nogil:
        for b in range((n + BLOCK - 1) // BLOCK):
            start = b * BLOCK
            size = min(BLOCK, n - start)
            rows = <int> size
            for i in range(start, start + size):
                residual[i] = y[i]
            if k > 0:
                dgemv("T", &k, &rows, &minus, <double *> &Q[start, 0], &k, <double *> &beta[0], &one, &plus,
                      &residual[start], &one)
            block_total = 0.0
            for i in range(start, start + size):
                z = _piece(residual[i], thresholds[i], kind, a, &psi, &loss)
                influence[i] = weights[i] * psi
                block_total += weights[i] * loss
                changed += z != zone[i]
                zone[i] = z
            total += block_total
            if k > 0:
                dgemv("N", &k, &rows, &plus, <double *> &Q[start, 0], &k, &influence[start], &one, &plus,
                      &gradient_[0], &one)
    return total, changed, gradient
