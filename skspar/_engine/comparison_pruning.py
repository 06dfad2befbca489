"""Least squares without the comparisons that enter first: which to leave out, and how uncertain the scores then are."""

from dataclasses import dataclass

import numpy as np

from ._blas import symmetric
from .bradley_terry_mixture import VoteMixture
from .comparison_path import UNBOUNDED, Comparisons, solve
from .comparisons import Pairs, sorted_by_pair

# Shares of the comparisons that the automatic rule considers.
SHARES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, *np.arange(0.2, 0.501, 0.025))
# What pruning must gain, relative to none.
GAIN = 0.95
# Least threshold that the automatic rule considers, in units of the normal-consistent median absolute residual.
LEAST = 0.9
# Leverages above this leave nothing of a residual to judge its variance by.
LEVERAGE = 0.9


@dataclass
class Pruned:
    """Least squares on the comparisons kept.

    ``kept`` marks distinct rows, ``alpha`` is the threshold at which the last one pruned entered (infinite if none is),
    ``start`` the Huber estimate there; ``criterion`` is the relative variance that the automatic rule minimises,
    ``mixture`` what votes are judged by.
    """

    alpha: float
    kept: np.ndarray
    theta: np.ndarray
    start: np.ndarray
    criterion: float = np.nan
    mixture: object = None


def cut_for_share(path, unit_weights, share):
    """A threshold by which as much as this share of the weight allows has entered; infinite if none may go."""
    held = np.flatnonzero(unit_weights > 0.0)
    order = held[np.argsort(-path.entry[held], kind="stable")]
    entry, total = path.entry[order], np.cumsum(unit_weights[order])
    last = np.append(entry[1:] != entry[:-1], True)  # ties go together
    fits = last & (total <= share * total[-1] * (1.0 + 1e-12)) & (entry > 0.0)
    places = np.flatnonzero(fits)
    if len(places) == 0:
        return np.inf
    last, following = entry[places[-1]], entry[places[-1] + 1 :][:1].sum()
    # in the middle of the gap: an isolated comparison is not at the edge of its own selection
    return float(0.5 * (last + following))


def prune(model, path, alpha, harden=False):
    """Leave out what has entered at ``alpha`` and refit; ``harden`` goes on with the residuals of the refit."""
    units = path.entry < alpha if np.isfinite(alpha) else np.ones(model.n_units, dtype=bool)
    kept = units if model.merged.group is None else units[model.merged.group]
    start = path.theta(alpha)
    theta = refit(model, kept, start)
    for _ in range(30 if harden and np.isfinite(alpha) else 0):
        units = model.values(theta) < alpha
        again = units if model.merged.group is None else units[model.merged.group]
        if np.array_equal(again, kept) or not np.any(again):
            break
        kept, theta = again, refit(model, again, theta)
    return Pruned(alpha, kept, theta, start)


def refit(model, kept, start):
    """Least squares on some of the distinct rows."""
    merged, weights = model.merged, np.where(kept, model.weights, 0.0)
    if merged.group is not None:
        merged, order = sorted_by_pair(merged)
        weights = weights[order]
    part = Comparisons(merged, model.space, weights)
    return solve(part, UNBOUNDED, start, 1e-13).theta


def choose(model, path, harden=False):
    """Prune as much as makes the scores most certain.

    The criterion is the variance of a score difference, up to what the graph contributes, over the mean square of the
    fitted differences; see `relative_variance`. Nothing is pruned unless that lowers it by five per cent, nor at
    thresholds within the bulk of the residuals, nor what would split the graph. Residuals of votes are no measure of
    what they say: of a vote for the better item, too, they are large where items are far apart; see `judged_votes`.
    """
    if model.merged.group is None and _are_votes(model):
        return judged_votes(model)
    best = full = prune(model, path, np.inf)
    full.criterion = relative_variance(model, full, harden)
    tried = set()
    for share in SHARES:
        alpha = cut_for_share(path, model.unit_weights, share)
        if not np.isfinite(alpha) or alpha in tried:
            continue
        tried.add(alpha)
        if alpha < LEAST * _typical(model, path.theta(alpha)):
            break
        candidate = prune(model, path, alpha, harden)
        if not stays_connected(model, candidate.kept):
            continue
        candidate.criterion = relative_variance(model, candidate, harden)
        if candidate.criterion < min(best.criterion, GAIN * full.criterion):
            best = candidate
    return best


def _are_votes(model):
    """Whether all margins have the same size, or are zero, and are more than a spanning tree of the graph has."""
    size, largest = np.abs(model.merged.y[model.weights > 0.0]), _largest(model)
    equal = largest > 0.0 and np.all((size == 0.0) | (size == largest))
    return bool(equal) and model.weights.sum() > model.space.n_items - model.space.n_components


def _largest(model):
    """Largest absolute margin: the size of votes."""
    return float(np.abs(model.merged.y[model.weights > 0.0]).max(initial=0.0))


def judged_votes(model):
    """Leave out the votes that are more probably wrong than right; scores are those of the votes that are right."""
    merged, w = model.merged, model.weights
    n_pairs = len(merged.first)
    for_first = np.where(merged.y == 0.0, 0.5, merged.y > 0.0)
    won = np.bincount(merged.pair, weights=w * for_first, minlength=n_pairs)
    lost = np.bincount(merged.pair, weights=w * (1.0 - for_first), minlength=n_pairs)
    mixture = VoteMixture(model.space, won, lost)
    wrong = for_first * mixture.wrong_if_won[merged.pair] + (1.0 - for_first) * mixture.wrong_if_lost[merged.pair]
    kept = wrong <= 0.5
    if not stays_connected(model, kept):
        # a pair of whose votes none is kept may be what holds the graph together
        kept |= ~np.bincount(merged.pair, weights=w * kept, minlength=n_pairs).astype(bool)[merged.pair]
    theta = _largest(model) * mixture.theta
    return Pruned(np.inf, kept, theta, theta, mixture=mixture)


def stays_connected(model, kept):
    weight = np.bincount(
        model.merged.pair, weights=np.where(kept, model.weights, 0.0), minlength=len(model.merged.first)
    )
    return model.space.count_components(weight) == model.space.n_components


def relative_variance(model, pruned, harden=False):
    """Mean squared influence of a comparison on the scores, over the mean squared difference of the scores.

    Pruned least squares with residuals r starts from a Huber estimate with residuals r_H and threshold alpha, so that
    a comparison moves it by ``(psi + (kappa / P_H) clip(r_H, alpha)) / P`` (times what the graph makes of it): psi = r
    where it is kept, P and P_H the shares kept and within the threshold, kappa = E|r| delta(|r_H| - alpha) what the
    edge of the selection contributes, a kernel estimate. Votes of an annotator are selected together, without such an
    edge. Where pruning was repeated until it agreed with its own refit, the influence is ``psi / (P - kappa)``.
    """
    w = model.weights / model.weights.sum()
    r = model.residuals(pruned.theta)
    differences = model.space.item_differences(pruned.theta)[model.merged.pair]
    signal = w @ differences**2
    if not signal > 0.0:
        return np.inf
    influence = np.where(pruned.kept, r, 0.0)
    if np.isfinite(pruned.alpha) and model.merged.group is None:
        edge, clipped, inside = _edge(model, pruned, r)
        kappa = w @ edge
        if harden:
            feedback = 1.0 - kappa / (w @ pruned.kept)
            influence = influence / feedback if feedback > 0.1 else np.inf
        else:
            influence = influence + kappa / max(w @ inside, 1e-12) * clipped
    if np.ndim(influence) == 0:
        return np.inf
    return float(w @ influence**2 / (w @ pruned.kept) ** 2 / signal)


def _edge(model, pruned, r):
    """Density of the residuals at the edge of the selection, clipped residuals there and which are not clipped."""
    start = model.residuals(pruned.start)
    size = np.abs(start)
    scale = 1.4826 * _median(size, model.weights)
    width = 0.9 * max(scale, 0.05 * pruned.alpha) * max(model.weights.sum(), 2.0) ** -0.2
    density = np.exp(-0.5 * ((size - pruned.alpha) / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
    alpha = pruned.alpha
    return np.abs(r) * density, np.clip(start, -alpha, alpha), size < alpha


def _typical(model, theta):
    """A robust scale: of residuals, or of their root mean squares for annotators."""
    if model.merged.group is not None:
        return _median(model.values(theta), model.unit_weights)
    return 1.4826 * _median(np.abs(model.residuals(theta)), model.weights)


def _median(values, weights):
    held = weights > 0.0
    if not held.all():
        values, weights = values[held], weights[held]
    if weights.min() == weights.max():
        # the lower median, as below
        middle = (len(values) - 1) // 2
        return float(np.partition(values, middle)[middle])
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def covariance(model, pruned, shrunken=False, harden=False):
    """Sandwich covariance of the parameters, robust to unequal variances (HC3: residuals over one minus leverage).

    That of votes judged by a mixture is its posterior covariance.
    ``shrunken`` is for the Huber estimate itself, at the threshold ``pruned.alpha``.
    """
    space, merged = model.space, model.merged
    if pruned.mixture is not None:
        return _largest(model) ** 2 * pruned.mixture.covariance()
    r = model.residuals(pruned.theta)
    n_pairs = len(merged.first)

    def pairs(row_weights):
        every = space.all_pairs
        total = np.bincount(merged.pair, weights=model.weights * row_weights, minlength=n_pairs)
        return Pairs(every.first, every.second, total)

    inside = np.abs(r) <= pruned.alpha if shrunken else pruned.kept
    bread = space.inverse(pairs(inside))
    leverage = space.leverages(bread)[merged.pair]
    psi = np.clip(r, -pruned.alpha, pruned.alpha) if shrunken else np.where(inside, r, 0.0)
    square = _squared(psi, inside, leverage, model.weights)
    if shrunken or not np.isfinite(pruned.alpha) or merged.group is not None:
        return bread @ symmetric(space.hessian(pairs(square))) @ bread
    edge, clipped, unclipped = _edge(model, pruned, r)
    if harden:
        # the selection follows its own refit: the edge feeds back into it
        share = min((model.weights @ edge) / (model.weights @ inside), 0.9)
        return bread @ symmetric(space.hessian(pairs(square))) @ bread / (1.0 - share) ** 2
    first = space.inverse(pairs(unclipped))
    first_leverage = space.leverages(first)[merged.pair]
    first_square = _squared(clipped, unclipped, first_leverage, model.weights)
    mixed = np.sign(psi * clipped) * np.sqrt(square * first_square)
    M = symmetric(space.hessian(pairs(edge))) @ first
    cross = M @ symmetric(space.hessian(pairs(mixed)))
    meat = (
        symmetric(space.hessian(pairs(square)))
        + cross
        + cross.T
        + M @ symmetric(space.hessian(pairs(first_square))) @ M.T
    )
    return bread @ meat @ bread


def _squared(psi, inside, leverage, weights):
    """Squares of psi, those of fitted rows corrected for their leverage; where that takes all, their mean."""
    square = psi**2
    good = inside & (leverage <= LEVERAGE)
    square[good] /= (1.0 - leverage[good]) ** 2
    poor = inside & ~good
    if np.any(poor) and weights[good].sum() > 0.0:
        square[poor] = np.average(square[good], weights=weights[good])
    return square
