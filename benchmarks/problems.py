"""Problems that the benchmarks share, and a certificate that shares nothing with the library."""

import numpy as np


def ar1_regression(n, p, n_informative, correlation=0.5, snr=3.0, seed=0):
    """Standard normal AR(1) columns (Fortran order), +-1 coefficients on random features, noise for the given SNR."""
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.standard_normal((n, p)))
    for j in range(1, p):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1.0 - correlation**2) * X[:, j]
    coef = np.zeros(p)
    coef[rng.choice(p, n_informative, replace=False)] = rng.choice([-1.0, 1.0], n_informative)
    signal = X @ coef
    return X, signal + rng.standard_normal(n) * np.sqrt(signal.var() / snr)


def largest_relative_gap(X, y, alphas, coefs):
    """Largest duality gap of Lasso solutions (p, n_alphas) without intercept, relative to ||y||^2 / 2n."""
    n = len(y)
    residual = y[:, None] - X @ coefs
    correlation = np.abs(X.T @ residual).max(axis=0) / n
    scale = np.minimum(1.0, alphas / np.maximum(correlation, np.finfo(float).tiny))
    primal = 0.5 / n * np.einsum("ij,ij->j", residual, residual) + alphas * np.abs(coefs).sum(axis=0)
    dual = scale / n * (y @ residual) - 0.5 / n * scale**2 * np.einsum("ij,ij->j", residual, residual)
    return float(np.max(primal - dual) / (0.5 / n * (y @ y)))
