"""How far from what the machine can do: passes over X and Gram matrices beside a path."""

from functools import partial

import numpy as np
from scipy.linalg import blas

import problems
from compare import timed

TITLE = "Beside the machine's limits"
TEXT = (
    "Seconds of the Lasso path; of one product of X' with a vector, which reads X once; of one Gram matrix by BLAS "
    "(`dsyrk`, half the arithmetic of a general product). Medians of five, interleaved."
)
HEADER = ("problem", "path", "one pass over X", "path / passes", "one Gram matrix", "path / Gram")


def tables(quick, wanted):
    """Titles, headers and rows."""
    import peers

    rows = []
    for n, p, informative in [(500, 10_000, 50), (20_000, 1_000, 50)] + ([] if quick else [(2_000, 20_000, 100)]):
        problem = problems.dense_lasso(n, p, informative)
        X, y = problem.X, problem.Y
        times = []
        for _ in range(5):
            path = timed(peers.skspar, problem, problem.alphas, 1e-6)[0]
            # SciPy's BLAS, which ours uses too: two libraries that alternate would hold each other up
            one = timed(partial(blas.dgemv, 1.0, X, y, trans=1))[0]
            gram = timed(partial(blas.dsyrk, 1.0, X, trans=1))[0] if p <= n else np.nan
            times.append((path, one, gram))
        path, one, gram = np.median(times, axis=0)
        shown = (gram, path / gram) if p <= n else (None, None)
        rows.append((f"{n:,} x {p:,}", path, one, path / one, *shown))
    yield None, HEADER, rows
