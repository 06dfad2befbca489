"""The inverse scale space flow of the l1 norm, from event to event.

For a quadratic ``1/2 g'A g - a'g`` the flow is ``dz/dt = a - A g`` with z in the subdifferential of ``||g||_1``.
Between events g minimises the quadratic over ``{g : g_j z_j >= 0 where |z_j| = 1, g_j = 0 elsewhere}`` and z is linear
in t: the path is a sequence of sign-constrained least-squares problems, each started from the one before.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg

from ._blas import product
from .smooth import residuals_of

# Largest order of a Hessian in b that is factored.
DENSE_ORDER = 4000
# Rates below this, relative to those at the start, are rounding.
NEGLIGIBLE = 1e-11


@dataclass
class FlowPath:
    """Events in the units of the problem; ``coefs`` (p, n_events), ``gammas`` and ``subgradients`` (m, n_events)."""

    times: np.ndarray
    coefs: np.ndarray
    gammas: np.ndarray
    subgradients: np.ndarray
    first_entry: np.ndarray
    complete: bool


def inverse_scale_space(problem, operator, nu, t_ratio, max_events):
    """The events of the flow; None if there are more than ``max_events``. ``operator`` is None for b itself sparse."""
    quadratic = _Plain(problem) if operator is None else _Split(problem, operator, nu)
    a = quadratic.linear
    m, top = len(a), np.abs(a).max(initial=0.0)
    first = np.full(m, np.inf)
    if not top > quadratic.negligible:
        still = quadratic.coefs(np.empty(0, dtype=np.intp), np.empty(0))[:, None]
        return FlowPath(np.ones(1) / problem.scale, still, np.zeros((m, 1)), np.zeros((m, 1)), first, True)
    solver = _SignedLeastSquares(quadratic)
    z, t, rate = np.zeros(m), 0.0, a.copy()
    end = np.inf if t_ratio is None else t_ratio / top
    times, coefs, gammas, subgradients = [], [], [], []
    complete = False
    while True:
        # when each |z_j| becomes one, or one again on the other side
        with np.errstate(divide="ignore", invalid="ignore"):
            wait = np.where(rate > 0.0, (1.0 - z) / rate, np.where(rate < 0.0, (-1.0 - z) / rate, np.inf))
        tau = wait.min()
        if not np.isfinite(tau):
            complete = True
            break
        if t + tau > end * (1.0 + 1e-12):
            break
        if len(times) == max_events:
            return None
        t += tau
        z = np.clip(z + tau * rate, -1.0, 1.0)
        hit = wait <= tau + 1e-12 * (t + tau)
        z[hit] = np.sign(rate[hit])
        candidates = np.flatnonzero(np.abs(z) == 1.0)
        rate = solver.solve(candidates, z[candidates])
        support, values = solver.support, solver.values
        g = np.zeros(m)
        g[support] = values
        first[support] = np.minimum(first[support], t)
        times.append(t)
        coefs.append(quadratic.coefs(support, values))
        gammas.append(g)
        subgradients.append(z.copy())
        # at rest, or moving away from the bound that it is at, up to rounding
        rate[np.abs(rate) <= NEGLIGIBLE * top] = 0.0
        rate[support] = 0.0
        stuck = candidates[rate[candidates] * z[candidates] > 0.0]
        rate[stuck] = 0.0
        if not rate.any():
            complete = True
            break
    return FlowPath(
        np.array(times),
        np.stack(coefs, axis=1),
        np.stack(gammas, axis=1),
        np.stack(subgradients, axis=1),
        first,
        complete,
    )


class _Plain:
    """``1/2 ||y - X g||^2`` with weights: A = X'VX, a = X'Vy."""

    negligible = 0.0

    def __init__(self, problem):
        self.problem = problem
        self.linear = problem.q[:, 0]
        self.whole = problem.prefers_gram

    def coefs(self, support, values):
        b = np.zeros(self.problem.p)
        b[support] = values
        return b

    def rate(self, support, values):
        """``a - A g``."""
        if self.whole:
            return self.linear - product(self.problem.gram[:, support], values)
        R = residuals_of(self.problem, support, np.asarray(values)[:, None], [1.0])
        return self.problem.correlate(R)[:, 0]

    def block(self, rows, column):
        """``A[rows, column]``."""
        if self.whole:
            return self.problem.gram[rows, column]
        return self.problem.gram_block(np.asarray(rows), np.array([column]))[:, 0]


class _Split:
    """With b eliminated: A = (1 - D H^-1 D' / nu) / nu and a = D H^-1 q / nu for H = X'VX + D'D / nu."""

    def __init__(self, problem, operator, nu):
        self.problem, self.D, self.nu = problem, operator.matrix, nu
        penalty = (self.D.T @ self.D) / nu
        self._factor(penalty)
        self._free = self._solve(problem.q[:, 0])
        self.linear = self.D @ self._free / nu
        # what D b should be if it were not for rounding
        self.negligible = 1e-12 * np.sqrt(operator.squared_norm) * np.abs(self._free).max(initial=0.0) / nu

    def _factor(self, penalty):
        problem = self.problem
        if problem.p <= DENSE_ORDER:
            values, vectors = linalg.eigh(problem.gram + penalty.toarray())
            keep = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
            self._values, self._vectors = values[keep], np.asfortranarray(vectors[:, keep])
            return
        self._vectors = None
        self._hessian = LinearOperator(
            (problem.p,) * 2, matvec=lambda b: problem.hessian_times(b) + penalty @ b, dtype=np.float64
        )

    def _solve(self, right):
        if self._vectors is None:
            return cg(self._hessian, right, rtol=1e-13, atol=0.0, maxiter=10 * self.problem.p)[0]
        return product(self._vectors, product(self._vectors.T, right) / self._values)

    def coefs(self, support, values):
        g = np.zeros(self.D.shape[0])
        g[support] = values
        return self._free + self._solve(self.D.T @ g) / self.nu

    def rate(self, support, values):
        """``a - A g``."""
        g = np.zeros(self.D.shape[0])
        g[support] = values
        return (self.D @ self.coefs(support, values) - g) / self.nu

    def block(self, rows, column):
        """``A[rows, column]``."""
        unit = np.zeros(self.D.shape[0])
        unit[column] = 1.0
        out = (unit - self.D @ self._solve(self.D.T @ unit) / self.nu) / self.nu
        return out[rows]


class _SignedLeastSquares:
    """Minimises the quadratic under sign constraints, from the last solution (Lawson and Hanson's active set).

    The Cholesky factor of the support's block grows by a row with each entry, and is made anew when one leaves.
    """

    def __init__(self, quadratic):
        self.quadratic = quadratic
        self.support = np.empty(0, dtype=np.intp)
        self.values = np.empty(0)
        self._block = np.zeros((16, 16), order="F")
        self._factor = np.zeros((16, 16), order="F")

    def solve(self, candidates, signs):
        """Solution on the candidates with these signs; returns ``a - A g`` for every row."""
        sign_of = dict(zip(candidates.tolist(), signs.tolist()))
        refused = set()
        rate = self.quadratic.rate(self.support, self.values)
        tolerance = NEGLIGIBLE * np.abs(self.quadratic.linear).max()
        while True:
            gain = signs * rate[candidates]
            gain[np.isin(candidates, self.support)] = 0.0
            gain[[i for i, j in enumerate(candidates.tolist()) if j in refused]] = 0.0
            best = int(np.argmax(gain)) if len(gain) else 0
            if not len(gain) or gain[best] <= tolerance:
                return rate
            j = int(candidates[best])
            if not self._enter(j):
                refused.add(j)
                continue
            while True:
                target = self._target()
                wanted = np.array([sign_of[i] for i in self.support.tolist()])
                wrong = wanted * target <= 0.0
                if not wrong.any():
                    self.values = target
                    break
                if wrong[-1] and self.support[-1] == j and self.values[-1] == 0.0:
                    # in exact arithmetic the newcomer moves the right way
                    refused.add(j)
                    self._leave(np.arange(len(self.support)) == len(self.support) - 1)
                    continue
                with np.errstate(divide="ignore", invalid="ignore"):
                    share = np.where(wrong, self.values / (self.values - target), np.inf)
                length = share.min()
                self.values = self.values + length * (target - self.values)
                self._leave(share <= length * (1.0 + 1e-14))
            rate = self.quadratic.rate(self.support, self.values)

    def _enter(self, j):
        """Whether the block with row j is still positive definite; if so the row is added."""
        k = len(self.support)
        if k == len(self._block):
            for name in ("_block", "_factor"):
                larger = np.zeros((2 * k, 2 * k), order="F")
                larger[:k, :k] = getattr(self, name)
                setattr(self, name, larger)
        column = self.quadratic.block(np.append(self.support, j), j)
        row = np.empty(0)
        if k:
            row = linalg.solve_triangular(self._factor[:k, :k], column[:k], lower=True, check_finite=False)
        rest = column[k] - row @ row
        if not rest > 1e-12 * column[k]:
            return False
        self._block[: k + 1, k] = self._block[k, : k + 1] = column
        self._factor[k, :k], self._factor[k, k] = row, np.sqrt(rest)
        self.support, self.values = np.append(self.support, j), np.append(self.values, 0.0)
        return True

    def _leave(self, gone):
        keep = np.flatnonzero(~gone)
        k = len(keep)
        self.support, self.values = self.support[keep], self.values[keep]
        self._block[:k, :k] = self._block[np.ix_(keep, keep)]
        # rows above the first that left stay as they are
        same = int(np.argmax(gone))
        if k > same:
            self._factor[:k, :k] = linalg.cholesky(self._block[:k, :k], lower=True, check_finite=False)

    def _target(self):
        """Unconstrained minimum on the support, once refined."""
        k = len(self.support)
        factor, right = (self._factor[:k, :k], True), self.quadratic.linear[self.support]
        solution = linalg.cho_solve(factor, right, check_finite=False)
        rest = right - product(self._block[:k, :k], solution)
        return solution + linalg.cho_solve(factor, rest, check_finite=False)
