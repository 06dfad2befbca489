"""Peak memory of cross-validation on a large X, each measurement in a process of its own."""

import resource
import subprocess
import sys

TITLE = "Memory: 5-fold GroupLassoCV"
TEXT = "Peak resident memory that the fit adds, in a process of its own."
HEADER = ("X", "MB of X", "MB added", "added / X")


def measure(kind):
    """Run in a child: peak resident memory of the fit above what was resident before, an upper bound (Linux)."""
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
    # what is resident now, not the peak so far: the making of X must not hide what the fit adds
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * resource.getpagesize()
    GroupLassoCV(groups=groups, eps=eps, cv=5).fit(X, y)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(size / 1e6, (after - before) / 1e6, (after - before) / size)


def tables(quick):
    """Titles, headers and rows."""
    rows = []
    kinds = {
        "tall": "dense 50,000 x 1,000",
        "wide": "dense 2,000 x 25,000",
        "sparse": "CSC 10,000 x 50,000, density 2e-3",
    }
    for kind in ["sparse"] if quick else kinds:
        out = subprocess.run([sys.executable, __file__, kind], capture_output=True, text=True, check=True).stdout
        rows.append((kinds[kind], *map(float, out.split())))
    yield None, HEADER, rows


if __name__ == "__main__":
    measure(sys.argv[1])
