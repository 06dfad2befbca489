"""Progress of long fits: lines of text, and scikit-learn's callbacks where it has them."""

import pickle
import threading

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from skspar import (
    BPDNCV,
    GroupLassoCV,
    OrthogonalMatchingPursuitCV,
    SparseOutlierRegressorCV,
    SplitLBICV,
)

ESTIMATORS = [
    GroupLassoCV(alphas=8, cv=3),
    GroupLassoCV(alphas=8, cv=3, l1_ratio=[0.0, 0.5], groups=2),
    GroupLassoCV(alphas=8, cv=3, n_jobs=2),
    BPDNCV(alphas=8, cv=3),
    OrthogonalMatchingPursuitCV(4, cv=3),
    SplitLBICV(None, cv=3, n_times=20),
    SplitLBICV(None, cv=3, n_times=20, n_jobs=2),
    SparseOutlierRegressorCV(alpha=3.0, coef_alphas=[1.0, 0.1], cv=3, random_state=0),
]
every = pytest.mark.parametrize("est", ESTIMATORS, ids=str)
has_callbacks = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(not has_callbacks, reason="callbacks came with scikit-learn 1.9")


@pytest.fixture
def data(rng):
    X = rng.normal(size=(60, 6))
    return X, X @ [3.0, -2.0, 0.0, 1.0, 0.0, 0.0] + 0.5 * rng.normal(size=60)


class Recorder:
    """Writes down which tasks begin and end; hands itself down to estimators inside others."""

    max_propagation_depth = None

    def __init__(self):
        self.events, self.lock = [], threading.Lock()

    def setup(self, estimator, context):
        self.write("setup", context)

    def teardown(self, estimator, context):
        self.write("teardown", context)

    def on_fit_task_begin(self, estimator, context):
        self.write("begin", context)

    def on_fit_task_end(self, estimator, context):
        self.write("end", context)

    def write(self, what, context):
        path, at = [], context
        while at is not None:
            path.append((at.estimator_name, at.task_name, at.task_id))
            at = at.parent
        with self.lock:
            self.events.append((what, tuple(path[::-1]), context.max_subtasks))

    def tasks(self, what):
        return [path for event, path, _ in self.events if event == what]


@every
def test_a_line_a_stage(est, data, capsys):
    clone(est).fit(*data)
    assert capsys.readouterr().out == ""
    if "verbose" not in est.get_params():
        return
    model = clone(est).set_params(verbose=1).fit(*data)
    first, second = capsys.readouterr().out.splitlines()
    name = f"[{type(est).__name__}] "
    assert first.startswith(name + "3 folds, ") and second.startswith(name + "fit to all rows")
    assert f"alpha = {model.alpha_:.4g}" in second
    assert first.endswith(" s") and second.endswith(" s")


@needs_callbacks
@every
def test_callbacks_hear_of_every_task(est, data):
    recorder = Recorder()
    model = clone(est).set_callbacks(recorder).fit(*data)
    begun, ended = recorder.tasks("begin"), recorder.tasks("end")
    assert sorted(begun) == sorted(ended) and len(set(begun)) == len(begun)
    assert [event for event, *_ in recorder.events][:2] == ["setup", "begin"]
    assert [event for event, *_ in recorder.events][-2:] == ["end", "teardown"]
    assert len(begun[0]) == 1 and ended[-1] == begun[0]
    # a task begins after, and ends before, the one that it is part of
    order = {("begin", path): k for k, (what, path, _) in enumerate(recorder.events) if what == "begin"}
    order |= {("end", path): k for k, (what, path, _) in enumerate(recorder.events) if what == "end"}
    for path in begun[1:]:
        assert order["begin", path[:-1]] < order["begin", path] < order["end", path] < order["end", path[:-1]]
    # as many as were announced
    for what, path, announced in recorder.events:
        if what == "begin":
            assert announced == sum(other[:-1] == path for other in begun)
    folds = [path for path in begun if path[-1][1] == "fold"]
    assert len(folds) == 3 * (2 if isinstance(est.get_params().get("l1_ratio"), list) else 1)
    if hasattr(model, "alphas_"):
        assert sum(path[-1][1] == "penalty" for path in begun) == len(folds) * 8 or "Outlier" in type(est).__name__
    # and nothing else changes
    plain = clone(est).set_callbacks().fit(*data)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    assert not hasattr(plain, "_callback_fit_ctx") and not hasattr(model, "_callback_fit_ctx")


@needs_callbacks
@every
def test_callbacks_reach_estimators_inside(est, data):
    recorder = Recorder()
    pipe = make_pipeline(StandardScaler(), clone(est))
    key = next(name for name in pipe.get_params() if name.endswith("__cv"))
    search = GridSearchCV(pipe, {key: [2, 3]}, cv=2, error_score="raise").set_callbacks(recorder).fit(*data)
    inside = [path for path in recorder.tasks("begin") if path[-1][:2] == (type(est).__name__, "fold")]
    ratios = 2 if isinstance(est.get_params().get("l1_ratio"), list) else 1
    assert len(inside) == ratios * (2 * 2 + 2 * 3 + getattr(search.best_estimator_[-1], "cv", 3))
    assert sorted(recorder.tasks("begin")) == sorted(recorder.tasks("end"))
    pickle.dumps(search.best_estimator_[-1])


@needs_callbacks
def test_a_fit_that_fails_is_torn_down(data):
    X, y = data
    recorder = Recorder()
    model = GroupLassoCV(cv=[(np.arange(60), np.arange(0))]).set_callbacks(recorder)
    with pytest.raises(ValueError):
        model.fit(X, y)
    assert not hasattr(model, "_callback_fit_ctx")
    model.set_params(cv=3, alphas=5).fit(X, y)
    assert recorder.tasks("setup") == recorder.tasks("teardown")


@needs_callbacks
def test_a_callback_that_looks_at_the_fitted_model(data):
    seen = []

    class Scorer(Recorder):
        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            if context.parent is None:
                seen.append(fitted_estimator.score(X, y))

    model = GroupLassoCV(alphas=8, cv=3).set_callbacks(Scorer()).fit(*data)
    assert seen == [pytest.approx(model.score(*data))]


@needs_callbacks
def test_progress_bar(data, capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    GroupLassoCV(alphas=8, cv=3).set_callbacks(ProgressBar()).fit(*data)
    out = capsys.readouterr().out
    assert "GroupLassoCV" in out and "fold #2" in out and "100%" in out


@pytest.mark.skipif(has_callbacks, reason="before scikit-learn 1.9")
def test_without_callbacks():
    assert not hasattr(GroupLassoCV(), "set_callbacks")
