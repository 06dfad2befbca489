"""Outlier indicators along a path."""

import numpy as np

from ._drawing import PENALTY, innermost, look, mark_position, new_axes, plain_ticks, spread


class OutlierPathDisplay:
    """Paths of the outlier indicator: which rows stand out, and from which threshold on.

    Build it with `from_path` or `from_estimator`, which draw it too. A row enters at the threshold from which its
    indicator is nonzero: the earlier (further left), the more outlying. Rows that are flagged are in colour.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Thresholds in units of the noise scale.
    gammas : {ndarray, sparse array} of shape (n_samples, n_alphas)
        Outlier indicators, in units of the target.
    alpha : float, default=None
        A threshold to mark, usually the one chosen.
    outlier_mask : ndarray of bool of shape (n_samples,), default=None
        Rows in colour. None means those that are nonzero at ``alpha``; without ``alpha``, where nothing says which
        rows are flagged, those that enter first, as many as are labelled.
    jumps : bool, default=False
        Whether indicators jump from zero to the residual, as those of hard thresholds: they are drawn as steps, which
        rise at the first threshold of the grid at which the row is known to be flagged.
    flagged_name : str, default='flagged'
        What the legend calls the rows in colour.
    alpha_name : str, default='threshold alpha, in scales of the noise, from high to low'
        Label of the horizontal axis.
    gamma_name : str, default='outlier indicator gamma, in units of y'
        Label of the vertical axis.

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
    label_noise_path : Computes such paths for labels.

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

    def __init__(
        self,
        alphas,
        gammas,
        *,
        alpha=None,
        outlier_mask=None,
        jumps=False,
        flagged_name="flagged",
        alpha_name="threshold alpha, in scales of the noise, from high to low",
        gamma_name="outlier indicator gamma, in units of y",
    ):
        self.alphas = alphas
        self.gammas = gammas
        self.alpha = alpha
        self.outlier_mask = outlier_mask
        self.jumps = jumps
        self.flagged_name = flagged_name
        self.alpha_name = alpha_name
        self.gamma_name = gamma_name

    @classmethod
    def from_path(cls, path, *, alpha=None, outlier_mask=None, ax=None, names=None, max_labels=10):
        """Draw what `outlier_path`, `label_noise_path` or `pairwise_outlier_path` returned.

        Parameters
        ----------
        path : Bunch
            Result of one of these, of the last with ``return_outliers=True``.
        alpha : float, default=None
            A threshold to mark. None marks that of the smallest BIC, of labels and comparisons none.
        outlier_mask : array-like of bool of shape (n_samples,), default=None
            Rows in colour; None means those flagged at ``alpha``, and for labels and comparisons without ``alpha``
            those that enter first, ``max_labels`` of them.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        names : array-like of shape (n_samples,), default=None
            Names of the rows; None numbers them from 0.
        max_labels : int, default=10
            How many rows are labelled at most, those with the largest indicator.

        Returns
        -------
        display : OutlierPathDisplay
            The display, drawn.
        """
        marked = "flagged" if outlier_mask is None else "marked"
        if "gamma_norms" in path:
            labels = {"alpha_name": PENALTY, "gamma_name": "length of the rows of Gamma"}
            gammas = path.gamma_norms
        elif "entry_alpha" in path:
            if "outliers" not in path:
                raise ValueError(
                    "path must hold gamma along the path: call pairwise_outlier_path with return_outliers=True."
                )
            labels = {
                "alpha_name": "penalty alpha, from strong to weak",
                "gamma_name": "gamma, in units of the margins",
            }
            gammas = path.outliers
        elif "bic" in path:
            labels, gammas = {"jumps": path.penalty == "hard"}, path.gammas
            if alpha is None:
                alpha = float(path.alphas[int(np.argmin(path.bic))])
        else:
            raise ValueError(
                "path must come from outlier_path, label_noise_path or pairwise_outlier_path; got fields "
                f"{', '.join(path)}."
            )
        display = cls(path.alphas, gammas, alpha=alpha, outlier_mask=outlier_mask, flagged_name=marked, **labels)
        return display.plot(ax, names=names, max_labels=max_labels)

    @classmethod
    def from_estimator(cls, estimator, X, y, *, sample_weight=None, alphas=60, ax=None, names=None, max_labels=10):
        """Compute and draw the path of a fitted `SparseOutlierRegressor`, flagged rows in colour.

        Parameters
        ----------
        estimator : SparseOutlierRegressor or SparseOutlierRegressorCV
            Fitted on X and y; or a pipeline that ends with one.
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
        names : array-like of shape (n_samples,), default=None
            Names of the rows. None takes the index of a data frame, else it numbers them from 0.
        max_labels : int, default=10
            How many rows are labelled at most.

        Returns
        -------
        display : OutlierPathDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the estimator is another one, or X and y are not the rows that it was fitted on.
        """
        if names is None and hasattr(X, "iloc"):
            names = X.index
        estimator, X = innermost(estimator, X)
        if not (hasattr(estimator, "outlier_mask_") and hasattr(estimator, "coef_alpha_")):
            raise ValueError(
                "estimator must be a SparseOutlierRegressor or SparseOutlierRegressorCV, or a pipeline that ends with "
                f"one; got {type(estimator).__name__}. Paths of labels and comparisons: from_path."
            )
        n_rows = len(estimator.outlier_mask_)
        if len(y) != n_rows:
            raise ValueError(f"X and y must be the {n_rows} rows that the estimator was fitted on; got {len(y)}.")
        options = ("penalty", "leverage_weights", "init", "fit_intercept", "max_iter", "tol", "random_state")
        options = {name: getattr(estimator, name) for name in options}
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
        display = cls(
            path.alphas,
            path.gammas,
            alpha=estimator.alpha_,
            outlier_mask=estimator.outlier_mask_,
            jumps=estimator.penalty == "hard",
        )
        return display.plot(ax, names=names, max_labels=max_labels)

    def plot(self, ax=None, *, names=None, max_labels=10):
        """Draw the paths.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        names : array-like of shape (n_samples,), default=None
            Names of the rows; None numbers them from 0.
        max_labels : int, default=10
            How many rows are labelled at most, those with the largest indicator.

        Returns
        -------
        display : OutlierPathDisplay
            The display, with ``ax_``, ``figure_`` and ``lines_``.
        """
        ax = new_axes(ax, (8, 4.8))
        alphas = np.asarray(self.alphas, dtype=np.float64)
        gammas = self.gammas.tocsr() if hasattr(self.gammas, "tocsr") else np.asarray(self.gammas)
        place = len(alphas) - 1 if self.alpha is None else int(np.argmin(np.abs(np.log(alphas / self.alpha))))
        size = np.abs(np.asarray(gammas[:, [-1]].toarray() if hasattr(gammas, "toarray") else gammas[:, [-1]]))[:, 0]
        flagged_name = self.flagged_name
        if self.outlier_mask is not None:
            mask = np.asarray(self.outlier_mask, dtype=bool)
        elif self.alpha is not None:
            at = gammas[:, [place]]
            mask = np.asarray(at.toarray() if hasattr(at, "toarray") else at)[:, 0] != 0.0
        else:
            mask = _first_to_enter(gammas, size, max_labels)
            flagged_name = "that enter first"

        def path_of(row):
            values = gammas[[row]]
            values = np.asarray(values.toarray() if hasattr(values, "toarray") else values)[0]
            return np.where(values == 0.0, np.nan, values), values

        style = "steps-post" if self.jumps else "default"
        others = [
            ax.plot(alphas, path_of(row)[0], color="0.7", lw=0.8, zorder=1, drawstyle=style)[0]
            for row in np.flatnonzero(~mask & (size > 0.0))
        ]
        coloured = np.flatnonzero(mask)
        coloured = coloured[np.argsort(-size[coloured], kind="stable")]
        self.lines_ = []
        for i, row in enumerate(coloured):
            [line] = ax.plot(alphas, path_of(row)[1], lw=1.6, zorder=2, drawstyle=style, **look(i))
            self.lines_.append(line)
        ax.axhline(0.0, color="0.3", lw=0.8, zorder=0)
        ax.set_xscale("log")
        ax.set_xlim(alphas.max(), alphas.min())
        plain_ticks(ax)
        if self.alpha is not None:
            mark_position(ax, self.alpha, f"alpha = {self.alpha:.2g}")
        ax.set_xlabel(self.alpha_name)
        ax.set_ylabel(self.gamma_name)
        shown = coloured[:max_labels]
        names = None if names is None else np.asarray(names)
        ends = np.array([path_of(row)[1][-1] for row in shown])
        low, high = ax.get_ylim()
        heights = spread(ends, 0.045 * (high - low))
        if len(heights):
            # within the axes, as far as there is room
            heights += max(low - heights.min(), 0.0) - max(heights.max() - high, 0.0)
        for row, end, height, line in zip(shown, ends, heights, self.lines_):
            name = str(row if names is None else names[row])
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
        kinds = {f"{len(coloured)} rows {flagged_name}": self.lines_[:1], f"{len(others)} others": others[:1]}
        kinds = {text: lines[0] for text, lines in kinds.items() if lines}
        if kinds:
            # the search for the best place takes long among many lines
            place = "best" if len(others) + len(coloured) <= 200 else "upper left"
            ax.legend(kinds.values(), kinds.keys(), loc=place, framealpha=0.85, edgecolor="none", fontsize="small")
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _first_to_enter(gammas, size, count):
    """Mask of the rows that are nonzero at the largest alphas; of equals the largest in the end."""
    rows, places = gammas.nonzero()
    entry = np.full(gammas.shape[0], gammas.shape[1])
    np.minimum.at(entry, rows, places)
    first = np.lexsort((-size, entry))[:count]
    mask = np.zeros(len(entry), dtype=bool)
    mask[first[entry[first] < gammas.shape[1]]] = True
    return mask
