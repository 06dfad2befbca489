"""Votes of which some follow another ranking: mixtures of two Bradley-Terry models, averaged over their kinds.

A vote on a pair whose first item leads by d = s_i - s_j + bias goes to that item with the probability

    (1 - e) / (1 + exp(-d)) + e / (1 + exp(-c)),   0 <= e <= 1/2,

where c = -d if wrong votes are cast the wrong way round, or c = t_i - t_j + bias' with other scores t if they follow
another ranking. Scores are normal with variance 1 / r. Each kind is fitted with several r; what is returned are means
over all, weighted by the marginal likelihood (Laplace's approximation, with the expected information).
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, logit
from scipy.stats import chi2

from ._blas import product, symmetric
from .comparisons import Pairs

# Precisions r of the scores, in logits, from the middle out; those beyond one that is much less likely are not tried.
PRECISIONS = (0.12, 0.05, 0.02), (0.12, 0.3, 0.8, 2.0, 5.0)
MUCH = 8.0
# With more parameters than this only flips are considered, with the first precision: evidence needs a determinant.
EVIDENCE_LIMIT = 300
# Level of the test that the votes have an order; without one none is wrong.
ORDER_LEVEL = 0.05
# Least probability: its square is one, too.
TINY = 1e-150
# Items of a component up to which every pair of them is looked at.
ALL_PAIRS = 4096


@dataclass
class Fitted:
    """One model: scores, those of wrong votes, the share of these, and the logarithm of the posterior density.

    ``free`` says whether wrong votes have scores of their own; ``evidence`` is the log of the marginal likelihood.
    """

    theta: np.ndarray
    other: np.ndarray
    share: float
    precision: float = 1.0
    value: float = -np.inf
    free: bool = False
    evidence: float = 0.0


class VoteMixture:
    """Means over the models of the votes of each pair.

    Parameters
    ----------
    space : Parametrization
    won, lost : ndarray
        Weight of the votes for and against the first item of each pair; ties count half for either.

    Attributes
    ----------
    wrong_if_won, wrong_if_lost : ndarray
        For each pair the probability that a vote for, or against, its first item is one of the wrong ones.
    theta : ndarray
        Parameters of least squares on the expected votes of the others for all pairs of items (of a component).
    """

    def __init__(self, space, won, lost):
        self.space, self.won, self.lost = space, won, lost
        self._total = won + lost
        self._prior = None
        if space.n_parameters <= EVIDENCE_LIMIT:
            self._prior = self._prior_matrix()
        with np.errstate(over="ignore", invalid="ignore"):
            # weights may be huge; what is not finite is never taken
            models = self._models()
        weights = np.exp(np.array([model.evidence for model in models]) - max(model.evidence for model in models))
        weights /= weights.sum()
        self.wrong_if_won, self.wrong_if_lost = np.zeros(len(won)), np.zeros(len(won))
        self.theta = np.zeros(space.n_parameters)
        likely = [(weight, model) for weight, model in zip(weights, models) if weight > 1e-6]
        self._likely = [(weight, model, self._with_scores(*self._expected(model))) for weight, model in likely]
        for weight, model, theta in self._likely:
            for_first, for_second = self._wrong(model)
            self.wrong_if_won += weight * for_first
            self.wrong_if_lost += weight * for_second
            self.theta += weight * theta

    def covariance(self):
        """Posterior covariance of ``theta`` (Laplace's approximation in each model); zero for the position bias."""
        out = np.zeros((len(self.theta), len(self.theta)))
        if self._prior is None:
            self._prior = self._prior_matrix()
        for weight, model, theta in self._likely:
            x = self._unknowns(model)
            H = -self._derivatives(x, model.precision, model.free, model.share > 0.0, second=True)[2]
            values, vectors = np.linalg.eigh(H)
            # never negative but for rounding, or where the share of wrong votes tends to zero
            half = vectors[: len(self.theta)] / np.sqrt(np.maximum(values, 1e-12 * values[-1]))
            moved = self._sensitivity(model) @ half
            out += weight * (moved @ moved.T + np.outer(theta - self.theta, theta - self.theta))
        return out

    def _sensitivity(self, model):
        """Derivatives of ``theta`` in the parameters of a model."""
        space = self.space
        s, bias = space.scores(space.centred(model.theta))
        d = 0.5 * (s[:, None] - s)
        # half the derivative of the mean vote of a pair, shown in either order
        forth, back = (0.25 / np.cosh(np.clip(d + way * bias, -300.0, 300.0)) ** 2 for way in (0.5, -0.5))
        near, by_bias = forth + back, forth - back
        if space.features is None and space.n_components > 1:
            together = space.component[:, None] == space.component
            near, by_bias = near * together, by_bias * together
            counts = together.sum(axis=1)
        else:
            counts = np.full(space.n_items, space.n_items)
        near /= counts[:, None]
        J = np.diag(near.sum(axis=1)) - near
        by_bias = by_bias.sum(axis=1) / counts
        columns = np.column_stack([J, by_bias])
        if space.features is not None:
            units = [space.scores(unit) for unit in np.eye(space.n_parameters)]
            columns = J @ np.column_stack([s for s, _ in units]) + np.outer(by_bias, [bias for _, bias in units])
            return np.column_stack([self._with_scores(column, 0.0) for column in columns.T])
        if not space.position_bias:
            return J
        return np.vstack([columns, np.zeros(len(columns) + 1)])

    # --- models

    def _models(self):
        space, total = self.space, self._total
        mean = np.where(total > 0.0, (self.won - self.lost) / np.maximum(total, TINY), 0.0)
        held = self._pairs((total > 0.0).astype(float))
        bases = [
            self._unit(space.solver(space.all_pairs)(space.pull_back(total * mean))),
            self._unit(space.solver(held)(space.pull_back(held.weight * np.sign(mean)))),
        ]
        middle = PRECISIONS[0][0]
        kinds = (self._best_flips, self._best_other) if self._have_an_order() else (self._best_plain,)
        if space.n_parameters > EVIDENCE_LIMIT:
            return [kinds[0](middle, bases, None)]
        models = []
        for fit in kinds:
            first = fit(middle, bases, None)
            models.append(first)
            best = first.evidence
            for direction in PRECISIONS:
                found = first
                for r in direction[1:]:
                    found = fit(r, bases, found)
                    models.append(found)
                    best = max(best, found.evidence)
                    if found.evidence < best - MUCH:
                        break
            bases = [models[0].theta, bases[1]]
        return models

    def _have_an_order(self):
        """Whether least squares explains more of the votes than of coin flips, by a chi-squared test.

        Where it does not, there is no telling wrong votes from right ones, and the evidence, which is too large for
        scores far apart, must not try: it takes most sets of coin flips for an order of which 40 % is reversed.
        """
        space, balance = self.space, self.won - self.lost
        pull = space.pull_back(balance)
        explained = pull @ space.solver(space.all_pairs)(pull)
        freedom = space.n_parameters - (space.n_components if space.features is None else 0)
        if space.position_bias:
            explained -= balance.sum() ** 2 / self._total.sum()
            freedom -= 1
        return chi2.sf(explained, freedom) < ORDER_LEVEL

    def _best_plain(self, r, bases, before):
        """No wrong votes: a Bradley-Terry model."""
        return self._best([self._fit(r, bases[0] if before is None else before.theta, None, 0.0)], r)

    def _best_flips(self, r, bases, before):
        """Flipped votes; none (a Bradley-Terry model) where that is as likely."""
        size = min(3.0, r**-0.5)
        if before is None:
            starts = [(size * bases[0], 0.0), *((size * base, e) for base in bases for e in (0.02, 0.2))]
        else:
            starts = [(before.theta, 0.0), (before.theta, max(before.share, 0.02)), (size * bases[1], 0.2)]
        return self._best([self._fit(r, theta, None, e) for theta, e in starts], r)

    def _best_other(self, r, bases, before):
        """Votes by another ranking; ``bases[0]`` is the fit with flips."""
        size = min(3.0, r**-0.5)
        starts = [] if before is None else [(before.theta, before.other, max(before.share, 0.02))]
        for theta in (bases[0], size * bases[1]) if before is None else (bases[0],):
            wrong = self._wrong(Fitted(theta, -theta, 0.2))
            for_first, for_second = self.won * wrong[0], self.lost * wrong[1]
            pairs = self._pairs(for_first + for_second + 1e-9 * self._total.mean())
            other = self._unit(self.space.solver(pairs)(self.space.pull_back(for_first - for_second)))
            starts.append((theta, 0.5 * size * other, 0.2))
        plain = self._fit(r, bases[0] if before is None else before.theta, None, 0.0)
        return self._best([plain] + [self._fit(r, *start) for start in starts], r)

    def _best(self, models, r):
        """The likeliest one, to the last digits, with its evidence; of equals the first."""
        best = max(models, key=lambda model: model.value - 1e-7 * (model.share > 0.0) * (1.0 + abs(model.value)))
        if self._prior is not None:
            best = self._climb(best, r, 1e-9)
            best.evidence = best.value + self._log_volume(r, best)
        return best

    def _fit(self, r, theta, other, share):
        """The most likely scores with some precision; no ``other`` means flips, a share of zero keeps it so."""
        start = Fitted(theta, other, share, free=other is not None)
        if self._prior is not None:
            return self._climb(start, r, 1e-3)

        def objective(x):
            value, gradient, _ = self._derivatives(x, r, start.free, share > 0.0)
            return -value, -gradient

        options = dict(maxiter=500, ftol=1e-10)
        found = minimize(objective, self._unknowns(start), jac=True, method="L-BFGS-B", options=options)
        return self._model(found.x, r, -found.fun, start.free, share > 0.0)

    def _climb(self, model, r, tol):
        """Newton's method, damped where the posterior is not concave, until a step promises less than ``tol``."""
        free, some = model.free, model.share > 0.0
        x, damping = self._unknowns(model), 0.0
        value, gradient, H = self._derivatives(x, r, free, some, second=True)
        unit = np.full(len(x), self._total.sum() / len(x))
        for _ in range(200):
            step = None
            while step is None:
                factor, info = dpotrf(damping * np.diag(unit) - H, lower=1)
                if info == 0:
                    step = dpotrs(factor, gradient, lower=1)[0]
                elif damping > 1e12:
                    # not finite: no damping helps
                    return self._model(x, r, value, free, some)
                else:
                    damping = max(1e-3, 4.0 * damping)
            trial = self._derivatives(x + step, r, free, some, second=True)
            gain = gradient @ step
            if not trial[0] >= value + 1e-3 * gain:
                if gain <= 1e-12 * (1.0 + abs(value)):
                    break
                damping = max(1e-3, 4.0 * damping)
                continue
            x, damping = x + step, (0.2 * damping if damping > 1e-6 else 0.0)
            value, gradient, H = trial
            # towards no wrong votes at all, which are a start of their own
            vanishes = some and x[-1] < logit(2e-4) and gradient[-1] < 0.0
            if (damping == 0.0 and gain <= tol) or vanishes:
                break
        return self._model(x, r, value, free, some)

    def _model(self, x, r, value, free, some):
        n, share = self.space.n_parameters, 0.5 * float(expit(x[-1])) if some else 0.0
        return Fitted(x[:n], x[n : 2 * n] if free else -x[:n], share, r, value, free)

    def _unknowns(self, model):
        share = [logit(min(2.0 * model.share, 1.0 - 1e-9))] if model.share > 0.0 else []
        return np.concatenate([model.theta, model.other if model.free else [], share])

    def _derivatives(self, x, r, free, some, second=False):
        """Log-likelihood and log-prior (up to a constant), gradient, and the matrix of second derivatives if wanted."""
        n, space = self.space.n_parameters, self.space
        a, b, e = x[:n], x[n : 2 * n] if free else None, 0.5 * expit(x[-1]) if some else 0.0
        p, q, pa, qa, pb, qb = self._probabilities(a, b, e)
        pull = self.won / p - self.lost / q
        rate = e * (1.0 - 2.0 * e)
        # derivatives of the probability: in the lead, in the other lead, in the logit of twice the share
        d_a = (1.0 - e if free else 1.0 - 2.0 * e) * pa * qa
        d_b, d_e = e * pb * qb, (pb - pa) * rate
        unknowns = [(a, d_a)] + ([(b, d_b)] if free else [])
        value = self.won @ np.log(p) + self.lost @ np.log(q)
        parts = []
        for theta, slope in unknowns:
            prior = r * self._times_prior(theta)
            value -= 0.5 * (theta @ prior)
            parts.append(space.pull_back(pull * slope) - prior)
        if some:
            parts.append([pull @ d_e])
        gradient = np.concatenate(parts)
        if not second:
            return value, gradient, None
        bend = self.won / p**2 + self.lost / q**2
        H = np.zeros((len(x), len(x)))
        H[:n, :n] = self._information(pull * d_a * (qa - pa) - bend * d_a * d_a) - r * self._prior
        if free:
            H[n : 2 * n, n : 2 * n] = self._information(pull * d_b * (qb - pb) - bend * d_b * d_b) - r * self._prior
            H[n : 2 * n, :n] = self._information(-bend * d_a * d_b)
            H[:n, n : 2 * n] = H[n : 2 * n, :n].T
        if some:
            H[-1, :n] = H[:n, -1] = space.pull_back(pull * (-1.0 if free else -2.0) * pa * qa * rate - bend * d_a * d_e)
            if free:
                H[-1, n : 2 * n] = H[n : 2 * n, -1] = space.pull_back(pull * pb * qb * rate - bend * d_b * d_e)
            H[-1, -1] = pull @ d_e * (1.0 - 4.0 * e) - bend @ (d_e * d_e)
        return value, gradient, H

    def _probabilities(self, a, b, e):
        """Of a vote for and against the first item: of all, of the right ones, and of the wrong ones."""
        pa, qa = _sigmoids(self.space.differences(a))
        pb, qb = (qa, pa) if b is None else _sigmoids(self.space.differences(b))
        p, q = (1.0 - e) * pa + e * pb, (1.0 - e) * qa + e * qb
        return np.maximum(p, TINY), np.maximum(q, TINY), pa, qa, pb, qb

    def _wrong(self, model):
        p, q, _, _, pb, qb = self._probabilities(model.theta, model.other, model.share)
        return model.share * pb / p, model.share * qb / q

    def _log_volume(self, r, model):
        """Half the log determinant of the prior's precision less that of the posterior's."""
        e = model.share
        p, q, pa, qa, pb, qb = self._probabilities(model.theta, model.other, e)
        weight = self._total / (p * q)
        right = (1.0 - e if model.free else 1.0 - 2.0 * e) * pa * qa
        H = self._information(weight * right * right) + r * self._prior
        half = 0.5 * np.linalg.slogdet(r * self._prior)[1]
        if not model.free:
            return half - 0.5 * np.linalg.slogdet(H)[1]
        wrong = e * pb * qb
        cross = self._information(weight * right * wrong)
        whole = np.block([[H, cross], [cross.T, self._information(weight * wrong * wrong) + r * self._prior]])
        return 2.0 * half - 0.5 * np.linalg.slogdet(whole)[1]

    def _pairs(self, weight):
        return Pairs(self.space.all_pairs.first, self.space.all_pairs.second, weight)

    def _information(self, weight):
        return symmetric(self.space.hessian(self._pairs(weight)))

    # --- the prior: squared scores about their mean, and the squared bias

    def _prior_matrix(self):
        space = self.space
        if space.features is None:
            return np.eye(space.n_parameters)
        return np.column_stack([self._times_prior(unit) for unit in np.eye(space.n_parameters)])

    def _times_prior(self, theta):
        if self.space.features is None:
            # what no vote sees, the mean of a component, is kept at zero
            return theta
        if self._prior is not None:
            return product(self._prior, theta)
        s, bias = self.space.scores(theta)
        return self.space.from_items(np.append(s - s.mean(), bias))

    def _unit(self, theta):
        """Scaled so that the root mean square difference is that of independent standard normal scores."""
        d = self.space.differences(theta)
        size = np.sqrt(0.5 * np.average(d * d, weights=self._total))
        return theta / size if size > 0.0 else theta

    # --- expected votes

    def _expected(self, model):
        """Scores and bias by least squares on the expected right votes for all pairs of items (of a component)."""
        space = self.space
        s, bias = space.scores(space.centred(model.theta))
        apart = space.n_components if space.features is None else 1
        scores, total, count = np.zeros(len(s)), 0.0, 0
        for c in range(apart):
            members = np.flatnonzero(space.component == c) if apart > 1 else slice(None)
            own = s[members]
            forth, back = _mean_votes(own, bias), _mean_votes(own, -bias)
            scores[members] = 0.5 * (forth + back)
            # but for those of an item with itself
            total += len(own) * (forth.sum() - np.tanh(0.5 * bias))
            count += len(own) * (len(own) - 1)
        return scores, total / count

    def _with_scores(self, scores, position_bias):
        """Parameters with these scores, or the nearest that features can give."""
        space = self.space
        if space.features is not None:
            target = space.from_items(np.append(scores - scores.mean(), position_bias))
            if self._prior is not None:
                return np.linalg.solve(self._prior, target)
            operator = LinearOperator((len(target), len(target)), matvec=self._times_prior, dtype=np.float64)
            return cg(operator, target, rtol=1e-10, atol=0.0)[0]
        return np.append(scores, position_bias) if space.position_bias else scores


def _sigmoids(d):
    """``1 / (1 + exp(-d))`` and ``1 / (1 + exp(d))``, both accurate."""
    z = np.exp(-np.abs(d))
    large = 1.0 / (1.0 + z)
    small = z * large
    ahead = d > 0.0
    return np.where(ahead, large, small), np.where(ahead, small, large)


def _mean_votes(s, bias):
    """``mean_j tanh((s_i - s_j + bias) / 2)``, the mean vote for item i."""
    if len(s) <= ALL_PAIRS:
        return np.tanh(0.5 * (s[:, None] - s + bias)).mean(axis=1)
    grid = np.linspace(s.min(), s.max(), ALL_PAIRS)
    curve = np.concatenate([
        np.tanh(0.5 * (part[:, None] - s + bias)).mean(axis=1) for part in np.array_split(grid, 1 + len(s) // 1000)
    ])  # fmt: skip
    # monotone, so that nothing changes places
    return PchipInterpolator(grid, curve)(s)
