"""Cross-validation solves all folds on one X; the answer is that of a copy per fold."""

import numpy as np
import pytest
from _oracles import random_data, random_groups
from sklearn.linear_model import LassoCV
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, ShuffleSplit

from skspar import GroupLasso, GroupLassoCV, group_lasso_path

pytestmark = pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")


def fold_errors(X, y, splits, alphas, sample_weight=None, fit_intercept=True, **params):
    """(n_alphas, n_folds), every fold on its own copy."""
    errors = []
    s = np.ones(len(y)) if sample_weight is None else sample_weight
    for train, test in splits:
        path = group_lasso_path(
            X[train], y[train], alphas=alphas, sample_weight=s[train], return_intercepts=fit_intercept, **params
        )
        coefs = path[1].reshape(-1, *path[1].shape[-2:])  # (T, p, n_alphas)
        intercepts = path[3].reshape(-1, 1, len(alphas)) if fit_intercept else 0
        Y = y[test].reshape(len(test), -1)
        predicted = np.stack([X[test] @ c for c in coefs]) + intercepts
        squares = (predicted - Y.T[:, :, None]) ** 2  # (T, n_test, n_alphas)
        errors.append(np.average(squares.mean(axis=0), axis=0, weights=s[test]))
    return np.transpose(errors)


def bootstrap_splits(n):
    # rows may be drawn twice, and a row may be neither trained nor tested on
    rng = np.random.default_rng(5)
    draws = [rng.integers(n, size=n) for _ in range(4)]
    return [(draw, np.setdiff1d(np.arange(n), draw)[:-2]) for draw in draws]


SPLITTERS = {
    "kfold": lambda n: KFold(4),
    "shuffled": lambda n: KFold(3, shuffle=True, random_state=0),
    "shuffle split": lambda n: ShuffleSplit(3, train_size=0.5, test_size=0.3, random_state=0),
    "repeated": lambda n: RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    "unequal": lambda n: [(np.arange(5, n), np.arange(5)), (np.arange(n // 2), np.arange(n // 2, n))],
    "bootstrap": bootstrap_splits,
    "int": lambda n: 3,
}


def splits_of(cv, X):
    cv = KFold(cv) if isinstance(cv, int) else cv
    return list(cv.split(X)) if hasattr(cv, "split") else cv


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("shape", [(60, 14), (30, 40)], ids=["tall", "wide"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_mse_path_is_that_of_separate_fits(rng, splitter, container, shape, weighted):
    X, y = random_data(rng, *shape, container=container)
    s = rng.uniform(0.1, 3, len(y)) if weighted else None
    cv = SPLITTERS[splitter](len(y))
    params = dict(groups=3, tol=1e-14)
    est = GroupLassoCV(cv=cv, alphas=12, eps=0.02, **params).fit(X, y, sample_weight=s)
    X_rows = X.tocsr() if container == "csc" else X
    expected = fold_errors(X_rows, y, splits_of(cv, X), est.alphas_, s, **params)
    np.testing.assert_allclose(est.mse_path_, expected, rtol=1e-8)
    # scikit-learn's rule: the folds' errors are weighted within a fold, the folds themselves count equally
    assert est.alpha_ == est.alphas_[expected.mean(axis=1).argmin()]


@pytest.mark.parametrize("layout", ["ones", "unequal", "unpenalized"])
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", ""])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(50, 14), (30, 40)], ids=["tall", "wide"])
def test_mse_path_of_other_problems(rng, layout, n_targets, fit_intercept, l1_ratio, shape):
    X, y = random_data(rng, *shape, n_targets)
    groups, group_weights, _, _ = random_groups(layout, shape[1], rng)
    s = rng.uniform(0.1, 3, len(y))
    params = dict(groups=groups, group_weights=group_weights, l1_ratio=l1_ratio, tol=1e-14)
    est = GroupLassoCV(cv=3, alphas=8, eps=0.05, fit_intercept=fit_intercept, **params)
    est.fit(X, y, sample_weight=s)
    expected = fold_errors(X, y, splits_of(3, X), est.alphas_, s, fit_intercept, **params)
    np.testing.assert_allclose(est.mse_path_, expected, rtol=1e-8)


@pytest.mark.parametrize("options", [{"positive": True}, {"overlap": "latent"}, {"ungrouped": "own"}], ids=str)
def test_mse_path_with_options(rng, options):
    X, y = random_data(rng, 50, 12)
    groups = [np.arange(4), np.arange(4 - ("overlap" in options), 9), np.arange(9, 11), [11]]
    params = dict(groups=groups[: 3 if "ungrouped" in options else 4], tol=1e-14, **options)
    est = GroupLassoCV(cv=3, alphas=8, eps=0.05, **params).fit(X, y)
    np.testing.assert_allclose(est.mse_path_, fold_errors(X, y, splits_of(3, X), est.alphas_, **params), rtol=1e-8)


@pytest.mark.parametrize("container", ["C", "csc"])
def test_folds_far_from_the_origin(rng, container):
    # a fold's Gram matrix taken from the full one must not lose the digits that a large mean eats
    X, y = random_data(rng, 60, 10, container=container, mean_over_sd=1e6)
    est = GroupLassoCV(groups=2, cv=3, alphas=6, eps=0.05, tol=1e-12).fit(X, y)
    rows = X.toarray() if container == "csc" else X
    expected = fold_errors(rows - rows.mean(axis=0).round(), y, splits_of(3, y), est.alphas_, groups=2, tol=1e-12)
    np.testing.assert_allclose(est.mse_path_, expected, rtol=1e-6)


@pytest.mark.parametrize("container", ["C", "csc"])
def test_list_of_l1_ratios(rng, container):
    X, y = random_data(rng, 40, 15, container=container)
    rows = X.tocsr() if container == "csc" else X
    ratios = [0.1, 0.5, 1.0]
    params = dict(groups=3, tol=1e-14)
    est = GroupLassoCV(l1_ratio=ratios, cv=4, alphas=7, eps=0.02, **params).fit(X, y)
    assert est.mse_path_.shape == (3, 7, 4)
    assert est.alphas_.shape == (3, 7)
    for i, l1_ratio in enumerate(ratios):
        expected = fold_errors(rows, y, splits_of(4, X), est.alphas_[i], l1_ratio=l1_ratio, **params)
        np.testing.assert_allclose(est.mse_path_[i], expected, rtol=1e-8)
    i, k = np.unravel_index(est.mse_path_.mean(axis=2).argmin(), (3, 7))
    assert est.l1_ratio_ == ratios[i]
    assert est.alpha_ == est.alphas_[i, k]


def test_list_of_one_l1_ratio_keeps_its_axis(rng):
    X, y = random_data(rng, 40, 15)
    est = GroupLassoCV(groups=3, l1_ratio=[0.5], cv=3, alphas=5).fit(X, y)
    assert est.mse_path_.shape == (1, 5, 3)
    assert est.alphas_.shape == (1, 5)


@pytest.mark.parametrize("container", ["C", "csc"])
def test_row_groups_reach_the_splitter(rng, container):
    X, y = random_data(rng, 45, 12, container=container)
    row_groups = rng.permutation(np.repeat(np.arange(9), 5))
    est = GroupLassoCV(groups=3, cv=GroupKFold(3), alphas=6, eps=0.05, tol=1e-14).fit(X, y, groups=row_groups)
    splits = list(GroupKFold(3).split(X, y, row_groups))
    rows = X.tocsr() if container == "csc" else X
    np.testing.assert_allclose(est.mse_path_, fold_errors(rows, y, splits, est.alphas_, groups=3, tol=1e-14), rtol=1e-8)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_alpha_grid_is_that_of_all_rows(rng, weighted, n_targets):
    X, y = random_data(rng, 40, 15, n_targets)
    s = rng.uniform(0.1, 3, 40) if weighted else None
    est = GroupLassoCV(groups=3, cv=3, alphas=10, eps=0.01).fit(X, y, sample_weight=s)
    v = np.ones(40) / 40 if s is None else s / s.sum()
    corr = (X.T @ (v[:, None] * (y - v @ y).reshape(40, -1))).reshape(5, -1)
    alpha_max = np.linalg.norm(corr, axis=1).max() / np.sqrt(3)
    np.testing.assert_allclose(est.alphas_, alpha_max * np.geomspace(1, 0.01, 10), rtol=1e-10)


def test_given_alphas_are_used_in_decreasing_order(rng):
    X, y = random_data(rng, 40, 15)
    est = GroupLassoCV(groups=3, cv=3, alphas=[0.01, 1.0, 0.1]).fit(X, y)
    np.testing.assert_array_equal(est.alphas_, [1.0, 0.1, 0.01])
    assert est.mse_path_.shape == (3, 3)


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("container", ["C", "csc"])
@pytest.mark.parametrize("l1_ratio", [0.0, [0.2, 0.8]], ids=str)
def test_n_jobs_changes_nothing(rng, n_targets, container, l1_ratio):
    X, y = random_data(rng, 40, 15, n_targets, container=container)
    one, two = (GroupLassoCV(groups=3, l1_ratio=l1_ratio, cv=4, alphas=8, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one.mse_path_, two.mse_path_)
    np.testing.assert_array_equal(one.coef_, two.coef_)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_one_standard_error_rule(weighted):
    moved = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, y = random_data(rng, 40, 15)
        s = rng.uniform(0.1, 3, 40) if weighted else None
        est = GroupLassoCV(groups=3, cv=5, alphas=20, selection_rule="1se").fit(X, y, sample_weight=s)
        mean = est.mse_path_.mean(axis=1)
        best = mean.argmin()
        error = est.mse_path_[best].std(ddof=1) / np.sqrt(5)
        assert est.alpha_ == est.alphas_[mean <= mean[best] + error].max()
        moved += est.alpha_ > est.alphas_[best]
    assert moved > 5  # otherwise the rule has not been tested


@pytest.mark.parametrize("refit", [False, True], ids=["", "refit"])
def test_final_model_is_the_fit_at_the_chosen_alpha(rng, refit):
    X, y = random_data(rng, 40, 15)
    s = rng.uniform(0.1, 3, 40)
    est = GroupLassoCV(groups=3, l1_ratio=[0.2, 0.7], cv=3, alphas=8, tol=1e-13, refit=refit).fit(X, y, s)
    final = GroupLasso(est.alpha_, groups=3, l1_ratio=est.l1_ratio_, tol=1e-13, refit=refit).fit(X, y, s)
    np.testing.assert_allclose(est.coef_, final.coef_, atol=1e-6)
    np.testing.assert_allclose(est.intercept_, final.intercept_, atol=1e-6)
    np.testing.assert_allclose(est.predict(X), final.predict(X), atol=1e-6)
    assert est.active_groups_ == final.active_groups_
    assert est.relative_dual_gap_ <= 1e-13


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("shape", [(60, 14), (30, 40)], ids=["tall", "wide"])
def test_groups_of_one_are_lasso_cv(rng, weighted, shape):
    X, y = random_data(rng, *shape)
    s = rng.uniform(0.1, 3, len(y)) if weighted else None
    alphas = GroupLassoCV(alphas=15, eps=0.02).fit(X, y, s).alphas_
    est = GroupLassoCV(alphas=alphas, cv=4, tol=1e-13).fit(X, y, s)
    ref = LassoCV(alphas=alphas, cv=4, tol=1e-12, max_iter=100_000).fit(X, y, s)
    np.testing.assert_allclose(est.mse_path_, ref.mse_path_, rtol=1e-6)
    assert est.alpha_ == ref.alpha_


def test_folds_count_equally_whatever_they_weigh():
    # two folds that disagree about alpha: their plain mean and their weighted mean have different minima
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 4))
    y = X[:, 0] + 0.1 * rng.normal(size=40)
    y[20:] = 3 * X[20:, 1] + 3 * rng.normal(size=20)
    s = np.r_[np.full(20, 100.0), np.ones(20)]
    train = np.arange(0, 20, 2), np.arange(20, 40, 2)
    cv = [(train[0], np.arange(1, 20, 2)), (train[0], np.arange(21, 40, 2))]
    est = GroupLassoCV(alphas=30, cv=cv).fit(X, y, s)
    plain, weighted = est.mse_path_.mean(axis=1), np.average(est.mse_path_, axis=1, weights=[100, 1])
    assert plain.argmin() != weighted.argmin()
    assert est.alpha_ == est.alphas_[plain.argmin()]
    assert est.alpha_ == LassoCV(alphas=est.alphas_, cv=cv).fit(X, y, s).alpha_
