"""
From a table to a report
========================

The whole way: a data frame with numbers, categories and gaps goes in; out comes which rows do not fit, which of its
columns matter, how well the model predicts, and what each finding rests on.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from skspar import ColumnGroups, CVPathDisplay, GroupLassoCV, SparseOutlierRegressor, tau_scorer

# %%
# Energy use of 600 households, from what a survey asked. Some answers are missing, and a few meters were misread, some
# of them by a digit.

rng = np.random.default_rng(0)
n = 600
table = pd.DataFrame(
    {
        "area": rng.gamma(8.0, 13.0, n).round(),
        "people": rng.integers(1, 7, n).astype(float),
        "built": rng.integers(1920, 2024, n).astype(float),
        "income": rng.lognormal(3.5, 0.4, n).round(1),
        "age_of_head": rng.integers(20, 90, n).astype(float),
        "screens": rng.integers(0, 8, n).astype(float),
        "heating": rng.choice(["gas", "electric", "heat pump", "district"], n),
        "region": rng.choice(["coast", "plain", "hills"], n),
        "tariff": rng.choice(["basic", "green", "night"], n),
    }
)
poorly_insulated = np.clip(1985 - table["built"], 0, None) / 10
energy = 60 + 0.5 * table["area"] * (1 + 0.1 * poorly_insulated) + 12 * table["people"]
energy += table["heating"].map({"gas": 0, "electric": 45, "heat pump": -30, "district": 10})
energy += 12 * rng.normal(size=n)
misread = rng.choice(n, 12, replace=False)
energy.iloc[misread[:4]] *= 10
energy.iloc[misread[4:]] += rng.choice([-150, 250], 8)
table = table.mask(rng.random(table.shape) < 0.03)
train, test, y_train, y_test = train_test_split(table, energy, random_state=0)

# %%
# Gaps, curves and categories. `ColumnGroups` follows the columns of the table through all of this by their names, which
# pandas output hands on.

numbers = make_pipeline(SimpleImputer(strategy="median"), SplineTransformer(4, knots="quantile", include_bias=False))
categories = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
encode = make_column_transformer(
    (numbers, make_column_selector(dtype_include="number")),
    (categories, make_column_selector(dtype_exclude="number")),
    verbose_feature_names_out=False,
)


def pipeline(last):
    return make_pipeline(encode, StandardScaler(), last).set_output(transform="pandas")


# %%
# Which rows do not fit? This comes first, because the choice of a penalty does not withstand wrong rows. A robust
# regression on all encoded columns; with "bonferroni", if nothing is wrong, any row is flagged with probability 0.01.
# A row with gaps carries more noise than others, and may be flagged for that: look at these before you blame a meter.

robust = pipeline(SparseOutlierRegressor(alpha="bonferroni", random_state=0)).fit(train, y_train)
flagged = robust[-1].outlier_mask_
is_misread = np.isin(train.index, misread)
print(f"{flagged.sum()} rows flagged; {(flagged & is_misread).sum()} of the {is_misread.sum()} misread meters")
print("gaps in the flagged rows that are right:", train[flagged & ~is_misread].isna().sum(axis=1).to_list())

# %%
# Which columns matter? The same with groups, on the rows that were not flagged, beside the choice on all rows.

cv = KFold(5, shuffle=True, random_state=0)
model = pipeline(GroupLassoCV(groups=ColumnGroups(table.columns), cv=cv, selection_rule="1se", refit=True))
print("kept with all rows:", ", ".join(model.fit(train, y_train)[-1].active_groups_) or "none")
good, y_good = train[~flagged], y_train[~flagged]
lasso = model.fit(good, y_good)[-1]
print("kept without flagged rows:", ", ".join(lasso.active_groups_))

# %%
# How well does it predict? The score is from nested cross-validation: the penalty is chosen anew in every training
# part. It is that of good rows, since the flagged ones are gone; the test rows are as they come, with misread meters,
# and so are judged by the tau scale, which these do not decide.

scores = cross_validate(model, good, y_good, cv=KFold(4, shuffle=True, random_state=1), return_estimator=True)
kept = [set(fitted[-1].active_groups_) for fitted in scores["estimator"]]
importance = permutation_importance(model, test, y_test, scoring=tau_scorer, n_repeats=10, random_state=0)
report = pd.DataFrame(
    {
        "kept": [name in lasso.active_groups_ for name in table],
        "kept in folds": [f"{sum(name in fold for fold in kept)} of {len(kept)}" for name in table],
        "error added when shuffled": importance.importances_mean.round(2),
    },
    index=table.columns,
).sort_values("error added when shuffled", ascending=False)
print(f"nested cross-validation: R2 = {scores['test_score'].mean():.2f} +- {scores['test_score'].std(ddof=1):.2f}")
print(f"test rows: error {-tau_scorer(model, test, y_test):.1f}; relative duality gap {lasso.relative_dual_gap_:.0e}\n")
print(report)

# %%
# The same on one page: which rows to check, how the penalty was chosen, and what the columns are worth.

figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained", width_ratios=[1, 1.2, 1])
predicted, observed = robust.predict(train), y_train.to_numpy()
axes[0].plot(predicted, observed, ".", color="0.6", ms=4, label="rows")
axes[0].plot(predicted[flagged], observed[flagged], "o", mfc="none", color="#D55E00", ms=8, label="to be checked")
axes[0].plot(np.sort(predicted), np.sort(predicted), color="black", lw=0.8, ls=":")
axes[0].set(yscale="log", xlabel="predicted, robustly", ylabel="observed energy use")
axes[0].legend(frameon=False)
CVPathDisplay.from_estimator(model, ax=axes[1])
order = importance.importances_mean.argsort()
names = table.columns[order]
colours = ["#0072B2" if name in lasso.active_groups_ else "0.75" for name in names]
axes[2].barh(names, importance.importances_mean[order], xerr=importance.importances_std[order], color=colours)
axes[2].set(title="blue: kept", xlabel="error added when shuffled")
plt.show()
