"""One alpha, from nothing."""

import paths
from compare import HEADER, compare

TITLE = "Single fits"
TEXT = "One alpha of the problems above, without a path before it; to a relative duality gap of 1e-6."


def tables(quick, wanted):
    """Titles, headers and rows."""
    if quick:
        return
    for make in paths.FULL:
        problem = make()
        top = problem.alphas[:1]
        for fraction in (0.1, 0.01):
            if fraction < problem.eps:
                fraction = problem.eps
            title = f"{problem.name}: alpha_max / {1 / fraction:.0f}"
            if wanted(title):
                yield title, HEADER, compare(problem, top * fraction, budget=15.0, defaults=False)
