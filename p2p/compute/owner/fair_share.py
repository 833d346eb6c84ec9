"""Divides the volunteers among several jobs of one owner, as evenly as the needs of each job allow.

A volunteer gives a job all its free cores, so the first job would have all volunteers for as long as it lasts. Every
few seconds the slots are allotted again (`core.compute.matching.allot`). A job with too many slots gives some back to
the volunteer, and the other jobs are then offered to that volunteer again.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from p2p.core.compute.matching import VolunteerOffer, allot
from p2p.ids import PeerId

if TYPE_CHECKING:
    from p2p.compute.owner.run import JobRun

SHARE_INTERVAL_S = 2.0


async def share_volunteers(runs: "Callable[[], Sequence[JobRun]]") -> None:
    """Divides the volunteers among the running jobs (`runs`), until cancelled."""
    while True:
        await trio.sleep(SHARE_INTERVAL_S)
        divide(runs())


def divide(runs: "Sequence[JobRun]") -> None:
    """Tells each job how many slots of each of its volunteers it may use from now on."""
    needs = [run.need for run in runs]
    offers: dict[PeerId, VolunteerOffer] = {}
    for run in runs:
        for peer, session in run.sessions.items():
            before = offers.get(peer)
            slots = max(session.offered, 0 if before is None else before.slots)
            runtimes = frozenset({run.need.runtime}) | (frozenset() if before is None else before.runtimes)
            memory = max(run.need.memory, 0 if before is None else before.memory)
            offers[peer] = VolunteerOffer(slots, memory, runtimes)
    # Jobs of one runtime can use the same volunteers, even if they have not met them yet.
    held = [{peer: session.wanted for peer, session in run.sessions.items()} for run in runs]
    freed = False
    for run, given in zip(runs, allot(needs, offers, held), strict=True):
        for peer, session in run.sessions.items():
            slots = given.get(peer, 0) if len(runs) > 1 else session.offered
            freed = freed or slots < session.wanted
            session.use(slots)
    if freed:
        for run in runs:
            run.recruiter.again()
