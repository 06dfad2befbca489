"""Newton systems of block penalties: on a fixed support the penalised problem is smooth.

With r_g = bound_g / ||B_g|| and u_g = B_g / ||B_g|| the Hessian on the nonzero coefficients is

    H = I_T x G + sum_g r_g (I - vec(u_g) vec(u_g)'),

the sum of the Gram matrix with ridges, which is the same for every target, and a negative term whose rank is the number
of groups. So a system in all coefficients costs a factorisation of the size of the features (from a Gram matrix) or of
the rows (from the columns themselves, where there are more of these), and one of the size of the groups.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, get_blas_funcs, get_lapack_funcs, lapack

from ._blas import product, self_product
from ._block_cd import group_combinations, scaled_columns

# Largest system of several targets that is written out; larger ones use the structure.
DENSE = 150
# Floating-point operations that a Newton step costs beside its arithmetic.
OVERHEAD = 1e5
# To what the residual of a system is reduced where three digits will do.
ACCURACY = 1e-3
# How much of a ridge, less what all have in common, may be out of date; and how often a matrix is updated, at most.
DRIFT, UPDATES = 0.1, 20


@dataclass
class Curvature:
    """Hessian of the penalty on some groups.

    Attributes
    ----------
    ridge : ndarray of shape (d,)
        r_g, for every feature.
    units : ndarray of shape (d, n_targets)
        u_g, the rows of a group's features.
    starts : ndarray
        The first feature of each group.
    owner : ndarray of shape (d,)
        The group of each feature.
    free : ndarray of bool, shape (d, n_targets)
        Coefficients that may move.
    """

    ridge: np.ndarray
    units: np.ndarray
    starts: np.ndarray
    owner: np.ndarray
    free: np.ndarray

    def along(self, P):
        """``<u_g, P_g>`` for every group."""
        return np.add.reduceat(np.einsum("ij,ij->i", self.units, P), self.starts)

    def apply(self, P):
        return self.ridge[:, None] * P - (self.ridge * self.along(P)[self.owner])[:, None] * self.units


def directions_from_gram(G, curvature, sides):
    """Solve H X = S for every S of ``sides``, (d, n_targets) each; None where H cannot be factorised.

    ``G`` is the Gram matrix of the features.
    """
    d, T = curvature.units.shape
    if T == 1 or d * T <= DENSE:
        return _dense_directions(G, curvature, sides)
    inverse = _inverse_from_gram(G, curvature)
    if inverse is None:
        return None
    if curvature.free.all():
        return [inverse(side) for side in sides]
    return [_conjugate_gradients(lambda P: product(G, P), inverse, curvature, side) for side in sides]


def directions_from_rows(A, curvature, sides, dtype=np.float64, row_gram=None):
    """The same with ``G = A'A``, at a cost that is linear in the number of features.

    In float32, with half the arithmetic, to about three digits. Then ``row_gram``, if given, returns ``A R^-1 A'`` and
    the ridges it has for some of the features (a mask) and their curvature. Returned with the system, if there is a
    single one.
    """
    free = curvature.free[:, 0]
    if curvature.units.shape[1] == 1 and not free.all():
        counts = np.add.reduceat(free, curvature.starts, dtype=np.intp)
        kept = np.cumsum(np.concatenate([[0], counts[:-1]]))[counts > 0]
        owner = np.repeat(np.arange(len(kept)), counts[counts > 0])
        inner = Curvature(curvature.ridge[free], curvature.units[free], kept, owner, np.ones((free.sum(), 1), bool))
        inner_gram = None if row_gram is None else lambda _, curvature: row_gram(free, curvature)
        sides_there = [side[free] for side in sides]
        found, _ = directions_from_rows(np.asfortranarray(A[:, free]), inner, sides_there, dtype, inner_gram)
        if found is None:
            return None, None
        out = [np.zeros_like(side) for side in sides]
        for full, part in zip(out, found):
            full[free] = part
        return out, None
    try:
        if curvature.free.all():
            K = None
            if row_gram is not None and dtype == np.float32:
                K, ridge = row_gram(free, curvature)
                curvature = replace(curvature, ridge=ridge)
            system = RowSystem(A, curvature, dtype, K)
            return system.solve(sides), system
        # a preconditioner must be the same at every step
        system = RowSystem(A, curvature, np.float64)
    except LinAlgError:
        return None, None

    def gram_product(P):
        return product(A.T, product(A, P))

    return [_conjugate_gradients(gram_product, lambda S: system.solve([S])[0], curvature, side) for side in sides], None


def cost_from_gram(d, n_groups, T):
    """Floating-point operations of `directions_from_gram`."""
    if T == 1 or d * T <= DENSE:
        return (d * T) ** 3 / 3.0 + OVERHEAD
    return d**3 + 20.0 * d * d * T + n_groups**3 / 3.0 + OVERHEAD


def cost_from_rows(n, d, n_groups, T):
    """Floating-point operations of `directions_from_rows` in float32, counted as half."""
    if T == 1:
        combined = n * n_groups * (n + n_groups) + n_groups**3 / 3.0
    else:
        combined = 10.0 * 8.0 * n * d * T
    return 0.5 * (n * n * d + n**3 / 3.0 + combined) + 4.0 * n * d * T + OVERHEAD


def factorise(H):
    """Cholesky factor of H, its diagonal raised by as little as rounding errors demand; None where that fails."""
    diagonal = np.diag_indices_from(H)
    unit = np.trace(H) / len(H)
    for size in (1e-14, 1e-13, 1e-12, 1e-10):
        raised = np.array(H, order="F")
        raised[diagonal] += size * unit
        try:
            return cho_factor(raised, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            continue
    return None


def _dense_directions(G, curvature, sides):
    d, T = curvature.units.shape
    # coordinates in the order feature, target: those of a group are contiguous
    kept = np.flatnonzero(curvature.free)
    H = (np.kron(G, np.eye(T)) if T > 1 else G)[np.ix_(kept, kept)]
    u, owner = curvature.units.ravel()[kept], np.repeat(curvature.owner, T)[kept]
    ridge = np.repeat(curvature.ridge, T)[kept]
    H[np.diag_indices_from(H)] += ridge
    starts = np.concatenate(([0], np.flatnonzero(np.diff(owner)) + 1, [len(kept)]))
    for lo, hi in zip(starts[:-1], starts[1:]):
        H[lo:hi, lo:hi] -= ridge[lo] * np.outer(u[lo:hi], u[lo:hi])
    factor = factorise(H)
    if factor is None:
        return None
    solved = cho_solve(factor, np.column_stack([side.ravel()[kept] for side in sides]), check_finite=False)
    out = np.zeros((len(sides), d * T))
    out[:, kept] = solved.T
    return list(out.reshape(len(sides), d, T))


def _inverse_from_gram(G, curvature):
    """The inverse of H where every coefficient is free, as a function."""
    H = G.copy(order="F")
    H[np.diag_indices_from(H)] += curvature.ridge
    factor = factorise(H)
    if factor is None:
        return None
    inverse, info = lapack.dpotri(factor[0], lower=True, overwrite_c=True)
    if info != 0:
        return None
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    starts, units = curvature.starts, curvature.units
    mixed = np.add.reduceat(np.add.reduceat(inverse * product(units, units.T), starts, axis=0), starts, axis=1)
    root = np.sqrt(curvature.ridge[starts])
    small = factorise(np.eye(len(starts)) - root[:, None] * mixed * root)
    if small is None:
        return None

    def solve(S):
        X = product(inverse, S)
        weight = root * cho_solve(small, root * curvature.along(X), check_finite=False)
        return X + product(inverse, weight[curvature.owner, None] * units)

    return solve


class RowGram:
    """``A R^-1 A'`` in float32 for the features of one Newton system after another.

    From system to system alpha changes, which all ridges share, and the norms of few groups change by much. What has
    changed is added; smaller changes wait: a step is none the worse for a ridge that is off by a few hundredths.
    """

    def __init__(self):
        self._matrix, self._weights, self._count, self._largest = None, np.zeros(0), 0, 0.0

    def __call__(self, A, places, curvature):
        """The matrix (lower triangle) for some columns of A, which may have grown at its end, and the ridges it has."""
        syrk = get_blas_funcs("syrk", dtype=np.float32)
        goal = 1.0 / curvature.ridge
        before = np.zeros(A.shape[1])
        before[: len(self._weights)] = self._weights
        old = before[places]
        known = old > 0.0
        common = float(np.median(goal[known] / old[known])) if known.any() else 0.0
        weights = np.zeros(len(before))
        if self._matrix is not None and common > 0.0 and self._count < UPDATES:
            near = known & (np.abs(goal - common * old) <= DRIFT * goal)
            # one ridge for all features of a group
            near = np.logical_and.reduceat(near, curvature.starts)[curvature.owner]
            weights[places] = np.where(near, old, goal / common)
            change = weights - before
            if 2 * np.count_nonzero(change) < len(places):
                for sign in (1.0, -1.0):
                    some = np.flatnonzero(sign * change > 0.0)
                    if len(some):
                        part = scaled_columns(A.T[some].T, np.sqrt(np.abs(change[some])), np.float32)
                        self._matrix = syrk(sign, part, 1.0, self._matrix, lower=True, overwrite_c=True)
                size = float(np.trace(self._matrix))
                self._largest = max(self._largest, size)
                # not where most of it cancelled
                if size > 0.1 * self._largest:
                    self._weights, self._count = weights, self._count + 1
                    return np.float32(common) * self._matrix, 1.0 / (common * weights[places])
        weights[:] = 0.0
        weights[places] = goal
        self._matrix = syrk(1.0, scaled_columns(A.T[places].T, np.sqrt(goal), np.float32), lower=True)
        self._weights, self._count, self._largest = weights, 0, float(np.trace(self._matrix))
        return self._matrix.copy(order="F"), curvature.ridge


class RowSystem:
    """H X = S from the columns, by an inverse of the order of the rows.

    With ``K = I + A R^-1 A'`` and ``Z_t = [A_g u_gt]`` the solution is

        X = R^-1 (S - A' Y) + W,    W_j = w_g u_j for the features j of group g,
        Y_t = K^-1 (A R^-1 S_t + Z_t w),    (sum_t Z_t' K^-1 Z_t) w = U'S - sum_t Z_t' K^-1 A R^-1 S_t.

    The last system, of the order of the groups, is factorised, or in float32 and with several targets solved by
    conjugate gradients. ``A R^-1 A'`` if known.
    """

    def __init__(self, A, curvature, dtype, K=None):
        self.curvature, self.dtype = curvature, dtype
        root = np.sqrt(curvature.ridge)
        self._root = root.astype(dtype)[:, None]
        # A R^-1/2
        self._A = scaled_columns(A, 1.0 / root, dtype)
        n, T = len(A), curvature.units.shape[1]
        self._blas = get_blas_funcs(("syrk", "trsm", "gemm", "gemv"), dtype=dtype)
        syrk, trsm = self._blas[:2]
        K = syrk(1.0, self._A, lower=True) if K is None else K
        K[np.diag_indices(n)] += 1.0
        self._factor = cho_factor(K, lower=True, overwrite_a=True, check_finite=False)
        self._iterative = T > 1 and dtype == np.float32
        if self._iterative:
            # products with the inverse are faster than triangular solutions
            inverse = get_lapack_funcs(("potri",), dtype=dtype)[0](self._factor[0], lower=True)[0]
            self._explicit = np.tril(inverse)
            self._explicit += np.tril(inverse, -1).T
            self._explicit = np.asfortranarray(self._explicit)
        if T == 1:
            weights = np.ascontiguousarray(self._root[:, 0] * curvature.units[:, 0], dtype=dtype)
            # L^-1 Z, where K = L L'
            self._Z = trsm(1.0, self._factor[0], group_combinations(self._A, weights, curvature.starts), lower=True)
            self._small = self._factorise(syrk(1.0, self._Z, trans=True, lower=True))
        elif not self._iterative:
            self._small = self._factorise(self._inner_products(trsm(1.0, self._factor[0], self._A, lower=True)))

    def _inner_products(self, half):
        """``sum_t Z_t' K^-1 Z_t``: the targets meet in the inner products of the units alone."""
        starts, units = self.curvature.starts, self._root * self.curvature.units
        Q = self_product(half) * product(units, units.T)
        if len(starts) < len(Q):
            Q = np.add.reduceat(np.add.reduceat(Q, starts, axis=0), starts, axis=1)
        return np.asfortranarray(Q)

    def _factorise(self, Q):
        """Cholesky factor of Q (lower triangle), and the scale that makes its diagonal one."""
        scale = 1.0 / np.sqrt(Q.diagonal())
        Q *= scale
        Q *= scale[:, None]
        diagonal = np.diag_indices_from(Q)
        Q[diagonal] = 1.0
        unit = np.finfo(self.dtype).eps
        for size in (50.0, 500.0, 5000.0, 50000.0):
            Q[diagonal] = 1.0 + size * unit
            try:
                return cho_factor(Q, lower=True, check_finite=False), scale.astype(np.float64)[:, None]
            except LinAlgError:
                continue
        raise LinAlgError

    def _times(self, P):
        """``A R^-1/2 P``."""
        gemm, gemv = self._blas[2:]
        if P.shape[1] > 3:
            return gemm(1.0, self._A, P)
        return np.array([gemv(1.0, self._A, P[:, t]) for t in range(P.shape[1])]).T

    def _transposed_times(self, Y):
        """``R^-1/2 A' Y``."""
        gemm, gemv = self._blas[2:]
        if Y.shape[1] > 3:
            return gemm(1.0, self._A, Y, trans_a=True)
        return np.array([gemv(1.0, self._A, Y[:, t], trans=True) for t in range(Y.shape[1])]).T

    def _inverse(self, P):
        """``K^-1 P``."""
        if self._iterative:
            return self._blas[2](1.0, self._explicit, P)
        return cho_solve(self._factor, P, check_finite=False)

    def solve(self, sides):
        """X for every S of ``sides``."""
        curvature, T = self.curvature, self.curvature.units.shape[1]
        S = np.asarray(np.concatenate(sides, axis=1), dtype=self.dtype, order="F")
        P = self._times(S / self._root)
        if T == 1:
            trsm, _, gemv = self._blas[1:]
            half = trsm(1.0, self._factor[0], P, lower=True)
            along = np.add.reduceat(curvature.units * S, curvature.starts)
            (small, scale) = self._small
            for t in range(S.shape[1]):
                along[:, t] -= gemv(1.0, self._Z, half[:, t], trans=True)
            w = scale * cho_solve(small, scale * along, check_finite=False)
            for t in range(S.shape[1]):
                half[:, t] += gemv(1.0, self._Z, w[:, t])
            image = self._transposed_times(trsm(1.0, self._factor[0], half, lower=True, trans_a=True))
        else:
            image = self._transposed_times(self._inverse(P))
            w, more = self._radial(S - self._root * image)
            image += more
        units = np.tile(curvature.units, len(sides))
        radial = np.repeat(w, T, axis=1)[curvature.owner] * units
        X = (S - self._root * image) / curvature.ridge[:, None] + radial
        return [X[:, i * T : (i + 1) * T] for i in range(len(sides))]

    def _spread(self, w):
        """``w_g u_g`` for every column of w: (d, sides * T)."""
        d, T = self._units.shape
        out = np.empty((d, w.shape[1] * T), dtype=self.dtype, order="F")
        for i, column in enumerate(w.T):
            np.multiply(self._units, column[self.curvature.owner, None], out=out[:, i * T : (i + 1) * T])
        return out

    def _gathered(self, V):
        """``<u_g, V_g>`` for every side: (groups, sides)."""
        T = self._units.shape[1]
        parts = [np.einsum("ij,ij->i", self._units, V[:, i : i + T]) for i in range(0, V.shape[1], T)]
        return np.add.reduceat(np.array(parts, dtype=np.float64).T, self.curvature.starts)

    def _radial(self, V):
        """w, and ``R^-1/2 A' K^-1 Z w``, where ``(sum_t Z_t' K^-1 Z_t) w = U'V``."""
        curvature = self.curvature
        self._units = np.asfortranarray(curvature.units, dtype=self.dtype)
        rhs = self._gathered(V)
        if not self._iterative:
            small, scale = self._small
            w = scale * cho_solve(small, scale * rhs, check_finite=False)
            return w, self._transposed_times(self._inverse(self._times(self._root * self._spread(w))))
        r = curvature.ridge[curvature.starts]
        sizes = np.einsum("ij,ij->j", self._A, self._A) * np.einsum("ij,ij->i", self._units, self._units)
        raw = np.add.reduceat(sizes.astype(np.float64), curvature.starts) * self._share()
        inverse = ((1.0 + raw) / (raw * r))[:, None]
        w, image = np.zeros_like(rhs), 0.0
        z = inverse * rhs
        direction, value = z.copy(), np.sum(rhs * z, axis=0)
        goal = ACCURACY**2 * value
        for _ in range(60):
            if np.all(value <= goal):
                break
            part = self._transposed_times(self._inverse(self._times(self._root * self._spread(direction))))
            product = self._gathered(self._root * part)
            bend = np.sum(direction * product, axis=0)
            length = np.where(bend > 0.0, value / np.where(bend > 0.0, bend, 1.0), 0.0)
            w += length * direction
            image = image + part * np.repeat(length, self._units.shape[1]).astype(self.dtype)
            rhs = rhs - length * product
            z = inverse * rhs
            previous, value = value, np.sum(rhs * z, axis=0)
            direction = z + np.where(previous > 0.0, value / np.where(previous > 0.0, previous, 1.0), 0.0) * direction
        return w, image

    def _share(self):
        """What a column's square in K^-1 is to its square, on the average of all directions."""
        return float(np.trace(self._explicit)) / len(self._explicit)


def _conjugate_gradients(gram_product, inverse, curvature, side):
    """H X = S on the free coefficients, preconditioned by the inverse for all of them."""
    blocked = ~curvature.free

    def restricted(P):
        P[blocked] = 0.0
        return P

    x = np.zeros_like(side)
    residual = restricted(side.copy())
    z = restricted(inverse(residual))
    direction = z.copy()
    product = start = float(np.sum(residual * z))
    for _ in range(200):
        if not product > 1e-14 * start:
            break
        image = restricted(gram_product(direction) + curvature.apply(direction))
        bend = float(np.sum(direction * image))
        if bend <= 0.0:
            break
        length = product / bend
        x += length * direction
        residual -= length * image
        z = restricted(inverse(residual))
        previous, product = product, float(np.sum(residual * z))
        direction = z + (product / previous) * direction
    return x


def few_conjugate_gradients(A, curvature, precondition, side, reduction, most=12):
    """H X = S, roughly, with ``G = A'A``: X, A X and the number of steps; X is None where H is not positive."""
    x, image = np.zeros_like(side), np.zeros((len(A), side.shape[1]))
    residual = side.copy()
    z = precondition(residual)
    direction = z.copy()
    value = start = float(np.sum(residual * z))
    n_steps = 0
    while n_steps < most and value > reduction**2 * start:
        forward = product(A, direction)
        back = product(A.T, forward) + curvature.apply(direction)
        bend = float(np.sum(direction * back))
        if not bend > 0.0:
            return None, None, n_steps
        length = value / bend
        x += length * direction
        image += length * forward
        residual -= length * back
        z = precondition(residual)
        previous, value = value, float(np.sum(residual * z))
        direction = z + (value / previous) * direction
        n_steps += 1
    return x, image, n_steps


def penalty(b, starts, group_bound, entry_bound):
    """Penalty of some coefficients."""
    norms = np.sqrt(np.add.reduceat(np.einsum("ij,ij->i", b, b), starts))
    return float(group_bound @ norms) + entry_bound * float(np.abs(b).sum())


def line_search(b, step, linear, quadratic, starts, group_bound, entry_bound, positive):
    """Length of the step that minimises the objective along it, at most one; zero where it does not descend.

    ``linear`` is the product of the step with the gradient, ``quadratic`` its square in the Gram matrix. The objective
    is convex along a line. Newton steps of nearly dependent columns are long, and their minimum is often where a group
    or a coefficient vanishes: a kink that halving the step would miss.
    """
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
