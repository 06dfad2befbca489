"""The restricted problem at a point, in two forms: by its Gram matrix, and by the columns themselves.

Both hold the coefficients B of the working set and answer for the gradient ``X' V (Y - X B)`` there. The Gram matrix is
cheaper until there are about twice as many features as rows.
"""

import numpy as np

from . import newton
from ._blas import product
from ._block_cd import block_descent, block_descent_on_rows, principal_submatrix, subtract_gram_product
from .design import pieces

# A flop of a cycle (vectors, from memory) is worth this many of a factorisation (blocks): where the matrix stays in
# cache, and where it does not.
GRAM_CYCLE, ROW_CYCLE = 10.0, 40.0
# The same of a cycle over the columns with several targets, whose steps are taken several at once.
ROW_CYCLE_TARGETS = 2.0
# The same of a product that reads the columns once.
AGAIN = 12.0
# Updates of a residual until it is computed again.
UPDATES = 100
# What a cycle costs beside its arithmetic.
CYCLE_OVERHEAD = 3e4


def _with_room(old, used, total):
    """``old``, or a larger array with its first ``used`` columns, where there is no room for so many columns."""
    if total <= old.shape[1]:
        return old
    # what is not written to costs no memory, only its copy would
    bigger = np.empty((old.shape[0], max(2 * total, 64)), order="F")
    bigger[:, :used] = old[:, :used]
    return bigger


class GramForm:
    """Everything from the Gram matrix of the working set and its correlations at zero."""

    # the share of a Newton step's cost that cycles must have had before the first
    eager = 1.0
    keeps_system = False

    def __init__(self, problem):
        self.problem = problem
        self.B = np.zeros((0, problem.n_targets))
        self.q = np.empty((0, problem.n_targets))
        self._G = np.empty((0, 0), order="F")
        self._gradient = self.q
        self.exact = True

    @property
    def G(self):
        return self._G[:, : len(self.B)]

    def grow(self, features, q):
        """Take more features; ``features`` and their correlations ``q`` contain the earlier ones as leading part."""
        old, m = len(self.B), len(features)
        if m > self._G.shape[0]:
            bigger = np.empty((max(m, 2 * old, 256),) * 2, order="F")
            bigger[:old, :old] = self._G[:old, :old]
            self._G = bigger
        block = self.problem.gram(features, m - old, self._G[:m, old:m])
        self._G[old:m, :old] = block[:old].T
        self.q = np.concatenate([self.q, q[old:]])
        self.move_to(np.concatenate([self.B, np.zeros((m - old, self.B.shape[1]))]))

    def diagonal_blocks(self, starts, size):
        """Gram matrices of groups of one size, stacked; where each begins."""
        within = np.arange(size)
        rows = starts[:, None] + within
        return self._G[rows[:, :, None], rows[:, None, :]]

    def move_to(self, B):
        self.B = np.array(B, order="C")
        self._gradient = None

    def refresh(self):
        """Forget the rounding errors that updates have gathered."""
        self._gradient = None

    def gradient(self, part):
        """``q - G B``; ``exact`` tells whether it was computed afresh."""
        if self._gradient is None:
            self._gradient = self.q.copy()
            active = part.active(self.B)
            subtract_gram_product(self.G, part.ptr, active, self.B[part.places(active)], self._gradient)
            self.exact = True
        return self._gradient

    def rss(self, part):
        return self.problem.residual_at_zero - float(np.sum(self.B * (self.q + self.gradient(part))))

    def anchor(self, B, C):
        """Let the gradient at B be exactly C."""
        self.q = product(self._G[: len(B), : len(B)], B, np.array(C, order="C"), keep=1.0)
        self.move_to(B)

    def descend(self, part, order, group_bound, entry_bound, blocks, sweeps):
        """Cycles of block descent."""
        block_descent(
            self.G, self.B, self.gradient(part), part.ptr, order, group_bound, entry_bound, *blocks, part.positive,
            sweeps,
        )  # fmt: skip
        self.exact = False

    def image(self, part, active, D):
        """What a step D of the active groups takes from the gradient."""
        image = np.zeros_like(self.B)
        subtract_gram_product(self.G, part.ptr, active, np.ascontiguousarray(-D), image)
        return image

    def square(self, image, places, D):
        """``tr(D'GD)``."""
        return float(np.sum(D * image[places]))

    def step(self, part, places, change, image):
        """Add ``change`` to some coefficients."""
        gradient = self.gradient(part)
        self.B[places] += change
        gradient -= image
        self.exact = False

    def directions(self, places, curvature, sides, dtype):
        return newton.directions_from_gram(principal_submatrix(self.G, places), curvature, sides)

    def again_cost(self, d):
        """What a Newton step with the factors of an earlier one costs."""
        return np.inf

    def newton_cost(self, d, n_groups):
        return newton.cost_from_gram(d, n_groups, self.B.shape[1])

    def cycle_cost(self, d):
        """A cycle in which ``d`` features move."""
        return GRAM_CYCLE * 2.0 * d * self.B.size + CYCLE_OVERHEAD

    def rounding(self):
        """What rounding may change the gap by."""
        sizes = np.sqrt(self._G.diagonal()[: len(self.B)])
        return 4.0 * np.finfo(np.float64).eps * float(np.sum((sizes @ np.abs(self.B)) ** 2))


class RowForm:
    """Everything from the columns ``A = V^1/2 X`` of the working set and the residual."""

    eager = 0.2
    keeps_system = True

    def __init__(self, problem):
        self.problem = problem
        self.B = np.zeros((0, problem.n_targets))
        self._target = problem.scaled_target()
        self._A = np.empty((len(self._target), 0), order="F")
        self._offset = np.empty((0, problem.n_targets))
        self._residual = self._gradient = None
        self._places, self._copy = np.empty(0, dtype=np.intp), self._A
        self._system, self._row_gram = None, newton.RowGram()
        self._updates = 0

    @property
    def A(self):
        return self._A[:, : len(self.B)]

    def grow(self, features, q):
        old, total = len(self.B), len(features)
        self._A = _with_room(self._A, old, total)
        self.problem.scaled_columns(features[old:], self._A[:, old:total])
        more = np.zeros((total - old, self.B.shape[1]))
        self._offset = np.concatenate([self._offset, more])
        self.move_to(np.concatenate([self.B, more]))

    def _columns(self, places):
        """A copy of some columns; of the last ones asked for it is kept."""
        if not np.array_equal(places, self._places):
            # row by row of the transposed matrix
            self._places, self._copy = places, self._A.T[places].T
        return self._copy

    def diagonal_blocks(self, starts, size):
        """Gram matrices of groups of one size, stacked; where each begins."""
        out = np.empty((len(starts), size, size))
        for piece in pieces(len(starts), size * len(self._A)):
            columns = self._A.T[starts[piece, None] + np.arange(size)]
            np.matmul(columns, columns.transpose(0, 2, 1), out=out[piece])
        return out

    def move_to(self, B):
        self.B = np.array(B, order="C")
        self._residual = self._gradient = None

    @property
    def exact(self):
        """Whether the residual was computed, or updated a few times only: it does not cancel."""
        return self._updates < UPDATES

    def refresh(self):
        if not self.exact:
            self._residual = self._gradient = None

    def _current_residual(self):
        if self._residual is None:
            used = np.flatnonzero(self.B.any(axis=1))
            self._residual = product(self._columns(used), self.B[used], self._target.copy(), scale=-1.0, keep=1.0)
            self._updates = 0
        return self._residual

    def gradient(self, part):
        if self._gradient is None:
            self._gradient = product(self.A.T, self._current_residual(), self._offset.copy(), keep=1.0)
        return self._gradient

    def rss(self, part):
        return float(np.sum(self._current_residual() ** 2))

    def anchor(self, B, C):
        self.move_to(B)
        self._offset = product(self.A.T, self._current_residual(), np.array(C, order="C"), scale=-1.0, keep=1.0)

    def descend(self, part, order, group_bound, entry_bound, blocks, sweeps):
        block_descent_on_rows(
            self.A, self.B, self._current_residual(), self._offset, part.ptr, order, group_bound, entry_bound, *blocks,
            part.positive, sweeps,
        )  # fmt: skip
        self._gradient = None
        self._updates += 1

    def image(self, part, active, D):
        """What a step D of the active groups takes from the residual."""
        return product(self._columns(part.places(active)), D)

    def square(self, image, places, D):
        return float(np.sum(image**2))

    def step(self, part, places, change, image):
        residual = self._current_residual()
        self.B[places] += change
        residual -= image
        self._gradient = None
        self._updates += 1

    def directions(self, places, curvature, sides, dtype):
        def row_gram(free, curvature):
            return self._row_gram(self.A, places[free], curvature)

        columns = self._columns(places)
        found, self._system = newton.directions_from_rows(columns, curvature, sides, dtype, row_gram)
        # increasing, which groups in the order of the working set are
        self._system_places, self._n_steps = places, 4
        return found

    def improved(self, places, curvature, side, reduction):
        """The Newton direction from the factors of the last system, improved by conjugate gradients, and its image.

        Both None where there is no such system. Without ``reduction`` of the residual the direction is not improved,
        and the image None.
        """
        if self._system is None:
            return None, None
        columns, system = self._columns(places), self._system
        # features that the system has, and where; others have their own curvature alone
        at = np.minimum(np.searchsorted(self._system_places, places), len(self._system_places) - 1)
        known = self._system_places[at] == places
        at = at[known]
        new = np.flatnonzero(~known)
        own = 1.0 / (curvature.ridge[new] + np.einsum("ij,ij->j", columns[:, new], columns[:, new]))[:, None]

        def precondition(S):
            whole = np.zeros((len(self._system_places), S.shape[1]))
            whole[at] = S[known]
            out = np.empty_like(S)
            out[known] = system.solve([whole])[0][at]
            out[new] = own * S[new]
            return out

        if reduction is None:
            return precondition(side), None
        step, image, self._n_steps = newton.few_conjugate_gradients(columns, curvature, precondition, side, reduction)
        return step, image

    def again_cost(self, d):
        """What a Newton step with the factors of an earlier one costs."""
        if self._system is None or self.B.shape[1] > 1:
            return np.inf
        return self._n_steps * AGAIN * 6.0 * d * len(self._target)

    def newton_cost(self, d, n_groups):
        return newton.cost_from_rows(len(self._target), d, n_groups, self.B.shape[1])

    def cycle_cost(self, d):
        factor = ROW_CYCLE if self.B.shape[1] == 1 else ROW_CYCLE_TARGETS
        return factor * 4.0 * d * self._target.size + CYCLE_OVERHEAD

    def rounding(self):
        sizes = np.sqrt(np.einsum("ij,ij->j", self.A, self.A))
        size = np.sqrt(np.sum(self._target**2, axis=0)) + sizes @ np.abs(self.B)
        return 4.0 * np.finfo(np.float64).eps * float(np.sum(size * np.sqrt(np.sum(self._target**2, axis=0))))
