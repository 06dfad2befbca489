"""How the documentation is built: make doc, or sphinx-build -W doc doc/_build/html."""

import re
import warnings
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

import skspar

project = "skspar"
author = "The skspar developers"
version = release = skspar.__version__
copyright = author

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst", "auto_examples/**.ipynb", "auto_examples/**.py"]
templates_path = ["templates"]
default_role = "py:obj"  # a name in backticks is a link where it is ours, else code

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False  # templates/class.rst lists them
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(?:^|/)(?!plot_)[^/]*$",  # the demo is no gallery
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skspar",),
    "reference_url": {"skspar": None},
    "abort_on_example_error": False,  # all failures are reported, and the build fails with them
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}
# An example that fits with a warning of its own shows it; a figure that cannot be drawn on a screen is no news.
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

html_theme = "pydata_sphinx_theme"
html_title = "skspar"
html_static_path = ["static"]
html_css_files = ["skspar.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}

ROOT = Path(__file__).parents[1]
PUBLIC = {name: f"skspar.{name}" for name in skspar.__all__ if name != "datasets"}
PUBLIC |= {name: f"skspar.datasets.{name}" for name in skspar.datasets.__all__}
PUBLIC |= {f"datasets.{name}": f"skspar.datasets.{name}" for name in skspar.datasets.__all__}


class LinkPublicNames(SphinxTransform):
    """In the guide, which is Markdown, make links of public names in backticks: `GroupLasso`, `BPDN(sigma=...)`."""

    default_priority = 400

    def apply(self):
        if self.env.docname.startswith(("auto_examples", "generated")):
            return
        for literal in list(self.document.findall(nodes.literal)):
            name = re.match(r"[\w.]*\w", literal.astext())
            target = PUBLIC.get(name[0].removeprefix("skspar.")) if name else None
            if target is None or literal.astext()[name.end() : name.end() + 1] not in ("", "("):
                continue
            if any(isinstance(parent, nodes.reference | addnodes.pending_xref) for parent in ancestors(literal)):
                continue
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=target, refdoc=self.env.docname, refwarn=True
            )
            literal.replace_self(link)
            link += literal


def ancestors(node):
    while node.parent is not None:
        node = node.parent
        yield node


def link_to_pages(app, docname, source):
    """The Markdown files link to files of the repository, as a reader of the repository needs; pages link to pages."""
    source[0] = rewritten(source[0])


def link_included_to_pages(app, relative_path, parent, source):
    source[0] = rewritten(source[0])


def rewritten(text):
    text = re.sub(r"\]\((?:\.\./|(?=benchmarks/))benchmarks/RESULTS\.md", "](benchmarks.md", text)
    text = re.sub(r"\]\(\.\./examples/(plot_\w+)\.py\)", r"](auto_examples/\1.rst)", text)
    text = re.sub(r"\]\((?:\.\./)?(CONTRIBUTING|CHANGELOG)\.md\)", lambda m: f"]({m[1].lower()}.md)", text)
    return re.sub(r"\]\(\.\./(benchmarks|tests|skspar|\.ci|README)[^)]*\)", "]", text)


def formulas_as_written(app, what, name, obj, options, lines):
    """Indented formulas outside the sections of a docstring keep their line breaks, and their bars and asterisks."""
    out, in_text = [], True
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line and re.fullmatch(r"-{3,}", following):
            in_text = line == "Notes"
        begins = line.startswith("    ") and not (out and out[-1].strip())
        if in_text and begins and not inside_item(out):
            out += ["::", ""]
        out.append(line)
    lines[:] = out


def inside_item(lines):
    """Whether the last paragraph is part of a list, or of a literal block."""
    text = [line for line in lines if line.strip()]
    return bool(text) and (text[-1].startswith((" ", "-", "..")) or text[-1].endswith("::"))


def mend_references(app, what, name, obj, options, lines):
    """Docstrings that come from scikit-learn refer to its user guide; numpydoc takes a type for reST."""
    text = "\n".join(lines)
    text = re.sub(r":(?:ref|term):`([^`<]+?)\s*(?:<[^`>]*>)?`", r"\1", text)
    lines[:] = text.replace("(n_features_in_,)", "(``n_features_in_``,)").split("\n")


def setup(app):
    app.add_transform(LinkPublicNames)
    app.connect("source-read", link_to_pages)
    app.connect("include-read", link_included_to_pages)
    app.connect("autodoc-process-docstring", formulas_as_written, priority=100)
    app.connect("autodoc-process-docstring", mend_references, priority=900)
