"""Groups of features that encoders made of the same column."""

from dataclasses import dataclass

from ._groups import some


@dataclass(frozen=True)
class ColumnGroups:
    """Groups of the features that a table's columns became, for ``groups`` of `GroupLasso` and its kin.

    Encoders put a suffix to the name of the column that they turn into several: "living_area" becomes
    "living_area_sp_0", "living_area_sp_1" and so on. A feature belongs to the column with whose name, followed by an
    underscore, its own begins, to the longest if there are several. What a `~sklearn.compose.ColumnTransformer` puts
    before names, up to a double underscore, and `~sklearn.impute.SimpleImputer`'s "missingindicator" do not count.

    Parameters
    ----------
    columns : sequence of str
        Names of the columns before they are encoded, such as ``table.columns``.

    Raises
    ------
    ValueError
        If ``columns`` are not different strings; if called with a name that belongs to none of them, as happens where
        the step before does not hand on names: ``set_output(transform="pandas")`` makes it do so.

    Notes
    -----
    Unlike a function that is defined in a script, it can be unpickled anywhere.

    Examples
    --------
    >>> from skspar import ColumnGroups
    >>> groups = ColumnGroups(["lot", "lot_area"])
    >>> groups(["lot_sp_0", "lot_sp_1", "lot_area_sp_0", "remainder__lot"])
    ['lot', 'lot', 'lot_area', 'lot']
    """

    columns: tuple

    def __post_init__(self):
        columns = () if isinstance(self.columns, str) else tuple(self.columns)
        if not columns or not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
            raise ValueError(
                f"columns must be names of columns, different strings, at least one; got {self.columns!r}."
            )
        object.__setattr__(self, "columns", columns)

    def __call__(self, names):
        """The column that each feature belongs to.

        Parameters
        ----------
        names : sequence of str
            Names of features.

        Returns
        -------
        columns : list of str
        """
        longest_first = sorted(self.columns, key=len, reverse=True)
        found = [self._column(name, longest_first) for name in names]
        lost = [name for name, column in zip(names, found) if column is None]
        if lost:
            raise ValueError(
                f"columns must hold every column that features are made of; {some(lost)} begin with none of "
                f"{some(list(self.columns))}. Does the step before hand on names? "
                "pipeline.set_output(transform='pandas') makes it do so."
            )
        return found

    @staticmethod
    def _column(name, longest_first):
        while True:
            bare = name.removeprefix("missingindicator_")
            for column in longest_first:
                if any(part == column or part.startswith(column + "_") for part in (name, bare)):
                    return column
            _, separator, name = name.partition("__")
            if not separator:
                return None
