"""SparseOutlierRegressor inside scikit-learn: its checks, composition, data frames."""

import importlib
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skspar import (
    OutlierPathDisplay,
    SparseOutlierRegressor,
    SparseOutlierRegressorCV,
    externally_studentized_residuals,
    outlier_path,
    tau_scale,
    tau_scorer,
    trimmed_mean_squared_error,
    trimmed_scorer,
)
from skspar.datasets import make_masking_outliers, make_outlier_regression

ESTIMATORS = [
    SparseOutlierRegressor(),
    SparseOutlierRegressor("l1", alpha=1.345),
    SparseOutlierRegressor("l1", leverage_weights=False, fit_intercept=False),
    SparseOutlierRegressor("scad", alpha="bonferroni", init="huber"),
    SparseOutlierRegressor("mcp", alpha=3.0, init="ols", scale=1.0, refit=True),
    # the checks set alpha to 0.01, so a larger coef_alpha would leave no coefficient
    SparseOutlierRegressor("l1", alpha=2.0, coef_alpha=1e-3),
    SparseOutlierRegressor("hard", scale=100.0, alpha=3.0, coef_alpha=1e-3, refit=True),
    SparseOutlierRegressorCV(coef_alphas=[0.1, 0.0], alpha=3.0, cv=2),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


# what check_estimator leaves out and a regressor can be asked; some names differ between releases
LEFT_OUT = [
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_readonly_memmap_input",
    "check_estimator_repr",
    "check_estimator_cloneable",
]


@pytest.mark.parametrize("name", [name for name in LEFT_OUT if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    pytest.importorskip("pandas")
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize("estimator", [SparseOutlierRegressor(), SparseOutlierRegressorCV()], ids=str)
def test_default_configuration_declares_its_constraints(estimator):
    estimator_checks.check_param_validation(type(estimator).__name__, estimator)


def test_the_left_out_checks_exist():
    assert {"check_param_validation", "check_dataframe_column_names_consistency"} <= set(vars(estimator_checks))


@pytest.fixture
def data():
    return make_outlier_regression(80, 4, shift=20.0, coef_size=1.0, random_state=0)


def test_grid_search(data):
    X, y, is_outlier = data
    grid = {"penalty": ["l1", "hard", "scad", "mcp"], "alpha": [2.5, "bic"]}
    for scoring in (trimmed_scorer, tau_scorer):
        search = GridSearchCV(SparseOutlierRegressor(random_state=0), grid, cv=3, scoring=scoring).fit(X, y)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.best_estimator_.outlier_mask_[is_outlier].all()
    assert np.isfinite(cross_val_score(SparseOutlierRegressor(), X, y, scoring=tau_scorer)).all()


def test_pipelines(data):
    X, y, is_outlier = data
    direct = SparseOutlierRegressor(random_state=0).fit(X, y)
    scaled = make_pipeline(StandardScaler(), SparseOutlierRegressor(random_state=0)).fit(X, y)
    np.testing.assert_array_equal(scaled[-1].outlier_mask_, direct.outlier_mask_)
    np.testing.assert_allclose(scaled.predict(X), direct.predict(X), rtol=1e-8)
    log = TransformedTargetRegressor(SparseOutlierRegressor(random_state=0), func=np.arcsinh, inverse_func=np.sinh)
    assert np.isfinite(log.fit(X, y).predict(X)).all()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(data, library):
    frames = pytest.importorskip(library)
    X, y, _ = data
    kind = np.where(np.arange(80) % 3 == 0, "a", "b")
    frame = frames.DataFrame({**{f"x{j}": X[:, j] for j in range(4)}, "kind": kind})
    encoder = ColumnTransformer(
        [("kind", OneHotEncoder(sparse_output=False), ["kind"])], remainder="passthrough", sparse_threshold=0
    )
    model = make_pipeline(encoder, SparseOutlierRegressor(random_state=0)).fit(frame, y)
    assert model[-1].outlier_mask_.sum() >= 8
    plain = frames.DataFrame({f"x{j}": X[:, j] for j in range(4)})
    model = SparseOutlierRegressor(random_state=0)
    kept, target = model.fit_resample(
        plain, frames.Series("y", y) if library == "polars" else frames.Series(y, name="y")
    )
    assert list(model.feature_names_in_) == ["x0", "x1", "x2", "x3"]
    assert type(kept) is type(plain) and len(kept) == len(target) == (~model.outlier_mask_).sum()


def test_fit_resample(data):
    X, y, is_outlier = data
    model = SparseOutlierRegressor(random_state=0)
    kept, target = model.fit_resample(X, y)
    np.testing.assert_array_equal(model.sample_indices_, np.flatnonzero(~model.outlier_mask_))
    np.testing.assert_array_equal(kept, X[model.sample_indices_])
    np.testing.assert_array_equal(target, y[model.sample_indices_])
    # imbalanced-learn's pipeline refuses steps that have both
    assert not hasattr(model, "transform") and not hasattr(model, "fit_transform")
    wide = SparseOutlierRegressor(coef_alpha=0.1, random_state=0)
    rows, _ = wide.fit_resample(sparse.csr_array(X), y)
    assert sparse.issparse(rows) and rows.shape[0] == len(wide.sample_indices_)


def test_pickle_holds_no_data(data):
    X, y, _ = data
    model = SparseOutlierRegressor(random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.score_outliers(X, y), model.score_outliers(X, y))
    X, y, _ = make_outlier_regression(3000, 4, random_state=0)
    # five arrays of a number for each row, and a mask
    assert len(pickle.dumps(SparseOutlierRegressor(random_state=0).fit(X, y))) < 3000 * (4 * 8 + 1) + 10_000


def test_inputs_are_left_alone(data):
    X, y, _ = data
    frozen = X.copy(order="F"), y.copy()
    for array in frozen:
        array.flags.writeable = False
    for penalty in ("hard", "l1"):
        for coef_alpha in (0.0, 0.1):
            SparseOutlierRegressor(penalty, coef_alpha=coef_alpha, random_state=0).fit(*frozen)
    np.testing.assert_array_equal(frozen[0], X)


def test_sparse_needs_coef_alpha(data):
    X, y, _ = data
    with pytest.raises(ValueError, match=r"sparse.*coef_alpha"):
        SparseOutlierRegressor().fit(sparse.csr_matrix(X), y)
    X = X * (np.abs(X) > 5)
    dense = SparseOutlierRegressor("l1", alpha=2.5, coef_alpha=0.1, random_state=0).fit(X, y)
    model = SparseOutlierRegressor("l1", alpha=2.5, coef_alpha=0.1, random_state=0).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(
        model.score_outliers(sparse.csr_array(X), y), dense.score_outliers(X, y), rtol=1e-6, atol=1e-9
    )


def test_random_state_decides(data):
    X, y, _ = data
    a, b = (SparseOutlierRegressor(random_state=3).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(a.coef_, b.coef_)
    other = SparseOutlierRegressor(random_state=np.random.RandomState(3)).fit(X, y)
    np.testing.assert_array_equal(a.coef_, other.coef_)


def test_groups_reach_the_splitter(data):
    X, y, _ = data
    groups = np.arange(80) // 10
    model = SparseOutlierRegressorCV(coef_alphas=[0.1], alpha=3.0, cv=GroupKFold(4), random_state=0)
    assert model.fit(X, y, groups=groups).score_path_.shape == (1, 4)
    with pytest.raises(ValueError, match="colour"):
        model.fit(X, y, colour=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(model).set_params(cv=GroupKFold(4).set_split_request(groups=True))
        assert routed.fit(X, y, groups=groups).score_path_.shape == (1, 4)


BAD = {
    "penalty": ["l2", None],
    "alpha": [0.0, -1.0, np.nan, np.inf, "aic", None],
    "coef_alpha": [-0.1, np.nan, np.inf, "bic"],
    "init": ["median", None],
    "scale": [0.0, -1.0, np.nan, "mad"],
    "max_iter": [0, 2.5],
    "tol": [-1e-3, np.nan],
    "leverage_weights": ["yes"],
    "fit_intercept": ["no"],
    "refit": ["no"],
}
CASES = [(name, value) for name, values in BAD.items() for value in values]


@pytest.mark.parametrize("name, value", CASES, ids=str)
def test_bad_parameters(data, name, value):
    with pytest.raises(ValueError, match=f"'?{name}'? .*(?i:got)"):
        SparseOutlierRegressor(**{name: value}).fit(*data[:2])


@pytest.mark.parametrize(
    "params",
    [
        dict(alpha=[]),
        dict(alpha=[2.5, -1.0]),
        dict(alpha=["bic", "aic"]),
        dict(coef_alphas=0),
        dict(coef_alphas=[-1.0]),
        dict(coef_alphas=[]),
        dict(coef_alphas=[np.nan]),
        dict(eps=0.0),
        dict(eps=1.0),
        dict(scoring="r2"),
        dict(cv="five"),
    ],
    ids=str,
)
def test_bad_parameters_of_cross_validation(data, params):
    [name] = params
    with pytest.raises(ValueError, match=f"'?{name}'? .*(?i:got)"):
        SparseOutlierRegressorCV(**params).fit(*data[:2])


def test_bad_data(data):
    X, y, _ = data
    for bad in (np.nan, np.inf):
        broken = X.copy()
        broken[3, 1] = bad
        for fit in (SparseOutlierRegressor().fit, outlier_path, externally_studentized_residuals):
            with pytest.raises(ValueError, match="X contains"):
                fit(broken, y)
            with pytest.raises(ValueError, match="contains"):
                fit(X, np.where(np.arange(80) == 3, bad, y))
    for weights in (-np.ones(80), np.zeros(80), np.full(80, np.nan), np.ones(79)):
        for fit in (SparseOutlierRegressor().fit, outlier_path, externally_studentized_residuals):
            with pytest.raises(ValueError, match=r"(?i)sample[_ ]weight"):
                fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match=r"sample_weight counts rows.*got 1 for 80 rows"):
        SparseOutlierRegressor().fit(X, y, sample_weight=np.full(80, 1 / 80))
    with pytest.raises(ValueError, match="degrees of freedom"):
        externally_studentized_residuals(X[:6], y[:6])
    with pytest.raises(ValueError, match="alphas"):
        outlier_path(X, y, alphas=[1.0, 0.0])
    with pytest.raises(ValueError, match="1-d"):
        outlier_path(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="sparse"):
        outlier_path(sparse.csr_matrix(X), y)
    with pytest.raises(ValueError, match="fold 0"):
        splits = [(np.arange(40), np.arange(40, 80))]
        SparseOutlierRegressorCV(coef_alphas=[0.1], cv=splits).fit(X, y, sample_weight=np.arange(80) >= 40)
    with pytest.raises(ValueError, match="trim"):
        trimmed_mean_squared_error([1.0], [1.0], trim=1.0)
    with pytest.raises(ValueError, match="one column"):
        tau_scale(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(TypeError):
        SparseOutlierRegressor("hard", 2.5)


def test_a_scale_that_flags_everything_says_so(data):
    X, y, _ = data
    with pytest.warns(UserWarning, match=r"80 of 80 rows are flagged.*Increase alpha"):
        model = SparseOutlierRegressor(alpha=3.0, scale=1e-9, random_state=0).fit(X, y)
    assert np.isfinite(model.coef_).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SparseOutlierRegressor(scale=1e-9, random_state=0).fit(X, y).outlier_mask_.mean() < 0.5


# --- the display


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_sample_indices_follow_the_last_fit(data):
    X, y, _ = data
    model = SparseOutlierRegressor(random_state=0)
    assert not hasattr(model, "sample_indices_")
    kept, _ = model.fit_resample(X, y)
    np.testing.assert_array_equal(kept, X[model.sample_indices_])
    model.fit(X[:40], y[:40])
    np.testing.assert_array_equal(model.sample_indices_, np.flatnonzero(~model.outlier_mask_))


@pytest.mark.parametrize("penalty", ["l1", "hard"])
def test_display_of_an_estimator(data, pyplot, penalty):
    X, y, is_outlier = data
    model = SparseOutlierRegressor(penalty, random_state=0).fit(X, y)
    display = OutlierPathDisplay.from_estimator(model, X, y, max_labels=3, names=[f"row {i}" for i in range(80)])
    assert len(display.lines_) == model.outlier_mask_.sum() and display.figure_ is display.ax_.figure
    texts = [text.get_text() for text in display.ax_.texts]
    worst = np.argsort(-np.abs(model.gamma_))[:3]
    assert {f"row {i}" for i in worst} <= set(texts)
    line = display.lines_[0]
    np.testing.assert_allclose(np.abs(line.get_ydata()[-1]), np.abs(display.gammas.toarray()[:, -1]).max())
    assert "alpha" in display.ax_.get_xlabel() and "gamma" in display.ax_.get_ylabel()


def test_display_of_a_path(data, pyplot):
    X, y, _ = data
    path = outlier_path(X, y, random_state=0)
    _, ax = pyplot.subplots()
    display = OutlierPathDisplay.from_path(path, ax=ax)
    assert display.ax_ is ax and display.alpha == path.alphas[np.argmin(path.bic)]
    assert len(display.lines_) == (path.gammas[:, [int(np.argmin(path.bic))]].toarray() != 0).sum()
    nothing = OutlierPathDisplay(np.array([3.0, 2.0]), np.zeros((5, 2))).plot()
    assert nothing.lines_ == []


# --- generators


def test_generators():
    X, y, is_outlier = make_outlier_regression(
        50, 6, contamination=0.2, leverage=3.0, shift=7.0, noise=0.0, random_state=0
    )
    assert X.shape == (50, 6) and is_outlier.sum() == 10 and is_outlier[:10].all()
    assert np.all(X[is_outlier] == 3.0) and not np.any(X[~is_outlier] == 3.0)
    np.testing.assert_allclose(y, 7.0 * is_outlier)
    X, _, _ = make_outlier_regression(100_000, 4, contamination=0.0, random_state=0)
    np.testing.assert_allclose(np.cov(X.T) / 75, np.where(np.eye(4), 1, 0.5), atol=0.02)
    X, y, is_outlier = make_masking_outliers(random_state=0)
    assert X.shape == (75, 3) and is_outlier.sum() == 10
    assert X[:14].min() > 5 and X[14:].max() < 3 and y[is_outlier].min() > 9 and np.abs(y[~is_outlier]).max() < 1
    for function in (make_outlier_regression, make_masking_outliers):
        for left, right in zip(function(random_state=1), function(random_state=np.random.RandomState(1))):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "function, params, match",
    [
        (make_outlier_regression, dict(contamination=0.5), "contamination must be .* got 0.5"),
        (make_outlier_regression, dict(n_samples=0), "n_samples"),
        (make_outlier_regression, dict(noise=-1), "noise"),
        (make_outlier_regression, dict(correlation=1.0), "correlation"),
        (make_outlier_regression, dict(n_informative=99), "n_informative"),
        (make_outlier_regression, dict(leverage=np.inf), "leverage"),
        (make_masking_outliers, dict(n_bad=80), "n_bad"),
        (make_masking_outliers, dict(n_good=70), "n_good"),
        (make_masking_outliers, dict(noise=np.nan), "noise"),
    ],
)
def test_generators_refuse(function, params, match):
    with pytest.raises(ValueError, match=match):
        function(**params)


def test_demo_part(monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    demo = importlib.import_module("demo")
    monkeypatch.setattr(demo.find_parts()["outliers"], "N_SPLITS", 1)
    demo.main(["outliers", "--folder", str(tmp_path)])
    assert "skspar, hard" in capsys.readouterr().out
    pictures = sorted(picture.name for picture in tmp_path.glob("*.png"))
    assert pictures == ["outliers_methods.png", "outliers_path.png"]
