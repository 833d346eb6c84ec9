"""Arrays of numpy and tables of pandas go to a function at a volunteer and come back as they were."""

import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2p import Peer
from p2p.client.values import Unreadable, Untransferable, decode, encode
from p2p.compute.runtimes import all_runtimes
from p2p.sandbox import compiled
from p2p.sandbox.runtimes import SCIENCE
from tests.support import processes
from tests.support.world import World, hint_of
from tests.support.world_jobs import volunteer

FRAME = pd.DataFrame(
    {
        "n": [1, 2],
        "text": ["x", None],
        "at": pd.to_datetime(["2020", "2021"]),
        "any": [None, (1, "\u00fc")],
        5: [1.5, float("nan")],
        "plain": np.array(["p", "q"], dtype=object),
    },
    index=["r", "s"],
)
ARRAYS: list[Any] = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">i4"),
    np.array(["a", "bcd", ""]),
    np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
    np.array([b"x", b"yz"]),
    np.zeros((0, 3)),
    np.array(5),
    np.array([1 + 2j, float("nan")]),
    np.float64(2.5),
    np.bool_(True),
    np.datetime64("2020-01-01", "s"),
]
TABLES: list[Any] = [
    FRAME,
    FRAME.iloc[::-1],
    pd.DataFrame(),
    pd.DataFrame(np.ones((2, 2))),
    pd.DataFrame({"a": [1], "b": [True]}).set_index("a"),
    pd.DataFrame([[1, 2]], columns=["same", "same"]),
    pd.Series([1, 2], name=("x", 1)),
    pd.Series(["a", None], index=[3, 5]),
]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
        return True
    if isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other)
        return True
    left, right = np.asarray(one), np.asarray(other)
    orders = [(array.flags.c_contiguous, array.flags.f_contiguous) for array in (left, right)]
    return (
        type(one) is type(other)
        and (left.dtype, left.shape, orders[0]) == (right.dtype, right.shape, orders[1])
        and left.tobytes() == right.tobytes()
        and right.flags.writeable
    )


@pytest.mark.parametrize("value", [*ARRAYS, *TABLES], ids=repr)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert same(value, decode(encode(value)))
    assert same(value, decode(encode({"in": [value]}))["in"][0])


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([1, None]),
        np.ma.masked_array([1], [True]),
        np.zeros(2, dtype=[("a", "i4")]),
        np.longdouble(1),
        np.zeros(2, dtype="V3"),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["a"], dtype="category"),
        pd.DataFrame({"a": [object()]}),
        pd.DataFrame({"a": pd.to_datetime(["2020"], utc=True)}),
        pd.DataFrame(index=range(2_000_000)),
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)])),
        pd.Timestamp("2020"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_kinds_are_refused_by_name(value: Any) -> None:
    with pytest.raises(Untransferable, match=r"(numpy|pandas|object).* does not travel"):
        encode(value)


def test_a_refused_table_says_which_column_it_is() -> None:
    table = pd.DataFrame({"x": [1.0], "kind": pd.Categorical(["a"])})
    with pytest.raises(Untransferable, match="with this in it: its column 'kind' is of the type category"):
        encode([table])


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> dict[str, str]:
    text = header.encode().ljust(117) + b"\n"
    return {"npy": b64encode(b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data).decode()}


@pytest.mark.parametrize(
    "text",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", bytes(8)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        npy("{'descr': '|O8', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }"),
        npy("{'descr': '<f7', 'fortran_order': False, 'shape': (1,), }", bytes(7)),
        npy("{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(8), b"\x02\x00"),
        {"npy": "gASVBQAAAAAAAABLAS4="},
        {"scalar": 5},
        {"frame": [{"range": [0, 10**12, 1], "name": None}, {"range": [0, 0, 1], "name": None}, []]},
        {"frame": [{"range": [0, 2, 1], "name": None}, {"range": [0, 1, 1], "name": None}, [{"objects": [1]}]]},
        {"frame": [{"range": [0, 1, 0], "name": None}, {"range": [0, 0, 1], "name": None}, []]},
        {"series": [{"range": [0, 10**9, 1], "name": None}, json.loads(encode(np.array(5))), None]},
        {"series": [{"range": [0, 10**9, 1], "name": None}, json.loads(encode(np.array([5]))), None]},
        {"frame": [{"range": [0, 2, 1], "name": None}, {"range": [0, 1, 1], "name": None}, [{"npy": encode(5)}]]},
        {"series": [{"range": [0, 1, 1], "name": None}, {"texts": [5], "as": "str"}, None]},
        {"series": [{"range": [0, 1, 1], "name": None}, {"texts": ["a"], "as": "category"}, None]},
    ],
    ids=lambda text: json.dumps(text)[:40],
)
def test_what_is_no_array_or_table_is_refused(text: Any) -> None:
    with pytest.raises(Unreadable):
        decode(json.dumps(text))


SMALL = st.none() | st.integers(-2, 5) | st.text(max_size=3) | st.just("str") | st.just({"objects": [1, 2]})
PARTS = st.recursive(
    SMALL | st.just({"range": [0, 2, 1], "name": None}) | st.just({"npy": encode(np.arange(2))[8:-2]}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["npy", "scalar", "series", "frame", "range", "labels", "name"]), inner)
    ),
    max_leaves=8,
)


@given(PARTS)
def test_any_text_is_read_or_refused(value: Any) -> None:
    with suppress(Unreadable):
        decode(json.dumps(value))


def doubled(item: Any) -> Any:
    return item * 2 if isinstance(item, np.ndarray) else item


async def test_arrays_and_tables_go_through_a_guest(world: World) -> None:
    science = next((one for one in all_runtimes() if one.name == SCIENCE), None)
    if science is None or not compiled.is_compiled(compiled.default_folder(), science):
        pytest.skip("the extra `science` is not installed, or not compiled yet")
    lender, owner = await volunteer(world), await world.peer("owner")

    def run() -> None:
        with Peer(owner.home, peers=[str(hint_of(lender))]) as peer:
            mapped = peer.map(doubled, [*ARRAYS[:3], *TABLES, 5])
            found = mapped.result(processes.PATIENCE_S)
            assert all(np.array_equal(one * 2, other) for one, other in zip(ARRAYS[:3], found, strict=False))
            assert all(map(same, TABLES, found[3:-1]))
            assert found[-1] == 5

    await trio.to_thread.run_sync(run)
