"""Block penalties: a partition of columns into groups, their weights, values and dual norms."""

from dataclasses import dataclass, field

import numpy as np

from ._penalty import dual_norms


@dataclass(frozen=True)
class BlockPenalty:
    """``sum_g (1 - l1_ratio) w_g ||B_g||_F + l1_ratio 1[w_g > 0] ||B_g||_1`` on columns of a design.

    Parameters
    ----------
    columns : ndarray of intp
        The penalised columns of the design, group after group. A column may occur in several groups (latent overlap).
    ptr : ndarray of intp, shape (n_groups + 1,)
        Group g holds ``columns[ptr[g]:ptr[g + 1]]``.
    weights : ndarray of float, shape (n_groups,)
        Positive weights.
    unpenalized : ndarray of intp
        Columns outside every group.
    l1_ratio : float
        Share of the l1 norm.
    positive : bool
        Whether coefficients are confined to be nonnegative.
    """

    columns: np.ndarray
    ptr: np.ndarray
    weights: np.ndarray
    unpenalized: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    l1_ratio: float = 0.0
    positive: bool = False

    @property
    def n_groups(self):
        return len(self.weights)

    @property
    def n_features(self):
        return len(self.columns)

    @property
    def sizes(self):
        return np.diff(self.ptr)

    def with_l1_ratio(self, l1_ratio):
        return BlockPenalty(self.columns, self.ptr, self.weights, self.unpenalized, l1_ratio, self.positive)

    def separable(self, n_targets):
        """Whether the penalty is a sum over single coefficients: a weighted Lasso for each target."""
        return self.l1_ratio == 1.0 or (n_targets == 1 and self.n_groups == self.n_features)

    @property
    def group_factors(self):
        """Factor of alpha in front of each group's norm."""
        return (1.0 - self.l1_ratio) * self.weights

    @property
    def entry_factors(self):
        """For a separable penalty the factor of alpha in front of each feature's absolute value."""
        if self.l1_ratio == 1.0:
            return np.ones(self.n_features)
        return self.group_factors + self.l1_ratio

    def dual_norms(self, C):
        """Smallest alpha that keeps each group at zero, given correlations C (n_features, n_targets)."""
        return dual_norms(np.ascontiguousarray(C), self.ptr, self.weights, self.l1_ratio, self.positive)

    def of_groups(self, groups):
        """The same penalty on some groups, in that order, and the places of their features in this one's."""
        features = self.places(groups).astype(np.intp)
        ptr = np.concatenate(([0], np.cumsum(self.sizes[groups]))).astype(np.intp)
        part = BlockPenalty(
            self.columns[features], ptr, self.weights[groups], self.unpenalized, self.l1_ratio, self.positive
        )
        return part, features

    def active(self, B):
        """Groups with a nonzero coefficient in B (n_features, n_targets)."""
        return np.flatnonzero(np.logical_or.reduceat(B.any(axis=1), self.ptr[:-1]))

    def places(self, groups):
        """Places of the features of some groups."""
        sizes = self.sizes[groups]
        first = np.cumsum(sizes) - sizes
        return np.arange(sizes.sum()) + np.repeat(self.ptr[groups] - first, sizes)

    def value(self, B):
        """The penalty at B (n_features, n_targets), without alpha."""
        if self.n_features == 0:
            return 0.0
        norms = np.sqrt(np.add.reduceat(np.einsum("ij,ij->i", B, B), self.ptr[:-1]))
        return float(self.group_factors @ norms + self.l1_ratio * np.abs(B).sum())
