"""Split linearised Bregman iteration: paths, the inverse scale space limit, regressor, classifier, early stopping."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Bunch, ClassifierTags, RegressorTags, check_array, check_consistent_length, column_or_1d
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._cross_validation import CrossValidationMixin
from ._engine.inverse_scale_space import inverse_scale_space
from ._engine.threads import blas_threads, threads
from ._progress import Progress
from ._sklearn_compat import (
    Interval,
    StrOptions,
    _fit_context,
    _get_feature_names,
    validate_params,
)
from ._split_problem import SplitProblem, check_finite, check_path_y, check_times

PATH_CONSTRAINTS = {
    "nu": [Interval(Real, 0, None, closed="neither"), None],
    # an operator or a name; _operator says what is wrong with it
    "D": "no_validation",
    "kappa": [Interval(Real, 0, None, closed="neither")],
    "kappa_units": [StrOptions({"initial", "raw"})],
    "t_ratio": [Interval(Real, 1, None, closed="neither")],
    "n_times": [Interval(Integral, 2, None, closed="left")],
    # any kind of object may be meant; resolve_groups says what is wrong with it
    "groups": "no_validation",
    "fit_intercept": ["boolean"],
    "step": [Interval(Real, 0, None, closed="neither"), None],
    "start": [StrOptions({"zero", "first_entry"})],
    "max_steps": [Interval(Integral, 1, None, closed="left")],
}
ESTIMATOR_CONSTRAINTS = {**PATH_CONSTRAINTS, "estimate": [StrOptions({"sparse", "dense"})]}


@validate_params(
    {"loss": [StrOptions({"squared", "logistic", "multinomial"})]} | PATH_CONSTRAINTS,
    prefer_skip_nested_validation=True,
)
def split_lbi_path(
    X,
    y,
    *,
    D=None,
    nu=1.0,
    kappa=50.0,
    kappa_units="initial",
    t_ratio=100.0,
    n_times=100,
    loss="squared",
    groups=None,
    fit_intercept=True,
    sample_weight=None,
    step=None,
    start="zero",
    max_steps=10_000_000,
):
    """Compute the path of the split linearised Bregman iteration.

    With a loss L of the coefficients b and sparse variables gamma close to D b, the recursion

        b_new = b - kappa * step * (grad L(b) + D'(D b - gamma) / nu)
        z <- z - step * (gamma - D b) / nu
        gamma <- kappa * prox(z),    b <- b_new

    runs from zero. ``prox`` takes every entry of z by one towards zero, or with ``groups`` every
    group's norm. L is ``1/2 sum_i v_i (y_i - b0 - x_i'b)^2``, or the logistic loss with the same
    weights ``v_i = s_i / sum(s)`` (sample weights s, that is ``1 / n`` without); the intercept b0
    is at every step the best one for b. Entries of gamma become nonzero one after the other, the
    strongest first, and are then hardly biased: where to stop takes the place of a penalty.

    With ``nu=None`` the iteration is the plain one, the limit nu -> 0 for D the identity:
    ``z <- z - step * grad L(b)``, ``b <- kappa * prox(z)``.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features. Put them on comparable scales: the number of steps grows with the squared norm
        of X, and the order of entry depends on the units.
    y : array-like of shape (n_samples,)
        Response, or class labels for the logistic losses.
    D : None, 'fused', 'fused+identity', edges, array, sparse matrix or LinearOperator, default=None
        Which combinations D b of the coefficients are to be sparse:

        - None: the coefficients themselves;
        - 'fused': the differences of neighbours, ``b[i + 1] - b[i]``;
        - 'fused+identity': these, then the coefficients themselves;
        - edges, a sequence of pairs or an integer array of shape (n_edges, 2): the difference
          ``b[j] - b[i]`` for each edge (i, j) of a graph on the features;
        - a matrix of shape (n_rows, n_features): floating point array, sparse matrix such as an
          incidence matrix, or LinearOperator (its entries are computed once).
    nu : float or None, default=1.0
        How far D b may be from gamma, in units of inverse squared features. Larger nu tells
        relevant features from irrelevant ones more easily when they are correlated, and takes
        more steps. None is the plain iteration, for D=None only.
    kappa : float, default=50.0
        Damping. Bias and the path's difference from the limit kappa -> infinity
        (`inverse_scale_space_path`) fall like 1 / kappa, the number of steps grows with kappa.
    kappa_units : {'initial', 'raw'}, default='initial'
        Units of kappa. With 'initial' they are those of the largest entry (group norm) of D b for
        the b that minimises L(b) + ||D b||^2 / (2 nu), or for ``nu=None`` of the largest
        coefficient of one exact steepest descent step, so that the path does not depend on the
        units of y. 'raw', the literature's, are the units of the coefficients.
    t_ratio : float, default=100.0
        Last time divided by the first.
    n_times : int, default=100
        Number of times, on a geometric grid from ``1 / ||D b||`` times nu for the b above (for
        ``nu=None`` from one over the largest entry of the gradient at zero): when, but for
        the damping, the first entry becomes nonzero.
    loss : {'squared', 'logistic', 'multinomial'}, default='squared'
        Loss.
    groups : None, int, array-like, list, mapping or callable, default=None
        Which rows of D (features, where D is None) become nonzero together: an array with a label
        for each, an int for consecutive rows, or lists of rows; rows in no list are their own.
        Of several classes a group takes all columns; without groups every entry is its own.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0. Their scale does not matter.
    step : float, default=None
        Step in time. None takes ``1 / (kappa * bound)`` with the bound
        ``c ||X||^2 + (1 + ||D||^2) / nu`` of the Hessian, c = 1, 1/4 or 1/2 for the three losses
        and the norm that of the weighted, centred X, which is half of what is stable; or less, so
        that no two times of the grid fall on one step.
    start : {'zero', 'first_entry'}, default='zero'
        Whether to begin with b = z = gamma = 0 at time zero, or at the first time of the grid with
        the b that minimises L(b) + ||D b||^2 / (2 nu) and its z (not for ``nu=None``, where b
        starts from zero).
    max_steps : int, default=10000000
        Largest number of steps; a path that would take more is refused.

    Returns
    -------
    path : Bunch
        With the fields (K classes of the multinomial loss; one column otherwise)

        - times, of shape (n_times,): increasing, in units of one over the gradient of L;
        - coefs, of shape (n_features, n_times) or (K, n_features, n_times): b;
        - gammas, of shape (n_rows, n_times) or (K, n_rows, n_times): gamma;
        - coefs_sparse, like coefs: b projected on the coefficients with D b = 0 wherever
          gamma is 0 (with ``nu=None`` b, gamma and this are one array);
        - intercepts and intercepts_sparse, of shape (n_times,) or (K, n_times): best intercepts
          of both;
        - first_entry, of shape (n_rows,): the time of the first step at which gamma has a nonzero
          entry in this row, infinite if it never has;
        - kappa, in raw units, and step;
        - n_steps, of shape (n_times,): how many steps were taken up to each time;
        - classes: the labels in the order of K, for the logistic losses.

    Raises
    ------
    ValueError
        If a parameter is out of its range, D does not fit X, the step is not stable, the path
        takes more than ``max_steps`` steps, or y has a single class.

    See Also
    --------
    inverse_scale_space_path : The limit of infinite kappa.
    SplitLBI : The estimator.

    References
    ----------
    .. [1] Huang, Sun, Xiong & Yao (2016), "Split LBI: an iterative regularization path with
       structural sparsity", Advances in Neural Information Processing Systems 29,
       equations (1.4).
    .. [2] Huang, Sun, Xiong & Yao (2020), "Boosting with structural sparsity: a differential
       inclusion approach", Applied and Computational Harmonic Analysis 48, 1-45.
    .. [3] Osher, Ruan, Xiong, Yao & Yin (2016), "Sparse recovery via differential inclusions",
       Applied and Computational Harmonic Analysis 41, 436-469.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import split_lbi_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 10))
    >>> y = X[:, :5] @ np.full(5, 2.0) + rng.normal(size=80)
    >>> path = split_lbi_path(X, y, D="fused")
    >>> path.coefs.shape, path.gammas.shape
    ((10, 100), (9, 100))
    >>> int(np.argmin(path.first_entry))
    4
    """
    names = _get_feature_names(X)
    X = check_array(X, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32], input_name="X")
    y = check_path_y(y, loss)
    check_consistent_length(X, y)
    setting = SplitProblem(X, y, loss, sample_weight, D, nu, groups, names, fit_intercept)
    schedule = setting.schedule(kappa, kappa_units, t_ratio, n_times, step, start, max_steps)
    path = setting.path(schedule, X.dtype)
    if setting.classes is not None:
        path.classes = setting.classes
    return path


@validate_params(
    {
        "nu": PATH_CONSTRAINTS["nu"],
        "D": "no_validation",
        "t_ratio": [Interval(Real, 1, None, closed="neither"), None],
        "fit_intercept": ["boolean"],
        "max_events": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def inverse_scale_space_path(
    X,
    y,
    *,
    D=None,
    nu=None,
    t_ratio=None,
    fit_intercept=True,
    sample_weight=None,
    max_events=100_000,
):
    """Compute the inverse scale space path, the limit of `split_lbi_path` for infinite kappa.

    It is the solution of

        dz/dt = -grad L(b),    z in the subdifferential of ||b||_1

    for L(b) = ``1/2 sum_i v_i (y_i - b0 - x_i'b)^2`` and z = 0 at t = 0: between events b is
    constant, the least-squares solution on the features with ``|z| = 1`` whose sign is that of
    z, and z changes at a constant rate until the next ``|z_j|`` becomes one [1]_. With ``nu``, it is
    that of ``min over b of L(b) + ||D b - gamma||^2 / (2 nu)`` as a function of gamma.
    Each event is computed, none is stepped over, and there is no shrinkage.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Features.
    y : array-like of shape (n_samples,)
        Response.
    D : None, 'fused', 'fused+identity', edges, array, sparse matrix or LinearOperator, default=None
        Which combinations D b of the coefficients are sparse; see `split_lbi_path`.
    nu : float or None, default=None
        How far D b may be from gamma; None, for D=None only, makes b itself sparse.
    t_ratio : float or None, default=None
        Last time divided by that of the first entry; None goes on until z stays as it is, at
        least squares.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0. Their scale does not matter.
    max_events : int, default=100000
        Largest number of events; a path with more is refused.

    Returns
    -------
    path : Bunch
        With the fields

        - times, of shape (n_events,): the events, increasing; the first is the first entry, and
          before it gamma is zero;
        - coefs, of shape (n_features, n_events): b from this event to the next;
        - gammas, of shape (n_rows, n_events): gamma from this event to the next;
        - subgradients, of shape (n_rows, n_events): z at the event;
        - intercepts, of shape (n_events,): best intercepts;
        - first_entry, of shape (n_rows,): the time from which each entry of gamma is nonzero,
          infinite for those that never are;
        - complete: whether the last coefficients are least squares, for good.

    Raises
    ------
    ValueError
        If a parameter is out of its range, D does not fit X, or there are more events than
        ``max_events``.

    See Also
    --------
    split_lbi_path : The path of finite kappa, for other losses and groups too.

    References
    ----------
    .. [1] Burger, Moeller, Benning & Osher (2013), "An adaptive inverse scale space method for
       compressed sensing", Mathematics of Computation 82, 269-299.
    .. [2] Osher, Ruan, Xiong, Yao & Yin (2016), "Sparse recovery via differential inclusions",
       Applied and Computational Harmonic Analysis 41, 436-469.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import inverse_scale_space_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 10))
    >>> y = X[:, 3] * 2.0 + rng.normal(size=80)
    >>> path = inverse_scale_space_path(X, y)
    >>> int(np.argmin(path.first_entry)), path.complete
    (3, True)
    """
    names = _get_feature_names(X)
    X = check_array(X, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32], input_name="X")
    y = check_path_y(y, "squared")
    check_consistent_length(X, y)
    setting = SplitProblem(X, y, "squared", sample_weight, D, nu, None, names, fit_intercept)
    problem = setting.problem
    path = inverse_scale_space(problem, setting.operator, nu, t_ratio, max_events)
    if path is None:
        raise ValueError(f"max_events={max_events} is less than the path has; increase it or pass a smaller t_ratio.")
    scale = problem.scale
    intercepts = problem.intercepts(path.coefs.T[:, :, None])[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        times, first_entry = path.times / scale, path.first_entry / scale
        coefs, gammas, intercepts = (
            np.multiply(part, scale, dtype=X.dtype, casting="same_kind")
            for part in (path.coefs, path.gammas, intercepts)
        )
    check_times(times)
    check_finite(coefs, gammas, intercepts)
    return Bunch(
        times=times,
        coefs=coefs,
        gammas=gammas,
        subgradients=path.subgradients,
        intercepts=intercepts,
        first_entry=first_entry,
        complete=path.complete,
    )


class _SplitLBIBase(BaseEstimator):
    """What the estimators of the family share: input, the path, the estimate at a time, prediction."""

    # like `Lasso.path`
    path = staticmethod(split_lbi_path)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validated(self, X, y, loss):
        """X and y; the loss decides what y may hold."""
        if loss == "squared":
            X, y = validate_data(
                self, X, y, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32], y_numeric=True
            )
            return X, y.astype(np.float64)
        X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32])
        check_classification_targets(y)
        return X, column_or_1d(y)

    def _setting(self, X, y, sample_weight, loss, operator=None, units=None):
        names = getattr(self, "feature_names_in_", None)
        return SplitProblem(
            X, y, loss, sample_weight, self.D, self.nu, self.groups, names, self.fit_intercept, operator, units
        )

    def _schedule(self, setting, bound=None):
        return setting.schedule(
            self.kappa, self.kappa_units, self.t_ratio, self.n_times, self.step, self.start, self.max_steps, bound
        )

    def _take(self, path, setting, t):
        """Set the fitted attributes from a path and a time."""
        sparse_one = self.estimate == "sparse"
        if setting.classes is not None:
            self.classes_ = setting.classes
        self.times_ = path.times
        self.coef_path_ = path.coefs_sparse if sparse_one else path.coefs
        self.intercept_path_ = path.intercepts_sparse if sparse_one else path.intercepts
        self.gamma_path_ = path.gammas
        self.first_entry_ = path.first_entry
        self.kappa_, self.step_, self.n_steps_ = path.kappa, path.step, int(path.n_steps[-1])
        self.t_ = path.times[-1] if isinstance(t, str) else t
        self.coef_, self.intercept_ = self._at(self.t_)
        self.gamma_, self.t_ = self._interpolated(self.gamma_path_, self.t_), float(self.t_)
        if setting.loss != "squared" and self.gamma_.ndim == 1:
            self.gamma_ = self.gamma_[None]
        return self

    def _interpolated(self, values, t):
        """Linear between the times of the path; the last axis of ``values`` is time."""
        if isinstance(t, bool) or not isinstance(t, Real) or not self.times_[0] <= t <= self.times_[-1]:
            raise ValueError(
                f"t must be 'last' or a time of the path, from {self.times_[0]:.6g} to {self.times_[-1]:.6g}; got "
                f"{t!r}."
            )
        place = int(np.searchsorted(self.times_, t, side="left"))
        if self.times_[place] == t:
            return values[..., place].copy()
        share = (t - self.times_[place - 1]) / (self.times_[place] - self.times_[place - 1])
        mixed = (1.0 - share) * values[..., place - 1] + share * values[..., place]
        return mixed.astype(values.dtype, copy=False)

    def _at(self, t):
        """``coef_`` and ``intercept_`` at a time."""
        coef, intercept = self._interpolated(self.coef_path_, t), self._interpolated(self.intercept_path_, t)
        if hasattr(self, "classes_"):
            return np.atleast_2d(coef), np.atleast_1d(intercept)
        return coef, intercept[()] if self.fit_intercept else 0.0

    def _linear(self, X, t):
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc", "coo"], dtype=[np.float64, np.float32], reset=False)
        if t is None:
            coef, intercept = self.coef_, self.intercept_
        else:
            coef, intercept = self._at(self.times_[-1] if isinstance(t, str) and t == "last" else t)
        return safe_sparse_dot(X, coef.T, dense_output=True) + intercept

    def _scores(self, X, t):
        scores = self._linear(X, t)
        return scores.ravel() if scores.shape[1] == 1 else scores

    def _labels(self, X, t):
        scores = self._scores(X, t)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]

    def _probabilities(self, X, t):
        scores = self._scores(X, t)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)


class SplitLBI(RegressorMixin, _SplitLBIBase):
    """Linear regression with structural sparsity by the split linearised Bregman iteration.

    Follows the path of `split_lbi_path` for the loss

        L(b) = 1/2 sum_i v_i (y_i - b0 - x_i'b)^2

    with ``v_i = s_i / sum(s)`` for sample weights s, and takes the coefficients at one time of it.
    What is sparse is D b: entries enter one after the other, and are hardly biased once they are
    in. The time takes the place of a penalty; `SplitLBICV` chooses it.

    Parameters
    ----------
    nu : float or None, default=1.0
        How far D b may be from gamma; None is the plain iteration, for D=None only. See
        `split_lbi_path`.
    D : None, 'fused', 'fused+identity', edges, array, sparse matrix or LinearOperator, default=None
        Which combinations D b of the coefficients are to be sparse: the coefficients themselves
        (None), the differences of neighbours, those along the edges of a graph, or a matrix with
        n_features columns. See `split_lbi_path`.
    kappa : float, default=50.0
        Damping: the bias falls like 1 / kappa, the number of steps grows with kappa.
    kappa_units : {'initial', 'raw'}, default='initial'
        Units of kappa: of the coefficients that the data ask for at gamma = 0, or of the
        coefficients (raw). See `split_lbi_path`.
    t_ratio : float, default=100.0
        Last time of the path divided by the first.
    n_times : int, default=100
        Number of times.
    t : 'last' or float, default='last'
        Time of the estimate, one of those that the path spans: its last, or a number.
    estimate : {'sparse', 'dense'}, default='sparse'
        Whether the coefficients are b itself (dense), or its projection on the coefficients with
        D b = 0 wherever gamma is 0 (sparse).
    groups : None, int, array-like, list, mapping or callable, default=None
        Which rows of D (features, where D is None) become nonzero together. See
        `split_lbi_path`.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    step : float, default=None
        Step in time; None takes half of what is stable. See `split_lbi_path`.
    start : {'zero', 'first_entry'}, default='zero'
        Whether to begin at time zero with all zero, or at the first time with the b that is best
        for gamma = 0.
    max_steps : int, default=10000000
        Largest number of steps; a path that would take more is refused.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients at ``t_``, between times of the path by linear interpolation.
    intercept_ : float
        Intercept at ``t_``.
    gamma_ : ndarray of shape (n_rows,)
        The sparse variables gamma at ``t_``.
    t_ : float
        Time of the estimate.
    times_ : ndarray of shape (n_times,)
        Times of the path, increasing.
    coef_path_ : ndarray of shape (n_features, n_times)
        Coefficients along the path, dense or sparse as ``estimate`` says.
    intercept_path_ : ndarray of shape (n_times,)
        Intercepts along the path.
    gamma_path_ : ndarray of shape (n_rows, n_times)
        The sparse variables along the path.
    first_entry_ : ndarray of shape (n_rows,)
        Time of the first step at which gamma is nonzero in this row of D; infinite if it never is.
    kappa_ : float
        Damping, in units of the coefficients.
    step_ : float
        Step in time.
    n_steps_ : int
        Number of steps of the path.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    SplitLBICV : Chooses the time by cross-validation.
    SplitLBIClassifier : The same for class labels.
    split_lbi_path : The path without an estimator.

    References
    ----------
    .. [1] Huang, Sun, Xiong & Yao (2016), "Split LBI: an iterative regularization path with
       structural sparsity", Advances in Neural Information Processing Systems 29.
    .. [2] Huang, Sun, Xiong & Yao (2020), "Boosting with structural sparsity: a differential
       inclusion approach", Applied and Computational Harmonic Analysis 48, 1-45.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import SplitLBI
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 12))
    >>> y = X[:, :6] @ np.full(6, 2.0) + rng.normal(size=100)
    >>> model = SplitLBI(D="fused", t_ratio=4.0).fit(X, y)
    >>> model.coef_.round(1)
    array([...])
    """

    _parameter_constraints: dict = {
        **ESTIMATOR_CONSTRAINTS,
        "t": [StrOptions({"last"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        nu=1.0,
        *,
        D=None,
        kappa=50.0,
        kappa_units="initial",
        t_ratio=100.0,
        n_times=100,
        t="last",
        estimate="sparse",
        groups=None,
        fit_intercept=True,
        step=None,
        start="zero",
        max_steps=10_000_000,
    ):
        self.nu = nu
        self.D = D
        self.kappa = kappa
        self.kappa_units = kappa_units
        self.t_ratio = t_ratio
        self.n_times = n_times
        self.t = t
        self.estimate = estimate
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.step = step
        self.start = start
        self.max_steps = max_steps

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Compute the path and take the estimate at t.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0. Their scale does not matter.

        Returns
        -------
        self : SplitLBI
            The fitted model.

        Raises
        ------
        ValueError
            If D or groups do not fit X, t is not on the path, or the step is not stable.
        """
        X, y = self._validated(X, y, "squared")
        setting = self._setting(X, y, sample_weight, "squared")
        return self._take(setting.path(self._schedule(setting), X.dtype), setting, self.t)

    def predict(self, X, t=None):
        """Predict with the linear model, at any time of the path.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted values.
        """
        return self._linear(X, t)


class SplitLBIClassifier(ClassifierMixin, _SplitLBIBase):
    """Logistic regression with structural sparsity by the split linearised Bregman iteration.

    Follows the path of `split_lbi_path` for the loss

        L(b) = - sum_i v_i log P(y_i | b0 + x_i'b)

    with ``v_i = s_i / sum(s)`` for sample weights s, logistic for two classes and multinomial for
    more, and takes the coefficients at one time of it. With several classes every coefficient of
    a class enters on its own; ``groups=1`` lets a feature enter for all classes at once.

    Parameters
    ----------
    nu : float or None, default=1.0
        How far D b may be from gamma; None is the plain iteration, for D=None only. See
        `split_lbi_path`.
    D : None, 'fused', 'fused+identity', edges, array, sparse matrix or LinearOperator, default=None
        Which combinations D b of the coefficients are to be sparse: the coefficients themselves
        (None), the differences of neighbours, those along the edges of a graph, or a matrix with
        n_features columns. See `split_lbi_path`.
    kappa : float, default=50.0
        Damping: the bias falls like 1 / kappa, the number of steps grows with kappa.
    kappa_units : {'initial', 'raw'}, default='initial'
        Units of kappa: of the coefficients that the data ask for at gamma = 0, or of the
        coefficients (raw). See `split_lbi_path`.
    t_ratio : float, default=100.0
        Last time of the path divided by the first.
    n_times : int, default=100
        Number of times.
    t : 'last' or float, default='last'
        Time of the estimate, one of those that the path spans: its last, or a number.
    estimate : {'sparse', 'dense'}, default='sparse'
        Whether the coefficients are b itself (dense), or its projection on the coefficients with
        D b = 0 wherever gamma is 0 (sparse).
    groups : None, int, array-like, list, mapping or callable, default=None
        Which rows of D (features, where D is None) become nonzero together. See
        `split_lbi_path`.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    step : float, default=None
        Step in time; None takes half of what is stable. See `split_lbi_path`.
    start : {'zero', 'first_entry'}, default='zero'
        Whether to begin at time zero with all zero, or at the first time with the b that is best
        for gamma = 0.
    max_steps : int, default=10000000
        Largest number of steps; a path that would take more is refused.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients at ``t_``, between times of the path by linear interpolation.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercept at ``t_``.
    gamma_ : ndarray of shape (1, n_rows) or (n_classes, n_rows)
        The sparse variables gamma at ``t_``.
    t_ : float
        Time of the estimate.
    times_ : ndarray of shape (n_times,)
        Times of the path, increasing.
    coef_path_ : ndarray of shape (n_features, n_times) or (n_classes, n_features, n_times)
        Coefficients along the path, dense or sparse as ``estimate`` says.
    intercept_path_ : ndarray of shape (n_times,) or (n_classes, n_times)
        Intercepts along the path.
    gamma_path_ : ndarray of shape (n_rows, n_times) or (n_classes, n_rows, n_times)
        The sparse variables along the path.
    first_entry_ : ndarray of shape (n_rows,)
        Time of the first step at which gamma is nonzero in this row of D; infinite if it never is.
    kappa_ : float
        Damping, in units of the coefficients.
    step_ : float
        Step in time.
    n_steps_ : int
        Number of steps of the path.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    SplitLBICV : Chooses the time by cross-validation.
    split_lbi_path : The path without an estimator.

    References
    ----------
    .. [1] Huang, Sun, Xiong & Yao (2016), "Split LBI: an iterative regularization path with
       structural sparsity", Advances in Neural Information Processing Systems 29.
    .. [2] Huang, Sun, Xiong & Yao (2020), "Boosting with structural sparsity: a differential
       inclusion approach", Applied and Computational Harmonic Analysis 48, 1-45.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skspar import SplitLBIClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SplitLBIClassifier(groups=1).fit(StandardScaler().fit_transform(X), y)
    >>> [int(j) for j in model.first_entry_.argsort()]
    [3, 2, 1, 0]
    """

    _parameter_constraints: dict = {
        **ESTIMATOR_CONSTRAINTS,
        "t": [StrOptions({"last"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        nu=1.0,
        *,
        D=None,
        kappa=50.0,
        kappa_units="initial",
        t_ratio=100.0,
        n_times=100,
        t="last",
        estimate="sparse",
        groups=None,
        fit_intercept=True,
        step=None,
        start="zero",
        max_steps=10_000_000,
    ):
        self.nu = nu
        self.D = D
        self.kappa = kappa
        self.kappa_units = kappa_units
        self.t_ratio = t_ratio
        self.n_times = n_times
        self.t = t
        self.estimate = estimate
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.step = step
        self.start = start
        self.max_steps = max_steps

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Compute the path and take the estimate at t.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0. Their scale does not matter.

        Returns
        -------
        self : SplitLBIClassifier
            The fitted model.

        Raises
        ------
        ValueError
            If y has a single class, D or groups do not fit X, t is not on the path, or the step is
            not stable.
        """
        X, y = self._validated(X, y, "logistic")
        loss = "multinomial" if len(np.unique(y)) > 2 else "logistic"
        setting = self._setting(X, y, sample_weight, loss)
        return self._take(setting.path(self._schedule(setting), X.dtype), setting, self.t)

    def decision_function(self, X, t=None):
        """Compute scores of the classes, at any time of the path.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            ``X @ coef_.T + intercept_``; for two classes of the second.
        """
        return self._scores(X, t)

    def predict(self, X, t=None):
        """Predict the most probable class, at any time of the path.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels.
        """
        return self._labels(X, t)

    def predict_proba(self, X, t=None):
        """Compute class probabilities, at any time of the path.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self._probabilities(X, t)

    def predict_log_proba(self, X, t=None):
        """Compute logarithms of the class probabilities, at any time of the path.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return _log_probabilities(self._scores(X, t))


def _log_probabilities(scores):
    if scores.ndim == 1:
        scores = np.column_stack([np.zeros_like(scores), scores])
    return log_softmax(scores, axis=1)


def _ended(thunk, task):
    """What a thunk returns; its task has then ended."""
    result = thunk()
    task.end()
    return result


def _is_classifier(estimator):
    if estimator.loss != "logistic":
        raise AttributeError(f"only with loss='logistic'; loss is {estimator.loss!r}")
    return True


class SplitLBICV(CrossValidationMixin, _SplitLBIBase):
    """Split linearised Bregman path, stopped by cross-validation.

    Follows the path of `split_lbi_path` on all rows and, at the same times with the same step, on
    the training rows of every fold; takes the time with the smallest held-out error, or with
    ``selection_rule="1se"`` the first whose mean error is within one standard error of that.
    The error is the mean squared error for ``loss="squared"``, the log loss for ``"logistic"``.

    Parameters
    ----------
    nu : float or None, default=1.0
        How far D b may be from gamma; None is the plain iteration, for D=None only. See
        `split_lbi_path`.
    loss : {'squared', 'logistic'}, default='squared'
        Squared makes this a regressor; logistic makes it a classifier, multinomial if there are
        more than two classes.
    D : None, 'fused', 'fused+identity', edges, array, sparse matrix or LinearOperator, default=None
        Which combinations D b of the coefficients are to be sparse: the coefficients themselves
        (None), the differences of neighbours, those along the edges of a graph, or a matrix with
        n_features columns. See `split_lbi_path`.
    kappa : float, default=50.0
        Damping: the bias falls like 1 / kappa, the number of steps grows with kappa.
    kappa_units : {'initial', 'raw'}, default='initial'
        Units of kappa: of the coefficients that the data ask for at gamma = 0, or of the
        coefficients (raw). See `split_lbi_path`.
    t_ratio : float, default=100.0
        Last time of the path divided by the first.
    n_times : int, default=100
        Number of times.
    estimate : {'sparse', 'dense'}, default='sparse'
        Whether the coefficients are b itself (dense), or its projection on the coefficients with
        D b = 0 wherever gamma is 0 (sparse).
    groups : None, int, array-like, list, mapping or callable, default=None
        Which rows of D (features, where D is None) become nonzero together. See
        `split_lbi_path`.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    step : float, default=None
        Step in time; None takes half of what is stable. See `split_lbi_path`.
    start : {'zero', 'first_entry'}, default='zero'
        Whether to begin at time zero with all zero, or at the first time with the b that is best
        for gamma = 0.
    max_steps : int, default=10000000
        Largest number of steps; a path that would take more is refused.
    cv : int, splitter or iterable of splits, default=None
        Folds: None means 5, stratified for a classifier. Row groups for a splitter are given to
        ``fit``.
    selection_rule : {'min', '1se'}, default='min'
        Whether to take the time of least mean error, or the earliest whose mean error is within
        one standard error of it.
    n_jobs : int, default=None
        Number of threads for the folds; None means as many as BLAS may use.

    Attributes
    ----------
    mse_path_ : ndarray of shape (n_times, n_folds)
        Held-out mean squared errors.
    coef_ : ndarray of shape (n_features,)
        Coefficients at ``t_``, between times of the path by linear interpolation.
    intercept_ : float
        Intercept at ``t_``.
    gamma_ : ndarray of shape (n_rows,)
        The sparse variables gamma at ``t_``.
    t_ : float
        Time of the estimate.
    times_ : ndarray of shape (n_times,)
        Times of the path, increasing.
    coef_path_ : ndarray of shape (n_features, n_times)
        Coefficients along the path, dense or sparse as ``estimate`` says.
    intercept_path_ : ndarray of shape (n_times,)
        Intercepts along the path.
    gamma_path_ : ndarray of shape (n_rows, n_times)
        The sparse variables along the path.
    first_entry_ : ndarray of shape (n_rows,)
        Time of the first step at which gamma is nonzero in this row of D; infinite if it never is.
    kappa_ : float
        Damping, in units of the coefficients.
    step_ : float
        Step in time.
    n_steps_ : int
        Number of steps of the path.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during fit, where all are strings.

    See Also
    --------
    SplitLBI : The path without cross-validation.
    SplitLBIClassifier : The path for class labels without cross-validation.

    Notes
    -----
    With ``loss="logistic"`` there are ``classes_`` and ``log_loss_path_`` (held-out log losses, of
    the shape of ``mse_path_``, which is missing), the methods of `SplitLBIClassifier`, and its
    shapes of ``coef_``, ``intercept_`` and ``gamma_``.

    References
    ----------
    .. [1] Huang, Sun, Xiong & Yao (2016), "Split LBI: an iterative regularization path with
       structural sparsity", Advances in Neural Information Processing Systems 29.
    .. [2] Huang, Sun, Xiong & Yao (2020), "Boosting with structural sparsity: a differential
       inclusion approach", Applied and Computational Harmonic Analysis 48, 1-45.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import SplitLBICV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 12))
    >>> y = X[:, :6] @ np.full(6, 2.0) + rng.normal(size=100)
    >>> model = SplitLBICV(D="fused", selection_rule="1se").fit(X, y)
    >>> np.flatnonzero(model.gamma_)
    array([5])
    """

    _parameter_constraints: dict = {
        **ESTIMATOR_CONSTRAINTS,
        "loss": [StrOptions({"squared", "logistic"})],
        "cv": ["cv_object"],
        "selection_rule": [StrOptions({"min", "1se"})],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        nu=1.0,
        *,
        loss="squared",
        D=None,
        kappa=50.0,
        kappa_units="initial",
        t_ratio=100.0,
        n_times=100,
        estimate="sparse",
        groups=None,
        fit_intercept=True,
        step=None,
        start="zero",
        max_steps=10_000_000,
        cv=None,
        selection_rule="min",
        n_jobs=None,
    ):
        self.nu = nu
        self.loss = loss
        self.D = D
        self.kappa = kappa
        self.kappa_units = kappa_units
        self.t_ratio = t_ratio
        self.n_times = n_times
        self.estimate = estimate
        self.groups = groups
        self.fit_intercept = fit_intercept
        self.step = step
        self.start = start
        self.max_steps = max_steps
        self.cv = cv
        self.selection_rule = selection_rule
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self.loss == "logistic":
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags()
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, **params):
        """Compute the path, and choose the time by cross-validation.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Response, or class labels for the logistic loss.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights s_i >= 0. Their scale does not matter.
        **params : dict
            Parameters of the splitter's ``split``: with metadata routing enabled those requested,
            otherwise ``groups`` only.

        Returns
        -------
        self : SplitLBICV
            The fitted model.

        Raises
        ------
        ValueError
            If a fold has no weight on its training or held-out rows or lacks a class, D or groups do not
            fit X, or the step is not stable.
        """
        splitter = self._splitter(sample_weight, params, y, self.loss == "logistic")
        X, y = self._validated(X, y, self.loss)
        loss = "multinomial" if self.loss == "logistic" and len(np.unique(y)) > 2 else self.loss
        # the kernels have one thread each, however many BLAS may use
        n_jobs = blas_threads() if self.n_jobs is None else self.n_jobs
        progress = Progress(self, X, y, sample_weight, 1)
        with threads(n_jobs) as (_, run):
            setting = self._setting(X, y, sample_weight, loss)
            splits = self._splits(splitter, X, y, setting.weights)
            self._check_classes(setting, splits)
            folds = setting.folds(splits, run)
            schedule = self._schedule(setting, setting.shared_bound(splits))
            sparse_one = self.estimate == "sparse"
            thunks = [partial(setting.path, schedule, X.dtype)]
            thunks += [
                partial(setting.fold_errors, schedule, f, test, sparse_one) for f, (_, test) in zip(folds, splits)
            ]
            with progress.stage("paths", len(thunks)) as stage:
                tasks = [stage.begin("fold" if k else "all rows", place=k) for k in range(len(thunks))]
                path, *errors = run([partial(_ended, *pair) for pair in zip(thunks, tasks)])
        errors = np.column_stack(errors)
        place = self._choose(errors)
        for name in ("classes_", "mse_path_", "log_loss_path_"):
            vars(self).pop(name, None)
        setattr(self, "mse_path_" if loss == "squared" else "log_loss_path_", errors)
        self._take(path, setting, path.times[place])
        progress.end()
        return self

    def _check_classes(self, setting, splits):
        if setting.classes is None:
            return
        for k, (train, _) in enumerate(splits):
            shares = setting.weights[train] @ setting.indicators[train]
            if not shares.all():
                raise ValueError(
                    f"cv must leave every class in the training rows; fold {k} has none of "
                    f"{setting.classes[shares == 0.0].tolist()}."
                )

    def predict(self, X, t=None):
        """Predict values or class labels, at any time of the path.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted values, or the most probable classes.
        """
        return self._linear(X, t) if self.loss == "squared" else self._labels(X, t)

    @available_if(_is_classifier)
    def decision_function(self, X, t=None):
        """Compute scores of the classes, with the logistic loss.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            ``X @ coef_.T + intercept_``; for two classes of the second.
        """
        return self._scores(X, t)

    @available_if(_is_classifier)
    def predict_proba(self, X, t=None):
        """Compute class probabilities, with the logistic loss.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self._probabilities(X, t)

    @available_if(_is_classifier)
    def predict_log_proba(self, X, t=None):
        """Compute logarithms of the class probabilities, with the logistic loss.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        t : None, 'last' or float, default=None
            Time of the estimate; None is ``t_``.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return _log_probabilities(self._scores(X, t))

    def score(self, X, y, sample_weight=None):
        """Compute R2 of the predictions, or with the logistic loss their accuracy.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            True values or labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            The score.
        """
        metric = r2_score if self.loss == "squared" else accuracy_score
        return metric(y, self.predict(X), sample_weight=sample_weight)
