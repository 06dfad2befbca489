"""Errors of predictions that a few wrong targets do not decide, and scorers for model selection."""

from numbers import Real

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from ._engine.robust_scores import tau_scale as _tau_scale
from ._engine.robust_scores import trimmed_mean
from ._sklearn_compat import Interval, validate_params
from ._weights import check_weights


@validate_params(
    {
        "y_true": ["array-like"],
        "y_pred": ["array-like"],
        "sample_weight": ["array-like", None],
        "trim": [Interval(Real, 0, 1, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def trimmed_mean_squared_error(y_true, y_pred, *, sample_weight=None, trim=0.25):
    """Mean squared error without the largest errors.

    The mean of the squared errors that are left when the largest, of a share ``trim`` of the weight, are left out. A
    row at the border counts in part.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Targets, a few of which may be wrong.
    y_pred : array-like of shape (n_samples,)
        Predictions.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0, not all zero.
    trim : float, default=0.25
        Share left out, in [0, 1): at least the share of wrong targets to be expected.

    Returns
    -------
    error : float
        In squared units of the target.

    Raises
    ------
    ValueError
        If ``trim`` is out of its range or the arrays do not fit.

    See Also
    --------
    trimmed_scorer : The same as a scorer.

    Examples
    --------
    >>> from skspar import trimmed_mean_squared_error
    >>> trimmed_mean_squared_error([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 90.0])
    0.3333333333333333
    """
    y_true, y_pred, weights = _checked(y_true, y_pred, sample_weight)
    return trimmed_mean((y_true - y_pred) ** 2, weights, trim)


@validate_params(
    {"y_true": ["array-like"], "y_pred": ["array-like"], "sample_weight": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def tau_scale(y_true, y_pred, *, sample_weight=None):
    """Tau scale of the errors of predictions.

    With s the median absolute error over 0.6745, the root of ``s^2 mean min(|e| / s, 3)^2``, divided by what that is
    for standard normal errors: their standard deviation if they are normal, hardly changed by a few that are not.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Targets, a few of which may be wrong.
    y_pred : array-like of shape (n_samples,)
        Predictions.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0, not all zero.

    Returns
    -------
    scale : float
        In units of the target; zero if more than half of the errors are.

    Raises
    ------
    ValueError
        If the arrays do not fit.

    See Also
    --------
    tau_scorer : The same as a scorer.

    References
    ----------
    .. [1] Yohai & Zamar (1988), "High breakdown-point estimates of regression by means of the minimization of an
       efficient scale", Journal of the American Statistical Association 83, 406-413.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import tau_scale
    >>> errors = np.random.default_rng(0).standard_normal(1000)
    >>> errors[:50] = 1e6
    >>> round(tau_scale(errors, np.zeros(1000)), 1)
    1.2
    """
    y_true, y_pred, weights = _checked(y_true, y_pred, sample_weight)
    return _tau_scale(y_true - y_pred, weights)


def trimmed_scorer(estimator, X, y, sample_weight=None):
    """Score a regressor by the negative trimmed mean squared error.

    Pass it as ``scoring`` to `sklearn.model_selection.GridSearchCV` and its relatives.

    Parameters
    ----------
    estimator : estimator
        A fitted regressor.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows not used to fit it.
    y : array-like of shape (n_samples,)
        Their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0.

    Returns
    -------
    score : float
        Minus `trimmed_mean_squared_error` with a quarter of the weight left out; larger is better.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skspar import trimmed_scorer
    >>> from skspar.datasets import make_masking_outliers
    >>> X, y, _ = make_masking_outliers(random_state=0)
    >>> search = GridSearchCV(Ridge(), {"alpha": [0.1, 10.0]}, scoring=trimmed_scorer).fit(X, y)
    >>> bool(search.best_score_ < 0)
    True
    """
    return -trimmed_mean_squared_error(y, estimator.predict(X), sample_weight=sample_weight)


def tau_scorer(estimator, X, y, sample_weight=None):
    """Score a regressor by the negative tau scale of its errors.

    Pass it as ``scoring`` to `sklearn.model_selection.GridSearchCV` and its relatives.

    Parameters
    ----------
    estimator : estimator
        A fitted regressor.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows not used to fit it.
    y : array-like of shape (n_samples,)
        Their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0.

    Returns
    -------
    score : float
        Minus `tau_scale`; larger is better.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import cross_val_score
    >>> from skspar import tau_scorer
    >>> from skspar.datasets import make_masking_outliers
    >>> X, y, _ = make_masking_outliers(random_state=0)
    >>> cross_val_score(Ridge(), X, y, scoring=tau_scorer, cv=3).shape
    (3,)
    """
    return -tau_scale(y, estimator.predict(X), sample_weight=sample_weight)


def _checked(y_true, y_pred, sample_weight):
    y_true = check_array(y_true, ensure_2d=False, dtype=np.float64, input_name="y_true")
    y_pred = check_array(y_pred, ensure_2d=False, dtype=np.float64, input_name="y_pred")
    check_consistent_length(y_true, y_pred)
    if y_true.size != len(y_true) or y_pred.size != len(y_pred):
        raise ValueError(f"y_true and y_pred must have one column; got shapes {y_true.shape} and {y_pred.shape}.")
    return y_true.ravel(), y_pred.ravel(), check_weights(sample_weight, y_true)
