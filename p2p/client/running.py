"""A job that volunteers work on while the program goes on."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Generic, Self, TypeVar

from p2p.client import forks
from p2p.client.call import Call
from p2p.client.session import Session
from p2p.compute.answers import JobAnswer, LogRow
from p2p.control.protocol import CancelRequest, LogsRequest, Note, ResultRequest, ResumeRequest, RunRequest, Update
from p2p.errors import ConfigError, JobError, PeerGone
from p2p.progress import Progress
from p2p.site.shown import Rows

LOOK_S = 1.0
Outcome = TypeVar("Outcome")


class Running(Generic[Outcome]):
    """A job under way, from `Peer.run`, `map`, `resume` or `job`; any thread may use it.

    `progress` is how far it was last; `notes` are what its user should know. Whatever interrupts `result`, such as
    Ctrl-C, stops a job from `run` or `resume` too: it is kept, and `Peer.resume` goes on with it. One from `map` is not
    kept. `sent` has the source of each global that went to volunteers with a function, by its name.
    """

    def __init__(
        self,
        peer: object,
        session: Session,
        request: RunRequest | ResumeRequest | ResultRequest,
        read: Callable[[JobAnswer], Outcome],
        sent: Mapping[str, str] | None = None,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`read` makes the result of the answer. `at_end` is called when the job has ended or was stopped."""
        self.sent = dict(sent or {})
        self._read, self._at_end = read, at_end
        self._peer = peer
        """The `Peer` of the session, which closes it when it is no longer used."""
        self.progress = Progress(state="looking at the job")
        self.notes: list[str] = []
        self._session = session
        self._known = "" if isinstance(request, RunRequest) else request.id
        self._call = Call(request)
        self._ended = threading.Event()
        self._outcome: list[Outcome] = []
        """The result, once there is one."""
        self._failure: BaseException | None = None
        self._is_cancelled = False
        self._updates: list[Callable[[], None]] = []
        """Update the tables of this job in a notebook."""
        session.reach()
        forks.inherited.add(self)
        threading.Thread(target=self._follow, name="shoal-job", daemon=True).start()

    @property
    def job(self) -> str:
        """The job's id, or as much of it as is known; empty until it has begun."""
        return self.progress.view.job if self.progress.view is not None else self._known

    @property
    def is_done(self) -> bool:
        """Whether `result` returns or raises at once."""
        return self._ended.is_set()

    def result(self, timeout: float | None = None) -> Outcome:
        """Waits for the end of the job. Returns its answer, in which `result` is what the job returned; from `map`,
        a list of what the function returned.

        Raises JobError for a job that failed or was cancelled; NotFound if nobody works on it for `wait_s`; ConfigError
        and StorageError; TimeoutError if it takes longer than `timeout` seconds: then it goes on.
        """
        with self._interrupted():
            ended = self.wait(timeout)
        if not ended:
            raise TimeoutError(f"The job is not done after {timeout} s. It goes on: ask again.")
        while self._updates:
            self._updates.pop()()
        if self._failure is not None:
            raise self._failure
        return self._outcome[0]

    def show(self) -> Self:
        """Waits for the end of the job, and shows how far it is: in a notebook as its table, in a terminal as bars.

        Whatever interrupts this has the effect that it has on `result`. Returns this, as in
        `peer.map(f, items).show().result()`.
        """
        from p2p.client import display

        with self._interrupted():
            display.watch(self)
        return self

    @contextmanager
    def _interrupted(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._call.hang_up()
            raise

    @property
    def outcome(self) -> Outcome | None:
        """What `result` returns, once there is something."""
        return self._outcome[0] if self._outcome else None

    @property
    def failure(self) -> BaseException | None:
        """What `result` raises, if it has ended so."""
        return self._failure

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end of the job, at most `timeout` seconds. Returns whether it has ended."""
        return _waited(self._ended, timeout)

    def stop(self) -> None:
        """Stops the job, and waits until it has. It is kept if it had begun: `Peer.resume` goes on with it.

        A job that `Peer.job` found is only no longer followed.
        """
        self._call.hang_up()
        self.wait()

    def cancel(self) -> None:
        """Ends the job for good, and waits until it has. Does nothing to a job that is done."""
        if self.is_done:
            return
        self._is_cancelled = True
        self.stop()
        if self._failure is not None and self.job:
            with suppress(ConfigError):  # it had ended, or is not kept
                self._session.perform(Call(CancelRequest(id=self.job)), _nothing)

    def logs(self) -> Rows[LogRow]:
        """What its units have printed. Raises ConfigError for a job that has not begun."""
        if not self.job:
            raise ConfigError("The job has not begun, so it has printed nothing.")
        return Rows(self._session.perform(Call(LogsRequest(id=self.job)), _nothing))

    def _follow(self) -> None:
        try:
            self._outcome.append(self._read(self._session.perform(self._call, self._told)))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the result
            self._failure = JobError("The job was cancelled.") if self._is_cancelled else error
        try:
            self._at_end()
        finally:
            self._ended.set()

    def _told(self, event: Update | Note) -> None:
        match event:
            case Update(progress):
                self.progress = progress
            case Note(text):
                self.notes.append(text)

    def forked(self) -> None:
        """Ends it here: nobody follows it in this process."""
        if not self._ended.is_set():
            self._ended = threading.Event()
            self._failure = PeerGone("This job belongs to the process that forked this one. Ask for its result there.")
            self._ended.set()

    def _repr_html_(self) -> str:
        from p2p.client import display  # late, as only notebooks need it

        return display.html(self)

    def _ipython_display_(self) -> None:
        from p2p.client import display

        self._updates.append(display.show(self))

    def __repr__(self) -> str:
        state = self.progress.view.state if self.progress.view is not None else self.progress.state
        named = " ".join(word for word in ("Running", self.progress.name, self.job[:8]) if word)
        return f"<{named}: {'ended' if self.is_done else state}>"


def _waited(ended: threading.Event, timeout: float | None) -> bool:
    """Whether it was set within `timeout` seconds. A Ctrl-C that came just before it blocked has its effect too."""
    until = math.inf if timeout is None else time.monotonic() + timeout
    while not ended.wait(max(min(LOOK_S, until - time.monotonic()), 0)):
        if time.monotonic() >= until:
            return False
    return True


def _nothing(event: Update | Note) -> None:
    """Ignores what comes before an answer."""
