"""The Lasso of one target as a curve: piecewise linear in alpha, solved for alpha, residual norm or l1 norm.

While support and signs do not change, coefficients and residual are affine in alpha (Osborne, Presnell & Turlach 2000).
So a bound on the residual norm or the l1 norm is met exactly, by a square root or a division, once the right segment is
known; the path solver finds it, and certifies it. A knot is where a segment ends. Segments are found from solutions
between their ends, not by following one from the last, so that ties and degenerate knots need no special case.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack, qr, solve_triangular

from ._blas import product, self_product
from .path import PathResult, drive, solve_path
from .working_set import gap_parts

# Segments whose ends are looked for by one product with the design.
BATCH = 16
# Events nearer than this, relative to alpha, are one; alphas below this part of the largest are zero.
SAME = 1e-11
NOTHING = 1e-13
# Relative width of a stretch without a segment that rounding explains.
NARROW = 1e-6
# Coefficients at alpha = 0 below this part of the largest are zero.
VANISHED = 1e-12
# Relative duality gap that tells the supports of nearly collinear columns apart.
KNOT = 1e-14
# Square of the sine of the angle of a column to those before it, from which on a Gram matrix is accurate enough.
SAFE = 1e-8


class Segment:
    """``b_S(alpha) = base - alpha slope`` for a support S and its signs.

    ``residual`` and ``dual`` are vectors on the rows, V^1/2 times what is meant: the residual at alpha is
    ``residual + alpha dual``, and the two are orthogonal.
    """

    def __init__(self, rows, features, b):
        places = np.flatnonzero(b)
        self.features, self.places = features[places], places
        self.signs = np.sign(b[places])
        y, Z = rows.scaled_target()[:, 0], rows.scaled_columns(self.features)
        solve = _normal_equations(Z)
        self.base = solve(product(Z.T, y))
        self.slope = solve(self.signs)
        # a second solve for what the first has left makes up for the square of the condition number
        self.base += solve(product(Z.T, y - product(Z, self.base)))
        self.slope += solve(self.signs - product(Z.T, product(Z, self.slope)))
        # a coefficient that vanishes at alpha = 0, where more features are at their bound than the solution has
        self.base[np.abs(self.base) <= VANISHED * np.abs(self.base).max(initial=0.0)] = 0.0
        self.residual, self.dual = y - product(Z, self.base), product(Z, self.slope)
        self.residual_square, self.dual_square = _square(self.residual), _square(self.dual)

    def b(self, alpha):
        return self.base - alpha * self.slope

    def holds(self, alpha):
        """Whether no coefficient has another sign at alpha."""
        return bool(np.all(self.b(alpha) * self.signs >= -1e-12 * np.abs(self.base).max(initial=0.0)))

    def residual_norm(self, alpha):
        return float(np.sqrt(self.residual_square + alpha**2 * self.dual_square))

    def l1_norm(self, alpha):
        return float(self.signs @ self.base) - alpha * self.dual_square

    def alpha_of_residual_norm(self, norm):
        """Where the residual has this norm; NaN where it never has."""
        square = norm**2 - self.residual_square
        if self.dual_square == 0.0 or square < 0.0:
            return np.nan
        return float(np.sqrt(square / self.dual_square))

    def alpha_of_l1_norm(self, norm):
        if self.dual_square == 0.0:
            return np.nan
        return (float(self.signs @ self.base) - norm) / self.dual_square

    def events(self, alpha, at_residual, at_dual, p):
        """Nearest alphas below and above where a coefficient reaches zero or a feature off the support its bound.

        ``at_residual`` and ``at_dual`` are the products of the design with the two vectors, for all p features.
        """
        off = np.ones(p, dtype=bool)
        off[self.features] = False
        c, e = at_residual[off], at_dual[off]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.concatenate([self.base / self.slope, c / (1.0 - e), -c / (1.0 + e)])
        found = found[np.isfinite(found) & (found > 0.0)]
        below, above = found[found < alpha * (1.0 - SAME)], found[found > alpha * (1.0 + SAME)]
        return below.max(initial=0.0), above.min(initial=np.inf)


def _normal_equations(Z):
    """A function that solves ``Z'Z x = c``."""
    if Z.shape[1] == 0:
        return lambda c: c
    gram = self_product(Z)
    factor, failed = lapack.dpotrf(gram)
    if failed == 0 and np.all(np.diag(factor) ** 2 > SAFE * np.diag(gram)):
        return lambda c: lapack.dpotrs(factor, c)[0]
    factor = qr(Z, mode="r", check_finite=False)[0][: Z.shape[1]]
    return lambda c: solve_triangular(
        factor, solve_triangular(factor, c, trans="T", check_finite=False), check_finite=False
    )


def _square(x):
    return float(np.dot(x, x))


@dataclass
class CurvePoint:
    """A solution: ``alpha``, its segment, and what was reached on the way.

    ``limit`` tells that it is the limit alpha -> 0, ``reached`` that it is what was asked for.
    """

    alpha: float
    segment: Segment
    n_iter: int = 0
    limit: bool = False
    reached: bool = False


class ParetoCurve:
    """The Lasso path of a regression with one target; everything in the regression's scaled units.

    Parameters
    ----------
    regression : Regression
        With one target and a penalty of one feature a group, all penalised, weights one.
    tol : float
        Bound on the duality gap relative to the null objective.
    max_iter : int
    """

    def __init__(self, regression, tol, max_iter):
        self.regression, self.tol, self.max_iter = regression, tol, max_iter
        self.rows, self.penalty = regression.rows, regression.penalty.with_l1_ratio(1.0)
        self.q = regression.q
        self.alpha_max = float(np.abs(self.q).max(initial=0.0))
        self.n_passes = 0

    def _path(self, alphas, follow=None, tol=None):
        tol = self.tol if tol is None else tol
        generator = solve_path(
            self.regression.problem(), self.penalty, alphas, tol, self.max_iter, self.q, follow=follow
        )
        result = drive(self.regression.design, [generator])[0]
        self.n_passes += result.n_passes
        return result

    def at_residual_norm(self, norm):
        """The point where the V-norm of the residual is ``norm``, or the limit alpha -> 0 if it never is as small."""
        start = norm / np.sqrt(2.0 * self.rows.null_objective)
        return self._at_level(start, lambda segment, alpha: segment.residual_norm(alpha) - norm,
                              lambda segment: segment.alpha_of_residual_norm(norm))  # fmt: skip

    def at_l1_norm(self, norm):
        """The point where the l1 norm is ``norm``, or the limit alpha -> 0 if it never is as large."""
        return self._at_level(0.3, lambda segment, alpha: norm - segment.l1_norm(alpha),
                              lambda segment: segment.alpha_of_l1_norm(norm))  # fmt: skip

    def limit(self):
        """The limit alpha -> 0: of all least-squares solutions one of least l1 norm."""
        return self._at_level(1e-2, lambda segment, alpha: 1.0, lambda segment: np.nan)

    def _at_level(self, start, excess, solve):
        """The point where ``excess``, which grows with alpha, is zero; ``solve`` finds it on a segment."""
        found = None
        low, high = 0.0, self.alpha_max

        def follow(alpha, features, B, converged):
            nonlocal found, low, high
            segment = Segment(self.rows, features, B[:, 0])
            found = CurvePoint(alpha, segment)
            if not converged:
                return None
            if excess(segment, alpha) > 0.0:
                high = alpha
            else:
                low = alpha
            goal = solve(segment)
            ends = None
            if low < goal < high and segment.holds(goal):
                ends = self._ends(segment, alpha)
            if (ends and ends[0] <= goal <= ends[1]) or (
                np.isfinite(goal) and abs(goal - alpha) <= SAME * alpha and segment.holds(goal)
            ):
                found.alpha, found.reached = goal, True
                return None
            if low < goal < high:
                return goal
            if low > 0.0:
                # between two points: as far as rounding lets them be told apart
                return np.sqrt(low * high) if high > low * (1.0 + SAME) else None
            below = self._ends(segment, alpha)[0]
            if below <= NOTHING * self.alpha_max:
                found.alpha, found.limit, found.reached = 0.0, True, True
                return None
            return min(0.1 * alpha, 0.9 * below)

        result = self._path(np.array([self.alpha_max * np.clip(start, 1e-3, 0.999)]), follow)
        found.n_iter = int(result.n_iters.sum())
        return found

    def _ends(self, segment, alpha):
        return self._all_ends([segment], [alpha])[0]

    def _all_ends(self, segments, alphas):
        """Where segments end, below and above the alpha that each was found at."""
        design, present = self.regression.design, self.rows.present
        root = np.sqrt(self.rows.v[present])
        ends = []
        for first in range(0, len(segments), BATCH):
            part = segments[first : first + BATCH]
            stacked = np.zeros((design.shape[0], 2 * len(part)), order="F")
            for i, segment in enumerate(part):
                stacked[present, 2 * i], stacked[present, 2 * i + 1] = root * segment.residual, root * segment.dual
            found = design.correlate(stacked)
            self.n_passes += 1
            for i, (segment, alpha) in enumerate(zip(part, alphas[first : first + BATCH])):
                c, e = found[:, 2 * i], found[:, 2 * i + 1]
                # what rounding leaves of a residual that is zero
                c = np.where(np.abs(c) > NOTHING * self.alpha_max, c, 0.0)
                ends.append(segment.events(alpha, c, e, len(c)))
        return ends

    def knots(self, alpha_min):
        """Segments from the largest alpha down to ``alpha_min``: a list of (upper end, lower end, segment).

        Also whether they cover all but what rounding makes of a knot.
        """
        pieces = {}
        bottom = max(alpha_min, 0.0)
        alphas = self.alpha_max * np.geomspace(0.98, max(bottom / self.alpha_max, 1e-3), 24)
        for _ in range(200):
            result = self._path(np.sort(alphas)[::-1], tol=min(self.tol, KNOT))
            new, at = [], []
            for alpha, B in zip(np.sort(alphas)[::-1], result.coefs):
                features = result.features[: len(B)]
                # in one order, whatever order the features came into play in
                order = np.argsort(features)
                segment = Segment(self.rows, features[order], B[order, 0])
                key = segment.features.tobytes(), segment.signs.tobytes()
                # far down the path rounding may hide from the solver that a coefficient has changed sign
                if len(segment.features) and key not in pieces and segment.holds(alpha):
                    pieces[key] = None
                    new.append((key, segment))
                    at.append(alpha)
            for (key, segment), (low, high) in zip(new, self._all_ends([s for _, s in new], at)):
                pieces[key] = min(high, self.alpha_max), low, segment
            ordered = sorted(pieces.values(), key=lambda piece: -piece[0])
            alphas = self._between(ordered, bottom)
            # where nothing new is found, rounding hides what is there
            if len(alphas) == 0 or not new:
                break
        chain, reached, complete = [], self.alpha_max, True
        for high, low, segment in ordered:
            # nearly collinear columns have several segments for one stretch
            if reached > bottom and low < reached * (1.0 - SAME):
                complete = complete and reached - high <= NARROW * reached
                chain.append((reached, max(low, bottom), segment))
                reached = low
        return chain, complete and reached <= max(bottom, NARROW * self.alpha_max)

    def _between(self, ordered, bottom):
        """A point inside every stretch that no segment covers."""
        points, reached = [], self.alpha_max
        for high, low, _ in ordered:
            if reached <= bottom:
                break
            if reached - high > SAME * 10.0 * reached:
                points.append(0.5 * (reached + high))
            reached = min(reached, low)
        if reached > max(bottom * (1.0 + 10.0 * SAME), NOTHING * self.alpha_max):
            lower = np.array([0.9, 0.5, 0.1]) * reached
            inside = lower[lower > bottom]
            points += list(inside) if len(inside) else [0.5 * (reached + bottom)]
        return np.array(points)

    def certify(self, solutions, alphas):
        """Duality gaps of some solutions, pairs (segment, alpha on it), at some alphas, as one path result."""
        features = np.unique(np.concatenate([segment.features for segment, _ in solutions]))
        part, _ = self.penalty.of_groups(features)
        coefs = []
        for segment, at in solutions:
            B = np.zeros((len(features), 1))
            if at < self.alpha_max:
                B[np.searchsorted(features, segment.features), 0] = segment.b(at)
            coefs.append(B)
        problem, gaps = self.regression.problem(), np.zeros(len(coefs))
        target = self.tol * problem.null_objective
        if len(features) == 0:
            return PathResult(features, coefs, gaps, np.ones(len(coefs), dtype=int), gaps <= target)
        for first in range(0, len(coefs), BATCH):
            chosen = slice(first, first + BATCH)
            evaluation = problem.evaluate(features, coefs[chosen], 0.1 * target)
            correlations, rss = drive(self.regression.design, [evaluation])[0]
            for i, (B, C, square) in enumerate(zip(coefs[chosen], correlations, rss)):
                alpha = alphas[first + i]
                if alpha > 0.0:
                    gaps[first + i] = gap_parts(part, alpha, B, C[features], square, self.penalty.dual_norms(C))
                else:
                    # no objective is below zero
                    gaps[first + i] = 0.5 * square if 0.5 * square <= target else self._excess(0.5 * square)
        return PathResult(features, coefs, gaps, np.ones(len(coefs), dtype=int), gaps <= target)

    def least_residual_norm(self):
        """V-norm of the residual of least squares on all columns, dependent up to the last digits or not."""
        Z = self.rows.scaled_columns(np.arange(self.penalty.n_features))
        norms = np.sqrt(np.einsum("ij,ij->j", Z, Z))
        Z = Z[:, norms > 0.0] / norms[norms > 0.0]
        y = self.rows.scaled_target()[:, 0]
        if Z.shape[1] == 0:
            return float(np.sqrt(_square(y)))
        Q, R, _ = qr(Z, mode="economic", pivoting=True, overwrite_a=True, check_finite=False)
        Q = Q[:, np.abs(np.diag(R)) > max(Z.shape) * np.finfo(np.float64).eps * abs(R[0, 0])]
        for _ in range(2):
            y = y - product(Q, product(Q.T, y))
        return float(np.sqrt(_square(y)))

    def _excess(self, objective):
        """What a least-squares objective has above its minimum."""
        return max(objective - 0.5 * self.least_residual_norm() ** 2, 0.0)

    def dual_of_limit(self, point):
        """Feasible theta of the dual of basis pursuit, ``max y'theta, |X'theta| <= 1``, and its objective."""
        present = self.rows.present
        theta = np.zeros(len(self.rows.v))
        theta[present] = np.sqrt(self.rows.v[present]) * point.segment.dual
        largest = float(np.abs(self.regression.design.correlate(theta[:, None])).max(initial=0.0))
        theta /= max(1.0, largest)
        return theta, float(theta @ self.rows.Y[:, 0])
