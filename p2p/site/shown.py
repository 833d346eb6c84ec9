"""Answers and lists of them that show themselves in a notebook. What renders them is loaded only then."""

from typing import TypeVar

import msgspec

Row = TypeVar("Row")


class Shown(msgspec.Struct, frozen=True):
    """A record whose fields are a table in a notebook."""

    def _repr_html_(self) -> str:
        from p2p.site import notebook

        return notebook.record(self)


class Rows(list[Row]):
    """A list that is a table in a notebook: of records, or of any values."""

    def _repr_html_(self) -> str:
        from p2p.site import notebook

        return notebook.table(self)
