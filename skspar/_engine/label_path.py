"""Thresholds at which rows of the row-sparse path are first flagged."""

import numpy as np

from .row_norm import RowNormHuber

# Halvings of an interval of thresholds at most.
DEPTH = 14


def largest_threshold(problem):
    """From this threshold on nothing is flagged."""
    return float(problem.least_squares().norms.max(initial=0.0))


class Entries:
    """The largest threshold at which each row is flagged, from fits of a path, between which norms are interpolated.

    Attributes
    ----------
    values : ndarray of shape (n,)
        Rows not flagged yet hold zero.
    """

    def __init__(self, problem, accuracy):
        self.problem, self.accuracy = problem, accuracy
        self.values = np.zeros(len(problem.Y))
        self._fit = None

    def add(self, fit):
        """Take up the next fit of the path."""
        before, self._fit = self._fit, fit
        new = np.flatnonzero((fit.norms > fit.threshold) & (self.values == 0.0))
        if before is None:
            self.values[new] = fit.norms[new]
        elif len(new):
            self._between(before, fit, new, DEPTH)

    def _between(self, high, low, rows, depth):
        """Rows that enter between two fits: the line through their excesses, checked by a fit in the middle."""
        found = crossing(high, low, rows)
        if depth == 0 or self.accuracy == 0.0:
            self.values[rows] = found
            return
        middle_at = 0.5 * (high.threshold + low.threshold)
        middle = self.problem.fit(middle_at, 0.5 * (high.coef + low.coef), min(1e-8, 1e-2 * self.accuracy**1.5))
        there = middle.norms[rows] > middle_at
        for side, part in ((there, (high, middle)), (~there, (middle, low))):
            if side.any():
                again = crossing(*part, rows[side])
                bad = np.abs(again - found[side]) > self.accuracy * again
                self.values[rows[side]] = again
                if bad.any():
                    self._between(*part, rows[side], depth - 1)

    def finish(self):
        """Rows that no threshold of the path flagged take their norm at its end, which is smaller."""
        left = self.values == 0.0
        if self._fit is not None:
            self.values[left] = np.minimum(self._fit.norms[left], self._fit.threshold)
        return self.values


def crossing(high, low, rows):
    """Where the excess ``||r_i|| - t`` of rows, linear between two fits, vanishes."""
    above = high.threshold - high.norms[rows]
    below = low.norms[rows] - low.threshold
    share = np.clip(above / np.maximum(above + below, np.finfo(np.float64).tiny), 0.0, 1.0)
    return high.threshold + share * (low.threshold - high.threshold)


def label_entries(Q, Y, weights, n_thresholds=30, ratio=0.02, accuracy=1e-3):
    """The largest threshold at which each row is flagged; its smallest are residual norms at the path's end."""
    problem = RowNormHuber(Q, Y, weights)
    top = largest_threshold(problem)
    entries = Entries(problem, accuracy)
    if top > 0.0:
        for fit in problem.path(np.geomspace(top, ratio * top, n_thresholds), 1e-8):
            entries.add(fit)
    return entries.finish()
