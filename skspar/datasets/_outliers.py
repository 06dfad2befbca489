"""Regression data some rows of which are wrong."""

import numpy as np
from sklearn.utils import check_random_state

from ._regression import _check_int, _check_real

__all__ = ["make_masking_outliers", "make_outlier_regression"]


def make_outlier_regression(
    n_samples=200,
    n_features=15,
    *,
    contamination=0.1,
    shift=5.0,
    leverage=None,
    noise=1.0,
    correlation=0.5,
    n_informative=None,
    coef_size=0.0,
    random_state=None,
):
    """Generate a regression problem with shifted targets, with or without leverage.

    The design of She & Owen [1]_. X is ``U R`` with U uniform on (-15, 15) and ``R R`` the matrix with ones on the
    diagonal and `correlation` elsewhere; ``y = X @ coef + noise``. The first rows are outliers: `shift` is added to
    their targets, after all their features were set to `leverage`, if given.

    Parameters
    ----------
    n_samples : int, default=200
        Number of rows.

    n_features : int, default=15
        Number of columns.

    contamination : float, default=0.1
        Share of outliers, in [0, 0.5); rounded down to a number of rows.

    shift : float, default=5.0
        What is added to the targets of outliers, in units of the target.

    leverage : float, default=None
        What the features of outliers are set to; None leaves them as they are.

    noise : float, default=1.0
        Standard deviation of the normal noise, at least zero.

    correlation : float, default=0.5
        Correlation of any two features, in [0, 1).

    n_informative : int, default=None
        How many of the first features have a coefficient; None means all.

    coef_size : float, default=0.0
        Their coefficient. Regression equivariant methods do not notice it.

    random_state : int, RandomState instance or None, default=None
        Determines random number generation. Pass an int for reproducible output across calls.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        The features.

    y : ndarray of shape (n_samples,)
        The targets.

    is_outlier : ndarray of bool of shape (n_samples,)
        Which rows are outliers: the first ones.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or is out of range.

    See Also
    --------
    make_masking_outliers : Outliers that hide each other.

    References
    ----------
    .. [1] She & Owen (2011), "Outlier detection using nonconvex penalized regression", Journal of the American
       Statistical Association 106, 626-639.

    Examples
    --------
    >>> from skspar.datasets import make_outlier_regression
    >>> X, y, is_outlier = make_outlier_regression(n_samples=50, leverage=15.0, random_state=0)
    >>> X.shape, int(is_outlier.sum()), float(X[0, 0])
    ((50, 15), 5, 15.0)
    """
    _check_int("n_samples", n_samples, 1)
    _check_int("n_features", n_features, 1)
    _check_real("contamination", contamination, "[0, 0.5)", lambda value: 0 <= value < 0.5)
    _check_real("shift", shift, "(-inf, inf)", np.isfinite)
    if leverage is not None:
        _check_real("leverage", leverage, "(-inf, inf)", np.isfinite)
    _check_real("noise", noise, "[0, inf)", lambda value: 0 <= value < np.inf)
    _check_real("correlation", correlation, "[0, 1)", lambda value: 0 <= value < 1)
    n_informative = n_features if n_informative is None else n_informative
    _check_int("n_informative", n_informative, 0, n_features, f"n_features={n_features}")
    _check_real("coef_size", coef_size, "(-inf, inf)", np.isfinite)
    rng = check_random_state(random_state)
    U = rng.uniform(-15.0, 15.0, size=(n_samples, n_features))
    # the symmetric root of a compound symmetric matrix
    own = np.sqrt(1.0 - correlation)
    common = (np.sqrt(1.0 - correlation + n_features * correlation) - own) / n_features
    X = own * U + common * U.sum(axis=1, keepdims=True)
    is_outlier = np.arange(n_samples) < int(contamination * n_samples + 1e-9)
    if leverage is not None:
        X[is_outlier] = leverage
    y = noise * rng.standard_normal(n_samples) + coef_size * X[:, :n_informative].sum(axis=1)
    y[is_outlier] += shift
    return X, y, is_outlier


def make_masking_outliers(
    n_samples=75,
    *,
    n_bad=10,
    n_good=4,
    noise=0.15,
    random_state=None,
):
    """Generate outliers that mask each other, and leverage points that are no outliers.

    The structure of Hawkins, Bradu & Kass [1]_: three features, most rows near the origin with targets around zero; a
    cluster of bad rows far away along (10, 20, 30) with targets around 10; and, further away in the same direction,
    good rows with targets around zero. Least squares follows the bad rows, so that the good ones have the larger
    residuals. Unlike in the original data, the noise is so small that the least trimmed squares fit leaves out all bad
    rows in (nearly) every draw.

    Parameters
    ----------
    n_samples : int, default=75
        Number of rows.

    n_bad : int, default=10
        Number of bad rows: the first ones.

    n_good : int, default=4
        Number of good rows far away: those that follow.

    noise : float, default=0.15
        Standard deviation of the normal noise, at least zero.

    random_state : int, RandomState instance or None, default=None
        Determines random number generation. Pass an int for reproducible output across calls.

    Returns
    -------
    X : ndarray of shape (n_samples, 3)
        The features; uniform on (0, 3) near the origin, and normal with standard deviation 0.7 around (10, 20, 30)
        and (11.5, 23, 34.5) far from it.

    y : ndarray of shape (n_samples,)
        The targets.

    is_outlier : ndarray of bool of shape (n_samples,)
        Which rows are bad.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or is out of range.

    References
    ----------
    .. [1] Hawkins, Bradu & Kass (1984), "Location of several outliers in multiple-regression data using elemental
       sets", Technometrics 26, 197-208.

    Examples
    --------
    >>> from skspar import SparseOutlierRegressor
    >>> from skspar.datasets import make_masking_outliers
    >>> X, y, is_outlier = make_masking_outliers(random_state=0)
    >>> model = SparseOutlierRegressor(alpha="bonferroni", random_state=0).fit(X, y)
    >>> bool((model.outlier_mask_ == is_outlier).all())
    True
    """
    _check_int("n_samples", n_samples, 1)
    _check_int("n_bad", n_bad, 0, n_samples, f"n_samples={n_samples}")
    _check_int("n_good", n_good, 0, n_samples - n_bad, f"n_samples - n_bad={n_samples - n_bad}")
    _check_real("noise", noise, "[0, inf)", lambda value: 0 <= value < np.inf)
    rng = check_random_state(random_state)
    X = rng.uniform(0.0, 3.0, size=(n_samples, 3))
    X[:n_bad] = np.array([10.0, 20.0, 30.0]) + 0.7 * rng.standard_normal((n_bad, 3))
    X[n_bad : n_bad + n_good] = np.array([11.5, 23.0, 34.5]) + 0.7 * rng.standard_normal((n_good, 3))
    y = noise * rng.standard_normal(n_samples)
    is_outlier = np.arange(n_samples) < n_bad
    y[is_outlier] += 10.0
    return X, y, is_outlier
