"""Basis pursuit denoising in its three forms, its path, its cross-validation, and basis pursuit."""

import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_array, check_consistent_length

from ._cross_validation import CrossValidationMixin
from ._engine.folds import Regression, Solutions
from ._engine.pareto import ParetoCurve
from ._engine.path import PathResult
from ._engine.penalty import BlockPenalty
from ._linear import LinearModel, alpha_grid, as_matrix, check_range, warn_unless_converged
from ._progress import Progress
from ._sklearn_compat import Interval, StrOptions, _fit_context, validate_params
from ._weights import check_weights

SOLVER_CONSTRAINTS = {
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
}
# Residual norm, relative to that of y, that counts as none.
ROUNDING = 1e-9


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like"],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like", StrOptions({"knots"})],
        "eps": [Interval(Real, 0, 1, closed="left"), None],
        "fit_intercept": ["boolean"],
        **SOLVER_CONSTRAINTS,
    },
    prefer_skip_nested_validation=True,
)
def bpdn_path(X, y, *, alphas=100, eps=None, fit_intercept=False, sample_weight=None, max_iter=10_000, tol=1e-6):
    """Compute the Pareto curve of basis pursuit denoising: residual norm against l1 norm.

    Each point minimises

        1/2 sum_i v_i (y_i - b0 - x_i'b)^2 + alpha ||b||_1,    v_i = s_i / sum(s),

    s the sample weights, and with it the residual norm for a bound tau on the l1 norm, and the l1
    norm for a bound sigma on the residual norm.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features (atoms are columns); sparse input is read as CSC.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Targets.
    alphas : int, array-like of float or 'knots', default=100
        Length of a geometric grid, the grid itself, or the knots: all the alphas at which the
        support changes, between which coefficients are linear in alpha. Knots need one target.
    eps : float, default=None
        Smallest alpha of the path divided by the largest; None is 1e-3 for a grid and 0 for knots.
    fit_intercept : bool, default=False
        Whether to fit the intercept b0.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0.
    max_iter : int, default=10000
        Largest number of linear systems solved for an alpha.
    tol : float, default=1e-6
        Bound on the duality gap divided by the objective at b = 0.

    Returns
    -------
    path : Bunch
        With the fields

        - alphas : ndarray of shape (n_alphas,), decreasing.
        - sigmas : ndarray of shape (n_alphas,) or (n_targets, n_alphas), the residual norms
          ``sqrt(sum_i s_i r_i^2)``, in units of y.
        - taus : ndarray of shape (n_alphas,) or (n_targets, n_alphas), the l1 norms.
        - coefs : ndarray of shape (n_features, n_alphas) or (n_targets, n_features, n_alphas).
        - intercepts : ndarray of shape (n_alphas,) or (n_targets, n_alphas).
        - dual_gaps : ndarray of shape (n_alphas,), in units of the objective.
        - n_iters : ndarray of shape (n_alphas,).

    Raises
    ------
    ValueError
        If a parameter is out of its range, or knots are asked for with several targets.

    References
    ----------
    .. [1] van den Berg & Friedlander (2008), "Probing the Pareto frontier for basis pursuit
       solutions", SIAM Journal on Scientific Computing 31, 890-912.
    .. [2] Osborne, Presnell & Turlach (2000), "A new approach to variable selection in least
       squares problems", IMA Journal of Numerical Analysis 20, 389-403.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import bpdn_path
    >>> X, y = np.eye(3), np.array([3.0, 1.0, 0.0])
    >>> path = bpdn_path(X, y, alphas="knots")
    >>> path.alphas.round(6), path.taus.round(6), path.sigmas.round(6)
    (array([1.      , 0.333333, 0.      ]), array([0., 2., 4.]), array([3.162278, 1.414214, 0.      ]))
    """
    X = check_array(X, accept_sparse="csc", dtype=[np.float64, np.float32], input_name="X")
    y = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], input_name="y")
    check_consistent_length(X, y)
    check_range(X)
    weights = check_weights(sample_weight, X)
    knots = isinstance(alphas, str)
    n_points = alphas if isinstance(alphas, Integral) else 100 if knots else np.size(alphas)
    regression = _regression(X, as_matrix(y), weights, fit_intercept, n_points)
    if knots:
        if regression.n_targets > 1:
            raise ValueError(f"alphas='knots' must have one target, whose knots they are; y has {y.shape[1]}.")
        solutions = _knots(regression, 0.0 if eps is None else float(eps), tol, max_iter)
        alphas = solutions.alphas
    else:
        if eps == 0.0 or (np.ndim(alphas) and np.any(np.asarray(alphas) == 0.0)):
            raise ValueError(
                "alphas must be positive, and eps too, unless alphas='knots', whose last is the limit zero; "
                f"got alphas={alphas!r}, eps={eps!r}."
            )
        alphas = alpha_grid(alphas, 1e-3 if eps is None else eps, regression.alpha_max(1.0), False)
        solutions = regression.path(1.0, alphas, tol, max_iter)
    warn_unless_converged([solutions], regression.null_objective, tol, max_iter)
    coefs, intercepts = solutions.path_coefs(X.dtype), np.ascontiguousarray(solutions.intercepts.T, dtype=X.dtype)
    sigmas, taus = solutions.residual_norms().T, np.abs(solutions.values).sum(axis=1).T
    if y.ndim == 1:
        coefs, intercepts, sigmas, taus = coefs[0], intercepts[0], sigmas[0], taus[0]
    return Bunch(
        alphas=alphas,
        sigmas=sigmas,
        taus=taus,
        coefs=coefs,
        intercepts=intercepts,
        dual_gaps=solutions.gaps,
        n_iters=solutions.n_iters,
    )


class _Denoiser(LinearModel):
    """What the estimators with a duality gap share."""

    path = staticmethod(bpdn_path)

    def _take(self, regression, solutions, places, alphas, X, y):
        """Set the fitted attributes; for target t from ``solutions[t]`` at ``places[t]``, or all from one."""
        coef = np.hstack([fit.coefs_at(place) for fit, place in zip(solutions, places)])
        intercept = np.hstack([fit.intercepts[place] for fit, place in zip(solutions, places)])
        norms = np.hstack([fit.residual_norms()[place] for fit, place in zip(solutions, places)])
        self.dual_gap_ = float(sum(fit.gaps[place] for fit, place in zip(solutions, places)))
        null = regression.null_objective
        self.relative_dual_gap_ = self.dual_gap_ / null if null > 0.0 else 0.0
        self.n_iter_ = int(max(fit.n_iters[place] for fit, place in zip(solutions, places)))
        alphas = np.broadcast_to(alphas, norms.shape).copy()
        levels = alphas, norms, np.abs(coef).sum(axis=0)
        self.alpha_, self.sigma_, self.tau_ = (float(level[0]) if y.ndim == 1 else level for level in levels)
        self._set_linear(coef, intercept, X, y)
        return self


class BPDN(_Denoiser):
    """Basis pursuit denoising: the Lasso by its penalty, its residual norm or its l1 norm.

    Solves one of

    - ``min_b 1/2 sum_i v_i (y_i - b0 - x_i'b)^2 + alpha ||b||_1``, with ``v_i = s_i / sum(s)`` for
      sample weights s, that is ``1 / n`` without (by default);
    - ``min_b ||b||_1`` subject to ``sqrt(sum_i s_i (y_i - b0 - x_i'b)^2) <= sigma``;
    - ``min_b sum_i s_i (y_i - b0 - x_i'b)^2`` subject to ``||b||_1 <= tau``.

    The three have the same solutions. Whichever is chosen, ``alpha_``, ``sigma_`` and ``tau_`` tell
    the level of the solution in each, so that one can be handed to another. A bound is met exactly:
    on a segment of the path with fixed support and signs it is a quadratic (sigma) or linear
    (tau) equation in alpha.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in units of y times those of the features; not used if ``sigma`` or
        ``tau`` is given. Zero gives the limit, the least-squares solution of least l1 norm.
    sigma : float or array-like of shape (n_targets,), default=None
        Bound on the residual norm, in units of y; not divided by the number of rows.
    tau : float or array-like of shape (n_targets,), default=None
        Bound on the l1 norm of the coefficients. At most one of ``sigma`` and ``tau`` may be given.
    fit_intercept : bool, default=True
        Whether to fit the intercept b0, which is not penalised.
    max_iter : int, default=10000
        Largest number of linear systems solved for an alpha.
    tol : float, default=1e-6
        Bound on the duality gap divided by the objective at b = 0.

    Attributes
    ----------
    alpha_ : float or ndarray of shape (n_targets,)
        Strength of the penalty that has this solution: ``alpha`` in the penalised form. In the
        others the smallest that gives zero if the solution is zero, and zero if it is the
        least-squares solution of least l1 norm.
    sigma_ : float or ndarray of shape (n_targets,)
        Residual norm.
    tau_ : float or ndarray of shape (n_targets,)
        l1 norm of the coefficients.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients b.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept b0.
    dual_gap_ : float
        Duality gap of the penalised form at ``alpha_``, in units of its objective, summed over
        targets. It certifies the constrained forms too: of one target the l1 norm is at most
        ``dual_gap_ / alpha_`` above the least for ``sigma``, and the mean squared residual at most
        ``2 * dual_gap_`` above the least for ``tau``. Infinite, with a warning, where the bound is
        not met.
    relative_dual_gap_ : float
        Duality gap divided by the objective at b = 0.
    n_iter_ : int
        Number of inner iterations.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    BPDNCV : Chooses alpha by cross-validation.
    BasisPursuit : The equality constraint, sigma = 0.
    bpdn_path : All levels.
    SparseEncoder : Codes of many signals, as a transformer.

    References
    ----------
    .. [1] Chen, Donoho & Saunders (1998), "Atomic decomposition by basis pursuit", SIAM Journal on
       Scientific Computing 20, 33-61, equation (5.1).
    .. [2] van den Berg & Friedlander (2008), "Probing the Pareto frontier for basis pursuit
       solutions", SIAM Journal on Scientific Computing 31, 890-912.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import BPDN
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 100))
    >>> y = X[:, [7, 50]] @ [2.0, -1.0] + 0.1 * rng.normal(size=40)
    >>> model = BPDN(sigma=0.1 * np.sqrt(40), fit_intercept=False).fit(X, y)
    >>> bool(np.isclose(np.linalg.norm(y - model.predict(X)), 0.1 * np.sqrt(40), rtol=1e-10))
    True
    >>> again = BPDN(tau=model.tau_, fit_intercept=False).fit(X, y)
    >>> bool(np.allclose(again.coef_, model.coef_, atol=1e-10))
    True
    """

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        # a number, infinity too, or one a target: _levels says what is wrong
        "sigma": "no_validation",
        "tau": "no_validation",
        "fit_intercept": ["boolean"],
        **SOLVER_CONSTRAINTS,
    }

    def __init__(self, alpha=1.0, *, sigma=None, tau=None, fit_intercept=True, max_iter=10_000, tol=1e-6):
        self.alpha = alpha
        self.sigma = sigma
        self.tau = tau
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol

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
            Weights s_i >= 0; a row of weight k counts as k rows.

        Returns
        -------
        self : BPDN
            The fitted model.

        Raises
        ------
        ValueError
            If both ``sigma`` and ``tau`` are given, or sigma is below the residual norm of least
            squares.
        """
        if self.sigma is not None and self.tau is not None:
            raise ValueError(
                f"At most one of sigma and tau may be given; got sigma={self.sigma!r} and tau={self.tau!r}."
            )
        X, y, weights = self._validated(X, y, sample_weight)
        regression = _regression(X, as_matrix(y), weights, self.fit_intercept, 1)
        if self.sigma is None and self.tau is None and self.alpha > 0.0:
            alphas = alpha_grid([self.alpha], None, None, False, name="alpha")
            solutions, places, met = [regression.path(1.0, alphas, self.tol, self.max_iter)], [0], [True]
        else:
            # alpha = 0 is the end of the curve, where the l1 norm is as large as it gets
            name, level = ("sigma", self.sigma) if self.sigma is not None else ("tau", self.tau)
            level = np.inf if level is None else level
            levels = _levels(level, regression.n_targets, name)
            solutions, met = zip(
                *(
                    _at_level(regression, t, name, float(value), self.tol, self.max_iter)
                    for t, value in enumerate(levels)
                )
            )
            alphas, places = np.array([fit.alphas[0] for fit in solutions]), [0] * len(solutions)
        warn_unless_converged(solutions, regression.null_objective, self.tol, self.max_iter)
        for fit, bound_met in zip(solutions, met):
            if not bound_met:
                # the gap at some alpha says nothing of a bound that the solution misses
                fit.gaps[:] = np.inf
        return self._take(regression, solutions, places, alphas, X, y)


class BPDNCV(CrossValidationMixin, _Denoiser):
    """Basis pursuit denoising with the penalty chosen by cross-validation.

    Minimises the penalised form of `BPDN` on a grid of alphas, for all folds at once on one X
    that no fold copies, and fits the alpha chosen to all rows.

    Parameters
    ----------
    alphas : int or array-like of float, default=100
        Length of a geometric grid from the smallest alpha at which all coefficients are zero down
        to ``eps`` times that, or the grid itself.
    eps : float, default=1e-3
        Smallest alpha of the grid divided by the largest.
    selection_rule : {'min', '1se'}, default='min'
        Take the alpha with the smallest mean error, or the largest alpha whose mean error is
        within one standard error of that.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    cv : int, cross-validation generator or iterable, default=None
        Splitter, as in scikit-learn; None means five folds.
    max_iter : int, default=10000
        Largest number of linear systems solved for an alpha.
    tol : float, default=1e-6
        Bound on the duality gap divided by the objective at b = 0.
    n_jobs : int, default=None
        Threads that share the folds.
    verbose : bool or int, default=0
        Whether to print a line for each stage, with its time. With scikit-learn 1.9 or newer
        ``set_callbacks`` shows progress bars.

    Attributes
    ----------
    alpha_ : float
        The alpha chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The grid, decreasing.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Weighted mean squared error on the held-out rows, in squared units of y, averaged over
        targets.
    sigma_ : float or ndarray of shape (n_targets,)
        Residual norm of the fit on all rows.
    tau_ : float or ndarray of shape (n_targets,)
        l1 norm of its coefficients.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    dual_gap_ : float
        Duality gap of the fit on all rows, in units of the objective.
    relative_dual_gap_ : float
        Duality gap divided by the objective at b = 0.
    n_iter_ : int
        Number of inner iterations.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    BPDN : For a given level.
    GroupLassoCV : For groups of features.

    References
    ----------
    .. [1] Chen, Donoho & Saunders (1998), "Atomic decomposition by basis pursuit", SIAM Journal on
       Scientific Computing 20, 33-61, equation (5.1).

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import BPDNCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 100))
    >>> y = X[:, [7, 50]] @ [2.0, -1.0] + 0.1 * rng.normal(size=60)
    >>> model = BPDNCV(selection_rule="1se").fit(X, y)
    >>> bool(model.coef_[7] > 1.9), bool(model.coef_[50] < -0.9)
    (True, True)
    """

    _parameter_constraints: dict = {
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "selection_rule": [StrOptions({"min", "1se"})],
        "fit_intercept": ["boolean"],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        **SOLVER_CONSTRAINTS,
    }

    def __init__(
        self,
        *,
        alphas=100,
        eps=1e-3,
        selection_rule="min",
        fit_intercept=True,
        cv=None,
        max_iter=10_000,
        tol=1e-6,
        n_jobs=None,
        verbose=0,
    ):
        self.alphas = alphas
        self.eps = eps
        self.selection_rule = selection_rule
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, **params):
        """Choose alpha and fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0, in the fits and in the errors of held-out rows.
        **params : dict
            Parameters of the splitter's ``split``, such as ``groups``: row groups. Other names
            need metadata routing to be enabled.

        Returns
        -------
        self : BPDNCV
            The fitted model.

        Raises
        ------
        ValueError
            If a fold has no weight on its training or held-out rows.
        """
        splitter = self._splitter(sample_weight, params)
        n_points = self.alphas if isinstance(self.alphas, Integral) else np.size(self.alphas)
        X, y, weights = self._validated(X, y, sample_weight)
        regression = _regression(X, as_matrix(y), weights, self.fit_intercept, n_points)
        splits = self._splits(splitter, X, y, weights)
        grid = alpha_grid(self.alphas, self.eps, regression.alpha_max(1.0), False)
        progress = Progress(self, X, y, sample_weight, 2, self.verbose)
        with progress.stage(f"{len(splits)} folds, {len(grid)} penalties", len(splits)) as stage:
            solve = partial(regression.folds, [1.0], [grid], splits, self.tol, self.max_iter, self.n_jobs)
            folds = self._watched_folds(stage, len(splits), [grid], solve)[0]
        self.alphas_ = grid
        self.mse_path_ = np.array([regression.heldout_errors(fit, test) for fit, (_, test) in zip(folds, splits)]).T
        place = self._choose(self.mse_path_)
        alpha = float(grid[place])
        with progress.stage(f"fit to all rows, alpha = {alpha:.4g}"):
            final = regression.path(1.0, grid[place : place + 1], self.tol, self.max_iter)
        warn_unless_converged([*folds, final], regression.null_objective, self.tol, self.max_iter)
        self._take(regression, [final], [0], alpha, X, y)
        self.alpha_ = alpha
        progress.end()
        return self


class BasisPursuit(LinearModel):
    """The solution of linear equations with the smallest l1 norm.

    Solves

        min_b ||b||_1    subject to    b0 + x_i'b = y_i for every row i

    as the limit alpha -> 0 of `BPDN`, and certifies it by the dual,
    ``max_theta y'theta`` subject to ``|x_j'theta| <= 1`` (and ``sum(theta) = 0`` if there is an intercept).
    Several targets are solved one by one.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether the equations have an intercept b0, which costs nothing.
    feasibility_tol : float, default=1e-8
        Largest residual norm, relative to the norm of y (less its mean if there is an intercept), that counts
        as solving the equations. 1 accepts any y: the result is the least-squares solution of
        smallest l1 norm.
    max_iter : int, default=10000
        Largest number of linear systems solved for one alpha on the way.
    tol : float, default=1e-8
        Bound on the duality gap divided by the l1 norm.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients b.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept b0.
    tau_ : float or ndarray of shape (n_targets,)
        l1 norm of the coefficients.
    dual_coef_ : ndarray of shape (n_samples,) or (n_targets, n_samples)
        Dual solution theta, feasible up to rounding.
    dual_gap_ : float
        l1 norm minus dual objective, in units of the coefficients, summed over targets.
    relative_dual_gap_ : float
        Duality gap divided by the l1 norm.
    n_iter_ : int
        Number of inner iterations.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    BPDN : With a bound on the residual, for data with noise.

    References
    ----------
    .. [1] Chen, Donoho & Saunders (1998), "Atomic decomposition by basis pursuit", SIAM Journal on
       Scientific Computing 20, 33-61, equation (3.1).

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import BasisPursuit
    >>> X = np.random.default_rng(0).normal(size=(20, 50))
    >>> model = BasisPursuit(fit_intercept=False).fit(X, X[:, [3, 30]] @ [1.0, -2.0])
    >>> np.flatnonzero(model.coef_.round(8)), round(model.tau_, 6)
    (array([ 3, 30]), 3.0)
    """

    _parameter_constraints: dict = {
        "fit_intercept": ["boolean"],
        "feasibility_tol": [Interval(Real, 0, 1, closed="both")],
        **SOLVER_CONSTRAINTS,
    }

    def __init__(self, *, fit_intercept=True, feasibility_tol=1e-8, max_iter=10_000, tol=1e-8):
        self.fit_intercept = fit_intercept
        self.feasibility_tol = feasibility_tol
        self.max_iter = max_iter
        self.tol = tol

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Solve the equations.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features: a row for each equation.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Right-hand sides.

        Returns
        -------
        self : BasisPursuit
            The fitted model.

        Raises
        ------
        ValueError
            If no b solves the equations to within ``feasibility_tol``.
        """
        X, y, weights = self._validated(X, y, None)
        regression = _regression(X, as_matrix(y), weights, self.fit_intercept, 1)
        T, n = regression.n_targets, len(weights)
        coef, intercept = np.zeros((X.shape[1], T)), np.zeros(T)
        theta, gaps, norms, n_iters = np.zeros((T, n)), np.zeros(T), np.zeros(T), np.ones(T, dtype=int)
        for t in range(T):
            one = regression.of_target(t)
            curve = ParetoCurve(one, self.tol, self.max_iter)
            if one.null_objective == 0.0:
                intercept[t] = one.path(1.0, np.array([np.inf]), self.tol, self.max_iter).intercepts[0, 0]
                continue
            point = curve.limit() if curve.alpha_max > 0.0 else None
            relative = 1.0
            if point is not None:
                relative = point.segment.residual_norm(0.0) / np.sqrt(2.0 * one.rows.null_objective)
            if relative >= 1.0 - ROUNDING**2:
                # orthogonal to the columns, but for rounding
                self._check_feasible(1.0, t if T > 1 else None)
                intercept[t] = one.path(1.0, np.array([np.inf]), self.tol, self.max_iter).intercepts[0, 0]
                continue
            if relative > self.feasibility_tol:
                if not (point.limit and point.reached):
                    relative = curve.least_residual_norm() / np.sqrt(2.0 * one.rows.null_objective)
                self._check_feasible(relative, t if T > 1 else None)
            solutions = _solutions(one, curve, [(point.segment, 0.0)], [0.0])
            coef[:, t], intercept[t] = solutions.coefs_at(0)[:, 0], solutions.intercepts[0, 0]
            theta[t], value = curve.dual_of_limit(point)
            n_iters[t] = point.n_iter
            norms[t] = np.abs(coef[:, t]).sum()
            gaps[t] = max(norms[t] - value * one.scale, 0.0)
        self.dual_gap_ = float(gaps.sum())
        self.relative_dual_gap_ = self.dual_gap_ / norms.sum() if norms.any() else 0.0
        if self.relative_dual_gap_ > self.tol:
            warnings.warn(
                f"The duality gap relative to the l1 norm is {self.relative_dual_gap_:.3g}, above tol={self.tol:g}. "
                f"Increase max_iter (now {self.max_iter}) or tol, or look for nearly collinear columns.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.n_iter_ = int(n_iters.max())
        self.tau_ = float(norms[0]) if y.ndim == 1 else norms
        self.dual_coef_ = theta[0] if y.ndim == 1 else theta
        self._set_linear(coef, intercept, X, y)
        return self

    def _check_feasible(self, relative, t):
        if relative > self.feasibility_tol and self.feasibility_tol < 1.0:
            which = "y" if t is None else f"target {t} of y"
            raise ValueError(
                f"{which} must be a combination of the columns of X; the nearest one leaves a residual of "
                f"{relative:.3g} times its norm, feasibility_tol={self.feasibility_tol:g}. BPDN(sigma=...) allows for "
                "noise."
            )


def _regression(X, Y, weights, fit_intercept, n_points):
    p = X.shape[1]
    penalty = BlockPenalty(np.arange(p), np.arange(p + 1), np.ones(p), l1_ratio=1.0)
    return Regression(X, Y, weights, penalty, fit_intercept, n_points)


def _solutions(regression, curve, points, alphas):
    """Certified solutions, in the units of the data, from pairs (segment, alpha) in scaled units."""
    result = curve.certify(points, alphas)
    alphas = np.asarray(alphas) * regression.scale
    return Solutions(regression, regression.problem(), curve.penalty, result, regression.v, alphas)


def _zero(regression, alpha):
    """The solution zero, which is that for alpha and above."""
    result = PathResult(np.empty(0, dtype=np.intp), [np.zeros((0, 1))], np.zeros(1), np.ones(1, int), np.ones(1, bool))
    return Solutions(regression, regression.problem(), regression.penalty, result, regression.v, np.array([alpha]))


def _levels(level, n_targets, name):
    """A bound for each target."""
    try:
        levels = np.asarray(level, dtype=np.float64)
    except (TypeError, ValueError):
        levels = np.full(2, np.nan)
    if levels.ndim > 1 or levels.size not in (1, n_targets) or not np.all(levels >= 0.0):
        raise ValueError(f"{name} must be a number >= 0, or one for each of {n_targets} targets; got {level!r}.")
    return np.broadcast_to(levels, n_targets)


def _at_level(regression, t, name, level, tol, max_iter):
    """The solution for one target that meets a bound, and whether it does."""
    one = regression.of_target(t)
    y_norm = one.scale * np.sqrt(2.0 * one.rows.null_objective * one.weights.sum())
    curve = ParetoCurve(one, tol, max_iter)
    if name == "sigma" and level < y_norm * (1.0 - ROUNDING) and curve.alpha_max == 0.0:
        _raise_infeasible(level, y_norm)
    if curve.alpha_max == 0.0 or (level >= y_norm * (1.0 - 1e-14) if name == "sigma" else level == 0.0):
        return _zero(one, one.alpha_max(1.0)), True
    if name == "sigma":
        unit = one.scale * np.sqrt(one.weights.sum())
        point = curve.at_residual_norm(level / unit)
        if point.limit and point.segment.residual_norm(0.0) * unit - level > ROUNDING * y_norm:
            least = curve.least_residual_norm() * unit
            if least - level > ROUNDING * y_norm:
                _raise_infeasible(level, least)
            point.reached = False
    else:
        point = curve.at_l1_norm(level / one.scale)
    solutions = _solutions(one, curve, [(point.segment, point.alpha)], [point.alpha])
    solutions.n_iters[:] = point.n_iter
    if not point.reached:
        reached = solutions.residual_norms()[0, 0] if name == "sigma" else np.abs(solutions.values).sum()
        warnings.warn(
            f"{name}={level:g} was not reached, but {reached:g}: increase max_iter (now {max_iter}), or look for "
            "nearly collinear columns.",
            ConvergenceWarning,
            stacklevel=5,
        )
    return solutions, point.reached


def _raise_infeasible(level, least):
    raise ValueError(f"sigma must be at least the residual norm of least squares, {least:.6g}; got {level!r}.")


def _knots(regression, eps, tol, max_iter):
    """The knots and the solutions there, from the largest alpha to ``eps`` times that."""
    curve = ParetoCurve(regression, tol, max_iter)
    if curve.alpha_max == 0.0:
        return _zero(regression, 0.0)
    pieces, complete = curve.knots(eps * curve.alpha_max)
    if not complete:
        warnings.warn(
            "Some knots are missing: nearly collinear columns, or too few iterations "
            f"(max_iter={max_iter}), keep the supports between from being told.",
            ConvergenceWarning,
            stacklevel=4,
        )
    if not pieces:
        return _zero(regression, regression.alpha_max(1.0))
    first = pieces[0][2]
    points, alphas = [(first, curve.alpha_max)], [curve.alpha_max]
    points += [(segment, low) for _, low, segment in pieces]
    alphas += [low for _, low, _ in pieces]
    return _solutions(regression, curve, points, alphas)
