"""Regression M-estimates whose influence is piecewise linear: what thresholding an outlier indicator comes to.

Minimising over the indicator g of

    sum_i s_i [(r_i - g_i)^2 / 2 + P(|g_i|; t_i)],    r = y - Q beta,

leaves ``sum_i s_i rho(r_i; t_i)`` in beta alone: Huber's loss for the l1 norm, cut squares ``min(r^2, t^2) / 2`` for
hard thresholding, redescending losses for SCAD and MCP (She & Owen 2011). rho is quadratic on zones of residuals, so
a Newton step that stays within the zones is exact, and the work is finite: each step costs one pass over the rows and
a Gram matrix of those outside zone 0. No n x n matrix is formed.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, lapack, solve_triangular

from ._blas import product, symmetric
from ._m_estimation import KINDS, apply_loss, evaluate
from ._row_blocks import residual_gradient, weighted_gram

# Where the falling part of the influence reaches zero, in thresholds: Fan & Li's and Zhang's usual values.
SHAPE = {"l1": 1.0, "hard": 1.0, "scad": 3.7, "mcp": 3.0}
# How steeply it falls there.
FALL = {"l1": 0.0, "hard": 0.0, "scad": 1.0 / (SHAPE["scad"] - 2.0), "mcp": 1.0 / (SHAPE["mcp"] - 1.0)}
EPS = np.finfo(np.float64).eps


@dataclass
class Minimum:
    """A minimum (for l1) or a stationary point.

    Attributes
    ----------
    beta : ndarray of shape (k,)
    residual : ndarray of shape (n,)
    zone : ndarray of int8
        Zero for the rows within their threshold.
    loss : float
    gradient : ndarray of shape (k,)
        ``Q'`` times the influences of the rows.
    n_iter : int
    converged : bool
    """

    beta: np.ndarray
    residual: np.ndarray
    zone: np.ndarray
    loss: float
    gradient: np.ndarray
    n_iter: int
    converged: bool


class MEstimation:
    """Rows with ``Q'SQ = I`` and a response, for which M-estimates are wanted.

    Parameters
    ----------
    Q : ndarray of shape (n, k), C-ordered
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Positive.
    resolution : float
        What rounding leaves of a residual that is zero.
    """

    def __init__(self, Q, y, weights, resolution=0.0):
        self.Q, self.y, self.weights, self.resolution = Q, np.ascontiguousarray(y), weights, resolution
        self._ols = None
        self._size = float(np.sqrt(_dot(weights, self.y**2)))

    def least_squares(self):
        """Coefficients of least squares on all rows."""
        if self._ols is None:
            self._ols = product(self.Q.T, self.weights * self.y)
        return self._ols

    def gram_without(self, removed):
        """``Q' (S - diag(removed)) Q``."""
        if 2 * np.count_nonzero(removed) > len(self.y):
            left = self.weights - removed
            if left.min() >= 0.0:
                return symmetric(weighted_gram(self.Q, left))
        gram = -symmetric(weighted_gram(self.Q, removed))
        gram[np.diag_indices(len(gram))] += 1.0
        return gram

    def refit(self, outside, start, gram=None, n_steps=2):
        """Least squares without some rows; parts that the others leave undetermined stay as in ``start``.

        ``gram`` is the Gram matrix of the others, if it is known.
        """
        if gram is None:
            gram = self.gram_without(np.where(outside, self.weights, 0.0))
        kept = np.where(outside, 0.0, self.weights)
        residual = np.empty(len(self.y))
        beta = start
        for _ in range(n_steps):
            beta = beta + solve(gram, residual_gradient(self.Q, self.y, beta, kept, residual))
        return beta

    def _gram_within(self, zone, last_zone, last_gram):
        """``gram_without`` the rows outside zone 0; from that for other zones where few rows differ."""
        if last_gram is not None:
            moved = np.flatnonzero((zone != 0) != (last_zone != 0))
            if 8 * len(moved) < len(zone):
                part = self.Q[moved]
                change = np.where(zone[moved] == 0, self.weights[moved], -self.weights[moved])
                return symmetric(last_gram + product(part.T, part * change[:, None]))
        return self.gram_without(np.where(zone == 0, 0.0, self.weights))

    def sampled_start(self, penalty, thresholds, count=20_000):
        """The minimum for every so many-th row, from where that for all rows is near; least squares of few rows."""
        step = len(self.y) // count
        if step < 2 or self._ols is not None:
            return self.least_squares()
        rows = slice(None, None, step)
        Q, weights = np.ascontiguousarray(self.Q[rows]), np.ascontiguousarray(self.weights[rows])
        factor, info = lapack.dpotrf(symmetric(weighted_gram(Q, weights)), lower=1)
        if info != 0 or np.diag(factor).min() <= 1e-4 * np.diag(factor).max():
            return self.least_squares()
        part = MEstimation(
            np.ascontiguousarray(solve_triangular(factor, Q.T, lower=True).T), self.y[rows], weights, self.resolution
        )
        found = part.minimise(penalty, np.ascontiguousarray(thresholds[rows]), part.least_squares())
        return solve_triangular(factor, found.beta, lower=True, trans=1)

    def minimise(self, penalty, thresholds, start, max_iter=100):
        """Newton steps from ``start``; for SCAD and MCP reweighted least squares leads to where Newton is safe.

        The loss never rises. For l1 the minimum is exact when a whole step changes no zone.
        """
        kind, shape = KINDS[penalty], SHAPE[penalty]
        n = len(self.y)
        residual, influence, zone = np.empty(n), np.empty(n), np.full(n, -1, dtype=np.int8)

        def at(beta):
            return evaluate(self.Q, self.y, beta, self.weights, thresholds, kind, shape, residual, influence, zone)

        beta = np.array(start, dtype=np.float64)
        loss, _, gradient = at(beta)
        falls = penalty in ("scad", "mcp")
        newton, converged, n_iter = not falls, False, 0
        gram, gram_zone = None, None
        # steps below this are rounding; one wild entry of y must not make it large
        least = min(1e-13 * self._size, 1e-12 * np.sqrt(_dot(self.weights, thresholds**2)))
        least = max(least, 0.01 * self.resolution * np.sqrt(self.weights.sum()))
        while n_iter < max_iter and not converged:
            n_iter += 1
            if not falls:
                gram = self._gram_within(zone, gram_zone, gram)
                gram_zone = zone.copy()
            else:
                removed = np.where(zone == 0, 0.0, self.weights)
                if newton:
                    removed[zone == 2] *= 1.0 + FALL[penalty]
                else:
                    outside = np.flatnonzero(zone)
                    removed[outside] -= influence[outside] / residual[outside]
                gram = self.gram_without(removed)
            if falls and newton and not _positive(gram):
                newton = False
                continue
            step = solve(gram, gradient, floor=1e-8 if penalty == "l1" else None)
            before = loss
            new_loss, changed, new_gradient = at(beta + step)
            size = float(np.linalg.norm(step))
            if new_loss > loss * (1.0 + (1e-13 if penalty == "l1" else 4.0 * EPS)):
                if size <= least or penalty == "hard":
                    # rounding
                    loss, _, gradient = at(beta)
                    converged = True
                elif penalty == "l1":
                    along = product(self.Q, step)
                    residual += along
                    length = self._line_search(residual, along, thresholds)
                    beta = beta + length * step
                    loss, _, gradient = at(beta)
                    # a step that cannot lower the loss: there is nothing left but rounding
                    converged = before - loss <= 4.0 * EPS * before and length * size <= 1e4 * least
                else:
                    # reweighted least squares never raises the loss: where it seems to, that is rounding
                    converged = not newton
                    newton = False
                    loss, _, gradient = at(beta)
                continue
            beta, loss, gradient = beta + step, new_loss, new_gradient
            if newton and changed == 0:
                # exact up to rounding, which one more step with the same matrix takes away
                step = solve(gram, gradient, floor=1e-8 if penalty == "l1" else None)
                if float(np.linalg.norm(step)) > 0.01 * least:
                    beta = beta + step
                    loss, _, gradient = at(beta)
                converged = True
            elif size <= least:
                converged = True
            elif falls and not newton:
                # near enough that a Newton step stays with this minimum
                newton = size <= 0.1 * np.sqrt(_dot(self.weights, thresholds**2))
        return Minimum(beta, residual, zone, loss, gradient, n_iter, converged)

    def _line_search(self, residual, along, thresholds):
        """Minimise Huber's loss of ``residual - t along`` over t: its slope is increasing and piecewise linear."""
        n = len(residual)
        influence, zone = np.empty(n), np.zeros(n, dtype=np.int8)

        def slope(t):
            apply_loss(residual - t * along, self.weights, thresholds, KINDS["l1"], 1.0, influence, zone)
            return -float(_dot(influence, along))

        low, high = 0.0, 1.0
        slope_low, slope_high = slope(low), slope(high)
        while slope_high < 0.0 and high < 1e12:
            low, slope_low = high, slope_high
            high *= 8.0
            slope_high = slope(high)
        for count in range(60):
            if slope_high <= 0.0 or slope_low >= 0.0 or high - low <= 1e-15 * high:
                break
            # a secant, halved now and then lest it creep
            t = 0.5 * (low + high) if count % 3 == 2 else low - slope_low * (high - low) / (slope_high - slope_low)
            value = slope(t)
            if value < 0.0:
                low, slope_low = t, value
            elif value > 0.0:
                high, slope_high = t, value
            else:
                return t
        return low if abs(slope_low) < abs(slope_high) else high

    def huber_gap(self, minimum, thresholds, longest=np.inf):
        """Duality gap of an l1 solution, or a bound on it that is as good as rounding.

        The dual is ``max sum_i (u_i y_i - u_i^2 / (2 s_i))`` over u with ``Q'u = 0`` and ``|u_i| <= s_i t_i``: the
        influences, made orthogonal to Q and shortened. With g = Q'u of the influences, orthogonality moves u_i by
        ``s_i q_i'g``, so that ``c = 1 / (1 + d)``, ``d = ||g|| max_i ||q_i|| / t_i`` shortens enough. As the loss is
        ``u'r - sum_i u_i^2 / (2 s_i)`` of the influences, the gap is at most ``d loss + ||g|| (r'Sr)^(1/2)``: known
        without a pass over Q. ``longest`` is the largest length of a row q_i.
        """
        s, r = self.weights, minimum.residual
        size = float(np.linalg.norm(minimum.gradient))
        bound = size * (longest / max(thresholds.min(initial=np.inf), 1e-300) * minimum.loss)
        bound += size * np.sqrt(np.einsum("i,i,i->", s, r, r))
        if bound <= 1e-13 * self._size**2:
            return float(bound)
        u = s * np.clip(r, -thresholds, thresholds)
        u -= s * product(self.Q, product(self.Q.T, u))
        limit = s * thresholds
        outside = np.abs(u) > limit
        if outside.any():
            u *= float(np.min(limit[outside] / np.abs(u[outside])))
        # y and the residual differ by a fit, to which u is orthogonal: the residual has the fewer digits to cancel
        dual = float(_dot(u, r) - 0.5 * _dot(u, u / s))
        return max(minimum.loss - dual, 0.0)


def solve(gram, right, floor=None):
    """Solve a semi-definite system; a singular one with least norm, or with eigenvalues raised to ``floor``."""
    if len(right) == 0:
        return np.zeros(0)
    factor, info = lapack.dpotrf(gram, lower=1)
    if info == 0 and np.diag(factor).min() ** 2 > 1e-9 * np.diag(gram).max():
        return lapack.dpotrs(factor, right, lower=1)[0]
    values, vectors = eigh(gram)
    largest = max(values[-1], 0.0)
    if floor is not None:
        values = np.maximum(values, floor * max(largest, floor))
        return product(vectors, product(vectors.T, right) / values)
    kept = values > 1e-12 * max(largest, 1e-12)
    vectors = np.ascontiguousarray(vectors[:, kept])
    return product(vectors, product(vectors.T, right) / values[kept]) if kept.any() else np.zeros(len(right))


def _positive(gram):
    """Whether a symmetric matrix is safely positive definite."""
    if len(gram) == 0:
        return True
    factor, info = lapack.dpotrf(gram, lower=1)
    return info == 0 and np.diag(factor).min() ** 2 > 1e-3 * np.diag(gram).max()


def threshold(residual, thresholds, penalty):
    """The indicator g that a penalty leaves of each residual."""
    n = len(residual)
    influence, zone = np.empty(n), np.zeros(n, dtype=np.int8)
    residual = np.ascontiguousarray(residual, dtype=np.float64)
    apply_loss(residual, np.ones(n), thresholds, KINDS[penalty], SHAPE[penalty], influence, zone)
    gamma = residual - influence
    gamma[zone == 0] = 0.0
    return gamma


def huber_entries(problem, unit, stop, max_events=None):
    """The largest multiples of ``unit`` at which rows leave zone 0 of Huber's loss, down to ``stop``.

    Follows the path, which is linear between the points where rows change zone. Rows that change together (within
    1e-10) are taken together.

    Parameters
    ----------
    problem : MEstimation
    unit : ndarray of shape (n,)
        Thresholds are alpha times this.
    stop : float
        Smallest alpha.

    Returns
    -------
    entries : ndarray of shape (n,)
        Zero for rows that never leave.
    """
    n = len(problem.y)
    entries = np.zeros(n)
    beta = problem.least_squares()
    residual = problem.y - product(problem.Q, beta)
    alpha = float(np.max(np.abs(residual) / unit, initial=0.0))
    if alpha <= stop:
        return entries
    rows = np.abs(residual) >= alpha * unit * (1.0 - 1e-10)
    entries[rows] = alpha
    alpha *= 1.0 - 1e-10
    for _ in range(max_events or 50 * n):
        minimum = problem.minimise("l1", alpha * unit, beta)
        beta, residual, zone = minimum.beta, minimum.residual, minimum.zone
        entries[(zone != 0) & (entries == 0.0)] = alpha
        outside = np.where(zone != 0, problem.weights, 0.0)
        pull = outside * unit * np.sign(residual)
        slope = solve(problem.gram_without(outside), product(problem.Q.T, pull), floor=1e-12)
        change = product(problem.Q, slope)
        # a row is where |r| = alpha unit: r falls by `change` per unit of alpha
        following = 0.0
        for sign in (1.0, -1.0):
            # sign r(a) - a unit = 0 with r(a) = r - (a - alpha) change
            bottom = unit + sign * change
            with np.errstate(divide="ignore", invalid="ignore"):
                a = (sign * residual + sign * alpha * change) / bottom
            own = (zone == 0) | (np.sign(residual) == sign)
            a = a[own & np.isfinite(a)]
            a = a[a < alpha * (1.0 - 1e-10)]
            following = max(following, float(a.max(initial=0.0)))
        if following <= stop:
            return entries
        beta = beta + (following - alpha) * slope
        residual = problem.y - product(problem.Q, beta)
        new = (entries == 0.0) & (np.abs(residual) >= following * unit * (1.0 - 1e-9))
        entries[new] = following
        alpha = following * (1.0 - 1e-10)
    return entries


def _dot(a, b):
    """An inner product without the BLAS of NumPy."""
    return float(np.einsum("i,i->", a, b))
