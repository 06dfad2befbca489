"""The Lasso on some columns of a sparse design, without a Gram matrix.

Where columns hold few entries, an epoch of coordinate descent costs next to nothing, while the Gram matrix of thousands
of columns is large and its factor larger. An epoch brings in what violates optimality; conjugate gradients solve the
linear system on the support. The columns are copied, so that they lie next to each other.
"""

import numpy as np

from . import _sparse_lasso as kernels

# Fewer columns than this are always left to the active-set method.
LEAST = 500
# A Gram matrix pays while its size is below this many times the number of entries.
DENSE = 20.0


def is_cheaper(n_columns, n_entries):
    """Whether columns with so many entries are better solved so than by their Gram matrix."""
    return n_columns >= LEAST and DENSE * n_entries < float(n_columns) ** 2


class SparseLasso:
    """``1/2 ||Y_t - X b||_V^2 + sum_j bound_j |b_j|`` on a growing set of columns, for every target t by itself."""

    def __init__(self, problem):
        self._problem = problem
        self._positive = problem.penalty.positive
        T = problem.n_targets
        self._root = np.sqrt(problem.v)
        self._Y = np.ascontiguousarray((self._root[:, None] * problem.Y).T)
        # entries, their rows and where a column begins; longer than what is used of them
        self._columns = np.empty(1), np.empty(1, dtype=np.intc), np.zeros(1, dtype=np.intp)
        self._room = np.empty(1), np.empty(1, dtype=np.intc)
        self._h = np.empty((0, problem.projection.shape[1]))
        self._squares = np.empty(0)
        self.B, self._offset = np.zeros((0, T)), np.zeros((0, T))
        self._share = 1.0

    @staticmethod
    def pays(problem, columns):
        """Whether to solve so for these columns of the design."""
        design = problem.design
        if len(columns) < LEAST or not design.is_sparse or not design.is_plain(columns):
            return False
        return design.shape[0] <= np.iinfo(np.intc).max and is_cheaper(len(columns), design.n_entries(columns))

    def grow(self, columns):
        """Take more columns of the design; they contain the earlier ones as leading part."""
        old, design = len(self.B), self._problem.design
        new = columns[old:]
        h = np.ascontiguousarray(design.correlate_some(new, self._problem.weighted_projection))
        data, rows, ptr = self._columns
        needed = int(ptr[old]) + design.n_entries(new)
        if needed > len(data):
            used, before = int(ptr[old]), (data, rows)
            data, rows = (np.empty(2 * needed, dtype=part.dtype) for part in before)
            data[:used], rows[:used] = before[0][:used], before[1][:used]
            self._room = np.empty_like(data), np.empty_like(rows)
        ptr = np.concatenate([ptr, np.empty(len(new), dtype=np.intp)])
        self._squares = np.concatenate([self._squares, np.empty(len(new))])
        kernels.gather(*design.arrays, new, self._root, h, old, data, rows, ptr, self._squares)
        self._columns = data, rows, ptr
        self._h = np.concatenate([self._h, h])
        empty = np.zeros((len(new), self.B.shape[1]))
        self.B, self._offset = np.concatenate([self.B, empty]), np.concatenate([self._offset, empty])

    def start_from(self, B):
        self.B = np.array(B)

    def anchor(self, B, C):
        """Let the gradient at B be exactly C, and be more accurate from here on."""
        for t in range(B.shape[1]):
            found = kernels.gradients(*self._columns, self._h, self._Y[t], np.ascontiguousarray(B[:, t]))
            self._offset[:, t] = C[:, t] - found
        self._share *= 0.1

    def solve(self, bounds, gap, max_iter):
        """Minimise from the current point to a duality gap of at most ``gap``; returns the number of iterations."""
        iterations, T = 0, self.B.shape[1]
        for t in range(T):
            b = np.ascontiguousarray(self.B[:, t])
            others = float(bounds @ np.abs(self.B).sum(axis=1)) - float(bounds @ np.abs(b)) if T > 1 else 0.0
            n_iter = kernels.minimise(
                *self._columns, self._h, *self._room, self._Y[t], self._squares, bounds,
                np.ascontiguousarray(self._offset[:, t]), self._positive, T, others, self._share * gap, max_iter, b,
            )  # fmt: skip
            self.B[:, t] = b
            iterations = max(iterations, n_iter)
        return iterations
