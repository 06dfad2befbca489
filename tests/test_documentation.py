"""The guide and the README: code prints what they say, links lead somewhere, no public name is missing."""

import contextlib
import doctest
import io
import re
from pathlib import Path

import numpy as np
import pytest

import skspar

ROOT = Path(__file__).parents[1]
DOC = ROOT / "doc"
PAGES = sorted(DOC.glob("*.md"))
README = ROOT / "README.md"

if not PAGES:
    pytest.skip("the documentation is not here", allow_module_level=True)


def code_blocks(page, language):
    """(line number, text) of each fenced block of a language."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, match.start()) + 1, match[1]


def listed():
    """Public names that the API reference lists, with their module."""
    module = None
    for line in (DOC / "api.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule::"):
            module = line.split()[-1]
        elif re.fullmatch(r" {3}\w+", line):
            yield module, line.strip()


@pytest.mark.parametrize("module", [skspar, skspar.datasets], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module):
    names = [name for where, name in listed() if where == module.__name__]
    assert len(names) == len(set(names))
    assert set(names) == set(module.__all__) - {"datasets"}


def test_every_estimator_is_in_the_guide():
    chapters = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [name for _, name in listed() if f"`{name}" not in chapters and f"import {name}" not in chapters]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_guide_runs(page):
    """Blocks of a page are one session. No Python block is without prompts, which would hide it from this test."""
    assert not list(code_blocks(page, "python")), "write Python as ```pycon, with its output"
    blocks = list(code_blocks(page, "pycon"))
    if blocks and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("the guide shows numbers as NumPy 2 does")
    session, report = {}, []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for line, text in blocks:
        example = doctest.DocTestParser().get_doctest(text, session, page.name, str(page), line)
        assert example.examples, f"{page.name}, line {line}: no prompt"
        runner.run(example, out=report.append, clear_globs=False)
        session = example.globs
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_the_readme_prints_what_it_says():
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == text.count("```python\n") > 0, "a block of code without its output"
    for code, said in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(README), "exec"), {})
        assert printed.getvalue() == said


@pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="not a source tree")
@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    files = {link.partition("#")[0] for link in links if not re.match(r"https?:|#", link)}
    missing = {file for file in files if not (page.parent / file).exists()} - {"auto_examples/index.rst"}
    assert not missing
