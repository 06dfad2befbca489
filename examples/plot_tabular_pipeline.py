"""
From a table to a report
========================

The whole way: a data frame with numbers, categories and gaps goes in; out comes which of its columns matter, how well
the model predicts, which rows do not fit, and what each finding rests on.
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

from skspar import CVPathDisplay, GroupLassoCV, SparseOutlierRegressor

# %%
# Energy use of 600 households, from what a survey asked. Some answers are missing, and a few meters were misread.

rng = np.random.default_rng(0)
n = 600
table = pd.DataFrame(
    {
        "area": rng.gamma(8.0, 13.0, n).round(),
        "people": rng.integers(1, 7, n).astype(float),
        "built": rng.integers(1920, 2024, n).astype(float),
        "income": rng.lognormal(3.5, 0.4, n).round(1),
        "age of head": rng.integers(20, 90, n).astype(float),
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
energy.iloc[misread] += rng.choice([-150, 250], 12)
table = table.mask(rng.random(table.shape) < 0.03)
train, test, y_train, y_test = train_test_split(table, energy, random_state=0)

# %%
# One pipeline does everything: gaps, curves, categories, scaling, groups, and the choice of the penalty. Columns that
# come from the same column of the table form a group, which their names tell.


def column_of(names):
    return [name.partition("_")[0] for name in names]


numbers = make_pipeline(SimpleImputer(strategy="median"), SplineTransformer(4, knots="quantile", include_bias=False))
categories = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
encode = make_column_transformer(
    (numbers, make_column_selector(dtype_include="number")),
    (categories, make_column_selector(dtype_exclude="number")),
    verbose_feature_names_out=False,
)
cv = KFold(5, shuffle=True, random_state=0)
model = make_pipeline(encode, StandardScaler(), GroupLassoCV(groups=column_of, cv=cv, selection_rule="1se", refit=True))
model.set_output(transform="pandas").fit(train, y_train)
lasso = model[-1]

# %%
# What matters, and how well it predicts. The score is from nested cross-validation: the penalty is chosen anew in every
# training part. Outliers weigh in all of these numbers.

scores = cross_validate(model, train, y_train, cv=KFold(4, shuffle=True, random_state=1), return_estimator=True)
kept = [set(fitted[-1].active_groups_) for fitted in scores["estimator"]]
importance = permutation_importance(model, test, y_test, n_repeats=10, random_state=0)
report = pd.DataFrame(
    {
        "kept": [name in lasso.active_groups_ for name in table],
        "kept in folds": [f"{sum(name in fold for fold in kept)} of {len(kept)}" for name in table],
        "R2 lost when shuffled": importance.importances_mean.round(3),
    },
    index=table.columns,
).sort_values("R2 lost when shuffled", ascending=False)
print(f"nested cross-validation: R2 = {scores['test_score'].mean():.2f} +- {scores['test_score'].std(ddof=1):.2f}")
print(f"test rows: R2 = {model.score(test, y_test):.2f}; relative duality gap {lasso.relative_dual_gap_:.0e}\n")
print(report)

# %%
# Which rows do not fit? A robust regression on the encoded columns that were kept, with a threshold that bounds the
# chance of any false alarm by 5 %.

columns = lasso.coef_ != 0
encoded = model[:-1].transform(train).loc[:, columns]
robust = SparseOutlierRegressor(alpha="bonferroni", random_state=0).fit(encoded, y_train)
flagged = train.index[robust.outlier_mask_]
there = np.isin(train.index, misread)
print(
    f"{len(flagged)} rows flagged; {np.isin(flagged, misread).sum()} of the {there.sum()} misread meters are among them"
)

# %%
# The same on one page: how the penalty was chosen, what the columns are worth, and which rows to check.

figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained", width_ratios=[1.2, 1, 1])
CVPathDisplay.from_estimator(model, ax=axes[0])
order = importance.importances_mean.argsort()
names = table.columns[order]
colours = ["#0072B2" if name in lasso.active_groups_ else "0.75" for name in names]
axes[1].barh(names, importance.importances_mean[order], xerr=importance.importances_std[order], color=colours)
axes[1].set(title="blue: kept", xlabel="R2 lost when the column is shuffled")
predicted, observed = robust.predict(encoded), y_train.to_numpy()
axes[2].plot(predicted, observed, ".", color="0.6", ms=4, label="rows")
axes[2].plot(predicted[robust.outlier_mask_], observed[robust.outlier_mask_], "o", mfc="none", color="#D55E00", ms=8,
             label="to be checked")  # fmt: skip
axes[2].axline((150, 150), slope=1, color="black", lw=0.8, ls=":")
axes[2].set(xlabel="predicted, robustly", ylabel="observed energy use")
axes[2].legend(frameon=False)
plt.show()
