"""What the benchmarks compare: every solver as a function ``(problem, alphas, tol) -> coefficients``.

``tol`` means to each what it means to its authors; ``DEFAULTS`` has what they chose. A missing library is reported, not
an error.
"""

import numpy as np


def skspar(problem, alphas, tol):
    from skspar import group_lasso_path

    groups = None if problem.size == 1 else problem.size
    return group_lasso_path(problem.X, problem.Y, groups=groups, l1_ratio=problem.l1_ratio, alphas=alphas, tol=tol)[1]


def scikit_learn(problem, alphas, tol):
    from sklearn.linear_model import lasso_path

    return lasso_path(problem.X, problem.Y, alphas=alphas, tol=tol, max_iter=100_000)[1]


def celer(problem, alphas, tol):
    if problem.Y.ndim == 2:
        from celer.homotopy import mtl_path

        return mtl_path(problem.X, np.asfortranarray(problem.Y), alphas=alphas, tol=tol, max_iter=200)[1]
    from celer import celer_path

    options = dict(alphas=alphas, tol=tol, max_iter=200, max_epochs=100_000)
    if problem.size == 1:
        return celer_path(problem.X, problem.Y, pb="lasso", **options)[1]
    weights = np.full(problem.p // problem.size, problem.weight)
    return celer_path(problem.X, problem.Y, pb="grouplasso", groups=problem.size, weights=weights, **options)[1]


def skglm(problem, alphas, tol):
    if problem.Y.ndim == 2:
        from skglm.datafits import QuadraticMultiTask
        from skglm.penalties import L2_1
        from skglm.solvers import MultiTaskBCD

        solver = MultiTaskBCD(max_iter=500, tol=tol, fit_intercept=False, warm_start=True)
        datafit, penalty = QuadraticMultiTask(), L2_1(1.0)
        coefs = solver.path(problem.X, np.asfortranarray(problem.Y), datafit, penalty, alphas)[1]
        return np.moveaxis(coefs, 0, 1) if coefs.shape[0] == problem.p else coefs
    from skglm.utils.jit_compilation import compiled_clone

    if problem.size == 1:
        from skglm.datafits import Quadratic
        from skglm.penalties import L1
        from skglm.solvers import AndersonCD

        datafit, penalty = compiled_clone(Quadratic()), compiled_clone(L1(1.0))
        solver = AndersonCD(max_iter=500, tol=tol, fit_intercept=False, warm_start=True)
        return solver.path(problem.X, problem.Y, datafit, penalty, alphas=alphas)[1]
    from skglm.datafits import QuadraticGroup
    from skglm.penalties import WeightedGroupL2, WeightedL1GroupL2
    from skglm.solvers import GroupBCD
    from skglm.utils.data import grp_converter

    indices, ptr = grp_converter(problem.size, problem.p)
    weights = np.full(problem.p // problem.size, problem.weight)
    datafit = compiled_clone(QuadraticGroup(ptr, indices))
    strategy = "fixpoint" if problem.l1_ratio else "subdiff"
    solver = GroupBCD(max_iter=500, tol=tol, warm_start=True, ws_strategy=strategy)
    w, out = None, []
    for alpha in alphas:
        if problem.l1_ratio:
            rho = problem.l1_ratio
            penalty = WeightedL1GroupL2(alpha, (1.0 - rho) * weights, np.full(problem.p, rho), ptr, indices)
        else:
            penalty = WeightedGroupL2(alpha, weights, ptr, indices)
        penalty = compiled_clone(penalty)
        datafit.initialize(problem.X, problem.Y)
        fitted = None if w is None else problem.X @ w
        w = solver.solve(problem.X, problem.Y, datafit, penalty, w, fitted)[0]
        out.append(w.copy())
    return np.array(out).T


def adelie(problem, alphas, tol):
    import adelie as ad
    from scipy import sparse

    X = ad.matrix.sparse(problem.X, n_threads=2) if sparse.issparse(problem.X) else problem.X
    options = dict(
        intercept=False, tol=tol, early_exit=False, adev_tol=1.0, ddev_tol=0.0, n_threads=2, progress_bar=False
    )
    if problem.Y.ndim == 2:
        T = problem.Y.shape[1]
        glm = ad.glm.multigaussian(np.ascontiguousarray(problem.Y))
        # its loss is divided by the number of targets and its weights are their square root
        state = ad.grpnet(X, glm, lmda_path=alphas / T**1.5, **options)
        return state.betas.toarray().reshape(-1, problem.p, T).transpose(2, 1, 0)
    groups = np.arange(0, problem.p, problem.size)
    state = ad.grpnet(X, ad.glm.gaussian(problem.Y), groups=groups, lmda_path=alphas, **options)
    return state.betas.toarray().T


# the libraries' own defaults, and what is tried from loose to tight
DEFAULTS = {"scikit-learn": 1e-4, "celer": 1e-6, "skglm": 1e-4, "adelie": 1e-7}
SOLVERS = {"scikit-learn": scikit_learn, "celer": celer, "skglm": skglm, "adelie": adelie}
TOLERANCES = {
    "scikit-learn": (1e-6, 2.5e-7, 1e-7),
    "celer": (1e-6, 2.5e-7, 1e-7, 1e-8),
    "skglm": (1e-5, 1e-6, 1e-7),
    "adelie": (1e-12, 1e-13, 1e-14, 1e-15, 1e-16),
}


def solvers_for(problem):
    """Names of the libraries that solve such a problem."""
    from scipy import sparse

    if problem.l1_ratio:
        return ("skglm",)
    if problem.Y.ndim == 2:
        return ("scikit-learn", "celer", "adelie")
    if problem.size > 1:
        return ("celer", "skglm", "adelie")
    if sparse.issparse(problem.X):
        return ("scikit-learn", "celer", "skglm", "adelie")
    return ("scikit-learn", "celer", "skglm", "adelie")
