"""Robust regression with a sparse outlier indicator: which rows are wrong, and a fit that ignores them."""

import warnings
from numbers import Integral, Real

import numpy as np
from joblib import Parallel, delayed
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from ._cross_validation import CrossValidationMixin
from ._engine import robust_scores
from ._engine.indicator import DenseIndicator
from ._engine.lasso_indicator import LassoIndicator
from ._engine.outlier_choice import (
    N_FOLLOWING,
    Setting,
    coef_alpha_grid,
    dense_choice,
    extended_bic_choice,
    follow,
    lasso_choice,
)
from ._linear import check_one_target
from ._progress import Progress
from ._sklearn_compat import (
    Interval,
    StrOptions,
    _fit_context,
    _safe_indexing,
    validate_params,
)
from ._weights import check_weights

POSITIVE = Interval(Real, 0, None, closed="neither")
AT_LEAST_ZERO = Interval(Real, 0, None, closed="left")
SHARED_CONSTRAINTS = {
    "penalty": [StrOptions({"l1", "hard", "scad", "mcp"})],
    "leverage_weights": ["boolean"],
    "init": [StrOptions({"auto", "lts", "huber", "ols"})],
    "scale": [POSITIVE, StrOptions({"auto"})],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [AT_LEAST_ZERO],
    "random_state": ["random_state"],
}


@validate_params(
    {
        **SHARED_CONSTRAINTS,
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "alpha_min": [POSITIVE],
        "coef_alpha": [AT_LEAST_ZERO],
        "fit_intercept": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def outlier_path(
    X,
    y,
    penalty="hard",
    *,
    alphas=30,
    alpha_min=2.5,
    coef_alpha=0.0,
    sample_weight=None,
    leverage_weights=True,
    init="auto",
    scale="auto",
    fit_intercept=True,
    max_iter=100,
    tol=1e-6,
    random_state=None,
):
    """Compute the outlier indicator along a path of thresholds.

    Fits the model of `SparseOutlierRegressor` for each alpha of a grid. The l1 path starts every fit from the one
    before; the others start every fit from the robust start.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features; sparse only with ``coef_alpha > 0``.
    y : array-like of shape (n_samples,)
        Targets.
    penalty : {'hard', 'l1', 'scad', 'mcp'}, default='hard'
        Penalty on gamma; see `SparseOutlierRegressor`.
    alphas : int or array-like of float, default=30
        Thresholds in units of the noise scale, or the length of a grid from where nothing is flagged down to
        ``alpha_min``.
    alpha_min : float, default=2.5
        Smallest threshold of the grid, in units of the noise scale.
    coef_alpha : float, default=0.0
        Strength of the l1 penalty on the coefficients.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0, which count rows.
    leverage_weights : bool, default=True
        Whether thresholds follow leverage.
    init : {'auto', 'lts', 'huber', 'ols'}, default='auto'
        Start of the penalties other than l1.
    scale : float or 'auto', default='auto'
        Standard deviation of the noise, in units of y, if known.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    max_iter : int, default=100
        Largest number of steps for an alpha.
    tol : float, default=1e-6
        Bound on the relative duality gap (l1).
    random_state : int, RandomState instance or None, default=None
        Determines the rows from which FAST-LTS starts.

    Returns
    -------
    path : Bunch
        With the fields

        - ``alphas``, ndarray of shape (n_alphas,): thresholds in units of ``scale``, decreasing;
        - ``gammas``, CSC array of shape (n_samples, n_alphas): outlier indicators, in units of y; what is stored is
          flagged;
        - ``coefs``, ndarray of shape (n_features, n_alphas), and ``intercepts``, ndarray of shape (n_alphas,);
        - ``entry_alphas``, ndarray of shape (n_samples,): the largest alpha at which a row is flagged (l1), or from
          which on it stays flagged (the others), between the points of the grid too; zero if never. Exact for l1 with
          up to 1,000 rows and ``coef_alpha=0``;
        - ``dual_gaps``, ndarray of shape (n_alphas,): for l1 in units of the objective, else NaN;
        - ``bic``, ndarray of shape (n_alphas,): modified BIC, infinite where too many rows are flagged and, but for
          l1, above the threshold that `SparseOutlierRegressor` takes for "bonferroni";
        - ``n_iters``, ndarray of shape (n_alphas,);
        - ``scale``, float: standard deviation of the noise, in units of y;
        - ``leverage``, ndarray of shape (n_samples,);
        - ``penalty``, str: the penalty given.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or X is sparse and ``coef_alpha=0``.

    References
    ----------
    .. [1] She & Owen (2011), "Outlier detection using nonconvex penalized regression", Journal of the American
       Statistical Association 106, 626-639.

    Examples
    --------
    >>> from skspar import outlier_path
    >>> from skspar.datasets import make_masking_outliers
    >>> X, y, is_outlier = make_masking_outliers(random_state=0)
    >>> path = outlier_path(X, y, alphas=20, random_state=0)
    >>> path.gammas.shape
    (75, 20)
    >>> bool(path.entry_alphas[is_outlier].min() > path.entry_alphas[~is_outlier].max())
    True
    """
    setting = Setting(
        penalty=penalty,
        alpha=1.0,
        init=_resolved_init(init, penalty),
        scale=None if isinstance(scale, str) else float(scale),
        leverage_weights=leverage_weights,
        fit_intercept=fit_intercept,
        max_iter=max_iter,
    )
    grid = None if isinstance(alphas, Integral) else _checked_alphas(alphas)
    if sparse.issparse(X) and coef_alpha == 0.0:
        raise ValueError("X is sparse, which must be combined with coef_alpha > 0; pass X.toarray() or a coef_alpha.")
    X, y = check_one_target(X, y, accept_sparse="csc")
    weights = check_weights(sample_weight, X)
    present = np.flatnonzero(weights > 0.0)
    n, p = X.shape
    part = (X, y, weights) if len(present) == n else (X[present], y[present], weights[present])
    rng = check_random_state(random_state)
    if coef_alpha > 0.0:
        indicator = LassoIndicator(*part, fit_intercept, coef_alpha)
    else:
        indicator = DenseIndicator(*part, fit_intercept)
        _check_total(indicator)
    indicator.prepare(penalty, setting.init, setting.scale, leverage_weights, rng)
    if grid is None:
        grid = indicator.grid(alphas, alpha_min)
    found = follow(indicator, grid, max_iter)
    scale_y = indicator.response.scale
    coefs, intercepts = np.zeros((p, len(grid))), np.zeros(len(grid))
    columns, rows, values = [], [], []
    for j, point in enumerate(found.points):
        coefs[:, j], intercepts[j] = indicator.coefficients(point.beta)
        rows.append(present[point.flagged])
        columns.append(np.full(len(point.flagged), j))
        values.append(point.gamma * scale_y)
    gammas = sparse.csc_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, len(grid))
    )
    entries, leverages = np.zeros(n), np.zeros(n)
    entries[present] = found.entries
    leverages[present] = indicator.row_leverage()
    gaps = np.array([point.gap for point in found.points]) * scale_y**2
    null = indicator.null_objective() * scale_y**2
    if penalty == "l1" and np.nanmax(gaps) > tol * null:
        warnings.warn(
            f"The largest duality gap of the path, {np.nanmax(gaps):.3g}, exceeds tol={tol:g} times the null objective "
            f"{null:.3g}. Increase max_iter (now {max_iter}) or tol.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return Bunch(
        alphas=grid,
        gammas=gammas,
        coefs=coefs,
        intercepts=intercepts,
        entry_alphas=entries,
        dual_gaps=gaps,
        bic=found.criterion,
        n_iters=np.array([point.n_iter for point in found.points]),
        scale=indicator.sigma,
        leverage=leverages,
        penalty=penalty,
    )


class _OutlierBase(RegressorMixin, BaseEstimator):
    """What the estimators of the family share: input, results, prediction."""

    _parameter_constraints: dict = {
        **SHARED_CONSTRAINTS,
        "refit": ["boolean"],
        "fit_intercept": ["boolean"],
    }

    # lasso_path is a static method of Lasso too
    path = staticmethod(outlier_path)

    def _setting(self, alpha):
        return Setting(
            penalty=self.penalty,
            alpha=_checked_alpha(alpha),
            init=_resolved_init(self.init, self.penalty),
            scale=None if isinstance(self.scale, str) else float(self.scale),
            leverage_weights=self.leverage_weights,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            refit=self.refit,
        )

    def _validated(self, X, y, sample_weight, takes_sparse):
        if sparse.issparse(X) and not takes_sparse:
            raise ValueError(
                "X is sparse, which must be combined with coef_alpha > 0: with free coefficients (coef_alpha=0) the "
                "fit needs an orthonormal basis of the columns, which is dense. Pass X.toarray() or a coef_alpha."
            )
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csc" if takes_sparse else False,
            dtype=[np.float64, np.float32],
            y_numeric=True,
        )
        return X, _numbers(y), check_weights(sample_weight, X)

    def _take(self, choice, X, y, weights, present, warn):
        """Set the fitted attributes from a chosen fit on the rows present."""
        indicator, fit = choice.indicator, choice.fit
        beta = fit.beta
        if self.refit and choice.coef_alpha == 0.0 and not indicator.saturated:
            beta = indicator.problem.refit(fit.flagged, fit.beta)
        coef, intercept = indicator.coefficients(beta)
        if choice.features is not None:
            full = np.zeros(X.shape[1])
            full[choice.features] = coef
            coef = full
        self.coef_ = coef.astype(X.dtype)
        self.intercept_ = X.dtype.type(intercept) if self.fit_intercept else 0.0
        self._distances = indicator.distances() if self.leverage_weights else None
        if choice.features is not None and self._distances is not None:
            self._distances.columns = choice.features
        n = X.shape[0]
        scale = indicator.response.scale
        self.scale_ = float(indicator.sigma)
        # where there is no noise, residuals are told from zero by what rounding leaves
        self._unit = float(indicator.scaled_sigma * scale)
        self.alpha_ = float(fit.alpha)
        self.coef_alpha_ = float(choice.coef_alpha)
        self.n_iter_ = int(max(point.n_iter for point in choice.points))
        self.dual_gap_ = float(fit.gap) * scale * scale
        null = indicator.null_objective()
        absent = np.flatnonzero(~present)

        def full(values):
            if not len(absent):
                return values
            out = np.zeros(n, dtype=values.dtype)
            out[present] = values
            return out

        score = np.abs(fit.residual)
        score /= indicator.unit
        if indicator.saturated:
            score[:] = 0.0
        entries = full(score.copy() if choice.entries is None else choice.entries)
        score, gamma, mask = full(score), full(fit.gamma * scale), full(fit.flagged)
        leverage = full(indicator.row_leverage())
        if len(absent) and not indicator.saturated:
            # rows without weight are judged as new ones
            part = X[absent]
            residual = y[absent] - self._linear(part)
            score[absent] = self._scores(part, residual)
            mask[absent] = score[absent] > self.alpha_
            gamma[absent] = np.where(mask[absent], residual, 0.0)
            entries[absent] = score[absent]
        self.outlier_score_, self.outlier_mask_, self.gamma_ = score, mask, gamma
        self.entry_alpha_, self.leverage_ = entries, leverage
        if choice.criterion is not None:
            self.alphas_ = np.array([point.alpha for point in choice.points])
            self.criterion_ = choice.criterion
        if warn:
            self._warn(choice, null)
        return self

    def _warn(self, choice, null):
        indicator, fit = choice.indicator, choice.fit
        if indicator.saturated:
            warnings.warn(
                f"No row can be told to be an outlier: {len(indicator.weights)} rows determine {indicator.rank} "
                "coefficients and are fitted exactly. This is the fit of minimum norm, and nothing is flagged; "
                "coef_alpha > 0 is meant for more features than rows.",
                UserWarning,
                stacklevel=4,
            )
            return
        flagged = float(indicator.weights[fit.flagged].sum())
        if self.penalty != "l1" and flagged > 0.5 * indicator.total:
            warnings.warn(
                f"{flagged:g} of {indicator.total:g} rows are flagged, more than half: the fit is that of a minority. "
                f"Increase alpha (now {fit.alpha:g}) or scale (now {self.scale_:g}).",
                UserWarning,
                stacklevel=4,
            )
        gaps = [point.gap for point in choice.points if np.isfinite(point.gap)]
        gap = max(gaps, default=0.0)
        missed = gap > self.tol * null if gaps else not all(point.converged for point in choice.points)
        if missed:
            what = (
                f"the largest duality gap is {gap / max(null, 1e-300):.3g} of the null objective"
                if gaps
                else "zones of residuals still change"
            )
            warnings.warn(
                f"The fit did not reach tol={self.tol:g} in max_iter={self.max_iter} steps: {what}. Increase max_iter "
                "or tol, or avoid very small alpha.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _linear(self, X):
        return safe_sparse_dot(X, self.coef_, dense_output=True) + self.intercept_

    def _scores(self, X, residual):
        """Residuals of new rows in units of their standard deviation."""
        spread = 1.0 if self._distances is None else np.sqrt(1.0 + self._distances(X))
        with np.errstate(over="ignore"):
            # where a target of zeros left no unit, what is not zero is as outlying as can be
            scores = np.abs(residual) / (max(self._unit, np.finfo(np.float64).tiny) * spread)
        return np.minimum(scores, np.finfo(np.float64).max)

    def predict(self, X):
        """Predict with the linear model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted targets, ``X @ coef_ + intercept_``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc", "coo"], dtype=[np.float64, np.float32], reset=False)
        return self._linear(X)

    @property
    def sample_indices_(self):
        """Rows that are not flagged.

        Returns
        -------
        indices : ndarray of shape (n_kept,)
            Increasing.
        """
        return np.flatnonzero(~self.outlier_mask_)

    def score_outliers(self, X, y):
        """Say how outlying new rows are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows that the model was not fitted on.
        y : array-like of shape (n_samples,)
            Their targets.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Absolute residuals over the standard deviation that a good row's would have: ``scale_`` times
            ``sqrt(1 + d)``, d the squared distance of the row from those fitted (``leverage_weights``), or ``scale_``.
            Compare with ``alpha_``. Where ``scale_`` is zero, the unit is what rounding may leave of a residual.
        """
        check_is_fitted(self)
        X, y = validate_data(
            self, X, y, accept_sparse="csc", dtype=[np.float64, np.float32], y_numeric=True, reset=False
        )
        return self._scores(X, _numbers(y) - self._linear(X))

    def fit_resample(self, X, y, sample_weight=None):
        """Fit, and return the rows that are not flagged.

        The protocol of imbalanced-learn: in its Pipeline, steps that follow are fitted on the rows kept, and
        prediction leaves rows alone.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0; see `fit`.

        Returns
        -------
        X_kept : {array-like, sparse matrix, data frame} of shape (n_kept, n_features)
            The rows not flagged, of the type that was passed.
        y_kept : array-like of shape (n_kept,)
            Their targets. ``sample_indices_`` says which rows they are.
        """
        self.fit(X, y, sample_weight)
        return _safe_indexing(X, self.sample_indices_), _safe_indexing(y, self.sample_indices_)


class SparseOutlierRegressor(_OutlierBase):
    """Linear regression that finds outlying rows and ignores them.

    The model is ``y_i = b0 + x_i'b + gamma_i + noise``: gamma_i is zero but for a few rows. Minimises

        sum_i v_i [1/2 (y_i - b0 - x_i'b - gamma_i)^2 + P(|gamma_i|; t_i)] + coef_alpha ||b||_1,
        t_i = alpha * scale * c_i,

    with ``v_i = s_i / sum(s)`` for sample weights s, that is ``1 / n`` without. P is the penalty whose threshold
    function, applied to the residual, gives gamma_i; a row is flagged where its residual exceeds t_i:

    - "l1", ``t |gamma|``: the fit is exactly Huber's with threshold t_i, convex and certified by a duality gap.
      It bounds what outliers in y can do, but not bad leverage points: a row far away in X pulls the fit towards
      itself, and several of them hide each other.
    - "hard": rows within their threshold are fitted by least squares, the others not at all.
    - "scad", "mcp": between the two, with continuous gamma.

    The penalties other than l1 have several local minima. The fit starts from least trimmed squares (FAST-LTS, from
    random draws, sensitive directions [3]_ and clusters [6]_), which almost half of the rows cannot deceive as long as
    the search finds its minimum: dozens of features and 40 % of bad leverage points are too much. It descends from
    there.

    Rows are counted by ``sample_weight``: a row of weight 2 is a row that occurs twice.

    Parameters
    ----------
    penalty : {'hard', 'l1', 'scad', 'mcp'}, default='hard'
        Penalty on gamma. SCAD ends at 3.7, MCP at 3 thresholds.
    alpha : float or {'bic', 'bonferroni'}, default='bic'
        Threshold in units of the noise scale, positive. Or a rule: "bic" takes the smallest modified BIC [1]_ among 30
        thresholds of at least 2.5, with at most so many rows flagged as the start can bear (nearly half), and for
        penalties other than l1 none above that of "bonferroni" if there is a choice; "bonferroni" takes the threshold
        of Student's t and Bonferroni: if nothing is wrong, any row is flagged with probability 0.01 (normal noise).
        BIC misses fewer outliers, Bonferroni flags fewer good rows.
    coef_alpha : float or 'ebic', default=0.0
        Strength of the l1 penalty on b, in units of y times X, as ``alpha`` of `sklearn.linear_model.Lasso`. More
        features than rows need it. "ebic" takes the smallest extended BIC [4]_ of refits.
    leverage_weights : bool, default=True
        Whether ``c_i`` is the standard deviation that a good row's residual has in units of the noise, else 1. For
        l1 it is ``sqrt(1 - h_i)``, h_i the leverage among all rows. For the others leverage is that among the rows
        which the start takes for good: ``sqrt(1 - h_i)`` for these, ``sqrt(1 + d_i)`` for the rest, so that good rows
        far away in X are not flagged. With "hard" and ``coef_alpha > 0`` the bias of the shrunk fit counts as noise.
    init : {'auto', 'lts', 'huber', 'ols'}, default='auto'
        Start of the penalties other than l1, whose minimum does not depend on it: FAST-LTS ("auto" is that), Huber's
        estimate, or least squares. With ``coef_alpha > 0`` it is the Lasso of all rows for "ols", else sparse LTS [5]_
        of half of the rows. Far more features than rows leave room for selections that fit the outliers: it then
        stands a quarter of outliers at best.
    scale : float or 'auto', default='auto'
        Standard deviation of the noise, in units of y, if known. "auto" estimates it from the LTS fit, whatever the
        penalty, corrected for few rows and for the cut at 2.5 of its reweighting. It may be zero: rows that are not
        fitted exactly are outliers then.
    fit_intercept : bool, default=True
        Whether to fit the intercept b0, which is not penalised.
    refit : bool, default=False
        Whether the final fit is free of the bias of the penalties: least squares on the rows not flagged; with
        ``coef_alpha > 0`` the whole fit again with the selected features only and ``coef_alpha=0``.
    max_iter : int, default=100
        Largest number of steps for an alpha: Newton steps, or weighted Lasso fits for ``coef_alpha > 0``.
    tol : float, default=1e-6
        Bound on the duality gap (l1) divided by half the mean square of the centred target. What is reached is
        usually rounding.
    random_state : int, RandomState instance or None, default=None
        Determines the rows from which FAST-LTS starts. Pass an int for reproducible fits.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients b.
    intercept_ : float
        Intercept b0.
    gamma_ : ndarray of shape (n_samples,)
        Outlier indicator, in units of y; zero for rows that are not flagged.
    outlier_mask_ : ndarray of bool of shape (n_samples,)
        Which rows are flagged.
    outlier_score_ : ndarray of shape (n_samples,)
        ``|r_i| / (scale c_i)``, larger is more outlying; flagged rows are those above ``alpha_``. Where ``scale_`` is
        zero, in units of what rounding may leave of a residual.
    entry_alpha_ : ndarray of shape (n_samples,)
        For ``alpha="bic"`` the largest alpha of the path at which the row is flagged (l1), or from which on it stays
        flagged (the others), zero if never; interpolated between the points of the grid, exact for l1 with up to 1,000
        rows and ``coef_alpha=0``. Otherwise the alpha at which the row would be flagged with the coefficients as they
        are: ``outlier_score_``.
    scale_ : float
        Standard deviation of the noise, given or estimated.
    alpha_ : float
        The threshold used, in units of ``scale_``.
    coef_alpha_ : float
        The penalty on b that was used.
    alphas_ : ndarray of shape (n_alphas,)
        For ``alpha="bic"`` the thresholds compared, decreasing.
    criterion_ : ndarray of shape (n_alphas,)
        For ``alpha="bic"`` their modified BIC; infinite where too many rows are flagged, and above the threshold of
        "bonferroni" (penalties other than l1).
    leverage_ : ndarray of shape (n_samples,)
        Leverage of each row among all (of a single one, where the weight is larger); with ``coef_alpha > 0`` in the
        features that the start selects. Zero for rows of weight zero.
    dual_gap_ : float
        Duality gap in units of the objective for l1, NaN for the other penalties.
    n_iter_ : int
        Largest number of steps for an alpha.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.
    sample_indices_ : ndarray of shape (n_kept,)
        Indices of the rows that are not flagged, which `fit_resample` returns.

    See Also
    --------
    SparseOutlierRegressorCV : Chooses the penalties by robust cross-validation.
    outlier_path : Fits for a grid of thresholds.

    References
    ----------
    .. [1] She & Owen (2011), "Outlier detection using nonconvex penalized regression", Journal of the American
       Statistical Association 106, 626-639.
    .. [2] Rousseeuw & Van Driessen (2006), "Computing LTS regression for large data sets", Data Mining and Knowledge
       Discovery 12, 29-45.
    .. [3] Pena & Yohai (1999), "A fast procedure for outlier diagnostics in large regression problems", Journal of the
       American Statistical Association 94, 434-445.
    .. [4] Chen & Chen (2008), "Extended Bayesian information criteria for model selection with large model spaces",
       Biometrika 95, 759-771.
    .. [5] Alfons, Croux & Gelper (2013), "Sparse least trimmed squares regression for analyzing high-dimensional large
       data sets", Annals of Applied Statistics 7, 226-248.
    .. [6] Pena, Prieto & Viladomat (2010), "Eigenvectors of a kurtosis matrix as interesting directions to reveal
       cluster structure", Journal of Multivariate Analysis 101, 1995-2007.

    Examples
    --------
    >>> from skspar import SparseOutlierRegressor
    >>> from skspar.datasets import make_outlier_regression
    >>> X, y, is_outlier = make_outlier_regression(n_features=5, shift=8.0, leverage=15.0, random_state=0)
    >>> model = SparseOutlierRegressor(random_state=0).fit(X, y)
    >>> int(model.outlier_mask_[is_outlier].sum()), int(is_outlier.sum())
    (20, 20)
    """

    _parameter_constraints: dict = {
        **_OutlierBase._parameter_constraints,
        "alpha": [POSITIVE, StrOptions({"bic", "bonferroni"})],
        "coef_alpha": [AT_LEAST_ZERO, StrOptions({"ebic"})],
    }

    def __init__(
        self,
        penalty="hard",
        *,
        alpha="bic",
        coef_alpha=0.0,
        leverage_weights=True,
        init="auto",
        scale="auto",
        fit_intercept=True,
        refit=False,
        max_iter=100,
        tol=1e-6,
        random_state=None,
    ):
        self.penalty = penalty
        self.alpha = alpha
        self.coef_alpha = coef_alpha
        self.leverage_weights = leverage_weights
        self.init = init
        self.scale = scale
        self.fit_intercept = fit_intercept
        self.refit = refit
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = bool(isinstance(self.coef_alpha, str) or self.coef_alpha > 0.0)
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; sparse only with ``coef_alpha > 0``.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0, which count rows: 2 is a row twice, 0 a row absent.

        Returns
        -------
        self : SparseOutlierRegressor
            The fitted model.

        Raises
        ------
        ValueError
            If X is sparse and ``coef_alpha=0``, or if the weights sum to no more than the number of coefficients
            although there are more rows than that.
        """
        setting = self._setting(self.alpha)
        coef_alpha = self.coef_alpha if isinstance(self.coef_alpha, str) else _checked_coef_alpha(self.coef_alpha)
        X, y, weights = self._validated(X, y, sample_weight, coef_alpha != 0.0)
        present = weights > 0.0
        part = X, y, weights
        if not present.all():
            part = X[np.flatnonzero(present)], y[present], weights[present]
        choice = _choose(*part, setting, coef_alpha, check_random_state(self.random_state))
        return self._take(choice, X, y, weights, present, True)


class SparseOutlierRegressorCV(CrossValidationMixin, _OutlierBase):
    """Robust regression with the penalties chosen by robust cross-validation.

    Fits `SparseOutlierRegressor` for a grid of ``coef_alpha`` (and of ``alpha``, if a list is given) on the training
    rows of every fold, scores the predictions of the held-out rows of all folds together, outliers included, by a
    measure that outliers do not decide, takes the best and fits that on all rows. That outliers stand together in one
    fold does no harm to the score; that they are more than a quarter of all rows defeats the trimmed one.

    It is meant for more features than rows, or hardly fewer. With more rows than features `SparseOutlierRegressor`
    usually does, in a few hundredths of the time: here every fold fits the grid of ``coef_alpha``. If ``coef_alpha_``
    is the last of ``coef_alphas_``, a smaller one may predict better: decrease ``eps``, or use
    `SparseOutlierRegressor`, whose ``coef_alpha`` is zero unless given.

    Parameters
    ----------
    penalty : {'hard', 'l1', 'scad', 'mcp'}, default='hard'
        Penalty on gamma; see `SparseOutlierRegressor`.
    alpha : float, {'bic', 'bonferroni'} or list of these, default='bic'
        Threshold in units of the noise scale, or the rule that chooses it for each fit. The best of a list is chosen by
        cross-validation.
    coef_alphas : int or array-like of float, default=10
        Length of a geometric grid from the smallest coef_alpha at which all coefficients vanish (supposing no
        outliers) down to ``eps`` times that, or the grid itself; it may contain 0 where there are more rows than
        features.
    eps : float, default=0.03
        Smallest coef_alpha of the grid divided by the largest.
    scoring : {'tau', 'trimmed'} or callable, default='tau'
        Minus the tau scale of the errors, which stands nearly half of them being outliers; minus the mean of the
        smallest three quarters of the squared errors; or a function of the fitted estimator, X and y whose value is
        larger for better predictions. The first two take the errors of all folds together, a function each fold.
    cv : int, cross-validation generator or iterable, default=None
        How rows are split; None means 5 folds.
    leverage_weights : bool, default=True
        Whether thresholds follow leverage; see `SparseOutlierRegressor`.
    init : {'auto', 'lts', 'huber', 'ols'}, default='auto'
        Start of the penalties other than l1.
    scale : float or 'auto', default='auto'
        Standard deviation of the noise, in units of y, if known.
    fit_intercept : bool, default=True
        Whether to fit the intercept.
    refit : bool, default=False
        Whether fits are free of the bias of the penalties, those of the folds too.
    max_iter : int, default=100
        Largest number of steps for an alpha.
    tol : float, default=1e-6
        Bound on the relative duality gap (l1) of the final fit.
    n_jobs : int, default=None
        Jobs over folds; see `joblib.Parallel`.
    random_state : int, RandomState instance or None, default=None
        Determines the rows from which the starts are computed. Pass an int for reproducible fits.

    Attributes
    ----------
    coef_alpha_ : float
        The coef_alpha chosen.
    coef_alphas_ : ndarray of shape (n_coef_alphas,)
        The grid, decreasing.
    alpha_ : float
        The threshold of the final fit, in units of ``scale_``.
    best_alpha_ : float or str
        The entry of ``alpha`` chosen.
    score_path_ : ndarray of shape (n_coef_alphas, n_folds) or (n_alphas, n_coef_alphas, n_folds)
        Scores of the held-out rows of each fold; the second shape if a list was given for ``alpha``.
    pooled_score_path_ : ndarray of shape (n_coef_alphas,) or (n_alphas, n_coef_alphas)
        What decides: the score of the held-out rows of all folds together, for a function its mean over folds.
    coef_ : ndarray of shape (n_features,)
        Coefficients of the final fit.
    intercept_ : float
        Intercept of the final fit.
    gamma_ : ndarray of shape (n_samples,)
        Outlier indicator, in units of y.
    outlier_mask_ : ndarray of bool of shape (n_samples,)
        Which rows are flagged.
    outlier_score_ : ndarray of shape (n_samples,)
        Larger is more outlying; see `SparseOutlierRegressor`.
    entry_alpha_ : ndarray of shape (n_samples,)
        The largest alpha at which a row is flagged; see `SparseOutlierRegressor`.
    scale_ : float
        Standard deviation of the noise.
    alphas_ : ndarray of shape (n_alphas,)
        For the rule "bic" the thresholds compared on all rows.
    criterion_ : ndarray of shape (n_alphas,)
        For the rule "bic" their modified BIC.
    leverage_ : ndarray of shape (n_samples,)
        Leverage of each row.
    dual_gap_ : float
        Duality gap for l1, NaN for the other penalties.
    n_iter_ : int
        Largest number of steps for an alpha, in the final fit.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.
    sample_indices_ : ndarray of shape (n_kept,)
        Indices of the rows that are not flagged, which `fit_resample` returns.

    See Also
    --------
    SparseOutlierRegressor : The fit for given penalties, or with penalties chosen by information criteria.

    References
    ----------
    .. [1] Ronchetti, Field & Blanchard (1997), "Robust linear model selection by cross-validation", Journal of the
       American Statistical Association 92, 1017-1023.
    .. [2] She & Owen (2011), "Outlier detection using nonconvex penalized regression", Journal of the American
       Statistical Association 106, 626-639.

    Examples
    --------
    >>> from skspar import SparseOutlierRegressorCV
    >>> from skspar.datasets import make_outlier_regression
    >>> X, y, is_outlier = make_outlier_regression(60, 10, n_informative=2, coef_size=1.0, shift=50.0, random_state=0)
    >>> model = SparseOutlierRegressorCV(coef_alphas=5, cv=3, random_state=0).fit(X, y)
    >>> bool(model.outlier_mask_[is_outlier].all())
    True
    """

    _parameter_constraints: dict = {
        **_OutlierBase._parameter_constraints,
        "alpha": [POSITIVE, StrOptions({"bic", "bonferroni"}), "array-like"],
        "coef_alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "scoring": [StrOptions({"trimmed", "tau"}), callable],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        penalty="hard",
        *,
        alpha="bic",
        coef_alphas=10,
        eps=0.03,
        scoring="tau",
        cv=None,
        leverage_weights=True,
        init="auto",
        scale="auto",
        fit_intercept=True,
        refit=False,
        max_iter=100,
        tol=1e-6,
        n_jobs=None,
        random_state=None,
    ):
        self.penalty = penalty
        self.alpha = alpha
        self.coef_alphas = coef_alphas
        self.eps = eps
        self.scoring = scoring
        self.cv = cv
        self.leverage_weights = leverage_weights
        self.init = init
        self.scale = scale
        self.fit_intercept = fit_intercept
        self.refit = refit
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        grid = _coef_alphas(self.coef_alphas)
        tags.input_tags.sparse = bool(grid is None or grid[-1] > 0.0)
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, **params):
        """Choose the penalties by cross-validation and fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features; sparse only where every ``coef_alphas`` is positive.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0, which count rows, for the fits and for the scores "trimmed" and "tau".
        **params : dict
            Parameters for the splitter's ``split``: ``groups`` as they are; with metadata routing enabled, whatever
            the splitter requests.

        Returns
        -------
        self : SparseOutlierRegressorCV
            The fitted model.

        Raises
        ------
        ValueError
            If a fold has no weight on its training or held-out rows.
        """
        splitter = self._splitter(sample_weight, params)
        is_list = not isinstance(self.alpha, (str, Real))
        alphas = list(self.alpha) if is_list else [self.alpha]
        if not alphas:
            raise ValueError("alpha must be a positive number, a rule or a list of these; got an empty list.")
        settings = [self._setting(alpha) for alpha in alphas]
        grid = _coef_alphas(self.coef_alphas)
        X, y, weights = self._validated(X, y, sample_weight, grid is None or grid[-1] > 0.0)
        rng = check_random_state(self.random_state)
        present = weights > 0.0
        if grid is None:
            rows = np.flatnonzero(present)
            grid = coef_alpha_grid(X[rows], y[rows], weights[rows], self.fit_intercept, self.coef_alphas, self.eps)
        splits = self._splits(splitter, X, y, weights)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        progress = Progress(self, X, y, sample_weight, 2)
        found = []
        with progress.stage("folds", len(splits)) as stage:
            tasks = [stage.begin("fold", place=k) for k in range(len(splits))]
            folds = Parallel(n_jobs=self.n_jobs, return_as="generator")(
                delayed(_fold_scores)(self._plain(), X, y, weights, train, test, settings, grid, seed, self.scoring)
                for train, test in splits
            )
            for task, fold in zip(tasks, folds):
                found.append(fold)
                task.end()
        scores = np.moveaxis(np.array([fold for fold, _ in found]), 0, 2)
        if callable(self.scoring):
            pooled = scores.mean(axis=2)
        else:
            residuals = np.concatenate([fold for _, fold in found], axis=2)
            held = np.concatenate([weights[test] for _, test in splits])
            pooled = np.array([[_score(self.scoring, r, held) for r in rows] for rows in residuals])
        if not np.isfinite(pooled).any():
            raise ValueError("scoring must give a finite score for at least one fit of every fold; none did.")
        best, place = np.unravel_index(int(np.argmax(np.where(np.isfinite(pooled), pooled, -np.inf))), pooled.shape)
        self.coef_alphas_ = grid
        self.score_path_ = scores if is_list else scores[0]
        self.pooled_score_path_ = pooled if is_list else pooled[0]
        self.best_alpha_ = alphas[best]
        rows = np.flatnonzero(present)
        part = (X, y, weights) if present.all() else (X[rows], y[rows], weights[rows])
        with progress.stage("fit to all rows"):
            choice = _choose(*part, settings[best], float(grid[place]), np.random.RandomState(seed))
        self._take(choice, X, y, weights, present, True)
        progress.end()
        return self

    def _plain(self):
        """The estimator of one fit, unfitted."""
        names = ("penalty", "leverage_weights", "init", "scale", "fit_intercept", "refit", "max_iter", "tol")
        return SparseOutlierRegressor(**{name: getattr(self, name) for name in names})


def _choose(X, y, weights, setting, coef_alpha, rng):
    """The fit that the parameters ask for, on rows of positive weight."""
    if coef_alpha == "ebic":
        return extended_bic_choice(X, y, weights, setting, rng)
    if coef_alpha > 0.0:
        return lasso_choice(X, y, weights, setting, coef_alpha, rng)[0]
    return dense_choice(X, y, weights, setting, rng, check=_check_total)


def _fold_scores(plain, X, y, weights, train, test, settings, grid, seed, scoring):
    """Scores (n_settings, n_coef_alphas) of one fold, and the residuals (..., n_held_out) that a name scores."""
    rows = train[weights[train] > 0.0]
    part = X[rows], y[rows], weights[rows]
    held = X[test], y[test], weights[test]
    scores = np.full((len(settings), len(grid)), -np.inf)
    residuals = None if callable(scoring) else np.empty((*scores.shape, len(test)))
    previous = [None] * len(settings)
    for j, coef_alpha in enumerate(grid):
        for i, setting in enumerate(settings):
            rng = np.random.RandomState(seed)
            if coef_alpha > 0.0:
                options = {} if j == 0 else {"n_starts": N_FOLLOWING}
                choice, previous[i] = lasso_choice(*part, setting, coef_alpha, rng, previous[i], **options)
            else:
                choice = dense_choice(*part, setting, rng, check=_check_total)
            plain.n_features_in_ = X.shape[1]
            plain._take(choice, *part, np.ones(len(rows), dtype=bool), False)
            if callable(scoring):
                scores[i, j] = scoring(plain, held[0], held[1])
                continue
            residuals[i, j] = held[1] - plain._linear(held[0])
            scores[i, j] = _score(scoring, residuals[i, j], held[2])
    return scores, residuals


def _score(scoring, residual, weights):
    """Larger is better."""
    if scoring == "tau":
        return -robust_scores.tau_scale(residual, weights)
    return -robust_scores.trimmed_mean(residual**2, weights, 0.25)


def _resolved_init(init, penalty):
    if init != "auto":
        return init
    return "huber" if penalty == "l1" else "lts"


def _check_total(indicator):
    """Weights count rows; those that sum to one, say, leave nothing to estimate a scale from."""
    if not indicator.saturated and indicator.total <= indicator.rank:
        raise ValueError(
            f"sample_weight counts rows, and its sum must be more than the number of coefficients, {indicator.rank}; "
            f"got {indicator.total:g} for {len(indicator.weights)} rows. Multiply it, for a mean of one perhaps."
        )


def _numbers(y):
    """Targets as float64; those of few bits (booleans, small integers, halves) would overflow or be refused later."""
    try:
        return np.asarray(y, dtype=np.float64)
    except ValueError:
        raise ValueError(f"y must hold numbers; got dtype {y.dtype}.") from None


def _checked_alpha(alpha):
    if isinstance(alpha, str):
        if alpha not in ("bic", "bonferroni"):
            raise ValueError(f"alpha must be a positive number, 'bic' or 'bonferroni'; got {alpha!r}.")
        return alpha
    if not isinstance(alpha, Real) or not 0.0 < alpha < np.inf:
        raise ValueError(f"alpha must be a positive finite number, 'bic' or 'bonferroni'; got {alpha!r}.")
    return float(alpha)


def _checked_coef_alpha(coef_alpha):
    if not np.isfinite(coef_alpha):
        raise ValueError(f"coef_alpha must be a finite number >= 0 or 'ebic'; got {coef_alpha!r}.")
    return float(coef_alpha)


def _checked_alphas(alphas):
    try:
        grid = np.sort(np.asarray(alphas, dtype=np.float64))[::-1].copy()
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or len(grid) == 0 or not np.all(np.isfinite(grid)) or grid[-1] <= 0.0:
        raise ValueError(f"alphas must be an integer >= 1 or a 1-d array of finite numbers > 0; got {alphas!r}.")
    return grid


def _coef_alphas(coef_alphas):
    """The decreasing grid given, or None for a number of points."""
    if isinstance(coef_alphas, Integral):
        return None
    try:
        grid = np.sort(np.asarray(coef_alphas, dtype=np.float64))[::-1].copy()
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or len(grid) == 0 or not np.all(np.isfinite(grid)) or grid[-1] < 0.0:
        raise ValueError(
            f"coef_alphas must be an integer >= 1 or a 1-d array of finite numbers >= 0; got {coef_alphas!r}."
        )
    return grid
