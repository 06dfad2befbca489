"""The Lasso on some columns of a sparse design, without a Gram matrix.

Where columns hold few entries, an epoch of coordinate descent costs next to nothing, while the Gram matrix of thousands
of columns is large and its factor larger. Once the support stands still, conjugate gradients solve the linear system on
it.
"""

import numpy as np

from . import _sparse_lasso as kernels

# Fewer columns than this are always left to the active-set method.
LEAST = 500
# A Gram matrix pays while its size is below this many times the number of entries.
DENSE = 20.0


class SparseLasso:
    """``1/2 ||Y_t - X b||_V^2 + sum_j bound_j |b_j|`` on a growing set of columns, for every target t by itself."""

    def __init__(self, problem):
        self._problem, self._arrays = problem, problem.design.arrays
        self._positive = problem.penalty.positive
        T = problem.n_targets
        self._columns = np.empty(0, dtype=np.intp)
        self._h = np.empty((0, problem.projection.shape[1]))
        self._squares = np.empty(0)
        self.B, self._offset = np.zeros((0, T)), np.zeros((0, T))
        self._weighted, self._w = [None] * T, [None] * T

    @staticmethod
    def pays(problem, columns):
        """Whether to solve so for these columns of the design."""
        design = problem.design
        if len(columns) < LEAST or not design.is_sparse or not design.is_plain(columns):
            return False
        return DENSE * design.n_entries(columns) < float(len(columns)) ** 2

    def grow(self, columns):
        """Take more columns of the design; they contain the earlier ones as leading part."""
        old = len(self._columns)
        new = columns[old:]
        h = np.ascontiguousarray(self._problem.design.correlate_some(new, self._problem.weighted_projection))
        self._columns = columns
        self._h = np.concatenate([self._h, h])
        self._squares = np.concatenate([self._squares, kernels.squared_norms(*self._arrays, new, self._problem.v, h)])
        empty = np.zeros((len(new), self.B.shape[1]))
        self.B, self._offset = np.concatenate([self.B, empty]), np.concatenate([self._offset, empty])

    def start_from(self, B):
        self.B = np.array(B)
        self._weighted = [None] * B.shape[1]

    def anchor(self, B, C):
        """Let the gradient at B be exactly C."""
        for t in range(B.shape[1]):
            weighted, w = self._residual(B[:, t], t)
            found = kernels.gradients(*self._arrays, self._columns, self._h, weighted, w)
            self._offset[:, t] = C[:, t] - found

    def _residual(self, b, t):
        """``V R`` and w at b."""
        weighted, w = self._problem.v * self._problem.Y[:, t], np.zeros(self._h.shape[1])
        kernels.subtract(*self._arrays, self._columns, self._problem.v, self._h, np.ascontiguousarray(b), weighted, w)
        return weighted, w

    def solve(self, bounds, tol, max_iter):
        """Minimise from the current point; returns the number of epochs and iterations.

        ``tol`` is the relative violation of optimality allowed.
        """
        return max(self._solve_target(t, bounds, tol, max_iter) for t in range(self.B.shape[1]))

    def _solve_target(self, t, bounds, tol, max_iter):
        b, offset = np.ascontiguousarray(self.B[:, t]), np.ascontiguousarray(self._offset[:, t])
        if self._weighted[t] is None:
            self._weighted[t], self._w[t] = self._residual(b, t)
        weighted, w = self._weighted[t], self._w[t]
        everything = np.arange(len(b))

        def descend(order, count):
            return kernels.epochs(
                *self._arrays, self._columns, self._problem.v, self._h, self._squares, bounds, offset, self._positive,
                order, count, 0.1 * tol, b, weighted, w,
            )  # fmt: skip

        iteration, best, stalled = 0, np.inf, 0
        while iteration < max_iter:
            before = np.sign(b)
            iteration += descend(everything, 1)
            iteration += descend(np.flatnonzero(b), min(5, max_iter - iteration))
            if np.array_equal(np.sign(b), before) and iteration < max_iter:
                iteration += self._polish(b, bounds, offset, weighted, w, tol)
                # what updates have gathered of rounding errors goes with a fresh residual
                weighted[:], w[:] = self._residual(b, t)
            gradient = offset + kernels.gradients(*self._arrays, self._columns, self._h, weighted, w)
            violation = self._violation(gradient, b, bounds)
            if violation <= tol:
                break
            stalled = stalled + 1 if violation > 0.9 * best else 0
            best = min(best, violation)
            if stalled >= 20 and best <= 1e-6:
                break
        self.B[:, t] = b
        return iteration

    def _violation(self, gradient, b, bounds):
        """Largest violation of optimality, relative to the bounds."""
        outside = (gradient if self._positive else np.abs(gradient)) - bounds
        off = np.where(b == 0.0, outside, np.abs(gradient - bounds * np.sign(b))) / bounds
        return float(np.max(np.where(self._squares > 0.0, off, 0.0), initial=0.0))

    def _polish(self, b, bounds, offset, weighted, w, tol):
        """Newton's step on the support by conjugate gradients.

        Coefficients that would change sign stop at zero while the others take the whole step, or all stop where the
        first reaches zero: whichever lowers the objective more.
        """
        on = np.flatnonzero(b)
        if len(on) == 0:
            return 0
        columns, h = self._columns[on], np.ascontiguousarray(self._h[on])
        arrays, v = self._arrays, self._problem.v
        slope = whole = offset[on] + kernels.gradients(*arrays, columns, h, weighted, w) - bounds[on] * np.sign(b[on])

        def gram_product(d):
            image, shadow = np.zeros(len(v)), np.zeros(h.shape[1])
            kernels.subtract(*arrays, columns, v, h, -d, image, shadow)
            return kernels.gradients(*arrays, columns, h, image, shadow)

        scale = 1.0 / self._squares[on]
        d, residual = np.zeros(len(on)), slope
        z = scale * residual
        direction = z.copy()
        value = float(residual @ z)
        count = 0
        while count < 100 and np.max(np.abs(residual) / bounds[on]) > 0.1 * tol:
            image = gram_product(direction)
            bend = float(direction @ image)
            if not bend > 0.0:
                break
            length = value / bend
            d += length * direction
            residual = residual - length * image
            z = scale * residual
            previous, value = value, float(residual @ z)
            direction = z + (value / previous) * direction
            count += 1
        current = b[on]
        crossing = (current + d) * np.sign(current) <= 0.0
        if not crossing.any():
            b[on] = current + d
            return count
        reach = np.min(np.abs(current[crossing] / d[crossing]))
        stopped = current + reach * d
        stopped[crossing & (np.abs(current) <= reach * np.abs(d) * (1.0 + 1e-12))] = 0.0
        cut = np.where(crossing, 0.0, current + d)

        def change(new):
            # signs do not change, so the penalty is linear
            step = new - current
            return 0.5 * float(step @ gram_product(step)) - float(whole @ step)

        b[on] = min(stopped, cut, key=change)
        return count + 2
