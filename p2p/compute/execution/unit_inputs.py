"""Gets what units read, on the peer that runs them: inputs, results of actions, and outputs of earlier units, which
were sent with the unit or are kept elsewhere.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress

import trio

from p2p.compute.execution.kept_outputs import OutputStore
from p2p.compute.execution.output_reader import OutputLocation, OutputReader
from p2p.compute.execution.reassembly import THING_BYTES, Reassembly
from p2p.compute.execution.unit import Given, action_key, check_size, expect, given_to
from p2p.core.compute.plan import MAX_RESULT_BYTES
from p2p.errors import NotFound, PeerError, ProtocolViolation, ShoalError
from p2p.ids import PeerId, short
from p2p.sharing.reading.open_share import OpenShare
from p2p.wire import work
from p2p.wire.address import Address

logger = logging.getLogger(__name__)

MAX_PENDING_BYTES = 256 * 1024 * 1024
MAX_RESULTS_BYTES = 256 * 1024 * 1024
STARVED_S = 5.0
"""After how long without a byte of an input a unit counts as starved."""


class Missing(NotFound):
    """Raised if a unit reads outputs of `units`, and the peers that should hold these outputs do not have them."""

    def __init__(self, units: Iterable[bytes]) -> None:
        super().__init__("outputs of other units are unavailable")
        self.units = tuple(units)


class UnitInputs:
    """Gets what the units of one job read, at most `most` bytes for each.

    `kept` holds the outputs that this peer keeps for others; None if it keeps none.
    """

    def __init__(
        self,
        job: bytes,
        me: PeerId,
        inputs: Sequence[OpenShare],
        kept: OutputStore | None,
        reader: OutputReader,
        most: int,
    ) -> None:
        self._job = job
        self._me = me
        self._inputs = inputs
        self._kept = kept
        self._reader = reader
        self._most = most
        self._arriving = Reassembly(MAX_PENDING_BYTES)
        self._places: dict[bytes, dict[int, OutputLocation]] = {}
        self._places_known = 0
        self.results: list[bytes] = []
        """Results of the actions so far."""
        self._results_bytes = 0

    # What the owner sends.

    def arrived(self, piece: work.Bytes) -> bool:
        """Takes a piece. Returns whether it completes an action's result. Raises ProtocolViolation."""
        whole = self._arriving.add(piece)
        if piece.of != action_key(self._job, len(self.results)):
            return False
        if piece.total > MAX_RESULT_BYTES:
            raise ProtocolViolation("an action's result that is too large")
        if whole:
            self.results.append(self._arriving.pop(piece.of) or b"")
            self._results_bytes += THING_BYTES + piece.total
            if self._results_bytes > MAX_RESULTS_BYTES:
                raise ProtocolViolation("more results of actions than there is room for")
        return whole

    def reads(self, unit: bytes, kept: Sequence[work.KeptOutput], holders: Sequence[work.Holder]) -> None:
        """Notes where a unit finds some of the outputs that it reads. Raises ProtocolViolation."""
        self._places_known += len(kept)
        if not kept or self._places_known > work.MAX_READS:
            raise ProtocolViolation("nothing to read, or more than a unit may")
        places = self._places.setdefault(unit, {})
        for one in kept:
            if one.holder >= len(holders):
                raise ProtocolViolation("an output that nobody keeps")
            holder = holders[one.holder]
            peer, address = PeerId(holder.peer), Address(holder.host, holder.port)
            places[one.place] = OutputLocation(one.unit, one.digest, one.number, peer, address)

    def forget(self, unit: bytes) -> None:
        """Forgets a unit that will not run here."""
        self._arriving.pop(unit)
        self._pop_places(unit)

    # What units are given.

    @property
    def starved_s(self) -> float:
        """For how long nothing has come of an input that a unit waits for, in seconds; 0 if none waits."""
        return max((one.starved_s for one in self._inputs), default=0.0)

    @property
    def starved(self) -> bool:
        """Whether a unit waits for an input of which nothing has come for a while."""
        return self.starved_s >= STARVED_S

    async def given(self, unit: work.Unit) -> Given:
        """Returns what the unit reads.

        Raises ProtocolViolation for what makes no sense, JobError for more bytes than a unit may have, Missing, and
        ShoalError if an input is unavailable.
        """
        joined, places = self._arriving.pop(unit.id), self._pop_places(unit.id)
        kept = await self._read(unit, places) if places else {}
        return await given_to(unit, unit.inline if joined is None else joined, kept, self._input, self._most)

    async def look_ahead(self, units: Sequence[work.Unit]) -> None:
        """Fetches what these units read from inputs, while the units before them run."""
        for unit in units:
            # Unavailable inputs are reported when the unit's turn comes.
            with suppress(ShoalError):
                await expect(unit, self._input, self._most)

    async def _read(self, unit: work.Unit, places: dict[int, OutputLocation]) -> dict[int, bytes]:
        """Reads the outputs that a unit needs and that are kept, here or elsewhere, by their places."""
        found: dict[int, bytes] = {}
        missing: dict[bytes, None] = {}
        if any(place >= len(unit.sizes) for place in places):
            raise ProtocolViolation("an output that the unit does not read")
        check_size(unit, self._most)

        async def read(peer: PeerId) -> None:
            for number, place in places.items():
                if place.peer != peer or len(missing) >= work.MAX_MISSING:
                    continue
                try:
                    if peer == self._me and self._kept is not None:
                        found[number] = await self._kept.get(place.unit, place.number)
                    else:
                        found[number] = await self._reader.get(place, unit.sizes[number])
                except PeerError as error:
                    logger.debug("an output kept by %s: %s", short(peer), error)
                    missing[place.unit] = None

        async with trio.open_nursery() as nursery:
            for peer in {place.peer for place in places.values()}:
                nursery.start_soon(read, peer)
        if missing:
            raise Missing(missing)
        return found

    def _pop_places(self, unit: bytes) -> dict[int, OutputLocation]:
        places = self._places.pop(unit, {})
        self._places_known -= len(places)
        return places

    def _input(self, index: int) -> OpenShare:
        if index >= len(self._inputs):
            raise ProtocolViolation("a unit of an input that the job does not have")
        return self._inputs[index]
