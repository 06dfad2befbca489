"""The Lasso path beside its peers: same grid, interleaved runs, each peer at the tolerance that reaches the gap."""

import time
import warnings

import numpy as np

from problems import ar1_regression, largest_relative_gap
from skspar import group_lasso_path

TARGET = 1e-6
PROBLEMS = {"500 x 10,000": (500, 10_000, 50), "20,000 x 1,000": (20_000, 1_000, 50)}
# tolerances tried from loose to tight; the first that reaches the target counts
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def ours(X, y, alphas, tol):
    return group_lasso_path(X, y, alphas=alphas, tol=tol)[1]


def scikit_learn(X, y, alphas, tol):
    from sklearn.linear_model import lasso_path

    return lasso_path(X, y, alphas=alphas, tol=tol, max_iter=100_000)[1]


def celer(X, y, alphas, tol):
    from celer import celer_path

    return celer_path(X, y, pb="lasso", alphas=alphas, tol=tol, max_iter=200, max_epochs=100_000)[1]


PEERS = {"scikit-learn": scikit_learn, "celer": celer}


def timed(solver, *arguments):
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = solver(*arguments)
    return time.perf_counter() - start, result


def run(budget=120.0, repeats=5):
    """Rows (problem, solver, tolerance, gap, median seconds, ratio to ours)."""
    rows = []
    for name, shape in PROBLEMS.items():
        X, y = ar1_regression(*shape)
        alphas = np.abs(X.T @ y).max() / len(y) * np.geomspace(1.0, 1e-2, 100)
        chosen = {"skspar": (ours, TARGET)}
        for peer, solver in PEERS.items():
            try:
                solver(X[:, :50], y, alphas[:3], 1e-4)  # compilation and imports do not count
            except ImportError:
                rows.append((name, peer, None, None, None, "not installed"))
                continue
            spent = 0.0
            for tol in TOLERANCES:
                seconds, coefs = timed(solver, X, y, alphas, tol)
                spent += seconds
                if largest_relative_gap(X, y, alphas, coefs) <= TARGET:
                    chosen[peer] = (solver, tol)
                    break
                if spent > budget:
                    rows.append((name, peer, tol, largest_relative_gap(X, y, alphas, coefs), seconds, "gap missed"))
                    break
            else:
                gap = largest_relative_gap(X, y, alphas, coefs)
                rows.append((name, peer, tol, gap, seconds, "gap missed"))
        seconds = {solver: [] for solver in chosen}
        gaps = {}
        for _ in range(repeats):
            for solver, (function, tol) in chosen.items():
                taken, coefs = timed(function, X, y, alphas, tol)
                seconds[solver].append(taken)
                gaps[solver] = largest_relative_gap(X, y, alphas, coefs)
        base = np.median(seconds["skspar"])
        for solver, (_, tol) in chosen.items():
            median = np.median(seconds[solver])
            rows.append((name, solver, tol, gaps[solver], median, f"{median / base:.2f}"))
    return rows
