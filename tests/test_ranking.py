"""The path against a dense Lasso and an exact homotopy, scores against normal equations, and what users rely on."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from _ranking_oracles import dense_lasso, design, hodge_rank, homotopy
from scipy import sparse
from scipy.stats import kendalltau, rankdata
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.utils import estimator_checks

from skspar import RobustPairwiseRanker, kendall_tau_scorer, pairwise_accuracy_scorer, pairwise_outlier_path
from skspar.datasets import make_pairwise_comparisons


def random_comparisons(rng, m=200, n=10, kind="margin"):
    first = rng.integers(n, size=m)
    second = (first + 1 + rng.integers(n - 1, size=m)) % n
    s = rng.normal(size=n)
    y = s[first] - s[second] + 0.5 * rng.normal(size=m)
    y[rng.random(m) < 0.2] *= -1
    if kind == "vote":
        y = np.where(np.abs(y) < 0.3, 0.0, np.sign(y))
    return np.column_stack([first, second]), y


def auc(score, truth):
    ranks = rankdata(score)
    n = truth.sum()
    return (ranks[truth].sum() - n * (n + 1) / 2) / (n * (len(truth) - n))


VARIANTS = {
    "plain": {},
    "weights": dict(weights=True),
    "ties": dict(kind="vote"),
    "position bias": dict(bias=True),
    "features": dict(features="dense"),
    "sparse features": dict(features="sparse"),
    "dependent features": dict(features="dependent"),
    "all": dict(kind="vote", weights=True, bias=True, features="dense"),
}


def variant(rng, kind="margin", weights=False, bias=False, features=None, m=200):
    X, y = random_comparisons(rng, m, kind=kind)
    w = rng.integers(1, 4, len(y)) * 0.5 if weights else None
    F = None
    if features is not None:
        F = rng.normal(size=(10, 4))
        if features == "dependent":
            F = np.column_stack([F, F[:, 0] - F[:, 1], np.ones(10)])
        if features == "sparse":
            F = sparse.csr_array(F * (rng.random(F.shape) < 0.7))
    Z = design(X[:, 0], X[:, 1], 10, F, bias)
    return X, y, w, Z, dict(item_features=F, fit_position_bias=bias, items=None if features else 10)


@pytest.mark.parametrize("name", VARIANTS)
def test_path_is_the_lasso_with_the_scores_projected_out(rng, name):
    X, y, w, Z, options = variant(rng, **VARIANTS[name])
    top = np.abs(y - Z @ hodge_rank(Z, y, w)).max()
    alphas = top * np.array([0.9, 0.6, 0.3, 0.1])
    path = pairwise_outlier_path(X, y, sample_weight=w, alphas=alphas, return_outliers=True, **options)
    weights = np.ones(len(y)) if w is None else w
    projector = np.eye(len(y)) - (np.sqrt(weights)[:, None] * Z) @ np.linalg.pinv(np.sqrt(weights)[:, None] * Z)
    for k, alpha in enumerate(alphas):
        gamma = dense_lasso(Z, y, alpha, w)

        def objective(g, alpha=alpha):
            return np.sum((projector @ (np.sqrt(weights) * (y - g))) ** 2) / 2 + alpha * weights @ np.abs(g)

        # what is unique: the objective and the projected outliers; where alpha is large also gamma itself
        assert objective(path.outliers[:, k]) == pytest.approx(objective(gamma), rel=1e-9)
        fitted, expected = (projector @ (np.sqrt(weights) * g) for g in (path.outliers[:, k], gamma))
        np.testing.assert_allclose(fitted, expected, atol=1e-6)
        if "kind" not in VARIANTS[name]:
            np.testing.assert_allclose(path.outliers[:, k], gamma, atol=1e-6)
        assert path.dual_gaps[k] <= 1e-12 * np.sum(y**2)


@pytest.mark.parametrize("name", VARIANTS)
def test_infinite_alpha_is_hodge_rank(rng, name):
    X, y, w, Z, options = variant(rng, **VARIANTS[name])
    ranker = RobustPairwiseRanker(np.inf, **options).fit(X, y, sample_weight=w)
    b = hodge_rank(Z, y, w)
    np.testing.assert_allclose(ranker.coef_, b[: len(ranker.coef_)], atol=1e-10)
    F = options["item_features"]
    scores = b[:10] if F is None else F @ b[: F.shape[1]]
    np.testing.assert_allclose(ranker.scores_, scores - scores.mean(), atol=1e-10)
    if options["fit_position_bias"]:
        assert ranker.position_bias_ == pytest.approx(b[-1], abs=1e-10)
    np.testing.assert_allclose(ranker.decision_function(X), Z @ b, atol=1e-9)
    assert not ranker.outlier_mask_.any() and ranker.contamination_ == 0


@pytest.mark.parametrize("m, n", [(150, 8), (600, 25)])
@pytest.mark.parametrize("weighted", [False, True])
def test_first_entries_are_those_of_the_homotopy(rng, m, n, weighted):
    X, y = random_comparisons(rng, m, n)
    w = rng.uniform(0.5, 2, m) if weighted else None
    exact, reached = homotopy(design(X[:, 0], X[:, 1], n), y, w)
    assert np.mean(exact > reached) > 0.7
    entry = pairwise_outlier_path(X, y, items=n, sample_weight=w).entry_alpha
    known = exact > reached
    np.testing.assert_allclose(entry[known], exact[known], rtol=1e-3)
    assert np.all(entry[~known] <= reached * 1.001)


def test_scores_along_the_path_are_huber_estimates(rng):
    X, y = random_comparisons(rng)
    path = pairwise_outlier_path(X, y, alphas=5)
    for alpha, s in zip(path.alphas, path.scores.T):
        r = y - s[X[:, 0]] + s[X[:, 1]]
        psi = np.clip(r, -alpha, alpha)
        pull = np.bincount(X[:, 0], psi, 10) - np.bincount(X[:, 1], psi, 10)
        assert np.abs(pull).max() <= 1e-9 * np.sum(np.abs(psi))
        again = RobustPairwiseRanker(alpha).fit(X, y)
        np.testing.assert_allclose(again.scores_, s, atol=1e-9)
        np.testing.assert_array_equal(again.outlier_mask_, np.abs(r) > alpha * (1 + 1e-9))


@pytest.mark.parametrize("options", [{}, dict(fit_position_bias=True)])
def test_merged_and_unmerged_agree(rng, options, monkeypatch):
    X, y = random_comparisons(rng, 400, 6, kind="vote")
    mirrored = rng.random(400) < 0.5
    X[mirrored], y[mirrored] = X[mirrored][:, ::-1], -y[mirrored]
    import skspar.ranking as ranking

    merged = RobustPairwiseRanker(**options).fit(X, y)
    original = ranking.merge
    monkeypatch.setattr(ranking, "merge", lambda *a, **k: original(*a, **k, merging=False))
    apart = RobustPairwiseRanker(**options).fit(X, y)
    assert len(apart._problem.merged.y) == 400 > len(merged._problem.merged.y)
    np.testing.assert_allclose(apart.comparison_outlier_score_, merged.comparison_outlier_score_, rtol=1e-9)
    np.testing.assert_allclose(apart.scores_, merged.scores_, atol=1e-9)
    np.testing.assert_array_equal(apart.outlier_mask_, merged.outlier_mask_)


def test_mirrored_rows_agree(rng):
    X, y = random_comparisons(rng)
    mirrored = rng.random(len(y)) < 0.5
    Xm, ym = np.where(mirrored[:, None], X[:, ::-1], X), np.where(mirrored, -y, y)
    a, b = RobustPairwiseRanker().fit(X, y), RobustPairwiseRanker().fit(Xm, ym)
    np.testing.assert_allclose(a.scores_, b.scores_, atol=1e-12)
    np.testing.assert_allclose(a.comparison_outlier_score_, b.comparison_outlier_score_, rtol=1e-9)


# --- the published table, rankings, annotators: small seeded versions of benchmarks/ranking.py


@pytest.mark.newest
@pytest.mark.parametrize(
    "op, published, tolerance", [(0.05, 0.999, 0.01), (0.2, 0.996, 0.01), (0.3, 0.983, 0.01), (0.4, 0.903, 0.03)]
)
def test_published_auc(op, published, tolerance):
    entry, gain = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        place = rng.permutation(16)
        first = rng.integers(16, size=1000)
        second = (first + 1 + rng.integers(15, size=1000)) % 16
        flipped = rng.random(1000) < op
        y = np.sign(place[first] - place[second]) * np.where(flipped, -1.0, 1.0)
        ranker = RobustPairwiseRanker(np.inf).fit(np.column_stack([first, second]), y)
        entry.append(auc(ranker.comparison_outlier_score_, flipped))
        residual = np.abs(y - ranker.decision_function(np.column_stack([first, second])))
        gain.append(entry[-1] - auc(residual, flipped))
    assert np.mean(entry) == pytest.approx(published, abs=tolerance)
    if op in (0.2, 0.3):
        assert np.mean(gain) > 2 * np.std(gain, ddof=1) / np.sqrt(len(gain))


@pytest.mark.newest
@pytest.mark.parametrize("response", ["margin", "vote"])
@pytest.mark.parametrize("kind", ["flip", "malicious"])
def test_beats_least_squares(response, kind):
    options = dict(response=response, outlier_type=kind)
    if response == "vote":
        options.update(scores="order", noise=0.0)
    gain = []
    for seed in range(10):
        data = make_pairwise_comparisons(16, 800, outlier_fraction=0.2, random_state=seed, **options)
        robust = RobustPairwiseRanker().fit(data.X, data.y)
        plain = RobustPairwiseRanker(np.inf).fit(data.X, data.y)
        gain.append(kendalltau(robust.scores_, data.scores)[0] - kendalltau(plain.scores_, data.scores)[0])
    assert np.mean(gain) > 2 * np.std(gain, ddof=1) / np.sqrt(len(gain))


@pytest.mark.parametrize("kind, rate, lead, over", [("flip", 0.2, 0.04, 0.0), ("malicious", 0.3, 0.15, 0.04)])
def test_wrong_votes_of_a_total_order(kind, rate, lead, over):
    """Votes flipped, or following another ranking: beats all that use every vote, and the majority of each pair."""
    gain, over_majority = [], []
    for seed in range(8):
        data = make_pairwise_comparisons(
            16, 1000, outlier_fraction=rate, outlier_type=kind, response="vote", scores="order", noise=0.0,
            random_state=seed,
        )  # fmt: skip
        wins = np.zeros((16, 16))
        np.add.at(wins, (data.X[:, 0], data.X[:, 1]), data.y)
        majority = np.sign(wins - wins.T).sum(axis=1)
        robust, plain = RobustPairwiseRanker(), RobustPairwiseRanker(np.inf)
        tau = kendalltau(robust.fit(data.X, data.y).scores_, data.scores)[0]
        gain.append(tau - kendalltau(plain.fit(data.X, data.y).scores_, data.scores)[0])
        over_majority.append(tau - kendalltau(majority, data.scores)[0])
        # votes against the order that are left out are wrong
        flagged = robust.outlier_mask_
        assert np.mean((data.y * (data.scores[data.X[:, 0]] - data.scores[data.X[:, 1]]) < 0)[flagged]) > 0.9
    assert np.mean(gain) > lead
    assert np.mean(over_majority) > over


def test_clean_votes_are_not_pruned():
    for seed in range(5):
        data = make_pairwise_comparisons(16, 1000, outlier_fraction=0.0, response="vote", random_state=seed)
        assert RobustPairwiseRanker().fit(data.X, data.y).contamination_ <= 0.02


def test_clean_margins_are_not_pruned():
    for seed in range(5):
        data = make_pairwise_comparisons(16, 1000, outlier_fraction=0.0, random_state=seed)
        assert RobustPairwiseRanker().fit(data.X, data.y).contamination_ <= 0.02


@pytest.mark.parametrize("rate, low, high", [(0.0, 0.91, 0.98), (0.2, 0.86, 0.98)])
def test_coverage(rate, low, high):
    hits = []
    for seed in range(20):
        data = make_pairwise_comparisons(12, 300, outlier_fraction=rate, random_state=seed)
        a, b = RobustPairwiseRanker().fit(data.X, data.y).confidence_interval(0.95).T
        hits.append(np.mean((a <= data.scores) & (data.scores <= b)))
    assert low <= np.mean(hits) <= high


def test_intervals_of_least_squares_are_the_textbook_ones(rng):
    """With equal variances and many comparisons, the sandwich is sigma^2 times the inverse Laplacian."""
    X, _ = random_comparisons(rng, 20_000, 5)
    y = 2.0 * rng.normal(size=20_000)
    interval = RobustPairwiseRanker(np.inf).fit(X, y).confidence_interval(0.9)
    Z = design(X[:, 0], X[:, 1], 5)
    error = 2.0 * np.sqrt(np.diag(np.linalg.pinv(Z.T @ Z)))
    np.testing.assert_allclose(np.diff(interval, axis=1)[:, 0], 2 * 1.6449 * error, rtol=0.05)


@pytest.mark.newest
@pytest.mark.parametrize("effects", [None, "group"])
def test_careless_annotators_are_found(effects):
    found = []
    for seed in range(4):
        data = make_pairwise_comparisons(
            30, 9000, response="vote", outlier_fraction=0, n_annotators=100, careless_annotators=0.2, random_state=seed
        )
        ranker = RobustPairwiseRanker(annotator_effects=effects).fit(data.X, data.y, annotators=data.annotators)
        found.append(auc(ranker.annotator_outlier_score_, data.careless[ranker.annotators_]))
        rate = ranker.annotator_outlier_rate_
        assert rate[data.careless].mean() > rate[~data.careless].mean()
    assert np.mean(found) >= 0.98


def test_group_path_flags_whole_annotators_whatever_their_number_of_votes(rng):
    X, y = random_comparisons(rng, 600, 8)
    s = rng.normal(size=8)
    y = s[X[:, 0]] - s[X[:, 1]] + 0.3 * rng.normal(size=600)
    votes = np.repeat([0, 1, 2, 3, 4], [300, 120, 90, 60, 30])
    y[votes == 3] *= -1
    ranker = RobustPairwiseRanker(contamination=0.1, annotator_effects="group").fit(X, y, annotators=votes)
    np.testing.assert_array_equal(ranker.annotator_outlier_rate_, [0, 0, 0, 1, 0])
    np.testing.assert_array_equal(ranker.outlier_mask_, votes == 3)
    clean = RobustPairwiseRanker(np.inf).fit(X[votes != 3], y[votes != 3])
    np.testing.assert_allclose(ranker.scores_, clean.scores_, atol=1e-9)


def test_group_path_is_optimal(rng):
    """Against a conic solver, with weights."""
    cp = pytest.importorskip("cvxpy")
    X, y = random_comparisons(rng, 80, 6)
    votes, w = rng.integers(7, size=80), rng.uniform(0.5, 2, 80)
    alphas = [0.9, 0.6, 0.3]
    path = pairwise_outlier_path(
        X, y, items=6, sample_weight=w, annotators=votes, annotator_effects="group", alphas=alphas, return_outliers=True
    )
    Z = design(X[:, 0], X[:, 1], 6)
    for k, alpha in enumerate(alphas):
        b, g = cp.Variable(6), cp.Variable(80)
        penalty = sum(
            np.sqrt(w[votes == a].sum()) * cp.norm(cp.multiply(np.sqrt(w[votes == a]), g[votes == a])) for a in range(7)
        )
        loss = cp.sum_squares(cp.multiply(np.sqrt(w), y - Z @ b - g)) / 2
        best = cp.Problem(cp.Minimize((loss + alpha * penalty) / w.sum())).solve(solver=cp.CLARABEL)
        s, gamma = path.scores[:, k], path.outliers[:, k]
        ours = np.sum(w * (y - Z @ s - gamma) ** 2) / 2
        ours += alpha * sum(
            np.sqrt(w[votes == a].sum() * np.sum(w[votes == a] * gamma[votes == a] ** 2)) for a in range(7)
        )
        assert ours / w.sum() == pytest.approx(best, rel=1e-6)
        assert ours / w.sum() - best <= path.dual_gaps[k] + 1e-7
    order = np.argsort(-path.annotator_entry_alpha)
    flagged = [len(np.unique(votes[np.abs(path.outliers[:, k]) > 0])) for k in range(3)]
    for k, alpha in enumerate(alphas):
        inside = path.annotator_entry_alpha >= alpha
        assert set(np.unique(votes[np.abs(path.outliers[:, k]) > 1e-9])) <= set(path.annotators[inside])
    assert flagged == sorted(flagged) and len(order) == 7


# --- what a user relies on


def test_labels_of_any_kind(rng):
    X, y = random_comparisons(rng)
    plain = RobustPairwiseRanker().fit(X, y)
    strings = np.array([f"model {k:02d}" for k in range(10)])
    tuples = np.empty(10, dtype=object)
    tuples[:] = [(k, "v") for k in range(10)]
    mixed = np.empty(10, dtype=object)
    mixed[:] = ["a", 1, ("b", 2), None.__class__, 3.5, "z", b"c", frozenset([1]), 8, "k"]
    for labels in (strings, strings.astype(object), tuples, mixed, np.arange(100, 110)):
        named = labels[X]
        ranker = RobustPairwiseRanker(items=labels).fit(named, y)
        np.testing.assert_array_equal(ranker.scores_, plain.scores_)
        assert list(ranker.items_) == list(labels)
        np.testing.assert_array_equal(ranker.predict(named), plain.predict(X))
        found = RobustPairwiseRanker().fit(named, y)
        assert dict(zip(found.items_, found.scores_)) == pytest.approx(dict(zip(labels, plain.scores_)))
        as_list = RobustPairwiseRanker(items=list(labels)).fit([list(row) for row in named], list(y))
        np.testing.assert_array_equal(as_list.scores_, plain.scores_)
    assert plain.ranking_[0] == np.argmax(plain.scores_)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(rng, library):
    frames = pytest.importorskip(library)
    X, y = random_comparisons(rng)
    labels = np.array([f"m{k}" for k in range(10)])
    plain = RobustPairwiseRanker().fit(X, y)
    columns = {"left": labels[X[:, 0]], "right": labels[X[:, 1]]}
    frame = frames.DataFrame(columns)
    ranker = RobustPairwiseRanker().fit(frame, frames.Series(y), annotators=frames.Series(labels[X[:, 0]]))
    np.testing.assert_allclose(ranker.scores_, plain.scores_)
    assert list(ranker.feature_names_in_) == ["left", "right"]
    np.testing.assert_array_equal(ranker.predict(frame), plain.predict(X))
    if library == "pandas":
        F = frames.DataFrame(rng.normal(size=(10, 3)), index=labels)
        by_index = RobustPairwiseRanker(item_features=F).fit(frame, y)
        by_place = RobustPairwiseRanker(item_features=F.to_numpy()).fit(X, y)
        np.testing.assert_allclose(by_index.scores_, by_place.scores_)
        order = rng.permutation(10)
        given = RobustPairwiseRanker(items=labels[order], item_features=F).fit(frame, y)
        np.testing.assert_allclose(given.scores_, by_place.scores_[order])
        few = RobustPairwiseRanker(items=labels, item_features=frames.concat([F, F[:2].set_axis(["x", "y"])]))
        np.testing.assert_allclose(few.fit(frame, y).scores_, by_place.scores_)
        unnamed = F.reset_index(drop=True)
        again = RobustPairwiseRanker(items=labels, item_features=unnamed).fit(frame, y)
        np.testing.assert_allclose(again.scores_, by_place.scores_)
        for index, match in [
            (["x", *labels[1:]], "item_features.*'m0'"),
            ([*labels[:9], "m0"], "item_features.*once.*m0"),
        ]:
            with pytest.raises(ValueError, match=match):
                RobustPairwiseRanker(items=labels, item_features=F.set_axis(index)).fit(frame, y)
        category = frame.astype("category")
        np.testing.assert_allclose(RobustPairwiseRanker().fit(category, y).scores_, plain.scores_)


@pytest.mark.parametrize(
    "options", [{}, dict(alpha=0.5), dict(contamination=0.2), dict(penalty="hard"), dict(fit_position_bias=True)]
)
def test_weights_count_rows(rng, options):
    X, y = random_comparisons(rng)
    s = rng.integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), s)
    weighted = RobustPairwiseRanker(items=10, **options).fit(X, y, sample_weight=s)
    repeated = RobustPairwiseRanker(items=10, **options).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, atol=1e-9)
    assert weighted.alpha_ == pytest.approx(repeated.alpha_, rel=1e-9)
    assert weighted.contamination_ == pytest.approx(repeated.contamination_)
    assert weighted.cyclicity_ratio_ == pytest.approx(repeated.cyclicity_ratio_)
    np.testing.assert_allclose(
        weighted.comparison_outlier_score_[rows], repeated.comparison_outlier_score_, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(weighted.confidence_interval(), repeated.confidence_interval(), rtol=1e-5, atol=1e-9)


def test_rows_without_weight_do_not_prolong_the_path():
    """Votes that nearly agree: the path ends in a straight line, unless rows without weight count."""
    rng = np.random.default_rng(16)
    X, y = random_comparisons(rng, 120, 7, kind="vote")
    for seed in range(20):
        s = np.random.default_rng(seed).integers(0, 4, 120)
        rows = np.repeat(np.arange(120), s)
        weighted = RobustPairwiseRanker(items=7, fit_position_bias=True).fit(X, y, sample_weight=s)
        repeated = RobustPairwiseRanker(items=7, fit_position_bias=True).fit(X[rows], y[rows])
        np.testing.assert_array_equal(weighted.outlier_mask_[rows], repeated.outlier_mask_)
        np.testing.assert_allclose(weighted.scores_, repeated.scores_, atol=1e-9)
        assert weighted.n_iter_ == repeated.n_iter_


@pytest.mark.parametrize("unit", [1e-9, 1e9, 1e-200, 1e200])
def test_units_of_y(rng, unit):
    X, y = random_comparisons(rng)
    a, b = RobustPairwiseRanker().fit(X, y), RobustPairwiseRanker().fit(X, y * unit)
    np.testing.assert_allclose(b.scores_, a.scores_ * unit, rtol=1e-9)
    early = a.comparison_outlier_score_ > 0.1 * np.abs(y).max()  # deep in the path scores are not unique
    np.testing.assert_allclose(b.comparison_outlier_score_[early], a.comparison_outlier_score_[early] * unit, rtol=2e-3)
    np.testing.assert_array_equal(a.outlier_mask_, b.outlier_mask_)


def test_order_of_rows_does_not_matter(rng):
    X, y = random_comparisons(rng, kind="vote")
    order = rng.permutation(len(y))
    a, b = RobustPairwiseRanker().fit(X, y), RobustPairwiseRanker().fit(X[order], y[order])
    np.testing.assert_allclose(a.scores_, b.scores_, atol=1e-12)
    np.testing.assert_allclose(a.comparison_outlier_score_[order], b.comparison_outlier_score_, rtol=1e-9)


def test_contamination_is_a_bound(rng):
    for kind in ("margin", "vote"):
        X, y = random_comparisons(rng, kind=kind)
        for share in (0.0, 0.05, 0.2, 0.5):
            ranker = RobustPairwiseRanker(contamination=share).fit(X, y)
            assert ranker.contamination_ <= share + 1e-12
            out = ranker.comparison_outlier_score_
            if ranker.outlier_mask_.any():
                assert out[ranker.outlier_mask_].min() > out[~ranker.outlier_mask_].max()
            kept = ~ranker.outlier_mask_
            b = hodge_rank(design(X[kept, 0], X[kept, 1], 10), y[kept])
            np.testing.assert_allclose(ranker.scores_, b, atol=1e-9)
        assert kind == "vote" or ranker.contamination_ >= 0.49


def test_hard_penalty_is_a_local_minimum(rng):
    X, y = random_comparisons(rng)
    ranker = RobustPairwiseRanker(0.8, penalty="hard").fit(X, y)
    r = np.abs(y - ranker.decision_function(X))
    np.testing.assert_array_equal(ranker.outlier_mask_, r >= 0.8)


def test_huge_margins_do_no_harm(rng):
    X, y = random_comparisons(rng)
    wild = y.copy()
    wild[:5] = [1e12, -1e12, 1e9, 1e6, 1e15]
    ranker = RobustPairwiseRanker(contamination=5 / 200).fit(X, wild)
    assert ranker.outlier_mask_[:5].all() and ranker.outlier_mask_.sum() == 5
    b = hodge_rank(design(X[5:, 0], X[5:, 1], 10), y[5:])
    np.testing.assert_allclose(ranker.scores_, b, atol=1e-7)


def test_one_outlier_among_consistent_comparisons_is_left_out():
    X, y = [[0, k] for k in range(1, 30)] * 3, np.r_[np.ones(86), 1e6]
    ranker = RobustPairwiseRanker().fit(X, y)
    assert np.flatnonzero(ranker.outlier_mask_).tolist() == [86]
    np.testing.assert_allclose(ranker.scores_[1:] - ranker.scores_[0], -1, atol=1e-9)


def test_consistent_comparisons(rng):
    s = rng.normal(size=10)
    X, _ = random_comparisons(rng)
    y = s[X[:, 0]] - s[X[:, 1]]
    ranker = RobustPairwiseRanker().fit(X, y)
    np.testing.assert_allclose(ranker.scores_, s - s.mean(), atol=1e-12)
    assert not ranker.outlier_mask_.any() and ranker.cyclicity_ratio_ < 1e-12
    y[7] += 3
    ranker = RobustPairwiseRanker(contamination=0.005).fit(X, y)
    assert np.flatnonzero(ranker.outlier_mask_).tolist() == [7]
    assert np.flatnonzero(ranker.comparison_outlier_score_ > 1e-6).tolist() == [7]


def test_tiny_problems():
    one = RobustPairwiseRanker().fit([["a", "b"]], [2.0])
    np.testing.assert_allclose(one.scores_, [1.0, -1.0])
    assert np.all(np.isfinite(one.confidence_interval()))
    ties = RobustPairwiseRanker().fit([[0, 1], [1, 2], [2, 0]], [0, 0, 0])
    np.testing.assert_array_equal(ties.scores_, 0)
    np.testing.assert_array_equal(ties.predict([[0, 1]]), [0])
    assert ties.cyclicity_ratio_ == 0
    cycle = RobustPairwiseRanker(np.inf).fit([[0, 1], [1, 2], [2, 0]], [1, 1, 1])
    np.testing.assert_allclose(cycle.scores_, 0, atol=1e-15)
    assert cycle.cyclicity_ratio_ == pytest.approx(1.0)


def test_disconnected_graph_warns_and_centres_each_part():
    X, y = [["a", "b"], ["b", "a"], ["c", "d"], ["d", "c"]], [1.0, -3.0, 5.0, -5.0]
    with pytest.warns(UserWarning, match=r"2 components.*'a', 'b'.*'c', 'd'"):
        ranker = RobustPairwiseRanker(np.inf).fit(X, y)
    np.testing.assert_allclose(ranker.scores_, [1, -1, 2.5, -2.5])
    assert ranker.n_connected_components_ == 2


def test_unseen_items():
    X, y = [[0, 1], [1, 2], [0, 2]], [1.0, 1.0, 2.0]
    with pytest.warns(UserWarning, match=r"2 of 5 items.*3, 4"):
        ranker = RobustPairwiseRanker(items=5).fit(X, y)
    np.testing.assert_array_equal(np.isnan(ranker.scores_), [False, False, False, True, True])
    assert list(ranker.ranking_) == [0, 1, 2, 3, 4]
    with pytest.warns(UserWarning, match="2 items.*3, 9") as record:
        np.testing.assert_array_equal(ranker.predict([[0, 3], [9, 3], [0, 1]]), [0, 0, 1])
    assert len(record) == 1
    assert np.isnan(ranker.confidence_interval()[3]).all()
    with pytest.raises(ValueError, match=r"3, 4.*handle_unknown"):
        RobustPairwiseRanker(items=5, handle_unknown="error").fit(X, y)
    strict = RobustPairwiseRanker(handle_unknown="error").fit(X, y)
    with pytest.raises(ValueError, match=r"1 items.*7.*handle_unknown"):
        strict.predict([[0, 7]])


def test_items_without_weight_are_unseen():
    X, y = [[0, 1], [1, 2], [0, 2], [2, 3]], [1.0, 1.0, 2.0, 4.0]
    with pytest.warns(UserWarning, match="3"):
        ranker = RobustPairwiseRanker(items=4).fit(X, y, sample_weight=[1, 1, 1, 0])
    assert np.isnan(ranker.scores_[3]) and ranker.n_connected_components_ == 1
    np.testing.assert_allclose(ranker.scores_[:3], [1, 0, -1], atol=1e-12)


def test_features_rank_new_items(rng):
    F = rng.normal(size=(12, 3))
    X, _ = random_comparisons(rng, 200, 10)
    y = (F[X[:, 0]] - F[X[:, 1]]) @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranker = RobustPairwiseRanker(item_features=F).fit(X, y)
        assert ranker.predict([[10, 11]])[0] == np.sign((F[10] - F[11]) @ [1.0, -2.0, 0.5])
    np.testing.assert_allclose(ranker.coef_, [1.0, -2.0, 0.5], atol=0.1)
    assert ranker.scores_.mean() == pytest.approx(0, abs=1e-12)
    low, high = ranker.confidence_interval(0.999).T
    truth = F @ [1.0, -2.0, 0.5]
    assert np.all((low <= truth - truth.mean()) & (truth - truth.mean() <= high))


def test_features_far_from_zero(rng):
    """Only differences of features count, and they do not cancel."""
    X, y = random_comparisons(rng)
    F = np.round(rng.normal(size=(10, 3)), 3)
    near, far = (RobustPairwiseRanker(item_features=G).fit(X, y) for G in (F, F + 2.0**20))
    np.testing.assert_allclose(far.scores_, near.scores_, atol=1e-8)
    np.testing.assert_allclose(far.confidence_interval(), near.confidence_interval(), atol=1e-8)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-8)


@pytest.mark.newest
def test_features_help_on_sparse_graphs():
    gain = []
    for seed in range(10):
        data = make_pairwise_comparisons(40, 40, n_features=4, outlier_fraction=0.1, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = RobustPairwiseRanker(items=40).fit(data.X, data.y).scores_
        features = RobustPairwiseRanker(item_features=data.item_features).fit(data.X, data.y).scores_
        gain.append(kendalltau(features, data.scores)[0] - kendalltau(np.nan_to_num(plain), data.scores)[0])
    assert np.mean(gain) > 3 * np.std(gain, ddof=1) / np.sqrt(10)


def test_position_bias(rng):
    data = make_pairwise_comparisons(10, 2000, position_bias=0.7, outlier_fraction=0.1, random_state=0)
    ranker = RobustPairwiseRanker(fit_position_bias=True).fit(data.X, data.y)
    assert ranker.position_bias_ == pytest.approx(0.7, abs=0.1)
    with pytest.warns(UserWarning, match="position bias"):
        alone = RobustPairwiseRanker(fit_position_bias=True).fit([[0, 1], [0, 1]], [1.0, 2.0])
    assert alone.position_bias_ == 0 and alone.scores_[0] == pytest.approx(0.75)


def test_score_and_ties():
    ranker = RobustPairwiseRanker(np.inf, tie_threshold=0.5).fit([[0, 1], [1, 2], [0, 2]], [0.2, 2.0, 2.2])
    np.testing.assert_array_equal(ranker.predict([[0, 1], [0, 2], [2, 1]]), [0, 1, -1])
    assert ranker.score([[0, 1], [0, 2], [2, 1], [1, 0]], [1.0, 3.0, 1.0, 0.0]) == pytest.approx(0.5)
    assert ranker.score([[0, 1], [0, 2]], [1.0, 3.0], sample_weight=[0, 1]) == 1.0
    assert pairwise_accuracy_scorer(ranker, [[0, 1], [0, 2]], [1.0, 3.0]) == 0.75
    with pytest.raises(ValueError, match="y must have a margin"):
        ranker.score([[0, 1]], [0.0])
    column = np.array([[1.0], [3.0], [1.0]])
    for score in (ranker.score, lambda X, y: pairwise_accuracy_scorer(ranker, X, y)):
        assert score([[0, 1], [0, 2], [2, 1]], column) == score([[0, 1], [0, 2], [2, 1]], column[:, 0])
        with pytest.raises(ValueError, match="y must have one margin"):
            score([[0, 1], [0, 2]], [[1.0, 2.0], [1.0, 2.0]])
        with pytest.raises(ValueError, match="NaN"):
            score([[0, 1], [0, 2]], [1.0, np.nan])


# --- scikit-learn


def test_cross_validation(rng):
    data = make_pairwise_comparisons(12, 300, outlier_fraction=0.2, n_annotators=10, random_state=0)
    ranker = RobustPairwiseRanker(items=12)
    grid = {"contamination": [0.1, "auto"], "penalty": ["l1", "hard"]}
    search = GridSearchCV(ranker, grid, cv=KFold(3), error_score="raise").fit(data.X, data.y)
    assert search.best_score_ > 0.65
    groups = cross_val_score(ranker, data.X, data.y, groups=data.annotators, cv=GroupKFold(5), error_score="raise")
    assert groups.shape == (5,) and np.all(groups > 0.5)
    tau = cross_val_score(ranker, data.X, data.y, scoring=kendall_tau_scorer(data.scores))
    assert np.all(tau > 0.8)
    by_item = cross_val_score(ranker, data.X, data.y, scoring=kendall_tau_scorer(dict(enumerate(data.scores))))
    np.testing.assert_array_equal(tau, by_item)
    accuracy = cross_val_score(ranker, data.X, data.y, scoring=pairwise_accuracy_scorer)
    np.testing.assert_allclose(accuracy, cross_val_score(ranker, data.X, data.y))
    assert cross_val_predict(ranker, data.X, data.y).shape == (300,)
    with pytest.raises(ValueError, match="known_scores"):
        kendall_tau_scorer(np.ones(3))(ranker.fit(data.X, data.y))
    pickle.loads(pickle.dumps(kendall_tau_scorer(data.scores)))


def test_folds_that_miss_items(rng):
    X, y = random_comparisons(rng, 40, 10)
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        scores = cross_val_score(RobustPairwiseRanker(items=12), X, y, cv=KFold(3), error_score="raise")
    assert np.all(np.isfinite(scores)) and any(
        "have no score" in str(w.message) or "NaN" in str(w.message) for w in record
    )


@pytest.mark.parametrize("routing", [False, True])
def test_annotators_are_fit_parameters(routing):
    data = make_pairwise_comparisons(8, 400, n_annotators=8, careless_annotators=0.25, random_state=0)
    ranker = RobustPairwiseRanker(items=8, annotator_effects="group")
    with sklearn.config_context(enable_metadata_routing=routing):
        if routing:
            with pytest.raises(ValueError, match="annotators"):  # asked for, neither granted nor refused
                cross_val_score(ranker, data.X, data.y, params={"annotators": data.annotators}, error_score="raise")
            ranker = ranker.set_fit_request(annotators=True, sample_weight=True).set_score_request(sample_weight=True)
            params = {"annotators": data.annotators, "sample_weight": np.ones(400)}
        else:
            params = {"annotators": data.annotators}
        scores = cross_val_score(ranker, data.X, data.y, params=params, error_score="raise")
        assert np.all(scores > 0.6)
        search = GridSearchCV(ranker, {"contamination": [0.1, "auto"]}, error_score="raise")
        search.fit(data.X, data.y, **params)
        assert len(search.best_estimator_.annotators_) == 8


# of scikit-learn's checks those that do not fit a matrix of random numbers: rows here are pairs of items
CHECKS = [
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_parameters_default_constructible",
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_mixin_order",
    "check_param_validation",
]


@pytest.mark.parametrize("name", [name for name in CHECKS if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("estimator", [RobustPairwiseRanker(), RobustPairwiseRanker(0.5, items=3)], ids=str)
def test_estimator_checks(name, estimator):
    if name == "check_parameters_default_constructible":
        estimator = RobustPairwiseRanker()
    check = getattr(estimator_checks, name)
    check("RobustPairwiseRanker", estimator)


OPTIONS = [{}, dict(alpha=0.5), dict(contamination=0.1, penalty="hard"), dict(fit_position_bias=True, items=10)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_the_other_checks_ask_for(rng, options):
    X, y = random_comparisons(rng)
    w = rng.uniform(0.5, 2, len(y))
    X.setflags(write=False)
    y.setflags(write=False)
    w.setflags(write=False)
    ranker = RobustPairwiseRanker(**options)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        ranker.predict(X)
    params = ranker.get_params()
    assert ranker.fit(X, y, sample_weight=w) is ranker
    assert ranker.get_params() == params
    assert ranker.n_features_in_ == 2 and not hasattr(ranker, "feature_names_in_")
    again = clone(ranker)
    assert not hasattr(again, "scores_")
    before = ranker.__dict__.copy()
    predicted = ranker.predict(X)
    assert ranker.__dict__ == before and predicted.shape == (200,)
    np.testing.assert_array_equal(again.fit(X, y, sample_weight=w).scores_, ranker.scores_)  # idempotent, deterministic
    np.testing.assert_array_equal(ranker.fit(X, y, sample_weight=w).scores_, again.scores_)
    loaded = pickle.loads(pickle.dumps(ranker))
    np.testing.assert_array_equal(loaded.predict(X), predicted)
    np.testing.assert_array_equal(loaded.confidence_interval(), ranker.confidence_interval())
    np.testing.assert_array_equal(np.concatenate([ranker.predict(X[k : k + 1]) for k in range(9)]), predicted[:9])
    single = RobustPairwiseRanker(**options).fit(X, y.astype(np.float32), sample_weight=w)
    np.testing.assert_allclose(single.scores_, ranker.scores_, atol=1e-3)
    with pytest.raises(ValueError, match="two columns"):
        ranker.predict(np.column_stack([X, X[:, 0]]))
    assert ranker.comparison_outlier_score_.shape == ranker.outlier_mask_.shape == (200,)


# --- bad input


BAD = {
    "an item with itself": (dict(X=[[0, 1], [2, 2]], y=[1, 1]), "itself.*row 1"),
    "negative id": (dict(X=[[0, 1], [-1, 2]], y=[1, 1]), "integers >= 0.*-1.*row 1"),
    "out of range": (dict(X=[[0, 1], [5, 2]], y=[1, 1], items=4), "0 to 3.*5.*row 1"),
    "negative and a number of items": (dict(X=[[0, 1], [-1, 2]], y=[1, 1], items=4), "0 to 3.*-1"),
    "unknown label": (dict(X=[["a", "b"], ["c", "b"]], y=[1, 1], items=["a", "b"]), "'a', 'b'.*'c'"),
    "three columns": (dict(X=[[0, 1, 2]], y=[1]), "two columns.*3"),
    "one column": (dict(X=[[0], [1]], y=[1, 1]), "two columns.*1"),
    "one dimension": (dict(X=[0, 1], y=[1, 1]), "two columns"),
    "no comparison": (dict(X=np.empty((0, 2), int), y=[]), "(at least one comparison|0 sample)"),
    "fraction": (dict(X=[[0, 1.5]], y=[1]), "1.5"),
    "missing item": (dict(X=[["a", None]], y=[1]), "missing"),
    "NaN item": (dict(X=[[0, np.nan]], y=[1]), "missing"),
    "sparse X": (dict(X=sparse.csr_array(np.eye(2)), y=[1, 1]), "sparse"),
    "unhashable": (dict(X=[[[1], "a"]], y=[1]), "hashable"),
    "NaN margin": (dict(X=[[0, 1]], y=[np.nan]), "y.*NaN"),
    "infinite margin": (dict(X=[[0, 1]], y=[np.inf]), "y.*inf"),
    "lengths": (dict(X=[[0, 1]], y=[1, 2]), "inconsistent"),
    "two margins": (dict(X=[[0, 1]], y=[[1, 2]]), "one margin"),
    "negative weight": (dict(X=[[0, 1]], y=[1], sample_weight=[-1]), "(?i)negative"),
    "no weight": (dict(X=[[0, 1]], y=[1], sample_weight=[0]), "(?i)sample.weight"),
    "items twice": (dict(X=[[0, 1]], y=[1], items=[0, 1, 1]), "items.*once.*1"),
    "items zero": (dict(X=[[0, 1]], y=[1], items=0), "items.*0"),
    "items a string": (dict(X=[["a", "b"]], y=[1], items="ab"), "items.*'ab'"),
    "features of too few": (dict(X=[[0, 1]], y=[1], items=2, item_features=[[1.0]]), "1 rows for 2 items"),
    "features NaN": (dict(X=[[0, 1]], y=[1], item_features=[[1.0], [np.nan]]), "item_features.*NaN"),
    "constant features": (dict(X=[[0, 1]], y=[1], item_features=[[2.0], [2.0]]), "item_features.*differs"),
    "constant sparse features": (
        dict(X=[[0, 1]], y=[1], item_features=sparse.csr_array(np.ones((2, 1)))),
        "item_features.*differs",
    ),
    "truth values for margins": (dict(X=[[0, 1], [1, 2]], y=[True, False]), "y must.*-1.*bool"),
    "infinite item": (dict(X=[[0.0, np.inf]], y=[1], items=3), "X must.*infinite"),
    "features and ids": (dict(X=[[0, 2]], y=[1], item_features=[[1.0], [2.0]]), "0 to 1.*2"),
    "annotators missing": (dict(X=[[0, 1]], y=[1], annotator_effects="group"), "annotators.*None"),
    "annotators too few": (dict(X=[[0, 1], [1, 0]], y=[1, 1], annotators=["a"]), "annotators.*2"),
    "annotator NaN": (dict(X=[[0, 1], [1, 0]], y=[1, 1], annotators=["a", None]), "annotators.*missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(case):
    options, match = BAD[case]
    options = dict(options)
    X, y = options.pop("X"), options.pop("y")
    fit = {k: options.pop(k) for k in ("sample_weight", "annotators") if k in options}
    with pytest.raises(ValueError, match=f"(?s){match}"):
        RobustPairwiseRanker(**options).fit(X, y, **fit)
    with pytest.raises(ValueError, match=f"(?s){match}"):
        pairwise_outlier_path(X, y, **options, **fit)


@pytest.mark.parametrize(
    "params, match",
    [
        (dict(contamination=0.6), "contamination.*0.6"),
        (dict(contamination=-0.1), "contamination.*-0.1"),
        (dict(contamination="half"), "contamination.*auto.*half"),
        (dict(contamination=np.nan), "contamination"),
        (dict(alpha=0.0), "alpha.*0.0"),
        (dict(alpha=-1.0), "alpha"),
        (dict(alpha=np.nan), "alpha"),
        (dict(alpha=1.0, contamination=0.1), "alpha.*contamination.*0.1"),
        (dict(penalty="l2"), "penalty.*l1.*l2"),
        (dict(annotator_effects="single"), "annotator_effects"),
        (dict(handle_unknown="drop"), "handle_unknown"),
        (dict(tie_threshold=-1), "tie_threshold"),
        (dict(fit_position_bias="yes"), "fit_position_bias"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=f"(?s){match}"):
        RobustPairwiseRanker(**params).fit([[0, 1], [1, 2]], [1.0, 2.0])


def test_bad_levels_and_alphas():
    ranker = RobustPairwiseRanker().fit([[0, 1], [1, 2]], [1.0, 2.0])
    for level in (0, 1, 95, "95 %", np.nan):
        with pytest.raises(ValueError, match="level"):
            ranker.confidence_interval(level)
    for alphas in ([0.0, 1.0], [[1.0]], []):
        with pytest.raises(ValueError, match="alphas"):
            pairwise_outlier_path([[0, 1], [1, 2]], [1.0, 2.0], alphas=alphas)


def test_pruning_that_splits_the_graph_warns():
    X, y = [[0, 1], [0, 1], [0, 1], [1, 2], [2, 3], [3, 1]], [1.0, 1.0, 1.0, 5.0, 0.0, 0.0]
    with pytest.warns(UserWarning, match="splits the graph"):
        RobustPairwiseRanker(0.4, penalty="hard").fit(X, y)


# --- scale: nothing of the size of comparisons squared, graphs beyond dense matrices


def test_many_comparisons_take_little_memory():
    import tracemalloc

    data = make_pairwise_comparisons(50, 40_000, outlier_fraction=0.2, random_state=0)
    tracemalloc.start()
    path = pairwise_outlier_path(data.X, data.y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 * 40_000
    assert auc(path.entry_alpha, data.outlier_mask) > 0.85


@pytest.mark.parametrize("graph", ["chain", "random"])
def test_more_items_than_a_dense_matrix_takes(rng, graph):
    n = 1510
    s = np.cumsum(rng.normal(size=n)) if graph == "chain" else rng.normal(size=n)
    if graph == "chain":
        first = np.repeat(np.arange(n - 2), 4)
        second = first + rng.integers(1, 3, len(first))
        first, second = np.append(first, n - 2), np.append(second, n - 1)
    else:
        first = np.append(np.arange(n), rng.integers(n, size=4 * n))
        second = np.append((np.arange(n) + 1) % n, rng.integers(n, size=4 * n))
        first, second = first[first != second], second[first != second]
    y = s[first] - s[second] + 0.1 * rng.normal(size=len(first))
    y[::20] += 5
    X = np.column_stack([first, second])
    path = pairwise_outlier_path(X, y, items=n, alphas=[1.0], tol=0.5)
    psi = np.clip(y - path.scores[first, 0] + path.scores[second, 0], -1, 1)
    pull = np.bincount(first, psi, n) - np.bincount(second, psi, n)
    assert np.abs(pull).max() < 1e-6
    assert path.dual_gaps[0] < 1e-9
