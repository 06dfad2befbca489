"""A synthetic arena: 60 models, 120 voters of whom some do not look, 9,000 votes with ties."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import kendalltau

from skspar import RobustPairwiseRanker, pairwise_outlier_path
from skspar.datasets import make_pairwise_comparisons

from . import COLOURS, GREY

TITLE = "who is best in an arena where 15 % of the voters do not look, and who are they?"

N_MODELS, N_VOTERS, N_VOTES = 60, 120, 9_000
# a duel of few models, whose path can be looked at vote by vote
DUEL = dict(n_items=10, n_comparisons=300, outlier_fraction=0.12, noise=0.25, random_state=3)


def run(folder):
    data = make_pairwise_comparisons(
        N_MODELS, N_VOTES, response="vote", ties=0.05, outlier_fraction=0.0, n_annotators=N_VOTERS,
        careless_annotators=0.15, random_state=0,
    )  # fmt: skip
    models = np.array([f"model {k:02d}" for k in range(N_MODELS)])
    votes = models[data.X]
    rankers = {
        "least squares": RobustPairwiseRanker(np.inf, items=models),
        "robust": RobustPairwiseRanker(items=models),
        "robust, whole voters": RobustPairwiseRanker(items=models, annotator_effects="group"),
    }
    careless = data.careless
    print(f"{N_VOTES:,} votes, {(data.y == 0).sum()} of them ties; {careless.sum()} of {N_VOTERS} voters do not look.")
    print(f"\n{'':22}{'Kendall tau':>12}{'left out':>10}{'careless voters found':>24}")
    for name, ranker in rankers.items():
        ranker.fit(votes, data.y, annotators=data.annotators)
        tau = kendalltau(ranker.scores_, data.scores)[0]
        worst = np.argsort(-ranker.annotator_outlier_score_)[: careless.sum()]
        found = f"{careless[worst].sum()} among the worst {careless.sum()}"
        print(f"{name:22}{tau:>12.3f}{ranker.contamination_:>10.1%}{found:>24}")
    best = rankers["robust, whole voters"]
    print(f"\nThe first five: {', '.join(best.ranking_[:5])}")
    print(f"Cyclicity ratio of the votes: {best.cyclicity_ratio_:.2f}")
    return [
        draw_ranking(folder / "ranking_scores.png", rankers, data.scores),
        draw_voters(folder / "ranking_voters.png", best, careless),
        draw_path(folder / "ranking_path.png"),
    ]


def draw_ranking(file, rankers, truth):
    """Scores with 95 % intervals, in the true order."""
    order = np.argsort(-truth)
    places = np.arange(len(order))
    figure, rows = plt.subplots(2, 1, figsize=(9, 6.4), sharex=True, sharey=True)
    for axes, name, colour in zip(rows, ["least squares", "robust, whole voters"], [GREY, COLOURS[0]]):
        ranker = rankers[name]
        low, high = ranker.confidence_interval(0.95)[order].T
        axes.vlines(places, low, high, color=colour, lw=2)
        axes.plot(places, ranker.scores_[order], "o", color=colour, ms=4)
        tau = kendalltau(ranker.scores_, truth)[0]
        axes.set_title(f"{name}: Kendall's tau with the truth {tau:.3f}")
        axes.axhline(0, color="black", lw=0.6)
        axes.set_ylabel("score, 95 % interval")
    rows[1].set(xlabel="models, from the truly best to the truly worst", xticks=places[::5])
    rows[1].set_xticklabels([f"{k + 1}" for k in places[::5]])
    return save(figure, file)


def draw_voters(file, ranker, careless):
    """First entry of every voter."""
    order = np.argsort(-ranker.annotator_outlier_score_)
    score = ranker.annotator_outlier_score_[order]
    places = np.arange(len(order))
    figure, axes = plt.subplots(figsize=(9, 3.6))
    for marked, colour, label in [(careless[order], COLOURS[1], "does not look"), (~careless[order], GREY, "looks")]:
        axes.vlines(places[marked], 0, score[marked], color=colour, lw=3, label=label)
    axes.axhline(ranker.alpha_, color="black", ls="--", lw=1)
    axes.annotate("left out above", (len(order) - 1, ranker.alpha_), ha="right", va="bottom")
    axes.set(
        xlabel="voters, worst first",
        ylabel="alpha of first entry",
        ylim=(0.9 * score.min(), None),
        xlim=(-1, len(order)),
    )
    axes.set_title("Who votes badly: the penalty at which all of a voter's votes are set aside")
    axes.legend(loc="upper right")
    return save(figure, file)


def draw_path(file):
    """gamma of every comparison as the penalty falls."""
    data = make_pairwise_comparisons(**DUEL)
    path = pairwise_outlier_path(data.X, data.y, alphas=200, return_outliers=True)
    ranker = RobustPairwiseRanker().fit(data.X, data.y)
    figure, axes = plt.subplots(figsize=(9, 4.6))
    shown = path.alphas > 0.05 * path.alphas[0]
    for wrong, colour, lw, label in [(False, GREY, 0.7, "as meant"), (True, COLOURS[1], 1.3, "flipped")]:
        lines = path.outliers[data.outlier_mask == wrong][:, shown].T
        axes.semilogx(path.alphas[shown], lines, color=colour, lw=lw, label=[label] + [None] * (lines.shape[1] - 1))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(ranker.alpha_, color="black", ls="--", lw=1)
    axes.annotate(
        "contamination='auto'", (ranker.alpha_, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom"
    )
    axes.set_xlim(path.alphas[0], path.alphas[shown][-1])
    axes.set(xlabel="penalty alpha, from strong to weak", ylabel="outlier part of the margin, gamma")
    axes.set_title("300 margins between ten models: what is flipped leaves first", pad=18)
    axes.legend(loc="upper left")
    return save(figure, file)


def save(figure, file):
    figure.savefig(file)
    plt.close(figure)
    return file
