"""make_label_noise: the count, the probabilities and the directions that it states."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris, make_blobs
from sklearn.linear_model import LogisticRegression

from skspar.datasets import make_label_noise

KINDS = ["symmetric", "pair", "class_conditional", "instance"]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.4, 0.9, 1.0])
def test_exact_count(kind, rate, iris):
    X, y = iris
    before = y.copy()
    noisy, is_wrong = make_label_noise(y, kind, rate, X=X if kind == "instance" else None, random_state=0)
    assert is_wrong.dtype == bool and is_wrong.sum() == np.floor(rate * 150 + 0.5)
    np.testing.assert_array_equal(noisy != y, is_wrong)
    np.testing.assert_array_equal(y, before)
    assert set(noisy) <= {0, 1, 2} and noisy.dtype == y.dtype


def test_symmetric_is_uniform_over_the_other_classes():
    y = np.repeat(np.arange(4), 20_000)
    noisy, is_wrong = make_label_noise(y, rate=0.3, random_state=0)
    counts = np.array([np.bincount(noisy[y == c], minlength=4) for c in range(4)]) / 20_000
    np.testing.assert_allclose(counts, np.where(np.eye(4), 0.7, 0.1), atol=0.012)


def test_pair_goes_to_the_next_class():
    y = np.array(["b", "c", "a"])[np.arange(300) % 3]
    noisy, is_wrong = make_label_noise(y, "pair", 0.5, random_state=0)
    following = {"a": "b", "b": "c", "c": "a"}
    assert all(new == following[old] for new, old in zip(noisy[is_wrong], y[is_wrong]))


def test_class_conditional():
    y = np.repeat(np.arange(5), 20_000)
    noisy, _ = make_label_noise(y, "class_conditional", 0.2, random_state=1)
    rates = np.array([np.mean(noisy[y == c] != c) for c in range(5)])
    assert rates.mean() == pytest.approx(0.2) and 1.2 < rates.max() / rates.min() < 3.2
    # the sampling keeps each row's probability: what it draws in one half of a class it draws in the other
    halves = [[np.mean(noisy[20_000 * c + 10_000 * h :][:10_000] != c) for h in range(2)] for c in range(5)]
    assert np.abs(np.diff(halves, axis=1)).max() < 0.03
    # other classes differ in probability
    others = np.array([np.delete(np.bincount(noisy[y == c], minlength=5), c) for c in range(5)])
    assert np.median(others.max(axis=1) / others.min(axis=1)) > 2


def test_a_given_transition_matrix():
    T = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])
    y = np.repeat([10, 20, 30], 40_000)
    noisy, is_wrong = make_label_noise(y, "class_conditional", transition_matrix=T, random_state=0)
    counts = np.array([[np.mean(noisy[y == a] == b) for b in (10, 20, 30)] for a in (10, 20, 30)])
    np.testing.assert_allclose(counts, T, atol=0.01)
    assert np.all(counts[T == 0] == 0)
    np.testing.assert_array_equal(noisy != y, is_wrong)


def test_instance_noise_lies_near_the_boundary(iris):
    X, y = iris
    wrongs, shares = np.zeros(150), []
    for seed in range(100):
        noisy, is_wrong = make_label_noise(y, "instance", 0.2, X=X, random_state=seed)
        wrongs += is_wrong
        shares.append(np.mean(noisy[is_wrong & (y == 1)] == 2))
    proba = np.sort(LogisticRegression(max_iter=1000).fit(X, y).predict_proba(X), axis=1)
    margin = proba[:, -1] - proba[:, -2]
    near = margin < np.median(margin)
    assert wrongs[near].mean() > 2 * wrongs[~near].mean()
    assert wrongs[y == 0].mean() < 0.5 * wrongs[y == 1].mean()  # setosa is far from the others
    assert np.mean(shares) > 0.7  # versicolor is confused with virginica
    # units of X do not matter
    a = make_label_noise(y, "instance", 0.2, X=X, random_state=0)[0]
    np.testing.assert_array_equal(a, make_label_noise(y, "instance", 0.2, X=1e6 * X + 5, random_state=0)[0])


def test_sampling_probabilities_of_rows():
    """Systematic sampling draws row i with probability p_i: a row far away less often, in the stated proportion."""
    from skspar.datasets._label_noise import _systematic, _with_sum

    values = np.array([1.0, 2.0, 3.0, 4.0, 50.0])
    p = _with_sum(values, 3)
    np.testing.assert_allclose([p.sum(), p[4]], [3.0, 1.0])
    np.testing.assert_allclose(p[:4] / p[0], [1, 2, 3, 4])
    rng = np.random.RandomState(0)
    drawn = np.mean([_systematic(p, 3, rng) for _ in range(20_000)], axis=0)
    np.testing.assert_allclose(drawn, p, atol=0.015)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"]),
        np.array([b"no", b"yes"]),
        np.array(["no", "yes"], dtype=object),
        np.array([False, True]),
        np.array([-1.5, 2.0]),
        np.array([7, 9], dtype=np.int8),
    ],
    ids=lambda labels: str(labels.dtype),
)
@pytest.mark.parametrize("kind", ["symmetric", "pair", "class_conditional"])
def test_any_type_of_label(labels, kind):
    y = labels[np.arange(40) % 2]
    noisy, is_wrong = make_label_noise(y, kind, 0.25, random_state=0)
    assert noisy.dtype == y.dtype and is_wrong.sum() == 10
    other = labels[1 - np.arange(40) % 2]
    np.testing.assert_array_equal(noisy, np.where(is_wrong, other, y))


def test_frames_and_sparse_features():
    X, y = make_blobs(60, 3, random_state=0)
    base = make_label_noise(y, "instance", X=X, random_state=0)
    assert base[1].sum() == 6
    framed = make_label_noise(pd.Series(y), "instance", X=pd.DataFrame(X), random_state=0)
    np.testing.assert_array_equal(framed[0], base[0])
    names = pd.Categorical.from_codes(y, ["x", "y", "z"])
    assert set(make_label_noise(names, random_state=0)[0]) == {"x", "y", "z"}
    noisy, is_wrong = make_label_noise(y, "instance", 0.2, X=sparse.csr_array(X), random_state=0)
    assert is_wrong.sum() == 12
    assert make_label_noise(y.tolist(), random_state=0)[1].sum() == 6


def test_random_state():
    y = np.arange(100) % 3
    for kind in KINDS[:3]:
        results = [make_label_noise(y, kind, random_state=r)[0] for r in (3, 3, np.random.RandomState(3), 4)]
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])
        assert np.any(results[0] != results[3])


Y = np.arange(12) % 3


@pytest.mark.parametrize(
    "y, params, match",
    [
        (Y, dict(kind="asymmetric"), "kind must be one of 'symmetric'.*got 'asymmetric'"),
        (Y, dict(kind=None), "kind must be"),
        (Y, dict(rate=1.5), r"rate must be a number in \[0, 1\], got 1.5"),
        (Y, dict(rate=-0.1), "rate must be"),
        (Y, dict(rate=np.nan), "rate must be"),
        (Y, dict(rate="0.1"), "rate must be"),
        (Y, dict(kind="instance"), "X must be given for kind='instance'"),
        (Y, dict(X=np.ones((12, 2))), "X must be given .* no other kind; got kind='symmetric' with X"),
        (Y, dict(kind="instance", X=np.ones((11, 2))), "inconsistent numbers of samples"),
        (Y, dict(kind="instance", X=np.full((12, 2), np.nan)), "X contains NaN"),
        (Y, dict(transition_matrix=np.eye(3)), "transition_matrix must be None unless"),
        (Y, dict(kind="class_conditional", rate=0.1, transition_matrix=np.eye(3)), "rate must be None"),
        (Y, dict(kind="class_conditional", transition_matrix=np.eye(2)), r"each of the 3 classes, got shape \(2, 2\)"),
        (Y, dict(kind="class_conditional", transition_matrix=np.ones((3, 3))), "sum to one.*row sums"),
        (Y, dict(kind="class_conditional", transition_matrix=2 * np.eye(3) - 1 / 3), "smallest entry -0.333"),
        (np.zeros(5), {}, r"y must have at least two classes, got 1: \[0.0\]"),
        (np.array([0.0, np.nan]), {}, "y must not contain NaN"),
        (np.array(["a", None, 1], dtype=object), {}, "y must have labels that can be sorted"),
        (np.ones((3, 2)), {}, "1d array"),
    ],
)
def test_bad_input(y, params, match):
    with pytest.raises(ValueError, match=match):
        make_label_noise(y, **params)
