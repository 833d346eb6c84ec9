"""Numbers that strangers and guests say: every type bounds them, and both ends of each bound can be sent and kept."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from p2p.compute import bundles
from p2p.compute.execution import runner
from p2p.compute.owner import planner
from p2p.core.compute import plan, report
from p2p.core.shares import manifest
from p2p.wire import datagrams, guest, messages, records, tracker

SAID: tuple[Any, ...] = (
    messages.AnyMessage,
    datagrams.AnyMessage,
    records._Body,
    *records._PAYLOADS.values(),
    manifest.ManifestRoot,
    manifest.Entry,
    manifest.TimedEntry,
    tracker.Announce,
    tracker.Announced,
    tracker.SearchAnswer,
    tracker.SourcesAnswer,
    tracker.VolunteersAnswer,
    tracker.PeerView,
    tracker.Problem,
    guest._Lengths,
    runner.GuestReply,
    planner._Said,
    plan.Plan,
    report.Report,
    bundles.Description,
)
SMALLEST, LARGEST = -(2**63), 2**63 - 1
"""What SQLite and every decoder of another language can hold."""


def extremes(kind: inspect.Type, where: str) -> Iterator[tuple[str, Any]]:
    """The ends of each bound of a type, each with the name of the field that has it."""
    match kind:
        case inspect.IntType(gt=above, ge=least, lt=below, le=most):
            low = least if least is not None or above is None else above + 1
            high = most if most is not None or below is None else below - 1
            assert low is not None, f"{where} has no lower bound"
            assert high is not None, f"{where} has no upper bound"
            yield where, low
            yield where, high
        case inspect.FloatType(gt=above, ge=least, lt=below, le=most):
            assert (above, least) != (None, None), f"{where} has no lower bound"
            assert (below, most) != (None, None), f"{where} has no upper bound"
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) | inspect.SetType(item_type=item):
            yield from extremes(item, where)
        case inspect.TupleType(item_types=items):
            for number, item in enumerate(items):
                yield from extremes(item, f"{where}[{number}]")
        case inspect.UnionType(types=types):
            for item in types:
                yield from extremes(item, where)
        case inspect.DictType(key_type=key, value_type=value):
            yield from extremes(key, where)
            yield from extremes(value, where)
        case inspect.StructType(cls=cls, fields=fields):
            for field in fields:
                yield from extremes(field.type, f"{cls.__name__}.{field.name}")
        case _:
            assert not isinstance(kind, inspect.CustomType), where


@pytest.mark.parametrize("said", SAID, ids=lambda said: getattr(said, "__qualname__", str(said)[:30]))
def test_every_number_that_others_say_is_bounded_and_can_be_passed_on(said: Any) -> None:
    for where, value in extremes(inspect.type_info(said), ""):
        assert SMALLEST <= value <= LARGEST, where
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(value)) == value
        assert msgspec.json.decode(msgspec.json.encode(value)) == value
