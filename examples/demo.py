"""What skspar does, on data that ships with scikit-learn.

    python examples/demo.py              all parts
    python examples/demo.py groups       only the parts named

Every file ``demo_parts/part<number>_<name>.py`` is a part. It has a ``TITLE`` and a function ``run(folder)``, which
prints what it finds, saves its pictures in `folder` and returns their paths. To add a part, add a file.
"""

import argparse
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import matplotlib

import demo_parts


def find_parts():
    """Return {name: module} of all parts, in the order of their numbers."""
    found = {}
    for file in iter_modules(demo_parts.__path__):
        prefix, _, name = file.name.partition("_")
        if prefix.startswith("part"):
            found[int(prefix.removeprefix("part")), name] = import_module(f"demo_parts.{file.name}")
    return {name: found[number, name] for number, name in sorted(found)}


def main(args=None):
    matplotlib.use("Agg")
    parts = find_parts()
    parser = argparse.ArgumentParser(description="What skspar does, on data that ships with scikit-learn.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of: {', '.join(parts)} (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where pictures go (default: %(default)s)")
    options = parser.parse_args(args)
    unknown = [name for name in options.parts if name not in parts]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; the parts are {', '.join(parts)}")

    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.parts or parts:
        title = f"{name}: {parts[name].TITLE}"
        print(f"\n{title}\n{'=' * len(title)}")
        start = time.perf_counter()
        with matplotlib.rc_context(demo_parts.STYLE):
            pictures = parts[name].run(options.folder)
        print(f"\nThis part took {time.perf_counter() - start:.1f} s and saved")
        for picture in pictures:
            print(f"  {picture}")


if __name__ == "__main__":
    main()
