"""Basis pursuit against LARS, a linear-programming solver, a conic solver, and its own three forms."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.fft import dct
from scipy.linalg import toeplitz
from scipy.optimize import linprog
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, lars_path
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skspar import BPDN, BPDNCV, BasisPursuit, bpdn_path

EXACT = {"tol": 1e-14}
ESTIMATORS = [
    BPDN(),
    BPDN(alpha=0.1, fit_intercept=False, **EXACT),
    BPDN(tau=0.5, **EXACT),
    BPDN(tau=1e6, **EXACT),
    BPDNCV(alphas=10, **EXACT),
    BPDNCV(alphas=5, selection_rule="1se", fit_intercept=False, cv=3, **EXACT),
    BasisPursuit(feasibility_tol=1.0),
    BasisPursuit(feasibility_tol=1.0, fit_intercept=False),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
@pytest.mark.parametrize(
    "check",
    [estimator_checks.check_dataframe_column_names_consistency, estimator_checks.check_param_validation],
    ids=lambda check: check.__name__,
)
def test_checks_that_check_estimator_leaves_out(estimator, check):
    check(type(estimator).__name__, clone(estimator))


def random_problem(seed, n=40, p=80, noise=0.3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-1, 1, size=p) + rng.normal(size=p)
    b = np.zeros(p)
    b[rng.choice(p, min(p, 6), replace=False)] = rng.normal(size=min(p, 6)) * 3.0
    return X, X @ b + noise * rng.normal(size=n) + 1.0


def heaviside(n, rng):
    return np.tril(np.ones((n, n)))


def spikes_and_waves(n, rng):
    return np.hstack([np.eye(n), dct(np.eye(n), norm="ortho", axis=0)])


def gaussian(n, rng):
    X = rng.normal(size=(n, 4 * n))
    return X / np.linalg.norm(X, axis=0)


def autoregressive(n, rng):
    return rng.normal(size=(n, 5 * n)) @ np.linalg.cholesky(toeplitz(0.95 ** np.arange(5 * n))).T


def signs(n, rng):
    return np.sign(rng.normal(size=(n, 4 * n)))


def partial_dct(n, rng):
    return dct(np.eye(3 * n), norm="ortho", axis=0)[rng.choice(3 * n, n, replace=False)]


# (how, rows, nonzero coefficients, SD of the noise): the sizes of the literature
DICTIONARIES = [
    (heaviside, 512, 20, 0.1),
    (spikes_and_waves, 1024, 120, 0.01),
    (gaussian, 640, 20, 0.01),
    (autoregressive, 200, 15, 0.1),
    (signs, 256, 32, 0.1),
]


def recompute_gap(X, y, b, alpha, intercept=0.0, weights=None):
    """Duality gap from the definition, with nothing of the engine's."""
    v = np.full(len(y), 1.0 / len(y)) if weights is None else weights / weights.sum()
    r = y - X @ b - intercept
    primal = 0.5 * v @ r**2 + alpha * np.abs(b).sum()
    theta = r * min(1.0, alpha / np.abs(X.T @ (v * r)).max())
    return primal - (v @ (theta * y) - 0.5 * v @ theta**2)


class TestForms:
    @pytest.mark.parametrize("fit_intercept", [False, True])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize(("n", "p"), [(40, 80), (60, 10)])
    @pytest.mark.parametrize("seed", range(4))
    def test_agree(self, fit_intercept, weighted, n, p, seed):
        X, y = random_problem(seed, n, p)
        rng = np.random.default_rng(seed)
        weights = rng.uniform(0.0, 2.0, size=n) if weighted else None
        largest = bpdn_path(X, y, alphas=1, fit_intercept=fit_intercept, sample_weight=weights).alphas[0]
        by_alpha = BPDN(alpha=largest * 10.0 ** rng.uniform(-3, -0.1), fit_intercept=fit_intercept)
        by_alpha.fit(X, y, weights)
        rows = np.ones(n) if weights is None else weights
        residual = y - by_alpha.predict(X)
        assert_allclose(by_alpha.sigma_, np.sqrt(rows @ residual**2), rtol=1e-10)
        assert_allclose(by_alpha.tau_, np.abs(by_alpha.coef_).sum(), rtol=1e-12)
        for form in ({"sigma": by_alpha.sigma_}, {"tau": by_alpha.tau_}):
            other = BPDN(**form, fit_intercept=fit_intercept).fit(X, y, weights)
            assert_allclose(other.coef_, by_alpha.coef_, rtol=1e-8, atol=1e-8 * np.abs(by_alpha.coef_).max())
            assert_allclose(other.intercept_, by_alpha.intercept_, rtol=1e-8, atol=1e-8)
            assert_allclose(other.alpha_, by_alpha.alpha_, rtol=1e-8)

    def test_penalty_form_is_the_lasso(self):
        X, y = random_problem(0)
        model, lasso = BPDN(alpha=0.2).fit(X, y), Lasso(alpha=0.2, tol=1e-14, max_iter=100_000).fit(X, y)
        assert_allclose(model.coef_, lasso.coef_, atol=1e-8)

    @pytest.mark.parametrize("form", ["sigma", "tau"])
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_a_conic_solver(self, form, seed):
        import cvxpy as cp

        X, y = random_problem(seed, 20, 30)
        b, b0 = cp.Variable(30), cp.Variable()
        if form == "sigma":
            level = 0.3 * np.linalg.norm(y - y.mean())
            problem = cp.Problem(cp.Minimize(cp.norm1(b)), [cp.norm2(y - X @ b - b0) <= level])
        else:
            level = 1.0 + seed
            problem = cp.Problem(cp.Minimize(cp.norm2(y - X @ b - b0)), [cp.norm1(b) <= level])
        best = problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        model = BPDN(**{form: level}).fit(X, y)
        assert_allclose(model.tau_ if form == "sigma" else model.sigma_, best, rtol=1e-7)
        assert_allclose(model.sigma_ if form == "sigma" else model.tau_, level, rtol=1e-10)
        assert_allclose(model.coef_, b.value, atol=1e-4)

    @pytest.mark.parametrize(
        ("make", "n", "k", "noise"), DICTIONARIES, ids=lambda value: getattr(value, "__name__", "")
    )
    @pytest.mark.parametrize("scale", [1.0, 1e-4])
    def test_dictionaries_that_are_hard(self, make, n, k, noise, scale):
        """Also in small units, where a projected-gradient solver stops at the wrong place."""
        rng = np.random.default_rng(0)
        X = make(n, rng)
        b = np.zeros(X.shape[1])
        b[rng.choice(X.shape[1], k, replace=False)] = rng.normal(size=k)
        y, sigma = X @ b + noise * rng.normal(size=n), noise * np.sqrt(n)
        model = BPDN(sigma=scale * sigma, fit_intercept=False, tol=1e-8).fit(X, scale * y)
        assert_allclose(np.linalg.norm(scale * y - X @ model.coef_), scale * sigma, rtol=1e-8)
        null = 0.5 * scale**2 * (y @ y) / n
        assert recompute_gap(X, scale * y, model.coef_, model.alpha_) <= 1e-8 * null
        assert model.relative_dual_gap_ <= 1e-8

    def test_several_targets(self):
        X, y = random_problem(1)
        Y = np.column_stack([y, 3.0 * y[::-1], np.full(len(y), 2.0)])
        for name, levels in (("sigma", [1.0, 2.0, 0.5]), ("tau", [0.5, 2.0, 0.0])):
            together = BPDN(**{name: levels}).fit(X, Y)
            for t, level in enumerate(levels):
                alone = BPDN(**{name: level}).fit(X, Y[:, t])
                assert_allclose(together.coef_[t], alone.coef_, atol=1e-12)
                for attribute in ("alpha_", "sigma_", "tau_"):
                    assert_allclose(getattr(together, attribute)[t], getattr(alone, attribute), rtol=1e-9, atol=1e-12)
        same = BPDN(sigma=1.0).fit(X, Y)
        assert_allclose(same.sigma_, [1.0, 1.0, 0.0], atol=1e-9)
        assert BPDN(alpha=0.3).fit(X, Y).sigma_.shape == (3,)

    @pytest.mark.parametrize("make", [sparse.csc_array, sparse.csr_matrix, np.asfortranarray])
    @pytest.mark.parametrize("form", [{"sigma": 1.0}, {"tau": 1.0}])
    def test_form_of_x(self, make, form):
        X, y = random_problem(2)
        X[np.abs(X) < 0.5] = 0.0
        dense, other = BPDN(**form).fit(X, y), BPDN(**form).fit(make(X), y)
        assert_allclose(other.coef_, dense.coef_, atol=1e-10)
        assert_allclose(other.intercept_, dense.intercept_, atol=1e-10)

    def test_float32_is_kept(self):
        X, y = random_problem(3)
        model = BPDN(sigma=1.0).fit(X.astype(np.float32), y.astype(np.float32))
        assert model.coef_.dtype == np.float32
        assert_allclose(model.coef_, BPDN(sigma=1.0).fit(X, y).coef_, atol=1e-4)

    @pytest.mark.parametrize("scale", [1e-9, 1e9])
    def test_units(self, scale):
        X, y = random_problem(4)
        model, other = BPDN(sigma=1.0).fit(X, y), BPDN(sigma=scale).fit(X, scale * y)
        assert_allclose(other.coef_ / scale, model.coef_, rtol=1e-9, atol=1e-12)
        other = BPDN(sigma=1.0).fit(X * scale, y)
        assert_allclose(other.coef_ * scale, model.coef_, rtol=1e-9, atol=1e-12)

    def test_weights_count_rows(self):
        X, y = random_problem(5, 30, 50)
        weights = np.random.default_rng(0).integers(0, 3, size=30)
        rows = np.repeat(np.arange(30), weights)
        for form in ({"sigma": 1.0}, {"tau": 1.0}, {"alpha": 0.1}):
            weighted, repeated = BPDN(**form).fit(X, y, weights), BPDN(**form).fit(X[rows], y[rows])
            assert_allclose(weighted.coef_, repeated.coef_, atol=1e-9)
            assert_allclose(weighted.sigma_, repeated.sigma_, rtol=1e-9)


class TestEnds:
    def test_sigma_of_all_of_y_gives_zero(self):
        X, y = random_problem(0)
        norm = np.linalg.norm(y - y.mean())
        for sigma in (norm * (1 + 1e-15), 2 * norm, np.inf):
            model = BPDN(sigma=sigma).fit(X, y)
            assert not model.coef_.any() and model.tau_ == 0.0
            assert_allclose([model.sigma_, model.intercept_], [norm, y.mean()])
            assert not BPDN(alpha=model.alpha_ * (1 + 1e-14)).fit(X, y).coef_.any()

    @pytest.mark.parametrize("fit_intercept", [False, True])
    def test_sigma_within_rounding_of_all_of_y(self, fit_intercept):
        X, _ = random_problem(0, 30, 50)
        for seed in range(60):
            y = np.random.default_rng(seed).normal(size=30)
            norm = float(np.linalg.norm(y - fit_intercept * y.mean()))
            for part in (1.0, 1.0 - 1e-15, 1.0 - 1e-12, 1.0 - 1e-9):
                model = BPDN(sigma=part * norm, fit_intercept=fit_intercept).fit(X, y)
                assert_allclose(model.sigma_, part * norm, rtol=1e-12)
                assert model.tau_ <= 1e-6

    def test_too_few_iterations_are_not_hidden(self):
        for seed in range(10):
            X, y = np.random.default_rng(seed).normal(size=(30, 50)), np.random.default_rng(seed + 100).normal(size=30)
            for max_iter in (1, 2, 3):
                for form, level in (("sigma", 1.0), ("tau", 2.0)):
                    with warnings.catch_warnings(record=True) as caught:
                        warnings.simplefilter("always")
                        model = BPDN(**{form: level}, max_iter=max_iter).fit(X, y)
                    met = abs(getattr(model, form + "_") - level) < 1e-8
                    assert met or any(f"{form}={level:g} was not reached" in str(w.message) for w in caught)
                with pytest.warns(ConvergenceWarning):
                    bpdn_path(X, y, alphas="knots", max_iter=1)

    def test_a_bound_that_is_not_met_is_not_certified(self):
        X, y = random_problem(3, 30, 50)
        for form in ({"sigma": 0.1 * np.linalg.norm(y)}, {"tau": 0.5}):
            with pytest.warns(ConvergenceWarning, match="was not reached"):
                model = BPDN(**form, max_iter=1, fit_intercept=False).fit(X, y)
            assert model.dual_gap_ == model.relative_dual_gap_ == np.inf
            model.set_params(max_iter=10_000).fit(X, y)
            assert model.relative_dual_gap_ <= 1e-6

    def test_the_gap_bounds_what_the_constrained_forms_can_gain(self):
        for seed in range(5):
            X, y = random_problem(seed, 30, 50)
            norm = np.linalg.norm(y)
            for tol in (1e-1, 1e-2, 1e-3):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    rough = BPDN(sigma=0.4 * norm, fit_intercept=False, tol=tol).fit(X, y)
                exact = BPDN(sigma=0.4 * norm, fit_intercept=False, tol=1e-12).fit(X, y)
                assert rough.tau_ - exact.tau_ <= rough.dual_gap_ / rough.alpha_ + 1e-12
                exact = BPDN(tau=rough.tau_, fit_intercept=False, tol=1e-12).fit(X, y)
                assert rough.sigma_**2 - exact.sigma_**2 <= 2 * len(y) * rough.dual_gap_ + 1e-12

    def test_messages_show_plain_numbers(self):
        X, y = random_problem(0, 50, 5)
        with pytest.raises(ValueError, match=r"least squares, [0-9.]+; got 0\.01\."):
            BPDN(sigma=0.01).fit(X, y)
        with pytest.warns(ConvergenceWarning, match=r"the largest duality gap is [0-9.e-]+, [0-9.e-]+ times the null"):
            bpdn_path(*random_problem(3, 30, 50), max_iter=1, tol=1e-12)

    def test_limit_of_an_ill_conditioned_design_is_not_called_solved(self):
        X = 1.0 / (np.arange(60)[:, None] + np.arange(20) + 1.0)
        y = np.sin(9 * np.linspace(0, 1, 60)) + 0.1 * np.random.default_rng(1).normal(size=60)
        feasible = np.linalg.lstsq(X, y, rcond=1e-10)[0]
        with pytest.warns(ConvergenceWarning):
            model = BPDN(tau=1e10, fit_intercept=False).fit(X, y)
        excess = 0.5 * (np.sum((y - X @ model.coef_) ** 2) - np.sum((y - X @ feasible) ** 2)) / 60
        assert model.dual_gap_ >= excess + model.alpha_ * (model.tau_ - np.abs(feasible).sum())
        with pytest.warns(ConvergenceWarning, match=r"sigma=1.9 was not reached"):
            BPDN(sigma=1.9, fit_intercept=False).fit(X, y)

    @pytest.mark.parametrize("alpha", [0.0, 1e-13])
    def test_alpha_zero_is_the_limit(self, alpha):
        X, y = random_problem(3, 20, 50)
        assert_allclose(BPDN(alpha=alpha).fit(X, y).tau_, BasisPursuit().fit(X, y).tau_, rtol=1e-8)

    @pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100])
    def test_far_units(self, scale):
        X, y = random_problem(3, 20, 50)
        for form in ("sigma", "tau"):
            model, other = BPDN(**{form: 1.0}).fit(X, y), BPDN(**{form: scale}).fit(X, y * scale)
            assert_allclose(other.coef_ / scale, model.coef_, rtol=1e-8, atol=1e-12)

    def test_tau_zero(self):
        X, y = random_problem(0)
        assert not BPDN(tau=0.0).fit(X, y).coef_.any()

    def test_constant_y(self):
        X, _ = random_problem(0)
        for form in ({"sigma": 0.0}, {"tau": 1.0}, {"sigma": 1.0}):
            model = BPDN(**form).fit(X, np.full(len(X), 0.1))
            assert not model.coef_.any()
            assert_allclose(model.intercept_, 0.1)

    @pytest.mark.parametrize(("n", "p"), [(20, 50), (50, 20)])
    def test_tau_beyond_the_limit_gives_least_squares_of_least_l1_norm(self, n, p):
        X, y = random_problem(1, n, p)
        model = BPDN(tau=1e6).fit(X, y)
        assert model.alpha_ == 0.0 and model.tau_ < 1e6
        if n > p:
            expected = np.linalg.lstsq(np.column_stack([X, np.ones(n)]), y, rcond=None)[0][:-1]
            assert_allclose(model.coef_, expected, rtol=1e-8)
        else:
            assert_allclose(model.coef_, BasisPursuit().fit(X, y).coef_, atol=1e-8)
        assert model.relative_dual_gap_ < 1e-10

    def test_sigma_zero_is_basis_pursuit(self):
        X, y = random_problem(2, 20, 50)
        assert_allclose(BPDN(sigma=0.0).fit(X, y).coef_, BasisPursuit().fit(X, y).coef_, atol=1e-9)

    def test_sigma_near_that_of_least_squares(self):
        X, y = random_problem(3, 50, 20)
        least = BPDN(tau=1e6).fit(X, y).sigma_
        assert_allclose(BPDN(sigma=least).fit(X, y).sigma_, least, rtol=1e-9)
        assert_allclose(BPDN(sigma=least * (1 + 1e-6)).fit(X, y).sigma_, least * (1 + 1e-6), rtol=1e-9)
        with pytest.raises(ValueError, match="sigma must be at least the residual norm of least squares"):
            BPDN(sigma=0.99 * least).fit(X, y)


class TestPath:
    @pytest.mark.parametrize(("n", "p"), [(60, 15), (30, 60), (50, 50), (80, 200)])
    @pytest.mark.parametrize("seed", range(3))
    def test_knots_equal_lars(self, n, p, seed):
        X, y = random_problem(seed, n, p)
        X, y = X - X.mean(axis=0), y - y.mean()
        X /= np.linalg.norm(X, axis=0)
        alphas, _, coefs = lars_path(X, y, method="lasso")
        path = bpdn_path(X, y, alphas="knots", tol=1e-10)
        # LARS stops where its last step is short of alpha = 0
        assert len(path.alphas) in (len(alphas), len(alphas) + (alphas[-1] > 0))
        assert_allclose(path.alphas[: len(alphas)], alphas, atol=1e-8 * alphas[0])
        assert_allclose(path.coefs[:, : len(alphas)], coefs, atol=1e-8 * np.abs(coefs).max())
        assert path.dual_gaps.max() <= 1e-10 * 0.5 * (y @ y) / n

    def test_between_knots_coefficients_are_linear(self):
        X, y = random_problem(7, 30, 40)
        path = bpdn_path(X, y, alphas="knots", fit_intercept=True)
        for k in range(0, len(path.alphas) - 1, 5):
            middle = 0.5 * (path.alphas[k] + path.alphas[k + 1])
            model = BPDN(alpha=middle, tol=1e-10).fit(X, y)
            assert_allclose(model.coef_, 0.5 * (path.coefs[:, k] + path.coefs[:, k + 1]), atol=1e-8)
            assert_allclose(model.intercept_, 0.5 * (path.intercepts[k] + path.intercepts[k + 1]), atol=1e-8)

    @pytest.mark.parametrize("kind", ["duplicates", "integers", "ties", "collinear"])
    def test_knots_of_degenerate_designs(self, kind):
        """Where LARS warns or goes astray: every knot must still be certified, and the path between them linear."""
        rng = np.random.default_rng(0)
        if kind == "duplicates":
            X = rng.normal(size=(30, 20))
            X = np.hstack([X, X, -X])
            y = X[:, :5].sum(axis=1) + rng.normal(size=30)
        elif kind == "integers":
            X = np.sign(rng.normal(size=(24, 40)))
            y = X[:, :4] @ [3.0, 2.0, 2.0, 1.0]
        elif kind == "ties":
            X, y = np.eye(12), np.repeat([4.0, 3.0, 0.0], 4)
        else:
            X = rng.normal(size=(30, 10))
            X = np.hstack([X, X + 1e-6 * rng.normal(size=(30, 10))])
            y = X[:, :3].sum(axis=1) + 0.1 * rng.normal(size=30)
        path = bpdn_path(X, y, alphas="knots", eps=1e-3, tol=1e-9)
        null = 0.5 * (y @ y) / len(y)
        for alpha, b, gap in zip(path.alphas, path.coefs.T, path.dual_gaps):
            true = recompute_gap(X, y, b, alpha)
            assert true <= 1e-9 * null
            assert abs(true - gap) <= 1e-10 * null
        grid = np.geomspace(path.alphas[0], path.alphas[-1], 60)[1:-1]
        fits = bpdn_path(X, y, alphas=grid, tol=1e-11)
        # the fit is unique where the coefficients are not
        for alpha, tau, sigma in zip(fits.alphas, fits.taus, fits.sigmas):
            b = np.array([np.interp(alpha, path.alphas[::-1], row[::-1]) for row in path.coefs])
            assert_allclose(np.abs(b).sum(), tau, rtol=1e-6, atol=1e-9)
            assert_allclose(np.linalg.norm(y - X @ b), sigma, rtol=1e-6, atol=1e-9)
        if kind == "ties":
            assert_allclose(path.alphas[:2] * 12, [4.0, 3.0])

    @pytest.mark.parametrize("n_targets", [1, 2])
    def test_grid(self, n_targets):
        X, y = random_problem(8)
        Y = np.column_stack([y, y[::-1]])[:, :n_targets]
        Y = Y[:, 0] if n_targets == 1 else Y
        path = bpdn_path(X, Y, alphas=20, fit_intercept=True)
        for k in (3, 19):
            model = BPDN(alpha=path.alphas[k]).fit(X, Y)
            assert_allclose(path.coefs[..., k], model.coef_, atol=1e-7)
            assert_allclose(path.intercepts[..., k], model.intercept_, atol=1e-6)
            assert_allclose(path.sigmas[..., k], model.sigma_, rtol=1e-6)
            assert_allclose(path.taus[..., k], model.tau_, rtol=1e-6)
        assert np.all(np.diff(path.taus) >= -1e-10) and np.all(np.diff(path.sigmas) <= 1e-10)

    def test_zero_y(self):
        X, _ = random_problem(8)
        for alphas in ("knots", 5):
            path = bpdn_path(X, np.zeros(len(X)), alphas=alphas)
            assert not path.coefs.any() and not path.sigmas.any()


def linear_program(X, y):
    """``min ||b||_1 s.t. X b = y`` by the simplex method of HiGHS."""
    p = X.shape[1]
    found = linprog(np.ones(2 * p), A_eq=np.hstack([X, -X]), b_eq=y, method="highs-ds")
    assert found.status == 0
    return found.fun


class TestBasisPursuit:
    @pytest.mark.parametrize("seed", range(50))
    def test_equals_a_linear_program(self, seed):
        rng = np.random.default_rng(seed)
        make = (heaviside, partial_dct, gaussian, signs, spikes_and_waves)[seed % 5]
        X = make(int(rng.integers(20, 60)), rng)
        b = np.zeros(X.shape[1])
        k = int(rng.integers(1, len(X) // 2))
        b[rng.choice(X.shape[1], k, replace=False)] = rng.normal(size=k)
        y = X @ b if seed % 2 else rng.normal(size=len(X))
        model = BasisPursuit(fit_intercept=False).fit(X, y)
        assert_allclose(model.tau_, linear_program(X, y), rtol=1e-8)
        assert_allclose(X @ model.coef_, y, atol=1e-9 * np.abs(y).max())
        # certified by the dual, recomputed
        theta = model.dual_coef_
        assert np.abs(X.T @ theta).max() <= 1.0 + 1e-12
        assert_allclose(y @ theta, model.tau_, rtol=1e-8)
        assert_allclose(model.tau_ - y @ theta, model.dual_gap_, atol=1e-12 * model.tau_)

    def test_vertices_with_fewer_nonzeros_than_rows(self):
        """The solution of a planted signal is degenerate as a linear program: features at their bound stay at zero."""
        rng = np.random.default_rng(0)
        for _ in range(300):
            n = int(rng.integers(10, 60))
            k = int(rng.integers(1, n))
            X, b = rng.normal(size=(n, 60)), np.zeros(60)
            b[rng.choice(60, k, replace=False)] = rng.normal(size=k)
            model = BasisPursuit(fit_intercept=False).fit(X, X @ b)
            assert model.relative_dual_gap_ <= 1e-10
            assert model.tau_ <= np.abs(b).sum() * (1.0 + 1e-10)
            assert np.count_nonzero(model.coef_) <= n

    def test_intercept_costs_nothing(self):
        X, y = random_problem(0, 20, 50)
        model = BasisPursuit().fit(X, y)
        assert_allclose(model.predict(X), y, atol=1e-9)
        assert_allclose(model.tau_, linear_program(np.column_stack([X, 1e9 * np.ones(20)]), y), rtol=1e-6)
        assert abs(model.dual_coef_.sum()) < 1e-10

    def test_several_targets_and_units(self):
        X, y = random_problem(1, 20, 50)
        Y = np.column_stack([y, 1e-7 * y[::-1], np.ones(20)])
        model = BasisPursuit().fit(X, Y)
        for t in range(3):
            assert_allclose(model.coef_[t], BasisPursuit().fit(X, Y[:, t]).coef_, rtol=1e-8, atol=1e-14)
        assert not model.coef_[2].any()

    def test_nothing_to_combine(self):
        rng = np.random.default_rng(0)
        for X in (np.zeros((30, 5)), np.ones((30, 3)), np.repeat(np.eye(30)[:, :3], 2, axis=1)):
            y = rng.normal(size=30)
            y[:3] = 0.0
            with pytest.raises(ValueError, match="must be a combination of the columns of X"):
                BasisPursuit().fit(X, y)
            model = BasisPursuit(feasibility_tol=1.0, fit_intercept=False).fit(X, np.where(X.any(axis=1), 0.0, y))
            assert not model.coef_.any()
        for seed in range(30):
            X, y = np.random.default_rng(seed).normal(size=(30, 5)), np.random.default_rng(seed + 50).normal(size=30)
            y = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
            assert BasisPursuit(feasibility_tol=1.0, fit_intercept=False).fit(X, y).tau_ < 1e-12

    def test_no_solution(self):
        X, y = random_problem(2, 50, 20)
        with pytest.raises(ValueError, match=r"y must be a combination of the columns of X; .* BPDN"):
            BasisPursuit().fit(X, y)
        with pytest.raises(ValueError, match="target 1 of y must be"):
            BasisPursuit().fit(X, np.column_stack([X[:, 0], y]))


class TestCrossValidation:
    def test_equals_the_lasso(self):
        from sklearn.linear_model import LassoCV

        X, y = random_problem(3)
        cv = KFold(4, shuffle=True, random_state=0)
        model = BPDNCV(cv=cv, alphas=30, tol=1e-10).fit(X, y)
        lasso = LassoCV(cv=cv, alphas=model.alphas_, tol=1e-10, max_iter=100_000).fit(X, y)
        assert_allclose(model.mse_path_, lasso.mse_path_, rtol=1e-5)
        assert_allclose(model.alpha_, lasso.alpha_)
        assert_allclose(model.coef_, lasso.coef_, atol=1e-6)
        assert_allclose(BPDN(sigma=model.sigma_).fit(X, y).coef_, model.coef_, atol=1e-8)

    def test_tau_in_a_grid_search(self):
        X, y = random_problem(4)
        search = GridSearchCV(BPDN(), {"tau": [0.5, 2.0, 8.0]}, cv=3).fit(X, y)
        assert search.best_params_["tau"] in (0.5, 2.0, 8.0)


class TestBadInput:
    X, y = random_problem(0)

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"sigma": -1.0}, "sigma must be a number >= 0, .*got -1.0"),
            ({"tau": -1.0}, "tau must be a number >= 0, .*got -1.0"),
            ({"tau": "small"}, "tau must be a number >= 0, .*got 'small'"),
            ({"sigma": 1.0, "tau": 1.0}, r"At most one of sigma and tau may be given; got sigma=1.0 and tau=1.0"),
            ({"sigma": [1.0, 2.0]}, "sigma must be a number >= 0, or one for each of 1 targets"),
            ({"tau": [np.nan]}, "tau must be a number >= 0"),
            ({"alpha": -0.1}, "alpha"),
            ({"alpha": np.inf}, "alpha"),
        ],
    )
    def test_parameters(self, params, message):
        with pytest.raises(ValueError, match=message):
            BPDN(**params).fit(self.X, self.y)

    def test_path(self):
        with pytest.raises(ValueError, match=r"'knots' must have one target.* y has 2"):
            bpdn_path(self.X, np.column_stack([self.y, self.y]), alphas="knots")
        with pytest.raises(ValueError, match="alphas"):
            bpdn_path(self.X, self.y, alphas="all")
        with pytest.raises(ValueError, match="alphas"):
            bpdn_path(self.X, self.y, alphas=[-1.0])
        for params in ({"eps": 0.0}, {"alphas": [1.0, 0.0]}):
            with pytest.raises(ValueError, match="alphas must be positive, and eps too, unless alphas='knots'"):
                bpdn_path(self.X, self.y, **params)

    def test_squares_that_overflow(self):
        for fit in (BPDN().fit, BPDN(sigma=1.0).fit, BasisPursuit().fit, bpdn_path):
            with pytest.raises(ValueError, match="y must have entries below 1e150"):
                fit(self.X, self.y * 1e200)

    def test_inputs_are_not_written_to(self):
        X, y = self.X.copy(), self.y.copy()
        X.setflags(write=False), y.setflags(write=False)
        for model in (BPDN(sigma=1.0), BPDN(tau=1.0), BasisPursuit()):
            model.fit(X, y)
        bpdn_path(X, y, alphas="knots", eps=0.1)
        assert_array_equal(X, self.X)
