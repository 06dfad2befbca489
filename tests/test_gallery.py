"""Every script of the gallery runs, draws, and its words do not cover each other."""

import ast
import re
import runpy
from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")
pytestmark = pytest.mark.newest

SCRIPTS = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


@pytest.fixture(autouse=True)
def pyplot(monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield plt
    plt.close("all")


def test_there_is_a_gallery():
    assert len(SCRIPTS) >= 12


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_a_page(script):
    """A title, which asks something or says what is shown, underlined as reStructuredText wants it, and text cells."""
    source = script.read_text(encoding="utf-8")
    title, underline, *_ = ast.get_docstring(ast.parse(source)).splitlines()
    assert re.fullmatch("=+", underline) and len(underline) == len(title)
    cells = re.findall(r"^# %%\n# \S", source, flags=re.MULTILINE)
    assert len(cells) == source.count("# %%") >= 2
    for cell in source.split("# %%")[1:]:
        # the gallery prints the value of an expression at the end of a cell
        last = ast.parse(cell).body[-1]
        assert not isinstance(last, ast.Expr) or ast.unparse(last).startswith(("print(", "plt.show("))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs(script, pyplot, capsys):
    runpy.run_path(str(script))
    assert capsys.readouterr().out.strip()
    assert pyplot.get_fignums()
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        figure.canvas.draw()
        assert figure.axes and all(ax.has_data() or not ax.axison for ax in figure.axes)
        covered = [(a, b) for (a, box), (b, other) in combinations(words(figure), 2) if overlap(box, other)]
        assert not covered


def words(figure):
    """Text and place of everything that is written."""
    import matplotlib.text

    ticks = [tick_labels(axis) for ax in all_axes(figure) for axis in (ax.xaxis, ax.yaxis)]
    drawn = {label for some, _ in ticks for label in some}
    others = {label for _, some in ticks for label in some}
    for text in figure.findobj(matplotlib.text.Text):
        shown = text in drawn if text in others else text.axes is None or text.axes.axison or text in titles(text.axes)
        if shown and text.get_visible() and text.get_text().strip():
            yield text.get_text(), text.get_window_extent()


def all_axes(figure):
    return [*figure.axes, *(child for ax in figure.axes for child in ax.child_axes)]


def titles(ax):
    return [ax.title, ax._left_title, ax._right_title, *ax.texts]


def tick_labels(axis):
    """Labels that are drawn, and all that exist: those beyond the ends of an axis are kept for later."""
    low, high = sorted(axis.get_view_interval())
    shown = axis.axes.axison and axis.get_visible()
    current = [*axis.get_major_ticks(), *axis.get_minor_ticks()] if shown else []
    drawn = [label for tick in current if low <= tick.get_loc() <= high for label in (tick.label1, tick.label2)]
    existing = [label for tick in [*axis.majorTicks, *axis.minorTicks] for label in (tick.label1, tick.label2)]
    return drawn, existing


def overlap(box, other):
    """Whether two boxes share more than a pixel either way."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return width > 1.0 and height > 1.0
