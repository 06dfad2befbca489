"""Class probabilities and label noise at once: which class a row belongs to, given features and a label that may lie.

    P(label = d | x) = sum_c p_c(x) T[c, d],    p(x) = softmax(b + D'f),    f = B'q

T holds the noise: the probability that a row of class c is labelled d; no other label of a class is likelier than its
own, or classes could change places. f is the least-squares fit of the classes' posterior given the labels (the one-hot
code, as long as nobody doubts it), so that a row whose label is doubted pulls the fit towards where it seems to belong:
the loss of a row is bounded, which the norm of its residual is not.
||D - a I||^2 is penalised, with the a that is best.

The steps are those of a generalised EM algorithm, but for B, which is least squares' (Hastie, Tibshirani & Buja 1994:
it spans the discriminant directions whatever the noise): in each, B and T are renewed, and b and D take one step of
Newton's method with a bound in the place of the curvature. They end long before the likelihood is at its peak, when
the classes of rows have settled, or after so many. The likelihood is nearly flat in directions along which few labels
tell; to go on there gains nothing: ranks are as good, or better, before. And a test to the last digits would let
rounding decide where the steps end, which would show in the rows' probabilities.
"""

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.stats import chi2

from ._blas import product
from ._known_noise import KnownNoise
from ._label_likelihood import CurvatureBound, PackedRows, label_pass
from ._transition_steps import TransitionSteps
from .row_basis import RowBasis
from .threads import in_turn

# Noise rates from which the steps begin: they climb to the nearest peak of the likelihood, which few or many wrong
# labels may be. Penalties on D: of few rows, only a and b can be told.
STARTS = (0.05, 0.35)
RIDGES = (0.3, 100.0)
SLOPE = 2.0
# The noise, the penalty and the steps of the model that believes all labels.
BELIEVED_RATE = 0.05
BELIEVED_RIDGE = 0.01
BELIEVED_STEPS = 20
# Concentrations of which the likelihood of the transition counts tells: from each class its own to all alike.
CONCENTRATIONS = np.geomspace(0.3, 3e4, 12)
# Steps in which all labels are believed, steps after which models are given up whose log likelihood of unseen labels
# lags by HOPELESS or more behind that of the least penalised from the same start, or by SLOW behind one from another
# start (few wrong labels become many in small steps), and further steps at most. One that changes less than SETTLED
# of a row's class, on the mean, is the last. In the end, models within NEGLIGIBLE of the best have a weight.
TRUSTING_STEPS = 10
TRIAL_STEPS = 15
STEPS = 60
SETTLED = 3e-4
HOPELESS = 30.0
SLOW = 120.0
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
# Length of the gradient, in units of the curvature, with which a maximisation for known noise ends, and its most steps.
GRADIENT = 0.005
MAX_ITER = 200
# Rates between which the likeliest is sought, from the first on; the largest of a class; and what rates may gain which
# are as good as the likeliest.
LEAST_RATE, MOST_RATE, MOST_WRONG = 0.005, 0.95, 0.99
NEARLY = 0.02
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

    def posterior_of(self, Q, labels, leverage):
        """Posterior of other rows, by fits in which their labels, believed, had a part of ``leverage`` each."""
        F = product(Q, self.coef)
        F += leverage[:, None] * (np.eye(len(self.offset))[labels] - F)
        return self.scan(F, labels, np.ones(len(Q)))[0]

    def bound(self):
        """A bound of the curvature, to be taken, and the penalty."""
        C = len(self.offset)
        return CurvatureBound(C, C if 2 < C <= MANY_CLASSES else 1, self.ridge, OFFSET_RIDGE)

    def _split(self):
        """Share of wrong labels of each class, and where they fall."""
        C = len(self.transition)
        wrong = 1.0 - np.diag(self.transition)
        other = self.transition * (1.0 - np.eye(C))
        split = np.where(wrong[:, None] > SMALL, other / np.maximum(wrong, SMALL)[:, None], (1.0 - np.eye(C)) / (C - 1))
        return wrong, split

    def with_equal_rates(self, rate):
        """Noise that falls where this does, at one rate for all classes."""
        return (1.0 - rate) * np.eye(len(self.transition)) + rate * self._split()[1]

    def between(self, low, high, number):
        """The same noise at rates from low to high, as far as no other label of a class is likelier than its own."""
        transitions = [self.with_rate(rate) for rate in np.linspace(low, high, number)]
        return [T for T in transitions if np.all(np.diag(T) >= T.max(axis=1))]

    def with_rate(self, rate):
        """The same noise at another rate: every class's own in proportion, at most certain."""
        C = len(self.transition)
        wrong, split = self._split()
        relative = wrong / self.rate if self.rate > SMALL else np.ones(C)
        wrong = np.minimum(rate * relative, MOST_WRONG)
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

    def packed(self):
        """As the steps read them."""
        return PackedRows(self.Q, self.labels, self.n_classes, self.counts, self.weights)

    def without_own(self, targets, F):
        """The fit of each row by the others."""
        return targets - (targets - F) / (1.0 - self.leverage)[:, None]


class Fitting:
    """A model on its way.

    Parameters
    ----------
    rows : Rows
    packed : PackedRows
        The same.
    model : TransitionModel
        From which the steps begin.
    trusting_steps : int
        In which all labels are believed.
    """

    def __init__(self, rows, packed, model, trusting_steps=TRUSTING_STEPS):
        self.rows, self.ridge, self.score = rows, model.ridge, None
        self.steps = TransitionSteps(
            packed, model.coef, model.offset, model.tilt, model.transition, model.rate, model.bound(), CONCENTRATIONS,
            trusting_steps, BOUNDED_AT,
        )  # fmt: skip

    def go_on(self):
        """Trust no longer: the model was fitted to other rows, and its coefficients are those of this basis."""
        self.steps.n_steps = TRUSTING_STEPS
        self.steps.renew_fit()

    def proceed(self, n_steps):
        """Take steps, and return the log likelihood of each label by a fit that has not seen it, less T's freedom."""
        self.steps.proceed(n_steps, SETTLED)
        self.score = self.steps.score(self.rows.leverage) - FREE_ENTRY * self.steps.freedom
        return self.score

    def attempt(self, least):
        """Take all steps, but give up where the score is no more than ``least`` in time; return whether it went on."""
        if not self.proceed(TRIAL_STEPS) > least:
            return False
        self.proceed(STEPS)
        return True

    def model(self):
        """As it is."""
        steps = self.steps
        return TransitionModel(
            steps.coef, steps.offset, steps.tilt, self.ridge, steps.transition, steps.rate, steps.freedom,
            steps.posterior, steps.targets,
        )  # fmt: skip


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

    def probabilities(self, Q):
        """Of the classes, for other rows."""
        total = 0.0
        for share, model in zip(self.shares, self.models, strict=True):
            F = np.empty((len(Q), len(model.offset)))
            product(Q, model.coef, out=F)
            found = np.empty(F.shape)
            model.scan(F, np.zeros(len(Q), dtype=np.intp), np.ones(len(Q)), probabilities=found)
            total = total + share * found
        return total

    def posterior_with_own(self, rows):
        """That of the rows they were fitted on, by fits to which the row's own label is believed."""
        total = 0.0
        for share, model in zip(self.shares, self.models, strict=True):
            F = product(rows.Q, model.coef)
            F += rows.leverage[:, None] * (rows.one_hot - model.targets)
            total = total + share * model.scan(F, rows.labels, rows.counts)[0]
        return total

    def posterior_of(self, Q, labels, leverage):
        """The same of other rows: with a leverage of zero, of those that have no part in the fits."""
        return sum(
            share * model.posterior_of(Q, labels, leverage)
            for share, model in zip(self.shares, self.models, strict=True)
        )


def beginnings(rows):
    """Models to which no label is doubtful: for each start, one with each penalty."""
    C = rows.n_classes
    eye = np.eye(C)
    first = _beginning(rows)
    # of two classes, the unlike part of D has no effect
    ridges = RIDGES if C > 2 else RIDGES[-1:]
    noises = [(start, (1.0 - start) * eye + start / (C - 1) * (1.0 - eye)) for start in STARTS]
    return [
        [replace(first, ridge=ridge, transition=transition, rate=start) for ridge in ridges]
        for start, transition in noises
    ]


def _beginning(rows):
    eye = np.eye(rows.n_classes)
    coef = product(rows.Q.T, rows.one_hot * rows.weights[:, None])
    prior = np.log(np.maximum(rows.sizes, SMALL) / rows.total)
    return TransitionModel(coef, prior, SLOPE * eye, 0.0, eye)


def believing(rows, model):
    """A model that believes all labels, whose B is theirs; wrong ones are few, and fall where those of ``model`` do.

    It is misled by labels that are wrong together, but never by itself: where p(x) is not of the class probabilities'
    form, the other models take rows that it cannot fit for wrong ones, fit the rest, and are the surer.
    """
    noise = model.with_equal_rates(BELIEVED_RATE)
    begin = replace(_beginning(rows), ridge=BELIEVED_RIDGE, transition=noise, rate=BELIEVED_RATE)
    fit = Fitting(rows, rows.packed(), begin, BELIEVED_STEPS)
    fit.steps.proceed(BELIEVED_STEPS)
    return fit.model()


def fit_transitions(rows, random_state, run_all=in_turn):
    """Models from all starts with all penalties, and their weights; those that fall far behind are given up.

    Of many rows, some choose one model, which goes on with all of them. ``run_all`` maps thunks to their results.
    """
    n = len(rows.labels)
    if n > LARGE:
        some = np.sort(random_state.choice(n, LARGE // 2, replace=False))
        basis = RowBasis(rows.Q[some], rows.weights[some], False)
        part = Rows(basis.Q, rows.labels[some], rows.n_classes, rows.counts[some], rows.weights[some])
        first = fit_transitions(part, random_state, run_all).best
        coef = product(basis.map, first.coef)
        fit = Fitting(rows, rows.packed(), replace(first, coef=coef))
        fit.go_on()
        fit.proceed(LATER_STEPS)
        return TransitionMixture([fit.model()], np.ones(1))
    packed = rows.packed()
    fits = [[Fitting(rows, packed, model) for model in models] for models in beginnings(rows)]
    scores = run_all([partial(first.proceed, TRIAL_STEPS) for first, *_ in fits])
    hopeful = [(score, *own) for score, own in zip(scores, fits) if score > max(scores) - SLOW]
    lasting = [first for _, first, *_ in hopeful]
    others = [(fit, score - HOPELESS) for score, _, *more in hopeful for fit in more]
    # the long ones first: the others go where a thread is idle
    climbs = [partial(fit.proceed, STEPS) for fit in lasting] + [partial(fit.attempt, least) for fit, least in others]
    went_on = run_all(climbs)[len(lasting) :]
    lasting += [fit for (fit, _), lasts in zip(others, went_on) if lasts]
    scores = np.array([fit.score for fit in lasting])
    lag = scores.max() - scores
    fits, lag = [fit for fit, behind in zip(lasting, lag) if behind < NEGLIGIBLE], lag[lag < NEGLIGIBLE]
    # a model has no weight where it begins to count
    shares = np.exp(-lag) - np.exp(-NEGLIGIBLE)
    return TransitionMixture([fit.model() for fit in fits], shares / shares.sum())


@dataclass
class KnownRate:
    """The likeliest model with the noise at a given rate.

    Attributes
    ----------
    value, slope : float
        Penalised log likelihood, and its derivative in the rate, the rest being at its best.
    wrong : float
        Expected number of wrong labels.
    """

    model: TransitionModel
    value: float
    slope: float
    wrong: float


class RateProfile:
    """The profile of the likelihood: the likeliest b and D with the noise at one rate after the other, F fixed.

    Attributes
    ----------
    known : list of KnownRate
        By rate.
    """

    def __init__(self, model, F, labels, counts):
        self.model = model
        self._climber = KnownNoise(F, labels, counts, model.bound())
        self.known = []

    def at(self, rate, wanted=-np.inf):
        """What is known of a rate; where ``wanted`` is out of reach, its value is that of a worse model."""
        rate = float(rate)
        for found in self.known:
            if found.model.rate == rate:
                return found
        offset, tilt = self._begin(rate)
        transition = self.model.with_rate(rate)
        value, offset, tilt, expected = self._climber.maximise(offset, tilt, transition, GRADIENT, MAX_ITER, wanted)
        model = replace(
            self.model, offset=offset, tilt=tilt, transition=transition, rate=rate, posterior=None, targets=None
        )
        chance, right = 1.0 - np.diag(transition), np.diag(expected)
        wrong, slope = expected.sum(axis=1) - right, np.inf
        if rate > 0.0:
            # the rate of a class that is at its bound no longer changes
            changes = np.where(chance < MOST_WRONG, (wrong - chance * right / (1.0 - chance)) / rate, 0.0)
            slope = float(changes.sum())
        found = KnownRate(model, float(value), slope, float(wrong.sum()))
        self.known = sorted([*self.known, found], key=lambda known: known.model.rate)
        return found

    def _begin(self, rate):
        """b and D on the line through those of the nearest rates."""
        near = [known.model for known in sorted(self.known, key=lambda known: abs(known.model.rate - rate))[:2]]
        if not near:
            return self.model.offset, self.model.tilt
        share = 0.0
        if len(near) == 2:
            share = float(np.clip((rate - near[0].rate) / (near[1].rate - near[0].rate), -1.0, 1.0))
        first, second = near[0], near[-1]
        return first.offset + share * (second.offset - first.offset), first.tilt + share * (second.tilt - first.tilt)


def rate_limits(model, F, labels, counts, confidence):
    """Models at the likeliest noise rate and at its lower confidence limit, and the upper limit, from the likelihood.

    The lower limit is zero where a likelihood-ratio test does not reject that no label is wrong.
    """
    profile = RateProfile(model, F, labels, counts)
    best = _peak(profile)
    drop, total = 0.5 * float(chi2.isf(2.0 * (1.0 - confidence), 1)), float(counts.sum())
    low = _lower_limit(profile, best, drop, total)
    return best.model, low.model, _upper_limit(profile, best, drop, total)


def _peak(profile):
    """The likeliest rate, as far as the likelihood tells rates apart.

    A number of wrong labels is Poisson's, roughly, and the derivative in the logarithm of the rate linear in the rate.
    """
    low, high = 0.0, MOST_RATE
    rate, before = min(max(profile.model.rate, LEAST_RATE), 0.9), None
    for _ in range(30):
        point = profile.at(rate)
        low, high = (rate, high) if point.slope > 0.0 else (low, rate)
        towards = rate * point.slope
        if before is None:
            step = towards / max(point.wrong, 1.0) * rate
        else:
            fall = (before[1] - towards) / (rate - before[0])
            step = towards / fall if fall > 0.0 else np.copysign(rate, towards)
        if abs(step) <= 0.05 * rate + 5e-4 and abs(step * point.slope) <= NEARLY:
            break
        before = rate, towards
        rate = min(rate + step, 2.0 * rate + 0.01)
        if not low < rate < high:
            rate = 0.25 * high if low == 0.0 else 0.5 * (low + high)
        if high < LEAST_RATE / 10.0 or high - low < 1e-3 * high or rate == before[0]:
            break
    if low == 0.0:
        profile.at(0.0)
    return max(profile.known, key=lambda known: known.value)


def _lower_limit(profile, best, drop, total):
    """The largest rate below the best at which the log likelihood has fallen by ``drop``, to 1 %.

    It is surely outside the region, which errs on the side of fewer wrong labels; and zero if that is within.
    """
    wanted, top = best.value - drop, best.model.rate
    below = [known for known in profile.known if known.model.rate <= top]
    low = max((known.model.rate for known in below if known.value < wanted), default=0.0)
    high = min(known.model.rate for known in below if known.model.rate > low or known is best)
    rate = top - 2.0 * np.sqrt(top / total)
    while high - low > 0.01 * high + 1e-4:
        if not low < rate < high:
            if low == 0.0 and profile.at(0.0, wanted).value >= wanted:
                break
            rate = 0.5 * (low + high)
        point = profile.at(rate)
        if point.value >= wanted:
            high = rate
        else:
            low = rate
            if wanted - point.value <= point.slope * (0.01 * rate + 1e-4):
                break
        # a parabola's, and a little farther
        rate = top - 1.005 * (top - rate) * np.sqrt(drop / max(best.value - point.value, 1e-3 * drop))
    nothing = profile.at(0.0, wanted)
    return nothing if nothing.value >= wanted else profile.at(low)


def _upper_limit(profile, best, drop, total):
    """The smallest rate above the best at which the log likelihood has fallen by ``drop``, to 1 %.

    It is surely outside the region, which errs on the side of more wrong labels; or MOST_RATE.
    """
    wanted, top = best.value - drop, best.model.rate
    above = [known for known in profile.known if known.model.rate >= top]
    high = min((known.model.rate for known in above if known.value < wanted), default=MOST_RATE)
    low = max(known.model.rate for known in above if known.model.rate < high or known is best)
    rate = top + 2.0 * np.sqrt(max(top, 1.0 / total) / total)
    while high - low > 0.01 * high + 1e-4:
        if not low < rate < high:
            rate = 0.5 * (low + high)
        point = profile.at(rate)
        if point.value >= wanted:
            low = rate
        else:
            high = rate
            if wanted - point.value <= -point.slope * (0.01 * rate + 1e-4):
                break
        # a parabola's, and a little farther
        rate = top + 1.005 * (rate - top) * np.sqrt(drop / max(best.value - point.value, 1e-3 * drop))
    return high
