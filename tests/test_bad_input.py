"""What cannot be meant is refused: a ValueError that names the parameter, what was passed and what is allowed."""

import re

import numpy as np
import pytest
from _oracles import random_data
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone

from skspar import (
    BPDN,
    BasisPursuit,
    GroupLasso,
    GroupLassoCV,
    GroupLassoIC,
    OrthogonalMatchingPursuit,
    group_lasso_path,
)
from skspar._linear import check_finite

ALL = [GroupLasso(), GroupLassoCV(alphas=3, cv=3), GroupLassoIC(alphas=3)]


def mentions(*words):
    """A pattern for texts with all of these words, in any order and case."""
    return "(?si)" + "".join(f"(?=.*{word if word.startswith('(') else re.escape(word)})" for word in words)


@pytest.fixture
def data(rng):
    return random_data(rng, 30, 6)


def frame(X):
    return pytest.importorskip("pandas").DataFrame(X, columns=list("abcdef"))


def path(X, y, **params):
    return group_lasso_path(X, y, **{"alphas": 3, **params})


TWICE = "(more than once|twice|repeat|duplicate)"
AT_LEAST_ZERO = "(>= 0|non-?negative)"

BAD_GROUPS = {
    "too few labels": (dict(groups=[0, 0, 1]), mentions("groups", "3", "6")),
    "too many labels": (dict(groups=np.zeros(8, dtype=int)), mentions("groups", "8", "6")),
    "size zero": (dict(groups=0), mentions("groups", "0")),
    "negative size": (dict(groups=-2), mentions("groups", "-2")),
    "fractional size": (dict(groups=2.5), mentions("groups", "2.5")),
    "string": (dict(groups="age"), mentions("groups", "age")),
    "label matrix": (dict(groups=np.zeros((6, 2, 2))), mentions("groups")),
    "unhashable labels": (dict(groups=lambda names: [{} for _ in names]), mentions("groups", "hashable")),
    "callable, too few": (dict(groups=lambda names: names[:4]), mentions("groups", "4", "6")),
    "callable, None": (dict(groups=lambda names: None), mentions("groups", "None")),
    "ungrouped features": (dict(groups=[[0, 2], [1, 3]]), mentions("groups", "4, 5", "ungrouped", "unpenalized")),
    "no group": (dict(groups=[]), mentions("groups")),
    "empty group": (dict(groups=[[0, 1, 2], [], [3, 4, 5]]), mentions("groups", "empty")),
    "overlap": (dict(groups=[[0, 1, 2], [2, 3], [3, 4, 5]]), mentions("groups", "overlap", "latent", "2, 3")),
    "duplicate": (
        dict(groups=[[0, 1, 1], [2, 3, 4, 5]]),
        mentions("groups", TWICE),
    ),
    "duplicate, latent": (
        dict(groups=[[0, 1, 1], [2, 3, 4, 5]], overlap="latent"),
        mentions("groups", TWICE),
    ),
    "negative index": (dict(groups=[[0, 1, 2], [3, 4, -1]]), mentions("groups", "-1", "(6|5)")),
    "index out of range": (dict(groups=[[0, 1, 2], [3, 4, 5, 6]]), mentions("groups", "6")),
    "fractional index": (dict(groups=[[0, 1.5, 2], [3, 4, 5]]), mentions("groups", "1.5")),
    "names without names": (dict(groups=[["a", "b", "c"], ["d", "e", "f"]]), mentions("groups", "(name|column)")),
    "mapping without names": (dict(groups={"u": ["a", "b"], "v": ["c"]}), mentions("groups", "(name|column)")),
    "bad ungrouped": (dict(ungrouped="drop"), mentions("ungrouped", "unpenalized", "own", "error")),
    "bad overlap": (dict(overlap="sum"), mentions("overlap", "latent", "error")),
}

BAD_WEIGHTS = {
    "too few": (dict(groups=2, group_weights=[1.0, 1.0]), mentions("group_weights", "2", "3")),
    "too many": (dict(groups=2, group_weights=np.ones(6)), mentions("group_weights", "6", "3")),
    "matrix": (dict(groups=2, group_weights=np.ones((3, 1))), mentions("group_weights")),
    "negative": (
        dict(groups=2, group_weights=[1.0, -1.0, 1.0]),
        mentions("group_weights", "-1", AT_LEAST_ZERO),
    ),
    "NaN": (dict(groups=2, group_weights=[1.0, np.nan, 1.0]), mentions("group_weights", "(nan|finite)")),
    "infinite": (dict(groups=2, group_weights=[1.0, np.inf, 1.0]), mentions("group_weights", "(inf|finite)")),
    "string": (dict(groups=2, group_weights="size"), mentions("group_weights", "size", "sqrt")),
    "not numbers": (dict(groups=2, group_weights=["a", "b", "c"]), mentions("group_weights")),
    "missing label": (dict(groups=list("aabbcc"), group_weights={"a": 1, "b": 1}), mentions("group_weights", "'c'")),
    "unknown label": (
        dict(groups=list("aabbcc"), group_weights={"a": 1, "b": 1, "c": 1, "d": 1}),
        mentions("group_weights", "'d'"),
    ),
    "negative in mapping": (
        dict(groups=list("aabbcc"), group_weights={"a": 1, "b": -1, "c": 1}),
        mentions("group_weights", "-1"),
    ),
    "positive and unpenalized": (
        dict(groups=2, group_weights=[0.0, 1.0, 1.0], positive=True),
        mentions("positive", "(unpenali[sz]ed|group_weights)"),
    ),
    "positive and ungrouped": (
        dict(groups=[[0, 1], [2, 3]], ungrouped="unpenalized", positive=True),
        mentions("positive", "unpenali"),
    ),
}


@pytest.mark.parametrize("params, match", (BAD_GROUPS | BAD_WEIGHTS).values(), ids=(BAD_GROUPS | BAD_WEIGHTS).keys())
@pytest.mark.parametrize("est", ALL, ids=lambda est: type(est).__name__)
def test_groups_and_weights(data, params, match, est):
    with pytest.raises(ValueError, match=match):
        clone(est).set_params(**params).fit(*data)


@pytest.mark.parametrize("params, match", (BAD_GROUPS | BAD_WEIGHTS).values(), ids=(BAD_GROUPS | BAD_WEIGHTS).keys())
def test_groups_and_weights_of_a_path(data, params, match):
    with pytest.raises(ValueError, match=match):
        path(*data, **params)


@pytest.mark.parametrize(
    "groups, match",
    [
        ({"u": ["a", "b", "c"], "v": ["d", "e", "zip"]}, mentions("groups", "'zip'")),
        ([["a", "b", "c"], ["d", "e", "zip"]], mentions("groups", "'zip'")),
        ({"u": ["a", "b", "c"], "v": ["d"]}, mentions("groups", "ungrouped", "'e'", "'f'")),
        ({"u": ["a", "b", "c", "d"], "v": ["d", "e", "f"]}, mentions("groups", "overlap", "'d'")),
        ({"u": ["a", "b", "a"], "v": ["c", "d", "e", "f"]}, mentions("groups", "'a'")),
        ({"u": ["a", "b", "c", "d", "e", "f"], "v": []}, mentions("groups", "empty")),
        ({}, mentions("groups")),
    ],
)
def test_names(data, groups, match):
    X, y = data
    with pytest.raises(ValueError, match=match):
        GroupLasso(groups=groups).fit(frame(X), y)
    with pytest.raises(ValueError, match=match):
        path(frame(X), y, groups=groups)


SCALARS = [
    (GroupLasso, dict(alpha=-1.0)),
    (GroupLasso, dict(alpha=np.nan)),
    (GroupLasso, dict(alpha=np.inf)),
    (GroupLasso, dict(alpha="auto")),
    (GroupLasso, dict(warm_start="yes")),
    *[
        (cls, params)
        for cls in (GroupLasso, GroupLassoIC, GroupLassoCV)
        for params in (
            dict(l1_ratio=-0.1),
            dict(l1_ratio=1.1),
            dict(l1_ratio=np.nan),
            dict(l1_ratio="half"),
            dict(max_iter=0),
            dict(max_iter=10.5),
            dict(tol=-1e-6),
            dict(tol=np.nan),
            dict(fit_intercept="no"),
            dict(positive="no"),
            dict(refit="no"),
            dict(ungrouped="drop"),
            dict(overlap="sum"),
        )
    ],
    *[
        (cls, params)
        for cls in (GroupLassoIC, GroupLassoCV)
        for params in (
            dict(eps=0.0),
            dict(eps=-1e-3),
            dict(eps=1.0),
            dict(eps=np.nan),
            dict(alphas=0),
            dict(alphas=-5),
            dict(alphas=2.5),
            dict(alphas="many"),
            dict(alphas=None),
        )
    ],
    (GroupLassoCV, dict(selection_rule="2se")),
    (GroupLassoCV, dict(selection_rule=None)),
    (GroupLassoCV, dict(cv="five")),
    (GroupLassoCV, dict(n_jobs=1.5)),
    (GroupLassoIC, dict(criterion="hqc")),
    (GroupLassoIC, dict(noise_variance=-1.0)),
    (GroupLassoIC, dict(noise_variance=0.0)),
    (GroupLassoIC, dict(noise_variance=np.nan)),
]


@pytest.mark.parametrize("cls, params", SCALARS, ids=lambda v: v.__name__ if isinstance(v, type) else str(v))
def test_scalars(data, cls, params):
    [name] = params
    with pytest.raises(ValueError, match=f"'?{name}'? .*must be (?s:.*)(?i:got)"):
        cls(**params).fit(*data)


@pytest.mark.parametrize(
    "params",
    [
        dict(l1_ratio=-0.1),
        dict(l1_ratio=1.1),
        dict(l1_ratio=np.nan),
        dict(alphas=0),
        dict(alphas=2.5),
        dict(eps=0.0),
        dict(eps=1.0),
        dict(max_iter=0),
        dict(tol=-1.0),
        dict(positive="no"),
        dict(overlap="sum"),
        dict(ungrouped="drop"),
    ],
    ids=str,
)
def test_scalars_of_a_path(data, params):
    [name] = params
    with pytest.raises(ValueError, match=f"'?{name}'? .*must be (?s:.*)(?i:got)"):
        path(*data, **params)


@pytest.mark.parametrize("alphas", [[], [0.1, -0.1], [0.1, np.nan], [0.1, np.inf], [[0.1, 0.2]], ["a", "b"]], ids=str)
def test_alphas(data, alphas):
    for fit in (
        lambda: path(*data, alphas=alphas),
        lambda: GroupLassoCV(alphas=alphas).fit(*data),
        lambda: GroupLassoIC(alphas=alphas).fit(*data),
    ):
        with pytest.raises(ValueError, match="alphas"):
            fit()


@pytest.mark.parametrize("l1_ratio", [[], [0.5, 1.5], [0.5, np.nan], [0.5, "x"], [[0.5]]], ids=str)
def test_list_of_l1_ratios(data, l1_ratio):
    with pytest.raises(ValueError, match="l1_ratio"):
        GroupLassoCV(l1_ratio=l1_ratio).fit(*data)


@pytest.mark.parametrize("est", [GroupLasso(), GroupLassoIC()], ids=lambda est: type(est).__name__)
def test_only_cross_validation_takes_a_list_of_l1_ratios(data, est):
    with pytest.raises(ValueError, match="l1_ratio"):
        clone(est).set_params(l1_ratio=[0.1, 0.5]).fit(*data)


def test_positive_needs_a_penalty(data):
    with pytest.raises(ValueError, match=mentions("positive", "alpha")):
        GroupLasso(alpha=0, positive=True).fit(*data)
    for fit in (
        lambda: path(*data, alphas=[0.1, 0.0], positive=True),
        lambda: GroupLassoCV(alphas=[0.1, 0.0], positive=True).fit(*data),
        lambda: GroupLassoIC(alphas=[0.1, 0.0], positive=True).fit(*data),
    ):
        with pytest.raises(ValueError, match=mentions("positive", "alpha")):
            fit()


@pytest.mark.parametrize("order", ["C", "F", "strided", "float32"])
def test_check_of_finite_entries(rng, order):
    """It is scikit-learn's, entry by entry, whatever the memory order; large numbers are finite."""
    X = 1e306 * rng.choice([-1.0, 1.0], size=(6, 5)) if order != "float32" else rng.normal(size=(6, 5))
    for value in (None, np.nan, np.inf, -np.inf):
        for place in (0, 13, 29):
            part = X.copy()
            if value is not None:
                part.flat[place] = value
            part = {
                "C": part, "F": np.asfortranarray(part), "strided": np.repeat(part, 2, axis=1)[:, ::2],
                "float32": part.astype(np.float32),
            }[order]  # fmt: skip
            if value is None:
                check_finite(part)
                continue
            with pytest.raises(ValueError, match="X contains NaN" if np.isnan(value) else "X contains infinity"):
                check_finite(part)
            with config_context(assume_finite=True):
                check_finite(part)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("n, p, T", [(30, 6, 1), (300, 6, 1), (30, 200, 1), (30, 6, 9), (2000, 40, 3)])
@pytest.mark.parametrize("response", ["zero", "constant", "zero but for a row", "random"])
def test_products_tell_what_is_not_finite(value, order, n, p, T, response, rng):
    """Also where the response is zero in the row, or in all, and where the row has no weight."""
    Y = {"zero": np.zeros((n, T)), "constant": np.full((n, T), 3.0), "random": rng.normal(size=(n, T))}.get(response)
    if Y is None:
        Y = np.eye(n)[:, :1].repeat(T, axis=1)
    for row, column in ((0, 0), (n // 2, p - 1), (n - 1, p // 2)):
        X = np.array(rng.normal(size=(n, p)), order=order)
        X[row, column] = value
        s = np.ones(n)
        s[n // 2] = 0.0
        match = "X contains NaN" if np.isnan(value) else "X contains infinity"
        for weights in (None, s):
            for fit in (GroupLasso(1.0), GroupLasso(1.0, groups=2), GroupLasso(1.0, fit_intercept=False)):
                with pytest.raises(ValueError, match=match), np.errstate(invalid="raise", over="raise"):
                    fit.fit(X, Y, sample_weight=weights)
            with pytest.raises(ValueError, match=match):
                path(X, Y, alphas=3, sample_weight=weights)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("container", [np.asarray, sparse.csc_matrix, sparse.csr_array], ids=["dense", "csc", "csr"])
@pytest.mark.parametrize("est", ALL, ids=lambda est: type(est).__name__)
def test_x_and_y_must_be_finite(data, value, container, est):
    X, y = data
    est = clone(est)
    bad = X.copy()
    bad[3, 2] = value
    match = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=f"X contains {match}"):
        est.fit(container(bad), y)
    with pytest.raises(ValueError, match=f"X contains {match}"):
        path(container(bad), y)
    with pytest.raises(ValueError, match=f"X contains {match}"):
        est.fit(container(X), y).predict(container(bad))
    bad = y.copy()
    bad[3] = value
    with pytest.raises(ValueError, match=f"y contains {match}"):
        est.fit(container(X), bad)
    with pytest.raises(ValueError, match=f"y contains {match}"):
        path(container(X), np.column_stack([y, bad]))


BAD_SAMPLE_WEIGHTS = {
    "all zero": np.zeros(30),
    "negative": np.r_[-1.0, np.ones(29)],
    "NaN": np.r_[np.nan, np.ones(29)],
    "infinite": np.r_[np.inf, np.ones(29)],
    "too few": np.ones(29),
    "matrix": np.ones((30, 1)),
}


@pytest.mark.parametrize("unit", [1e121, 1e160, 1e300, 1e-121, 1e-160, 1e-300])
@pytest.mark.parametrize("container", ["C", "F", "csc", "strided"])
@pytest.mark.parametrize(
    "est",
    [GroupLasso(), BPDN(alpha=0.1), BasisPursuit(feasibility_tol=1.0), OrthogonalMatchingPursuit(n_nonzero_coefs=2)],
    ids=lambda est: type(est).__name__,
)
def test_units_beyond_products(data, est, container, unit):
    X, y = data
    X = X * np.r_[np.ones(5), unit]
    if container == "strided":
        X = np.repeat(X, 2, axis=1)[:, ::2]
    X = sparse.csc_array(X) if container == "csc" else np.asarray(X, order=container if container in "CF" else None)
    with pytest.raises(ValueError, match=r"X must have the largest absolute value of each feature between.*; one is"):
        est.fit(X, y)


@pytest.mark.parametrize("weights", BAD_SAMPLE_WEIGHTS.values(), ids=BAD_SAMPLE_WEIGHTS.keys())
@pytest.mark.parametrize("est", ALL, ids=lambda est: type(est).__name__)
def test_sample_weight(data, weights, est):
    match = r"(?i)sample[_ ]weight"
    with pytest.raises(ValueError, match=match):
        clone(est).fit(*data, sample_weight=weights)
    with pytest.raises(ValueError, match=match):
        path(*data, sample_weight=weights)


@pytest.mark.parametrize("part", [0, 1], ids=["train", "test"])
def test_a_fold_without_weight(data, part):
    # neither a fit nor an error can be computed on rows of no weight
    splits = [(np.arange(20), np.arange(20, 30)), (np.arange(10, 30), np.arange(10))]
    weights = np.ones(30)
    weights[splits[0][part]] = 0
    with pytest.raises(ValueError, match=mentions("sample_weight", "(fold|split)")):
        GroupLassoCV(alphas=3, cv=splits).fit(*data, sample_weight=weights)


@pytest.mark.parametrize("est", ALL, ids=lambda est: type(est).__name__)
def test_shapes(data, est):
    X, y = data
    est = clone(est)
    for fit in (est.fit, path):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            fit(X, y[:-1])
        with pytest.raises(ValueError, match="Expected 2D array"):
            fit(y, y)
        with pytest.raises(ValueError, match="dim"):
            fit(X, np.zeros((30, 2, 2)))
        with pytest.raises(ValueError, match="0 feature"):
            fit(X[:, :0], y)
        with pytest.raises(ValueError, match="0 sample"):
            fit(X[:0], y[:0])
        with pytest.raises(ValueError, match=r"(?i)complex data not supported"):
            fit(X.astype(complex), y)
    with pytest.raises(ValueError, match=r"X has 5 features, but .* is expecting 6 features"):
        est.fit(X, y).predict(X[:, :5])


def test_unknown_arguments(data):
    with pytest.raises(TypeError, match="lambda"):
        path(*data, **{"lambda": 3})
    with pytest.raises(TypeError):
        GroupLasso(1.0, 2)  # arguments after the first are keyword-only
    with pytest.raises(TypeError):
        GroupLassoCV(2)


def test_a_refused_fit_leaves_the_model_unfitted(data):
    est = GroupLasso(groups=[0, 1])
    with pytest.raises(ValueError, match="groups"):
        est.fit(*data)
    assert not hasattr(est, "coef_")
