"""Fair shares: several jobs of one owner divide the volunteers between them, as evenly as what each can use allows.

A volunteer gives a job all its free cores, so the first job would have everybody for as long as it lasts. Every few
seconds the slots are allotted again (`core.compute.matching.allot`); a job that has too many tells the volunteer that
it gives them back, and the other job is offered there again.
"""

from collections.abc import Callable, Sequence

import trio

from p2p.compute.owner.run import JobRun
from p2p.core.compute.matching import VolunteerOffer, allot
from p2p.ids import PeerId

SHARE_INTERVAL_S = 2.0


async def share_volunteers(runs: Callable[[], Sequence[JobRun]]) -> None:
    """Divides the volunteers among the jobs under way (`runs`), until cancelled."""
    while True:
        await trio.sleep(SHARE_INTERVAL_S)
        divide(runs())


def divide(runs: Sequence[JobRun]) -> None:
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
    # Jobs of one runtime can use the same volunteers, whether they have met them or not.
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
