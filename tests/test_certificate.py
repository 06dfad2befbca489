"""Every solution is certified by a duality gap. The gap is recomputed here, from coef_ alone."""

import pickle
import warnings
import zlib
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from _oracles import Problem, random_problem
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skspar import GroupLasso, group_lasso_path
from skspar._engine import folds
from skspar._engine.sparse_lasso import SparseLasso

pytestmark = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")

LAYOUTS = ["ones", "equal", "unequal", "unpenalized"]
SHAPES = [(40, 17), (20, 35)]


def seeded(*case):
    return np.random.default_rng(zlib.crc32(repr(case).encode()))


def check_certified(est, problem, bound):
    assert problem.relative_gap(est.coef_) <= bound
    # the two gaps may take different dual points, but both lie between 0 and the bound
    assert abs(est.dual_gap_ - problem.gap(est.coef_)) <= bound * problem.null_objective
    assert est.relative_dual_gap_ == pytest.approx(est.dual_gap_ / problem.null_objective, rel=1e-6, abs=1e-15)
    assert est.relative_dual_gap_ >= -1e-12
    intercept, size = problem.intercept(est.coef_)
    eps = np.finfo(est.coef_.dtype).eps
    np.testing.assert_allclose(est.intercept_, np.squeeze(intercept), rtol=0, atol=100 * eps * size)


def check_path(path, problem, bound, intercepts=False):
    alphas, coefs, gaps = path[:3]
    assert np.all(np.diff(alphas) < 0)
    for k, alpha in enumerate(alphas):
        at = problem.at(alpha)
        coef = coefs[..., k]
        assert at.relative_gap(coef) <= bound, f"alpha_max * {alpha / alphas[0]:.3g}"
        assert abs(gaps[k] - at.gap(coef)) <= bound * problem.null_objective
        if intercepts:
            intercept, size = at.intercept(coef)
            np.testing.assert_allclose(path[3][..., k], np.squeeze(intercept), rtol=0, atol=1e-14 * size)


@pytest.mark.parametrize("container", ["C", "F", "csc"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
def test_certified(container, weighted, fit_intercept, n_targets, layout, l1_ratio, shape):
    rng = seeded(container, weighted, fit_intercept, n_targets, layout, l1_ratio, shape)
    problem, params = random_problem(
        rng, *shape, layout, n_targets, l1_ratio, weighted, container=container, fit_intercept=fit_intercept
    )
    est = GroupLasso(**params, tol=1e-10).fit(problem.X, problem.y, sample_weight=problem.sample_weight)
    check_certified(est, problem, 1e-9)


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
def test_certified_positive(container, n_targets, l1_ratio, shape):
    rng = seeded(container, n_targets, l1_ratio, shape)
    for layout, weighted in product(["ones", "unequal"], [False, True]):
        problem, params = random_problem(
            rng, *shape, layout, n_targets, l1_ratio, weighted, container=container, positive=True
        )
        est = GroupLasso(**params, tol=1e-10).fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        check_certified(est, problem, 1e-9)


@pytest.mark.parametrize("container", ["C", "F", "csc"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
def test_certified_float32(container, layout, l1_ratio, shape):
    rng = seeded(container, layout, l1_ratio, shape)
    for n_targets, weighted in product([1, 3], [False, True]):
        problem, params = random_problem(
            rng,
            *shape,
            layout,
            n_targets,
            l1_ratio,
            weighted,
            fraction=rng.uniform(0.05, 0.9),
            container=container,
            dtype=np.float32,
        )
        est = GroupLasso(**params, tol=1e-6).fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        assert est.coef_.dtype == np.float32
        check_certified(est, problem, 1e-5)


@pytest.mark.parametrize("container", ["C", "F", "csc"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
@pytest.mark.parametrize(
    "dtype, mean_over_sd, tol, bound", [(np.float64, 1e6, 1e-10, 1e-9), (np.float32, 1e3, 1e-6, 1e-5)]
)
def test_certified_far_from_the_origin(container, layout, l1_ratio, shape, dtype, mean_over_sd, tol, bound):
    # half of the columns have such a mean that X'X - n m m' has no correct digit left
    rng = seeded(container, layout, l1_ratio, shape, mean_over_sd)
    for n_targets, weighted in product([1, 3], [False, True]):
        problem, params = random_problem(
            rng,
            *shape,
            layout,
            n_targets,
            l1_ratio,
            weighted,
            fraction=rng.uniform(0.05, 0.9),
            container=container,
            mean_over_sd=mean_over_sd,
            dtype=dtype,
        )
        est = GroupLasso(**params, tol=tol).fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        check_certified(est, problem, bound)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("stop", [{"tol": 0.3}, {"tol": 1e-2}, {"tol": 1e-12, "max_iter": 1}], ids=str)
def test_gap_of_an_early_stop_is_honest(layout, l1_ratio, stop):
    # where the gap is no rounding error: it bounds the true distance, and is that of the residual's best multiple
    problem, params = random_problem(
        seeded(layout, l1_ratio), 30, 45, layout, 2, l1_ratio, weighted=True, fraction=0.05
    )
    fit = {"X": problem.X, "y": problem.y, "sample_weight": problem.sample_weight}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        est = GroupLasso(**params, **stop).fit(**fit)
    optimum = problem.dual_objective(GroupLasso(**params, tol=1e-13).fit(**fit).coef_)
    rounding = 1e-12 * problem.null_objective
    assert est.dual_gap_ >= problem.objective(est.coef_) - optimum - rounding
    gap = problem.objective(est.coef_) - problem.dual_objective(est.coef_, best_scale=True)
    assert est.dual_gap_ == pytest.approx(gap, rel=1e-6, abs=rounding)
    if "max_iter" not in stop:
        assert est.relative_dual_gap_ <= stop["tol"]


def extended_gap(problem, coef):
    """Relative gap of groups of two without an intercept, in the platform's widest floating point.

    The dual point is the best multiple of the residual.
    """
    wide = np.longdouble
    X, y, b = problem.X.astype(wide), problem.y.astype(wide), coef.astype(wide)
    alpha, rho, n = wide(problem.alpha), wide(problem.l1_ratio), len(y)
    R = y - X @ b
    C = X.T @ R / n

    def polar(z, weight):
        low, high = wide(0), np.abs(z).sum() * 2  # bisection: slow, and right to the last digit
        for _ in range(200):
            c = (low + high) / 2
            z_norm = np.sqrt(np.sum(np.maximum(np.abs(z) - c * rho, 0) ** 2))
            low, high = (c, high) if z_norm > c * (1 - rho) * weight else (low, c)
        return high

    weights = [wide(w) for w in problem.group_weights]
    c = min(1 + (b @ C) / (R @ R / n), alpha / max(polar(C[g], w) for g, w in zip(problem.groups, weights)))
    value = sum(
        (1 - rho) * w * np.sqrt(b[g] @ b[g]) + rho * np.abs(b[g]).sum() for g, w in zip(problem.groups, weights)
    )
    gap = (1 - c) ** 2 * (R @ R) / (2 * n) + alpha * value - c * (b @ C)
    return float(gap / (y @ y / (2 * n)))


@pytest.mark.newest
@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="needs a long double wider than double")
@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, sparse.csc_matrix], ids=["C", "F", "csc"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("mean_over_sd", [100, 1000])
@pytest.mark.parametrize("shape", [(100, 2), (100, 10), (20, 40)], ids=["pair", "tall", "wide"])
def test_gap_is_honest_far_from_the_origin(convert, l1_ratio, mean_over_sd, shape):
    # without an intercept nothing centres the columns: a Gram matrix loses twice the digits of the mean. Rounding of
    # the coefficients themselves may keep the gap above tol; what is reported is nonetheless the gap of coef_
    rng = seeded(l1_ratio, mean_over_sd, shape)
    n, p = shape
    X = mean_over_sd + rng.normal(size=shape)
    y = rng.normal(size=n) + X[:, 0] - X[:, 1]
    groups, weights = list(np.arange(p).reshape(-1, 2)), np.full(p // 2, 1.5)
    problem = Problem(X, y, groups, weights, l1_ratio=l1_ratio, fit_intercept=False)
    for fraction in (0.1, 1e-2, 1e-3, 1e-5):
        at = problem.at(fraction * problem.alpha_max)
        est = GroupLasso(at.alpha, groups=2, group_weights=weights, l1_ratio=l1_ratio, fit_intercept=False, tol=1e-10)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            est.fit(convert(X), y)
        gap = extended_gap(at, est.coef_)
        assert est.relative_dual_gap_ == pytest.approx(gap, rel=0.1, abs=1e-11)  # a tenth of tol
        assert bool(caught) == (est.relative_dual_gap_ > 1e-10)
        assert gap <= 1e-8
        assert est.n_iter_ <= 1000
        for warning in caught:
            assert "more iterations will not help" in str(warning.message)


def path_arguments(params):
    return {k: v for k, v in params.items() if k not in ("alpha", "fit_intercept")}


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", ""])
def test_path_certified(container, n_targets, layout, l1_ratio, intercept):
    problem, params = random_problem(
        seeded(container, n_targets, layout, l1_ratio),
        30,
        25,
        layout,
        n_targets,
        l1_ratio,
        weighted=True,
        fit_intercept=intercept,
        container=container,
    )
    path = group_lasso_path(
        problem.X,
        problem.y,
        **path_arguments(params),
        sample_weight=problem.sample_weight,
        alphas=8,
        eps=1e-2,
        tol=1e-10,
        return_intercepts=intercept,
        return_n_iter=True,
    )
    shape = (25, 8) if n_targets == 1 else (3, 25, 8)
    assert path[1].shape == shape
    assert len(path) == 4 + intercept
    assert path[-1].shape == (8,)
    np.testing.assert_allclose(path[0], problem.alpha_max * np.geomspace(1, 1e-2, 8), rtol=1e-10)
    check_path(path, problem, 1e-9, intercept)


@pytest.mark.newest
@pytest.mark.parametrize("kind", ["plain", "duplicated", "nearly collinear"])
@pytest.mark.parametrize("layout", ["ones", "equal", "unequal"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_path_to_a_thousandth_of_alpha_max(kind, layout, l1_ratio):
    # more columns than rows: the end of the path nearly interpolates
    problem, params = random_problem(seeded(kind, layout, l1_ratio), 30, 80, layout, 1, l1_ratio)
    X = problem.X
    if kind != "plain":
        X[:, 40:] = X[:, :40]
    if kind == "nearly collinear":
        X[:, 40:] += 1e-6 * seeded(1).normal(size=(30, 40))
    problem.__post_init__()
    path = group_lasso_path(
        X, problem.y, **path_arguments(params), alphas=20, eps=1e-3, tol=1e-10, return_intercepts=True
    )
    check_path(path, problem, 1e-9, True)


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("l1_ratio, positive", [(0.0, False), (0.3, False), (0.0, True), (0.3, True)])
@pytest.mark.parametrize("tol", [1e-6, 1e-10])
def test_path_with_many_more_active_features_than_rows(container, n_targets, l1_ratio, positive, tol):
    # so many that the solver leaves the Gram matrix for the columns themselves
    problem, params = random_problem(
        seeded(container, n_targets, l1_ratio),
        15,
        160,
        "equal",
        n_targets,
        l1_ratio,
        weighted=True,
        container=container,
    )
    problem.positive = positive
    path = group_lasso_path(
        problem.X,
        problem.y,
        **path_arguments(params),
        positive=positive,
        sample_weight=problem.sample_weight,
        alphas=12,
        eps=1e-3,
        tol=tol,
        return_intercepts=True,
    )
    check_path(path, problem, 1.01 * tol + 1e-13, True)
    active = path[1][..., -1].reshape(-1, 160).any(axis=0)
    assert positive or np.count_nonzero(active) > 2 * 15 * (1 - l1_ratio)


@pytest.mark.parametrize("shape, eps", [((100, 3000), 0.02), ((2000, 60), 1e-3)], ids=["working set", "tall"])
@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
def test_path_certified_at_size(shape, eps, container, l1_ratio):
    problem, params = random_problem(seeded(shape), *shape, "equal", 1, l1_ratio, container=container)
    path = group_lasso_path(
        problem.X, problem.y, **path_arguments(params), alphas=15, eps=eps, tol=1e-10, return_intercepts=True
    )
    check_path(path, problem, 1e-9, True)


def test_path_of_given_alphas(rng):
    problem, params = random_problem(rng, 30, 20)
    given = problem.alpha_max * np.array([0.1, 2.0, 0.5, 0.01])
    alphas, coefs, gaps = group_lasso_path(problem.X, problem.y, groups=4, alphas=given, tol=1e-12)
    np.testing.assert_array_equal(alphas, np.sort(given)[::-1])
    assert coefs.shape == (20, 4) and gaps.shape == (4,)
    assert np.all(coefs[:, 0] == 0)
    check_path((alphas, coefs, gaps), replace(problem, fit_intercept=False), 1e-9)  # a path has none unless asked


def test_path_is_what_fit_does(rng):
    problem, params = random_problem(rng, 40, 20, "unequal", 1, 0.3, weighted=True)
    alphas, coefs, _, intercepts = GroupLasso.path(
        problem.X,
        problem.y,
        **path_arguments(params),
        sample_weight=problem.sample_weight,
        alphas=5,
        tol=1e-13,
        return_intercepts=True,
    )
    for k, alpha in enumerate(alphas):
        est = GroupLasso(**{**params, "alpha": alpha}, tol=1e-13)
        est.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        np.testing.assert_allclose(est.coef_, coefs[:, k], rtol=0, atol=1e-5)
        np.testing.assert_allclose(est.intercept_, intercepts[k], rtol=0, atol=1e-5)


def test_groups_and_weights_are_reported(rng):
    problem, params = random_problem(rng, 30, 20, "unpenalized", fraction=0.3)
    est = GroupLasso(**params).fit(problem.X, problem.y)
    for g, expected in zip(est.groups_.values(), problem.groups):
        np.testing.assert_array_equal(np.sort(g), np.sort(expected))
    np.testing.assert_array_equal(est.group_weights_, problem.group_weights)
    nonzero = [label for label, g in est.groups_.items() if np.any(est.coef_[g])]
    assert list(est.active_groups_) == nonzero
    assert 2 <= len(nonzero) < len(problem.groups)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("n_targets, l1_ratio", [(1, 0.0), (3, 1.0)])
@pytest.mark.parametrize("layout, positive", [("ones", False), ("ones", True), ("unpenalized", False)])
@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
def test_certified_without_a_gram_matrix(
    monkeypatch, weighted, fit_intercept, n_targets, l1_ratio, layout, positive, shape
):
    # sparse columns by the thousand; here from the first one on
    monkeypatch.setattr(SparseLasso, "pays", lambda problem, columns: True)
    monkeypatch.setattr(folds, "_moments_pay", lambda *_: False)
    l1_ratio = 1.0 if layout == "unpenalized" else l1_ratio
    rng = seeded(weighted, fit_intercept, n_targets, layout, positive, shape)
    options = dict(container="csc", fit_intercept=fit_intercept, positive=positive)
    problem, params = random_problem(rng, *shape, layout, n_targets, l1_ratio, weighted, **options)
    grown = []
    grow = SparseLasso.grow
    monkeypatch.setattr(SparseLasso, "grow", lambda self, columns: (grown.append(len(columns)), grow(self, columns)))
    for fraction, tol in product((0.5, 0.05, 1e-3), (1e-6, 1e-12)):
        at = problem.at(fraction * problem.alpha_max)
        est = GroupLasso(**{**params, "alpha": at.alpha}, tol=tol)
        est.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        check_certified(est, at, 1.01 * tol + 1e-14)
    assert grown


def test_sparse_path_until_the_support_has_as_many_columns_as_there_are_rows(rng):
    # Newton's steps are long there, and change signs
    X = sparse.csc_array(sparse.random(600, 9000, 2e-3, "csc", None, rng))
    y = X[:, :30] @ rng.normal(size=30) + rng.normal(size=600)
    alphas, coefs, gaps, intercepts, n_iter = group_lasso_path(
        X, y, alphas=20, eps=1e-3, return_intercepts=True, return_n_iter=True
    )
    problem = Problem(X, y, [np.array([j]) for j in range(9000)], np.ones(9000))
    check_path((alphas[12::3], coefs[:, 12::3], gaps[12::3]), problem, 1.01e-6)
    assert np.count_nonzero(coefs[:, -1]) > 500
    assert n_iter.max() < 10_000


def test_zeros_of_a_wide_path_are_an_array_like_any_other(rng):
    # so large that pages which are never written to are not there
    X = sparse.csc_array(sparse.random(100, 30_000, 1e-2, "csc", None, rng))
    y = X[:, [0]].toarray().ravel() + 0.1 * rng.normal(size=100)
    coefs = group_lasso_path(X, y, alphas=30)[1]
    assert coefs.nbytes > 1 << 22
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(coefs)), coefs)
    coefs[:, -1] = 1.0
    assert coefs[:, -1].sum() == 30_000


def test_wide_sparse_path_leaves_the_gram_matrix(rng):
    # a generator by its place: SciPy 1.12 and 1.15 call it by other names
    X = sparse.csc_array(sparse.random(1500, 8000, 2e-3, "csc", None, rng))
    y = X[:, :40] @ rng.normal(size=40) + 0.1 * rng.normal(size=1500)
    alphas, coefs, gaps, intercepts, n_iter = group_lasso_path(
        X, y, alphas=25, eps=1e-2, tol=1e-8, return_intercepts=True, return_n_iter=True
    )
    assert np.count_nonzero(coefs[:, -1]) > 700
    problem = Problem(X, y, [np.array([j]) for j in range(8000)], np.ones(8000))
    for k in (5, 15, 24):
        at = problem.at(alphas[k])
        R = at.project(at.Y - at.A @ coefs[:, [k]])
        theta = R * min(1.0, at.alpha / np.abs(at.A.T @ R).max())
        gap = np.sum((at.Y - at.A @ coefs[:, [k]]) ** 2) / 2 + at.alpha * np.abs(coefs[:, k]).sum()
        gap -= np.vdot(theta, at.Y) - np.vdot(theta, theta) / 2
        assert gap <= 1.01e-8 * at.null_objective
