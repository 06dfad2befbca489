"""Solutions along a decreasing grid of alphas, each with its duality gap.

The path solver works on a small set of groups (`working_set`), from their Gram matrix alone. It solves several
consecutive alphas there, then asks for the correlations of all of them at once: a pass over X costs little more for
five residuals than for one. Solutions are accepted up to the first whose duality gap is too large; groups that
violate optimality join the set, and the work goes on from there. No solution leaves without its gap.
"""

from dataclasses import dataclass

import numpy as np

from . import sparse_lasso
from .threads import in_turn
from .working_set import WorkingSet, gap_parts

# Alphas of one request.
BATCH = 6
# Groups kept in play beside the active ones, as a multiple of these: more spare the passes that find them, and cost
# rows and columns of the Gram matrix.
SPARE = 2.0
# The same where no Gram matrix is kept.
SPARE_COLUMNS = 2.5
# Where consecutive alphas lie further apart than the ratio LEAD, uncertified points in between lead the way, solved to
# the duality gap LEAD_TOL. None follows the other at less than FAR; from nearer than NEAR to an alpha that comes next.
LEAD, FAR, NEAR, LEAD_TOL = 0.7, 0.03, 0.95, 3e-3
# The duality gap of solutions that are known to lack groups; these grow by at most GROWTH times their number.
LACK_TOL, GROWTH = 1e-2, 1.5
# The same of the solution after those: some groups may still be missing, and to learn of it then spares Newton steps.
MIDDLE_TOL = 1e-3
# What copying a feature costs, in features of a pass over X, and multiplying two that were copied.
COPY, FLOPS = 5.0, 0.04


@dataclass
class PathResult:
    """Solutions on the features of groups that were ever active.

    Attributes
    ----------
    features : ndarray
        Features of the penalty's layout.
    coefs : list of ndarray of shape (at most len(features), n_targets)
        A solution's rows belong to the first features.
    gaps, n_iters : ndarray of shape (n_alphas,)
    converged : ndarray of bool
    n_passes : int
        Requests for a product with the whole design.
    """

    features: np.ndarray
    coefs: list
    gaps: np.ndarray
    n_iters: np.ndarray
    converged: np.ndarray
    n_passes: int = 0

    def padded(self, scale=1.0):
        """The solutions, each with a row for every feature."""
        out = []
        for B in self.coefs:
            full = np.zeros((len(self.features), B.shape[1]))
            full[: len(B)] = B
            out.append(full * scale)
        return out


def largest_dual_norm(penalty, C):
    """The alpha from which on all penalised coefficients are zero."""
    return float(penalty.dual_norms(C).max(initial=0.0))


def solve_path(problem, penalty, alphas, tol, max_iter, q=None, start=None, follow=None, report=None):
    """Solve for every alpha of a decreasing grid, all positive.

    A generator: it yields weighted residual columns, is sent the design's products with them, and returns a
    `PathResult`. ``tol`` bounds the duality gap relative to the null objective. ``q`` are the correlations at zero
    if known, ``start`` an initial (n_features, n_targets). At the end ``follow`` is called, if given, with the last
    alpha, the features in play, the solution there and whether it converged, and returns one more alpha (> 0) or None.
    ``report`` is called, if given, whenever an alpha is done.
    """
    if q is None:
        q = yield from problem.correlations_at_zero()
    q = np.ascontiguousarray(q)
    T = q.shape[1]
    n_alphas = len(alphas)
    target = tol * problem.null_objective
    inner_tol = min(0.05 * tol, 1e-5)
    work = WorkingSet(problem, penalty, q)
    norms = penalty.dual_norms(q)
    top = norms.max(initial=0.0)
    coefs = [None] * n_alphas
    gaps, n_iters = np.zeros(n_alphas), np.ones(n_alphas, dtype=int)
    converged = np.ones(n_alphas, dtype=bool)
    n_passes = 1

    done = 0
    # to rounding: units were changed since alpha_max was told
    while done < n_alphas and alphas[done] >= top * (1.0 - 1e-14):
        coefs[done] = np.zeros((0, T))
        done += 1
    for _ in range(done if report is not None else 0):
        report()
    points, places = np.array(alphas[done:]), np.arange(done, n_alphas)

    if start is not None:
        in_play = np.unique(np.searchsorted(penalty.ptr, np.flatnonzero(start.any(axis=1)), side="right") - 1)
        work.grow(in_play)
        work.start_from(start[work.features])
    # where the path was certified last, and before
    reached, before = top, (top, norms)
    at, batch, attempts, best_gap = 0, 2, 0, np.inf
    # ``rough`` is the gap with which the next solution is content: it is known to lack groups, or the last one was
    spent, rough = 0, 0.0
    while True:
        if at == len(points):
            more = None
            if follow is not None:
                B = coefs[-1]
                more = follow(points[-1] if at else alphas[-1], work.features[: len(B)], B, converged[-1])
            if more is None:
                break
            coefs.append(None)
            gaps, n_iters, converged = np.append(gaps, 0.0), np.append(n_iters, 1), np.append(converged, True)
            points, places = np.append(points, more), np.append(places, len(coefs) - 1)
            batch = 2
        if attempts == 0 and (start is None or at > 0):
            lead = _lead(work, norms, reached, points[at])
            if lead > points[at]:
                points, places = np.insert(points, at, lead), np.insert(places, at, -1)
        stop, after_lead = at + 1, at > 0 and places[at - 1] < 0
        most = 1 if places[at] < 0 or rough == LACK_TOL else batch
        while stop < min(at + most, len(points)) and points[stop] >= LEAD * points[stop - 1]:
            stop += 1
        if attempts == 0 or work.gram_free:
            leading = after_lead or places[at] < 0 or points[at] < LEAD * reached
            too_many = _look_ahead(work, norms, reached, before, points[stop - 1], leading)
            if too_many and after_lead and attempts == 0:
                rough = LACK_TOL
        solutions, iterations = [], []
        for alpha, place in zip(points[at:stop], places[at:stop]):
            goal = max(0.6 * target, (LEAD_TOL if place < 0 else rough) * problem.null_objective)
            iterations.append(work.solve(alpha, inner_tol, max_iter, goal))
            solutions.append(work.B.copy())
        accuracy = 0.1 * target if places[at] >= 0 else np.inf
        correlations, rss = yield from problem.evaluate(work.features, solutions, accuracy)
        n_passes += 1

        wanted, first_failure = None, None
        for i in range(len(solutions)):
            alpha, place = points[at + i], places[at + i]
            C, B = correlations[i], solutions[i]
            point_norms = penalty.dual_norms(C)
            if len(B):
                gap = gap_parts(work.part, alpha, B, C[work.features], rss[i], point_norms)
            else:
                gap = gap_parts(penalty, alpha, np.zeros_like(C), C, rss[i], point_norms)
            if first_failure is None:
                cost = iterations[i] + (spent if i == 0 else 0)
                exhausted = cost >= max_iter
                hopeless = attempts >= 8 or (attempts >= 3 and gap > 0.5 * best_gap)
                stuck = i == 0 and hopeless and rough < LACK_TOL
                stuck = stuck and not np.any(_violations(work, point_norms, alpha, inner_tol))
                if gap <= target or place < 0 or stuck or exhausted:
                    if place >= 0:
                        coefs[place], gaps[place], n_iters[place] = B, gap, max(cost, 1)
                        converged[place] = gap <= target
                        if report is not None:
                            report()
                    before = (reached, norms) if reached > alpha else before
                    norms, reached = point_norms, alpha
                else:
                    first_failure, failed_gap, failed_C = i, gap, C
                    needed = _violations(work, point_norms, alpha, inner_tol)
                    wanted = np.zeros(len(needed))
            else:
                wanted = np.maximum(wanted, _violations(work, point_norms, alpha, inner_tol))

        if first_failure is None:
            spent, attempts, best_gap, rough = 0, 0, np.inf, 0.0
            at = stop
            batch = min(batch + 2, BATCH)
            continue
        spent = iterations[first_failure] + (spent if first_failure == 0 else 0)
        if first_failure > 0:
            attempts, best_gap = 0, np.inf
        at += first_failure
        attempts += 1
        best_gap = min(best_gap, failed_gap)
        if not work.separable:
            # the active-set method finds its way back along the path; block descent starts from the point itself
            work.start_from(solutions[first_failure])
        if not needed.any():
            # no group is missing: the working set was not solved accurately enough
            work.refine(solutions[first_failure], failed_C[work.features])
            rough = 0.0
            batch = 1
        else:
            after = MIDDLE_TOL if rough == LACK_TOL and work.on_columns else 0.0
            rough = LACK_TOL if _grow_by(work, needed, wanted) else after
            batch = BATCH if work.gram_free else max(2, first_failure)
    features, coefs = _ever_active(work, coefs)
    return PathResult(features, coefs, gaps, n_iters, converged, n_passes)


def _ever_active(work, coefs):
    """The features of the groups that are active in some solution, and the solutions on them."""
    if len(work.groups) == 0:
        return work.features, coefs
    ever = np.zeros(len(work.features), dtype=bool)
    for B in coefs:
        ever[: len(B)] |= B.any(axis=1)
    kept = work.part.places(work.part.active(ever[:, None]))
    return work.features[kept], [B[kept[: np.searchsorted(kept, len(B))]] for B in coefs]


def _violations(work, norms, alpha, tol):
    """Dual norms relative to alpha, of the groups out of play for which they are too large; zero for all others."""
    return np.where((norms > (1.0 + tol) * alpha) & ~work.member, norms / alpha, 0.0)


def _lead(work, norms, reached, alpha):
    """Where to go from ``reached`` on the way to ``alpha``: alpha itself, or a point that leads the way.

    A lead is where not more groups would enter, if their norms stayed as they are, than there is room for.
    """
    if not 0.0 < alpha < LEAD * reached:
        return alpha
    limit = max(20 + work.n_active, _room(work) - len(work.groups))
    outside = norms[~work.member]
    least = np.partition(outside, -limit - 1)[-limit - 1] if len(outside) > limit else 0.0
    lead = min(max(alpha, least, FAR * reached), LEAD * reached)
    return alpha if alpha > NEAR * lead else lead


def _room(work):
    """How many groups there may be in play before the solution is known from near by."""
    design, p = work.problem.design, len(work.penalty.columns)
    if design is None:
        return 0
    if design.is_sparse:
        # coordinate descent on as many columns costs nothing beside a pass over all
        features = int(0.01 * p)
        pays = work.separable and sparse_lasso.is_cheaper(features, features / max(p, 1) * design.X.nnz)
        return features if pays else 0
    # p = COPY k + FLOPS k^2: their Gram matrix costs one pass
    features = 0.5 * COPY / FLOPS * (np.sqrt(1.0 + 4.0 * FLOPS * p / COPY**2) - 1.0)
    return int(min(features, 0.1 * work.problem.n_rows) * len(work.member) / p)


def _look_ahead(work, norms, reached, before, alpha, leading):
    """Add the groups that will enter before ``alpha``, as far as can be told from ``reached`` and the alpha before.

    The sequential strong rule (Tibshirani et al. 2012) bounds what a dual norm can gain; of the groups that it leaves,
    those whose norm comes nearest to alpha if it goes on as it went last. All are candidates if spare groups cost next
    to nothing, or on the way of leads. Returns whether groups whose norm is above alpha already found no place.
    """
    spare, everywhere = (SPARE_COLUMNS, True) if work.gram_free else (SPARE, leading)
    limit = 20 + int(spare * work.n_active)
    if leading:
        limit = _room(work) + limit if work.gram_free else max(limit, _room(work))
    limit = max(0, limit - len(work.groups))
    least = 0.0 if everywhere else 2.0 * alpha - reached
    candidates = np.flatnonzero(~work.member & (norms >= least))
    too_many = np.count_nonzero(norms[candidates] >= alpha) > limit
    if len(candidates) > limit:
        current, (earlier, earlier_norms) = norms[candidates], before
        slopes = (earlier_norms[candidates] - current) / (earlier - reached) if earlier > reached else 0.0
        candidates = candidates[_largest(current + (alpha - reached) * slopes, limit)]
    work.grow(candidates)
    return too_many


def _largest(values, count):
    """Places of the largest values, in decreasing order."""
    if count < len(values):
        places = np.sort(np.argpartition(-values, count)[:count])
        return places[np.argsort(-values[places], kind="stable")]
    return np.argsort(-values, kind="stable")


def _grow_by(work, needed, wanted):
    """Add the groups that violate optimality, the worst first where there are very many; returns whether some wait.

    ``needed`` holds violations at the first alpha that failed; those ``wanted`` further down the grid are exaggerated
    (the solutions there lack the needed groups too), so they fill what spare room there is.
    """
    candidates = np.flatnonzero(needed)
    # a hundred features, if these are more than ten groups
    limit = max(10, int(100.0 * len(needed) / len(work.penalty.columns)), int(GROWTH * len(work.groups)))
    lacking = len(candidates) > limit
    if lacking:
        candidates = candidates[_largest(needed[candidates], limit)]
    more = np.flatnonzero(np.where(needed > 0.0, 0.0, wanted))
    limit = max(0, 20 + int(SPARE * work.n_active) - len(work.groups) - len(candidates))
    more = more[_largest(wanted[more], limit)]
    work.grow(np.concatenate([candidates, more]))
    return lacking


def drive(design, generators, run=in_turn, n_threads=1):
    """Run path generators that share one design; requests that stand together become one product with it.

    ``run`` maps a list of thunks to their results in so many threads, see `threads`.
    """
    results = [None] * len(generators)
    answers = dict.fromkeys(range(len(generators)))
    while answers:
        waiting = list(answers)
        outcomes = run([_Step(generators[i], answers[i]) for i in waiting])
        requests, answers = [], {}
        for i, (finished, value) in zip(waiting, outcomes):
            if finished:
                results[i] = value
            else:
                requests.append((i, value))
        if requests:
            product = design.correlate(np.concatenate([r for _, r in requests], axis=1), run, n_threads)
            edges = np.cumsum([r.shape[1] for _, r in requests])[:-1]
            parts = np.split(product, edges, axis=1)
            answers = {i: part for (i, _), part in zip(requests, parts)}
    return results


class _Step:
    """Advance a generator to its next request."""

    def __init__(self, generator, answer):
        self.generator, self.answer = generator, answer

    def __call__(self):
        try:
            return False, self.generator.send(self.answer)
        except StopIteration as finished:
            return True, finished.value
