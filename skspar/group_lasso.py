"""Group Lasso and sparse-group Lasso: fit, cross-validated fit, information criteria, path."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from ._cross_validation import CrossValidationMixin
from ._engine.folds import Regression
from ._groups import resolve_groups
from ._linear import LinearModel, alpha_grid, as_matrix, check_numbers, told_by_products, warn_unless_converged
from ._progress import Progress
from ._sklearn_compat import (
    Interval,
    StrOptions,
    _fit_context,
    _get_feature_names,
    validate_params,
)
from ._weights import check_weights

LAYOUT_CONSTRAINTS = {
    # any kind of object may be meant; resolve_groups says what is wrong with it
    "groups": "no_validation",
    "group_weights": [StrOptions({"sqrt"}), None, dict, "array-like"],
    "positive": ["boolean"],
    "ungrouped": [StrOptions({"error", "unpenalized", "own"})],
    "overlap": [StrOptions({"error", "latent"})],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
}
L1_RATIO = Interval(Real, 0, 1, closed="both")
ALPHAS_CONSTRAINTS = {
    "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "eps": [Interval(Real, 0, 1, closed="neither")],
}


@validate_params(
    {"l1_ratio": [L1_RATIO], "return_intercepts": ["boolean"], "return_n_iter": ["boolean"]}
    | LAYOUT_CONSTRAINTS
    | ALPHAS_CONSTRAINTS,
    prefer_skip_nested_validation=True,
)
def group_lasso_path(
    X,
    y,
    *,
    groups=None,
    group_weights="sqrt",
    l1_ratio=0.0,
    alphas=100,
    eps=1e-3,
    sample_weight=None,
    positive=False,
    ungrouped="error",
    overlap="error",
    max_iter=10_000,
    tol=1e-6,
    return_intercepts=False,
    return_n_iter=False,
):
    """Compute the group Lasso path with a duality gap at every point.

    Minimises, for each alpha of a grid,

        1/2 sum_i v_i ||y_i - b0 - x_i'B||^2
        + alpha sum_g [(1 - l1_ratio) w_g ||B_g||_F + l1_ratio 1[w_g > 0] ||B_g||_1]

    with ``v_i = s_i / sum(s)`` for sample weights s, that is ``1 / n`` without, as in
    `sklearn.linear_model.lasso_path`. As there no intercept is fitted (b0 = 0) unless
    ``return_intercepts=True``.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features; float32 and float64 are kept, a dense array of any memory order is not
        copied, sparse input is read as CSC.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Response.
    groups : None, int, array-like, list, mapping or callable, default=None
        Which features form a group; see `GroupLasso`.
    group_weights : 'sqrt', None, array-like or mapping, default='sqrt'
        Weights w_g; see `GroupLasso`.
    l1_ratio : float, default=0.0
        Share of the l1 norm, from 0 (group Lasso) to 1 (Lasso).
    alphas : int or array-like of float, default=100
        Length of a geometric grid from the smallest alpha at which all penalised coefficients
        are zero down to ``eps`` times that, or the grid itself. Zero means least squares.
    eps : float, default=1e-3
        Smallest alpha of the grid divided by the largest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0. Their scale does not matter.
    positive : bool, default=False
        Whether coefficients are confined to be >= 0.
    ungrouped : {'error', 'unpenalized', 'own'}, default='error'
        What becomes of features in no group; see `GroupLasso`.
    overlap : {'error', 'latent'}, default='error'
        Whether groups may share features; see `GroupLasso`.
    max_iter : int, default=10000
        Largest number of inner iterations for an alpha.
    tol : float, default=1e-6
        Bound on the duality gap divided by the objective at B = 0.
    return_intercepts : bool, default=False
        Whether to fit an intercept and to return it for every alpha.
    return_n_iter : bool, default=False
        Whether to return the numbers of inner iterations.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,)
        The grid, decreasing.
    coefs : ndarray of shape (n_features, n_alphas) or (n_targets, n_features, n_alphas)
        Coefficients along the path.
    dual_gaps : ndarray of shape (n_alphas,)
        Duality gaps, in units of the objective.
    intercepts : ndarray of shape (n_alphas,) or (n_targets, n_alphas)
        Intercepts, if ``return_intercepts`` is set.
    n_iters : ndarray of shape (n_alphas,)
        Inner iterations for each alpha, if ``return_n_iter`` is set.

    Raises
    ------
    ValueError
        If a parameter is out of its range, names unknown columns, or contradicts another.

    References
    ----------
    .. [1] Yuan & Lin (2006), "Model selection and estimation in regression with grouped
       variables", Journal of the Royal Statistical Society B 68, 49-67.
    .. [2] Simon, Friedman, Hastie & Tibshirani (2013), "A sparse-group lasso", Journal of
       Computational and Graphical Statistics 22, 231-245.

    Examples
    --------
    >>> from skspar import group_lasso_path
    >>> from skspar.datasets import make_group_regression
    >>> X, y, groups = make_group_regression(n_informative_groups=2, random_state=0)
    >>> alphas, coefs, dual_gaps = group_lasso_path(X, y, groups=groups, alphas=50)
    >>> coefs.shape
    (50, 50)
    >>> bool(dual_gaps.max() <= 1e-6 * (y @ y) / (2 * len(y)))
    True
    """
    names = _get_feature_names(X)
    X = check_array(
        X, accept_sparse="csc", dtype=[np.float64, np.float32], input_name="X", ensure_all_finite=False
    )  # fmt: skip
    y = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], input_name="y")
    check_consistent_length(X, y)
    weights = check_weights(sample_weight, X)
    layout = resolve_groups(groups, group_weights, X.shape[1], names, ungrouped, overlap)
    n_points = alphas if isinstance(alphas, Integral) else np.size(alphas)
    penalty = layout.penalty(l1_ratio, positive)
    regression = _finite_regression(X, y, weights, penalty, return_intercepts, n_points)
    grid = alpha_grid(alphas, eps, regression.alpha_max(l1_ratio), positive)
    solutions = regression.path(l1_ratio, grid, tol, max_iter)
    warn_unless_converged([solutions], regression.null_objective, tol, max_iter)
    coefs = solutions.path_coefs(X.dtype)
    intercepts = np.ascontiguousarray(solutions.intercepts.T, dtype=X.dtype)
    if y.ndim == 1:
        coefs, intercepts = coefs[0], intercepts[0]
    out = grid, coefs, solutions.gaps
    if return_intercepts:
        out += (intercepts,)
    if return_n_iter:
        out += (solutions.n_iters,)
    return out


def _finite_regression(X, y, weights, penalty, fit_intercept, n_points, estimator_name=None):
    """The regression, once it is sure that X is finite: its correlations at zero tell, unless something is left out."""
    by_correlations = told_by_products(X) and np.bincount(penalty.columns, minlength=X.shape[1]).all()
    if not by_correlations:
        check_numbers(X, estimator_name)
    regression = Regression(X, as_matrix(y), weights, penalty, fit_intercept, n_points)
    if by_correlations:
        # a BLAS may pass over zeros
        told = (regression.v[:, None] * regression.rows.Y).any(axis=1).all()
        check_numbers(X, estimator_name, regression.q if told else None)
    return regression


class _GroupLassoBase(LinearModel):
    """What the estimators of the family share: input, layout of groups, results, prediction."""

    _parameter_constraints: dict = {
        "fit_intercept": ["boolean"],
        "refit": ["boolean"],
        **LAYOUT_CONSTRAINTS,
    }

    # lasso_path is a static method of Lasso too
    path = staticmethod(group_lasso_path)

    def _regression(self, X, y, sample_weight, l1_ratio, n_points):
        """Validate, resolve the groups, and set up the problem."""
        X, y, weights = self._validated(X, y, sample_weight, finite=False)
        layout = resolve_groups(
            self.groups,
            self.group_weights,
            X.shape[1],
            getattr(self, "feature_names_in_", None),
            self.ungrouped,
            self.overlap,
        )
        penalty = layout.penalty(l1_ratio, self.positive)
        regression = _finite_regression(X, y, weights, penalty, self.fit_intercept, n_points, type(self).__name__)
        self._layout = layout
        return X, y, regression

    def _take(self, regression, solutions, place, X, y):
        """Set the fitted attributes from one solution of a path."""
        coef, intercept = solutions.coefs_at(place), solutions.intercepts[place]
        self.dual_gap_ = float(solutions.gaps[place])
        null = regression.null_objective
        self.relative_dual_gap_ = self.dual_gap_ / null if null > 0.0 else 0.0
        self.n_iter_ = int(solutions.n_iters[place])
        self.group_weights_ = self._layout.weights.copy()
        self.active_groups_ = self._layout.active(coef)
        if self.refit:
            columns = np.flatnonzero(coef.any(axis=1))
            coef = np.zeros_like(coef)
            coef[columns], intercept, _ = regression.least_squares(columns)
        self._set_linear(coef, intercept, X, y)
        return self

    @property
    def groups_(self):
        """Column indices of every group, by its label."""
        check_is_fitted(self, "coef_")
        return self._layout.as_dict


class GroupLasso(_GroupLassoBase):
    """Linear regression with a group Lasso or sparse-group Lasso penalty.

    Minimises

        1/2 sum_i v_i ||y_i - b0 - x_i'B||^2
        + alpha sum_g [(1 - l1_ratio) w_g ||B_g||_F + l1_ratio 1[w_g > 0] ||B_g||_1]

    over the intercept b0 and coefficients B (n_features x n_targets), where B_g holds the rows
    of group g and ``v_i = s_i / sum(s)`` for sample weights s, that is ``1 / n`` without. Groups
    enter and leave as a whole. With ``groups=None`` this is `sklearn.linear_model.Lasso` (one
    target) or `sklearn.linear_model.MultiTaskLasso` (several), with the same alpha.

    Every fit comes with its duality gap, an upper bound of what the objective could still fall.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in units of the response times those of the features. Zero gives
        least squares, of minimum norm where it is not unique.
    groups : None, int, array-like, list, mapping or callable, default=None
        Which features form a group:

        - None: each feature its own;
        - int: consecutive features in groups of that size, the last may be smaller;
        - array-like of shape (n_features,): a label (any hashable) for each feature;
        - list of lists: the indices, or for data frames the column names, of each group;
        - mapping: the same by label;
        - callable: called with the names of the incoming features (``x0``, ``x1``, ... where
          they have none), returns a label for each. So groups follow an encoder or a number of
          knots that the same grid search tunes. `ColumnGroups` of a table's columns is one.
    group_weights : 'sqrt', None, array-like or mapping, default='sqrt'
        Weights w_g >= 0: the square root of the number of features in the group, one (None), an
        array in the order of ``groups_``, or a mapping from labels. A group of weight zero is
        not penalised.
    l1_ratio : float, default=0.0
        Share of the l1 norm, from 0 (group Lasso) to 1 (Lasso).
    fit_intercept : bool, default=True
        Whether to fit the intercept b0, which is not penalised.
    positive : bool, default=False
        Whether coefficients are confined to be >= 0. Then alpha must be positive, and every
        group penalised.
    ungrouped : {'error', 'unpenalized', 'own'}, default='error'
        What becomes of features in no group: an error that lists them, no penalty, or each its
        own group.
    overlap : {'error', 'latent'}, default='error'
        Whether groups may share features. With 'latent' each group has its own copy of a shared
        feature and ``coef_`` is the sum over the copies (Jacob, Obozinski & Vert 2009), so that
        the support is a union of groups.
    refit : bool, default=False
        Whether ``coef_`` and ``intercept_`` are those of least squares on the selected features,
        without the penalty's bias; ``dual_gap_`` stays that of the penalised fit.
    max_iter : int, default=10000
        Largest number of inner iterations: linear systems of the active-set method for
        separable penalties, else cycles of block descent and Newton steps.
    tol : float, default=1e-6
        Bound on ``relative_dual_gap_``.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients B.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept b0.
    dual_gap_ : float
        Duality gap, in units of the objective.
    relative_dual_gap_ : float
        Duality gap divided by the objective of the best constant fit (zero fit without
        intercept).
    n_iter_ : int
        Number of inner iterations.
    groups_ : dict
        Column indices of every group, by label: in order of first appearance for labels, else
        as given, and features in no group last.
    group_weights_ : ndarray of shape (n_groups,)
        Weights in the order of ``groups_``.
    active_groups_ : list
        Labels of the groups with a nonzero coefficient.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    GroupLassoCV : Chooses alpha by cross-validation.
    GroupLassoIC : Chooses alpha by AIC or BIC.
    group_lasso_path : The path without an estimator.

    References
    ----------
    .. [1] Yuan & Lin (2006), "Model selection and estimation in regression with grouped
       variables", Journal of the Royal Statistical Society B 68, 49-67, equation (2.1).
    .. [2] Simon, Friedman, Hastie & Tibshirani (2013), "A sparse-group lasso", Journal of
       Computational and Graphical Statistics 22, 231-245.
    .. [3] Jacob, Obozinski & Vert (2009), "Group lasso with overlap and graph lasso",
       Proceedings of ICML, 433-440.

    Examples
    --------
    >>> from skspar import GroupLasso
    >>> from skspar.datasets import make_group_regression
    >>> X, y, groups = make_group_regression(n_informative_groups=2, random_state=0)
    >>> model = GroupLasso(alpha=0.1, groups=groups).fit(X, y)
    >>> model.active_groups_
    [2, 8]
    >>> model.relative_dual_gap_ <= 1e-6
    True
    """

    _parameter_constraints: dict = {
        **_GroupLassoBase._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [L1_RATIO],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        groups=None,
        group_weights="sqrt",
        l1_ratio=0.0,
        fit_intercept=True,
        positive=False,
        ungrouped="error",
        overlap="error",
        refit=False,
        max_iter=10_000,
        tol=1e-6,
        warm_start=False,
    ):
        self.alpha = alpha
        self.groups = groups
        self.group_weights = group_weights
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.ungrouped = ungrouped
        self.overlap = overlap
        self.refit = refit
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0. Their scale does not matter.

        Returns
        -------
        self : GroupLasso
            The fitted model.
        """
        grid = alpha_grid([self.alpha], None, None, self.positive, name="alpha")
        X, y, regression = self._regression(X, y, sample_weight, self.l1_ratio, 1)
        start = None
        if self.warm_start and hasattr(self, "coef_"):
            previous = np.atleast_2d(self.coef_).T.astype(np.float64)
            if previous.shape == (X.shape[1], regression.n_targets) and np.isfinite(previous).all():
                start = previous
        solutions = regression.path(self.l1_ratio, grid, self.tol, self.max_iter, start)
        warn_unless_converged([solutions], regression.null_objective, self.tol, self.max_iter)
        return self._take(regression, solutions, 0, X, y)


class GroupLassoCV(CrossValidationMixin, _GroupLassoBase):
    """Group Lasso with the penalty chosen by cross-validation.

    Minimises the objective of `GroupLasso` on a grid of alphas (and of l1_ratio, if a list is
    given) for every fold, takes the penalty with the smallest mean squared error on held-out
    rows, or the largest alpha within one standard error of it, and fits that on all rows.

    The folds are solved together: a held-out row is a row of weight zero, so no fold copies X,
    and what all folds ask of X is one matrix product (wide X) or a difference of Gram matrices
    (tall X).

    Parameters
    ----------
    groups : None, int, array-like, list, mapping or callable, default=None
        Which features form a group; see `GroupLasso`. Groups of rows, for the splitter, are a
        parameter of `fit`.
    group_weights : 'sqrt', None, array-like or mapping, default='sqrt'
        Weights w_g; see `GroupLasso`.
    l1_ratio : float or list of float, default=0.0
        Share of the l1 norm, from 0 to 1; the best of a list is chosen.
    alphas : int or array-like of float, default=100
        Length of a geometric grid from the smallest alpha at which all penalised coefficients
        are zero (all rows) down to ``eps`` times that, or the grid itself.
    eps : float, default=1e-3
        Smallest alpha of the grid divided by the largest.
    cv : int, cross-validation generator or iterable, default=None
        How rows are split; None means 5 folds.
    selection_rule : {'min', '1se'}, default='min'
        The alpha of the smallest mean error, or the largest whose mean error is within one
        standard error (over folds, at the minimum) of the smallest.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    positive : bool, default=False
        Whether coefficients are confined to be >= 0.
    ungrouped : {'error', 'unpenalized', 'own'}, default='error'
        What becomes of features in no group; see `GroupLasso`.
    overlap : {'error', 'latent'}, default='error'
        Whether groups may share features; see `GroupLasso`.
    refit : bool, default=False
        Whether the final ``coef_`` is least squares on the features selected; the penalty is
        chosen by the errors of the penalised fits.
    max_iter : int, default=10000
        Largest number of inner iterations for an alpha; see `GroupLasso`.
    tol : float, default=1e-6
        Bound on the relative duality gap, of every fold's solutions too.
    n_jobs : int, default=None
        Threads over folds. None is one; BLAS uses the other cores anyway for wide problems.
    verbose : int, default=0
        Whether to print a line for each stage, with its time. With scikit-learn 1.9 or newer ``set_callbacks`` shows
        progress bars.

    Attributes
    ----------
    alpha_ : float
        The alpha chosen.
    l1_ratio_ : float
        The l1_ratio chosen.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratios, n_alphas)
        The grid, decreasing; a row for each l1_ratio if a list was given.
    mse_path_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratios, n_alphas, n_folds)
        Mean squared error on the held-out rows, weighted by sample weights, in squared units of
        the response.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients of the final fit.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept of the final fit.
    dual_gap_ : float
        Duality gap of the final fit, in units of the objective.
    relative_dual_gap_ : float
        Duality gap divided by the objective of the best constant fit.
    n_iter_ : int
        Number of inner iterations of the final fit.
    groups_ : dict
        Column indices of every group, by label.
    group_weights_ : ndarray of shape (n_groups,)
        Weights in the order of ``groups_``.
    active_groups_ : list
        Labels of the groups with a nonzero coefficient.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    GroupLasso : The fit for a given alpha.

    References
    ----------
    .. [1] Yuan & Lin (2006), "Model selection and estimation in regression with grouped
       variables", Journal of the Royal Statistical Society B 68, 49-67.
    .. [2] Hastie, Tibshirani & Friedman (2009), "The Elements of Statistical Learning", section
       7.10 (one-standard-error rule).

    Examples
    --------
    >>> from skspar import GroupLassoCV
    >>> from skspar.datasets import make_group_regression
    >>> X, y, groups = make_group_regression(n_informative_groups=2, random_state=0)
    >>> model = GroupLassoCV(groups=groups, selection_rule="1se").fit(X, y)
    >>> model.active_groups_
    [2, 3, 8]
    """

    _parameter_constraints: dict = {
        **_GroupLassoBase._parameter_constraints,
        **ALPHAS_CONSTRAINTS,
        "l1_ratio": [L1_RATIO, "array-like"],
        "cv": ["cv_object"],
        "selection_rule": [StrOptions({"min", "1se"})],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        groups=None,
        group_weights="sqrt",
        l1_ratio=0.0,
        alphas=100,
        eps=1e-3,
        cv=None,
        selection_rule="min",
        fit_intercept=True,
        positive=False,
        ungrouped="error",
        overlap="error",
        refit=False,
        max_iter=10_000,
        tol=1e-6,
        n_jobs=None,
        verbose=0,
    ):
        self.groups = groups
        self.group_weights = group_weights
        self.l1_ratio = l1_ratio
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection_rule = selection_rule
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.ungrouped = ungrouped
        self.overlap = overlap
        self.refit = refit
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, **params):
        """Choose the penalty by cross-validation and fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0, for the fits and for the errors on held-out rows.
        **params : dict
            Parameters for the splitter's ``split``: ``groups`` (of rows) as they are; with
            metadata routing enabled, whatever the splitter requests.

        Returns
        -------
        self : GroupLassoCV
            The fitted model.

        Raises
        ------
        ValueError
            If a fold has no weight on its training or held-out rows.
        """
        splitter = self._splitter(sample_weight, params)
        ratios, is_list = _l1_ratios(self.l1_ratio)
        n_points = self.alphas if isinstance(self.alphas, Integral) else np.size(self.alphas)
        X, y, regression = self._regression(X, y, sample_weight, ratios[0], n_points * len(ratios))
        splits = self._splits(splitter, X, y, regression.weights)
        grids = [alpha_grid(self.alphas, self.eps, regression.alpha_max(r), self.positive) for r in ratios]
        progress = Progress(self, X, y, sample_weight, 2, self.verbose)
        with progress.stage(
            f"{len(splits)} folds, {len(ratios) * len(grids[0])} penalties", len(splits) * len(ratios)
        ) as stage:
            solve = partial(regression.folds, ratios, grids, splits, self.tol, self.max_iter, self.n_jobs)
            fits = self._watched_folds(stage, len(splits), grids, solve)
        errors = np.array(
            [[regression.heldout_errors(fit, test) for fit, (_, test) in zip(folds, splits)] for folds in fits]
        )
        errors = np.moveaxis(errors, 1, 2)
        best = int(errors.mean(axis=2).min(axis=1).argmin())
        place = self._choose(errors[best])
        self.l1_ratio_ = ratios[best]
        self.alpha_ = float(grids[best][place])
        self.alphas_ = np.array(grids) if is_list else grids[0]
        self.mse_path_ = errors if is_list else errors[0]
        with progress.stage(f"fit to all rows, alpha = {self.alpha_:.4g}"):
            final = regression.path(self.l1_ratio_, grids[best][place : place + 1], self.tol, self.max_iter)
        every = [fit for folds in fits for fit in folds]
        warn_unless_converged([*every, final], regression.null_objective, self.tol, self.max_iter)
        self._take(regression, final, 0, X, y)
        progress.end()
        return self


class GroupLassoIC(_GroupLassoBase):
    """Group Lasso with the penalty chosen by the AIC or BIC.

    Minimises the objective of `GroupLasso` on a grid of alphas and takes the alpha with the
    smallest

        n log(2 pi sigma^2) + RSS / sigma^2 + k df,    k = 2 (AIC) or log n (BIC),

    as `sklearn.linear_model.LassoLarsIC` does. df is the trace of the Jacobian of the fitted
    values, an unbiased estimate of the degrees of freedom for any design [2]_; for orthonormal
    groups it is the estimate of [1]_, and for the Lasso the size of the support. n is the sum of
    the sample weights; several targets count n times their number.

    Parameters
    ----------
    criterion : {'aic', 'bic'}, default='bic'
        The criterion.
    noise_variance : float, default=None
        Variance sigma^2 of the noise; None estimates it by the residuals of least squares on all
        features, which needs more rows than coefficients.
    groups : None, int, array-like, list, mapping or callable, default=None
        Which features form a group; see `GroupLasso`.
    group_weights : 'sqrt', None, array-like or mapping, default='sqrt'
        Weights w_g; see `GroupLasso`.
    l1_ratio : float, default=0.0
        Share of the l1 norm, from 0 to 1.
    alphas : int or array-like of float, default=100
        Length of a geometric grid from the smallest alpha at which all penalised coefficients
        are zero down to ``eps`` times that, or the grid itself.
    eps : float, default=1e-3
        Smallest alpha of the grid divided by the largest.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    positive : bool, default=False
        Whether coefficients are confined to be >= 0.
    ungrouped : {'error', 'unpenalized', 'own'}, default='error'
        What becomes of features in no group; see `GroupLasso`.
    overlap : {'error', 'latent'}, default='error'
        Whether groups may share features; see `GroupLasso`.
    refit : bool, default=False
        Whether the final ``coef_`` is least squares on the features selected.
    max_iter : int, default=10000
        Largest number of inner iterations for an alpha; see `GroupLasso`.
    tol : float, default=1e-6
        Bound on the relative duality gap.

    Attributes
    ----------
    alpha_ : float
        The alpha chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The grid, decreasing.
    criterion_ : ndarray of shape (n_alphas,)
        The criterion on the grid.
    degrees_of_freedom_ : ndarray of shape (n_alphas,)
        Degrees of freedom on the grid, the intercept not counted.
    noise_variance_ : float
        The noise variance used, in squared units of the response.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients at the alpha chosen.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept at the alpha chosen.
    dual_gap_ : float
        Duality gap at the alpha chosen, in units of the objective.
    relative_dual_gap_ : float
        Duality gap divided by the objective of the best constant fit.
    n_iter_ : int
        Number of inner iterations at the alpha chosen.
    groups_ : dict
        Column indices of every group, by label.
    group_weights_ : ndarray of shape (n_groups,)
        Weights in the order of ``groups_``.
    active_groups_ : list
        Labels of the groups with a nonzero coefficient.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    GroupLassoCV : Chooses alpha by cross-validation.

    References
    ----------
    .. [1] Yuan & Lin (2006), "Model selection and estimation in regression with grouped
       variables", Journal of the Royal Statistical Society B 68, 49-67, equation (6.5).
    .. [2] Vaiter, Deledalle, Peyre, Fadili & Dossal (2012), "The degrees of freedom of the group
       lasso", ICML workshop on sparsity, dictionaries and projections.

    Examples
    --------
    >>> from skspar import GroupLassoIC
    >>> from skspar.datasets import make_group_regression
    >>> X, y, groups = make_group_regression(n_informative_groups=2, random_state=0)
    >>> model = GroupLassoIC(groups=groups).fit(X, y)
    >>> model.active_groups_
    [2, 3, 8]
    """

    _parameter_constraints: dict = {
        **_GroupLassoBase._parameter_constraints,
        **ALPHAS_CONSTRAINTS,
        "criterion": [StrOptions({"aic", "bic"})],
        "noise_variance": [Interval(Real, 0, None, closed="neither"), None],
        "l1_ratio": [L1_RATIO],
    }

    def __init__(
        self,
        criterion="bic",
        *,
        noise_variance=None,
        groups=None,
        group_weights="sqrt",
        l1_ratio=0.0,
        alphas=100,
        eps=1e-3,
        fit_intercept=True,
        positive=False,
        ungrouped="error",
        overlap="error",
        refit=False,
        max_iter=10_000,
        tol=1e-6,
    ):
        self.criterion = criterion
        self.noise_variance = noise_variance
        self.groups = groups
        self.group_weights = group_weights
        self.l1_ratio = l1_ratio
        self.alphas = alphas
        self.eps = eps
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.ungrouped = ungrouped
        self.overlap = overlap
        self.refit = refit
        self.max_iter = max_iter
        self.tol = tol

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Choose alpha by the criterion and fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0; a row of weight k counts as k rows.

        Returns
        -------
        self : GroupLassoIC
            The fitted model.

        Raises
        ------
        ValueError
            If ``noise_variance`` is None and there are too few rows to estimate it.
        """
        n_points = self.alphas if isinstance(self.alphas, Integral) else np.size(self.alphas)
        X, y, regression = self._regression(X, y, sample_weight, self.l1_ratio, n_points)
        n, T = regression.weights.sum(), regression.n_targets
        grid = alpha_grid(self.alphas, self.eps, regression.alpha_max(self.l1_ratio), self.positive)
        if self.noise_variance is None:
            left = n - X.shape[1] - self.fit_intercept
            if left <= 0:
                raise ValueError(
                    f"noise_variance must be given unless there are more rows (weight {n:g}) than coefficients "
                    f"({X.shape[1] + self.fit_intercept}); it was None."
                )
            everything = np.arange(X.shape[1])
            coef, intercept, _ = regression.least_squares(everything)
            variance = n * regression.training_errors(everything, coef[None], intercept[None])[0] / left
        else:
            variance = float(self.noise_variance)
        solutions = regression.path(self.l1_ratio, grid, self.tol, self.max_iter)
        warn_unless_converged([solutions], regression.null_objective, self.tol, self.max_iter)
        df = solutions.degrees_of_freedom()
        rss = n * T * regression.training_errors(solutions.columns, solutions.values, solutions.intercepts)
        penalty = 2.0 if self.criterion == "aic" else np.log(n * T)
        # an exact fit has no noise: any other alpha is infinitely worse
        misfit = np.divide(rss, variance, out=np.where(rss > 0.0, np.inf, 0.0), where=variance > 0.0)
        constant = n * T * np.log(2.0 * np.pi * variance) if variance > 0.0 else 0.0
        place = int(np.argmin(constant + misfit + penalty * df))
        self.criterion_ = constant + misfit + penalty * df
        self.degrees_of_freedom_ = df
        self.noise_variance_ = float(variance)
        self.alphas_ = grid
        self.alpha_ = float(grid[place])
        return self._take(regression, solutions, place, X, y)


def _l1_ratios(l1_ratio):
    """A list of ratios, and whether the user gave one."""
    if isinstance(l1_ratio, Real):
        return [float(l1_ratio)], False
    try:
        ratios = np.asarray(l1_ratio, dtype=np.float64)
    except (TypeError, ValueError):
        ratios = np.empty((0, 0))
    if ratios.ndim != 1 or len(ratios) == 0 or not np.all((ratios >= 0.0) & (ratios <= 1.0)):
        raise ValueError(f"l1_ratio must be a number from 0 to 1 or a list of such; got {l1_ratio!r}.")
    return ratios.tolist(), True
