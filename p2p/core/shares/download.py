"""Which source is asked for which chunk: the decisions of a download, sans-IO.

More chunks may become wanted while a download runs. A wanted chunk goes through these states:

    free --ask--> asked --received--> taken --stored--> have
    asked --(source gone, choked, Gone)--> free
    asked --steal--> asked of another source as well; the first to finish wins and the others are cancelled

A chunk is asked of one source, then of one more each time it is stolen, which happens when all sources asked so far are
overdue. If the limit were two sources, two liars could hold up a chunk for as long as they like. The rarest chunks go
first, ties are broken at random; a request is a run of consecutive chunks, which suits disks and small files. How much
a source is asked for ahead of time follows its measured rate, and is never more than its fair part of half of the
chunks left (guided self-scheduling, Polychronopoulos and Kuck 1987), so that all sources end together. A straggler's
chunk is stolen once it has waited 10 times as long as a fast source would take, or 3 times if the thief has nothing
else to do (rqbit's thresholds).

A chunk that somebody waits for is hurried: it is asked for before all that is free, at once, even of a source that was
asked for enough, and the source is told to send it before what was asked of it earlier. If it is overdue, it is stolen
by the fastest source, busy or not.

Every method that leads to messages returns them as commands. Times are seconds of one monotonic clock.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from p2p.core.shares import bitmap
from p2p.core.shares.availability import Availability
from p2p.core.shares.download_source import Asked, DownloadSource
from p2p.core.shares.layout import Layout

AHEAD_S = 0.25
MIN_AHEAD_BYTES = 1024 * 1024
MAX_AHEAD_BYTES = 64 * 1024 * 1024
MIN_ASK_BYTES = 256 * 1024
MAX_ASKED_CHUNKS = 4096
MAX_ASKS = 64
"""The most runs of chunks requested at one event: each takes time in proportion to the share, and hostile maps
    have many."""
STEAL_BUSY, STEAL_IDLE = 10.0, 3.0
LATENCY_S = 0.1
GUESS_BYTES_PER_S = 256 * 1024.0
MAX_HURRIED_AT_ONCE = 256
"""The most chunks that are asked for at once because they are hurried; more of them as these come."""
SILENT_S = 30.0
SLOW_WINDOW_S = 60.0
SLOW_BYTES_PER_S = 256.0
RATE_SAMPLE_S = 0.1

Key = TypeVar("Key", bound=Hashable)


class Ask(msgspec.Struct, Generic[Key], frozen=True):
    """The command to request the chunks first .. first + count - 1 from the source."""

    source: Key
    first: int
    count: int


class AskNoMore(msgspec.Struct, Generic[Key], frozen=True):
    """The command to tell the source that these chunks are no longer wanted."""

    source: Key
    first: int
    count: int


class DropSource(msgspec.Struct, Generic[Key], frozen=True):
    """The command to end the exchange with the source."""

    source: Key
    reason: str


class Hurry(msgspec.Struct, Generic[Key], frozen=True):
    """The command to have the source send these chunks, of what it was asked for, before all others."""

    source: Key
    first: int
    count: int


Command = Ask[Key] | AskNoMore[Key] | Hurry[Key] | DropSource[Key]


@dataclass(slots=True)
class _Hedge:
    """A stolen chunk: how many sources are asked for it, and when the last of them was asked."""

    owners: int
    at: float


class Download(Generic[Key]):
    """The state of one download. `wanted` and `have` are bitmaps of chunks, `below(n)` draws from 0 .. n - 1.

    A source's other events may come only after its `joined` and before its `gone`.
    """

    def __init__(
        self, layout: Layout, wanted: int, have: int, below: Callable[[int], int], *, sequential: bool = False
    ) -> None:
        self.layout = layout
        self.wanted = wanted
        self.have = have
        self.sources: dict[Key, DownloadSource] = {}
        self._below = below
        self._sequential = sequential
        self._free = wanted & ~have
        self._free_bytes = layout.bytes_in(self._free)
        self._hurried = 0
        self._hedges: dict[int, _Hedge] = {}
        self._availability = Availability()

    # Queries.

    @property
    def complete(self) -> bool:
        """Whether every wanted chunk is stored."""
        return not self.wanted & ~self.have

    def needs(self, source: Key, chunk: int) -> bool:
        """Whether the source has been asked for this chunk and has not yet sent all of it."""
        return chunk in self.sources[source].asked

    def covers(self) -> bool:
        """Whether the sources that are connected now together hold all missing chunks."""
        missing = self.wanted & ~self.have
        for source in self.sources.values():
            missing &= ~source.have
        return not missing

    @property
    def useful(self) -> int:
        """How many sources have at least one wanted chunk."""
        return sum(1 for source in self.sources.values() if source.have & self.wanted)

    # Events.

    def want(self, chunks: int, now: float) -> list[Command[Key]]:
        """Adds these chunks to those that are wanted."""
        missing = chunks & ~self.wanted & ~self.have
        self.wanted |= chunks
        self._free |= missing
        self._free_bytes += self.layout.bytes_in(missing)
        return self._fill_all(now) if missing else []

    def hurry(self, chunks: int, now: float) -> list[Command[Key]]:
        """Asks for these chunks before all others, of those that are wanted and missing. Once is enough for each."""
        new = chunks & self.wanted & ~self.have & ~self._hurried
        if not new:
            return []
        self._hurried |= new
        commands: list[Command[Key]] = []
        owners = self._owners(new & self._free)
        for key, source in self.sources.items():
            for first, count in bitmap.runs(owners.get(key, 0)):
                self._ask(source, first, count, now)
                commands.append(Ask(key, first, count))
            commands += self._sooner(key, source, new)
        return commands

    def joined(self, key: Key, now: float) -> None:
        """Records that a source has connected; `offers` says which chunks it has."""
        assert key not in self.sources
        self.sources[key] = DownloadSource(heard_at=now, window_at=now)

    def heard(self, key: Key, count: int, now: float) -> None:
        """Records that `count` bytes of a frame came from the source, which is still sending that frame."""
        source = self.sources[key]
        source.heard_at = now
        source.window_bytes += count

    def held_back(self, key: Key, held: bool, now: float) -> None:
        """Records whether this side leaves unread what the source sends, so that its silence means nothing."""
        self.sources[key].hold_back(held, now)

    def offers(self, key: Key, chunks: int, now: float) -> list[Command[Key]]:
        """Records that the source has these chunks too, besides those it named before."""
        source = self.sources[key]
        source.heard_at = now
        new = chunks & ~source.have
        source.have |= new
        self._availability.add(new)
        return self._fill(key, source, now)

    def lost(self, key: Key, chunks: int, now: float) -> list[Command[Key]]:
        """Records that the source no longer has these chunks."""
        source = self.sources[key]
        source.heard_at = now
        gone = chunks & source.have
        source.have &= ~gone
        self._availability.remove(gone)
        off = bitmap.to_bytes(gone, self.layout.chunks)
        for chunk in [chunk for chunk in source.asked if off[chunk >> 3] >> (chunk & 7) & 1]:
            self._release(source, chunk)
        return self._fill_all(now)

    def gone(self, key: Key, now: float) -> list[Command[Key]]:
        """Records that the source is no longer connected."""
        source = self.sources.pop(key)
        self._availability.remove(source.have)
        for chunk in list(source.asked):
            self._release(source, chunk)
        return self._fill_all(now)

    def choked(self, key: Key, waits: bool, now: float) -> list[Command[Key]]:
        """Records whether this peer waits for a slot at the source. While it does, one chunk stays asked."""
        source = self.sources[key]
        source.heard_at = now
        if waits != source.choked:
            source.window_at = now
            source.window_bytes = 0
        source.choked = waits
        if not waits:
            return self._fill(key, source, now)
        released = list(source.asked)[1:]
        for chunk in released:
            self._release(source, chunk)
        ranges = bitmap.runs(bitmap.of([(chunk, 1) for chunk in sorted(released)]))
        commands: list[Command[Key]] = [AskNoMore(key, first, count) for first, count in ranges]
        return commands + self._fill_all(now)

    def progress(self, key: Key, count: int, now: float) -> None:
        """Records that `count` bytes of asked chunks came from the source."""
        source = self.sources[key]
        source.heard_at = now
        source.received += count
        source.window_bytes += count
        source.sample_bytes += count
        elapsed = now - source.sample_at
        if elapsed >= RATE_SAMPLE_S:
            sample = source.sample_bytes / elapsed
            source.rate = 0.6 * source.rate + 0.4 * sample if source.rate else sample
            source.sample_at = now
            source.sample_bytes = 0

    def received(self, key: Key, first: int, count: int, now: float) -> list[Command[Key]]:
        """Records that consecutive chunks are complete and match their hashes, those of them that are asked of the
        source. From now on no source is asked for these.
        """
        source = self.sources[key]
        commands: list[Command[Key]] = []
        free: dict[Key, DownloadSource] = {}
        for chunk in range(first, first + count):
            asked = source.asked.pop(chunk, None)
            if asked is None:
                continue
            source.outstanding -= asked.size
            source.chunks += 1
            if self._hedges.pop(chunk, None) is not None:
                for other_key, other in self.sources.items():
                    if chunk in other.asked:
                        other.outstanding -= other.asked.pop(chunk).size
                        commands.append(AskNoMore(other_key, chunk, 1))
                        free[other_key] = other
        # Only now: before, the others would be asked for chunks of this run, one by one.
        free[key] = source
        for freed_key, freed in free.items():
            commands += self._fill(freed_key, freed, now)
        return commands

    def stored(self, first: int, count: int) -> list[Command[Key]]:
        """Records that consecutive chunks are written, whoever sent them. From now on no source is asked for them."""
        chunks = bitmap.span(first, count)
        self.have |= chunks
        self._hurried &= ~chunks
        if free := chunks & self._free:
            self._take(free)
        commands: list[Command[Key]] = []
        run = range(first, first + count)
        for chunk in self._hedges.keys() & run:
            del self._hedges[chunk]
        for key, source in self.sources.items():
            for chunk in sorted(source.asked.keys() & run):
                source.outstanding -= source.asked.pop(chunk).size
                commands.append(AskNoMore(key, chunk, 1))
        return commands

    def copied(self, chunks: int) -> None:
        """Records that these chunks, for which no source is asked, were filled from an equal file on this machine."""
        self.have |= chunks
        self._hurried &= ~chunks
        self._take(chunks & self._free)

    def tick(self, now: float) -> list[Command[Key]]:
        """Deals with silent sources, stragglers and idle sources. To be called a few times per second."""
        commands: list[Command[Key]] = []
        for key, source in self.sources.items():
            if not source.asked or source.held_back:
                source.heard_at = source.window_at = now
                source.window_bytes = 0
            elif now - source.heard_at > SILENT_S:
                commands.append(DropSource(key, f"it sent nothing for {SILENT_S:.0f} seconds"))
            elif source.choked:
                source.window_at = now
                source.window_bytes = 0
            elif now - source.window_at > SLOW_WINDOW_S:
                if source.window_bytes < SLOW_BYTES_PER_S * SLOW_WINDOW_S:
                    commands.append(DropSource(key, "it is too slow to be of use"))
                source.window_at = now
                source.window_bytes = 0
        by_rate = sorted(self.sources.items(), key=lambda item: -item[1].rate)
        for key, source in by_rate:
            commands += self._steal(key, source, STEAL_BUSY, now)
            commands += self._fill(key, source, now)
        if self._hurried:
            commands += self._rescue(now)
        return commands

    # Decisions.

    def _fill_all(self, now: float) -> list[Command[Key]]:
        return [command for key, source in list(self.sources.items()) for command in self._fill(key, source, now)]

    def _fill(self, key: Key, source: DownloadSource, now: float) -> list[Command[Key]]:
        """Asks the source for more chunks, if it has been asked for too few."""
        if source.choked and source.asked:
            return []
        target = min(MAX_AHEAD_BYTES, max(MIN_AHEAD_BYTES, int(source.rate * AHEAD_S)))
        busy = source.outstanding > target // 2 or len(source.asked) > MAX_ASKED_CHUNKS // 2
        if busy and len(source.asked) > 1:
            return []
        commands: list[Command[Key]] = []
        candidates, hurried = self._free & source.have, 0
        while candidates and len(source.asked) < MAX_ASKED_CHUNKS and len(commands) < MAX_ASKS:
            budget = min(target - source.outstanding, self._fair_part(source))
            if len(source.asked) > 1 and budget < MIN_ASK_BYTES:
                break
            first, count = self._pick(candidates, max(budget, MIN_ASK_BYTES), MAX_ASKED_CHUNKS - len(source.asked))
            self._ask(source, first, count, now)
            commands.append(Ask(key, first, count))
            run = bitmap.span(first, count)
            candidates &= ~run
            hurried |= run & self._hurried
            if source.choked:
                break
        if hurried:
            commands += self._sooner(key, source, hurried)
        if not source.asked and not candidates:
            commands += self._steal(key, source, STEAL_IDLE, now)
        return commands

    def _fair_part(self, source: DownloadSource) -> int:
        total = sum(other.rate for other in self.sources.values())
        fraction = source.rate / total if total and source.rate else 1 / len(self.sources)
        return int(self._free_bytes * fraction / 2)

    def _sooner(self, key: Key, source: DownloadSource, chunks: int) -> list[Command[Key]]:
        """Has the source send those of these chunks first that are asked of it."""
        runs = [*bitmap.runs(source.hurry(bitmap.to_bytes(chunks, self.layout.chunks)))]
        return [Hurry(key, first, count) for first, count in reversed(runs)]  # the last one is sent first

    def _owners(self, chunks: int) -> dict[Key, int]:
        """Spreads the first of these chunks over the sources that have them, so that all come as soon as they can."""
        loads: dict[Key, float] = {}
        rates: dict[Key, float] = {}
        held: dict[Key, bytes] = {}
        for key, source in self.sources.items():
            if not source.choked and source.have & chunks:
                loads[key], held[key] = 0.0, bitmap.to_bytes(source.have, self.layout.chunks)
                rates[key] = source.rate or GUESS_BYTES_PER_S
        owners: dict[Key, list[tuple[int, int]]] = {}
        for chunk in islice(bitmap.members(chunks), MAX_HURRIED_AT_ONCE):
            having = [key for key, bits in held.items() if bits[chunk >> 3] >> (chunk & 7) & 1]
            size = self.layout.size(chunk)
            having = [
                key for key in having if len(self.sources[key].asked) + len(owners.get(key, ())) < MAX_ASKED_CHUNKS
            ]
            if having:
                best = min(having, key=lambda key: loads[key] + size / rates[key])
                loads[best] += size / rates[best]
                owners.setdefault(best, []).append((chunk, 1))
        return {key: bitmap.of(ranges) for key, ranges in owners.items()}

    def _pick(self, candidates: int, budget: int, most: int) -> tuple[int, int]:
        """Chooses a run of candidates of about `budget` bytes, but at least one chunk."""
        if hurried := candidates & self._hurried:
            pool = hurried
            first = bitmap.lowest(hurried)
        elif self._sequential:
            pool = candidates
            first = bitmap.lowest(candidates)
        else:
            pool = self._availability.rarest(candidates)
            first = bitmap.nth(pool, self._below(pool.bit_count()))
        longest = bitmap.run_length(pool, first, most)
        return first, max(1, min(longest, self.layout.fitting(first, budget)))

    def _ask(self, source: DownloadSource, first: int, count: int, now: float) -> None:
        if not source.asked:
            source.heard_at = source.sample_at = source.window_at = now
            source.sample_bytes = source.window_bytes = 0
        self._take(bitmap.span(first, count) & self._free)
        at = source.clock(now)
        for chunk, place in zip(range(first, first + count), self.layout.places(first), strict=False):
            source.outstanding += place.size
            source.asked[chunk] = Asked(at, source.outstanding, place.size)

    def _take(self, chunks: int) -> None:
        self._free &= ~chunks
        self._free_bytes -= self.layout.bytes_in(chunks)

    def _release(self, source: DownloadSource, chunk: int) -> None:
        """Stops asking the source for the chunk, which is free again unless another source is asked for it."""
        source.outstanding -= source.asked.pop(chunk).size
        hedge = self._hedges.get(chunk)
        if hedge is None:
            self._free |= 1 << chunk
            self._free_bytes += self.layout.size(chunk)
        elif hedge.owners > 2:
            hedge.owners -= 1
        else:
            del self._hedges[chunk]

    def _steal(self, key: Key, thief: DownloadSource, factor: float, now: float) -> list[Command[Key]]:
        """Asks the thief for the chunk that is most overdue at all sources asked, if any is overdue by the factor."""
        rate = self._fast_rate()
        if factor == STEAL_IDLE:
            # An idle source may as well help; otherwise a very slow one's lateness would be measured by its own rate.
            rate = max(rate, GUESS_BYTES_PER_S)
        if thief.choked or len(thief.asked) > 1:
            return []
        if not thief.chunks and rate != GUESS_BYTES_PER_S:
            factor *= 2  # those who have delivered before go first
        held = bitmap.to_bytes(thief.have, self.layout.chunks)
        best: tuple[float, int] | None = None
        for other in self.sources.values():
            if other is thief:
                continue
            for chunk, asked in other.asked.items():
                if not held[chunk >> 3] >> (chunk & 7) & 1 or chunk in thief.asked:
                    continue
                hedge = self._hedges.get(chunk)
                expected = LATENCY_S + asked.ahead / rate
                overdue = (other.clock(now) - asked.at if hedge is None else now - hedge.at) / expected
                if other.choked and hedge is None:
                    overdue += factor
                if overdue >= factor and (best is None or overdue > best[0]):
                    best = overdue, chunk
        return [] if best is None else [self._ask_too(key, thief, best[1], now)]

    def _rescue(self, now: float) -> list[Command[Key]]:
        """Asks the fastest sources for hurried chunks that are overdue at all sources asked: somebody waits for them,
        while busy sources steal nothing.
        """
        commands: list[Command[Key]] = []
        rate = self._fast_rate()
        for chunk in islice(bitmap.members(self._hurried & ~self._free), MAX_HURRIED_AT_ONCE):
            bit, hedge = 1 << chunk, self._hedges.get(chunk)
            late = [
                (other.clock(now) - asked.at if hedge is None else now - hedge.at)
                >= STEAL_BUSY * (LATENCY_S + asked.ahead / rate)
                for other in self.sources.values()
                if (asked := other.asked.get(chunk)) is not None
            ]
            thieves = [
                (source.rate, key)
                for key, source in self.sources.items()
                if not source.choked
                and source.have & bit
                and chunk not in source.asked
                and len(source.asked) < MAX_ASKED_CHUNKS
            ]
            if any(late) and thieves:
                key = max(thieves, key=lambda thief: thief[0])[1]
                commands.append(self._ask_too(key, self.sources[key], chunk, now))
                commands += self._sooner(key, self.sources[key], bit)
        return commands

    def _ask_too(self, key: Key, thief: DownloadSource, chunk: int, now: float) -> Ask[Key]:
        hedge = self._hedges.setdefault(chunk, _Hedge(1, now))
        hedge.owners, hedge.at = hedge.owners + 1, now
        self._ask(thief, chunk, 1, now)
        return Ask(key, chunk, 1)

    def _fast_rate(self) -> float:
        """The mean rate of the faster half of the sources that have delivered a chunk, or a guess; bytes per second."""
        delivered = [source.rate for source in self.sources.values() if source.chunks and source.rate]
        half = sorted(delivered, reverse=True)[: (len(delivered) + 1) // 2]
        return sum(half) / len(half) if half else GUESS_BYTES_PER_S
