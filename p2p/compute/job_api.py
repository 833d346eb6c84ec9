"""The files of the job API: every bundle has them, and runtimes for Python load them before they have a job."""

import functools
import importlib.resources
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable

from p2p.jobs import ahead
from p2p.wire import guest


@functools.cache
def files() -> Mapping[str, bytes]:
    """The files of `p2p.jobs`, by the names under which guests import them. Blocks."""
    return dict(_sources("p2p/jobs", importlib.resources.files("p2p.jobs")))


@functools.cache
def frame_ahead() -> bytes:
    """The frame that a guest answers with the one that has processes load these files: see `jobs.ahead`. Blocks."""
    sources = {"p2p/jobs/guest.py": files()["p2p/jobs/ahead.py"]}
    sources |= {f"{ahead.FOLDER}{path}": source for path, source in files().items()}
    return guest.encode({"files": list(sources)}, list(sources.values()))


def _sources(path: str, folder: Traversable) -> Iterator[tuple[str, bytes]]:
    """The Python files in a folder and in those below, by path."""
    for one in folder.iterdir():
        inner = f"{path}/{one.name}"
        if one.is_dir():
            yield from _sources(inner, one)
        elif one.name.endswith(".py"):
            yield inner, one.read_bytes()
