import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from skspar.datasets import make_group_regression


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("shuffle_features", [False, True])
def test_shapes_and_model(n_targets, density, shuffle_features):
    X, y, groups, coef = make_group_regression(
        30, 12, n_targets=n_targets, density=density, shuffle_features=shuffle_features, snr=np.inf, bias=2.5,
        coef=True, random_state=0,
    )  # fmt: skip
    assert X.shape == (30, 12)
    assert sparse.issparse(X) == (density < 1)
    assert y.shape == ((30,) if n_targets == 1 else (30, 3))
    assert coef.shape == ((12,) if n_targets == 1 else (12, 3))
    assert groups.shape == (12,) and groups.dtype.kind == "i"
    assert X.dtype == y.dtype == coef.dtype == np.float64
    np.testing.assert_allclose(y, X @ coef + 2.5, rtol=1e-12)


def test_coef_only_on_request():
    with_coef = make_group_regression(coef=True, random_state=0)
    without = make_group_regression(random_state=0)
    assert len(with_coef) == 4 and len(without) == 3
    for left, right in zip(with_coef, without, strict=False):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "group_size, expected",
    [(5, [5, 5, 2]), (4, [4, 4, 4]), (1, [1] * 12), (20, [12]), ([3, 1, 8], [3, 1, 8]), (np.array([6, 6]), [6, 6])],
)
@pytest.mark.parametrize("shuffle_features", [False, True])
def test_group_sizes(group_size, expected, shuffle_features):
    _, _, groups = make_group_regression(
        n_features=12, group_size=group_size, n_informative_groups=1, shuffle_features=shuffle_features, random_state=0
    )
    np.testing.assert_array_equal(np.bincount(groups), expected)
    if not shuffle_features:
        np.testing.assert_array_equal(groups, np.sort(groups))


def test_shuffle_scatters_groups():
    _, _, groups = make_group_regression(n_features=40, shuffle_features=True, random_state=0)
    assert np.sum(np.diff(groups) != 0) > 20


@pytest.mark.parametrize("n_informative_groups", [0, 1, 4, 10])
@pytest.mark.parametrize("shuffle_features", [False, True])
def test_informative_groups(n_informative_groups, shuffle_features):
    _, _, groups, coef = make_group_regression(
        n_informative_groups=n_informative_groups, shuffle_features=shuffle_features, coef=True, random_state=1
    )
    assert len(np.unique(groups[coef != 0])) == n_informative_groups
    assert np.count_nonzero(coef) == 5 * n_informative_groups


def test_informative_groups_are_drawn_at_random():
    drawn = set()
    for seed in range(30):
        _, _, groups, coef = make_group_regression(n_informative_groups=1, coef=True, random_state=seed)
        drawn.update(groups[coef != 0])
    assert len(drawn) > 5


@pytest.mark.parametrize("share, expected", [(1.0, 10), (0.3, 3), (0.5, 5), (0.01, 1)])
def test_within_group_density(share, expected):
    _, _, groups, coef = make_group_regression(
        group_size=10, n_informative_groups=2, within_group_density=share, n_targets=2, coef=True, random_state=0
    )
    nonzero = coef != 0
    np.testing.assert_array_equal(nonzero[:, 0], nonzero[:, 1])
    counts = np.bincount(groups, weights=nonzero[:, 0])
    np.testing.assert_array_equal(np.sort(counts), [0, 0, 0, expected, expected])


@pytest.mark.parametrize("shuffle_features", [False, True])
@pytest.mark.parametrize("correlation, density", [(0, 1), (0.9, 1), (-0.6, 1), (0, 0.2)])
def test_signal_variance_and_snr(correlation, density, shuffle_features):
    snr = 4.0
    X, y, _, coef = make_group_regression(
        40_000, 20, group_size=4, n_targets=2, correlation=correlation, density=density, snr=snr, bias=-3,
        shuffle_features=shuffle_features, coef=True, random_state=0,
    )  # fmt: skip
    signal = X @ coef
    noise = y - signal + 3
    np.testing.assert_allclose(signal.var(axis=0), 1, rtol=0.06)
    np.testing.assert_allclose(noise.var(axis=0), 1 / snr, rtol=0.04)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.02)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03


@pytest.mark.parametrize("correlation", [-0.8, 0.0, 0.5, 0.95])
def test_signal_variance_is_that_of_the_stated_covariance(correlation):
    *_, coef = make_group_regression(n_features=15, n_targets=3, correlation=correlation, coef=True, random_state=3)
    lag = np.abs(np.subtract.outer(np.arange(15), np.arange(15)))
    covariance = np.power(float(correlation), lag)
    np.testing.assert_allclose(np.diag(coef.T @ covariance @ coef), 1, rtol=1e-12)


def test_single_row_has_noise():
    X, y, _, coef = make_group_regression(1, 4, group_size=2, n_informative_groups=1, coef=True, random_state=0)
    assert X.shape == (1, 4)
    assert abs(y - X @ coef).item() > 1e-3


def test_no_signal():
    X, y, _, coef = make_group_regression(20_000, 10, n_informative_groups=0, snr=4, coef=True, random_state=0)
    assert not coef.any()
    assert y.var() == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("correlation", [-0.7, 0.6])
def test_correlation(correlation):
    X, _, _ = make_group_regression(50_000, 6, correlation=correlation, group_size=2, random_state=0)
    expected = np.power(correlation, np.abs(np.subtract.outer(np.arange(6), np.arange(6))))
    np.testing.assert_allclose(np.cov(X.T), expected, atol=0.03)


def test_correlation_minus_one_mirrors_the_neighbour():
    X, y, _ = make_group_regression(20, 6, correlation=-1, group_size=3, n_informative_groups=2, random_state=0)
    np.testing.assert_allclose(X[:, 1:], -X[:, :-1])
    assert np.isfinite(y).all()


def test_shuffled_features_keep_their_correlation():
    X, _, groups = make_group_regression(
        20_000, 6, correlation=0.9, group_size=2, shuffle_features=True, random_state=1
    )
    correlation = np.corrcoef(X.T)
    for g in range(3):
        i, j = np.flatnonzero(groups == g)
        assert correlation[i, j] == pytest.approx(0.9, abs=0.02)


def test_sparse_entries():
    X, _, _ = make_group_regression(400, 500, density=0.02, random_state=0)
    assert isinstance(X, sparse.csc_array)
    assert X.has_canonical_format
    assert X.indices.dtype == X.indptr.dtype == np.int32
    assert X.nnz == pytest.approx(4000, abs=5 * np.sqrt(4000))
    assert X.data.var() == pytest.approx(1, abs=0.1)
    per_row, per_column = np.diff(X.tocsr().indptr), np.diff(X.indptr)
    assert per_row.mean() / per_row.var() == pytest.approx(1, abs=0.3)
    assert per_column.mean() / per_column.var() == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("density", [1e-300, 1e-6, 0.5, 0.999999])
def test_sparse_density_extremes(density):
    X, y, _ = make_group_regression(50, 40, density=density, random_state=0)
    assert X.nnz == pytest.approx(2000 * density, abs=5 * np.sqrt(2000 * density * (1 - density)) + 1)
    assert np.isfinite(y).all()


def test_sparse_forms_nothing_dense():
    n_samples, n_features = 20_000, 20_000  # 3.2 GB if dense
    tracemalloc.start()
    X, _, _ = make_group_regression(n_samples, n_features, density=1e-4, random_state=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert X.nnz == pytest.approx(40_000, abs=1000)
    assert peak < 20e6


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_determinism(density):
    def make(random_state):
        X, *rest = make_group_regression(
            density=density, shuffle_features=True, n_targets=2, coef=True, random_state=random_state
        )
        return [X.toarray() if sparse.issparse(X) else X, *rest]

    for left, right in zip(make(5), make(np.random.RandomState(5)), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(make(5)[0], make(6)[0])


def test_scale_of_noise_does_not_change_the_rest():
    X, _, groups, coef = make_group_regression(snr=1, coef=True, random_state=0)
    other_X, _, other_groups, other_coef = make_group_regression(snr=np.inf, coef=True, random_state=0)
    np.testing.assert_array_equal(X, other_X)
    np.testing.assert_array_equal(groups, other_groups)
    np.testing.assert_array_equal(coef, other_coef)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"n_samples": 0}, "n_samples must be an int >= 1, got 0"),
        ({"n_samples": 2.0}, "n_samples must be an int >= 1, got 2.0"),
        ({"n_features": -1}, "n_features must be an int >= 1, got -1"),
        ({"n_targets": True}, "n_targets must be an int >= 1, got True"),
        ({"group_size": 0}, "group_size must be an int >= 1, got 0"),
        ({"group_size": "five"}, "group_size must be an int >= 1, got 'five'"),
        ({"group_size": [20, 20]}, r"group_size must .* sum to n_features=50, got \[20, 20\]"),
        ({"group_size": [60, -10]}, "group_size must .* positive"),
        ({"group_size": [25.0, 25.0]}, "group_size must .* ints"),
        ({"group_size": [[25, 25]]}, "group_size must .* 1-d"),
        ({"n_informative_groups": 11}, "n_informative_groups must .* from 0 to the number of groups, 10, got 11"),
        ({"n_informative_groups": -1}, "n_informative_groups must .* got -1"),
        ({"within_group_density": 0}, r"within_group_density must be a number in \(0, 1\], got 0"),
        ({"within_group_density": 1.1}, "within_group_density must .* got 1.1"),
        ({"correlation": 1}, r"correlation must be a number in \[-1, 1\), got 1"),
        ({"correlation": -1.5}, "correlation must .* got -1.5"),
        ({"correlation": "high"}, "correlation must .* got 'high'"),
        ({"snr": 0}, r"snr must be a number in \(0, inf\], got 0"),
        ({"snr": np.nan}, "snr must .* got nan"),
        ({"density": 0}, r"density must be a number in \(0, 1\], got 0"),
        ({"density": 2}, "density must .* got 2"),
        ({"density": 0.5, "correlation": 0.5}, "correlation must be 0 when density < 1, got correlation=0.5"),
        ({"bias": np.inf}, "bias must .* got inf"),
        ({"bias": None}, "bias must .* got None"),
    ],
)
def test_errors(params, message):
    with pytest.raises(ValueError, match=message):
        make_group_regression(**params)
