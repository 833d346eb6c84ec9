"""One fetch of a peer's user: what is kept of it, what is seen of it, and how it ended."""

from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from p2p.concurrency.throttle import Throttle
from p2p.control import answers
from p2p.control.protocol import Failure, GetRequest
from p2p.core.shares.fetch_states import UNDER_WAY
from p2p.errors import ShoalError
from p2p.ids import short, to_text
from p2p.progress import Progress
from p2p.store.kept_fetches import KeptFetch


class UserFetch:
    """One fetch, and its task if it is under way here."""

    def __init__(self, kept: KeptFetch, *, keep_serving: bool) -> None:
        self.kept = kept
        self.keep_serving = keep_serving
        self.is_new = False
        self.watchers = 0
        """How many commands follow it that it should not outlive."""
        self.renew()

    def renew(self) -> None:
        """Prepares it to begin, also again."""
        self.request = msgspec.convert(self.kept.request, GetRequest)
        self.progress = Progress(state="waiting for its turn", name=self.kept.name)
        self.throttle = Throttle(self.request.limit_bytes_per_s)
        self.progress.size, self.progress.done = self.kept.size, self.kept.done
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.failure: ShoalError | None = None
        self.answer: answers.GetAnswer | None = None

    def seen(self) -> KeptFetch:
        """What is to be kept of it now."""
        progress = self.progress
        return self.kept._replace(name=progress.name or self.kept.name, size=progress.size, done=progress.done)

    def add(self, peers: Sequence[str]) -> None:
        """Has these peers asked whenever it begins."""
        more = [peer for peer in peers if peer not in self.request.peers]
        self._change(msgspec.structs.replace(self.request, peers=(*self.request.peers, *more)))

    def limit(self, bytes_per_s: int) -> None:
        """Limits it, now and whenever it begins; 0 means no limit."""
        self._change(msgspec.structs.replace(self.request, limit_bytes_per_s=bytes_per_s))
        self.throttle.change(bytes_per_s)

    def _change(self, request: GetRequest) -> None:
        self.request = request
        self.kept = self.kept._replace(request=msgspec.to_builtins(request))

    def has_same_files(self, other: "UserFetch") -> bool:
        """Whether both get the same share to the same folder."""
        share = self.kept.share
        return share is not None and (share, self.request.out) == (other.kept.share, other.request.out)

    def errand(self) -> answers.Errand:
        """What is said of it where it might as well be a job."""
        return answers.Errand("fetch", to_text(self.kept.id), self.progress.name or self.kept.name, self.kept.state)

    def row(self, *, running: bool) -> answers.FetchRow:
        """It in the list of fetches, while it is `running` or not."""
        kept, progress = self.seen(), self.progress
        why = kept.outcome["text"] if kept.state == "failed" else ""
        paths = kept.outcome["paths"] if kept.state == "done" else ()
        return answers.FetchRow(
            id=to_text(kept.id),
            name=kept.name,
            link=self.request.link,
            out=self.request.out,
            state=kept.state,
            doing=progress.state if running else "",
            background=kept.background and kept.state in UNDER_WAY,
            size=kept.size,
            done=kept.done,
            received=progress.received,
            sources=progress.sources if running else 0,
            rate=progress.rate if running else 0.0,
            trouble=progress.trouble if running else "",
            created=kept.created,
            ending=why or None,
            paths=tuple(paths),
        )

    def outcome(self) -> answers.GetAnswer:
        """The answer, once it has ended. Raises ShoalError if it is not done."""
        if self.answer is not None:
            return self.answer
        if self.failure is not None:
            raise self.failure
        match self.kept.state:
            case "done":
                return msgspec.convert(self.kept.outcome, answers.GetAnswer)
            case "failed":
                raise Failure(**self.kept.outcome).error()
            case "paused":
                raise ShoalError(f"The fetch is paused. `shoal resume {short(self.kept.id)}` goes on with it.")
            case _:
                raise ShoalError("The fetch waits for a node. Start one with `shoal node`.")

    def kept_answer(self) -> Any:
        """What is kept of the answer: not what would take much room."""
        assert self.answer is not None
        paths = self.answer.paths[: answers.MAX_FILES_NAMED]
        return msgspec.to_builtins(msgspec.structs.replace(self.answer, paths=paths, mapped=(), skipped=()))
