"""The row-sparse path: ``Y = Q B + Gamma + noise`` with few rows of Gamma that are not zero.

    min over B and Gamma   1/2 sum_i s_i ||y_i - B'q_i - g_i||^2 + t sum_i s_i ||g_i||

Gamma is solved for in closed form, which leaves Huber's loss of the residual norms: row i is flagged, g_i nonzero, when
its norm exceeds the threshold t. ``I - H`` is never formed: an iteration costs O(n k C).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ._blas import product, self_product
from ._row_norm import curvature, derivative_in_threshold, dual_parts, evaluate

# Conjugate gradients of a Newton step: relative accuracy, and how many at most.
FORCING = 0.05
MAX_CG = 60
# Weight that the preconditioner gives the direction in which an outlying row has no curvature.
FLOOR = 0.02


@dataclass
class RowNormFit:
    """The solution for one threshold.

    Attributes
    ----------
    threshold : float
    coef : ndarray of shape (k, C)
    residual : ndarray of shape (n, C)
    norms : ndarray of shape (n,)
    gap : float
        Duality gap, in units of the objective (a sum over rows).
    n_iter : int
        Newton steps.
    converged : bool
    """

    threshold: float
    coef: np.ndarray
    residual: np.ndarray
    norms: np.ndarray
    gap: float
    n_iter: int
    converged: bool


class RowNormHuber:
    """Rows and several responses.

    Parameters
    ----------
    Q : ndarray of shape (n, k), C-ordered
        With ``sum_i s_i q_i q_i' = I``.
    Y : ndarray of shape (n, C)
    weights : ndarray of shape (n,)
        Positive.
    """

    def __init__(self, Q, Y, weights):
        self.Q = Q
        self.Y = np.ascontiguousarray(Y, dtype=np.float64)
        self.weights = weights
        mean = weights @ self.Y / weights.sum()
        self.null = 0.5 * float(weights @ np.einsum("ij,ij->i", self.Y - mean, self.Y - mean))

    def least_squares(self):
        """The fit that flags nothing; its largest norm is where the path begins."""
        coef = np.ascontiguousarray(product(self.Q.T, self.Y * self.weights[:, None]))
        return self._at(coef, np.inf)

    def _at(self, coef, threshold):
        residual, norms = np.empty(self.Y.shape), np.empty(len(self.Y))
        evaluate(self.Q, self.Y, coef, self.weights, threshold, residual, norms)
        return RowNormFit(threshold, coef, residual, norms, 0.0, 0, True)

    def fit(self, threshold, start, tol=1e-10, max_iter=100):
        """Minimise for one threshold from a ``start`` (coefficients), to a gap of ``tol`` times the null objective."""
        n, c = self.Y.shape
        coef = np.ascontiguousarray(start)
        residual, norms = np.empty((n, c)), np.empty(n)
        loss, gradient = evaluate(self.Q, self.Y, coef, self.weights, threshold, residual, norms)
        gap = self._gap(loss, gradient, residual, norms, threshold)
        other_residual, other_norms = np.empty((n, c)), np.empty(n)
        n_iter = 0
        precondition = None
        while gap > tol * self.null and n_iter < max_iter:
            n_iter += 1
            if precondition is None or n_iter > 3:
                precondition = self._preconditioner(norms, threshold)
            step = self._newton_step(gradient, residual, norms, threshold, precondition)
            slope = float(np.vdot(gradient, step))
            if not slope > 0.0:
                break
            length, improved = 1.0, False
            for _ in range(30):
                trial = coef + length * step
                new_loss, new_gradient = evaluate(
                    self.Q, self.Y, trial, self.weights, threshold, other_residual, other_norms
                )
                # near the minimum the loss is rounded where its slope still tells (Hager & Zhang 2005)
                flatter = abs(float(np.vdot(new_gradient, step))) <= 0.9 * slope and new_loss <= loss * (1.0 + 1e-11)
                if flatter or new_loss <= loss - 1e-4 * length * slope:
                    improved = True
                    break
                # the parabola with the loss here, its slope and the loss there
                length *= float(np.clip(0.5 * length * slope / (new_loss - loss + length * slope), 0.1, 0.5))
            if not improved:
                break
            coef, loss, gradient = trial, new_loss, new_gradient
            residual, other_residual = other_residual, residual
            norms, other_norms = other_norms, norms
            gap = self._gap(loss, gradient, residual, norms, threshold)
        return RowNormFit(threshold, coef, residual, norms, gap, n_iter, gap <= tol * self.null)

    def _gap(self, loss, gradient, residual, norms, threshold):
        largest, cross, square = dual_parts(self.Q, residual, norms, self.weights, threshold, gradient)
        shrink = 1.0 if largest <= threshold else threshold / largest
        return max(loss - shrink * cross + 0.5 * shrink**2 * square, 0.0)

    def _preconditioner(self, norms, threshold):
        """Factor of the Gram matrix whose weights average the curvature of a row over its directions."""
        c = self.Y.shape[1]
        outside = norms > threshold
        share = np.where(outside, threshold / np.where(outside, norms, 1.0), 1.0)
        # one-hot rows sum to one, so residuals have c - 1 directions
        share[outside] *= max(1.0 - 1.0 / max(c - 1, 1), FLOOR)
        G = self_product(self.Q * np.sqrt(self.weights * share)[:, None])
        G[np.diag_indices_from(G)] += 1e-12
        return cho_factor(G, lower=True)

    def _newton_step(self, gradient, residual, norms, threshold, precondition, accuracy=FORCING):
        """Hessian^-1 gradient by preconditioned conjugate gradients."""
        x = np.zeros_like(gradient)
        r = gradient.copy()
        z = np.ascontiguousarray(cho_solve(precondition, r))
        p = z.copy()
        rz = float(np.vdot(r, z))
        limit = accuracy**2 * rz
        for _ in range(MAX_CG):
            if rz <= limit or rz <= 0.0:
                break
            Hp = curvature(self.Q, p, residual, norms, self.weights, threshold)
            bend = float(np.vdot(p, Hp))
            if bend <= 1e-14 * rz:
                # no curvature: the direction itself, its length left to the line search
                x = x + p if not x.any() else x
                break
            x += (rz / bend) * p
            r -= (rz / bend) * Hp
            z = np.ascontiguousarray(cho_solve(precondition, r))
            rz, before = float(np.vdot(r, z)), rz
            p = z + (rz / before) * p
        return x

    def slope(self, fit):
        """Derivative of the coefficients in the threshold, as it decreases through the fit's own."""
        G = derivative_in_threshold(self.Q, fit.residual, fit.norms, self.weights, fit.threshold)
        if not G.any():
            return G
        precondition = self._preconditioner(fit.norms, fit.threshold)
        return self._newton_step(G, fit.residual, fit.norms, fit.threshold, precondition, 1e-6)

    def path(self, thresholds, tol=1e-10, max_iter=100):
        """Fits for decreasing thresholds, each from a prediction by the two before."""
        before = None
        here = self.least_squares()
        for threshold in thresholds:
            if threshold >= here.norms.max(initial=0.0) and before is None:
                fit = self._at(here.coef, threshold)
            else:
                start = here.coef
                if before is not None and before.threshold < np.inf and here.n_iter > 0:
                    share = (threshold - here.threshold) / (here.threshold - before.threshold)
                    start = here.coef + share * (here.coef - before.coef)
                fit = self.fit(threshold, start, tol, max_iter)
                before = here
            here = fit
            yield fit
