"""What least squares would be without a row, for every row at once."""

from dataclasses import dataclass

import numpy as np

from ._blas import product
from ._row_blocks import squared_lengths
from .robust_scale import SATURATED


@dataclass
class LeaveOneOut:
    """Quantities of the fits without each row; NaN where the row alone determines a coefficient.

    Attributes
    ----------
    residual : ndarray of shape (n,)
        ``y_i`` less the prediction of the fit without row i.
    studentized : ndarray of shape (n,)
        Over its estimated standard deviation, the scale estimated without row i too.
    scale : ndarray of shape (n,)
        That scale.
    freedom : float
        Degrees of freedom of Student's t.
    saturated : ndarray of bool
    """

    residual: np.ndarray
    studentized: np.ndarray
    scale: np.ndarray
    freedom: float
    saturated: np.ndarray


def leave_one_out(basis, y, weights, rounding):
    """Delete each row with all its weight.

    Parameters
    ----------
    basis : RowBasis
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Positive.
    rounding : float
        Residuals up to this are zero.
    """
    Q = basis.Q
    residual = y - product(Q, product(Q.T, weights * y))
    # once more: what rounding left of the fit
    residual -= product(Q, product(Q.T, weights * residual))
    left = 1.0 - weights * squared_lengths(Q)
    saturated = left <= SATURATED
    left = np.where(saturated, np.nan, left)
    freedom = basis.total - basis.rank - 1.0
    deleted = residual / left
    squares = weights * residual**2
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.maximum(squares.sum() - squares / left, 0.0)
        # the sum and what is taken from it are nearly equal where one row holds almost all
        doubtful = np.flatnonzero(rest <= 1e-6 * squares.sum())
        for i in doubtful if squares.sum() > 0.0 else ():
            without = residual + product(Q, weights[i] * deleted[i] * Q[i])
            without[i] = 0.0
            rest[i] = float(np.sum(weights * without**2))
        scale = np.sqrt(rest / freedom) if freedom > 0.0 else np.full(len(y), np.nan)
        scale[scale <= rounding] = 0.0
        small = np.abs(residual) <= rounding
        studentized = np.sqrt(weights) * residual / (scale * np.sqrt(left))
        studentized[small & (scale == 0.0)] = 0.0
    studentized[saturated] = np.nan
    return LeaveOneOut(deleted, studentized, scale, freedom, saturated)


def benjamini_hochberg(p):
    """Adjusted p-values that bound the false discovery rate; NaN stays out."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    m = len(order)
    scaled = p[order] * m / np.arange(1, m + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
