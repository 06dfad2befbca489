"""Held-out errors along a path, and what is chosen by them."""

import numpy as np

from ._drawing import COLOURS, PENALTY, innermost, mark_position, new_axes, plain_ticks

SCORE_NAMES = {
    "tau": "minus the tau scale of the held-out errors",
    "trimmed": "minus the held-out trimmed mean squared error",
}


class CVPathDisplay:
    """Held-out errors along a path: their mean over the folds, its standard error, and what is chosen.

    Make one with `from_estimator`, or from the errors themselves and `plot`. From left to right models grow from the
    simplest to the most complex. The band is one standard error ``sd / sqrt(n_folds)`` to either side of the mean, sd
    with ``n_folds - 1`` in the denominator. A round mark is the least mean error; a square one the simplest model whose
    mean error is within one standard error (at the round mark) of the least.

    Parameters
    ----------
    positions : array-like of shape (n_points,)
        Penalties, decreasing, or times or numbers of features, increasing: from the simplest model to the most complex.
    errors : array-like of shape (n_points, n_folds)
        Error on the held-out rows of each fold.
    selected : float, default=None
        The position chosen, to be marked by a dotted line.
    position_name : str, default='penalty alpha, from strong to weak'
        Label of the horizontal axis.
    error_name : str, default='held-out mean squared error'
        Label of the vertical axis.
    logarithmic : bool, default=True
        Whether the horizontal axis is logarithmic. A position of zero is then drawn one step beyond the last one.
    greater_is_better : bool, default=False
        Whether ``errors`` are scores, of which the largest is best.
    pooled : array-like of shape (n_points,), default=None
        Errors of the held-out rows of all folds together, where these decide instead of the mean over folds. There is
        no standard error of them, and so no square mark.
    setting : str, default=None
        Heading of the legend, such as a parameter that was chosen too.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.
    line_ : matplotlib Line2D
        The mean over the folds.
    fill_between_ : matplotlib PolyCollection or None
        The band of one standard error; None with one fold.
    fold_lines_ : list of matplotlib Line2D
        A thin line for each fold.
    pooled_line_ : matplotlib Line2D or None
        The errors of all folds together, where given.
    marks_ : dict of matplotlib Line2D
        The mark of the best position, "min", and of the one-standard-error rule, "1se", if there is one.

    See Also
    --------
    RegularizationPathDisplay : The coefficients along the path.

    References
    ----------
    .. [1] Hastie, Tibshirani & Friedman (2009), "The Elements of Statistical Learning", section 7.10.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from skspar import CVPathDisplay, GroupLassoCV
    >>> from skspar.datasets import make_group_regression
    >>> X, y, groups = make_group_regression(n_informative_groups=2, random_state=0)
    >>> model = GroupLassoCV(groups=groups, selection_rule="1se").fit(X, y)
    >>> display = CVPathDisplay.from_estimator(model)
    >>> bool(display.one_standard_error == model.alpha_), bool(display.best < model.alpha_)
    (True, True)
    """

    def __init__(
        self,
        positions,
        errors,
        *,
        selected=None,
        position_name=PENALTY,
        error_name="held-out mean squared error",
        logarithmic=True,
        greater_is_better=False,
        pooled=None,
        setting=None,
    ):
        self.positions = np.asarray(positions, dtype=np.float64)
        self.errors = np.asarray(errors, dtype=np.float64)
        n = self.positions.size
        if self.positions.ndim != 1 or n == 0:
            raise ValueError(f"positions must be a vector of one or more; got shape {self.positions.shape}.")
        if self.errors.ndim != 2 or len(self.errors) != n or self.errors.shape[1] == 0:
            raise ValueError(
                f"errors must have shape ({n}, n_folds), a row for each position; got shape {self.errors.shape}."
            )
        steps = np.diff(self.positions)
        if not (np.all(steps > 0.0) or np.all(steps < 0.0) or n == 1):
            raise ValueError("positions must increase or decrease, from the simplest model to the most complex.")
        if logarithmic and self.positions.min() < 0.0:
            raise ValueError(
                f"positions must not be negative on a logarithmic axis; the smallest is {self.positions.min():g}."
            )
        self.pooled = None if pooled is None else np.asarray(pooled, dtype=np.float64)
        if pooled is not None and self.pooled.shape != (n,):
            raise ValueError(f"pooled must have shape ({n},), like positions; got shape {self.pooled.shape}.")
        self.selected, self.position_name, self.error_name = selected, position_name, error_name
        self.logarithmic, self.greater_is_better, self.setting = logarithmic, greater_is_better, setting

        n_folds = self.errors.shape[1]
        # a fit that failed in one fold has no mean
        finite = np.where(np.isfinite(self.errors), self.errors, np.nan)
        self.mean = finite.mean(axis=1)
        self.standard_error = finite.std(axis=1, ddof=1) / np.sqrt(n_folds) if n_folds > 1 else None
        sign = -1.0 if greater_is_better else 1.0
        decides = sign * (self.mean if pooled is None else self.pooled)
        decides = np.where(np.isfinite(decides), decides, np.inf)
        if not np.isfinite(decides).any():
            raise ValueError("errors must be finite in all folds of at least one position; none are.")
        self._best = int(decides.argmin())
        self._one_se = None
        if pooled is None and n_folds > 1:
            self._one_se = int(np.flatnonzero(decides <= decides[self._best] + self.standard_error[self._best])[0])

    @property
    def best(self):
        """The position of the least mean error.

        Returns
        -------
        best : float
            In the units of ``positions``.
        """
        return float(self.positions[self._best])

    @property
    def one_standard_error(self):
        """The position that the one-standard-error rule takes.

        Returns
        -------
        one_standard_error : float or None
            In the units of ``positions``; None with one fold or with ``pooled`` errors.
        """
        return None if self._one_se is None else float(self.positions[self._one_se])

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs):
        """Draw the cross-validation that a fitted estimator keeps.

        Parameters
        ----------
        estimator : estimator
            A fitted `GroupLassoCV`, `BPDNCV`, `OrthogonalMatchingPursuitCV`, `SplitLBICV` or
            `SparseOutlierRegressorCV`; one of scikit-learn's that have ``alphas_`` and ``mse_path_``, such as
            `LassoCV`; or a pipeline that ends with one of these, or a search whose best estimator does. Of several
            l1_ratios, or several thresholds alpha, the one chosen is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Arguments of matplotlib's ``plot`` for the mean.

        Returns
        -------
        display : CVPathDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the estimator keeps no cross-validation.
        """
        model, _ = innermost(estimator)
        return cls(**_kept_by(model)).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Arguments of matplotlib's ``plot`` for the mean.

        Returns
        -------
        display : CVPathDisplay
            This display.
        """
        ax = new_axes(ax, (7.5, 4.5))
        x, zero = self._drawn_positions()
        n_folds = self.errors.shape[1]
        self.fold_lines_ = ax.plot(x, np.where(np.isfinite(self.errors), self.errors, np.nan), color="0.6", lw=0.6)
        self.fold_lines_[0].set_label(f"each of {n_folds} folds" if n_folds > 1 else "the fold")
        self.fill_between_ = None
        if self.standard_error is not None:
            low, high = self.mean - self.standard_error, self.mean + self.standard_error
            self.fill_between_ = ax.fill_between(
                x, low, high, color=COLOURS[0], alpha=0.22, lw=0.0, zorder=2, label="± one standard error"
            )
        style = dict(color=COLOURS[0], linewidth=2.2, zorder=3, label="mean of the folds")
        [self.line_] = ax.plot(x, self.mean, **(style | kwargs))
        self.pooled_line_, height = None, self.mean
        if self.pooled is not None:
            height = self.pooled
            [self.pooled_line_] = ax.plot(
                x, np.where(np.isfinite(height), height, np.nan), color="black", ls="--", lw=1.5, zorder=3,
                label="all folds together (decides)",
            )  # fmt: skip

        mark = dict(linestyle="none", color="black", zorder=5)
        name = "greatest score" if self.greater_is_better else "least error"
        self.marks_ = {"min": ax.plot(x[self._best], height[self._best], "o", ms=7, label=name, **mark)[0]}
        if self._one_se is not None:
            limit = height[self._best] + (-1.0 if self.greater_is_better else 1.0) * self.standard_error[self._best]
            ends = [x[self._one_se], x[self._best]]
            ax.plot(ends, [limit, limit], color="black", lw=1.0, ls="--", zorder=3)
            square = dict(mark, ms=10, mfc="white", mew=1.6, zorder=4, label="one-standard-error rule")
            [self.marks_["1se"]] = ax.plot(x[self._one_se], height[self._one_se], "s", **square)

        if self.logarithmic and self.positions.max() > 0.0:
            ax.set_xscale("log")
        if len(x) > 1:
            # marks at the ends are seen whole
            ax.margins(x=0.02)
            ax.autoscale_view(scaley=False)
            if x[0] > x[-1] and not ax.xaxis_inverted():
                ax.invert_xaxis()
        self._set_ticks(ax, zero)
        if self.selected is not None:
            at = x[-1] if self.selected == 0.0 and zero is not None else self.selected
            mark_position(ax, at, f"selected: {self.selected:.3g}")
        ax.set_xlabel(self.position_name)
        ax.set_ylabel(self.error_name)
        style = dict(title=self.setting, framealpha=0.85, edgecolor="none", fontsize="small")
        box = ax.legend(**style).get_window_extent()
        mean = np.column_stack([x, height])
        if box.count_contains(ax.transData.transform(mean[np.isfinite(mean).all(axis=1)])):
            # no place within the axes is free
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), **style)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _drawn_positions(self):
        """Positions as they are drawn, and where zero is, if it has been moved on a logarithmic axis."""
        x = self.positions.copy()
        positive = np.sort(x[x > 0.0])
        if not self.logarithmic or len(positive) == len(x) or len(positive) == 0:
            return x, None
        ratio = positive[1] / positive[0] if len(positive) > 1 else 10.0
        zero = positive[0] / ratio
        x[x == 0.0] = zero
        return x, zero

    def _set_ticks(self, ax, zero):
        from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

        if ax.get_xscale() != "log":
            if np.all(self.positions == np.round(self.positions)):
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            return
        plain_ticks(ax)
        if zero is not None:
            low, high = sorted(ax.get_xlim())
            smallest = self.positions[self.positions > 0.0].min()
            ticks = [t for t in ax.xaxis.get_major_locator().tick_values(low, high) if 0.99 * smallest <= t <= high]
            ax.xaxis.set_major_locator(FixedLocator([zero, *ticks]))
            ax.xaxis.set_major_formatter(FixedFormatter(["0", *(f"{t:g}" for t in ticks)]))


def _kept_by(model):
    """Arguments of the display for a fitted model."""
    if hasattr(model, "pooled_score_path_"):
        scores, pooled, setting = model.score_path_, model.pooled_score_path_, None
        if scores.ndim == 3:
            best = np.unravel_index(int(np.argmax(np.where(np.isfinite(pooled), pooled, -np.inf))), pooled.shape)[0]
            scores, pooled = scores[best], pooled[best]
            setting = f"alpha = {model.best_alpha_}"
        return dict(
            positions=model.coef_alphas_,
            errors=scores,
            selected=model.coef_alpha_,
            position_name="penalty of the coefficients, coef_alpha, from strong to weak",
            error_name=SCORE_NAMES.get(model.scoring, "held-out score") if isinstance(model.scoring, str)
            else "held-out score",
            greater_is_better=True,
            pooled=None if callable(model.scoring) else pooled,
            setting=setting,
        )  # fmt: skip
    errors = getattr(model, "mse_path_", getattr(model, "log_loss_path_", None))
    if errors is None:
        raise ValueError(
            "estimator must keep the errors of a cross-validation (GroupLassoCV, BPDNCV, OrthogonalMatchingPursuitCV, "
            "SplitLBICV, SparseOutlierRegressorCV, or a pipeline or search that ends with one of these); "
            f"a {type(model).__name__} does not."
        )
    if hasattr(model, "times_"):
        name = "held-out mean squared error" if hasattr(model, "mse_path_") else "held-out log loss"
        return dict(
            positions=model.times_, errors=errors, selected=model.t_, position_name="time, from few to many",
            error_name=name,
        )  # fmt: skip
    if hasattr(model, "n_nonzero_coefs_"):
        return dict(
            positions=np.arange(1, len(errors) + 1),
            errors=errors,
            selected=model.n_nonzero_coefs_,
            position_name="number of features",
            logarithmic=False,
        )
    alphas, setting = model.alphas_, None
    if errors.ndim == 3:
        best = int(errors.mean(axis=2).min(axis=1).argmin())
        errors, setting = errors[best], f"l1_ratio = {model.l1_ratio_:g}"
        alphas = alphas[best] if np.ndim(alphas) == 2 else alphas
    return dict(positions=alphas, errors=errors, selected=model.alpha_, setting=setting)
