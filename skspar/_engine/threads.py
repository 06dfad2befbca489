"""Threads that work side by side, each with one BLAS thread."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController


@cache
def _libraries():
    """The BLAS libraries that are loaded; to look for them takes milliseconds."""
    return ThreadpoolController()


def blas_threads():
    """How many threads BLAS has at present."""
    return max((library["num_threads"] for library in _libraries().info() if library["user_api"] == "blas"), default=1)


class _OneThread:
    """BLAS with one thread, for as long as anybody is within.

    The number is the process's: if everybody put back what they found, those who came while others were within would
    leave one thread for good.
    """

    def __init__(self):
        self._lock, self._within, self._limit = Lock(), 0, None

    def __enter__(self):
        with self._lock:
            if self._within == 0:
                self._limit = _libraries().limit(limits=1, user_api="blas")
            self._within += 1

    def __exit__(self, *_):
        with self._lock:
            self._within -= 1
            if self._within == 0:
                self._limit.restore_original_limits()


one_blas_thread = _OneThread()


def in_turn(thunks):
    return [thunk() for thunk in thunks]


@contextmanager
def threads(n_jobs):
    """How many threads, and a function that runs thunks in them and returns their results.

    With one thread it runs them in turn, and BLAS keeps its threads.
    """
    n_threads = effective_n_jobs(n_jobs)
    if n_threads == 1:
        yield 1, in_turn
        return
    # joblib looks for results every hundredth of a second, as long as many of our tasks take
    with ThreadPoolExecutor(n_threads) as pool, one_blas_thread:
        yield n_threads, lambda thunks: list(pool.map(lambda thunk: thunk(), thunks))


@contextmanager
def kernel_threads(n_threads):
    """A function that runs thunks in so many threads and returns their results, if they do not call BLAS.

    One of the threads is the caller's, and BLAS keeps its number of threads: to change that takes longer than to hand
    out a task.
    """
    if n_threads == 1:
        yield in_turn
        return
    with ThreadPoolExecutor(n_threads - 1) as pool:

        def run(thunks):
            others = [pool.submit(thunk) for thunk in thunks[1:]]
            first = thunks[0]()
            return [first, *(other.result() for other in others)]

        yield run
