"""DuckDB behind a wall: a query reads shares, and reads and writes files in the folders that the user allows.

It can reach no other file, no network, no extension that is not built in, and no variable of this program; nor can it
change that.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from p2p import causes, extras
from p2p.client.filesystem.addresses import SCHEME
from p2p.client.sql.literals import Token, address_of, as_literal, rewritten, without_end
from p2p.errors import ConfigError, NotFound, ShoalError, StorageError
from p2p.wire.link import Url

TEMP_PART = 2
"""What fraction of the free disk the query may fill with what does not fit its memory: one half."""

_NUMBER = re.compile(r"^\[Errno \d+\] ")


class QueryError(ShoalError):
    """A query failed. The text is DuckDB's."""


class Selected(NamedTuple):
    """A query that selects: its text, and the names and types of its columns."""

    query: str
    columns: list[str]
    types: list[str]


class Engine:
    """A connection of DuckDB, for one query. `open_engine` makes it."""

    def __init__(self, duckdb: Any, connection: Any, system: Any, temp: Path) -> None:
        self._duckdb = duckdb
        self._connection = connection
        self._system = system
        self.temp = temp

    def statements(self, query: str, shares: Mapping[str, Url]) -> list[Any]:
        """The statements of a query, in which links are addresses. Raises ConfigError, QueryError."""
        with self.errors():
            changed = rewritten(query, self._tokens(query), shares, self._address)
            return list(self._connection.extract_statements(changed))

    def perform(self, statement: Any) -> Any:
        """Performs a statement, or the text of one. Returns the cursor of what it answers."""
        with self.errors():
            return self._connection.execute(statement)

    def selected(self, statement: Any) -> Selected | None:
        """What a statement selects, which is not computed yet; None if it is none that selects."""
        if statement.type != self._duckdb.StatementType.SELECT:
            return None
        query = without_end(statement.query, self._tokens(statement.query))
        with self.errors():
            relation = self._connection.sql(query)
            return Selected(query, list(relation.columns), list(map(str, relation.types)))

    def interrupt(self) -> None:
        """Ends what another thread performs, soon; nothing if that is over by now."""
        with suppress(self._duckdb.Error):
            self._connection.interrupt()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translates DuckDB's errors."""
        try:
            yield
        except self._duckdb.Error as error:
            raise _explained(str(error)) from error
        except TimeoutError as error:
            raise NotFound(_NUMBER.sub("", str(error))) from error
        except (OSError, ValueError) as error:
            raise QueryError(_NUMBER.sub("", str(error))) from error

    def _address(self, url: Url) -> str:
        self._system.use([str(url.link)])
        address = address_of(url)
        if url.path:
            return address
        found = self._system.ls(address)
        if len(found) != 1 or found[0]["type"] != "file":
            raise ConfigError("Write which files of the share you mean, as in 'LINK/*.parquet'. `shoal ls` shows them.")
        return f"{SCHEME}{found[0]['name']}"

    def _tokens(self, query: str) -> list[Token]:
        kinds = self._duckdb.token_type
        return [
            Token(begin, kind == kinds.string_const, kind == kinds.comment)
            for begin, kind in self._duckdb.tokenize(query)
        ]


@contextmanager
def open_engine(system: Any, allowed: Iterable[Path], memory_bytes: int, out: Path | None = None) -> Iterator[Engine]:
    """Makes an engine that reads shares by the file system, and reads and writes files in the folders `allowed`.

    It may also write `out`, whose folder is not allowed by that: who pastes a query saves its answer wherever they are.

    Raises ConfigError if DuckDB is not installed, or a folder is not there; StorageError.
    """
    duckdb = _duckdb()
    folders = [_folder(path) for path in allowed]
    try:
        temp = Path(tempfile.mkdtemp(prefix="shoal-sql-"))
    except OSError as error:
        raise StorageError(f"Cannot make a temporary folder: {causes.explained(error)}") from error
    try:
        connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_persistent_secrets": False,
                "python_enable_replacements": False,
                "memory_limit": f"{memory_bytes}B",
                "temp_directory": str(temp),
                "max_temp_directory_size": f"{shutil.disk_usage(temp).free // TEMP_PART}B",
            }
        )
        try:
            connection.register_filesystem(system)
            inside = [SCHEME, *(os.path.join(folder, "") for folder in (temp, *folders))]
            connection.execute(f"set allowed_directories = [{', '.join(map(as_literal, inside))}]")
            if out is not None:
                connection.execute(f"set allowed_paths = [{as_literal(_folder(out.parent) / out.name)}]")
            connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")
            yield Engine(duckdb, connection, system, temp)
        finally:
            connection.close()
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise extras.missing("DuckDB", "sql") from None
    return duckdb


def _folder(path: Path) -> Path:
    real = path.expanduser().resolve()
    if not real.is_dir():
        raise ConfigError(f"{path} is not a folder.")
    return real


def _explained(text: str) -> ShoalError:
    if "Permission Error: Cannot access" in text:
        path = text.partition('"')[2].partition('"')[0]
        return ConfigError(
            f"This query may not use {path}: it reads shares, and files in folders that are allowed. "
            "If you mean it, add --allow with its folder."
        )
    if "Traceback (most recent" in text:  # the file system's error, which DuckDB tells in this way
        kind, _, said = text.strip().splitlines()[-1].partition(": ")
        said = _NUMBER.sub("", said)
        return NotFound(said) if kind == TimeoutError.__name__ else QueryError(said)
    if text.startswith("Out of Memory Error"):
        return QueryError(text.splitlines()[0] + ". Give it more with --memory.")
    return QueryError(text.strip())
