"""Run the benchmarks and write RESULTS.md beside this file: ``python benchmarks/run.py [--quick] [family ...]``.

A family is a module with TITLE, TEXT and ``tables(quick)``, which yields (name, header, rows). With names given, only
those are run and their part of RESULTS.md is replaced.
"""

import argparse
import importlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path

FAMILIES = ("paths", "single_fits", "cross_validation", "limits", "memory", "scaling")
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
    found = []
    for name in ("skspar", "numpy", "scipy", "scikit-learn", "celer", "skglm", "adelie"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def section(name, quick):
    """The Markdown of one family, printed as it grows."""
    family = importlib.import_module(name)
    parts = [f"## {family.TITLE}", family.TEXT]
    print("\n\n".join(parts), flush=True)
    for title, header, rows in family.tables(quick):
        parts.append((f"### {title}\n\n" if title else "") + table(header, rows))
        print("\n" + parts[-1], flush=True)
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few problems, few repeats: under two minutes")
    parser.add_argument("families", nargs="*", choices=[[], *FAMILIES], help="all of them by default")
    arguments = parser.parse_args()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; {versions()}."
    print(machine + "\n", flush=True)
    old = re.split(r"\n(?=## )", RESULTS.read_text().strip()) if RESULTS.exists() else []
    kept = {part.split("\n", 1)[0]: part.strip() for part in old[1:]}
    chosen = arguments.families or (FAMILIES[:1] + FAMILIES[2:5] if arguments.quick else FAMILIES)
    for name in chosen:
        text = section(name, arguments.quick)
        kept[text.split("\n", 1)[0]] = text
    if arguments.quick:
        print("\nQuick runs are not written to RESULTS.md.")
        return
    order = ["## " + importlib.import_module(name).TITLE for name in FAMILIES]
    parts = ["# Results", machine, *(kept[title] for title in order if title in kept)]
    RESULTS.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
