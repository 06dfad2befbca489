"""Sparse outlier indicators against independent solutions: Huber's loss, the Lasso, refits, brute force."""

import itertools
import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.linear_model import Lasso, LinearRegression, lars_path
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

from skspar import (
    SparseOutlierRegressor,
    SparseOutlierRegressorCV,
    externally_studentized_residuals,
    leverage,
    outlier_path,
    tau_scale,
    trimmed_mean_squared_error,
)
from skspar._engine.indicator import DenseIndicator
from skspar._engine.lts import coverage, least_trimmed_squares
from skspar._engine.robust_scores import weighted_median
from skspar.datasets import make_masking_outliers, make_outlier_regression

PENALTIES = ["l1", "hard", "scad", "mcp"]


def data(rng, n=80, p=4, n_outliers=8, shift=9.0):
    X = rng.standard_normal((n, p)) * rng.uniform(0.1, 10, p) + rng.uniform(-5, 5, p)
    y = X @ rng.standard_normal(p) + rng.standard_normal(n) + 3
    y[:n_outliers] += shift
    return X, y


def with_ones(X):
    return np.column_stack([np.ones(len(X)), X])


def huber_minimum(A, y, s, thresholds):
    """Huber's loss by a general-purpose trust-region method, on orthonormal columns for its sake."""
    Q, R = np.linalg.qr(A)

    def loss(b):
        r = y - Q @ b
        size = np.abs(r)
        return np.sum(s * np.where(size <= thresholds, r**2 / 2, thresholds * size - thresholds**2 / 2))

    def gradient(b):
        return -Q.T @ (s * np.clip(y - Q @ b, -thresholds, thresholds))

    def hessian(b):
        inside = s * (np.abs(y - Q @ b) <= thresholds)
        return (Q.T * inside) @ Q + 1e-12 * np.eye(Q.shape[1])

    start = Q.T @ y
    found = minimize(loss, start, jac=gradient, hess=hessian, method="trust-exact", options=dict(gtol=1e-13))
    return np.linalg.solve(R, found.x), found.fun


# --- l1 is Huber's loss


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("leverage_weights", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 1.345, 3.0])
def test_l1_is_huber(rng, alpha, leverage_weights, weighted):
    X, y = data(rng)
    s = rng.integers(1, 4, len(y)).astype(float) if weighted else np.ones(len(y))
    scale = 1.3
    model = SparseOutlierRegressor("l1", alpha=alpha, scale=scale, leverage_weights=leverage_weights)
    model.fit(X, y, sample_weight=s if weighted else None)
    A = with_ones(X)
    G = np.linalg.inv((A.T * s) @ A)
    c = np.sqrt(1 - np.einsum("ij,jk,ik->i", A, G, A)) if leverage_weights else np.ones(len(y))
    thresholds = alpha * scale * c
    expected, loss = huber_minimum(A, y, s, thresholds)
    np.testing.assert_allclose(np.r_[model.intercept_, model.coef_], expected, rtol=1e-7, atol=1e-7)
    residual = y - model.predict(X)
    soft = np.sign(residual) * np.maximum(np.abs(residual) - thresholds, 0)
    np.testing.assert_allclose(model.gamma_, soft, atol=1e-9)
    np.testing.assert_array_equal(model.outlier_mask_, np.abs(residual) > thresholds)
    assert 0 <= model.dual_gap_ <= 1e-9
    size = np.abs(residual)
    ours = np.sum(s * np.where(size <= thresholds, size**2 / 2, thresholds * size - thresholds**2 / 2))
    assert ours <= loss * (1 + 1e-12)


def test_gap_bounds_what_is_left(rng):
    # a fit that was stopped early
    X, y = data(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        early = SparseOutlierRegressor("l1", alpha=0.1, scale=1.0, max_iter=1, leverage_weights=False).fit(X, y)
    _, best = huber_minimum(with_ones(X), y, np.ones(len(y)), np.full(len(y), 0.1))
    size = np.abs(y - early.predict(X))
    reached = np.sum(np.where(size <= 0.1, size**2 / 2, 0.1 * size - 0.005)) / len(y)
    assert early.dual_gap_ >= reached - best / len(y) > 0


def test_early_stop_warns(rng):
    X, y = data(rng)
    with pytest.warns(match="max_iter=1"):
        SparseOutlierRegressor("l1", alpha=0.1, scale=1.0, max_iter=1).fit(X, y)


@pytest.mark.parametrize("leverage_weights", [False, True])
def test_l1_path_is_a_lasso_in_gamma(rng, leverage_weights):
    n = 100
    X, y = data(rng, n=n, p=3)
    path = outlier_path(X, y, "l1", alphas=12, alpha_min=0.5, scale=1.0, leverage_weights=leverage_weights)
    A = with_ones(X)
    H = A @ np.linalg.solve(A.T @ A, A.T)
    c = np.sqrt(1 - np.diag(H)) if leverage_weights else np.ones(n)
    design = (np.eye(n) - H) / c
    target = y - H @ y
    for j, alpha in enumerate(path.alphas):
        lasso = Lasso(alpha=alpha / n, fit_intercept=False, tol=1e-13, max_iter=1_000_000).fit(design, target)
        np.testing.assert_allclose(path.gammas[:, [j]].toarray()[:, 0], lasso.coef_ / c, atol=1e-6)
    assert path.dual_gaps.max() <= 1e-9
    knots, _, coefs = lars_path(design, target, method="lasso", alpha_min=0.5 / n)
    first = np.where((coefs != 0).any(axis=1), (coefs != 0).argmax(axis=1) - 1, -1)
    expected = np.where(first >= 0, knots[first] * n, 0.0)
    np.testing.assert_allclose(path.entry_alphas, expected, rtol=1e-6, atol=1e-9)
    assert np.sum(path.entry_alphas > 0) > 40
    np.testing.assert_array_equal(np.argsort(path.entry_alphas, kind="stable"), np.argsort(expected, kind="stable"))


def test_interpolated_entries_are_close_to_the_exact_ones(rng, monkeypatch):
    from skspar._engine import indicator

    X, y = data(rng, n=300)
    exact = outlier_path(X, y, "l1", alphas=40, alpha_min=0.5, scale=1.0).entry_alphas
    monkeypatch.setattr(indicator, "EXACT_ROWS", 0)
    near = outlier_path(X, y, "l1", alphas=40, alpha_min=0.5, scale=1.0).entry_alphas
    both = (exact > 0.51) & (near > 0)
    np.testing.assert_allclose(near[both], exact[both], rtol=1e-3)
    assert both.sum() > 100


@pytest.mark.parametrize("penalty", PENALTIES)
def test_stationarity(rng, penalty):
    """The fit is least squares of y - gamma, and gamma the penalty's threshold of the residual."""
    X, y = data(rng, shift=5.0)
    alpha, scale = 2.0, 1.1
    model = SparseOutlierRegressor(penalty, alpha=alpha, scale=scale, leverage_weights=False, random_state=0).fit(X, y)
    refit = LinearRegression().fit(X, y - model.gamma_)
    np.testing.assert_allclose(model.coef_, refit.coef_, rtol=1e-8, atol=1e-10)
    r, t = y - model.predict(X), alpha * scale
    size = np.abs(r)
    soft = np.sign(r) * np.maximum(size - t, 0)
    expected = {
        "l1": soft,
        "hard": np.where(size > t, r, 0),
        "mcp": np.where(size <= 3 * t, soft / (1 - 1 / 3), r),
        "scad": np.where(size <= 2 * t, soft, np.where(size <= 3.7 * t, (2.7 * r - 3.7 * t * np.sign(r)) / 1.7, r)),
    }[penalty]
    np.testing.assert_allclose(model.gamma_, expected, atol=1e-9)
    assert model.outlier_mask_[:8].sum() >= 6


@pytest.mark.parametrize("penalty", ["scad", "mcp"])
def test_large_shape_of_a_flat_problem_is_least_squares(rng, penalty):
    # thresholds above all residuals
    X, y = data(rng)
    model = SparseOutlierRegressor(penalty, alpha=100.0, scale=10.0, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, y).coef_, rtol=1e-10)
    assert not model.outlier_mask_.any()


# --- least trimmed squares


@pytest.mark.parametrize("p", [1, 2])
def test_lts_is_the_best_of_all_subsets(p):
    for seed in range(15):
        rng = np.random.default_rng(seed)
        n = 11
        X, y = rng.standard_normal((n, p)), rng.standard_normal(n)
        y[:3] += 4
        problem = DenseIndicator(X, y, np.ones(n), True)
        scale = problem.response.scale
        _, found = least_trimmed_squares(problem.problem, np.random.RandomState(0))
        h = int(coverage(n, p + 1))
        best = np.inf
        for rows in itertools.combinations(range(n), h):
            A, target = with_ones(X[list(rows)]), y[list(rows)]
            r = target - A @ np.linalg.lstsq(A, target, rcond=None)[0]
            best = min(best, r @ r)
        assert found * scale**2 == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("n", [700, 3000])
def test_lts_narrowed_down_on_samples_is_a_fixed_point(n):
    X, y, is_outlier = make_outlier_regression(n, 5, leverage=15.0, random_state=1)
    indicator = DenseIndicator(X, y, np.ones(n), True)
    problem = indicator.problem
    beta, found = least_trimmed_squares(problem, np.random.RandomState(0))
    r2 = (problem.y - problem.Q @ beta) ** 2
    rows = np.argsort(r2)[: int(coverage(n, 6))]
    again = np.linalg.lstsq(problem.Q[rows], problem.y[rows], rcond=None)[0]
    np.testing.assert_allclose(again, beta, atol=1e-6)
    assert not is_outlier[rows].any()
    assert found == pytest.approx(np.sort(r2)[: len(rows)].sum(), rel=1e-9)


def test_scale_is_consistent():
    rng = np.random.default_rng(0)
    for n, p, tolerance in [(30, 2, 0.08), (100, 5, 0.05), (3000, 10, 0.05)]:
        scales = []
        for _ in range(30 if n < 1000 else 2):
            X, y = rng.standard_normal((n, p)), 5 * rng.standard_normal(n)
            scales.append(SparseOutlierRegressor(alpha=3.0, random_state=0).fit(X, y).scale_)
        assert np.mean(scales) == pytest.approx(5, rel=tolerance)


# --- leave one out


def leave_each_out(X, y, s):
    n = len(y)
    residuals, scales = np.empty(n), np.empty(n)
    for i in range(n):
        rest = np.arange(n) != i
        model = LinearRegression().fit(X[rest], y[rest], s[rest])
        residuals[i] = y[i] - model.predict(X[[i]])[0]
        r = y[rest] - model.predict(X[rest])
        # the degrees of freedom: all weight, the row's shift being one more coefficient
        scales[i] = np.sqrt(np.sum(s[rest] * r**2) / (s.sum() - X.shape[1] - 2))
    return residuals, scales


@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_is_a_refit(rng, weighted):
    X, y = data(rng, n=60, p=5)
    s = rng.uniform(0.2, 3, 60) if weighted else np.ones(60)
    result = externally_studentized_residuals(X, y, sample_weight=s if weighted else None)
    residuals, scales = leave_each_out(X, y, s)
    np.testing.assert_allclose(result.loo_residuals, residuals, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.loo_scale, scales, rtol=1e-9)
    A = with_ones(X)
    h = np.diag(A @ np.linalg.solve((A.T * s) @ A, A.T * s))
    np.testing.assert_allclose(result.leverage, h, rtol=1e-9)
    np.testing.assert_allclose(leverage(X, sample_weight=s), h, rtol=1e-9)
    assert leverage(X, sample_weight=s).sum() == pytest.approx(6)
    # t is that of a dummy for the row
    i = 3
    dummy = np.arange(60) == i
    D = np.column_stack([A, dummy])
    b = np.linalg.solve((D.T * s) @ D, (D.T * s) @ y)
    rss = np.sum(s * (y - D @ b) ** 2)
    error = np.sqrt(rss / (s.sum() - 7) * np.linalg.inv((D.T * s) @ D)[-1, -1])
    assert result.t[i] == pytest.approx(b[-1] / error, rel=1e-9)
    assert result.df == pytest.approx(s.sum() - 7)


def test_p_values_are_uniform_and_adjusted(rng):
    X = rng.standard_normal((400, 3))
    result = externally_studentized_residuals(X, rng.standard_normal(400), adjust=None)
    assert abs(np.mean(result.pvalues < 0.1) - 0.1) < 0.04
    bonferroni = externally_studentized_residuals(X, X[:, 0] + np.where(np.arange(400) < 3, 60.0, 0.1))
    np.testing.assert_allclose(bonferroni.adjusted_pvalues, np.minimum(1, 400 * bonferroni.pvalues))
    bh = externally_studentized_residuals(X, rng.standard_normal(400), adjust="bh")
    p = np.sort(bh.pvalues)
    expected = np.minimum.accumulate((p * 400 / np.arange(1, 401))[::-1])[::-1]
    np.testing.assert_allclose(np.sort(bh.adjusted_pvalues), np.minimum(expected, 1))


def test_saturated_row_says_so(rng):
    X, y = data(rng, n=30, p=2)
    X = np.column_stack([X, np.arange(30) == 4])
    with pytest.warns(UserWarning, match="leverage 1.*rows 4"):
        result = externally_studentized_residuals(X, y)
    assert np.isnan(result.t[4]) and np.isnan(result.adjusted_pvalues[4])
    others = np.arange(30) != 4
    assert np.isfinite(result.t[others]).all()
    expected = externally_studentized_residuals(X[others, :2], y[others])
    np.testing.assert_allclose(result.t[others], expected.t, rtol=1e-9)
    # the estimator keeps such a row, there is nothing to flag it by
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for penalty in PENALTIES:
            model = SparseOutlierRegressor(penalty, random_state=0).fit(X, y)
            assert np.isfinite(model.outlier_score_).all() and not model.outlier_mask_[4]


# --- equivariance


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("alpha", ["bic", "bonferroni", 2.7])
def test_equivariance(rng, penalty, alpha):
    X, y = data(rng, n=70)
    base = SparseOutlierRegressor(penalty, alpha=alpha, random_state=0).fit(X, y)
    A, c = rng.standard_normal((4, 4)), rng.standard_normal(4)
    for a in (1e-9, -3.0, 1e7):
        # a shift of the size of the targets: a much larger one would round them
        model = SparseOutlierRegressor(penalty, alpha=alpha, random_state=0).fit(X @ A, a * (y + X @ c))
        np.testing.assert_array_equal(model.outlier_mask_, base.outlier_mask_)
        np.testing.assert_allclose(A @ model.coef_, a * (base.coef_ + c), rtol=1e-6, atol=1e-8 * abs(a))
        np.testing.assert_allclose(model.scale_, abs(a) * base.scale_, rtol=1e-6)
        np.testing.assert_allclose(model.gamma_, a * base.gamma_, rtol=1e-6, atol=1e-8 * abs(a))
        np.testing.assert_allclose(model.entry_alpha_, base.entry_alpha_, rtol=1e-6, atol=1e-8)
    order = rng.permutation(70)
    model = SparseOutlierRegressor(penalty, alpha=alpha, random_state=0).fit(X[order], y[order])
    np.testing.assert_array_equal(model.outlier_mask_, base.outlier_mask_[order])
    np.testing.assert_allclose(model.coef_, base.coef_, rtol=1e-8)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("coef_alpha", [0.0, 0.05])
def test_weights_count_rows(rng, penalty, coef_alpha):
    X, y = data(rng, n=60)
    s = rng.integers(0, 4, 60)
    params = dict(penalty=penalty, coef_alpha=coef_alpha, random_state=0)
    weighted = SparseOutlierRegressor(**params).fit(X, y, sample_weight=s)
    repeated = SparseOutlierRegressor(**params).fit(np.repeat(X, s, axis=0), np.repeat(y, s))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-7, atol=1e-9)
    assert weighted.scale_ == pytest.approx(repeated.scale_, rel=1e-9)
    assert weighted.alpha_ == pytest.approx(repeated.alpha_, rel=1e-9)
    np.testing.assert_array_equal(np.repeat(weighted.outlier_mask_, s), repeated.outlier_mask_)
    np.testing.assert_allclose(np.repeat(weighted.leverage_, s), repeated.leverage_, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(np.repeat(weighted.outlier_score_, s), repeated.outlier_score_, rtol=1e-6)


def test_rows_of_no_weight_are_judged_as_new_ones(rng):
    X, y = data(rng, n=60)
    s = np.ones(60)
    s[[0, 30]] = 0
    model = SparseOutlierRegressor(random_state=0).fit(X, y, sample_weight=s)
    absent = SparseOutlierRegressor(random_state=0).fit(X[s > 0], y[s > 0])
    np.testing.assert_allclose(model.coef_, absent.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.outlier_score_[[0, 30]], absent.score_outliers(X[[0, 30]], y[[0, 30]]))
    assert model.outlier_mask_[0] and not model.outlier_mask_[30]


def test_score_outliers_uses_the_distance_of_new_rows(rng):
    X, y = data(rng, n=60)
    model = SparseOutlierRegressor(alpha=3.0, random_state=0).fit(X, y)
    new, target = rng.standard_normal((5, 4)) * 30, rng.standard_normal(5) * 10
    # the rows that the start took for good are, in these data, those not flagged
    A = with_ones(X[~model.outlier_mask_])
    D = with_ones(new)
    d = np.einsum("ij,jk,ik->i", D, np.linalg.inv(A.T @ A), D)
    expected = np.abs(target - model.predict(new)) / (model.scale_ * np.sqrt(1 + d))
    np.testing.assert_allclose(model.score_outliers(new, target), expected, rtol=0.05)


# --- exact fits and awkward columns


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_exact_fit(rng, penalty, unit):
    X = rng.standard_normal((60, 3))
    y = (X @ [1.0, -2.0, 0.5] + 4) * unit
    y[:12] += rng.choice([-1, 1], 12) * rng.uniform(5, 50, 12) * unit
    model = SparseOutlierRegressor(penalty, random_state=0).fit(X, y)
    assert model.scale_ == 0
    np.testing.assert_array_equal(model.outlier_mask_, np.arange(60) < 12)
    np.testing.assert_allclose(model.coef_ / unit, [1.0, -2.0, 0.5], rtol=1e-9)
    assert np.isfinite(model.outlier_score_).all()
    assert model.score_outliers(X[12:], y[12:]).max() <= model.alpha_ < model.score_outliers(X[:12], y[:12]).min()


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("wild", [1e15, -1e20])
def test_one_wild_entry_costs_no_digits(rng, penalty, wild):
    X, y = data(rng, n=100)
    without = SparseOutlierRegressor(penalty, random_state=0).fit(X[1:], y[1:])
    y[0] = wild
    model = SparseOutlierRegressor(penalty, random_state=0).fit(X, y)
    assert model.outlier_mask_[0] and model.scale_ == pytest.approx(without.scale_, rel=0.05)
    np.testing.assert_allclose(model.predict(X[1:]), without.predict(X[1:]), atol=1.0)
    assert model.outlier_mask_[1:].sum() <= without.outlier_mask_.sum() + 5


@pytest.mark.parametrize("penalty", PENALTIES)
def test_milliseconds_beside_a_dummy(rng, penalty):
    n = 300
    t = 1.7e12 + rng.uniform(0, 3e10, n)
    dummy = (rng.uniform(size=n) < 0.3).astype(float)
    signal = 2e-10 * (t - 1.7e12) + 3 * dummy + 0.5
    y = signal + 0.1 * rng.standard_normal(n)
    y[:20] += 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SparseOutlierRegressor(penalty, random_state=0).fit(np.column_stack([t, dummy]), y)
    assert model.outlier_mask_[:20].all() and model.outlier_mask_[20:].mean() < 0.05
    assert model.coef_[1] == pytest.approx(3, abs=0.1)
    assert np.abs(model.predict(np.column_stack([t, dummy])) - signal).max() < 0.15


def test_a_rare_category_keeps_its_coefficient(rng):
    # the best half of the rows need not contain a level that has few
    n = 200
    level = np.arange(n) < 6
    x = rng.standard_normal(n)
    y = x + 25 * level + 0.3 * rng.standard_normal(n)
    y[0] += 30
    y[50] += 30
    model = SparseOutlierRegressor(random_state=0).fit(np.column_stack([x, level]), y)
    assert model.coef_[1] == pytest.approx(25, abs=0.6)
    assert model.outlier_mask_[[0, 50]].all() and model.outlier_mask_.sum() <= 12


def test_collinear_dummies(rng):
    n = 120
    codes = rng.integers(0, 4, n)
    X = np.column_stack([rng.standard_normal(n), np.eye(4)[codes]])
    y = X @ [1.0, 0.0, 2.0, 4.0, 6.0] + 0.2 * rng.standard_normal(n)
    y[:10] -= 4
    full = SparseOutlierRegressor(random_state=0).fit(X, y)
    dropped = SparseOutlierRegressor(random_state=0).fit(X[:, :-1], y)
    np.testing.assert_array_equal(full.outlier_mask_, dropped.outlier_mask_)
    np.testing.assert_allclose(full.predict(X), dropped.predict(X[:, :-1]), rtol=1e-9)
    kept = ~full.outlier_mask_
    np.testing.assert_allclose(full.coef_, LinearRegression().fit(X[kept], y[kept]).coef_, atol=1e-8)
    assert full.outlier_mask_[:10].all()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_constant_target_and_constant_columns(rng, penalty):
    X = np.column_stack([rng.standard_normal((40, 2)), np.full(40, 7.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SparseOutlierRegressor(penalty, random_state=0).fit(X, np.full(40, 1.1))
        assert not model.coef_.any() and model.intercept_ == pytest.approx(1.1) and not model.outlier_mask_.any()
        zero = SparseOutlierRegressor(penalty, random_state=0, fit_intercept=False).fit(X, np.zeros(40))
        assert not zero.coef_.any() and not zero.outlier_mask_.any()
        constant = SparseOutlierRegressor(penalty, random_state=0).fit(X[:, 2:], rng.standard_normal(40))
        assert constant.coef_[0] == 0


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_no_more_rows_than_coefficients(rng, penalty, n):
    X, y = rng.standard_normal((n, 6)), rng.standard_normal(n)
    with pytest.warns(UserWarning, match="minimum norm"):
        model = SparseOutlierRegressor(penalty, random_state=0).fit(X, y)
    expected = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-10)
    assert not model.outlier_mask_.any() and model.scale_ == 0


def test_float32(rng):
    X, y = data(rng, n=200)
    double = SparseOutlierRegressor(random_state=0).fit(X, y)
    single = SparseOutlierRegressor(random_state=0).fit(X.astype(np.float32), y.astype(np.float32))
    assert single.coef_.dtype == np.float32
    np.testing.assert_array_equal(single.outlier_mask_, double.outlier_mask_)
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=1e-4, atol=1e-5)


# --- what it is for


@pytest.mark.parametrize("leverage_value", [15.0, None])
def test_masking_and_swamping(leverage_value):
    """She & Owen's design, few runs: benchmarks/outliers.py has the table."""
    missed, swamped, by_l1 = [], [], []
    for seed in range(3):
        X, y, is_outlier = make_outlier_regression(1000, leverage=leverage_value, random_state=seed)
        mask = SparseOutlierRegressor(random_state=0).fit(X, y).outlier_mask_
        missed.append(np.mean(~mask[is_outlier]))
        swamped.append(np.mean(mask[~is_outlier]))
        by_l1.append(np.mean(~SparseOutlierRegressor("l1", random_state=0).fit(X, y).outlier_mask_[is_outlier]))
    assert np.mean(missed) <= 0.02 and np.mean(swamped) <= 0.02
    # the convex penalty breaks down at bad leverage points
    assert (np.mean(by_l1) > 0.2) == (leverage_value is not None)


def test_outliers_that_mask_each_other():
    right = 0
    for seed in range(20):
        X, y, is_outlier = make_masking_outliers(random_state=seed)
        model = SparseOutlierRegressor(alpha="bonferroni", random_state=0).fit(X, y)
        right += np.array_equal(model.outlier_mask_, is_outlier)
        ols = np.abs(y - LinearRegression().fit(X, y).predict(X))
        assert ols[is_outlier].max() < ols[10:14].min()
    assert right >= 19


def test_bonferroni_flags_next_to_nothing_where_nothing_is_wrong():
    flagged = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((80, 3)), rng.standard_normal(80)
        flagged += SparseOutlierRegressor(alpha="bonferroni", random_state=0).fit(X, y).outlier_mask_.any()
    assert flagged <= 3


def test_bic_flags_no_more_than_the_start_can_bear(rng):
    X, y = rng.standard_normal((40, 2)), rng.standard_normal(40)
    # a scale so small that every row is an outlier
    model = SparseOutlierRegressor(scale=1e-6, random_state=0).fit(X, y)
    assert model.outlier_mask_.sum() <= 40 - coverage(40, 3)


def high_dimensional(seed, n=100, p=500):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    y = 3 * X[:, :5].sum(axis=1) + rng.standard_normal(n)
    is_outlier = np.arange(n) < 10
    y[is_outlier] += rng.choice([-1, 1], 10) * rng.uniform(10, 20, 10)
    return X, y, is_outlier


def test_high_dimension():
    X, y, is_outlier = high_dimensional(0)
    model = SparseOutlierRegressor(coef_alpha="ebic", refit=True, random_state=0).fit(X, y)
    np.testing.assert_array_equal(np.flatnonzero(model.coef_), np.arange(5))
    np.testing.assert_allclose(model.coef_[:5], 3, atol=0.5)
    assert roc_auc_score(is_outlier, model.outlier_score_) >= 0.99
    assert model.outlier_mask_[is_outlier].all()


@pytest.mark.parametrize("container", [np.asarray, sparse.csc_array, sparse.csr_matrix])
def test_l1_with_coef_alpha_is_a_lasso_in_both(container):
    """[X, I] with penalties of its own on the columns of I, by scikit-learn."""
    X, y, _ = high_dimensional(1, n=40, p=60)
    X[np.abs(X) < 0.5] = 0
    alpha, coef_alpha, scale = 1.5, 0.3, 1.2
    model = SparseOutlierRegressor(
        "l1", alpha=alpha, coef_alpha=coef_alpha, scale=scale, leverage_weights=False, random_state=0
    ).fit(container(X), y)
    n = len(y)
    # gamma in units that make its penalty coef_alpha
    unit = coef_alpha / (alpha * scale / n)
    design = np.column_stack([X, np.eye(n) * unit])
    lasso = Lasso(alpha=coef_alpha, tol=1e-13, max_iter=1_000_000).fit(design, y)
    np.testing.assert_allclose(model.coef_, lasso.coef_[:60], atol=1e-6)
    np.testing.assert_allclose(model.gamma_, lasso.coef_[60:] * unit, atol=1e-5)
    assert model.intercept_ == pytest.approx(lasso.intercept_, abs=1e-6)
    assert 0 <= model.dual_gap_ <= 1e-9


@pytest.mark.parametrize("penalty", PENALTIES)
def test_coef_alpha_that_vanishes(rng, penalty):
    X, y = data(rng, n=100)
    params = dict(penalty=penalty, alpha=2.5, scale=1.0, leverage_weights=False, random_state=0)
    free = SparseOutlierRegressor(**params).fit(X, y)
    tiny = SparseOutlierRegressor(coef_alpha=1e-7, **params).fit(X, y)
    np.testing.assert_allclose(tiny.coef_, free.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(tiny.outlier_mask_, free.outlier_mask_)


def test_cross_validation_is_robust(rng):
    X = rng.standard_normal((90, 30))
    y = 2 * X[:, :3].sum(axis=1) + 0.5 * rng.standard_normal(90)
    y[:81:9] += 100  # outliers in every fold
    for scoring in ("trimmed", "tau"):
        model = SparseOutlierRegressorCV(coef_alphas=5, cv=3, scoring=scoring, random_state=0).fit(X, y)
        assert model.score_path_.shape == (5, 3)
        assert model.coef_alphas_[int(model.pooled_score_path_.argmax())] == model.coef_alpha_
        assert model.outlier_mask_[:81:9].all() and model.outlier_mask_.sum() <= 15
        assert np.mean((X @ model.coef_ - 2 * X[:, :3].sum(axis=1)) ** 2) < 0.5
    both = SparseOutlierRegressorCV(coef_alphas=[0.1], alpha=[2.5, "bonferroni"], cv=3, random_state=0).fit(X, y)
    assert both.score_path_.shape == (2, 1, 3) and both.best_alpha_ in (2.5, "bonferroni")


# --- paths and scores


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("coef_alpha", [0.0, 0.05])
def test_path_agrees_with_the_estimator(rng, penalty, coef_alpha):
    X, y = data(rng)
    path = outlier_path(X, y, penalty, alphas=[4.0, 3.0, 2.5], coef_alpha=coef_alpha, random_state=0)
    for j, alpha in enumerate(path.alphas):
        model = SparseOutlierRegressor(penalty, alpha=alpha, coef_alpha=coef_alpha, random_state=0).fit(X, y)
        np.testing.assert_allclose(path.coefs[:, j], model.coef_, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(path.gammas[:, [j]].toarray()[:, 0], model.gamma_, atol=1e-6)
        assert path.scale == pytest.approx(model.scale_)
    np.testing.assert_allclose(path.leverage, model.leverage_)
    flagged = path.gammas[:, [2]].toarray()[:, 0] != 0
    assert np.all((path.entry_alphas > 0)[flagged]) and path.entry_alphas[~flagged & (path.entry_alphas > 0)].size < 5


@pytest.mark.parametrize("penalty", PENALTIES)
def test_path_begins_where_nothing_is_flagged(rng, penalty):
    X, y = data(rng)
    path = outlier_path(X, y, penalty, leverage_weights=False, random_state=0)
    assert path.gammas[:, [0]].nnz == 0 and np.all(np.diff(path.alphas) < 0)
    assert path.gammas.shape == (80, len(path.alphas))
    best = SparseOutlierRegressor(penalty, leverage_weights=False, random_state=0).fit(X, y)
    assert path.alphas[np.argmin(path.bic)] == best.alpha_
    np.testing.assert_allclose(best.entry_alpha_, path.entry_alphas)


def test_modified_bic_is_that_of_the_paper(rng):
    X, y = data(rng)
    model = SparseOutlierRegressor("scad", random_state=0).fit(X, y)
    kept = ~model.outlier_mask_
    refit = LinearRegression().fit(X[kept], y[kept])
    m = len(y) - 5
    rss, df = np.sum((y[kept] - refit.predict(X[kept])) ** 2), model.outlier_mask_.sum()
    place = np.flatnonzero(model.alphas_ == model.alpha_)[0]
    # the criterion is that of the scaled response
    offset = 2 * m * np.log(2.0 ** np.ceil(np.log2(np.abs(y - np.median(y)).max())))
    expected = m * np.log(rss / m) + (np.log(m) + 1) * (df + 1)
    assert model.criterion_[place] + offset == pytest.approx(expected, rel=1e-9)


def test_refit_has_no_bias(rng):
    X, y = data(rng)
    model = SparseOutlierRegressor("l1", alpha=2.5, refit=True, random_state=0).fit(X, y)
    kept = ~model.outlier_mask_
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X[kept], y[kept]).coef_, rtol=1e-9)


def test_scores(rng):
    e = rng.standard_normal(20_000) * 3
    assert tau_scale(e, np.zeros_like(e)) == pytest.approx(3, rel=0.02)
    e[:1000] = 1e9
    assert tau_scale(e, np.zeros_like(e)) == pytest.approx(3, rel=0.25)
    assert trimmed_mean_squared_error([0, 0, 0, 0], [1, 2, 3, 4], trim=0.5) == 2.5
    assert trimmed_mean_squared_error([0, 0, 0], [1, 2, 9], trim=0) == pytest.approx(86 / 3)
    s = rng.integers(0, 4, 50)
    a, b = rng.standard_normal(50), rng.standard_normal(50)
    for function in (tau_scale, trimmed_mean_squared_error):
        assert function(a, b, sample_weight=s) == pytest.approx(function(np.repeat(a, s), np.repeat(b, s)))
    for n in (5, 6, 7):
        x = rng.standard_normal(n)
        assert weighted_median(x, np.ones(n)) == pytest.approx(np.median(x))


def test_extended_bic_counts_weights_and_takes_sparse(rng):
    X = rng.standard_normal((60, 20)) * (rng.uniform(size=(60, 20)) < 0.5)
    y = 3 * X[:, 0] - 3 * X[:, 1] + 0.3 * rng.standard_normal(60)
    y[:5] += 20
    s = rng.integers(1, 3, 60)
    weighted = SparseOutlierRegressor(coef_alpha="ebic", random_state=0).fit(sparse.csr_array(X), y, sample_weight=s)
    repeated = SparseOutlierRegressor(coef_alpha="ebic", random_state=0).fit(np.repeat(X, s, axis=0), np.repeat(y, s))
    np.testing.assert_array_equal(np.flatnonzero(weighted.coef_), [0, 1])
    assert weighted.coef_alpha_ == pytest.approx(repeated.coef_alpha_)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6)
    assert weighted.outlier_mask_[:5].all()


def test_large_problems_are_sampled_alike_for_weights_and_any_order(rng):
    n = 60_000
    X = rng.standard_normal((n, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(n)
    y[:6000] += 8
    s = rng.integers(0, 3, n)
    order = rng.permutation(n)
    for penalty in ("hard", "l1"):
        params = dict(penalty=penalty, alpha=3.0, random_state=0)
        weighted = SparseOutlierRegressor(**params).fit(X, y, sample_weight=s)
        repeated = SparseOutlierRegressor(**params).fit(np.repeat(X, s, axis=0), np.repeat(y, s))
        assert weighted.scale_ == pytest.approx(repeated.scale_, rel=1e-9)
        assert weighted.scale_ == pytest.approx(1, rel=0.02)
        plain = SparseOutlierRegressor(**params).fit(X, y)
        shuffled = SparseOutlierRegressor(**params).fit(X[order], y[order])
        assert plain.scale_ == pytest.approx(shuffled.scale_, rel=1e-6)
        assert np.sum(plain.outlier_mask_[order] != shuffled.outlier_mask_) <= 2
        assert plain.outlier_mask_[:6000].mean() > 0.999


def test_large_problems_with_few_distinct_rows(rng):
    X = rng.integers(0, 3, (60_000, 2)).astype(float)
    y = X @ [1.0, 2.0] + rng.integers(-1, 2, 60_000)
    y[:5000] += 50
    model = SparseOutlierRegressor(alpha=4.0, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.outlier_mask_, np.arange(60_000) < 5000)
    np.testing.assert_allclose(model.coef_, [1, 2], atol=0.02)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_column_whose_mean_hides_another(rng, penalty):
    # what is left of 1e8 + x is x, but for the rounding of 1e8
    X, y = data(rng, n=60, p=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twice = SparseOutlierRegressor(penalty, random_state=0).fit(np.column_stack([X, 1e8 + X[:, 0]]), y)
    once = SparseOutlierRegressor(penalty, random_state=0).fit(X, y)
    np.testing.assert_array_equal(twice.outlier_mask_, once.outlier_mask_)
    np.testing.assert_allclose(twice.outlier_score_, once.outlier_score_, rtol=1e-5, atol=1e-6)
    assert np.abs(twice.coef_).max() < 100


@pytest.mark.parametrize("mean", [1e8, 1e10, 1e12])
def test_a_mean_as_large_as_the_digits_bear(rng, mean):
    X, y = data(rng, n=60, p=3)
    X[:, 0] += mean
    centred = X - [mean, 0, 0]
    result, expected = (externally_studentized_residuals(Z, y) for Z in (X, centred))
    np.testing.assert_allclose(result.loo_residuals, expected.loo_residuals, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(leverage(X), leverage(centred), rtol=1e-9)
    indicator = DenseIndicator(X, y, np.ones(60), True)
    np.testing.assert_allclose(indicator.basis.Q.T @ indicator.basis.Q, np.eye(4), atol=1e-12)


def test_weights_count_rows_in_the_grid(rng):
    # many rows far above the thresholds that matter, where the grid follows their scores
    X, y = data(rng, n=90, n_outliers=20, shift=60.0)
    y[:20] += rng.uniform(-40, 40, 20)
    s = rng.integers(0, 4, 90)
    for penalty in ("hard", "scad"):
        weighted = outlier_path(X, y, penalty, sample_weight=s, random_state=0)
        repeated = outlier_path(np.repeat(X, s, axis=0), np.repeat(y, s), penalty, random_state=0)
        np.testing.assert_allclose(weighted.alphas, repeated.alphas, rtol=1e-9)
        np.testing.assert_allclose(weighted.bic, repeated.bic, rtol=1e-9)
        np.testing.assert_allclose(np.repeat(weighted.entry_alphas, s), repeated.entry_alphas, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_exact_fit_without_rounding_errors_does_not_cycle(penalty):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = X @ [1.0, -2.0, 0.5]
    y[:6] += 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for params in (dict(), dict(alpha=3.0, init="ols"), dict(coef_alpha=0.05, refit=True)):
            model = SparseOutlierRegressor(penalty, random_state=0, **params).fit(X, y)
            assert model.outlier_mask_[:6].all()


@pytest.mark.parametrize("unit", [1e-152, 1e150])
@pytest.mark.parametrize("unit_x", [1e-100, 1.0, 1e100])
def test_extreme_units(rng, unit, unit_x):
    X, y = data(rng)
    base = SparseOutlierRegressor(random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SparseOutlierRegressor(random_state=0).fit(X * unit_x, y * unit)
        scores = model.score_outliers(X * unit_x, y * unit)
    np.testing.assert_array_equal(model.outlier_mask_, base.outlier_mask_)
    np.testing.assert_allclose(model.coef_ * (unit_x / unit), base.coef_, rtol=1e-9)
    np.testing.assert_allclose(scores, base.score_outliers(X, y), rtol=1e-6)


def test_scores_after_a_target_of_zeros(rng):
    X = rng.standard_normal((30, 2))
    model = SparseOutlierRegressor(random_state=0).fit(X, np.zeros(30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = model.score_outliers(X[:2], np.array([0.0, 1e3]))
    assert scores[0] == 0 and np.isfinite(scores[1]) and scores[1] > 1e100


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.float16])
def test_targets_of_few_bits(rng, dtype):
    X = rng.standard_normal((60, 3))
    y = np.clip(np.round(20 * X[:, 0] + 60), 0, 120).astype(dtype)
    s = np.where(np.arange(60) < 3, 0.0, 1.0)
    expected = SparseOutlierRegressor("l1", alpha=2.0, random_state=0).fit(X, y.astype(float), s)
    model = SparseOutlierRegressor("l1", alpha=2.0, random_state=0).fit(X, y, s)
    np.testing.assert_allclose(model.coef_, expected.coef_)
    np.testing.assert_allclose(model.score_outliers(X, y), expected.score_outliers(X, y.astype(float)))


def test_targets_that_are_words(rng):
    X, y = data(rng, n=40)
    by_folds = SparseOutlierRegressorCV(coef_alphas=[0.1], alpha=3.0, cv=2, random_state=0)
    for model in (SparseOutlierRegressor(random_state=0), by_folds):
        expected = clone(model).fit(X, y.round(3)).coef_
        np.testing.assert_array_equal(model.fit(X, y.round(3).astype(str)).coef_, expected)
        with pytest.raises(ValueError, match="y must hold numbers"):
            model.fit(X, np.full(40, "a"))


@pytest.mark.newest
def test_cross_validation_stands_outliers_that_stand_together():
    # the first fold holds nothing else; with the means of folds it decided
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 12))
    X[:10] *= 10
    signal = 2 * X[:, :3].sum(axis=1)
    y = signal + 0.5 * rng.standard_normal(80)
    y[:10] = -5 * signal[:10]
    for scoring in ("tau", "trimmed"):
        model = SparseOutlierRegressorCV(
            coef_alphas=[10.0, 0.3, 0.1], alpha=3.0, cv=KFold(8), scoring=scoring, random_state=0
        ).fit(X, y)
        assert model.pooled_score_path_.shape == (3,)
        assert np.mean((model.predict(X[10:]) - signal[10:]) ** 2) < 1.0
        of_means = model.score_path_.mean(axis=1).argmax()
        assert of_means != model.pooled_score_path_.argmax()


def test_cross_validation_with_a_third_of_outliers():
    for seed in range(2):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((100, 30))
        signal = 2 * X[:, :3].sum(axis=1)
        y = signal + 0.5 * rng.standard_normal(100)
        rows = rng.permutation(100)[:33]
        y[rows] += rng.choice([-1, 1], 33) * rng.uniform(20, 100, 33)
        model = SparseOutlierRegressorCV(coef_alphas=5, alpha=3.0, cv=2, random_state=0).fit(X, y)
        # of 12; what is left is the bias of the penalty
        assert np.mean((model.predict(X) - signal) ** 2) < 4.0
        assert model.outlier_mask_[rows].all()


def test_scores_of_folds_and_of_all_rows(rng):
    X, y = data(rng)
    model = SparseOutlierRegressorCV(coef_alphas=[0.3, 0.1], alpha=3.0, cv=KFold(4), random_state=0).fit(X, y)
    for j, coef_alpha in enumerate(model.coef_alphas_):
        errors = np.empty(80)
        for k, (train, test) in enumerate(KFold(4).split(X)):
            fold = SparseOutlierRegressor(alpha=3.0, coef_alpha=coef_alpha, random_state=0).fit(X[train], y[train])
            errors[test] = y[test] - fold.predict(X[test])
            assert model.score_path_[j, k] == pytest.approx(-tau_scale(errors[test], np.zeros(20)), rel=1e-4)
        assert model.pooled_score_path_[j] == pytest.approx(-tau_scale(errors, np.zeros(80)), rel=1e-4)


@pytest.mark.parametrize("alpha", [0.01, 1e-4])
def test_l1_with_thresholds_far_below_the_noise(alpha):
    # rows jump from one side to the other in a step
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, y = data(rng, n=60)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = SparseOutlierRegressor("l1", alpha=alpha, scale=1.0, leverage_weights=False).fit(X, y)
        assert 0 <= model.dual_gap_ <= 1e-9
        u = np.clip(y - model.predict(X), -alpha, alpha)
        np.testing.assert_allclose(with_ones(X).T @ u, 0, atol=1e-9 * np.abs(X).sum())


def test_bound_of_the_gap_is_a_bound(rng):
    X, y = data(rng, n=200)
    problem = DenseIndicator(X, y, np.ones(200), True)
    thresholds = np.full(200, 0.05)
    for max_iter in (1, 2, 3, 100):
        found = problem.problem.minimise("l1", thresholds, problem.problem.least_squares(), max_iter)
        exact = problem.problem.huber_gap(found, thresholds)
        size = np.linalg.norm(found.gradient)
        longest = np.sqrt(problem.basis.lengths.max())
        bound = size * (longest / 0.05 * found.loss + np.linalg.norm(found.residual))
        assert exact <= bound * (1 + 1e-9) + 1e-15


def test_newton_from_a_part_of_the_rows_ends_at_the_same_fit(rng):
    X = rng.standard_normal((70_000, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(70_000)
    y[:7000] += 10
    model = SparseOutlierRegressor("l1", alpha=1.35, scale=1.0, leverage_weights=False).fit(X, y)
    expected, _ = huber_minimum(with_ones(X), y, np.ones(70_000), np.full(70_000, 1.35))
    np.testing.assert_allclose(np.r_[model.intercept_, model.coef_], expected, atol=1e-8)
    assert model.dual_gap_ <= 1e-12


@pytest.mark.parametrize("n, p", [(300, 30), (2000, 20), (20_000, 10)])
def test_a_cluster_of_many_bad_leverage_points(n, p):
    # nearly every draw of a few rows hits the cluster, and a plane through it is cheap for BIC
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    y = X.sum(axis=1) + rng.standard_normal(n)
    k = (3 * n) // 10
    X[:k] = 8 + 0.2 * rng.standard_normal((k, p))
    y[:k] = -30 + rng.standard_normal(k)
    for penalty in ("hard", "scad", "mcp"):
        model = SparseOutlierRegressor(penalty, random_state=0).fit(X, y)
        assert model.outlier_mask_[:k].all() and model.outlier_mask_[k:].mean() < 0.03
        assert model.alpha_ < 6 and model.scale_ == pytest.approx(1, rel=0.15)


def test_many_outliers_in_y(rng):
    X = rng.standard_normal((60_000, 10))
    y = X.sum(axis=1) + rng.standard_normal(60_000)
    y[:27_000] += 20 + 5 * rng.standard_normal(27_000)
    model = SparseOutlierRegressor(random_state=0).fit(X, y)
    assert model.outlier_mask_[:27_000].mean() > 0.99 and model.outlier_mask_[27_000:].mean() < 0.02
