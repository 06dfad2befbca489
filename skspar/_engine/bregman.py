"""The linearised Bregman path, plain and split: the forms of the recursion, and the driver of their kernels.

With a loss L, an operator D and a proximal map of unit threshold, the recursion is

    split:  b_new = b - kappa delta (grad L(b) + D'(D b - g) / nu),  z += delta (D b - g) / nu,  g = kappa prox(z)
    plain:  z -= delta grad L(b),  b = g = kappa prox(z)                        (the limit nu -> 0 with D the identity)

and after k steps the time is ``k delta``. Three forms give the same iterates: on all rows; on a working set of those
rows of z that are nonzero or may soon be, the others being caught up with now and then (`_screened`); and for the
squared loss in the eigenbasis of the Hessian in b, where a step is diagonal and costs no more than the working set.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import linalg

from ._blas import product
from ._bregman import aligned, iterate_gram, iterate_modal, iterate_plain, iterate_split
from ._chain import Chain, segment_means
from .smooth import LOSSES, columns_of, matrix_arrays, residuals_of, split_eigenbasis
from .threads import blas_threads, kernel_threads

NO_UNITS = np.empty(0, dtype=np.intp)
# As many rows as are given all at once to a kernel which passes over what is idle.
FEW = 1000
# Least nodes of a part of a chain, and those at its ends that it shares with its neighbours: as many steps are taken
# before the parts wait for each other.
PART, SHARED = 2048, 512
# Least entries of which threads average a part each.
LARGE = 200_000


class Units:
    """The groups of rows that the proximal map shrinks together; None stands for every entry on its own.

    Attributes
    ----------
    ptr, rows : ndarray
        Unit u holds ``rows[ptr[u]:ptr[u + 1]]``; empty for entries on their own.
    """

    def __init__(self, members, n_rows):
        self.n_rows = n_rows
        self.members = members
        if members is None:
            self.ptr = self.rows = NO_UNITS
            self.count = n_rows
        else:
            self.ptr = np.concatenate(([0], np.cumsum([len(member) for member in members]))).astype(np.intp)
            self.rows = np.concatenate(members).astype(np.intp)
            self.count = len(members)

    def norms(self, Z):
        """Norm of each group of the rows of Z (m, K); largest entry of each row where entries are on their own."""
        if self.members is None:
            return np.abs(Z).max(axis=1, initial=0.0)
        return np.sqrt(np.add.reduceat((Z * Z).sum(axis=1)[self.rows], self.ptr[:-1]))

    def shrink(self, Z, kappa):
        """``kappa prox(Z)``."""
        if self.members is None:
            return kappa * np.sign(Z) * np.maximum(np.abs(Z) - 1.0, 0.0)
        norms = self.norms(Z)
        factors = np.zeros(len(Z))
        factors[self.rows] = np.repeat(
            np.where(norms > 1.0, 1.0 - 1.0 / np.maximum(norms, 1.0), 0.0), np.diff(self.ptr)
        )
        return kappa * factors[:, None] * Z

    def rows_of(self, units):
        """The rows of some units, one unit after the other."""
        if self.members is None or len(units) == 0:
            return np.asarray(units, dtype=np.intp)
        return np.concatenate([self.members[u] for u in units]).astype(np.intp)

    def local_ptr(self, units):
        """Pointers of `rows_of`, and its places."""
        if self.members is None:
            return NO_UNITS, NO_UNITS
        sizes = [len(self.members[u]) for u in units]
        return np.concatenate(([0], np.cumsum(sizes))).astype(np.intp), np.arange(sum(sizes), dtype=np.intp)


@dataclass
class Path:
    """Iterates at the recorded steps.

    ``coefs`` (n_times, p, K), ``gammas`` (n_times, m, K), ``first`` the step at which each row of D enters, or -1.
    ``finite`` is whether they are known to be.
    """

    coefs: np.ndarray
    gammas: np.ndarray
    first: np.ndarray
    finite: bool = False


def run(problem, operator, units, schedule, unit=1.0):
    """The path of a problem on a schedule, its iterates multiplied by ``unit``."""
    p, K, T = problem.p, problem.K, len(schedule.recorded)
    m = p if operator is None else operator.shape[0]
    first = np.full(m, -1, dtype=np.intp)
    if schedule.still is not None:
        return Path(np.repeat(unit * schedule.still[None], T, axis=0), np.zeros((T, m, K)), first)
    if operator is None:
        gammas = np.zeros((T, m, K))
        by_gram = problem.loss == "squared" and (p <= 6000 or problem.n <= 3000)
        engine = (_GramSteps if by_gram else _ResidualSteps)(problem, schedule, gammas)
        _screened(engine, units, schedule, first, K)
        gammas *= unit
        return Path(gammas, gammas, first)
    if _eigenbasis_pays(problem, operator, int(schedule.recorded[-1])):
        gammas = np.zeros((T, m, K))
        engine = _ModalSteps(problem, operator, schedule, gammas)
        _screened(engine, units, schedule, first, K)
        coefs = np.ascontiguousarray(engine.coefs())[:, :, None]
    else:
        # the kernels fill them
        coefs, gammas = np.empty((T, p, K)), np.empty((T, m, K))
        b, z = schedule.start if schedule.start is not None else (np.zeros((p, K)), np.zeros((m, K)))
        g = units.shrink(z, schedule.kappa)
        b, z, g = (np.array(part, dtype=np.float64, order="F") for part in (b, z, g))
        if problem.loss == "squared" and operator.is_chain and units.members is None and problem.bands is not None:
            first, finite = _chain(problem, schedule, b[:, 0], z[:, 0], unit, coefs, gammas)
            return Path(coefs, gammas, first, finite)
        iterate_split(
            problem.n, *problem.arrays, problem.Y, problem.v, LOSSES[problem.loss], problem.fit_intercept,
            *operator.arrays, operator.is_identity, schedule.nu, schedule.kappa, schedule.step, units.ptr, units.rows,
            b, z, g, problem.b0_at_zero.copy(), first, schedule.recorded, coefs, gammas,
        )  # fmt: skip
    # in place: new memory costs more than the product
    for values in (coefs, gammas):
        values *= unit
    return Path(coefs, gammas, first)


def _chain(problem, schedule, b, z, unit, coefs, gammas):
    """Fill a path for D the differences of neighbours and a tridiagonal Hessian.

    Returns the steps at which edges enter, and whether all is known to be finite.

    Each thread steps a part of the chain. A step makes one more of the shared nodes wrong, so that after as many steps
    as there are of these, all are set to what the neighbour has, which is right.
    """
    p, last = problem.p, int(schedule.recorded[-1])
    n_parts = 1 if np.any(problem.x_mean) else max(1, min(blas_threads(), p // PART))
    edges = np.linspace(0, p, n_parts + 1).astype(int)
    own = list(zip(edges[:-1], edges[1:]))
    reach = [(max(lo - SHARED, 0), min(hi + SHARED, p)) for lo, hi in own]
    given = *problem.bands, problem.x_mean, problem.q[:, 0]
    parts = [
        Chain(
            *(values[lo : hi - (len(values) < p)] for values in given), schedule.nu, schedule.kappa, schedule.step,
            b[lo:hi], z[lo : hi - 1],
        )
        for lo, hi in reach
    ]  # fmt: skip
    tasks = [
        partial(
            part.iterate, SHARED if n_parts > 1 else last, schedule.recorded, unit, lo - start, coefs[:, lo:hi],
            gammas[:, lo : min(hi, p - 1)],
        )
        for part, (start, _), (lo, hi) in zip(parts, reach, own)
    ]  # fmt: skip
    with kernel_threads(n_parts) as run:
        while True:
            run(tasks)
            if parts[0].step == last:
                break
            for left, right, edge, (first, _), (second, _) in zip(parts, parts[1:], edges[1:], reach, reach[1:]):
                left.copy(right, edge - first, edge - second, SHARED)
                right.copy(left, 0, second - first, SHARED)
    entries = [part.first_entries()[lo - start : hi - start] for part, (start, _), (lo, hi) in zip(parts, reach, own)]
    return np.concatenate(entries), all(np.isfinite(part.total) for part in parts)


def _eigenbasis_pays(problem, operator, n_steps):
    """Whether to decompose the Hessian in b costs less than to multiply by X in every step."""
    n, p = problem.n, problem.p
    if problem.loss != "squared" or (p > 4000 and not _is_thin(problem, operator)):
        return False
    if problem.X is None:
        return True
    if problem.is_sparse:
        return p <= 1000 and 20.0 * p**3 < 8.0 * n_steps * problem.X.nnz
    decomposition = 20.0 * n * n * p if _is_thin(problem, operator) else 20.0 * p**3
    return decomposition < 4.0 * n_steps * n * p


def _screened(engine, units, schedule, first, K):
    """Steps on a working set of units, those nonzero or soon to be so; the others are caught up with now and then.

    An engine has the state of the working set; ``rates()``, the change of every row of z in a step, once all rows are
    caught up; what this costs, ``look``, and a step for each row, ``per_row``, in nanoseconds, roughly; and whether its
    kernel itself passes over what is idle, ``sorts``.
    """
    m, kappa = units.n_rows, schedule.kappa
    z = np.zeros((m, K), order="F")
    if schedule.start is not None:
        z[...] = schedule.start[1]
    reach = engine.reach
    if units.members is not None:
        reach = np.sqrt(np.add.reduceat(reach[units.rows] ** 2, units.ptr[:-1]))
    outside = np.ones(units.count, dtype=bool)
    chosen, W = [], np.empty(0, dtype=np.intp)
    g = np.zeros((0, K), order="F")
    rate = engine.rates()
    # the kernels step all rows of units
    few = units.count if engine.sorts and units.members is None and units.count <= FEW else 32
    k = place = 0
    last = int(schedule.recorded[-1])
    drift, taken = 0.0, 0
    while True:
        # go on for as long as to look at the others costs a quarter of the steps, unless too many would have to join
        horizon = max(8, int(4.0 * engine.look / (300.0 + engine.per_row * len(W))))
        most = max(few, len(chosen) // 2)
        late = outside
        while outside.sum() > most:
            grown = 2.0 * drift * (horizon / taken) ** 2 if taken else 0.0
            slack = 1.0 - 1e-9 - np.maximum(units.norms(z), units.norms(z + horizon * rate))
            late = outside & (slack <= reach * grown)
            if late.sum() <= most or horizon <= 1:
                break
            horizon = max(1, horizon // 2)
        new = np.flatnonzero(late)
        if engine.lets_go and taken and late is not outside:
            # units that are zero and will stay so for long need not be stepped
            idle = slack[chosen] > 2.0 * reach[chosen] * grown
            if idle.sum() > 0.1 * len(chosen):
                leaving = [u for u, leaves in zip(chosen, idle) if leaves]
                outside[leaving] = True
                chosen = [u for u, leaves in zip(chosen, idle) if not leaves]
                kept = np.ones(units.n_rows, dtype=bool)
                kept[units.rows_of(leaving)] = False
                kept = kept[W]
                engine.keep(W, kept)
                W, g = W[kept], np.asfortranarray(g[kept])
        if len(new):
            outside[new] = False
            chosen.extend(new.tolist())
            added = units.rows_of(new)
            engine.extend(W, added)
            W = np.concatenate([W, added])
            g = np.asfortranarray(np.vstack([g, units.shrink(z, kappa)[added]]))
        limit, drift_limit = last, np.inf
        if outside.any():
            limit = min(last, k + horizon)
            with np.errstate(divide="ignore", invalid="ignore"):
                budget = np.where(reach[outside] > 0.0, slack[outside] / reach[outside], 1e299)
            drift_limit = float(min(budget.min(), 1e299))
        z_W, before = np.asfortranarray(z[W]), k
        shape = *units.local_ptr(chosen), z_W, g, W, first, schedule.recorded
        k, place, drift = engine.advance(shape, k, place, limit, drift_limit)
        if k >= last:
            return
        taken = k - before
        z += engine.moves(W, g, taken)
        z[W] = z_W
        rate = engine.rates()


class _GramSteps:
    """The plain iteration for the squared loss, by the Gram matrix of the working set."""

    # the kernel itself passes over what is idle
    lets_go = False

    def __init__(self, problem, schedule, out):
        self.problem, self.out = problem, out
        self.kappa, self.delta = schedule.kappa, schedule.step
        self.whole = problem.prefers_gram
        self.sorts = self.whole
        self.look = 2e5 + problem.p * (problem.p if self.whole else problem.n)
        self.per_row = 0.04 * min(problem.p, problem.n)
        norms = np.sqrt(np.maximum(np.diag(problem.gram), 0.0)) if self.whole else problem.column_norms()
        self.reach = self.delta * norms
        self._rates = self.delta * problem.q
        self._gram = np.zeros((0, 0), order="F")

    def rates(self):
        return self._rates

    def extend(self, W, added):
        self._gram = _grown_gram(self.problem, self._gram, W, added, self.whole)

    def advance(self, shape, k, place, limit, drift_limit):
        ptr, rows, z, g, W, first, recorded = shape
        self._total = np.zeros(len(W))
        q = np.ascontiguousarray(self.problem.q[W, 0])
        return iterate_gram(
            self._gram, q, self.kappa, self.delta, ptr, rows, z[:, 0], g[:, 0], self._total, W, first, recorded,
            self.out, k, place, limit, drift_limit,
        )  # fmt: skip

    def moves(self, W, g, taken):
        problem, both = self.problem, np.column_stack([self._total, g[:, 0]])
        if self.whole:
            moved = np.array([taken, 1.0]) * problem.q - product(problem.gram[:, W], both)
        else:
            moved = problem.correlate(residuals_of(problem, W, both, [taken, 1.0]))
        self._rates = self.delta * moved[:, 1:]
        return self.delta * moved[:, :1]


class _ResidualSteps:
    """The plain iteration for any loss, by the columns of the working set."""

    lets_go, sorts = True, False

    def __init__(self, problem, schedule, out):
        self.problem, self.out = problem, out
        self.kappa, self.delta = schedule.kappa, schedule.step
        self.look, self.per_row = 2e5 + problem.K * problem.size, 0.2 * problem.K * problem.size / problem.p
        self.reach = self.delta * problem.column_norms()
        self._r, self._b0 = problem.at_zero.copy(order="F"), problem.b0_at_zero.copy()
        self._rates = self.delta * problem.q

    def rates(self):
        return self._rates

    def extend(self, W, added):
        self._columns = matrix_arrays(columns_of(self.problem.X, np.concatenate([W, added])))

    def keep(self, W, kept):
        """Let go of some rows of the working set."""
        self._columns = matrix_arrays(columns_of(self.problem.X, W[kept]))

    def advance(self, shape, k, place, limit, drift_limit):
        problem, (ptr, rows, z, g, W, first, recorded) = self.problem, shape
        if len(W) == 0:
            self._columns = matrix_arrays(columns_of(problem.X, W))
        self._total = np.zeros((problem.n, problem.K), order="F")
        return iterate_plain(
            problem.n, *self._columns, problem.Y, problem.v, LOSSES[problem.loss], problem.fit_intercept, self.kappa,
            self.delta, ptr, rows, z, g, self._b0, self._r, self._total, W, first, recorded, self.out, k, place, limit,
            drift_limit,
        )  # fmt: skip

    def moves(self, W, g, taken):
        K = self.problem.K
        moved = self.problem.correlate(np.asfortranarray(np.hstack([self._total, self._r])))
        self._rates = self.delta * moved[:, K:]
        return self.delta * moved[:, :K]


class _ModalSteps:
    """The split iteration for the squared loss, in the eigenbasis of the Hessian in b."""

    # where b is not sparse, rows that leave still move
    lets_go = False

    def __init__(self, problem, operator, schedule, gammas):
        self.problem, self.D, self.out = problem, operator.matrix, gammas
        self.nu, self.kappa, self.delta = schedule.nu, schedule.kappa, schedule.step
        self.thin = _is_thin(problem, operator)
        if self.thin:
            _, sizes, V = linalg.svd(np.sqrt(problem.v)[:, None] * problem.X, full_matrices=False)
            keep = sizes > 1e-13 * sizes[0]
            self.values, self.V = sizes[keep] ** 2, np.asfortranarray(V[keep].T)
        else:
            self.values, self.V = split_eigenbasis(problem, operator, self.nu)
        r, T = len(self.values), len(schedule.recorded)
        self.sorts = not self.thin
        self.look, self.per_row = 2e5 + r * problem.p, 0.3 * r
        self.reach = self.delta / self.nu * operator.row_norms
        self.q = product(self.V.T, problem.q[:, 0])
        b = schedule.start[0][:, 0] if schedule.start is not None else np.zeros(problem.p)
        self.a = np.ascontiguousarray(product(self.V.T, b))
        # without `thin` e is not read
        self.e, self.c = self.a.copy(), np.empty(0)
        self._P = aligned(r, 0)
        self.modes, self.rest = np.zeros((T, r)), np.zeros((T, problem.p if self.thin else 0))

    def coefs(self):
        """b at the recorded steps, (n_times, p)."""
        b = product(self.modes, self.V.T)
        return b + self.rest if self.thin else b

    def _seen(self, modes):
        return self.D @ product(self.V, modes)

    def rates(self):
        observed = self.e if self.thin else self.a
        return (self.delta / self.nu * self._seen(observed))[:, None]

    def extend(self, W, added):
        old, size = len(W), len(W) + len(added)
        if size > self._P.shape[1]:
            larger = aligned(len(self.values), max(2 * self._P.shape[1], size, 32))
            larger[:, :old] = self._P[:, :old]
            self._P = larger
        self._P[: len(self.values), old:size] = (self.D[added] @ self.V).T
        self.c = np.concatenate([self.c, np.zeros(len(added))])

    def advance(self, shape, k, place, limit, drift_limit):
        ptr, rows, z, g, W, first, recorded = shape
        self._total = np.zeros(len(self.values))
        return iterate_modal(
            self._P, self.values, self.q, self.thin, self.nu, self.kappa, self.delta, ptr, rows, self.a, self.e, self.c,
            z[:, 0], g[:, 0], self._total, W, first, recorded, self.modes, self.rest, self.out, k, place, limit,
            drift_limit,
        )  # fmt: skip

    def moves(self, W, g, taken):
        return (self.delta / self.nu * self._seen(self._total))[:, None]


def _is_thin(problem, operator):
    return operator.is_identity and not problem.prefers_gram and not problem.is_sparse


def _grown_gram(problem, G, W, added, whole):
    """The Gram matrix of the rows W, in the leading part of G, with those of the rows added."""
    old, size = len(W), len(W) + len(added)
    if size > len(G):
        order = min(problem.p, max(2 * len(G), size, 32))
        larger = aligned(order, order + -order % 8)
        larger[:old, :old] = G[:old, :old]
        G = larger
    if whole:
        block = problem.gram[np.ix_(np.concatenate([W, added]), added)]
    else:
        block = (
            np.vstack([problem.gram_block(W, added), problem.gram_block(added)]) if old else problem.gram_block(added)
        )
    G[:size, old:size] = block
    G[old:size, :old] = block[:old].T
    return G


def sparse_estimates(operator, path):
    """The coefficients projected on those with ``D b = 0`` wherever gamma is zero; shaped as ``path.coefs``."""
    if operator is None:
        return path.coefs
    out = np.empty_like(path.coefs)
    if operator.is_chain:
        n_threads = blas_threads() if out.size >= LARGE else 1
        parts = zip(*(np.array_split(values, n_threads) for values in (path.coefs, path.gammas, out)))
        with kernel_threads(n_threads) as run:
            run([partial(segment_means, *part) for part in parts])
        return out
    for c in range(path.coefs.shape[2]):
        supports = path.gammas[:, :, c] != 0.0
        changes = np.flatnonzero((supports[1:] != supports[:-1]).any(axis=1)) + 1
        # times of one support are projected together
        for part in np.split(np.arange(len(supports)), changes):
            out[part, :, c] = operator.projected(path.coefs[part, :, c].T, supports[part[0]]).T
    return out
