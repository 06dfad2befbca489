"""
When should a path be stopped?
==============================

Split-LBI starts with nothing and lets features enter as time goes by; in the end it fits the noise. The time to stop at
is its only tuning parameter, and `SplitLBICV` chooses it by cross-validation, after one run for each fold.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import KFold

from skspar import CVPathDisplay, RegularizationPathDisplay, SplitLBICV

# %%
# 120 rows, 80 features, of which five matter.

rng = np.random.default_rng(0)
n, p = 120, 80
X, X_test = rng.normal(size=(n, p)), rng.normal(size=(2000, p))
coef = np.zeros(p)
coef[:5] = [2.0, -1.5, 1.0, 1.0, -0.8]
y, y_test = X @ coef + 2.0 * rng.normal(size=n), X_test @ coef + 2.0 * rng.normal(size=2000)

# %%
# ``nu=None`` is the plain iteration, for features that are sparse themselves.

cv = KFold(10, shuffle=True, random_state=0)
model = SplitLBICV(None, cv=cv, selection_rule="1se").fit(X, y)
kept = np.flatnonzero(model.coef_)
print(f"stopped at {model.t_:.3g}: {len(kept)} features, {np.sum(kept < 5)} of the five that matter")

# %%
# The errors along the path: on training rows they fall for ever, on rows that the model has not seen they fall and rise
# again. Cross-validation, from the training rows alone, finds the valley.

train = [np.mean((y - model.predict(X, t)) ** 2) for t in model.times_]
test = [np.mean((y_test - model.predict(X_test, t)) ** 2) for t in model.times_]
display = CVPathDisplay.from_estimator(model)
display.ax_.plot(model.times_, train, color="black", ls=":", label="training rows")
display.ax_.plot(model.times_, test, color="#D55E00", ls="-.", lw=1.8, label="2,000 new rows")
display.ax_.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
print(f"error on new rows: {test[int(np.argmin(np.abs(model.times_ - model.t_)))]:.2f}; least along the path")
print(f"{min(test):.2f}; at the end {test[-1]:.2f}; of the truth itself about {4.0:.2f}")

# %%
# The path up to there: the five features that matter (0 to 4) enter first, and close to their full size.

RegularizationPathDisplay.from_estimator(model, max_labels=7)
plt.show()
