"""Messages: what is said is understood, and whatever else comes is malformed or of an unknown type."""

from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from p2p.errors import MalformedMessage
from p2p.wire import messages
from tests.support.manifests import mutations

N = TypeVar("N", int, float)
KINDS: tuple[type[messages.Message], ...] = messages.AnyMessage.__args__
STRUCTS = {kind: info for kind in KINDS if isinstance(info := inspect.type_info(kind), inspect.StructType)}


def known(bound: N | None) -> N:
    assert bound is not None, "a field without a bound"
    return bound


def legal(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values within the limits of a field, the limits themselves included where they are small."""
    match kind:
        case inspect.IntType(ge=low, lt=below, le=high):
            return st.integers(known(low), high if high is not None else known(below) - 1)
        case inspect.FloatType(ge=low, gt=above, le=high):
            return st.floats(known(low if low is not None else above), known(high), exclude_min=above is not None)
        case inspect.BoolType():
            return st.booleans()
        case inspect.BytesType(min_length=least, max_length=most):
            return st.binary(min_size=least or 0, max_size=min(known(most), 64))
        case inspect.StrType(min_length=least, max_length=most):
            return st.text(min_size=least or 0, max_size=min(known(most), 64))
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            return st.lists(legal(item), min_size=least or 0, max_size=min(known(most), 4)).map(tuple)
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType(types=types):
            return st.one_of(*map(legal, types))
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(legal, items))
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: legal(field.type) for field in fields})
    raise AssertionError(f"a field of a type that no test knows: {kind}")


def illegal(kind: inspect.Type) -> list[Any]:
    """Values just beyond each limit of a field, and of other types."""
    others: list[Any] = [None, {}, 1.5]
    match kind:
        case inspect.IntType(ge=low, lt=below, le=high):
            return [*others, "1", known(low) - 1, high + 1 if high is not None else known(below), 2**64 - 1, -(2**63)]
        case inspect.FloatType(le=high):
            return [None, {}, "1", -1.0, known(high) * 1.01, float("nan"), float("inf")]
        case inspect.BoolType():
            return [*others, 1, "x"]
        case inspect.BytesType(min_length=least, max_length=most):
            return [*others, 1, bytes(known(most) + 1), *([bytes(least - 1)] if least else [])]
        case inspect.StrType(min_length=least, max_length=most):
            return [*others, 1, "x" * (known(most) + 1), *([""] if least else [])]
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            good = small(item)
            few = [[good] * (least - 1)] if least else []
            rest = [good] * max(0, (least or 0) - 1)
            return [*others, 1, [good] * (known(most) + 1), *few, *([bad, *rest] for bad in illegal(item))]
        case inspect.UnionType(types=(one, inspect.NoneType())):
            return [bad for bad in illegal(one) if bad is not None]
        case inspect.TupleType(item_types=items):
            goods = [small(item) for item in items]
            wrong = [[*goods[:at], bad, *goods[at + 1 :]] for at, item in enumerate(items) for bad in illegal(item)]
            return [*others, [], goods[:-1], [*goods, goods[0]], *wrong]
        case inspect.StructType(fields=fields, array_like=True):
            goods = small(kind)
            wrong = [[*goods[:at], bad, *goods[at + 1 :]] for at, f in enumerate(fields) for bad in illegal(f.type)]
            return [1, {}, [], *wrong]
        case inspect.StructType(fields=fields):
            good = small(kind)
            return [1, [], {}, *(good | {f.encode_name: bad} for f in fields for bad in illegal(f.type))]
    raise AssertionError(f"a field of a type that no test knows: {kind}")


def small(kind: inspect.Type) -> Any:
    """One legal value, as it is encoded."""
    match kind:
        case inspect.IntType():
            return 1
        case inspect.FloatType():
            return 1.0
        case inspect.BoolType():
            return False
        case inspect.BytesType(min_length=least):
            return bytes(least or 0)
        case inspect.StrType(min_length=least):
            return "x" * (least or 0)
        case inspect.VarTupleType(item_type=item, min_length=least):
            return [small(item)] * (least or 0)
        case inspect.UnionType(types=types):
            return small(types[0])
        case inspect.TupleType(item_types=items):
            return [small(item) for item in items]
        case inspect.StructType(fields=fields, array_like=True):
            return [small(field.type) for field in fields]
        case inspect.StructType(fields=fields):
            return {field.encode_name: small(field.type) for field in fields}
    raise AssertionError(f"a field of a type that no test knows: {kind}")


def raw(kind: type[messages.Message], **changed: Any) -> bytes:
    """A small legal message of this kind with some fields set to anything."""
    tag = kind.__struct_config__.tag
    return msgspec.msgpack.encode({"type": tag} | small(STRUCTS[kind]) | changed)


any_message = st.one_of([legal(info) for info in STRUCTS.values()])
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))


@each_kind
@settings(max_examples=20)
@given(data=st.data())
def test_every_message_survives(kind: type[messages.Message], data: st.DataObject) -> None:
    message = data.draw(legal(STRUCTS[kind]))
    body = messages.encode(message)
    assert messages.decode(body) == message
    assert messages.decode(bytearray(body)) == message
    assert messages.decode(memoryview(body)) == message


@each_kind
def test_every_limit_holds(kind: type[messages.Message]) -> None:
    assert isinstance(messages.decode(raw(kind)), kind)
    for field in STRUCTS[kind].fields:
        for bad in illegal(field.type):
            with pytest.raises(MalformedMessage):
                messages.decode(raw(kind, **{field.encode_name: bad}))


@each_kind
def test_required_fields_are_required(kind: type[messages.Message]) -> None:
    for field in STRUCTS[kind].fields:
        if field.required:
            fields = {"type": kind.__struct_config__.tag} | small(STRUCTS[kind])
            del fields[field.encode_name]
            with pytest.raises(MalformedMessage):
                messages.decode(msgspec.msgpack.encode(fields))


@each_kind
def test_unknown_fields_are_ignored(kind: type[messages.Message]) -> None:
    """A later version may add fields of any shape."""
    plain = messages.decode(raw(kind))
    assert messages.decode(raw(kind, later={"a": [1, None, {"b": b"c"}]}, even_later=[])) == plain


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TAGS = frozenset(str(kind.__struct_config__.tag) for kind in KINDS)


@given(st.text(max_size=20), st.dictionaries(st.text(max_size=8), json_like, max_size=3))
def test_an_unknown_type_is_told_apart(tag: str, fields: dict[str, Any]) -> None:
    if tag not in TAGS:
        assert messages.decode(msgspec.msgpack.encode(fields | {"type": tag})) == messages.Unknown(tag)


def test_an_endless_type_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        messages.decode(msgspec.msgpack.encode({"type": "x" * 256}))


def decodes_or_is_malformed(body: bytes) -> None:
    try:
        message = messages.decode(body)
    except MalformedMessage:
        return
    if not isinstance(message, messages.Unknown):
        assert messages.decode(messages.encode(message)) == message


@given(st.binary(max_size=80))
def test_any_bytes(body: bytes) -> None:
    decodes_or_is_malformed(body)


@given(json_like)
def test_any_structure(value: Any) -> None:
    decodes_or_is_malformed(msgspec.msgpack.encode(value))


@given(any_message.map(messages.encode).flatmap(mutations))
def test_any_mutation(body: bytes) -> None:
    decodes_or_is_malformed(body)


@given(any_message.map(messages.encode), st.data())
def test_a_truncated_message_is_malformed(body: bytes, data: st.DataObject) -> None:
    with pytest.raises(MalformedMessage):
        messages.decode(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\x80",
        b"\xc1",
        b"\x81\xa4type\xa4want",
        b"\x81\xa4type\xa2\xff\xfe",  # not UTF-8
        b"\x82\xa4type\xa4have\xa6ranges\xdd\xff\xff\xff\xff",  # four thousand million ranges to come
        b"\x82\xa4type\xa5later\xa1a\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\xa4type\xa5later",
        b"\x82\xa4type\xa4have\xa4bits\xc6\xff\xff\xff\xff",
        b"\x81\xa4type" + b"\x91" * 100_000,
        b"\x82\xa4type\xa5later\xa1a" + b"\x91" * 100_000 + b"\x01",
        b"\x82\xa4type\xa4have\xa1a" + b"\x81\xa1a" * 100_000 + b"\x01",
        messages.encode(messages.Want(first=0, count=1)) + b"\x00",
    ],
)
def test_hostile_bytes_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        messages.decode(body)


def test_defaults_are_not_sent() -> None:
    assert len(messages.encode(messages.Have())) < 16
