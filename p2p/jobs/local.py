"""Runs a whole job in this process, for `--local`.

There is no guest and no sandbox, so the job's code can do whatever the user can. Partitions, the order of records, and
their bytes are the same as in guests. Only bytes that this process itself made are decoded.
"""

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from p2p.jobs.cutting import DEFAULT_PARTITION_BYTES, Piece, at_lines, by_file, by_size, driven, share_of
from p2p.jobs.dataset import Input
from p2p.jobs.faults import JobFault
from p2p.jobs.files import Files, served, sources
from p2p.jobs.guest import Importer
from p2p.jobs.planning import Plan, Settings
from p2p.jobs.reviews import Reviews
from p2p.jobs.session import Answer, Session
from p2p.jobs.sources import OF_BYTES, OF_TEXT, Source
from p2p.jobs.unpacking import HEAD_BYTES, form_of, not_utf8, read_whole

DEFAULT_SETTINGS = Settings(partitions=8, reduce_partitions=8)


class _File(NamedTuple):
    name: str
    path: Path
    size: int
    form: str
    """How it is stored: see `unpacking.form_of`."""


Save = Callable[[int, int, bytes], None]
"""Saves one file of the result: action, partition, bytes."""
Skips = Callable[[tuple[int, int, int], int, Sequence[dict[str, Any]]], None]
"""Records that a unit, at an action, stage and partition, has skipped so many records, with reports of the first."""
Tell = Callable[[str, int, int], None]
"""Reports how far a stage has got: its label, units done, units in total."""


def run(
    files: Mapping[str, bytes],
    inputs: Sequence[Path],
    arguments: Mapping[str, Any],
    *,
    save: Save,
    entry: str = "job.py",
    settings: Settings = DEFAULT_SETTINGS,
    partition_bytes: int = DEFAULT_PARTITION_BYTES,
    seed: int = 0,
    is_drawn: bool = True,
    tell: Tell = lambda label, done, units: None,
    note: Callable[[str], None] = lambda text: None,
    skips: Skips = lambda unit, count, reports: None,
) -> Answer:
    """Runs the job that consists of `files` to its end, and returns what it returned.

    `seed` and `is_drawn` are as in `Session`. `note` gets what the job's user should know.

    Raises JobFault, PlanMismatch, Unreadable, OSError if an input cannot be read, and what `save` and `skips` raise.
    """
    read = [_files(path.absolute()) for path in inputs]
    named = [
        Input(path.name, sum(file.size for file in found), len(found)) for path, found in zip(inputs, read, strict=True)
    ]
    told: set[str] = set()

    def once(about: str, text: str) -> None:
        if about not in told:
            told.add(about)
            note(text)

    state = random.getstate()
    try:
        every = Files(files)
        with Importer(every, entry).installed(), served(every), redirect_stdout(sys.stderr):
            session = Session(
                sources(files, entry),
                inputs=named,
                arguments=arguments,
                settings=settings,
                seed=seed,
                is_drawn=is_drawn,
            )

            def carry_out(plan: Plan) -> bytes:
                return _carry_out(plan, session, read, partition_bytes, save, tell, once, skips)

            following = _Following(session, carry_out, note)
            session.follow(following.serve)
            assert following.answer is not None
            return following.answer
    finally:
        random.setstate(state)


class _Following:
    """Follows a job from action to action, and carries each out."""

    def __init__(self, session: Session, carry_out: Callable[[Plan], bytes], note: Callable[[str], None]) -> None:
        self._session, self._carry_out, self._note = session, carry_out, note
        self._reviews = Reviews()
        self._reviewed: Plan | None = None
        """The plan that is to be made again before anything else."""
        self._plan: Plan | None = None
        self._is_carried_out = True
        self.answer: Answer | None = None

    def serve(self) -> bool:
        """As `session.Serve`."""
        session = self._session
        while True:
            if (again := self._reviewed) is not None:
                if not session.confirm(again.number, again.digest):
                    return True
                self._reviews.ends(monotonic())
                self._reviewed = None
            if self.answer is not None:
                return False
            if self._plan is None or self._is_carried_out:
                if not session.is_at_next():
                    return True
                self._next(session.plan())
            else:
                session.learn(session.known, self._carry_out(self._plan))
                self._is_carried_out = True

    def _next(self, found: Plan | Answer) -> None:
        for text in self._session.notes:
            self._note(text)
        self._session.notes.clear()
        if isinstance(found, Answer):
            self.answer = found
            self._reviewed = self._plan if self._reviews.is_missing(monotonic()) else None
        else:
            self._plan, self._is_carried_out = found, False
            self._reviewed = found if self._reviews.begins(monotonic()) else None


def _carry_out(
    plan: Plan,
    session: Session,
    files: list[list[_File]],
    partition_bytes: int,
    save: Save,
    tell: Tell,
    once: Callable[[str, str], None],
    skips: Skips,
) -> bytes:
    """Runs all units of one action, stage by stage. Returns the action's result.

    `once` tells the user something, unless something about the same was told before.
    """
    made: list[list[bytes]] = []
    for stage in plan.stages:
        if isinstance(stage.origin, Source):
            units = _sources(stage.origin, files, partition_bytes, session.settings.partitions)
            if stage.origin.name in OF_TEXT:
                for text in read_whole((file.name, file.form) for file in _chosen(stage.origin, files)):
                    once(text, text)
        else:
            parts = range(plan.partitions(stage, session.settings) or 0)
            units = [((), [blobs[part] for blobs in made]) for part in parts]
        made = []
        for partition, (source, given) in enumerate(units):
            blobs = given() if callable(given) else given
            try:
                output = session.unit(plan.number, stage.number, partition, plan.digest, source, blobs)
            except JobFault as fault:
                fault.unit = stage.number, partition, plan.number
                raise
            made.append(output.blobs)
            if output.skipped:
                skips((plan.number, stage.number, partition), output.skipped, output.skips)
            if output.replaced[0]:
                once("utf-8", not_utf8(source[output.replaced[1]][0], output.replaced[0]))
            tell(stage.label, partition + 1, len(units))
    if plan.action.name == "save":
        for partition, blobs in enumerate(made):
            save(plan.number, partition, blobs[0])
        made = []
    return session.finish(plan.number, plan.digest, [blobs[0] for blobs in made])


Unit = tuple[Sequence[Any], Callable[[], list[bytes]] | list[bytes]]
"""A unit's part of its source, and its blobs or a function that reads them."""


def _sources(source: Source, inputs: list[list[_File]], partition_bytes: int, partitions: int) -> list[Unit]:
    if source.name not in OF_BYTES:
        count = source.total
        shares = [share_of(part, min(partitions, count), count) for part in range(min(partitions, count))]
        return [(share, []) for share in shares]
    files = _chosen(source, inputs)
    sizes = [file.size for file in files]
    if source.name == "files":
        return [_unit(files, pieces) for pieces in by_file(sizes, partition_bytes)]
    cut = by_size(sizes, partition_bytes, {number for number, file in enumerate(files) if file.form})
    return [_unit(files, [_whole_lines(files[piece.file], piece) for piece in pieces]) for pieces in cut]


def _chosen(source: Source, inputs: list[list[_File]]) -> list[_File]:
    """The files that a source of bytes reads."""
    return [file for found in inputs for file in found] if source.input is None else inputs[source.input]


def _unit(files: list[_File], pieces: list[Piece]) -> Unit:
    told = [
        (files[piece.file].name, piece.offset, piece.size, piece.size == files[piece.file].size) for piece in pieces
    ]
    return told, lambda: [_read(files[piece.file], piece.offset, piece.size) for piece in pieces]


def _whole_lines(file: _File, piece: Piece) -> Piece:
    return driven(at_lines(piece, file.size), lambda offset, size: _read(file, offset, size))


def _read(file: _File, offset: int, size: int) -> bytes:
    with file.path.open("rb") as opened:
        opened.seek(offset)
        data = opened.read(size)
    if len(data) != size:
        raise OSError(f"{file.path} has become shorter since the job began")
    return data


def size_of(path: Path) -> int:
    """How many bytes an input has. Raises OSError."""
    return sum(file.size for file in _files(path))


def _files(path: Path) -> list[_File]:
    if path.is_file():
        return [_file(path.name, path)]
    # As in a share: no symbolic links, and paths that begin with the folder's name.
    found = sorted(part.relative_to(path) for part in path.rglob("*") if part.is_file() and not part.is_symlink())
    if not found:
        raise FileNotFoundError(f"{path}: no such file, or a folder without files")
    return [_file(name.as_posix(), path / name) for name in found]


def _file(name: str, path: Path) -> _File:
    with path.open("rb") as opened:
        head, size = opened.read(HEAD_BYTES), path.stat().st_size
    if head and not size:
        raise OSError(f"{path} has content but no size, as in /proc: copy it first")
    return _File(name, path, size, form_of(head))
