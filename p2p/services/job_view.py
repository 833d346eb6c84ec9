"""How a job stands, for whoever looks: stages, volunteers and their pace, bytes moved, time left."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2p.core.job import Job
from p2p.core.plan import Plan
from p2p.ids import PeerId, to_text
from p2p.services.member import Member

SMOOTHING = 0.1


@dataclass
class View:
    """Updated in place; rates in units a second."""

    job: str = ""
    name: str = ""
    state: str = "planning"
    runtime: str = ""
    action: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)
    volunteers: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0
    losses: int = 0
    units_done: int = 0
    units_known: int = 0
    """Units that an earlier process had done."""
    rate: float = 0.0
    bytes_moved: int = 0
    """Over the network, for this job: between this peer and volunteers, and what these fetched."""
    bytes_fetched: int = 0
    """Of that, what volunteers fetched by themselves, as they say: inputs, outputs that others keep, the bundle."""
    left_s: float | None = None
    """Until the stage that runs is done, at this pace."""
    why: str = ""
    """Why nothing runs."""


class Watch:
    """Keeps a view."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._accepted: Counter[PeerId] = Counter()
        self._rates: dict[PeerId, float] = {}
        self._moved = self._fetched = 0

    def accepted(self, peer: PeerId) -> None:
        """One more result of this volunteer counts."""
        self._view.units_done += 1
        self._accepted[peer] += 1

    def left(self, member: Member) -> None:
        """A volunteer is gone."""
        self._moved += member.bytes_moved
        self._fetched += member.bytes_fetched

    def look(self, job: Job, plan: Plan | None, members: Mapping[PeerId, Member], elapsed_s: float) -> None:
        """Brings the view up to date, after so many seconds."""
        view = self._view
        view.failures, view.losses = job.failures, job.losses
        if plan is not None:
            self.look_at_stages(job, plan)
        at_work = {peer: count for peer, count in job.volunteers().items() if peer in members}
        self._rates = {peer: self._rate(peer, elapsed_s) for peer in at_work}
        self._accepted.clear()
        view.volunteers = [
            {
                "peer": to_text(peer),
                "units": count,
                "slots": members[peer].slots,
                "rate": round(self._rates[peer], 3),
                "bytes_moved": members[peer].bytes_moved,
                "bytes_fetched": members[peer].bytes_fetched,
            }
            for peer, count in at_work.items()
        ]
        view.rate = sum(self._rates.values())
        view.bytes_moved = self._moved + sum(member.bytes_moved for member in members.values())
        view.bytes_fetched = self._fetched + sum(member.bytes_fetched for member in members.values())
        waiting = sum(stage["units"] - stage["done"] for stage in view.stages)
        view.left_s = waiting / view.rate if waiting and view.rate > 0.01 else None

    def look_at_stages(self, job: Job, plan: Plan) -> None:
        """Brings only the stages up to date; those of an action stay until the next one's."""
        if job.stages:
            self._view.stages = [
                {"label": stage.label, "units": units.count, "done": units.done, "running": len(units.running)}
                for stage, units in zip(plan.stages, job.stages, strict=True)
            ]

    def _rate(self, peer: PeerId, elapsed_s: float) -> float:
        sample = self._accepted[peer] / elapsed_s
        before = self._rates.get(peer)
        return sample if before is None else (1 - SMOOTHING) * before + SMOOTHING * sample
