"""Least squares on chosen columns of a design, of minimum norm where it is not unique."""

import numpy as np

from ._blas import product
from .design import pieces
from .penalty import BlockPenalty
from .problem import RowProblem


def least_squares(design, Y, v, columns, fit_intercept):
    """Minimise ``1/2 ||Y - b0 - X_J B||_V^2``.

    Solved from the smaller of the two Gram matrices, then refined against the design itself.

    Returns
    -------
    B : ndarray of shape (len(columns), n_targets)
    intercept : ndarray of shape (n_targets,)
    excess : float
        Objective minus its minimum, from the correlations that are left.
    """
    m = len(columns)
    layout = BlockPenalty(columns, np.arange(m + 1), np.ones(m))
    problem = RowProblem(design, Y, v, layout, fit_intercept)
    everything = np.arange(m)
    root = np.sqrt(v)[:, None]
    if m <= len(v):
        pseudo_inverse = _pseudo_inverse(problem.gram(everything, m))

        def solve(R):
            return pseudo_inverse(design.correlate_some(columns, v[:, None] * R))

    else:
        kernel = np.zeros((len(v), len(v)))
        for piece in pieces(m, len(v)):
            Z = design.columns(columns[piece])
            problem.project(Z)
            Z *= root
            kernel += product(Z, Z.T)
        pseudo_inverse = _pseudo_inverse(kernel)

        def solve(R):
            weighted = root * pseudo_inverse(root * R)
            if fit_intercept:
                weighted -= v[:, None] * weighted.sum(axis=0)
            return design.correlate_some(columns, weighted)

    B = np.zeros((m, Y.shape[1]))
    residual = problem.Y.copy()
    for _ in range(3):
        B += solve(residual)
        residual = problem.Y.copy()
        design.subtract_product(columns, B, residual)
        problem.project(residual)
    C = design.correlate_some(columns, v[:, None] * residual)
    excess = 0.5 * max(float(np.sum(C * solve(residual))), 0.0)
    intercept = problem.unpenalized_part(everything, [B])[0][0]
    return B, intercept, excess


def _pseudo_inverse(G):
    """A function that multiplies by the pseudo-inverse of a positive semi-definite matrix."""
    if len(G) == 0:
        return np.zeros_like
    scale = np.sqrt(np.diag(G))
    if np.all(scale > 0.0):
        # scaled to unit diagonal first: a regular problem must not depend on the units of its columns
        values, vectors = np.linalg.eigh(G / np.outer(scale, scale))
        if values[0] > 1e-10:
            return lambda M: product(vectors, product(vectors.T, M / scale[:, None]) / values[:, None]) / scale[:, None]
    values, vectors = np.linalg.eigh(G)
    kept = values > 1e-13 * len(G) * max(values[-1], 0.0)
    vectors, values = vectors[:, kept], values[kept]
    return lambda M: product(vectors, product(vectors.T, M) / values[:, None])
