"""Progress of a fit: a line of text for each stage, and the tasks that scikit-learn's callbacks are told of."""

from contextlib import contextmanager
from time import perf_counter

from ._sklearn_compat import callbacks_of


class Progress:
    """The stages of one fit, which begins now; without callbacks and with ``verbose=0`` nothing is done."""

    def __init__(self, estimator, X, y, sample_weight, n_stages, verbose=0):
        self._estimator, self._verbose, self._root = estimator, verbose, None
        self._data = dict(X=X, y=y, metadata=None if sample_weight is None else {"sample_weight": sample_weight})
        if callbacks_of(estimator):
            self._root = estimator._init_callback_context(max_subtasks=n_stages)
            self._root.call_on_fit_task_begin(estimator=estimator, **self._data)

    def end(self):
        """All attributes are set."""
        if self._root is not None:
            self._root.call_on_fit_task_end(estimator=self._estimator, **self._data, reconstruction_attributes={})

    @contextmanager
    def stage(self, name, n_tasks=0):
        """A part of the fit, of so many tasks that may run side by side."""
        start = perf_counter()
        task = _Task(self._estimator, self._root, name, n_tasks, parallel=True)
        yield task
        task.end()
        if self._verbose:
            print(f"[{type(self._estimator).__name__}] {name}: {perf_counter() - start:.2f} s", flush=True)


class _Task:
    """A task of the fit, which may consist of others."""

    def __init__(self, estimator, parent, name, n_tasks, place=None, parallel=False):
        self._estimator, self._context = estimator, None
        if parent is not None:
            self._context = parent.subcontext(name, place, max_subtasks=n_tasks, sequential_subtasks=not parallel)
            self._context.call_on_fit_task_begin(estimator=estimator)

    @property
    def is_watched(self):
        """Whether anybody listens."""
        return self._context is not None

    def begin(self, name, n_tasks=0, place=None):
        """Begin a part; of those that run side by side each has its place."""
        return _Task(self._estimator, self._context, name, n_tasks, place)

    def end(self):
        if self._context is not None:
            self._context.call_on_fit_task_end(estimator=self._estimator)

    def count(self, name):
        """One more part, which has no parts itself, is done."""
        self.begin(name).end()
