"""Displays: pictures of fitted models. matplotlib is loaded when something is drawn."""

import numpy as np
from sklearn.utils.validation import check_is_fitted


class OutlierPathDisplay:
    """Paths of the outlier indicator: which rows stand out, and from which threshold on.

    Build it with `from_path` or `from_estimator`, which draw it too.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Thresholds in units of the noise scale.
    gammas : {ndarray, sparse array} of shape (n_samples, n_alphas)
        Outlier indicators, in units of the target.
    alpha : float, default=None
        A threshold to mark, usually the one chosen.
    outlier_mask : ndarray of bool of shape (n_samples,), default=None
        Rows in colour. None means those that are nonzero at ``alpha``, or at the smallest threshold.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the paths.
    figure_ : matplotlib Figure
        Figure that holds them.
    lines_ : list of matplotlib Line2D
        A line for each row in colour, the largest first.

    See Also
    --------
    outlier_path : Computes the paths.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from skspar import OutlierPathDisplay, SparseOutlierRegressor
    >>> from skspar.datasets import make_masking_outliers
    >>> X, y, is_outlier = make_masking_outliers(random_state=0)
    >>> model = SparseOutlierRegressor(alpha="bonferroni", random_state=0).fit(X, y)
    >>> display = OutlierPathDisplay.from_estimator(model, X, y)
    >>> len(display.lines_)
    10
    """

    def __init__(self, alphas, gammas, *, alpha=None, outlier_mask=None):
        self.alphas = alphas
        self.gammas = gammas
        self.alpha = alpha
        self.outlier_mask = outlier_mask

    @classmethod
    def from_path(cls, path, *, alpha=None, outlier_mask=None, ax=None, n_labels=10, labels=None):
        """Draw what `outlier_path` returned.

        Parameters
        ----------
        path : Bunch
            Result of `outlier_path`.
        alpha : float, default=None
            A threshold to mark. None marks that of the smallest BIC.
        outlier_mask : array-like of bool of shape (n_samples,), default=None
            Rows in colour; None means those flagged at ``alpha``.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        n_labels : int, default=10
            How many rows are labelled at most, those with the largest indicator.
        labels : array-like of shape (n_samples,), default=None
            Names of the rows; None numbers them from 0.

        Returns
        -------
        display : OutlierPathDisplay
            The display, drawn.
        """
        if alpha is None:
            alpha = float(path.alphas[int(np.argmin(path.bic))])
        display = cls(path.alphas, path.gammas, alpha=alpha, outlier_mask=outlier_mask)
        return display.plot(ax, n_labels=n_labels, labels=labels)

    @classmethod
    def from_estimator(cls, estimator, X, y, *, sample_weight=None, alphas=60, ax=None, n_labels=10, labels=None):
        """Compute and draw the path of a fitted `SparseOutlierRegressor`, flagged rows in colour.

        Parameters
        ----------
        estimator : SparseOutlierRegressor or SparseOutlierRegressorCV
            Fitted on X and y.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows it was fitted on.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            The weights it was fitted with.
        alphas : int or array-like of float, default=60
            Thresholds; a number of them reaches from where nothing is flagged to below the one chosen.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        n_labels : int, default=10
            How many rows are labelled at most.
        labels : array-like of shape (n_samples,), default=None
            Names of the rows; None numbers them from 0.

        Returns
        -------
        display : OutlierPathDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "outlier_mask_")
        names = ("penalty", "leverage_weights", "init", "fit_intercept", "max_iter", "tol", "random_state")
        options = {name: getattr(estimator, name) for name in names}
        if estimator.scale_ > 0.0:
            options["scale"] = estimator.scale_
        path = estimator.path(
            X,
            y,
            alphas=alphas,
            alpha_min=min(1.5, 0.8 * estimator.alpha_),
            coef_alpha=estimator.coef_alpha_,
            sample_weight=sample_weight,
            **options,
        )
        display = cls(path.alphas, path.gammas, alpha=estimator.alpha_, outlier_mask=estimator.outlier_mask_)
        return display.plot(ax, n_labels=n_labels, labels=labels)

    def plot(self, ax=None, *, n_labels=10, labels=None):
        """Draw the paths.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        n_labels : int, default=10
            How many rows are labelled at most, those with the largest indicator.
        labels : array-like of shape (n_samples,), default=None
            Names of the rows; None numbers them from 0.

        Returns
        -------
        display : OutlierPathDisplay
            The display, with ``ax_``, ``figure_`` and ``lines_``.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
        alphas = np.asarray(self.alphas, dtype=np.float64)
        gammas = self.gammas.tocsr() if hasattr(self.gammas, "tocsr") else np.asarray(self.gammas)
        place = len(alphas) - 1 if self.alpha is None else int(np.argmin(np.abs(np.log(alphas / self.alpha))))
        size = np.abs(np.asarray(gammas[:, [-1]].toarray() if hasattr(gammas, "toarray") else gammas[:, [-1]]))[:, 0]
        if self.outlier_mask is None:
            at = gammas[:, [place]]
            mask = np.asarray(at.toarray() if hasattr(at, "toarray") else at)[:, 0] != 0.0
        else:
            mask = np.asarray(self.outlier_mask, dtype=bool)

        def path_of(row):
            values = gammas[[row]]
            values = np.asarray(values.toarray() if hasattr(values, "toarray") else values)[0]
            return np.where(values == 0.0, np.nan, values), values

        for row in np.flatnonzero(~mask & (size > 0.0)):
            ax.plot(alphas, path_of(row)[0], color="0.7", lw=0.8, zorder=1)
        coloured = np.flatnonzero(mask)
        coloured = coloured[np.argsort(-size[coloured], kind="stable")]
        # colours that people with any kind of colour vision tell apart (Okabe & Ito)
        colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"]
        self.lines_ = []
        for i, row in enumerate(coloured):
            [line] = ax.plot(alphas, path_of(row)[1], color=colours[i % len(colours)], lw=1.6, zorder=2)
            self.lines_.append(line)
        ax.axhline(0.0, color="0.3", lw=0.8, zorder=0)
        ax.set_xscale("log")
        ax.set_xlim(alphas.max(), alphas.min())
        _plain_ticks(ax)
        if self.alpha is not None:
            ax.axvline(self.alpha, color="black", lw=0.8, ls=":")
            ax.annotate(
                f"{self.alpha:.2g}", (self.alpha, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom"
            )
        ax.set_xlabel("threshold alpha, in scales of the noise")
        ax.set_ylabel("outlier indicator gamma, in units of y")
        shown = coloured[:n_labels]
        ends = np.array([path_of(row)[1][-1] for row in shown])
        low, high = ax.get_ylim()
        heights = _spread(ends, 0.045 * (high - low))
        if len(heights):
            # within the axes, as far as there is room
            heights += max(low - heights.min(), 0.0) - max(heights.max() - high, 0.0)
        for row, end, height, line in zip(shown, ends, heights, self.lines_):
            name = str(row if labels is None else labels[row])
            ax.annotate(
                name,
                (1.0, end),
                (1.03, height),
                xycoords=("axes fraction", "data"),
                va="center",
                color=line.get_color(),
                fontsize="small",
                arrowprops=dict(arrowstyle="-", color=line.get_color(), lw=0.7, shrinkA=0, shrinkB=0, relpos=(0, 0.5)),
            )
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _plain_ticks(ax):
    """Numbers, not powers, on an axis of thresholds."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    low, high = sorted(ax.get_xlim())
    few = high / low < 30.0
    ax.xaxis.set_major_locator(
        LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7) if few else (1, 2, 5) if high / low < 1e3 else (1,))
    )
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _spread(heights, gap):
    """Return the nearest heights in the same order that lie at least ``gap`` apart."""
    from sklearn.isotonic import isotonic_regression

    if len(heights) == 0:
        return heights
    order = np.argsort(heights, kind="stable")
    ladder = gap * np.arange(len(heights))
    moved = np.empty(len(heights))
    moved[order] = isotonic_regression(np.asarray(heights)[order] - ladder) + ladder
    return moved
