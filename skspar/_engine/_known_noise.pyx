# cython: freethreading_compatible = True
"""The likeliest class probabilities where the noise of the labels is known."""
import numpy as np

from libc.math cimport INFINITY
from libc.string cimport memcpy

from ._label_likelihood cimport BLOCK, CurvatureBound, LabelPass, PackedRows

# Moves that are remembered, and what they did to the gradient.
cdef enum:
    MEMORY = 20
# Gains of so many squared lengths of a gradient, in units of the bound, are not to be hoped for.
cdef double HOPE = 6.0


cdef class KnownNoise:
    """The likeliest b and D for fits F that stay as they are, the noise being known: L-BFGS from the bound's inverse.

    What it learns of the curvature serves other noise, too.

    Parameters
    ----------
    F : ndarray of shape (n, c)
    labels, counts : ndarray of shape (n,)
    bound : CurvatureBound
        Of these maximisations alone. What it holds is replaced.
    """

    cdef PackedRows rows
    cdef CurvatureBound bound
    cdef LabelPass sums
    cdef Py_ssize_t n_pairs, newest
    cdef bint unbounded
    cdef double scale
    cdef double[::1] b, rho, first
    cdef double[:, ::1] D, T, post, point, gradient, old_point, old_gradient, direction, part
    cdef double[:, :, ::1] moves, changes

    def __init__(self, F, labels, counts, CurvatureBound bound):
        cdef Py_ssize_t c = F.shape[1]
        self.rows = PackedRows(F, labels, c, counts, counts)
        self.bound, self.sums = bound, LabelPass(c, np.empty((bound.blocks, c + 1, c + 1)))
        self.n_pairs = self.newest = 0
        self.unbounded, self.scale = True, 1.0
        self.b, self.rho, self.first, self.D = np.empty(c), np.empty(MEMORY), np.empty(MEMORY), np.empty((c, c))
        self.post = np.empty((c, BLOCK))
        self.point, self.gradient, self.old_point, self.old_gradient, self.direction, self.part = (
            np.empty((c, c + 1)) for _ in range(6)
        )
        self.moves, self.changes = np.empty((MEMORY, c, c + 1)), np.empty((MEMORY, c, c + 1))

    def maximise(self, offset, tilt, transition, double tol, Py_ssize_t max_iter, double wanted=-INFINITY):
        """Climb until the gradient, in units of the bound, is at most tol long, or hope to reach ``wanted`` is lost.

        Returns the penalised log likelihood, the offset, the tilt, and how many rows of each class are expected to have
        each label.
        """
        cdef double value
        self.point = np.ascontiguousarray(np.column_stack([offset, np.transpose(tilt)]))
        self.T = np.ascontiguousarray(transition)
        with nogil:
            value = self._climb(tol * tol, max_iter, wanted)
        point = np.array(self.point)
        return value, point[:, 0].copy(), point[:, 1:].T.copy(), np.array(self.sums.counted.T)

    cdef double _value(self, bint curved) noexcept nogil:
        cdef Py_ssize_t c = self.rows.c, block, i, j
        for j in range(c):
            self.b[j] = self.point[j, 0]
            for i in range(c):
                self.D[i, j] = self.point[j, 1 + i]
        self.sums.start(self.T, curved, True)
        for block in range(self.rows.n_blocks):
            self.sums.add(
                &self.rows.Q[block, 0, 0], self.rows.length(block), self.D, self.b, &self.rows.labels[block * BLOCK],
                &self.rows.counts[block * BLOCK], &self.post[0, 0], NULL, curved,
            )
        if curved:
            self.sums.finish()
        self.sums.read_gradient(self.gradient)
        return self.sums.loglik - self.bound.penalise(self.b, self.D, self.gradient)

    cdef double _climb(self, double tol, Py_ssize_t max_iter, double wanted) noexcept nogil:
        cdef Py_ssize_t size = self.point.shape[0] * self.point.shape[1], _iteration, _halving, i
        cdef double value = self._value(self.unbounded), before, along, length, step
        cdef double *point = &self.point[0, 0]
        cdef double *old = &self.old_point[0, 0]
        cdef double *direction = &self.direction[0, 0]
        if self.unbounded:
            # what is not finite shows in the value
            self.bound.take(self.sums.curvature)
            self.unbounded = False
        for _iteration in range(max_iter):
            self.bound.divide(self.gradient, self.part)
            length = _dot(self.gradient, self.part)
            if not length > tol or value + HOPE * length < wanted:
                break
            self._direct()
            along = _dot(self.gradient, self.direction)
            if not along > 0.0:
                self.n_pairs = 0
                self.scale = 1.0
                memcpy(direction, &self.part[0, 0], size * sizeof(double))
                along = length
            before, step = value, 1.0
            memcpy(old, point, size * sizeof(double))
            memcpy(&self.old_gradient[0, 0], &self.gradient[0, 0], size * sizeof(double))
            for _halving in range(30):
                for i in range(size):
                    point[i] = old[i] + step * direction[i]
                value = self._value(False)
                if value >= before + 1e-4 * step * along:
                    break
                step *= 0.5
            else:
                # what is left to gain is lost in rounding
                break
            self._learn()
        return value

    cdef void _direct(self) noexcept nogil:
        """The gradient, divided by what is known of the curvature (Nocedal 1980)."""
        cdef Py_ssize_t size = self.point.shape[0] * self.point.shape[1], k, i, at
        cdef double factor
        cdef double *direction = &self.direction[0, 0]
        memcpy(&self.part[0, 0], &self.gradient[0, 0], size * sizeof(double))
        for k in range(self.n_pairs):
            at = (self.newest - k + MEMORY) % MEMORY
            self.first[at] = self.rho[at] * _dot(self.moves[at], self.part)
            for i in range(size):
                (&self.part[0, 0])[i] -= self.first[at] * (&self.changes[at, 0, 0])[i]
        self.bound.divide(self.part, self.direction)
        for i in range(size):
            direction[i] *= self.scale
        for k in range(self.n_pairs - 1, -1, -1):
            at = (self.newest - k + MEMORY) % MEMORY
            factor = self.first[at] - self.rho[at] * _dot(self.changes[at], self.direction)
            for i in range(size):
                direction[i] += factor * (&self.moves[at, 0, 0])[i]

    cdef void _learn(self) noexcept nogil:
        """Remember the latest move and how it changed the gradient."""
        cdef Py_ssize_t size = self.point.shape[0] * self.point.shape[1], i, at = (self.newest + 1) % MEMORY
        cdef double curved
        for i in range(size):
            (&self.moves[at, 0, 0])[i] = (&self.point[0, 0])[i] - (&self.old_point[0, 0])[i]
            (&self.changes[at, 0, 0])[i] = (&self.old_gradient[0, 0])[i] - (&self.gradient[0, 0])[i]
        curved = _dot(self.moves[at], self.changes[at])
        self.bound.divide(self.changes[at], self.part)
        if curved > 1e-10 * _dot(self.changes[at], self.part):
            self.scale = curved / _dot(self.changes[at], self.part)
            self.rho[at] = 1.0 / curved
            self.newest = at
            self.n_pairs = min(self.n_pairs + 1, MEMORY)


cdef double _dot(const double[:, ::1] a, const double[:, ::1] b) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t i, j
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j] * b[i, j]
    return total
