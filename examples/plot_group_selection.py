"""
Which columns of a table matter, when each becomes many?
========================================================

A rent depends on the size of a flat along a curve, and on its district in five ways. Spline and one-hot encoding turn
each column of a table into several, which belong together: a column matters if any of its columns does. `GroupLasso`
keeps or drops them as a whole; the groups are found by the names that the encoders give.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from skspar import ColumnGroups, GroupLassoCV, RegularizationPathDisplay

# %%
# A table of flats. The rent depends on four of the nine columns; the colour of the door, and the rest, do not matter.

rng = np.random.default_rng(0)
n = 400
flats = pd.DataFrame(
    {
        "size": rng.gamma(6.0, 12.0, n).round(),
        "year": rng.integers(1900, 2024, n),
        "distance": rng.exponential(3.0, n).round(1),
        "floor": rng.integers(0, 8, n),
        "noise_level": rng.normal(55, 8, n).round(),
        "district": rng.choice(["north", "east", "south", "west", "centre"], n, p=[0.25, 0.25, 0.2, 0.2, 0.1]),
        "heating": rng.choice(["gas", "oil", "heat pump"], n),
        "door": rng.choice(["red", "green", "blue", "white"], n),
        "agent": rng.choice(["A", "B", "C", "D", "E", "F"], n),
    }
)
by_district = flats["district"].map({"north": 0, "east": -40, "south": 60, "west": 30, "centre": 250})
old_or_new = 1.2 * (flats["year"] - 1965).abs()  # neither the old nor the new are cheap
rent = 900 * np.log(flats["size"]) - 45 * flats["distance"] + by_district + old_or_new + 80 * rng.normal(size=n)

# %%
# Encoded columns are called "year_sp_3" or "district_south", and `ColumnGroups` knows from which column of the table
# each comes: the number of knots or of categories may change, the groups follow. It needs the names: pandas output.

numeric, categorical = list(flats.columns[:5]), list(flats.columns[5:])
encode = ColumnTransformer(
    [
        ("curves", SplineTransformer(n_knots=5, knots="quantile", include_bias=False), numeric),
        ("categories", OneHotEncoder(sparse_output=False), categorical),
    ],
    verbose_feature_names_out=False,
)
model = make_pipeline(encode, StandardScaler(), GroupLassoCV(groups=ColumnGroups(flats.columns), selection_rule="1se"))
model.set_output(transform="pandas").fit(flats, rent)
lasso = model[-1]
print(f"{lasso.n_features_in_} encoded columns in {len(lasso.groups_)} groups")
print("kept:", ", ".join(lasso.active_groups_))
print(f"relative duality gap: {lasso.relative_dual_gap_:.1e}")

# %%
# The path, one line for each column of the table: the norm of its coefficients as the penalty falls. The four columns
# that matter enter first, and at the penalty chosen by cross-validation (one-standard-error rule) they are alone.

display = RegularizationPathDisplay.from_estimator(model, flats, rent)
_ = display.ax_.set_xlim(right=lasso.alpha_ / 10)

# %%
# The effects that were found. That of the year is a curve with its lowest point in the middle, which no linear term
# could show. A penalty shrinks: the curves are a little flatter than the truth (dashed).

encoded = model[:-1].transform(flats).to_numpy()
effects = {name: encoded[:, index] @ lasso.coef_[index] for name, index in lasso.groups_.items()}
truth = {"size": 900 * np.log(flats["size"]), "distance": -45 * flats["distance"], "year": old_or_new}
truth["district"] = by_district
figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained", width_ratios=[1, 1, 1, 1.3])
for ax, name in zip(axes, ["size", "distance", "year", "district"]):
    order = np.argsort(by_district if name == "district" else flats[name].to_numpy(), kind="stable")
    values, fitted, right = flats[name].to_numpy()[order], effects[name][order], truth[name].to_numpy()[order]
    style = dict(ls="none", marker="o", ms=6) if name == "district" else {}
    ax.plot(values, fitted - fitted.mean(), **({"color": "#0072B2", "lw": 2} | style), label="found")
    dashed = dict(ls="none", marker="_", ms=22) if name == "district" else dict(ls="--")
    ax.plot(values, right - right.mean(), color="black", **dashed, label="truth")
    ax.set_title(name)
axes[0].set_ylabel("effect on the rent")
axes[0].legend(frameon=False)
plt.show()
