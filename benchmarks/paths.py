"""Regularisation paths beside the peers'."""

import problems
from compare import HEADER, compare

TITLE = "Paths of 100 alphas"
TEXT = (
    "From alpha_max to alpha_max / 100 unless said otherwise, AR(0.5) columns, SNR 3, no intercept. Every solver at "
    "the loosest of a few tolerances that reaches a relative duality gap of 1e-6 at every alpha, recomputed by the "
    "benchmark, and once more at its own default. One that had not reached the gap after 30 seconds (15 on the largest "
    "dense problem) is listed with its last try. Runs are interleaved; medians. The ratio is the solver's time over "
    "ours."
)
QUICK = [
    lambda: problems.dense_lasso(500, 10_000, 50),
    lambda: problems.dense_lasso(20_000, 1_000, 50),
    lambda: problems.group_lasso(20_000, 1_000, 5, 10),
]
FULL = [
    *QUICK[:2],
    lambda: problems.sparse_lasso(20_000, 200_000, 5e-4, 200),
    lambda: problems.group_lasso(500, 10_000, 10, 5),
    lambda: problems.group_lasso(1_000, 5_000, 5, 10),
    QUICK[2],
    lambda: problems.group_lasso(500, 10_000, 10, 5, l1_ratio=0.5),
    lambda: problems.multi_task(306, 3_000, 20, 50),
    lambda: problems.dense_lasso(2_000, 20_000, 100),
]


def tables(quick, wanted):
    """Titles, headers and rows."""
    for make in QUICK if quick else FULL:
        problem = make()
        if not wanted(problem.name):
            continue
        # on the largest a single run of a peer takes a minute
        options = {"budget": 15.0} if 3 * 10**7 < problem.n * problem.p < 10**9 else {}
        if quick:
            options = dict(budget=8.0, repeats=1, names=("scikit-learn", "adelie"))
        if quick and (problem.size > 1 or problem.p > problem.n):
            # scikit-learn takes a minute of the two on wide problems
            options["names"] = ("adelie",)
        yield problem.name, HEADER, compare(problem, **options)
