"""Basis pursuit denoising for a bound on the residual, beside the projected-gradient solver spgl1."""

import contextlib
import io
import time

import numpy as np
from scipy.fft import dct
from scipy.linalg import toeplitz
from threadpoolctl import threadpool_limits

TITLE = "Basis pursuit denoising"
TEXT = (
    "min ||b||_1 subject to ||y - Xb|| <= sigma. Medians of five, interleaved, one thread; spgl1 at its default "
    "tolerance (1e-4), ours to a relative duality gap of 1e-8. Violation: residual norm / sigma - 1. Excess: l1 norm / "
    "ours - 1."
)
HEADER = (
    "dictionary", "seconds", "relative gap", "violation", "spgl1 seconds", "spgl1 / ours", "spgl1 violation",
    "spgl1 excess",
)  # fmt: skip


def problems():
    """Name, dictionary, coefficients, SD of the noise."""
    rng = np.random.default_rng(0)

    def spikes(size, count, unit=False):
        b = np.zeros(size)
        b[rng.choice(size, count, replace=False)] = rng.normal(size=count)
        return np.sign(b) if unit else b

    yield "Heaviside 512 x 512, 20 steps", np.tril(np.ones((512, 512))), spikes(512, 20), 0.1
    waves = dct(np.eye(1024), norm="ortho", axis=0)
    yield "DCT + Dirac 1,024 x 2,048, 120 spikes", np.hstack([np.eye(1024), waves]), spikes(2048, 120), 0.01
    X = rng.normal(size=(600, 2560))
    yield "Gaussian 600 x 2,560, k = 20", X / np.linalg.norm(X, axis=0), spikes(2560, 20), 0.01
    X = rng.normal(size=(200, 1000)) @ np.linalg.cholesky(toeplitz(0.95 ** np.arange(1000))).T
    yield "AR(0.95) 200 x 1,000, k = 15", X, spikes(1000, 15), 0.1
    yield "signs 256 x 1,024, k = 32", np.sign(rng.normal(size=(256, 1024))), spikes(1024, 32, True), 0.1


def tables(quick, wanted):
    """Titles, headers and rows."""
    from skspar import BPDN

    try:
        import spgl1
    except ImportError:
        spgl1 = None

    # one BLAS thread: the two solvers call different libraries, whose threads would hold each other up
    limit = threadpool_limits(1)
    rows = []
    for name, X, b, noise in problems():
        y = X @ b + noise * np.random.default_rng(1).normal(size=len(X))
        sigma = noise * np.sqrt(len(X))
        taken, theirs = [], []
        for _ in range(2 if quick else 5):
            start = time.perf_counter()
            model = BPDN(sigma=sigma, fit_intercept=False, tol=1e-8).fit(X, y)
            taken.append(time.perf_counter() - start)
            if spgl1 is not None:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    start = time.perf_counter()
                    found = spgl1.spg_bpdn(X, y, sigma)[0]
                    theirs.append(time.perf_counter() - start)
        violation = np.linalg.norm(y - X @ model.coef_) / sigma - 1.0
        peer = ("not installed", None, None, None)
        if spgl1 is not None:
            peer = (
                np.median(theirs),
                f"{np.median(theirs) / np.median(taken):.2f}",
                f"{np.linalg.norm(y - X @ found) / sigma - 1.0:.0e}",
                f"{np.abs(found).sum() / model.tau_ - 1.0:.0e}",
            )
        rows.append((name, np.median(taken), f"{model.relative_dual_gap_:.0e}", f"{violation:.0e}", *peer))
    limit.restore_original_limits()
    yield None, HEADER, rows
