"""Every way to say which features belong together."""

import pickle

import numpy as np
import pytest
from _oracles import random_data
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from skspar import ColumnGroups, GroupLasso, GroupLassoCV, GroupLassoIC, group_lasso_path

NAMES = ["age_1", "age_2", "zip_1", "age_3", "zip_2", "pay_1"]
# first appearance: age, zip, pay
PARTITION = [[0, 1, 3], [2, 4], [5]]


def prefixes(names):
    return [name.split("_")[0] for name in names]


LABELLED = [
    [0, 0, 1, 0, 1, 2],
    np.array([7, 7, -1, 7, -1, 3]),
    np.array([0.5, 0.5, 2.5, 0.5, 2.5, -1.0]),
    prefixes(NAMES),
    np.array(prefixes(NAMES)),
    np.array(prefixes(NAMES), dtype=object),
    ("b", "b", "a", "b", "a", "c"),
    np.array([True, True, 3, True, "x", 5], dtype=object)[[0, 1, 2, 3, 2, 5]],
]
LISTED = [
    PARTITION,
    [np.array(g) for g in PARTITION],
    [(0, 1, 3), (2, 4), (5,)],
    [[3, 0, 1], [4, 2], [5]],
    [np.array(g, dtype=np.uint8) for g in PARTITION],
    tuple(PARTITION),
]
NAMED = [
    {"age": ["age_1", "age_2", "age_3"], "zip": ["zip_1", "zip_2"], "pay": ["pay_1"]},
    [["age_1", "age_2", "age_3"], ["zip_1", "zip_2"], ["pay_1"]],
    [("age_3", "age_1", "age_2"), ("zip_1", "zip_2"), ("pay_1",)],
    prefixes,
    lambda names: np.array(prefixes(names), dtype=object),
]


@pytest.fixture
def data(rng):
    return random_data(rng, 30, 6)


def frame(kind, X):
    library = pytest.importorskip(kind)
    if kind == "pandas":
        return library.DataFrame(X, columns=NAMES)
    return library.DataFrame(X, schema=NAMES)


def partition_of(est):
    return [sorted(np.asarray(g).tolist()) for g in est.groups_.values()]


@pytest.mark.parametrize("groups", LABELLED + LISTED, ids=str)
def test_same_partition_and_fit(data, groups):
    X, y = data
    expected = GroupLasso(alpha=0.1, groups=PARTITION).fit(X, y)
    est = GroupLasso(alpha=0.1, groups=groups).fit(X, y)
    assert partition_of(est) == PARTITION
    np.testing.assert_allclose(est.group_weights_, np.sqrt([3, 2, 1]))
    np.testing.assert_allclose(est.coef_, expected.coef_, rtol=1e-10)


@pytest.mark.parametrize("groups", NAMED, ids=["mapping", "lists", "tuples", "callable", "callable to array"])
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_names_of_a_frame(data, groups, kind):
    X, y = data
    expected = GroupLasso(alpha=0.1, groups=PARTITION).fit(X, y)
    est = GroupLasso(alpha=0.1, groups=groups).fit(frame(kind, X), y)
    assert partition_of(est) == PARTITION
    np.testing.assert_allclose(est.coef_, expected.coef_, rtol=1e-10)
    path = group_lasso_path(frame(kind, X), y, groups=groups, alphas=3)
    np.testing.assert_allclose(path[1], group_lasso_path(X, y, groups=PARTITION, alphas=3)[1], rtol=1e-10)


@pytest.mark.parametrize("groups", [*LABELLED[:4], PARTITION, 2, None], ids=str)
def test_positions_work_for_a_frame_too(data, groups):
    X, y = data
    expected = GroupLasso(alpha=0.1, groups=groups).fit(X, y)
    est = GroupLasso(alpha=0.1, groups=groups).fit(frame("pandas", X), y)
    np.testing.assert_allclose(est.coef_, expected.coef_, rtol=1e-10)


def test_callable_sees_the_names_of_an_array(data):
    seen = []

    def parity(names):
        seen.extend(names)
        return [int(name[1:]) % 2 for name in names]

    est = GroupLasso(alpha=0.1, groups=parity).fit(*data)
    assert seen[:6] == ["x0", "x1", "x2", "x3", "x4", "x5"]
    assert partition_of(est) == [[0, 2, 4], [1, 3, 5]]
    assert list(est.groups_) == [0, 1]


@pytest.mark.parametrize(
    "groups, expected",
    [
        (None, [[0], [1], [2], [3], [4], [5]]),
        (1, [[0], [1], [2], [3], [4], [5]]),
        (2, [[0, 1], [2, 3], [4, 5]]),
        (4, [[0, 1, 2, 3], [4, 5]]),
        (np.int64(4), [[0, 1, 2, 3], [4, 5]]),
        (6, [[0, 1, 2, 3, 4, 5]]),
        (100, [[0, 1, 2, 3, 4, 5]]),
    ],
)
def test_sizes(data, groups, expected):
    est = GroupLasso(alpha=0.1, groups=groups).fit(*data)
    assert partition_of(est) == expected
    np.testing.assert_allclose(est.group_weights_, np.sqrt([len(g) for g in expected]))


def test_order_of_labels(data):
    # labels: first appearance; lists and mappings: as given
    X, y = data
    assert list(GroupLasso(groups=["b", "a", "b", "c", "a", "c"]).fit(X, y).groups_) == ["b", "a", "c"]
    assert partition_of(GroupLasso(groups=[[5], [0, 1], [2, 3, 4]]).fit(X, y)) == [[5], [0, 1], [2, 3, 4]]
    mapping = {"z": ["pay_1"], "a": ["zip_2", "zip_1"], "m": ["age_1", "age_2", "age_3"]}
    est = GroupLasso(groups=mapping).fit(frame("pandas", X), y)
    assert list(est.groups_) == ["z", "a", "m"]
    assert partition_of(est) == [[5], [2, 4], [0, 1, 3]]


def test_groups_hold_integer_arrays(data):
    for g in GroupLasso(groups=PARTITION).fit(*data).groups_.values():
        assert isinstance(g, np.ndarray) and np.issubdtype(g.dtype, np.integer)


@pytest.mark.parametrize("weights", [[1.0, 0.5, 2.0], (1, 0.5, 2), np.array([1.0, 0.5, 2.0])], ids=type)
def test_weights_follow_the_order_of_the_groups(data, weights):
    X, y = data
    by_label = GroupLasso(0.1, groups=prefixes(NAMES), group_weights={"pay": 2.0, "age": 1.0, "zip": 0.5}).fit(X, y)
    by_order = GroupLasso(0.1, groups=PARTITION, group_weights=weights).fit(X, y)
    np.testing.assert_array_equal(by_label.group_weights_, [1.0, 0.5, 2.0])
    np.testing.assert_array_equal(by_order.group_weights_, [1.0, 0.5, 2.0])
    np.testing.assert_allclose(by_order.coef_, by_label.coef_, rtol=1e-10)
    other = GroupLasso(0.1, groups=PARTITION, group_weights=[2.0, 0.5, 1.0]).fit(X, y)
    assert not np.allclose(other.coef_, by_order.coef_)


def test_weights_none_is_one(data):
    X, y = data
    est = GroupLasso(0.1, groups=PARTITION, group_weights=None).fit(X, y)
    np.testing.assert_array_equal(est.group_weights_, np.ones(3))
    ones = GroupLasso(0.1, groups=PARTITION, group_weights=np.ones(3)).fit(X, y)
    np.testing.assert_allclose(est.coef_, ones.coef_, rtol=1e-10)
    assert not np.allclose(est.coef_, GroupLasso(0.1, groups=PARTITION).fit(X, y).coef_)


def test_sqrt_counts_features_not_coefficients(rng):
    X, y = random_data(rng, 30, 6, n_targets=3)
    np.testing.assert_allclose(GroupLasso(groups=PARTITION).fit(X, y).group_weights_, np.sqrt([3, 2, 1]))


def test_ungrouped_unpenalized(data):
    X, y = data
    est = GroupLasso(alpha=1e3, groups=[[0, 1], [4, 2]], ungrouped="unpenalized").fit(X, y)
    groups = partition_of(est)
    assert groups[:2] == [[0, 1], [2, 4]]
    assert sorted(j for g in groups[2:] for j in g) == [3, 5]  # last, whether as one group or two
    np.testing.assert_allclose(est.group_weights_[:2], np.sqrt(2))
    np.testing.assert_array_equal(est.group_weights_[2:], 0)
    Xc = X[:, [3, 5]] - X[:, [3, 5]].mean(axis=0)
    np.testing.assert_allclose(est.coef_[[3, 5]], np.linalg.lstsq(Xc, y - y.mean(), rcond=None)[0], rtol=1e-8)
    np.testing.assert_array_equal(est.coef_[[0, 1, 2, 4]], 0)


def test_ungrouped_own(data):
    X, y = data
    est = GroupLasso(alpha=0.1, groups=[[0, 1], [4, 2]], ungrouped="own").fit(X, y)
    assert partition_of(est) == [[0, 1], [2, 4], [3], [5]]
    np.testing.assert_allclose(est.group_weights_, np.sqrt([2, 2, 1, 1]))
    explicit = GroupLasso(alpha=0.1, groups=[[0, 1], [2, 4], [3], [5]]).fit(X, y)
    np.testing.assert_allclose(est.coef_, explicit.coef_, rtol=1e-10)


@pytest.mark.parametrize("ungrouped", ["unpenalized", "own"])
def test_ungrouped_names(data, ungrouped):
    X, y = data
    est = GroupLasso(0.1, groups={"a": ["age_1", "age_2"]}, ungrouped=ungrouped).fit(frame("pandas", X), y)
    expected = GroupLasso(0.1, groups=[[0, 1]], ungrouped=ungrouped).fit(X, y)
    np.testing.assert_allclose(est.coef_, expected.coef_, rtol=1e-10)


def test_ungrouped_does_nothing_when_all_are_grouped(data):
    for ungrouped in ["error", "unpenalized", "own"]:
        assert partition_of(GroupLasso(groups=PARTITION, ungrouped=ungrouped).fit(*data)) == PARTITION


def test_overlapping_groups_are_reported_as_given(data):
    groups = [[0, 1, 2], [2, 3], [3, 4, 5]]
    est = GroupLasso(alpha=1e-3, groups=groups, overlap="latent").fit(*data)
    assert partition_of(est) == groups
    np.testing.assert_allclose(est.group_weights_, np.sqrt([3, 2, 3]))
    assert est.coef_.shape == (6,)
    assert est.n_features_in_ == 6


def test_overlap_by_names(data):
    X, y = data
    groups = {"a": NAMES[:3], "b": NAMES[2:4], "c": NAMES[3:]}
    est = GroupLasso(alpha=0.1, groups=groups, overlap="latent", tol=1e-12).fit(frame("pandas", X), y)
    expected = GroupLasso(alpha=0.1, groups=[[0, 1, 2], [2, 3], [3, 4, 5]], overlap="latent", tol=1e-12).fit(X, y)
    assert list(est.groups_) == ["a", "b", "c"]
    np.testing.assert_allclose(est.coef_, expected.coef_, atol=1e-8)


@pytest.mark.parametrize(
    "est", [GroupLassoCV(alphas=4, cv=3), GroupLassoIC(alphas=4)], ids=lambda est: type(est).__name__
)
@pytest.mark.parametrize(
    "groups", [LABELLED[4], PARTITION, NAMED[0], prefixes], ids=["labels", "indices", "mapping", "callable"]
)
def test_other_estimators_take_the_same_groups(data, est, groups):
    X, y = data
    expected = clone(est).set_params(groups=PARTITION).fit(X, y)
    est = clone(est).set_params(groups=groups).fit(frame("pandas", X), y)
    assert partition_of(est) == PARTITION
    np.testing.assert_allclose(est.coef_, expected.coef_, rtol=1e-10)


class TestColumnGroups:
    """The features that encoders make of a column belong together."""

    COLUMNS = ("lot_area", "lot", "living_area", "heating")

    def test_longest_column_wins(self):
        names = ["lot_area_sp_0", "lot_area_sp_1", "lot_sp_0", "living_area", "heating_gas", "heating_lot_area"]
        labels = ["lot_area", "lot_area", "lot", "living_area", "heating", "heating"]
        assert ColumnGroups(self.COLUMNS)(names) == labels

    def test_what_transformers_put_before_a_name(self):
        names = ["pipeline-1__lot_area_sp_0", "remainder__heating", "missingindicator_living_area", "a__b__lot_3"]
        assert ColumnGroups(self.COLUMNS)(names) == ["lot_area", "heating", "living_area", "lot"]
        # a column may have such a name itself
        assert ColumnGroups(["num__lot", "lot"])(["num__lot_1", "cat__lot_1"]) == ["num__lot", "lot"]

    @pytest.mark.parametrize("names", [["x0", "x1"], ["lots_1"], ["heat"]])
    def test_names_of_no_column(self, names):
        with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\)"):
            ColumnGroups(self.COLUMNS)(names)

    @pytest.mark.parametrize("columns", ["lot", [], [1, 2], ["a", "a"]])
    def test_bad_columns(self, columns):
        with pytest.raises(ValueError, match="columns must"):
            ColumnGroups(columns)

    def test_in_a_pipeline_and_out_of_a_pickle(self):
        pd = pytest.importorskip("pandas")
        rng = np.random.default_rng(0)
        table = pd.DataFrame({"lot_area": rng.normal(size=80), "lot_front": rng.normal(size=80)})
        table.loc[::9, "lot_front"] = np.nan
        table["roof_shape"] = rng.choice(["flat", "gable", "hip"], size=80)
        y = 3.0 * table["lot_area"] ** 2 + rng.normal(size=80)
        numbers = make_pipeline(SimpleImputer(add_indicator=True), SplineTransformer(n_knots=4, include_bias=False))
        for verbose in (True, False):
            encode = make_column_transformer(
                (numbers, ["lot_area", "lot_front"]),
                (OneHotEncoder(sparse_output=False), ["roof_shape"]),
                verbose_feature_names_out=verbose,
            )
            pipe = make_pipeline(encode, GroupLasso(alpha=0.3, groups=ColumnGroups(table.columns)))
            model = pickle.loads(pickle.dumps(clone(pipe).set_output(transform="pandas").fit(table, y)))
            assert sorted(model[-1].groups_) == sorted(table.columns)
            assert model[-1].active_groups_ == ["lot_area"]
        assert repr(ColumnGroups(["a", "b"])) == "ColumnGroups(columns=('a', 'b'))"


def test_callable_that_fails_without_names():
    def position(names):
        return [["size", "year"].index(name.rpartition("_")[0]) for name in names]

    X = np.eye(4)
    with pytest.raises(ValueError, match=r"groups\(names\) failed on names \['x0', .*set_output") as raised:
        GroupLasso(groups=position).fit(X, X[0])
    assert isinstance(raised.value.__cause__, ValueError) and str(raised.value.__cause__) in str(raised.value)
    # with names the error is the callable's own
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=r"^'door' is not in list"):
        GroupLasso(groups=position).fit(pd.DataFrame(X, columns=["size_0", "door_0", "door_1", "year_0"]), X[0])
