"""Peak memory of cross-validation on a large X, each measurement in a process of its own."""

import resource
import subprocess
import sys

TITLE = "Memory"
TEXT = "Peak resident memory that a fit adds, in a process of its own. Paths: ours to a gap of 1e-6, peers at tol=1e-4."
HEADER = ("X", "MB of X", "MB added", "added / X")


def added_by(function, *arguments):
    """Peak resident memory of a call above what was resident before, an upper bound (Linux)."""
    # what is resident now, not the peak so far: what was made before must not hide what the call adds
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * resource.getpagesize()
    # the peak so far is forgotten
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    function(*arguments)
    # that of getrusage would be the parent's, where that is larger
    with open("/proc/self/status") as file:
        [peak] = [int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")]
    return peak - before


def measure(kind):
    """Run in a child: what a cross-validation adds."""
    import numpy as np
    from scipy import sparse

    from skspar import GroupLassoCV

    rng = np.random.default_rng(0)
    if kind == "sparse":
        # scipy's random_array would leave a peak of its own, far above the matrix
        places = rng.integers(10_000, size=10**6), rng.integers(50_000, size=10**6)
        X = sparse.csc_array((rng.random(10**6), places), shape=(10_000, 50_000))
        size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    else:
        n, p = (2_000, 25_000) if kind == "wide" else (50_000, 1_000)
        # filled in place, column block by column block, so that making X leaves no peak of its own
        X = np.empty((n, p), order="F")
        for start in range(0, p, 10):
            X[:, start : start + 10] = rng.standard_normal((n, 10))
        size = X.nbytes
    # the wider the problem, the shorter the path: supports far beyond n are not what one cross-validates
    groups, eps = (5, 1e-2) if kind == "tall" else (5, 0.1) if kind == "wide" else (None, 0.1)
    y = X[:, list(range(0, 500, 10))] @ rng.standard_normal(50) + 0.02 * rng.standard_normal(X.shape[0])
    # what a fit on next to nothing loads (libraries, threads) is not what the data cost
    GroupLassoCV(groups=5, alphas=5).fit(X[:50, :20], y[:50])
    added = added_by(GroupLassoCV(groups=groups, eps=eps, cv=5).fit, X, y)
    print(size / 1e6, added / 1e6, added / size)


def measure_path(solver, n, p):
    """Run in a child: what one Lasso path adds, compilation and imports not counted."""
    import compare
    import peers
    import problems

    problem = problems.dense_lasso(n, p, 50)
    function = getattr(peers, solver)
    small = problems.dense_lasso(50, 100, 5)
    function(small, small.alphas[:5], 1e-4)
    added = added_by(compare.timed, function, problem, problem.alphas, 1e-6 if solver == "skspar" else 1e-4)
    print(problem.X.nbytes / 1e6, added / 1e6)


def _child(*arguments):
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    return [float(number) for number in done.stdout.split()] if done.returncode == 0 else None


def tables(quick, wanted):
    """Titles, headers and rows."""
    kinds = {
        "tall": "dense 50,000 x 1,000",
        "wide": "dense 2,000 x 25,000",
        "sparse": "CSC 10,000 x 50,000, density 2e-3",
    }
    rows = [(kinds[kind], *_child(kind)) for kind in (["sparse"] if quick else kinds)]
    yield "5-fold GroupLassoCV", HEADER, rows
    if quick:
        return
    rows = []
    for n, p in ((500, 10_000), (20_000, 1_000)):
        for solver in ("skspar", "scikit_learn", "celer", "skglm", "adelie"):
            found = _child("path", solver, n, p) or (None, None)
            rows.append((f"{n:,} x {p:,}", solver.replace("_", "-"), *found))
    yield "Lasso path, 100 alphas", ("X", "solver", "MB of X", "MB added"), rows


if __name__ == "__main__":
    if sys.argv[1] == "path":
        measure_path(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        measure(sys.argv[1])
