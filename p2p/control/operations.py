"""What a peer does at its user's request, which comes over the control socket or from a command in the foreground."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import msgspec
import trio
from msgspec import UNSET

from p2p import ids
from p2p.cluster.clusters import Clusters
from p2p.concurrency.bell import Bell
from p2p.concurrency.walls import Wall
from p2p.control import answers, reading
from p2p.control import cluster_requests as clusters
from p2p.control import protocol as requests
from p2p.control.errands import Errands
from p2p.control.limits import Limits
from p2p.control.packing import Packing
from p2p.control.peers import PeersView
from p2p.control.protocol import AnyRequest, Emit, Note
from p2p.control.reporting import pieces, reported
from p2p.control.shares import SharesView
from p2p.control.status import StatusView
from p2p.core.shares.names import top_name
from p2p.discovery import browse, pointers, search
from p2p.discovery.discovery import Discovery
from p2p.errors import ConfigError, NotFound
from p2p.formats import quoted
from p2p.ids import ShareId
from p2p.progress import Progress
from p2p.sandbox.sandbox import describe
from p2p.sharing.reading.open_shares import OpenShares
from p2p.sharing.share import Sharing
from p2p.wire.link import Link, PointerLink, is_link, parse_any_link, parse_peer

if TYPE_CHECKING:
    from p2p.compute.volunteer.volunteering import Volunteering
    from p2p.control.access.web_access import WebAccess

COMMAND = Wall("command")


class Deps(msgspec.Struct, frozen=True):
    """What `Operations` uses: the interfaces of lower packages, and the views that make answers to the user.

    Made by `p2p.node`.
    """

    discovery: Discovery
    sharing: Sharing
    open_shares: OpenShares
    packing: Packing
    errands: Errands
    limits: Limits
    volunteering: "Volunteering | None"
    """The part of this peer that volunteers its cores; None if it offers none."""
    clusters: Clusters
    shares: SharesView
    peers: PeersView
    status: StatusView
    changes: Bell


class Operations:
    """Carries out the requests of a peer's user."""

    def __init__(self, deps: Deps, access: "WebAccess | None", *, times_at_first: bool) -> None:
        """`times_at_first`: whether new shares have modification times, unless the user says so or not."""
        self._deps = deps
        self._times_at_first = times_at_first
        self._access = access
        """The way in over TCP, if there is one."""

    async def perform(self, request: AnyRequest, emit: Emit, *, keep_serving: bool) -> Any:
        """Carries out a request. Returns the answer. `emit` gets updates and notes until then. Raises ShoalError."""
        with COMMAND.around():
            return await self._perform(request, emit, keep_serving=keep_serving)

    async def _perform(self, request: AnyRequest, emit: Emit, *, keep_serving: bool) -> Any:
        deps = self._deps
        match request:
            case requests.ShareRequest():
                return await self._share(request, emit, keep_serving=keep_serving)
            case requests.PackRequest():
                return await deps.packing.pack(request, emit)
            case requests.GetRequest():
                return await deps.errands.fetches.get(request, emit, keep_serving=keep_serving)
            case requests.BackgroundRequest(request=asked):
                return await deps.errands.begin(asked, emit)
            case requests.FetchesRequest():
                return deps.errands.fetches.rows()
            case requests.FollowRequest(id=text):
                return await deps.errands.fetches.follow(deps.errands.fetch(text), emit)
            case requests.PauseRequest(id=text):
                return await deps.errands.pause(text)
            case requests.GoOnRequest(id=text, background=background, peers=peers):
                options = {"background": background, "keep_serving": keep_serving}
                return await deps.errands.go_on(text, peers, emit, **options)
            case requests.RemoveRequest(id=text, delete_files=delete):
                return await deps.errands.remove(text, delete_files=delete)
            case requests.ListRequest(path=path, after=after):
                async with self._reading(request, emit) as share:
                    return await share.listing(path, after)
            case requests.CatRequest(path=path):
                async with self._reading(request, emit) as share:
                    return await share.send(path, emit)
            case requests.RunRequest(wish=wish, keep=keep):
                progress = Progress(state="looking at the job", name=Path(wish.path).name)
                async with reported(progress, emit):
                    return await deps.errands.jobs.begin(wish, progress, keep=keep)
            case requests.ResumeRequest(id=text, peers=peers):
                progress = Progress(state="looking at the job", name=text)
                async with reported(progress, emit):
                    return await deps.errands.jobs.resume(text, progress, peers)
            case requests.JobsRequest():
                return await deps.errands.jobs.listed()
            case requests.LogsRequest(id=text, unit=unit):
                return await deps.errands.jobs.logs(text, unit)
            case requests.ResultRequest(id=text, wait=wait):
                if wait:
                    progress = Progress(state="waiting for the job", name=text)
                    async with reported(progress, emit):
                        await deps.errands.jobs.follow(text, progress)
                return await deps.errands.jobs.result(text)
            case requests.CancelRequest(id=text):
                return answers.CancelAnswer(ids.to_text(await deps.errands.jobs.cancel(text)))
            case requests.LimitRequest(fetch=text):
                return await deps.limits.change(request, None if text is None else deps.errands.fetch(text))
            case requests.VolunteerRequest(pause=pause, now=now):
                return self._volunteer(pause, now)
            case requests.SearchRequest(query=query):
                progress = Progress(state="asking trackers, or the DHT", name=query)
                async with reported(progress, emit):
                    hits = await deps.discovery.search(query, progress.note)
                return [_hit(hit) for hit in hits]
            case requests.BrowseRequest(peer=who):
                progress = Progress(state="looking for the peer", name=who)
                async with reported(progress, emit):
                    listed = await deps.discovery.browse(who, progress.note)
                return [_listed(one) for one in listed]
            case requests.SharesRequest():
                return await deps.shares.answer()
            case requests.UnshareRequest(id=text):
                return await self._unshare(text)
            case requests.PeersRequest():
                return deps.peers.answer()
            case requests.StatusRequest():
                return await deps.status.answer()
            case requests.WebRequest(code=code, new_token=new_token):
                return await self._web_access(code, new_token)
            case requests.OpenRequest(link=link, peers=peers):
                return answers.OpenAnswer(self._way_in().open(parse_any_link(link), [*map(parse_peer, peers)]))
            case requests.HoldRequest():
                await emit(Note("This peer is held."))
                return await trio.sleep_forever()
            case clusters.ClusterListsRequest(change=which, peer=peer, remove=remove):
                if which is None:
                    return deps.clusters.listed()
                return await deps.clusters.change_list(which, peer, remove=remove)
            case clusters.ClusterStartRequest(spec=spec):
                progress = Progress(state="looking for members", name=spec.name or spec.engine)
                async with reported(progress, emit):
                    return await deps.clusters.start(spec, progress)
            case clusters.ClustersRequest():
                return await deps.clusters.list()
            case clusters.ClusterRunRequest(name=name, argv=argv, variables=variables, files=files):
                return await deps.clusters.command(name, argv, variables, files, pieces(emit))
            case clusters.ClusterLogsRequest(name=name, member=member):
                return await deps.clusters.logs(name, member, pieces(emit))
            case clusters.ClusterScaleRequest(name=name, members=members):
                return deps.clusters.scale(name, members)
            case clusters.ClusterAddRequest(name=name, label=label):
                return await deps.clusters.add(name, label)
            case clusters.ClusterReleaseRequest(name=name, member=index):
                return await deps.clusters.release(name, index)
            case clusters.ClusterStopRequest(name=name):
                return await deps.clusters.stop(name)
            case _:
                assert_never(request)

    async def _share(self, request: requests.ShareRequest, emit: Emit, *, keep_serving: bool) -> answers.ShareAnswer:
        deps, progress = self._deps, Progress(state="listing files")
        paths = [Path(path) for path in request.paths]
        if request.pointer is not None:
            pointers.check_name(request.pointer)
        async with reported(progress, emit):
            done = await deps.sharing.share(
                paths,
                request.name,
                progress,
                unlisted=request.unlisted,
                exclude=request.exclude,
                rehash=request.rehash,
                lasts=keep_serving,
                times=request.times,
                times_at_first=self._times_at_first,
                links=request.links,
                sure=request.sure,
            )
        for warning in done.warnings:
            await emit(Note(warning))
        answer = answers.ShareAnswer(
            link=deps.discovery.links.to(done.share_id, done.name, done.bytes),
            id=ids.to_text(done.share_id),
            name=done.name,
            bytes=done.bytes,
            files=done.files,
            reused=done.reused,
            seconds=round(done.seconds, 3),
            left_out=done.left_out,
            skipped=tuple(answers.SkippedFile(*skipped) for skipped in done.skipped),
            skipped_count=done.skipped_count,
        )
        if done.single and done.name != paths[0].name:
            await emit(Note(f"whoever gets the file will have it as {top_name(done.name)}"))
        elif done.name != (top := top_name(done.name)):
            await emit(Note(f"whoever gets it will have it as {top}: a fetch makes no name that begins with a dot"))
        if done.lasts and not keep_serving:
            await emit(Note("a peer of this home shared this before, so later ones will too, until `shoal unshare`"))
        if done.kept_exclude:
            await emit(Note(f"left out as before: {', '.join(done.kept_exclude)} (to change that, give --exclude)"))
        if request.pointer is None:
            return answer
        if request.unlisted:
            await emit(Note("a mutable link is public: who keeps it in the DHT learns the id of the unlisted share"))
        record = await deps.discovery.mutable_links.point(request.pointer, done.share_id)
        deps.changes.ring()
        pointer = deps.discovery.links.mutable_maker()(request.pointer)
        return msgspec.structs.replace(answer, pointer=pointer, version=record.sequence)

    @asynccontextmanager
    async def _reading(
        self, request: requests.ListRequest | requests.CatRequest, emit: Emit
    ) -> AsyncIterator[reading.ReadShare]:
        """Opens the share to which the request's link leads."""
        deps, link = self._deps, parse_any_link(request.link)
        hints = [parse_peer(text) for text in request.peers]
        if isinstance(link, PointerLink):
            progress = Progress()
            async with reported(progress, emit):
                link, known = await deps.discovery.mutable_links.newest(link, hints, request.wait_s, progress)
            hints += known
        hints += link.peers
        where = link.share_id, hints, link.trackers
        async with reading.reading(self._deps.open_shares, *where, request.wait_s) as share:
            yield share

    def _volunteer(self, pause: bool | None, now: bool) -> answers.VolunteerAnswer:
        volunteering, clusters = self._deps.volunteering, self._deps.clusters
        if pause is not None:
            clusters.pause(pause, now=now)
        if volunteering is None:
            if clusters.lends:
                return answers.VolunteerAnswer(paused=clusters.paused, lent=clusters.lent)
            raise ConfigError("This peer offers no computing power. Start it with: shoal node --volunteer")
        if pause is not None:
            volunteering.pause(pause, now=now)
        capacity = volunteering.capacity()
        return answers.VolunteerAnswer(
            cores=volunteering.cores,
            memory_bytes=volunteering.memory,
            unit_time_s=volunteering.unit_time_s,
            paused=volunteering.paused,
            runtimes=capacity.runtimes if capacity else (),
            busy=volunteering.in_use,
            jobs=tuple(map(ids.to_text, volunteering.jobs)),
            waiting=volunteering.waiting,
            units_done=volunteering.units_done,
            inputs_bytes=self._deps.open_shares.taken_bytes,
            inputs_most_bytes=self._deps.open_shares.most_bytes,
            walls=describe(),
            compiling=volunteering.compiling,
            lent=clusters.lent,
        )

    def _way_in(self) -> "WebAccess":
        if self._access is None:
            raise ConfigError("This peer is not on the web. Start it with: shoal node --web")
        return self._access

    async def _web_access(self, code: bool, new_token: bool) -> answers.WebAnswer:
        access = self._way_in()
        if new_token:
            await access.renew()
        made = access.sessions.new_code(trio.current_time()) if code else None
        return answers.WebAnswer(
            access.url,
            str(access.token_path),
            UNSET if made is None else f"{access.url}/login?code={made}",
        )

    async def _unshare(self, text: str) -> answers.UnshareAnswer:
        rows = await self._deps.shares.rows() if text else []
        link = _link_or_beginning(text)
        if isinstance(link, PointerLink):
            known = await self._deps.discovery.mutable_links.known(link)
            matching = [row for row in rows if row.id in known]
            none, many = (
                f"that {quoted(link.name)} leads to",
                f"are versions of {quoted(link.name)}. Give the id of one.",
            )
        else:
            text = link.lower() if isinstance(link, str) else ids.to_text(link.share_id)
            matching = [row for row in rows if ids.to_text(row.id).startswith(text)]
            none, many = f"with the id {quoted(text)}", f"have an id that starts with {quoted(text)}. Give more of it."
        if not matching:
            raise NotFound(f"This peer shares nothing {none}. `shoal shares` lists what it does.")
        if len(matching) > 1:
            raise ConfigError(f"{len(matching)} shares {many}")
        await self._deps.sharing.unshare(ShareId(matching[0].id))
        return answers.UnshareAnswer(ids.to_text(matching[0].id), matching[0].name)


def _link_or_beginning(text: str) -> Link | PointerLink | str:
    """Reads a link, or leaves the beginning of an id as it is. Raises ConfigError."""
    try:
        return parse_any_link(text)
    except ConfigError:
        if is_link(text):
            raise
        return text


def _hit(hit: search.Hit) -> answers.HitRow:
    return answers.HitRow(
        id=ids.to_text(hit.share),
        name=hit.name,
        bytes=hit.size,
        files=hit.files,
        peers=hit.sources,
        age_s=hit.age_s,
        signer=ids.to_text(hit.signer),
        matched=hit.matched,
        link=hit.link,
    )


def _listed(one: browse.ListedShare) -> answers.ListedRow:
    return answers.ListedRow(ids.to_text(one.share), one.name, one.size, one.files, one.link)
