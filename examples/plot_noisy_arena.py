"""
Who is best, when some voters do not look?
==========================================

Visitors of an arena compare the answers of two language models and vote. Some of them do not look and click
anything. `RobustPairwiseRanker` sets aside the comparisons, or the voters, that contradict all others most, and ranks
by the rest.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import kendalltau

from skspar import RobustPairwiseRanker
from skspar.datasets import make_pairwise_comparisons

# %%
# 4,000 votes of 80 voters on 30 models. A quarter of the voters do not look.

data = make_pairwise_comparisons(
    30, 4_000, response="vote", ties=0.05, outlier_fraction=0.0, n_annotators=80, careless_annotators=0.25,
    random_state=1,
)  # fmt: skip
names = np.array([f"model {k:02d}" for k in range(30)])
votes = names[data.X]

rankers = {
    "least squares": RobustPairwiseRanker(np.inf, items=names),
    "robust, whole voters": RobustPairwiseRanker(items=names, annotator_effects="group"),
}
for name, ranker in rankers.items():
    ranker.fit(votes, data.y, annotators=data.annotators)
    tau = kendalltau(ranker.scores_, data.scores)[0]
    print(f"{name:22} Kendall's tau with the truth {tau:.3f}; sets {ranker.contamination_:.0%} of the votes aside")

# %%
# Who does not look? Voters enter the path the earlier, the more their votes as a whole contradict the others'. Nobody
# told the ranker who is who; the careless ones are in colour.

robust = rankers["robust, whole voters"]
order = np.argsort(-robust.annotator_outlier_score_)
score, careless = robust.annotator_outlier_score_[order], data.careless[order]
places = np.arange(len(order))
figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
ax.bar(places[careless], score[careless], color="#D55E00", hatch="///", edgecolor="white", label="does not look")
ax.bar(places[~careless], score[~careless], color="0.75", label="looks")
ax.axhline(robust.alpha_, color="black", ls="--", lw=1)
ax.annotate("set aside above", (len(order), robust.alpha_), ha="right", va="bottom")
ax.set(xlabel="voters, the most suspect first", ylabel="penalty at first entry", ylim=(0.0, None))
ax.legend(frameon=False)
first = careless[: careless.sum()]
print(f"{first.sum()} of the {len(first)} most suspect voters do not look")

# %%
# The scores with 95 % intervals, in the true order. Votes cast without looking pull all scores of least squares
# together; without them the models stand further apart, and the intervals count in that votes were set aside.

truth = np.argsort(-data.scores)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharex=True, sharey=True)
for ax, (name, ranker) in zip(axes, rankers.items()):
    low, high = ranker.confidence_interval(0.95)[truth].T
    ax.vlines(np.arange(30) + 1, low, high, color="0.6", lw=3)
    ax.plot(np.arange(30) + 1, ranker.scores_[truth], "o", color="#0072B2", ms=4)
    ax.axhline(0.0, color="black", lw=0.6)
    ax.set(title=f"{name}: tau {kendalltau(ranker.scores_, data.scores)[0]:.3f}", xlabel="models, the truly best first")
axes[0].set_ylabel("score, with 95 % interval")
plt.show()
