"""Diagnostics of dictionaries against their definitions."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.fft import dct

from skspar import babel_function, hoyer_sparseness, mutual_coherence, restricted_isometry, welch_bound


def cosines(X):
    X = X / np.linalg.norm(X, axis=0)
    gram = np.abs(X.T @ X)
    np.fill_diagonal(gram, 0.0)
    return gram


@pytest.mark.parametrize("make", [np.asarray, sparse.csc_array, sparse.csr_matrix])
@pytest.mark.parametrize("shape", [(5, 12), (30, 1200), (8, 2)])
def test_coherence_and_babel_function_are_their_definitions(make, shape, rng):
    X = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 3, size=shape[1])
    X[np.abs(X) < 1e-3] = 0.0
    gram = cosines(X)
    assert_allclose(mutual_coherence(make(X)), gram.max())
    m = min(7, shape[1] - 1)
    expected = np.cumsum(np.sort(gram, axis=1)[:, ::-1], axis=1)[:, :m].max(axis=0)
    assert_allclose(babel_function(make(X), m), expected)
    assert mutual_coherence(make(X)) >= welch_bound(*shape) - 1e-12


def test_known_dictionaries():
    n = 64
    spikes_and_waves = np.hstack([np.eye(n), dct(np.eye(n), norm="ortho", axis=0)])
    assert_allclose(mutual_coherence(spikes_and_waves), np.sqrt(2 / n) * np.cos(np.pi / (2 * n)), rtol=1e-6)
    angles = 2 * np.pi * np.arange(3) / 3
    # three equiangular lines in the plane attain the bound
    assert_allclose(mutual_coherence(np.array([np.cos(angles), np.sin(angles)])), welch_bound(2, 3))
    assert welch_bound(5, 5) == 0.0
    assert mutual_coherence(np.ones((3, 1))) == 0.0
    for make in (np.asarray, sparse.csc_array):
        assert_allclose(mutual_coherence(make(np.ones((3, 2)) * [1e-200, 1e200])), 1.0)


def test_restricted_isometry(rng):
    X = rng.normal(size=(20, 9))
    unit = X / np.linalg.norm(X, axis=0)
    for k in (1, 2, 4, 9):
        bounds = restricted_isometry(X, k)
        assert bounds.exact
        squares = [np.linalg.svd(unit[:, S], compute_uv=False) ** 2 for S in combinations(range(9), k)]
        assert_allclose([bounds.lower, bounds.upper], np.abs(np.array(squares) - 1.0).max(), atol=1e-12)
    wide = rng.normal(size=(20, 60))
    for k in (4, 6):
        bounds = restricted_isometry(wide, k, n_draws=300, random_state=0)
        assert not bounds.exact and bounds.lower < bounds.upper
        assert_allclose(bounds.upper, babel_function(wide, k - 1)[-1])
        again = restricted_isometry(sparse.csc_array(wide), k, n_draws=300, random_state=0)
        assert_allclose([again.lower, again.upper], [bounds.lower, bounds.upper])


def test_hoyer_sparseness(rng):
    x = rng.normal(size=(4, 5, 6))
    for axis in (0, 1, 2, -1):
        n = x.shape[axis]
        expected = (np.sqrt(n) - np.abs(x).sum(axis=axis) / np.linalg.norm(x, axis=axis)) / (np.sqrt(n) - 1)
        assert_allclose(hoyer_sparseness(x, axis=axis), expected)
        assert_allclose(hoyer_sparseness(x * 1e-200, axis=axis), expected)
    assert np.isnan(hoyer_sparseness(np.zeros(3)))


def test_bad_input(rng):
    X = rng.normal(size=(5, 8))
    for function in (mutual_coherence, lambda X: babel_function(X, 2), lambda X: restricted_isometry(X, 2)):
        with pytest.raises(ValueError, match="zeros in columns 3"):
            function(np.where(np.arange(8) == 3, 0.0, X))
        with pytest.raises(ValueError, match="NaN"):
            function(np.where(np.arange(8) == 3, np.nan, X))
    with pytest.raises(ValueError, match="n_atoms must be less than the number of atoms, 8; got 8"):
        babel_function(X, 8)
    with pytest.raises(ValueError, match="n_atoms must be at most the number of atoms, 8; got 9"):
        restricted_isometry(X, 9)
    with pytest.raises(ValueError, match="at least two entries"):
        hoyer_sparseness([1.0])
    with pytest.raises(ValueError, match="axis must be one of the 2 axes"):
        hoyer_sparseness(X, axis=5)
    with pytest.raises(ValueError, match="2D"):
        babel_function(X[0], 3)
    with pytest.raises(ValueError, match="n_samples"):
        welch_bound(0, 3)
