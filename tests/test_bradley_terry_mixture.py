"""Votes judged by a mixture of two Bradley-Terry models: against scikit-learn, quadrature and direct formulas."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2, kendalltau, norm
from sklearn.linear_model import LogisticRegression

import skspar._engine.bradley_terry_mixture as engine
from skspar import RobustPairwiseRanker, pairwise_outlier_path
from skspar._engine.bradley_terry_mixture import VoteMixture
from skspar._engine.comparisons import Parametrization
from skspar.datasets import make_pairwise_comparisons


def counts(rng, n, n_pairs, most=20):
    """Votes on random pairs of a connected graph."""
    pairs = {(i, i + 1) for i in range(n - 1)}
    while len(pairs) < n_pairs:
        i, j = np.sort(rng.choice(n, 2, replace=False))
        pairs.add((int(i), int(j)))
    first, second = np.array(sorted(pairs), dtype=np.int32).T.copy()
    total = rng.integers(1, most, len(first)).astype(float)
    s = rng.normal(size=n)
    won = rng.binomial(total.astype(int), expit(2 * (s[first] - s[second]))).astype(float)
    return first, second, won, total - won


def mixture(rng, n=7, n_pairs=15, features=None, bias=False):
    first, second, won, lost = counts(rng, n, n_pairs)
    space = Parametrization(first, second, n, features, bias, won + lost)
    return VoteMixture(space, won, lost)


def log_posterior(space, won, lost, r, a, b, e):
    """Written out: likelihood of the votes, and normal priors of centred scores and of the bias."""
    d, c = space.differences(a), space.differences(b)
    p = (1 - e) * expit(d) + e * expit(c)
    value = won @ np.log(p) + lost @ np.log(1 - p)
    for theta in (a, b):
        s, bias = space.scores(theta)
        s = s - s.mean() if space.features is not None else s
        value -= 0.5 * r * (s @ s + bias**2)
    return value


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("setting", ["plain", "bias", "features"])
def test_derivatives(rng, free, setting):
    features = rng.normal(size=(7, 3)) if setting == "features" else None
    votes = mixture(rng, features=features, bias=setting != "plain")
    space, n = votes.space, votes.space.n_parameters
    x = np.append(rng.normal(size=n * (1 + free)), -0.7)
    e, r = 0.5 * expit(x[-1]), 0.3
    value, gradient, H = votes._derivatives(x, r, free, True, second=True)
    b = x[n : 2 * n] if free else -x[:n]
    expected = log_posterior(space, votes.won, votes.lost, r, x[:n], b, e)
    # flips have one set of scores, of which the prior counts once
    expected += 0 if free else 0.5 * r * x[:n] @ votes._times_prior(x[:n])
    assert value == pytest.approx(expected, rel=1e-12)
    step = 1e-5
    for i, unit in enumerate(np.eye(len(x))):
        up = votes._derivatives(x + step * unit, r, free, True)
        down = votes._derivatives(x - step * unit, r, free, True)
        assert (up[0] - down[0]) / (2 * step) == pytest.approx(gradient[i], rel=1e-6, abs=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / (2 * step), H[i], rtol=1e-6, atol=1e-6)


def test_without_wrong_votes_it_is_a_logistic_regression(rng):
    votes = mixture(rng, bias=True)
    space, r = votes.space, 0.4
    found = votes._best([votes._fit(r, np.zeros(space.n_parameters), None, 0.0)], r)
    Z = np.zeros((len(votes.won), 8))
    rows = np.arange(len(Z))
    Z[rows, space.all_pairs.first], Z[rows, space.all_pairs.second], Z[:, -1] = 1, -1, 1
    model = LogisticRegression(C=1 / r, fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    model.fit(np.vstack([Z, Z]), np.repeat([1, 0], len(Z)), sample_weight=np.concatenate([votes.won, votes.lost]))
    np.testing.assert_allclose(found.theta, model.coef_[0], atol=1e-7)


@pytest.mark.parametrize("features", [False, True])
def test_the_fit_is_a_maximum(rng, features):
    data = make_pairwise_comparisons(
        8,
        2000,
        outlier_fraction=0.3,
        outlier_type="malicious",
        response="vote",
        n_features=2 * features,
        random_state=1,
    )
    ranker = RobustPairwiseRanker(item_features=data.item_features).fit(data.X, data.y)
    votes = ranker._pruned.mixture
    space = votes.space
    assert any(model.free for _, model, _ in votes._likely)
    for _, model, _ in votes._likely:
        best = log_posterior(space, votes.won, votes.lost, model.precision, model.theta, model.other, model.share)
        for _ in range(40):
            a = model.theta + 0.02 * rng.normal(size=len(model.theta))
            b = model.other + 0.02 * rng.normal(size=len(model.theta)) if model.free else -a
            e = np.clip(model.share + 0.02 * rng.normal(), 0, 0.5)
            # without scores of their own the prior is counted once
            once = 0.5 * model.precision * (a @ votes._times_prior(a) - model.theta @ votes._times_prior(model.theta))
            trial = log_posterior(space, votes.won, votes.lost, model.precision, a, b, e)
            assert trial + (0 if model.free else once) <= best + 1e-6


def test_evidence_beside_quadrature():
    """Two items: the prior of the lead is normal with variance 2 / r."""
    space = Parametrization(np.array([0], np.int32), np.array([1], np.int32), 2, None, False, np.array([400.0]))
    votes = VoteMixture(space, np.array([290.0]), np.array([110.0]))
    r = 0.3
    model = votes._best([votes._fit(r, np.zeros(2), None, 0.0)], r)
    lead = np.linspace(-8, 8, 20_001)
    log_density = 290 * np.log(expit(lead)) + 110 * np.log(expit(-lead)) + norm.logpdf(lead, scale=np.sqrt(2 / r))
    top = log_density.max()
    exact = top + np.log(np.trapezoid(np.exp(log_density - top), lead) if hasattr(np, "trapezoid") else
                         np.sum(np.exp(log_density - top)) * (lead[1] - lead[0]))  # fmt: skip
    assert model.evidence == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("bias", [False, True])
def test_scores_are_least_squares_on_expected_votes(rng, bias):
    votes = mixture(rng, bias=bias)
    expected, coefficients = 0.0, []
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    for weight, model, _ in votes._likely:
        s, b = votes.space.scores(model.theta)
        expected = expected + weight * np.array([2 * expit(s[i] - s[j] + b) - 1 for i, j in pairs])
    Z = np.zeros((len(pairs), 8))
    for k, (i, j) in enumerate(pairs):
        Z[k, i], Z[k, j], Z[k, -1] = 1, -1, bias
    coefficients = np.linalg.lstsq(Z, expected, rcond=None)[0]
    weights = sum(weight for weight, _, _ in votes._likely)
    assert weights == pytest.approx(1, abs=1e-4)
    scores, position_bias = votes.space.scores(votes.theta)
    np.testing.assert_allclose(scores, coefficients[:-1], atol=1e-9)
    assert position_bias == pytest.approx(coefficients[-1], abs=1e-9)


@pytest.mark.newest
@pytest.mark.parametrize("setting", ["plain", "bias", "features"])
def test_covariance_of_many_votes_is_that_of_repetitions(setting):
    """Clean votes: standard errors are the spread over new votes."""
    features = 3 if setting == "features" else 0
    scores, errors = [], []
    for seed in range(20 if features else 30):
        data = make_pairwise_comparisons(
            8, 3000, outlier_fraction=0, response="vote", noise=1.0, n_features=features,
            position_bias=0.5 * (setting == "bias"), random_state=0,
        )  # fmt: skip
        rng = np.random.default_rng(seed)
        lead = data.scores[data.X[:, 0]] - data.scores[data.X[:, 1]] + 0.5 * (setting == "bias")
        y = np.where(rng.random(3000) < expit(2 * lead), 1.0, -1.0)
        ranker = RobustPairwiseRanker(item_features=data.item_features, fit_position_bias=setting == "bias")
        low, high = ranker.fit(data.X, y).confidence_interval(0.6826894921370859).T
        scores.append(ranker.scores_)
        errors.append((high - low) / 2)
    ratio = np.mean(errors, axis=0) / np.std(scores, axis=0, ddof=1)
    assert 0.85 < ratio.mean() < 1.2
    assert np.all((ratio > 0.65) & (ratio < 1.7))


def test_many_items(rng, monkeypatch):
    """Beyond the limits flips alone are considered, and mean votes are interpolated: nearly the same."""
    data = make_pairwise_comparisons(30, 3000, outlier_fraction=0.2, response="vote", random_state=0)
    whole = RobustPairwiseRanker().fit(data.X, data.y)
    monkeypatch.setattr(engine, "ALL_PAIRS", 20)
    monkeypatch.setattr(engine, "EVIDENCE_LIMIT", 20)
    fast = RobustPairwiseRanker().fit(data.X, data.y)
    np.testing.assert_allclose(fast.scores_, whole.scores_, atol=0.05)
    assert np.mean(fast.outlier_mask_ == whole.outlier_mask_) > 0.97
    assert kendalltau(fast.scores_, data.scores)[0] > 0.9
    assert np.isfinite(fast.confidence_interval()).all()


@pytest.mark.parametrize("limit", [300, 10])
def test_no_order_in_coin_flips(monkeypatch, limit):
    """Votes at random, and with a position bias only: none is wrong, but in one of twenty sets."""
    monkeypatch.setattr(engine, "EVIDENCE_LIMIT", limit)
    flagged, sizes = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        first = rng.integers(16, size=1000)
        second = (first + 1 + rng.integers(15, size=1000)) % 16
        bias = seed % 2 == 1
        y = np.where(rng.random(1000) < (0.7 if bias else 0.5), 1.0, -1.0)
        ranker = RobustPairwiseRanker(fit_position_bias=bias).fit(np.column_stack([first, second]), y)
        flagged.append(ranker.outlier_mask_.any())
        sizes.append(ranker.scores_.std())
    assert sum(flagged) <= 4
    assert np.median(sizes) < 0.1


@pytest.mark.parametrize("setting", ["plain", "bias", "features"])
def test_order_by_chi_squared_test(rng, setting, monkeypatch):
    """The test's p-value beside least squares written out."""
    first, second, _, _ = counts(rng, 7, 15)
    total = rng.integers(5, 20, len(first)).astype(float)
    won = rng.binomial(total.astype(int), 0.55).astype(float)
    features = rng.normal(size=(7, 3)) if setting == "features" else None
    space = Parametrization(first, second, 7, features, setting != "plain", total)
    votes = VoteMixture(space, won, total - won)
    Z = np.zeros((len(first), 7))
    Z[np.arange(len(Z)), first], Z[np.arange(len(Z)), second] = 1, -1
    Z = Z if features is None else Z @ features
    root, mean = np.sqrt(total), (2 * won - total) / total

    def explained(Z):
        fit = Z @ np.linalg.lstsq(root[:, None] * Z, root * mean, rcond=None)[0]
        return total @ fit**2, np.linalg.matrix_rank(Z)

    (whole, rank), (less, fewer) = explained(np.column_stack([Z, np.ones(len(Z))])), explained(np.ones((len(Z), 1)))
    if setting == "plain":
        (whole, rank), (less, fewer) = explained(Z), (0, 0)
    p_value = chi2.sf(whole - less, rank - fewer)
    assert 0.001 < p_value < 0.999
    for level, expected in ((0.999 * p_value, False), (1.001 * p_value, True)):
        monkeypatch.setattr(engine, "ORDER_LEVEL", level)
        assert votes._have_an_order() == expected


def test_components_are_apart(rng):
    """Scores of two graphs without a common item are those of each, but for what both say of the precision."""
    a = make_pairwise_comparisons(6, 800, outlier_fraction=0.2, response="vote", random_state=0)
    b = make_pairwise_comparisons(5, 600, outlier_fraction=0.2, response="vote", random_state=1)
    with pytest.warns(UserWarning, match="component"):
        both = RobustPairwiseRanker().fit(np.vstack([a.X, b.X + 6]), np.concatenate([a.y, b.y]))
    alone = RobustPairwiseRanker().fit(a.X, a.y)
    np.testing.assert_allclose(both.scores_[:6], alone.scores_, atol=0.05)
    np.testing.assert_allclose([both.scores_[:6].sum(), both.scores_[6:].sum()], 0, atol=1e-9)


def test_votes_that_a_tree_has_are_fitted_exactly():
    ranker = RobustPairwiseRanker().fit([[0, 1], [1, 2], [3, 1]], [1.0, -1.0, 1.0])
    np.testing.assert_allclose(ranker.decision_function([[0, 1], [1, 2], [3, 1]]), [1, -1, 1], atol=1e-9)
    assert not ranker.outlier_mask_.any()


def test_the_path_of_votes_stays_what_it_was():
    """The mixture judges votes; first entries remain those of the path."""
    data = make_pairwise_comparisons(8, 300, response="vote", ties=0.1, random_state=0)
    ranker = RobustPairwiseRanker().fit(data.X, data.y)
    entry = pairwise_outlier_path(data.X, data.y).entry_alpha
    np.testing.assert_allclose(ranker.comparison_outlier_score_, entry, rtol=1e-9)
    assert ranker.alpha_ == np.inf
