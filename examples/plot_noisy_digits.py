"""
Which digits have a wrong label?
================================

A tenth of the labels of a table of handwritten digits is made wrong. `NoisyLabelDetector` ranks all labels by how
surely they are right, flags as many as it may without more than a tenth of false alarms, and suggests better ones.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skspar import NoisyLabelDetector
from skspar.datasets import make_label_noise

X, y = load_digits(return_X_y=True)
noisy, is_wrong = make_label_noise(y, rate=0.1, random_state=0)

# %%
# One fit judges all labels: the rate of wrong ones, with a lower confidence limit, and each label's quality.

detector = NoisyLabelDetector(cut="fdr", level=0.1, random_state=0).fit(X, noisy)
flagged = detector.label_issues_mask_
print(f"estimated rate {detector.noise_rate_:.3f}, at least {detector.noise_rate_lower_:.3f}: {is_wrong.mean():.3f}")
print(f"{flagged.sum()} labels flagged, {np.sum(flagged & ~is_wrong)} are right; {np.sum(~flagged & is_wrong)} missed")

# %%
# The most doubtful labels, as images. Where the label had not been changed the title is red: some of these digits are
# hard to read, or labelled wrongly in the original data.

doubtful = np.argsort(detector.label_quality_)
figure, axes = plt.subplots(3, 8, figsize=(9, 4.4), layout="constrained")
for row, ax in zip(doubtful, axes.flat):
    ax.imshow(X[row].reshape(8, 8), cmap="Greys")
    title = f"{noisy[row]}, not {detector.suggested_labels_[row]}?"
    ax.set_title(title, fontsize=8, color="black" if is_wrong[row] else "#D55E00")
    ax.set_axis_off()

# %%
# The flagged labels that are right, the false alarms, are digits that look like what is suggested.

alarms = np.flatnonzero(flagged & ~is_wrong)[:8]
figure, axes = plt.subplots(1, 8, figsize=(9, 1.7), layout="constrained")
for ax in axes:
    ax.set_axis_off()
for row, ax in zip(alarms, axes):
    ax.imshow(X[row].reshape(8, 8), cmap="Greys")
    ax.set_title(f"{noisy[row]}, not {detector.suggested_labels_[row]}?", fontsize=8, color="#D55E00")

plt.show()
