"""Regression data with a group-sparse truth."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

__all__ = ["make_group_regression"]


def make_group_regression(
    n_samples=100,
    n_features=50,
    *,
    group_size=5,
    n_informative_groups=3,
    within_group_density=1.0,
    n_targets=1,
    correlation=0.0,
    snr=3.0,
    density=1.0,
    bias=0.0,
    shuffle_features=False,
    coef=False,
    random_state=None,
):
    """Generate a linear regression problem in which few groups of features matter.

    The targets are ``y = X @ coef + bias + noise``. Whole groups of rows of ``coef`` are zero; the informative groups
    are drawn at random, and so are the nonzero features within each. All targets share the same nonzero features.

    A nonzero coefficient has a random sign and a magnitude that is uniform on [0.5, 1.5], up to one factor per target
    which gives the signal ``x' coef`` of a random row variance 1. So the noise has variance ``1 / snr``.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows.

    n_features : int, default=50
        Number of columns.

    group_size : int or array-like of int, default=5
        Number of features in each group. If an int, groups have this size, but the last one may be smaller. If an
        array, the sizes of all groups; they must sum to `n_features`.

    n_informative_groups : int, default=3
        Number of groups with nonzero coefficients, from 0 (``y`` is noise around `bias`) to the number of groups.

    within_group_density : float, default=1.0
        Share of the features of an informative group that have a nonzero coefficient, in (0, 1]. Rounded to the nearest
        number of features, at least one.

    n_targets : int, default=1
        Number of targets.

    correlation : float, default=0.0
        Correlation of neighbouring features, in [-1, 1). Features at distance k have correlation ``correlation**k``
        (an autoregressive process of order 1), across group borders too.

    snr : float, default=3.0
        Signal-to-noise ratio of each target: the variance of ``x' coef`` over the variance of the noise, both those of
        the distribution from which the rows are drawn, not of the rows at hand. Positive; `np.inf` for no noise.

    density : float, default=1.0
        Expected share of nonzero entries in X, in (0, 1]. If less than 1, X is sparse: each entry is nonzero
        independently with this probability, and no dense array of X's size is formed. `correlation` must then be 0.

    bias : float, default=0.0
        Intercept of all targets.

    shuffle_features : bool, default=False
        Whether to put the columns in random order, so that the features of a group are not neighbours any more. They
        keep their correlation, which refers to the order before.

    coef : bool, default=False
        Whether to return the coefficients too.

    random_state : int, RandomState instance or None, default=None
        Determines random number generation. Pass an int for reproducible output across calls.

    Returns
    -------
    X : ndarray (Fortran-ordered) or CSC sparse array, of shape (n_samples, n_features)
        The features. Each nonzero entry is standard normal; so each column has mean 0 and variance `density`.

    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        The targets.

    groups : ndarray of int of shape (n_features,)
        The group of each feature, from 0 to the number of groups less one.

    coef : ndarray of shape (n_features,) or (n_features, n_targets)
        The coefficients that generated `y`. Only returned if `coef=True`.

    Raises
    ------
    ValueError
        If a parameter has the wrong type or is out of range.

    See Also
    --------
    sklearn.datasets.make_regression : Regression data without groups.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar.datasets import make_group_regression
    >>> X, y, groups, coef = make_group_regression(
    ...     n_samples=20, n_features=6, group_size=2, n_informative_groups=1, coef=True, random_state=0
    ... )
    >>> X.shape, y.shape
    ((20, 6), (20,))
    >>> groups
    array([0, 0, 1, 1, 2, 2])
    >>> np.unique(groups[coef != 0])
    array([2])
    """
    _check_int("n_samples", n_samples, 1)
    _check_int("n_features", n_features, 1)
    _check_int("n_targets", n_targets, 1)
    sizes = _group_sizes(group_size, n_features)
    _check_int("n_informative_groups", n_informative_groups, 0, len(sizes), f"the number of groups, {len(sizes)}")
    _check_real("within_group_density", within_group_density, "(0, 1]", lambda value: 0 < value <= 1)
    _check_real("correlation", correlation, "[-1, 1)", lambda value: -1 <= value < 1)
    _check_real("snr", snr, "(0, inf]", lambda value: value > 0)
    _check_real("density", density, "(0, 1]", lambda value: 0 < value <= 1)
    _check_real("bias", bias, "(-inf, inf)", np.isfinite)
    if density < 1 and correlation != 0:
        raise ValueError(f"correlation must be 0 when density < 1, got correlation={correlation}, density={density}.")
    rng = check_random_state(random_state)

    # Groups and coefficients are laid out along the chain of correlated features; `chain[j]` is the column of link j.
    chain = rng.permutation(n_features) if shuffle_features else np.arange(n_features)
    chain_coef = _group_sparse_coef(sizes, n_informative_groups, within_group_density, n_targets, rng)
    variance = density * _chain_signal_variance(chain_coef, correlation)
    chain_coef /= np.sqrt(np.where(variance > 0, variance, 1.0))
    groups = np.empty(n_features, dtype=int)
    groups[chain] = np.repeat(np.arange(len(sizes)), sizes)
    true_coef = np.empty((n_features, n_targets))
    true_coef[chain] = chain_coef

    if density < 1:
        X = _sparse_normal(n_samples, n_features, density, rng)
    else:
        X = _chain_normal(n_samples, chain, correlation, rng)
    y = X @ true_coef + bias
    y += rng.standard_normal(y.shape) / np.sqrt(snr)

    if n_targets == 1:
        y, true_coef = y[:, 0], true_coef[:, 0]
    return (X, y, groups, true_coef) if coef else (X, y, groups)


def _group_sizes(group_size, n_features):
    """Sizes of all groups, as an array of integers."""
    if np.ndim(group_size) == 0:
        _check_int("group_size", group_size, 1)
        sizes = np.full(-(-n_features // group_size), group_size, dtype=int)
        sizes[-1] = n_features - sizes[:-1].sum()
        return sizes
    sizes = np.asarray(group_size)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or np.any(sizes < 1) or sizes.sum() != n_features:
        raise ValueError(
            "group_size must be a positive int, or a 1-d array of positive ints that sum to "
            f"n_features={n_features}, got {group_size!r}."
        )
    return sizes.astype(int)


def _group_sparse_coef(sizes, n_informative_groups, within_group_density, n_targets, rng):
    """Coefficients that vanish outside some randomly chosen groups, before they are scaled."""
    coef = np.zeros((sizes.sum(), n_targets))
    starts = np.cumsum(sizes) - sizes
    for g in rng.choice(len(sizes), n_informative_groups, replace=False):
        n_nonzero = max(1, round(within_group_density * sizes[g]))
        rows = starts[g] + rng.choice(sizes[g], n_nonzero, replace=False)
        signs = rng.choice([-1.0, 1.0], size=(n_nonzero, n_targets))
        coef[rows] = signs * rng.uniform(0.5, 1.5, size=(n_nonzero, n_targets))
    return coef


def _chain_signal_variance(coef, correlation):
    """Variance of ``x' coef`` for each target, x a stationary AR(1) chain with unit variance.

    With independent e_k, of variance 1 for k = 0 and ``1 - correlation**2`` after, ``x_j = sum_{k <= j}
    correlation**(j - k) e_k``. So ``x' coef = sum_k e_k c_k`` where ``c_k = coef_k + correlation * c_{k + 1}``.
    """
    if correlation == 0:
        return np.sum(coef**2, axis=0)
    tail = np.zeros(coef.shape[1])
    total = np.zeros(coef.shape[1])
    for row in coef[:0:-1]:
        tail = row + correlation * tail
        total += tail**2
    return (1 - correlation**2) * total + (coef[0] + correlation * tail) ** 2


def _chain_normal(n_samples, chain, correlation, rng):
    """Standard normal columns; those at `chain[j]` and `chain[j + 1]` have the given correlation."""
    columns = rng.standard_normal((len(chain), n_samples))
    if correlation != 0:
        innovation = np.sqrt(1 - correlation**2)
        for before, here in zip(chain[:-1], chain[1:], strict=True):
            columns[here] *= innovation
            columns[here] += correlation * columns[before]
    return columns.T


def _sparse_normal(n_samples, n_features, density, rng):
    """CSC array whose entries are standard normal with probability `density`, else absent; memory O(nonzeros).

    Read column after column, the gaps between nonzero entries are geometric; they are drawn by inversion.
    """
    n_entries = n_samples * n_features
    positions = []
    last = -1
    while last < n_entries:
        left = (n_entries - last) * density
        size = int(left + 4 * np.sqrt(left)) + 10
        gaps = np.floor(np.log1p(-rng.uniform(size=size)) / np.log1p(-density)) + 1
        positions.append(last + np.cumsum(np.minimum(gaps, n_entries + 1.0).astype(np.int64)))
        last = positions[-1][-1]
    positions = np.concatenate(positions)
    positions = positions[: np.searchsorted(positions, n_entries)]
    column, row = np.divmod(positions, n_samples)
    indptr = np.searchsorted(column, np.arange(n_features + 1))
    fits = max(n_samples, len(row)) <= np.iinfo(np.int32).max  # many solvers read 32-bit indices only
    row, indptr = (index.astype(np.int32 if fits else np.int64) for index in (row, indptr))
    return sparse.csc_array((rng.standard_normal(len(row)), row, indptr), shape=(n_samples, n_features))


def _check_int(name, value, low, high=None, high_name=None):
    """Raise ValueError unless value is an integer from low to high."""
    is_int = isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))
    if not is_int or value < low or (high is not None and value > high):
        allowed = f">= {low}" if high is None else f"from {low} to {high_name or high}"
        raise ValueError(f"{name} must be an int {allowed}, got {value!r}.")


def _check_real(name, value, allowed, is_allowed):
    """Raise ValueError unless value is a real number for which is_allowed holds; `allowed` says which in words."""
    is_real = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    if not is_real or not is_allowed(value):
        raise ValueError(f"{name} must be a number in {allowed}, got {value!r}.")
