"""Run every benchmark and write RESULTS.md beside this file: ``python benchmarks/run.py [--quick]``."""

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path

import lasso_path
import memory


def table(header, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in rows])


def shown(cell):
    if cell is None:
        return ""
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def versions():
    names = ("skspar", "numpy", "scipy", "scikit-learn", "celer")
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller time budget for peers")
    quick = parser.parse_args().quick
    speed = lasso_path.run(budget=20.0, repeats=3) if quick else lasso_path.run()
    text = "\n\n".join(
        [
            "# Results",
            f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; {versions()}.",
            "## Lasso path, 100 points to alpha_max / 100, AR(0.5) columns, SNR 3, no intercept",
            "Every solver at the loosest of a few tolerances that reaches a relative duality gap of 1e-6 everywhere, "
            "recomputed by the benchmark. Runs are interleaved; medians. The ratio is the solver's time over ours.",
            table(("problem", "solver", "tol", "largest gap", "seconds", "time / ours"), speed),
            "## Memory: 5-fold GroupLassoCV",
            "Peak resident memory that the fit adds, in a process of its own.",
            table(("X", "MB of X", "MB added", "added / X"), memory.run()),
        ]
    )
    print(text)
    Path(__file__).with_name("RESULTS.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
