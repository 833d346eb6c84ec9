"""`ShoalFileSystem`: shares as a file system of fsspec, read-only."""

import errno
import json
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlencode, urlsplit

from fsspec import AbstractFileSystem
from fsspec.spec import make_instance

from p2p import config, ids
from p2p.client.filesystem import addresses
from p2p.client.filesystem.ahead import ReadAhead
from p2p.client.filesystem.connections import Answer, Connections
from p2p.client.filesystem.file import ShoalFile
from p2p.errors import ConfigError
from p2p.paths import to_make
from p2p.wire.link import Link, PointerLink, parse_any_link, parse_peer, parse_url

PARALLEL = 8
"""How many ranges are asked for at once."""
BLOCK_BYTES = 256 * 1024
WAIT_S = 30.0
SAVED = "application/octet-stream"
Info = dict[str, Any]


class ShoalFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Files of shares, at `shoal://<share id>/<path>` and `shoal://<name>@<peer id>/<path>`.

    What is at an address never changes, so what was listed is kept. A mutable link is followed once: all that one
    object reads is of one version, also in the processes to which it is pickled. `invalidate_cache` looks again.

    Raises FileNotFoundError if a share has no such path; TimeoutError, with the reason, if nobody has the share;
    ConnectionError if the peer stops midway; OSError for whatever else the peer says; ValueError for an address that
    is none.
    """

    protocol = "shoal"
    root_marker = ""
    cachable = True

    def __init__(
        self,
        home: str | Path | None = None,
        link: str | Iterable[str] = (),
        peers: Iterable[str] = (),
        wait_s: float = WAIT_S,
        versions: Mapping[str, str] | None = None,
        only_used: bool = False,
        **options: Any,
    ) -> None:
        """`home` is the folder of the peer that is asked; by default, that of the command line. If none runs there, one
        is started.

        `link` is one link or several: the peers and trackers that they name are asked for their shares. `peers` are
        asked for every share. `wait_s` is how long to wait while nobody has what is read. `versions` has the share for
        mutable links that were followed before. With `only_used`, only shares of `link` and `use` are read: for what
        asks to be read by addresses that others wrote.
        """
        super().__init__(**options)
        self.home = to_make(config.default_home() if home is None else Path(home).expanduser())
        self._connections = Connections(self.home, wait_s)
        weakref.finalize(self, self._connections.end)
        self._versions = dict(versions or {})
        self._peers = [("peer", str(parse_peer(text))) for text in peers]
        self._hints: dict[str, str] = {}
        """The query that names the peers and trackers of a share, by its root."""
        self._used: set[str] | None = set() if only_used else None
        self.use((link,) if isinstance(link, str) else link)
        self._infos: dict[str, Info] = {}
        self._ahead = ReadAhead(self._together)

    def use(self, links: Iterable[str]) -> None:
        """Asks the peers and trackers that more links name for their shares."""
        for text in links:
            named = parse_any_link(text)
            root = addresses.root_of(named)
            self._hints[root] = self._query(named)
            if self._used is not None:
                self._used.add(root)

    def __reduce__(self) -> Any:
        options = {**self.storage_options, "versions": self._versions} if self._versions else self.storage_options
        return make_instance, (type(self), self.storage_args, options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return addresses.as_path(str(path))

    def close(self) -> None:
        """Closes the connections to the peer, and lets it go. The next request connects again."""
        self._connections.close()

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forgets what was listed, and which versions mutable links led to."""
        self._versions.clear()
        self._infos.clear()
        self.dircache.clear()
        self._ahead.forget()
        super().invalidate_cache(path)

    # What there is.

    def info(self, path: str, **_: Any) -> Info:
        path = self._exact(path)
        if (known := self._infos.get(path)) is not None:
            return known
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        answer = self._asked("HEAD", path)
        tag, changed = answer.headers.get("etag"), answer.headers.get("last-modified")
        if tag is None:
            found = {"name": path, "size": 0, "type": "directory"}
        else:
            modified = parsedate_to_datetime(changed).timestamp() if changed is not None else None
            found = _of_file(path, int(answer.headers["content-length"]), tag.strip('"'), modified)
        self._infos[path] = found
        return found

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._exact(path)
        if not path:
            raise FileNotFoundError(errno.ENOENT, "Write shoal://, the id of a share, and the path of a folder")
        found = self.dircache[path] if path in self.dircache else self._listed(path)
        return list(found) if detail else [one["name"] for one in found]

    def _listed(self, path: str) -> list[Info]:
        if (known := self._infos.get(path)) is not None and known["type"] == "file":
            return [known]
        try:
            found = list(self._rows(path))
        except FileNotFoundError:
            known = self.info(path)
            if known["type"] == "file":
                return [known]
            raise
        self.dircache[path] = found
        self._infos.update((one["name"], one) for one in found)
        return found

    def _rows(self, path: str) -> Iterable[Info]:
        after: str | None = ""
        while after is not None:
            listing = json.loads(self._asked("GET", path, folder=True, after=after).body)
            for row in listing["rows"]:
                name = f"{path}/{addresses.encoded(row['name'])}"
                if row["kind"] == "file":
                    yield _of_file(name, row["size"], row["id"], row["modified"])
                else:
                    yield {"name": name, "size": 0, "type": "directory"}
            after = listing["after"]

    def walk(self, path: str, *rest: Any, **options: Any) -> Any:
        # fsspec takes every OSError for a folder that is not there, even if nobody has the share.
        self._asked("HEAD", addresses.split(self._exact(path))[0])
        return super().walk(path, *rest, **options)

    def exists(self, path: str, **_: Any) -> bool:
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def modified(self, path: str) -> datetime:
        """When the file was changed last, if its share says so; else 1970: what never changes was always there."""
        return datetime.fromtimestamp(self.info(path).get("modified") or 0, UTC)

    def ukey(self, path: str) -> str:
        """The id of the file, which equal files have in common."""
        info = self.info(path)
        return str(info.get("id", info["name"]))

    # What is in files.

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        path = self._exact(path)
        if (start or 0) < 0 or (end or 0) < 0:
            size = self.info(path)["size"]
            start, end = (max(0, one + size) if one is not None and one < 0 else one for one in (start, end))
        begin = start or 0
        if end is not None and end <= begin:
            return b""
        headers = {} if end is None and not begin else {"Range": f"bytes={begin}-{'' if end is None else end - 1}"}
        answer = self._asked("GET", path, headers)
        if "etag" not in answer.headers and answer.status != 416:
            raise IsADirectoryError(errno.EISDIR, "This is a folder", path)
        return answer.body if answer.status != 416 else b""

    def small(self, path: str) -> bytes:
        """All of a small file, which may have been read ahead."""
        folder = path.rpartition("/")[0]
        rows = self.dircache.get(folder)
        found = self._ahead.read(path, folder, rows) if rows else None
        return self.cat_file(path) if found is None else found

    def _together(self, folder: str, before: str, count: int) -> bytes:
        """The small files of a folder that follow the one at the path `before`, one after another."""
        after = addresses.decoded(before.rpartition("/")[2])
        answer = self._asked("GET", folder, folder=True, after=after, count=count)
        return answer.body if answer.headers.get("content-type") == SAVED else b""  # a peer of before lists the folder

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        def get(path: str, start: int | None, end: int | None) -> bytes | Exception:
            try:
                return self.cat_file(path, start, end)
            except (OSError, ValueError) as error:
                if on_error == "return":
                    return error
                raise

        if max_gap is not None:
            raise NotImplementedError("max_gap")
        each = [one if isinstance(one, list) else [one] * len(paths) for one in (starts, ends)]
        if len(paths) < 2:
            return [get(path, start, end) for path, start, end in zip(paths, *each, strict=True)]
        with ThreadPoolExecutor(min(PARALLEL, len(paths))) as pool:
            return list(pool.map(get, paths, *each))

    def _open(
        self, path: str, mode: str = "rb", block_size: Any = None, cache_options: Any = None, **options: Any
    ) -> ShoalFile:
        if mode != "rb":
            raise _unwritable()
        options.setdefault("cache_type", "sequential")
        size = block_size if isinstance(block_size, int) and block_size > 0 else BLOCK_BYTES
        return ShoalFile(self, self._exact(path), mode, size, cache_options=cache_options, **options)

    # What a share does not allow.

    def _refused(self, *_: Any, **__: Any) -> NoReturn:
        raise _unwritable()

    mkdir = makedirs = rmdir = touch = rm = rm_file = _rm = cp_file = mv = pipe = pipe_file = put = put_file = _refused

    # Asking.

    def _exact(self, path: str) -> str:
        if path in self._infos:
            return path
        return addresses.exact(self._strip_protocol(path))

    def _asked(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        folder: bool = False,
        **asked: str | int,
    ) -> Answer:
        root, names = addresses.split(path)
        target = "/".join(["/s", self._share(root), *(quote(name, safe="") for name in names)])
        query = "&".join(filter(None, (self._hints_of(root), urlencode({k: v for k, v in asked.items() if v}))))
        if folder or not names:
            target += "/"
        answer = self._connections.ask(method, f"{target}?{query}" if query else target, dict(headers or {}))
        if answer.status not in {200, 206, 416}:
            if method == "HEAD":  # whose answer has no words
                again = {"Range": "bytes=0-0", "Prefer": "wait=1"}  # it has been waited for
                answer = self._connections.ask("GET", f"{target}?{query}", again)
            raise _failure(answer)
        return answer

    def _share(self, root: str) -> str:
        """The id of the share to which the root of a path leads."""
        link = _link(root)
        if self._used is not None and addresses.root_of(link) not in self._used:
            raise PermissionError(errno.EACCES, f"{addresses.SCHEME}{root} is none of the shares that may be read here")
        if isinstance(link, Link):
            return ids.to_text(link.share_id)
        root = addresses.root_of(link)
        if (known := self._versions.get(root)) is None:
            target = f"/n/{ids.to_text(link.publisher)}/{quote(link.name, safe='')}/"
            answer = self._connections.ask("GET", f"{target}?{self._hints_of(root)}", {})
            if answer.status != 302:
                raise _failure(answer)
            location = unquote(urlsplit(answer.headers["location"]).path)
            known = self._versions.setdefault(root, location.split("/")[2])
        return known

    def _hints_of(self, root: str) -> str:
        if (known := self._hints.get(root)) is None:
            named = _link(root)
            known = self._hints.setdefault(root, self._hints.get(addresses.root_of(named)) or self._query(named))
        return known

    def _query(self, link: Link | PointerLink) -> str:
        hints = [("peer", str(hint)) for hint in link.peers] + [("tracker", url) for url in link.trackers]
        return urlencode(self._peers + hints)


def _link(root: str) -> Link | PointerLink:
    """What the root of a path names. Raises ValueError."""
    try:
        found = parse_url(addresses.SCHEME + root)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if found is None:
        raise ValueError(f"{root!r} is not a share: write shoal://<share id>/, or shoal://<name>@<peer id>/")
    return found.link


def _of_file(name: str, size: int, id: str, modified: float | None) -> Info:
    return {"name": name, "size": size, "type": "file", "id": id, "modified": modified}


def _failure(answer: Answer) -> OSError | ValueError:
    said = answer.body.decode(errors="replace").strip() or f"HTTP {answer.status}"
    makers: dict[int, Callable[[], OSError | ValueError]] = {
        400: lambda: ValueError(said),
        404: lambda: FileNotFoundError(errno.ENOENT, said),
        504: lambda: TimeoutError(errno.ETIMEDOUT, said),
    }
    return makers.get(answer.status, lambda: OSError(errno.EIO, said))()


def _unwritable() -> OSError:
    return OSError(errno.EROFS, "A share never changes, so it cannot be written to. Peer.share makes a new one")
