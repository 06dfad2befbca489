"""The recursions of the Split-LBI family as they stand in the papers, in NumPy: slow, and unaware of skspar."""

import numpy as np
from scipy import sparse
from scipy.special import expit, softmax


def dense(M):
    return M.toarray() if sparse.issparse(M) else np.asarray(M, dtype=np.float64)


def best_intercept(eta, Y, v, loss, b0=None):
    """argmin over b0 of the weighted loss at b0 + eta, searched from b0 on; eta and Y are (n, K)."""
    if loss == "squared":
        return v @ (Y - eta)
    b0 = np.zeros(eta.shape[1]) if b0 is None else b0
    for _ in range(200):
        P = probabilities(b0 + eta, loss)
        gradient = v @ (Y - P)
        if loss == "logistic":
            step = gradient / (v @ (P * (1 - P)))
        else:
            H = np.diag(v @ P) - (v[:, None] * P).T @ P
            # constants do nothing to the probabilities
            step = np.linalg.solve(H + 1.0 / len(H), gradient)
        b0 = b0 + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-14:
            break
    return b0 - b0.mean() if loss == "multinomial" else b0


def probabilities(eta, loss):
    return expit(eta) if loss == "logistic" else softmax(eta, axis=1)


def mean_of(eta, loss):
    return eta if loss == "squared" else probabilities(eta, loss)


def targets(y, loss):
    """y as (n, K): the response, the indicator of the second class, or those of all classes."""
    if loss == "squared":
        return np.asarray(y, dtype=np.float64)[:, None]
    labels = np.unique(y)
    Y = (np.asarray(y)[:, None] == labels).astype(np.float64)
    return Y[:, 1:] if loss == "logistic" else Y


def shrink(z, groups):
    """The proximal map of the l1 norm, or of the sum of the norms of groups of rows."""
    if groups is None:
        return np.sign(z) * np.maximum(np.abs(z) - 1, 0)
    out = np.zeros_like(z)
    for label in np.unique(groups):
        rows = groups == label
        norm = np.linalg.norm(z[rows])
        if norm > 1:
            out[rows] = (1 - 1 / norm) * z[rows]
    return out


def recursion(
    X, y, D, nu, kappa, step, recorded, *, loss="squared", groups=None, weights=None, fit_intercept=True, start=None
):
    """b and gamma after each number of steps in ``recorded``, and the step at which each row of D enters (-1: never).

    ``nu=None`` is the plain linearised Bregman iteration; ``start`` is (b, z) instead of zero.
    """
    X = dense(X)
    n, p = X.shape
    v = np.ones(n) / n if weights is None else np.asarray(weights, float) / np.sum(weights)
    Y = targets(y, loss)
    K = Y.shape[1]
    D = np.eye(p) if D is None else dense(D)
    b, z, g = np.zeros((p, K)), np.zeros((len(D), K)), np.zeros((len(D), K))
    if start is not None:
        b, z = (np.array(part, dtype=np.float64).reshape(-1, K) for part in start)
    first = np.full(len(D), -1)
    bs, gs, b0 = [], [], np.zeros(K)
    for k in range(max(recorded) + 1):
        if k in recorded:
            bs.append(b.copy())
            gs.append(g.copy())
        if k == max(recorded):
            break
        eta = X @ b
        b0 = best_intercept(eta, Y, v, loss, b0) if fit_intercept else 0.0
        gradient = -X.T @ (v[:, None] * (Y - mean_of(b0 + eta, loss)))
        if nu is None:
            z = z - step * gradient
            g = kappa * shrink(z, groups)
            b = g
        else:
            b_new = b - kappa * step * (gradient + D.T @ (D @ b - g) / nu)
            z = z - step * (g - D @ b) / nu
            g = kappa * shrink(z, groups)
            b = b_new
        first[(first < 0) & g.any(axis=1)] = k + 1
    return np.array(bs), np.array(gs), first


def steepest_norm(X, D, nu, weights, fit_intercept):
    """lambda_max(X'VX) centred, and ||D||^2, by dense decompositions."""
    X = dense(X)
    v = np.ones(len(X)) / len(X) if weights is None else np.asarray(weights, float) / np.sum(weights)
    if fit_intercept:
        X = X - v @ X
    top = np.linalg.norm(np.sqrt(v)[:, None] * X, 2) ** 2
    return top, (0.0 if D is None else np.linalg.norm(dense(D), 2) ** 2)


def projection(D, support, b):
    """b projected on {b : D b = 0 off the support}, by the pseudo-inverse."""
    off = dense(D)[~support]
    return b - np.linalg.pinv(off) @ (off @ b) if len(off) else b.copy()
