"""Newton systems of block penalties: on a fixed support the penalised problem is smooth.

With r_g = bound_g / ||B_g|| and u_g = B_g / ||B_g|| the Hessian on the nonzero coefficients is

    H = I_T x G + sum_g r_g (I - vec(u_g) vec(u_g)'),

the sum of the Gram matrix with ridges, which is the same for every target, and a negative term whose rank is the number
of groups. So a system in all coefficients costs a factorisation of the size of the features (from a Gram matrix) or of
the rows (from the columns themselves, where there are more of these), and one of the size of the groups.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, blas, cho_factor, cho_solve, lapack, solve_triangular

from ._blas import product, self_product, symmetric
from ._block_cd import group_combinations

# Largest system of several targets that is written out; larger ones use the structure.
DENSE = 150
# Floating-point operations that a Newton step costs beside its arithmetic.
OVERHEAD = 1e5


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


def directions_from_rows(A, curvature, sides):
    """The same with ``G = A'A``, at a cost that is linear in the number of features; A is overwritten."""
    if curvature.units.shape[1] > 1 and not curvature.free.all():
        inverse = _inverse_from_rows(A, curvature)
        if inverse is None:
            return None
        root = np.sqrt(curvature.ridge)[:, None]

        def gram_product(P):
            return root * product(A.T, product(A, root * P))

        return [_conjugate_gradients(gram_product, inverse, curvature, side) for side in sides]
    free = curvature.free[:, 0]
    if not free.all():
        counts = np.add.reduceat(free, curvature.starts, dtype=np.intp)
        kept = np.cumsum(np.concatenate([[0], counts[:-1]]))[counts > 0]
        owner = np.repeat(np.arange(len(kept)), counts[counts > 0])
        inner = Curvature(curvature.ridge[free], curvature.units[free], kept, owner, np.ones((free.sum(), 1), bool))
        found = directions_from_rows(A[:, free], inner, [side[free] for side in sides])
        if found is None:
            return None
        out = [np.zeros_like(side) for side in sides]
        for full, part in zip(out, found):
            full[free] = part
        return out
    inverse = _inverse_from_rows(A, curvature)
    return None if inverse is None else [inverse(side) for side in sides]


def cost_from_gram(d, n_groups, T):
    """Floating-point operations of `directions_from_gram`."""
    if T == 1 or d * T <= DENSE:
        return (d * T) ** 3 / 3.0 + OVERHEAD
    return d**3 + 20.0 * d * d * T + n_groups**3 / 3.0 + OVERHEAD


def cost_from_rows(n, d, n_groups, T):
    """Floating-point operations of `directions_from_rows`."""
    combined = min(T * n * n_groups * (n + n_groups), d * (n * n + n * d + d * T))
    return n * n * d + n**3 / 3.0 + combined + n_groups**3 / 3.0 + OVERHEAD


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


def _inverse_from_rows(A, curvature):
    """The same from the columns: ``(A'A + R)^-1 = R^-1 - R^-1 A' (I + A R^-1 A')^-1 A R^-1``.

    A is overwritten, by ``A R^-1/2``.
    """
    n = A.shape[0]
    ridge, units, starts = curvature.ridge, curvature.units, curvature.starts
    root = np.sqrt(ridge)
    A /= root
    K = blas.dsyrk(1.0, A, lower=True)
    K[np.diag_indices(n)] += 1.0
    try:
        factor = cho_factor(K, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    small = factorise(_combined(A, factor[0], curvature, root))
    if small is None:
        return None
    r = ridge[starts]

    def ridged(S):
        S = S / root[:, None]
        S -= product(A.T, cho_solve(factor, product(A, S), check_finite=False))
        return S / root[:, None]

    def solve(S):
        weight = r * cho_solve(small, r * curvature.along(ridged(S)), check_finite=False)
        return ridged(S + weight[curvature.owner, None] * units)

    return solve


def _combined(A, factor, curvature, root):
    """``sum_t Z_t' K^-1 Z_t`` with ``Z_t = [A_g u_gt]``, A scaled by 1 / root and factor the Cholesky factor of K."""
    n, d = A.shape
    units, starts = curvature.units, curvature.starts
    k, T = len(starts), units.shape[1]
    if T * n * k * (n + k) <= d * (n * n + n * d + d * T):
        Q = np.zeros((k, k), order="F")
        for t in range(T):
            Z = group_combinations(A, root * units[:, t], starts)
            self_product(solve_triangular(factor, Z, lower=True, overwrite_b=True, check_finite=False), Q)
        return symmetric(Q)
    # the targets meet in the inner products of the units alone
    units = root[:, None] * units
    Q = self_product(solve_triangular(factor, A, lower=True, check_finite=False)) * product(units, units.T)
    if k < d:
        Q = np.add.reduceat(np.add.reduceat(Q, starts, axis=0), starts, axis=1)
    return Q


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
