"""Which labels to flag so that one of two error rates is kept.

False discovery rate: the share of right labels among those flagged. False selection rate: that of wrong labels among
those kept. A bound on one says nothing of the other.
"""

import numpy as np

# Condition above which noise leaves nothing to tell the classes by.
SINGULAR = 1e8


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


def selection(scores, labels, counts, transitions, level):
    """The largest set of labels of highest score of which, whatever the noise, a share of at most ``level`` is wrong.

    ``scores[i, d]``, how credible label d were in row i, must not depend on the label that the row has. Let
    ``T[c, d]`` be the probability that a row of class c has label d, independent of all else, S_i the labels with a
    score of t or more, K the number of rows whose own label is among them, and ``G = T^-1 diag(T)``. The number of
    right labels in S_i has the expectation ``sum_{d in S_i} P(class = d | x_i) T[d, d]``. As the one-hot code of the
    label times T^-1 has that of the class for its expectation, whatever P is,

        (K - sum_i sum_{d in S_i} G[y_i, d]) / K

    estimates the share of wrong labels of these K, and nothing but T is assumed. One more is taken for wrong, so that
    few rows do not pass by chance.

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes)
    labels : ndarray of shape (n,) of intp
    counts : ndarray of shape (n,)
    transitions : list of ndarray of shape (n_classes, n_classes)
        What T may be.
    level : float

    Returns
    -------
    threshold : float
        The smallest score of a label in the set; infinite if there is none.
    """
    n, C = scores.shape
    flat = scores.ravel()
    order = np.argsort(-flat, kind="stable")
    ordered = flat[order]
    given = (np.arange(C) == labels[:, None]).ravel()
    kept = np.cumsum((np.repeat(counts, C) * given)[order])
    # a set ends where a score does, with a label that a row has
    ends = np.searchsorted(-ordered, -np.sort(scores[np.arange(n), labels]), side="right") - 1
    valid = np.ones(n, dtype=bool)
    for T in transitions:
        if np.linalg.cond(T) > SINGULAR:
            return np.inf
        G = np.linalg.solve(T, np.diag(np.diag(T)))
        right = np.cumsum((counts[:, None] * G[labels]).ravel()[order])
        valid &= 1.0 + kept[ends] - right[ends] <= level * kept[ends]
    return float(ordered[ends[valid].max()]) if transitions and valid.any() else np.inf


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
