"""An owner's conversations with volunteers, each from the offer to the end.

The `Recruiter` finds the volunteers; a `VolunteerSession` is the conversation with a volunteer that has taken the job.
The volunteer's side is in `volunteer.job_session`.
"""

from collections.abc import Callable
from functools import partial

import trio

from p2p.compute.execution.reassembly import SpooledReassembly
from p2p.compute.owner import hiring, queueing
from p2p.compute.owner.deps import Deps
from p2p.compute.owner.dispatch import Dispatch
from p2p.compute.owner.driver import Driver
from p2p.compute.owner.outputs import Outputs
from p2p.compute.owner.recruiter import Recruiter
from p2p.compute.owner.results import ResultIntake
from p2p.compute.owner.setup import Setup
from p2p.compute.owner.view import Watch
from p2p.compute.owner.volunteer_session import Said, VolunteerSession
from p2p.core.compute.attempts import OVER, Fault, Work
from p2p.core.compute.matching import Need
from p2p.core.compute.vacancies import Vacancies
from p2p.errors import ProtocolViolation, StorageError
from p2p.ids import PeerId, ShareId, short
from p2p.net.connection import Connection
from p2p.wire import work
from p2p.wire.address import prefix
from p2p.wire.messages import DialMe


class Employer:
    """Employs the volunteers of one job: its `recruiter` finds them, and this class keeps them at work."""

    def __init__(
        self,
        deps: Deps,
        setup: Setup,
        driver: Driver,
        dispatch: Dispatch,
        results: ResultIntake,
        outputs: Outputs,
        watch: Watch,
        vacancies: Vacancies,
        replaced: Callable[[tuple[int, int], int, int], None],
        note: Callable[[str], None],
    ) -> None:
        """`replaced` is called if the unit at a place replaced so many characters of its input, first in this piece."""
        self._deps = deps
        self._setup = setup
        self._driver = driver
        self._dispatch = dispatch
        self._results = results
        self._outputs = outputs
        self._watch = watch
        self._replaced = replaced
        self._note = note
        need = Need(setup.runtime.name, setup.limits.memory_bytes, 1)
        self.recruiter = Recruiter(deps, need, setup.hiring.peers, setup.hiring.most, vacancies, self._engage)

    def prefer(self) -> None:
        """To be called when an action has begun: volunteers that have the inputs of some of its units get those units
        first.
        """
        for peer in self._driver.sessions:
            self._prefer(peer)

    def _prefer(self, peer: PeerId) -> None:
        held = self._driver.sessions[peer].held
        if held:
            for stage, partitions in self._dispatch.near(held).items():
                self._driver.job.near(peer, stage, partitions)

    async def _engage(self, connection: Connection) -> None:
        """Offers the job to a volunteer. If it accepts, keeps it at work until the conversation ends.

        Raises PeerError.
        """
        peer = connection.ends.peer_id
        queued = partial(self.recruiter.in_line, peer)
        answer = await queueing.offer_and_wait(connection, partial(self._offer, connection), queued)
        if isinstance(answer, work.JobRefused):
            self.recruiter.declined(peer, answer.reason)
            return
        if not isinstance(answer, work.JobAccepted):
            raise ProtocolViolation("something else where the answer to an offer belongs")
        if self._driver.job.state in OVER or not self.recruiter.hire(peer):
            await connection.send(work.JobEnd(self._setup.id))
            return
        await self._employ(connection, answer)

    async def _employ(self, connection: Connection, accepted: work.JobAccepted) -> None:
        """Keeps the volunteer at work. Raises PeerError."""
        setup, driver, peer = self._setup, self._driver, connection.ends.peer_id
        spool = SpooledReassembly(self._deps.disk, setup.folder / "arriving" / short(peer), setup.limits.output_bytes)
        session = VolunteerSession(
            connection, accepted, self._dispatch.messages, partial(self._undeliverable, peer), spool
        )
        try:
            if 0 < accepted.unit_s < setup.limits.wall_s:
                self._note(hiring.cap_note(accepted.unit_s, setup.limits.wall_s))
            driver.join(peer, session, accepted.window, prefix(connection.ends.remote_host))
            self._prefer(peer)
            await session.run(partial(self._heard, peer))
        except StorageError as error:
            driver.stop(error)
        finally:
            self.recruiter.dismiss(peer)
            self._watch.left(session)
            self._outputs.lost(peer)
            driver.leave(peer)
            await spool.clear()

    def _offer(self, connection: Connection) -> work.JobOffer:
        setup = self._setup
        return work.JobOffer(
            job=setup.id,
            bundle=setup.bundle,
            runtime=setup.runtime.name,
            digest=setup.runtime.digest,
            memory=setup.limits.memory_bytes,
            wall_s=setup.limits.wall_s,
            output_bytes=setup.limits.output_bytes,
            log_bytes=setup.limits.log_bytes,
            token=setup.token,
            inputs=tuple(
                work.InputShare(one.share, tuple((hint.address.host, hint.address.port) for hint in one.hints[:8]))
                for one in setup.inputs
            ),
            port=self._deps.presence.serving_port(connection),
            waits=self.recruiter.may_wait(connection.ends),
        )

    def _undeliverable(self, peer: PeerId, one: Work) -> None:
        """To be called if what a unit reads is lost: the unit waits until that is made again."""
        driver, now = self._driver, trio.current_time()
        driver.do(driver.job.failed(peer, one.unit, Fault.INPUT, "what it reads is lost", now))

    async def _heard(self, peer: PeerId, message: Said, spool: SpooledReassembly) -> None:
        driver, now = self._driver, trio.current_time()
        match message:
            case DialMe(share):
                if share in {self._setup.bundle, *(one.share for one in self._setup.inputs)}:
                    self._deps.calls.asked_by(peer, ShareId(share))
            case work.Heartbeat(ids):
                driver.job.heard(peer, now, ids)
            case work.Slots(count):
                driver.do(driver.job.slots(peer, count, now))
            case work.Replaced(unit, count, piece):
                if place := driver.job.place(peer, unit):
                    self._replaced(place, count, piece)
            case work.Results(results):
                await self._results.results(peer, results, spool)
