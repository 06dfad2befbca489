"""Thresholds at which comparisons, or groups of them, first leave the fit: a Huber path in the scores.

For each threshold alpha the scores minimise ``sum_k w_k huber(r_k; alpha)``, r the residuals of the comparisons, which
is the Lasso of the outliers gamma with the scores projected out. A semismooth Newton step solves a weighted least
squares problem on the comparisons within the threshold. Between two thresholds the scores are interpolated by the cubic
that has their values and derivatives at both; where the exact solution between disagrees, the interval is halved.
"""

from dataclasses import dataclass

import numpy as np

from ._comparisons import comparisons_enter, dual_pass, huber_pass, stays_to_zero, values_enter
from .comparisons import Pairs
from .threads import one_blas_thread

# Stands for an infinite threshold: responses are at most one.
UNBOUNDED = 1e150
# Share of the comparisons, by weight, that need not enter before a path ends.
REST = 0.01
# Least share of the accuracy asked of thresholds that interpolated residuals must have. An error of a residual is one
# of its entry divided by the difference between the slopes of residual and threshold.
SAFETY = 0.03
MAX_NEWTON = 200
# Rows below which passes are cheap enough to take all.
NARROW = 20_000
# Parameters above which a factorisation costs more than the steps that another one with its neighbour's takes.
REUSE = 150


@dataclass
class State:
    """What one pass tells: loss, downhill direction, its derivative in alpha, and the second derivative's parts."""

    loss: float
    gradient: np.ndarray
    clipped: np.ndarray
    pairs: Pairs
    correction: np.ndarray | None = None

    def same_system(self, other):
        return self.correction is None and self.pairs.same(other.pairs)


@dataclass
class Point:
    """Solution at a threshold, with its derivative as the threshold changes (from below)."""

    alpha: float
    theta: np.ndarray
    slope: np.ndarray
    n_iter: int = 0


class Comparisons:
    """Huber's loss of merged comparisons; ``weights`` may differ from those merged."""

    def __init__(self, merged, parametrization, weights=None):
        self.merged, self.space = merged, parametrization
        self.weights = merged.weights if weights is None else weights
        self.rows = (merged.start, merged.first, merged.second, merged.y)
        self.n_units = len(merged.y)
        self.unit_weights = self.weights
        self._band = None

    def state(self, theta, alpha):
        s, bias = self.space.scores(theta)
        pull, clipped = np.zeros(len(s) + 1), np.zeros(len(s) + 1)
        band = self._band
        if band is not None and alpha + self.space.spread(theta - band.theta) <= band.reach:
            rows, weights = band.rows, band.weights
            clipped += band.clipped
            loss = alpha * (band.linear - band.clipped[:-1] @ s - band.clipped[-1] * bias - 0.5 * alpha * band.total)
        else:
            rows, weights, loss = self.rows, self.weights, 0.0
        inside = np.empty(len(rows[1]))
        loss += huber_pass(*rows, weights, s, bias, alpha, inside, pull, clipped)
        clipped = self.space.from_items(clipped)
        return State(loss, self.space.from_items(pull) + alpha * clipped, clipped, Pairs(rows[1], rows[2], inside))

    def narrow(self, point, left):
        """Leave rows that are far outside out of the passes to come: their clipped residuals do not change.

        ``left`` rows are within the threshold.
        """
        rows = self.rows if self._band is None else self._band.rows
        if len(rows[3]) < max(NARROW, 3 * left):
            return
        weights = self.weights if self._band is None else self._band.weights
        places = None if self._band is None else self._band.places
        s, bias = self.space.scores(point.theta)
        pair = np.repeat(np.arange(len(rows[1])), np.diff(rows[0]))
        r = rows[3] - (s[rows[1]] - s[rows[2]] + bias)[pair]
        reach = 2.0 * point.alpha
        kept = np.abs(r) <= reach
        if 2 * kept.sum() > len(kept):
            return
        far = ~kept
        signed = np.where(r[far] > 0.0, weights[far], -weights[far])
        clipped = np.zeros(len(s) + 1)
        np.add.at(clipped, rows[1][pair[far]], signed)
        np.subtract.at(clipped, rows[2][pair[far]], signed)
        clipped[-1] = signed.sum()
        linear, total = signed @ rows[3][far], weights[far].sum()
        if self._band is not None:
            clipped, linear, total = clipped + self._band.clipped, linear + self._band.linear, total + self._band.total
        counts = np.bincount(pair[kept], minlength=len(rows[1]))
        held = counts > 0
        start = np.concatenate(([0], np.cumsum(counts[held]))).astype(np.intp)
        compact = (start, rows[1][held], rows[2][held], rows[3][kept])
        places = np.flatnonzero(kept) if places is None else places[kept]
        self._band = Band(point.theta, reach, compact, weights[kept], places, clipped, linear, total)

    def widen(self):
        self._band = None

    def residuals(self, theta):
        return self.merged.y - self.space.differences(theta)[self.merged.pair]

    def values(self, theta):
        """What is compared with the threshold."""
        return np.abs(self.residuals(theta))

    def enter(self, upper, lower, entry):
        ends = []
        for point in (upper, lower):
            s, bias = self.space.scores(point.theta)
            ds, dbias = self.space.scores(point.slope)
            ends += [s, ds, bias, dbias, point.alpha]
        if self._band is None:
            return comparisons_enter(*self.rows, self.weights, *ends, entry)
        # rows outside the band have entered
        part = entry[self._band.places]
        left = comparisons_enter(*self._band.rows, self._band.weights, *ends, part)
        entry[self._band.places] = part
        return left

    def is_straight(self, point, tolerance):
        s, bias = self.space.scores(point.theta)
        ds, dbias = self.space.scores(point.slope)
        return stays_to_zero(*self.rows, self.weights, s, ds, bias, dbias, point.alpha, tolerance)

    def dual_gap(self, theta, alpha, full_solver):
        """Duality gap: the clipped residuals, projected onto the feasible ones and scaled into the box."""
        state = self.state(theta, alpha)
        s, bias = self.space.scores(theta)
        t, t_bias = self.space.scores(full_solver(state.gradient))
        linear, square, largest = dual_pass(*self.rows, self.weights, s, bias, t, t_bias, alpha)
        scale = min(1.0, alpha / largest) if largest > 0.0 else 1.0
        return max(state.loss - (scale * linear - 0.5 * scale**2 * square), 0.0)


@dataclass
class Band:
    """Rows near or within the threshold, and sums over the others; valid for scores near ``theta``.

    The others add ``alpha (linear - clipped's - alpha total / 2)`` to the loss.
    """

    theta: np.ndarray
    reach: float
    rows: tuple
    weights: np.ndarray
    places: np.ndarray
    clipped: np.ndarray
    linear: float
    total: float


class GroupedComparisons:
    """Huber's loss of the norm of each group of rows: ``sum_a h(||r_a||; alpha sqrt(n_a))``, n_a the group's weight."""

    def __init__(self, merged, parametrization, n_groups):
        self.merged, self.space = merged, parametrization
        self.weights = merged.weights
        self.n_units = n_groups
        self.unit_weights = np.bincount(merged.group, weights=self.weights, minlength=n_groups)
        self._roots = np.sqrt(self.unit_weights)

    residuals = Comparisons.residuals

    def _norms(self, r):
        return np.sqrt(np.bincount(self.merged.group, weights=self.weights * r * r, minlength=self.n_units))

    def _pulls(self, values, groups):
        """``Z_a' v_a`` for some groups a, as columns."""
        out = np.empty((self.space.n_parameters, len(groups)), order="F")
        edges = np.searchsorted(self.merged.group, np.stack([groups, groups + 1]))
        for column, (low, high) in enumerate(edges.T):
            part = np.bincount(self.merged.pair[low:high], weights=values[low:high], minlength=len(self.merged.first))
            out[:, column] = self.space.pull_back(part)
        return out

    def state(self, theta, alpha):
        r = self.residuals(theta)
        norms = self._norms(r)
        bounds = alpha * self._roots
        outside = norms > bounds
        shrink = np.ones(self.n_units)
        shrink[outside] = bounds[outside] / norms[outside]
        inner, outer = norms[~outside], norms[outside]
        loss = 0.5 * inner @ inner + bounds[outside] @ (outer - 0.5 * bounds[outside])
        w = self.weights * shrink[self.merged.group]
        n_pairs = len(self.merged.first)
        weight = np.bincount(self.merged.pair, weights=w, minlength=n_pairs)
        gradient = self.space.pull_back(np.bincount(self.merged.pair, weights=w * r, minlength=n_pairs))
        flagged = np.flatnonzero(outside)
        G = self._pulls(self.weights * r, flagged) / outer
        clipped = G @ self._roots[flagged]
        every = self.space.all_pairs
        return State(loss, gradient, clipped, Pairs(every.first, every.second, weight), G * np.sqrt(shrink[flagged]))

    def values(self, theta):
        return np.divide(
            self._norms(self.residuals(theta)), self._roots, out=np.zeros(self.n_units), where=self._roots > 0
        )

    def enter(self, upper, lower, entry):
        ends = []
        for point in (upper, lower):
            r = self.residuals(point.theta)
            dr = -self.space.differences(point.slope)[self.merged.pair]
            value = self.values(point.theta)
            change = np.bincount(self.merged.group, weights=self.weights * r * dr, minlength=self.n_units)
            below = self.unit_weights * value
            ends += [value, np.divide(change, below, out=np.zeros_like(change), where=below > 0.0), point.alpha]
        return values_enter(self.unit_weights, *ends, entry)

    def is_straight(self, point, tolerance):
        return False

    def narrow(self, point, left):
        pass

    def widen(self):
        pass

    def dual_gap(self, theta, alpha, full_solver):
        r = self.residuals(theta)
        norms, bounds = self._norms(r), alpha * self._roots
        shrink = np.minimum(1.0, np.divide(bounds, norms, out=np.ones(self.n_units), where=norms > 0.0))
        state = self.state(theta, alpha)
        t = self.space.differences(full_solver(state.gradient))[self.merged.pair]
        u = r * shrink[self.merged.group] - t
        held = self.unit_weights > 0.0
        scale = min(1.0, float(np.min(bounds[held] / np.maximum(self._norms(u)[held], 1e-300), initial=1.0)))
        return max(state.loss - (scale * (self.weights * u) @ r - 0.5 * scale**2 * (self.weights * u) @ u), 0.0)


def solve(model, alpha, theta, step_tol=1e-11, factor=None):
    """The solution at one threshold, from a start; a step of at most ``step_tol * alpha`` is the last.

    ``factor`` is a list that keeps a factorisation for the next call: nearby systems are solved with an old one as long
    as that brings steps down quickly.
    """
    space = model.space
    limit = max(step_tol * min(alpha, 1.0), 4e-15 * (1.0 + space.spread(theta)))
    factor = [] if factor is None else factor
    may_reuse = space.is_dense and space.n_parameters > REUSE
    reuse = len(factor) > 0 and may_reuse
    state, previous, last_size = model.state(theta, alpha), None, np.inf
    fresh = False
    n_iter = 0
    while n_iter < MAX_NEWTON:
        n_iter += 1
        if not reuse and not (previous is not None and fresh and state.same_system(previous)):
            factor[:] = [space.solver(state.pairs, state.correction)]
            fresh = True
        previous = state
        step = space.centred(factor[0](state.gradient))
        size = space.spread(step)
        if size <= limit or not np.isfinite(size):
            theta = theta + step if np.isfinite(size) else theta
            break
        theta, state, length = _line_search(model, alpha, theta, step, state)
        if length == 0.0 and not reuse:
            break
        quick = size <= 0.25 * last_size if reuse else fresh and size <= 0.01 * alpha
        reuse = may_reuse and length == 1.0 and quick
        fresh = fresh and not reuse
        last_size = size
    theta = space.centred(theta)
    slope = factor[0](state.clipped)
    if not fresh:
        slope = _refined(space, state, factor[0], slope)
    return Point(alpha, theta, space.centred(slope), n_iter)


def _refined(space, state, precondition, x, accuracy=1e-3, max_iter=20):
    """Conjugate gradients for the derivative, preconditioned by a neighbour's factorisation."""
    target = state.clipped
    r = target - space.multiply(state.pairs, x, state.correction)
    z = precondition(r)
    p, rz = z, r @ z
    goal = accuracy**2 * (target @ x)
    for _ in range(max_iter):
        if not rz > goal:
            break
        Ap = space.multiply(state.pairs, p, state.correction)
        curvature = p @ Ap
        if not curvature > 0.0:
            break
        x = x + (rz / curvature) * p
        r = r - (rz / curvature) * Ap
        z = precondition(r)
        rz, old = r @ z, rz
        p = z + (rz / old) * p
    return x


def _line_search(model, alpha, theta, step, state):
    """To where the loss, convex along the step, is nearly least.

    Its length, which comes last, is 1 where that is good enough and 0 if rounding allows no progress.
    """
    start = state.gradient @ step
    if start <= 0.0:
        return theta, state, 0.0
    low, high, t = 0.0, np.inf, 1.0
    best = None
    for _ in range(60):
        new = model.state(theta + t * step, alpha)
        rate = new.gradient @ step
        if abs(rate) <= 0.1 * start:
            # where rounding hides the descent of the loss, that of the gradient still shows
            return theta + t * step, new, t
        if new.loss <= state.loss - 1e-4 * t * start and (best is None or new.loss < best[1].loss):
            best = theta + t * step, new, t
        if abs(rate) <= (0.9 if t == 1.0 else 0.3) * start and best is not None:
            break
        if rate > 0.0:
            low = t
        else:
            high = t
        t = 4.0 * t if high == np.inf else 0.5 * (low + high)
        if t > 1e12 or high - low <= 1e-10 * high:
            break
    return (theta, state, 0.0) if best is None else best


class Path:
    """Solutions at decreasing thresholds, and between them the cubic through values and derivatives."""

    def __init__(self, points, entry, n_solved):
        self.points, self.entry, self.n_solved = points, entry, n_solved
        self._alphas = np.array([point.alpha for point in points])

    @property
    def alpha_max(self):
        return self.points[0].alpha

    def theta(self, alpha):
        """Interpolated parameters; those at the ends beyond them."""
        if alpha >= self._alphas[0]:
            return self.points[0].theta
        if alpha <= self._alphas[-1]:
            return self.points[-1].theta
        k = int(np.searchsorted(-self._alphas, -alpha, side="left"))
        return hermite(self.points[k - 1], self.points[k], alpha)


def hermite(upper, lower, alpha):
    h = lower.alpha - upper.alpha
    t = (alpha - upper.alpha) / h
    u = 1.0 - t
    ends = u * u * (1.0 + 2.0 * t) * upper.theta + t * t * (3.0 - 2.0 * t) * lower.theta
    return ends + h * (t * u * u * upper.slope - t * t * u * lower.slope)


def least_squares(model):
    """The solution at an infinite threshold, and the largest residual (norm of a group): the path begins there."""
    point = solve(model, UNBOUNDED, np.zeros(model.space.n_parameters), 1e-13)
    return Point(np.inf, point.theta, np.zeros_like(point.theta), point.n_iter)


def follow(model, tol, alpha_min=None):
    """Follow the path down until nearly all have entered (or to ``alpha_min``); ``tol`` is relative."""
    # many small systems in turn are slower with threads, which wait for work by spinning
    with one_blas_thread:
        return _follow(model, tol, alpha_min)


def _follow(model, tol, alpha_min):
    top = least_squares(model)
    values = model.values(top.theta)
    weighted = model.unit_weights > 0.0
    alpha = float(values[weighted].max(initial=0.0))
    tiny = 1e-13 * (1.0 + model.space.spread(top.theta))
    top = Point(alpha, top.theta, top.slope, top.n_iter)
    if alpha <= tiny:
        return Path([top], np.zeros(model.n_units), 1)
    entry = np.where(values >= alpha * (1.0 - 1e-13), values, -1.0)
    rest = REST * model.unit_weights.sum() if alpha_min is None else 0.0
    end = max(tiny, 0.0 if alpha_min is None else alpha_min)
    # halves of an interval are interpolated with less than half the error, unless single rows matter
    slack = 3.0 if model.n_units > NARROW else 0.5
    points, width, n_solved, factor = [top], 0.3, 1, []
    while True:
        upper = points[-1]
        alpha = max(upper.alpha * np.exp(-width), end)
        step_tol = 0.1 * _allowed(model, upper, tol) / upper.alpha
        guess = upper.theta + (alpha - upper.alpha) * upper.slope
        waiting = [solve(model, alpha, guess, step_tol, factor)]
        n_solved += 1
        while waiting:
            upper, lower = points[-1], waiting[-1]
            if upper.alpha <= lower.alpha * (1.0 + 0.5 * tol) or _agree(model, upper, lower, tol):
                left, weight_left = model.enter(upper, lower, entry)
                points.append(waiting.pop())
                width = min(2.0 * np.log(upper.alpha / lower.alpha), 1.0)
                continue
            middle = np.sqrt(upper.alpha * lower.alpha)
            guess = hermite(upper, lower, middle)
            point = solve(model, middle, guess, step_tol, factor)
            n_solved += 1
            if model.space.spread(point.theta - guess) <= slack * _allowed(model, point, tol):
                model.enter(upper, point, entry)
                left, weight_left = model.enter(point, lower, entry)
                points += [point, waiting.pop()]
                width = np.log(upper.alpha / lower.alpha)
            else:
                waiting.append(point)
        last = points[-1]
        if weight_left <= rest or last.alpha <= end:
            break
        if model.is_straight(last, tiny):
            entry[weighted & (entry < 0.0)] = 0.0
            break
        model.narrow(last, left)
    model.widen()
    inside = entry < 0.0
    entry[inside] = model.values(points[-1].theta)[inside]
    return Path(points, entry, n_solved)


def _allowed(model, point, tol):
    """How far interpolated residuals may be off for entries to be accurate to ``tol``."""
    steepest = model.space.spread(point.slope)
    return tol * point.alpha * max(SAFETY, 0.5 * (1.0 - steepest))


def _agree(model, upper, lower, tol):
    """Whether the straight lines from both ends meet the other end."""
    h, spread = lower.alpha - upper.alpha, model.space.spread
    error = min(_allowed(model, upper, tol), _allowed(model, lower, tol))
    return (
        spread(upper.theta + h * upper.slope - lower.theta) <= error
        and spread(lower.theta - h * lower.slope - upper.theta) <= error
    )
