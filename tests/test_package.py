"""The package as a whole: public names, import cost, and imports that point one way."""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import skspar

ROOT = Path(skspar.__file__).parent
SOURCES = sorted(path for path in ROOT.rglob("*") if path.suffix in {".py", ".pyx", ".pxd"})


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", skspar.__version__)
    assert metadata.version("skspar") == skspar.__version__


@pytest.mark.parametrize("module", [skspar, skspar.datasets, skspar.inspection], ids=lambda module: module.__name__)
def test_all_is_sorted_and_importable(module):
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("module", [skspar, skspar.datasets], ids=lambda module: module.__name__)
def test_all_is_complete(module):
    """Every public class and function of a family is exported, and nothing else is."""
    defined = {"datasets"} if module is skspar else set()
    for path in Path(module.__file__).parent.glob("*.py"):
        if path.name == "__init__.py" or (module is skspar and path.name.startswith("_")):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                defined.add(node.name)
    if module is skspar:
        defined |= set(skspar.inspection.__all__)  # a package, whose private modules define what is public
    assert set(module.__all__) == defined


def test_import_does_not_load_matplotlib():
    code = "import sys, skspar; print('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


# Families of several modules: what trains on clean labels has the detector as its default.
SAME_FAMILY = {"clean_labels": "noisy_labels"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    """Estimators import the engine, never the reverse; one family does not import another."""
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    if own == "__init__":
        return
    for room in imported_rooms(path):
        if own == "_engine":
            assert room == "_engine", f"the engine imports {room!r}"
        else:
            assert room in (own, SAME_FAMILY.get(own)) or room.startswith("_"), f"{own!r} imports {room!r}"


def test_the_rule_sees_every_form_of_import(tmp_path):
    package = tmp_path / "skspar"
    package.mkdir()
    lines = {
        "import skspar.ranking": {"ranking"},
        "import skspar": {"skspar"},
        "from skspar import GroupLasso": {"GroupLasso"},
        "from skspar.ranking import f": {"ranking"},
        "from ..ranking import f": {"ranking"},
        "from .. import ranking, _engine": {"ranking", "_engine"},
        "from . import path": {"_engine"},
        "def f():\n    from ..ranking import f": {"ranking"},
        "import numpy, skspars\nfrom scipy import linalg": set(),
    }
    for suffix in (".py", ".pyx"):
        module = package / "_engine" / f"m{suffix}"
        module.parent.mkdir(exist_ok=True)
        for line, rooms in lines.items():
            module.write_text(line, encoding="utf-8")
            assert set(imported_rooms(module, package)) == rooms, line
    module.write_text("from ..ranking cimport f\ncdef double x\nfrom libc.math cimport sqrt", encoding="utf-8")
    assert set(imported_rooms(module, package)) == {"ranking"}


def imported_rooms(path, root=ROOT):
    """First part below skspar of everything that a source file imports from the package."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":  # not Python: keep the import statements only
        statements = re.findall(r"^\s*((?:from\s+\S+\s+)?c?import\s+(?:\([^)]*\)|[^#\n]*))", text, flags=re.MULTILINE)
        text = "\n".join(statement.replace("cimport ", "import ") for statement in statements)
    package = ("skspar", *path.parent.relative_to(root).parts)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            targets = [(*base, alias.name) for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "skspar":
                yield target[1] if len(target) > 1 else "skspar"
