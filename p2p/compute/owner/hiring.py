"""Handles calls from volunteers that cannot be dialled: the owner offers each of them one of its jobs.

Such a volunteer finds owners as it finds peers that lack a share: the work for one runtime has a key
(`records.hiring_key`), and an owner announces that it lacks this key, as if it were a share. An owner that cannot be
dialled calls its volunteers to offer them the shares of its job, when they say that they are fetching these shares.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from p2p.advertising.adverts import Advert
from p2p.core.dht import publications
from p2p.formats import format_time
from p2p.net.connection import Connection
from p2p.net.router import refuse
from p2p.wire import work
from p2p.wire.records import hiring_key
from p2p.wire.tracker import Provided, key_text

if TYPE_CHECKING:
    from p2p.compute.owner.recruiter import Recruiter


def advert(runtimes: Iterable[str]) -> Advert:
    """Makes the advert of an owner that looks for volunteers with these runtimes."""
    sought = frozenset(runtimes)
    return Advert(
        keys=tuple(Provided(key_text(hiring_key(runtime)), whole=False) for runtime in sorted(sought)),
        items=tuple(publications.hiring_items(sought)),
    )


async def offer_job(
    recruiters: "Mapping[bytes, Recruiter]", connection: Connection, asking: work.VolunteerCall
) -> bool:
    """Offers one of the running jobs to a volunteer that dialled, and lets it work. Returns whether any job wanted it.

    Raises PeerError.
    """
    if connection.ends.dialed:
        await refuse(connection, asking)
        return False
    wanting = [
        recruiter
        for job, recruiter in recruiters.items()
        if asking.job in {b"", job} and recruiter.wants(connection.ends, asking.capacity)
    ]
    if not wanting:
        await connection.send(work.JobRefused("no job wants volunteers"))
        return False
    await min(wanting, key=lambda recruiter: len(recruiter.engaged)).take(connection)
    return True


def cap_note(cap_s: float, unit_time_s: float) -> str:
    """Text for the user: volunteers let units run for a shorter time than the job does."""
    return (
        f"Volunteers end a unit after {format_time(cap_s)}, though --unit-time is {format_time(unit_time_s)}: "
        "units that take longer need more --partitions."
    )
