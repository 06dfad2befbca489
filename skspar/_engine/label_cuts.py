"""Which labels to flag so that one of two error rates is kept.

False discovery rate: the share of right labels among those flagged. False selection rate: that of wrong labels among
those kept. A bound on one says nothing of the other.
"""

import numpy as np


def lowest(quality, right, counts, level):
    """The largest set of lowest quality in which the mean of ``right`` is at most ``level``; ties stay together.

    Parameters
    ----------
    quality : ndarray of shape (n,)
    right : ndarray of shape (n,)
        Probability that a row's label is right.
    counts : ndarray of shape (n,)
    level : float

    Returns
    -------
    mask : ndarray of bool
    threshold : float
        Largest quality flagged; minus infinity if none is.
    """
    order = np.argsort(quality, kind="stable")
    ordered = quality[order]
    share = np.cumsum((counts * right)[order]) / np.cumsum(counts[order])
    last = np.append(ordered[1:] > ordered[:-1], True)
    found = np.flatnonzero(last & (share <= level))
    if len(found) == 0:
        return np.zeros(len(quality), dtype=bool), -np.inf
    threshold = float(ordered[found[-1]])
    return quality <= threshold, threshold


def knockoff_threshold(statistics, counts, level):
    """The smallest t > 0 with ``(1 + #{W <= -t}) / max(1, #{W >= t}) <= level``; infinite if there is none.

    Barber & Candes (2015), equation 1.9: where rows with a wrong label are at least as likely to have a negative
    statistic as a positive one, the expected share of them among those with ``W >= t`` is at most ``level``.
    """
    sizes = np.abs(statistics)
    order = np.argsort(-sizes, kind="stable")
    ordered = sizes[order]
    positive = np.cumsum(np.where(statistics > 0.0, counts, 0.0)[order])
    negative = np.cumsum(np.where(statistics < 0.0, counts, 0.0)[order])
    last = np.append(ordered[1:] < ordered[:-1], True) & (ordered > 0.0)
    found = np.flatnonzero(last & (1.0 + negative <= level * np.maximum(positive, 1.0)))
    return float(ordered[found[-1]]) if len(found) else np.inf
