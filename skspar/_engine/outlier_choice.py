"""Choosing the threshold, and the penalty on the coefficients, by information criteria."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from .indicator import DenseIndicator, modified_bic
from .lasso_indicator import LassoIndicator, largest_coef_alpha

# Thresholds that a criterion compares.
N_ALPHAS = 30
# Penalties on the coefficients that the extended BIC compares, and the smallest in units of the largest.
N_COEF_ALPHAS = 20
COEF_EPS = 0.03
# Random starts at a penalty that follows another, whose start is followed too.
N_FOLLOWING = 2


@dataclass
class Setting:
    """What a user asks: see `SparseOutlierRegressor`."""

    penalty: str
    alpha: object
    init: str
    scale: float | None
    leverage_weights: bool
    fit_intercept: bool
    max_iter: int
    refit: bool = False


@dataclass
class PathPoint:
    """What is kept of a fit along a path: nothing of the size of the data but what is flagged."""

    alpha: float
    beta: np.ndarray
    flagged: np.ndarray
    gamma: np.ndarray
    gap: float
    n_iter: int
    converged: bool

    @classmethod
    def of(cls, fit):
        rows = np.flatnonzero(fit.flagged)
        return cls(fit.alpha, fit.beta, rows, fit.gamma[rows], fit.gap, fit.n_iter, fit.converged)


@dataclass
class Choice:
    """A chosen fit.

    Attributes
    ----------
    indicator : DenseIndicator or LassoIndicator
    fit : IndicatorFit
    points : list of PathPoint
        The path it was chosen from.
    criterion : ndarray or None
        The modified BIC of these.
    entries : ndarray of shape (n,) or None
        For each row the threshold at which it is flagged.
    features : ndarray or None
        The columns that the indicator sees, where not all.
    coef_alpha : float
    """

    indicator: object
    fit: object
    points: list
    criterion: np.ndarray | None
    entries: np.ndarray | None
    features: np.ndarray | None
    coef_alpha: float


def follow(indicator, alphas, max_iter, features=None, coef_alpha=0.0):
    """Fits along decreasing thresholds; the chosen one has the smallest modified BIC.

    Rows above the threshold that "bonferroni" takes are no matter of weighing: above it the criterion is infinite,
    unless all fits below flag too many. By BIC alone a plane through many outliers is cheaper than flagging them, at
    log m each. (Huber's fit has no robust start for such a verdict to rely on.)

    One or two fits at a time are kept whole, so that a path takes no more memory than its flagged rows.
    """
    points, criterion = [], []
    entries = np.zeros(len(indicator.weights))
    weighs_all = indicator.penalty == "l1" or indicator.saturated
    limit = np.inf if weighs_all else indicator.significant_alpha() * (1.0 + 1e-12)
    before = best = above = None
    for alpha in alphas:
        fit = indicator.fit(float(alpha), max_iter, before)
        indicator.note_entries(entries, before, fit)
        # without noise there is nothing to weigh: the smallest threshold tells rounding from the rest
        value = -len(points) if indicator.exact else modified_bic(indicator, fit)
        if alpha <= limit < np.inf and above is None and points and points[-1].alpha > limit:
            above, best = best, None
        # of thresholds that flag the same rows the largest, whatever rounding says
        if best is None or value < best[0] - (1e-9 * abs(best[0]) if np.isfinite(best[0]) else 0.0):
            best = value, fit
        criterion.append(0.0 if indicator.exact else value)
        points.append(PathPoint.of(fit))
        before = fit
    criterion = np.array(criterion)
    if above is not None:
        if np.isfinite(best[0]):
            criterion[np.asarray(alphas) > limit] = np.inf
        else:
            best = above
    entries = indicator.final_entries(entries, points[-1].alpha)
    return Choice(indicator, best[1], points, criterion, entries, features, coef_alpha)


def choose_alpha(indicator, setting, features=None, coef_alpha=0.0):
    """The fit at the threshold asked for, or at the one with the smallest modified BIC."""
    if setting.alpha == "bic" and not indicator.saturated:
        return follow(indicator, indicator.grid(N_ALPHAS), setting.max_iter, features, coef_alpha)
    if isinstance(setting.alpha, str):
        alpha = 2.5 if indicator.saturated else indicator.significant_alpha()
    else:
        alpha = float(setting.alpha)
    fit = indicator.fit(alpha, setting.max_iter)
    return Choice(indicator, fit, [PathPoint.of(fit)], None, None, features, coef_alpha)


def dense_choice(X, y, weights, setting, random_state, features=None, coef_alpha=0.0, check=None):
    """Free coefficients of all columns of X, or of some; ``check`` may refuse the problem."""
    part = X if features is None else _dense(X[:, features])
    indicator = DenseIndicator(part, y, weights, setting.fit_intercept)
    if check is not None:
        check(indicator)
    indicator.prepare(setting.penalty, setting.init, setting.scale, setting.leverage_weights, random_state)
    return choose_alpha(indicator, setting, features, coef_alpha)


def lasso_choice(X, y, weights, setting, coef_alpha, random_state, previous=None, n_starts=None):
    """Penalised coefficients; with ``refit`` free coefficients of the features selected."""
    indicator = LassoIndicator(X, y, weights, setting.fit_intercept, coef_alpha)
    options = {} if n_starts is None else {"n_starts": n_starts}
    indicator.prepare(
        setting.penalty, setting.init, setting.scale, setting.leverage_weights, random_state, previous, **options
    )
    choice = choose_alpha(indicator, setting, None, coef_alpha)
    if setting.refit:
        features = np.flatnonzero(choice.fit.beta[:-1])
        if len(features) + setting.fit_intercept < weights.sum():
            choice = dense_choice(X, y, weights, setting, random_state, features, coef_alpha)
    return choice, indicator.robust


def coef_alpha_grid(X, y, weights, fit_intercept, count, eps):
    """Decreasing penalties from the smallest for which all coefficients vanish (no outliers supposed)."""
    largest = largest_coef_alpha(X, y, weights, fit_intercept)
    if largest <= 0.0:
        return np.array([np.finfo(np.float64).resolution])
    return largest * np.geomspace(1.0, eps, count) if count > 1 else np.array([largest])


def extended_bic_choice(X, y, weights, setting, random_state):
    """The penalty on the coefficients with the smallest extended BIC (Chen & Chen 2008) of refits.

    The criterion is the modified BIC of least squares on the selected features S and the rows that the robust start
    takes for good, plus ``|S| log n + 2 log C(p, |S|)``.
    """
    n, p = float(weights.sum()), X.shape[1]
    best, previous = None, None
    grid = coef_alpha_grid(X, y, weights, setting.fit_intercept, N_COEF_ALPHAS, COEF_EPS)
    for coef_alpha in grid:
        lasso = LassoIndicator(X, y, weights, setting.fit_intercept, coef_alpha)
        lasso.prepare(
            setting.penalty, setting.init, setting.scale, setting.leverage_weights, random_state, previous, N_FOLLOWING
        )
        previous = lasso.robust
        features = lasso.selected
        if len(features) + 1 > max(0.25 * n, 1.0):
            break
        if lasso.inner is None:
            break
        clean, size = lasso.inner.clean, len(features)
        m = n - lasso.inner.rank
        floor = max(lasso.rounding, 1e-150)
        value = m * np.log(max(clean.rss, m * floor**2) / m) + (np.log(m) + 1.0) * (n - clean.weight + 1.0)
        value += size * np.log(n) + 2.0 * (gammaln(p + 1.0) - gammaln(size + 1.0) - gammaln(p - size + 1.0))
        # of penalties that select the same, the smallest biases least
        if best is None or value <= best[0] + 1e-9 * abs(best[0]):
            best = value, coef_alpha, features, lasso.robust
    if best is None:
        # too few rows to compare anything
        best = 0.0, grid[0], None, previous
    _, coef_alpha, features, start = best
    if setting.refit and features is not None:
        return dense_choice(X, y, weights, setting, random_state, features, coef_alpha)
    return lasso_choice(X, y, weights, setting, coef_alpha, random_state, start, N_FOLLOWING)[0]


def _dense(part):
    return np.asarray(part.toarray() if hasattr(part, "toarray") else part, dtype=np.float64)
