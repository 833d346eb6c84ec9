"""Gets the packages that a user's requirements name, as wheels of pure Python, with pip.

Only a file that the user names is read, and pip never sees it: each line must be one exact version, and is written
again. pip looks at no setting of the user, builds nothing and installs nothing.
"""

import importlib.util
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from p2p import causes, private
from p2p.errors import ConfigError, StorageError

MAX_LINES = 500
MAX_LINE_BYTES = 16 * 1024
MAX_SAID = 1000
"""The most characters of what pip says that are told."""
PIP_TIMEOUT_S = 300.0
PIP = "pip"
INDEX: str | None = None
"""The index that pip asks; None: the one that it always asks."""
_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"\s*(?P<extras>\[[A-Za-z0-9._,\s-]*\])?"
    r"\s*==\s*(?P<version>[A-Za-z0-9.!+_]+(?:-[0-9]+)?)"
    r"(?:\s*;\s*(?P<marker>(?:(?!\s--?)[A-Za-z0-9_.'\"<>=!~() ,-])+?))?"
    r"(?P<hashes>(?:\s+--hash=(?:sha256|sha384|sha512):[0-9a-f]+)*)"
)


def parse(text: str) -> list[str]:
    """Returns the requirements in a file's text, each as one line for pip. Raises ConfigError for any other line."""
    found = []
    for number, line in _joined(text):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line:
            continue
        matching = _LINE.fullmatch(line) if len(line) <= MAX_LINE_BYTES else None
        if matching is None:
            shown = line if len(line) < 80 else line[:77] + "..."
            raise ConfigError(
                f"line {number} of the requirements, {shown!r}, is not NAME==VERSION with nothing but extras, a marker "
                "or hashes: options, URLs, paths and other versions are refused."
            )
        extras = re.sub(r"\s", "", matching["extras"] or "")
        marker = f" ; {matching['marker'].strip()}" if matching["marker"] else ""
        hashes = "".join(f" {one}" for one in matching["hashes"].split())
        found.append(f"{matching['name']}{extras}=={matching['version']}{marker}{hashes}")
    if not 1 <= len(found) <= MAX_LINES:
        raise ConfigError(f"the requirements have {len(found)} packages; there must be 1 to {MAX_LINES}.")
    return found


def read(path: Path) -> list[str]:
    """Reads a user's file of requirements. Raises ConfigError. Blocks."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ConfigError(f"{path} is not a file.")
        with open(path, "rb") as file:
            content = file.read(MAX_LINES * MAX_LINE_BYTES + 1)
        if len(content) > MAX_LINES * MAX_LINE_BYTES:
            raise ConfigError(f"{path} is too large to be a list of requirements.")
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {causes.explained(error, forbidden=causes.MAY_READ)}") from error


def command(lines: list[str], python: str, folder: Path) -> list[str]:
    """Returns the command that downloads these requirements, and what they need, into a new folder. Blocks.

    Raises ConfigError if there is no pip, StorageError.
    """
    if importlib.util.find_spec(PIP) is None:
        raise ConfigError(
            f"--with-requirements needs pip, which {sys.executable} does not have. Install it there with `python -m "
            "ensurepip`, or get the wheels in another way and name each with --with."
        )
    wanted = folder / "requirements.txt"
    try:
        private.make_folder(folder)
        private.write(wanted, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise StorageError(f"Cannot write to {folder}: {causes.explained(error)}") from error
    # With -P, a file pip.py in the current folder, which may be a stranger's, is not run instead.
    pip = [sys.executable, "-P", "-m", PIP, "download", "--isolated", "--no-input", "--disable-pip-version-check"]
    only = ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none", f"--python-version={python}"]
    where = [] if INDEX is None else [f"--index-url={INDEX}"]
    return [*pip, "--quiet", *only, *where, f"--dest={folder}", f"--requirement={wanted}"]


def downloaded(folder: Path, code: int, said: bytes) -> list[Path]:
    """Returns the wheels that the command has downloaded, given its exit code and what it printed to stderr. Blocks.

    Raises ConfigError if pip could not get all.
    """
    if code:
        lines = said.decode(errors="replace").splitlines()
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-1:]
        raise ConfigError(
            f"pip found no wheels of pure Python for all that the job requires: {' '.join(errors)[:MAX_SAID]}"
        )
    return sorted(path for path in folder.iterdir() if path.suffix == ".whl")


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; a backslash at the end of one joins the next to it."""
    kept, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if kept else number
        if line.endswith("\\"):
            kept += line[:-1] + " "
            continue
        yield first, kept + line
        kept = ""
    if kept:
        yield first, kept
