"""Thresholds at which rows of the row-sparse path are first flagged."""

import numpy as np
from scipy.optimize import brentq

from .row_norm import RowNormHuber

# Halvings of an interval of thresholds at most.
DEPTH = 14
# Relative change that a fit in the middle makes to entries that lines tell well enough.
COARSE = 1e-3


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
        """Rows that enter between two fits: the line through their excesses, checked by a fit in the middle.

        Where norms have a kink next to the crossing, the middle may not tell; so what is wanted more accurately than
        to COARSE is checked row by row, by fits at the crossings.
        """
        found = crossing(high, low, rows)
        self.values[rows] = found
        if depth == 0 or self.accuracy == 0.0:
            return
        middle = self._fit_between(high, low, 0.5 * (high.threshold + low.threshold))
        there = middle.norms[rows] > middle.threshold
        for side, part in ((there, (high, middle)), (~there, (middle, low))):
            if side.any():
                again = crossing(*part, rows[side])
                self.values[rows[side]] = again
                if np.any(np.abs(again - found[side]) > max(self.accuracy, COARSE) * again):
                    self._between(*part, rows[side], depth - 1)
                elif self.accuracy < COARSE:
                    for row, value in zip(rows[side], again):
                        self._at(*part, row, value)

    def _at(self, high, low, row, value):
        """One row's entry between two fits, from a first value: by Brent's method in a bracket around it."""
        known = {high.threshold: high, low.threshold: low}

        def excess(threshold):
            if threshold not in known:
                above = min(t for t in known if t > threshold)
                below = max(t for t in known if t < threshold)
                known[threshold] = self._fit_between(known[above], known[below], threshold)
            return known[threshold].norms[row] - threshold

        ends = [high.threshold, low.threshold]
        for near in (1.0 + self.accuracy, 1.0 - self.accuracy):
            if ends[1] < near * value < ends[0]:
                ends[int(excess(near * value) > 0.0)] = near * value
        self.values[row] = brentq(excess, *ends, rtol=0.5 * self.accuracy, xtol=1e-300)

    def _fit_between(self, high, low, threshold):
        share = (high.threshold - threshold) / (high.threshold - low.threshold)
        coef = high.coef + share * (low.coef - high.coef)
        return self.problem.fit(threshold, coef, min(1e-8, 1e-2 * self.accuracy**1.5))

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
