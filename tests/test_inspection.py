"""Pictures: what is drawn is what the path holds."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LassoCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspar import (
    BPDN,
    BPDNCV,
    CVPathDisplay,
    GroupLasso,
    GroupLassoCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    OutlierPathDisplay,
    PreconditionedLasso,
    RegularizationPathDisplay,
    SparseOutlierRegressor,
    SparseOutlierRegressorCV,
    SplitLBI,
    SplitLBIClassifier,
    SplitLBICV,
    bpdn_path,
    group_lasso_path,
    inverse_scale_space_path,
    omp_path,
    outlier_path,
    pairwise_outlier_path,
    split_lbi_path,
)

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def figures():
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture
def data(rng):
    X = rng.normal(size=(60, 6))
    return X, X @ [3.0, -2.0, 0.0, 1.0, 0.0, 0.0] + 0.1 * rng.normal(size=60)


def drawn(display):
    """Values of the lines, zero where nothing is drawn."""
    out = np.zeros((len(display.lines_), len(display.positions)))
    for values, line in zip(out, display.lines_):
        x, y = line.get_data()
        if len(x):
            values[-len(x) :] = y
    return out


def marks(display):
    """Texts above dotted lines."""
    tops = display.ax_.child_axes
    return [label.get_text() for top in tops for label in top.get_xticklabels()]


def labels(display):
    legend = display.ax_.get_legend()
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("est", [SplitLBI(None), SplitLBI(D="fused"), SplitLBICV(None, cv=3)], ids=str)
def test_estimators_that_keep_their_path(est, data):
    pd = pytest.importorskip("pandas")
    X, y = data
    model = est.fit(pd.DataFrame(X, columns=list("abcdef")), y)
    display = RegularizationPathDisplay.from_estimator(model)
    fused = model.D is not None
    np.testing.assert_array_equal(drawn(display), model.gamma_path_ if fused else model.coef_path_)
    assert display.ax_.get_ylabel() == ("gamma" if fused else "coefficient")
    np.testing.assert_array_equal(display.positions, model.times_)
    for kind, values in (("coefs", model.coef_path_), ("gammas", model.gamma_path_)):
        names = [f"line {j}" for j in range(len(values))]
        display_of_kind = RegularizationPathDisplay.from_estimator(model, kind=kind, names=names)
        np.testing.assert_array_equal(drawn(display_of_kind), values)
        assert display_of_kind.names.tolist() == names
    with pytest.raises(ValueError, match="kind must be 'coefs' or 'gammas'; got 'gamma'"):
        RegularizationPathDisplay.from_estimator(model, kind="gamma")
    with pytest.raises(ValueError, match="names must have one entry for each"):
        RegularizationPathDisplay.from_estimator(model, names=["a"])
    assert display.ax_.get_xscale() == "log" and display.ax_.get_xlim() == (model.times_[0], model.times_[-1])
    assert display.ax_.get_xlabel() == "time" and display.figure_ is display.ax_.figure
    if model.D is None:
        assert labels(display)[:3] == ["a", "b", "d"]
        assert [display.names[j] for j in np.argsort(model.first_entry_)[:3]] == ["a", "b", "d"]


def test_names_and_kind_of_a_path_that_is_computed_again(data):
    X, y = data
    model = BPDN(alpha=0.1).fit(X, y)
    display = RegularizationPathDisplay.from_estimator(model, X, y, names=list("uvwxyz"), kind="coefs")
    assert labels(display)[:2] == ["u", "v"]
    with pytest.raises(ValueError, match="kind must be 'coefs' for a BPDN; got 'gammas'"):
        RegularizationPathDisplay.from_estimator(model, X, y, kind="gammas")
    with pytest.raises(TypeError, match="matplotlib's plot takes no 'label_names'"):
        RegularizationPathDisplay.from_estimator(model, X, y, label_names=[])
    display = RegularizationPathDisplay.from_estimator(model, X, y, lw=0.5, c="black")
    assert {(line.get_linewidth(), line.get_color()) for line in display.lines_} == {(0.5, "black")}


def test_classes_are_drawn_as_norms(rng):
    X = rng.normal(size=(90, 4))
    y = np.digitize(X[:, 2], [-0.5, 0.5])
    model = SplitLBIClassifier(None, groups=1).fit(X, y)
    display = RegularizationPathDisplay.from_estimator(model)
    np.testing.assert_allclose(drawn(display), np.linalg.norm(model.coef_path_, axis=0))
    assert labels(display)[0] == "2"


@pytest.mark.parametrize(
    "est", [GroupLasso(alpha=0.1), GroupLasso(alpha=0.1, groups=2), GroupLassoCV(groups=3, cv=3, alphas=20)], ids=str
)
def test_estimators_whose_path_is_computed_again(est, data):
    X, y = data
    display = RegularizationPathDisplay.from_estimator(est.fit(X, y), X, y)
    alphas, coefs, *_ = group_lasso_path(X, y, groups=est.groups, alphas=100, return_intercepts=True)
    if est.groups is not None:
        coefs = np.stack([np.linalg.norm(coefs[member], axis=0) for member in est.groups_.values()])
    np.testing.assert_array_equal(display.positions, alphas)
    np.testing.assert_allclose(drawn(display), coefs)
    left, right = display.ax_.get_xlim()
    assert left > right  # from strong to weak
    order = np.argsort([np.argmax(row > 0) if row.any() else 1000 for row in np.abs(coefs)], kind="stable")
    assert labels(display)[0] == str(order[0])


def test_paths(data):
    X, y = data
    path = split_lbi_path(X, y, D="fused")
    for kind in ("coefs", "coefs_sparse", "gammas"):
        display = RegularizationPathDisplay.from_path(path, kind=kind)
        np.testing.assert_array_equal(drawn(display), path[kind])
    np.testing.assert_array_equal(display.first_entry, path.first_entry)
    events = inverse_scale_space_path(X, y)
    display = RegularizationPathDisplay.from_path(events, names=list("abcdef"))
    np.testing.assert_array_equal(drawn(display)[:, :-1], events.coefs)
    assert {line.get_drawstyle() for line in display.lines_} == {"steps-post"}
    alphas, coefs, _ = group_lasso_path(sparse.csc_array(X), y)
    display = RegularizationPathDisplay.from_path(alphas, coefs, selected=alphas[30], max_labels=2)
    assert len(labels(display)) == 2
    assert marks(display) == [f"selected: {alphas[30]:.3g}"]


def test_own_axes_and_style(data):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    display = RegularizationPathDisplay.from_path(split_lbi_path(*data), ax=ax, color="black", linewidth=3)
    assert display.ax_ is ax and display.figure_ is figure
    assert {line.get_color() for line in display.lines_} == {"black"}
    before = len(ax.lines)
    assert display.plot(ax) is display and len(ax.lines) > before


def test_nothing_enters():
    display = RegularizationPathDisplay([1.0, 2.0], np.zeros((3, 2))).plot()
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize("est", [BPDN(0.1), BPDNCV(cv=3, alphas=20)], ids=str)
def test_basis_pursuit(est, data):
    X, y = data
    weights = np.linspace(0.2, 2.0, 60)
    display = RegularizationPathDisplay.from_estimator(est.fit(X, y, weights), X, y, sample_weight=weights)
    path = bpdn_path(X, y, fit_intercept=True, sample_weight=weights)
    np.testing.assert_array_equal(drawn(display), path.coefs)
    assert (
        display.selected == est.alpha_
        and marks(display) == [f"selected: {est.alpha_:.3g}"]
        and display.ax_.xaxis_inverted()
    )
    again = RegularizationPathDisplay.from_path(path)
    np.testing.assert_array_equal(again.coefs, path.coefs)
    knots = bpdn_path(X, y, alphas="knots")
    assert RegularizationPathDisplay.from_path(knots).positions.min() > 0.0 == knots.alphas[-1]


def test_matching_pursuit(data):
    X, y = data
    path = omp_path(X, y, n_nonzero_coefs=5, fit_intercept=True)
    model = OrthogonalMatchingPursuitCV(5, cv=3).fit(X, y)
    display = RegularizationPathDisplay.from_estimator(model, X, y)
    np.testing.assert_array_equal(drawn(display), path.coefs)
    np.testing.assert_array_equal(display.positions, [1, 2, 3, 4, 5])
    assert display.ax_.get_xscale() == "linear" and not display.ax_.xaxis_inverted()
    assert labels(display)[:3] == [str(j) for j in path.support[:3]]
    one = RegularizationPathDisplay.from_estimator(OrthogonalMatchingPursuit(3).fit(X, y), X, y)
    np.testing.assert_array_equal(one.coefs, path.coefs[:, :3])
    assert one.selected is None  # the end of the path


def test_pipelines_and_searches(data):
    pd = pytest.importorskip("pandas")
    X, y = data
    frame = pd.DataFrame(X * np.logspace(-2, 2, 6), columns=list("abcdef"))
    pipe = make_pipeline(StandardScaler(), GroupLasso(alpha=0.1)).set_output(transform="pandas")
    pipe.fit(frame, y)
    display = RegularizationPathDisplay.from_estimator(pipe, frame, y)
    scaled = StandardScaler().fit_transform(frame)
    np.testing.assert_allclose(display.coefs, group_lasso_path(scaled, y, return_intercepts=True)[1])
    assert labels(display)[:2] == ["a", "b"]
    search = GridSearchCV(make_pipeline(StandardScaler(), GroupLassoCV(cv=3, alphas=9)), {"grouplassocv__eps": [0.1]})
    search.fit(frame, y)
    inner = search.best_estimator_[-1]
    np.testing.assert_array_equal(CVPathDisplay.from_estimator(search).errors, inner.mse_path_)
    y[7] += 20.0
    robust = make_pipeline(StandardScaler(), SparseOutlierRegressor(random_state=0)).fit(frame, y)
    display = OutlierPathDisplay.from_estimator(robust, frame, y)
    assert len(display.lines_) == robust[-1].outlier_mask_.sum()
    assert display.ax_.texts[0].get_text() == "7"


# --- cross-validation


def in_display(display):
    """Points of the mean, the folds, the band and the marks, as drawn."""
    x, mean = display.line_.get_data()
    folds = np.array([line.get_ydata() for line in display.fold_lines_]).T
    return x, mean, folds, display.fill_between_.get_paths()[0].vertices


CV_MODELS = [
    (GroupLassoCV(cv=4, alphas=15), "alphas_", "alpha_"),
    (BPDNCV(cv=4, alphas=15), "alphas_", "alpha_"),
    (SplitLBICV(None, cv=4, n_times=30), "times_", "t_"),
    (SplitLBICV(1.0, loss="logistic", cv=4, n_times=30), "times_", "t_"),
    (LassoCV(cv=4, alphas=15), "alphas_", "alpha_"),
]


@pytest.mark.parametrize("est, positions, chosen", CV_MODELS, ids=lambda value: str(value)[:30])
def test_cross_validation(est, positions, chosen, rng):
    X = rng.normal(size=(80, 6))
    y = X @ [3.0, -2.0, 0.0, 1.0, 0.0, 0.0] + 2.0 * rng.normal(size=80)
    logistic = getattr(est, "loss", "squared") == "logistic"
    y = y > 0 if logistic else y
    model = est.fit(X, y)
    errors = model.log_loss_path_ if logistic else model.mse_path_
    display = CVPathDisplay.from_estimator(model)
    x, mean, folds, band = in_display(display)
    np.testing.assert_array_equal(x, getattr(model, positions))
    np.testing.assert_allclose(mean, errors.mean(axis=1))
    np.testing.assert_array_equal(folds, errors)
    sem = errors.std(axis=1, ddof=1) / 2.0
    for edge in (errors.mean(axis=1) - sem, errors.mean(axis=1) + sem):
        assert all(np.isclose(band, point).all(axis=1).any() for point in zip(x, edge))
    ax = display.ax_
    assert ax.get_xscale() == "log"
    assert ax.xaxis_inverted() == (positions == "alphas_")  # simple models on the left
    assert ("log loss" if logistic else "squared error") in ax.get_ylabel()
    assert ("alpha" if positions == "alphas_" else "time") in ax.get_xlabel()

    # the marks lie on the mean, where both rules of the estimator would choose
    assert display.best == getattr(model, chosen)
    np.testing.assert_allclose(np.ravel(display.marks_["min"].get_data()), [display.best, mean.min()])
    if not isinstance(est, LassoCV):
        sparser = est.set_params(selection_rule="1se").fit(X, y)
        again = CVPathDisplay.from_estimator(sparser)
        assert again.one_standard_error == getattr(sparser, chosen) == display.one_standard_error
        assert again.selected == display.one_standard_error != display.selected
    place = int(np.flatnonzero(x == display.one_standard_error)[0])
    np.testing.assert_allclose(np.ravel(display.marks_["1se"].get_data()), [x[place], mean[place]])
    assert mean[place] <= mean.min() + sem[mean.argmin()]
    assert np.all(mean[:place] > mean.min() + sem[mean.argmin()])


def test_cross_validation_of_matching_pursuit(data):
    X, y = data
    y = y + 3.0 * np.random.default_rng(1).normal(size=60)
    for rule in ("min", "1se"):
        model = OrthogonalMatchingPursuitCV(6, cv=4, selection_rule=rule).fit(X, y)
        display = CVPathDisplay.from_estimator(model)
        x, mean, *_ = in_display(display)
        np.testing.assert_array_equal(x, [1, 2, 3, 4, 5, 6])
        np.testing.assert_allclose(mean, model.mse_path_.mean(axis=1))
        expected = display.best if rule == "min" else display.one_standard_error
        assert expected == model.n_nonzero_coefs_ == display.selected
        assert display.ax_.get_xscale() == "linear" and not display.ax_.xaxis_inverted()
        assert display.ax_.get_xlabel() == "number of features"


@pytest.mark.parametrize("alpha", ["bic", [2.5, 4.0]], ids=str)
@pytest.mark.parametrize("scoring", ["tau", "trimmed", "callable"])
def test_cross_validation_with_outliers(data, alpha, scoring):
    X, y = data
    y = y + np.where(np.arange(60) < 8, 30.0, 0.0)
    scoring = (lambda model, X, y: -np.median(np.abs(y - model.predict(X)))) if scoring == "callable" else scoring
    model = SparseOutlierRegressorCV(alpha=alpha, scoring=scoring, coef_alphas=[1.0, 0.1, 0.0], cv=3, random_state=0)
    display = CVPathDisplay.from_estimator(model.fit(X, y))
    scores, pooled = model.score_path_, model.pooled_score_path_
    if isinstance(alpha, list):
        row = alpha.index(model.best_alpha_)
        scores, pooled = scores[row], pooled[row]
        assert str(model.best_alpha_) in display.ax_.get_legend().get_title().get_text()
    x, mean, folds, _ = in_display(display)
    np.testing.assert_array_equal(folds, scores)
    np.testing.assert_allclose(mean, scores.mean(axis=1))
    assert display.best == model.coef_alpha_ == display.selected
    if callable(scoring):
        assert display.pooled_line_ is None and "1se" in display.marks_
    else:
        np.testing.assert_array_equal(display.pooled_line_.get_ydata(), pooled)
        np.testing.assert_allclose(display.marks_["min"].get_ydata(), pooled.max())
        assert "1se" not in display.marks_ and display.one_standard_error is None
    # zero, which a logarithmic axis cannot show, is a step beyond the smallest and says so
    np.testing.assert_allclose(x, [1.0, 0.1, 0.01])
    ticks = dict(zip([t.get_text() for t in display.ax_.get_xticklabels()], display.ax_.get_xticks()))
    assert ticks["0"] == pytest.approx(0.01)


def test_the_ratio_chosen_is_drawn(data):
    X, y = data
    y = y + 2.0 * np.random.default_rng(0).normal(size=60)
    model = GroupLassoCV(groups=2, l1_ratio=[0.0, 0.3, 1.0], cv=3, alphas=10).fit(X, y)
    display = CVPathDisplay.from_estimator(model)
    row = [0.0, 0.3, 1.0].index(model.l1_ratio_)
    np.testing.assert_array_equal(display.errors, model.mse_path_[row])
    np.testing.assert_array_equal(display.positions, model.alphas_[row])
    assert display.best == model.alpha_
    assert f"{model.l1_ratio_:g}" in display.ax_.get_legend().get_title().get_text()


def test_one_fold_and_one_alpha(data):
    X, y = data
    one = CVPathDisplay.from_estimator(GroupLassoCV(cv=[(np.arange(40), np.arange(40, 60))], alphas=8).fit(X, y))
    assert one.fill_between_ is None and set(one.marks_) == {"min"} and len(one.fold_lines_) == 1
    single = CVPathDisplay.from_estimator(GroupLassoCV(cv=3, alphas=[0.1]).fit(X, y))
    assert single.best == single.one_standard_error == 0.1


def test_errors_that_are_not_finite():
    display = CVPathDisplay([3.0, 2.0, 1.0], [[1.0, 2.0], [0.0, np.nan], [3.0, 3.0]]).plot()
    assert display.best == 3.0
    assert np.isnan(display.line_.get_ydata()[1])


def test_cross_validation_on_own_axes(data):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    display = CVPathDisplay([1, 2, 3], np.ones((3, 2)), position_name="depth", logarithmic=False)
    assert display.plot(ax, color="red") is display
    assert display.ax_ is ax and display.figure_ is figure and ax.get_xlabel() == "depth"
    assert display.line_.get_color() == "red"
    assert display.selected is None and not marks(display)
    assert display.one_standard_error == 1.0  # of equals the simplest


def test_the_legend_does_not_cover_the_curve():
    x = np.geomspace(10.0, 0.1, 50)
    # folds that differ much leave no room but at the mean, between them
    apart = np.ones((50, 1)) * [1.0, 0.9, 0.8, 0.1, 0.05, 0.0]
    falling = np.column_stack([x, 1.1 * x, 0.9 * x])
    for errors, inside in ((apart, False), (falling, True)):
        display = CVPathDisplay(x, errors).plot()
        display.figure_.draw_without_rendering()
        box = display.ax_.get_legend().get_window_extent()
        curve = display.ax_.transData.transform(display.line_.get_xydata())
        assert box.count_contains(curve) == 0
        assert (box.x1 <= display.ax_.get_window_extent().x1) == inside


# --- outliers


def test_index_of_a_data_frame_names_the_rows(rng):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"], index=[f"house {i}" for i in range(40)])
    y = frame["a"] + 0.1 * rng.normal(size=40)
    y.iloc[[7, 20]] += [30.0, 20.0]
    model = make_pipeline(StandardScaler(), SparseOutlierRegressor(alpha="bonferroni", random_state=0)).fit(frame, y)

    def names(**options):
        display = OutlierPathDisplay.from_estimator(model, frame, y, **options)
        return [text.get_text() for text in display.ax_.texts]

    assert names() == ["house 7", "house 20"]
    # positions, whatever the labels of a series are
    assert names(names=pd.Series(np.arange(40) + 100, index=np.arange(40)[::-1])) == ["107", "120"]


@pytest.mark.parametrize("penalty, style", [("hard", "steps-post"), ("l1", "default"), ("scad", "default")])
def test_a_hard_threshold_is_drawn_as_a_jump(penalty, style, data):
    X, y = data
    y = y.copy()
    y[3] += 50.0
    model = SparseOutlierRegressor(penalty, alpha="bonferroni", random_state=0).fit(X, y)
    path = outlier_path(X, y, penalty, random_state=0)
    assert path.penalty == penalty
    for display in (OutlierPathDisplay.from_estimator(model, X, y), OutlierPathDisplay.from_path(path)):
        assert {line.get_drawstyle() for line in display.lines_} == {style}
        assert len(display.lines_) > 0


def test_without_a_chosen_penalty_those_in_colour_enter_first(rng):
    alphas = np.geomspace(10.0, 1.0, 10)
    sizes = rng.permutation(np.geomspace(1.2, 9.0, 30))
    gammas = np.maximum(sizes[:, None] - alphas, 0.0)
    display = OutlierPathDisplay(alphas, gammas).plot(max_labels=4)
    first = {tuple(gammas[row]) for row in np.argsort(-sizes)[:4]}
    assert {tuple(line.get_ydata()) for line in display.lines_} == first
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["4 rows that enter first", "26 others"]
    chosen = OutlierPathDisplay(alphas, gammas, alpha=5.0).plot(max_labels=4)
    place = np.argmin(np.abs(np.log(alphas / 5.0)))
    assert len(chosen.lines_) == np.sum(gammas[:, place] > 0.0)
    votes = [["a", "b"], ["b", "c"], ["a", "c"], ["a", "b"], ["c", "a"]] * 9
    path = pairwise_outlier_path(votes, [1.0, 1.0, 2.0, 1.1, 2.0] * 9, alphas=20, return_outliers=True)
    assert len(OutlierPathDisplay.from_path(path).lines_) == 10


def test_outliers_of_comparisons():
    X, y = [["a", "b"], ["b", "c"], ["a", "c"], ["a", "b"], ["c", "a"]] * 3, [1.0, 1.0, 2.0, 1.1, 2.0] * 3
    path = pairwise_outlier_path(X, y, alphas=20, return_outliers=True)
    display = OutlierPathDisplay.from_path(path, outlier_mask=np.arange(15) == 4)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), path.outliers[4])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[0] == "1 rows marked"
    with pytest.raises(ValueError, match="return_outliers=True"):
        OutlierPathDisplay.from_path(pairwise_outlier_path(X, y))


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda X, y: CVPathDisplay.from_estimator(GroupLassoCV()), NotFittedError, "not fitted"),
        (lambda X, y: CVPathDisplay.from_estimator(make_pipeline(GroupLassoCV())), NotFittedError, "not fitted"),
        (lambda X, y: CVPathDisplay.from_estimator(GroupLasso().fit(X, y)), ValueError, "keep .* a GroupLasso does"),
        (lambda X, y: CVPathDisplay([1.0, 2.0], np.ones((3, 2))), ValueError, r"errors must have shape \(2, n_folds\)"),
        (lambda X, y: CVPathDisplay([[1.0]], np.ones((1, 2))), ValueError, "positions"),
        (lambda X, y: CVPathDisplay([1.0, 3.0, 2.0], np.ones((3, 2))), ValueError, "increase or decrease"),
        (lambda X, y: CVPathDisplay([1.0, -3.0], np.ones((2, 2))), ValueError, "negative .* -3"),
        (lambda X, y: CVPathDisplay([1.0, 2.0], np.full((2, 2), np.nan)), ValueError, "finite"),
        (lambda X, y: CVPathDisplay([1.0], np.ones((1, 2)), pooled=[1.0, 2.0]), ValueError, "pooled must have"),
        (lambda X, y: RegularizationPathDisplay.from_estimator(GroupLasso()), NotFittedError, "not fitted"),
        (
            lambda X, y: RegularizationPathDisplay.from_estimator(SparseOutlierRegressor().fit(X, y), X, y),
            ValueError,
            "SparseOutlierRegressor",
        ),
        (
            lambda X, y: OutlierPathDisplay.from_estimator(PreconditionedLasso().fit(X, y), X, y),
            ValueError,
            "PreconditionedLasso",
        ),
        (
            lambda X, y: OutlierPathDisplay.from_estimator(SparseOutlierRegressor().fit(X, y), X[:9], y[:9]),
            ValueError,
            "60 rows .* got 9",
        ),
        (lambda X, y: OutlierPathDisplay.from_path(bpdn_path(X, y)), ValueError, "got fields alphas"),
        (
            lambda X, y: RegularizationPathDisplay.from_path(
                pairwise_outlier_path([["a", "b"], ["b", "c"]], [1.0, 2.0])
            ),
            ValueError,
            "Bunch of",
        ),
    ],
)
def test_errors_name_what_came(call, error, match, data):
    with pytest.raises(error, match=match):
        call(*data)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: RegularizationPathDisplay([1.0, 2.0], np.zeros((2, 3))), r"coefs must have shape \(n_lines, 2\)"),
        (lambda: RegularizationPathDisplay([0.0, 2.0], np.zeros((3, 2))), "positions must be positive"),
        (lambda: RegularizationPathDisplay([], np.zeros((3, 0))), "positions"),
        (lambda: RegularizationPathDisplay([1.0, 2.0], np.zeros((3, 2)), names=["a"]), "names .* 3"),
        (lambda: RegularizationPathDisplay([1.0, 2.0], np.zeros((3, 2)), first_entry=[1.0]), "first_entry .* 3"),
        (lambda: RegularizationPathDisplay.from_path([1.0, 2.0]), "coefs must be given"),
        (lambda: RegularizationPathDisplay.from_path(split_lbi_path(np.eye(3), np.arange(3)), kind="b"), "kind .* 'b'"),
        (lambda: RegularizationPathDisplay.from_estimator(GroupLasso().fit(np.eye(3), np.arange(3))), "X and y"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
