"""Pictures: what is drawn is what the path holds."""

import numpy as np
import pytest
from scipy import sparse

from skspar import (
    GroupLasso,
    GroupLassoCV,
    RegularizationPathDisplay,
    SplitLBI,
    SplitLBIClassifier,
    SplitLBICV,
    group_lasso_path,
    inverse_scale_space_path,
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


def labels(display):
    legend = display.ax_.get_legend()
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("est", [SplitLBI(None), SplitLBI(D="fused"), SplitLBICV(None, cv=3)], ids=str)
def test_estimators_that_keep_their_path(est, data):
    pd = pytest.importorskip("pandas")
    X, y = data
    model = est.fit(pd.DataFrame(X, columns=list("abcdef")), y)
    display = RegularizationPathDisplay.from_estimator(model)
    np.testing.assert_array_equal(drawn(display), model.coef_path_)
    np.testing.assert_array_equal(display.positions, model.times_)
    assert display.ax_.get_xscale() == "log" and display.ax_.get_xlim() == (model.times_[0], model.times_[-1])
    assert display.ax_.get_xlabel() == "time" and display.figure_ is display.ax_.figure
    if model.D is None:
        assert labels(display)[:3] == ["a", "b", "d"]
        assert [display.names[j] for j in np.argsort(model.first_entry_)[:3]] == ["a", "b", "d"]


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
    assert [text.get_text() for text in display.ax_.texts] == ["selected"]


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
