"""Group lasso on the diabetes data: each variable is a group of spline columns, kept or dropped as a whole."""

import time
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from skspar import ColumnGroups, CVPathDisplay, GroupLassoCV, group_lasso_path

from . import COLOURS, GREY, LINE_STYLES

TITLE = "which of ten variables drive the progression of diabetes, and along which curves?"

NAMES = {"bmi": "body mass index", "bp": "blood pressure", "s1": "cholesterol", "s2": "LDL", "s3": "HDL"}
NAMES |= {"s4": "cholesterol/HDL", "s5": "log triglycerides", "s6": "glucose"}
# groups of spline columns: "glucose_sp_0" -> "glucose", "sex_2.0" -> "sex"
VARIABLES = ColumnGroups(["age", "sex", *NAMES.values()])
INNER_CV = KFold(5, shuffle=True, random_state=0)
OUTER_CV = KFold(5, shuffle=True, random_state=1)
N_KNOTS = 5


def run(folder):
    data = load_diabetes(scaled=False, as_frame=True)
    X, y = data.data.rename(columns=NAMES), data.target
    models = {
        "GroupLassoCV": spline_model(group_lasso("min")),
        'GroupLassoCV, "1se" rule': spline_model(group_lasso("1se")),
        "GridSearchCV over n_knots": GridSearchCV(
            spline_model(group_lasso("min")), {"columntransformer__spline__n_knots": [3, 5]}, cv=INNER_CV
        ),
        "LassoCV": spline_model(LassoCV(cv=INNER_CV, max_iter=100_000)),
        "RidgeCV": spline_model(RidgeCV(alphas=np.logspace(-1, 4, 26))),
        "RidgeCV, no splines": expanded_model("passthrough", RidgeCV(alphas=np.logspace(-1, 4, 26))),
    }
    print(f"{X.shape[0]} patients, {X.shape[1]} variables; each numeric one becomes a group of spline columns.")
    fit_and_tell(models, X, y)
    compare_held_out(models, X, y)

    chosen, sparser = models["GroupLassoCV"], models['GroupLassoCV, "1se" rule']
    columns = chosen[:-1].transform(X)
    return [
        draw_path(folder / "group_lasso_path.png", columns, y, chosen[-1], sparser[-1]),
        draw_cv_curve(folder / "group_lasso_cv.png", chosen),
        draw_effects(folder / "group_lasso_effects.png", X, columns, y, chosen[-1]),
    ]


# The models


def group_lasso(selection_rule):
    return GroupLassoCV(groups=VARIABLES, cv=INNER_CV, selection_rule=selection_rule)


def spline_model(estimator):
    return expanded_model(SplineTransformer(N_KNOTS, knots="quantile", include_bias=False), estimator)


def expanded_model(expansion, estimator):
    columns = ColumnTransformer(
        [
            ("spline", expansion, lambda X: X.columns.drop("sex")),
            ("binary", OneHotEncoder(drop="if_binary", sparse_output=False), ["sex"]),
        ],
        verbose_feature_names_out=False,
    )
    return make_pipeline(columns, StandardScaler(), estimator).set_output(transform="pandas")


def last_step(model):
    return getattr(model, "best_estimator_", model)[-1]


def variables_used(model):
    """Variables with a nonzero coefficient, in the order of the columns."""
    last = last_step(model)
    return list(dict.fromkeys(VARIABLES(last.feature_names_in_[last.coef_ != 0])))


# What is printed


def fit_and_tell(models, X, y):
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - start
        last = last_step(model)
        if not isinstance(last, GroupLassoCV):
            continue
        print(f"\n{name}: {seconds:.2f} s, alpha {last.alpha_:.3g}, relative duality gap {last.relative_dual_gap_:.1e}")
        if isinstance(model, GridSearchCV):
            print(f"  best number of knots: {model.best_params_['columntransformer__spline__n_knots']}")
        print(f"  keeps {len(last.active_groups_)} variables: {', '.join(last.active_groups_)}")


def compare_held_out(models, X, y):
    """Print held-out R2 of all models over the same repeated splits, and how stable the selection is."""
    n_splits = OUTER_CV.get_n_splits()
    results = {
        name: cross_validate(model, X, y, cv=OUTER_CV, return_estimator=True, error_score="raise")
        for name, model in models.items()
    }
    first = next(iter(results.values()))["test_score"]
    print(f"\nHeld out, {n_splits} splits ({OUTER_CV}); every model tunes itself on the training part only")
    print(f"{'':27}{'R2: mean (sd)':>16}{'minus first: mean (sd)':>26}{'variables':>12}{'seconds/fit':>14}")
    for name, result in results.items():
        r2, difference = result["test_score"], result["test_score"] - first
        n_used = np.mean([len(variables_used(model)) for model in result["estimator"]])
        versus = f"{difference.mean():+.3f} ({difference.std(ddof=1):.3f})" if np.any(difference) else ""
        score = f"{r2.mean():.3f} ({r2.std(ddof=1):.3f})"
        print(f"{name:27}{score:>16}{versus:>26}{n_used:>12.1f}{result['fit_time'].mean():>14.2f}")

    print("\nIn how many of these splits a variable is kept")
    rules = ["GroupLassoCV", 'GroupLassoCV, "1se" rule', "LassoCV"]
    print(f"{'':27}" + "".join(f"{rule:>27}" for rule in rules))
    counts = [Counter(v for model in results[rule]["estimator"] for v in variables_used(model)) for rule in rules]
    for variable in sorted(X.columns, key=lambda variable: [-count[variable] for count in counts[1::-1]]):
        print(f"{variable:27}" + "".join(f"{count[variable] / n_splits:>27.0%}" for count in counts))


# What is drawn


def draw_path(file, columns, y, chosen, sparser):
    """Norm of each variable's coefficients as the penalty falls, down to a tenth of the chosen one."""
    alphas, coefs, _, _ = group_lasso_path(columns, y, groups=VARIABLES, return_intercepts=True)
    shown = alphas >= chosen.alpha_ / 10
    alphas, coefs = alphas[shown], coefs[:, shown]
    norms = {variable: np.linalg.norm(coefs[index], axis=0) for variable, index in chosen.groups_.items()}
    looks = variable_looks(chosen)

    figure, axes = plt.subplots(figsize=(8, 4.8))
    for variable, norm in norms.items():
        start = max(np.argmax(norm > 0) - 1, 0)
        axes.semilogx(alphas[start:], norm[start:], **looks[variable])
    axes.set(xlim=(alphas[0], alphas[-1]), ylim=(0, None), ylabel="norm of the variable's coefficients")
    axes.set_title("The path: variables enter as the penalty falls (grey: dropped by cross-validation)", pad=20)
    mark_alphas(axes, chosen, sparser)
    ends = [norm[-1] for norm in norms.values()]
    for variable, end, height in zip(norms, ends, spread(ends, 0.05 * axes.get_ylim()[1])):
        leader = looks[variable] | dict(arrowstyle="-", lw=1, ls="-", shrinkA=2, shrinkB=0, relpos=(0, 0.5))
        axes.annotate(
            variable, (1, end), (1.05, height), xycoords=("axes fraction", "data"), va="center", arrowprops=leader
        )
    return save(figure, file)


def draw_cv_curve(file, chosen):
    """Held-out error against the penalty, and what the two rules take."""
    figure, axes = plt.subplots(figsize=(8, 4.8))
    CVPathDisplay.from_estimator(chosen, ax=axes)
    axes.set_title("Cross-validation of the penalty")
    return save(figure, file)


def draw_effects(file, X, columns, y, model):
    """Fitted curve of each variable that is kept, largest effect first, with partial residuals."""
    residuals = (y - model.predict(columns)).to_numpy()
    effects = {v: columns.to_numpy()[:, model.groups_[v]] @ model.coef_[model.groups_[v]] for v in model.active_groups_}

    n_rows = -(-len(effects) // 4)
    figure, grid = plt.subplots(n_rows, 4, figsize=(10, 0.6 + 2.6 * n_rows), sharey=True, squeeze=False)
    for axes in grid.flat[len(effects) :]:
        axes.set_visible(False)
    for axes, variable in zip(grid.flat, sorted(effects, key=lambda v: -np.std(effects[v]))):
        values, effect = X[variable].to_numpy(), effects[variable]
        order = np.argsort(values)
        axes.plot(values, effect + residuals, ".", color=GREY, ms=4, alpha=0.5, mew=0)
        if len(np.unique(values)) > 2:
            axes.plot(values[order], effect[order], color=COLOURS[0], lw=2.5)
        else:
            axes.plot(values, effect, "_", color=COLOURS[0], ms=30, mew=2.5)
            axes.set(xticks=np.unique(values), xlim=(values.min() - 0.5, values.max() + 0.5))
        axes.set_xlabel(variable)
    figure.supylabel("effect on the progression score")
    figure.suptitle("Fitted curves of the variables that are kept (dots: partial residuals)", x=0.01, ha="left")
    return save(figure, file)


def variable_looks(model):
    """Line properties of each variable: a colour and dashes for those kept, largest coefficients first, else grey."""
    size = {variable: np.linalg.norm(model.coef_[index]) for variable, index in model.groups_.items()}
    looks = {variable: dict(color=GREY, lw=1) for variable in size}
    for i, variable in enumerate(sorted(model.active_groups_, key=size.get, reverse=True)):
        looks[variable] = dict(color=COLOURS[i % len(COLOURS)], ls=LINE_STYLES[i % len(LINE_STYLES)], lw=2)
    return looks


def mark_alphas(axes, chosen, sparser):
    """Label the axis of penalties, and mark on it what the two selection rules chose."""
    axes.set_xlabel("penalty alpha, from strong to weak")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    for model, text in [(sparser, '"1se" rule'), (chosen, '"min" rule')]:
        axes.axvline(model.alpha_, color="black", lw=0.8, ls=":")
        axes.annotate(text, (model.alpha_, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom")


def spread(heights, gap):
    """Return the nearest heights that keep the order and lie at least `gap` apart, so that labels do not overlap."""
    heights = np.asarray(heights)
    order = np.argsort(heights)
    ladder = gap * np.arange(len(heights))
    moved = np.empty(len(heights))
    moved[order] = isotonic_regression(heights[order] - ladder) + ladder
    return moved


def save(figure, file):
    figure.savefig(file)
    plt.close(figure)
    return file
