"""How far from what the machine can do: passes over X and Gram matrices beside a path."""

import numpy as np

import problems
from compare import timed

TITLE = "Beside the machine's limits"
TEXT = (
    "Seconds of the Lasso path; of one product of X' with a vector, which reads X once; of NumPy's `X.T @ X`. "
    "Medians of five, interleaved."
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
            one = timed(np.dot, X.T, y)[0]
            gram = timed(np.dot, X.T, X)[0] if p <= n else np.nan
            times.append((path, one, gram))
        path, one, gram = np.median(times, axis=0)
        shown = (gram, path / gram) if p <= n else (None, None)
        rows.append((f"{n:,} x {p:,}", path, one, path / one, *shown))
    yield None, HEADER, rows
