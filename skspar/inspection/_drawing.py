"""What the displays share: colours and dashes, axes, and what to draw of a pipeline or a search."""

import numpy as np
from sklearn.isotonic import isotonic_regression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

# Okabe and Ito's, which people with any kind of colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "#B0B0B0"
DASHES = ("-", "--", "-.", ":")

PENALTY = "penalty alpha, from strong to weak"


def look(place):
    """Colour and dashes of a line: neighbours differ in both, so that print without colour tells them apart."""
    return dict(
        color=COLOURS[place % len(COLOURS)],
        # six colours and four dashes meet again after twelve lines
        linestyle=DASHES[(place + place // 12) % len(DASHES)],
    )


def new_axes(ax, size):
    """Return the axes given, or those of a new figure."""
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=size, layout="constrained")
    for spine in ("top", "right"):
        ax.spines[spine].set_visible(False)
    return ax


def innermost(estimator, X=None):
    """The fitted model in a pipeline or a search, and X as it comes to it."""
    check_is_fitted(estimator)
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline):
            if X is not None and len(estimator) > 1:
                X = estimator[:-1].transform(X)
            estimator = estimator[-1]
        else:
            check_is_fitted(estimator)
            return estimator, X


def mark_position(ax, position, text):
    """A dotted line across the axes, and a text above it."""
    ax.axvline(position, color="black", linestyle=":", linewidth=1.0)
    # a tick of an axis at the top, which titles keep clear of
    top = ax.secondary_xaxis("top")
    top.set_xticks([position], [text], fontsize="small")
    top.set_xticks([], minor=True)
    top.tick_params(length=0, pad=1)
    top.spines["top"].set_visible(False)


def plain_ticks(ax):
    """Numbers, not powers, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    low, high = sorted(ax.get_xlim())
    ratio = high / low
    subs = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 30.0 else (1, 2, 5) if ratio < 2e3 else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=subs))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def spread(heights, gap):
    """Return the nearest heights in the same order that lie at least ``gap`` apart."""
    heights = np.asarray(heights, dtype=np.float64)
    if len(heights) == 0:
        return heights
    order = np.argsort(heights, kind="stable")
    ladder = gap * np.arange(len(heights))
    moved = np.empty(len(heights))
    moved[order] = isotonic_regression(heights[order] - ladder) + ladder
    return moved
