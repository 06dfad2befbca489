"""The ways in which a user may say which columns belong together."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from ._engine.penalty import BlockPenalty

ALLOWED = (
    "None, a positive integer size, an array with a label for each feature, a list of index arrays, a callable of the "
    "feature names that returns labels, or for data frames a mapping or a list of lists of column names"
)


@dataclass
class GroupLayout:
    """Groups of columns with their labels and weights.

    ``members`` holds an array of column indices for each label, a row of one array where all groups are of one size;
    weight zero means unpenalised.
    """

    labels: Sequence
    members: list | np.ndarray
    weights: np.ndarray
    n_features: int

    @property
    def as_dict(self):
        """Label -> column indices."""
        return dict(zip(self.labels, self.members))

    def active(self, coef):
        """Labels of the groups with a nonzero coefficient; ``coef`` has a row for each feature."""
        nonzero = coef.any(axis=1)
        return [label for label, member in zip(self.labels, self.members) if nonzero[member].any()]

    def penalty(self, l1_ratio, positive):
        """The block penalty of these groups."""
        penalised = self.weights > 0.0
        members, unpenalised = _some_of(self.members, penalised), _some_of(self.members, ~penalised)
        columns, unpenalised = _joined(members), np.unique(_joined(unpenalised))
        if positive and len(unpenalised):
            raise ValueError(
                "positive=True must be combined with a penalty on every group, but group_weights or "
                f"ungrouped='unpenalized' leave {some(list(unpenalised))} unpenalized."
            )
        both = np.intersect1d(columns, unpenalised) if len(unpenalised) else unpenalised
        if len(both):
            raise ValueError(
                f"groups: features {some(list(both))} are in an unpenalized group (weight 0) and in a penalized one; "
                "an unpenalized feature must be in no other group."
            )
        ptr = np.concatenate(([0], np.cumsum(_sizes(members)))).astype(np.intp)
        return BlockPenalty(columns, ptr, self.weights[penalised], unpenalised, l1_ratio, positive)


def resolve_groups(groups, group_weights, n_features, names, ungrouped, overlap):
    """Turn the parameters ``groups``, ``group_weights``, ``ungrouped`` and ``overlap`` into a `GroupLayout`.

    ``names`` are the column names of the input, None where it has none.
    """
    if groups is None:
        labels = range(n_features)
        members = np.arange(n_features, dtype=np.intp)[:, None]
    elif isinstance(groups, Integral) and not isinstance(groups, bool):
        if groups < 1:
            raise ValueError(f"groups must be {ALLOWED}; got the size {groups}.")
        members = np.arange(n_features, dtype=np.intp)
        if n_features % groups:
            members = np.split(members, range(int(groups), n_features, int(groups)))
        else:
            members = members.reshape(-1, int(groups))
        labels = range(len(members))
    elif callable(groups):
        labels, members = _by_label(_called(groups, n_features, names), n_features, "the callable groups")
    elif isinstance(groups, Mapping):
        labels, members = _by_members(list(groups), list(groups.values()), n_features, names)
    elif _is_list_of_lists(groups):
        labels, members = _by_members(list(range(len(groups))), list(groups), n_features, names)
    else:
        labels, members = _by_label(groups, n_features, "groups")

    counts = np.bincount(_joined(members), minlength=n_features)
    shared = np.flatnonzero(counts > 1)
    if len(shared) and overlap != "latent":
        raise ValueError(
            f"groups overlap in features {_shown(shared, names)}; groups must be disjoint unless overlap='latent' "
            "(each group then has its own copy of a shared feature, and the copies' coefficients add up)."
        )
    missing = np.flatnonzero(counts == 0)
    free = np.zeros(len(members), dtype=bool)
    if len(missing):
        if ungrouped == "error":
            raise ValueError(
                f"groups leave out features {_shown(missing, names)}; every feature must be in a group unless "
                "ungrouped='unpenalized' or ungrouped='own' says what becomes of them."
            )
        members = [*members, *missing[:, None].astype(np.intp)]
        taken = set(labels)
        for j in missing:
            label = int(j) if names is None else str(names[j])
            labels = [*labels, label if label not in taken else ("ungrouped", label)]
        free = np.concatenate([free, np.full(len(missing), ungrouped == "unpenalized")])
    weights = _resolve_weights(group_weights, labels, members, len(labels) - len(missing))
    weights[free] = 0.0
    return GroupLayout(labels, members, weights, n_features)


def _some_of(members, chosen):
    """The groups that a mask chooses."""
    if chosen.all():
        return members
    return members[chosen] if isinstance(members, np.ndarray) else [members[g] for g in np.flatnonzero(chosen)]


def _joined(members):
    """The columns of all groups, one group after the other."""
    if isinstance(members, np.ndarray):
        return members.ravel()
    return np.concatenate([*members, np.empty(0, dtype=np.intp)]).astype(np.intp)


def _sizes(members):
    if isinstance(members, np.ndarray):
        return np.full(len(members), members.shape[1])
    return np.array([len(member) for member in members], dtype=np.intp)


def _called(groups, n_features, names):
    shown = [f"x{j}" for j in range(n_features)] if names is None else list(names)
    try:
        return groups(shown)
    except Exception as error:
        if names is not None:
            raise
        raise ValueError(
            f"groups(names) failed on names {some(shown)}: {type(error).__name__}: {error}; does the step before hand "
            "on names? pipeline.set_output(transform='pandas') makes it do so."
        ) from error


def _is_list_of_lists(groups):
    if isinstance(groups, np.ndarray):
        return groups.dtype == object and groups.ndim == 1 and all(_is_collection(g) for g in groups)
    return isinstance(groups, (list, tuple)) and (len(groups) == 0 or all(_is_collection(g) for g in groups))


def _is_collection(value):
    return isinstance(value, (list, tuple, set, frozenset, np.ndarray, range)) and np.ndim(list(value)) <= 1


def _by_label(values, n_features, what):
    if values is None or isinstance(values, (str, bytes, Real)):
        raise ValueError(f"{what} must be {ALLOWED}; got {values!r}.")
    if np.ndim(np.asarray(values, dtype=object)) != 1:
        raise ValueError(f"{what} must be {ALLOWED}; got an array of shape {np.shape(values)}.")
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if len(values) != n_features:
        raise ValueError(f"{what} must hold a label for each of the {n_features} features; got {len(values)} labels.")
    places = {}
    for j, label in enumerate(values):
        if not isinstance(label, Hashable):
            raise ValueError(f"{what} must hold hashable labels; got {label!r} for feature {j}.")
        places.setdefault(label, []).append(j)
    return list(places), [np.array(member, dtype=np.intp) for member in places.values()]


def _by_members(labels, collections, n_features, names):
    if len(collections) == 0:
        raise ValueError(f"groups must be {ALLOWED}; got no group at all.")
    position = {} if names is None else {name: j for j, name in enumerate(names)}
    members = []
    for label, collection in zip(labels, collections):
        if not _is_collection(collection):
            raise ValueError(f"groups must map each label to a list of columns; got {collection!r} for {label!r}.")
        collection = list(collection)
        if len(collection) == 0:
            raise ValueError(f"groups must not be empty; group {label!r} is.")
        member = []
        for entry in collection:
            if isinstance(entry, str):
                if names is None:
                    raise ValueError(
                        f"groups name the column {entry!r}, but X has no column names; pass a data frame or "
                        "groups of integer indices."
                    )
                if entry not in position:
                    raise ValueError(f"groups name {entry!r}, which must be one of the columns {some(list(names))}.")
                member.append(position[entry])
            elif isinstance(entry, Integral) and not isinstance(entry, (bool, np.bool_)):
                if not 0 <= entry < n_features:
                    raise ValueError(
                        f"groups must hold indices from 0 to {n_features - 1}; group {label!r} has {entry}."
                    )
                member.append(int(entry))
            else:
                raise ValueError(f"groups must hold integer indices or column names; group {label!r} has {entry!r}.")
        repeated = sorted({j for j in member if member.count(j) > 1}) if len(set(member)) < len(member) else []
        if repeated:
            raise ValueError(
                f"groups must not hold a feature twice; group {label!r} has {_shown(repeated, names)} more than once."
            )
        members.append(np.array(sorted(member), dtype=np.intp))
    return labels, members


def _resolve_weights(group_weights, labels, members, n_given):
    if group_weights is None:
        return np.ones(len(labels))
    if isinstance(group_weights, str):
        # the other strings are refused by the parameter constraints
        return np.sqrt(_sizes(members))
    allowed = "'sqrt', None, an array with a weight for each group, or a mapping from every group's label to its weight"
    if isinstance(group_weights, Mapping):
        missing = [label for label in labels[:n_given] if label not in group_weights]
        unknown = [label for label in group_weights if label not in set(labels)]
        if missing or unknown:
            problem = f"groups {some(missing)} have none" if missing else f"{some(unknown)} are no groups"
            raise ValueError(f"group_weights must be {allowed}; {problem}.")
        values = [group_weights.get(label, np.sqrt(size)) for label, size in zip(labels, _sizes(members))]
    else:
        values = group_weights
    try:
        weights = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"group_weights must be {allowed}; got {group_weights!r}.") from None
    if weights.ndim == 1 and n_given < len(labels) == len(weights) + len(labels) - n_given:
        # weights are given for the groups only: ungrouped features follow with weight one each
        weights = np.concatenate([weights, np.ones(len(labels) - n_given)])
    if weights.shape != (len(labels),):
        raise ValueError(f"group_weights must be {allowed}; got shape {weights.shape} for {len(labels)} groups.")
    bad = ~np.isfinite(weights) | (weights < 0.0)
    if bad.any():
        raise ValueError(f"group_weights must be finite and >= 0; got {weights[bad][0]:g}.")
    return weights


def _shown(features, names):
    return some([int(j) if names is None else str(names[j]) for j in features])


def some(items):
    """At most ten items, readable."""
    text = ", ".join(repr(item.item() if isinstance(item, np.generic) else item) for item in items[:10])
    return f"[{text}{', ...' if len(items) > 10 else ''}]"
