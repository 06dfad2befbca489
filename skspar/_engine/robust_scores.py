"""Robust sizes of residuals: held-out rows hold outliers too."""

import numpy as np
from scipy.stats import norm

# Where the tau scale cuts squared residuals, in median absolute residuals that are consistent for normal noise.
TAU_CUT = 3.0


def trimmed_mean(values, weights, trim):
    """Weighted mean of the smallest values, a share ``trim`` of the weight left out."""
    order = np.argsort(values, kind="stable")
    left = (1.0 - trim) * weights.sum()
    before = np.concatenate([[0.0], np.cumsum(weights[order])[:-1]])
    taken = np.clip(left - before, 0.0, weights[order])
    used = taken > 0.0
    return float(np.sum(taken[used] * values[order][used]) / taken.sum())


def weighted_median(values, weights, share=0.5):
    """Value at which half the weight (or another share) is reached, the mean of two where it is between them."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    half = share * cumulative[-1]
    place = int(np.searchsorted(cumulative, half * (1.0 - 1e-12)))
    above = int(np.searchsorted(cumulative, half * (1.0 + 1e-12), side="right"))
    above = min(above, len(values) - 1)
    return 0.5 * float(values[order[place]] + values[order[max(place, above)]])


def tau_scale(residual, weights):
    """Yohai & Zamar's tau scale: the standard deviation of normal residuals, whatever a few others do."""
    size = np.abs(residual)
    first = weighted_median(size, weights) / norm.ppf(0.75)
    if first == 0.0:
        return 0.0
    c = TAU_CUT
    expected = 2.0 * norm.cdf(c) - 1.0 - 2.0 * c * norm.pdf(c) + 2.0 * c**2 * norm.sf(c)
    bounded = np.minimum((size / first) ** 2, c**2)
    return float(first * np.sqrt(np.sum(weights * bounded) / weights.sum() / expected))
