"""`shoal sql`: a query runs in a thread of this process, so that Ctrl-C ends it whatever it waits for."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.files import Peers, Wait
from p2p.commandline.options import Global, as_path, networked

if TYPE_CHECKING:
    from p2p.client.sql.engine import Engine
    from p2p.client.sql.results import Format, Table
    from p2p.config import Settings
    from p2p.wire.link import Url

MAX_ROWS = 100
MAX_CELL_CHARS = 200
MEMORY_PART = 2
"""What fraction of the machine's memory a query may take, unless the user says otherwise: one half."""
INTERRUPT_TIMEOUT_S = 2.0
"""How long a query is given to end by itself: it cannot while it waits for others."""
INTERRUPT_INTERVAL_S = 0.05


@networked
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="SQL, with links in single quotes: 'LINK/*.parquet'.")],
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LINK", help="Lets the query write 'NAME/...' for this share; repeatable."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|json|jsonl|parquet",
            help="How to print or save the answer. \\[default: that of --out; else a table on a terminal, or CSV]",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the answer in this file.", parser=as_path)
    ] = None,
    allow: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="A folder in which the query may read and write files; repeatable.", parser=as_path
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The most memory to use. \\[default: half of the machine's]")
    ] = None,
    peers: Peers = None,
    wait: Wait = None,
    *,
    settings: "Settings",
) -> None:
    """Query files in shares by SQL (DuckDB). Only the parts of them that it needs are fetched."""
    from p2p.client.sql.literals import named_shares
    from p2p.control.protocol import READ_WAIT_S
    from p2p.formats import parse_size, parse_time
    from p2p.paths import to_make

    chosen = _format(form, out)
    target = None if out is None else to_make(out)
    if target is not None and target.is_dir():
        from p2p.errors import ConfigError

        raise ConfigError(f"{out} is a folder. Give the name of a file.")
    sys.exit(
        _Run(
            query,
            named_shares(share or ()),
            chosen,
            target,
            [*(allow or ())],
            _memory() if memory is None else parse_size(memory),
            tuple(peers or ()),
            READ_WAIT_S if wait is None else parse_time(wait),
            settings,
        ).perform()
    )


def _format(given: str | None, out: Path | None) -> "Format | None":
    from p2p.client.sql.results import FORMATS, format_of
    from p2p.errors import ConfigError

    if given is not None and given not in FORMATS:
        raise ConfigError(f"--format is one of {', '.join(FORMATS)}.")
    chosen: Format | None = given or (None if out is None else format_of(out))  # type: ignore[assignment]
    if out is not None and chosen is None:
        raise ConfigError(f"What is {out.name} to be? Add --format, one of {', '.join(FORMATS)}.")
    if chosen == "parquet" and out is None:
        raise ConfigError("Parquet is not printed. Save it: --out FILE.parquet")
    return chosen


def _memory() -> int:
    import psutil

    total: int = psutil.virtual_memory().total
    return total // MEMORY_PART


class _Run:
    """One query, from the options to the exit code."""

    def __init__(
        self,
        query: str,
        shares: "dict[str, Url]",
        form: "Format | None",
        out: Path | None,
        allow: list[Path],
        memory_bytes: int,
        peers: tuple[str, ...],
        wait_s: float,
        settings: "Settings",
    ) -> None:
        self._query = query
        self._shares = shares
        self._form = form
        self._out = out
        self._allow = allow
        self._memory_bytes = memory_bytes
        self._peers = peers
        self._wait_s = wait_s
        self._settings = settings
        self._engine: Engine | None = None
        self._failure: BaseException | None = None
        self._ended = threading.Event()

    def perform(self) -> int:
        """Performs the query. Returns the exit code. Raises what goes wrong."""
        from p2p.commandline.asking import DONE, NOBODY
        from p2p.commandline.terminal import INTERRUPTED
        from p2p.concurrency.ending import ending_signals
        from p2p.errors import NotFound
        from p2p.log import explain

        for number in ending_signals():
            signal.signal(number, signal.default_int_handler)
        try:
            threading.Thread(target=self._work, name="shoal-sql", daemon=True).start()
            self._ended.wait()
        except KeyboardInterrupt:
            self._abandon(INTERRUPTED)
        if isinstance(self._failure, NotFound):
            return explain(self._failure, NOBODY)
        if self._failure is not None:
            raise self._failure
        return DONE

    def _abandon(self, code: int) -> None:
        """Ends the query and this process."""
        deadline = time.monotonic() + INTERRUPT_TIMEOUT_S
        with suppress(KeyboardInterrupt):
            while not self._ended.wait(INTERRUPT_INTERVAL_S) and time.monotonic() < deadline:
                if self._engine is not None:
                    self._engine.interrupt()
        if not self._ended.is_set():
            if self._engine is not None:
                shutil.rmtree(self._engine.temp, ignore_errors=True)
            self._drop_part()
        os._exit(code)  # the query may still wait for others, in a thread that nobody can end

    def _work(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._failure = error
        finally:
            self._ended.set()

    def _run(self) -> None:
        from p2p import extras
        from p2p.client.session import Session
        from p2p.client.sql.engine import open_engine

        try:
            from p2p.client.filesystem.system import ShoalFileSystem
        except ImportError:
            raise extras.missing("fsspec", "sql") from None
        with ExitStack() as used:
            session = Session(Global.home, self._settings)
            used.callback(session.close)
            session.reach()
            system = ShoalFileSystem(
                Global.home, peers=self._peers, wait_s=self._wait_s, only_used=True, skip_instance_cache=True
            )
            used.callback(system.close)
            out = None if self._out is None else self._part()
            engine = self._engine = used.enter_context(open_engine(system, self._allow, self._memory_bytes, out))
            self._answer(engine)

    def _answer(self, engine: "Engine") -> None:
        from p2p.client.sql import results
        from p2p.errors import ConfigError

        *first, last = engine.statements(self._query, self._shares) or [None]
        if last is None:
            raise ConfigError("The query is empty.")
        for statement in first:
            engine.perform(statement)
        selected = engine.selected(last)
        form = self._form or (None if sys.stdout.isatty() else "csv")
        if selected is None:
            if self._form is not None:
                raise ConfigError("--format and --out are for a query that selects. This one does not.")
            _show(results.of_cursor(engine, engine.perform(last), MAX_ROWS))
        elif self._out is not None and form is not None:
            part = self._part()
            try:
                results.save(engine, selected, form, part)
                os.replace(part, self._out)
            finally:
                self._drop_part()
        elif form is None:
            _show(results.table(engine, selected, MAX_ROWS))
        else:
            printed = _cleaned if sys.stdout.isatty() else str
            _print(results.lines(engine, selected, form), printed)

    def _part(self) -> Path:
        assert self._out is not None
        return self._out.with_name(f".{self._out.name}.{os.getpid()}.part")

    def _drop_part(self) -> None:
        if self._out is not None:
            self._part().unlink(missing_ok=True)


def _show(table: "Table") -> None:
    from p2p.commandline import tables
    from p2p.commandline.terminal import note
    from p2p.formats import shortened

    if table.columns:
        rows = [["NULL" if cell is None else shortened(cell, MAX_CELL_CHARS) for cell in row] for row in table.rows]
        tables.answered(table.columns, rows, table.numbers)
    if table.is_cut:
        note(f"These are the first {MAX_ROWS} rows. --format csv or --out FILE takes all.")


def _print(lines: Iterator[str], printed: Callable[[str], str]) -> None:
    for line in lines:
        sys.stdout.write(printed(line) + "\n")
    sys.stdout.flush()


def _cleaned(line: str) -> str:
    from p2p.log import printable

    return printable(line)
