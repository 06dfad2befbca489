"""Degrees of freedom of a penalised least-squares fit."""

import numpy as np


def degrees_of_freedom(problem, penalty, features, B, alpha):
    """Trace of the Jacobian of the fitted values with respect to the response, without the intercept.

    On the nonzero coefficients, with M their Gram matrix and P the Hessian of alpha times the penalty, it is
    ``tr(M (M + P)^+)`` (Vaiter et al. 2012), plus the rank of the unpenalised columns.

    Parameters
    ----------
    features : ndarray
        Features of the penalty's layout that B has rows for.
    B : ndarray of shape (len(features), n_targets)
    """
    T = B.shape[1]
    total = float(problem.unpenalized_rank * T)
    used = np.flatnonzero(B.any(axis=1))
    if len(used) == 0:
        return total
    chosen = features[used]
    order = np.argsort(chosen, kind="stable")
    used, chosen = used[order], chosen[order]
    groups, owner = np.unique(np.searchsorted(penalty.ptr, chosen, side="right") - 1, return_inverse=True)
    values = B[used]
    M = problem.gram(chosen, len(chosen))
    if penalty.separable(T):
        # the penalty is linear where coefficients do not vanish; targets do not mix
        return total + sum(_rank(M[np.ix_(on, on)]) for on in (values != 0.0).T)
    if penalty.l1_ratio == 0.0 and not penalty.positive:
        # all coefficients of an active group are free, those that happen to be zero as well
        part, chosen = penalty.of_groups(groups)
        position = {feature: place for place, feature in enumerate(features)}
        values = np.array([B[position[feature]] for feature in chosen])
        owner = np.repeat(np.arange(len(groups)), part.sizes)
        M = problem.gram(chosen, len(chosen))
        free = np.ones(values.size, dtype=bool)
    else:
        free = (values != 0.0).ravel()
    starts = np.concatenate(([0], np.flatnonzero(np.diff(owner)) + 1))
    norms = np.sqrt(np.add.reduceat(np.einsum("ij,ij->i", values, values), starts))
    curvature = np.repeat((alpha * penalty.group_factors[groups] / norms)[owner], T)[free]
    units = (values / norms[owner, None]).ravel()[free]
    owner = np.repeat(owner, T)[free]
    M = np.kron(M, np.eye(T))[np.ix_(free, free)]
    P = np.where(owner[:, None] == owner, -curvature[:, None] * np.outer(units, units), 0.0)
    P[np.diag_indices_from(P)] += curvature
    return total + float(np.sum(np.linalg.pinv(M + P, rcond=1e-10, hermitian=True) * M))


def _rank(M):
    """Rank of a Gram matrix, whatever the units of its columns."""
    if len(M) == 0:
        return 0
    scale = np.sqrt(np.diag(M))
    scale[scale == 0.0] = 1.0
    return int(np.linalg.matrix_rank(M / np.outer(scale, scale), tol=1e-10, hermitian=True))
