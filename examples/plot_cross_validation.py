"""
How strong should the penalty be?
=================================

Cross-validation says how well each penalty predicts rows that it has not seen, and how surely. The least error is one
answer; the strongest penalty whose error is within one standard error of it is another, and gives a smaller model.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from skspar import CVPathDisplay, GroupLassoCV, RegularizationPathDisplay

# %%
# Ten measurements of patients, and thirty columns of noise that a careful analyst would not have added. Groups of one
# feature make `GroupLassoCV` a Lasso.

data = load_diabetes(as_frame=True)
rng = np.random.default_rng(0)
X = data.data.assign(**{f"noise {k}": rng.normal(size=len(data.data)) for k in range(30)})
X = StandardScaler().set_output(transform="pandas").fit_transform(X)
y = data.target

cv = KFold(10, shuffle=True, random_state=0)
least = GroupLassoCV(cv=cv).fit(X, y)
sparser = GroupLassoCV(cv=cv, selection_rule="1se").fit(X, y)
for name, model in [("least error", least), ("one-standard-error rule", sparser)]:
    kept = X.columns[model.coef_ != 0]
    noise = kept.str.startswith("noise").sum()
    print(f"{name:24} alpha = {model.alpha_:5.2f}: {len(kept) - noise:2} measurements, {noise:2} columns of noise")

# %%
# The curve of the held-out error is flat at its bottom: all penalties there predict about as well, and the band says
# that the differences mean little. The one-standard-error rule takes the strongest of these penalties.

display = CVPathDisplay.from_estimator(sparser)

# %%
# What that means for the coefficients: at the least error (dashed) nine columns of noise have entered; at the penalty
# that the rule selects two have. Their coefficients are hardly larger than zero there: a penalty shrinks what has just
# entered.

display = RegularizationPathDisplay.from_estimator(sparser, X, y, max_labels=8)
display.ax_.axvline(least.alpha_, color="black", ls="--", lw=1)
display.ax_.annotate("least error", (0.97 * least.alpha_, 30.0), fontsize="small")
plt.show()
