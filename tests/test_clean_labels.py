"""CleanLabelClassifier cleans in fit only, keeps every class, and is a scikit-learn meta-estimator in every respect."""

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, load_wine, make_blobs
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from skspar import CleanLabelClassifier, NoisyLabelDetector, trusted_label_scorer
from skspar._weights import check_weights
from skspar.datasets import make_label_noise


class Scripted(BaseEstimator):
    """A detector that flags the rows whose first feature is negative, and remembers what it was given."""

    def __init__(self, level=0.5, suggest=None):
        self.level = level
        self.suggest = suggest

    def fit(self, X, y):
        first = np.asarray(X.toarray() if sparse.issparse(X) else X)[:, 0].astype(float)
        self.label_issues_mask_ = first < 0
        self.label_quality_ = np.where(first < 0, 0.25, 1.0)
        labels = np.unique(y)
        self.suggested_labels_ = np.where(first < 0, labels[0] if self.suggest is None else self.suggest, y)
        self.n_fitted_ = len(y)
        return self

    def score_labels(self, X, y):
        return np.where(np.asarray(X)[:, 0] < 0, 0.25, 1.0)


class Weighted(Scripted):
    """The same with weights."""

    def fit(self, X, y, sample_weight=None):
        self.weights_ = sample_weight
        return super().fit(X, y)


class Recorder(ClassifierMixin, BaseEstimator):
    """A classifier that remembers what it was fitted on."""

    def fit(self, X, y, sample_weight=None, colour=None):
        self.X_, self.y_, self.weights_, self.colour_ = X, y, sample_weight, colour
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.fixture
def data():
    X, y = make_blobs(60, 3, centers=3, cluster_std=2.0, random_state=0)
    X[:, 0] = np.where(np.arange(60) % 6 == 0, -1.0, 1.0)
    return X, y


# --- scikit-learn's checks


class NearestCentroidDetector(BaseEstimator):
    """A quick detector that is a scikit-learn estimator in every respect."""

    def fit(self, X, y, sample_weight=None):
        X, y = validate_data(self, X, y, accept_sparse="csr")
        weights = check_weights(sample_weight, X)
        self.classes_ = np.unique(y)
        members = (y[:, None] == self.classes_) * weights[:, None]
        self.centroids_ = (X.T @ members / np.maximum(members.sum(axis=0), 1e-12)).T
        distances = (self.centroids_**2).sum(axis=1) - 2.0 * (X @ self.centroids_.T)
        own = distances[np.arange(len(y)), np.searchsorted(self.classes_, y)]
        self.label_quality_ = 1.0 / (1.0 + np.maximum(own - distances.min(axis=1), 0.0))
        self.label_issues_mask_ = self.label_quality_ < 0.1
        self.suggested_labels_ = self.classes_[distances.argmin(axis=1)]
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


QUICK = NearestCentroidDetector()
ESTIMATORS = [
    CleanLabelClassifier(LogisticRegression()),
    # a scaler would not get the weights
    CleanLabelClassifier(make_pipeline(FunctionTransformer(), LogisticRegression()), detector=QUICK, handle="relabel"),
    CleanLabelClassifier(GaussianNB(), detector=QUICK, handle="weight"),
    CleanLabelClassifier(RidgeClassifier(), detector=QUICK),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


LEFT_OUT = [
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_readonly_memmap_input",
    "check_estimator_repr",
    "check_estimator_cloneable",
    "check_param_validation",
]


@pytest.mark.parametrize("name", [name for name in LEFT_OUT if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("estimator", ESTIMATORS[::2], ids=str)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    pytest.importorskip("pandas")
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


# --- what each handle does


def test_drop(data):
    X, y = data
    model = CleanLabelClassifier(Recorder(), detector=Scripted()).fit(X, y)
    kept = X[:, 0] >= 0
    np.testing.assert_array_equal(model.estimator_.X_, X[kept])
    np.testing.assert_array_equal(model.estimator_.y_, y[kept])
    assert model.estimator_.weights_ is None and model.detector_.n_fitted_ == 60
    weights = np.arange(60.0)
    model.fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.estimator_.weights_, weights[kept])


def test_relabel(data):
    X, y = data
    before = y.copy()
    model = CleanLabelClassifier(Recorder(), detector=Scripted(suggest=2), handle="relabel").fit(X, y)
    np.testing.assert_array_equal(model.estimator_.y_, np.where(X[:, 0] < 0, 2, y))
    np.testing.assert_array_equal(y, before)
    assert model.estimator_.X_ is X or np.shares_memory(model.estimator_.X_, X)


def test_relabel_does_not_cut_strings(data):
    X, y = data
    y = np.array(["a", "b", "a longer name"])[y]
    model = CleanLabelClassifier(Recorder(), detector=Scripted(suggest="a longer name"), handle="relabel")
    assert set(model.fit(X, y).estimator_.y_[X[:, 0] < 0]) == {"a longer name"}


def test_weight(data):
    X, y = data
    model = CleanLabelClassifier(Recorder(), detector=Weighted(), handle="weight").fit(X, y)
    quality = np.where(X[:, 0] < 0, 0.25, 1.0)
    np.testing.assert_array_equal(model.estimator_.weights_, quality)
    assert model.detector_.weights_ is None
    weights = np.arange(60.0)
    model.fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.estimator_.weights_, quality * weights)
    np.testing.assert_array_equal(model.detector_.weights_, weights)


def test_weight_in_a_pipeline_goes_to_the_last_step(data):
    X, y = data
    inner = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Recorder()))
    model = CleanLabelClassifier(inner, detector=Scripted(), handle="weight").fit(X, y)
    np.testing.assert_array_equal(model.estimator_[-1][-1].weights_, np.where(X[:, 0] < 0, 0.25, 1.0))


@pytest.mark.parametrize("inner", [KNeighborsClassifier(), make_pipeline(StandardScaler(), KNeighborsClassifier())])
def test_an_estimator_without_weights_is_refused(data, inner):
    with pytest.raises(ValueError, match=r"KNeighborsClassifier takes no sample_weight.*handle='drop'"):
        CleanLabelClassifier(inner, detector=Scripted(), handle="weight").fit(*data)
    with pytest.raises(ValueError, match=r"KNeighborsClassifier takes no sample_weight"):
        CleanLabelClassifier(inner, detector=Scripted()).fit(*data, sample_weight=np.ones(60))
    assert CleanLabelClassifier(inner, detector=Scripted()).fit(*data).score(*data) > 0.5


def test_nothing_flagged_is_the_inner_fit():
    X, y = make_blobs(60, 3, random_state=0)
    X = np.abs(X)
    plain = LogisticRegression().fit(X, y)
    for handle in ("drop", "weight", "relabel"):
        model = CleanLabelClassifier(LogisticRegression(), detector=Scripted(), handle=handle).fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
        np.testing.assert_array_equal(model.decision_function(X), plain.decision_function(X))


# --- every training class stays


@pytest.fixture(params=[str, int])
def lost(request, data):
    """The class in the middle is flagged altogether."""
    X, y = data
    X = X.copy()
    X[:, 0] = np.where(y == 1, -1.0, 1.0)
    return X, np.array(["x", "y", "z"])[y] if request.param is str else 10 * y


def test_a_class_that_cleaning_removes(lost):
    X, y = lost
    for inner in (LogisticRegression(), GaussianNB(), RandomForestClassifier(5)):
        model = CleanLabelClassifier(inner, detector=Scripted()).fit(X, y)
        np.testing.assert_array_equal(model.classes_, np.unique(y))
        assert len(model.estimator_.classes_) == 2
        proba = model.predict_proba(X)
        assert proba.shape == (60, 3) and np.all(proba[:, 1] == 0)
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        np.testing.assert_array_equal(proba[:, [0, 2]], model.estimator_.predict_proba(X))
        log_proba = model.predict_log_proba(X)
        assert np.all(log_proba[:, 1] == -np.inf)
        np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))
    model = CleanLabelClassifier(LogisticRegression(), detector=Scripted()).fit(X, y)
    decision = model.decision_function(X)
    assert decision.shape == (60, 3) and np.all(decision[:, 1] == -np.inf)
    np.testing.assert_array_equal(decision[:, 2], model.estimator_.decision_function(X))
    np.testing.assert_array_equal(model.classes_[decision.argmax(axis=1)], model.predict(X))


def test_decision_function_of_four_classes_of_which_one_is_lost():
    X, y = make_blobs(80, 3, centers=4, random_state=0)
    X[:, 0] = np.where(y == 2, -1.0, 1.0)
    model = CleanLabelClassifier(LogisticRegression(), detector=Scripted()).fit(X, y)
    decision = model.decision_function(X)
    np.testing.assert_array_equal(decision[:, [0, 1, 3]], model.estimator_.decision_function(X))
    assert np.all(decision[:, 2] == -np.inf)
    X, y = make_blobs(100, 3, centers=5, random_state=0)
    X[:, 0] = np.where(y == 2, -1.0, 1.0)
    pairs = CleanLabelClassifier(SVC(decision_function_shape="ovo"), detector=Scripted()).fit(X, y)
    with pytest.raises(ValueError, match=r"SVC has 6 columns for 4 classes.*'ovr'"):
        pairs.decision_function(X)


@pytest.mark.parametrize("handle", ["drop", "relabel"])
def test_cleaning_that_would_leave_one_class_says_so(data, handle):
    X, y = data
    X = X.copy()
    plain = LogisticRegression().fit
    for flagged, left in ((y > 0, r"1 of 3 classes: \[0\]"), (y >= 0, "[01] of 3 classes")):
        X[:, 0] = np.where(flagged, -1.0, 1.0)
        model = CleanLabelClassifier(LogisticRegression(), detector=Scripted(), handle=handle)
        with pytest.warns(UserWarning, match=rf"handle='{handle}' would leave {left}.*all rows.*Scripted.*fewer rows"):
            model.fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), plain(X, y).predict_proba(X))


def test_a_class_without_weight(data):
    X, y = data
    classes = np.unique(y)
    quality = np.where(y == classes[0], 0.0, 1.0)
    model = CleanLabelClassifier(LogisticRegression(), detector=broken(label_quality_=quality), handle="weight")
    probabilities = model.fit(X, y).predict_proba(X)
    assert np.all(probabilities[:, 0] == 0.0) and len(model.classes_) == len(classes)
    same = LogisticRegression().fit(X[y != classes[0]], y[y != classes[0]])
    np.testing.assert_allclose(probabilities[:, 1:], same.predict_proba(X), atol=1e-6)


def test_weights_that_would_leave_no_class(data):
    model = CleanLabelClassifier(Recorder(), detector=broken(label_quality_=np.zeros(60)), handle="weight")
    with pytest.warns(UserWarning, match="would leave 0 of 3 classes"):
        model.fit(*data)
    assert model.estimator_.weights_ is None


def test_probabilities_in_cross_validation_have_a_column_for_each_class(data):
    X, y = data
    X = X.copy()
    X[:, 0] = np.where((y == 1) & (np.arange(60) > 5), -1.0, 1.0)
    model = CleanLabelClassifier(LogisticRegression(), detector=Scripted())
    assert cross_val_predict(model, X, y, cv=3, method="predict_proba").shape == (60, 3)
    scores = cross_val_score(model, X, y, cv=3, scoring="roc_auc_ovr")
    assert np.isfinite(scores).all()


# --- a scikit-learn citizen


def test_grid_search_over_detector_and_inner_estimator():
    X, y = load_wine(return_X_y=True)
    noisy, is_wrong = make_label_noise(y, rate=0.2, random_state=0)
    model = make_pipeline(
        StandardScaler(), CleanLabelClassifier(LogisticRegression(), detector=NoisyLabelDetector(cut="threshold"))
    )
    grid = {
        "cleanlabelclassifier__detector__level": [0.3, 0.6],
        "cleanlabelclassifier__estimator__C": [0.1, 1.0],
    }
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, noisy)
    assert len(search.cv_results_["params"]) == 4
    assert search.score(X, y) > 0.9


def test_held_out_rows_are_left_alone():
    """Cleaning in fit only: the detector never sees a held-out row, and each of them is scored."""
    X, y = make_blobs(60, 3, random_state=0)
    found = cross_validate(
        CleanLabelClassifier(LogisticRegression(), detector=Scripted()), X, y, cv=3, return_estimator=True
    )
    assert [model.detector_.n_fitted_ for model in found["estimator"]] == [40, 40, 40]


@pytest.mark.newest
def test_training_on_the_rest_is_better_than_training_on_all():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    gains = []
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(178)
        train, test = rows[:120], rows[120:]
        noisy, _ = make_label_noise(y[train], rate=0.4, random_state=seed)
        inner = LogisticRegression()
        plain = inner.fit(X[train], noisy).score(X[test], y[test])
        gains.append(CleanLabelClassifier(inner).fit(X[train], noisy).score(X[test], y[test]) - plain)
    assert np.mean(gains) > 0


def test_methods_are_those_of_the_inner_estimator(data):
    X, y = data
    for inner, has, lacks in [
        (LogisticRegression(), ["predict_proba", "predict_log_proba", "decision_function"], []),
        (Perceptron(), ["decision_function"], ["predict_proba", "predict_log_proba"]),
        (KNeighborsClassifier(), ["predict_proba"], ["decision_function", "predict_log_proba"]),
    ]:
        model = CleanLabelClassifier(inner, detector=Scripted())
        for _ in range(2):
            assert all(hasattr(model, name) for name in has) and not any(hasattr(model, name) for name in lacks)
            model.fit(X, y)


def test_tags():
    assert get_tags(
        CleanLabelClassifier(LogisticRegression(), detector=NoisyLabelDetector(cut="threshold"))
    ).input_tags.sparse
    assert not get_tags(CleanLabelClassifier(GaussianNB(), detector=NoisyLabelDetector())).input_tags.sparse
    assert not get_tags(CleanLabelClassifier(LogisticRegression(), detector=Scripted())).input_tags.sparse
    assert get_tags(CleanLabelClassifier(LogisticRegression())).estimator_type == "classifier"
    nan = CleanLabelClassifier(HistGradientBoostingClassifier(), detector=NoisyLabelDetector())
    assert not get_tags(nan).input_tags.allow_nan  # the detector takes none


def test_string_labels_and_sparse_rows():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    for labels in (names, names.astype(object)):
        for handle in ("drop", "weight", "relabel"):
            model = CleanLabelClassifier(LogisticRegression(max_iter=1000), handle=handle)
            dense = model.fit(X, labels).predict(X)
            assert set(dense) <= set(names) and np.mean(dense == labels) > 0.9
    for kind in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        model = CleanLabelClassifier(LogisticRegression(max_iter=1000), detector=Scripted()).fit(kind(X), names)
        assert model.score(kind(X), names) > 0.9


def test_float32():
    X, y = load_iris(return_X_y=True)
    model = CleanLabelClassifier(LogisticRegression(max_iter=1000), detector=Scripted())
    X = X.astype(np.float32)
    # newer releases of scikit-learn keep float32 here
    assert model.fit(X, y).predict_proba(X).dtype == model.estimator.fit(X, y).predict_proba(X).dtype
    assert CleanLabelClassifier(Recorder(), detector=Scripted()).fit(X, y).estimator_.X_.dtype == np.float32


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(data, library):
    frames = pytest.importorskip(library)
    X, y = data
    frame = frames.DataFrame({f"x{j}": X[:, j] for j in range(3)})
    names = np.array(["a", "b", "c"])[y]
    labels = frames.Series(names, name="y") if library == "pandas" else frames.Series("y", names)
    model = CleanLabelClassifier(LogisticRegression(), detector=Scripted()).fit(frame, labels)
    assert model.feature_names_in_.tolist() == ["x0", "x1", "x2"] and model.n_features_in_ == 3
    assert set(model.predict(frame)) <= {"a", "b", "c"}
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["x1", "x0", "x2"]])
    if library == "polars":  # which older releases of ColumnTransformer do not take
        return
    # columns that only the inner pipeline understands reach it
    mixed = frames.DataFrame({"x0": X[:, 0], "kind": np.where(y > 0, "u", "v")})
    encoder = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    inner = make_pipeline(encoder, LogisticRegression())
    scored = CleanLabelClassifier(inner, detector=Scripted()).fit(mixed, labels).score(mixed, labels)
    assert scored > 0.5


def test_pickle(data):
    X, y = data
    model = CleanLabelClassifier(LogisticRegression()).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_parameters_are_not_changed(data):
    inner, detector = LogisticRegression(), Scripted()
    CleanLabelClassifier(inner, detector=detector).fit(*data)
    assert not hasattr(inner, "classes_") and not hasattr(detector, "label_quality_")


# --- metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_metadata_reach_who_requests_them(data, routing):
    X, y = data
    weights, colour = np.arange(60.0), np.arange(60) % 7
    kept = X[:, 0] >= 0
    inner = Recorder().set_fit_request(sample_weight=True, colour=True)
    detector = Weighted().set_fit_request(sample_weight=False)
    model = CleanLabelClassifier(inner, detector=detector).fit(X, y, sample_weight=weights, colour=colour)
    np.testing.assert_array_equal(model.estimator_.weights_, weights[kept])
    np.testing.assert_array_equal(model.estimator_.colour_, colour[kept])
    assert model.detector_.weights_ is None
    detector = Weighted().set_fit_request(sample_weight=True)
    inner = Recorder().set_fit_request(sample_weight=False)
    model = CleanLabelClassifier(inner, detector=detector).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.detector_.weights_, weights)
    assert model.estimator_.weights_ is None
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        CleanLabelClassifier(Recorder(), detector=detector).fit(X, y, sample_weight=weights)


def test_quality_weights_need_no_request(data, routing):
    X, y = data
    quality = np.where(X[:, 0] < 0, 0.25, 1.0)
    model = CleanLabelClassifier(Recorder(), detector=Scripted(), handle="weight").fit(X, y)
    np.testing.assert_array_equal(model.estimator_.weights_, quality)
    with pytest.raises(ValueError, match="set_fit_request"):
        CleanLabelClassifier(make_pipeline(Recorder()), detector=Scripted(), handle="weight").fit(X, y)
    inner = make_pipeline(StandardScaler(), Recorder().set_fit_request(sample_weight=True))
    inner[0].set_fit_request(sample_weight=False)
    model = CleanLabelClassifier(inner, detector=Scripted(), handle="weight").fit(X, y)
    np.testing.assert_array_equal(model.estimator_[-1].weights_, quality)
    weights = np.arange(60.0)
    model.fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.estimator_[-1].weights_, quality * weights)


def test_weights_in_cross_validation(data, routing):
    X, y = data
    model = CleanLabelClassifier(Recorder().set_fit_request(sample_weight=True), detector=Scripted())
    model.set_score_request(sample_weight=True)
    found = cross_validate(model, X, y, cv=3, params={"sample_weight": np.arange(60.0)}, return_estimator=True)
    assert all(len(model.estimator_.weights_) == len(model.estimator_.y_) for model in found["estimator"])
    assert not hasattr(model, "set_fit_request") or "sample_weight" not in str(model._get_metadata_request().fit)


def test_extra_parameters_need_routing(data):
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        CleanLabelClassifier(Recorder(), detector=Scripted()).fit(*data, colour=np.ones(60))


# --- scores on trusted rows


def test_scorer_of_the_fitted_detector(data):
    X, y = data
    model = CleanLabelClassifier(LogisticRegression(), detector=Scripted()).fit(X, y)
    trusted = X[:, 0] >= 0
    scorer = trusted_label_scorer()
    assert scorer(model, X, y) == pytest.approx(model.score(X[trusted], y[trusted]))
    weights = np.random.default_rng(0).uniform(size=60)
    expected = model.score(X[trusted], y[trusted], sample_weight=weights[trusted])
    assert scorer(model, X, y, sample_weight=weights) == pytest.approx(expected)
    assert trusted_label_scorer(min_quality=0.2)(model, X, y) == pytest.approx(model.score(X, y))
    piped = make_pipeline(StandardScaler(with_mean=False), model).fit(X, y)
    assert scorer(piped, X, y) == pytest.approx(piped.score(X[trusted], y[trusted]))
    search = GridSearchCV(piped, {"cleanlabelclassifier__estimator__C": [1.0]}, cv=2, scoring=scorer).fit(X, y)
    assert scorer(search, X, y) == pytest.approx(search.best_estimator_.score(X[trusted], y[trusted]))


def test_scorer_with_a_detector_of_its_own(data):
    X, y = data
    trusted = X[:, 0] >= 0
    plain = LogisticRegression().fit(X, y)
    scorer = trusted_label_scorer("neg_log_loss", detector=Scripted().fit(X, y))
    expected = sklearn.metrics.get_scorer("neg_log_loss")(plain, X[trusted], y[trusted])
    assert scorer(plain, X, y) == pytest.approx(expected)
    assert np.isfinite(cross_val_score(plain, X, y, scoring=scorer)).all()
    again = pickle.loads(pickle.dumps(scorer))
    assert again(plain, X, y) == scorer(plain, X, y) and "log_loss" in repr(scorer)


@pytest.mark.newest
def test_trusted_scores_are_nearer_the_truth():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    errors = {"plain": [], "trusted": [], "own": []}
    for seed in range(4):
        rows = np.random.default_rng(seed).permutation(178)
        noisy, _ = make_label_noise(y, rate=0.2, random_state=seed)
        train, test = rows[:120], rows[120:]
        model = CleanLabelClassifier(LogisticRegression()).fit(X[train], noisy[train])
        truth = model.score(X[test], y[test])
        errors["plain"].append(model.score(X[test], noisy[test]) - truth)
        errors["trusted"].append(trusted_label_scorer()(model, X[test], noisy[test]) - truth)
        own = trusted_label_scorer(detector=NoisyLabelDetector(cut="threshold").fit(X, noisy))
        errors["own"].append(own(model, X[test], noisy[test]) - truth)
    off = {name: np.mean(np.abs(values)) for name, values in errors.items()}
    assert off["trusted"] < 0.5 * off["plain"] and off["own"] < 0.5 * off["plain"]


def test_scorer_in_a_search_with_routed_weights(data, routing):
    X, y = data
    inner = LogisticRegression().set_fit_request(sample_weight=True)
    scoring = sklearn.metrics.get_scorer("accuracy").set_score_request(sample_weight=True)
    model = CleanLabelClassifier(inner, detector=Scripted())
    search = GridSearchCV(model, {"estimator__C": [0.1, 1.0]}, scoring=trusted_label_scorer(scoring), cv=3)
    search.fit(X, y, sample_weight=np.arange(60.0))
    assert np.isfinite(search.best_score_)


@pytest.mark.parametrize(
    "params, match",
    [
        (dict(min_quality=1.5), r"min_quality must be a number in \[0, 1\], got 1.5"),
        (dict(min_quality="high"), "min_quality must be"),
        (dict(min_quality=True), "min_quality must be"),
        (dict(min_quality=np.nan), "min_quality must be"),
        (dict(scoring=3), "scoring must be .* got 3"),
        (dict(scoring="precise"), "precise"),
        (dict(detector="us"), r"detector must have score_labels\(X, y\), or be None; got 'us'"),
        (dict(detector=Scripted()), r"detector must be fitted; .*Scripted\(...\).fit\(X, y\)"),
    ],
)
def test_scorer_refuses(params, match):
    with pytest.raises(ValueError, match=match):
        trusted_label_scorer(**params)


def test_scorer_says_what_it_lacks(data):
    X, y = data
    plain = LogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match="needs a detector to score LogisticRegression"):
        trusted_label_scorer()(plain, X, y)
    model = CleanLabelClassifier(LogisticRegression(), detector=Scripted()).fit(X, y)
    low = X.copy()
    low[:, 0] = -1.0
    with pytest.raises(ValueError, match=r"min_quality=0.5; the largest of 60 is 0.25"):
        trusted_label_scorer()(model, low, y)
    model.detector_ = LogisticRegression()
    with pytest.raises(ValueError, match="LogisticRegression has no score_labels"):
        trusted_label_scorer()(model, X, y)


# --- bad input


def broken(**changes):
    class Broken(Scripted):
        def fit(self, X, y):
            super().fit(X, y)
            for name, value in changes.items():
                if value is None:
                    delattr(self, name)
                else:
                    setattr(self, name, value)
            return self

    return Broken()


@pytest.mark.parametrize(
    "handle, changes, match",
    [
        ("drop", dict(label_issues_mask_=None), "must have label_issues_mask_ of shape .*no such attribute"),
        ("drop", dict(label_issues_mask_=np.zeros(3, dtype=bool)), r"got shape \(3,\)"),
        ("drop", dict(label_issues_mask_=np.zeros(60)), "must be boolean, got float64"),
        ("weight", dict(label_quality_=np.full(60, 1.5)), r"label_quality_ .* \[0, 1\], got values from 1.5 to 1.5"),
        ("weight", dict(label_quality_=np.full(60, np.nan)), r"label_quality_ .* \[0, 1\]"),
        ("relabel", dict(suggested_labels_=np.full(60, 99)), r"must be labels of y, got also \[99\]"),
        ("relabel", dict(suggested_labels_=None), "suggested_labels_"),
    ],
)
def test_a_detector_that_breaks_the_contract(data, handle, changes, match):
    with pytest.raises(ValueError, match=match):
        CleanLabelClassifier(LogisticRegression(), detector=broken(**changes), handle=handle).fit(*data)


@pytest.mark.parametrize(
    "params, match",
    [
        (dict(handle="remove"), "'handle' .*'drop'"),
        (dict(handle=None), "'handle'"),
        (dict(detector=3), "'detector'"),
        (dict(estimator="svm"), "'estimator'"),
        (dict(estimator=StandardScaler()), "'estimator'"),
    ],
)
def test_bad_parameters(data, params, match):
    with pytest.raises(ValueError, match=match):
        CleanLabelClassifier(**{"estimator": LogisticRegression(), **params}).fit(*data)


def test_bad_data(data):
    X, y = data
    model = CleanLabelClassifier(LogisticRegression(), detector=Scripted())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:-1])
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, np.linspace(0, 1, 60))
    with pytest.raises(ValueError, match="1d array"):
        model.fit(X, np.column_stack([y, y]))
    for weights in (-np.ones(60), np.zeros(60), np.ones(59)):
        with pytest.raises(ValueError, match=r"(?i)sample[_ ]weight"):
            model.fit(X, y, sample_weight=weights)


def test_parameters_of_the_default_detector_cannot_be_set():
    model = CleanLabelClassifier(LogisticRegression())
    with pytest.raises(ValueError, match=r"detector must be given for detector__level"):
        model.set_params(detector__level=0.3)
    model.set_params(detector=NoisyLabelDetector(), detector__level=0.3)
    assert model.detector.level == 0.3
