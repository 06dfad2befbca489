import importlib
import types
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")
pytestmark = pytest.mark.newest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("demo")


def stub_part(name):
    def run(folder):
        print(f"{name} at work")
        file = folder / f"{name}.png"
        file.touch()
        return [file]

    return types.SimpleNamespace(TITLE=f"about {name}", run=run)


@pytest.fixture
def stubbed(demo, monkeypatch):
    monkeypatch.setattr(demo, "find_parts", lambda: {name: stub_part(name) for name in ["first", "second"]})
    return demo


def test_every_part_is_found(demo):
    parts = demo.find_parts()
    assert next(iter(parts)) == "groups"
    assert len(parts) == len(list((EXAMPLES / "demo_parts").glob("part*.py")))
    for part in parts.values():
        assert isinstance(part.TITLE, str) and callable(part.run)


@pytest.mark.parametrize(
    "asked, done", [([], ["first", "second"]), (["second"], ["second"]), (["second", "first"], ["second", "first"])]
)
def test_parts_run_in_order(stubbed, asked, done, tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    stubbed.main([*asked, "--folder", str(folder)])
    out = capsys.readouterr().out
    places = [out.index(text) for name in done for text in [f"{name}: about", f"{name} at work", f"{name}.png"]]
    assert places == sorted(places)
    assert sorted(file.stem for file in folder.iterdir()) == sorted(done)


def test_unknown_part_is_an_error(stubbed, tmp_path, capsys):
    with pytest.raises(SystemExit):
        stubbed.main(["third", "--folder", str(tmp_path)])
    assert "no part third; the parts are first, second" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_groups_part(demo, monkeypatch, tmp_path, capsys):
    part = demo.find_parts()["groups"]
    monkeypatch.setattr(part, "OUTER_CV", KFold(2, shuffle=True, random_state=0))
    monkeypatch.setattr(part, "INNER_CV", KFold(3, shuffle=True, random_state=0))
    demo.main(["groups", "--folder", str(tmp_path)])
    out = capsys.readouterr().out
    assert "body mass index" in out
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 3
    for picture in pictures:
        assert str(picture) in out
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000


def test_groups_part_names_variables(demo):
    variables = demo.find_parts()["groups"].VARIABLES
    assert variables(["age_sp_0", "blood pressure_sp_11", "sex_2.0"]) == ["age", "blood pressure", "sex"]


def test_split_lbi_part(demo, monkeypatch, tmp_path, capsys):
    part = demo.find_parts()["split_lbi"]
    monkeypatch.setattr(part, "CV", KFold(3, shuffle=True, random_state=0))
    demo.main(["split_lbi", "--folder", str(tmp_path)])
    out = capsys.readouterr().out
    assert "Split-LBI has [50, 100, 150, 200, 250]" in out
    assert "there are 3 groups" in out and "agree with the tiers on 100%" in out
    assert len(list(tmp_path.glob("*.png"))) == 3


@pytest.mark.parametrize("heights", [[0.0, 5.0, 1.0], [1.0, 1.1, 1.05, 7.0], [2.0, 2.0, 2.0], [3.0]])
def test_labels_do_not_overlap(demo, heights):
    moved = demo.find_parts()["groups"].spread(heights, 0.5)
    assert np.all(np.diff(np.sort(moved)) >= 0.5 - 1e-12)
    assert moved.mean() == pytest.approx(np.mean(heights))
    assert np.all(np.diff(moved[np.argsort(heights, kind="stable")]) > 0)
