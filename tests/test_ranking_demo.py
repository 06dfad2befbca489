"""The arena of the demo runs, and its pictures show something."""

import importlib
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.newest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_ranking_part(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)
    demo = importlib.import_module("demo")
    part = demo.find_parts()["ranking"]
    monkeypatch.setattr(part, "N_MODELS", 12)
    monkeypatch.setattr(part, "N_VOTES", 2_000)
    monkeypatch.setattr(part, "N_VOTERS", 40)
    demo.main(["ranking", "--folder", str(tmp_path)])
    assert "6 among the worst 6" in capsys.readouterr().out
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 3
    assert all(picture.stat().st_size > 20_000 for picture in pictures)
