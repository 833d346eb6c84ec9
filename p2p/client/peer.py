"""`Peer`: what Shoal can do for a program."""

import logging
import os
import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from msgspec import UNSET

from p2p import config, paths
from p2p.client import given
from p2p.client.arguments import checked
from p2p.client.call import Call
from p2p.client.given import AnyPath
from p2p.client.running import Running
from p2p.client.session import Session
from p2p.compute.answers import JobAnswer, JobRow, LogRow
from p2p.compute.spec import UNIT_MEMORY, UNIT_TIME_S, JobSpec
from p2p.control import answers
from p2p.control import protocol as requests
from p2p.control.protocol import AnyRequest, Note, Update
from p2p.core.compute.skipped import DEFAULT_MOST
from p2p.errors import ConfigError
from p2p.progress import Progress
from p2p.site.shown import Rows

if TYPE_CHECKING:
    from p2p.client.executor import Executor

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Value = TypeVar("Value")
OnProgress = Callable[[Progress], None]
"""Is called several times a second while something is under way."""


class Peer:
    """The peer of a home, as a program uses it. Any number of threads may use one.

    Each method asks the peer and waits for its answer; Ctrl-C, or any other exception meanwhile, ends the request in
    the peer too. Sizes are in bytes, times in seconds. Errors are those of `p2p.errors`: ConfigError for a wrong
    argument, NotFound if nobody has what was asked for, PeerGone if the peer stops midway, and StorageError.
    What the peer has to say besides the answer is logged as a warning.
    """

    def __init__(
        self,
        home: AnyPath | None = None,
        trackers: Iterable[str] = (),
        peers: Iterable[str] = (),
        network: str | None = None,
    ) -> None:
        """`home` is the peer's folder; by default, that of the command line. `trackers` are URLs. `peers` are others,
        as HOST:PORT or ID@HOST:PORT: each `get` and `run` asks them, and the DHT is joined through them.

        If no peer runs in the home, one is started, with the settings of the home and these. It ends with the last
        program that uses it: when that closes its `Peer`, ends, or is killed. A peer that runs keeps its own settings.

        Raises ConfigError for wrong arguments, or if the peer that runs is in another network; StorageError and
        IdentityError if the home cannot be used.
        """
        named = config.default_home() if home is None else given.path(home).expanduser()
        self._trackers, self._peers, self._network = (
            given.texts("trackers", trackers),
            given.texts("peers", peers),
            network,
        )
        self._session = Session(paths.to_make(named), self._settings())
        weakref.finalize(self, self._session.close)
        self._session.reach()
        if not self._session.has_started and (network is not None or self._trackers):
            self._compare(self.status())

    def _settings(self) -> config.Settings:
        """The settings that the arguments give a peer that is started."""
        values: dict[str, Any] = {}
        if self._trackers:
            values["trackers"] = self._trackers
        if self._peers:
            from p2p.wire.link import parse_peer

            values["join"] = tuple(str(parse_peer(text).address) for text in self._peers)
        if self._network is not None:
            values["name"] = self._network
        return {"network": values} if values else {}

    def _compare(self, status: answers.StatusAnswer) -> None:
        """Looks whether a peer that ran before has the settings that were asked for."""
        if self._network not in {None, status.network}:
            self.close()
            raise ConfigError(
                f"The peer that runs in {self.home} is in the network {status.network}. "
                "Leave out `network`, or stop it."
            )
        used = {tracker.url for tracker in status.trackers}
        for url in self._trackers:
            if url.rstrip("/") not in used:
                logger.warning("a peer is running in this home: it keeps its own trackers, and %s is ignored", url)

    @property
    def home(self) -> Path:
        """The peer's folder."""
        return self._session.home

    # Files.

    def share(
        self,
        *files: AnyPath,
        name: str | None = None,
        unlisted: bool = False,
        pointer: str | None = None,
        exclude: Iterable[str] | None = None,
        rehash: bool = False,
        times: bool | None = None,
        on_progress: OnProgress | None = None,
    ) -> answers.ShareAnswer:
        """Shares files or folders in place, until `unshare`. In the answer, `link` is what others get it by.

        `unlisted`: only those with the link find it. `pointer` publishes it as the newest version of that name; then
        `pointer` in the answer is the link to the newest one. `exclude` has patterns of .gitignore. `rehash` reads
        files again that seem unchanged. `times` keeps modification times.
        """
        request = requests.ShareRequest(
            paths=tuple(str(paths.resolved(given.path(one))) for one in files),
            name=name,
            unlisted=unlisted,
            pointer=pointer,
            exclude=None if exclude is None else given.texts("exclude", exclude),
            rehash=rehash,
            times=times,
        )
        if not request.paths:
            raise ConfigError("Name a file or folder to share.")
        answer: answers.ShareAnswer = self._ask(request, on_progress)
        return answer

    def get(
        self,
        link: str,
        out: AnyPath = ".",
        *,
        peers: Iterable[str] = (),
        select: Iterable[str] = (),
        exclude: Iterable[str] = (),
        names: Literal["map", "skip", "fail"] = "map",
        trust_names: bool = False,
        sequential: bool = False,
        overwrite: bool = False,
        into_existing: bool = False,
        wait_s: float | None = None,
        limit_bytes_per_s: int = 0,
        on_progress: OnProgress | None = None,
    ) -> answers.GetAnswer:
        """Fetches a share, or what is missing of it, into the folder `out`; every chunk is verified.

        `link` is a link or a share's id. `select` and `exclude` choose among its files, by patterns. Names that
        the disk cannot hold are changed, left out, or refused, as `names` says; `trust_names` keeps those that make
        programs run what they hold. `overwrite` replaces files that differ; `into_existing` allows a folder that is
        there already. Raises NotFound if nobody has it for `wait_s`; by default, this waits for ever.
        """
        request = requests.GetRequest(
            link=link,
            out=str(paths.to_make(given.path(out))),
            peers=self._known(peers),
            select=given.texts("select", select),
            exclude=given.texts("exclude", exclude),
            names=names,
            trust_names=trust_names,
            into_existing=into_existing,
            sequential=sequential,
            overwrite=overwrite,
            wait_s=wait_s,
            limit_bytes_per_s=limit_bytes_per_s,
        )
        answer: answers.GetAnswer = self._ask(request, on_progress)
        return answer

    def search(self, words: str) -> Rows[answers.HitRow]:
        """Finds shares by words, which must all be in a share's name or in its file names."""
        return Rows(self._ask(requests.SearchRequest(query=words)))

    def browse(self, peer: str) -> Rows[answers.ListedRow]:
        """Lists what another peer shares. `peer` is its id, HOST:PORT, ID@HOST:PORT, or a mutable link of it."""
        return Rows(self._ask(requests.BrowseRequest(peer=peer)))

    def shares(self) -> Rows[answers.ShareRow]:
        """Lists what this peer shares."""
        return Rows(self._ask(requests.SharesRequest()))

    def unshare(self, share: str) -> answers.UnshareAnswer:
        """Stops sharing. `share` is the share's id, the beginning of that, or a link. Files stay where they are."""
        answer: answers.UnshareAnswer = self._ask(requests.UnshareRequest(id=share))
        return answer

    # Jobs. Their ids may be shortened to a beginning that no other has.

    def run(
        self,
        job: AnyPath,
        *,
        inputs: Iterable[AnyPath] = (),
        args: dict[str, Any] | None = None,
        runtime: str | None = None,
        partitions: int = 0,
        unit_memory: int = UNIT_MEMORY,
        unit_time_s: float = UNIT_TIME_S,
        peers: Iterable[str] = (),
        volunteers: int = 0,
        out: AnyPath | None = None,
        wait_s: float | None = None,
        along: Iterable[AnyPath] = (),
        requirements: AnyPath | None = None,
        seed: int | None = None,
        max_skipped: int = DEFAULT_MOST,
    ) -> Running[JobAnswer]:
        """Runs a job on the machines of volunteers. Returns at once; `Running.result` waits for its end.

        `job` is a Python file with a function named `job`, a folder with job.py, or a .wasm file. `inputs` are links
        or paths; `args` are arguments of the function, which travel as JSON. Files that the job saves go into the
        folder `out`, or else into a share. `along` are files, or wheels, that go along; `requirements` is a file that
        lists packages. The others are as in `shoal run`.
        """
        from p2p.compute.inputs import named_input  # late: it reads links, and most programs run no jobs

        spec = JobSpec(
            path=str(paths.absolute(given.path(job))),
            inputs=tuple(named_input(os.fspath(one)) for one in given.several("inputs", inputs)),
            args=checked(args or {}),
            runtime=runtime,
            partitions=partitions,
            unit_memory=unit_memory,
            unit_time_s=unit_time_s,
            peers=self._known(peers),
            volunteers=volunteers,
            out=None if out is None else str(paths.to_make(given.path(out))),
            wait_s=wait_s,
            along=given.absolute("along", along),
            requirements=None if requirements is None else str(paths.absolute(given.path(requirements))),
            seed=UNSET if seed is None else seed,
            max_skipped=max_skipped,
        )
        return Running(self, self._session, requests.RunRequest(wish=spec), _as_it_is)

    def map(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        send: Iterable[str] = (),
        runtime: str | None = None,
        partitions: int = 0,
        unit_memory: int = UNIT_MEMORY,
        unit_time_s: float = UNIT_TIME_S,
        peers: Iterable[str] = (),
        volunteers: int = 0,
        wait_s: float | None = None,
        along: Iterable[AnyPath] = (),
        requirements: AnyPath | None = None,
        seed: int | None = None,
    ) -> Running[list[Value]]:
        """Calls the function with each of the items, on the machines of volunteers. Returns at once; the result is the
        list of what it returned, in the order of the items.

        The function goes as source, with the globals that it uses: `Running.sent` has them. One whose name looks like
        a secret is refused, unless it is in `send`. Items and what comes back are None, bool, int, float, str, bytes,
        tuples, lists, dicts and sets, arrays of numpy and tables of pandas; anything else is refused. Arrays need
        volunteers with the runtime python-wasm-science. The others are as in `run`.
        """
        from p2p.client.mapping import MappedItems  # late: most programs map nothing

        files = given.absolute("along", along)
        mapped = MappedItems(function, items, given.texts("send", send), files, runtime)
        try:
            spec = JobSpec(
                path=str(mapped.job),
                inputs=tuple(map(str, mapped.inputs)),
                runtime=runtime,
                partitions=partitions,
                unit_memory=unit_memory,
                unit_time_s=unit_time_s,
                peers=self._known(peers),
                volunteers=volunteers,
                out=str(mapped.out),
                wait_s=wait_s,
                along=files,
                requirements=None if requirements is None else str(paths.absolute(given.path(requirements))),
                seed=UNSET if seed is None else seed,
            )
            request = requests.RunRequest(wish=spec, keep=False)
            return Running(self, self._session, request, mapped.values, mapped.sent, mapped.remove)
        except BaseException:
            mapped.remove()
            raise

    def executor(self, **options: Any) -> "Executor":
        """An executor of `concurrent.futures` that calls functions at volunteers. `options` are those of `map`."""
        from p2p.client.executor import Executor

        return Executor(self.map, **options)

    def joblib(self, n_jobs: int = -1, **options: Any) -> AbstractContextManager[None]:
        """A context in which `joblib.Parallel` calls functions at volunteers, `n_jobs` at a time; -1 is many.

        `options` are those of `map`. Raises ConfigError if joblib is not installed.
        """
        try:
            from p2p.client.parallel import parallel
        except ImportError as error:
            raise ConfigError("joblib is not installed. In a clone of Shoal: pip install -e '.[joblib]'") from error

        return parallel(self.executor(**options), n_jobs)

    def resume(self, job: str, *, peers: Iterable[str] = ()) -> Running[JobAnswer]:
        """Goes on with a job that was stopped, as it was begun. `peers` are more volunteers to ask."""
        return Running(self, self._session, requests.ResumeRequest(id=job, peers=self._known(peers)), _as_it_is)

    def job(self, job: str) -> Running[JobAnswer]:
        """Follows a job that another program or command began, or that is done; `Running.result` waits for its end.

        Whatever interrupts that leaves the job as it is; `Running.cancel` ends it.
        """
        return Running(self, self._session, requests.ResultRequest(id=job, wait=True), _as_it_is)

    def jobs(self) -> Rows[JobRow]:
        """Lists the jobs that run, that were stopped, and that ended most recently."""
        return Rows(self._ask(requests.JobsRequest()))

    def result(self, job: str) -> JobAnswer:
        """The answer of a job that is done, once more. Raises JobError if it failed."""
        answer: JobAnswer = self._ask(requests.ResultRequest(id=job))
        return answer

    def logs(self, job: str, unit: tuple[int, int, int] | None = None) -> Rows[LogRow]:
        """What a job's units printed, or only that of one unit: its action, stage and partition."""
        return Rows(self._ask(requests.LogsRequest(id=job, unit=unit)))

    def cancel(self, job: str) -> answers.CancelAnswer:
        """Ends a job for good, whether it runs or was stopped."""
        answer: answers.CancelAnswer = self._ask(requests.CancelRequest(id=job))
        return answer

    # The peer itself.

    def peers(self) -> Rows[answers.PeerRow]:
        """Lists the connections to other peers."""
        return Rows(self._ask(requests.PeersRequest()))

    def status(self) -> answers.StatusAnswer:
        """The state of this peer, and what it is doing."""
        answer: answers.StatusAnswer = self._ask(requests.StatusRequest())
        return answer

    def close(self) -> None:
        """Ends the use of the peer, and whatever is asked of it.

        If it was started for this, this waits for its end, unless others use it.
        """
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (str(self.home), self._trackers, self._peers, self._network)

    def __repr__(self) -> str:
        return f"Peer({str(self.home)!r})"

    def _known(self, more: Iterable[str]) -> tuple[str, ...]:
        return (*self._peers, *given.texts("peers", more))

    def _ask(self, request: AnyRequest, on_progress: OnProgress | None = None) -> Any:
        def told(event: Update | Note) -> None:
            match event:
                case Update(progress):
                    if on_progress is not None:
                        on_progress(progress)
                case Note(text):
                    logger.warning("%s", text)

        return self._session.perform(Call(request), told)


def _as_it_is(answer: JobAnswer) -> JobAnswer:
    return answer
