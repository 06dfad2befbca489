"""The preconditioned Lasso: signed supports where correlated columns lead the Lasso astray."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy.linalg import svd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from ._engine.folds import Regression
from ._groups import resolve_groups
from ._sklearn_compat import Interval, StrOptions, _fit_context, validate_params
from ._weights import check_weights

KINDS = ("puffer", "hj", "pbht")
# Columns that weigh less than this beside the largest singular value are noise to it.
RCOND = 1e-8

CONSTRAINTS = {
    "preconditioner": [StrOptions(set(KINDS)), callable],
    "n_components": [Interval(Integral, 1, None, closed="left"), None],
    "rcond": [Interval(Real, 0, 1, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
}


@validate_params(
    {
        "X": ["array-like"],
        "kind": [StrOptions(set(KINDS))],
        "n_components": CONSTRAINTS["n_components"],
        "rcond": CONSTRAINTS["rcond"],
    },
    prefer_skip_nested_validation=True,
)
def preconditioner(X, kind="puffer", *, n_components=None, rcond=1e-8):
    """Compute the matrices P_X and P_y of a preconditioned Lasso.

    With the singular value decomposition ``X = U D V'``, and U_A the directions of the
    ``n_components`` largest singular values:

    - 'puffer': ``P_X = P_y = U D^-1 U'`` (Jia and Rohe), so that ``P_X X = U V'`` has singular values 1;
    - 'hj': ``P_X = P_y = I - U_A U_A'`` (Huang and Jojic), which removes common factors;
    - 'pbht': ``P_X = I, P_y = U_A U_A'`` (Paul, Bair, Hastie and Tibshirani), which denoises y.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features. They are not centred here.
    kind : {'puffer', 'hj', 'pbht'}, default='puffer'
        The preconditioner.
    n_components : int, default=None
        Number of directions in A; for 'puffer' the number that are kept. None keeps all for
        'puffer', and else takes as many as come before the largest ratio of consecutive
        singular values, among the first half (the eigenvalue ratio estimate of the number of
        factors).
    rcond : float, default=1e-8
        Singular values up to this share of the largest count as zero.

    Returns
    -------
    P_X : ndarray of shape (n_samples, n_samples)
        What multiplies X.
    P_y : ndarray of shape (n_samples, n_samples)
        What multiplies y.

    Raises
    ------
    ValueError
        If ``n_components`` exceeds the rank of X.

    References
    ----------
    .. [1] Wauthier, Jojic & Jordan (2013), "A comparative framework for preconditioned Lasso
       algorithms", Advances in Neural Information Processing Systems 26, section 2.
    .. [2] Jia & Rohe (2015), "Preconditioning the Lasso for sign consistency", Electronic Journal of
       Statistics 9, 1150-1172.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import preconditioner
    >>> X = np.random.default_rng(0).normal(size=(5, 3))
    >>> P_X, P_y = preconditioner(X, "puffer")
    >>> np.round(np.linalg.svd(P_X @ X)[1], 12)
    array([1., 1., 1.])
    """
    X = check_array(X, dtype=np.float64, input_name="X")
    U, d, _ = _truncated_svd(X, rcond)
    k = _n_components(n_components, d, kind)
    if kind == "puffer":
        P = (U[:, :k] / d[:k]) @ U[:, :k].T
        return P, P.copy()
    top = U[:, :k] @ U[:, :k].T
    identity = np.eye(len(X))
    return (identity - top, identity - top) if kind == "hj" else (identity, top)


@validate_params(
    {
        **CONSTRAINTS,
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "fit_intercept": ["boolean"],
        "return_intercepts": ["boolean"],
        "return_n_iter": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def preconditioned_lasso_path(
    X,
    y,
    *,
    preconditioner="puffer",
    n_components=None,
    rcond=1e-8,
    alphas=100,
    eps=1e-3,
    sample_weight=None,
    fit_intercept=False,
    max_iter=10_000,
    tol=1e-6,
    return_intercepts=False,
    return_n_iter=False,
):
    """Compute the path of the preconditioned Lasso with a duality gap at every point.

    Minimises, for each alpha of a grid, the objective of `PreconditionedLasso`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features.
    y : array-like of shape (n_samples,)
        Response.
    preconditioner : {'puffer', 'hj', 'pbht'} or callable, default='puffer'
        The preconditioner; see `PreconditionedLasso`.
    n_components : int, default=None
        Number of singular directions; see `preconditioner`.
    rcond : float, default=1e-8
        Singular values up to this share of the largest count as zero.
    alphas : int or array-like of float, default=100
        Length of a geometric grid from the smallest alpha at which all coefficients are zero down
        to ``eps`` times that, or the grid itself.
    eps : float, default=1e-3
        Smallest alpha of the grid divided by the largest.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0. Their scale does not matter.
    fit_intercept : bool, default=False
        Whether to centre X and y, which is done before preconditioning.
    max_iter : int, default=10000
        Largest number of inner iterations for an alpha.
    tol : float, default=1e-6
        Bound on the duality gap divided by the objective at zero.
    return_intercepts : bool, default=False
        Whether to return the intercepts.
    return_n_iter : bool, default=False
        Whether to return the numbers of inner iterations.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,)
        The grid, decreasing.
    coefs : ndarray of shape (n_features, n_alphas)
        Coefficients along the path.
    dual_gaps : ndarray of shape (n_alphas,)
        Duality gaps, in units of the objective.
    intercepts : ndarray of shape (n_alphas,)
        Intercepts, if ``return_intercepts`` is set.
    n_iters : ndarray of shape (n_alphas,)
        Inner iterations for each alpha, if ``return_n_iter`` is set.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> from skspar import preconditioned_lasso_path
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(50, 20, n_informative=3, random_state=0)
    >>> alphas, coefs, dual_gaps = preconditioned_lasso_path(X, y, alphas=10)
    >>> coefs.shape
    (20, 10)
    """
    X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim != 1:
        raise ValueError(f"y must have one dimension; got shape {y.shape}.")
    check_consistent_length(X, y)
    weights = check_weights(sample_weight, X)
    prepared = _prepare(X, y, weights, preconditioner, n_components, rcond, fit_intercept)
    n_points = alphas if isinstance(alphas, Integral) else np.size(alphas)
    regression = _lasso(prepared, n_points)
    grid = _alpha_grid(alphas, eps, regression.alpha_max(0.0))
    solutions = regression.path(0.0, grid, tol, max_iter)
    _warn_unless_converged(solutions, regression.null_objective, tol, max_iter)
    coefs = solutions.path_coefs()[0]
    out = grid, coefs.astype(X.dtype), solutions.gaps
    if return_intercepts:
        out += (prepared.y_mean - prepared.x_mean @ coefs,)
    if return_n_iter:
        out += (solutions.n_iters,)
    return out


class PreconditionedLasso(RegressorMixin, BaseEstimator):
    """Lasso on a preconditioned design and response.

    Minimises

        1/2 ||P_y S (y - b0) - P_X S X b||^2 + alpha ||b||_1,    S = diag(s_i / sum(s))^(1/2)

    with sample weights s (S^2 is ``1 / n`` without), columns of X and y centred first if an
    intercept b0 is fitted, and P_X, P_y computed from S X by `preconditioner`. With both the
    identity it is the Lasso. For 'puffer' the columns of P_X S X are as uncorrelated as can be,
    so that the signs of b are recovered for many designs that violate the Lasso's irrepresentable
    condition; the price is noise that is inflated along small singular values.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty; for 'puffer' in units of the coefficients.
    preconditioner : {'puffer', 'hj', 'pbht'} or callable, default='puffer'
        The preconditioner, or a function that is called with S X (centred) and returns P_X and
        P_y, of shape (anything, n_samples) both.
    n_components : int, default=None
        Number of singular directions; see `preconditioner`.
    rcond : float, default=1e-8
        Singular values up to this share of the largest count as zero.
    fit_intercept : bool, default=True
        Whether to fit the intercept b0.
    max_iter : int, default=10000
        Largest number of inner iterations.
    tol : float, default=1e-6
        Bound on ``relative_dual_gap_``.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients b.
    intercept_ : float
        Intercept b0.
    irrepresentable_ : float
        ``max_j |x_j' X_A (X_A' X_A)^-1 sign(b_A)|`` over columns outside the support A of ``coef_``,
        of the preconditioned design: below 1 the support can be that of a Lasso without noise.
        See `irrepresentability`.
    noise_inflation_ : float
        Ratio of noise to signal after preconditioning over that before: with the mean squared
        norms that P_y gives to the directions of the column space, and P_X S X to the features;
        for 'puffer' ``mean(d^2) mean(d^-2)`` over the singular values d that are kept.
    dual_gap_ : float
        Duality gap, in units of the objective.
    relative_dual_gap_ : float
        Duality gap divided by the objective at b = 0 (of the part of P_y y that X can reach).
    n_iter_ : int
        Number of inner iterations.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    preconditioned_lasso_path : The path without an estimator.
    signed_support_bounds : Penalties at which a Lasso recovers given signs.

    References
    ----------
    .. [1] Wauthier, Jojic & Jordan (2013), "A comparative framework for preconditioned Lasso
       algorithms", Advances in Neural Information Processing Systems 26.
    .. [2] Jia & Rohe (2015), "Preconditioning the Lasso for sign consistency", Electronic Journal of
       Statistics 9, 1150-1172.
    .. [3] Huang & Jojic (2011), "Variable selection through correlation sifting", RECOMB, 106-123.
    .. [4] Paul, Bair, Hastie & Tibshirani (2008), "Preconditioning for feature selection and regression in
       high-dimensional problems", Annals of Statistics 36, 1595-1618.

    Examples
    --------
    >>> from skspar import PreconditionedLasso
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(50, 20, n_informative=3, random_state=0)
    >>> int((PreconditionedLasso(alpha=5.0).fit(X, y).coef_ != 0).sum())
    3
    """

    _parameter_constraints: dict = {
        **CONSTRAINTS,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
    }

    path = staticmethod(preconditioned_lasso_path)

    def __init__(
        self,
        alpha=1.0,
        *,
        preconditioner="puffer",
        n_components=None,
        rcond=1e-8,
        fit_intercept=True,
        max_iter=10_000,
        tol=1e-6,
    ):
        self.alpha = alpha
        self.preconditioner = preconditioner
        self.n_components = n_components
        self.rcond = rcond
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # the others leave out directions of X or y on purpose
        tags.regressor_tags.poor_score = self.preconditioner != "puffer"
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0; their scale does not matter.

        Returns
        -------
        self : PreconditionedLasso
            The fitted model.

        Raises
        ------
        ValueError
            If ``n_components`` exceeds the rank of X, or a callable returns other than two
            matrices with a column for each row of X.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        weights = check_weights(sample_weight, X)
        prepared = _prepare(X, y, weights, self.preconditioner, self.n_components, self.rcond, self.fit_intercept)
        regression = _lasso(prepared, 1)
        solutions = regression.path(0.0, np.array([float(self.alpha)]), self.tol, self.max_iter)
        null = regression.null_objective
        _warn_unless_converged(solutions, null, self.tol, self.max_iter)
        coef = solutions.coefs_at(0)[:, 0]
        self.coef_ = coef.astype(X.dtype)
        self.intercept_ = X.dtype.type(prepared.y_mean - prepared.x_mean @ coef) if self.fit_intercept else 0.0
        self.irrepresentable_ = irrepresentability(prepared.X, coef)
        self.noise_inflation_ = prepared.noise_inflation
        self.dual_gap_ = float(solutions.gaps[0])
        self.relative_dual_gap_ = self.dual_gap_ / null if null > 0.0 else 0.0
        self.n_iter_ = int(solutions.n_iters[0])
        return self

    def predict(self, X):
        """Predict with the linear model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted values, ``X @ coef_ + intercept_``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_ + self.intercept_


def irrepresentability(X, coef):
    """Compute the left side of the irrepresentable condition.

    With A the support of ``coef``, ``max_j |x_j' X_A (X_A' X_A)^-1 sign(coef_A)|`` over the columns j
    outside A. Without noise, a value above 1 excludes that the Lasso finds these signs at any
    alpha, a value below 1 makes sure that it does for all small ones.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The design, preconditioned and centred where the Lasso's is.
    coef : array-like of shape (n_features,)
        Coefficients.

    Returns
    -------
    value : float
        The maximum; 0 where the support is empty or everything, infinite where the columns of the
        support are linearly dependent.

    References
    ----------
    .. [1] Zhao & Yu (2006), "On model selection consistency of Lasso", Journal of Machine Learning
       Research 7, 2541-2563.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import irrepresentability
    >>> X = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]])
    >>> round(irrepresentability(X, [1.0, 1.0, 0.0]), 12)
    1.2
    """
    X = check_array(X, dtype=np.float64, input_name="X", ensure_min_features=0, ensure_min_samples=0)
    coef = np.asarray(coef, dtype=np.float64)
    support = coef != 0.0
    if not support.any() or support.all():
        return 0.0
    A = X[:, support]
    if np.linalg.matrix_rank(A) < A.shape[1]:
        return np.inf
    # the direction on which all of the support has correlation sign(b)
    direction = np.linalg.lstsq(A.T, np.sign(coef[support]), rcond=None)[0]
    return float(np.abs(X[:, ~support].T @ direction).max())


def signed_support_bounds(X, coef, noise):
    """Compute the penalties at which the Lasso recovers given signs.

    For ``y = X coef + noise``, the minimiser of ``1/2 ||y - X b||^2 + lambda ||b||_1`` is unique and has the
    signs of ``coef`` if the irrepresentable condition holds (`irrepresentability` below 1) and
    ``lambda_l < lambda < lambda_u``. With A the support, ``G = (X_A' X_A)^-1``, ``mu_j = x_j' X_A G sign(coef_A)``,
    ``eta_j = x_j' (I - X_A G X_A') noise``, ``g = G sign(coef_A)`` and ``e = G X_A' noise``:

    - lambda_l is the largest of ``eta_j / (sign(eta_j) - mu_j)`` over columns j outside A;
    - lambda_u is the smallest of ``(coef_i + e_i) / g_i`` over i in A with g_i of the sign of coef_i; zero where
      ``coef_i + e_i`` has the wrong sign although g_i has the right one. A coefficient of the other
      sign is a lower bound.

    For a preconditioned Lasso X is ``P_X X`` and noise ``P_y y - P_X X coef``.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The design.
    coef : array-like of shape (n_features,)
        True coefficients.
    noise : array-like of shape (n_samples,)
        Noise of the response.

    Returns
    -------
    lambda_l : float
        Lower bound, infinite where no penalty recovers the signs.
    lambda_u : float
        Upper bound.

    References
    ----------
    .. [1] Wauthier, Jojic & Jordan (2013), "A comparative framework for preconditioned Lasso
       algorithms", Advances in Neural Information Processing Systems 26, lemma 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import signed_support_bounds
    >>> low, high = signed_support_bounds(np.eye(3), [2.0, 0.0, 0.0], [0.1, -0.2, 0.3])
    >>> round(low, 12), round(high, 12)
    (0.3, 2.1)
    """
    X = check_array(X, dtype=np.float64, input_name="X")
    coef, noise = np.asarray(coef, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    if coef.shape != X.shape[1:] or noise.shape != X.shape[:1]:
        raise ValueError(
            f"coef must have {X.shape[1]} entries and noise {X.shape[0]}; got shapes {coef.shape} and {noise.shape}."
        )
    support = coef != 0.0
    A, others, sign = X[:, support], X[:, ~support], np.sign(coef[support])
    if np.linalg.matrix_rank(A) < A.shape[1]:
        return np.inf, 0.0
    G = np.linalg.inv(A.T @ A) if A.shape[1] else np.empty((0, 0))
    g, e = G @ sign, G @ (A.T @ noise)
    mu, eta = others.T @ (A @ g), others.T @ (noise - A @ e)
    if np.any(np.abs(mu) >= 1.0):
        return np.inf, 0.0
    low = float(np.max(eta / (np.where(eta >= 0.0, 1.0, -1.0) - mu), initial=0.0))
    high = np.inf
    for fitted, pull in zip(sign * (coef[support] + e), sign * g):
        if pull > 0.0:
            high = min(high, max(fitted / pull, 0.0))
        elif fitted <= 0.0:
            low = max(low, fitted / pull if pull < 0.0 else np.inf)
    return low, float(high)


# Preparation


@dataclass
class _Prepared:
    """``1/2 ||y - X b||^2 + alpha ||b||_1`` is to be minimised; the rows are rotated, so that there are few."""

    X: np.ndarray
    y: np.ndarray
    x_mean: np.ndarray
    y_mean: float
    noise_inflation: float


def _prepare(X, y, weights, kind, n_components, rcond, centre):
    v = weights / weights.sum()
    X = np.asarray(X, dtype=np.float64)
    x_mean, y_mean = np.zeros(X.shape[1]), 0.0
    if centre:
        x_mean, y_mean = v @ X, float(v @ y)
        X = X - x_mean
        y = y - y_mean
        # a constant column is zero, not its rounding
        X[:, np.abs(X[v > 0.0]).max(axis=0) <= 8.0 * np.finfo(np.float64).eps * np.abs(x_mean)] = 0.0
    root = np.sqrt(v)
    A, z = root[:, None] * X, root * y
    U, d, Vt = _truncated_svd(A, rcond)
    if callable(kind):
        try:
            P_X, P_y = (np.asarray(P, dtype=np.float64) for P in kind(A))
        except (TypeError, ValueError) as error:
            raise ValueError(f"preconditioner must return two matrices, P_X and P_y; {error}") from error
        if P_X.ndim != 2 or P_X.shape[1] != len(A) or P_X.shape != P_y.shape:
            raise ValueError(
                f"preconditioner must return two matrices of the same shape with {len(A)} columns; got shapes "
                f"{P_X.shape} and {P_y.shape}."
            )
        A, z = P_X @ A, P_y @ z
        passed = np.sum((P_y @ U) ** 2)
    else:
        k = _n_components(n_components, d, kind)
        rotated = U.T @ z
        if kind == "puffer":
            A, z, passed = Vt[:k], rotated[:k] / d[:k], np.sum(d[:k] ** -2.0)
            d = d[:k]
        elif kind == "hj":
            A, z, passed = d[k:, None] * Vt[k:], rotated[k:], len(d) - k
        else:
            rotated[k:] = 0.0
            A, z, passed = d[:, None] * Vt, rotated, k
    signal = np.sum(A**2)
    inflation = (passed / signal) / (len(d) / np.sum(d**2)) if signal > 0.0 else 1.0
    return _Prepared(A, z, x_mean, y_mean, float(inflation))


def _truncated_svd(X, rcond):
    U, d, Vt = svd(X, full_matrices=False, check_finite=False)
    rank = int(np.sum(d > rcond * d.max(initial=0.0)))
    return U[:, :rank], d[:rank], Vt[:rank]


def _n_components(n_components, d, kind):
    """How many singular directions are meant."""
    if n_components is not None:
        if n_components > max(len(d), 1):
            raise ValueError(f"n_components must be at most the rank of X (centred), {len(d)}; got {n_components}.")
        return min(int(n_components), len(d))
    if kind == "puffer" or len(d) < 2:
        return len(d) if kind != "hj" else 0
    half = max(1, len(d) // 2)
    return 1 + int(np.argmax(d[:half] / d[1 : half + 1]))


def _lasso(prepared, n_points):
    """The engine's problem; it averages over rows, so they are scaled by the root of their number."""
    X, y = prepared.X, prepared.y
    if len(X) == 0:
        X, y = np.zeros((1, X.shape[1])), np.zeros(1)
    n = len(X)
    penalty = resolve_groups(None, None, X.shape[1], None, "error", "error").penalty(0.0, False)
    return Regression(np.sqrt(n) * X, np.sqrt(n) * y[:, None], np.ones(n), penalty, False, n_points)


def _alpha_grid(alphas, eps, alpha_max):
    if isinstance(alphas, Integral):
        if alpha_max <= 0.0:
            return np.full(alphas, np.finfo(np.float64).resolution)
        grid = alpha_max * np.geomspace(1.0, eps, alphas)
        grid[0] = alpha_max
        return grid
    grid = np.sort(np.asarray(alphas, dtype=np.float64))[::-1].copy()
    if grid.ndim != 1 or len(grid) == 0 or not np.all(np.isfinite(grid)) or grid[-1] < 0.0:
        raise ValueError(f"alphas must be an integer >= 1 or a 1-d array of finite numbers >= 0; got {alphas!r}.")
    return grid


def _warn_unless_converged(solutions, null_objective, tol, max_iter):
    missed = int((~solutions.converged).sum())
    if missed == 0:
        return
    gap = float(solutions.gaps[~solutions.converged].max())
    relative = gap / null_objective if null_objective > 0.0 else 0.0
    warnings.warn(
        f"{missed} of {len(solutions.converged)} fits did not reach tol={tol:g}: the largest duality gap is {gap:.3g}, "
        f"{relative:.3g} times the null objective. Increase max_iter (now {max_iter}) or tol, or avoid very "
        "small alphas.",
        ConvergenceWarning,
        stacklevel=3,
    )
