"""Pictures of paths; matplotlib is imported when one is drawn."""

import inspect

import numpy as np
from sklearn.utils.validation import check_is_fitted

# Okabe and Ito's, which people with any kind of colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "#B0B0B0"
DASHES = ("-", "--", "-.", ":")


class RegularizationPathDisplay:
    """Picture of coefficients along a path, from few to many.

    Make one with `from_estimator` or `from_path`. The horizontal axis is logarithmic: times,
    increasing, or penalties, decreasing. The lines that enter first, or all groups, are coloured
    and labelled in the order of entry; the others are grey.

    Parameters
    ----------
    positions : array-like of shape (n_points,)
        Times or penalties, all positive.
    coefs : array-like of shape (n_lines, n_points)
        One line each.
    names : array-like of shape (n_lines,), default=None
        Names of the lines; None numbers them.
    position_name : str, default='time'
        Label of the horizontal axis.
    value_name : str, default='coefficient'
        Label of the vertical axis.
    first_entry : array-like of shape (n_lines,), default=None
        Position at which each line becomes nonzero, infinite for never; None reads it from
        ``coefs``.
    selected : float, default=None
        Position to mark, such as the one chosen by cross-validation.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : list of matplotlib Line2D
        A line for each row of ``coefs``.

    See Also
    --------
    SplitLBI : Follows such a path.

    Examples
    --------
    >>> import numpy as np
    >>> from skspar import RegularizationPathDisplay
    >>> display = RegularizationPathDisplay([1.0, 2.0, 4.0], [[0, 1, 2], [0, 0, 1.0]], names=["a", "b"])
    >>> display.names[display.order]
    array(['a', 'b'], dtype='<U1')
    """

    def __init__(
        self,
        positions,
        coefs,
        *,
        names=None,
        position_name="time",
        value_name="coefficient",
        first_entry=None,
        selected=None,
    ):
        self.positions = _vector(positions, "positions")
        self.coefs = np.asarray(coefs, dtype=np.float64)
        if self.coefs.ndim != 2 or self.coefs.shape[1] != len(self.positions):
            raise ValueError(
                f"coefs must have shape (n_lines, {len(self.positions)}), a column for each position; got shape "
                f"{self.coefs.shape}."
            )
        if not np.all(self.positions > 0.0):
            raise ValueError(
                f"positions must be positive, for the axis is logarithmic; the smallest is {self.positions.min():g}."
            )
        n_lines = len(self.coefs)
        self.names = np.asarray([str(j) for j in range(n_lines)] if names is None else names).astype(str)
        if self.names.shape != (n_lines,):
            raise ValueError(
                f"names must have one entry for each of the {n_lines} lines; got shape {self.names.shape}."
            )
        self.position_name, self.value_name, self.selected = position_name, value_name, selected
        # from few to many, whichever way the positions run
        self._decreasing = len(self.positions) > 1 and self.positions[0] > self.positions[-1]
        if first_entry is None:
            nonzero = self.coefs != 0.0
            first_entry = np.where(nonzero.any(axis=1), self.positions[nonzero.argmax(axis=1)], np.nan)
            first_entry[np.isnan(first_entry)] = -np.inf if self._decreasing else np.inf
        self.first_entry = np.asarray(first_entry, dtype=np.float64)
        if self.first_entry.shape != (n_lines,):
            raise ValueError(
                f"first_entry must have one entry for each of the {n_lines} lines; got shape {self.first_entry.shape}."
            )
        key = -self.first_entry if self._decreasing else self.first_entry
        # of those that enter together the larger first
        self.order = np.lexsort((-np.abs(self.coefs[:, -1]), key))

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, ax=None, max_labels=10, **kwargs):
        """Draw the path of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted `SplitLBI`, `SplitLBIClassifier` or `SplitLBICV`, which keeps its path, or
            one with a method ``path`` that returns penalties and coefficients, such as
            `GroupLasso` and `GroupLassoCV`, which is computed again from X and y.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Features, for estimators that do not keep their path.
        y : array-like of shape (n_samples,), default=None
            Response, for these.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        max_labels : int, default=10
            How many lines are coloured and labelled, in the order of entry.
        **kwargs : dict
            Arguments of matplotlib's ``plot`` for all lines.

        Returns
        -------
        display : RegularizationPathDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the estimator has no path, or X and y are needed and missing.
        """
        check_is_fitted(estimator)
        names = getattr(estimator, "feature_names_in_", None)
        if hasattr(estimator, "coef_path_"):
            coefs = estimator.coef_path_
            first = estimator.first_entry_ if getattr(estimator, "D", 0) is None else None
            if coefs.ndim == 3:
                # the norm over the classes
                coefs, value = np.sqrt(np.sum(np.square(coefs), axis=0)), "norm of the coefficients of all classes"
            else:
                value = "coefficient"
            display = cls(
                estimator.times_,
                coefs,
                names=names,
                value_name=value,
                first_entry=first,
                selected=estimator.t_ if estimator.t_ < estimator.times_[-1] else None,
            )
            return display.plot(ax, max_labels=max_labels, **kwargs)
        if not callable(getattr(estimator, "path", None)):
            raise ValueError(
                "estimator must keep a path (SplitLBI and its kin) or have a method 'path' (GroupLasso and its kin); "
                f"got {type(estimator).__name__}."
            )
        if X is None or y is None:
            raise ValueError(
                f"X and y must be given: a {type(estimator).__name__} does not keep its path, which is computed again."
            )
        params = inspect.signature(estimator.path).parameters
        chosen = {name: value for name, value in estimator.get_params(deep=False).items() if name in params}
        # of a list of ratios the one that was chosen
        chosen |= {name: getattr(estimator, f"{name}_") for name in chosen if hasattr(estimator, f"{name}_")}
        chosen.pop("alphas", None)
        if getattr(estimator, "fit_intercept", False) and "return_intercepts" in params:
            chosen["return_intercepts"] = True
        alphas, coefs = estimator.path(X, y, **chosen)[:2]
        value = "coefficient"
        if coefs.ndim == 3:
            coefs, value = np.sqrt(np.sum(np.square(coefs), axis=0)), "norm of the coefficients of all targets"
        groups = getattr(estimator, "groups_", None)
        if groups is not None and any(len(member) > 1 for member in groups.values()):
            coefs = np.stack([np.sqrt(np.sum(np.square(coefs[member]), axis=0)) for member in groups.values()])
            names, value = [str(label) for label in groups], "norm of the group's coefficients"
        selected = getattr(estimator, "alpha_", getattr(estimator, "alpha", None))
        inside = selected is not None and alphas[-1] <= selected <= alphas[0]
        display = cls(
            alphas, coefs, names=names, position_name="alpha", value_name=value, selected=selected if inside else None
        )
        return display.plot(ax, max_labels=max_labels, **kwargs)

    @classmethod
    def from_path(cls, path, coefs=None, *, names=None, kind="coefs", selected=None, ax=None, max_labels=10, **kwargs):
        """Draw a path that was computed before.

        Parameters
        ----------
        path : Bunch or array-like of shape (n_points,)
            What `split_lbi_path` or `inverse_scale_space_path` returned, or the penalties that
            `group_lasso_path` returned.
        coefs : array-like of shape (n_lines, n_points), default=None
            Coefficients, if ``path`` holds penalties.
        names : array-like of shape (n_lines,), default=None
            Names of the lines.
        kind : {'coefs', 'coefs_sparse', 'gammas'}, default='coefs'
            Which field of a Bunch is drawn.
        selected : float, default=None
            Time or penalty to mark.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        max_labels : int, default=10
            How many lines are coloured and labelled, in the order of entry.
        **kwargs : dict
            Arguments of matplotlib's ``plot`` for all lines.

        Returns
        -------
        display : RegularizationPathDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If ``path`` has no such field, or shapes do not fit.
        """
        if hasattr(path, "times"):
            if kind not in ("coefs", "coefs_sparse", "gammas") or kind not in path:
                raise ValueError(
                    f"kind must be a field of the path, 'coefs', 'coefs_sparse' or 'gammas'; got {kind!r}."
                )
            values, first = path[kind], None
            if values.ndim == 3:
                values = np.sqrt(np.sum(np.square(values), axis=0))
            if len(values) == len(path.first_entry) and (kind == "gammas" or _same_rows(path)):
                first = path.first_entry
            value_name = "gamma" if kind == "gammas" else "coefficient"
            times = path.times
            if "complete" in path:
                # constant from each event to the next, and from the last one on
                times, values = np.append(times, 1.5 * times[-1]), np.column_stack([values, values[:, -1]])
                kwargs.setdefault("drawstyle", "steps-post")
            display = cls(times, values, names=names, value_name=value_name, first_entry=first, selected=selected)
        else:
            if coefs is None:
                raise ValueError("coefs must be given where path holds penalties; got None.")
            display = cls(path, coefs, names=names, position_name="alpha", selected=selected)
        return display.plot(ax, max_labels=max_labels, **kwargs)

    def plot(self, ax=None, *, max_labels=10, **kwargs):
        """Draw the path.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        max_labels : int, default=10
            How many lines are coloured and labelled, in the order of entry.
        **kwargs : dict
            Arguments of matplotlib's ``plot`` for all lines.

        Returns
        -------
        display : RegularizationPathDisplay
            This display.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
        entered = [int(j) for j in self.order if np.isfinite(self.first_entry[j]) and self.coefs[j].any()]
        rank = {j: place for place, j in enumerate(entered[:max_labels])}
        self.lines_ = []
        for j, values in enumerate(self.coefs):
            style = dict(color=GREY, alpha=0.7, zorder=1)
            if j in rank:
                style = dict(
                    color=COLOURS[rank[j] % len(COLOURS)],
                    linestyle=DASHES[rank[j] // len(COLOURS) % len(DASHES)],
                    linewidth=1.8,
                    zorder=2,
                )
            # zeros before the entry would hide each other
            begin = max(int((values != 0.0).argmax()) - 1, 0) if values.any() else len(values)
            self.lines_ += ax.plot(self.positions[begin:], values[begin:], **({"linewidth": 1.0} | style | kwargs))
        ax.set_xscale("log")
        lowest, highest = self.positions.min(), self.positions.max()
        if lowest < highest:
            ax.set_xlim((highest, lowest) if self._decreasing else (lowest, highest))
        ax.axhline(0.0, color="black", linewidth=0.6, zorder=0)
        ax.set_xlabel(self.position_name)
        ax.set_ylabel(self.value_name)
        if self.selected is not None:
            ax.axvline(self.selected, color="black", linestyle=":", linewidth=1.0)
            at_end = abs(np.log(self.selected / self.positions[-1])) < 0.05 * np.log(highest / lowest)
            ax.annotate(
                "selected",
                (self.selected, 1.0),
                xycoords=("data", "axes fraction"),
                ha="right" if at_end else "center",
                va="bottom",
                fontsize=8,
            )
        for spine in ("top", "right"):
            ax.spines[spine].set_visible(False)
        if rank:
            handles = [self.lines_[j] for j in rank]
            ax.legend(
                handles,
                [self.names[j] for j in rank],
                title="first to enter",
                loc="upper left",
                bbox_to_anchor=(1.01, 1.0),
                frameon=False,
                borderaxespad=0.0,
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self


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
    alpha_name : str, default='threshold alpha, in scales of the noise'
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
        alpha_name="threshold alpha, in scales of the noise",
        gamma_name="outlier indicator gamma, in units of y",
    ):
        self.alphas = alphas
        self.gammas = gammas
        self.alpha = alpha
        self.outlier_mask = outlier_mask
        self.alpha_name = alpha_name
        self.gamma_name = gamma_name

    @classmethod
    def from_path(cls, path, *, alpha=None, outlier_mask=None, ax=None, n_labels=10, labels=None):
        """Draw what `outlier_path` or `label_noise_path` returned.

        Parameters
        ----------
        path : Bunch
            Result of either.
        alpha : float, default=None
            A threshold to mark. None marks that of the smallest BIC, of labels none.
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
        if "gamma_norms" in path:
            names = {"alpha_name": "penalty alpha", "gamma_name": "length of the rows of Gamma"}
            display = cls(path.alphas, path.gamma_norms, alpha=alpha, outlier_mask=outlier_mask, **names)
        else:
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
        self.lines_ = []
        for i, row in enumerate(coloured):
            [line] = ax.plot(alphas, path_of(row)[1], color=COLOURS[i % len(COLOURS)], lw=1.6, zorder=2)
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
        ax.set_xlabel(self.alpha_name)
        ax.set_ylabel(self.gamma_name)
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


def _vector(values, name):
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must be a one-dimensional array with one or more entries; got shape {values.shape}.")
    return values


def _same_rows(path):
    """Whether a line of coefficients is a row of D: their entries are those of gamma."""
    return np.array_equal(np.asarray(path.get("coefs_sparse", path.coefs)) != 0.0, np.asarray(path.gammas) != 0.0)


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
