# cython: freethreading_compatible = True
"""Kernels for D the differences of neighbours in a chain: the steps of the split recursion, and means of segments."""
import numpy as np

from libc.math cimport fabs
from libc.stdint cimport uint64_t

from ._bregman import aligned

cdef extern from "_chain_loops.h" nogil:
    enum:
        STRETCHES
        HALO

    ctypedef struct chain:
        double *b
        double *z
        const double *keep
        const double *constant
        const double *side
        const uint64_t *edges
        uint64_t *outside
        const unsigned char *gappy
        Py_ssize_t *first
        double *noted_b
        double *noted_z
        double rate
        double kappa
        Py_ssize_t rows

    void chain_steps(const chain *, Py_ssize_t, int, int)
    void chain_record(const double *, Py_ssize_t, double, double, double *, Py_ssize_t)
    void segment_means_of(const double **, const double **, double **, Py_ssize_t, Py_ssize_t)


def _side_by_side(values, Py_ssize_t length):
    """A vector as rows of stretches of a length: HALO rows of zeros after, and twice as many before."""
    rows = aligned(STRETCHES, length + 3 * HALO).T.view(values.dtype)
    whole = len(values) // length
    inside = rows[2 * HALO:2 * HALO + length]
    inside[:, :whole] = values[:whole * length].reshape(whole, length).T
    if whole < STRETCHES:
        inside[:len(values) - whole * length, whole] = values[whole * length:]
    return rows


cdef void _meet(double *rows, Py_ssize_t length) noexcept nogil:
    """Set the HALO rows before and after to what is there in the neighbouring stretches."""
    cdef double *before = rows
    cdef double *last = rows + length * STRETCHES
    cdef double *start = rows + HALO * STRETCHES
    cdef double *after = start + length * STRETCHES
    cdef Py_ssize_t j, t
    for j in range(HALO):
        for t in range(STRETCHES - 1):
            before[j * STRETCHES + t + 1] = last[j * STRETCHES + t]
            after[j * STRETCHES + t] = start[j * STRETCHES + t + 1]


cdef double _dot(const double *x, const double *y, Py_ssize_t n) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i
    for i in range(n):
        total += x[i] * y[i]
    return total


def iterate_chain(
    diagonal, off, mean, q, double nu, double kappa, double delta, b, z, first, const Py_ssize_t[::1] recorded,
    double unit, double[:, :, ::1] out_b, double[:, :, ::1] out_g,
):
    """All steps of the split recursion for the squared loss and D the p - 1 differences of neighbours, from b and z.

    What is recorded is multiplied by ``unit``.
    The Hessian of the loss is tridiagonal (``diagonal``, ``off``), less ``mean mean'``.
    """
    cdef Py_ssize_t m = len(z), k = 0, place = 0, later, i, j, note
    cdef Py_ssize_t last = recorded[recorded.shape[0] - 1], n_recorded = recorded.shape[0]
    cdef Py_ssize_t length = max(<Py_ssize_t> HALO, (m + STRETCHES) // STRETCHES), rows = length + 2 * HALO
    cdef double quick = kappa * delta, x = 0.0
    cdef bint centred = np.any(mean), one
    nothing = np.zeros(0)
    cdef double[:, ::1] nodes = _side_by_side(b, length), noted_b = _side_by_side(nothing, length)
    # z is kept times kappa, so that g is z less z clipped to [-kappa, kappa]
    cdef double[:, ::1] duals = _side_by_side(kappa * z, length), noted_z = _side_by_side(nothing, length)
    cdef double[:, ::1] keep = _side_by_side(1.0 - quick * diagonal, length)
    cdef double[:, ::1] constant = _side_by_side(quick * q, length)
    cdef double[:, ::1] side = _side_by_side(np.append(0.0, -quick * off), length)
    cdef double[:, ::1] means = _side_by_side(mean, length)
    cdef uint64_t[:, ::1] none = _side_by_side(np.zeros(0, dtype=np.uint64), length)
    cdef uint64_t[:, ::1] outside = _side_by_side(np.full(m, 0xFFFFFFFFFFFFFFFF, dtype=np.uint64), length)
    cdef uint64_t[:, ::1] edges = _side_by_side(np.full(m, 0xFFFFFFFFFFFFFFFF, dtype=np.uint64), length)
    cdef Py_ssize_t[:, ::1] entries = _side_by_side(first, length)
    cdef const unsigned char[::1] gappy
    cdef Py_ssize_t[::1] entered = first
    cdef chain c
    c.b, c.z, c.noted_b, c.noted_z = &nodes[HALO, 0], &duals[HALO, 0], &noted_b[HALO, 0], &noted_z[HALO, 0]
    c.keep, c.constant, c.first = &keep[HALO, 0], &constant[HALO, 0], &entries[HALO, 0]
    c.side = &side[HALO, 0] if np.any(off) else NULL
    c.edges = &edges[HALO, 0]
    c.rate, c.kappa, c.rows = quick / nu, kappa, rows
    _meet(&keep[HALO, 0], length)
    _meet(&constant[HALO, 0], length)
    _meet(&side[HALO, 0], length)
    _meet(<double *> &edges[HALO, 0], length)
    missing = (np.asarray(edges) == 0).any(axis=1)
    gappy = np.logical_or.reduce([missing[i:i + rows] for i in range(1, HALO + 1)]).view(np.uint8)
    c.gappy = &gappy[0]
    with nogil:
        while True:
            while place < n_recorded and recorded[place] == k:
                chain_record(c.b + HALO * STRETCHES, length, 0.0, unit, &out_b[place, 0, 0], m + 1)
                chain_record(c.z + HALO * STRETCHES, length, kappa, unit, &out_g[place, 0, 0], m)
                place += 1
            if k == last:
                break
            later = place
            while later < n_recorded and recorded[later] == recorded[place]:
                later += 1
            # one of several steps can be noted; what is nonzero before the first has not entered
            one = centred or k == 0 or last - k < HALO or (later < n_recorded and recorded[later] < k + HALO)
            c.outside = &none[HALO, 0] if k == 0 else &outside[HALO, 0]
            _meet(c.b, length)
            _meet(c.z, length)
            if one:
                if centred:
                    x = quick * _dot(&means[2 * HALO, 0], &nodes[2 * HALO, 0], length * STRETCHES)
                chain_steps(&c, k, 1, -1)
                if centred:
                    for i in range(2 * HALO, 2 * HALO + length):
                        for j in range(STRETCHES):
                            nodes[i, j] += x * means[i, j]
                k += 1
                continue
            note = recorded[place] - k - 1 if recorded[place] < k + HALO else -1
            chain_steps(&c, k, 0, note)
            while note >= 0 and place < later:
                chain_record(c.noted_b + HALO * STRETCHES, length, 0.0, unit, &out_b[place, 0, 0], m + 1)
                chain_record(c.noted_z + HALO * STRETCHES, length, kappa, unit, &out_g[place, 0, 0], m)
                place += 1
            k += HALO
        for j in range(STRETCHES):
            for i in range(min(length, m - j * length)):
                entered[j * length + i] = entries[2 * HALO + i, j]
                if last > 0 and outside[2 * HALO + i, j] and fabs(duals[2 * HALO + i, j]) > kappa:
                    entered[j * length + i] = last


def segment_means(const double[:, :, ::1] values, const double[:, :, ::1] breaks, double[:, :, ::1] out):
    """Means of values (T, p, K), over the second axis, between the places where breaks (T, p - 1, K) are not zero."""
    cdef Py_ssize_t K = values.shape[2], rows = values.shape[0] * K, i, r, row
    cdef const double *value[4]
    cdef const double *jump[4]
    cdef double *mean[4]
    with nogil:
        for i in range(0, rows, 4):
            for r in range(4):
                # the last once more, where there are fewer
                row = min(i + r, rows - 1)
                value[r], mean[r] = &values[row // K, 0, row % K], &out[row // K, 0, row % K]
                jump[r] = &breaks[row // K, 0, row % K]
            segment_means_of(value, jump, mean, values.shape[1], K)
