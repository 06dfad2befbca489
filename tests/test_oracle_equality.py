"""The same answers as solvers that share no code with skspar: scikit-learn, a conic solver, LAPACK."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from _oracles import Problem, random_data, random_problem
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LinearRegression, MultiTaskLasso

from skspar import GroupLasso, group_lasso_path

pytestmark = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")

SHAPES = [(60, 20), (30, 50)]


def reference(estimator, X, y, **fit_params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.set_params(tol=1e-15, max_iter=100_000).fit(X, y, **fit_params)


def assert_same_fit(est, ref, tol=1e-8):
    np.testing.assert_allclose(est.coef_, ref.coef_, rtol=0, atol=tol * np.abs(ref.coef_).max())
    np.testing.assert_allclose(est.intercept_, ref.intercept_, rtol=0, atol=tol * (1 + np.abs(ref.intercept_).max()))


@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
@pytest.mark.parametrize("container", ["C", "F", "csc"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("positive", [False, True], ids=["", "positive"])
def test_groups_of_one_are_the_lasso(rng, shape, container, weighted, fit_intercept, positive):
    options = dict(fit_intercept=fit_intercept, positive=positive)
    for fraction in [0.5, 0.05]:
        problem, params = random_problem(
            rng, *shape, "ones", weighted=weighted, fraction=fraction, container=container, **options
        )
        fit = {"X": problem.X, "y": problem.y, "sample_weight": problem.sample_weight}
        ref = reference(Lasso(alpha=problem.alpha, **options), **fit)
        assert 0 < np.count_nonzero(ref.coef_) < shape[1]
        assert_same_fit(GroupLasso(**params, tol=1e-14).fit(**fit), ref)
        # the l1 part of the sparse group lasso is the same penalty, whatever the groups are
        sparse_group = GroupLasso(**{**params, "groups": 4, "l1_ratio": 1.0}, tol=1e-14).fit(**fit)
        assert_same_fit(sparse_group, ref)


@pytest.mark.parametrize("shape", SHAPES, ids=["tall", "wide"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
def test_rows_of_several_targets_are_the_multi_task_lasso(rng, shape, fit_intercept):
    problem, params = random_problem(rng, *shape, "ones", 3, fraction=0.2, fit_intercept=fit_intercept)
    ref = reference(MultiTaskLasso(alpha=problem.alpha, fit_intercept=fit_intercept), problem.X, problem.y)
    assert 0 < np.count_nonzero(ref.coef_[0]) < shape[1]
    assert_same_fit(GroupLasso(**params, tol=1e-14).fit(problem.X, problem.y), ref)


CONIC = [
    # layout, n_targets, l1_ratio, weighted, fit_intercept, positive
    ("ones", 1, 0.0, True, True, False),
    ("equal", 1, 0.0, False, True, False),
    ("equal", 1, 0.0, True, False, False),
    ("equal", 3, 0.0, True, True, False),
    ("equal", 1, 0.3, False, True, False),
    ("equal", 3, 0.7, True, True, False),
    ("unequal", 1, 0.0, True, True, False),
    ("unequal", 1, 0.3, True, False, False),
    ("unequal", 3, 0.3, False, True, False),
    ("unequal", 1, 1.0, True, True, False),
    ("unpenalized", 1, 0.0, False, True, False),
    ("unpenalized", 1, 0.3, True, True, False),
    ("unpenalized", 1, 1.0, False, False, False),
    ("unpenalized", 3, 0.0, True, True, False),
    ("unpenalized", 3, 0.3, False, False, False),
    ("equal", 1, 0.0, False, True, True),
    ("unequal", 1, 0.3, True, True, True),
    ("unequal", 3, 0.0, True, False, True),
    ("unequal", 3, 1.0, False, True, True),
]


@pytest.mark.parametrize("layout, n_targets, l1_ratio, weighted, fit_intercept, positive", CONIC)
@pytest.mark.parametrize("shape", [(40, 12), (12, 20)], ids=["tall", "wide"])
@pytest.mark.parametrize("fraction", [0.4, 0.03])
def test_conic_solver(rng, layout, n_targets, l1_ratio, weighted, fit_intercept, positive, shape, fraction):
    pytest.importorskip("cvxpy")
    options = dict(fit_intercept=fit_intercept, positive=positive)
    problem, params = random_problem(rng, *shape, layout, n_targets, l1_ratio, weighted, fraction, **options)
    est = GroupLasso(**params, tol=1e-13).fit(problem.X, problem.y, sample_weight=problem.sample_weight)
    B = problem.solve()
    B = np.maximum(B, 0) if positive else B
    assert problem.objective(est.coef_) == pytest.approx(problem.objective(B.T), rel=1e-8)
    if shape[0] > shape[1]:  # a strongly convex objective: its minimiser is unique and well determined
        np.testing.assert_allclose(problem.as_matrix(est.coef_), B, rtol=0, atol=1e-5 * np.abs(B).max())


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_latent_overlap_is_the_problem_with_columns_written_twice(rng, weighted, n_targets, l1_ratio):
    pytest.importorskip("cvxpy")
    groups = [[0, 1, 2], [2, 3, 4, 5], [5, 6, 0], [7, 8], [8, 9]]
    X, y = random_data(rng, 40, 10, n_targets)
    s = rng.uniform(0.1, 3, 40) if weighted else None
    columns = np.concatenate(groups)
    starts = np.cumsum([0] + [len(g) for g in groups])
    partition = [np.arange(a, b) for a, b in zip(starts[:-1], starts[1:])]
    latent = Problem(X[:, columns], y, partition, np.sqrt([len(g) for g in groups]), 1.0, l1_ratio, s)
    latent = latent.at(0.2 * latent.alpha_max)

    params = dict(alpha=latent.alpha, l1_ratio=l1_ratio, overlap="latent", tol=1e-13)
    est = GroupLasso(groups=groups, **params).fit(X, y, sample_weight=s)
    expected = np.zeros((10, n_targets))
    np.add.at(expected, columns, latent.solve())  # a coefficient is the sum over the copies of its column
    assert est.coef_.shape == ((10,) if n_targets == 1 else (3, 10))
    np.testing.assert_allclose(latent.as_matrix(est.coef_), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert est.relative_dual_gap_ <= 1e-13

    # the same through explicit copies, and along a path
    twice = GroupLasso(**{**params, "groups": partition, "overlap": "error"}).fit(X[:, columns], y, sample_weight=s)
    np.testing.assert_allclose(est.predict(X), twice.predict(X[:, columns]), atol=1e-6)
    path = group_lasso_path(
        X, y, groups=groups, alphas=[latent.alpha], sample_weight=s, return_intercepts=True, **without_alpha(params)
    )
    np.testing.assert_allclose(path[1][..., 0], est.coef_, atol=1e-6)
    np.testing.assert_allclose(path[3][..., 0], est.intercept_, atol=1e-6)


def without_alpha(params):
    return {k: v for k, v in params.items() if k != "alpha"}


def test_latent_overlap_without_overlap_changes_nothing(rng):
    problem, params = random_problem(rng, 40, 12, "equal", fraction=0.2)
    plain = GroupLasso(**params, tol=1e-13).fit(problem.X, problem.y)
    latent = GroupLasso(**{**params, "groups": problem.groups}, overlap="latent", tol=1e-13)
    np.testing.assert_allclose(latent.fit(problem.X, problem.y).coef_, plain.coef_, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(40, 12), (15, 30)], ids=["tall", "wide"])
@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_alpha_zero_is_least_squares_of_minimum_norm(rng, shape, container, weighted, fit_intercept, n_targets):
    problem, _ = random_problem(
        rng, *shape, "equal", n_targets, weighted=weighted, container=container, fit_intercept=fit_intercept
    )
    est = GroupLasso(alpha=0, groups=4, fit_intercept=fit_intercept)
    est.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
    expected = np.linalg.lstsq(problem.A, problem.Y, rcond=None)[0]
    np.testing.assert_allclose(problem.as_matrix(est.coef_), expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_allclose(est.intercept_, np.squeeze(problem.intercept(expected.T)[0]), atol=1e-8)
    assert abs(est.dual_gap_) <= 1e-12 * problem.null_objective


def test_alpha_zero_with_a_repeated_column_shares_the_coefficient(rng):
    X, y = random_data(rng, 30, 6)
    single = LinearRegression().fit(X, y)
    twice = GroupLasso(alpha=0).fit(X[:, [0, 1, 2, 3, 4, 5, 0]], y)
    np.testing.assert_allclose(twice.coef_[[0, 6]], single.coef_[0] / 2, rtol=1e-8)
    np.testing.assert_allclose(twice.coef_[1:6], single.coef_[1:], rtol=1e-8)


def test_all_groups_unpenalized_is_least_squares(rng):
    X, y = random_data(rng, 40, 12)
    est = GroupLasso(alpha=3.0, groups=4, group_weights=np.zeros(3), tol=1e-14).fit(X, y)
    assert_same_fit(est, LinearRegression().fit(X, y), 1e-6)


@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_refit_is_least_squares_on_the_support(rng, container, weighted, fit_intercept, n_targets, l1_ratio):
    options = dict(weighted=weighted, fraction=0.3, container=container, fit_intercept=fit_intercept)
    problem, params = random_problem(rng, 60, 20, "unequal", n_targets, l1_ratio, **options)
    fit = {"X": problem.X, "y": problem.y, "sample_weight": problem.sample_weight}
    penalised = GroupLasso(**params, tol=1e-10).fit(**fit)
    est = GroupLasso(**params, tol=1e-10, refit=True).fit(**fit)
    support = np.flatnonzero(problem.as_matrix(penalised.coef_).any(axis=1))
    assert 0 < len(support) < 20
    ref = LinearRegression(fit_intercept=fit_intercept)
    ref.fit(problem.X.toarray()[:, support] if container == "csc" else problem.X[:, support], *list(fit.values())[1:])
    expected = np.zeros((20, n_targets))
    expected[support] = problem.as_matrix(ref.coef_)
    np.testing.assert_allclose(problem.as_matrix(est.coef_), expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_allclose(est.intercept_, ref.intercept_, rtol=0, atol=1e-7)
    # the certificate is that of the selection, not of the refit
    assert abs(est.dual_gap_ - problem.gap(penalised.coef_)) <= 1e-9 * problem.null_objective
    assert est.active_groups_ == penalised.active_groups_


def test_refit_of_repeated_columns_has_minimum_norm(rng):
    X, y = random_data(rng, 40, 4)
    X = X[:, [0, 1, 2, 3, 0, 1, 2, 3]]
    est = GroupLasso(alpha=1e-3, groups=8, refit=True).fit(X, y)
    np.testing.assert_allclose(est.coef_, np.linalg.pinv(X - X.mean(axis=0)) @ y, atol=1e-8)


def test_refit_of_an_empty_selection_is_the_mean(rng):
    X, y = random_data(rng, 40, 4)
    est = GroupLasso(alpha=1e3, refit=True).fit(X, y)
    assert not est.coef_.any()
    assert est.intercept_ == pytest.approx(y.mean())


def test_positive_with_a_vanishing_penalty_is_nonnegative_least_squares(rng):
    problem, _ = random_problem(rng, 60, 12, "equal", positive=True)
    est = GroupLasso(alpha=1e-10, groups=4, positive=True, tol=1e-13).fit(problem.X, problem.y)
    np.testing.assert_allclose(est.coef_, nnls(problem.A, problem.Y[:, 0])[0], atol=1e-6)
    assert 0 < np.count_nonzero(est.coef_) < 12


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_the_conic_solver_certifies_itself(rng, l1_ratio):
    # guards the oracles: the gap of an optimum is zero, that of any other point is not
    pytest.importorskip("cvxpy")
    problem, _ = random_problem(rng, 40, 12, "unpenalized", 2, l1_ratio, weighted=True, fraction=0.2)
    B = problem.solve()
    assert abs(problem.relative_gap(B.T)) < 1e-9
    assert problem.relative_gap(1.001 * B.T) > 1e-8
    assert replace(problem, fit_intercept=False).relative_gap(B.T) > 1e-3
