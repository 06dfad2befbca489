"""GroupLassoIC: unbiased degrees of freedom (trace of d fit / d y, the intercept not counted), AIC and BIC."""

import warnings

import numpy as np
import pytest
from _oracles import random_data, random_groups, repeated_rows
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoLarsIC, LinearRegression

from skspar import GroupLasso, GroupLassoIC, group_lasso_path

pytestmark = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")


def numerical_degrees_of_freedom(X, y, alphas, sample_weight=None, fit_intercept=True, **params):
    """sum of d yhat_it / d y_it by central differences, for every alpha; less one per target for the intercept."""

    def fitted(y):
        # 1e-15 is rounding level: as near as a fit can come, whether or not the gap says so
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            path = group_lasso_path(
                X, y, alphas=alphas, sample_weight=sample_weight, tol=1e-15, return_intercepts=fit_intercept, **params
            )
        coefs = path[1].reshape(-1, *path[1].shape[-2:])
        intercepts = path[3].reshape(-1, 1, len(alphas)) if fit_intercept else 0
        return np.moveaxis(X @ coefs + intercepts, 0, 1)  # (n, T, n_alphas)

    total, h = np.zeros(len(alphas)), 1e-4
    for index in np.ndindex(y.shape):
        step = np.zeros(y.shape)
        step[index] = h
        change = (fitted(y + step) - fitted(y - step)) / (2 * h)
        total += change[index if y.ndim == 2 else (index[0], 0)]
    return total - fit_intercept * y.reshape(len(y), -1).shape[1]


@pytest.mark.newest
@pytest.mark.parametrize("layout", ["ones", "equal", "unequal", "unpenalized"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.4])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"weighted": True}, {"positive": True}], ids=str)
def test_degrees_of_freedom_are_the_trace_of_the_jacobian(rng, layout, l1_ratio, n_targets, options):
    if "positive" in options and layout == "unpenalized":
        layout = "unequal"
    X, y = random_data(rng, 16, 9, n_targets)
    groups, group_weights, _, _ = random_groups(layout, 9, rng)
    s = rng.uniform(0.3, 2, 16) if options.get("weighted") else None
    params = dict(groups=groups, group_weights=group_weights, l1_ratio=l1_ratio)
    params["positive"] = options.get("positive", False)
    fit_intercept = options.get("fit_intercept", True)
    grid = group_lasso_path(X, y, alphas=3, **params)[0][0] * np.array([0.5, 0.1, 0.01])
    est = GroupLassoIC(alphas=grid, noise_variance=1.0, fit_intercept=fit_intercept, tol=1e-14, **params)
    est.fit(X, y, sample_weight=s)
    expected = numerical_degrees_of_freedom(X, y, grid, s, fit_intercept, **params)
    np.testing.assert_allclose(est.degrees_of_freedom_, expected, rtol=1e-4, atol=1e-4)
    assert expected[0] < expected[2]


@pytest.mark.parametrize("centred", [True, False])
def test_degrees_of_freedom_of_yuan_and_lin(rng, centred):
    # Yuan & Lin (2006), orthonormal design: sum_g 1[b_g != 0] + ||b_g|| / ||b_g^LS|| (d_g - 1)
    n, sizes = 40, [1, 4, 3, 4]
    Q = np.linalg.qr(np.hstack([np.ones((n, 1)), rng.normal(size=(n, 12))]))[0]
    X = np.sqrt(n) * Q[:, 1:]
    y = X @ np.r_[1.0, np.full(4, 0.5), np.zeros(3), np.full(4, 2.0)] + rng.normal(size=n)
    labels = np.repeat(np.arange(4), sizes)
    est = GroupLassoIC(groups=labels, alphas=12, fit_intercept=centred, tol=1e-14, noise_variance=1.0).fit(X, y)
    least_squares = X.T @ y / n
    for alpha, df in zip(est.alphas_, est.degrees_of_freedom_):
        expected = 0.0
        for g, size in enumerate(sizes):
            norm = np.linalg.norm(least_squares[labels == g])
            shrunk = max(norm - alpha * np.sqrt(size), 0)
            expected += (shrunk > 1e-12) + shrunk / norm * (size - 1)
        assert df == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(60, 14), (20, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("l1_ratio, groups", [(0.0, None), (1.0, 4)])
def test_degrees_of_freedom_of_the_lasso_are_the_support(rng, shape, container, l1_ratio, groups):
    X, y = random_data(rng, *shape, container=container)
    est = GroupLassoIC(groups=groups, l1_ratio=l1_ratio, alphas=10, eps=0.02, noise_variance=1.0, tol=1e-12).fit(X, y)
    for alpha, df in zip(est.alphas_, est.degrees_of_freedom_):
        coef = GroupLasso(alpha, groups=groups, l1_ratio=l1_ratio, tol=1e-12).fit(X, y).coef_
        assert df == pytest.approx(np.count_nonzero(coef), abs=1e-8)


def test_degrees_of_freedom_of_dependent_columns(rng):
    # four columns of rank two: the fit cannot use more than two degrees of freedom
    X, y = random_data(rng, 40, 2)
    X = X[:, [0, 1, 0, 1]]
    est = GroupLassoIC(groups=4, alphas=10, eps=1e-6, tol=1e-10, noise_variance=1.0).fit(X, y)
    assert np.all(est.degrees_of_freedom_ <= 2 + 1e-6)
    assert est.degrees_of_freedom_[-1] == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize("criterion, factor", [("aic", 2.0), ("bic", np.log(60))])
@pytest.mark.parametrize("noise_variance", [None, 0.7])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("container", ["C", "csc"])
def test_criterion(rng, criterion, factor, noise_variance, fit_intercept, container):
    X, y = random_data(rng, 60, 14, container=container)
    rows = X.toarray() if container == "csc" else X
    common = dict(groups=3, fit_intercept=fit_intercept, tol=1e-13)
    est = GroupLassoIC(criterion, noise_variance=noise_variance, alphas=10, eps=0.01, **common).fit(X, y)
    ols = LinearRegression(fit_intercept=fit_intercept).fit(rows, y)
    variance = noise_variance or np.sum((y - ols.predict(rows)) ** 2) / (60 - 14 - fit_intercept)
    assert est.noise_variance_ == pytest.approx(variance, rel=1e-10)
    fits = [GroupLasso(alpha, **common).fit(X, y) for alpha in est.alphas_]
    residuals = np.array([np.sum((y - f.predict(X)) ** 2) for f in fits])
    expected = 60 * np.log(2 * np.pi * variance) + residuals / variance + factor * est.degrees_of_freedom_
    np.testing.assert_allclose(est.criterion_, expected, rtol=1e-7)
    best = est.criterion_.argmin()
    assert est.alpha_ == est.alphas_[best]
    np.testing.assert_allclose(est.coef_, fits[best].coef_, atol=1e-6)
    assert est.intercept_ == pytest.approx(fits[best].intercept_, abs=1e-6)
    assert est.relative_dual_gap_ <= 1e-13


def test_aic_selects_no_sparser_than_bic(rng):
    X, y = random_data(rng, 60, 14)
    y = y + 2 * rng.normal(size=60)
    aic, bic = (GroupLassoIC(c, groups=3, alphas=30).fit(X, y) for c in ("aic", "bic"))
    assert aic.alpha_ <= bic.alpha_
    np.testing.assert_allclose(bic.criterion_ - aic.criterion_, (np.log(60) - 2) * aic.degrees_of_freedom_, atol=1e-8)


@pytest.mark.parametrize("criterion", ["aic", "bic"])
def test_groups_of_one_are_lasso_lars_ic(rng, criterion):
    X, y = random_data(rng, 60, 10)
    lars = LassoLarsIC(criterion).fit(X, y)
    # at a knot the next feature enters; just above it the support is the one that lars counts
    est = GroupLassoIC(criterion, alphas=lars.alphas_[1:-1] * (1 + 1e-9), tol=1e-14).fit(X, y)
    assert est.noise_variance_ == pytest.approx(lars.noise_variance_, rel=1e-8)
    np.testing.assert_allclose(est.criterion_, lars.criterion_[1:-1], rtol=1e-5)
    np.testing.assert_allclose(est.degrees_of_freedom_, np.arange(1, 10), atol=1e-6)


def test_weights_count_rows(rng):
    X, y = random_data(rng, 50, 8)
    s = rng.integers(0, 4, 50)
    for convert in (np.asarray, sparse.csc_matrix):
        weighted = GroupLassoIC(groups=2, alphas=8, tol=1e-13).fit(convert(X), y, sample_weight=s)
        X2, y2 = repeated_rows(s, X, y)
        repeated = GroupLassoIC(groups=2, alphas=8, tol=1e-13).fit(convert(X2), y2)
        for name in ("noise_variance_", "alphas_", "degrees_of_freedom_", "criterion_", "alpha_", "coef_"):
            np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "shape, fit_intercept", [((10, 30), True), ((10, 10), True), ((10, 9), True), ((10, 10), False)]
)
def test_noise_variance_must_be_given_without_residual_degrees_of_freedom(rng, shape, fit_intercept):
    X, y = random_data(rng, *shape)
    with pytest.raises(ValueError, match="noise_variance"):
        GroupLassoIC(groups=2, fit_intercept=fit_intercept).fit(X, y)
    assert GroupLassoIC(groups=2, fit_intercept=fit_intercept, noise_variance=1.0).fit(X, y).noise_variance_ == 1.0


def test_noise_variance_estimated_with_one_residual_degree_of_freedom(rng):
    X, y = random_data(rng, 10, 8)
    ols = LinearRegression().fit(X, y)
    est = GroupLassoIC(groups=2).fit(X, y)
    assert est.noise_variance_ == pytest.approx(np.sum((y - ols.predict(X)) ** 2), rel=1e-8)


def test_unknown_criterion(rng):
    X, y = random_data(rng, 20, 4)
    with pytest.raises(ValueError, match=r"'criterion' parameter of GroupLassoIC must be .*'[ab]ic'.*'[ab]ic'"):
        GroupLassoIC("hqc").fit(X, y)
