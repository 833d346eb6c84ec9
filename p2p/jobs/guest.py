"""The guest's side of the pipe: imports the job from its bundle, then answers one request after another.

The bootstrap runs this file by itself, before anything else of `p2p.jobs` can be imported. So this file imports the
rest of the package only once its importer is in place.
"""

import gc
import json
import linecache
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from p2p.jobs.files import Resources
    from p2p.jobs.session import Session
    from p2p.jobs.units import Output

ENTRY = "job"
_API = "p2p/"
_MAX_VALUE_BYTES = 512 * 1024
_NO_MEMORY = "The unit needs more memory than it may have. --unit-memory sets this limit."


class Importer:
    """Imports from files held in memory. The entry file is module `job`, whatever its name.

    It takes precedence over every other importer.
    """

    def __init__(self, files: Mapping[str, bytes], entry: str) -> None:
        self._entry = entry
        self.code: Mapping[str, CodeType] = {}
        """What files are compiled to, where that is known already."""
        self.serve(files)

    def serve(self, files: Mapping[str, bytes]) -> None:
        """Imports from these files from now on."""
        self.files = files
        modules = (path for path in files if path.endswith(".py") and path != self._entry)
        self._paths = {_module(path): path for path in modules} | {ENTRY: self._entry}
        self._packages = {_module(path[:end]) for path in self._paths.values() for end in _slashes(path)}
        self.loaded: Callable[[ModuleType], None] = lambda module: None
        """Called with each module that has been loaded."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self._paths and name not in self._packages:
            return None
        return ModuleSpec(name, self, origin=self._paths.get(name), is_package=name in self._packages)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        path = self._paths.get(module.__name__)
        if module.__name__ in self._packages:
            module.__path__ = [module.__name__.replace(".", "/")]
        if path is None:
            return  # a folder without __init__.py
        module.__file__ = path
        source = self.files[path]
        code = self.code.get(path) or compile(source, path, "exec", dont_inherit=True)
        if not path.startswith(_API):
            lines = source.decode("utf-8", "replace").splitlines(keepends=True)
            linecache.cache[path] = (len(source), None, lines, path)  # for tracebacks
        exec(code, module.__dict__)
        self.loaded(module)

    def get_data(self, path: str) -> bytes:
        """The contents of a file, for `pkgutil.get_data`. Raises OSError."""
        from p2p.jobs.files import opened

        return bytes(opened(self.files, path, "rb").read())

    def get_resource_reader(self, name: str) -> "Resources":
        """The folder of a module, for `importlib.resources`."""
        from p2p.jobs.files import Folder, Resources

        path = name.replace(".", "/") if name in self._packages else self._paths[name].rpartition("/")[0]
        return Resources(Folder(self.files, path))

    def find_distributions(self, context: Any) -> Iterator[Any]:
        """The packages that go along with the job, for `importlib.metadata`."""
        from p2p.jobs.files import Files

        wanted = None if context.name is None else _project(context.name)
        for one in self.files.distributions() if isinstance(self.files, Files) else ():
            if wanted is None or _project(one.metadata["Name"] or "") == wanted:
                yield one

    def inside(self, folder: str) -> "_Package":
        """What is in the folder of a package, for `pkgutil.iter_modules`. Raises ImportError if it is no package."""
        package = folder.replace("/", ".")
        if package not in self._packages:
            raise ImportError(f"no package of the job: {folder!r}")
        return _Package(package, {*self._paths, *self._packages}, self._packages)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Makes imports come from these files while the body runs; afterwards, no trace of them is left."""
        earlier = {name: sys.modules.pop(name) for name in self._names() if name in sys.modules}
        sys.meta_path.insert(0, self)
        sys.path_hooks.insert(0, self.inside)
        try:
            yield
        finally:
            sys.meta_path.remove(self)
            sys.path_hooks.remove(self.inside)
            for package in self._packages:
                sys.path_importer_cache.pop(package.replace(".", "/"), None)
            for name in self._names():
                sys.modules.pop(name, None)
            sys.modules.update(earlier)
            for path in self.files:
                linecache.cache.pop(path, None)

    def _names(self) -> set[str]:
        return {*self._paths, *self._packages}


class _Package:
    """The names of the modules in one package."""

    def __init__(self, package: str, names: Iterable[str], packages: Collection[str]) -> None:
        self._package, self._names, self._packages = package, names, packages

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        for name in sorted(self._names):
            above, _, last = name.rpartition(".")
            if above == self._package:
                yield prefix + last, name in self._packages

    def find_spec(self, name: str, target: object = None) -> None:
        """Finds nothing: the importer itself comes first."""
        return


def main(header: dict[str, Any], files: dict[str, bytes], requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers the first request, `load`, then all others until the pipe closes."""
    importer = Importer(files, header["entry"])
    sys.meta_path.insert(0, importer)
    sys.path_hooks.insert(0, importer.inside)
    from p2p.jobs.codec import Unreadable
    from p2p.jobs.faults import JobFault, PlanMismatch
    from p2p.jobs.frames import BadFrame, pack, pack_done, receive

    faults = (JobFault, PlanMismatch, Unreadable, MemoryError)

    def framed(answer: dict[str, Any], results: Sequence[bytes] = ()) -> bytes:
        try:
            return pack(answer, results)
        except BadFrame as error:
            return pack({"error": "limit", "text": str(error)})

    def of_unit(made: "Output") -> bytes:
        if made.replaced[0] or made.skipped:
            counts = {"records_in": made.records_in, "records_out": made.records_out}
            apart = {"replaced": made.replaced, "skipped": made.skipped, "skips": made.skips}
            return framed({"ok": "unit", **counts, **apart}, made.blobs)
        try:
            return pack_done(made.records_in, made.records_out, made.blobs)
        except BadFrame as error:
            return framed({"error": "limit", "text": str(error)})

    def of_fault(error: BaseException) -> bytes:
        match error:
            case JobFault():
                return framed(error.report())
            case PlanMismatch():
                return framed({"error": "plan", "text": str(error)})
            case Unreadable():
                return framed({"error": "limit", "text": str(error)})
        return framed({"error": "limit", "text": _NO_MEMORY})

    try:
        session = _loaded(header, importer)
    except faults as error:
        replies.write(of_fault(error))
        replies.flush()
        return  # a job that cannot be loaded can answer nothing
    waiting: tuple[dict[str, Any], list[bytes]] | None = None

    def answer() -> bytes | None:
        """The answer to the next request. None if `job` has to be elsewhere for it, and empty at the end."""
        nonlocal waiting
        try:
            waiting = waiting or receive(requests)
            if waiting is None:
                return b""
            if "unit" in waiting[0]:  # the most frequent request takes the short way
                made = _unit(session, *waiting)
                return None if made is None else of_unit(made)
            answered = _answered(session, *waiting)
            return None if answered is None else framed(*answered)
        except faults as error:
            return of_fault(error)

    def serve() -> bool:
        nonlocal waiting
        while frame := answer():
            waiting = None
            replies.write(frame)
            replies.flush()
        return frame is None

    replies.write(framed({"ok": "loaded"}))
    replies.flush()
    session.follow(serve)


def _loaded(header: dict[str, Any], importer: Importer) -> "Session":
    from p2p.jobs import chance
    from p2p.jobs.dataset import Input
    from p2p.jobs.files import Files, serve, sources
    from p2p.jobs.planning import Settings
    from p2p.jobs.session import Session

    own = sources(importer.files, header["entry"])
    every = Files(importer.files)
    importer.serve(every)
    serve(every)
    chance.seed_when_imported()
    given = header.get("seed")
    session = Session(
        own,
        inputs=[Input(one["name"], one["size"], one["files"]) for one in header["inputs"]],
        arguments=header["args"],
        settings=Settings(header["settings"]["partitions"], header["settings"]["reduce_partitions"]),
        seed=chance.drawn(header["job"]) if given is None else given,
        is_drawn=given is None,
    )
    gc.collect()
    gc.freeze()  # what is loaded stays, so collecting need not look at it again
    return session


def _answered(
    session: "Session", header: dict[str, Any], blobs: Sequence[bytes]
) -> tuple[dict[str, Any], list[bytes]] | None:
    """An answer's header and blobs; None if `job` has to be elsewhere for it."""
    given = _given(session, header, blobs)
    match header["do"]:
        case "plan":
            return _planned(session) if session.is_at_next() else None
        case "confirm":
            confirmed = session.confirm(header["action"], header["digest"])
            return ({"ok": "confirmed"}, []) if confirmed else None
        case "finish":
            action, digest = header["action"], header["digest"]
            return ({"ok": "finished"}, [session.finish(action, digest, given)]) if session.is_at(action) else None
        case other:
            raise ValueError(f"no such request: {other}")


def _unit(session: "Session", header: dict[str, Any], blobs: Sequence[bytes]) -> "Output | None":
    """What a unit made; None if `job` has to be elsewhere for it."""
    action, stage, partition, digest, source = header["unit"]
    given = _given(session, header, blobs)
    return session.unit(action, stage, partition, digest, source, given) if session.is_at(action) else None


def _given(session: "Session", header: dict[str, Any], blobs: Sequence[bytes]) -> Sequence[bytes]:
    """Passes the new action results, which come first, to the session. Returns the blobs after them."""
    known = header.get("results")
    if not known:
        return blobs
    for action, result in zip(known, blobs, strict=False):
        session.learn(action, result)
    return blobs[len(known) :]


def _planned(session: "Session") -> tuple[dict[str, Any], list[bytes]]:
    from p2p.jobs.session import Answer

    plan = session.plan()
    if not isinstance(plan, Answer):
        notes, session.notes = session.notes, []
        planned: dict[str, Any] = {"ok": "plan", "plan": plan.as_json(session.settings)}
        return planned | {"notes": notes} if notes else planned, []
    told = {"ok": "done", "value": None, "saved": plan.saved}
    text = plan.json.encode()
    if len(text) > _MAX_VALUE_BYTES:  # too long for a header
        return told, [text]
    return told | {"value": json.loads(text)}, []


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _project(name: str) -> str:
    """A project's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _slashes(path: str) -> Iterator[int]:
    return (at for at, char in enumerate(path) if char == "/")
