"""How the time of a path grows with the size of the problem; also drawn into doc/scaling.png."""

from pathlib import Path

import numpy as np

import problems
from compare import timed

TITLE = "How time grows"
TEXT = (
    "Our Lasso path (100 alphas to alpha_max / 100; gap 1e-6), one size varied at a time; cross-validation for the "
    "number of folds. The slope is that of log time against log size, by least squares."
)
HEADER = ("varied", "sizes", "seconds", "slope")
PICTURE = Path(__file__).parents[1] / "doc" / "scaling.png"


def path_seconds(n, p, informative, eps=1e-2):
    import peers

    problem = problems.dense_lasso(n, p, informative, eps=eps)
    return np.median([timed(peers.skspar, problem, problem.alphas, 1e-6)[0] for _ in range(3)])


def fold_seconds(folds):
    from skspar import GroupLassoCV

    problem = problems.dense_lasso(500, 5_000, 50)
    estimator = GroupLassoCV(alphas=problem.alphas, cv=folds, fit_intercept=False)
    return np.median([timed(estimator.fit, problem.X, problem.Y)[0] for _ in range(3)])


def tables(quick, wanted):
    """Titles, headers and rows; draws the picture."""
    series = {
        "rows, p = 5,000": ((250, 500, 1_000, 2_000), lambda n: path_seconds(n, 5_000, 50)),
        "rows, p = 500": ((2_500, 5_000, 10_000, 20_000, 40_000), lambda n: path_seconds(n, 500, 50)),
        "columns, n = 500": ((2_500, 5_000, 10_000, 20_000, 40_000), lambda p: path_seconds(500, p, 50)),
        "true features, 1,000 x 5,000": ((10, 20, 40, 80, 160), lambda k: path_seconds(1_000, 5_000, k, 0.1)),
        "folds, 500 x 5,000": ((2, 5, 10, 20), fold_seconds),
    }
    rows, measured = [], {}
    for name, (sizes, seconds) in series.items():
        times = [seconds(size) for size in sizes]
        slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        measured[name] = sizes, times
        listed = ", ".join(f"{size:,}" for size in sizes), ", ".join(f"{t:.3g}" for t in times)
        rows.append((name, *listed, f"{slope:.2f}"))
    draw(measured)
    yield None, HEADER, rows


def draw(measured):
    """One panel a size that is varied."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(measured), figsize=(3.2 * len(measured), 3.2), layout="constrained")
    for axis, (name, (sizes, times)) in zip(axes, measured.items()):
        slope, level = np.polyfit(np.log(sizes), np.log(times), 1)
        axis.loglog(sizes, times, "o")
        axis.loglog(sizes, np.exp(level) * np.array(sizes, dtype=float) ** slope, label=f"slope {slope:.2f}")
        axis.set(xlabel=name, ylabel="seconds")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
        axis.set_yticks(times, [f"{seconds:.2g}" for seconds in times], fontsize=7)
        axis.minorticks_off()
        axis.legend(frameon=False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=120)
    plt.close(figure)
