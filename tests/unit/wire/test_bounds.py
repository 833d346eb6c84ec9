"""Numbers that strangers and guests say: every type bounds them, and both ends of each bound can be sent and kept."""

import re
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


BOUNDED_AS_A_WHOLE = {
    "ManifestRoot.parts": "a root has at most MAX_ROOT_BYTES",
    "Entry.path": "a part of a manifest has at most MAX_PART_BYTES",
    "Entry.hashes": "a part of a manifest has at most MAX_PART_BYTES",
    "TimedEntry.path": "a part of a manifest has at most MAX_PART_BYTES",
    "TimedEntry.hashes": "a part of a manifest has at most MAX_PART_BYTES",
    "Description.args": "the file that has them has a limit",
}
MOST_BUILT = 300
"""How long built texts are at most: a limit of a megabyte is believed."""


def built(kind: inspect.Type, where: str, *, most: bool) -> Any:
    """A value of a type, with the most, or else the least, that each bound allows."""
    match kind:
        case inspect.IntType():
            return list(extremes(kind, where))[-1 if most else 0][1]
        case inspect.FloatType(gt=above, ge=least, lt=below, le=largest):
            low = least if least is not None else (above or 0.0) + 1e-9
            high = largest if largest is not None else (below or 0.0) - 1e-9
            return float(high if most else low)
        case inspect.StrType(pattern=str(pattern)):
            return next(text for text in ("0" * 64, "a") if re.fullmatch(pattern, text))
        case inspect.StrType(min_length=least, max_length=longest):
            assert longest is not None or where.partition("[")[0] in BOUNDED_AS_A_WHOLE, f"{where} has no limit"
            return "x" * (min(longest or MOST_BUILT, MOST_BUILT) if most else least or 0)
        case inspect.BytesType(min_length=least, max_length=longest):
            assert longest is not None or where in BOUNDED_AS_A_WHOLE, f"{where} has no limit"
            return b"\xff" * (max(least or 0, min(longest or MOST_BUILT, MOST_BUILT)) if most else least or 0)
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType():
            count = min(kind.max_length or 2, 2) if most else kind.min_length or 0
            return tuple(built(kind.item_type, f"{where}[]", most=most) for _ in range(count))
        case inspect.TupleType(item_types=items):
            return tuple(built(item, where, most=most) for item in items)
        case inspect.UnionType(types=types):
            return built(types[-1 if most else 0], where, most=most)
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: built(field.type, f"{cls.__name__}.{field.name}", most=most) for field in fields})
        case inspect.LiteralType(values=values):
            return values[-1 if most else 0]
        case inspect.EnumType(cls=cls):
            return list(cls)[-1 if most else 0]
        case inspect.BoolType():
            return most
        case inspect.RawType():
            return msgspec.Raw(b"0")  # in JSON a number, and in msgpack one too
        case inspect.DictType():
            return {}
        case inspect.AnyType() | inspect.NoneType():
            return None
    raise AssertionError(f"{where}: {kind}")


STRUCTS = [one for said in SAID for one in getattr(said, "__args__", (said,))]


@pytest.mark.parametrize("most", [False, True], ids=["least", "most"])
@pytest.mark.parametrize("said", STRUCTS, ids=lambda said: said.__qualname__)
def test_every_message_with_the_extremes_of_its_fields_can_be_sent_and_read(said: Any, most: bool) -> None:
    message = built(inspect.type_info(said), said.__name__, most=most)
    for codec in (msgspec.msgpack, msgspec.json):
        read = codec.decode(codec.encode(message), type=said)
        assert codec.decode(codec.encode(read), type=said) == read
