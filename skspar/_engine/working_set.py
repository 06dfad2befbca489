"""The problem restricted to a few groups, solved from their Gram matrix alone."""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ._active_set import LassoActiveSet
from ._block_cd import block_descent, subtract_gram_product

# Largest Newton system of several targets that is factorised; larger ones are solved by conjugate gradients.
DENSE_NEWTON = 400

# What a cycle and a Newton step cost beside their arithmetic, in flops of a factorisation.
CYCLE_OVERHEAD, NEWTON_OVERHEAD = 3e4, 1e5

# Outcomes of a Newton step.
FAILED, STEPPED, KINK = range(3)


def gap_parts(penalty, alpha, B, C, rss, dual_norms):
    """Duality gap of B given its correlations ``C = X' V R`` and ``rss = ||R||_V^2``.

    With theta = c R dual feasible, ``c <= alpha / max(dual_norms)``, the gap is

        (1 - c)^2 rss / 2 + sum_g [alpha penalty_g(B_g) - c <B_g, C_g>],

    a sum of terms that each vanish at the optimum, so nothing cancels. The best feasible c is taken. ``penalty``,
    ``B`` and ``C`` may be restricted to the features that can be nonzero.
    """
    largest = dual_norms.max(initial=0.0)
    product = float(np.sum(B * C))
    best = 1.0 + product / rss if rss > 0.0 else 1.0
    c = min(best, alpha / largest) if largest > 0.0 else best
    return 0.5 * (1.0 - c) ** 2 * rss + alpha * penalty.value(B) - c * product


class WorkingSet:
    """Groups in play, their Gram matrix, and the current coefficients on them.

    Groups are only added. The linear term ``q`` can be re-anchored on correlations computed from the design itself
    (`refine`), so an inexact Gram matrix costs iterations, not accuracy.
    """

    def __init__(self, problem, penalty, q):
        self.problem, self.penalty, self._q_all = problem, penalty, q
        self.n_targets = q.shape[1]
        self.separable = penalty.separable(self.n_targets)
        self.groups = np.empty(0, dtype=np.intp)
        self.features = np.empty(0, dtype=np.intp)
        self.member = np.zeros(penalty.n_groups, dtype=bool)
        self.B = np.zeros((0, self.n_targets))
        self._G = np.empty((0, 0), order="F")
        self._q = np.empty((0, self.n_targets))
        if self.separable:
            self._lasso = [LassoActiveSet(penalty.positive) for _ in range(self.n_targets)]
        else:
            self._eigenvalues = np.empty(0)
            self._vectors = np.empty(0)
            self._vector_ptr = np.zeros(1, dtype=np.intp)

    def grow(self, groups):
        """Add groups, and the rows and columns of the Gram matrix that they bring."""
        groups = np.asarray(groups, dtype=np.intp)
        if len(groups) == 0:
            return
        old = len(self.features)
        self.groups = np.concatenate([self.groups, groups])
        self.member[groups] = True
        self.part, self.features = self.penalty.of_groups(self.groups)
        m = len(self.features)
        if m > self._G.shape[0]:
            bigger = np.empty((max(m, 2 * old, 256),) * 2, order="F")
            bigger[:old, :old] = self._G[:old, :old]
            self._G = bigger
        block = self.problem.gram(self.features, self.features[old:])
        self._G[:m, old:m] = block
        self._G[old:m, :old] = block[:old].T
        corner = self._G[old:m, old:m]
        corner[:] = 0.5 * (corner + corner.T)
        self._q = np.concatenate([self._q, self._q_all[self.features[old:]]])
        self.B = np.concatenate([self.B, np.zeros((m - old, self.n_targets))])
        if self.separable:
            self._attach()
        else:
            self._decompose(len(self.groups) - len(groups))

    @property
    def n_active(self):
        """How many groups have a nonzero coefficient."""
        return len(self._active(self.B)) if len(self.groups) else 0

    def _attach(self):
        m = len(self.features)
        for t, lasso in enumerate(self._lasso):
            lasso.attach(self._G[:, :m], np.ascontiguousarray(self._q[:, t]))

    def _decompose(self, first):
        """Eigen-decompositions of the diagonal blocks of the groups from ``first`` on."""
        values, vectors, ends = [self._eigenvalues], [self._vectors], [self._vector_ptr]
        for g in range(first, len(self.groups)):
            block = slice(self.part.ptr[g], self.part.ptr[g + 1])
            size = block.stop - block.start
            if size == 1:
                value, vector = self._G[block, block][0].copy(), np.ones((1, 1))
            else:
                value, vector = np.linalg.eigh(self._G[block, block])
            values.append(np.maximum(value, 0.0))
            vectors.append(vector.T.ravel())
            ends.append(ends[-1][-1:] + size * size)
        self._eigenvalues = np.concatenate(values)
        self._vectors = np.concatenate(vectors)
        self._vector_ptr = np.concatenate(ends)

    def start_from(self, B):
        """Take B (features of the working set x targets) as the current point."""
        self.B = np.ascontiguousarray(B)
        if self.separable:
            for t, lasso in enumerate(self._lasso):
                lasso.start_from(np.ascontiguousarray(B[:, t]))

    def refine(self, B, C):
        """Anchor the linear term so that the correlations at B are exactly C (rows of the working set)."""
        m = len(self.features)
        self._q = C + self._G[:m, :m] @ B
        if self.separable:
            self._attach()

    def solve(self, alpha, tol, max_iter, gap_target):
        """Minimise on the working set from the current point; returns the number of iterations.

        ``tol`` is the relative violation of optimality allowed (separable penalties), ``gap_target`` the duality gap
        of the restricted problem (all others).
        """
        if len(self.features) == 0:
            return 1
        if self.separable:
            bounds = alpha * self.part.entry_factors
            iterations = 0
            for t, lasso in enumerate(self._lasso):
                n_iter, _ = lasso.solve(bounds, tol, max_iter)
                self.B[:, t] = lasso.coefficients
                iterations = max(iterations, n_iter)
            return iterations
        return self._solve_blocks(alpha, max_iter, gap_target)

    def _solve_blocks(self, alpha, max_iter, gap_target):
        """Cycles of block descent find the support, Newton steps on it converge quadratically.

        A Newton step is taken once the cycles have cost as much, so neither method can hold up the other.
        """
        m, T = self.B.shape
        G, part, B = self._G[:, :m], self.part, self.B
        group_bound = alpha * part.group_factors
        entry_bound = np.full(part.n_groups, alpha * part.l1_ratio)
        everything = np.arange(part.n_groups)
        gradient = self._gradient(B)
        exact = True
        best, stalled, cost = np.inf, 0, 0.0
        iteration = 0

        def descend(order, sweeps):
            block_descent(
                G, B, gradient, part.ptr, order, group_bound, entry_bound, self._eigenvalues, self._vectors,
                self._vector_ptr, part.positive, sweeps,
            )  # fmt: skip

        while iteration < max_iter:
            descend(everything, 1)
            iteration += 1
            active = self._active(B)
            n_active = int(part.sizes[active].sum())
            gap = self._gap(alpha, B, gradient)
            if gap <= gap_target and not exact:
                gradient = self._gradient(B)
                exact = True
                gap = self._gap(alpha, B, gradient)
            if gap <= gap_target or iteration >= max_iter:
                break
            # at rounding level nothing improves any more
            stalled = stalled + 1 if gap > 0.9 * best else 0
            best = min(best, gap)
            if stalled >= 20 and best <= max(1e-11 * self.problem.null_objective, 100.0 * self._rounding(B)):
                break
            # a flop of a cycle (vectors) takes about ten times one of a factorisation (blocks)
            cost += 20.0 * n_active * m * T + CYCLE_OVERHEAD
            newton_cost = _newton_cost(n_active, T)
            outcome = FAILED
            if len(active) and cost >= newton_cost:
                outcome = self._newton(alpha, active, B, gradient)
                iteration += 1
                # what reached zero stays there while the rest moves on, as in an active-set method
                while outcome == KINK and iteration < max_iter:
                    active = self._active(B)
                    outcome = self._newton(alpha, active, B, gradient) if len(active) else STEPPED
                    iteration += 1
                cost = 0.0
                gradient = self._gradient(B)
                exact = True
            if outcome == FAILED and len(active):
                sweeps = min(4, max_iter - iteration)
                descend(active, sweeps)
                cost += 20.0 * sweeps * n_active * m * T
                iteration += sweeps
                exact = False
        return iteration

    def _gradient(self, B):
        """``q - G B``."""
        gradient = self._q.copy()
        active = self._active(B)
        features = self._features_of(active)
        subtract_gram_product(self._G[:, : len(B)], self.part.ptr, active, B[features], gradient)
        return gradient

    def _active(self, B):
        """Groups with a nonzero coefficient."""
        return np.flatnonzero(np.logical_or.reduceat(B.any(axis=1), self.part.ptr[:-1]))

    def _features_of(self, groups):
        return self.part.of_groups(groups)[1]

    def _gap(self, alpha, B, gradient):
        """Duality gap of the problem restricted to the working set."""
        rss = max(self._rss(B, gradient), 0.0)
        return gap_parts(self.part, alpha, B, gradient, rss, self.part.dual_norms(gradient))

    def _rss(self, B, gradient):
        return self.problem.residual_at_zero - float(np.sum(B * (self._q + gradient)))

    def _rounding(self, B):
        """What rounding may change the gap by, for products with the Gram matrix."""
        sizes = np.sqrt(self._G.diagonal()[: len(B)])
        return 4.0 * np.finfo(np.float64).eps * float(np.sum((sizes @ np.abs(B)) ** 2))

    def _newton(self, alpha, active, B, gradient):
        """One Newton step on the nonzero coefficients of the active groups, with an exact line search.

        On fixed support and signs the penalty is smooth, with Hessian ``bound_g / ||B_g|| (I - u u')``, u = B_g /
        ||B_g||. B and gradient change in place. Returns FAILED where no step lowers the objective, KINK where the step
        ended with a group or coefficient at zero.
        """
        part, m = self.part, len(self.features)
        features = self._features_of(active)
        sizes = part.sizes[active]
        owner = np.repeat(np.arange(len(active)), sizes)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        b = B[features]
        norms = np.sqrt(np.add.reduceat(np.einsum("ij,ij->i", b, b), starts))
        group_bound, entry_bound = alpha * part.group_factors[active], alpha * part.l1_ratio
        slope = gradient[features] - (group_bound / norms)[owner, None] * b - entry_bound * np.sign(b)
        free = b != 0.0 if entry_bound or part.positive else np.ones_like(b, dtype=bool)
        slope[~free] = 0.0
        G = self._G[np.ix_(features, features)]
        ridge = (group_bound / norms)[owner]
        units = b / norms[owner, None]
        step = _newton_direction(G, ridge, units, owner, slope, free)
        if step is None or not np.all(np.isfinite(step)):
            return FAILED
        length = _line_search(b, step, G, gradient[features], starts, group_bound, entry_bound, part.positive)
        if length == 0.0:
            return FAILED
        new = b + length * step
        # a step shorter than one ends at a kink: what it brought next to zero is zero
        near = 1e-4 if length < 1.0 else 1e-12
        vanished = np.sqrt(np.add.reduceat(np.einsum("ij,ij->i", new, new), starts)) <= near * norms
        new[vanished[owner]] = 0.0
        if entry_bound or part.positive:
            new[np.abs(new) <= near * np.abs(b)] = 0.0
        if part.positive:
            np.maximum(new, 0.0, out=new)
        B[features] = new
        subtract_gram_product(self._G[:, :m], part.ptr, active, new - b, gradient)
        return KINK if np.count_nonzero(new) < np.count_nonzero(b) else STEPPED


def _line_search(b, step, G, gradient, starts, group_bound, entry_bound, positive):
    """Length of the step that minimises the objective along it, at most one; zero where it does not descend.

    The objective is convex along a line, and its derivative needs one product with G. Newton steps of nearly
    dependent columns are long, and their minimum is often where a group or a coefficient vanishes: a kink that
    halving the step would miss.
    """
    linear = float(np.sum(step * gradient))
    quadratic = float(np.sum(step * (G @ step)))
    bb, bs, ss = (np.add.reduceat(np.einsum("ij,ij->i", x, y), starts) for x, y in ((b, b), (b, step), (step, step)))

    def derivative(t):
        norms = np.sqrt(np.maximum(bb + 2.0 * t * bs + t * t * ss, 0.0))
        slopes = np.divide(bs + t * ss, norms, out=np.zeros_like(norms), where=norms > 0.0)
        value = t * quadratic - linear + float(group_bound @ slopes)
        if entry_bound:
            value += entry_bound * float(np.sum(np.sign(b + t * step) * step))
        return value

    start = derivative(0.0)
    if not start < 0.0:
        return 0.0
    longest = 1.0
    if positive:
        # the first coefficient to reach zero ends the step
        falling = step < 0.0
        longest = min(1.0, float(np.min(-b[falling] / step[falling], initial=np.inf)))
    if derivative(longest) <= -0.1 * start:
        return longest
    low, high = 0.0, longest
    for _ in range(60):
        middle = 0.5 * (low + high)
        if derivative(middle) < 0.0:
            low = middle
        else:
            high = middle
        if high - low <= 1e-10 * high:
            break
    return low if low > 0.0 else high


def _newton_cost(d, T):
    """Floating-point operations of a Newton step on d features and T targets."""
    if T == 1 or d * T <= DENSE_NEWTON:
        return (d * T) ** 3 / 3.0 + NEWTON_OVERHEAD
    return d**3 / 3.0 + 100.0 * d * d * T + NEWTON_OVERHEAD


def _newton_direction(G, ridge, units, owner, slope, free):
    """Solve ``(I_T x (G + diag(ridge)) - sum_g ridge_g u_g u_g') step = slope`` on the free coordinates."""
    d, T = units.shape
    if T > 1 and d * T > DENSE_NEWTON:
        return _conjugate_gradients(G, ridge, units, owner, slope, free)
    # coordinates in the order feature, target: those of a group are contiguous
    kept = np.flatnonzero(free)
    H = (np.kron(G, np.eye(T)) if T > 1 else G)[np.ix_(kept, kept)]
    u, own, r = units.ravel()[kept], np.repeat(owner, T)[kept], np.repeat(ridge, T)[kept]
    H[np.diag_indices_from(H)] += r
    starts = np.concatenate(([0], np.flatnonzero(np.diff(own)) + 1, [len(kept)]))
    for lo, hi in zip(starts[:-1], starts[1:]):
        H[lo:hi, lo:hi] -= r[lo] * np.outer(u[lo:hi], u[lo:hi])
    factor = _factorise(H)
    if factor is None:
        return None
    solution = cho_solve(factor, slope.ravel()[kept], check_finite=False)
    step = np.zeros(d * T)
    step[kept] = solution
    return step.reshape(d, T)


def _factorise(H):
    """Cholesky factor of H, its diagonal raised by as little as rounding errors demand; None where that fails."""
    diagonal = np.diag_indices_from(H)
    unit = np.trace(H) / len(H)
    for size in (1e-14, 1e-13, 1e-12, 1e-10):
        raised = H.copy()
        raised[diagonal] += size * unit
        try:
            return cho_factor(raised, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            continue
    return None


def _conjugate_gradients(G, ridge, units, owner, slope, free):
    """The Newton system of several targets, preconditioned by ``I_T x (G + diag(ridge))``."""
    H = G.copy()
    H[np.diag_indices_from(H)] += ridge
    factor = _factorise(H)
    if factor is None:
        return None
    starts = np.concatenate(([0], np.flatnonzero(np.diff(owner)) + 1))
    blocked = ~free

    def apply(P):
        along = np.add.reduceat(np.einsum("ij,ij->i", units, P), starts)
        out = H @ P - (ridge * along[owner])[:, None] * units
        out[blocked] = 0.0
        return out

    def precondition(R):
        out = cho_solve(factor, R, check_finite=False)
        out[blocked] = 0.0
        return out

    x = np.zeros_like(slope)
    residual = slope.copy()
    z = precondition(residual)
    direction = z.copy()
    product = float(np.sum(residual * z))
    start = product
    for _ in range(200):
        if product <= 1e-10 * start:
            break
        image = apply(direction)
        curvature = float(np.sum(direction * image))
        if curvature <= 0.0:
            break
        length = product / curvature
        x += length * direction
        residual -= length * image
        z = precondition(residual)
        previous, product = product, float(np.sum(residual * z))
        direction = z + (product / previous) * direction
    return x
