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


def knockoff_factor(n_classes):
    """How many wrong labels look better than a random one, for each that looks worse, at most."""
    return (n_classes - 2) / n_classes if n_classes > 2 else 1.0


def knockoff_threshold(statistics, counts, level, n_classes):
    """The smallest t > 0 with ``factor (1 + #{W <= -t}) / max(1, #{W >= t}) <= level``; infinite if there is none.

    W compares a given label with another drawn at random from the other classes: positive if the given one looks
    better. Suppose that a wrong label is uniform over the wrong classes. If the random label is wrong, too, both are
    exchangeable, and W is as often above t as below -t, with probability u / 2 each; with probability 1 / (C - 1) it is
    the truth, and W is above t with probability a and below -t with probability b. Of N rows with wrong labels so many
    are expected above and below:

        N [(C - 2) u / 2 + a] / (C - 1)    and    N [(C - 2) u / 2 + b] / (C - 1).

    Their ratio is at most ``factor = (C - 2) / C`` if ``b >= u + a C / (C - 2)``: the truth is told from a wrong label
    more often than one wrong label from another. For two classes it is at most one if b >= a. Right labels below -t
    only make the estimate larger. With that ratio the expected share of wrong labels among rows with ``W >= t`` is at
    most ``level`` (Barber & Candes 2015, theorem 2, and equation 1.9 for the one that is added).
    """
    factor = knockoff_factor(n_classes)
    sizes = np.abs(statistics)
    order = np.argsort(-sizes, kind="stable")
    ordered = sizes[order]
    positive = np.cumsum(np.where(statistics > 0.0, counts, 0.0)[order])
    negative = np.cumsum(np.where(statistics < 0.0, counts, 0.0)[order])
    last = np.append(ordered[1:] < ordered[:-1], True) & (ordered > 0.0)
    found = np.flatnonzero(last & (factor * (1.0 + negative) <= level * np.maximum(positive, 1.0)))
    return float(ordered[found[-1]]) if len(found) else np.inf
