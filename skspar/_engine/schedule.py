"""When a Bregman path takes its steps: first time, damping, step, and the numbers of steps that are recorded."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg

from .smooth import CURVATURE, split_eigenbasis
from .split_operator import EXACT_NORM, top_eigenvalue

# Largest order of a dense matrix that is factored for the solution at gamma = 0.
DENSE_ORDER = 1500


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
    if problem.loss == "squared" and operator.is_chain and problem.bands is not None:
        b = _solve_bands(problem, nu)
        if b is not None:
            return b[:, None]
    D = operator.matrix
    penalty = (D.T @ D) / nu
    if problem.loss != "squared":
        return _newton(problem, penalty)
    p, q = problem.p, problem.q[:, 0]
    if p <= DENSE_ORDER and not (problem.is_sparse and p > 300):
        values, vectors = split_eigenbasis(problem, operator, nu)
        # of least norm, where there are several
        keep = values > p * np.finfo(np.float64).eps * max(values[-1], 0.0)
        return vectors[:, keep] @ ((vectors[:, keep].T @ q) / values[keep])[:, None]
    H = LinearOperator((p, p), matvec=lambda b: problem.hessian_times(b) + penalty @ b, dtype=np.float64)
    return cg(H, q, rtol=1e-12, atol=0.0, maxiter=10 * p)[0][:, None]


def _solve_bands(problem, nu):
    """The solution where the Hessian is tridiagonal but for its mean; None where it is singular, or nearly so."""
    diagonal, off = problem.bands
    if diagonal.mean() < 1e-8 / nu:
        # X hardly sees the constants, which the differences do not see at all
        return None
    ends = np.full(problem.p, 2.0 / nu)
    ends[[0, -1]] = 1.0 / nu
    mean, q = problem.x_mean, problem.q[:, 0]
    centred = bool(np.any(mean))
    try:
        bands = np.vstack([np.append(0.0, off - 1.0 / nu), diagonal + ends])
        found = linalg.solveh_banded(bands, np.column_stack([q, mean]) if centred else q)
    except linalg.LinAlgError:
        return None
    if not centred:
        return found
    # Sherman, Morrison
    b, u = found.T
    rest = 1.0 - mean @ u
    return b + u * ((mean @ b) / rest) if rest > 1e-6 else None


def _newton(problem, penalty, tol=1e-5, max_iter=50):
    """The same for the logistic losses, by Newton's method; the first step where there is no minimum."""
    p, K, v = problem.p, problem.K, problem.v
    b, first, least = np.zeros((p, K)), None, 0.0
    R, b0, before = problem.at_zero, problem.b0_at_zero, 0.0

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
        share = length * np.abs(move).max() / max(np.abs(b).max(), 1e-300)
        value = min(value, value_new)
        if length == 1.0 and share <= tol:
            # without a minimum b goes on growing until the gradient is lost: steps end, they do not get smaller
            return first if share < 1e-9 and before > 1e-2 else b
        before = share
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
    if not counts[-1] <= min(max_iter, 2**62):
        raise TooManySteps(f"{counts[-1]:.3g}")
    # a time is reached when it is, up to rounding
    recorded = np.maximum(np.ceil(counts - 1e-6), 0).astype(np.intp)
    return Schedule(nu, kappa, step, offset, recorded, start)


def transferred(schedule, problem, other, operator):
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
    if operator is not None and operator.is_identity and problem.loss == "squared" and problem.p <= EXACT_NORM:
        # the eigenvalues that are needed anyway
        return split_eigenbasis(problem, operator, nu)[0][-1] + 1.0 / nu
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
