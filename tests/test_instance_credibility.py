"""InstanceCredibilityClassifier: what it trusts and when, and how it compares; a scikit-learn citizen."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_wine, make_blobs
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.manifold import Isomap
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skspar import InstanceCredibilityClassifier, NoisyLabelDetector
from skspar.instance_credibility import _default_columns, _quotas

# --- scikit-learn's checks


class Hiding(InstanceCredibilityClassifier):
    """Hides the labels of about a quarter of the rows, which their content decides, so that rounds have work."""

    def fit(self, X, y, sample_weight=None):
        partly = y
        rows = X.toarray() if sparse.issparse(X) else np.asarray(X)
        labels = np.asarray(y)
        if rows.dtype.kind in "fi" and rows.ndim == 2 and rows.size and labels.size == len(rows) > 10:
            hidden = (np.abs(rows.sum(axis=1)) * np.pi) % 1.0 < 0.25
            partly = np.where(hidden.reshape(labels.shape), None, labels.astype(object))
        super().fit(X, partly, sample_weight)
        return self


# The checks have the label -1 and no unlabeled rows: that a default unlabeled_value collides with it is an error, as it
# must be, so the checks get another one.
ESTIMATORS = [
    InstanceCredibilityClassifier(LogisticRegression(), unlabeled_value="unlabeled"),
    InstanceCredibilityClassifier(
        make_pipeline(FunctionTransformer(), LogisticRegression()), unlabeled_value=-9, step=0.1, max_iter=3
    ),
    InstanceCredibilityClassifier(RidgeClassifier(), unlabeled_value=np.nan, representation=PCA(1)),
    Hiding(GaussianNB(), unlabeled_value=None, step=1.0),
]


@pytest.mark.filterwarnings("ignore:y has no unlabeled rows")
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


@pytest.mark.filterwarnings("ignore:y has no unlabeled rows")
@pytest.mark.parametrize("name", [name for name in LEFT_OUT if hasattr(estimator_checks, name)])
@pytest.mark.parametrize("estimator", ESTIMATORS[:3], ids=str)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    pytest.importorskip("pandas")
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


# --- data


def few_labels(y, per_class, seed, unlabeled=-1):
    """Labels of some random rows of each class."""
    rng = np.random.default_rng(seed)
    partly = np.full(len(y), unlabeled, dtype=np.result_type(y, type(unlabeled)))
    for c in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == c))[:per_class]
        partly[rows] = c
    return partly


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def partly(wine):
    return few_labels(wine[1], 3, 0)


class Recorder(ClassifierMixin, BaseEstimator):
    """Nearest centroid, which remembers every fit."""

    def fit(self, X, y, sample_weight=None, colour=None):
        self.classes_ = np.unique(y)
        self.centres_ = np.array([X[y == c].mean(axis=0) for c in self.classes_])
        self.fits_ = [*getattr(self, "fits_", []), (len(y), sample_weight, colour)]
        return self

    def predict(self, X):
        return self.classes_[((X[:, None] - self.centres_) ** 2).sum(axis=2).argmin(axis=1)]


# --- what it does


@pytest.mark.newest
def test_at_least_as_good_as_self_training_on_the_same_splits(wine):
    """The benchmark's comparison, small: unlabeled and held-out rows, 1 and 5 labels a class."""
    for data in (wine, load_digits(n_class=6, return_X_y=True)):
        X, y = StandardScaler().fit_transform(data[0]), data[1]
        gains = []
        for seed in range(4):
            rows = np.random.default_rng(seed).permutation(len(y))[:450]
            train, test = rows[: len(rows) * 7 // 10], rows[len(rows) * 7 // 10 :]
            for per_class in (1, 5):
                given = few_labels(y[train], per_class, seed)
                inner = LogisticRegression(max_iter=1000)
                ours = InstanceCredibilityClassifier(inner).fit(X[train], given)
                theirs = SelfTrainingClassifier(inner).fit(X[train], given)
                hidden = given == -1
                assert ours.score(X[train], ours.transduction_) > 0.95
                gains.append(ours.score(X[train][hidden], y[train][hidden]))
                gains[-1] -= theirs.score(X[train][hidden], y[train][hidden])
                gains.append(ours.score(X[test], y[test]) - theirs.score(X[test], y[test]))
        assert np.mean(gains) > 0.0


def test_attributes(wine, partly):
    X, y = wine
    model = InstanceCredibilityClassifier(LogisticRegression()).fit(X, partly)
    given = partly != -1
    assert model.termination_condition_ == "all_labeled"
    np.testing.assert_array_equal(model.transduction_[given], partly[given])
    np.testing.assert_array_equal(model.labeled_iter_ == 0, given)
    assert model.labeled_iter_.min() == 0 and set(model.labeled_iter_) == set(range(model.n_iter_ + 1))
    assert model.transduction_.dtype == partly.dtype and set(model.transduction_) == {0, 1, 2}
    again = LogisticRegression().fit(X, model.transduction_)
    np.testing.assert_allclose(model.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert np.mean(model.transduction_ == y) > 0.9


def test_the_number_trusted_each_round(wine, partly):
    X, _ = wine
    model = InstanceCredibilityClassifier(LogisticRegression(), step=4).fit(X, partly)
    counts = np.bincount(model.labeled_iter_)[1:]
    # three classes, of each of which the last row may count in part
    assert model.n_iter_ == 10 and np.abs(np.cumsum(counts)[:-1] - 16.9 * np.arange(1, model.n_iter_)).max() <= 3
    model = InstanceCredibilityClassifier(LogisticRegression(), step=0.25).fit(X, partly)
    assert model.n_iter_ == 4
    counts = np.bincount(model.labeled_iter_)[1:]
    assert np.abs(counts - np.sum(partly == -1) / 4).max() <= 6
    model = InstanceCredibilityClassifier(LogisticRegression(), step=0.001, max_iter=7).fit(X, partly)
    np.testing.assert_array_equal(np.bincount(model.labeled_iter_ + 1)[2:] > 0, True)
    model = InstanceCredibilityClassifier(LogisticRegression(), step=1.0).fit(X, partly)
    assert model.n_iter_ == 1 and model.termination_condition_ == "all_labeled"
    model = InstanceCredibilityClassifier(LogisticRegression(), step=1000).fit(X, partly)
    assert model.n_iter_ == 1


def test_at_most_ten_rounds_of_an_integer_step():
    X, y = make_blobs(2000, 3, random_state=0)
    model = InstanceCredibilityClassifier(GaussianNB()).fit(X, few_labels(y, 3, 0))
    assert model.n_iter_ <= 10 and model.termination_condition_ == "all_labeled"


def test_max_iter(wine, partly):
    X, _ = wine
    model = InstanceCredibilityClassifier(LogisticRegression(), max_iter=2).fit(X, partly)
    assert model.n_iter_ == 2 and model.termination_condition_ == "max_iter"
    left = model.labeled_iter_ == -1
    assert left.any() and np.all(model.transduction_[left] == -1) and not np.any(model.transduction_[~left] == -1)
    again = LogisticRegression().fit(X[~left], model.transduction_[~left])
    np.testing.assert_allclose(model.predict_proba(X), again.predict_proba(X))


def test_the_first_round_trusts_the_smallest_entries_of_each_class(wine, partly):
    """Against the path computed by dense reweighting, with none of the engine's code."""
    X, _ = wine
    model = InstanceCredibilityClassifier(LogisticRegression(), max_iter=1, step=3).fit(X, partly)
    labels = LogisticRegression().fit(X[partly != -1], partly[partly != -1]).predict(X)
    labels = np.where(partly == -1, labels, partly)
    Y = (labels[:, None] == np.arange(3)).astype(float)
    Z = np.column_stack([np.ones(len(X)), X])
    entry = np.zeros(len(X))
    norms = np.linalg.norm(Y - Z @ np.linalg.lstsq(Z, Y, rcond=None)[0], axis=1)
    top = norms.max()
    for threshold in np.linspace(top, 0.02 * top, 300):
        for _ in range(300):
            root = np.sqrt(np.minimum(1.0, threshold / norms))[:, None]
            B = np.linalg.lstsq(root * Z, root * Y, rcond=None)[0]
            before, norms = norms, np.linalg.norm(Y - Z @ B, axis=1)
            if np.abs(norms - before).max() < 1e-9:
                break
        entry[(norms > threshold) & (entry == 0)] = threshold
    entry[entry == 0] = norms[entry == 0]
    first = model.labeled_iter_ == 1
    for c in range(3):
        here = (partly == -1) & (labels == c)
        assert 3 <= np.sum(first & here) <= 9
        assert entry[first & here].max() <= entry[here & ~first].min() * 1.01


def test_pseudo_labels_are_predicted_again():
    """Labels of trusted rows follow the newest fit, given ones stay."""
    revised = 0
    for seed in range(3):
        X, y = make_blobs(150, 3, centers=4, cluster_std=4.0, random_state=seed)
        given = few_labels(y, 2, seed)
        stages = [
            InstanceCredibilityClassifier(GaussianNB(), max_iter=rounds).fit(X, given).transduction_
            for rounds in (1, 3, 5)
        ]
        for a, b in zip(stages[:-1], stages[1:]):
            revised += np.sum((a != -1) & (a != b))
            np.testing.assert_array_equal(b[given != -1], given[given != -1])
    assert revised > 0


def test_order_of_rows_and_units_do_not_matter(wine, partly):
    X, _ = wine
    order = np.random.default_rng(0).permutation(len(X))
    inner = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8))
    model = InstanceCredibilityClassifier(inner).fit(X, partly)
    shuffled = InstanceCredibilityClassifier(inner).fit(X[order], partly[order])
    np.testing.assert_array_equal(shuffled.labeled_iter_, model.labeled_iter_[order])
    moved = InstanceCredibilityClassifier(inner).fit(1e3 * X + 7, partly)
    np.testing.assert_array_equal(moved.transduction_, model.transduction_)
    with_constant = InstanceCredibilityClassifier(inner).fit(np.column_stack([X, np.ones(len(X))]), partly)
    np.testing.assert_array_equal(with_constant.labeled_iter_, model.labeled_iter_)


def test_quotas():
    counts = np.array([10.0, 100.0, 0.0, 40.0])
    for total in (0.0, 1.0, 30.0, 75.0, 150.0):
        quota = _quotas(np.sqrt(counts), counts, total)
        assert quota.sum() == pytest.approx(total) and np.all(quota <= counts + 1e-9)
        free = (quota < counts - 1e-9) & (counts > 0)
        if free.any():
            assert np.ptp(quota[free] / np.sqrt(counts[free])) == pytest.approx(0, abs=1e-9)


def test_weights(wine, partly):
    """Weight 2 is a row twice, weight 0 a row absent, up to the order in which a round takes the two."""
    X, _ = wine
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2, size=len(X)).astype(float)
    weights[partly != -1] = 1.0
    kept = weights > 0
    inner = LogisticRegression(tol=1e-8)
    model = InstanceCredibilityClassifier(inner).fit(X, partly, sample_weight=weights)
    absent = InstanceCredibilityClassifier(inner).fit(X[kept], partly[kept])
    np.testing.assert_array_equal(model.labeled_iter_[kept], absent.labeled_iter_)
    assert np.all(model.labeled_iter_[~kept] == -1)
    np.testing.assert_allclose(model.predict_proba(X), absent.predict_proba(X), rtol=1e-6)
    double = InstanceCredibilityClassifier(inner, step=1.0).fit(X, partly, sample_weight=1.0 + weights)
    rows = np.repeat(np.arange(len(X)), (1 + weights).astype(int))
    repeated = InstanceCredibilityClassifier(inner, step=1.0).fit(X[rows], partly[rows])
    np.testing.assert_array_equal(double.transduction_[rows], repeated.transduction_)


# --- representation


@pytest.mark.parametrize(
    "representation", [PCA(4), Isomap(n_components=4), make_pipeline(StandardScaler(), PCA(5)), FunctionTransformer()]
)
def test_representations(wine, partly, representation):
    X, y = wine
    model = InstanceCredibilityClassifier(LogisticRegression(), representation=representation).fit(X, partly)
    assert np.mean(model.transduction_ == y) > 0.85
    assert model.n_features_in_ == 13


def test_default_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 30)) * np.arange(1, 31)
    assert _default_columns(X[:, :20], 3) is not None and _default_columns(X[:, :20], 3).shape == (200, 20)
    assert _default_columns(X, 3).shape == (200, 20)
    assert _default_columns(X, 25).shape == (200, 24)
    assert _default_columns(X[:20], 3).shape == (20, 2)
    # units do not matter, and sparse is as dense up to the mean
    np.testing.assert_allclose(_default_columns(X * 1e3, 3), _default_columns(X, 3), atol=1e-8)
    assert _default_columns(sparse.csr_array(X), 3).shape == (200, 20)
    assert isinstance(_default_columns(sparse.csr_array(X[:, :5]), 3), np.ndarray)


def test_more_features_than_rows():
    X, y = make_blobs(60, 500, cluster_std=8.0, random_state=0)
    given = few_labels(y, 2, 0)
    for rows in (X, sparse.csr_array(X)):
        model = InstanceCredibilityClassifier(LogisticRegression(max_iter=1000)).fit(rows, given)
        assert np.mean(model.transduction_ == y) > 0.9


class Halved(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[::2]


def test_bad_representations(wine, partly):
    X, _ = wine

    def fit(representation, X=X):
        return InstanceCredibilityClassifier(LogisticRegression(), representation=representation).fit(X, partly)

    with pytest.raises(ValueError, match="representation must return a row for each of the 178 rows, got 89"):
        fit(Halved())
    with pytest.raises(ValueError, match="The output of representation contains NaN"):
        fit(FunctionTransformer(lambda X: np.where(X > 2, np.nan, X)))
    with pytest.raises(ValueError, match=r"fewer independent columns than rows.*178 rows and 200 columns"):
        fit(FunctionTransformer(lambda X: np.random.default_rng(0).normal(size=(len(X), 200))))


def test_nan_if_the_representation_and_the_estimator_handle_it(wine, partly):
    X = wine[0].copy()
    X[::7, 3] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        InstanceCredibilityClassifier(HistGradientBoostingClassifier(max_iter=5)).fit(X, partly)
    imputed = make_pipeline(SimpleImputer(), StandardScaler())
    inner = make_pipeline(SimpleImputer(), LogisticRegression())
    model = InstanceCredibilityClassifier(inner, representation=imputed).fit(X, partly)
    assert np.mean(model.transduction_ == wine[1]) > 0.85
    boosted = InstanceCredibilityClassifier(HistGradientBoostingClassifier())
    assert not get_tags(boosted).input_tags.allow_nan
    assert get_tags(boosted.set_params(representation=SimpleImputer())).input_tags.allow_nan


# --- labels of any type


@pytest.mark.parametrize(
    "unlabeled, labels",
    [
        (-1, np.array([0, 1, 2])),
        (-1, np.array([0.0, 1.0, 2.0])),
        (99, np.array([-1, 0, 1])),
        (np.nan, np.array([0.0, 1.0, 2.0])),
        ("?", np.array(["barbera", "barolo", "grignolino"])),
        ("", np.array(["barbera", "barolo", "grignolino"], dtype=object)),
        (-1, np.array(["barbera", "barolo", "grignolino"], dtype=object)),
        (None, np.array(["barbera", "barolo", "grignolino"], dtype=object)),
        (np.nan, np.array(["barbera", "barolo", "grignolino"], dtype=object)),
        (None, np.array([5, 6, 7], dtype=object)),
    ],
    ids=str,
)
def test_types_of_labels(wine, partly, unlabeled, labels):
    X, y = wine
    expected = InstanceCredibilityClassifier(LogisticRegression()).fit(X, partly)
    given = labels[np.maximum(partly, 0)].astype(object if labels.dtype == object else labels.dtype)
    given[partly == -1] = unlabeled
    model = InstanceCredibilityClassifier(LogisticRegression(), unlabeled_value=unlabeled).fit(X, given)
    np.testing.assert_array_equal(model.labeled_iter_, expected.labeled_iter_)
    np.testing.assert_array_equal(model.transduction_, labels[expected.transduction_])
    np.testing.assert_array_equal(model.predict(X), labels[expected.predict(X)])
    np.testing.assert_array_equal(model.classes_, labels)
    assert model.transduction_.dtype == given.dtype


def test_unlabeled_value_that_is_a_label(wine):
    X, y = wine
    signs = np.where(y == 0, 1, -1)
    with pytest.raises(
        ValueError, match=r"one class: \[1\].*119 of 178 entries are unlabeled_value=-1.*choose another"
    ):
        InstanceCredibilityClassifier(LogisticRegression()).fit(X, signs)
    strings = np.array(["a", "b", "c"])[y].tolist()
    strings[20:] = [-1] * 158
    with pytest.raises(ValueError, match=r"labels '-1' of type str.*unlabeled_value=-1 of type int.*dtype object"):
        InstanceCredibilityClassifier(LogisticRegression()).fit(X, np.array(strings))
    with pytest.raises(ValueError, match=r"labels -1 of type int.*unlabeled_value='-1' of type str"):
        InstanceCredibilityClassifier(LogisticRegression(), unlabeled_value="-1").fit(X, signs)


def test_no_unlabeled_rows(wine):
    X, y = wine
    with pytest.warns(UserWarning, match="y has no unlabeled rows .unlabeled_value=-1."):
        model = InstanceCredibilityClassifier(LogisticRegression()).fit(X, y)
    assert model.n_iter_ == 1 and model.termination_condition_ == "all_labeled"
    np.testing.assert_array_equal(model.predict_proba(X), LogisticRegression().fit(X, y).predict_proba(X))
    np.testing.assert_array_equal(model.transduction_, y)


def test_labels_that_are_missing(wine):
    X, y = wine
    with pytest.raises(ValueError, match="y has no labels: all 178 entries are unlabeled_value=-1"):
        InstanceCredibilityClassifier(LogisticRegression()).fit(X, np.full(178, -1))
    with pytest.raises(ValueError, match=r"at least two classes, got one class: \[1\]"):
        InstanceCredibilityClassifier(LogisticRegression()).fit(X, np.where(np.arange(178) < 5, 1, -1))
    with pytest.raises(ValueError, match="Unknown label type"):
        InstanceCredibilityClassifier(LogisticRegression()).fit(X, np.linspace(0, 1, 178))


# --- a scikit-learn citizen


def test_methods_are_those_of_the_inner_estimator(wine, partly):
    X, _ = wine
    for inner, has, lacks in [
        (LogisticRegression(), ["predict_proba", "predict_log_proba", "decision_function"], []),
        (Perceptron(), ["decision_function"], ["predict_proba", "predict_log_proba"]),
        (KNeighborsClassifier(3), ["predict_proba"], ["decision_function", "predict_log_proba"]),
    ]:
        model = InstanceCredibilityClassifier(inner)
        for _ in range(2):
            assert all(hasattr(model, name) for name in has) and not any(hasattr(model, name) for name in lacks)
            model.fit(X, partly)
        for name in has:
            np.testing.assert_array_equal(getattr(model, name)(X), getattr(model.estimator_, name)(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(wine, partly, library):
    frames = pytest.importorskip(library)
    X, y = wine
    frame = frames.DataFrame({f"x{j}": X[:, j] for j in range(13)})
    labels = frames.Series(partly, name="y") if library == "pandas" else frames.Series("y", partly)
    model = InstanceCredibilityClassifier(LogisticRegression()).fit(frame, labels)
    assert model.feature_names_in_.tolist() == [f"x{j}" for j in range(13)]
    plain = InstanceCredibilityClassifier(LogisticRegression()).fit(X, partly)
    np.testing.assert_array_equal(model.labeled_iter_, plain.labeled_iter_)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[[f"x{j}" for j in range(12, -1, -1)]])
    mixed = frames.DataFrame({**{f"x{j}": X[:, j] for j in range(13)}, "kind": np.where(y > 0, "u", "v")})
    encoder = ColumnTransformer(
        [("kind", OneHotEncoder(sparse_output=False), ["kind"])], remainder="passthrough", sparse_threshold=0
    )
    inner = make_pipeline(encoder, LogisticRegression())
    model = InstanceCredibilityClassifier(inner, representation=encoder).fit(mixed, labels)
    assert np.mean(model.transduction_ == y) > 0.9


def test_missing_labels_of_pandas(wine, partly):
    pandas = pytest.importorskip("pandas")
    X, _ = wine
    names = pandas.Series(np.array(["a", "b", "c"])[np.maximum(partly, 0)]).where(partly >= 0)
    plain = InstanceCredibilityClassifier(LogisticRegression()).fit(X, partly)
    model = InstanceCredibilityClassifier(LogisticRegression(), unlabeled_value=np.nan).fit(X, names)
    np.testing.assert_array_equal(model.labeled_iter_, plain.labeled_iter_)


def test_labels_of_mixed_types(wine, partly):
    X, y = wine
    labels = np.array([None if label == -1 else label for label in partly], dtype=object)
    known = np.flatnonzero(partly != -1)
    labels[known[-1]] = "other"
    for place in (labels, labels[::-1]):
        with pytest.raises(ValueError, match="y must have labels that can be sorted"):
            InstanceCredibilityClassifier(LogisticRegression(), unlabeled_value=None).fit(X, place)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_output_that_is_set_globally(wine, library):
    pytest.importorskip(library)
    X = np.random.default_rng(0).normal(size=(100, 60))
    y = np.where(np.arange(100) < 30, np.arange(100) % 3, -1)
    for data in (X, sparse.csr_matrix(X)):
        model = InstanceCredibilityClassifier(LogisticRegression())
        plain = clone(model).fit(data, y).transduction_
        with sklearn.config_context(transform_output=library):
            np.testing.assert_array_equal(clone(model).fit(data, y).transduction_, plain)


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_rows(wine, partly, kind):
    X, _ = wine
    X = np.where(np.abs(X) > 0.3, X, 0.0)
    plain = InstanceCredibilityClassifier(LogisticRegression()).fit(X, partly)
    model = InstanceCredibilityClassifier(LogisticRegression()).fit(kind(X), partly)
    np.testing.assert_array_equal(model.transduction_, plain.transduction_)
    assert get_tags(model).input_tags.sparse
    assert not get_tags(InstanceCredibilityClassifier(GaussianNB())).input_tags.sparse


def test_float32_and_read_only(wine, partly):
    X = wine[0].astype(np.float32)
    labels = partly.copy()
    X.flags.writeable = labels.flags.writeable = False
    model = InstanceCredibilityClassifier(LogisticRegression()).fit(X, labels)
    # newer releases of scikit-learn keep float32 here
    assert model.predict_proba(X).dtype == LogisticRegression().fit(X, wine[1]).predict_proba(X).dtype
    double = InstanceCredibilityClassifier(LogisticRegression()).fit(wine[0], partly)
    assert np.mean(model.transduction_ == double.transduction_) > 0.98


def test_pickle_and_clone(wine, partly):
    X, _ = wine
    inner = LogisticRegression()
    model = InstanceCredibilityClassifier(inner).fit(X, partly)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert not hasattr(inner, "classes_")


def test_grid_search(wine, partly):
    X, y = wine
    # held-out rows without a label cannot be scored: search on those that have one, or hold labels out
    given = few_labels(y, 12, 0)
    rows = np.flatnonzero(given != -1)
    parts = np.array_split(np.random.default_rng(0).permutation(rows), 3)
    splits = [(np.setdiff1d(np.arange(178), part), part) for part in parts]
    grid = {"estimator__var_smoothing": [1e-9, 1e-3], "step": [5, 0.2], "representation": [None, PCA(3)]}
    search = GridSearchCV(InstanceCredibilityClassifier(GaussianNB()), grid, cv=splits, error_score="raise")
    assert search.fit(X, given).score(X, y) > 0.9
    piped = make_pipeline(StandardScaler(), InstanceCredibilityClassifier(LogisticRegression()))
    assert np.all(cross_val_score(piped, X, given, cv=splits) > 0.8)


def test_metadata_routing(wine, partly):
    X, _ = wine
    weights, colour = np.linspace(0.5, 1.5, 178), np.arange(178)
    plain = InstanceCredibilityClassifier(Recorder(), max_iter=2).fit(X, partly, sample_weight=weights)
    assert [len(part) for _, part, _ in plain.estimator_.fits_] == [n for n, _, _ in plain.estimator_.fits_]
    assert len(plain.estimator_.fits_) == 3
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        InstanceCredibilityClassifier(Recorder()).fit(X, partly, colour=colour)
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight in fit; fit without weights"):
        InstanceCredibilityClassifier(KNeighborsClassifier()).fit(X, partly, sample_weight=weights)
    with sklearn.config_context(enable_metadata_routing=True):
        inner = Recorder().set_fit_request(sample_weight=False, colour=True)
        model = InstanceCredibilityClassifier(inner, max_iter=2)
        model.fit(X, partly, sample_weight=weights, colour=colour)
        for n, part, colours in model.estimator_.fits_:
            assert part is None and len(colours) == n
        np.testing.assert_array_equal(model.estimator_.fits_[-1][2], colour[model.labeled_iter_ >= 0])
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            InstanceCredibilityClassifier(Recorder()).fit(X, partly, sample_weight=weights)


def test_no_warning_of_ours(wine, partly):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InstanceCredibilityClassifier(LogisticRegression(max_iter=1000)).fit(*wine[:1], partly)


# --- bad input


@pytest.mark.parametrize(
    "params",
    [
        dict(step=0),
        dict(step=-1),
        dict(step=1.5),
        dict(step=0.0),
        dict(step="all"),
        dict(step=None),
        dict(max_iter=0),
        dict(max_iter=2.5),
        dict(representation="pca"),
        dict(representation=LogisticRegression()),
        dict(estimator=StandardScaler()),
        dict(estimator=None),
    ],
    ids=str,
)
def test_bad_parameters(wine, partly, params):
    [name] = params
    with pytest.raises(ValueError, match=f"'{name}' .*[Gg]ot"):
        InstanceCredibilityClassifier(**{"estimator": LogisticRegression(), **params}).fit(wine[0], partly)


def test_bad_data(wine, partly):
    X, _ = wine
    model = InstanceCredibilityClassifier(LogisticRegression())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, partly[:-1])
    with pytest.raises(ValueError, match="1d array"):
        model.fit(X, np.column_stack([partly, partly]))
    for bad in (np.nan, np.inf):
        broken = X.copy()
        broken[3, 1] = bad
        with pytest.raises(ValueError, match="X contains"):
            model.fit(broken, partly)
    for weights in (-np.ones(178), np.zeros(178), np.full(178, np.nan), np.ones(177)):
        with pytest.raises(ValueError, match=r"(?i)sample[_ ]weight"):
            model.fit(X, partly, sample_weight=weights)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_labels_are_told_how_to_pass(wine, missing):
    X, y = wine[0], np.array([f"class {label}" for label in wine[1]], dtype=object)
    y[::2] = missing
    with pytest.raises(ValueError, match=r"no missing labels.*unlabeled_value=None"):
        InstanceCredibilityClassifier(LogisticRegression()).fit(X, y)
    model = InstanceCredibilityClassifier(LogisticRegression(max_iter=500), unlabeled_value=missing).fit(X, y)
    assert set(model.transduction_) == {"class 0", "class 1", "class 2"}
    with pytest.raises(ValueError, match=r"None or NaN, the first in row 0|contains NaN"):
        NoisyLabelDetector().fit(X, y)
