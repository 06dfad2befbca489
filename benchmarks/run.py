"""Run the benchmarks and write RESULTS.md beside this file.

    python benchmarks/run.py [--quick] [--only TEXT] [family ...]

A family is a module with TITLE, TEXT and ``tables(quick, wanted)``, which yields (name, header, rows) for the names
that ``wanted`` accepts. Families that are named replace their part of RESULTS.md; with ``--only`` they replace the
tables whose name contains TEXT.
"""

import argparse
import importlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

FAMILIES = (
    "paths", "single_fits", "cross_validation", "limits", "memory", "scaling", "matching_pursuit", "basis_pursuit",
    "outliers", "noisy_labels", "instance_credibility", "ranking", "split_lbi",
)  # fmt: skip
PEERS = ("celer", "skglm", "adelie", "spams-bin", "spgl1", "choix", "evalica", "cleanlab")
RESULTS = Path(__file__).with_name("RESULTS.md")


def table(header, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in rows])


def shown(cell):
    if cell is None:
        return ""
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def versions():
    import skspar

    found = [f"skspar {skspar.__version__}"]
    for name in (
        "numpy",
        "scipy",
        "scikit-learn",
        "celer",
        "skglm",
        "adelie",
        "spams-bin",
        "spgl1",
        "choix",
        "evalica",
        "cleanlab",
    ):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def sections(name, quick, only, old):
    """The Markdown of one family, again after each table; ``old`` is what it was."""
    family = importlib.import_module(name)
    parts = [f"## {family.TITLE}", family.TEXT]
    print("\n\n".join(parts), flush=True)
    tables = {part.split("\n", 1)[0]: part.strip() for part in re.split(r"\n(?=### )", old)[1:]} if only else {}
    for title, header, rows in family.tables(quick, lambda title: only in (title or "")):
        key = f"### {title}" if title else ""
        tables[key] = f"{key}\n\n{table(header, rows)}".strip()
        print("\n" + tables[key], flush=True)
        yield "\n\n".join(parts + list(tables.values()))


def write(machine, kept):
    order = ["## " + importlib.import_module(name).TITLE for name in FAMILIES]
    parts = ["# Results", machine, *(kept[title] for title in order if title in kept)]
    RESULTS.write_text("\n\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few problems, few repeats: under two minutes")
    parser.add_argument("--only", metavar="TEXT", default="", help="tables whose name contains TEXT")
    parser.add_argument("families", nargs="*", choices=[[], *FAMILIES], help="all of them by default")
    arguments = parser.parse_args()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; {versions()}."
    print(machine + "\n", flush=True)
    old = re.split(r"\n(?=## )", RESULTS.read_text().strip()) if RESULTS.exists() else []
    kept = {part.split("\n", 1)[0]: part.strip() for part in old[1:]}
    chosen = arguments.families or (FAMILIES[:1] + FAMILIES[2:5] if arguments.quick else FAMILIES)
    for name in chosen:
        title = "## " + importlib.import_module(name).TITLE
        for text in sections(name, arguments.quick, arguments.only, kept.get(title, "")):
            kept[title] = text
            if not arguments.quick:
                write(machine, kept)
    if arguments.quick:
        print("\nQuick runs are not written to RESULTS.md.")


if __name__ == "__main__":
    main()
