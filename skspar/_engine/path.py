"""Solutions along a decreasing grid of alphas, each with its duality gap.

The path solver works on a small set of groups (`working_set`), from their Gram matrix alone. It solves several
consecutive alphas there, then asks for the correlations of all of them at once: a pass over X costs little more for
five residuals than for one. Solutions are accepted up to the first whose duality gap is too large; groups that
violate optimality join the set, and the work goes on from there. No solution leaves without its gap.
"""

from dataclasses import dataclass

import numpy as np

from .threads import in_turn
from .working_set import WorkingSet, gap_parts

# Alphas of one request.
BATCH = 6
# Groups kept in play beside the active ones, as a multiple of these: more spare the passes that find them, and cost
# rows and columns of the Gram matrix.
SPARE = 2.0
# The same where no Gram matrix is kept.
SPARE_COLUMNS = 2.5
# Where consecutive alphas lie further apart than this ratio, uncertified points in between lead the way, solved to this
# duality gap.
LEAD, LEAD_TOL = 0.6, 1e-3


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


def _with_leads(alphas, start):
    """Insert uncertified points where the grid steps far down; returns alphas and the place of each in the grid."""
    points, places = [], []
    previous = start
    for place, alpha in enumerate(alphas):
        if 0.0 < alpha < LEAD * previous:
            n_leads = int(np.ceil(np.log(alpha / previous) / np.log(LEAD))) - 1
            ratio = (alpha / previous) ** (1.0 / (n_leads + 1))
            for k in range(1, n_leads + 1):
                points.append(previous * ratio**k)
                places.append(-1)
        points.append(alpha)
        places.append(place)
        previous = alpha
    return np.array(points), np.array(places)


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
    points, places = _with_leads(alphas[done:], top if start is None else 0.0)
    places[places >= 0] += done

    if start is not None:
        in_play = np.unique(np.searchsorted(penalty.ptr, np.flatnonzero(start.any(axis=1)), side="right") - 1)
        work.grow(in_play)
        work.start_from(start[work.features])
    # where the path was certified last, and before
    reached, before = top, (top, norms)
    at, batch, attempts, best_gap = 0, 2, 0, np.inf
    spent = 0
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
            extra, at_grid = _with_leads(np.array([more]), points[-1] if at else top)
            points = np.append(points, extra)
            places = np.append(places, np.where(at_grid >= 0, len(coefs) - 1, -1))
            batch = 2
        stop = at + 1 if places[at] < 0 else min(at + batch, len(points))
        if attempts == 0 or work.gram_free:
            _look_ahead(work, norms, reached, before, points[stop - 1])
        solutions, iterations = [], []
        for alpha, place in zip(points[at:stop], places[at:stop]):
            goal = 0.6 * target if place >= 0 else max(0.6 * target, LEAD_TOL * problem.null_objective)
            iterations.append(work.solve(alpha, inner_tol, max_iter, goal))
            solutions.append(work.B.copy())
        correlations, rss = yield from problem.evaluate(work.features, solutions, 0.1 * target)
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
                stuck = i == 0 and (attempts >= 8 or (attempts >= 3 and gap > 0.5 * best_gap)) and not np.any(
                    _violations(work, point_norms, alpha, inner_tol)
                )  # fmt: skip
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
            spent, attempts, best_gap = 0, 0, np.inf
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
            batch = 1
        else:
            _grow_by(work, needed, wanted)
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


def _look_ahead(work, norms, reached, before, alpha):
    """Add the groups that will enter before ``alpha``, as far as can be told from ``reached`` and the alpha before.

    The sequential strong rule (Tibshirani et al. 2012) bounds what a dual norm can gain; of the groups that it leaves,
    those whose norm comes nearest to alpha if it goes on as it went last. Where spare groups cost next to nothing all
    are candidates.
    """
    spare, least = (SPARE_COLUMNS, 0.0) if work.gram_free else (SPARE, 2.0 * alpha - reached)
    limit = max(0, 20 + int(spare * work.n_active) - len(work.groups))
    candidates = np.flatnonzero(~work.member & (norms >= least))
    if len(candidates) > limit:
        current, (earlier, earlier_norms) = norms[candidates], before
        slopes = (earlier_norms[candidates] - current) / (earlier - reached) if earlier > reached else 0.0
        candidates = candidates[_largest(current + (alpha - reached) * slopes, limit)]
    work.grow(candidates)


def _largest(values, count):
    """Places of the largest values, in decreasing order."""
    if count < len(values):
        places = np.sort(np.argpartition(-values, count)[:count])
        return places[np.argsort(-values[places], kind="stable")]
    return np.argsort(-values, kind="stable")


def _grow_by(work, needed, wanted):
    """Add the groups that violate optimality, the worst first where there are very many.

    ``needed`` holds violations at the first alpha that failed; those ``wanted`` further down the grid are exaggerated
    (the solutions there lack the needed groups too), so they fill what spare room there is.
    """
    candidates = np.flatnonzero(needed)
    # a hundred features, if these are more than ten groups
    limit = max(10, int(100.0 * len(needed) / len(work.penalty.columns)), len(work.groups))
    if len(candidates) > limit:
        candidates = candidates[_largest(needed[candidates], limit)]
    more = np.flatnonzero(np.where(needed > 0.0, 0.0, wanted))
    limit = max(0, 20 + int(SPARE * work.n_active) - len(work.groups) - len(candidates))
    more = more[_largest(wanted[more], limit)]
    work.grow(np.concatenate([candidates, more]))


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
