"""Threads that work side by side, each with one BLAS thread."""

from contextlib import contextmanager

from joblib import Parallel, delayed, effective_n_jobs
from threadpoolctl import ThreadpoolController


@contextmanager
def threads(n_jobs, verbose=0):
    """How many threads, and a function that runs thunks in them and returns their results.

    With one thread that function is None: what is to be done needs no pool, and BLAS keeps its threads.
    """
    n_threads = effective_n_jobs(n_jobs)
    if n_threads == 1:
        yield 1, None
        return
    libraries = ThreadpoolController()
    with Parallel(n_jobs=n_threads, prefer="threads", verbose=verbose) as pool:

        def run(thunks):
            with libraries.limit(limits=1, user_api="blas"):
                return pool(delayed(thunk)() for thunk in thunks)

        yield n_threads, run
