"""Split-LBI: refused input, and life inside scikit-learn."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from scipy import linalg, sparse
from scipy.sparse.linalg import aslinearoperator
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspar import SplitLBI, SplitLBIClassifier, SplitLBICV, inverse_scale_space_path, split_lbi_path
from skspar._engine.smooth import Smooth

SHORT = dict(kappa=5.0, n_times=10, t_ratio=10.0)
ALL = [
    SplitLBI(**SHORT),
    SplitLBIClassifier(**SHORT),
    SplitLBICV(cv=3, **SHORT),
    SplitLBICV(loss="logistic", cv=3, **SHORT),
]
by_estimator = pytest.mark.parametrize("est", ALL, ids=lambda est: f"{type(est).__name__}-{getattr(est, 'loss', '')}")


@pytest.fixture
def data(rng):
    X = rng.normal(size=(60, 6))
    return X, X @ [3.0, 3.0, 0.0, -2.0, 0.0, 0.0] + 0.3 * rng.normal(size=60)


def target(est, y):
    return np.where(y > 0, "yes", "no") if is_classifier(est) else y


BAD = {
    "width": (dict(D=np.ones((3, 4))), r"D must have as many columns as X, n_features=6; got shape \(3, 4\)"),
    "sparse width": (dict(D=sparse.eye_array(4)), "D .* n_features=6"),
    "operator width": (dict(D=aslinearoperator(np.ones((3, 4)))), "D .* n_features=6"),
    "no rows": (dict(D=np.ones((0, 6))), "D must have one or more rows"),
    "row of zeros": (dict(D=np.eye(6) * [1, 1, 0, 1, 1, 1.0]), r"D must not have rows of zeros; rows \[2\]"),
    "no edges": (dict(D=np.zeros((0, 2), dtype=int)), "D must have one or more edges"),
    "edge out of range": (dict(D=[(0, 1), (5, 6)]), r"D, .*edges.* 0 to 5; got \[5, 6\]"),
    "negative edge": (dict(D=[(0, -1)]), r"D, .*edges.*\[0, -1\]"),
    "loop": (dict(D=[(0, 1), (2, 2)]), r"D, .*edges.* different features; got \[2, 2\]"),
    "name": (dict(D="graph"), "D must be None, 'fused'.*got 'graph'"),
    "vector": (dict(D=np.ones(6)), r"D must be .*shape \(6,\)"),
    "ragged": (dict(D=[[1.0, 2.0], [1.0]]), "D must be"),
    "text": (dict(D=[["a", "b"]]), "D must be"),
    "NaN": (dict(D=np.full((2, 6), np.nan)), "D must be finite"),
    "complex": (dict(D=sparse.csr_array(np.eye(6) * (1.0 + 1.0j))), "D must be real; got .*complex128"),
    "complex operator": (dict(D=aslinearoperator(np.eye(6) * (1.0 + 1.0j))), "D must be real; got .*complex128"),
    "large": (dict(D=np.eye(6) * 1e200), "D must have in every row .*1e-140 and 1e140.*; row 0 has 1e[+]200"),
    "small": (dict(D=np.diag([1, 1, 1e-200, 1, 1, 1])), "D must have in every row .*1e-140 .*; row 2 has 1e-200"),
    "nu zero": (dict(nu=0.0), "'nu'"),
    "nu tiny": (dict(nu=1e-320), "nu must be larger, .*1e300; got nu=9.99989e-321"),
    "nu and D": (dict(nu=1e-50, D=1e130 * np.eye(6)), "nu must be larger, or D smaller.*1e300; got nu=1e-50"),
    "nu negative": (dict(nu=-1.0), "'nu'"),
    "nu infinite": (dict(nu=np.inf), "'nu'"),
    "nu NaN": (dict(nu=np.nan), "'nu'"),
    "plain with D": (dict(nu=None, D="fused"), "nu=None.*D=None"),
    "kappa zero": (dict(kappa=0.0), "'kappa'"),
    "kappa negative": (dict(kappa=-2.0), "'kappa'"),
    "kappa units": (dict(kappa_units="cm"), "'kappa_units'.*raw"),
    "t_ratio negative": (dict(t_ratio=-3.0), "'t_ratio'"),
    "t_ratio one": (dict(t_ratio=1.0), "'t_ratio'"),
    "n_times": (dict(n_times=1), "'n_times'"),
    "step negative": (dict(step=-1.0), "'step'"),
    "step unstable": (dict(step=1e3), "step=1000.0 is not stable: it must be smaller than 2 / .* = [0-9.e-]+"),
    "start": (dict(start="random"), "'start'.*first_entry"),
    "max_steps": (dict(max_steps=3), "max_steps=3 is less than the .* steps.*kappa"),
    "group labels": (dict(groups=[0, 1]), "groups .* 6 .* 2 labels"),
    "group size": (dict(groups=0), "groups .* 0"),
    "groups overlap": (dict(groups=[[0, 1], [1, 2]]), "groups overlap"),
    "group rows": (dict(D="fused", groups=[0, 0, 1, 1, 2, 2]), "groups .* 5 .* 6 labels.*row of D"),
}


@pytest.mark.parametrize("params, match", BAD.values(), ids=BAD.keys())
@by_estimator
def test_bad_parameters(est, params, match, data):
    X, y = data
    with pytest.raises(ValueError, match=f"(?s){match}"):
        clone(est).set_params(**params).fit(X, target(est, y))


@pytest.mark.parametrize("params, match", BAD.values(), ids=BAD.keys())
def test_bad_parameters_of_paths(params, match, data):
    X, y = data
    with pytest.raises(ValueError, match=f"(?s){match}"):
        split_lbi_path(X, y, **(SHORT | params))
    if set(params) <= {"D", "nu", "t_ratio"} and "t_ratio" not in params:
        with pytest.raises(ValueError, match=f"(?s){match}"):
            inverse_scale_space_path(X, y, **({"nu": 1.0} | params))


@pytest.mark.parametrize("t", [1e-9, 1e9, "first", None, -1.0, np.nan, True])
@by_estimator
def test_times_off_the_path(est, t, data):
    X, y = data
    if "t" in est.get_params():
        with pytest.raises(ValueError, match=r"(?s)\bt\b.*(last|from)"):
            clone(est).set_params(t=t).fit(X, target(est, y))
    model = clone(est).fit(X, target(est, y))
    if t is not None:
        with pytest.raises(
            ValueError, match=r"t must be 'last' or a time of the path, from [0-9.e-]+ to [0-9.e-]+; got"
        ):
            model.predict(X, t)


def test_bad_classes(data):
    X, y = data
    for est in (SplitLBIClassifier(), SplitLBICV(loss="logistic")):
        with pytest.raises(ValueError, match="class"):
            est.fit(X, np.zeros(60))
        with pytest.raises(ValueError, match="continuous"):
            est.fit(X, y)
        with pytest.raises(ValueError, match=r"sample_weight .*every class.*'b'"):
            est.fit(X, np.repeat(["a", "b", "c"], 20), sample_weight=np.repeat([1.0, 0.0, 1.0], 20))
        with pytest.raises(ValueError, match="1 class"):
            est.fit(X, np.repeat(["a", "b"], 30), sample_weight=np.repeat([1.0, 0.0], 30))
    with pytest.raises(ValueError, match="two or more classes"):
        split_lbi_path(X, np.ones(60), loss="logistic")
    with pytest.raises(ValueError, match=r"loss='logistic' .* two classes; y has 3"):
        split_lbi_path(X, np.arange(60) % 3, loss="logistic")
    with pytest.raises(ValueError, match=r"cv must leave every class .*fold 0"):
        SplitLBICV(loss="logistic", cv=KFold(2)).fit(X, np.repeat([0, 1], 30))


@by_estimator
def test_bad_weights(est, data):
    X, y = data
    for weights, match in [
        (np.zeros(60), "(?i)sample.weight"),
        (-np.ones(60), "sample_weight"),
        (np.ones(3), "sample_weight"),
    ]:
        with pytest.raises(ValueError, match=match):
            clone(est).fit(X, target(est, y), sample_weight=weights)


def test_bad_cross_validation(data):
    X, y = data
    with pytest.raises(ValueError, match=r"selection_rule='1se' .*two or more folds"):
        SplitLBICV(cv=ShuffleSplit(1), selection_rule="1se").fit(X, y)
    with pytest.raises(ValueError, match=r"sample_weight must not vanish .*held-out.*fold 0"):
        SplitLBICV(cv=KFold(3)).fit(X, y, sample_weight=np.repeat([0.0, 1.0], [20, 40]))
    with pytest.raises(ValueError, match=r"takes no parameters .*'fold'"):
        SplitLBICV().fit(X, y, fold=1)


def test_one_feature_has_no_neighbours():
    with pytest.raises(ValueError, match="n_features=1"):
        SplitLBI(D="fused").fit(np.arange(5.0)[:, None], np.arange(5.0))


def test_too_many_events(data):
    with pytest.raises(ValueError, match="max_events=2"):
        inverse_scale_space_path(*data, max_events=2)
    with pytest.raises(ValueError, match="'t_ratio'"):
        inverse_scale_space_path(*data, t_ratio=0.5)


@pytest.mark.parametrize("nu", [None, 1.0])
def test_steps_up_to_the_limit_are_stable(nu, data):
    X, y = data
    with pytest.raises(ValueError, match="not stable") as info:
        split_lbi_path(X, y, nu=nu, step=1e9)
    bound = float(str(info.value).split(" = ")[1].split(",")[0])
    path = split_lbi_path(X, y, nu=nu, step=0.99 * bound)
    default = split_lbi_path(X, y, nu=nu)
    np.testing.assert_allclose(path.coefs[:, -1], default.coefs[:, -1], rtol=0.02, atol=0.02)
    with pytest.raises(ValueError, match="not stable"):
        split_lbi_path(X, y, nu=nu, step=1.01 * bound)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n", [2, 20, 50, 300, 700])
def test_largest_eigenvalue_of_nearly_diagonal_data(n, fit_intercept, rng):
    # eigenvalues that are equal but for rounding, of which bisection loses count
    w = rng.uniform(0.5, 2.0, size=n)
    twins = np.ones(n)
    twins[: n // 2] += 1e-13
    half = np.ones(n)
    half[: n // 2] = 0.0
    for diagonal in (np.ones(n), np.full(n, np.sqrt(n)), np.full(n, 1e5), twins, half, np.arange(1.0, n + 1)):
        for weights in (np.full(n, 1.0 / n), w / w.sum()):
            X = sparse.diags_array(diagonal, format="csr")
            problem = Smooth(X, rng.normal(size=(n, 1)), weights, "squared", fit_intercept)
            dense = X.toarray() - (weights @ X.toarray() if fit_intercept else 0.0)
            truth = linalg.svdvals(np.sqrt(weights)[:, None] * dense)[0] ** 2
            np.testing.assert_allclose(problem.squared_norm(), truth, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [dict(D="fused"), dict(D=None, nu=None), dict(D="fused", nu=0.1, kappa=5.0)], ids=str
)
@pytest.mark.parametrize("n", [50, 300])
def test_a_sparse_signal_with_intercept(n, options, rng):
    X, y = sparse.eye_array(n, format="csr") * np.sqrt(n), rng.normal(size=n)
    path = split_lbi_path(X, y, t_ratio=5.0, **options)
    same = split_lbi_path(X.toarray(), y, t_ratio=5.0, **options)
    np.testing.assert_allclose(path.coefs, same.coefs, atol=1e-9)
    for step, message in ((1.0, "not stable"), (1e-9, "max_steps")):
        with pytest.raises(ValueError, match=message):
            split_lbi_path(X, y, step=step, **options)


def test_numbers_beyond_the_range(data):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in (dict(nu=None), dict(D="fused")):
            for factor in (1e200, 1e-200):
                with pytest.raises(ValueError, match="X must have the largest absolute value of each feature between"):
                    split_lbi_path(X * factor, y, **options)
    with pytest.raises(ValueError, match="not finite"):
        split_lbi_path(X * 1e-100, y * 1e300, nu=None)
    path = split_lbi_path(X, y * 1e300, t_ratio=10)
    assert np.isfinite(path.coefs).all() and path.coefs.any()
    # the kernel of a chain tells by itself
    eye, steps = sparse.eye_array(50, format="csr"), np.repeat([1.0, 3.0], 25)
    options = dict(D="fused", nu=1e202, fit_intercept=False, t_ratio=5)
    with pytest.raises(ValueError, match="not finite"):
        split_lbi_path(eye * 1e-100, steps * 1e300, **options)
    path = split_lbi_path(eye * 1e-100, steps * 1e207, **options)
    assert path.coefs.max() == pytest.approx(3e307)


def test_times_beyond_the_range(data):
    X, y = data
    for call in (lambda y: split_lbi_path(X, y, **SHORT), lambda y: inverse_scale_space_path(X, y)):
        with pytest.raises(ValueError, match=r"y must have larger entries: the times.* not finite"):
            call(y * 1e-312)
    # finite in double precision, not in that of X
    for call in (split_lbi_path, inverse_scale_space_path):
        with warnings.catch_warnings(), pytest.raises(ValueError, match="not finite"):
            warnings.simplefilter("error")
            call(X.astype(np.float32), y * 1e100)


@pytest.mark.parametrize("layout", ["zeros", "unsorted", "repeated", "clean"])
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
def test_operators_are_left_alone(layout, container, data):
    X, y = data
    arrays = {
        "zeros": ([-1.0, 1.0, 0.0, 1.0], [0, 1, 2, 5], [0, 3, 4]),
        "unsorted": ([1.0, -1.0, 1.0], [3, 1, 0], [0, 2, 3]),
        "repeated": ([1.0, 1.0, -2.0], [3, 3, 1], [0, 2, 3]),
        "clean": ([-1.0, 1.0, 1.0], [0, 1, 5], [0, 2, 3]),
    }[layout]
    kept = [np.array(part) for part in arrays]
    D = container(tuple(np.array(part) for part in arrays), shape=(2, 6))
    expected = split_lbi_path(X, y, D=D.toarray(), **SHORT)
    # joblib hands large arrays over as read-only memory maps
    for part in (D.data, D.indices, D.indptr):
        part.setflags(write=False)
    for path in (split_lbi_path(X, y, D=D, **SHORT), split_lbi_path(X, y > 0, D=D, loss="logistic", **SHORT)):
        assert path.gammas.any()
    np.testing.assert_allclose(split_lbi_path(X, y, D=D, **SHORT).gammas, expected.gammas, atol=1e-12)
    for part, old in zip((D.data, D.indices, D.indptr), kept):
        np.testing.assert_array_equal(part, old)


# --- inside scikit-learn


def test_tags():
    assert is_regressor(SplitLBI()) and is_classifier(SplitLBIClassifier())
    assert is_regressor(SplitLBICV()) and is_classifier(SplitLBICV(loss="logistic"))
    assert not hasattr(SplitLBICV(), "predict_proba") and hasattr(SplitLBICV(loss="logistic"), "predict_proba")


def test_grid_search_over_nu(data):
    X, y = data
    pipe = make_pipeline(StandardScaler(), SplitLBI(**SHORT))
    grid = {"splitlbi__nu": [None, 0.5, 5.0], "splitlbi__estimate": ["sparse", "dense"]}
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.9
    best = clone(pipe).set_params(**search.best_params_)
    assert cross_val_score(best, X, y, cv=3).mean() == pytest.approx(search.best_score_)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SplitLBIClassifier(**SHORT)), {"splitlbiclassifier__nu": [None, 1.0]}, cv=3
    )
    assert search.fit(X, y > 0).best_score_ > 0.9


@by_estimator
def test_clone_pickle_and_frames(est, data):
    X, y = data
    y = target(est, y)
    model = clone(est).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert not hasattr(clone(model), "coef_")
    with pytest.raises(NotFittedError):
        clone(est).predict(X)
    for name in ("pandas", "polars"):
        library = pytest.importorskip(name)
        frame = library.DataFrame(dict(zip("abcdef", X.T)))
        framed = clone(est).fit(frame, y)
        assert list(framed.feature_names_in_) == list("abcdef")
        np.testing.assert_allclose(framed.coef_, model.coef_, rtol=1e-12)
        grouped = clone(est).set_params(groups=[["a", "b"], ["c", "d"], ["e", "f"]]).fit(frame, y)
        np.testing.assert_array_equal(grouped.first_entry_[::2], grouped.first_entry_[1::2])


@by_estimator
def test_sparse_data_and_selection(est, data):
    X, y = data
    X = X * (np.abs(X) > 0.5)
    y = target(est, y)
    dense_one = clone(est).fit(X, y)
    for form in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        model = clone(est).fit(form(X), y)
        np.testing.assert_allclose(model.coef_, dense_one.coef_, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(model.intercept_, dense_one.intercept_, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(model.predict(form(X)), model.predict(form(X)))
    chosen = SelectFromModel(clone(est).set_params(estimate="dense"), threshold=0.5).fit(X, y).get_support()
    assert chosen[[0, 1, 3]].all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifier_methods(n_classes, rng):
    X = rng.normal(size=(90, 4))
    y = np.array(["a", "b", "c"])[
        np.digitize(X[:, 0] + 0.3 * rng.normal(size=90), [0.0] if n_classes == 2 else [-0.5, 0.5])
    ]
    for est in (SplitLBIClassifier(), SplitLBICV(loss="logistic", cv=3)):
        model = clone(est).fit(X, y)
        assert list(model.classes_) == list("abc")[:n_classes]
        rows = 1 if n_classes == 2 else 3
        assert model.coef_.shape == (rows, 4) and model.intercept_.shape == (rows,) and model.gamma_.shape == (rows, 4)
        for t in (None, "last", model.times_[3]):
            P, scores = model.predict_proba(X, t), model.decision_function(X, t)
            assert P.shape == (90, n_classes) and scores.shape == ((90,) if n_classes == 2 else (90, 3))
            np.testing.assert_allclose(P.sum(axis=1), 1.0)
            np.testing.assert_allclose(np.exp(model.predict_log_proba(X, t)), P)
            np.testing.assert_array_equal(model.predict(X, t), model.classes_[P.argmax(axis=1)])
        assert model.score(X, y) == np.mean(model.predict(X) == y) > 0.75


def test_end_of_the_path_is_the_maximum_of_the_likelihood(rng):
    X = rng.normal(size=(300, 3))
    for y in (
        (X[:, 0] + rng.normal(size=300) > 0.4).astype(int),
        np.digitize(X[:, 0] + rng.normal(size=300), [-0.5, 0.5]),
    ):
        # with exact damping gone the coefficients tend to the maximum of the likelihood
        model = SplitLBIClassifier(None, t_ratio=3000.0, kappa=20.0, max_steps=10**7).fit(X, y)
        reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=2e-3)
        np.testing.assert_allclose(model.intercept_, reference.intercept_, atol=1e-2)


# --- cross-validation


@pytest.mark.parametrize("nu, D", [(None, None), (1.0, None), (1.0, "fused")])
@pytest.mark.parametrize("estimate", ["sparse", "dense"])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_validation_is_fits_of_the_folds(nu, D, estimate, weighted, data, rng):
    X, y = data
    s = rng.integers(0, 3, 60).astype(float) if weighted else None
    for loss, z in (("squared", y), ("logistic", (y > 0).astype(int)), ("logistic", np.digitize(y, [-2.0, 2.0]))):
        cv = KFold(3, shuffle=True, random_state=0)
        model = SplitLBICV(nu, D=D, loss=loss, cv=cv, estimate=estimate, **SHORT).fit(X, z, sample_weight=s)
        errors = model.mse_path_ if loss == "squared" else model.log_loss_path_
        assert errors.shape == (10, 3) and not hasattr(model, "log_loss_path_" if loss == "squared" else "mse_path_")
        name = "multinomial" if len(np.unique(z)) == 3 else loss
        for k, (train, test) in enumerate(cv.split(X)):
            v = np.ones(60) if s is None else s
            # the same step and damping; the grid of times then follows from the numbers of steps
            coefs, intercepts = at_same_times(X[train], z[train], v[train], model, nu, D, name, estimate)
            for i in range(10):
                coef, b0 = coefs[..., i], intercepts[..., i]
                eta = X[test] @ coef.T + b0
                w = v[test]
                if loss == "squared":
                    expected = np.average((z[test] - eta) ** 2, weights=w)
                else:
                    P = (
                        np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
                        if name == "multinomial"
                        else 1 / (1 + np.exp(-eta))
                    )
                    expected = log_loss(z[test], P, sample_weight=w, labels=np.unique(z))
                assert errors[i, k] == pytest.approx(expected, rel=1e-6)
        mean = errors.mean(axis=1)
        assert model.t_ == model.times_[mean.argmin()]
        one = clone(model).set_params(selection_rule="1se").fit(X, z, sample_weight=s)
        limit = mean.min() + errors[mean.argmin()].std(ddof=1) / np.sqrt(3)
        assert one.t_ == model.times_[np.flatnonzero(mean <= limit)[0]] <= model.t_
        threads = clone(model).set_params(n_jobs=2).fit(X, z, sample_weight=s)
        np.testing.assert_allclose(
            threads.mse_path_ if loss == "squared" else threads.log_loss_path_, errors, rtol=1e-10
        )


def at_same_times(X, y, s, model, nu, D, loss, estimate):
    """Coefficients and intercepts of a fold by the literal recursion, at the steps of the whole path."""
    from _bregman import best_intercept, projection, recursion, targets

    steps = np.rint(model.times_ / model.step_).astype(int)
    D = None if D is None else np.diff(np.eye(X.shape[1]), axis=0)
    b, g, _ = recursion(X, y, D, nu, model.kappa_, model.step_, steps.tolist(), loss=loss, weights=s)
    if estimate == "sparse" and nu is not None:
        D = np.eye(X.shape[1]) if D is None else D
        b = np.array(
            [
                np.column_stack([projection(D, gt[:, c] != 0, bt[:, c]) for c in range(bt.shape[1])])
                for bt, gt in zip(b, g)
            ]
        )
    Y, v = targets(y, loss), s / s.sum()
    b0 = np.array([best_intercept(X @ bt, Y, v, loss) for bt in b])
    if loss == "multinomial":
        return np.moveaxis(b, [0, 2], [2, 0]), b0.T
    return b[:, :, 0].T, b0[:, 0]


def test_groups_of_rows(data):
    X, y = data
    rows = np.arange(60) // 6
    a = SplitLBICV(cv=GroupKFold(3), **SHORT).fit(X, y, groups=rows)
    b = SplitLBICV(cv=list(GroupKFold(3).split(X, y, rows)), **SHORT).fit(X, y)
    np.testing.assert_array_equal(a.mse_path_, b.mse_path_)
    with sklearn.config_context(enable_metadata_routing=True):
        splitter = GroupKFold(3).set_split_request(groups=True)
        c = SplitLBICV(cv=splitter, **SHORT).fit(X, y, groups=rows)
    np.testing.assert_array_equal(a.mse_path_, c.mse_path_)
    masks = [
        (np.isin(np.arange(60), train), np.isin(np.arange(60), test)) for train, test in GroupKFold(3).split(X, y, rows)
    ]
    np.testing.assert_allclose(SplitLBICV(cv=masks, **SHORT).fit(X, y).mse_path_, a.mse_path_, rtol=1e-10)
    from_the_end = [(train - 60, test - 60) for train, test in GroupKFold(3).split(X, y, rows)]
    np.testing.assert_allclose(SplitLBICV(cv=from_the_end, **SHORT).fit(X, y).mse_path_, a.mse_path_, rtol=1e-10)


def test_refit_with_another_loss(data):
    X, y = data
    model = SplitLBICV(loss="logistic", cv=StratifiedKFold(3), **SHORT).fit(X, y > 0)
    model.set_params(loss="squared", cv=3).fit(X, y)
    assert not hasattr(model, "classes_") and model.coef_.shape == (6,) and model.score(X, y) > 0.9
