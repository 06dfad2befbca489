"""What models with their own cross-validation share: the splitter, its parameters, the choice."""

from functools import partial

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from ._sklearn_compat import CallbackSupportMixin, _routing_enabled


class CrossValidationMixin(CallbackSupportMixin):
    """For models whose ``cv`` splits the rows; fit parameters are passed on to the splitter. Callbacks are told."""

    def _splitter(self, sample_weight, params, y=None, classifier=False):
        """The splitter, and the part of fit's parameters that it takes."""
        # first: routing would use up a generator
        cv = check_cv(self.cv, y, classifier=classifier)
        return cv, self._split_params(sample_weight, params)

    def _split_params(self, sample_weight, params):
        if _routing_enabled():
            return process_routing(self, "fit", sample_weight=sample_weight, **params).splitter.split
        unknown = sorted(set(params) - {"groups"})
        if unknown:
            raise ValueError(
                f"{type(self).__name__}.fit takes no parameters {unknown} unless metadata routing is enabled "
                "(sklearn.set_config(enable_metadata_routing=True)); only 'groups' is passed on to the splitter."
            )
        return params

    def _splits(self, splitter, X, y, weights):
        """Row indices (training, held-out) of every fold."""
        cv, params = splitter
        splits = [(np.asarray(train), np.asarray(test)) for train, test in cv.split(X, y, **params)]
        if not splits:
            raise ValueError(f"cv must give at least one fold; got none from {self.cv!r}.")
        # masks and places counted from the end as numbers of rows
        rows = np.arange(len(y))
        splits = [tuple(rows[part] for part in pair) for pair in splits]
        for k, pair in enumerate(splits):
            for part, rows in zip(("training", "held-out"), pair):
                if weights[rows].sum() <= 0.0:
                    raise ValueError(f"sample_weight must not vanish on all {part} rows of a fold; fold {k} has none.")
        if getattr(self, "selection_rule", "min") == "1se" and len(splits) < 2:
            raise ValueError(
                f"selection_rule='1se' must have two or more folds for a standard error; got {len(splits)}."
            )
        return splits

    def _watched_folds(self, stage, n_folds, grids, solve):
        """What ``solve`` returns for functions to be called when a penalty of a fold (of an l1 ratio) is done."""
        if not stage.is_watched:
            return solve(None)
        tasks = [
            stage.begin("fold", len(grid), place) for place, grid in enumerate(g for g in grids for _ in range(n_folds))
        ]
        found = solve([partial(task.count, "penalty") for task in tasks])
        for task in tasks:
            task.end()
        return found

    def _choose(self, errors):
        """Place of the chosen model; ``errors`` (n_models, n_folds), the simplest model first."""
        mean = errors.mean(axis=1)
        place = int(mean.argmin())
        if self.selection_rule == "1se":
            margin = errors[place].std(ddof=1) / np.sqrt(errors.shape[1])
            place = int(np.flatnonzero(mean <= mean[place] + margin)[0])
        return place

    def get_metadata_routing(self):
        """Say where fit parameters go.

        Returns
        -------
        routing : MetadataRouter
            Sample weights are for this estimator, other parameters for the splitter.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(splitter=check_cv(self.cv), method_mapping=MethodMapping().add(caller="fit", callee="split"))
        )
