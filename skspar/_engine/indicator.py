"""Sparse outlier indicators: y = b0 + x'b + g + noise, from a robust start, along a path of thresholds.

Two problems answer the same questions: `DenseIndicator` leaves b free (more rows than coefficients), `LassoIndicator`
penalises it. Both work on rows of positive weight, on a response that was centred and scaled.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from ._blas import product
from ._row_blocks import squared_lengths
from .lts import LARGE, coverage, least_trimmed_squares, some_rows
from .m_estimation import EPS, MEstimation, huber_entries, threshold
from .robust_scale import SATURATED, CleanRows, clean_rows, raw_scale
from .robust_scores import weighted_median
from .row_basis import Coordinates, RowBasis

# Smallest threshold that a criterion may choose, in scales of the noise: below, good rows are flagged by the dozen.
SMALLEST = 2.5
# Probability that a threshold chosen by "bonferroni" flags any row if nothing is wrong.
LEVEL = 0.01
# Up to so many rows (by weight), entries of the l1 path are exact; above, they are interpolated.
EXACT_ROWS = 1000
# Ratio of neighbouring thresholds between which residuals are interpolated.
FINE = 1.04


class Response:
    """A response brought to entries of at most one, by a shift and a power of two."""

    def __init__(self, y, weights, fit_intercept):
        y = np.asarray(y, dtype=np.float64)
        # what a few wild entries are like must not decide: medians and quartiles, of some rows where there are many
        step = max(1, len(y) // 10_000)
        some, counts = y[::step], weights[::step]
        largest = float(np.abs(y).max(initial=0.0))
        self.shift = weighted_median(some, counts) if fit_intercept else 0.0
        values = y - self.shift
        if np.abs(values).max(initial=0.0) <= 8.0 * EPS * largest:
            values = np.zeros(len(y))
        top = float(np.abs(values).max(initial=0.0))
        self.scale = 2.0 ** float(np.clip(np.frexp(top)[1], -1000, 1000))
        self.values = values / self.scale
        # what the digits of y leave open
        usual = max(weighted_median(np.abs(part), counts, 0.75) for part in (some, some - self.shift))
        self.rounding = 8.0 * EPS * float(max(usual, 1e-6 * top)) / self.scale if top > 0.0 else 0.0
        mean = np.einsum("i,i->", weights, self.values) / weights.sum() if fit_intercept else 0.0
        self.null_objective = 0.5 * float(np.einsum("i,i->", weights, (self.values - mean) ** 2) / weights.sum())


@dataclass
class IndicatorFit:
    """The fit for one threshold.

    Attributes
    ----------
    alpha : float
    beta : ndarray
        Coefficients in the coordinates of the problem.
    residual, gamma : ndarray of shape (n,)
        ``y - fit`` and the indicator, of the scaled response.
    flagged : ndarray of bool
    gap : float
        Duality gap for l1, else NaN; per unit of weight.
    n_iter : int
    converged : bool
    """

    alpha: float
    beta: np.ndarray
    residual: np.ndarray
    gamma: np.ndarray
    flagged: np.ndarray
    gap: float
    n_iter: int
    converged: bool


class DenseIndicator:
    """Rows and response with free coefficients.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Positive; they count rows.
    fit_intercept : bool

    Attributes
    ----------
    total : float
        Sum of the weights.
    rank : int
        Rank of [1, X].
    saturated : bool
        Whether the rows do not determine more than the coefficients.
    unit : ndarray of shape (n,)
        Thresholds are alpha times this; set by `prepare`, as are the others below.
    sigma : float
        Scale of the noise, in units of y.
    clean : CleanRows
    """

    def __init__(self, X, y, weights, fit_intercept):
        self.response = Response(y, weights, fit_intercept)
        self.basis = RowBasis(X, weights, fit_intercept)
        self.problem = MEstimation(self.basis.Q, self.response.values, weights, self.response.rounding)
        self.weights, self.total, self.rank = weights, float(weights.sum()), self.basis.rank
        self.saturated = len(y) <= self.rank
        self._X, self._leverage = X, None

    def prepare(self, penalty, init, scale, leverage_weights, random_state):
        """Find the start, the scale and the thresholds' units.

        Parameters
        ----------
        penalty : {'l1', 'hard', 'scad', 'mcp'}
        init : {'ols', 'huber', 'lts'}
        scale : float or None
            In units of y, if known.
        leverage_weights : bool
        random_state : RandomState
        """
        self.penalty = penalty
        problem = self.problem
        known = None if scale is None else scale / self.response.scale
        if known is None and penalty == "l1" and self.total > LARGE:
            # the scale alone does not need all rows: with twenty thousand it is good to half a per cent
            known = self._scale_of_some_rows(random_state)
        robust = first = None
        if self.saturated:
            first, robust = 0.0, problem.least_squares()
        elif known is None or (init == "lts" and penalty != "l1"):
            robust, objective = least_trimmed_squares(problem, random_state)
            first = raw_scale(objective, self.total, self.rank)
        rounding = self._rounding(robust, known if known is not None else first)
        self.rounding = rounding
        if robust is not None:
            clean = clean_rows(problem, robust, first, rounding, known, penalty == "l1" or init != "lts")
            sigma = clean.scale if known is None else known
            self._robust = clean.beta
        else:
            sigma = known
            self._robust = None
        if penalty == "l1":
            leverage = self.row_leverage()
            spread = np.sqrt(np.where(1.0 - leverage > SATURATED, 1.0 - leverage, 1.0))
            everything = np.ones(len(self.weights), dtype=bool)
            self.clean = CleanRows(everything, None, sigma, spread, np.eye(self.rank), self.total)
        else:
            if init != "lts":
                start = problem.least_squares()
                if init == "huber" and sigma > rounding:
                    start = problem.minimise("l1", np.full(len(self.weights), 1.345 * sigma), start).beta
                clean = clean_rows(problem, start, sigma, rounding, sigma)
            self.clean = clean
        spread = self.clean.spread if leverage_weights else np.ones(len(self.weights))
        self.exact = sigma <= rounding
        self.sigma = 0.0 if self.exact else sigma * self.response.scale
        self.scaled_sigma = rounding if self.exact else sigma
        self.unit = np.maximum(self.scaled_sigma, np.finfo(np.float64).tiny) * spread

    def _scale_of_some_rows(self, random_state):
        """The scale estimated from a part of the rows; None if there is no good part or no noise."""
        # leverage does not depend on the targets, nor on the units of anything
        rows = some_rows(self.problem, 0.4 * LARGE, self.basis.lengths)
        rows = some_rows(self.problem, 0.4 * LARGE) if rows is None else rows
        if rows is None:
            return None
        weights = self.weights[rows]
        basis = RowBasis(self.problem.Q[rows], weights, False)
        part = MEstimation(basis.Q, self.problem.y[rows], weights)
        beta, objective = least_trimmed_squares(part, random_state)
        first = raw_scale(objective, float(weights.sum()), basis.rank)
        rounding = self._rounding(None, first)
        if basis.rank < self.rank or first <= rounding:
            return None
        return clean_rows(part, beta, first, rounding, None, True).scale

    def _rounding(self, beta, scale):
        """What rounding may leave of a residual that is zero, given the fit (None: least squares)."""
        rounding = self.response.rounding
        if scale is None or scale > 1e-4:
            return rounding
        # the data were rounded too: a column of a million millions has steps of 1e-4
        coef, _ = self.basis.coefficients(self.problem.least_squares() if beta is None else beta)
        largest = np.abs(self._X).max(axis=0).astype(np.float64) if self._X.shape[1] else np.zeros(0)
        eps = float(np.finfo(self._X.dtype).eps) if self._X.dtype.kind == "f" else EPS
        return rounding + 4.0 * max(eps, EPS) * float(np.abs(coef) @ largest)

    @property
    def largest_alpha(self):
        """From here on nothing is flagged (not counting what an earlier fit would have kept out)."""
        beta = self.problem.least_squares() if self.penalty == "l1" else self.clean.beta
        residual = self.response.values - product(self.problem.Q, beta)
        return float(np.max(np.abs(residual) / self.unit, initial=0.0))

    def grid(self, n_alphas, smallest=SMALLEST):
        """Decreasing thresholds from where nothing is flagged; dense where most are decided, and where rows lie."""
        top = self.largest_alpha * (1.0 + 1e-12)
        if top <= smallest or n_alphas == 1:
            return np.array([max(top, smallest)])
        if self.exact:
            return np.array([top, smallest])
        if top <= 4.0 * smallest:
            return np.geomspace(top, smallest, n_alphas)
        near = np.geomspace(4.0 * smallest, smallest, max(2, (2 * n_alphas) // 3))
        beta = self.problem.least_squares() if self.penalty == "l1" else self.clean.beta
        score = np.abs(self.response.values - product(self.problem.Q, beta)) / self.unit
        rows = np.flatnonzero((score > near[0]) & (score < top))
        n_far = n_alphas - len(near) - 1
        if self.penalty != "l1" and len(rows) > 1 and n_far > 0:
            far = _spaced_values(score[rows], self.weights[rows], n_far) * (1.0 - 1e-12)
        else:
            far = np.geomspace(top, near[0], n_far + 2)[1:-1]
        return np.unique(np.concatenate([[top], far, near]))[::-1]

    def significant_alpha(self):
        """If nothing is wrong, any row is flagged at this threshold with probability `LEVEL` (Student, Bonferroni)."""
        freedom = max(self.clean.weight - self.rank, 1.0)
        return float(student.isf(0.5 * LEVEL / self.total, freedom))

    def fit(self, alpha, max_iter, previous=None):
        """The fit for one threshold; l1 may start from a ``previous`` fit, the others start from the robust one."""
        thresholds = alpha * self.unit
        if self.saturated:
            beta = self.problem.least_squares()
            residual = np.zeros(len(self.weights))
            return IndicatorFit(alpha, beta, residual, residual.copy(), residual != 0.0, 0.0, 0, True)
        if self.penalty == "l1":
            start = self.problem.sampled_start("l1", thresholds) if previous is None else previous.beta
            if self.exact and self._robust is not None:
                # thresholds at the level of rounding: least absolute deviations, usually the exact fit itself
                start = self._robust
        else:
            start = self.clean.beta
        minimum = self.problem.minimise(self.penalty, thresholds, start, max_iter)
        flagged = minimum.zone != 0
        gamma = np.where(flagged, threshold(minimum.residual, thresholds, self.penalty), 0.0)
        gap = np.nan
        if self.penalty == "l1":
            longest = float(np.sqrt(self.basis.lengths.max(initial=0.0)))
            gap = self.problem.huber_gap(minimum, thresholds, longest) / self.total
        return IndicatorFit(
            alpha, minimum.beta, minimum.residual, gamma, flagged, gap, minimum.n_iter, minimum.converged
        )

    def null_objective(self):
        """Half the mean square around the best constant: what gaps are compared with."""
        return self.response.null_objective

    def rss_without_flagged(self, fit):
        """Residual sum of squares and rank of least squares on the rows that are not flagged."""
        residual = fit.residual
        if self.penalty != "hard":
            beta = self.problem.refit(fit.flagged, fit.beta)
            residual = self.response.values - product(self.problem.Q, beta)
        kept = ~fit.flagged
        return float(np.einsum("i,i,i->", self.weights[kept], residual[kept], residual[kept])), self.rank

    def coefficients(self, beta):
        """Coefficients and intercept in the units of the data."""
        coef, intercept = self.basis.coefficients(beta)
        return coef * self.response.scale, intercept * self.response.scale + self.response.shift

    def note_entries(self, entries, before, fit):
        """Take up in ``entries`` what changes between two fits of a path, the first of which is None to begin with."""
        if self.penalty != "l1" or before is None:
            note_entries(entries, before, fit, self.unit, self.penalty)
        elif self.total > EXACT_ROWS:
            # points in between, so that interpolation is good to about a thousandth
            steps = min(int(np.ceil(np.log(before.alpha / fit.alpha) / np.log(FINE))), 100)
            if np.array_equal(fit.flagged, before.flagged):
                steps = 1
            start, ratio = before.alpha, fit.alpha / before.alpha
            for i in range(1, steps):
                between = self.fit(start * ratio ** (i / steps), 100, before)
                note_entries(entries, before, between, self.unit, "l1")
                before = between
            note_entries(entries, before, fit, self.unit, "l1")

    def final_entries(self, entries, alpha):
        """The entries of a path that ends at ``alpha``."""
        if self.penalty == "l1" and self.total <= EXACT_ROWS and not self.saturated:
            return huber_entries(self.problem, self.unit, alpha)
        return entries

    def row_leverage(self):
        """Leverage of each row among all rows, that of a single one where the weight says that there are several."""
        if self._leverage is None:
            self._leverage = np.minimum(self.weights, 1.0) * self.basis.lengths
        return self._leverage

    def distances(self):
        """Squared distances d of other rows from the rows that were fitted: a residual there has variance 1 + d."""
        return Distances(self.basis.coordinates(), self.clean.whiten)


@dataclass
class Distances:
    """A function of rows that holds none of the rows it came from; ``columns`` are those of X that it asks for."""

    coordinates: Coordinates
    whiten: np.ndarray
    columns: np.ndarray | None = None

    def __call__(self, X):
        part = X if self.columns is None else X[:, self.columns]
        part = part.toarray() if hasattr(part, "toarray") else part
        return squared_lengths(self.coordinates(part), self.whiten)


def _spaced_values(values, weights, count):
    """At most ``count`` of the values, below the largest, with about equal weight between neighbours."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    shares = np.arange(count) / count
    places = np.searchsorted(cumulative, shares * cumulative[-1] * (1.0 + 1e-12), side="right")
    chosen = values[order[np.minimum(places, len(order) - 1)]]
    # equal rows have equal values but for rounding
    return chosen[np.concatenate([[True], np.diff(chosen) > 1e-9 * chosen[1:]])]


def note_entries(entries, before, fit, unit, penalty):
    """Take up the rows that are flagged between two thresholds of a path; residuals are interpolated.

    l1: the largest alpha at which a row is flagged. The others: the largest from which on it stays flagged; above the
    thresholds of bad leverage points these are fitted, and good rows flagged in their stead.
    """
    if before is None:
        entries[fit.flagged] = fit.alpha
        return
    if penalty == "l1":
        new = fit.flagged & (entries == 0.0)
        # |r| - alpha unit changes sign between the two
        sign = np.sign(fit.residual[new])
        high = before.alpha * unit[new] - sign * before.residual[new]
        low = sign * fit.residual[new] - fit.alpha * unit[new]
        share = np.clip(high / np.maximum(high + low, np.finfo(np.float64).tiny), 0.0, 1.0)
        entries[new] = before.alpha + share * (fit.alpha - before.alpha)
        return
    new = fit.flagged & ~before.flagged
    entries[new] = np.clip(np.abs(before.residual[new]) / unit[new], fit.alpha, before.alpha)
    entries[~fit.flagged] = 0.0


def modified_bic(indicator, fit):
    """``m log(RSS / m) + (log m + 1)(DF + 1)`` (She & Owen 2011, section 5), infinite where too many are flagged.

    m is the weight of the rows less the rank, DF the weight of those flagged: no more than the start can bear.
    """
    n = indicator.total
    df = float(indicator.weights[fit.flagged].sum())
    rss, rank = indicator.rss_without_flagged(fit)
    if df > n - coverage(n, rank) + 1e-9 * n or rank >= n:
        return np.inf
    m = n - rank
    return float(m * np.log(max(rss, m * max(indicator.rounding, 1e-150) ** 2) / m) + (np.log(m) + 1.0) * (df + 1.0))
