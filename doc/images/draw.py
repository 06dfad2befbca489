"""Draw the pictures of the user guide and the README, beside this file: python doc/images/draw.py [name ...]"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import HuberRegressor, LassoCV, LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from skspar import (
    BPDN,
    CleanLabelClassifier,
    GroupLassoCV,
    NoisyLabelDetector,
    OrthogonalMatchingPursuit,
    RobustPairwiseRanker,
    SparseOutlierRegressor,
    SplitLBICV,
    group_lasso_path,
    irrepresentability,
    preconditioned_lasso_path,
)
from skspar.datasets import make_label_noise, make_pairwise_comparisons

# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS = [BLUE, RED, GREEN, PINK, "#56B4E9", "#E69F00", "#000000"]
DASHES = ["-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), "-"]
GREY = "#8C8C8C"
STYLE = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
NAMES = {"bmi": "body mass index", "bp": "blood pressure", "s1": "cholesterol", "s2": "LDL", "s3": "HDL"}
NAMES |= {"s4": "cholesterol/HDL", "s5": "log triglycerides", "s6": "glucose"}


def group_lasso():
    """Which of ten measurements predict the progress of diabetes? The path, and the fitted curves."""
    data = load_diabetes(scaled=False, as_frame=True)
    X, y = data.data.rename(columns=NAMES), data.target
    expand = make_pipeline(SplineTransformer(n_knots=5, knots="quantile", include_bias=False), StandardScaler())
    columns = expand.set_output(transform="pandas").fit_transform(X)
    groups = [name.partition("_sp_")[0] for name in columns.columns]
    model = GroupLassoCV(groups=groups, selection_rule="1se").fit(columns, y)
    alphas, coefs, _, _ = group_lasso_path(columns, y, groups=groups, return_intercepts=True)
    shown = alphas > model.alpha_ / 8

    figure, (path, curves) = plt.subplots(1, 2, figsize=(9.5, 4.0), width_ratios=(3, 2))
    kept = sorted(model.active_groups_, key=lambda g: -np.linalg.norm(model.coef_[model.groups_[g]]))
    looks = {g: dict(color=c, ls=d, lw=2) for g, c, d in zip(kept, COLOURS, DASHES)}
    for group, index in model.groups_.items():
        norm = np.linalg.norm(coefs[index], axis=0)[shown]
        path.semilogx(alphas[shown], norm, **looks.get(group, dict(color=GREY, lw=1)), label=group)
    path.axvline(model.alpha_, color="black", lw=0.8, ls=":")
    path.annotate(" alpha_", (model.alpha_, 0.38), xycoords=("data", "axes fraction"), rotation=90)
    path.set(
        xlim=(alphas[0], alphas[shown][-1]), ylim=(0, None), xlabel="alpha", ylabel="norm of a group's coefficients"
    )
    path.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    path.xaxis.set_major_formatter("{x:g}")
    path.xaxis.set_minor_formatter(NullFormatter())
    path.set_title("Measurements enter as the penalty falls")
    handles = dict(zip(*path.get_legend_handles_labels()[::-1]))
    path.legend([handles[g] for g in kept], kept, loc="upper left", title="kept at alpha_ (others grey)")
    for group in kept[:4]:
        effect = columns.to_numpy()[:, model.groups_[group]] @ model.coef_[model.groups_[group]]
        order = np.argsort(X[group])
        rank = np.linspace(0.0, 1.0, len(order))
        curves.plot(rank, effect[order] - effect.mean(), **looks[group], label=group)
    curves.set(xlabel="patients in the order of the measurement", ylabel="effect on the progress of the disease")
    curves.set_title("The curves of the first four")
    return figure


def pursuit():
    """Spikes on waves: a signal of 12 atoms of an orthonormal cosine basis and 8 spikes, with noise."""
    rng = np.random.default_rng(1)
    n = 256
    time, frequency = np.arange(n) + 0.5, np.arange(n)
    waves = np.cos(np.pi * time[:, None] * frequency / n) * np.sqrt(2.0 / n)
    waves[:, 0] /= np.sqrt(2.0)
    X = np.hstack([waves, np.eye(n)])
    b = np.zeros(2 * n)
    b[rng.choice(60, 5, replace=False)] = rng.choice([-1, 1], 5) * rng.uniform(3, 6, 5)
    b[n + rng.choice(n, 6, replace=False)] = rng.choice([-1, 1], 6) * rng.uniform(1.5, 3, 6)
    noise = 0.1
    y = X @ b + noise * rng.normal(size=n)
    bpdn = BPDN(sigma=noise * np.sqrt(n), fit_intercept=False).fit(X, y).coef_
    omp = OrthogonalMatchingPursuit(11, fit_intercept=False).fit(X, y).coef_

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9.5, 5.0))
    top.plot(y, color=GREY, lw=1.0, label="the signal")
    top.plot(X[:, :n] @ bpdn[:n], color=BLUE, lw=1.5, label="its waves, by BPDN")
    top.set(xlim=(0, n), xlabel="time", title="Five waves and six spikes, with noise")
    top.legend(loc="upper right", ncols=2)
    true = np.flatnonzero(b)
    bottom.vlines(true, 0, b[true], color=GREY, lw=1.2)
    bottom.plot(true, b[true], "o", mfc="none", mec="black", ms=9, label="truth")
    for coef, marker, colour, label in [
        (bpdn, "x", BLUE, "BPDN(sigma)"),
        (omp, ".", RED, "OrthogonalMatchingPursuit(11)"),
    ]:
        found = np.flatnonzero(np.abs(coef) > 0.02)
        bottom.plot(found, coef[found], marker, color=colour, label=label)
    bottom.axvline(n - 0.5, color="black", lw=0.8, ls=":")
    bottom.set(xlim=(-4, 2 * n), ylabel="coefficient", xlabel="atom: 256 waves, then 256 spikes")
    bottom.set_title("Which atoms: BPDN shrinks, matching pursuit does not")
    bottom.legend(loc=(0.12, 0.65), fontsize=9)
    return figure


def outliers():
    """One feature, a fifth of the rows at a bad leverage point: three fits, and the scores of the rows."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(0, 6, 80), rng.uniform(9, 10.5, 20)])
    y = 1.0 + 0.8 * x + 0.5 * rng.normal(size=100)
    y[80:] -= 7.0
    X = x[:, None]
    model = SparseOutlierRegressor(random_state=0).fit(X, y)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
    good = ~model.outlier_mask_
    left.plot(x[good], y[good], ".", color=GREY, label="not flagged")
    left.plot(x[~good], y[~good], "x", color=RED, label="flagged (outlier_mask_)")
    ends = np.array([[0.0], [11.0]])
    fits = [(model, "SparseOutlierRegressor", BLUE, "-"), (HuberRegressor().fit(X, y), "HuberRegressor", GREEN, "--")]
    for fit, label, colour, dashes in [*fits, (LinearRegression().fit(X, y), "least squares", PINK, "-.")]:
        left.plot(ends[:, 0], fit.predict(ends), color=colour, ls=dashes, lw=2, label=label)
    left.set(xlabel="x", ylabel="y", title="Outliers far away in x pull other fits")
    left.legend(fontsize=8.5)
    rows = np.arange(100)
    right.plot(rows[good], model.outlier_score_[good], ".", color=GREY)
    right.plot(rows[~good], model.outlier_score_[~good], "x", color=RED)
    right.axhline(model.alpha_, color="black", lw=0.8, ls=":")
    right.annotate("alpha_, chosen by BIC", (0, model.alpha_ * 1.08))
    right.set(yscale="log", xlabel="row (the last twenty are wrong)", ylabel="outlier_score_")
    right.set_title("How outlying each row is, in noise scales")
    return figure


def noisy_labels():
    """Digits whose label is doubted most, among those with a tenth of wrong labels."""
    X, y = load_digits(return_X_y=True)
    noisy, is_wrong = make_label_noise(y, rate=0.1, random_state=0)
    detector = NoisyLabelDetector(random_state=0).fit(X, noisy)
    quality = detector.label_quality_
    figure = plt.figure(figsize=(9.5, 3.7))
    images, ranks = figure.subfigures(1, 2, width_ratios=(3, 2))
    for row, ax in zip(np.argsort(quality), images.subplots(2, 6).flat):
        ax.imshow(X[row].reshape(8, 8), cmap="Greys")
        ax.set_title(f"given {noisy[row]}\nnot {detector.suggested_labels_[row]}?", fontsize=8, loc="center")
        ax.set_axis_off()
    images.suptitle("The labels doubted most", x=0.02, ha="left", fontsize=11)
    ax = ranks.subplots()
    order = np.argsort(quality)[:300]
    position = np.arange(len(order))
    ax.plot(position, np.cumsum(is_wrong[order]), color=BLUE, lw=2, label="found")
    ax.plot(position, np.minimum(position + 1, is_wrong.sum()), color="black", ls=":", label="at best")
    flagged = detector.label_issues_mask_.sum()
    ax.axvline(flagged, color=RED, lw=1.2, ls="--")
    ax.annotate(f'{flagged} flagged by cut="fdr" ', (flagged, 4), rotation=90, ha="right", fontsize=8.5)
    ax.set(xlabel="labels checked, most doubtful first", ylabel="wrong labels", ylim=(0, None), xlim=(0, 300))
    ax.legend(fontsize=8.5, loc="lower right")
    return figure


def noisy_labels_training():
    """Held-out accuracy, clean test labels, as wrong labels in training become more."""
    X, y = load_breast_cancer(return_X_y=True)
    rates, scores = np.array([0.0, 0.1, 0.2, 0.3, 0.4]), {}
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    models = {
        "LogisticRegression": classifier,
        "CleanLabelClassifier(LogisticRegression())": CleanLabelClassifier(classifier),
    }
    for name, model in models.items():
        for seed in range(10):
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)
            for rate in rates:
                noisy = make_label_noise(y_train, rate=rate, random_state=seed)[0] if rate else y_train
                scores.setdefault(name, []).append(model.fit(X_train, noisy).score(X_test, y_test))
    figure, ax = plt.subplots(figsize=(6.4, 3.6))
    for (name, score), colour, marker in zip(scores.items(), (RED, BLUE), "so"):
        score = np.reshape(score, (10, len(rates)))
        error = score.std(axis=0, ddof=1) / np.sqrt(10)
        ax.errorbar(100 * rates, score.mean(axis=0), error, color=colour, marker=marker, capsize=3, label=name)
    ax.set(xlabel="wrong labels in the training data, %", ylabel="accuracy, clean held-out labels")
    ax.set_title("Breast cancer data, ten splits, with standard errors")
    ax.legend(loc="lower left")
    return figure


def ranking():
    """Margins of 16 items, a fifth with the wrong sign: least squares and the robust scores."""
    data = make_pairwise_comparisons(16, 600, outlier_fraction=0.2, random_state=3)
    robust, plain = RobustPairwiseRanker().fit(data.X, data.y), RobustPairwiseRanker(alpha=np.inf).fit(data.X, data.y)
    order = np.argsort(-data.scores)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), width_ratios=(3, 2))
    interval = robust.confidence_interval(0.95)
    place = np.arange(len(order))
    left.plot(place, (data.scores - data.scores.mean())[order], "_", color="black", ms=14, mew=2, label="truth")
    spread = np.abs(interval[order] - robust.scores_[order, None]).T
    left.errorbar(
        place - 0.12, robust.scores_[order], spread, fmt="o", color=BLUE, ms=4, lw=1, label="robust, 95 % interval"
    )
    left.plot(place + 0.15, plain.scores_[order], "s", color=RED, ms=4, label="least squares")
    left.set(xlabel="items, the best first", ylabel="score", title="Least squares pulls all items together")
    left.legend()
    entry = np.sort(robust.comparison_outlier_score_)
    wrong = data.outlier_mask
    bins = np.linspace(0, entry[-1], 40)
    score = robust.comparison_outlier_score_
    right.hist([score[~wrong], score[wrong]], bins, stacked=True, color=[GREY, RED], label=["right", "wrong sign"])
    right.axvline(robust.alpha_, color="black", lw=0.8, ls=":", label="alpha_")
    right.set(xlabel="comparison_outlier_score_", ylabel="comparisons", title="Which are left out")
    right.legend()
    return figure


def preconditioned():
    """A design on which the Lasso must fail: a column that resembles the sum of those that matter."""
    rng = np.random.default_rng(0)
    n, p = 200, 12
    X = rng.normal(size=(n, p))
    X[:, 3] = 0.55 * X[:, :3].sum(axis=1) + 0.35 * rng.normal(size=n)
    b = np.zeros(p)
    b[:3] = 2.0
    y = X @ b + 0.5 * rng.normal(size=n)
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
    plain_alphas, plain, _ = group_lasso_path(X, y, eps=1e-3)
    alphas, coefs, _ = preconditioned_lasso_path(X, y, eps=1e-3)
    for ax, grid, path, title in [
        (axes[0], plain_alphas, plain, f"Lasso (irrepresentability {irrepresentability(X, b):.2f}, above 1)"),
        (axes[1], alphas, coefs, 'PreconditionedLasso("puffer")'),
    ]:
        ax.axhline(2.0, color="black", lw=0.8, ls=":")
        for j in range(p):
            look = (
                dict(color=BLUE, lw=2)
                if j < 3
                else dict(color=RED, ls="--", lw=2)
                if j == 3
                else dict(color=GREY, lw=1)
            )
            label = {0: "the three that matter", 3: "their look-alike", 4: "others"}.get(j)
            ax.semilogx(grid / grid[0], path[j], **look, label=label)
        ax.set(xlim=(1, 1e-3), xlabel="alpha / largest alpha", ylabel="coefficient", title=title)
    axes[0].legend()
    return figure


def split_lbi():
    """Coefficients in runs: the Lasso, and the fused path stopped by cross-validation."""
    rng = np.random.default_rng(0)
    n, p = 120, 80
    b = np.zeros(p)
    b[16:24], b[40:48], b[48:56] = 2.0, -1.0, 1.0
    X = rng.normal(size=(n, p))
    y = X @ b + 2.0 * rng.normal(size=n)
    fits = {
        "LassoCV": LassoCV().fit(X, y),
        'SplitLBICV(D="fused+identity")': SplitLBICV(D="fused+identity", selection_rule="1se").fit(X, y),
    }
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), sharey=True)
    for ax, (name, fit) in zip(axes, fits.items()):
        ax.step(np.arange(p), b, color="black", lw=1.0, where="mid", label="truth")
        ax.plot(fit.coef_, "o", ms=3.5, color=BLUE, label=name)
        ax.set(xlabel="feature", title=name)
    axes[0].set_ylabel("coefficient")
    axes[0].legend()
    return figure


PICTURES = [group_lasso, pursuit, outliers, noisy_labels, noisy_labels_training, ranking, preconditioned, split_lbi]

if __name__ == "__main__":
    for picture in PICTURES:
        if picture.__name__ in (sys.argv[1:] or [p.__name__ for p in PICTURES]):
            with plt.rc_context(STYLE):
                figure = picture()
                figure.savefig(Path(__file__).with_name(f"{picture.__name__}.png"))
                plt.close(figure)
