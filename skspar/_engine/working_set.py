"""The problem restricted to a few groups."""

import numpy as np

from . import newton
from ._active_set import LassoActiveSet
from .forms import GramForm, RowForm
from .sparse_lasso import SparseLasso

# More features in play than this many times the rows: from there on columns, not their Gram matrix.
MANY_FEATURES = 2.0

# A cycle passes over groups at zero whose dual norm is below this share of alpha.
NEAR = 0.9

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
    """Groups in play, and the current coefficients on them.

    Groups are only added. The gradient can be re-anchored on correlations computed from the design itself (`refine`),
    so inexact products cost iterations, not accuracy.
    """

    def __init__(self, problem, penalty, q):
        self.problem, self.penalty, self._q_all = problem, penalty, q
        self.n_targets = q.shape[1]
        self.separable = penalty.separable(self.n_targets)
        self.groups = np.empty(0, dtype=np.intp)
        self.features = np.empty(0, dtype=np.intp)
        self.member = np.zeros(penalty.n_groups, dtype=bool)
        self._form = GramForm(problem)
        if self.separable:
            self._lasso = [LassoActiveSet(penalty.positive) for _ in range(self.n_targets)]
        else:
            # eigenvalues, eigenvectors and entries of the diagonal blocks, and where each begins
            self._blocks = np.empty(0), np.empty(0), np.empty(0), np.zeros(1, dtype=np.intp)
            # where the solution moves as alpha changes, and the alpha solved last
            self._tangent, self._last_alpha = np.empty((0, self.n_targets)), None
            self._lazy, self._norms = False, np.empty(0)
            # how many systems float32 could not solve
            self._n_rough = 0

    @property
    def B(self):
        """Coefficients (features of the working set x targets)."""
        return self._form.B

    def grow(self, groups):
        """Add groups."""
        groups = np.asarray(groups, dtype=np.intp)
        if len(groups) == 0:
            return
        self.groups = np.concatenate([self.groups, groups])
        self.member[groups] = True
        self.part, self.features = self.penalty.of_groups(self.groups)
        q, m = self._q_all[self.features], len(self.features)
        if self.separable and self._grow_sparse():
            return
        if not self.separable and isinstance(self._form, GramForm) and m > MANY_FEATURES * self.problem.n_rows:
            B = self._form.B
            self._form = RowForm(self.problem)
            self._form.grow(self.features, q)
            self._form.move_to(np.concatenate([B, np.zeros((m - len(B), self.n_targets))]))
        else:
            self._form.grow(self.features, q)
        if self.separable:
            self._attach()
        else:
            self._decompose(len(self.groups) - len(groups))
            self._tangent = np.concatenate([self._tangent, np.zeros((m - len(self._tangent), self.n_targets))])

    def _grow_sparse(self):
        """Solve from the sparse columns from here on, where that is cheaper; returns whether it is."""
        columns = self.penalty.columns[self.features]
        if not isinstance(self._form, SparseLasso):
            if self.problem.design is None or not SparseLasso.pays(self.problem, columns):
                return False
            B = self._form.B
            self._form, self._lasso = SparseLasso(self.problem), None
            self._form.grow(columns)
            self._form.start_from(np.concatenate([B, np.zeros((len(columns) - len(B), self.n_targets))]))
        else:
            self._form.grow(columns)
        return True

    @property
    def gram_free(self):
        """Whether groups beside the active ones cost next to nothing."""
        return isinstance(self._form, SparseLasso)

    @property
    def on_columns(self):
        """Whether Newton steps come from the columns: they cost more than a pass over X."""
        return isinstance(self._form, RowForm)

    @property
    def n_active(self):
        """How many groups have a nonzero coefficient."""
        return len(self.part.active(self.B)) if len(self.groups) else 0

    def _attach(self):
        for t, lasso in enumerate(self._lasso):
            lasso.attach(self._form.G, np.ascontiguousarray(self._form.q[:, t]))

    def _decompose(self, first):
        """Eigen-decompositions of the diagonal blocks of the groups from ``first`` on."""
        sizes = self.part.sizes[first:]
        squares = np.concatenate(([0], np.cumsum(sizes**2)))
        offsets = self.part.ptr[first:-1] - self.part.ptr[first]
        values, vectors, entries = np.empty(sizes.sum()), np.empty(squares[-1]), np.empty(squares[-1])
        for size in np.unique(sizes):
            # those of one size together
            chosen = np.flatnonzero(sizes == size)
            within, square = np.arange(size), np.arange(size**2)
            blocks = self._form.diagonal_blocks(self.part.ptr[first + chosen], size)
            value, vector = (blocks[:, 0], np.ones_like(blocks)) if size == 1 else np.linalg.eigh(blocks)
            values[offsets[chosen, None] + within] = np.maximum(value, 0.0)
            places = squares[chosen, None] + square
            vectors[places] = vector.transpose(0, 2, 1).reshape(len(chosen), -1)
            entries[places] = blocks.reshape(len(chosen), -1)
        new = values, vectors, entries, self._blocks[-1][-1] + squares[1:]
        self._blocks = tuple(np.concatenate(both) for both in zip(self._blocks, new))

    def start_from(self, B):
        """Take B (features of the working set x targets) as the current point."""
        if isinstance(self._form, SparseLasso):
            self._form.start_from(B)
            return
        self._form.move_to(B)
        if self.separable:
            for t, lasso in enumerate(self._lasso):
                lasso.start_from(np.ascontiguousarray(B[:, t]))

    def refine(self, B, C):
        """Anchor the gradient so that the correlations at B are exactly C (rows of the working set)."""
        current = self._form.B
        self._form.anchor(B, C)
        if self.separable and not isinstance(self._form, SparseLasso):
            # the active-set method goes on from where it is
            self._form.move_to(current)
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
            if isinstance(self._form, SparseLasso):
                return self._form.solve(bounds, gap_target, max_iter)
            iterations = 0
            for t, lasso in enumerate(self._lasso):
                n_iter, _ = lasso.solve(bounds, tol, max_iter)
                self.B[:, t] = lasso.coefficients
                iterations = max(iterations, n_iter)
            return iterations
        return self._solve_blocks(alpha, max_iter, gap_target)

    def _solve_blocks(self, alpha, max_iter, gap_target):
        """Cycles of block descent find the support, Newton steps on it converge quadratically.

        Cycles go on where, at the rate of the last ones, they reach the target for less than a Newton step costs. Where
        Newton steps bring little, none is taken before the cycles have cost as much, so neither method can hold up
        the other.
        """
        form, part = self._form, self.part
        group_bound, entry_bound = alpha * part.group_factors, alpha * part.l1_ratio
        best, stalled, cost, share = np.inf, 0, 0.0, form.eager
        iteration, cycles, before = 0, 0, None
        # whether the last step was Newton's, and whether its factors may serve again
        stepped = again = False
        self._predict(alpha)
        # after a prediction those of the last point will do: whatever they miss is found when they are computed next
        norms = self._norms
        if self._last_alpha is None or len(norms) != part.n_groups:
            norms = part.dual_norms(form.gradient(part))
        while True:
            if not stepped:
                # the groups that a cycle may change
                chosen = norms > NEAR * alpha
                chosen[part.active(form.B)] = True
                form.descend(part, np.flatnonzero(chosen), group_bound, entry_bound, self._blocks, 1)
                cycles += 1
                iteration += 1
            active = part.active(form.B)
            n_moving = int(part.sizes[active].sum())
            gap, norms = self._gap(alpha)
            if gap <= gap_target and not form.exact:
                form.refresh()
                gap, norms = self._gap(alpha)
            if gap <= gap_target or iteration >= max_iter:
                break
            # at rounding level nothing improves any more
            stalled = stalled + 1 if gap > 0.9 * best else 0
            best = min(best, gap)
            if stalled >= 20 and best <= max(1e-11 * self.problem.null_objective, 100.0 * form.rounding()):
                break
            cycle_cost, newton_cost = form.cycle_cost(n_moving), form.newton_cost(n_moving, len(active))
            cost += cycle_cost * cycles
            improved = before is not None and gap < 0.5 * before
            if stepped:
                share = form.eager if improved else 1.0
                again = improved and form.again_cost(n_moving) < newton_cost
                # groups at zero that should not be there wait for a cycle
                turn = again and not np.any(np.delete(norms, active) > alpha)
            elif improved and gap > 0.0:
                more = np.log(gap / gap_target) / np.log(before / gap) * cycles * cycle_cost
                turn = more >= (form.again_cost(n_moving) if again else newton_cost)
            else:
                turn = True
            before, cycles, after_step, stepped = gap, 0, stepped, False
            if not turn or len(active) == 0:
                continue
            if again:
                stepped = again = self._newton(alpha, active, min(0.3, 0.5 * gap_target / gap)) != FAILED
                iteration += 1
            if stepped or after_step:
                continue
            if cost >= share * newton_cost:
                stepped, count = self._newton_steps(alpha, active, max_iter - iteration)
                share = form.eager if stepped else 1.0
                iteration += count
                cost = 0.0
            if not stepped:
                cycles = max(0, min(4, max_iter - iteration))
                form.descend(part, active, group_bound, entry_bound, self._blocks, cycles)
                iteration += cycles
        self._last_alpha, self._norms = alpha, norms
        return iteration

    def _newton_steps(self, alpha, active, most):
        """A Newton step, and more while they end at zeros; returns whether they got on, and their number.

        What reached zero stays there while the rest moves on, as in an active-set method.
        """
        outcome, count = self._newton(alpha, active), 1
        while outcome == KINK and count < most:
            active = self.part.active(self.B)
            outcome = self._newton(alpha, active) if len(active) else STEPPED
            count += 1
        self._form.refresh()
        return outcome != FAILED, count

    def _gap(self, alpha):
        """Duality gap of the problem restricted to the working set, and the dual norms."""
        gradient = self._form.gradient(self.part)
        rss = max(self._form.rss(self.part), 0.0)
        norms = self.part.dual_norms(gradient)
        return gap_parts(self.part, alpha, self.B, gradient, rss, norms), norms

    def _predict(self, alpha):
        """Move along the tangent of the path from the alpha solved last."""
        if self._last_alpha is None or not alpha < self._last_alpha:
            return
        active = self.part.active(self.B)
        if len(active):
            step = self._tangent[self.part.places(active)]
            if self._lazy:
                places, _, rate, curvature = self._system(alpha, active)
                step, _ = self._form.improved(places, curvature, -rate, None)
            if step is not None:
                self._move(alpha, active, (alpha - self._last_alpha) * step)

    def _newton(self, alpha, active, again=None):
        """One Newton step on the nonzero coefficients of the active groups, with an exact line search.

        Instead of new factors those of the step before may serve, the residual of the system being reduced to
        ``again``. Returns FAILED where no step lowers the objective, KINK where the step ended with a group or
        coefficient at zero.
        """
        part, form = self.part, self._form
        places, slope, rate, curvature = self._system(alpha, active)
        if again is not None:
            step, image = form.improved(places, curvature, slope, again)
            return FAILED if step is None else self._move(alpha, active, step, image)
        # the tangent of the path may wait until it is wanted
        self._lazy = form.keeps_system and bool(curvature.free.all())
        sides = [slope] if self._lazy else [slope, np.where(curvature.free, -rate, 0.0)]
        for single in (True, False):
            if single and self._n_rough > 2:
                continue
            found = form.directions(places, curvature, sides, np.float32 if single else np.float64)
            if found is None or not np.all(np.isfinite(found[0])):
                self._n_rough += single
                continue
            step = found[0]
            image = form.image(part, active, step)
            gain = float(np.sum(slope * step))
            # the solution of the Newton system has both sides equal
            bend = form.square(image, places, step) + float(np.sum(step * curvature.apply(step)))
            if not single or abs(gain - bend) <= 0.2 * gain:
                break
            self._n_rough += 1
        else:
            return FAILED
        if not self._lazy:
            self._tangent[:] = 0.0
            if np.all(np.isfinite(found[1])):
                self._tangent[places] = found[1]
        return self._move(alpha, active, step, image)

    def _system(self, alpha, active):
        """The Newton system of some groups: places, slope, what the penalty's slope gains with alpha, curvature."""
        part = self.part
        places = part.places(active)
        b, gradient = self.B[places], self._form.gradient(part)[places]
        sizes = part.sizes[active]
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        owner = np.repeat(np.arange(len(active)), sizes)
        norms = np.sqrt(np.add.reduceat(np.einsum("ij,ij->i", b, b), starts))
        units = b / norms[owner, None]
        rate = part.group_factors[active][owner, None] * units + part.l1_ratio * np.sign(b)
        free = b != 0.0 if part.l1_ratio or part.positive else np.ones(b.shape, dtype=bool)
        slope = np.where(free, gradient - alpha * rate, 0.0)
        ridge = (alpha * part.group_factors[active] / norms)[owner]
        return places, slope, rate, newton.Curvature(ridge, units, starts, owner, free)

    def _move(self, alpha, active, step, image=None):
        """Follow a step of the active groups to where the objective is least along it; see `_newton`."""
        part, form = self.part, self._form
        places = part.places(active)
        b, gradient = form.B[places], form.gradient(part)[places]
        if image is None:
            if part.l1_ratio or part.positive:
                step = np.where(b != 0.0, step, 0.0)
            image = form.image(part, active, step)
        starts = np.concatenate(([0], np.cumsum(part.sizes[active])[:-1]))
        group_bound, entry_bound = alpha * part.group_factors[active], alpha * part.l1_ratio
        new = self._stopped_at_zero(b, b + step, starts)
        if new is not None:
            # where little is lost by it, what the step leads through zero stops there and does not hold up the rest
            change = new - b
            image_there = form.image(part, active, change)
            linear, square = float(np.sum(change * gradient)), form.square(image_there, places, change)
            length = newton.line_search(
                b, change, linear, square, starts, group_bound, entry_bound, part.positive
            )  # fmt: skip
            gain = newton.penalty(b, starts, group_bound, entry_bound) - newton.penalty(
                new, starts, group_bound, entry_bound
            )
            if length > 0.9 and gain + linear - 0.5 * square > 0.0:
                form.step(part, places, change, image_there)
                return STEPPED
        linear, square = float(np.sum(step * gradient)), form.square(image, places, step)
        length = newton.line_search(b, step, linear, square, starts, group_bound, entry_bound, part.positive)
        if length == 0.0:
            return FAILED
        new = b + length * step
        # a step shorter than one ends at a kink: what it brought next to zero is zero
        near = 1e-4 if length < 1.0 else 1e-12
        norms, new_norms = (np.sqrt(np.add.reduceat(np.einsum("ij,ij->i", x, x), starts)) for x in (b, new))
        new[np.repeat(new_norms <= near * norms, part.sizes[active])] = 0.0
        if part.l1_ratio or part.positive:
            new[np.abs(new) <= near * np.abs(b)] = 0.0
        if part.positive:
            np.maximum(new, 0.0, out=new)
        kink = np.count_nonzero(new) < np.count_nonzero(b)
        form.step(part, places, new - b, form.image(part, active, new - b) if kink else length * image)
        return KINK if kink else STEPPED

    def _stopped_at_zero(self, b, new, starts):
        """``new`` with zeros for the groups and coefficients that come to it from b through zero; None if none do."""
        part = self.part
        through = np.add.reduceat(np.einsum("ij,ij->i", b, new), starts) <= 0.0
        stopped = np.repeat(through, np.diff(np.append(starts, len(b))))[:, None]
        if part.l1_ratio or part.positive:
            stopped = stopped | (b * new < 0.0)
        return np.where(stopped, 0.0, new) if stopped.any() else None
