"""Time solvers side by side: interleaved, each at the loosest tolerance that reaches the gap."""

import time
import warnings

import numpy as np

import peers

TARGET = 1e-6
# Runs that take less than so many seconds come in threes, of which the last counts: threads of OpenMP and BLAS go on
# spinning for a while after their work and take a core from whoever comes next. They have more turns, too.
SHORT, TURNS = 0.3, 9
HEADER = ("solver", "tol", "largest gap", "seconds", "time / ours")


def timed(function, *arguments):
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        result = function(*arguments)
    return time.perf_counter() - start, result


def _first_call(function, problem):
    """Imports and compilation do not count; returns what is wrong, if anything."""
    try:
        timed(function, problem, problem.alphas[:3], 1e-3)
    except ImportError:
        return "not installed"
    except Exception as error:
        return f"fails: {type(error).__name__}"
    return None


def compare(problem, alphas=None, *, budget=30.0, repeats=3, defaults=True, names=None):
    """Rows (solver, tolerance, gap, median seconds, ratio to ours) for one problem.

    A peer is tried from loose to tight until the gap is at most TARGET, then timed in turn with ours. One that has not
    reached it when the budget (seconds) is spent is listed with its last try; so is what its default tolerance gives.
    """
    alphas = problem.alphas if alphas is None else alphas
    chosen, taken, gaps, rows = {}, {}, {}, []

    def keep(name, solver, tol, seconds, gap):
        chosen[name], taken[name], gaps[name] = (solver, tol), [seconds], gap

    _first_call(peers.skspar, problem)
    seconds, coefs = timed(peers.skspar, problem, alphas, TARGET)
    keep("skspar", peers.skspar, TARGET, seconds, problem.largest_gap(coefs, alphas))
    for name in peers.solvers_for(problem) if names is None else names:
        solver = peers.SOLVERS[name]
        wrong = _first_call(solver, problem)
        if wrong:
            rows.append((name, None, None, None, wrong))
            continue
        if defaults:
            tol = peers.DEFAULTS[name]
            seconds, coefs = timed(solver, problem, alphas, tol)
            keep(f"{name}, its default", solver, tol, seconds, problem.largest_gap(coefs, alphas))
        spent = 0.0
        for tol in peers.TOLERANCES[name]:
            seconds, coefs = timed(solver, problem, alphas, tol)
            spent += seconds
            gap = problem.largest_gap(coefs, alphas)
            if gap <= TARGET:
                keep(name, solver, tol, seconds, gap)
                break
            if spent > budget:
                break
        else:
            tol = peers.TOLERANCES[name][-1]
        if name not in chosen:
            rows.append((name, tol, gap, seconds, "gap missed"))
    turns = TURNS if repeats > 1 else 1
    for turn in range(max(repeats, turns)):
        for name, (solver, tol) in chosen.items():
            short = taken[name][0] < SHORT
            # of the slow ones a single run tells enough
            if turn < (turns if short else repeats) and taken[name][0] < 0.2 * budget:
                runs = [timed(solver, problem, alphas, tol)[0] for _ in range(3 if short else 1)]
                taken[name].append(runs[-1])
    ours = np.median(taken["skspar"])
    for name, (_, tol) in chosen.items():
        median = np.median(taken[name])
        rows.append((name, tol, gaps[name], median, f"{median / ours:.2f}"))
    return sorted(rows, key=lambda row: (row[0] != "skspar", row[0]))
