"""
Which players are equally strong?
=================================

Players of three tiers met each other, a few games each. Least squares gives each a score of its own and never says that
two are equal. With D the differences along the games played, Split-LBI makes differences of scores sparse: players
that stay together form a group.
"""

import matplotlib.pyplot as plt
import numpy as np

from skspar import split_lbi_path

# %%
# 24 players, three tiers, two games for each pair that met; the outcome is the difference of strengths, and luck.

rng = np.random.default_rng(1)
tier = np.repeat([0, 1, 2], [8, 10, 6])
strength = np.array([2.0, 0.0, -1.5])[tier]
p = len(tier)
pairs = np.array([(i, j) for i in range(p) for j in range(i) if rng.random() < 0.6])
games = np.repeat(pairs, 2, axis=0)
X = np.zeros((len(games), p))
X[np.arange(len(games)), games[:, 0]] = 1.0
X[np.arange(len(games)), games[:, 1]] = -1.0
outcome = X @ strength + rng.normal(size=len(games))

# %%
# A graph is given to D by its edges. Scores matter up to a constant only, so no intercept is fitted.

path = split_lbi_path(np.sqrt(p) * X, np.sqrt(p) * outcome, D=pairs, fit_intercept=False, nu=1.0, t_ratio=30)
scores = path.coefs_sparse - path.coefs_sparse.mean(axis=0)
n_groups = np.array([len(np.unique(column.round(8))) for column in scores.T])
for count in (1, 2, 3):
    shown = path.times[n_groups == count]
    if len(shown):
        print(f"{count} group{'s' * (count > 1)} from time {shown[0]:.3g} to {shown[-1]:.3g}")

# %%
# The last time of three groups, and the groups at it.

at = np.flatnonzero(n_groups == 3)[-1]
_, group = np.unique(-scores[:, at].round(8), return_inverse=True)
together, truly = group[:, None] == group, tier[:, None] == tier
upper = np.triu_indices(p, 1)
print(f"{np.mean(together[upper] == truly[upper]):.0%} of all pairs are rightly put together or apart")

# %%
# Left, the path: all scores are equal at first, then tiers split off as wholes, players later. Right, the scores at the
# dotted time beside least squares: the levels of the groups are near the true strengths (grey lines).

looks = [dict(color="#0072B2", ls="-"), dict(color="#D55E00", ls="--"), dict(color="#009E73", ls="-.")]
markers = "osD"
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
for k in range(3):
    lines = left.semilogx(path.times, scores[tier == k].T, lw=1.3, **looks[k])
    lines[0].set_label(f"players of tier {k + 1}")
left.axvline(path.times[at], color="black", ls=":", lw=1)
left.set(xlabel="time", ylabel="score")
left.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
left.minorticks_off()
left.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.62))
least_squares = np.linalg.lstsq(X, outcome, rcond=None)[0]
for level in np.unique(strength - strength.mean()):
    right.axhline(level, color="0.75", lw=1, zorder=0)
right.plot(np.arange(p), least_squares - least_squares.mean(), "x", color="0.4", label="least squares")
for k in range(3):
    members = np.flatnonzero(tier == k)
    right.plot(members, scores[members, at], markers[k], color=looks[k]["color"], label=f"Split-LBI, tier {k + 1}")
right.set(xlabel="player")
right.legend(frameon=False, fontsize="small")
plt.show()
