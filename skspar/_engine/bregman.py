"""The linearised Bregman path, plain and split: set-up, schedule of steps, and the driver of the kernels.

With a loss L, an operator D and a proximal map of unit threshold, the recursion is

    split:  b_new = b - kappa delta (grad L(b) + D'(D b - g) / nu),  z += delta (D b - g) / nu,  g = kappa prox(z)
    plain:  z -= delta grad L(b),  b = g = kappa prox(z)                        (the limit nu -> 0 with D the identity)

and after k steps the time is ``k delta``. Three forms give the same iterates: on all rows; on a working set of those
rows of z that are nonzero or may soon be, the others being caught up with now and then (`_screened`); and for the
squared loss in the eigenbasis of the Hessian in b, where a step is diagonal and costs no more than the working set.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, cg

from ._blas import product, self_product
from ._bregman import iterate_chain, iterate_gram, iterate_modal, iterate_plain, iterate_split, residual
from .split_operator import EXACT_NORM, top_eigenvalue

LOSSES = {"squared": 0, "logistic": 1, "multinomial": 2}
# The Hessian of the loss in b is at most this times X'VX.
CURVATURE = {"squared": 1.0, "logistic": 0.25, "multinomial": 0.5}
# Largest order of a dense matrix that is factored for the solution at gamma = 0.
DENSE_ORDER = 1500
NO_UNITS = np.empty(0, dtype=np.intp)


class Smooth:
    """A loss on rows of positive weight: ``sum_i v_i l(y_i, b0 + x_i'b)``, v of sum one.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
        Dense X is centred (with an intercept) and kept with contiguous columns.
    Y : ndarray of shape (n, K)
        Response, indicator of the second class, or indicators of all classes.
    weights : ndarray of shape (n,)
    loss : {'squared', 'logistic', 'multinomial'}
    fit_intercept : bool
    """

    def __init__(self, X, Y, weights, loss, fit_intercept):
        present = weights > 0.0
        if not present.all():
            X, Y, weights = X[present], Y[present], weights[present]
        self.loss, self.fit_intercept = loss, fit_intercept
        self.v = np.ascontiguousarray(weights / weights.sum())
        self.n, self.p = X.shape
        self.K = Y.shape[1]
        self.is_sparse = sparse.issparse(X)
        if self.is_sparse:
            X = X.tocsr().astype(np.float64)
            X.sort_indices()
            self.x_mean = np.asarray(self.v @ X).ravel() if fit_intercept else np.zeros(self.p)
        else:
            self.x_mean = product(np.asarray(X).T, self.v) if fit_intercept else np.zeros(self.p)
            if fit_intercept:
                X = np.subtract(X, self.x_mean, order="F", dtype=np.float64)
                # the mean's own rounding
                rest = product(X.T, self.v)
                X -= rest
                self.x_mean = self.x_mean + rest
                # constant but for rounding
                spread = np.maximum(X.max(axis=0), -X.min(axis=0))
                X[:, spread <= 8.0 * np.finfo(np.float64).eps * np.abs(self.x_mean)] = 0.0
            else:
                X = np.asfortranarray(X, dtype=np.float64)
        self.X = X
        self.y_mean, self.scale = np.zeros(self.K), 1.0
        if loss == "squared":
            largest = np.abs(Y).max(initial=0.0)
            if fit_intercept:
                self.y_mean = self.v @ Y
                Y = Y - self.y_mean
                Y[np.abs(Y) <= 8.0 * np.finfo(np.float64).eps * largest] = 0.0
            # a power of two, so that nothing is rounded
            self.scale = 2.0 ** float(np.clip(np.frexp(np.abs(Y).max(initial=0.0))[1], -1000, 1000))
            Y = Y / self.scale
        self.Y = np.asfortranarray(Y, dtype=np.float64)
        self._gram = None
        self.at_zero, self.b0_at_zero = self.residual(np.zeros((self.n, self.K), order="F"))
        self.q = self.correlate(self.at_zero)

    @property
    def arrays(self):
        """Dense X, or the arrays of a CSR matrix, for the kernels."""
        return _matrix_arrays(self.X)

    @property
    def prefers_gram(self):
        """Whether one product of all columns pays."""
        return self.loss == "squared" and self.p <= min(self.n, 4000)

    @property
    def gram(self):
        """X'VX, centred."""
        if self._gram is None:
            self._gram = self._whole_gram()
        return self._gram

    @gram.setter
    def gram(self, gram):
        self._gram = gram

    @property
    def size(self):
        """Stored entries of X."""
        return self.X.nnz if self.is_sparse else self.n * self.p

    def _whole_gram(self):
        if self.is_sparse:
            return self.gram_block(np.arange(self.p))
        return self_product(np.sqrt(self.v)[:, None] * self.X)

    def gram_block(self, rows, columns=None):
        """Some of X'VX, centred."""
        if self.is_sparse:
            left = self.X[:, rows]
            right = sparse.diags_array(self.v) @ (left if columns is None else self.X[:, columns])
            shift = np.outer(self.x_mean[rows], self.x_mean[rows if columns is None else columns])
            return np.asfortranarray((left.T @ right).toarray() - shift)
        if columns is None:
            return self_product(np.sqrt(self.v)[:, None] * self.X[:, rows])
        return product(self.X[:, rows].T, self.v[:, None] * self.X[:, columns])

    def residual(self, eta, b0=None):
        """Minus the derivative in eta, (n, K), and the best intercept."""
        b0 = np.zeros(self.K) if b0 is None else np.array(b0, dtype=np.float64)
        return residual(LOSSES[self.loss], eta, self.Y, self.v, self.fit_intercept, b0), b0

    def correlate(self, R):
        """X'R, centred where R has column sums zero."""
        return np.asfortranarray(self.X.T @ R) if self.is_sparse else product(self.X.T, R)

    def times(self, B):
        """``X B`` (of sparse X not centred)."""
        return np.asfortranarray(self.X @ B) if self.is_sparse else product(self.X, B)

    def column_norms(self):
        """Norms of the columns in the metric of the weights."""
        if self.is_sparse:
            squares = self.X.multiply(self.X)
            return np.sqrt(np.maximum(np.asarray(self.v @ squares).ravel() - self.x_mean**2, 0.0))
        return np.sqrt(np.einsum("ij,ij,i->j", self.X, self.X, self.v))

    def hessian_times(self, b):
        """``X'VX b``, centred, for a vector."""
        if self._gram is not None:
            return product(self._gram, b)
        Xb = self.X @ b if self.is_sparse else product(self.X, b)
        w = self.v * Xb
        if self.is_sparse and self.fit_intercept:
            w -= self.v * w.sum()
        return np.asarray(self.X.T @ w) if self.is_sparse else product(self.X.T, w)

    def squared_norm(self):
        """Largest eigenvalue of X'VX."""
        if self.prefers_gram:
            return top_eigenvalue(self.hessian_times, self.p, gram=self.gram)
        small = not self.is_sparse and min(self.n, self.p) <= EXACT_NORM
        return top_eigenvalue(self.hessian_times, self.p, np.sqrt(self.v)[:, None] * self.X if small else None)

    def intercepts(self, coefs):
        """Best intercepts, (n_times, K), of coefficients (n_times, p, K) in the units of the problem."""
        if not self.fit_intercept:
            return np.zeros((len(coefs), self.K))
        centre = np.einsum("j,tjk->tk", self.x_mean, coefs)
        if self.loss == "squared":
            return self.y_mean / self.scale - centre
        out, b0 = np.empty((len(coefs), self.K)), self.b0_at_zero
        for t, B in enumerate(coefs):
            b0 = self.residual(self.times(np.asfortranarray(B)), b0)[1]
            out[t] = b0
        out = out if self.is_sparse else out - centre
        # of several classes only the differences matter
        return out - out.mean(axis=1, keepdims=True) if self.loss == "multinomial" else out


class MomentSmooth:
    """The squared loss of some rows, known by their moments: what `Smooth` offers that needs no rows.

    Parameters
    ----------
    weight : float
        Sum of the weights.
    x_sum, y_sum : ndarray, float
        Weighted sums of the features and of the response, less their origins.
    xx, xy : ndarray of shape (p, p) and (p,)
        Weighted sums of the products.
    x_origin, y_origin, scale : ndarray, float, float
        What was subtracted from the rows, and what the response was divided by.
    """

    loss, K, X, is_sparse, prefers_gram = "squared", 1, None, False, True

    def __init__(self, weight, x_sum, y_sum, xx, xy, x_origin, y_origin, scale, fit_intercept):
        self.p = self.n = len(x_sum)
        self.scale, self.fit_intercept = scale, fit_intercept
        x, y = (x_sum / weight, y_sum / weight) if fit_intercept else (np.zeros(self.p), 0.0)
        self.gram = np.asfortranarray(xx / weight - np.outer(x, x))
        self.q = np.asfortranarray((xy / weight - x * y)[:, None])
        self.x_mean, self.y_mean = x_origin + x, np.array([(y_origin + y) * scale])

    def hessian_times(self, b):
        """X'VX b."""
        return product(self.gram, b)

    def squared_norm(self):
        """Largest eigenvalue of X'VX."""
        return top_eigenvalue(self.hessian_times, self.p, gram=self.gram)

    intercepts = Smooth.intercepts


def fold_problems(problem, splits):
    """The problems of the training rows, by moments: those of all rows less those held out; None where that is not so.

    The rows of the problem must be those that the splits number. Tall problems of the squared loss only.
    """
    n = problem.n
    covered = np.bincount(np.concatenate([test for _, test in splits]), minlength=n)
    if not np.all(covered == 1) or any(
        len(train) + len(test) != n or not np.all(np.bincount(train, minlength=n) + np.bincount(test, minlength=n) == 1)
        for train, test in splits
    ):
        return None
    parts = []
    for _, test in splits:
        X, y, v = problem.X[test], problem.Y[test, 0], problem.v[test]
        if problem.is_sparse:
            # not centred, as the products with its mean are not small they are subtracted last
            xx = np.asfortranarray((X.T @ sparse.diags_array(v) @ X).toarray())
            parts.append((v.sum(), X.T @ v, v @ y, xx, X.T @ (v * y)))
        else:
            xx = self_product(np.sqrt(v)[:, None] * X)
            parts.append((v.sum(), product(X.T, v), v @ y, xx, product(X.T, v * y)))
    whole = [sum(part[i] for part in parts) for i in range(5)]
    x_origin = np.zeros(problem.p) if problem.is_sparse else problem.x_mean
    y_origin = problem.y_mean[0] / problem.scale
    make = [*whole], x_origin, y_origin, problem.scale, problem.fit_intercept
    problem.gram = MomentSmooth(*make[0], *make[1:]).gram
    return [MomentSmooth(*(all_rows - held for all_rows, held in zip(whole, part)), *make[1:]) for part in parts]


def _matrix_arrays(X):
    if sparse.issparse(X):
        return (None, X.data, X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int32, copy=False))
    return X, None, None, None


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
class Schedule:
    """What a path does when, in the units of the problem it was made for (y divided by ``scale``).

    ``recorded`` counts steps; the time after k steps is ``offset + k step``.
    """

    nu: float | None
    kappa: float
    step: float
    offset: float
    recorded: np.ndarray
    start: tuple | None
    still: np.ndarray | None = None
    nominal: np.ndarray | None = None

    @property
    def times(self):
        return self.nominal if self.still is not None else self.offset + self.step * self.recorded


class StepTooLong(ValueError):
    """The step that was asked for makes the recursion diverge."""


class TooManySteps(ValueError):
    """The path would take more steps than allowed."""


def solution_at_zero(problem, operator, nu):
    """b that minimises ``L(b) + ||D b||^2 / (2 nu)``, (p, K): what b tends to as long as gamma is zero."""
    D = operator.matrix
    penalty = (D.T @ D) / nu
    if problem.loss == "squared":
        return _solve(problem, penalty, problem.q[:, 0], np.ones(1))[:, None]
    return _newton(problem, penalty)


def _solve(problem, penalty, right, curvature):
    """``(X'WX + penalty)^-1 right`` of least norm, where the loss is squared."""
    p = problem.p
    if p <= DENSE_ORDER and not (problem.is_sparse and p > 300):
        H = problem.gram + penalty.toarray()
        return _least_norm(H, right)
    H = LinearOperator((p, p), matvec=lambda b: problem.hessian_times(b) + penalty @ b, dtype=np.float64)
    return cg(H, right, rtol=1e-12, atol=0.0, maxiter=10 * p)[0]


def _least_norm(H, right):
    """Solution of least norm of a positive semidefinite system that has one."""
    values, vectors = linalg.eigh(H)
    keep = values > len(H) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, keep] @ ((vectors[:, keep].T @ right) / values[keep])


def _newton(problem, penalty, tol=1e-5, max_iter=50):
    """The same for the logistic losses, by Newton's method; the first step where there is no minimum."""
    p, K, v = problem.p, problem.K, problem.v
    b, first, least = np.zeros((p, K)), None, 0.0
    R, b0 = problem.at_zero, problem.b0_at_zero

    def objective(b, b0):
        eta = problem.times(np.asfortranarray(b)) + b0
        if problem.loss == "logistic":
            fit = v @ (np.logaddexp(0.0, eta) - problem.Y * eta)[:, 0]
        else:
            fit = v @ (np.logaddexp.reduce(eta, axis=1) - (problem.Y * eta).sum(axis=1))
        return fit + 0.5 * np.vdot(b, penalty @ b)

    value = objective(b, b0)
    for _ in range(max_iter):
        gradient = problem.correlate(R) - penalty @ b
        P = problem.Y - R / v[:, None]

        def hessian(x, P=P):
            d = problem.times(np.asfortranarray(x.reshape(K, p).T))
            W = v[:, None] * (P * d - (P * (P * d).sum(axis=1, keepdims=True) if K > 1 else P * P * d))
            if problem.fit_intercept:
                W = _without_intercept(W, P, v)
            return (problem.correlate(W) + penalty @ x.reshape(K, p).T).T.ravel()

        H = LinearOperator((p * K, p * K), matvec=hessian, dtype=np.float64)
        # the right-hand side lies in the range, where conjugate gradients from zero stay but for rounding: no digits
        # beyond those of the first gradient are asked for
        least = 1e-11 * linalg.norm(gradient) if first is None else least
        move = cg(H, gradient.T.ravel(), rtol=1e-9, atol=least, maxiter=20 * p * K)[0]
        move = move.reshape(K, p).T
        first = move if first is None else first
        length, decrease = 1.0, np.vdot(gradient, move)
        while True:
            trial = b + length * move
            R_new, b0_new = problem.residual(problem.times(np.asfortranarray(trial)), b0)
            value_new = objective(trial, b0_new)
            if value_new <= value - 1e-4 * length * decrease or length < 1e-3 or decrease <= 1e-8 * value:
                break
            length *= 0.5
        b, R, b0 = trial, R_new, b0_new
        # the error is of the order of the square of the last step; one more would be led by rounding
        small = length == 1.0 and np.abs(move).max() <= tol * np.abs(b).max()
        value = min(value, value_new)
        if small:
            return b
        if np.abs(b).max() > 1e3 * np.abs(first).max():
            break
    return first


def _without_intercept(W, P, v):
    """The change of the residual when the intercept follows: that of the columns sums is taken back."""
    if W.shape[1] == 1:
        weights = v[:, None] * P * (1.0 - P)
        return W - weights * (W.sum() / weights.sum())
    sums = W.sum(axis=0)
    H = np.diag(v @ P) - (v[:, None] * P).T @ P
    c = np.linalg.lstsq(H, sums, rcond=1e-12)[0]
    return W - v[:, None] * (P * c - P * (P @ c)[:, None])


def make_schedule(
    problem, operator, units, *, nu, kappa, relative, t_ratio, n_times, step, first_entry, max_iter, bound=None
):
    """The steps of a path; ``operator`` is None for the plain iteration.

    ``kappa`` and ``step`` are in the units of the data. ``bound`` replaces the bound on the Hessian that the step
    comes from (several problems on one schedule).
    """
    if operator is None:
        b = np.zeros((problem.p, problem.K))
        rate, reach = problem.q, _steepest(problem)
    else:
        b = solution_at_zero(problem, operator, nu)
        rate = operator.matrix @ b / nu
        reach = nu * units.norms(rate).max()
    size = units.norms(rate).max()
    # what D b should be if it were not for rounding
    negligible = 1e-12 * np.sqrt(operator.squared_norm) * np.abs(b).max(initial=0.0) / nu if operator else 0.0
    if not size > negligible:
        nominal = np.geomspace(1.0, t_ratio, n_times) / problem.scale
        return Schedule(nu, kappa, 1.0, 0.0, np.zeros(n_times, dtype=np.intp), None, b, nominal)
    first = 1.0 / size
    kappa = kappa * reach if relative else kappa / problem.scale
    if bound is None:
        bound = hessian_bound(problem, operator, nu)
    longest = 1.0 / (kappa * bound)
    if step is None:
        # a grid finer than the step could not be told apart
        step = min(longest, first * (t_ratio ** (1.0 / max(n_times - 1, 1)) - 1.0)) if n_times > 1 else longest
    else:
        step = step * problem.scale
        if step >= 2.0 * longest:
            _refuse(step, kappa, bound, problem)
        if step > longest:
            top = _joint_top(problem, operator, nu)
            if step * kappa * top >= 2.0:
                _refuse(step, kappa, top, problem)
    times = first * np.geomspace(1.0, t_ratio, n_times)
    offset, start = 0.0, None
    if first_entry:
        offset, start = first, (b, rate / size)
    counts = (times - offset) / step
    if not counts[-1] <= max_iter:
        raise TooManySteps(f"{counts[-1]:.3g}")
    # a time is reached when it is, up to rounding
    recorded = np.maximum(np.ceil(counts - 1e-6), 0).astype(np.intp)
    return Schedule(nu, kappa, step, offset, recorded, start)


def transferred(schedule, problem, other, operator, units):
    """The schedule of a problem for another with the same unknowns: times, step and damping of the data stay."""
    ratio = other.scale / problem.scale
    if schedule.still is not None:
        b = solution_at_zero(other, operator, schedule.nu) if operator else np.zeros((other.p, other.K))
        return replace(schedule, still=b)
    moved = replace(schedule, kappa=schedule.kappa / ratio, step=schedule.step * ratio, offset=schedule.offset * ratio)
    if schedule.start is not None:
        if operator is None:
            b, rate = np.zeros((other.p, other.K)), other.q
        else:
            b = solution_at_zero(other, operator, schedule.nu)
            rate = operator.matrix @ b / schedule.nu
        moved.start = (b, moved.offset * rate)
    return moved


def hessian_bound(problem, operator, nu):
    """An upper bound of the largest eigenvalue of the Hessian of the problem in b and gamma."""
    top = CURVATURE[problem.loss] * problem.squared_norm()
    return top if operator is None else top + (1.0 + operator.squared_norm) / nu


def _refuse(step, kappa, top, problem):
    raise StepTooLong(f"{2.0 / (kappa * top) / problem.scale:.6g}")


def _joint_top(problem, operator, nu):
    """Largest eigenvalue of the joint Hessian in b and gamma."""
    c = CURVATURE[problem.loss]
    if operator is None:
        return c * problem.squared_norm()
    D, p = operator.matrix, problem.p

    def multiply(x):
        gap = (D @ x[:p] - x[p:]) / nu
        return np.concatenate([c * problem.hessian_times(x[:p]) + D.T @ gap, -gap])

    return top_eigenvalue(multiply, p + operator.shape[0])


def _steepest(problem):
    """Largest coefficient after the exact line search along the gradient from zero."""
    q = problem.q
    top = np.abs(q).max(initial=0.0)
    if top == 0.0:
        return 0.0
    d = q / top
    curvature = CURVATURE[problem.loss] * sum(d[:, c] @ problem.hessian_times(d[:, c]) for c in range(problem.K))
    return top * np.vdot(d, d) / curvature


@dataclass
class Path:
    """Iterates at the recorded steps, in the units of the problem.

    ``coefs`` (n_times, p, K), ``gammas`` (n_times, m, K), ``first`` the step at which each row of D enters, or -1.
    """

    coefs: np.ndarray
    gammas: np.ndarray
    first: np.ndarray


def run(problem, operator, units, schedule):
    """The path of a problem on a schedule."""
    p, K, T = problem.p, problem.K, len(schedule.recorded)
    m = p if operator is None else operator.shape[0]
    first = np.full(m, -1, dtype=np.intp)
    if schedule.still is not None:
        return Path(np.repeat(schedule.still[None], T, axis=0), np.zeros((T, m, K)), first)
    gammas = np.zeros((T, m, K))
    if operator is None:
        by_gram = problem.loss == "squared" and (p <= 6000 or problem.n <= 3000)
        engine = (_GramSteps if by_gram else _ResidualSteps)(problem, schedule, gammas)
        _screened(engine, units, schedule, first, K)
        return Path(gammas, gammas, first)
    if _eigenbasis_pays(problem, operator, int(schedule.recorded[-1])):
        engine = _ModalSteps(problem, operator, schedule, gammas)
        _screened(engine, units, schedule, first, K)
        return Path(np.ascontiguousarray(engine.coefs())[:, :, None], gammas, first)
    coefs = np.zeros((T, p, K))
    b, z = schedule.start if schedule.start is not None else (np.zeros((p, K)), np.zeros((m, K)))
    g = units.shrink(z, schedule.kappa)
    b, z, g = (np.array(part, dtype=np.float64, order="F") for part in (b, z, g))
    chain = _chain(problem, operator, units, schedule.nu)
    if chain is not None:
        iterate_chain(
            *chain, problem.q[:, 0], schedule.nu, schedule.kappa, schedule.step, b[:, 0], z[:, 0], g[:, 0], first,
            schedule.recorded, coefs, gammas,
        )  # fmt: skip
        return Path(coefs, gammas, first)
    iterate_split(
        problem.n, *problem.arrays, problem.Y, problem.v, LOSSES[problem.loss], problem.fit_intercept,
        *operator.arrays, operator.is_identity, schedule.nu, schedule.kappa, schedule.step, units.ptr, units.rows,
        b, z, g, problem.b0_at_zero.copy(), first, schedule.recorded, coefs, gammas,
    )  # fmt: skip
    return Path(coefs, gammas, first)


def _chain(problem, operator, units, nu):
    """Diagonals and mean of the Hessian in b if D takes differences of neighbours and it is tridiagonal, else None."""
    if problem.loss != "squared" or not problem.is_sparse or not operator.is_chain or units.members is not None:
        return None
    gram = sparse.coo_array(problem.X.T @ sparse.diags_array(problem.v) @ problem.X)
    if np.any(np.abs(gram.row - gram.col) > 1):
        return None
    H = gram.tocsr() + (operator.matrix.T @ operator.matrix) / nu
    return H.diagonal().astype(np.float64), H.diagonal(1).astype(np.float64), problem.x_mean


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
    caught up; and what this costs, ``look``, and a step for each row, ``per_row``, in nanoseconds, roughly.
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
    k = place = 0
    last = int(schedule.recorded[-1])
    drift, taken = 0.0, 0
    while True:
        # go on for as long as to look at the others costs a quarter of the steps, unless too many would have to join
        horizon = max(8, int(4.0 * engine.look / (300.0 + engine.per_row * len(W))))
        most = max(32, len(chosen) // 2)
        late = outside
        while outside.sum() > most:
            grown = 2.0 * drift * (horizon / taken) ** 2 if taken else 0.0
            slack = 1.0 - 1e-9 - np.maximum(units.norms(z), units.norms(z + horizon * rate))
            late = outside & (slack <= reach * grown)
            if late.sum() <= most or horizon <= 1:
                break
            horizon = max(1, horizon // 2)
        new = np.flatnonzero(late)
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

    def __init__(self, problem, schedule, out):
        self.problem, self.out = problem, out
        self.kappa, self.delta = schedule.kappa, schedule.step
        self.whole = problem.prefers_gram
        self.look = 2e5 + problem.p * (problem.p if self.whole else problem.n)
        self.per_row = 0.1 * min(problem.p, problem.n)
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
            moved = problem.correlate(_residuals(problem, W, both, [taken, 1.0]))
        self._rates = self.delta * moved[:, 1:]
        return self.delta * moved[:, :1]


class _ResidualSteps:
    """The plain iteration for any loss, by the columns of the working set."""

    def __init__(self, problem, schedule, out):
        self.problem, self.out = problem, out
        self.kappa, self.delta = schedule.kappa, schedule.step
        self.look, self.per_row = 2e5 + problem.K * problem.size, 0.5 * problem.K * problem.size / problem.p
        self.reach = self.delta * problem.column_norms()
        self._r, self._b0 = problem.at_zero.copy(order="F"), problem.b0_at_zero.copy()
        self._rates = self.delta * problem.q

    def rates(self):
        return self._rates

    def extend(self, W, added):
        self._columns = _matrix_arrays(_columns_of(self.problem.X, np.concatenate([W, added])))

    def advance(self, shape, k, place, limit, drift_limit):
        problem, (ptr, rows, z, g, W, first, recorded) = self.problem, shape
        if len(W) == 0:
            self._columns = _matrix_arrays(_columns_of(problem.X, W))
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

    def __init__(self, problem, operator, schedule, gammas):
        self.problem, self.D, self.out = problem, operator.matrix, gammas
        self.nu, self.kappa, self.delta = schedule.nu, schedule.kappa, schedule.step
        self.thin = _is_thin(problem, operator)
        if self.thin:
            _, sizes, V = linalg.svd(np.sqrt(problem.v)[:, None] * problem.X, full_matrices=False)
            keep = sizes > 1e-13 * sizes[0]
            self.values, self.V = sizes[keep] ** 2, np.asfortranarray(V[keep].T)
        else:
            self.values, V = linalg.eigh(problem.gram + (self.D.T @ self.D).toarray() / self.nu)
            self.V = np.asfortranarray(V)
        r, T = len(self.values), len(schedule.recorded)
        self.look, self.per_row = 2e5 + r * problem.p, 0.3 * r
        self.reach = self.delta / self.nu * operator.row_norms
        self.q = product(self.V.T, problem.q[:, 0])
        b = schedule.start[0][:, 0] if schedule.start is not None else np.zeros(problem.p)
        self.a = np.ascontiguousarray(product(self.V.T, b))
        # without `thin` e is not read
        self.e, self.c = self.a.copy(), np.empty(0)
        self._P = np.zeros((r, 0), order="F")
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
            larger = np.zeros((len(self.values), max(2 * self._P.shape[1], size, 32)), order="F")
            larger[:, :old] = self._P[:, :old]
            self._P = larger
        self._P[:, old:size] = (self.D[added] @ self.V).T
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


def _residuals(problem, W, B, factors):
    """``V (f y - X_W b)`` for each column b of B and its factor f, less the intercept."""
    R = problem.Y * np.asarray(factors) - _columns_of(problem.X, W) @ B
    if problem.is_sparse and problem.fit_intercept:
        R -= problem.v @ R
    return np.asfortranarray(problem.v[:, None] * R)


def _columns_of(X, W):
    """Some columns of X, in the form that the kernels read."""
    if sparse.issparse(X):
        X = X[:, W].tocsr()
        X.sort_indices()
        return X
    return np.asfortranarray(X[:, W])


def _grown_gram(problem, G, W, added, whole):
    """The Gram matrix of the rows W, in the leading part of G, with those of the rows added."""
    old, size = len(W), len(W) + len(added)
    if size > len(G):
        larger = np.zeros((min(problem.p, max(2 * len(G), size, 32)),) * 2, order="F")
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
    for c in range(path.coefs.shape[2]):
        supports = path.gammas[:, :, c] != 0.0
        changes = np.flatnonzero((supports[1:] != supports[:-1]).any(axis=1)) + 1
        # times of one support are projected together
        for part in np.split(np.arange(len(supports)), changes):
            out[part, :, c] = operator.projected(path.coefs[part, :, c].T, supports[part[0]]).T
    return out
