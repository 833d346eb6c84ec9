"""This peer's own jobs: begun, gone on with after an interruption, cancelled; and what they left.

    begin --> under way --(it ends)--> done | failed           its journal is cleared, its line stays in the list
    under way --(Ctrl-C, nobody to work, disk full, kill)--> stopped --resume--> under way
    under way, stopped --cancel--> cancelled

A job's folder has its bundle, large outputs and what it saves. The shares that are made for it, bundle and inputs, go
when it ends. Who sets up, runs or ends a job has claimed it, from the first moment on: nobody else does meanwhile.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2p.compute.owner import saved_files as saved
from p2p.compute.owner.log import PLAN
from p2p.compute.owner.run import Ending, Run
from p2p.compute.owner.setup import Resumable, Setup, folder_of, set_up, set_up_again
from p2p.compute.owner.view import View
from p2p.control.protocol import Wish
from p2p.control.status import link_of
from p2p.errors import ConfigError, JobError, ShoalError, StorageError
from p2p.ids import ShareId, from_text, short, to_text
from p2p.peer_context import Local
from p2p.progress import Progress
from p2p.sharing import share
from p2p.store.journal import RUNNING, Listed, Logged


@dataclass
class Underway:
    """A job that runs now."""

    view: View
    run: Run


@dataclass
class Claim:
    """A job that somebody is at; `scope` stops that, `given_up` is set once it has stopped."""

    scope: trio.CancelScope
    given_up: trio.Event = field(default_factory=trio.Event)


@contextmanager
def _claimed(local: Local, job: bytes) -> Iterator[None]:
    """Raises ConfigError while somebody else is at the job, JobError where it is cancelled."""
    if job in local.claims:
        raise ConfigError(f"Job {short(job)} is under way already.")
    with trio.CancelScope() as scope:
        claim = local.claims[job] = Claim(scope)
        try:
            yield
        finally:
            del local.claims[job]
            claim.given_up.set()
    if scope.cancelled_caught:
        raise JobError("The job was cancelled.")


async def begin(local: Local, wish: Wish, progress: Progress) -> dict[str, Any]:
    """Runs a job to its end; what `shoal run` answers.

    Raises JobError for the job's own fault; NotFound when nobody works for `wait_s`, and StorageError, after which it
    can be resumed; ConfigError for what was asked for wrongly.
    """
    job = os.urandom(32)
    if wish.out is not None:
        await trio.to_thread.run_sync(saved.check_out, Path(wish.out))
    with _claimed(local, job):
        setup, kept = await _begin(local, wish, job, progress)
        progress.note(f"job {short(job)}: if it is interrupted, `shoal run --resume {short(job)}` goes on with it")
        return await _run(local, setup, kept, progress)


async def _begin(local: Local, wish: Wish, job: bytes, progress: Progress) -> tuple[Setup, Resumable]:
    made: list[ShareId] = []
    try:
        setup = await set_up(local, wish, job, made, progress)
        kept = Resumable(
            wish,
            setup.runtime.name,
            setup.runtime.digest.hex(),
            to_text(setup.bundle),
            setup.token.hex(),
            tuple(to_text(one.share) for one in setup.inputs),
            tuple(map(to_text, made)),
            setup.partition_bytes,
        )
        await trio.to_thread.run_sync(local.journal.begin, job, msgspec.to_builtins(kept))
    except BaseException:
        with trio.CancelScope(shield=True):
            await _clear(local, folder_of(local, job), made)
        raise
    return setup, kept


async def resume(local: Local, text: str, progress: Progress, peers: Sequence[str] = ()) -> dict[str, Any]:
    """Goes on with a job that was stopped, as it was asked for, with these volunteers too. Raises as `begin`."""
    job = (await _find(local, text)).id
    with _claimed(local, job):
        listed = await _find(local, to_text(job))  # as it is now that nobody else changes it
        if listed.state != RUNNING:
            raise ConfigError(f"Job {short(job)} is {listed.state}: there is nothing left to do.")
        kept = msgspec.convert(listed.description, Resumable)
        wish = msgspec.structs.replace(kept.wish, peers=(*kept.wish.peers, *peers))
        kept = msgspec.structs.replace(kept, wish=wish)
        setup = await set_up_again(local, job, kept, progress)
        return await _run(local, setup, kept, progress)


async def _run(local: Local, setup: Setup, kept: Resumable, progress: Progress) -> dict[str, Any]:
    job, name = setup.id, Path(kept.wish.path).name
    view = View(job=to_text(job), name=name, runtime=setup.runtime.name)
    progress.view, progress.state, progress.name = view, "running", name
    started = trio.current_time()
    state, ending = "", ""
    underway = local.jobs[job] = Underway(view, Run(local, setup, view))
    local.news.ring()
    try:
        answer = await _answer(local, kept, await underway.run.all(), job)
        state = "done"
    except JobError as error:
        state, ending = "failed", str(error)
        raise
    finally:
        with trio.CancelScope(shield=True):
            if state:
                await _end(local, kept, job, state, ending)
        del local.jobs[job]
        local.news.ring()
    seconds = round(trio.current_time() - started, 3)
    return {"job": view.job, "state": "done", **answer, "seconds": seconds, "units": view.units_done}


async def cancel(local: Local, text: str) -> bytes:
    """Ends a job, or forgets one that was stopped; its id. Raises ConfigError."""
    job = (await _find(local, text)).id
    stopped = False
    while (claim := local.claims.get(job)) is not None:
        if job in local.jobs:
            local.jobs[job].run.over = True
        claim.scope.cancel()
        await claim.given_up.wait()
        stopped = True
    # Once begun it is seen through.
    with _claimed(local, job), trio.CancelScope(shield=True):
        listed = await _find(local, to_text(job))
        if listed.state == RUNNING:
            await _end(local, msgspec.convert(listed.description, Resumable), job, "cancelled", "")
        elif not stopped or listed.state != "cancelled":
            raise ConfigError(f"Job {short(job)} is {listed.state} already.")
    return job


async def listed(local: Local) -> list[dict[str, Any]]:
    """The jobs under way, those that were stopped, and the last ones that ended; the newest first."""
    rows = []
    for one in await trio.to_thread.run_sync(local.journal.jobs):
        underway = local.jobs.get(one.id)
        view = underway.view if underway is not None else View(job=to_text(one.id), name=_name(one))
        row = {**msgspec.to_builtins(view), "created": one.created, "ending": one.ending}
        rows.append(row if underway is not None else row | {"state": "stopped" if one.state == RUNNING else one.state})
    return rows


async def logs(local: Local, text: str, unit: tuple[int, int, int] | None) -> list[dict[str, Any]]:
    """What the units of a job printed: rows by action, stage, partition. Raises ConfigError."""
    listed = await _find(local, text)
    rows = await trio.to_thread.run_sync(local.journal.logs, listed.id, unit)
    return list(map(_logged, rows))


def _logged(one: Logged) -> dict[str, Any]:
    return {
        "unit": "plan" if one.stage == PLAN else f"{one.action}.{one.stage}.{one.partition}",
        "peer": to_text(one.peer),
        "failure": one.failure,
        "text": one.text.decode(errors="replace"),
    }


async def _find(local: Local, text: str) -> Listed:
    """The one job whose id starts so. Raises ConfigError."""
    rows = await trio.to_thread.run_sync(local.journal.jobs)
    matching = [row for row in rows if text and to_text(row.id).startswith(text.lower())]
    if len(matching) != 1:
        raise ConfigError(f"{len(matching) or 'No'} jobs have an id that starts with {text!r}: see `shoal jobs`.")
    return matching[0]


def _name(one: Listed) -> str:
    return Path(msgspec.convert(one.description, Resumable).wish.path).name


# Ends.


async def _answer(local: Local, kept: Resumable, ending: Ending, job: bytes) -> dict[str, Any]:
    """What the user gets; files that the job saved go to `out`, else into a share."""
    answer: dict[str, Any] = {"result": ending.value}
    if ending.saved is None:
        return answer
    if kept.wish.out is not None:
        paths = await trio.to_thread.run_sync(_move_all, ending.saved, Path(kept.wish.out))
        return answer | {"paths": paths}
    name = f"{Path(kept.wish.path).stem}-{short(job)}"
    folder = local.home / "results" / name
    await trio.to_thread.run_sync(_move_all, ending.saved, folder)
    done = await share.share(local, [folder], name, Progress(), unlisted=True)
    link = link_of(local, done.share_id, done.name, done.bytes)
    return answer | {"link": link, "folder": str(folder)}


async def _end(local: Local, kept: Resumable, job: bytes, state: str, ending: str) -> None:
    """It is over: what was kept to go on with it goes."""
    with suppress(StorageError):
        await trio.to_thread.run_sync(local.journal.end, job, state, ending)
    await _clear(local, folder_of(local, job), [ShareId(from_text(text)) for text in kept.made])


async def _clear(local: Local, folder: Path, made: Sequence[ShareId]) -> None:
    for one in made:
        with suppress(ShoalError):
            await share.unshare(local, one)
    await trio.to_thread.run_sync(shutil.rmtree, folder, True)


def _move_all(folder: Path, out: Path) -> list[str]:
    """Moves the files of a folder; all of the result, with what an earlier try has moved. Raises StorageError."""
    try:
        for where, _, names in os.walk(folder):
            target = out / Path(where).relative_to(folder)
            target.mkdir(parents=True, exist_ok=True)
            for name in names:
                shutil.move(os.path.join(where, name), target / name)
        return [str(path) for path in saved.files_in(out)]
    except OSError as error:
        raise StorageError(
            f"Cannot write the result to {out}: {error.strerror}. Resume the job once it can."
        ) from error
