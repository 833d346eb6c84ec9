"""Wheels that go along with a job: which are accepted, by their names and their lists of files.

They are never unpacked here: guests import from them as they are (`p2p.jobs.files`).
"""

import io
import re
import sys
from zipfile import BadZipFile, ZipFile

from p2p.errors import ConfigError
from p2p.jobs.files import WHEELS as FOLDER
from p2p.jobs.files import installed_at

__all__ = ["ENDING", "FOLDER", "MAX_MEMBERS", "check", "modules_in", "project_of"]

MAX_MEMBERS = 10_000
ENDING = ".whl"

_NAME = re.compile(
    r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.!+]+)(-[0-9][A-Za-z0-9_.]*)?"
    r"-(?P<python>[a-z0-9_.]+)-(?P<abi>[a-z0-9_.]+)-(?P<platform>[a-z0-9_.]+)\.whl"
)
_NATIVE = re.compile(r"\.(so|pyd|dll|dylib)(\.[0-9.]+)?\Z", re.IGNORECASE)
_SHARED = re.compile(
    r"(tests?|docs|examples|benchmarks|scripts)/|(conftest|setup)\.py|[^/]+/__init__\.py|[^/]+\.dist-info/"
)
TAKEN = frozenset({*sys.stdlib_module_names, "p2p", "job"})
"""Names that no module of a wheel may have, since `import` finds those of Python, of Shoal and of the job first."""


def project_of(file: str) -> str:
    """The name of a wheel's project, as indexes compare it."""
    return re.sub(r"[-_.]+", "-", file.partition("-")[0]).lower()


def check(file: str, content: bytes) -> frozenset[str]:
    """Returns the names of the modules that a wheel has at its top. `file` is the wheel's file name.

    Raises ConfigError for a wheel that does not run everywhere, or that would hide other modules.
    """
    matching = _NAME.fullmatch(file)
    if matching is None:
        raise ConfigError(f"{file} does not have the name of a wheel: NAME-VERSION-py3-none-any.whl.")
    tags = matching["python"].split("."), matching["abi"], matching["platform"]
    if "py3" not in tags[0] or tags[1:] != ("none", "any"):
        raise ConfigError(
            f"{file} is built for {'-'.join(matching.group('python', 'abi', 'platform'))}, and a job's packages run "
            "in a sandbox: only pure Python goes along (py3-none-any)."
        )
    try:
        with ZipFile(io.BytesIO(content)) as opened:
            names = opened.namelist()
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"{file} is no wheel: {error}.") from None
    if len(names) > MAX_MEMBERS:
        raise ConfigError(f"{file} has {len(names):,} files; {MAX_MEMBERS:,} are allowed.")
    modules = set()
    for path in filter(None, map(installed_at, names)):
        if _NATIVE.search(path):
            raise ConfigError(f"{file} has native code ({path}), which a sandbox cannot run.")
        top, deeper, _ = path.partition("/")
        if path.endswith(".py") and not top.endswith(".dist-info"):
            modules.add(top if deeper else top.removesuffix(".py"))
    if taken := sorted(modules & TAKEN):
        raise ConfigError(f"{file} has a module {taken[0]!r}, a name that Python, Shoal or the job itself has too.")
    return frozenset(modules)


def modules_in(content: bytes) -> dict[str, int]:
    """The modules in a wheel that `check` accepted, by path, each with the checksum that the wheel states.

    Left out are those that many packages bring by mistake, and those that make a folder a package, which several share.
    """
    with ZipFile(io.BytesIO(content)) as opened:
        found = {installed_at(one.filename): one.CRC for one in opened.infolist()}
    return {path: checksum for path, checksum in found.items() if path.endswith(".py") and not _SHARED.match(path)}
