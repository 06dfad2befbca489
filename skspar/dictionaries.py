"""What a dictionary promises: coherence, Babel function, restricted isometry; how sparse a vector is."""

from itertools import combinations, islice
from math import comb
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch, check_array, check_random_state, gen_batches
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.sparsefuncs import inplace_column_scale

from ._sklearn_compat import Interval, validate_params

# Inner products of atoms that are held at a time.
BLOCK = 1 << 21
# Supports whose Gram matrices are held at a time, and up to how many all supports are tried.
SUPPORTS = 2000
MOST_SUPPORTS = 20_000


@validate_params({"X": ["array-like", "sparse matrix"]}, prefer_skip_nested_validation=True)
def mutual_coherence(X):
    """Compute the largest absolute cosine of the angle between two atoms.

    ``mu = max_{i != j} |x_i'x_j| / (||x_i|| ||x_j||)``. Signals of ``k < (1 + 1 / mu) / 2`` atoms are recovered by
    matching pursuit and by basis pursuit (Tropp 2004; Donoho & Elad 2003).

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Dictionary whose columns are the atoms, of any norm but zero. The matrix of all inner products is never held.

    Returns
    -------
    coherence : float
        Between 0 and 1; 0 for a single atom.

    Raises
    ------
    ValueError
        If an atom is zero.

    See Also
    --------
    babel_function : Inner products with several atoms at once.
    welch_bound : How small the coherence can be.

    References
    ----------
    .. [1] Tropp (2004), "Greed is good: algorithmic results for sparse approximation", IEEE Transactions on
       Information Theory 50, 2231-2242.
    .. [2] Donoho & Elad (2003), "Optimally sparse representation in general (nonorthogonal) dictionaries via l1
       minimization", PNAS 100, 2197-2202.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import mutual_coherence
    >>> mutual_coherence(np.array([[1.0, 0.0, 3.0], [0.0, 2.0, 4.0]])).round(6)
    np.float64(0.8)
    """
    return max((block.max() for block in _cosines(X)), default=np.float64(0.0))


@validate_params(
    {"X": ["array-like", "sparse matrix"], "n_atoms": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def babel_function(X, n_atoms):
    """Compute the Babel function: how much an atom can resemble m others together.

    ``mu_1(m) = max_i max_{|S| = m, i not in S} sum_{j in S} |x_i'x_j| / (||x_i|| ||x_j||)``. Signals of k atoms are
    recovered if ``mu_1(k - 1) + mu_1(k) < 1`` (Tropp 2004, theorem B), which asks for less than the coherence does.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Dictionary whose columns are the atoms, of any norm but zero.
    n_atoms : int
        The largest m; fewer than there are atoms.

    Returns
    -------
    babel : ndarray of shape (n_atoms,)
        ``mu_1(1), ..., mu_1(n_atoms)``; the first is the mutual coherence.

    Raises
    ------
    ValueError
        If an atom is zero, or ``n_atoms`` is not less than the number of atoms.

    See Also
    --------
    mutual_coherence : The first value.

    References
    ----------
    .. [1] Tropp (2004), "Greed is good: algorithmic results for sparse approximation", IEEE Transactions on
       Information Theory 50, 2231-2242.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import babel_function
    >>> babel_function(np.array([[1.0, 0.0, 3.0], [0.0, 2.0, 4.0]]), 2).round(6)
    array([0.8, 1.4])
    """
    X = check_array(X, accept_sparse="csc", dtype=np.float64, input_name="X")
    total = X.shape[1]
    if n_atoms >= total:
        raise ValueError(f"n_atoms must be less than the number of atoms, {total}; got {n_atoms}.")
    babel = np.zeros(n_atoms)
    for block in _cosines(X):
        largest = -np.partition(-block, n_atoms - 1, axis=1)[:, :n_atoms]
        babel = np.maximum(babel, np.cumsum(-np.sort(-largest, axis=1), axis=1).max(axis=0))
    return babel


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def welch_bound(n_samples, n_features):
    """Compute the smallest coherence that atoms of a dimension can have.

    ``sqrt((n_features - n_samples) / (n_samples (n_features - 1)))`` for more atoms than dimensions, else 0.

    Parameters
    ----------
    n_samples : int
        Dimension of the atoms: rows of the dictionary.
    n_features : int
        Number of atoms: its columns.

    Returns
    -------
    bound : float
        No real or complex dictionary of this shape has a smaller mutual coherence.

    See Also
    --------
    mutual_coherence : Of a given dictionary.

    References
    ----------
    .. [1] Welch (1974), "Lower bounds on the maximum cross correlation of signals", IEEE Transactions on Information
       Theory 20, 397-399.

    Examples
    --------
    >>> from skspar import welch_bound
    >>> welch_bound(2, 3)
    0.5
    """
    if n_features <= n_samples:
        return 0.0
    return float(np.sqrt((n_features - n_samples) / (n_samples * (n_features - 1))))


@validate_params({"x": ["array-like"], "axis": [Integral]}, prefer_skip_nested_validation=True)
def hoyer_sparseness(x, *, axis=-1):
    """Compute how sparse vectors are, from 0 (all entries of one size) to 1 (one nonzero entry).

    ``(sqrt(n) - ||x||_1 / ||x||_2) / (sqrt(n) - 1)`` for vectors of n entries.

    Parameters
    ----------
    x : array-like of shape (n,) or (..., n, ...)
        Vectors, with at least two entries each.
    axis : int, default=-1
        The axis along which a vector lies.

    Returns
    -------
    sparseness : float or ndarray
        NaN for a vector of zeros, which has none.

    Raises
    ------
    ValueError
        If the vectors have fewer than two entries.

    References
    ----------
    .. [1] Hoyer (2004), "Non-negative matrix factorization with sparseness constraints", Journal of Machine Learning
       Research 5, 1457-1469.

    Examples
    --------
    >>> from skspar import hoyer_sparseness
    >>> hoyer_sparseness([[0.0, 0.0, 3.0, 0.0], [1.0, -1.0, 1.0, 1.0]])
    array([1., 0.])
    """
    x = np.abs(check_array(x, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="x"))
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis must be one of the {x.ndim} axes of x; got {axis}.")
    n = x.shape[axis]
    if n < 2:
        raise ValueError(f"x must have at least two entries along axis {axis}; got shape {x.shape}.")
    largest = x.max(axis=axis, keepdims=True)
    unit = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0.0)
    norm = np.sqrt(np.sum(unit**2, axis=axis))
    ratio = np.divide(unit.sum(axis=axis), norm, out=np.full(np.shape(norm), np.nan), where=norm > 0.0)
    return (np.sqrt(n) - ratio) / (np.sqrt(n) - 1.0)


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "n_atoms": [Interval(Integral, 1, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def restricted_isometry(X, n_atoms, *, n_draws=1000, random_state=None):
    """Bound the restricted isometry constant of a dictionary.

    ``delta_k`` is the smallest number with ``(1 - delta_k) ||b||^2 <= ||Xb||^2 <= (1 + delta_k) ||b||^2`` for all b
    with k nonzero entries, after X is scaled to columns of unit norm. Few dictionaries are small enough to try all
    supports; for others random supports give a lower bound and the Babel function an upper one
    (``delta_k <= mu_1(k - 1)``, Gershgorin).

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Dictionary whose columns are the atoms, of any norm but zero.
    n_atoms : int
        The size k of the supports.
    n_draws : int, default=1000
        How many supports to draw where there are more than 20,000.
    random_state : int, RandomState instance or None, default=None
        Draws the supports.

    Returns
    -------
    bounds : Bunch
        With fields ``lower`` and ``upper`` (floats) and ``exact`` (bool): whether all supports were tried, so that
        the two are the constant itself.

    Raises
    ------
    ValueError
        If an atom is zero, or ``n_atoms`` exceeds the number of atoms.

    See Also
    --------
    babel_function : The upper bound.

    References
    ----------
    .. [1] Candes & Tao (2005), "Decoding by linear programming", IEEE Transactions on Information Theory 51,
       4203-4215, definition 1.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import restricted_isometry
    >>> bounds = restricted_isometry(np.array([[1.0, 0.0, 3.0], [0.0, 2.0, 4.0]]), 2)
    >>> bounds.exact, round(bounds.lower, 6), round(bounds.upper, 6)
    (True, 0.8, 0.8)
    """
    X = _unit(X)
    total = X.shape[1]
    if n_atoms > total:
        raise ValueError(f"n_atoms must be at most the number of atoms, {total}; got {n_atoms}.")
    exact = comb(total, n_atoms) <= MOST_SUPPORTS
    if exact:
        supports = combinations(range(total), n_atoms)
    else:
        rng = check_random_state(random_state)
        supports = (rng.choice(total, n_atoms, replace=False) for _ in range(n_draws))
    lower = 0.0
    while chunk := list(islice(supports, max(1, SUPPORTS // n_atoms))):
        grams = np.empty((len(chunk), n_atoms, n_atoms))
        for gram, support in zip(grams, chunk):
            part = X[:, list(support)]
            gram[:] = safe_sparse_dot(part.T, part, dense_output=True)
        values = np.linalg.eigvalsh(grams)
        lower = max(lower, float(np.abs(values - 1.0).max()))
    if exact:
        upper = lower
    else:
        upper = float(babel_function(X, n_atoms - 1)[-1]) if n_atoms > 1 else 0.0
    return Bunch(lower=lower, upper=upper, exact=exact)


def _unit(X):
    """A copy of X with columns of unit norm."""
    X = check_array(X, accept_sparse="csc", dtype=np.float64, input_name="X", copy=True)
    # in two steps, so that no square under- or overflows
    largest = abs(X).max(axis=0)
    largest = largest.toarray().ravel() if sparse.issparse(largest) else np.asarray(largest)
    zero = np.flatnonzero(largest == 0.0)
    if len(zero):
        shown = ", ".join(str(j) for j in zero[:5]) + (", ..." if len(zero) > 5 else "")
        raise ValueError(f"X must not have columns that are zero; got zeros in columns {shown}.")
    if sparse.issparse(X):
        inplace_column_scale(X, 1.0 / largest)
        inplace_column_scale(X, 1.0 / np.sqrt(np.asarray(X.multiply(X).sum(axis=0)).ravel()))
    else:
        X /= largest
        X /= np.linalg.norm(X, axis=0)
    return X


def _cosines(X):
    """Absolute cosines of some atoms with all atoms, block after block, zero for an atom with itself."""
    X = _unit(X)
    total = X.shape[1]
    for rows in gen_batches(total, max(1, BLOCK // total)):
        block = np.abs(safe_sparse_dot(X[:, rows].T, X, dense_output=True))
        size = block.shape[0]
        block[np.arange(size), rows.start + np.arange(size)] = 0.0
        yield np.minimum(block, 1.0)
