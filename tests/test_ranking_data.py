"""make_pairwise_comparisons: the truth that it states."""

import numpy as np
import pytest

from skspar.datasets import make_pairwise_comparisons


def test_margins_without_noise_are_score_differences():
    data = make_pairwise_comparisons(7, 300, noise=0, outlier_fraction=0.2, position_bias=0.3, random_state=0)
    clean = data.scores[data.X[:, 0]] - data.scores[data.X[:, 1]] + 0.3
    np.testing.assert_allclose(data.y, np.where(data.outlier_mask, -clean, clean))
    assert np.all(data.X[:, 0] != data.X[:, 1]) and set(data.X.ravel()) == set(range(7))
    assert data.scores.mean() == pytest.approx(0) and 0.1 < data.outlier_mask.mean() < 0.3
    assert data.annotators is None and data.item_features is None


def test_votes_and_ties():
    data = make_pairwise_comparisons(7, 300, response="vote", ties=0.1, random_state=0)
    assert set(data.y) == {-1.0, 0.0, 1.0} and (data.y == 0).sum() == 30


def test_total_order():
    scores = make_pairwise_comparisons(9, 10, scores="order", random_state=0).scores
    np.testing.assert_allclose(np.diff(np.sort(scores)), np.diff(np.sort(scores))[0])
    assert scores.std() == pytest.approx(1)


def test_features():
    data = make_pairwise_comparisons(9, 10, n_features=3, random_state=0)
    fitted = data.item_features @ data.coef
    np.testing.assert_allclose(data.scores, fitted - fitted.mean())
    assert data.scores.std() == pytest.approx(1)


def test_careless_annotators():
    data = make_pairwise_comparisons(
        9, 5000, outlier_fraction=0, response="vote", n_annotators=20, careless_annotators=0.3, random_state=0
    )
    assert data.careless.sum() == 6
    np.testing.assert_array_equal(data.outlier_mask, data.careless[data.annotators])
    always = [np.all(data.y[data.annotators == a] == 1) for a in np.flatnonzero(data.careless)]
    assert sum(always) == 3


@pytest.mark.parametrize("kind", ["random", "malicious"])
def test_outliers_of_other_kinds(kind):
    data = make_pairwise_comparisons(9, 4000, noise=0.1, outlier_fraction=0.3, outlier_type=kind, random_state=0)
    right = np.sign(data.y) == np.sign(data.scores[data.X[:, 0]] - data.scores[data.X[:, 1]])
    assert right[~data.outlier_mask].mean() > 0.95 and 0.2 < right[data.outlier_mask].mean() < 0.8


def test_random_state():
    a, b = (make_pairwise_comparisons(random_state=3) for _ in range(2))
    np.testing.assert_array_equal(a.X, b.X)
    np.testing.assert_array_equal(a.y, b.y)


@pytest.mark.parametrize(
    "name, params",
    [
        ("n_items", dict(n_items=1)),
        ("n_items", dict(n_items=2.5)),
        ("n_comparisons", dict(n_comparisons=0)),
        ("outlier_fraction", dict(outlier_fraction=1.5)),
        ("outlier_type", dict(outlier_type="swap")),
        ("response", dict(response="x")),
        ("scores", dict(scores="x")),
        ("scores", dict(scores="order", n_features=2)),
        ("noise", dict(noise=-1)),
        ("noise", dict(noise=True)),
        ("ties", dict(ties=2)),
        ("n_features", dict(n_features=-1)),
        ("position_bias", dict(position_bias=np.nan)),
        ("n_annotators", dict(n_annotators=-1)),
        ("n_annotators", dict(careless_annotators=0.1)),
        ("careless_annotators", dict(careless_annotators=2, n_annotators=3)),
    ],
)
def test_bad_parameters(name, params):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        make_pairwise_comparisons(**params)
