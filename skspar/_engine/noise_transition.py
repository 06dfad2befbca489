"""Class probabilities and label noise at once: which class a row belongs to, given features and a label that may lie.

    P(label = d | x) = sum_c p_c(x) T[c, d],    p(x) = softmax(a f + b + D'f),    f = B'q

T holds the noise: the probability that a row of class c is labelled d. f is the least-squares fit of the classes'
posterior given the labels (the one-hot code, as long as nobody doubts it), so that a row whose label is doubted pulls
the fit towards where it seems to belong: the loss of a row is bounded, which the norm of its residual is not. The steps
are those of an EM algorithm, but for B, which is least squares' (Hastie, Tibshirani & Buja 1994: it spans the
discriminant directions whatever the noise).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.linalg import cholesky, solve_triangular
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
# Concentrations among which the likelihood of the transition counts chooses: from each class its own to all alike.
CONCENTRATIONS = np.geomspace(0.3, 3e4, 24)
MAX_STEPS = 60
# Gradient, in units of the curvature, with which the inner maximisation ends.
GRADIENT = 3e-2
# Steps after which models are given up whose log likelihood of unseen labels lags by more than HOPELESS; in the end,
# only those within NEGLIGIBLE of the best have a weight.
TRIAL_STEPS = 5
# Rows above which half as many choose, and how many steps all of them take then.
LARGE = 20_000
LATER_STEPS = 8
HOPELESS = 30.0
NEGLIGIBLE = 7.0
FIRST_CLIMBS = 30
CLIMBS = 8
# Change of the log likelihood between steps with which they end.
ENOUGH = 1e-2
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
    slope : float
        a.
    offset : ndarray of shape (C,)
        b.
    tilt : ndarray of shape (C, C)
        D.
    ridge : float
    transition : ndarray of shape (C, C)
        T, rows sum to one.
    rate : float
        Share of wrong labels.
    posterior : ndarray of shape (n, C)
        Of the true class given features and label, for the rows it was fitted on; each had a part in its own.
    targets : ndarray of shape (n, C)
        What B was fitted to.
    """

    coef: np.ndarray
    slope: float
    offset: np.ndarray
    tilt: np.ndarray
    ridge: float
    transition: np.ndarray
    rate: float = 0.0
    posterior: np.ndarray = field(default=None, repr=False)
    targets: np.ndarray = field(default=None, repr=False)

    def scan(self, F, labels, counts, posterior=None, probabilities=None):
        """Posterior of the true class, and what `label_pass` returns, at fits F."""
        F = np.ascontiguousarray(F)
        posterior = np.empty(F.shape) if posterior is None else posterior
        probabilities = np.empty((0, F.shape[1])) if probabilities is None else probabilities
        tilt = np.ascontiguousarray(self.tilt + self.slope * np.eye(len(self.offset)))
        return posterior, label_pass(F, tilt, self.offset, self.transition, labels, counts, posterior, probabilities)

    def penalty(self):
        return 0.5 * self.ridge * float(np.vdot(self.tilt, self.tilt)) + 0.5 * OFFSET_RIDGE * float(
            self.offset @ self.offset
        )

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


class Fitting:
    """A model on its way from one start, by EM steps."""

    def __init__(self, rows, start, ridge):
        C = rows.n_classes
        eye = np.eye(C)
        transition = (1.0 - start) * eye + start / (C - 1) * (1.0 - eye)
        prior = np.log(np.maximum(rows.sizes, SMALL) / rows.total)
        self.rows = rows
        self.model = TransitionModel(None, 2.0, prior, np.zeros((C, C)), ridge, transition, start)
        self.objective, self.finished, self.n_steps = -np.inf, False, 0

    def go_on_from(self, model):
        """Take up a model fitted to other rows; its coefficients are those of this basis."""
        F = np.empty(self.rows.one_hot.shape)
        product(self.rows.Q, model.coef, out=F)
        posterior, _ = model.scan(F, self.rows.labels, self.rows.counts)
        self.model = replace(model, posterior=posterior, targets=posterior)
        self.n_steps = 1

    def proceed(self, n_steps):
        """Take steps, as many or until they change little."""
        model, rows = self.model, self.rows
        for _ in range(n_steps):
            if self.finished:
                break
            model.targets = rows.one_hot if self.n_steps == 0 else model.posterior
            model.coef, F = rows.project(model.targets)
            before = self.objective
            climbs = FIRST_CLIMBS if self.n_steps == 0 else CLIMBS
            self.objective = _maximise(model, F, rows.labels, rows.counts, climbs)
            model.posterior, _ = model.scan(F, rows.labels, rows.counts)
            _update_transition(model, rows, model.posterior)
            self.n_steps += 1
            self.finished = abs(self.objective - before) <= ENOUGH

    def score(self):
        """Log likelihood of each label by a fit that has not seen it."""
        model, rows = self.model, self.rows
        F = rows.without_own(model.targets, product(rows.Q, model.coef))
        return model.scan(F, rows.labels, rows.counts)[1][0]


def _maximise(model, F, labels, counts, max_iter):
    """Bring a, b and D to the penalised maximum likelihood for fits F and a known transition; returns that.

    Variables are those in which a bound of the curvature (Boehning 1992) is the identity.
    """
    C = len(model.offset)
    Z = np.column_stack([np.ones(len(F)), F])
    H = 0.5 * product(Z.T, Z * counts[:, None])
    H[0, 0] += OFFSET_RIDGE
    H[np.arange(1, C + 1), np.arange(1, C + 1)] += model.ridge
    H[np.diag_indices_from(H)] += 1e-10 * np.trace(H)
    lower = cholesky(H, lower=True)
    posterior = np.empty(F.shape)
    unit = 1.0 / np.sqrt(0.5 * float(counts @ np.einsum("ij,ij->i", F, F)) + 1.0)

    def take(point):
        model.slope = float(point[0]) * unit
        whole = solve_triangular(lower, point[1:].reshape(C + 1, C), lower=True, trans="T")
        model.offset, model.tilt = np.ascontiguousarray(whole[0]), np.ascontiguousarray(whole[1:])

    def objective(point):
        take(point)
        loglik, offset, tilt, along, _ = model.scan(F, labels, counts, posterior)[1]
        gradient = np.vstack([OFFSET_RIDGE * model.offset - offset, model.ridge * model.tilt - tilt])
        gradient = np.append(-along * unit, solve_triangular(lower, gradient, lower=True).ravel())
        return model.penalty() - loglik, gradient

    start = np.append(model.slope / unit, (lower.T @ np.vstack([model.offset, model.tilt])).ravel())
    options = {"maxiter": max_iter, "gtol": GRADIENT, "maxcor": 20}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    take(found.x)
    return -float(found.fun)


def _update_transition(model, rows, posterior):
    """T from expected counts, each class's shrunk towards all classes' as far as these agree (empirical Bayes)."""
    C = rows.n_classes
    N = np.zeros((C, C))
    weighted = posterior * rows.counts[:, None]
    for d in range(C):
        N[:, d] = weighted[rows.labels == d].sum(axis=0)
    wrong = N * (1.0 - np.eye(C))
    total, size = wrong.sum(axis=1), N.sum(axis=1)
    model.rate = float(total.sum() / rows.total)
    e = float(np.clip(model.rate, SMALL, 1.0 - SMALL))
    # how alike the classes' rates are: beta-binomial likelihood
    c = CONCENTRATIONS[:, None]
    alike = np.sum(betaln(total + c * e, size - total + c * (1.0 - e)) - betaln(c * e, c * (1.0 - e)), axis=1)
    c = CONCENTRATIONS[int(np.argmax(alike))]
    rate = (total + c * e) / (size + c)
    # and how evenly a class's wrong labels fall on the others: Dirichlet-multinomial likelihood
    split = np.full((C, C), 1.0 / (C - 1))
    if C > 2:
        k = CONCENTRATIONS[:, None]
        a = k / (C - 1)
        outside = ~np.eye(C, dtype=bool)
        even = np.sum(gammaln(k) - gammaln(k + total), axis=1)
        even += np.sum(gammaln(wrong[outside] + a) - gammaln(a), axis=1)
        k = CONCENTRATIONS[int(np.argmax(even))]
        split = (wrong + k / (C - 1)) / (total + k)[:, None]
    split[np.diag_indices(C)] = 0.0
    model.transition = rate[:, None] * split
    model.transition[np.diag_indices(C)] = 1.0 - rate


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


def fit_transitions(rows, random_state, starts=STARTS, ridges=RIDGES):
    """Models from all starts with all penalties, and their weights; those that fall far behind are given up.

    Of many rows, some choose one model, which goes on with all of them.
    """
    n = len(rows.labels)
    if n > LARGE:
        some = np.sort(random_state.choice(n, LARGE // 2, replace=False))
        basis = RowBasis(rows.Q[some], rows.weights[some], False)
        part = Rows(basis.Q, rows.labels[some], rows.n_classes, rows.counts[some], rows.weights[some])
        first = fit_transitions(part, random_state, starts, ridges).best
        coef = product(basis.map, first.coef)
        fit = Fitting(rows, 0.0, first.ridge)
        fit.go_on_from(replace(first, coef=np.ascontiguousarray(coef)))
        fit.proceed(LATER_STEPS)
        return TransitionMixture([fit.model], np.ones(1))
    fits = [Fitting(rows, start, ridge) for ridge in ridges for start in starts]
    for n_steps, margin in ((TRIAL_STEPS, HOPELESS), (MAX_STEPS - TRIAL_STEPS, NEGLIGIBLE)):
        for fit in fits:
            fit.proceed(n_steps)
        scores = [fit.score() for fit in fits]
        kept = [i for i in range(len(fits)) if scores[i] > max(scores) - margin]
        fits, scores = [fits[i] for i in kept], [scores[i] for i in kept]
    shares = np.exp(np.array(scores) - max(scores))
    return TransitionMixture([fit.model for fit in fits], shares / shares.sum())


def fit_at_rate(model, F, labels, counts, rate):
    """The likeliest a, b, D with the noise at a given rate, F fixed: a model and its penalised log likelihood."""
    other = replace(model, transition=model.with_rate(rate), rate=rate, posterior=None, targets=None)
    return other, _maximise(other, F, labels, counts, 60)


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
            origin = replace(model, slope=begin.slope, offset=begin.offset, tilt=begin.tilt)
            known[key] = fit_at_rate(origin, F, labels, counts, key)
        return known[key]

    # the peak: three points around it, then parabolas
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
