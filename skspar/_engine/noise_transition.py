"""Class probabilities and label noise at once: which class a row belongs to, given features and a label that may lie.

    P(label = d | x) = sum_c p_c(x) T[c, d],    p(x) = softmax(b + D'f),    f = B'q

T holds the noise: the probability that a row of class c is labelled d. f is the least-squares fit of the classes'
posterior given the labels (the one-hot code, as long as nobody doubts it), so that a row whose label is doubted pulls
the fit towards where it seems to belong: the loss of a row is bounded, which the norm of its residual is not.
||D - a I||^2 is penalised, with the a that is best.

The steps are those of a generalised EM algorithm, but for B, which is least squares' (Hastie, Tibshirani & Buja 1994:
it spans the discriminant directions whatever the noise): in each, B and T are renewed, and b and D take one step of
Newton's method with a bound in the place of the curvature. Their number is fixed. The likelihood is nearly flat in
directions along which few labels tell, so that a test of convergence would let rounding decide where they end, which
shows in the rows' probabilities; and to go on there gains nothing: ranks are as good, or better, before.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln
from scipy.stats import chi2

from ._blas import product
from ._label_likelihood import label_pass
from .row_basis import RowBasis

# Noise rates from which the steps begin: they climb to the nearest peak of the likelihood, which few or many wrong
# labels may be. Penalties on D: of few rows, only a and b can be told.
STARTS = (0.05, 0.35)
RIDGES = (0.3, 3.0, 100.0)
SLOPE = 2.0
# Concentrations of which the likelihood of the transition counts tells: from each class its own to all alike.
CONCENTRATIONS = np.geomspace(0.3, 3e4, 12)
# Steps in which all labels are believed, steps after which models are given up whose log likelihood of unseen labels
# lags by HOPELESS or more behind another's from the same start, or by SLOW behind one's from another start (few wrong
# labels become many in small steps), and further steps; in the end, those within NEGLIGIBLE of the best have a weight.
TRUSTING_STEPS = 10
TRIAL_STEPS = 15
STEPS = 60
HOPELESS = 30.0
SLOW = 60.0
NEGLIGIBLE = 7.0
# What a free entry of T costs, between Akaike's 1 and Schwarz's half logarithm of the wrong labels: free entries
# explain small clusters as noise, too.
FREE_ENTRY = 1.5
# Steps before which the curvature is bounded anew: it changes less and less.
BOUNDED_AT = frozenset((0, 1, 2, 4, 7, 11, 16, 24, 32, 40, 50, 60, 70))
# Classes above which one bound serves all of them.
MANY_CLASSES = 30
# Rows above which half as many choose, and how many steps all of them take then.
LARGE = 20_000
LATER_STEPS = 8
# Gradient, in units of the curvature, with which a maximisation for known noise ends.
GRADIENT = 1e-3
# Keeps b finite where a class has no rows left.
OFFSET_RIDGE = 1e-3
MAX_LEVERAGE = 0.99
SMALL = 1e-6


@dataclass
class TransitionModel:
    """A fitted model.

    Attributes
    ----------
    coef : ndarray of shape (k, C)
        B.
    offset : ndarray of shape (C,)
        b.
    tilt : ndarray of shape (C, C)
        D.
    ridge : float
    transition : ndarray of shape (C, C)
        T, rows sum to one.
    rate : float
        Share of wrong labels.
    freedom : float
        Entries of T that were free, each counted as far as it was not shrunk.
    posterior : ndarray of shape (n, C)
        Of the true class given features and label, for the rows it was fitted on; each had a part in its own.
    targets : ndarray of shape (n, C)
        What B was fitted to.
    """

    coef: np.ndarray
    offset: np.ndarray
    tilt: np.ndarray
    ridge: float
    transition: np.ndarray
    rate: float = 0.0
    freedom: float = 0.0
    posterior: np.ndarray = field(default=None, repr=False)
    targets: np.ndarray = field(default=None, repr=False)

    def scan(self, F, labels, counts, posterior=None, probabilities=None, curvature=None):
        """Posterior of the true class, and what `label_pass` returns, at fits F."""
        C = F.shape[1]
        posterior = np.empty(F.shape) if posterior is None else posterior
        probabilities = np.empty((0, C)) if probabilities is None else probabilities
        curvature = np.empty((0, C + 1, C + 1)) if curvature is None else curvature
        told = label_pass(
            np.ascontiguousarray(F),
            np.ascontiguousarray(self.tilt),
            self.offset,
            self.transition,
            labels,
            counts,
            posterior,
            probabilities,
            curvature,
        )
        return posterior, told

    def penalty(self):
        """Its value, and its gradient in the offset and the tilt."""
        C = len(self.offset)
        unlike = self.tilt - np.trace(self.tilt) / C * np.eye(C)
        offset = OFFSET_RIDGE * self.offset
        value = 0.5 * (self.ridge * float(np.vdot(unlike, unlike)) + float(offset @ self.offset))
        return value, np.vstack([offset, self.ridge * unlike])

    def with_rate(self, rate):
        """The same noise at another rate: every class's own in proportion, at most certain."""
        C = len(self.transition)
        wrong = 1.0 - np.diag(self.transition)
        other = self.transition * (1.0 - np.eye(C))
        split = np.where(wrong[:, None] > SMALL, other / np.maximum(wrong, SMALL)[:, None], (1.0 - np.eye(C)) / (C - 1))
        relative = wrong / self.rate if self.rate > SMALL else np.ones(C)
        wrong = np.minimum(rate * relative, 0.99)
        return (1.0 - wrong)[:, None] * np.eye(C) + wrong[:, None] * split


class Rows:
    """Rows to fit: coordinates, labels, and two kinds of weights.

    Parameters
    ----------
    Q : ndarray of shape (n, k), C-ordered
        With ``sum_i v_i q_i q_i' = I``.
    labels : ndarray of shape (n,) of intp
        Classes as numbers from 0.
    n_classes : int
    counts : ndarray of shape (n,)
        How many rows each stands for.
    weights : ndarray of shape (n,)
        v, the weights of least squares.
    """

    def __init__(self, Q, labels, n_classes, counts, weights):
        self.Q, self.labels, self.counts, self.weights = Q, labels, counts, weights
        self.one_hot = np.zeros((len(labels), n_classes))
        self.one_hot[np.arange(len(labels)), labels] = 1.0
        self.n_classes = n_classes
        single = weights * np.minimum(1.0, 1.0 / counts)
        self.leverage = np.minimum(single * np.einsum("ij,ij->i", Q, Q), MAX_LEVERAGE)
        self.total = float(counts.sum())
        self.sizes = np.bincount(labels, counts, minlength=n_classes)

    def project(self, targets):
        """Coefficients of least squares, and the fit."""
        coef = np.ascontiguousarray(product(self.Q.T, targets * self.weights[:, None]))
        F = np.empty(targets.shape)
        product(self.Q, coef, out=F)
        return coef, F

    def without_own(self, targets, F):
        """The fit of each row by the others."""
        return targets - (targets - F) / (1.0 - self.leverage)[:, None]


def by_class(blocks, columns, transposed=False):
    """The matrix of each class times its column; a single matrix serves all classes."""
    if len(blocks) == 1:
        return product(blocks[0].T if transposed else blocks[0], columns)
    return np.einsum("cji,jc->ic" if transposed else "cij,jc->ic", blocks, columns)


class Bound:
    """A bound of the curvature in b and D, class by class, the penalty included."""

    def __init__(self, model, F, labels, counts):
        C = len(model.offset)
        self.blocks = np.zeros((C if 2 < C <= MANY_CLASSES else 1, C + 1, C + 1))
        self.posterior, self.told = model.scan(F, labels, counts, curvature=self.blocks)
        inner = np.arange(1, C + 1)
        self.blocks[:, 0, 0] += OFFSET_RIDGE
        self.blocks[:, inner, inner] += model.ridge
        self.factors = np.linalg.cholesky(self.blocks)
        self.halves = np.linalg.inv(self.factors)
        self.of_class = np.arange(C) if len(self.blocks) == C else np.zeros(C, dtype=int)
        self.ridge = model.ridge

    def inverse(self):
        """The function that a gradient (C + 1, C) is divided by the bound with."""
        C = len(self.of_class)
        inverses = np.matmul(self.halves.transpose(0, 2, 1), self.halves)
        # the penalty leaves a free, a direction that all blocks share (Sherman & Morrison)
        free = np.array([inverses[self.of_class[c]][1 + c] for c in range(C)]).T
        share = self.ridge / C
        free_factor = share / (1.0 - share * np.trace(free[1:]))

        def divided(gradient):
            step = by_class(inverses, gradient)
            return step + free_factor * np.trace(step[1:]) * free

        return divided


class Fitting:
    """A model on its way from one start."""

    def __init__(self, rows, start, ridge):
        C = rows.n_classes
        eye = np.eye(C)
        transition = (1.0 - start) * eye + start / (C - 1) * (1.0 - eye)
        prior = np.log(np.maximum(rows.sizes, SMALL) / rows.total)
        self.rows = rows
        self.model = TransitionModel(None, prior, SLOPE * eye, ridge, transition, start)
        self.n_steps, self._divided = 0, None
        self._take(rows.one_hot)

    def go_on_from(self, model):
        """Take up a model fitted to other rows; its coefficients are those of this basis."""
        product(self.rows.Q, model.coef, out=self.F)
        posterior, _ = model.scan(self.F, self.rows.labels, self.rows.counts)
        self.model = model
        self.n_steps = TRUSTING_STEPS
        self._divided = None
        self._take(posterior)

    def _take(self, targets):
        self.model.targets = targets
        self.model.coef, self.F = self.rows.project(targets)

    def proceed(self, n_steps):
        """Take steps; the object itself is returned."""
        model, rows = self.model, self.rows
        for _ in range(n_steps):
            if self._divided is None or self.n_steps in BOUNDED_AT:
                bound = Bound(model, self.F, rows.labels, rows.counts)
                posterior, told, self._divided = bound.posterior, bound.told, bound.inverse()
            else:
                posterior, told = model.scan(self.F, rows.labels, rows.counts)
            _, offset, tilt, expected = told
            step = self._divided(np.vstack([offset, tilt]) - model.penalty()[1])
            model.offset, model.tilt = model.offset + step[0], model.tilt + step[1:]
            if self.n_steps >= TRUSTING_STEPS:
                _update_transition(model, expected)
                self._take(posterior)
            self.n_steps += 1
        model.posterior, _ = model.scan(self.F, rows.labels, rows.counts)
        return self

    def keeps_names(self):
        """Whether every class is mostly labelled as itself: else classes have changed places."""
        transition = self.model.transition
        return bool(np.all(np.diag(transition) >= transition.max(axis=1)))

    def score(self):
        """Log likelihood of each label by a fit that has not seen it, less what T's freedom costs."""
        model, rows = self.model, self.rows
        F = rows.without_own(model.targets, self.F)
        return model.scan(F, rows.labels, rows.counts)[1][0] - FREE_ENTRY * model.freedom


def _update_transition(model, expected):
    """T from expected counts (empirical Bayes).

    A class's rate is shrunk towards that of all as far as these agree, and the split of its wrong labels towards an
    even one as far as it is even: noise may confuse two classes, and be even elsewhere. How far is a mean over
    concentrations, weighted by their likelihood.
    """
    C = len(expected)
    wrong = expected * (1.0 - np.eye(C))
    total, size = wrong.sum(axis=1), expected.sum(axis=1)
    model.rate = float(total.sum() / size.sum())
    e = float(np.clip(model.rate, SMALL, 1.0 - SMALL))
    # how alike the classes' rates are: beta-binomial likelihood
    c = CONCENTRATIONS[:, None]
    alike = np.sum(betaln(total + c * e, size - total + c * (1.0 - e)) - betaln(c * e, c * (1.0 - e)), axis=1)
    rate = _weights(alike) @ ((total + c * e) / (size + c))
    model.freedom = float(np.sum(_weights(alike) @ (size / (size + c))))
    # and how evenly a class's wrong labels fall on the others: Dirichlet-multinomial likelihood
    split = np.full((C, C), 1.0 / (C - 1))
    if C > 2:
        a = c / (C - 1)
        others = wrong[~np.eye(C, dtype=bool)].reshape(C, C - 1)
        even = gammaln(c) - gammaln(c + total)
        even += np.sum(gammaln(others[None] + a[:, :, None]) - gammaln(a)[:, :, None], axis=2)
        inverse = _weights(even) / (total + c)
        split = inverse.sum(axis=0)[:, None] * wrong + (inverse * a).sum(axis=0)[:, None]
        model.freedom += (C - 2) * float(np.sum(_weights(even) * (total / (total + c))))
    split[np.diag_indices(C)] = 0.0
    model.transition = rate[:, None] * split
    model.transition[np.diag_indices(C)] = 1.0 - rate


def _weights(loglik):
    weights = np.exp(loglik - loglik.max(axis=0))
    return weights / weights.sum(axis=0)


@dataclass
class TransitionMixture:
    """Models from several starts and penalties, weighted by how well each predicts labels it has not seen.

    Attributes
    ----------
    models : list of TransitionModel
    shares : ndarray
        Pseudo-Bayesian weights: proportional to the leave-one-out likelihood.
    """

    models: list
    shares: np.ndarray

    @property
    def best(self):
        return self.models[int(np.argmax(self.shares))]

    def posterior(self):
        """Of the true class of the rows they were fitted on: their weighted mean."""
        return sum(share * model.posterior for share, model in zip(self.shares, self.models, strict=True))

    def predict(self, Q, labels=None):
        """Class probabilities of other rows, or where labels are given the posterior given these, too."""
        total = 0.0
        for share, model in zip(self.shares, self.models, strict=True):
            F = np.empty((len(Q), len(model.offset)))
            product(Q, model.coef, out=F)
            probabilities = np.empty(F.shape)
            given = np.zeros(len(Q), dtype=np.intp) if labels is None else labels
            posterior, _ = model.scan(F, given, np.ones(len(Q)), probabilities=probabilities)
            total = total + share * (probabilities if labels is None else posterior)
        return total


def fit_transitions(rows, random_state):
    """Models from all starts with all penalties, and their weights; those that fall far behind are given up.

    Of many rows, some choose one model, which goes on with all of them.
    """
    n = len(rows.labels)
    if n > LARGE:
        some = np.sort(random_state.choice(n, LARGE // 2, replace=False))
        basis = RowBasis(rows.Q[some], rows.weights[some], False)
        part = Rows(basis.Q, rows.labels[some], rows.n_classes, rows.counts[some], rows.weights[some])
        first = fit_transitions(part, random_state).best
        coef = product(basis.map, first.coef)
        fit = Fitting(rows, first.rate, first.ridge)
        fit.go_on_from(replace(first, coef=np.ascontiguousarray(coef)))
        fit.proceed(LATER_STEPS)
        return TransitionMixture([fit.model], np.ones(1))
    # of two classes, the unlike part of D has no effect
    ridges = RIDGES if rows.n_classes > 2 else RIDGES[-1:]
    fits = [[Fitting(rows, start, ridge) for ridge in ridges] for start in STARTS]
    scores = np.array([[fit.proceed(TRIAL_STEPS).score() for fit in row] for row in fits])
    hopeful = (scores > scores.max(axis=1, keepdims=True) - HOPELESS) & (scores > scores.max() - SLOW)
    lasting = [fits[i][j] for i, j in np.argwhere(hopeful)]
    for fit in lasting:
        fit.proceed(STEPS)
    fits = [fit for fit in lasting if fit.keeps_names()] or lasting
    scores = np.array([fit.score() for fit in fits])
    lag = scores.max() - scores
    fits, lag = [fit for fit, behind in zip(fits, lag) if behind < NEGLIGIBLE], lag[lag < NEGLIGIBLE]
    # a model has no weight where it begins to count
    shares = np.exp(-lag) - np.exp(-NEGLIGIBLE)
    return TransitionMixture([fit.model for fit in fits], shares / shares.sum())


def fit_at_rate(model, F, labels, counts, rate):
    """The likeliest b and D with the noise at a given rate, F fixed: a model and its penalised log likelihood."""
    model = replace(model, transition=model.with_rate(rate), rate=rate, posterior=None, targets=None)
    C = len(model.offset)
    bound = Bound(model, F, labels, counts)
    posterior = np.empty(F.shape)

    def take(point):
        whole = by_class(bound.halves, point.reshape(C + 1, C), transposed=True)
        model.offset, model.tilt = np.ascontiguousarray(whole[0]), np.ascontiguousarray(whole[1:])

    def objective(point):
        take(point)
        loglik, offset, tilt, _ = model.scan(F, labels, counts, posterior)[1]
        penalty, gradient = model.penalty()
        return penalty - loglik, by_class(bound.halves, gradient - np.vstack([offset, tilt])).ravel()

    start = by_class(bound.factors, np.vstack([model.offset, model.tilt]), transposed=True).ravel()
    options = {"maxiter": 200, "gtol": GRADIENT, "maxcor": 20}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    take(found.x)
    return model, -float(found.fun)


def rate_limit(model, F, labels, counts, confidence):
    """Models at the likeliest noise rate and at its lower confidence limit, from the profile of the likelihood.

    The limit is zero where a likelihood-ratio test does not reject that no label is wrong.
    """
    known = {}

    def at(rate):
        key = float(rate)
        if key not in known:
            nearest = min(known, key=lambda r: abs(r - key), default=None)
            begin = model if nearest is None else known[nearest][0]
            origin = replace(model, offset=begin.offset, tilt=begin.tilt)
            known[key] = fit_at_rate(origin, F, labels, counts, key)
        return known[key]

    # the peak: three points around it, and the wider side of the highest halved
    high = min(max(model.rate, 0.005), 0.9)
    points = [0.0, 0.5 * high, high, min(1.4 * high + 0.01, 0.95)]
    for _ in range(12):
        points = sorted(points)
        values = [at(rate)[1] for rate in points]
        j = int(np.argmax(values))
        if j == len(points) - 1 and points[-1] < 0.94:
            points.append(min(1.5 * points[-1], 0.95))
            continue
        left = points[max(j - 1, 0)]
        right = points[min(j + 1, len(points) - 1)]
        if right - left <= 0.1 * points[j] + 2e-3:
            break
        gaps = [(points[j] - left, left), (right - points[j], right)]
        points.append(0.5 * (points[j] + max(gaps)[1]))
    best = max(known, key=lambda rate: known[rate][1])
    wanted = known[best][1] - 0.5 * float(chi2.isf(2.0 * (1.0 - confidence), 1))
    if at(0.0)[1] >= wanted:
        return known[best][0], known[0.0][0]
    low = max(rate for rate in known if rate <= best and known[rate][1] < wanted)
    high = min(rate for rate in known if rate <= best and rate > low and known[rate][1] >= wanted)
    while high - low > 0.02 * high + 1e-4:
        middle = 0.5 * (low + high)
        if at(middle)[1] >= wanted:
            high = middle
        else:
            low = middle
    # the end that is surely outside the region errs on the side of fewer wrong labels
    return known[best][0], at(low)[0]
