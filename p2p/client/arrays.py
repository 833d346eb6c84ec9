"""Arrays and tables that go to a function at volunteers and come back: the kinds of `values` that need numpy or pandas.

An array is what `numpy.save` writes, in base64. A table is its columns, each an array or a list of values. Nothing is
ever a pickle. What arrives is measured before anything is made of it. This file goes along with jobs that need it.
"""

import io
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_EMPTY_ROWS = 1_000_000
"""The most rows of a table without columns, which takes no room, however many rows it has."""
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|][biufcSUMm][0-9]{1,9}(?:\[[0-9]{0,9}[a-zA-Z]{1,2}\])?)', "
    rb"'fortran_order': (False|True), 'shape': \(((?:[0-9]{1,18},? ?){0,64})\), \} *\n",
    re.DOTALL,
)
"""The beginning that `numpy.save` writes for an array of plain numbers, texts or times."""

Inner = Callable[[Any], Any]


def encode(value: Any, inner: Inner) -> Any:
    """The tagged JSON of an array or a table; None if it is of a kind that does not travel. `inner` encodes values."""
    kind = type(value)
    if kind is np.ndarray:
        return None if (text := _npy(value)) is None else {"npy": text}
    if isinstance(value, np.generic):
        return None if (text := _npy(np.asarray(value))) is None else {"scalar": text}
    if kind.__module__.partition(".")[0] != "pandas" or getattr(value, "attrs", None):
        return None
    if kind.__name__ == "Series":
        parts = [_axis(value.index, inner), _column(value.array, value.dtype, inner), inner(value.name)]
        return None if None in parts[:2] else {"series": parts}
    if kind.__name__ == "DataFrame":
        columns = [_column(value.iloc[:, at].array, value.dtypes.iloc[at], inner) for at in range(value.shape[1])]
        parts = [_axis(value.index, inner), _axis(value.columns, inner), columns]
        if None in parts or None in columns or (not columns and len(value) > MAX_EMPTY_ROWS):
            return None
        return {"frame": parts}
    return None


def hindrance(value: Any, inner: Inner) -> str:
    """Which column keeps a table from travelling, and of what type it is; empty if that is not why."""
    if type(value).__module__.partition(".")[0] == "pandas" and type(value).__name__ == "DataFrame":
        for at, (name, dtype) in enumerate(value.dtypes.items()):
            if _column(value.iloc[:, at].array, dtype, inner) is None:
                return f": its column {name!r} is of the type {dtype}"
    return ""


def decode(kind: str, held: Any, inner: Inner) -> Any:
    """The array or table of a kind that `encode` wrote. `inner` decodes values. Raises ValueError and its like."""
    match kind:
        case "npy":
            return _array(held)
        case "scalar":
            return _array(held)[()]
    import pandas as pd

    if kind == "series":
        index, column, name = held
        return _series(column, _decoded_axis(index, inner), inner, inner(name))
    index, labels, columns = held
    rows, names = _decoded_axis(index, inner), _decoded_axis(labels, inner)
    if len(names) != len(columns) or (not columns and len(rows) > MAX_EMPTY_ROWS):
        raise ValueError("the table has other columns than it says")
    frame = pd.DataFrame({at: _series(column, rows, inner) for at, column in enumerate(columns)}, index=rows)
    frame.columns = names
    return frame


def _npy(array: Any) -> str | None:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if (
        kind not in "biufcSUMm" or not size or size > {"f": 8, "c": 16}.get(kind, size)
    ):  # longer floats differ by machine
        return None
    written = io.BytesIO()
    np.lib.format.write_array(written, array, version=(1, 0), allow_pickle=False)
    data = written.getvalue()
    return b64encode(data).decode("ascii") if _HEADER.match(data) else None


def _array(text: Any) -> Any:
    data = b64decode(text, validate=True)
    header = _HEADER.match(data)
    if header is None or header.end() != 10 + int.from_bytes(data[8:10], "little"):
        raise ValueError("this is no array")
    dtype, order = np.dtype(header[1].decode()), "F" if header[2] == b"True" else "C"
    shape = tuple(int(part) for part in re.findall(rb"[0-9]+", header[3]))
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - header.end():
        raise ValueError("the array has another size than it says")
    if not dtype.itemsize:
        raise ValueError("an array of nothing")
    return np.frombuffer(data, dtype, offset=header.end()).reshape(shape, order=order).copy(order=order)


def _column(array: Any, dtype: Any, inner: Inner) -> Any:
    """The JSON of a column, or of the labels of an axis; None if it is of a kind that does not travel."""
    if isinstance(dtype, np.dtype):
        plain = np.asarray(array)
        if plain.dtype.kind == "O":
            return {"objects": [inner(one) for one in plain.tolist()]}
        return None if (text := _npy(plain)) is None else {"npy": text}
    if dtype.name in {"str", "string"}:
        return {"texts": [one if isinstance(one, str) else None for one in array], "as": dtype.name}
    return None


def _series(column: Any, rows: Any, inner: Inner, name: Any = None) -> Any:
    import pandas as pd

    found, dtype = _decoded_column(column, inner)
    if len(found) != len(rows):  # one value would be repeated for all rows, which may be any number
        raise ValueError("a column has another length than the table")
    return pd.Series(found, rows, dtype=dtype, name=name)


def _decoded_column(held: Any, inner: Inner) -> tuple[Any, Any]:
    """What is in a column, and its type, which pandas must not guess."""
    import pandas as pd

    match held:
        case {"npy": text}:
            found = _array(text)
            if found.ndim != 1:
                raise ValueError("a column has other dimensions than one")
            return found, found.dtype
        case {"objects": list(items)}:
            made: Any = np.empty(len(items), dtype=object)
            for at, one in enumerate(items):
                made[at] = inner(one)
            return made, made.dtype
        case {"texts": list(items), "as": "str" | "string" as name} if all(
            isinstance(one, str | None) for one in items
        ):
            return (made := pd.array(items, dtype=name)), made.dtype
    raise ValueError("this is no column")


def _axis(labels: Any, inner: Inner) -> Any:
    if type(labels).__name__ == "RangeIndex":
        return {"range": [labels.start, labels.stop, labels.step], "name": inner(labels.name)}
    if labels.nlevels != 1:
        return None
    column = _column(labels.array, labels.dtype, inner)
    return None if column is None else {"labels": column, "name": inner(labels.name)}


def _decoded_axis(held: Any, inner: Inner) -> Any:
    import pandas as pd

    match held:
        case {"range": [int(start), int(stop), int(step)], "name": name}:
            return pd.RangeIndex(start, stop, step, name=inner(name))
        case {"labels": column, "name": name}:
            found, dtype = _decoded_column(column, inner)
            return pd.Index(found, dtype=dtype, name=inner(name))
    raise ValueError("these are no labels")
