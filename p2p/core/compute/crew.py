"""The volunteers of one job: which units each volunteer has, how it behaves, and what it gets next. Sans-IO."""

from collections.abc import Callable, Sequence, Set
from itertools import islice

from p2p.core.compute.attempts import Attempt, SendUnits, Step, Work
from p2p.core.compute.matching import AHEAD_S, UnitPace, portion, stranger_room
from p2p.core.compute.stage import StageUnits
from p2p.ids import PeerId

MAX_STRIKES = 3
FORGIVEN = 100
"""How many results make up for one strike."""
FIRST_REST_S = 1.0
MAX_REMEMBERED = 4096
STALL_S = 60.0
"""How long a volunteer may neither begin nor end a unit, beyond a unit's time limit: it also fetches inputs."""
STRAGGLER, QUARTILE = 1.5, 0.75
"""An attempt is late when its age exceeds this factor times the third quartile of the stage's turnaround times."""
MIN_STRAGGLER_S = 0.25
UNKNOWN_STRAGGLER_S = 10.0
"""The age at which an attempt is late while the stage's turnaround times are unknown."""
TAKEN_AT_ITS_WORD = 64
"""How many slots a volunteer may use without proof; to use more, it must have returned half as many results."""
SCANNED = 1024


class CrewMember:
    """One volunteer of a job. At most `most` of its units may be under way, however fast it is."""

    def __init__(self, peer: PeerId, now: float) -> None:
        self.peer = peer
        self.claimed = 0
        """How many slots the volunteer says it has."""
        self.most = 0
        self.stranger = False
        self.relation = ""
        self.unit_s = 0.0
        """For how long it lets a unit run, if it says so."""
        self.attempts: dict[bytes, Attempt] = {}
        self.heard = self.progress = self.rests_until = now
        self.returned = 0
        self.accusations = 0
        """How many failures the volunteer has blamed on the job that the owner has not judged yet."""
        self._paces: dict[int, UnitPace] = {}
        self._taken: dict[int, int] = {}

    @property
    def slots(self) -> int:
        """How many units the volunteer may run at once."""
        return min(self.claimed, max(TAKEN_AT_ITS_WORD, 2 * self.returned))

    def free(self, now: float) -> bool:
        """Whether the volunteer may get work."""
        return self.slots > 0 and self.rests_until <= now and self.accusations < MAX_STRIKES

    def stalls(self, unit_s: float, now: float) -> bool:
        """Whether it has neither begun nor ended a unit for longer than `unit_s`, or than it lets a unit run.

        A volunteer gives guests only the time that its machine has to spare, so a unit that it runs may take that long.
        """
        if not self.attempts:
            return False
        runs = any(attempt.step is Step.RUNNING for attempt in self.attempts.values())
        return now - self.progress > (max(unit_s, self.unit_s + STALL_S) if runs else unit_s)

    def idle(self, now: float) -> bool:
        """Whether the volunteer has slots without a unit."""
        return self.free(now) and len(self.attempts) < min(self.slots, self.most)

    def soon_idle(self, stage: StageUnits, now: float) -> bool:
        """Whether the volunteer would run out of units like those of this stage before the next check."""
        pace = self._pace(stage, now)
        soon = int(max(pace.rate, self.slots / max(pace.least, 1e-3)) * AHEAD_S)
        return self.free(now) and len(self.attempts) < min(max(self.slots, soon), self.most)

    def next_action(self) -> None:
        """Forgets what is recorded by stage number: in the next action, the numbers mean other stages."""
        self._paces.clear()
        self._taken.clear()
        self.accusations = 0

    def room(self, stage: StageUnits, now: float) -> int:
        """How many units of the stage the volunteer should get now."""
        pace = self._pace(stage, now)
        window = min(pace.window(self.slots), self.most)
        room = window - len(self.attempts)
        # Send few large messages, unless the volunteer is about to run out of work.
        return 0 if room < window // 4 and len(self.attempts) > self.slots else max(room, 0)

    def _pace(self, stage: StageUnits, now: float) -> UnitPace:
        pace = self._paces.get(stage.index)
        if pace is None:
            pace = self._paces[stage.index] = UnitPace(now)
        return pace

    def taken(self, stage: StageUnits) -> int:
        """How many units of the stage the volunteer has received so far."""
        return self._taken.get(stage.index, 0)

    def begin(self, stage: StageUnits, partition: int, now: float) -> Work:
        """Assigns this unit to the volunteer. Returns what to send."""
        if not self.attempts and now > self.progress:
            # The volunteer was idle: that time says nothing about its pace.
            self.progress = now
            if stage.index in self._paces:
                self._paces[stage.index].begin(now)
        unit = stage.unit(partition)
        self.attempts[unit] = Attempt(unit, stage, partition, now)
        self._taken[stage.index] = self.taken(stage) + 1
        return Work(unit, stage.index, partition)

    def commit(self, attempt: Attempt, now: float) -> None:
        """Records that the volunteer returned a result."""
        attempt.step = Step.COMMITTED
        self.heard = self.progress = now
        self.returned += 1
        attempt.stage.turnaround.add(now - attempt.at)
        pace = self._paces.get(attempt.stage.index)
        if pace is not None:
            pace.returned(attempt.at, now)

    def stop(self, attempt: Attempt, step: Step) -> None:
        """Takes the unit back from the volunteer, which gave no result."""
        attempt.step = step
        del self.attempts[attempt.unit]
        attempt.stage.stop(attempt.partition, self.peer)


class Crew:
    """All volunteers of a job. `own` is the owner's guest, which always exists, but has slots only if it has joined."""

    def __init__(self, owner: PeerId) -> None:
        self.own = CrewMember(owner, 0.0)
        self.joined: dict[PeerId, CrewMember] = {}
        self._strikes: dict[PeerId, int] = {}

    def everyone(self) -> list[CrewMember]:
        """All volunteers and the owner's guest, each once, whether the guest has joined or not."""
        return [self.own, *(volunteer for volunteer in self.joined.values() if volunteer is not self.own)]

    def find(self, peer: PeerId) -> CrewMember | None:
        """The volunteer with this id, if it has joined or is the owner's guest."""
        return self.own if peer == self.own.peer else self.joined.get(peer)

    def is_out(self, peer: PeerId) -> bool:
        """Whether the peer has failed too often in this job."""
        return self._strikes.get(peer, 0) >= MAX_STRIKES

    def strike(self, volunteer: CrewMember, now: float) -> bool:
        """Records a fault of the volunteer, which then pauses, longer each time. Returns whether it is out."""
        strikes = self._strikes.pop(volunteer.peer, 0) + 1
        self._strikes[volunteer.peer] = strikes
        if len(self._strikes) > MAX_REMEMBERED:
            del self._strikes[next(iter(self._strikes))]
        volunteer.rests_until = now + FIRST_REST_S * 2.0 ** min(strikes - 1, 6)
        return strikes >= MAX_STRIKES and volunteer is not self.own

    def worked(self, volunteer: CrewMember) -> None:
        """Records that the volunteer gave a result."""
        if volunteer.returned % FORGIVEN == 0 and self._strikes.get(volunteer.peer):
            self._strikes[volunteer.peer] -= 1

    def fill_all(self, stages: Sequence[StageUnits], now: float) -> list[SendUnits]:
        """Sends all volunteers the units of these stages that they should get now."""
        if not any(stage.waiting for stage in stages):
            return []
        # Strangers come last: how much they may have depends on whether others are idle.
        order = sorted(self.joined.values(), key=lambda volunteer: volunteer.stranger)
        slots = self._slots(now)
        return [send for volunteer in order for send in self.fill(volunteer, stages, now, slots)]

    def fill(
        self, volunteer: CrewMember, stages: Sequence[StageUnits], now: float, all_slots: int | None = None
    ) -> list[SendUnits]:
        """Sends the volunteer more units, if it has fewer than it should have."""
        if not volunteer.free(now):
            return []
        work: list[Work] = []
        for stage in stages:
            if not stage.waiting:
                continue
            room = volunteer.room(stage, now)
            if room and volunteer.stranger and self._others_idle(volunteer, now):
                room = min(room, stranger_room(stage.count, volunteer.taken(stage)))
            if not room:
                continue
            all_slots = self._slots(now) if all_slots is None else all_slots
            idle = volunteer.slots - len(volunteer.attempts)
            most = portion(room, stage.waiting, volunteer.slots, all_slots, idle)
            for partition in stage.take(volunteer.peer, most, self.may(stage, volunteer, now)):
                work.append(volunteer.begin(stage, partition, now))
        return [SendUnits(volunteer.peer, tuple(work))] if work else []

    def hedge(self, stages: Sequence[StageUnits], now: float) -> list[SendUnits]:
        """Sends idle volunteers units with which others are late, as a second attempt.

        If neither of the two volunteers has ever returned a result, one that has gets a third attempt.
        """
        idle = [volunteer for volunteer in self.joined.values() if volunteer.idle(now)]
        sends: list[SendUnits] = []
        for stage in stages if idle else ():
            late_s = max(STRAGGLER * stage.turnaround.quantile(QUARTILE), MIN_STRAGGLER_S)
            if not stage.turnaround.count:
                late_s = UNKNOWN_STRAGGLER_S
            for partition, peers in list(islice(stage.running.items(), SCANNED)):
                at_it = [volunteer for peer in peers if (volunteer := self.find(peer)) is not None]
                if not idle or len(at_it) > 2 or self.own in at_it:
                    continue
                third = len(at_it) == 2
                if third and any(volunteer.returned for volunteer in at_it):
                    continue
                if now - at_it[-1].attempts[stage.unit(partition)].at < late_s:
                    continue
                able = (
                    v
                    for v in idle
                    if v not in at_it and (v.returned or not third) and self.may(stage, v, now)(partition)
                )
                volunteer = min(able, key=lambda v: len(v.attempts), default=None)
                if volunteer is not None:
                    stage.start(partition, volunteer.peer)
                    sends.append(SendUnits(volunteer.peer, (volunteer.begin(stage, partition, now),)))
                    idle = [v for v in idle if v.soon_idle(stage, now)]
        return sends

    def may(self, stage: StageUnits, volunteer: CrewMember, now: float) -> Callable[[int], bool]:
        """A test for units tried before: may the volunteer get one? Not if it failed there and others can run it."""

        def may(partition: int) -> bool:
            trouble = stage.troubles.get(partition)
            if trouble is None or trouble.for_owner:
                return trouble is None
            if volunteer.peer in trouble.outlasted:
                return False
            if trouble.accusers:
                return volunteer.relation not in trouble.accusers.values()
            if volunteer.peer not in trouble.peers:
                return True
            return not any(other.free(now) and peer not in trouble.peers for peer, other in self.joined.items())

        return may

    def unrelated(self, relations: Set[str], but: Set[PeerId], now: float) -> bool:
        """Whether there is a free volunteer with none of these relations that is none of these peers."""
        return any(
            volunteer.free(now) and volunteer.relation not in relations and peer not in but
            for peer, volunteer in self.joined.items()
        )

    def _slots(self, now: float) -> int:
        return sum(volunteer.slots for volunteer in self.joined.values() if volunteer.free(now))

    def _others_idle(self, volunteer: CrewMember, now: float) -> bool:
        return any(other is not volunteer and other.idle(now) for other in self.joined.values())
