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
    double chain_record(const double *, Py_ssize_t, double, double, double *, Py_ssize_t, Py_ssize_t)
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


cdef class Chain:
    """b and z of a chain, or of a part of one, and the steps of the split recursion for the squared loss.

    D is the differences of neighbours. The Hessian of the loss is tridiagonal (``diagonal``, ``off``), less
    ``mean mean'``.

    Attributes
    ----------
    step : int
        How many have been taken.
    total : float
        The sum of what was recorded, which is finite only if all of it is.
    """
    cdef readonly Py_ssize_t step
    cdef readonly double total
    cdef Py_ssize_t m, length, place
    cdef bint centred
    cdef double quick
    cdef double[:, ::1] nodes, noted_b, duals, noted_z, keep, constant, side, means
    cdef uint64_t[:, ::1] none, outside, edges
    cdef Py_ssize_t[:, ::1] entries
    cdef const unsigned char[::1] gappy
    cdef chain c

    def __init__(self, diagonal, off, mean, q, double nu, double kappa, double delta, b, z):
        cdef Py_ssize_t m = len(z), length = max(<Py_ssize_t> HALO, (m + STRETCHES) // STRETCHES), i
        cdef Py_ssize_t rows = length + 2 * HALO
        nothing, all_bits = np.zeros(0), np.full(m, 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
        self.m, self.length, self.step, self.place, self.total = m, length, 0, 0, 0.0
        self.centred, self.quick = np.any(mean), kappa * delta
        self.nodes, self.noted_b = _side_by_side(b, length), _side_by_side(nothing, length)
        # z is kept times kappa, so that g is z less z clipped to [-kappa, kappa]
        self.duals, self.noted_z = _side_by_side(kappa * z, length), _side_by_side(nothing, length)
        self.keep = _side_by_side(1.0 - self.quick * diagonal, length)
        self.constant = _side_by_side(self.quick * q, length)
        self.side = _side_by_side(np.append(0.0, -self.quick * off), length)
        self.means = _side_by_side(mean, length)
        self.none = _side_by_side(np.zeros(0, dtype=np.uint64), length)
        self.outside, self.edges = _side_by_side(all_bits, length), _side_by_side(all_bits, length)
        self.entries = _side_by_side(np.full(m, -1, dtype=np.intp), length)
        _meet(&self.keep[HALO, 0], length)
        _meet(&self.constant[HALO, 0], length)
        _meet(&self.side[HALO, 0], length)
        _meet(<double *> &self.edges[HALO, 0], length)
        missing = (np.asarray(self.edges) == 0).any(axis=1)
        self.gappy = np.logical_or.reduce([missing[i:i + rows] for i in range(1, HALO + 1)]).view(np.uint8)
        self.c.b, self.c.z = &self.nodes[HALO, 0], &self.duals[HALO, 0]
        self.c.noted_b, self.c.noted_z = &self.noted_b[HALO, 0], &self.noted_z[HALO, 0]
        self.c.keep, self.c.constant = &self.keep[HALO, 0], &self.constant[HALO, 0]
        self.c.first = &self.entries[HALO, 0]
        self.c.side = &self.side[HALO, 0] if np.any(off) else NULL
        self.c.edges, self.c.gappy = &self.edges[HALO, 0], &self.gappy[0]
        self.c.rate, self.c.kappa, self.c.rows = self.quick / nu, kappa, rows

    cdef void _record(
        self, const double *b, const double *z, double unit, Py_ssize_t start, double[:, :, :] out_b,
        double[:, :, :] out_g, Py_ssize_t place,
    ) noexcept nogil:
        """Write b and g, from a node and edge on, into as much room as there is."""
        b += HALO * STRETCHES
        z += HALO * STRETCHES
        self.total += chain_record(b, self.length, 0.0, unit, &out_b[place, 0, 0], start, out_b.shape[1])
        self.total += chain_record(z, self.length, self.c.kappa, unit, &out_g[place, 0, 0], start, out_g.shape[1])

    def iterate(
        self, Py_ssize_t most, const Py_ssize_t[::1] recorded, double unit, Py_ssize_t start, double[:, :, :] out_b,
        double[:, :, :] out_g,
    ):
        """Take as many steps as are asked for or a few less, at most up to the last that is recorded.

        Of what is recorded, multiplied by ``unit``, the first ``start`` nodes and edges are left out.
        """
        cdef chain *c = &self.c
        cdef Py_ssize_t k = self.step, place = self.place, length = self.length, later, i, j, note
        cdef Py_ssize_t n_recorded = recorded.shape[0], last = recorded[n_recorded - 1], stop = min(last, k + most)
        cdef double x = 0.0
        cdef bint one
        with nogil:
            while True:
                while place < n_recorded and recorded[place] == k:
                    self._record(c.b, c.z, unit, start, out_b, out_g, place)
                    place += 1
                if k == last:
                    break
                later = place
                while later < n_recorded and recorded[later] == recorded[place]:
                    later += 1
                # one of several steps can be noted; what is nonzero before the first has not entered
                one = self.centred or k == 0 or last - k < HALO or (later < n_recorded and recorded[later] < k + HALO)
                if k + (1 if one else HALO) > stop:
                    break
                c.outside = &self.none[HALO, 0] if k == 0 else &self.outside[HALO, 0]
                _meet(c.b, length)
                _meet(c.z, length)
                if one:
                    if self.centred:
                        x = self.quick * _dot(&self.means[2 * HALO, 0], &self.nodes[2 * HALO, 0], length * STRETCHES)
                    chain_steps(c, k, 1, -1)
                    if self.centred:
                        for i in range(2 * HALO, 2 * HALO + length):
                            for j in range(STRETCHES):
                                self.nodes[i, j] += x * self.means[i, j]
                    k += 1
                    continue
                note = recorded[place] - k - 1 if recorded[place] < k + HALO else -1
                chain_steps(c, k, 0, note)
                while note >= 0 and place < later:
                    self._record(c.noted_b, c.noted_z, unit, start, out_b, out_g, place)
                    place += 1
                k += HALO
        self.step, self.place = k, place

    def copy(self, Chain other, Py_ssize_t start, Py_ssize_t from_, Py_ssize_t count):
        """Set b and z from ``start`` on to so many of another part's, from ``from_`` on."""
        cdef Py_ssize_t i, here, there
        for i in range(count):
            here, there = 2 * HALO + (start + i) % self.length, 2 * HALO + (from_ + i) % other.length
            self.nodes[here, (start + i) // self.length] = other.nodes[there, (from_ + i) // other.length]
            if start + i < self.m:
                self.duals[here, (start + i) // self.length] = other.duals[there, (from_ + i) // other.length]

    def first_entries(self):
        """The step at which each edge entered, or -1."""
        cdef Py_ssize_t i, j
        cdef Py_ssize_t[::1] entered = np.empty(self.m, dtype=np.intp)
        for j in range(STRETCHES):
            for i in range(min(self.length, self.m - j * self.length)):
                entered[j * self.length + i] = self.entries[2 * HALO + i, j]
                # at the end of the last step nobody has looked
                if self.step and self.outside[2 * HALO + i, j] and fabs(self.duals[2 * HALO + i, j]) > self.c.kappa:
                    entered[j * self.length + i] = self.step
        return np.asarray(entered)


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
