"""Orthogonal matching pursuit of many signals on one dictionary: speed beside peers, threads, float32, memory."""

import resource
import subprocess
import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

TITLE = "Matching pursuit"
TEXT = (
    "Microseconds a signal, Gram matrix included; medians of five, interleaved. spams has order-recursive selection "
    '(`criterion="ols"`), scikit-learn the other, and each is compared with ours of the same kind.'
)
# features of a signal, atoms, atoms of a code, signals
CASES = [(64, 256, 5, 40_000), (64, 256, 10, 40_000), (512, 1000, 8, 16_000), (256, 1024, 32, 4_000)]


def data(m, n, signals, dtype=np.float64):
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(n, m))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return rng.normal(size=(signals, m)).astype(dtype), atoms.astype(dtype)


def ours(X, atoms, k, criterion="omp", n_jobs=1):
    from skspar import SparseEncoder

    encoder = SparseEncoder(atoms, n_nonzero_coefs=k, criterion=criterion, sparse_output=True, n_jobs=n_jobs)
    return encoder.fit(X[:2]).transform(X)


def scikit_learn(X, atoms, k):
    from sklearn.linear_model import orthogonal_mp_gram

    return orthogonal_mp_gram(atoms @ atoms.T, atoms @ X.T, n_nonzero_coefs=k, copy_Gram=False, copy_Xy=False).T


def spams(X, atoms, k, threads=1):
    import spams as library

    columns = np.asfortranarray(X.T), np.asfortranarray(atoms.T)
    start = time.perf_counter()
    codes = library.omp(*columns, L=k, numThreads=threads)
    # the copies to its memory order do not count
    return time.perf_counter() - start, codes


def microseconds(functions, X, repeats=5):
    """Median time a signal of each function, interleaved; a function may return its own seconds first."""
    taken = [[] for _ in functions]
    for _ in range(repeats):
        for times, function in zip(taken, functions):
            start = time.perf_counter()
            result = function()
            seconds = time.perf_counter() - start
            times.append(result[0] if isinstance(result, tuple) else seconds)
    return [float(np.median(times)) / X.shape[0] * 1e6 for times in taken]


def speed(quick):
    try:
        import spams as _  # noqa: F401

        with_spams = True
    except ImportError:
        with_spams = False
    for m, n, k, signals in CASES:
        signals = signals // 4 if quick else signals
        X, atoms = data(m, n, signals)
        X32, atoms32 = data(m, n, signals, np.float32)
        some = X[: max(50, signals // 20)]
        with threadpool_limits(1):
            functions = [
                lambda X=X, atoms=atoms, k=k: ours(X, atoms, k),
                lambda X=X, atoms=atoms, k=k: ours(X, atoms, k, "ols"),
                lambda X=X, atoms=atoms, k=k: ours(X, atoms, k, "ols", 2),
                lambda X=X32, atoms=atoms32, k=k: ours(X, atoms, k, "ols"),
            ]
            if with_spams:
                functions += [
                    lambda X=X, atoms=atoms, k=k: spams(X, atoms, k),
                    lambda X=X32, atoms=atoms32, k=k: spams(X, atoms, k),
                ]
            omp, ols, two, single, *peer = microseconds(functions, X)
            sklearn = microseconds([lambda X=some, atoms=atoms, k=k: scikit_learn(X, atoms, k)], some, 1)[0]
            if with_spams:
                difference = abs(ours(X, atoms, k, "ols") - spams(X, atoms, k)[1].T).max()
                peer = [*peer, f"{peer[0] / ols:.2f}", f"{peer[1] / single:.2f}", f"{difference:.0e}"]
            else:
                peer = ["not installed", None, None, None, None]
        yield (
            f"{m} x {n}, k = {k}", omp, sklearn, f"{sklearn / omp:.0f}", ols, peer[0], peer[2], single, peer[1],
            peer[3], f"{ols / single:.2f}", f"{ols / two:.2f}", peer[4],
        )  # fmt: skip


def measure(signals):
    """Run in a child: peak memory above input and output."""
    rng = np.random.default_rng(0)
    X = np.empty((signals, 64))
    for start in range(0, signals, 10_000):
        X[start : start + 10_000] = rng.normal(size=(10_000, 64))
    atoms = rng.normal(size=(256, 64))
    ours(X[:100], atoms, 10)
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * resource.getpagesize()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    codes = ours(X, atoms, 10)
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
    output = codes.data.nbytes + codes.indices.nbytes + codes.indptr.nbytes
    print(X.nbytes / 1e6, output / 1e6, (peak - before - output) / 1e6)


def memory(quick):
    signals = 100_000 if quick else 1_000_000
    command = [sys.executable, __file__, str(signals)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    yield (f"{signals:,} signals, 64 x 256, k = 10", *(float(value) for value in out.split()))


def tables(quick, wanted):
    """Titles, headers and rows."""
    title = "Time a signal, one thread, microseconds"
    if wanted(title):
        header = (
            "dictionary", "omp", "scikit-learn", "scikit-learn / ours", "ols", "spams", "spams / ours", "ols float32",
            "spams float32", "spams / ours, float32", "float64 / float32", "one thread / two",
            "largest difference to spams",
        )  # fmt: skip
        yield title, header, list(speed(quick))
    title = "Memory of coding, sparse output"
    if wanted(title):
        header = ("signals", "MB of input", "MB of output", "peak MB above both")
        yield title, header, list(memory(quick))


if __name__ == "__main__":
    measure(int(sys.argv[1]))
