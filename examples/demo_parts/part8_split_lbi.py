"""Split-LBI: jumps of a signal, tiers of a tournament, and a path that is stopped in time."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from skspar import CVPathDisplay, GroupLassoCV, RegularizationPathDisplay, SplitLBICV, split_lbi_path

from . import COLOURS, GREY

TITLE = "where does a signal jump, which players are equal, and when is a path best stopped?"

LEVELS = [0.0, 3.0, 1.0, -2.0, 0.0, 2.0]
CV = KFold(10, shuffle=True, random_state=0)


def run(folder):
    return [
        jumps(folder / "split_lbi_jumps.png"),
        tiers(folder / "split_lbi_tiers.png"),
        early(folder / "split_lbi_cv.png"),
    ]


def jumps(file):
    """A piecewise-constant signal: Split-LBI on differences beside the fused Lasso."""
    rng = np.random.default_rng(0)
    truth = np.repeat(LEVELS, 50)
    n = len(truth)
    y = truth + 0.5 * rng.normal(size=n)
    # the fused Lasso is the Lasso on steps
    steps = np.tril(np.ones((n, n)))[:, 1:]
    fused = GroupLassoCV(cv=CV, alphas=60).fit(steps, y)
    X = sparse.eye_array(n, format="csr") * np.sqrt(n)
    path = split_lbi_path(X, np.sqrt(n) * y, D="fused", fit_intercept=False, nu=0.1)
    # as many jumps as there are
    at = np.flatnonzero((path.gammas != 0).sum(axis=0) <= len(LEVELS) - 1)[-1]
    ours, theirs = path.coefs_sparse[:, at], fused.predict(steps)
    found = np.flatnonzero(path.gammas[:, at]) + 1
    print(f"jumps at {[int(j) for j in np.flatnonzero(np.diff(truth)) + 1]}; Split-LBI has {found.tolist()}")
    print(f"the fused Lasso, penalty cross-validated, has {np.count_nonzero(fused.coef_)} jumps")
    for name, fit in [("Split-LBI", ours), ("fused Lasso", theirs)]:
        print(f"  {name}: root mean squared error {np.sqrt(np.mean((fit - truth) ** 2)):.3f}")

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 6.4), height_ratios=[3, 2])
    top.plot(y, ".", color=GREY, ms=3, label="observed")
    top.plot(truth, color="black", lw=1, label="true signal")
    top.plot(theirs, color=COLOURS[1], lw=1.5, ls="--", label=f"fused Lasso, {np.count_nonzero(fused.coef_)} jumps")
    top.plot(ours, color=COLOURS[0], lw=2, label=f"Split-LBI, {len(found)} jumps")
    top.set(title="Split-LBI's levels are not shrunk towards each other", xlabel="position", ylabel="value")
    top.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    names = np.array([f"{j + 1}" for j in range(n - 1)])
    RegularizationPathDisplay.from_path(
        path, kind="gammas", names=names, ax=bottom, max_labels=len(LEVELS) - 1, selected=path.times[at]
    )
    bottom.set(title="", ylabel="jump", xlabel="time")
    bottom.get_legend().set_title("position of the jump")
    return save(figure, file)


def tiers(file):
    """Scores of players from noisy games; D takes the differences of those who met."""
    rng = np.random.default_rng(1)
    tier = np.repeat([0, 1, 2], [8, 10, 6])
    truth = np.array([2.0, 0.0, -1.5])[tier]
    p = len(tier)
    games = np.array([(i, j) for i in range(p) for j in range(i) if rng.random() < 0.6])
    rows = np.repeat(games, 2, axis=0)
    X = np.zeros((len(rows), p))
    X[np.arange(len(rows)), rows[:, 0]] = 1.0
    X[np.arange(len(rows)), rows[:, 1]] = -1.0
    y = X @ truth + rng.normal(size=len(rows))
    # games have no order: no intercept; of the scores only differences matter
    path = split_lbi_path(np.sqrt(p) * X, np.sqrt(p) * y, D=games, fit_intercept=False, nu=1.0, t_ratio=30)
    levels = [len(np.unique(b.round(8))) for b in path.coefs_sparse.T]
    at = max(k for k, count in enumerate(levels) if count <= 3)
    groups = np.unique(path.coefs_sparse[:, at].round(8), return_inverse=True)[1]
    same = (groups[:, None] == groups) == (tier[:, None] == tier)
    print(
        f"\n{len(rows)} games of {p} players in three tiers. Time {path.times[at]:.3g}: there are {levels[at]} groups,"
    )
    print(f"which agree with the tiers on {same[np.triu_indices(p, 1)].mean():.0%} of all pairs of players")

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4), width_ratios=[3, 2])
    for k, b in enumerate(path.coefs_sparse):
        style = dict(color=COLOURS[tier[k]], lw=1.2)
        left.semilogx(path.times, b, label=f"true tier {tier[k] + 1}" if k in (0, 8, 18) else None, **style)
    left.axvline(path.times[at], color="black", ls=":", lw=1)
    left.set(xlabel="time", ylabel="score", xlim=(path.times[0], path.times[-1]))
    left.set_title("Tiers separate one by one, players later")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter(NullFormatter())
    left.legend()
    for value in np.unique(truth):
        right.axhline(value, color=GREY, lw=1, zorder=0)
    raw = np.linalg.lstsq(X, y, rcond=None)[0]
    right.plot(raw - raw.mean() + truth.mean(), "o", mfc="none", color=GREY, label="least squares")
    ours = path.coefs_sparse[:, at]
    right.scatter(
        np.arange(p), ours - ours.mean() + truth.mean(), c=[COLOURS[k] for k in tier], s=25, label="Split-LBI"
    )
    right.set(xlabel="player", title="At the dotted time (lines: truth)")
    # between two tiers, or else it lies on a line
    right.legend(loc="upper right", bbox_to_anchor=(1.0, 0.8))
    return save(figure, file)


def early(file):
    """Ten measurements of diabetes patients among thirty of noise: the path, and the held-out error along it."""
    data = load_diabetes(as_frame=True)
    rng = np.random.default_rng(0)
    X = data.data.assign(**{f"noise {k + 1}": rng.normal(size=len(data.data)) for k in range(30)})
    X = StandardScaler().set_output(transform="pandas").fit_transform(X)
    y = data.target
    chosen = SplitLBICV(None, cv=CV).fit(X, y)
    sparser = SplitLBICV(None, cv=CV, selection_rule="1se").fit(X, y)
    for rule, model in [('"min"', chosen), ('"1se"', sparser)]:
        kept = X.columns[model.coef_ != 0]
        print(f"\n{rule} rule, time {model.t_:.3g}: {len(kept)} features, {sum(kept.str.startswith('noise'))} of noise")
        print(f"  {', '.join(kept)}")

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 6.4), sharex=True)
    RegularizationPathDisplay.from_estimator(chosen, ax=top, max_labels=8)
    top.set_xlabel("")
    top.set_title("Diabetes and thirty features of noise: the path")
    CVPathDisplay.from_estimator(chosen, ax=bottom)
    train = [np.mean((y - chosen.predict(X, t)) ** 2) for t in chosen.times_]
    bottom.plot(chosen.times_, train, color="black", lw=1.5, ls=":", label="training rows")
    bottom.set_title("Stopped in time: held-out error along the path")
    bottom.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, file)


def save(figure, file):
    figure.savefig(file)
    plt.close(figure)
    return file
