"""Least trimmed squares by concentration steps (Rousseeuw & Van Driessen 2006)."""

import numpy as np
from scipy.linalg import eigh, lstsq, qr, solve_triangular

from ._blas import product
from ._lts import concentrate, trimmed_cut

# Starts through randomly drawn rows, and how many of the best are followed to the end.
N_STARTS = 500
N_KEPT = 10
# From here on concentration steps run on a stratified sample of the rows.
LARGE = 50_000


def coverage(total, rank):
    """Weight of the rows that are fitted: the least for which no majority of good rows can be overruled."""
    return float(np.floor(0.5 * (total + rank + 1.0)))


def _keys(residual):
    """A number for each row that neither its position nor the units of the data decide."""
    square = residual**2
    return np.round(square / max(square.max(initial=0.0), np.finfo(np.float64).tiny), 12)


def stable_order(Q, y, s, key):
    """An order of the rows that neither their position nor the units of the data decide; equal rows are neighbours."""
    order = np.argsort(key, kind="stable")
    tied = np.diff(key[order]) == 0.0
    if not tied.any():
        return order
    # ties only, by what is left of a row
    position = np.concatenate([[0], np.cumsum(~tied)])
    doubtful = np.flatnonzero(np.concatenate([[False], tied]) | np.concatenate([tied, [False]]))
    rows = order[doubtful]
    columns = Q[rows] * float(np.sqrt(s.sum()))
    keys = [np.round(columns[:, j], 7) for j in range(columns.shape[1])] if len(rows) <= 2 * LARGE else []
    largest = max(float(np.abs(y).max(initial=0.0)), np.finfo(np.float64).tiny)
    keys += [np.round(y[rows] / largest, 9), np.round(np.einsum("ij,ij->i", columns, columns), 9), position[doubtful]]
    order[doubtful] = rows[np.lexsort(keys)]
    return order


def some_rows(problem, count, size=None):
    """About ``count`` rows, spread like all of them, whatever their order; None where equal rows abound.

    A row is taken or not by the digits of a positive number, its least squares residual's size unless given, so no
    sorting is needed.
    """
    if size is None:
        size = np.abs(problem.y - product(problem.Q, problem.least_squares()))
    # few digits: hardly any row is so near a border that rounding errors would move it across
    key = np.round(size / max(size.max(initial=0.0), np.finfo(np.float64).tiny), 9)
    # multiplication by 2^64 over the golden ratio spreads neighbours evenly (Fibonacci hashing)
    hashed = (key + 1.0).view(np.uint64) * np.uint64(11400714819323198485)
    rows = np.flatnonzero(hashed < np.uint64(int(count / problem.weights.sum() * 2.0**64)))
    weight = float(problem.weights[rows].sum())
    if not 0.8 * count <= weight <= 1.25 * count:
        return None
    _, which = np.unique(key[rows], return_inverse=True)
    return rows if np.bincount(which, problem.weights[rows]).max() <= 1e-3 * weight else None


def least_trimmed_squares(problem, rng, n_starts=N_STARTS):
    """Minimise the sum of the smallest squared residuals, of total weight `coverage`.

    Random starts are fits through as many rows as there are coefficients, drawn in proportion to the weights, so that
    a row of weight two is a row that occurs twice; beside them are least squares and the starts of Pena & Yohai
    (1999), which do without chance. Large problems are narrowed down on samples first.

    Returns
    -------
    beta : ndarray of shape (k,)
    objective : float
        On all rows.
    """
    k = problem.Q.shape[1]
    wanted = coverage(float(problem.weights.sum()), k)
    if k == 0:
        return np.zeros(0), _objective(problem, np.zeros(0), wanted)
    Q, y, s = problem.Q, problem.y, problem.weights
    residual = y - product(Q, problem.least_squares())
    if s.sum() > LARGE:
        rows = some_rows(problem, LARGE)
        if rows is not None:
            Q, y, s, residual = Q[rows], y[rows], s[rows], residual[rows]
    beta = _best_start(Q, y, s, residual, rng, n_starts)
    return beta, _objective(problem, beta, wanted)


def _best_start(Q, y, s, residual, rng, n_starts):
    """Coefficients with the least trimmed sum of squares that was found."""
    n, k = Q.shape
    total = float(s.sum())
    wanted = coverage(total, k)
    order = stable_order(Q, y, s, _keys(residual))
    cumulative = np.cumsum(s[order])
    cumulative /= cumulative[-1]

    def rows_at(u):
        return order[np.minimum(np.searchsorted(cumulative, u, side="right"), n - 1)]

    # of several exact fits the first, not the one whose rounding errors happen to be the smallest
    zero = 1e-24 * float(np.einsum("i,i,i->", s, y, y))

    def sample(m):
        """A stratified sample of m rows: Q, y and weights."""
        rows = rows_at((np.arange(m) + rng.uniform()) / m)
        return np.ascontiguousarray(Q[rows]), np.ascontiguousarray(y[rows]), np.ones(m)

    no_draws = np.empty((0, k), dtype=np.intp)
    n_draws = 3 * k + 20
    small = max(300, 10 * k)
    # what decides is the weight, so that a row of weight two is one that occurs twice
    if total <= 2 * small:
        draws = rows_at(rng.uniform(size=(n_starts, n_draws)))
        given = _systematic_starts(Q, y, s, wanted)
        betas, objectives = concentrate(Q, y, s, wanted, given, draws, 2, 0.0)
        # on few rows all can be followed
        betas = betas[_best(objectives, zero, len(betas) if total <= 150 and k <= 10 else N_KEPT)]
    else:
        found = []
        for _ in range(5):
            part = sample(small)
            given = _systematic_starts(*part, coverage(small, k))
            draws = np.minimum((rng.uniform(size=(n_starts // 5, n_draws)) * small).astype(np.intp), small - 1)
            betas, objectives = concentrate(*part, coverage(small, k), given, draws, 2, 0.0)
            found.append(betas[_best(objectives, zero, N_KEPT)])
        betas = np.concatenate(found)
        middle = 5 * small
        if middle < total:
            betas, objectives = concentrate(*sample(middle), coverage(middle, k), betas, no_draws, 2, 0.0)
            betas = betas[_best(objectives, zero, N_KEPT)]
    if total < 0.3 * LARGE:
        if total > 2 * small:
            betas, objectives = concentrate(Q, y, s, wanted, betas, no_draws, 2, 0.0)
            betas = betas[_best(objectives, zero, 3)]
        betas, objectives = concentrate(Q, y, s, wanted, betas, no_draws, 1000, 1e-14)
    else:
        part = sample(LARGE // 5)
        betas, objectives = concentrate(*part, coverage(LARGE // 5, k), betas, no_draws, 5, 1e-6)
        betas = betas[_best(objectives, zero, 1)]
        most = int(min(total, LARGE))
        betas, objectives = concentrate(*sample(most), coverage(most, k), betas, no_draws, 5, 1e-5)
    return betas[_best(objectives, zero, 1)[0]]


def _best(objectives, zero, count):
    return np.argsort(np.where(objectives <= zero, 0.0, objectives), kind="stable")[:count]


def _objective(problem, beta, wanted):
    residual = problem.y - product(problem.Q, beta)
    square = residual**2
    cut, below = trimmed_cut(square, problem.weights, wanted)
    inside = square < cut
    return float(np.dot(problem.weights[inside], square[inside]) + max(wanted - below, 0.0) * cut)


def _systematic_starts(Q, y, s, wanted):
    """Least squares, and least squares without the rows that matter most along directions of sensitivity.

    Deleting row j moves fit i by h_ij r_j / (1 - h_j); the principal components of these moves over j show groups of
    outliers that mask each other (Pena & Yohai 1999).
    """
    root = np.sqrt(s)
    basis, factor = qr(Q * root[:, None], mode="economic", check_finite=False)
    diagonal = np.abs(np.diag(factor))
    if diagonal.min(initial=np.inf) <= 1e-8 * diagonal.max(initial=0.0):
        return np.zeros((1, Q.shape[1]))
    target = root * y
    beta = product(basis.T, target)
    residual = target - product(basis, beta)
    left = np.maximum(1.0 - np.minimum(1.0, 1.0 / s) * np.einsum("ij,ij->i", basis, basis), 1e-8)
    moves = basis * (residual / (root * left))[:, None]
    starts = [beta]
    _, vectors = eigh(product(moves.T, moves))
    components = vectors[:, ::-1][:, :10]
    for j in range(components.shape[1]) if np.any(residual) else ():
        score = product(basis, components[:, j]) / root
        # the sign of an eigenvector is arbitrary; that of its third moment is not
        score *= np.sign(np.einsum("i,i->", s, score**3)) or 1.0
        for measure in (score, -score, np.abs(score)):
            kept = measure <= trimmed_cut(measure, s, wanted)[0]
            starts.append(lstsq(basis[kept], target[kept], cond=1e-10, check_finite=False)[0])
    for inside in _clusters(np.column_stack([basis, residual]) / root[:, None], s, wanted):
        starts.append(lstsq(basis[inside], target[inside], cond=1e-10, check_finite=False)[0])
    return solve_triangular(factor, np.array(starts).T).T.copy()


def _clusters(rows, s, wanted):
    """The rows that lie closest together along directions that tell clusters apart.

    A cluster of many outliers shows along the eigenvectors of the kurtosis matrix ``sum s ||z||^2 z z'`` of the
    whitened rows z, targets included (Pena, Prieto & Viladomat 2010), where draws of a few rows hardly ever miss it.
    The eigenvectors turn with the data, so that units and linear maps change nothing.
    """
    total = float(s.sum())
    z = rows - np.einsum("i,ij->j", s, rows) / total
    values, vectors = eigh(product((z * s[:, None]).T, z))
    kept = values > 1e-10 * max(values[-1], np.finfo(np.float64).tiny)
    if not kept.any():
        return
    z = product(z, np.ascontiguousarray(vectors[:, kept] / np.sqrt(values[kept])))
    length = np.einsum("ij,ij->i", z, z)
    _, directions = eigh(product((z * (s * length)[:, None]).T, z))
    for j in range(directions.shape[1]):
        score = product(z, np.ascontiguousarray(directions[:, j]))
        order = np.argsort(score, kind="stable")
        cumulative = np.cumsum(s[order])
        ends = np.minimum(np.searchsorted(cumulative, cumulative - s[order] + wanted * (1.0 - 1e-12)), len(s))
        first = np.flatnonzero(ends < len(s))
        if len(first) == 0:
            continue
        widths = score[order[ends[first]]] - score[order[first]]
        k = int(np.argmin(widths))
        low, high = score[order[first[k]]], score[order[ends[first[k]]]]
        yield (score >= low) & (score <= high)
