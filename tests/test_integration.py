"""GroupLasso inside the rest of scikit-learn, and with data frames."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from _oracles import random_data, random_problem
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

import skspar
from skspar import GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path

ESTIMATORS = [
    GroupLasso(alpha=0.05, groups=3),
    GroupLassoCV(groups=3, alphas=5, cv=3),
    GroupLassoIC(groups=3, alphas=5),
]
by_class = pytest.mark.parametrize("est", ESTIMATORS, ids=lambda est: type(est).__name__)


@pytest.fixture
def data(rng):
    return random_data(rng, 40, 12)


def test_public_names():
    assert {"GroupLasso", "GroupLassoCV", "GroupLassoIC", "group_lasso_path"} <= set(skspar.__all__)
    assert GroupLasso.path is group_lasso_path


# --- composition


def test_grid_search(data):
    X, y = data
    grid = {"alpha": [1e-3, 0.1, 10.0], "l1_ratio": [0.0, 0.5], "groups": [None, 3, 4], "group_weights": ["sqrt", None]}
    search = GridSearchCV(GroupLasso(), grid, cv=3).fit(X, y)
    best = GroupLasso(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(search.best_estimator_.coef_, best.coef_)
    scores = cross_val_score(best, X, y, cv=3)
    assert search.best_score_ == pytest.approx(scores.mean())
    assert search.best_score_ > 0.5
    assert search.best_params_["alpha"] < 10


@by_class
def test_pipeline_with_scaling(data, est):
    X, y = data
    units = np.logspace(-3, 3, 12)
    a, b = (make_pipeline(StandardScaler(), clone(est)).fit(Z, y).predict(Z) for Z in (X, X * units))
    np.testing.assert_allclose(a, b, rtol=1e-8)
    assert np.corrcoef(a, y)[0, 1] > 0.8


def feature_of(names):
    """spline__age_sp_0 -> age, onehot__town_b -> town"""
    return [name.split("__")[1].split("_")[0] for name in names]


def test_column_transformer_with_groups_by_name(rng):
    # the number of columns behind a feature changes with n_knots: only names can say which belong together
    pd = pytest.importorskip("pandas")
    n = 200
    X = pd.DataFrame(
        {
            "age": rng.uniform(0, 3, n),
            "income": rng.normal(size=n),
            "town": rng.choice(["a", "b", "c"], n),
            "colour": rng.choice(["red", "green"], n),
        }
    )
    y = np.sin(3 * X["age"]) + (X["town"] == "b") + 0.1 * rng.normal(size=n)
    prepare = ColumnTransformer(
        [
            ("spline", SplineTransformer(), ["age", "income"]),
            ("onehot", OneHotEncoder(sparse_output=False), ["town", "colour"]),
        ]
    ).set_output(transform="pandas")
    pipe = make_pipeline(prepare, GroupLasso(groups=feature_of))
    grid = {
        "columntransformer__spline__n_knots": [3, 8],
        "grouplasso__alpha": [1e-4, 0.02, 10.0],
    }
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_params_["columntransformer__spline__n_knots"] == 8
    assert search.best_score_ > 0.9
    model = search.best_estimator_[-1]
    assert list(model.groups_) == ["age", "income", "town", "colour"]
    assert [len(g) for g in model.groups_.values()] == [10, 10, 3, 2]
    assert {"age", "town"} <= set(model.active_groups_)
    sparser = pipe.set_params(grouplasso__alpha=0.03, columntransformer__spline__n_knots=8).fit(X, y)[-1]
    assert set(sparser.active_groups_) == {"age", "town"}


@by_class
def test_transformed_target(data, est):
    X, y = data
    y = np.exp(y / 5)
    model = TransformedTargetRegressor(clone(est), func=np.log, inverse_func=np.exp).fit(X, y)
    np.testing.assert_allclose(model.predict(X), np.exp(clone(est).fit(X, np.log(y)).predict(X)))


@by_class
def test_select_from_model(data, est):
    X, y = data
    selector = SelectFromModel(clone(est).set_params(**({"alpha": 0.4} if "alpha" in est.get_params() else {})))
    selector.fit(X, y)
    np.testing.assert_array_equal(selector.get_support(), np.abs(selector.estimator_.coef_) > 1e-5)
    assert make_pipeline(selector, Ridge()).fit(X, y).score(X, y) > 0.5


def test_select_from_model_of_several_targets(rng):
    X, y = random_data(rng, 40, 12, n_targets=3)
    selector = SelectFromModel(GroupLasso(alpha=0.6, groups=3)).fit(X, y)
    support = selector.get_support().reshape(4, 3)
    np.testing.assert_array_equal(support.any(axis=1), support.all(axis=1))  # whole groups
    assert 0 < support.sum() < 12


@by_class
def test_cross_val_predict(data, est):
    X, y = data
    predicted = cross_val_predict(est, X, y, cv=KFold(4))
    for train, test in KFold(4).split(X):
        np.testing.assert_allclose(predicted[test], clone(est).fit(X[train], y[train]).predict(X[test]))


@by_class
def test_clone_and_pickle(data, est):
    X, y = data
    params = est.get_params()
    fitted = clone(est).set_params(groups=feature_of_twelve, group_weights={0: 1.0, 1: 2.0})
    again = pickle.loads(pickle.dumps(fitted.fit(X, y)))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    assert again.groups_.keys() == fitted.groups_.keys()
    assert est.get_params() == params
    assert clone(fitted).get_params()["groups"] is feature_of_twelve or callable(clone(fitted).groups)
    assert not hasattr(clone(fitted), "coef_")
    np.testing.assert_array_equal(clone(fitted).fit(X, y).coef_, fitted.coef_)


def feature_of_twelve(names):
    return [0] * 5 + [1] * 7


@by_class
def test_unfitted(data, est):
    with pytest.raises(NotFittedError):
        clone(est).predict(data[0])


@by_class
def test_score_is_r2(data, est):
    X, y = data
    s = np.linspace(0.1, 2, 40)
    model = clone(est).fit(X, y)
    residual, total = y - model.predict(X), y - np.average(y, weights=s)
    assert model.score(X, y, s) == pytest.approx(1 - s @ residual**2 / (s @ total**2))


# --- data frames


@by_class
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_data_frame(data, est, kind):
    library = pytest.importorskip(kind)
    X, y = data
    names = [f"f{j}" for j in range(12)]
    frame = library.DataFrame(X, columns=names) if kind == "pandas" else library.DataFrame(X, schema=names)
    model = clone(est).fit(frame, y)
    np.testing.assert_array_equal(model.feature_names_in_, names)
    assert model.n_features_in_ == 12
    np.testing.assert_allclose(model.coef_, clone(est).fit(X, y).coef_, rtol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = model.predict(frame)
    np.testing.assert_allclose(predicted, X @ model.coef_ + model.intercept_)
    with pytest.warns(UserWarning, match="valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[names[::-1]])
    by_name = clone(est).set_params(groups={j: names[3 * j : 3 * j + 3] for j in range(4)}).fit(frame, y)
    np.testing.assert_allclose(by_name.coef_, model.coef_, rtol=1e-10)
    assert not hasattr(clone(est).fit(X, y), "feature_names_in_")


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_series_as_y_and_weights(data, kind):
    library = pytest.importorskip(kind)
    X, y = data
    s = np.linspace(0.1, 2, 40)
    model = clone(ESTIMATORS[0]).fit(X, library.Series(y), sample_weight=library.Series(s))
    np.testing.assert_allclose(model.coef_, clone(ESTIMATORS[0]).fit(X, y, sample_weight=s).coef_, rtol=1e-10)


def test_shuffled_pandas_index_is_ignored(data):
    pd = pytest.importorskip("pandas")
    X, y = data
    index = np.random.default_rng(1).permutation(40)
    model = clone(ESTIMATORS[1]).fit(pd.DataFrame(X, index=index), pd.Series(y, index=index[::-1]))
    # a frame's columns lie otherwise in memory, so sums may round differently
    np.testing.assert_allclose(model.coef_, clone(ESTIMATORS[1]).fit(X, y).coef_, rtol=1e-10)


# --- metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_routing_of_sample_weight_and_row_groups(data):
    X, y = data
    rng = np.random.default_rng(2)
    s, row_groups = rng.uniform(0.1, 3, 40), rng.permutation(np.repeat(np.arange(8), 5))
    est = GroupLassoCV(groups=3, alphas=5, cv=GroupKFold(3)).set_fit_request(sample_weight=True)
    explicit = clone(est).set_params(cv=list(GroupKFold(3).split(X, y, row_groups))).fit(X, y, sample_weight=s)
    direct = clone(est).fit(X, y, sample_weight=s, groups=row_groups)
    np.testing.assert_array_equal(direct.mse_path_, explicit.mse_path_)
    unweighted = clone(est).fit(X, y, groups=row_groups)
    assert not np.allclose(unweighted.mse_path_, explicit.mse_path_)
    # the constructor's groups are columns, fit's are rows; a pipeline keeps them apart
    pipe = make_pipeline("passthrough", clone(est)).fit(X, y, sample_weight=s, groups=row_groups)
    np.testing.assert_array_equal(pipe[-1].mse_path_, explicit.mse_path_)


@pytest.mark.usefixtures("routing")
@by_class
def test_routing_of_sample_weight_through_grid_search(data, est):
    X, y = data
    s = np.random.default_rng(2).uniform(0.1, 3, 40)
    est = clone(est).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(est, {"groups": [3]}, cv=3).fit(X, y, sample_weight=s)
    np.testing.assert_array_equal(search.best_estimator_.coef_, clone(est).fit(X, y, sample_weight=s).coef_)
    scores = [
        clone(est).set_params(groups=3).fit(X[train], y[train], sample_weight=s[train]).score(X[test], y[test], s[test])
        for train, test in KFold(3).split(X)
    ]
    assert search.best_score_ == pytest.approx(np.mean(scores))


@pytest.mark.usefixtures("routing")
def test_splitter_that_does_not_ask_for_groups(data):
    X, y = data
    with pytest.raises(TypeError, match="groups"):
        GroupLassoCV(cv=KFold(3)).fit(X, y, groups=np.arange(40))


def test_unknown_fit_parameters_without_routing(data):
    with pytest.raises((TypeError, ValueError), match="offset"):
        GroupLassoCV(cv=KFold(3)).fit(*data, offset=np.arange(40))


# --- warm start


@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_warm_start(rng, l1_ratio, n_targets):
    problem, params = random_problem(rng, 60, 120, "equal", n_targets, l1_ratio, fraction=0.02)
    cold = GroupLasso(**params, tol=1e-10).fit(problem.X, problem.y)
    warm = GroupLasso(**params, tol=1e-10, warm_start=True).fit(problem.X, problem.y)
    assert warm.n_iter_ == cold.n_iter_ > 1
    warm.fit(problem.X, problem.y)  # from the answer itself
    assert 1 <= warm.n_iter_ < cold.n_iter_
    assert problem.relative_gap(warm.coef_) <= 1e-9
    for factor in [1.1, 0.9]:
        at = problem.at(factor * problem.alpha)
        warm.set_params(alpha=at.alpha).fit(problem.X, problem.y)
        assert at.relative_gap(warm.coef_) <= 1e-9
        assert warm.n_iter_ >= 1


def test_warm_start_survives_data_of_another_shape(rng):
    est = GroupLasso(alpha=0.05, groups=3, warm_start=True, tol=1e-12)
    for n, p, n_targets in [(40, 12, 1), (30, 7, 1), (30, 7, 3), (30, 7, 1), (30, 12, 2)]:
        X, y = random_data(rng, n, p, n_targets)
        expected = GroupLasso(alpha=0.05, groups=3, tol=1e-12).fit(X, y)
        np.testing.assert_allclose(est.fit(X, y).coef_, expected.coef_, atol=1e-5)


def test_warm_start_of_an_overlapping_or_refitted_model(rng):
    X, y = random_data(rng, 40, 6)
    groups = [[0, 1, 2], [2, 3], [3, 4, 5]]
    for options in (dict(overlap="latent"), dict(refit=True, overlap="latent")):
        cold = GroupLasso(alpha=0.2, groups=groups, tol=1e-12, **options).fit(X, y)
        warm = GroupLasso(alpha=0.1, groups=groups, tol=1e-12, warm_start=True, **options).fit(X, y)
        warm.set_params(alpha=0.2).fit(X, y)
        np.testing.assert_allclose(warm.predict(X), cold.predict(X), atol=1e-5)


# --- shapes and types


@by_class
def test_shapes_of_targets(rng, est):
    X, y = random_data(rng, 40, 12, n_targets=3)
    if isinstance(est, GroupLassoIC):
        est = clone(est).set_params(noise_variance=1.0)
    several = clone(est).fit(X, y)
    assert several.coef_.shape == (3, 12)
    assert several.intercept_.shape == (3,)
    assert several.predict(X).shape == (40, 3)
    assert several.score(X, y) > 0.5
    np.testing.assert_allclose(several.predict(X), X @ several.coef_.T + several.intercept_)
    one = clone(est).fit(X, y[:, 0])
    assert one.coef_.shape == (12,)
    assert np.ndim(one.intercept_) == 0
    assert one.predict(X).shape == (40,)
    column = clone(est).fit(X, y[:, :1])
    assert column.predict(X).shape == (40, 1)
    np.testing.assert_allclose(column.predict(X)[:, 0], one.predict(X), atol=1e-10)


@by_class
@pytest.mark.parametrize("container", ["C", "F", "csc"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(rng, est, container, dtype):
    X, y = random_data(rng, 40, 12, container=container, dtype=dtype)
    model = clone(est).fit(X, y.astype(np.float64))
    assert model.coef_.dtype == np.asarray(model.intercept_).dtype == model.predict(X).dtype == dtype
    precise = clone(est).fit(X.astype(np.float64), y.astype(np.float64))
    assert precise.coef_.dtype == np.float64
    np.testing.assert_allclose(model.predict(X), precise.predict(X.astype(np.float64)), atol=0.05)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_of_a_path(rng, dtype):
    X, y = random_data(rng, 40, 12, dtype=dtype)
    _, coefs, _, intercepts = group_lasso_path(X, y, groups=3, alphas=4, return_intercepts=True)
    assert coefs.dtype == intercepts.dtype == dtype


def test_no_intercept_is_zero(data):
    assert GroupLasso(alpha=0.1, fit_intercept=False).fit(*data).intercept_ == 0.0


@pytest.mark.parametrize("n_targets, shape", [(1, (12, 5)), (3, (3, 12, 5))])
def test_shapes_of_a_path(rng, n_targets, shape):
    X, y = random_data(rng, 40, 12, n_targets)
    alphas, coefs, gaps, intercepts, n_iters = group_lasso_path(
        X, y, groups=3, alphas=5, return_intercepts=True, return_n_iter=True
    )
    assert coefs.shape == shape
    assert intercepts.shape == shape[:-2] + (5,)
    assert alphas.shape == gaps.shape == np.shape(n_iters) == (5,)
    assert len(group_lasso_path(X, y, groups=3, alphas=5)) == 3
    assert len(group_lasso_path(X, y, groups=3, alphas=5, return_n_iter=True)) == 4


# --- convergence warnings


HARD = [
    GroupLasso(alpha=1e-3, groups=3),
    GroupLasso(alpha=1e-3, groups=3, l1_ratio=0.3),
    GroupLassoCV(groups=3, alphas=20, cv=4),
    GroupLassoCV(groups=3, alphas=20, cv=4, l1_ratio=[0.2, 0.5]),
    GroupLassoIC(groups=3, alphas=20, noise_variance=1.0),
]


@pytest.mark.parametrize("est", HARD, ids=str)
def test_one_warning_that_says_the_gap_and_what_to_change(rng, est):
    X, y = random_data(rng, 40, 90)
    X += 3 * rng.normal(size=(40, 1))  # strong correlation: one pass is not enough
    with pytest.warns(ConvergenceWarning) as record:
        est = clone(est).set_params(max_iter=1, tol=1e-13).fit(X, y)
    record = [w for w in record if issubclass(w.category, ConvergenceWarning)]
    assert len(record) == 1
    message = str(record[0].message)
    assert "gap" in message and "max_iter" in message and "tol" in message
    assert est.n_iter_ >= 1
    if isinstance(est, GroupLasso):
        assert est.relative_dual_gap_ > 1e-13
        assert f"{est.relative_dual_gap_:.0e}"[:1] in message


def test_path_warns_once(rng):
    X, y = random_data(rng, 40, 90)
    X += 3 * rng.normal(size=(40, 1))
    with pytest.warns(ConvergenceWarning, match="gap") as record:
        _, _, gaps = group_lasso_path(X, y, groups=3, alphas=20, max_iter=1, tol=1e-13)
    assert len(record) == 1
    assert np.max(gaps) > 1e-13 * np.sum(y**2) / 80


@pytest.mark.filterwarnings("error")
@by_class
def test_no_warning_when_converged(data, est):
    clone(est).fit(*data)
