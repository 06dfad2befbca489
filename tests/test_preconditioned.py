"""PreconditionedLasso: definitions by dense SVD, the objective by scikit-learn's Lasso, recovery, checks, bad input."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Lasso
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

from skspar import (
    PreconditionedLasso,
    irrepresentability,
    preconditioned_lasso_path,
    preconditioner,
    signed_support_bounds,
)

KINDS = ["puffer", "hj", "pbht"]


def random_design(rng, n, p, rank=None):
    X = rng.normal(size=(n, p)) if rank is None else rng.normal(size=(n, rank)) @ rng.normal(size=(rank, p))
    return X + 2.0 * rng.normal(size=(n, 1))


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (20, 12, 5)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_components", [None, 2])
def test_preconditioner_is_its_definition(rng, shape, kind, n_components):
    X = random_design(rng, *shape)
    U, d, _ = np.linalg.svd(X, full_matrices=False)
    rank = np.sum(d > 1e-8 * d[0])
    U, d = U[:, :rank], d[:rank]
    P_X, P_y = preconditioner(X, kind, n_components=n_components)
    if kind == "puffer":
        k = rank if n_components is None else n_components
        np.testing.assert_allclose(P_X, U[:, :k] @ np.diag(1 / d[:k]) @ U[:, :k].T, atol=1e-10)
        np.testing.assert_array_equal(P_X, P_y)
        return
    k = 1 + np.argmax(d[: rank // 2] / d[1 : rank // 2 + 1]) if n_components is None else n_components
    top = U[:, :k] @ U[:, :k].T
    identity = np.eye(len(X))
    expected = (identity - top, identity - top) if kind == "hj" else (identity, top)
    for P, E in zip((P_X, P_y), expected):
        np.testing.assert_allclose(P, E, atol=1e-10)


def objective_data(X, y, kind, n_components=None, s=None):
    """Preconditioned design and response from the formula."""
    v = np.full(len(y), 1 / len(y)) if s is None else s / s.sum()
    A = np.sqrt(v)[:, None] * (X - v @ X)
    z = np.sqrt(v) * (y - v @ y)
    P_X, P_y = preconditioner(A, kind, n_components=n_components)
    return P_X @ A, P_y @ z


@pytest.mark.parametrize("shape", [(40, 10), (15, 30), (25, 20, 6)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_minimises_its_objective(rng, shape, kind, weighted):
    X = random_design(rng, *shape)
    y = X[:, 0] - X[:, 1] + rng.normal(size=len(X)) + 3
    s = rng.uniform(0.5, 2, len(y)) if weighted else None
    A, z = objective_data(X, y, kind, s=s)
    alpha = 0.3 * np.abs(A.T @ z).max()
    model = PreconditionedLasso(alpha, preconditioner=kind, tol=1e-12).fit(X, y, sample_weight=s)

    def value(b):
        return np.sum((z - A @ b) ** 2) / 2 + alpha * np.abs(b).sum()

    other = Lasso(alpha / len(z), fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A, z).coef_
    assert value(model.coef_) <= value(other) + 1e-10 * np.sum(z**2)
    np.testing.assert_allclose(A @ model.coef_, A @ other, atol=1e-5 * np.linalg.norm(z))
    assert model.dual_gap_ <= 1e-12 * np.sum(z**2)
    v = np.full(len(y), 1 / len(y)) if s is None else s / s.sum()
    assert model.intercept_ == pytest.approx(v @ y - v @ X @ model.coef_)


def test_callable_and_identity(rng):
    X = random_design(rng, 30, 6)
    y = X[:, 0] + rng.normal(size=30)
    same = PreconditionedLasso(0.2, preconditioner=lambda A: (np.eye(30), np.eye(30)), tol=1e-12).fit(X, y)
    np.testing.assert_allclose(same.coef_, Lasso(0.2, tol=1e-10).fit(X, y).coef_, atol=1e-7)
    assert same.noise_inflation_ == pytest.approx(1.0)
    by_function = PreconditionedLasso(0.05, preconditioner=lambda A: preconditioner(A, "puffer")).fit(X, y)
    by_name = PreconditionedLasso(0.05).fit(X, y)
    np.testing.assert_allclose(by_function.coef_, by_name.coef_, atol=1e-8)
    assert by_function.noise_inflation_ == pytest.approx(by_name.noise_inflation_)


@pytest.mark.parametrize("kind", KINDS)
def test_path_agrees_with_fits(rng, kind):
    X = random_design(rng, 40, 12)
    y = X[:, 0] - X[:, 3] + 0.3 * rng.normal(size=40)
    alphas, coefs, gaps, intercepts, n_iters = PreconditionedLasso.path(
        X, y, preconditioner=kind, fit_intercept=True, alphas=6, eps=0.05, return_intercepts=True, return_n_iter=True
    )
    assert np.all(np.diff(alphas) < 0) and not coefs[:, 0].any() and coefs[:, -1].any()
    assert n_iters.shape == alphas.shape and np.all(gaps >= -1e-14)
    for alpha, coef, b0 in zip(alphas, coefs.T, intercepts):
        model = PreconditionedLasso(alpha, preconditioner=kind).fit(X, y)
        np.testing.assert_allclose(model.coef_, coef, atol=1e-6)
        assert model.intercept_ == pytest.approx(b0, abs=1e-6)
    assert PreconditionedLasso.path is preconditioned_lasso_path


def test_noise_inflation(rng):
    X = random_design(rng, 50, 7)
    d = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    y = X[:, 0] + rng.normal(size=50)
    assert PreconditionedLasso().fit(X, y).noise_inflation_ == pytest.approx(np.mean(d**2) * np.mean(d**-2.0))
    assert PreconditionedLasso(preconditioner="pbht", n_components=2).fit(X, y).noise_inflation_ == pytest.approx(2 / 7)
    cut = PreconditionedLasso(n_components=3).fit(X, y).noise_inflation_
    assert cut == pytest.approx(np.mean(d[:3] ** 2) * np.mean(d[:3] ** -2.0))


# --- signs


def violating_design(rng, n=300, p=30, support=5, rho=0.4):
    """A column that is correlated with every one of the support: the irrepresentable condition fails."""
    X = rng.normal(size=(n, p))
    X[:, support] = rho * X[:, :support].sum(axis=1) + np.sqrt(1 - support * rho**2) * X[:, support]
    coef = np.zeros(p)
    coef[:support] = 1.0
    return X - X.mean(axis=0), coef


def recovers(coefs, coef):
    return bool(np.any(np.all(np.sign(coefs) == np.sign(coef)[:, None], axis=0)))


def test_puffer_recovers_signs_where_the_lasso_cannot():
    lasso = puffer = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, coef = violating_design(rng)
        assert irrepresentability(X, coef) > 1.2
        P, _ = preconditioner(X)
        assert irrepresentability(P @ X, coef) < 0.1
        y = X @ coef + 0.5 * rng.normal(size=len(X))
        identity = lambda A: (np.eye(len(A)), np.eye(len(A)))  # noqa: E731
        lasso += recovers(preconditioned_lasso_path(X, y, preconditioner=identity)[1], coef)
        puffer += recovers(preconditioned_lasso_path(X, y)[1], coef)
    assert lasso == 0
    assert puffer >= 19


def test_wide_puffer_improves_signs():
    lasso = puffer = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, p = 100, 150
        factor = rng.normal(size=(n, 3)) @ rng.normal(size=(3, p))
        X = rng.normal(size=(n, p)) + 2 * factor
        coef = np.zeros(p)
        coef[rng.permutation(p)[:4]] = 3 * rng.choice([-1, 1], 4)
        y = X @ coef + 0.2 * rng.normal(size=n)
        identity = lambda A: (np.eye(len(A)), np.eye(len(A)))  # noqa: E731
        lasso += recovers(preconditioned_lasso_path(X, y, preconditioner=identity)[1], coef)
        puffer += recovers(preconditioned_lasso_path(X, y)[1], coef)
    assert puffer >= lasso + 5


@pytest.mark.parametrize("kind", [None, "puffer", "hj", "pbht"])
def test_bounds_are_those_of_simulation(kind):
    """Inside (lambda_l, lambda_u) the Lasso recovers the signs, outside it does not."""
    tested = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(60, 12)) + 0.3 * rng.normal(size=(60, 1))
        coef = np.zeros(12)
        coef[:3] = [1.0, -0.8, 0.6]
        y = X @ coef + 0.3 * rng.normal(size=60)
        P_X, P_y = (np.eye(60), np.eye(60)) if kind is None else preconditioner(X, kind, n_components=None)
        A, z = P_X @ X, P_y @ y
        low, high = signed_support_bounds(A, coef, z - A @ coef)
        if irrepresentability(A, coef) >= 1:
            assert (low, high) == (np.inf, 0.0)
            continue
        tested += low < high
        for value in [
            0.5 * low,
            0.98 * low,
            1.02 * low,
            np.sqrt(max(low, 1e-12) * max(high, 1e-12)),
            0.98 * high,
            1.02 * high,
        ]:
            if not 0 < value < np.inf:
                continue
            b = Lasso(value / 60, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A, z).coef_
            found = np.array_equal(np.sign(b), np.sign(coef))
            assert found == (low < value < high), (seed, value, low, high)
    assert tested >= (0 if kind == "pbht" else 5)


def test_bounds_without_recovery(rng):
    X, coef = violating_design(rng)
    assert signed_support_bounds(X, coef, np.zeros(len(X))) == (np.inf, 0.0)
    twice = np.column_stack([X[:, 0], X[:, 0], X[:, 1]])
    assert signed_support_bounds(twice, [1.0, 1.0, 0.0], np.zeros(len(X))) == (np.inf, 0.0)
    assert irrepresentability(twice, [1.0, 1.0, 0.0]) == np.inf
    assert irrepresentability(X, np.zeros(30)) == 0.0


def test_irrepresentable_of_the_fit(rng):
    X, coef = violating_design(rng)
    y = X @ coef + 0.1 * rng.normal(size=len(X))
    model = PreconditionedLasso(0.3).fit(X, y)
    np.testing.assert_array_equal(model.coef_ != 0, coef != 0)
    A, _ = objective_data(X, y, "puffer")
    assert model.irrepresentable_ == pytest.approx(irrepresentability(A, coef), abs=1e-9)


# --- scikit-learn


# the checks compare predictions to 1e-7
ESTIMATORS = [
    PreconditionedLasso(),
    PreconditionedLasso(0.01, tol=1e-14),
    PreconditionedLasso(0.1, preconditioner="hj", tol=1e-14),
    PreconditionedLasso(0.1, preconditioner="pbht", fit_intercept=False, tol=1e-14),
    PreconditionedLasso(0.0),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


def test_parameters_are_validated():
    check_param_validation("PreconditionedLasso", PreconditionedLasso())


def test_grid_search(rng):
    X, coef = violating_design(rng)
    y = X @ coef + rng.normal(size=len(X))
    grid = {"alpha": [1e-3, 0.1, 10.0], "preconditioner": KINDS, "n_components": [None, 3]}
    search = GridSearchCV(PreconditionedLasso(), grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.6
    best = PreconditionedLasso(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(search.best_estimator_.coef_, best.coef_)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_count_rows(rng, kind):
    X = random_design(rng, 25, 6)
    y = X[:, 0] + rng.normal(size=25)
    s = rng.integers(0, 3, 25)
    rows = np.repeat(np.arange(25), s)
    model = PreconditionedLasso(0.05, preconditioner=kind, n_components=2, tol=1e-12)
    weighted, repeated = clone(model).fit(X, y, sample_weight=s), clone(model).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-8)
    assert weighted.noise_inflation_ == pytest.approx(repeated.noise_inflation_)
    np.testing.assert_allclose(clone(model).fit(X, y, sample_weight=7.0 * s).coef_, weighted.coef_, atol=1e-8)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_units_of_y(rng, unit):
    X = random_design(rng, 25, 6)
    y = X[:, 0] + rng.normal(size=25)
    a = PreconditionedLasso(0.1, tol=1e-12).fit(X, y)
    b = PreconditionedLasso(0.1 * unit, tol=1e-12).fit(X, y * unit)
    np.testing.assert_allclose(b.coef_, a.coef_ * unit, rtol=1e-7, atol=1e-12 * unit)


def test_hard_cases(rng):
    X = random_design(rng, 20, 5)
    y = X[:, 0] + rng.normal(size=20)
    constant = np.column_stack([X, np.full(20, 0.1), X[:, 0]])
    model = PreconditionedLasso(0.01).fit(constant, y)
    assert np.all(np.isfinite(model.coef_)) and model.coef_[5] == 0
    assert not PreconditionedLasso().fit(X, np.full(20, 7.0)).coef_.any()
    one = PreconditionedLasso().fit(X[:1], y[:1])
    assert not one.coef_.any() and one.intercept_ == pytest.approx(y[0])
    f32 = PreconditionedLasso(0.05).fit(X.astype(np.float32), y.astype(np.float32))
    assert f32.coef_.dtype == np.float32
    np.testing.assert_allclose(f32.coef_, PreconditionedLasso(0.05).fit(X, y).coef_, atol=1e-4)


@pytest.mark.parametrize(
    "params, match",
    [
        (dict(alpha=-1.0), "alpha.*-1"),
        (dict(alpha=np.nan), "alpha"),
        (dict(preconditioner="jr"), "preconditioner.*puffer"),
        (dict(n_components=0), "n_components.*0"),
        (dict(n_components=7), "n_components.*rank.*6.*7"),
        (dict(rcond=1.0), "rcond"),
        (dict(preconditioner=lambda A: A), "preconditioner must return two"),
        (dict(preconditioner=lambda A: (np.eye(3), np.eye(3))), "preconditioner must return two.*25 columns.*3"),
    ],
)
def test_bad_parameters(rng, params, match):
    X = random_design(rng, 25, 6)
    with pytest.raises(ValueError, match=re.compile(match, re.DOTALL)):
        PreconditionedLasso(**params).fit(X, X[:, 0])


def test_bad_data(rng):
    X = random_design(rng, 25, 6)
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        PreconditionedLasso().fit(X, X[:, 0], sample_weight=np.zeros(25))
    with pytest.raises(ValueError, match=r"kind.*puffer"):
        preconditioner(X, "jr")
    with pytest.raises(ValueError, match=r"n_components.*rank"):
        preconditioner(X, "hj", n_components=9)
    with pytest.raises(ValueError, match="alphas"):
        preconditioned_lasso_path(X, X[:, 0], alphas=[-1.0, 2.0])
    with pytest.raises(ValueError, match="y must have one dim"):
        preconditioned_lasso_path(X, X[:, :2])
    with pytest.raises(ValueError, match="noise 25"):
        signed_support_bounds(X, np.zeros(6), np.zeros(3))
