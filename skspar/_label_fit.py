"""Labels and features, as arrays: what the detector of noisy labels asks of the engine."""

from functools import cached_property

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from ._engine._blas import product
from ._engine.label_path import Entries, crossing, largest_threshold
from ._engine.noise_transition import LARGE, Rows, believing, fit_transitions, rate_limits
from ._engine.row_basis import RowBasis
from ._engine.row_norm import RowNormFit, RowNormHuber
from ._engine.threads import in_turn
from ._missing import is_missing

# The path that ranks: how many thresholds, the last divided by the first, its gaps, and the accuracy of entries.
N_THRESHOLDS = 40
RATIO = 0.02
PATH_TOL = 1e-5
ACCURACY = 1e-3
# Up to so many rows the accuracy of entries is checked; above, the line between two thresholds is as good.
CHECKED_ROWS = 500
# Part of the model that believes all labels in their quality.
BELIEVED = 2.0 / 3.0
# Credibilities that differ by this share are taken for equal.
TIED = 1e-9


def check_objects(y):
    """Refuse missing labels in an array of objects, before scikit-learn, which does not say of what."""
    if hasattr(y, "dtype"):
        y = np.asarray(y)
        if y.ndim == 1 and y.dtype == object:
            check_complete(y)


def check_complete(labels, advice=""):
    """Refuse None, NaN and NA among labels; advice ends the message."""
    missing = [i for i, label in enumerate(np.asarray(labels).tolist()) if is_missing(label)]
    if missing:
        raise ValueError(
            f"y must have no missing labels; {len(missing)} of {len(labels)} are NA, None or NaN, the first in row "
            f"{missing[0]}.{advice}"
        )


def encoded(y):
    """Sorted classes, and the place of each label among them."""
    if y.dtype.kind in "fO":
        check_complete(y)
    if y.dtype == object:
        are_strings = {isinstance(label, str) for label in y.tolist()}
        if len(are_strings) == 2:
            raise ValueError(
                "y must have labels that can be sorted, such as all strings or all ints; some are strings, others not."
            )
        if not are_strings.pop():
            # numbers in an array of objects
            y = np.array(y.tolist())
    try:
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            f"y must have labels that can be sorted, such as all strings or all ints; {error}: missing labels?"
        ) from None
    return classes, labels.ravel().astype(np.intp)


class LabelFit:
    """The model of the noise and the row-sparse path, which is followed when it is wanted, for rows of positive weight.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Features.
    labels : ndarray of shape (n,) of intp
        Classes as numbers from 0.
    n_classes : int
    counts : ndarray of shape (n,)
        Positive sample weights.
    class_balanced : bool
        Whether classes have equal weight in least squares.
    random_state : RandomState
    run_all : callable
        Maps thunks to their results.

    Attributes
    ----------
    entries : ndarray of shape (n,)
        Largest threshold at which a row is flagged.
    mixture : TransitionMixture
    """

    def __init__(self, Z, labels, n_classes, counts, class_balanced, random_state, run_all=in_turn):
        self.n_classes = n_classes
        self._class_weights = np.ones(n_classes)
        if class_balanced:
            sizes = np.bincount(labels, counts, minlength=n_classes)
            self._class_weights = counts.sum() / (np.count_nonzero(sizes) * np.where(sizes > 0.0, sizes, np.inf))
        weights = counts * self._class_weights[labels]
        basis = RowBasis(Z, weights, True)
        self.coordinates = basis.coordinates()
        self.rank = basis.rank
        self.rows = Rows(basis.Q, labels, n_classes, counts, weights)
        self.mixture = fit_transitions(self.rows, random_state, run_all)

    @property
    def entries(self):
        return self._path[0]

    @cached_property
    def _path(self):
        """Entries, and thresholds with their coefficients."""
        problem = RowNormHuber(self.rows.Q, self.rows.one_hot, self.rows.weights)
        top = largest_threshold(problem)
        checked = ACCURACY if len(self.rows.labels) <= CHECKED_ROWS else 0.0
        entries, points = Entries(problem, checked), []
        if top > 0.0:
            for fit in problem.path(np.geomspace(top, RATIO * top, N_THRESHOLDS), PATH_TOL):
                entries.add(fit)
                points.append((fit.threshold, fit.coef))
        return entries.finish(), points

    def entries_of(self, Z, labels):
        """The largest threshold of the path at which other rows would be flagged."""
        Q = self.coordinates(Z)
        codes = np.eye(self.n_classes)[labels]
        found = np.zeros(len(Z))
        before = None
        for threshold, coef in self._path[1]:
            norms = np.linalg.norm(codes - product(Q, coef), axis=1)
            here = RowNormFit(threshold, coef, None, norms, 0.0, 0, True)
            new = np.flatnonzero((norms > threshold) & (found == 0.0))
            found[new] = norms[new] if before is None else crossing(before, here, new)
            before = here
        if before is not None:
            left = found == 0.0
            found[left] = before.norms[left]
        return found

    @cached_property
    def _believing(self):
        return believing(self.rows, self.mixture.best)

    def posterior(self):
        """Of the true class of each row, given its features and label."""
        return self.mixture.posterior()

    def posterior_of(self, Z, labels):
        return self.mixture.posterior_of(self.coordinates(Z), labels, np.zeros(len(Z)))

    def credibility(self):
        """Of the label of each row, as a rank: its posterior, in part by the model that believes all labels.

        Here a row's own label had a part in the fits in either case: the higher its leverage, the less do the others
        tell about it.
        """
        own = np.arange(len(self.rows.labels)), self.rows.labels
        settled = self.mixture.posterior_with_own(self.rows)[own]
        return (1.0 - BELIEVED) * settled + BELIEVED * self._believing.posterior[own]

    def credibility_of(self, Z, labels, settled=None):
        """That of other rows, as if they had been fitted, too; ``settled`` takes the place of their posterior."""
        Q = self.coordinates(Z)
        added = self._class_weights[labels] * np.einsum("ij,ij->i", Q, Q)
        leverage = added / (1.0 + added)
        own = np.arange(len(labels)), labels
        if settled is None:
            settled = self.mixture.posterior_of(Q, labels, leverage)[own]
        return (1.0 - BELIEVED) * settled + BELIEVED * self._believing.posterior_of(Q, labels, leverage)[own]

    def probabilities(self, Z):
        """Of the classes, whatever the label."""
        return self.mixture.probabilities(self.coordinates(Z))

    def scores(self, Z):
        """For each class, how credible a label of that class were in other rows, whatever label they have."""
        P, T = self.probabilities(Z), self.mixture.best.transition
        given = product(P, T)
        return np.divide(P * np.diag(T), given, out=np.zeros_like(P), where=given > 0.0)

    def fits_without_own(self):
        """Fit of each row by the others, in the likeliest model."""
        model = self.mixture.best
        return np.ascontiguousarray(self.rows.without_own(model.targets, product(self.rows.Q, model.coef)))

    def fits_of(self, Z):
        return np.ascontiguousarray(product(self.coordinates(Z), self.mixture.best.coef))


class Quality:
    """Posteriors of labels, dealt out anew: the lowest to the least credible, and so on.

    So they rank as credibility does, and as many labels are expected to be wrong as the posteriors say. Equal
    credibility, but for rounding, has equal quality; of rows that have no part, that of the nearest, or between.

    Parameters
    ----------
    credibility, posterior, counts : ndarray of shape (n,)
    """

    def __init__(self, credibility, posterior, counts):
        by_rank, by_size = np.argsort(credibility, kind="stable"), np.argsort(posterior, kind="stable")
        ranked = credibility[by_rank]
        first = np.flatnonzero(np.append(True, np.diff(ranked) > TIED * ranked[1:]))
        sizes = np.add.reduceat(counts[by_rank], first)
        ends = np.append(0.0, np.cumsum(sizes))
        dealt = np.append(0.0, np.cumsum(posterior[by_size] * counts[by_size]))
        sums = np.interp(ends, np.append(0.0, np.cumsum(counts[by_size])), dealt)
        # differences of sums may leave the range, or fall, by rounding
        quality = np.maximum.accumulate(np.clip(np.diff(sums) / sizes, 0.0, 1.0))
        last = np.append(first[1:], len(ranked)) - 1
        self._credibility = np.column_stack([ranked[first], ranked[last]]).ravel()
        self._quality = np.repeat(quality, 2)

    def __call__(self, credibility):
        return np.interp(credibility, self._credibility, self._quality)


class NoiseRate:
    """What the rows tell of the rate of wrong labels, F being fits of rows that had no part in them.

    Attributes
    ----------
    likeliest, lower, upper : float
        Limits are of one-sided confidence.
    right : ndarray of shape (n,)
        Each label's probability to be right, with the noise at its lower limit.
    posterior : ndarray of shape (n, n_classes)
        Of the classes, with the noise at its likeliest rate.
    """

    def __init__(self, model, F, labels, counts, confidence, random_state):
        self._model, some = model, slice(None)
        if len(labels) > LARGE:
            # some rows decide
            some = np.sort(random_state.choice(len(labels), LARGE // 2, replace=False))
        F = np.ascontiguousarray(F)
        likeliest, lowest, self.upper = rate_limits(model, F[some], labels[some], counts[some], confidence)
        self.likeliest, self.lower = likeliest.rate, lowest.rate
        self.right = lowest.scan(F, labels, counts)[0][np.arange(len(labels)), labels]
        self.posterior = likeliest.scan(F, labels, counts)[0]

    def transitions(self, number):
        """So many transition matrices, from the lower limit to the upper."""
        return self._model.between(self.lower, self.upper, number)
