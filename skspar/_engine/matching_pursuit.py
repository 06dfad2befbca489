"""Orthogonal matching pursuit: many signals from a Gram matrix, a few from the columns of any design.

The Gram matrix costs n p^2 once and then little for every signal (Rubinstein, Zibulevsky & Elad 2008; the recursion
is the inverse-Cholesky one of Zhu, Chen, Sun & Zhang 2020). It squares the condition number of the chosen atoms and
loses residuals below about 1e-8 of a signal. Signals for which that matters are told apart and solved from the
columns, where the chosen atoms are orthogonalised twice and the residual is a vector, not a difference of squares.
"""

from dataclasses import dataclass

import numpy as np
from joblib import effective_n_jobs
from scipy import sparse
from scipy.linalg import solve_triangular

from ._blas import product, self_product
from ._columns import dense_moments, sparse_moments
from ._pursuit import pack, pursue_scores, pursue_signals
from .design import make_design
from .penalty import BlockPenalty
from .problem import RowProblem
from .threads import threads

# Sine of the angle to the span of the chosen atoms below which an atom counts as dependent on them.
DEPENDENT = 1e-10
# The same for the recursion of squared norms that order-recursive selection uses.
DEPENDENT_SQUARE = 1e-12
# Residual norm relative to that of the signal below which nothing but rounding is left.
EXACT = 64.0 * np.finfo(np.float64).eps
# Spread relative to the mean below which a signal is a constant.
CONSTANT = 8.0 * np.finfo(np.float64).eps
# Signals that a thread takes at a time, and those that are solved again together.
SIGNALS, FEW = 8192, 256


def column_norms(design, v, fit_intercept):
    """V-norms of the columns, centred if there is an intercept; zero where only rounding is left."""
    moments = sparse_moments(*design.arrays, v) if design.is_sparse else dense_moments(design.X, v)
    mean, deviation = moments
    if not fit_intercept:
        return np.hypot(mean, deviation)
    return np.where(deviation > 1e-12 * np.hypot(mean, deviation), deviation, 0.0)


@dataclass
class Pursuit:
    """The steps of one signal, in the metric of its weights.

    Attributes
    ----------
    norms : ndarray
        V-norms of all columns.
    y_mean : float
        Mean of the signal if there is an intercept, else zero.
    support : list of int
        Atoms in the order of selection.
    means : list of float
        Their means, if there is an intercept.
    factor : ndarray
        Upper triangle R of the chosen atoms of unit norm, ``X_S = Q R``.
    projections : list of float
        ``Q'y``.
    residual_norms : list of float
        V-norm of the residual before the first step, after it, ...
    exhausted : bool
        Whether no further atom could reduce the residual.
    """

    norms: np.ndarray
    y_mean: float
    support: list
    means: list
    factor: np.ndarray
    projections: list
    residual_norms: list
    exhausted: bool = False

    @property
    def n_steps(self):
        return len(self.support)

    def solution(self, n_steps=None):
        """Coefficients of the chosen atoms, and the intercept, after some steps (at most all)."""
        k = self.n_steps if n_steps is None else min(n_steps, self.n_steps)
        if k == 0:
            return np.empty(0), self.y_mean
        b = solve_triangular(self.factor[:k, :k], np.array(self.projections[:k])) / self.norms[self.support[:k]]
        return b, self.y_mean - float(np.dot(self.means[:k], b))


class _State:
    """A signal that is being pursued."""

    def __init__(self, y, v, norms, fit_intercept, k_most):
        self.v, self.root, self.fit_intercept = v, np.sqrt(v), fit_intercept
        self.usable = norms > 0.0
        self.inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=self.usable)
        y_mean = float(v @ y) if fit_intercept else 0.0
        self.residual = self.root * (y - y_mean)
        self.size = float(np.linalg.norm(self.residual))
        if self.size <= CONSTANT * abs(y_mean):
            self.residual[:] = self.size = 0.0
        self.basis = np.empty((len(y), min(8, k_most)), order="F")
        self.left = None
        self.trace = Pursuit(norms, y_mean, [], [], np.zeros((min(8, k_most),) * 2), [], [self.size])

    def take(self, atom, raw):
        """Orthogonalise a column of the design and take it; False where it depends on those before."""
        mean = float(self.v @ raw) if self.fit_intercept else 0.0
        column = (raw - mean) * (self.root * self.inverse[atom])
        trace, k = self.trace, len(self.trace.support)
        if k == self.basis.shape[1]:
            wider = np.empty((len(column), 2 * k), order="F")
            wider[:, :k] = self.basis
            self.basis = wider
            factor = np.zeros((2 * k, 2 * k))
            factor[:k, :k] = trace.factor
            trace.factor = factor
        basis = self.basis[:, :k]
        weights = np.zeros(k)
        # twice is enough (Kahan)
        for _ in range(2):
            part = product(basis.T, column)
            column -= product(basis, part)
            weights += part
        pivot = float(np.linalg.norm(column))
        if not pivot > DEPENDENT:
            self.usable[atom] = False
            return False
        column /= pivot
        step = float(column @ self.residual)
        self.residual -= step * column
        # what rounding has left of the earlier directions
        self.residual -= product(basis, product(basis.T, self.residual))
        self.basis[:, k] = column
        trace.factor[:k, k], trace.factor[k, k] = weights, pivot
        trace.support.append(int(atom))
        trace.means.append(mean)
        trace.projections.append(step)
        trace.residual_norms.append(float(np.linalg.norm(self.residual)))
        self.usable[atom] = False
        return True

    @property
    def latest(self):
        """The direction taken last."""
        return self.basis[:, len(self.trace.support) - 1]


def pursue_columns(design, targets, k_most, fit_intercept, ols=False, tol=-1.0, rtol=0.0):
    """Pursue signals on the columns of a design; all that they ask of it in one round is one product.

    Parameters
    ----------
    design : DenseDesign or SparseDesign
    targets : list of (y, v, norms)
        Signals, row weights that sum to one (zero: the row is absent), `column_norms` for them.
    k_most : int
        Largest number of atoms.
    ols : bool
        Whether an atom is chosen for the smallest residual after the step (order-recursive selection).
    tol : float or array-like, one for each target
    rtol : float
        Stop when the squared V-norm of the residual is at most ``tol + rtol ||y||^2``; a negative sum stops nothing.

    Returns
    -------
    list of Pursuit
    """
    states = [_State(y, v, norms, fit_intercept, k_most) for y, v, norms in targets]
    bounds = np.broadcast_to(tol, len(states)) + rtol * np.array([state.size**2 for state in states])
    active = [s for s, state in enumerate(states) if not _finished(state, bounds[s], k_most)]
    while active:
        requests = [states[s].root * states[s].residual for s in active]
        updates = [s for s in active if ols and states[s].trace.support]
        requests += [states[s].root * states[s].latest for s in updates]
        found = design.correlate(np.asfortranarray(np.column_stack(requests)))
        for place, s in enumerate(updates):
            states[s].left -= (found[:, len(active) + place] * states[s].inverse) ** 2
        raw = {}
        for place, s in enumerate(active):
            state = states[s]
            scores = np.abs(found[:, place]) * state.inverse
            scores[~state.usable] = 0.0
            rank = scores
            if ols:
                if state.left is None:
                    state.left = np.ones(len(scores))
                open_ = state.left > DEPENDENT_SQUARE
                rank = np.where(open_, scores / np.sqrt(np.where(open_, state.left, 1.0)), 0.0)
            remaining = state.trace.residual_norms[-1]
            while True:
                atom = int(rank.argmax())
                if not scores[atom] > DEPENDENT * remaining:
                    state.trace.exhausted = True
                    break
                if atom not in raw:
                    raw[atom] = design.columns(np.array([atom]))[:, 0]
                if state.take(atom, raw[atom]):
                    break
                rank[atom] = scores[atom] = 0.0
        active = [s for s in active if not _finished(states[s], bounds[s], k_most)]
    return [state.trace for state in states]


def _finished(state, bound, k_most):
    trace = state.trace
    norm = trace.residual_norms[-1]
    # whatever the order in which the caller has summed
    met = norm**2 * (1.0 - 1e-13) <= bound
    return trace.exhausted or trace.n_steps >= k_most or norm <= EXACT * state.size or met


class Dictionary:
    """Atoms prepared for many signals.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        None may be zero.
    dtype : float32 or float64
        That of the signals.
    """

    def __init__(self, atoms, dtype):
        exact = np.asarray(atoms, dtype=np.float64)
        largest = np.abs(exact).max(axis=1)
        self.norms = largest * np.linalg.norm(exact / largest[:, None], axis=1)
        self._unit = np.ascontiguousarray(exact / largest[:, None] / (self.norms / largest)[:, None])
        self._gram = np.ascontiguousarray(self_product(self._unit.T))
        self.dtype = np.dtype(dtype)
        # from float64 atoms: in float32 the recursions have no digits to lose here
        self.atoms, self.gram = self._unit.astype(dtype, copy=False), self._gram.astype(dtype, copy=False)

    def pursue(self, signals, k_most, tol=-1.0, rtol=0.0, ols=False, n_jobs=None):
        """Sparse codes of the rows of ``signals``; see `pursue_columns` for the parameters.

        Returns
        -------
        data, indices, indptr : ndarray
            Those of a CSR matrix, indices increasing in every row.
        exhausted : int
            How many signals ended because no further atom could reduce the residual.
        """
        total = signals.shape[0]
        # without a tolerance every signal fills its row, and the result needs no second copy
        whole = tol + rtol < 0.0
        step = SIGNALS if whole else min(SIGNALS, max(256, (1 << 22) // k_most))
        # several pieces for each thread, so that none waits long for another
        step = max(1, min(step, -(-total // (4 * effective_n_jobs(n_jobs)))))
        starts = range(0, total, step)
        counts = np.zeros(total, dtype=np.int32)
        if whole:
            support = np.zeros((total, k_most), dtype=np.int32)
            coefs = np.zeros((total, k_most), dtype=self.dtype)

        def work(start):
            rows = slice(start, min(start + step, total))
            block = signals[rows]
            block = block.toarray() if sparse.issparse(block) else block
            block = np.asarray(block, dtype=self.dtype)
            out = (support[rows], coefs[rows]) if whole else self._room(len(block), k_most)
            exhausted = self._code(block, tol, rtol, ols, *out, counts[rows])
            if whole:
                return None, None, exhausted
            used = pack(*out, counts[rows])
            return out[0].ravel()[:used].copy(), out[1].ravel()[:used].copy(), exhausted

        with threads(n_jobs) as (_, run):
            thunks = [lambda start=start: work(start) for start in starts]
            parts = run(thunks)
        if whole:
            used = pack(support, coefs, counts)
            indices, data = support.ravel()[:used], coefs.ravel()[:used]
        else:
            indices, data = (np.concatenate([part[i] for part in parts]) for i in range(2))
        indptr = np.zeros(total + 1, dtype=np.int32 if len(data) < 2**31 else np.int64)
        np.cumsum(counts, out=indptr[1:])
        return data, indices.astype(indptr.dtype, copy=False), indptr, sum(part[2] for part in parts)

    def _room(self, n_signals, k_most):
        return np.zeros((n_signals, k_most), dtype=np.int32), np.zeros((n_signals, k_most), dtype=self.dtype)

    def _code(self, signals, tol, rtol, ols, support, coefs, counts):
        """Fill the outputs for some signals; returns how many were exhausted."""
        undecided, exhausted = pursue_signals(
            self.gram, self.atoms, self.norms, signals, tol, rtol, ols, support, coefs, counts
        )
        # again in units of their own and in float64; the few that are left, from the columns
        for first in range(0, len(undecided), FEW):
            some = undecided[first : first + FEW]
            exact = signals[some].astype(np.float64)
            scales = 2.0 ** np.clip(np.frexp(np.abs(exact).max(axis=1))[1], -1000, 1000).astype(np.float64)
            exact /= scales[:, None]
            own_support = np.zeros((len(some), support.shape[1]), dtype=np.int32)
            own_coefs, own_counts = np.zeros(own_support.shape), np.zeros(len(some), dtype=np.int32)
            left = np.arange(len(some))
            if tol <= 0.0:
                left, ended = pursue_signals(
                    self._gram, self._unit, self.norms, exact, tol, rtol, ols, own_support, own_coefs, own_counts
                )
                exhausted += ended
            # in two steps, so that no square of a scale under- or overflows
            bounds = tol / scales / scales if tol > 0.0 else np.full(len(some), tol)
            exhausted += self._from_columns(exact, left, bounds, rtol, ols, own_support, own_coefs, own_counts)
            support[some], counts[some] = own_support, own_counts
            coefs[some] = own_coefs * scales[:, None]
        return exhausted

    def _from_columns(self, signals, some, bounds, rtol, ols, support, coefs, counts):
        """Solve some signals from the atoms themselves."""
        if len(some) == 0:
            return 0
        m = self._unit.shape[1]
        v = np.full(m, 1.0 / m)
        design = make_design(self._unit.T, v, False)
        norms = column_norms(design, v, False)
        targets = [(signals[s], v, norms) for s in some]
        found = pursue_columns(design, targets, support.shape[1], False, ols, bounds[some] / m, rtol)
        for s, trace in zip(some, found):
            k = trace.n_steps
            order = np.argsort(trace.support)
            chosen = np.array(trace.support, dtype=np.intp)[order]
            support[s, :k], counts[s] = chosen, k
            coefs[s, :k] = trace.solution()[0][order] / self.norms[chosen]
        return sum(trace.exhausted for trace in found)


def pursue_gram(design, Y, v, fit_intercept, k_most, tol, rtol, ols, n_jobs=None):
    """Pursue many signals on one design from the Gram matrix of all its columns; see `pursue_columns`.

    Returns
    -------
    support, coefs : ndarray of shape (n_targets, k_most)
        In the order of selection.
    counts : ndarray of shape (n_targets,)
    exhausted : int
        How many signals ended because no further atom could reduce the residual.
    """
    p, T = design.shape[1], Y.shape[1]
    layout = BlockPenalty(np.arange(p), np.arange(p + 1), np.ones(p))
    problem = RowProblem(design, Y, v, layout, fit_intercept)
    norms = column_norms(design, v, fit_intercept)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
    everything = np.arange(p)
    gram = problem.gram(everything, p) * inverse[:, None] * inverse
    gram = np.ascontiguousarray(0.5 * (gram + gram.T))
    np.fill_diagonal(gram, np.where(norms > 0.0, 1.0, 0.0))
    scores = np.ascontiguousarray((design.correlate(np.asfortranarray(v[:, None] * problem.Y)) * inverse[:, None]).T)
    squares = np.einsum("i,ij,ij->j", v, problem.Y, problem.Y)
    if fit_intercept:
        squares[np.sqrt(squares) <= CONSTANT * np.abs(product(Y.T, v))] = 0.0
    support = np.zeros((T, k_most), dtype=np.int32)
    coefs = np.zeros((T, k_most))
    counts = np.zeros(T, dtype=np.int32)
    tol = np.broadcast_to(np.asarray(tol, dtype=np.float64), T).copy()
    safe_norms = np.where(norms > 0.0, norms, 1.0)
    with threads(n_jobs) as (n_threads, run):
        parts = [p for p in np.array_split(np.arange(T), min(T, 4 * n_threads)) if len(p)]

        def work(part):
            rows = slice(part[0], part[-1] + 1)
            undecided = pursue_scores(
                gram,
                safe_norms,
                scores[rows],
                squares[rows],
                tol[rows],
                rtol,
                ols,
                support[rows],
                coefs[rows],
                counts[rows],
            )  # fmt: skip
            return part[undecided]

        thunks = [lambda part=part: work(part) for part in parts]
        some = np.concatenate(run(thunks))
    targets = [(Y[:, t], v, norms) for t in some]
    found = pursue_columns(design, targets, k_most, fit_intercept, ols, tol[some], rtol)
    for t, trace in zip(some, found):
        k = trace.n_steps
        support[t, :k], coefs[t, :k], counts[t] = trace.support, trace.solution()[0], k
    return support, coefs, counts, sum(trace.exhausted for trace in found)
