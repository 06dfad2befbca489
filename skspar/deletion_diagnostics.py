"""Deletion diagnostics of least squares: what each row does to the fit, and what the others say about it."""

import warnings

import numpy as np
from scipy.stats import t as student
from sklearn.utils import Bunch, check_array

from ._engine.indicator import DenseIndicator
from ._engine.leave_one_out import benjamini_hochberg, leave_one_out
from ._engine.row_basis import RowBasis
from ._linear import check_one_target
from ._sklearn_compat import StrOptions, validate_params
from ._weights import check_weights


@validate_params(
    {"X": ["array-like"], "sample_weight": ["array-like", None], "fit_intercept": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def leverage(X, *, sample_weight=None, fit_intercept=True):
    """Leverage of each row in least squares.

    The diagonal of the hat matrix, ``h_i = s_i x_i'(X'SX)^-1 x_i`` with a column of ones in X if there is an intercept:
    how much a row's fit moves when its target does. From one orthogonal factorisation; no n x n matrix is formed.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features. Columns may be collinear.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0.
    fit_intercept : bool, default=True
        Whether the model has an intercept.

    Returns
    -------
    leverage : ndarray of shape (n_samples,)
        Between 0 and 1; they sum to the rank of the design.

    Raises
    ------
    ValueError
        If X or the weights are not what they must be.

    See Also
    --------
    externally_studentized_residuals : Residuals that take leverage into account.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import leverage
    >>> leverage(np.array([[0.0], [1.0], [2.0], [9.0]])).round(2)
    array([0.43, 0.33, 0.27, 0.97])
    """
    X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
    weights = check_weights(sample_weight, X)
    present = np.flatnonzero(weights > 0.0)
    return _leverage(RowBasis(X[present], weights[present], fit_intercept), weights)


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "sample_weight": ["array-like", None],
        "fit_intercept": ["boolean"],
        "adjust": [StrOptions({"bonferroni", "bh"}), None],
    },
    prefer_skip_nested_validation=True,
)
def externally_studentized_residuals(X, y, *, sample_weight=None, fit_intercept=True, adjust="bonferroni"):
    """Test each row for being an outlier of the fit to the others.

    For row i let b_(i) and sigma_(i) be the least squares coefficients and the noise scale without it. Then

        t_i = sqrt(s_i) r_i / (sigma_(i) sqrt(1 - h_i)),

    with r_i the residual and h_i the leverage in the fit to all rows, has Student's t distribution with ``n - p - 1``
    degrees of freedom if the noise is normal and the row no outlier: it tests gamma_i = 0. All rows from one
    factorisation, in O(n p^2) operations. Outliers that mask each other escape it: see `SparseOutlierRegressor`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features. Columns may be collinear.
    y : array-like of shape (n_samples,)
        Targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights s_i >= 0, whose sum is n. Row i is left out with all its weight.
    fit_intercept : bool, default=True
        Whether the model has an intercept.
    adjust : {'bonferroni', 'bh'} or None, default='bonferroni'
        How p-values are adjusted for the number of rows: bounding the probability of any false discovery, or the
        false discovery rate (Benjamini-Hochberg), or not.

    Returns
    -------
    result : Bunch
        With the fields, ndarrays of shape (n_samples,) but for the last,

        - ``t``: externally studentised residuals;
        - ``pvalues``: two-sided p-values;
        - ``adjusted_pvalues``: the same, adjusted;
        - ``loo_residuals``: ``y_i - b0_(i) - x_i'b_(i)``, in units of y;
        - ``loo_scale``: sigma_(i), in units of y;
        - ``leverage``: h_i;
        - ``df``: the degrees of freedom, a float.

        A row that alone determines a coefficient (leverage one) has no residual: its values are NaN, and a warning
        says so. Where all other rows are fitted exactly, t is infinite. Rows of weight zero have NaN.

    Raises
    ------
    ValueError
        If there are no degrees of freedom, or the data are not what they must be.

    References
    ----------
    .. [1] Cook & Weisberg (1982), "Residuals and Influence in Regression", chapter 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import externally_studentized_residuals
    >>> X = np.arange(10.0)[:, None]
    >>> y = X[:, 0] + np.array([0.1, -0.1, 0.2, 0.0, 5.0, -0.2, 0.1, 0.0, -0.1, 0.1])
    >>> result = externally_studentized_residuals(X, y)
    >>> np.flatnonzero(result.adjusted_pvalues < 0.01)
    array([4])
    """
    X, y = check_one_target(X, y)
    weights = check_weights(sample_weight, X)
    present = np.flatnonzero(weights > 0.0)
    indicator = DenseIndicator(X[present], y[present], weights[present], fit_intercept)
    if indicator.total - indicator.rank - 1.0 <= 0.0:
        raise ValueError(
            f"X must have more rows than its rank plus one, {indicator.rank + 1}; their weight is {indicator.total:g}, "
            "there are no degrees of freedom left."
        )
    response = indicator.response
    found = leave_one_out(indicator.basis, response.values, weights[present], response.rounding)
    if found.saturated.any():
        rows = present[found.saturated]
        warnings.warn(
            f"{len(rows)} rows have leverage 1, each determines a coefficient alone; nothing can be said about them, "
            f"and their values are NaN: rows {', '.join(map(str, rows[:10]))}{', ...' if len(rows) > 10 else ''}.",
            UserWarning,
            stacklevel=2,
        )
    n = len(y)

    def full(values, scale=1.0):
        out = np.full(n, np.nan)
        out[present] = values * scale
        return out

    pvalues = 2.0 * student.sf(np.abs(found.studentized), found.freedom)
    adjusted = pvalues
    if adjust == "bonferroni":
        adjusted = np.minimum(pvalues * np.sum(~np.isnan(pvalues)), 1.0)
    elif adjust == "bh":
        adjusted = benjamini_hochberg(pvalues)
    return Bunch(
        t=full(found.studentized),
        pvalues=full(pvalues),
        adjusted_pvalues=full(adjusted),
        loo_residuals=full(found.residual, response.scale),
        loo_scale=full(found.scale, response.scale),
        leverage=_leverage(indicator.basis, weights),
        df=float(found.freedom),
    )


def _leverage(basis, weights):
    """Leverage of all rows from the basis of those that have weight."""
    out = np.zeros(len(weights))
    present = weights > 0.0
    out[present] = np.minimum(weights[present] * np.einsum("ij,ij->i", basis.Q, basis.Q), 1.0)
    return out
