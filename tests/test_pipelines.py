"""Every estimator at work in scikit-learn: data frames, column transformers, searches, ensembles, routing, workers."""

import numpy as np
import pytest
import sklearn
from joblib import parallel_config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from skspar import (
    BPDN,
    BPDNCV,
    BasisPursuit,
    CleanLabelClassifier,
    GroupLasso,
    GroupLassoCV,
    GroupLassoIC,
    InstanceCredibilityClassifier,
    NoisyLabelDetector,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    PreconditionedLasso,
    RobustPairwiseRanker,
    SparseEncoder,
    SparseOutlierRegressor,
    SparseOutlierRegressorCV,
    SplitLBI,
    SplitLBIClassifier,
    SplitLBICV,
    kendall_tau_scorer,
    pairwise_accuracy_scorer,
    trusted_label_scorer,
)
from skspar.datasets import make_label_noise, make_pairwise_comparisons

pd = pytest.importorskip("pandas")


def column_of(names):
    """The column of the table that an encoded column comes from: "age_sp_2" -> "age"."""
    return [name.partition("_")[0] for name in names]


# estimator, and a grid of one of its parameters
REGRESSORS = {
    "GroupLasso": (GroupLasso(groups=column_of), {"alpha": [0.02, 10.0]}),
    "GroupLassoCV": (GroupLassoCV(groups=column_of, alphas=10, cv=3), {"selection_rule": ["min", "1se"]}),
    "GroupLassoIC": (GroupLassoIC(groups=column_of, alphas=10), {"criterion": ["aic", "bic"]}),
    "BPDN": (BPDN(), {"alpha": [0.02, 10.0]}),
    "BPDNCV": (BPDNCV(alphas=10, cv=3), {"selection_rule": ["min", "1se"]}),
    "OrthogonalMatchingPursuit": (OrthogonalMatchingPursuit(), {"n_nonzero_coefs": [1, 5]}),
    "OrthogonalMatchingPursuitCV": (OrthogonalMatchingPursuitCV(6, cv=3), {"criterion": ["omp", "ols"]}),
    "SparseOutlierRegressor": (SparseOutlierRegressor(random_state=0), {"penalty": ["hard", "l1"]}),
    "SparseOutlierRegressorCV": (
        SparseOutlierRegressorCV(alpha="bonferroni", coef_alphas=[1.0, 0.0], cv=2, init="ols", random_state=0),
        {"scoring": ["tau", "trimmed"]},
    ),
    "PreconditionedLasso": (PreconditionedLasso(), {"alpha": [0.02, 10.0]}),
    "SplitLBI": (SplitLBI(None), {"t_ratio": [1.5, 30.0]}),
    "SplitLBICV": (SplitLBICV(None, n_times=30, cv=3), {"nu": [None, 1.0]}),
}
CLASSIFIERS = {
    "SplitLBIClassifier": (SplitLBIClassifier(None), {"t_ratio": [1.5, 30.0]}),
    "SplitLBICV": (SplitLBICV(None, loss="logistic", n_times=30, cv=3), {"nu": [None, 1.0]}),
    "CleanLabelClassifier": (
        CleanLabelClassifier(LogisticRegression()),
        {"handle": ["drop", "weight", "relabel"]},
    ),
    "InstanceCredibilityClassifier": (
        InstanceCredibilityClassifier(LogisticRegression(), unlabeled_value="?"),
        {"step": [0.25, 1.0]},
    ),
}
every_regressor = pytest.mark.parametrize("name", REGRESSORS)
every_classifier = pytest.mark.parametrize("name", CLASSIFIERS)

CV = KFold(3, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def table():
    """Ages (a curve) and towns matter; incomes and colours do not."""
    rng = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame(
        {
            "age": rng.uniform(0, 3, n),
            "income": rng.normal(size=n),
            "town": rng.choice(["a", "b", "c"], n),
            "colour": rng.choice(["red", "green"], n),
        }
    )
    signal = 2 * np.sin(1.5 * frame["age"]) + 1.5 * (frame["town"] == "b")
    return frame, (signal + 0.1 * rng.normal(size=n)).rename("rent")


@pytest.fixture(scope="module")
def labelled(table):
    frame, y = table
    return frame, pd.Series(np.where(y > y.median(), "dear", "cheap"), name="kind")


def encoded(estimator):
    """A pipeline from the table to the estimator."""
    columns = make_column_transformer(
        (SplineTransformer(4, include_bias=False), ["age", "income"]),
        (OneHotEncoder(sparse_output=False, drop="if_binary"), ["town", "colour"]),
        verbose_feature_names_out=False,
    )
    pipe = Pipeline([("columns", columns), ("scale", StandardScaler()), ("model", clone(estimator))])
    return pipe.set_output(transform="pandas")


def unweighted(pipe):
    """Say for the steps before the model that weights are not theirs."""
    pipe.named_steps["columns"].transformers[0][1].set_fit_request(sample_weight=False)
    pipe.named_steps["scale"].set_fit_request(sample_weight=False)
    return pipe


def first(name):
    """A regressor at the first point of its grid."""
    est, params = REGRESSORS[name]
    return clone(est).set_params(**{key: values[0] for key, values in params.items()})


def grid(params):
    return {f"model__{name}": values for name, values in params.items()}


def partly(name, y):
    """Labels, of which half are missing where the classifier fills them in."""
    return y.where(np.arange(len(y)) % 2 == 0, "?") if name == "InstanceCredibilityClassifier" else y


# --- searches


@every_regressor
def test_grid_search_of_a_regressor(name, table):
    est, params = REGRESSORS[name]
    X, y = table
    search = GridSearchCV(encoded(est), grid(params), cv=CV, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8
    for k, chosen in enumerate(search.cv_results_["params"]):
        scores = [
            encoded(est).set_params(**chosen).fit(X.iloc[train], y.iloc[train]).score(X.iloc[test], y.iloc[test])
            for train, test in CV.split(X)
        ]
        assert search.cv_results_["mean_test_score"][k] == pytest.approx(np.mean(scores), abs=1e-9)
    model = search.best_estimator_[-1]
    assert model.feature_names_in_[0] == "age_sp_0" and "town_b" in model.feature_names_in_
    # a table with its columns in another order, and one more, is the same table
    again = search.predict(X[["colour", "town", "income", "age"]].assign(extra=0.0))
    np.testing.assert_array_equal(again, search.predict(X))


@every_classifier
def test_grid_search_of_a_classifier(name, labelled):
    est, params = CLASSIFIERS[name]
    X, y = labelled
    partial = partly(name, y)
    # rows without a label cannot be scored
    cv = list(StratifiedKFold(3).split(X, y))
    cv = [(train, test[partial.iloc[test].to_numpy() != "?"]) for train, test in cv]
    search = GridSearchCV(encoded(est), grid(params), cv=cv, error_score="raise").fit(X, partial)
    assert search.best_score_ > 0.85 and set(search.classes_) == {"dear", "cheap"}
    assert set(search.predict(X)) == {"dear", "cheap"}
    np.testing.assert_allclose(search.predict_proba(X).sum(axis=1), 1.0)
    best = encoded(est).set_params(**search.best_params_)
    scores = [best.fit(X.iloc[a], partial.iloc[a]).score(X.iloc[b], partial.iloc[b]) for a, b in cv]
    assert search.best_score_ == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("name", ["GroupLasso", "BPDN", "SparseOutlierRegressor", "SplitLBI"])
def test_halving_search(name, table):
    est, params = REGRESSORS[name]
    X, y = table
    search = HalvingGridSearchCV(
        encoded(est), grid(params), cv=3, factor=2, min_resources=60, random_state=0, error_score="raise"
    ).fit(X, y)
    assert search.n_resources_ == [60, 120]
    assert search.score(X, y) > 0.8


# --- model inspection and validation


@every_regressor
def test_cross_validate_and_importance(name, table):
    X, y = table
    pipe = encoded(first(name))
    scoring = ["r2", "neg_mean_absolute_error"]
    found = cross_validate(pipe, X, y, cv=CV, scoring=scoring, return_estimator=True, error_score="raise")
    for (train, test), model, r2 in zip(CV.split(X), found["estimator"], found["test_r2"]):
        expected = clone(pipe).fit(X.iloc[train], y.iloc[train]).predict(X.iloc[test])
        np.testing.assert_allclose(model.predict(X.iloc[test]), expected, atol=1e-9)
        assert r2 == pytest.approx(sklearn.metrics.r2_score(y.iloc[test], expected))
    # in the columns of the table, not of the encoding
    losses = permutation_importance(pipe.fit(X, y), X, y, n_repeats=5, random_state=0).importances_mean
    assert dict(zip(X.columns, losses))["age"] == losses.max() > 0.3
    assert losses[[1, 3]].max() < 0.1


@pytest.mark.parametrize("name", ["GroupLassoCV", "BPDN", "OrthogonalMatchingPursuitCV", "SparseOutlierRegressor"])
def test_learning_curve(name, table):
    X, y = table
    sizes, train, test = learning_curve(encoded(first(name)), X, y, cv=CV, train_sizes=[0.4, 1.0], error_score="raise")
    assert sizes.tolist() == [32, 80] and train.shape == test.shape == (2, 3)
    assert test[1].mean() > 0.8 and test[1].mean() > test[0].mean() - 0.01


# --- ensembles


def test_voting_and_stacking_of_regressors(table):
    X, y = table
    names = ["GroupLassoCV", "BPDNCV", "SparseOutlierRegressor", "SplitLBICV"]
    members = [(name, encoded(first(name))) for name in names]
    voting = VotingRegressor(members).fit(X, y)
    expected = np.mean([clone(member).fit(X, y).predict(X) for _, member in members], axis=0)
    np.testing.assert_allclose(voting.predict(X), expected, atol=1e-9)
    stacking = StackingRegressor(members, final_estimator=GroupLasso(alpha=1e-3, positive=True), cv=3).fit(X, y)
    assert stacking.score(X, y) > 0.95 and stacking.final_estimator_.n_features_in_ == 4
    # it hands arrays to its members, so the table is encoded before
    bagging = encoded(BaggingRegressor(GroupLasso(alpha=0.02), n_estimators=3, random_state=0)).fit(X, y)
    assert bagging.score(X, y) > 0.9


def test_voting_and_stacking_of_classifiers(labelled):
    X, y = labelled
    members = [(name, encoded(est)) for name, (est, _) in CLASSIFIERS.items() if not name.startswith("Instance")]
    voting = VotingClassifier(members, voting="soft").fit(X, y)
    expected = np.mean([clone(member).fit(X, y).predict_proba(X) for _, member in members], axis=0)
    np.testing.assert_allclose(voting.predict_proba(X), expected, atol=1e-9)
    stacking = StackingClassifier(members, final_estimator=SplitLBIClassifier(None), cv=3).fit(X, y)
    assert stacking.score(X, y) > 0.9
    calibrated = CalibratedClassifierCV(encoded(SplitLBIClassifier(None)), cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.9


def test_one_model_a_target_or_class(table):
    X, y = table
    Y = np.column_stack([y, -2.0 * y])
    several = MultiOutputRegressor(encoded(SparseOutlierRegressor(random_state=0))).fit(X, Y)
    np.testing.assert_allclose(several.predict(X)[:, 1], -2.0 * several.predict(X)[:, 0], atol=1e-8)
    kinds = pd.cut(y, 3, labels=["low", "middle", "high"]).astype(str)
    one_by_one = OneVsRestClassifier(encoded(SplitLBIClassifier(None))).fit(X, kinds)
    assert one_by_one.score(X, kinds) > 0.8


# --- sparse encodings and other frames


@pytest.mark.parametrize("name", ["GroupLasso", "GroupLassoCV", "BPDN", "OrthogonalMatchingPursuit", "SplitLBI"])
def test_sparse_encoding(name, table):
    est = first(name)
    if "groups" in est.get_params():
        est.set_params(groups=None)
    X, y = table
    columns, scores = ["town", "colour"], []
    for sparse_output in (True, False):
        encode = make_column_transformer(
            (OneHotEncoder(sparse_output=sparse_output), columns), ("passthrough", ["age"]), sparse_threshold=1.0
        )
        scores.append(cross_val_score(make_pipeline(encode, clone(est)), X, y, cv=CV, error_score="raise"))
    np.testing.assert_allclose(*scores, atol=1e-5)


def test_polars(table):
    polars = pytest.importorskip("polars")
    X, y = table
    theirs = encoded(GroupLassoCV(groups=column_of, alphas=10, cv=3)).set_output(transform="polars")
    search = GridSearchCV(theirs, {"columns__splinetransformer__n_knots": [3, 5]}, cv=CV, error_score="raise")
    search.fit(polars.DataFrame(X.to_dict(orient="list")), polars.Series(y.to_list()))
    ours = encoded(GroupLassoCV(groups=column_of, alphas=10, cv=3)).set_params(**search.best_params_).fit(X, y)
    np.testing.assert_allclose(search.best_estimator_[-1].coef_, ours[-1].coef_, atol=1e-8)
    assert search.best_estimator_[-1].active_groups_ == ours[-1].active_groups_


# --- sample weights and row groups


@every_regressor
def test_weights_by_step_name(name, table):
    """Without metadata routing."""
    est = first(name)
    X, y = table
    weights = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    pipe = encoded(est).fit(X, y, model__sample_weight=weights)
    direct = clone(est).fit(pipe[:-1].transform(X), y, sample_weight=weights)
    np.testing.assert_array_equal(pipe.predict(X), direct.predict(pipe[:-1].transform(X)))
    assert not np.allclose(pipe.predict(X), encoded(est).fit(X, y).predict(X))


@every_regressor
def test_weights_by_routing(name, table):
    est, params = REGRESSORS[name]
    X, y = table
    weights = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = first(name).set_fit_request(sample_weight=True)
        pipe = unweighted(encoded(asking))
        options = dict(cv=CV, scoring=get_scorer("r2").set_score_request(sample_weight=True), error_score="raise")
        found = cross_validate(pipe, X, y, params={"sample_weight": weights}, **options)
        search = GridSearchCV(pipe, grid(params), **options).fit(X, y, sample_weight=weights)
    for (train, test), score in zip(CV.split(X), found["test_score"]):
        prepare = encoded(est)[:-1].fit(X.iloc[train])
        model = first(name).fit(prepare.transform(X.iloc[train]), y.iloc[train], sample_weight=weights[train])
        expected = model.score(prepare.transform(X.iloc[test]), y.iloc[test], sample_weight=weights[test])
        assert score == pytest.approx(expected)
    assert search.cv_results_["mean_test_score"][0] == pytest.approx(found["test_score"].mean())


@pytest.mark.parametrize(
    "name", ["GroupLassoCV", "BPDNCV", "OrthogonalMatchingPursuitCV", "SplitLBICV", "SparseOutlierRegressorCV"]
)
@pytest.mark.parametrize("routing", [False, True])
def test_row_groups_reach_the_inner_splitter(name, routing, table):
    est = clone(REGRESSORS[name][0]).set_params(cv=GroupKFold(3))
    X, y = table
    rows = np.random.default_rng(1).permutation(np.repeat(np.arange(12), 10))
    key = "groups" if routing else "model__groups"
    with sklearn.config_context(enable_metadata_routing=routing):
        pipe = encoded(est).fit(X, y, **{key: rows})
    Z = pipe[:-1].transform(X)
    explicit = clone(est).set_params(cv=list(GroupKFold(3).split(Z, y, rows))).fit(Z, y)
    np.testing.assert_array_equal(pipe.predict(X), explicit.predict(Z))
    if routing:
        with sklearn.config_context(enable_metadata_routing=True):
            nested = cross_validate(encoded(est), X, y, cv=GroupKFold(2), params={"groups": rows}, error_score="raise")
        for (train, test), score in zip(GroupKFold(2).split(X, y, rows), nested["test_score"]):
            inner = encoded(est)
            with sklearn.config_context(enable_metadata_routing=True):
                inner.fit(X.iloc[train], y.iloc[train], groups=rows[train])
            assert score == pytest.approx(inner.score(X.iloc[test], y.iloc[test]))


def test_weights_through_the_cleaning_classifier(labelled):
    X, y = labelled
    weights = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = CleanLabelClassifier(
            LogisticRegression().set_fit_request(sample_weight=True),
            detector=NoisyLabelDetector(cut="threshold", random_state=0).set_fit_request(sample_weight=True),
        )
        pipe = unweighted(encoded(model))
        pipe.fit(X, y, sample_weight=weights)
        Z = pipe[:-1].transform(X)
        direct = clone(model).fit(Z, y, sample_weight=weights)
    np.testing.assert_array_equal(pipe.predict_proba(X), direct.predict_proba(Z))
    plain = CleanLabelClassifier(LogisticRegression(), detector=NoisyLabelDetector(cut="threshold", random_state=0))
    assert not np.allclose(encoded(plain).fit(X, y).predict_proba(X), pipe.predict_proba(X))


# --- labels, codes, comparisons


def test_cleaning_in_a_search(labelled):
    X, y = labelled
    noisy, _ = make_label_noise(y.to_numpy(), rate=0.15, random_state=0)
    model = CleanLabelClassifier(LogisticRegression(), detector=NoisyLabelDetector(cut="threshold", random_state=0))
    params = {"model__estimator__C": [0.01, 1.0], "model__detector__level": [0.3, 0.6]}
    scorers = {"trusted": trusted_label_scorer(), "all": "accuracy"}
    search = GridSearchCV(encoded(model), params, cv=CV, scoring=scorers["all"], error_score="raise").fit(X, noisy)
    assert search.score(X, y) > 0.85
    judge = encoded(NoisyLabelDetector(random_state=0))
    Z = judge[:-1].fit_transform(X)
    trusted = trusted_label_scorer(detector=NoisyLabelDetector(random_state=0).fit(Z, noisy))
    search = GridSearchCV(model, {"estimator__C": [0.01, 1.0]}, cv=CV, scoring=trusted, error_score="raise")
    # rows with wrong labels do not count as errors
    assert search.fit(Z, noisy).best_score_ > cross_val_score(search.best_estimator_, Z, noisy, cv=CV).mean() + 0.05


def test_sparse_codes_as_features():
    X, y = load_digits(n_class=4, return_X_y=True)
    X, y = X[:300] / 16.0, y[:300]
    pipe = make_pipeline(SparseEncoder(n_nonzero_coefs=2, random_state=0), LogisticRegression(max_iter=500))
    pipe.set_output(transform="pandas")
    params = {"sparseencoder__n_nonzero_coefs": [1, 8], "sparseencoder__n_components": [30]}
    search = GridSearchCV(pipe, params, cv=3, error_score="raise").fit(pd.DataFrame(X).add_prefix("pixel"), y)
    assert search.best_score_ > 0.95
    assert search.best_estimator_[-1].feature_names_in_[0] == "sparseencoder0"


@pytest.mark.parametrize("routing", [False, True])
def test_ranking_of_named_items(routing):
    data = make_pairwise_comparisons(8, 300, outlier_fraction=0.15, n_annotators=6, random_state=0)
    names = np.array(list("abcdefgh"))
    frame = pd.DataFrame(names[data.X], columns=["left", "right"])
    truth = kendall_tau_scorer(dict(zip(names, data.scores)))
    with sklearn.config_context(enable_metadata_routing=routing):
        ranker = RobustPairwiseRanker(items=names)
        if routing:
            ranker.set_fit_request(annotators=True)
            ranker.set_params(annotator_effects="group")
        search = GridSearchCV(
            ranker, {"contamination": [0.0, 0.15]}, cv=CV, scoring=pairwise_accuracy_scorer, error_score="raise"
        ).fit(frame, data.y, **({"annotators": data.annotators} if routing else {}))
        assert search.best_score_ > 0.75
    assert set(search.best_estimator_.items_) == set(names)
    assert truth(search.best_estimator_, frame, data.y) > 0.8


# --- workers


@pytest.mark.parametrize("name", REGRESSORS)
def test_threads(name, table):
    est, params = REGRESSORS[name]
    X, y = table
    if "n_jobs" in est.get_params():
        est = clone(est).set_params(n_jobs=2)  # threads in threads
    alone = GridSearchCV(encoded(REGRESSORS[name][0]), grid(params), cv=CV, error_score="raise").fit(X, y)
    with parallel_config(backend="threading", n_jobs=2):
        together = GridSearchCV(encoded(est), grid(params), cv=CV, error_score="raise").fit(X, y)
    np.testing.assert_allclose(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], atol=1e-9)


def test_processes(table):
    """All estimators in one search, so that workers start once."""
    X, y = table
    candidates = {"model": [clone(est) for est, _ in REGRESSORS.values()]}
    alone = GridSearchCV(encoded(Ridge()), candidates, cv=CV, error_score="raise").fit(X, y)
    with parallel_config(backend="loky", n_jobs=2):
        together = GridSearchCV(encoded(Ridge()), candidates, cv=CV, error_score="raise").fit(X, y)
    np.testing.assert_allclose(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], atol=1e-9)


def test_basis_pursuit_in_a_pipeline(rng):
    """More columns than rows, which the table has not: equality can hold."""
    n, p = 40, 60
    frame = pd.DataFrame(rng.normal(size=(n, p))).add_prefix("x")
    y = 2.0 * frame["x3"] - frame["x11"]
    pipe = make_pipeline(StandardScaler(), BasisPursuit(fit_intercept=True)).set_output(transform="pandas")
    search = GridSearchCV(pipe, {"basispursuit__tol": [1e-8, 1e-4]}, cv=CV, error_score="raise")
    assert search.fit(frame, y).best_score_ > 0.999
    kept = search.best_estimator_[-1].feature_names_in_[np.abs(search.best_estimator_[-1].coef_) > 1e-6]
    assert kept.tolist() == ["x3", "x11"]
