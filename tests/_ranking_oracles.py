"""What the tests of rankings compare with, written from the formulas alone, dense and slow.

Comparison k of items i and j has the row ``z_k = phi_i - phi_j`` (and a one for the position bias); scores minimise
``sum_k w_k huber(y_k - z_k'b; alpha)``.
"""

import numpy as np


def design(left, right, n_items, features=None, position_bias=False):
    m = len(left)
    Z = np.zeros((m, n_items))
    Z[np.arange(m), left] += 1
    Z[np.arange(m), right] -= 1
    if features is not None:
        Z = Z @ np.asarray(features.toarray() if hasattr(features, "toarray") else features)
    return np.column_stack([Z, np.ones(m)]) if position_bias else Z


def hodge_rank(Z, y, w=None):
    """Least squares of minimum norm, by the normal equations."""
    w = np.ones(len(y)) if w is None else w
    return np.linalg.pinv(Z.T @ (w[:, None] * Z), rcond=1e-12, hermitian=True) @ (Z.T @ (w * y))


def dense_lasso(Z, y, alpha, w=None):
    """Outliers gamma of ``min 1/2 ||U2'(y - gamma)||^2 + alpha ||gamma||_1`` with U2 from a full SVD, in weighted rows.

    With weights the rows are scaled by their roots: ``1/2 ||U2' sqrt(w)(y - gamma)||^2 + alpha sum w |gamma|``.
    """
    from sklearn.linear_model import Lasso

    root = np.ones(len(y)) if w is None else np.sqrt(w)
    U, sd, _ = np.linalg.svd(root[:, None] * Z, full_matrices=True)
    U2 = U[:, (sd > 1e-10 * sd.max()).sum() :]
    # in g = w gamma the penalty has weight one for each; columns are scaled instead
    X = U2.T / root
    model = Lasso(alpha / len(X), fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(X, U2.T @ (root * y))
    return model.coef_ / root**2


def homotopy(Z, y, w=None):
    """First entries of all rows (0 where not reached) and the alpha reached, from event to event of the exact path.

    Ends where the rows inside do not determine the scores any more: there the outliers are not unique.
    """
    m = len(y)
    w = np.ones(m) if w is None else np.asarray(w, float)
    rank = np.linalg.matrix_rank(Z, tol=1e-9)
    r = y - Z @ hodge_rank(Z, y, w)
    last = int(np.abs(r).argmax())
    alpha = abs(r[last])
    entry, inside, sign = np.zeros(m), np.ones(m, dtype=bool), np.zeros(m)
    inside[last], sign[last], entry[last] = False, np.sign(r[last]), alpha
    while True:
        A = Z[inside]
        values, vectors = np.linalg.eigh(A.T @ (w[inside, None] * A))
        kept = values > 1e-9 * values[-1]
        if kept.sum() < rank:
            return entry, alpha
        gram = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
        pull = Z[~inside].T @ (w[~inside] * sign[~inside])
        r = y - Z @ (gram @ (A.T @ (w[inside] * y[inside]) + alpha * pull))
        slope = -Z @ (gram @ pull)  # of r in alpha
        hits = []
        for s in (1.0, -1.0):
            with np.errstate(divide="ignore", invalid="ignore"):
                at = (r - slope * alpha) / (s - slope)  # r + slope (at - alpha) = s at
            at[~np.isfinite(at) | (~inside & (sign != s)) | (at > alpha * (1 + 1e-9)) | (at < 0)] = 0
            if sign[last] == s or inside[last]:
                at[last] = 0 if abs(at[last] - alpha) < 1e-9 * alpha else at[last]
            hits.append(at)
        last = int(np.argmax(np.maximum(*hits)))
        new, s = max((hits[0][last], 1.0), (hits[1][last], -1.0))
        middle = (alpha + new) / 2
        strictly = inside & (np.abs(r + slope * (middle - alpha)) < middle * (1 - 1e-9))
        if new <= 1e-12 or np.linalg.matrix_rank(Z[strictly], tol=1e-9) < rank:
            return entry, alpha
        alpha = new
        if inside[last]:
            inside[last], sign[last] = False, s
            entry[last] = entry[last] or alpha
        else:
            inside[last] = True
