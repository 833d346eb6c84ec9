"""The jobs of a peer, as a program runs them."""

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET

from p2p import extras, paths
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
from p2p.log import printable
from p2p.progress import Progress
from p2p.site.shown import Rows

if TYPE_CHECKING:
    from p2p.client.executor import Executor

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Value = TypeVar("Value")
OnProgress = Callable[[Progress], None]
"""Is called several times a second while something is under way."""


class Asking:
    """Asks the peer of a session."""

    _session: Session
    _peers: tuple[str, ...]
    """Others that are asked in any case."""

    def _known(self, more: Iterable[str]) -> tuple[str, ...]:
        return (*self._peers, *given.texts("peers", more))

    def _ask(self, request: AnyRequest, on_progress: OnProgress | None = None) -> Any:
        def told(event: Update | Note) -> None:
            match event:
                case Update(progress):
                    if on_progress is not None:
                        on_progress(progress)
                case Note(text):
                    logger.warning("%s", printable(text))

        return self._session.perform(Call(request), told)


class Jobs(Asking):
    """What a peer can do about jobs. Their ids may be shortened to a beginning that no other has."""

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
        background: bool = False,
    ) -> Running[JobAnswer]:
        """Runs a job on the machines of volunteers. Returns at once; `Running.result` waits for its end.

        In the background, `shoal node` of the home runs it, whatever becomes of this program: returns once it has
        begun. `job` follows it, from any program.

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
        request = requests.RunRequest(wish=spec)
        if background:
            return self.job(self._ask(requests.BackgroundRequest(request=request)).id)
        return Running(self, self._session, request, _as_it_is)

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
            raise extras.missing("joblib", "joblib") from error

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


def _as_it_is(answer: JobAnswer) -> JobAnswer:
    return answer
