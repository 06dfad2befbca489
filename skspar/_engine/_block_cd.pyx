# cython: freethreading_compatible = True
"""Block coordinate descent for group penalties on a Gram matrix."""
import numpy as np

from libc.math cimport fabs, sqrt
from scipy.linalg.cython_blas cimport dgemm

cdef double UNIT = 1.0, MINUS = -1.0


cdef double _secular_root(
    const double *z2, const double *eigenvalues, Py_ssize_t d, double bound, double guess
) noexcept nogil:
    """The norm x > 0 of the block: ``sum_i z2_i / (eigenvalue_i x + bound)^2 = 1``, given ``sum z2 > bound^2``.

    Newton's iteration on ``1 / sqrt(sum) - 1``, which is nearly linear in x and concave (More & Sorensen 1983), from
    a point left of the root after the first step at the latest.
    """
    cdef double x = guess, total, slope, t, value, change
    cdef Py_ssize_t i
    cdef int _sweep
    for _sweep in range(60):
        total = 0.0
        slope = 0.0
        for i in range(d):
            t = eigenvalues[i] * x + bound
            value = z2[i] / (t * t)
            total += value
            slope += value * eigenvalues[i] / t
        if slope <= 0.0:
            return x
        # f(x) = total^-1/2 - 1, f'(x) = total^-3/2 slope
        change = (sqrt(total) - 1.0) * total / slope
        if x + change <= 0.0:
            x *= 0.1
            continue
        x += change
        if fabs(change) <= 1e-15 * x:
            break
    return x


cdef void _exact_block(
    const double *z, const double *vectors, const double *eigenvalues, Py_ssize_t d, Py_ssize_t width,
    double bound, double guess, double *rotated, double *squares, double *out
) noexcept nogil:
    """Minimise ``tr(b'Hb)/2 - tr(z'b) + bound ||b||_F`` for ``H = vectors diag(eigenvalues) vectors'``."""
    cdef Py_ssize_t i, k, t
    cdef double value, norm
    for i in range(d):
        squares[i] = 0.0
        for t in range(width):
            value = 0.0
            for k in range(d):
                value += vectors[i * d + k] * z[k * width + t]
            rotated[i * width + t] = value
            squares[i] += value * value
    norm = _secular_root(squares, eigenvalues, d, bound, guess)
    for i in range(d):
        value = norm / (eigenvalues[i] * norm + bound)
        for t in range(width):
            rotated[i * width + t] *= value
    for k in range(d):
        for t in range(width):
            out[k * width + t] = 0.0
        for i in range(d):
            value = vectors[i * d + k]
            for t in range(width):
                out[k * width + t] += value * rotated[i * width + t]


cdef double _soft_norm(const double *z, Py_ssize_t size, double l1, bint positive, double *out) noexcept nogil:
    """out = soft(z, l1) (its positive part where coefficients are), returns the norm."""
    cdef Py_ssize_t i
    cdef double value, total = 0.0
    for i in range(size):
        value = fabs(z[i]) - l1
        if value <= 0.0 or (positive and z[i] < 0.0):
            out[i] = 0.0
        else:
            out[i] = value if z[i] > 0.0 else -value
            total += value * value
    return sqrt(total)


def block_descent(
    const double[::1, :] G,
    double[:, ::1] B,
    double[:, ::1] gradient,
    const Py_ssize_t[::1] ptr,
    const Py_ssize_t[::1] order,
    const double[::1] group_bound,
    const double[::1] entry_bound,
    const double[::1] eigenvalues,
    const double[::1] vectors,
    const Py_ssize_t[::1] vector_ptr,
    bint positive,
    int sweeps,
):
    """``sweeps`` cycles of exact block minimisation over the groups in ``order``.

    Minimises ``tr(B'GB)/2 - tr(q'B) + sum_g group_bound_g ||B_g||_F + entry_bound_g ||B_g||_1`` in place, with
    ``gradient = q - G B`` kept up to date. A block with ``entry_bound = 0`` takes its exact minimiser from the
    eigen-decomposition of its diagonal block; others take proximal gradient steps on that block until it settles.
    Returns whether the pattern of nonzeros changed in the last cycle.
    """
    cdef int m = <int> B.shape[0], width = <int> B.shape[1], d, lead = <int> G.shape[0], _sweep, _inner
    cdef Py_ssize_t a, g, i, k, t, j, largest = 1
    cdef double norm, value, lipschitz, change, magnitude, factor
    cdef bint changed = False, moved, exact
    for g in range(ptr.shape[0] - 1):
        largest = max(largest, ptr[g + 1] - ptr[g])
    cdef double[::1] z = np.empty(largest * width)
    cdef double[::1] new = np.empty(largest * width)
    cdef double[::1] work = np.empty(largest * width)
    cdef double[::1] local = np.empty(largest * width)
    cdef double[::1] squares = np.empty(largest)
    with nogil:
        for _sweep in range(sweeps):
            changed = False
            for a in range(order.shape[0]):
                g = order[a]
                j = ptr[g]
                d = <int> (ptr[g + 1] - j)
                # z = gradient_g + G_gg B_g, the linear term of the block's own problem
                norm = 0.0
                for k in range(d):
                    for t in range(width):
                        value = gradient[j + k, t]
                        for i in range(d):
                            value += G[j + i, j + k] * B[j + i, t]
                        z[k * width + t] = value
                for k in range(d * width):
                    norm += (&B[j, 0])[k] * (&B[j, 0])[k]
                norm = sqrt(norm)
                lipschitz = eigenvalues[j + d - 1]
                exact = entry_bound[g] == 0.0 and not positive
                value = _soft_norm(&z[0], d * width, entry_bound[g], positive, &new[0])
                if value <= group_bound[g] or lipschitz <= 0.0:
                    for k in range(d * width):
                        new[k] = 0.0
                elif d == 1:
                    factor = (1.0 - group_bound[g] / value) / lipschitz
                    for k in range(width):
                        new[k] *= factor
                elif exact:
                    if norm == 0.0:
                        norm = (value - group_bound[g]) / lipschitz
                    _exact_block(
                        &z[0], &vectors[vector_ptr[g]], &eigenvalues[j], d, width, group_bound[g], norm,
                        &work[0], &squares[0], &new[0]
                    )
                else:
                    for k in range(d * width):
                        new[k] = (&B[j, 0])[k]
                    for _inner in range(20):
                        for k in range(d):
                            for t in range(width):
                                value = z[k * width + t]
                                for i in range(d):
                                    value -= G[j + i, j + k] * new[i * width + t]
                                local[k * width + t] = new[k * width + t] + value / lipschitz
                        value = _soft_norm(&local[0], d * width, entry_bound[g] / lipschitz, positive, &work[0])
                        factor = 0.0
                        if value * lipschitz > group_bound[g]:
                            factor = 1.0 - group_bound[g] / (lipschitz * value)
                        change = 0.0
                        magnitude = 0.0
                        for k in range(d * width):
                            value = factor * work[k]
                            change = max(change, fabs(value - new[k]))
                            magnitude = max(magnitude, fabs(value))
                            new[k] = value
                        if change <= 1e-14 * magnitude:
                            break
                moved = False
                for k in range(d * width):
                    value = (&B[j, 0])[k]
                    if (new[k] == 0.0) != (value == 0.0):
                        changed = True
                    # work becomes the step of the block
                    work[k] = new[k] - value
                    if work[k] != 0.0:
                        moved = True
                        (&B[j, 0])[k] = new[k]
                if moved:
                    # gradient' -= step' G_g' (row-major arrays are transposed Fortran ones)
                    dgemm(
                        "N", "T", &width, &m, &d, &MINUS, &work[0], &width, <double *> &G[0, j], &lead, &UNIT,
                        &gradient[0, 0], &width
                    )
    return changed


def subtract_gram_product(
    const double[::1, :] G,
    const Py_ssize_t[::1] ptr,
    const Py_ssize_t[::1] groups,
    const double[:, ::1] move,
    double[:, ::1] gradient,
):
    """``gradient -= G[:, J] move``, J the features of some groups; their columns of G are read in place."""
    cdef int m = <int> gradient.shape[0], width = <int> gradient.shape[1], d, lead = <int> G.shape[0]
    cdef Py_ssize_t a, g, start = 0
    with nogil:
        for a in range(groups.shape[0]):
            g = groups[a]
            d = <int> (ptr[g + 1] - ptr[g])
            dgemm(
                "N", "T", &width, &m, &d, &MINUS, <double *> &move[start, 0], &width,
                <double *> &G[0, ptr[g]], &lead, &UNIT, &gradient[0, 0], &width
            )
            start += d
