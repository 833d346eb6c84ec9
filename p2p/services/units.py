"""One unit, on its way into a guest and out again: the same for volunteers and for an owner that repeats it."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import msgspec
import trio

from p2p.errors import ProtocolViolation
from p2p.ids import H
from p2p.services.inputs import LINE_KINDS, InputFiles
from p2p.wire import guest as frames
from p2p.wire import work


class Reply(msgspec.Struct):
    """What a guest answers to `load` and `unit`."""

    ok: str = ""
    error: str = ""
    text: str = ""
    records_in: int = 0
    records_out: int = 0


class Given(NamedTuple):
    """What a unit's guest is given: its source, how many blobs each stage has that it reads, and the blobs."""

    source: dict[str, object] | None
    lengths: list[int]
    blobs: list[bytes]


async def given_to(
    unit: work.Unit,
    joined: bytes,
    input_of: Callable[[int], Awaitable[InputFiles]],
    most: int,
    limiter: trio.CapacityLimiter,
) -> Given:
    """Brings together what a unit reads; `joined` are outputs of earlier units, `most` bytes of inputs are allowed.

    Raises ProtocolViolation where it does not fit the unit, ShoalError where an input cannot be had.
    """
    if unit.reads or not unit.kind:
        if sum(unit.sizes) != len(joined) or sum(unit.reads) != len(unit.sizes):
            raise ProtocolViolation("a unit without all of what it reads")
        blobs, at = [], 0
        for size in unit.sizes:
            blobs.append(joined[at : at + size])
            at += size
        return Given(None, list(unit.reads), blobs)
    if unit.kind in {"range", "params"}:
        return Given({"kind": unit.kind, "first": unit.first, "count": unit.count}, [], [])
    blobs = []
    files: list[tuple[str, int, int]] = []
    for piece in unit.pieces:
        held = await input_of(piece.input)
        if unit.kind in LINE_KINDS:
            read = partial(held.lines, piece.path, piece.offset, piece.length, most)
        else:
            read = partial(held.read, piece.path, piece.offset, min(piece.length, most))
        body = await trio.to_thread.run_sync(read, limiter=limiter)
        most -= len(body)
        blobs.append(body)
        files.append((piece.path, piece.offset, len(body)))
    return Given({"kind": unit.kind, "files": files}, [], blobs)


def unit_frame(unit: work.Unit, given: Given, known: int, fresh: list[bytes]) -> bytes:
    """The frame for a guest that knows so many actions' results, with those that it does not know yet."""
    header = {
        "do": "unit",
        "action": unit.action,
        "stage": unit.stage,
        "partition": unit.partition,
        "digest": unit.plan.hex(),
        "results": list(range(known, known + len(fresh))),
        "source": given.source,
        "inputs": given.lengths,
    }
    return frames.encode(header, [*fresh, *given.blobs])


def unit_seed(job: bytes, unit: work.Unit) -> bytes:
    """From which a unit's chance comes: the same wherever it runs."""
    return H("unit", job, b"%d %d %d" % (unit.action, unit.stage, unit.partition))


def action_key(job: bytes, action: int) -> bytes:
    """Under which the result of an action is sent."""
    return H("action result", job, action.to_bytes(4, "big"))


def result_digest(outputs: list[bytes]) -> bytes:
    """By which results are compared: of the same unit, honest ones are equal."""
    return H("result", *outputs)


def kind_of(said: Reply) -> str:
    return said.error if said.error in {"job", "plan", "limit"} else "broken"


def report_of(said: Reply, reply: bytes) -> str:
    """The guest's whole report for its job's fault, else its words."""
    if said.error != "job":
        return said.text[: work.MAX_TEXT]
    size = int.from_bytes(reply[:4], "big")
    return reply[4 : 4 + size].decode(errors="replace")[: work.MAX_TEXT]
