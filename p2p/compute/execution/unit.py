"""Passes a unit's data into a guest and its outputs out again, both for volunteers and for owners that rerun units."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from p2p.errors import JobError, ProtocolViolation
from p2p.ids import H
from p2p.sandbox.limits import MAX_FRAME_BYTES
from p2p.sharing.reading.open_share import OpenShare
from p2p.wire import guest as frames
from p2p.wire import work

MAX_BATCH_BYTES = 512 * 1024
"""The most bytes of units, or of results, that are sent in one batch."""
LINE_KINDS = frozenset({"lines", "records", "chunks"})


class Given(NamedTuple):
    """What a guest gets with a unit: the unit's part of the source (`jobs.sources.batches`), and the bytes to read."""

    source: Sequence[object]
    blobs: list[bytes]


async def given_to(
    unit: work.Unit, joined: bytes, kept: Mapping[int, bytes], input_of: Callable[[int], OpenShare], most: int
) -> Given:
    """Brings together what a unit reads: outputs of earlier units, or inputs; at most `most` bytes.

    The outputs in `kept`, by their places, were read from the peers that keep them; the others are in `joined`. Raises
    ProtocolViolation if they do not fit the unit, JobError if they are too large, ShoalError if an input is
    unavailable.
    """
    if unit.reads or not unit.kind:
        came = cut(joined, [size for place, size in enumerate(unit.sizes) if place not in kept])
        if came is None or sum(unit.reads) != len(unit.sizes) or any(len(kept[n]) != unit.sizes[n] for n in kept):
            raise ProtocolViolation("a unit without all of what it reads")
        check_size(unit, most)
        rest = iter(came)
        blobs = [kept[place] if place in kept else next(rest) for place in range(len(unit.sizes))]
        return Given((), blobs)
    if unit.kind in {"range", "params"}:
        return Given((unit.first, unit.count), [])
    await expect(unit, input_of, most)
    blobs = []
    files: list[tuple[str, int, int, bool]] = []
    for piece in unit.pieces:
        held = input_of(piece.input)
        if unit.kind in LINE_KINDS:
            body = await held.lines(piece.path, piece.offset, piece.length, most)
        else:
            if piece.length > most:
                raise JobError(f"A partition has {piece.length} bytes of {piece.path!r}; {most} are allowed.")
            body = await held.read(piece.path, piece.offset, piece.length)
        most -= len(body)
        blobs.append(body)
        whole = not piece.offset and len(body) == await held.size(piece.path)
        files.append((piece.path, piece.offset, len(body), whole))
    return Given(files, blobs)


def check_size(unit: work.Unit, most: int) -> None:
    """Raises JobError if the outputs that a unit reads have more than `most` bytes in total."""
    if sum(unit.sizes) > most:
        raise JobError(f"What the unit reads has {sum(unit.sizes)} bytes; {most} are allowed.")


async def expect(unit: work.Unit, input_of: Callable[[int], OpenShare], most: int) -> None:
    """Starts to fetch, all at once, up to `most` bytes of what a unit reads from inputs. Raises as `given_to` does."""
    for piece in unit.pieces:
        length = min(piece.length, most)
        await input_of(piece.input).expect(piece.path, piece.offset, length)
        most -= length


def cut(joined: bytes, sizes: Sequence[int]) -> list[bytes] | None:
    """Cuts outputs that were joined into these sizes, in order. None if the total size differs."""
    if sum(sizes) != len(joined):
        return None
    outputs, at = [], 0
    for size in sizes:
        outputs.append(joined[at : at + size])
        at += size
    return outputs


def pieces(of: bytes, body: bytes) -> list[work.Bytes]:
    """Splits what is too large for one message into several messages."""
    step = work.MAX_PIECE_BYTES
    return [work.Bytes(of, at, len(body), body[at : at + step]) for at in range(0, max(len(body), 1), step)]


def unit_frame(unit: work.Unit, given: Given, known: int, fresh: Sequence[bytes]) -> bytes:
    """Makes the frame of a unit for a guest that knows the results of `known` actions; `fresh` are those that it lacks.

    Raises ValueError if it would be too large for a frame.
    """
    # By position, not by name: reading names takes longer than anything else that a guest does for a small unit.
    place = unit.action, unit.stage, unit.partition
    header: dict[str, object] = {"unit": [*place, unit.plan.hex(), given.source]}
    if fresh:
        header["results"] = list(range(known, known + len(fresh)))
    frame = frames.encode(header, [*fresh, *given.blobs])
    if len(frame) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame has at most {MAX_FRAME_BYTES} bytes")
    return frame


def unit_seed(job: bytes, unit: work.Unit) -> bytes:
    """Makes the seed of a unit's randomness, which is the same wherever the unit runs."""
    return H("unit", job, b"%d %d %d" % (unit.action, unit.stage, unit.partition))


def action_key(job: bytes, action: int) -> bytes:
    """The key under which the result of an action is sent."""
    return H("action result", job, action.to_bytes(4, "big"))


def result_digest(outputs: Sequence[bytes]) -> bytes:
    """The digest by which results are compared: honest results of the same unit have equal digests."""
    return digest_of([output_digest(output) for output in outputs])


def output_digest(output: bytes) -> bytes:
    """The digest of one output."""
    return H("output", output)


def digest_of(digests: Sequence[bytes]) -> bytes:
    """Makes a result's digest from those of its outputs, so that one output can be checked without the others."""
    return H("result", *digests)
