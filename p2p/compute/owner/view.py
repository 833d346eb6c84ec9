"""The state of a job as it is shown: stages, volunteers and their rates, bytes moved, time left."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from p2p.compute.owner.volunteer_session import VolunteerSession
from p2p.core.compute.attempts import JobState
from p2p.core.compute.job import Job
from p2p.core.compute.plan import Plan
from p2p.ids import PeerId, to_text
from p2p.progress import JobView, StageView, VolunteerView

MEMORY_S = 15.0
"""How far back a volunteer's rate looks: over several units, even if each takes seconds."""


@dataclass
class Rate:
    """The rate at which one volunteer completes units: an average in which the recent past counts most."""

    units: float = 0.0
    seconds: float = 0.0

    def add(self, units: int, elapsed_s: float) -> None:
        """Counts units done in the last `elapsed_s` seconds."""
        keep = math.exp(-elapsed_s / MEMORY_S)
        self.units = self.units * keep + units
        self.seconds = self.seconds * keep + elapsed_s

    @property
    def per_s(self) -> float:
        """Units per second."""
        return self.units / self.seconds if self.seconds else 0.0


class Watch:
    """Keeps the view of one job up to date."""

    def __init__(self, view: JobView) -> None:
        self._view = view
        self._accepted: Counter[PeerId] = Counter()
        self._rates: dict[PeerId, Rate] = {}
        self._moved = self._fetched = 0
        self.workers: set[PeerId] = set()
        """The volunteers that did a unit."""
        self.core_s = 0.0
        """How long the units took at volunteers, as they say."""

    def accepted(self, peer: PeerId) -> None:
        """Counts one more accepted result of this peer, a volunteer or the owner itself."""
        self._view.units_done += 1
        self._accepted[peer] += 1

    def worked(self, peer: PeerId, seconds: float) -> None:
        """Records that a volunteer has given a result, for which it says that it took so long."""
        self.workers.add(peer)
        self.core_s += seconds

    def left(self, session: VolunteerSession) -> None:
        """Records that a volunteer has left."""
        self._moved += session.bytes_moved
        self._fetched += session.bytes_fetched

    def look(self, job: Job, plan: Plan | None, sessions: Mapping[PeerId, VolunteerSession], elapsed_s: float) -> None:
        """Updates the view, `elapsed_s` seconds after the last call."""
        view = self._view
        view.state = "planning" if job.state is JobState.PLANNING else "running"
        view.failures, view.losses = job.failures, job.losses
        if plan is not None:
            self.look_at_stages(job, plan)
        at_work = {peer: count for peer, count in job.volunteers().items() if peer in sessions}
        self._rates = {peer: self._rates.get(peer, Rate()) for peer in at_work}
        for peer, rate in self._rates.items():
            rate.add(self._accepted[peer], elapsed_s)
        self._accepted.clear()
        view.volunteers = [
            VolunteerView(
                peer=to_text(peer),
                units=count,
                slots=sessions[peer].slots,
                rate=round(self._rates[peer].per_s, 3),
                bytes_moved=sessions[peer].bytes_moved,
                bytes_fetched=sessions[peer].bytes_fetched,
            )
            for peer, count in at_work.items()
        ]
        view.rate = sum((rate.per_s for rate in self._rates.values()), 0.0)
        view.bytes_moved = self._moved + sum(session.bytes_moved for session in sessions.values())
        view.bytes_fetched = self._fetched + sum(session.bytes_fetched for session in sessions.values())
        waiting = sum(stage.units - stage.done for stage in view.stages)
        view.left_s = waiting / view.rate if waiting and view.rate > 0.01 else None

    def look_at_stages(self, job: Job, plan: Plan) -> None:
        """Updates only the stages. Those of an action stay until the next action has its own."""
        if job.stages:
            self._view.stages = [
                StageView(stage.label, units.count, units.done, len(units.running))
                for stage, units in zip(plan.stages, job.stages, strict=True)
            ]
