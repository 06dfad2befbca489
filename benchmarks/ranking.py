"""Robust ranking: outlier detection, rankings, intervals and annotators against their truth; time beside the peers'."""

import time
import tracemalloc
import warnings

import numpy as np
from scipy.stats import kendalltau, norm, rankdata

TITLE = "Ranking from pairwise comparisons"
TEXT = (
    "Means over seeded runs, with standard errors. The first table is the published simulation (Xu et al. 2013): 16 "
    "items in random total order, 1,000 random pairs, each sign flipped with probability OP. 'Majority' gives each "
    "pair to whoever won it more often and counts the pairs won; 'share won' counts the votes won; Bradley-Terry is "
    "choix (`ilsr_pairwise`, alpha = 0.01)."
)
PUBLISHED = {0.05: 0.999, 0.2: 0.996, 0.3: 0.983, 0.4: 0.903, 0.45: 0.782, 0.5: 0.503}
EXACT_COUNT = {0.2: 0.997, 0.3: 0.987, 0.4: 0.915, 0.45: 0.792, 0.5: 0.494}


def auc(score, truth):
    """Area under the ROC curve; ties count half."""
    ranks = rankdata(score)
    n = truth.sum()
    if n in (0, len(truth)):
        return np.nan
    return (ranks[truth].sum() - n * (n + 1) / 2) / (n * (len(truth) - n))


def shown(values, digits=4):
    values = np.asarray(values)
    return f"{values.mean():.{digits}f} ({values.std(ddof=1) / np.sqrt(len(values)):.{digits}f})"


def flipped_order(op, seed, exact=False, n_items=16, n_comparisons=1000):
    """The published simulation: signs of a random total order, flipped."""
    rng = np.random.default_rng(seed)
    place = rng.permutation(n_items)
    first = rng.integers(n_items, size=n_comparisons)
    second = (first + 1 + rng.integers(n_items - 1, size=n_comparisons)) % n_items
    flipped = rng.random(n_comparisons) < op
    if exact:
        flipped = np.zeros(n_comparisons, dtype=bool)
        flipped[rng.permutation(n_comparisons)[: round(op * n_comparisons)]] = True
    y = np.sign(place[first] - place[second]) * np.where(flipped, -1.0, 1.0)
    return np.column_stack([first, second]), y, flipped, place


def published(runs):
    from skspar import RobustPairwiseRanker

    for op, theirs in PUBLISHED.items():
        entry, residual, exact = [], [], []
        for seed in range(runs):
            X, y, flipped, _ = flipped_order(op, seed)
            ranker = RobustPairwiseRanker(alpha=np.inf).fit(X, y)
            entry.append(auc(ranker.comparison_outlier_score_, flipped))
            residual.append(auc(np.abs(y - ranker.decision_function(X)), flipped))
            X, y, flipped, _ = flipped_order(op, seed, exact=True)
            exact.append(auc(RobustPairwiseRanker(alpha=np.inf).fit(X, y).comparison_outlier_score_, flipped))
        gain = np.subtract(entry, residual)
        in_errors = gain.mean() / (gain.std(ddof=1) / np.sqrt(runs))
        row = f"{op:.0%}", theirs, shown(entry), EXACT_COUNT.get(op), shown(exact), shown(residual)
        yield *row, f"{gain.mean():+.4f}, {in_errors:+.1f} standard errors"


# Rankings


def bradley_terry(X, y, n_items):
    import choix

    won = np.where((y > 0)[:, None], X, X[:, ::-1])[y != 0]
    return choix.ilsr_pairwise(n_items, won.tolist(), alpha=0.01, max_iter=1000)


def majority(X, y, n_items):
    wins = np.zeros((n_items, n_items))
    np.add.at(wins, (X[:, 0], X[:, 1]), np.sign(y))
    return np.sign(wins - wins.T).sum(axis=1)


def share_won(X, y, n_items):
    won = np.bincount(X[:, 0], np.sign(y), n_items) - np.bincount(X[:, 1], np.sign(y), n_items)
    return won / np.maximum(np.bincount(X.ravel(), minlength=n_items), 1)


def least_squares(X, y, n_items):
    from skspar import RobustPairwiseRanker

    return RobustPairwiseRanker(alpha=np.inf, items=n_items).fit(X, y).scores_


def robust(X, y, n_items):
    from skspar import RobustPairwiseRanker

    return RobustPairwiseRanker(items=n_items).fit(X, y).scores_


METHODS = {
    "ours, auto": robust,
    "least squares": least_squares,
    "Bradley-Terry": bradley_terry,
    "majority": majority,
    "share won": share_won,
}
RANKINGS = {
    "margins": dict(n_items=16, response="margin"),
    "votes, noise 0.5": dict(n_items=16, response="vote"),
    "votes, total order": dict(n_items=16, response="vote", scores="order", noise=0.0),
    "votes, 40 items": dict(n_items=40, response="vote"),
}


def rankings(runs, kinds=("flip", "malicious")):
    from skspar.datasets import make_pairwise_comparisons

    for name, options in RANKINGS.items():
        for kind in kinds:
            for rate in (0.0, 0.1, 0.2, 0.3, 0.4):
                if rate == 0.0 and kind != "flip":
                    continue
                taus = {method: [] for method in METHODS}
                for seed in range(runs):
                    data = make_pairwise_comparisons(
                        n_comparisons=1000, outlier_fraction=rate, outlier_type=kind, random_state=seed, **options
                    )
                    for method, function in METHODS.items():
                        try:
                            scores = function(data.X, data.y, options["n_items"])
                        except ImportError:
                            scores = np.full(options["n_items"], np.nan)
                        taus[method].append(kendalltau(scores, data.scores)[0])
                ours = np.array(taus["ours, auto"])
                others = [shown(taus[m], 3) for m in METHODS if m != "ours, auto"]
                gains = [ours - taus[m] for m in ("least squares", "Bradley-Terry", "majority")]
                errors = [g.mean() / max(g.std(ddof=1) / np.sqrt(runs), 1e-12) for g in gains]
                listed = ", ".join(f"{e:+.1f}" for e in errors)
                yield name, kind if rate else "clean", f"{rate:.0%}", shown(ours, 3), *others, listed


def features(runs):
    from skspar import RobustPairwiseRanker
    from skspar.datasets import make_pairwise_comparisons

    for n_comparisons in (60, 120, 300, 1000, 5000):
        taus = {"with": [], "without": []}
        for seed in range(runs):
            data = make_pairwise_comparisons(60, n_comparisons, outlier_fraction=0.1, n_features=5, random_state=seed)
            for name, F in [("with", data.item_features), ("without", None)]:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    ranker = RobustPairwiseRanker(items=60, item_features=F).fit(data.X, data.y)
                taus[name].append(kendalltau(np.nan_to_num(ranker.scores_), data.scores)[0])
        yield f"{n_comparisons:,}", shown(taus["with"], 3), shown(taus["without"], 3)


# Intervals and annotators


def coverage(runs):
    from skspar import RobustPairwiseRanker
    from skspar.datasets import make_pairwise_comparisons

    settings = [(16, 1000, 0.5), (16, 1000, 0.3), (16, 1000, 1.0), (30, 400, 0.5), (16, 5000, 0.5), (60, 9000, 0.5)]
    settings = [(*setting, "margin") for setting in settings]
    settings += [(16, 1000, 0.5, "vote"), (16, 400, 0.5, "vote"), (40, 1000, 0.5, "vote")]
    for n_items, n_comparisons, noise, response in settings:
        row = []
        for rate in (0.0, 0.1, 0.2):
            hits, shares = [], []
            for seed in range(runs):
                data = make_pairwise_comparisons(
                    n_items, n_comparisons, outlier_fraction=rate, noise=noise, response=response, random_state=seed
                )
                target = data.scores
                if response == "vote":
                    # least squares on the expected votes of all pairs
                    lead = (target[:, None] - target) / noise
                    target = (2.0 * norm.cdf(lead) - 1.0).mean(axis=1)
                ranker = RobustPairwiseRanker(items=n_items).fit(data.X, data.y)
                low, high = ranker.confidence_interval(0.95).T
                hits.append(np.mean((low <= target) & (target <= high)))
                shares.append(ranker.contamination_)
            row += [shown(hits, 3), f"{np.mean(shares):.3f}"]
        yield f"{n_items} items, {n_comparisons:,} {response}s, noise {noise:g}", *row


def annotators(runs):
    from skspar import RobustPairwiseRanker
    from skspar.datasets import make_pairwise_comparisons

    for votes in (2000, 4000, 9000):
        found = {"group": [], "mean of entries": [], "group, most zealous": []}
        for seed in range(runs):
            data = make_pairwise_comparisons(
                30, votes, response="vote", outlier_fraction=0.0, n_annotators=100, careless_annotators=0.2,
                random_state=seed,
            )  # fmt: skip
            group = RobustPairwiseRanker(annotator_effects="group").fit(data.X, data.y, annotators=data.annotators)
            single = RobustPairwiseRanker().fit(data.X, data.y, annotators=data.annotators)
            careless = data.careless[group.annotators_]
            found["group"].append(auc(group.annotator_outlier_score_, careless))
            found["mean of entries"].append(auc(single.annotator_outlier_score_, careless))
        yield f"{votes:,}", shown(found["group"]), shown(found["mean of entries"])


# Speed


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def peak_megabytes(function, *arguments):
    """What NumPy allocates beyond its arguments."""
    tracemalloc.start()
    function(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def accuracy(seeds):
    """First entries beside those of the exact homotopy, which the tests have."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from _ranking_oracles import design, homotopy

    from skspar import pairwise_outlier_path
    from skspar.datasets import make_pairwise_comparisons

    for seed in range(seeds):
        data = make_pairwise_comparisons(50, 5000, outlier_fraction=0.2, random_state=seed)
        exact, reached = homotopy(design(data.X[:, 0], data.X[:, 1], 50), data.y)
        known = exact > reached
        entry = pairwise_outlier_path(data.X, data.y).entry_alpha
        error = np.abs(entry - exact)[known] / exact[known]
        yield seed, f"{known.mean():.1%}", float(error.max()), float(np.median(error))


def evalica_bradley_terry(X, y):
    import evalica

    winners = [evalica.Winner.X if value > 0 else evalica.Winner.Y if value < 0 else evalica.Winner.Draw for value in y]
    return evalica.bradley_terry(X[:, 0].tolist(), X[:, 1].tolist(), winners)


def speed(quick):
    from skspar import RobustPairwiseRanker, pairwise_outlier_path
    from skspar.datasets import make_pairwise_comparisons

    for n_items, n_comparisons in [(100, 10_000), (1000, 100_000)] + ([] if quick else [(1000, 1_000_000)]):
        data = make_pairwise_comparisons(n_items, n_comparisons, outlier_fraction=0.2, random_state=0)
        name = f"{n_comparisons:,} real margins, {n_items:,} items"
        yield name, "first entries", *_row(lambda X, y: pairwise_outlier_path(X, y), data.X, data.y)
        yield name, "fit, auto", *_row(lambda X, y: RobustPairwiseRanker().fit(X, y), data.X, data.y)
    for n_items, n_comparisons in [(60, 10_000), (200, 100_000)] + ([] if quick else [(200, 10_000_000)]):
        data = make_pairwise_comparisons(
            n_items, n_comparisons, outlier_fraction=0.2, response="vote", ties=0.05, random_state=0
        )
        name = f"{n_comparisons:,} votes, {n_items:,} items"
        yield name, "fit, auto", *_row(lambda X, y: RobustPairwiseRanker().fit(X, y), data.X, data.y)
        if n_comparisons > 1_000_000:
            continue
        for peer, function in [
            ("Bradley-Terry, choix", lambda X, y: bradley_terry(X, y, X.max() + 1)),
            ("Bradley-Terry, evalica", evalica_bradley_terry),
        ]:
            try:
                yield name, peer, *_row(function, data.X, data.y)
            except ImportError:
                yield name, peer, "not installed", None


def _row(function, X, y):
    seconds = min(timed(function, X, y)[0] for _ in range(1 if len(y) > 10**6 else 3))
    return seconds, f"{peak_megabytes(function, X, y):,.0f}" if len(y) <= 10**6 else None


def tables(quick, wanted):
    """Titles, headers and rows."""
    runs = 10 if quick else 100
    plan = [
        (
            "AUC of outlier detection by first entry",
            ("OP", "published (20 runs)", f"first entry ({runs} runs)", "published, exact count", "exact count",
             "absolute least-squares residual", "first entry less residual, paired"),
            lambda: published(runs),
        ),
        (
            "Kendall's tau with the true ranking, 1,000 comparisons",
            ("data", "outliers", "rate", *METHODS, "ours less least squares, B.-T., majority, in standard errors"),
            lambda: rankings(runs // 2),
        ),
        (
            "Item features: Kendall's tau, 60 items, 5 features, 10 % flipped",
            ("comparisons", "with features", "without"),
            lambda: features(runs // 2),
        ),
        (
            "Coverage of 95 % intervals, contamination='auto'",
            ("data", "clean", "left out", "10 % flipped", "left out", "20 % flipped", "left out"),
            lambda: coverage(2 * runs),
        ),
        (
            "Careless annotators: AUC, 20 of 100 (half always first, half random)",
            ("votes", "annotator_effects='group'", "mean first entry of the votes"),
            lambda: annotators(runs // 2),
        ),
        (
            "First entries beside the exact homotopy, 5,000 real margins, 50 items",
            ("seed", "entries compared (those before outliers cease to be unique)", "largest relative error", "median"),
            lambda: accuracy(1 if quick else 3),
        ),
        ("Speed", ("data", "what", "seconds", "peak MB (NumPy and Python)"), lambda: speed(quick)),
    ]  # fmt: skip
    for title, header, rows in plan:
        if wanted(title):
            yield title, header, list(rows())
