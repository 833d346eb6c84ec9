"""Lists which peers are connected to this peer, and what each connection is for."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from p2p.compute.owner.jobs import Jobs
from p2p.control.answers import PeerRow
from p2p.ids import ShareId, to_text
from p2p.net.connection import Connection
from p2p.reach.contacts import Contacts
from p2p.sharing.swarms import Swarms

if TYPE_CHECKING:
    from p2p.compute.volunteer.volunteering import Volunteering


class PeersView:
    """Lists the peers that exchange shares with this peer, work for its jobs, or own jobs that it works for."""

    def __init__(self, contacts: Contacts, swarms: Swarms, jobs: Jobs, volunteering: "Volunteering | None") -> None:
        self._contacts = contacts
        self._swarms = swarms
        self._jobs = jobs
        self._volunteering = volunteering

    def answer(self) -> list[PeerRow]:
        """Returns a row for each purpose of a connection."""
        bundles = {run.bundle for run in self._jobs.runs()}
        rows = []
        for underway in self._jobs.under_way:
            for session in underway.run.sessions.values():
                cores = min(session.slots, session.wanted)
                row = self._row(session.connection, "volunteer")
                rows.append(replace(row, job=underway.view.job, name=underway.view.name, cores=cores))
        if self._volunteering is not None:
            for at_work in self._volunteering.jobs.values():
                bundles.add(ShareId(at_work.offer.bundle))
                row = self._row(at_work.connection, "owner")
                rows.append(replace(row, job=to_text(at_work.offer.job), cores=0 if at_work.stopped else at_work.slots))
        for swarm in self._swarms:
            # A bundle on its way from an owner to its volunteers only shows that there is a job, which has its own row.
            for exchange in swarm.members.values() if swarm.share_id not in bundles else ():
                layout = swarm.holding.layout
                row = replace(
                    self._row(exchange.connection, "share"),
                    share=layout.manifest.root.name,
                    uploaded=exchange.uploaded,
                    downloaded=exchange.downloaded,
                    complete=exchange.theirs == layout.everything,
                )
                rows.append(row)
        return rows

    def _row(self, connection: Connection, role: str) -> PeerRow:
        """Makes a row with what is shown for every connection."""
        ends = connection.ends
        address = self._contacts.address_of(ends.peer_id) or (ends.claimed_address if ends.dialed else None)
        return PeerRow(
            peer=to_text(ends.peer_id),
            address=ends.remote_host if address is None else str(address),
            dialable=self._contacts.is_dialable(ends),
            dialed=ends.dialed,
            software=ends.hello.software,
            role=role,
            uploaded=connection.bytes_out,
            downloaded=connection.bytes_in,
        )
