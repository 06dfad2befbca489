"""Docstrings are complete, true of the code, and their examples run."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from sklearn.base import BaseEstimator, is_classifier
from sklearn.datasets import make_regression
from sklearn.linear_model import LogisticRegression

import skspar
from skspar.datasets import make_pairwise_comparisons

# Codes of numpydoc's validation that we do not follow.
IGNORED = {
    "GL01",  # the summary stands on the opening line
    "GL02",  # the closing quotes may stand on the last line
    "RT02",  # a return value may have a name
    "SA01",  # "See Also" only where it helps
    "SA04",  # entries of "See Also" need no description
    "YD01",  # nothing yields
}
IGNORED_FOR_METHODS = {"ES01", "EX01"}  # extended summary and example belong to the class


def public_objects():
    """Dotted name and object of all that a user calls: public names, and the public methods that our classes define."""
    for module in (skspar, skspar.datasets):
        for name in module.__all__:
            obj = getattr(module, name)
            if inspect.ismodule(obj):
                continue
            yield f"{module.__name__}.{name}", obj
            for member, attribute in vars(obj).items() if inspect.isclass(obj) else ():
                ours = isinstance(attribute, property | staticmethod | classmethod) or (
                    inspect.isfunction(attribute) and attribute.__module__.startswith("skspar")
                )
                if ours and not member.startswith("_"):
                    yield f"{module.__name__}.{name}.{member}", getattr(obj, member)


PUBLIC = dict(public_objects())
CALLABLES = [name for name, obj in PUBLIC.items() if callable(obj)]
ESTIMATORS = [name for name, obj in PUBLIC.items() if inspect.isclass(obj) and issubclass(obj, BaseEstimator)]
MODULES = ["skspar", *(found.name for found in pkgutil.walk_packages(skspar.__path__, "skspar."))]


@pytest.mark.parametrize("name", PUBLIC)
def test_numpydoc(name):
    is_method = name.rpartition(".")[0] in PUBLIC
    ignored = IGNORED | IGNORED_FOR_METHODS if is_method else IGNORED
    errors = [f"{code}: {message}" for code, message in validate(name)["errors"] if code not in ignored]
    assert not errors, f"{name}:\n" + "\n".join(errors)


@pytest.mark.parametrize("name", CALLABLES)
def test_stated_defaults_are_the_defaults(name):
    stated = entries(PUBLIC[name], "Parameters")
    for parameter in inspect.signature(PUBLIC[name]).parameters.values():
        if parameter.default is parameter.empty or parameter.name not in stated:
            continue
        match = re.search(r"default=(.*)$", stated[parameter.name])
        assert match, f"{name}: the type of {parameter.name!r} does not end with default={parameter.default!r}"
        assert ast.literal_eval(match[1]) == parameter.default, f"{name}: {parameter.name!r} has another default"


# what an estimator needs to fit any data
SETTINGS = {
    "skspar.BasisPursuit": {"feasibility_tol": 1.0},
    "skspar.CleanLabelClassifier": {"estimator": LogisticRegression(), "handle": "weight"},
    "skspar.InstanceCredibilityClassifier": {"estimator": LogisticRegression()},
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fitted_attributes_are_documented(name):
    X, y = make_regression(60, 6, n_informative=3, noise=1.0, random_state=0)
    X = pd.DataFrame(X, columns=[f"feature {j}" for j in range(6)])
    if name == "skspar.RobustPairwiseRanker":  # rows are pairs of items
        pairs = make_pairwise_comparisons(6, 60, random_state=0)
        X, y = pd.DataFrame(pairs.X, columns=["left", "right"]), pairs.y
    estimator = PUBLIC[name](**SETTINGS.get(name, {}))
    labels = is_classifier(estimator) or isinstance(estimator, skspar.NoisyLabelDetector)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        estimator.fit(X, y > np.median(y) if labels else y)
    fitted = {attribute for attribute in dir(estimator) if re.fullmatch(r"[a-z]\w*_", attribute)}
    assert set(entries(PUBLIC[name], "Attributes")) == {
        attribute for attribute in fitted if hasattr(estimator, attribute)
    }


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """The examples of every docstring, private ones too."""
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
    examples = [found for found in doctest.DocTestFinder(exclude_empty=True).find(module) if found.examples]
    if examples and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("the examples show numbers as NumPy 2 does")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report = []
    for example in examples:
        runner.run(example, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def entries(obj, section):
    """Names that a section of a docstring describes, with the type it states."""
    found = NumpyDocString(inspect.getdoc(obj))[section]
    return {name.strip().lstrip("*"): entry.type for entry in found for name in entry.name.split(",")}
