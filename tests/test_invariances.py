"""What must not change the answer, and the corners where solvers usually break."""

import zlib

import numpy as np
import pytest
from _oracles import Problem, random_data, random_problem, repeated_rows
from scipy import sparse
from sklearn.base import clone

from skspar import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path

pytestmark = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")

SPLITS = [(np.arange(10, 40), np.arange(10)), (np.arange(25), np.arange(25, 40)), (np.arange(5, 35), np.arange(35, 40))]


def assert_same(a, b, scale=1.0, tol=1e-6):
    np.testing.assert_allclose(a.coef_, scale * b.coef_, rtol=0, atol=tol * scale * np.abs(b.coef_).max())
    np.testing.assert_allclose(a.intercept_, scale * b.intercept_, rtol=0, atol=tol * scale * np.abs(b.coef_).max())


# --- units


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e9])
@pytest.mark.parametrize("layout", ["ones", "unequal", "unpenalized"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_units_of_y(rng, scale, layout, n_targets, l1_ratio):
    problem, params = random_problem(rng, 40, 17, layout, n_targets, l1_ratio, fraction=0.1)
    base = GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y)
    assert base.coef_.any()
    scaled = GroupLasso(**{**params, "alpha": scale * problem.alpha}, tol=1e-14).fit(problem.X, scale * problem.y)
    assert_same(scaled, base, scale)
    assert scaled.relative_dual_gap_ == pytest.approx(scaled.dual_gap_ / (scale**2 * problem.null_objective), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_units_of_y_in_cross_validation(rng, scale):
    X, y = random_data(rng, 40, 15)
    base, scaled = (GroupLassoCV(groups=3, alphas=8, cv=3, tol=1e-14).fit(X, c * y) for c in (1, scale))
    np.testing.assert_allclose(scaled.mse_path_, scale**2 * base.mse_path_, rtol=1e-6)
    assert scaled.alpha_ == pytest.approx(scale * base.alpha_)
    assert_same(scaled, base, scale, 1e-6)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("container", ["C", "csc"])
def test_units_of_x(rng, scale, container):
    problem, params = random_problem(rng, 40, 17, "unequal", 1, 0.3, fraction=0.1, container=container)
    base = GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y)
    scaled = GroupLasso(**{**params, "alpha": scale * problem.alpha}, tol=1e-14).fit(scale * problem.X, problem.y)
    np.testing.assert_allclose(scale * scaled.coef_, base.coef_, rtol=0, atol=1e-6 * np.abs(base.coef_).max())


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_an_unpenalized_column(rng, scale):
    problem, params = random_problem(rng, 40, 17, "unpenalized", fraction=0.1)
    base = GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y)
    units = np.ones(17)
    units[problem.groups[2]] = scale
    scaled = GroupLasso(**params, tol=1e-14).fit(problem.X * units, problem.y)
    np.testing.assert_allclose(units * scaled.coef_, base.coef_, rtol=0, atol=1e-6 * np.abs(base.coef_).max())


def test_units_of_weights(rng):
    problem, params = random_problem(rng, 40, 17, weighted=True, fraction=0.1)
    base, scaled = (
        GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y, c * problem.sample_weight) for c in (1, 1e6)
    )
    assert_same(scaled, base)


@pytest.mark.parametrize("container", ["C", "csc"])
def test_shift_of_x_and_y(rng, container):
    problem, params = random_problem(rng, 40, 17, weighted=True, fraction=0.1, container=container)
    base = GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y, problem.sample_weight)
    X = problem.X.toarray() if container == "csc" else problem.X
    X = type(problem.X)(X + 3.0) if container == "csc" else X + 3.0
    moved = GroupLasso(**params, tol=1e-14).fit(X, problem.y + 5.0, problem.sample_weight)
    np.testing.assert_allclose(moved.coef_, base.coef_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(moved.predict(X), base.predict(problem.X) + 5.0, rtol=1e-7)


# --- degenerate data


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e6])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_constant_column(rng, container, value, weighted):
    # 0.1 has a mean that is not exactly 0.1: what rounding leaves must not become a feature
    X, y = random_data(rng, 40, 12)
    s = rng.uniform(0.1, 3, 40) if weighted else None
    X[:, 5] = value
    without = np.delete(np.arange(12), 5)
    labels = np.repeat(np.arange(4), 3)
    weights = np.sqrt([3, 3, 3, 3])
    params = dict(alpha=0.1, group_weights=weights, tol=1e-14)
    base = GroupLasso(groups=labels[without], **params).fit(X[:, without], y, s)
    convert = sparse.csc_matrix if container == "csc" else np.asarray
    est = GroupLasso(groups=labels, **params).fit(convert(X), y, s)
    assert abs(est.coef_[5]) * max(value, 1.0) <= 1e-9
    np.testing.assert_allclose(est.coef_[without], base.coef_, rtol=0, atol=1e-6)
    assert est.intercept_ == pytest.approx(base.intercept_, abs=1e-6)


@pytest.mark.parametrize("alpha", [0, 0.01])
def test_constant_columns_only(alpha, rng):
    y = rng.normal(size=20)
    est = GroupLasso(alpha=alpha, groups=2).fit(np.full((20, 4), 0.1), y)
    np.testing.assert_allclose(est.predict(np.full((3, 4), 0.1)), y.mean(), rtol=1e-10)


@pytest.mark.parametrize("layout", ["ones", "equal"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_duplicated_columns(rng, layout, l1_ratio):
    # a copy of every group, in groups of its own: the minimum is the same, and so are the predictions
    problem, params = random_problem(rng, 40, 12, layout, 1, l1_ratio, fraction=0.1)
    single = GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y)
    X = np.hstack([problem.X, problem.X])
    twice = Problem(
        X,
        problem.y,
        problem.groups + [g + 12 for g in problem.groups],
        np.tile(problem.group_weights, 2),
        problem.alpha,
        l1_ratio,
    )
    est = GroupLasso(**params, tol=1e-14).fit(X, problem.y)
    assert twice.relative_gap(est.coef_) <= 1e-12
    assert twice.objective(est.coef_) == pytest.approx(problem.objective(single.coef_), rel=1e-12)
    np.testing.assert_allclose(est.predict(X), single.predict(problem.X), atol=1e-5)


def test_duplicated_column_within_a_group(rng):
    X, y = random_data(rng, 40, 6)
    X = np.ascontiguousarray(X[:, [0, 1, 1, 2, 3, 4, 5, 5]])
    partition = [np.arange(4), np.arange(4, 8)]
    problem = Problem(X, y, partition, [2.0, 2.0])
    est = GroupLasso(alpha=0.1 * problem.alpha_max, groups=4, tol=1e-12).fit(X, y)
    assert problem.at(est.alpha).relative_gap(est.coef_) <= 1e-11
    # equal columns of one group have equal coefficients at the optimum: the norm is strictly convex
    np.testing.assert_allclose(est.coef_[[1, 6]], est.coef_[[2, 7]], atol=1e-4)


@pytest.mark.parametrize("duplicate", ["of each other", "of a penalised column"])
def test_duplicated_unpenalized_column(rng, duplicate):
    X, y = random_data(rng, 40, 8)
    X[:, 1] = X[:, 0 if duplicate == "of each other" else 5]
    problem = Problem(X, y, [np.arange(2), np.arange(2, 5), np.arange(5, 8)], np.array([0.0, 1.0, 1.0]))
    problem = problem.at(0.2 * problem.alpha_max)
    est = GroupLasso(problem.alpha, groups=problem.groups, group_weights=problem.group_weights, tol=1e-12).fit(X, y)
    assert problem.relative_gap(est.coef_) <= 1e-11


ESTIMATORS = [
    GroupLasso(groups=2),
    GroupLasso(alpha=1e-3, l1_ratio=0.5, groups=2),
    GroupLasso(alpha=0),
    GroupLasso(groups=2, refit=True),
    GroupLasso(groups=2, fit_intercept=False),
    GroupLassoCV(groups=2, alphas=5, cv=3),
    GroupLassoCV(groups=2, alphas=5, cv=3, l1_ratio=[0.1, 0.9]),
    GroupLassoCV(groups=2, alphas=[1.0, 0.1], cv=3, selection_rule="1se"),
    GroupLassoIC(groups=2, alphas=5, noise_variance=1.0),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("est", ESTIMATORS, ids=str)
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("container", ["C", "csc"])
def test_zero_y(rng, est, n_targets, container):
    if n_targets == 3 and isinstance(est, GroupLassoIC):
        est = GroupLassoIC(groups=2, alphas=[1.0, 0.1], noise_variance=1.0)
    X, y = random_data(rng, 30, 8, n_targets, container=container)
    est.fit(X, 0 * y)
    assert not est.coef_.any()
    assert not np.any(est.intercept_)
    assert est.dual_gap_ == est.relative_dual_gap_ == 0
    assert est.active_groups_ == []
    assert np.all(np.isfinite(getattr(est, "alphas_", 0)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("est", [e for e in ESTIMATORS if e.fit_intercept], ids=str)
@pytest.mark.parametrize("value", [0.1, -1e9])
def test_constant_y(rng, est, value):
    # the mean of thirty times 0.1 is not 0.1; the rest is rounding, no signal
    X, y = random_data(rng, 30, 8)
    est.fit(X, np.full(30, value))
    np.testing.assert_allclose(est.predict(X), value, rtol=1e-12)
    np.testing.assert_allclose(est.coef_, 0, atol=1e-12 * abs(value))


@pytest.mark.parametrize("shape", [(40, 12), (15, 30)], ids=["tall", "wide"])
@pytest.mark.parametrize("container", ["C", "csc"])
def test_exact_fit(rng, shape, container):
    X, _ = random_data(rng, *shape, container=container)
    B = np.zeros(shape[1])
    B[:3] = [1.0, -2.0, 3.0]
    y = X @ B + 4.0
    problem = Problem(X, y, np.split(np.arange(shape[1]), shape[1] // 3), np.full(shape[1] // 3, np.sqrt(3)))
    for fraction in [1e-2, 1e-6, 1e-9]:
        at = problem.at(fraction * problem.alpha_max)
        est = GroupLasso(at.alpha, groups=3, tol=1e-11).fit(X, y)
        assert at.relative_gap(est.coef_) <= 1e-10
    np.testing.assert_allclose(est.predict(X), y, rtol=0, atol=1e-5)
    np.testing.assert_allclose(GroupLasso(alpha=0, groups=3).fit(X, y).predict(X), y, rtol=1e-9)
    if container == "C":
        np.testing.assert_allclose(est.coef_, B, atol=1e-4)


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_one_row(rng, container, n_targets):
    X, y = random_data(rng, 1, 6, n_targets, mean_over_sd=3.0)
    X = sparse.csc_matrix(X) if container == "csc" else X
    est = GroupLasso(alpha=0.1, groups=2).fit(X, y)
    assert not est.coef_.any() and est.dual_gap_ == 0
    np.testing.assert_array_equal(est.predict(X), y)

    problem = Problem(X, y, np.split(np.arange(6), 3), np.full(3, np.sqrt(2)), fit_intercept=False)
    problem = problem.at(0.3 * problem.alpha_max)
    est = GroupLasso(problem.alpha, groups=2, fit_intercept=False, tol=1e-10).fit(X, y)
    assert est.coef_.any()
    assert problem.relative_gap(est.coef_) <= 1e-9


@pytest.mark.parametrize("n_columns", [1, 2])
def test_one_group(rng, n_columns):
    X, y = random_data(rng, 20, n_columns)
    problem = Problem(X, y, [np.arange(n_columns)], [np.sqrt(n_columns)])
    problem = problem.at(0.3 * problem.alpha_max)
    est = GroupLasso(problem.alpha, groups=10, tol=1e-12).fit(X, y)
    assert problem.relative_gap(est.coef_) <= 1e-11


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_many_more_columns_than_rows(rng, container, l1_ratio):
    problem, params = random_problem(rng, 8, 4000, "equal", 1, l1_ratio, fraction=0.05, container=container)
    est = GroupLasso(**params, tol=1e-11).fit(problem.X, problem.y)
    assert problem.relative_gap(est.coef_) <= 1e-10


@pytest.mark.parametrize("layout", ["ones", "equal", "unequal", "unpenalized"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("positive", [False, True], ids=["", "positive"])
def test_alpha_max(rng, layout, n_targets, l1_ratio, positive):
    if positive and layout == "unpenalized":
        layout = "unequal"
    problem, params = random_problem(
        rng, 40, 17, layout, n_targets, l1_ratio, weighted=True, fraction=1.0, positive=positive
    )
    free = problem.free
    alphas, coefs, _, _ = group_lasso_path(
        problem.X,
        problem.y,
        **{k: v for k, v in params.items() if k != "alpha"},
        sample_weight=problem.sample_weight,
        alphas=3,
        return_intercepts=True,
    )
    assert alphas[0] == pytest.approx(problem.alpha_max, rel=1e-12)
    for factor, nonzero in [(1.0, False), (1.5, False), (1e6, False), (0.999, True)]:
        est = GroupLasso(**{**params, "alpha": factor * alphas[0]}, tol=1e-10)
        B = est.fit(problem.X, problem.y, problem.sample_weight).coef_
        assert np.any(np.delete(B, free, axis=-1)) == nonzero
    assert not np.any(np.delete(coefs[..., 0], free, axis=-1))


# --- weights count rows


INTEGER_WEIGHTED = [
    GroupLasso(alpha=0.1, groups=3, tol=1e-14),
    GroupLasso(alpha=0.1, groups=3, l1_ratio=0.4, tol=1e-14),
    GroupLasso(alpha=0.1, groups=3, fit_intercept=False, tol=1e-14),
    GroupLasso(alpha=0.1, groups=3, positive=True, tol=1e-14),
    GroupLasso(alpha=0.3, groups=3, refit=True, tol=1e-14),
    GroupLasso(alpha=0),
    GroupLassoIC("bic", groups=3, alphas=8, tol=1e-14),
    GroupLassoIC("aic", groups=3, alphas=8, tol=1e-14, noise_variance=0.3),
]


@pytest.mark.parametrize("est", INTEGER_WEIGHTED, ids=str)
@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_integer_weights_are_repeated_rows(rng, est, container, n_targets):
    if n_targets == 3 and isinstance(est, GroupLassoIC):
        n_targets = 1
    X, y = random_data(rng, 40, 12, n_targets)
    s = rng.integers(0, 4, 40)
    convert = sparse.csc_matrix if container == "csc" else np.asarray
    weighted = est.fit(convert(X), y, sample_weight=s)
    coef, intercept, gap = weighted.coef_, weighted.intercept_, weighted.relative_dual_gap_
    more = {
        k: getattr(weighted, k)
        for k in ("criterion_", "degrees_of_freedom_", "noise_variance_", "alphas_")
        if hasattr(weighted, k)
    }
    X2, y2 = repeated_rows(s, X, y)
    repeated = est.fit(convert(X2), y2)
    np.testing.assert_allclose(coef, repeated.coef_, rtol=0, atol=1e-6 * np.abs(coef).max())
    np.testing.assert_allclose(intercept, repeated.intercept_, rtol=0, atol=1e-6)
    assert abs(gap - repeated.relative_dual_gap_) < 1e-12
    for name, value in more.items():
        np.testing.assert_allclose(value, getattr(repeated, name), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("shape", [(40, 12), (40, 60)], ids=["tall", "wide"])
@pytest.mark.parametrize("selection_rule", ["min", "1se"])
def test_integer_weights_are_repeated_rows_in_cross_validation(rng, container, shape, selection_rule):
    X, y = random_data(rng, *shape)
    s = rng.integers(0, 4, 40)
    rows = np.repeat(np.arange(40), s)
    splits = [tuple(np.flatnonzero(np.isin(rows, part)) for part in split) for split in SPLITS]
    convert = sparse.csc_matrix if container == "csc" else np.asarray
    params = dict(groups=3, alphas=8, eps=0.02, selection_rule=selection_rule, tol=1e-14)
    weighted = GroupLassoCV(cv=SPLITS, **params).fit(convert(X), y, sample_weight=s)
    repeated = GroupLassoCV(cv=splits, **params).fit(convert(X[rows]), y[rows])
    np.testing.assert_allclose(weighted.alphas_, repeated.alphas_, rtol=1e-10)
    np.testing.assert_allclose(weighted.mse_path_, repeated.mse_path_, rtol=1e-7)
    assert weighted.alpha_ == pytest.approx(repeated.alpha_)
    assert_same(weighted, repeated, tol=1e-6)


def test_a_row_of_no_weight_may_hold_anything(rng):
    X, y = random_data(rng, 40, 12)
    s = np.r_[np.ones(39), 0.0]
    base = GroupLasso(alpha=0.1, groups=3, tol=1e-14).fit(X[:39], y[:39])
    X[39], y[39] = 1e8, -1e9
    assert_same(GroupLasso(alpha=0.1, groups=3, tol=1e-14).fit(X, y, s), base)


# --- order


@pytest.mark.parametrize("layout", ["ones", "unequal", "unpenalized"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
@pytest.mark.parametrize("container", ["C", "csc"])
def test_order_of_rows_columns_and_targets(rng, layout, n_targets, l1_ratio, container):
    problem, params = random_problem(
        rng, 40, 17, layout, n_targets, l1_ratio, weighted=True, fraction=0.1, container=container
    )
    rows, columns, targets = rng.permutation(40), rng.permutation(17), rng.permutation(n_targets)
    base = GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y, problem.sample_weight)

    X = problem.X.tocsr() if container == "csc" else problem.X
    by_rows = GroupLasso(**params, tol=1e-14).fit(X[rows], problem.y[rows], problem.sample_weight[rows])
    assert_same(by_rows, base)

    place = np.argsort(columns)  # old column j is new column place[j]
    params["groups"] = [place[g] for g in problem.groups]
    by_columns = GroupLasso(**params, tol=1e-14).fit(problem.X[:, columns], problem.y, problem.sample_weight)
    np.testing.assert_allclose(by_columns.coef_[..., place], base.coef_, rtol=0, atol=1e-6)

    if n_targets > 1:
        params["groups"] = problem.groups
        by_targets = GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y[:, targets], problem.sample_weight)
        np.testing.assert_allclose(by_targets.coef_, base.coef_[targets], rtol=0, atol=1e-6)
        np.testing.assert_allclose(by_targets.intercept_, base.intercept_[targets], rtol=0, atol=1e-6)


# --- the caller's arrays


def checksum(*arrays):
    return [zlib.crc32(np.ascontiguousarray(a).tobytes()) for a in arrays]


def parts(X):
    return (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,)


FITTED = [
    GroupLasso(alpha=0.05, groups=3),
    GroupLasso(alpha=0.05, groups=3, l1_ratio=0.5, fit_intercept=False),
    GroupLasso(alpha=0),
    GroupLasso(alpha=0.1, groups=3, refit=True),
    GroupLasso(alpha=0.05, groups=[[0, 1, 2, 3], [3, 4, 5, 6], [7, 8, 9, 10, 11]], overlap="latent"),
    GroupLassoCV(groups=3, alphas=5, cv=3),
    GroupLassoIC(groups=3, alphas=5),
]


@pytest.mark.parametrize("est", FITTED, ids=str)
@pytest.mark.parametrize("container", ["C", "F", "csc"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("read_only", [False, True], ids=["writeable", "read-only"])
def test_arguments_are_never_written_to(rng, est, container, dtype, read_only):
    X, y = random_data(rng, 40, 12, container=container, mean_over_sd=2.0, dtype=dtype)
    s = rng.uniform(0.1, 3, 40)
    given = [*parts(X), y, s]
    before = checksum(*given)
    for a in given:
        a.flags.writeable = not read_only
    est.fit(X, y, sample_weight=s).predict(X)
    assert checksum(*given) == before


def test_group_arguments_are_never_written_to(rng):
    X, y = random_data(rng, 40, 12)
    groups = [np.array([3, 1, 0]), np.array([2, 11, 4]), np.arange(5, 11)]
    weights = np.array([1.0, 0.0, 2.0])
    alphas = np.array([0.1, 1.0, 0.5])
    given = [*groups, weights, alphas]
    before = checksum(*given)
    for a in given:
        a.flags.writeable = False
    GroupLassoCV(groups=groups, group_weights=weights, alphas=alphas, cv=3).fit(X, y)
    group_lasso_path(X, y, groups=groups, group_weights=weights, alphas=alphas)
    assert checksum(*given) == before


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_map(rng, tmp_path, order):
    X, y = random_data(rng, 40, 12, container=order)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    maps = np.load(tmp_path / "X.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r")
    for est in FITTED:
        assert_same(est.fit(*maps), clone(est).fit(X, y), tol=1e-12)


def csr_with_int64(X):
    S = sparse.csr_array(X)
    S.indices, S.indptr = S.indices.astype(np.int64), S.indptr.astype(np.int64)
    return S


def csc_with_int64(X):
    return csr_with_int64(X.T).T


def explicit_zeros(X):
    S = sparse.csc_matrix(X)
    S.data[:] = 1.0
    S = S + sparse.csc_matrix(np.ones_like(X))  # every entry is stored
    i, j = S.indices, np.repeat(np.arange(X.shape[1]), np.diff(S.indptr))
    S.data[:] = X[i, j]
    assert np.any(S.data == 0)
    return S


def unsorted_indices(X):
    S = sparse.csc_matrix(X)
    for a, b in zip(S.indptr[:-1], S.indptr[1:]):
        S.indices[a:b], S.data[a:b] = S.indices[a:b][::-1].copy(), S.data[a:b][::-1].copy()
    S.has_sorted_indices = False
    return S


def duplicate_entries(X):
    S = sparse.csc_matrix(X)
    S = sparse.csc_matrix((np.repeat(S.data / 2, 2), np.repeat(S.indices, 2), 2 * S.indptr), shape=X.shape)
    assert not S.has_canonical_format
    return S


def strided(X):
    wide = np.full((2 * X.shape[0], 3 * X.shape[1]), np.nan)
    wide[::2, 1::3] = X
    return wide[::2, 1::3]


CONTAINERS = [
    np.asfortranarray,
    strided,
    lambda X: X[::-1][::-1],
    lambda X: X[:, ::-1].copy()[:, ::-1],
    lambda X: X.tolist(),
    sparse.csr_matrix,
    sparse.csc_matrix,
    sparse.coo_matrix,
    sparse.csr_array,
    sparse.csc_array,
    sparse.coo_array,
    sparse.lil_array,
    csr_with_int64,
    csc_with_int64,
    explicit_zeros,
    unsorted_indices,
    duplicate_entries,
]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("est", [FITTED[0], FITTED[1], FITTED[3], FITTED[4], FITTED[5]], ids=str)
def test_container_of_x(rng, container, est):
    X, y = random_data(rng, 40, 12, container="csc")
    X = X.toarray()
    s = rng.uniform(0.1, 3, 40)
    est = clone(est).set_params(tol=1e-14)
    expected = clone(est).fit(X, y, s)
    given = container(X)
    before = checksum(*parts(given)) if sparse.issparse(given) and hasattr(given, "indptr") else None
    assert_same(est.fit(given, y, s), expected)
    np.testing.assert_allclose(est.predict(given), expected.predict(X), atol=1e-6)
    if before:
        assert checksum(*parts(given)) == before


# scipy has no sparse float16
@pytest.mark.parametrize(
    "container, dtype",
    [*((c, t) for c in ("C", "csc") for t in (np.int32, np.int64, np.uint8, bool)), ("C", np.float16)],
)
def test_other_dtypes_become_float64(rng, dtype, container):
    X = rng.integers(0, 3, (40, 12)).astype(dtype)
    y = X.astype(float) @ rng.normal(size=12) + rng.normal(size=40)
    convert = sparse.csc_matrix if container == "csc" else np.asarray
    est = GroupLasso(alpha=0.05, groups=3, tol=1e-12).fit(convert(X), y)
    assert est.coef_.dtype == np.float64
    assert_same(est, GroupLasso(alpha=0.05, groups=3, tol=1e-12).fit(convert(X.astype(float)), y), tol=1e-9)


@pytest.mark.parametrize("convert", [lambda y: y.tolist(), lambda y: y.astype(int), lambda y: np.repeat(y, 2)[::2]])
def test_container_of_y(rng, convert):
    X, y = random_data(rng, 40, 12)
    y = 3 * y.round()
    assert_same(FITTED[0].fit(X, convert(y)), GroupLasso(alpha=0.05, groups=3).fit(X, y), tol=1e-9)


def test_fitting_twice_forgets_the_first_fit(rng):
    X, y = random_data(rng, 40, 12)
    est = GroupLasso(alpha=0.05, groups=3)
    first = est.fit(X, y).coef_.copy()
    est.fit(X[:, :6], -y)
    np.testing.assert_array_equal(est.fit(X, y).coef_, first)
