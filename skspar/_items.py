"""The ways in which a user may name things that are compared."""

from contextlib import suppress
from numbers import Integral

import numpy as np
from sklearn.utils import check_array

from ._missing import is_missing


def named(labels, n_shown=5):
    """A few labels for a message."""
    shown = ", ".join(repr(label) for label in labels[:n_shown])
    return shown + (f", ... ({len(labels)} in all)" if len(labels) > n_shown else "")


def universe(X, items, item_features, what="X"):
    """All items as an array of labels, and their features (None without)."""
    features, index = _check_features(item_features), _index(item_features)
    if items is None and features is not None:
        items = features.shape[0] if index is None else index
    if items is None:
        labels = _distinct(X, what)
    elif isinstance(items, Integral) and not isinstance(items, bool | np.bool_):
        if items < 1:
            raise ValueError(f"items must be a positive number of items, or an array of their labels; got {items!r}.")
        labels = np.arange(int(items))
    else:
        labels = _as_labels(items)
    if index is not None:
        features = _in_order(features, index, labels)
    if features is not None and features.shape[0] != len(labels):
        raise ValueError(
            f"item_features must have a row for each item; got {features.shape[0]} rows for {len(labels)} items."
        )
    return labels, features


def _index(item_features):
    """The names that a data frame gives its rows; None where it only counts them."""
    index = getattr(item_features, "index", None)
    if not hasattr(index, "to_numpy"):
        return None
    names = index.to_numpy()
    counted = names.dtype.kind in "iu" and np.array_equal(names, np.arange(len(names)))
    return None if counted else names


def _in_order(features, index, labels):
    """The rows of features whose names are the labels."""
    named_rows = _as_labels(index, "the index of item_features")
    place = encode(labels[:, None], named_rows)[:, 0]
    if np.any(place < 0):
        missing = labels[place < 0].tolist()
        raise ValueError(
            f"item_features must have a row for each item; its index lacks {named(missing)}. A frame whose index only "
            "counts its rows is taken in the order of items."
        )
    return features if np.array_equal(place, np.arange(features.shape[0])) else features[place]


def encode(X, labels, strict=False):
    """Places of the entries of X among the labels; -1, or with ``strict`` an error, for those that are not there."""
    if strict and X.dtype.kind == "f" and not np.all(np.isfinite(X)):
        raise ValueError("X must not have missing or infinite entries; got some.")
    if labels.dtype.kind in "iu" and (X.dtype.kind in "iu" or _whole(X)):
        X = X.astype(np.int64)
        if len(labels) and np.array_equal(labels, np.arange(len(labels))):
            codes = np.where((X >= 0) & (len(labels) > X), X, -1)
        else:
            order = np.argsort(labels, kind="stable")
            at = np.minimum(np.searchsorted(labels[order], X), len(labels) - 1)
            codes = np.where(labels[order][at] == X, order[at], -1)
    else:
        place = {label: k for k, label in enumerate(labels.tolist())}
        flat = X.ravel().tolist()
        try:
            codes = np.fromiter((place.get(label, -1) for label in flat), dtype=np.int64, count=len(flat))
        except TypeError:
            raise ValueError("X must hold items of a hashable type; got some that are not.") from None
        codes = codes.reshape(X.shape)
    if strict and np.any(codes < 0):
        row = int(np.flatnonzero((codes < 0).any(axis=1))[0])
        unknown = list(dict.fromkeys(X[codes < 0].tolist()))
        integers = labels.dtype.kind in "iu" and np.array_equal(labels, np.arange(len(labels)))
        allowed = f"integers from 0 to {len(labels) - 1}" if integers else f"one of {named(labels.tolist())}"
        raise ValueError(f"X must hold items that are {allowed}; got {named(unknown)}, first in row {row}.")
    return codes


def _whole(X):
    return X.dtype.kind == "f" and bool(np.all(np.isfinite(X))) and bool(np.all(np.floor(X) == X))


def _distinct(X, what):
    """The distinct entries of X, sorted where they can be."""
    if X.dtype.kind == "f":
        if not np.all(np.isfinite(X)):
            raise ValueError(f"{what} must not have missing or infinite entries; got some.")
        if what == "X" and not _whole(X):
            wrong = X[np.floor(X) != X][0]
            raise ValueError(f"X must hold integers or labels of items; got the number {wrong}.")
    if X.dtype.kind in "iu" or (X.dtype.kind == "f" and _whole(X)):
        X = X.astype(np.int64)
        if what == "X" and X.min() < 0:
            row = int(np.flatnonzero((X < 0).any(axis=1))[0])
            raise ValueError(f"X must hold integers >= 0 as items, or labels; got {X.min()} (row {row}).")
        if X.max() - X.min() < 4 * X.size + 1000:
            lowest = X.min()
            return np.flatnonzero(np.bincount((X - lowest).ravel())) + lowest
        return np.unique(X)
    flat = X.ravel().tolist()
    try:
        labels = list(dict.fromkeys(flat))
    except TypeError:
        raise ValueError(f"{what} must hold labels of a hashable type; got some that are not.") from None
    if any(is_missing(label) for label in labels):
        raise ValueError(f"{what} must not have missing entries; got some.")
    if what == "X" and all(isinstance(label, Integral) for label in labels) and min(labels) < 0:
        raise ValueError(f"X must hold integers >= 0 as items, or labels; got {min(labels)}.")
    with suppress(TypeError):  # of different types: as they come
        labels = sorted(labels)
    return _as_array(labels)


def _as_labels(items, what="items"):
    """The user's list of items."""
    if hasattr(items, "to_numpy"):
        items = items.to_numpy()
    if isinstance(items, str) or not hasattr(items, "__iter__"):
        raise ValueError(f"items must be a number of items or an array of their labels; got {items!r}.")
    labels = items.tolist() if isinstance(items, np.ndarray) else list(items)
    try:
        distinct = set(labels)
    except TypeError:
        raise ValueError(f"{what} must be labels of a hashable type; got some that are not.") from None
    if not labels:
        raise ValueError("items must name at least two items; got none.")
    if len(distinct) < len(labels):
        seen = set()
        twice = [label for label in labels if label in seen or seen.add(label)]
        raise ValueError(f"{what} must name each item once; {named(twice)} repeat.")
    return _as_array(labels)


def _as_array(labels):
    """Integers and strings as such, anything else as objects."""
    if all(isinstance(label, Integral) and not isinstance(label, bool) for label in labels):
        return np.array(labels, dtype=np.int64)
    if all(isinstance(label, str) for label in labels):
        return np.array(labels)
    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def _check_features(item_features):
    if item_features is None:
        return None
    try:
        return check_array(item_features, accept_sparse="csr", dtype=np.float64, input_name="item_features")
    except ValueError as error:
        raise ValueError(f"item_features: {error}") from error
