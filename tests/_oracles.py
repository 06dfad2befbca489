"""What the tests compare with, written from the formula alone. With v_i = s_i / sum(s) and features in groups g,

    P(b0, B) = 1/2 sum_i v_i ||y_i - b0 - x_i' B||^2 + alpha Omega(B)
    Omega(B) = sum_g [(1 - rho) w_g ||B_g||_F + rho 1[w_g > 0] ||B_g||_1]

Nothing here is fast, and nothing here knows how skspar works.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import brentq


def dense(X, dtype=np.float64):
    return np.array(X.toarray() if sparse.issparse(X) else X, dtype=dtype)


def dual_norm(Z, groups, weights, l1_ratio, positive=False):
    """Omega's polar: the largest root c, over groups with w_g > 0, of ||soft(Z_g, c rho)||_F = c (1 - rho) w_g."""
    largest = 0.0
    for g, w in zip(groups, weights):
        z = np.maximum(Z[g], 0) if positive else np.abs(Z[g])
        top = z.max()
        if w == 0 or top == 0:
            continue

        def excess(c, z=z / top, w=w):
            return np.linalg.norm(np.maximum(z - c * l1_ratio, 0)) - c * (1 - l1_ratio) * w

        if excess(largest / top) <= 0:
            continue
        upper = 1 / l1_ratio if l1_ratio == 1 else np.linalg.norm(z / top) / ((1 - l1_ratio) * w)
        root = upper if excess(upper) >= 0 else brentq(excess, 0, upper, xtol=1e-16, rtol=1e-15, maxiter=1000)
        largest = root * top
    return largest


@dataclass
class Problem:
    """One problem; `groups` are index arrays and `group_weights` numbers, whatever the estimator was given."""

    X: Any
    y: Any
    groups: list
    group_weights: Any
    alpha: float = 1.0
    l1_ratio: float = 0.0
    sample_weight: Any = None
    fit_intercept: bool = True
    positive: bool = False

    def __post_init__(self):
        X = dense(self.X)
        Y = dense(self.y).reshape(len(X), -1)
        s = np.ones(len(X)) if self.sample_weight is None else np.asarray(self.sample_weight, float)
        self.v = s / s.sum()
        if self.fit_intercept:
            # x - mean is exact for x close to the mean; the second pass removes the rounding of the mean itself
            for _ in range(2):
                X -= self.v @ X
                Y -= self.v @ Y
        self.A = np.sqrt(self.v)[:, None] * X
        self.Y = np.sqrt(self.v)[:, None] * Y
        self.free = [j for g, w in zip(self.groups, self.group_weights) if w == 0 for j in g]
        U, sd, _ = np.linalg.svd(self.A[:, self.free], full_matrices=False)
        self.Q = U[:, sd > 1e-12 * sd.max(initial=0)]  # spans the unpenalised columns

    def at(self, alpha):
        return replace(self, alpha=alpha)

    def as_matrix(self, coef):
        """(p, T) from the estimators' (p,) or (T, p)."""
        return np.atleast_2d(np.asarray(coef, dtype=np.float64)).T

    @property
    def null_objective(self):
        return np.sum(self.Y**2) / 2

    def project(self, R):
        return R - self.Q @ (self.Q.T @ R)

    def dual_norm_of(self, R):
        return dual_norm(self.A.T @ R, self.groups, self.group_weights, self.l1_ratio, self.positive)

    @property
    def alpha_max(self):
        return self.dual_norm_of(self.project(self.Y))

    def penalty(self, B):
        return sum(
            (1 - self.l1_ratio) * w * np.linalg.norm(B[g]) + self.l1_ratio * np.abs(B[g]).sum()
            for g, w in zip(self.groups, self.group_weights)
            if w > 0
        )

    def objective(self, coef):
        """P with the best intercept for `coef`."""
        B = self.as_matrix(coef)
        return np.sum((self.Y - self.A @ B) ** 2) / 2 + self.alpha * self.penalty(B)

    def dual_objective(self, coef, best_scale=False):
        """A lower bound of P: the dual at the residual, taken off [1, X_U] and scaled into the dual ball.

        With ``best_scale`` the residual may grow, too, to the multiple in the ball where the dual is highest.
        """
        if self.alpha == 0:
            return np.sum((self.Y - self.A @ np.linalg.lstsq(self.A, self.Y, rcond=None)[0]) ** 2) / 2
        R = self.project(self.Y - self.A @ self.as_matrix(coef))
        most = np.vdot(R, self.Y) / max(np.vdot(R, R), np.finfo(float).tiny) if best_scale else 1.0
        theta = R * min(most, self.alpha / max(self.dual_norm_of(R), np.finfo(float).tiny))
        return np.vdot(theta, self.Y) - np.vdot(theta, theta) / 2

    def gap(self, coef):
        if self.positive:
            assert np.min(coef) >= 0
        return self.objective(coef) - self.dual_objective(coef)

    def relative_gap(self, coef):
        return self.gap(coef) / self.null_objective

    def intercept(self, coef):
        """Best intercept, and the size of the numbers whose difference it is: its rounding is relative to that."""
        X, Y, B = dense(self.X), dense(self.y).reshape(self.A.shape[0], -1), self.as_matrix(coef)
        if not self.fit_intercept:
            return np.zeros(Y.shape[1]), 1.0
        mean = self.v @ X
        return self.v @ Y - mean @ B, np.max(self.v @ np.abs(Y) + np.abs(mean) @ np.abs(B))

    def solve(self):
        """(p, T) coefficients from a conic interior-point solver, which gets the formula as it stands, not centred."""
        import cvxpy as cp

        X, Y = dense(self.X), dense(self.y).reshape(self.A.shape[0], -1)
        B, b0 = cp.Variable((X.shape[1], Y.shape[1])), cp.Variable((1, Y.shape[1]))
        root = np.sqrt(self.v)[:, None]
        fit = root * Y - (root * X) @ B - (root @ b0 if self.fit_intercept else 0)
        total = cp.sum_squares(fit) / 2
        for g, w in zip(self.groups, self.group_weights):
            if w > 0:
                block = B[np.asarray(g)]
                total += self.alpha * (1 - self.l1_ratio) * w * cp.norm(cp.vec(block, order="C"))
                total += self.alpha * self.l1_ratio * cp.sum(cp.abs(block))
        # in units of the null objective the solver's absolute tolerances are relative ones
        goal = cp.Problem(cp.Minimize(total / self.null_objective), [B >= 0] if self.positive else [])
        # short steps and little regularisation: its best is 1e-12 instead of 1e-8; it still calls that inaccurate
        options = dict(max_step_fraction=0.9, static_regularization_constant=1e-13)
        options.update(static_regularization_proportional=0.0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            goal.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12, **options)
        return B.value


def random_groups(layout, p, rng):
    """`groups=`, `group_weights=`, and the same partition as index arrays and numbers."""
    if layout == "ones":
        return None, "sqrt", [np.array([j]) for j in range(p)], np.ones(p)
    if layout == "equal":
        partition = [np.arange(start, min(start + 4, p)) for start in range(0, p, 4)]
        return 4, "sqrt", partition, np.sqrt([len(g) for g in partition])
    # unequal sizes, members scattered
    cuts = np.cumsum([1, 5, 2, 7, 3])
    partition = np.split(rng.permutation(p), cuts[cuts < p])
    if layout == "unequal":
        labels = np.empty(p, dtype=int)
        for label, g in enumerate(partition):
            labels[g] = label
        return labels, "sqrt", partition, np.sqrt([len(g) for g in partition])
    assert layout == "unpenalized"
    weights = rng.uniform(0.5, 2, len(partition))
    weights[[0, 2]] = 0  # three columns
    return partition, weights, partition, weights


def random_data(rng, n, p, n_targets=1, container="C", mean_over_sd=0.0, dtype=np.float64):
    """X in the asked container, with a signal on a third of the columns; y is (n,) for one target."""
    X = rng.normal(size=(n, p))
    if container == "csc" and mean_over_sd == 0:
        X *= rng.random((n, p)) < 0.4
    if mean_over_sd:
        X[:, ::2] += mean_over_sd
    X = X.astype(dtype)
    B = rng.normal(size=(p, n_targets)) * (rng.random((p, 1)) < 0.35)
    Xc = X.astype(float)
    Xc -= Xc.mean(axis=0)
    y = 2.0 + Xc @ B + 0.5 * rng.normal(size=(n, n_targets))
    y = (y[:, 0] if n_targets == 1 else y).astype(dtype)
    return {"C": np.ascontiguousarray, "F": np.asfortranarray, "csc": sparse.csc_matrix}[container](X), y


def random_problem(rng, n, p, layout="equal", n_targets=1, l1_ratio=0.0, weighted=False, fraction=None, **options):
    """A Problem at `fraction` of its alpha_max, and the constructor arguments that state it to an estimator."""
    data = {k: options.pop(k) for k in ("container", "mean_over_sd", "dtype") if k in options}
    X, y = random_data(rng, n, p, n_targets, **data)
    groups, group_weights, partition, weights = random_groups(layout, p, rng)
    s = rng.uniform(0.1, 3, n) if weighted else None
    problem = Problem(X, y, partition, weights, l1_ratio=l1_ratio, sample_weight=s, **options)
    if fraction is None:
        fraction = np.exp(rng.uniform(np.log(0.01), np.log(0.9)))
    problem = problem.at(fraction * problem.alpha_max)
    params = dict(alpha=problem.alpha, groups=groups, group_weights=group_weights, l1_ratio=l1_ratio, **options)
    return problem, params


def repeated_rows(s, *arrays):
    """The rows of each array, row i taken s_i times."""
    rows = np.repeat(np.arange(len(s)), s)
    return [a[rows] for a in arrays]
