"""Sparse outlier indicators with an l1 penalty on the coefficients too, for more features than rows."""

import numpy as np

from ._blas import product
from ._lts import trimmed_cut
from .folds import Regression
from .indicator import DenseIndicator, IndicatorFit, Response, note_entries
from .m_estimation import FALL, KINDS, SHAPE, apply_loss, solve, threshold
from .penalty import BlockPenalty
from .robust_scale import SATURATED, CleanRows, trimmed_factor

# Share of the rows that the start fits. Sparse LTS (Alfons, Croux & Gelper 2013) takes three quarters, for efficiency;
# here the rounds of judging and selecting that follow bring it back, and half stands more outliers.
COVERAGE = 0.5
N_STARTS = 20
N_KEPT = 3
# Largest number of rounds of selecting features and judging rows.
STEPS = 4
# Duality gap of the Lasso fits in between, relative to the null objective.
LASSO_TOL = 1e-11


class LassoIndicator:
    """Minimise, over b0, b and the indicator g, with weights v that sum to one,

        sum_i v_i [(r_i - g_i)^2 / 2 + P(|g_i|; t_i)] + coef_alpha ||b||_1.

    The same questions as `DenseIndicator`, of X dense or CSC. Every step is a weighted Lasso, so the objective never
    rises; for l1, SCAD and MCP a Newton step on the support ends it.

    Attributes
    ----------
    selected : ndarray
        Features of the start; scale and leverage refer to them.
    """

    def __init__(self, X, y, weights, fit_intercept, coef_alpha):
        self.X, self.fit_intercept = X, fit_intercept
        self.response = Response(y, weights, fit_intercept)
        self.weights, self.total = weights, float(weights.sum())
        self.v = weights / self.total
        self.coef_alpha = coef_alpha / self.response.scale
        self.saturated = False
        p = X.shape[1]
        self._penalty = BlockPenalty(np.arange(p), np.arange(p + 1), np.ones(p))

    # --- pieces

    def _lasso(self, multipliers, start=None):
        """Weighted Lasso: coefficients (p,) and intercept."""
        w = self.v * multipliers
        share = float(w.sum())
        regression = Regression(self.X, self.response.values[:, None], w, self._penalty, self.fit_intercept)
        begin = None if start is None or not start.any() else start[:, None]
        found = regression.path(1.0, np.array([self.coef_alpha / share]), LASSO_TOL, 1000, begin)
        return found.coefs_at(0)[:, 0], float(found.intercepts[0, 0])

    def _residual(self, coef, intercept):
        used = np.flatnonzero(coef)
        return self.response.values - intercept - self.columns(used) @ coef[used]

    def columns(self, used):
        """Some columns of X, dense."""
        part = self.X[:, used]
        return np.asarray(part.toarray() if hasattr(part, "toarray") else part, dtype=np.float64)

    def _concentrate(self, coef, intercept, max_steps):
        """Concentration steps; returns coefficients, intercept, objective."""
        best = None
        for _ in range(max_steps + 1):
            square = self._residual(coef, intercept) ** 2
            wanted = COVERAGE * self.total
            cut, below = trimmed_cut(square, self.weights, wanted)
            equal = square == cut
            inside = (square < cut).astype(float)
            inside[equal] = min(1.0, max(0.0, (wanted - below) / self.weights[equal].sum()))
            value = 0.5 * float(np.sum(self.v * inside * square)) / COVERAGE + self.coef_alpha * np.abs(coef).sum()
            if best is not None and value >= best[2] * (1.0 - 1e-10):
                break
            best = coef, intercept, value
            if value == 0.0:
                break
            # sum of v times inside is COVERAGE, and the Lasso divides by it
            coef, intercept = self._scaled_lasso(inside, coef)
        return best

    def _scaled_lasso(self, inside, coef):
        w = self.v * inside
        regression = Regression(self.X, self.response.values[:, None], w, self._penalty, self.fit_intercept)
        begin = coef[:, None] if coef.any() else None
        found = regression.path(1.0, np.array([self.coef_alpha]), 1e-6, 1000, begin)
        return found.coefs_at(0)[:, 0], float(found.intercepts[0, 0])

    def _start(self, rng, previous, n_starts):
        """A robust Lasso fit: the best of some random starts, that from the median, and one given."""
        y = self.response.values
        # equal rows are neighbours, wherever they stand
        order = np.lexsort([np.round(self.X @ np.linspace(1.0, 2.0, self.X.shape[1]), 9), y])
        cumulative = np.cumsum(self.v[order])
        median = y[order[min(int(np.searchsorted(cumulative, 0.5 * cumulative[-1])), len(y) - 1)]]
        zero = np.zeros(self.X.shape[1])
        starts = [(zero, median if self.fit_intercept else 0.0)]
        if previous is not None:
            starts.append(previous)
        for _ in range(n_starts):
            rows = order[np.minimum(np.searchsorted(cumulative, rng.uniform(size=3) * cumulative[-1]), len(y) - 1)]
            chosen = np.zeros(len(y))
            np.add.at(chosen, rows, 1.0 / self.v[rows])
            starts.append(self._scaled_lasso(chosen, zero))
        found = [self._concentrate(*start, 2) for start in starts]
        found.sort(key=lambda fit: fit[2])
        found = [
            self._concentrate(coef, intercept, 50) for coef, intercept, _ in found[: N_KEPT if previous is None else 1]
        ]
        return min(found, key=lambda fit: fit[2])[:2]

    # --- what an estimator asks

    def prepare(self, penalty, init, scale, leverage_weights, random_state, previous=None, n_starts=N_STARTS):
        """Find the start, the scale and the thresholds' units; see `DenseIndicator.prepare`."""
        self.penalty = penalty
        n = len(self.weights)
        known = None if scale is None else scale / self.response.scale
        if init == "ols" or (penalty == "l1" and known is not None and not leverage_weights):
            coef, intercept = self._lasso(np.ones(n))
        else:
            coef, intercept = self._start(random_state, previous, n_starts)
        # the Lasso of half of the rows selects, least squares on the selection tells good rows, and the Lasso
        # of all of these selects better
        for step in range(STEPS):
            self._judge(coef, intercept, known, leverage_weights, random_state)
            begin = self._lasso(self.clean.inside.astype(float), coef)
            settled = np.array_equal(np.flatnonzero(begin[0]), self.selected)
            if settled or step == STEPS - 1:
                break
            coef, intercept = begin
        self.robust = coef, intercept
        inner, spread, inside, sigma = self.inner, self.clean.spread, self.clean.inside, self.clean.scale
        residual = self._residual(coef, intercept)
        if penalty == "l1" and self.inner is not None:
            # the convex problem's own leverage, in the features of the start
            leverage = inner.row_leverage()
            spread = np.sqrt(np.where(1.0 - leverage > SATURATED, 1.0 - leverage, 1.0))
        if not leverage_weights:
            spread = np.ones(n)
        # shrinkage leaves more in a residual than noise: least squares on the same features tells how much
        bias = 0.0
        if self.inner is not None and (self.exact or penalty == "hard"):
            shrunk = residual - inner.response.scale * (inner.problem.y - product(inner.problem.Q, inner.clean.beta))
            bias = float(np.sqrt(np.sum((self.weights * shrunk**2)[inside]) / self.weights[inside].sum()))
        self.sigma = 0.0 if self.exact else sigma * self.response.scale
        self.scaled_sigma = max(self.rounding, bias) if self.exact else sigma
        self.unit = np.maximum(self.scaled_sigma, np.finfo(np.float64).tiny) * spread
        if leverage_weights and not self.exact:
            self.unit = np.hypot(self.unit, bias)
        self.clean.beta = self._pack(*(begin if penalty != "l1" else (coef, intercept)))

    def _judge(self, coef, intercept, known, leverage_weights, random_state):
        """Which rows are good, and the scale, given a Lasso fit: by least squares on its features, if they are few."""
        n = len(self.weights)
        self.selected = np.flatnonzero(coef)
        self.rank = len(self.selected) + int(self.fit_intercept)
        self.rounding = self.response.rounding
        self.inner = None
        if self.rank <= max(0.25 * self.total, 1.0):
            # free of the bias of the penalty
            inner = DenseIndicator(self.columns(self.selected), self.response.values, self.weights, self.fit_intercept)
            inner.prepare("hard", "lts", known, leverage_weights, random_state)
            self.inner = inner if not inner.saturated else None
        if self.inner is not None:
            clean, scale = inner.clean, inner.response.scale
            sigma = inner.scaled_sigma * scale
            self.exact = inner.exact
            self.rounding = max(self.rounding, inner.rounding * scale)
            self.clean = CleanRows(
                clean.inside, None, sigma, clean.spread, clean.whiten, clean.weight, clean.rss * scale**2
            )
            return
        square = self._residual(coef, intercept) ** 2
        wanted = COVERAGE * self.total
        cut, below = trimmed_cut(square, self.weights, wanted)
        kept = square < cut
        rss = float(np.sum((self.weights * square)[kept])) + (wanted - below) * cut
        sigma = np.sqrt(rss / max(wanted - len(self.selected), 1.0)) / trimmed_factor(COVERAGE)
        sigma = float(sigma) if known is None else known
        self.exact = sigma <= self.rounding
        inside = square <= max((2.5 * max(sigma, self.rounding)) ** 2, cut)
        weight = float(self.weights[inside].sum())
        self.clean = CleanRows(inside, None, sigma, np.ones(n), np.zeros((0, 0)), weight, rss)

    def _pack(self, coef, intercept):
        return np.append(coef, intercept)

    @property
    def largest_alpha(self):
        return float(np.max(np.abs(self._residual(self.clean.beta[:-1], self.clean.beta[-1])) / self.unit, initial=0.0))

    def significant_alpha(self):
        return DenseIndicator.significant_alpha(self)

    def grid(self, n_alphas, smallest=2.5):
        top = self.largest_alpha * (1.0 + 1e-12)
        if top <= smallest or n_alphas == 1:
            return np.array([max(top, smallest)])
        if self.exact:
            return np.array([top, smallest])
        near = min(top, 4.0 * smallest)
        n_far = 0 if near == top else n_alphas // 3
        far = np.geomspace(top, near, n_far + 1)[:-1] if n_far else np.empty(0)
        return np.concatenate([far, np.geomspace(near, smallest, n_alphas - n_far)])

    def objective(self, residual, coef, thresholds):
        """Objective, influences times v, and zones."""
        influence, zone = np.empty(len(residual)), np.zeros(len(residual), dtype=np.int8)
        loss, _ = apply_loss(residual, self.v, thresholds, KINDS[self.penalty], SHAPE[self.penalty], influence, zone)
        return loss + self.coef_alpha * float(np.abs(coef).sum()), influence, zone

    def fit(self, alpha, max_iter, previous=None):
        """The fit for one threshold; see `DenseIndicator.fit`."""
        thresholds = self._limits = alpha * self.unit
        begin = previous.beta if previous is not None and self.penalty == "l1" else self.clean.beta
        coef, intercept = begin[:-1].copy(), float(begin[-1])
        residual = self._residual(coef, intercept)
        value, influence, zone = self.objective(residual, coef, thresholds)
        converged, n_iter = False, 0
        null = self.null_objective()
        while n_iter < max_iter and not converged:
            n_iter += 1
            multipliers = np.ones(len(residual))
            outside = np.flatnonzero(zone)
            multipliers[outside] = influence[outside] / (self.v[outside] * residual[outside])
            if not multipliers.any():
                break
            coef, intercept = self._lasso(multipliers, coef)
            residual = self._residual(coef, intercept)
            before, before_zone = value, zone
            value, influence, zone = self.objective(residual, coef, thresholds)
            polished = self._newton(coef, intercept, residual, influence, zone, thresholds)
            if polished is not None and polished[3] <= value + 1e-12 * null:
                settled = np.array_equal(polished[5], zone)
                coef, intercept, residual, value, influence, zone = polished
                converged = settled and (
                    self.penalty != "l1" or self._gap(residual, coef, influence, value) <= 1e-12 * null
                )
            elif self.penalty == "hard" and np.array_equal(zone, before_zone):
                converged = True
            elif before - value <= 1e-13 * null:
                converged = np.array_equal(zone, before_zone) or before - value <= 0.0
        flagged = zone != 0
        gamma = np.where(flagged, threshold(residual, thresholds, self.penalty), 0.0)
        gap = self._gap(residual, coef, influence, value) if self.penalty == "l1" else np.nan
        return IndicatorFit(alpha, self._pack(coef, intercept), residual, gamma, flagged, gap, n_iter, converged)

    def _newton(self, coef, intercept, residual, influence, zone, thresholds):
        """A Newton step on the support, exact where it changes no zone; None if it changes a sign."""
        if self.penalty == "hard":
            return None
        used = np.flatnonzero(coef)
        curvature = self.v * np.where(zone == 0, 1.0, np.where(zone == 2, -FALL[self.penalty], 0.0))
        A = self.columns(used)
        if self.fit_intercept:
            A = np.column_stack([A, np.ones(len(residual))])
        if A.shape[1] == 0 or A.shape[1] > len(residual):
            return None
        hessian = product(A.T, A * curvature[:, None])
        scale = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
        hessian = hessian / np.outer(scale, scale)
        if np.linalg.eigvalsh(hessian)[0] <= 1e-10:
            return None
        for _ in range(2):
            gradient = product(A.T, influence)
            gradient[: len(used)] -= self.coef_alpha * np.sign(coef[used])
            step = solve(hessian, gradient / scale) / scale
            new = coef.copy()
            new[used] += step[: len(used)]
            if np.any(np.sign(new[used]) != np.sign(coef[used])):
                return None
            intercept = intercept + (step[-1] if self.fit_intercept else 0.0)
            residual = self._residual(new, intercept)
            coef = new
            value, influence, new_zone = self.objective(residual, coef, thresholds)
            if not np.array_equal(new_zone, zone):
                break
        return coef, intercept, residual, value, influence, new_zone

    def _gap(self, residual, coef, influence, value):
        """Duality gap: the influences, orthogonal to the intercept and shortened until they are feasible."""
        u = influence.copy()
        if self.fit_intercept:
            # what is left is at the level of rounding once the intercept has converged
            u -= self.v * u.sum()
        limit = np.abs(influence).max(initial=0.0)
        norm = float(np.abs(self.X.T @ u).max(initial=0.0))
        shrink = min(1.0, self.coef_alpha / norm) if norm > 0.0 else 1.0
        bound = self.v * self._limits
        over = np.abs(u) > bound
        if over.any():
            shrink = min(shrink, float(np.min(bound[over] / np.abs(u[over]))))
        if limit == 0.0:
            return 0.0
        u *= shrink
        dual = float(np.sum(u * self.response.values) - 0.5 * np.sum(u**2 / self.v))
        return max(value - dual, 0.0)

    def null_objective(self):
        return self.response.null_objective

    def rss_without_flagged(self, fit):
        """Residual sum of squares and rank of least squares on the support and the rows not flagged."""
        used = np.flatnonzero(fit.beta[:-1])
        kept = ~fit.flagged
        A = self.columns(used)
        if self.fit_intercept:
            A = np.column_stack([A, np.ones(len(A))])
        root = np.sqrt(self.weights[kept])
        target = root * self.response.values[kept]
        solution, _, rank, _ = np.linalg.lstsq(A[kept] * root[:, None], target, rcond=None)
        left = target - (A[kept] * root[:, None]) @ solution
        return float(left @ left), int(rank)

    def coefficients(self, beta):
        """Coefficients and intercept in the units of the data."""
        scale = self.response.scale
        return beta[:-1] * scale, float(beta[-1]) * scale + self.response.shift

    def note_entries(self, entries, before, fit):
        note_entries(entries, before, fit, self.unit, self.penalty)

    def final_entries(self, entries, alpha):
        return entries

    def row_leverage(self):
        """Leverage in the features of the start; zero where these are too many to tell."""
        return np.zeros(len(self.weights)) if self.inner is None else self.inner.row_leverage()

    def distances(self):
        """Squared distances of other rows from those fitted, in the features of the start; None if too many."""
        if self.inner is None:
            return None
        found = self.inner.distances()
        found.columns = self.selected
        return found


def largest_coef_alpha(X, y, weights, fit_intercept):
    """The smallest coef_alpha for which all coefficients vanish without any outlier."""
    p = X.shape[1]
    penalty = BlockPenalty(np.arange(p), np.arange(p + 1), np.ones(p))
    return Regression(X, np.asarray(y, dtype=np.float64)[:, None], weights, penalty, fit_intercept).alpha_max(1.0)
