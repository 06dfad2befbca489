"""Coefficients along a path."""

import inspect

import numpy as np

from ._drawing import GREY, PENALTY, innermost, look, mark_position, new_axes, plain_ticks


class RegularizationPathDisplay:
    """Picture of coefficients along a path, from few to many.

    Make one with `from_estimator` or `from_path`. From left to right models grow: times, numbers of
    features, increasing, or penalties, decreasing. The lines that enter first are coloured and
    labelled in the order of entry; the others are grey.

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
    logarithmic : bool, default=True
        Whether the horizontal axis is logarithmic.

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
        logarithmic=True,
    ):
        self.positions = _vector(positions, "positions")
        self.coefs = np.asarray(coefs, dtype=np.float64)
        if self.coefs.ndim != 2 or self.coefs.shape[1] != len(self.positions):
            raise ValueError(
                f"coefs must have shape (n_lines, {len(self.positions)}), a column for each position; got shape "
                f"{self.coefs.shape}."
            )
        if logarithmic and not np.all(self.positions > 0.0):
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
        self.logarithmic = logarithmic
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
    def from_estimator(
        cls,
        estimator,
        X=None,
        y=None,
        *,
        sample_weight=None,
        names=None,
        kind=None,
        ax=None,
        max_labels=10,
        **kwargs,
    ):
        """Draw the path of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted `SplitLBI`, `SplitLBIClassifier` or `SplitLBICV`, which keeps its path; or one whose path is
            computed again from X and y: `GroupLasso`, `BPDN`, `OrthogonalMatchingPursuit`, their relatives with
            cross-validation or information criteria, and `PreconditionedLasso`; or a pipeline that ends with one of
            these, or a search whose best estimator does.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Features, for estimators that do not keep their path; of a pipeline what it takes.
        y : array-like of shape (n_samples,), default=None
            Response, for these.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, for these.
        names : array-like of shape (n_lines,), default=None
            Names of the lines; None takes those of the features or groups.
        kind : {'coefs', 'gammas'}, default=None
            What is drawn of `SplitLBI` and its relatives: the coefficients, or the sparse variables gamma, a line for
            each row of D. None is 'gammas' where D is given, else 'coefs'. Other estimators have coefficients only.
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
            If the estimator has no path of coefficients or not that kind, there are not as many names as lines, or X
            and y are needed and missing.
        TypeError
            If matplotlib's ``plot`` does not take an argument.
        """
        model, X = innermost(estimator, X)
        if hasattr(model, "coef_path_"):
            if kind not in (None, "coefs", "gammas"):
                raise ValueError(f"kind must be 'coefs' or 'gammas'; got {kind!r}.")
            found = _kept_by(model, kind)
            return cls(**_named(found, names)).plot(ax, max_labels=max_labels, **kwargs)
        if hasattr(model, "outlier_mask_") or not callable(getattr(model, "path", None)):
            raise ValueError(
                "estimator must have a path of coefficients (SplitLBI, GroupLasso, BPDN, OrthogonalMatchingPursuit and "
                f"their kin, or a pipeline that ends with one); got {type(model).__name__}."
            )
        if X is None or y is None:
            raise ValueError(
                f"X and y must be given: a {type(model).__name__} does not keep its path, which is computed again."
            )
        if kind not in (None, "coefs"):
            raise ValueError(f"kind must be 'coefs' for a {type(model).__name__}; got {kind!r}.")
        found = _computed_again(model, X, y, sample_weight)
        return cls(**_named(found, names)).plot(ax, max_labels=max_labels, **kwargs)

    @classmethod
    def from_path(cls, path, coefs=None, *, names=None, kind="coefs", selected=None, ax=None, max_labels=10, **kwargs):
        """Draw a path that was computed before.

        Parameters
        ----------
        path : Bunch or array-like of shape (n_points,)
            What `split_lbi_path`, `inverse_scale_space_path`, `bpdn_path` or `omp_path` returned, or the
            penalties that `group_lasso_path` returned.
        coefs : array-like of shape (n_lines, n_points), default=None
            Coefficients, if ``path`` is an array of penalties.
        names : array-like of shape (n_lines,), default=None
            Names of the lines.
        kind : {'coefs', 'coefs_sparse', 'gammas'}, default='coefs'
            Which field of a Bunch is drawn; paths other than `split_lbi_path`'s have the first only.
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
        elif isinstance(path, dict):
            display = cls(**_of_bunch(path), names=names, selected=selected)
        else:
            if coefs is None:
                raise ValueError("coefs must be given where path holds penalties; got None.")
            display = cls(path, coefs, names=names, position_name=PENALTY, selected=selected)
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
        kwargs = _line_arguments(kwargs)
        ax = new_axes(ax, (7.5, 4.5))
        entered = [int(j) for j in self.order if np.isfinite(self.first_entry[j]) and self.coefs[j].any()]
        rank = {j: place for place, j in enumerate(entered[:max_labels])}
        self.lines_ = []
        for j, values in enumerate(self.coefs):
            style = dict(color=GREY, alpha=0.7, linewidth=1.0, zorder=1)
            if j in rank:
                style = dict(linewidth=1.8, zorder=2, **look(rank[j]))
            # zeros before the entry would hide each other
            begin = max(int((values != 0.0).argmax()) - 1, 0) if values.any() else len(values)
            self.lines_ += ax.plot(self.positions[begin:], values[begin:], **(style | kwargs))
        if self.logarithmic:
            ax.set_xscale("log")
        lowest, highest = self.positions.min(), self.positions.max()
        if lowest < highest:
            ax.set_xlim((highest, lowest) if self._decreasing else (lowest, highest))
        if self.logarithmic:
            plain_ticks(ax)
        elif np.all(self.positions == np.round(self.positions)):
            from matplotlib.ticker import MaxNLocator

            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.axhline(0.0, color="black", linewidth=0.6, zorder=0)
        ax.set_xlabel(self.position_name)
        ax.set_ylabel(self.value_name)
        if self.selected is not None:
            mark_position(ax, self.selected, f"selected: {self.selected:.3g}")
        if rank:
            handles = [self.lines_[j] for j in rank]
            ax.legend(
                handles,
                [self.names[j] for j in rank],
                title="first to enter" if len(entered) > len(rank) else "in order of entry",
                loc="upper left",
                bbox_to_anchor=(1.01, 1.0),
                frameon=False,
                borderaxespad=0.0,
                handlelength=2.8,
            )
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _named(found, names):
    return found if names is None else found | dict(names=names)


def _line_arguments(kwargs):
    """Arguments of ``plot`` without aliases; refuses what matplotlib does not know, before anything is drawn."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    kwargs = normalize_kwargs(kwargs, Line2D)
    unknown = [name for name in kwargs if not (hasattr(Line2D, f"set_{name}") or name in ("scalex", "scaley"))]
    if unknown:
        raise TypeError(
            f"Arguments must be the display's or those of matplotlib's plot; matplotlib's plot takes no {unknown[0]!r}."
        )
    return kwargs


def _kept_by(model, kind):
    """Arguments of the display for a model that keeps its path."""
    identity = getattr(model, "D", 0) is None
    if kind is None:
        kind = "coefs" if identity else "gammas"
    coefs, value = (model.coef_path_, "coefficient") if kind == "coefs" else (model.gamma_path_, "gamma")
    if coefs.ndim == 3:
        plural = "coefficients" if kind == "coefs" else "gammas"
        coefs, value = _norm(coefs), f"norm of the {plural} of all classes"
    return dict(
        positions=model.times_,
        coefs=coefs,
        names=getattr(model, "feature_names_in_", None) if kind == "coefs" or identity else None,
        value_name=value,
        first_entry=model.first_entry_ if identity or kind == "gammas" else None,
        selected=model.t_ if model.t_ < model.times_[-1] else None,
    )


def _computed_again(model, X, y, sample_weight):
    """Arguments of the display for a model whose path is computed again."""
    params = inspect.signature(model.path).parameters
    chosen = {name: value for name, value in model.get_params(deep=False).items() if name in params}
    # of a list of ratios the one that was chosen
    chosen |= {name: getattr(model, f"{name}_") for name in chosen if hasattr(model, f"{name}_")}
    chosen.pop("alphas", None)
    if getattr(model, "fit_intercept", False) and "return_intercepts" in params:
        chosen["return_intercepts"] = True
    if sample_weight is not None:
        chosen["sample_weight"] = sample_weight
    if "n_nonzero_coefs" in params and hasattr(model, "mse_path_"):
        chosen["n_nonzero_coefs"] = len(model.mse_path_)
    path = model.path(X, y, **chosen)
    found = _of_bunch(path) if isinstance(path, dict) else dict(zip(("positions", "coefs"), path))
    found.setdefault("position_name", PENALTY)
    names, value, coefs = getattr(model, "feature_names_in_", None), "coefficient", np.asarray(found["coefs"])
    if coefs.ndim == 3:
        coefs, value = _norm(coefs), "norm of the coefficients of all targets"
    groups = getattr(model, "groups_", None)
    if groups is not None and any(len(member) > 1 for member in groups.values()):
        coefs = np.stack([_norm(coefs[member]) for member in groups.values()])
        names, value = [str(label) for label in groups], "norm of the group's coefficients"
    steps = found["position_name"] != PENALTY
    selected = model.n_nonzero_coefs_ if steps else getattr(model, "alpha_", getattr(model, "alpha", None))
    # of several targets there may be several; one at the end of the path, or beyond it, needs no mark
    ends = sorted((found["positions"][0], found["positions"][-1]))
    inside = np.ndim(selected) == 0 and selected is not None and ends[0] <= selected <= ends[1]
    if steps:
        inside = inside and selected < ends[1]
    return found | dict(coefs=coefs, names=names, value_name=value, selected=selected if inside else None)


def _of_bunch(path):
    """Positions and coefficients of `bpdn_path` and `omp_path`."""
    if "coefs" not in path or "entry_alpha" in path or not ("sigmas" in path or "residual_norms" in path):
        raise ValueError(
            "path must hold the coefficients of features (split_lbi_path, inverse_scale_space_path, bpdn_path, "
            f"omp_path), or be the penalties themselves; got a Bunch of {', '.join(path)}."
        )
    coefs = path.coefs if path.coefs.ndim == 2 else _norm(path.coefs)
    if "alphas" not in path:
        steps = np.arange(1, coefs.shape[1] + 1)
        return dict(positions=steps, coefs=coefs, position_name="number of features", logarithmic=False)
    # the last knot is zero, which a logarithmic axis cannot show
    shown = path.alphas > 0.0
    return dict(positions=path.alphas[shown], coefs=coefs[:, shown], position_name=PENALTY)


def _norm(coefs):
    return np.sqrt(np.sum(np.square(coefs), axis=0))


def _vector(values, name):
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must be a one-dimensional array with one or more entries; got shape {values.shape}.")
    return values


def _same_rows(path):
    """Whether a line of coefficients is a row of D: their entries are those of gamma."""
    return np.array_equal(np.asarray(path.get("coefs_sparse", path.coefs)) != 0.0, np.asarray(path.gammas) != 0.0)
