"""What a user leaves out of a share: patterns in the syntax of .gitignore, from the command line or `.shoalignore`.

The patterns may come from a folder that somebody else made, so their number, length and wildcards are bounded.
"""

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2p import causes
from p2p.errors import ConfigError
from p2p.formats import quoted

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".shoalignore"
"""The file at the top of a folder whose patterns hold for that folder. It is left out itself."""
MAX_FILE_BYTES = 64 * 1024
MAX_PATTERNS = 1000
MAX_WILDCARDS = 4
"""The most `*` or `**` in one pattern: the time to match it grows with the length of a path to this power."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_WILDCARDS = re.compile(r"(?<!\\)\*+")


class Ignore:
    """Decides what is left out of one folder. Later patterns override earlier ones, as in .gitignore."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises ConfigError for patterns that cannot be used."""
        check_patterns(patterns)
        self._spec = _compiled(map(_composed, patterns)) if patterns else None
        self._folders: dict[tuple[str, ...], bool] = {(): False}

    def leaves_out(self, path: tuple[str, ...], *, folder: bool = False) -> bool:
        """Whether the file or folder at this path, relative to the top, is left out, by itself or with a folder."""
        if self._spec is None:
            return False
        above = self._leaves_out_folder(self._spec, path[:-1])
        if folder:
            return self._leaves_out_folder(self._spec, path)
        return above or self._spec.match_file(_composed("/".join(path)))

    def _leaves_out_folder(self, spec: "GitIgnoreSpec", path: tuple[str, ...]) -> bool:
        known = self._folders.get(path)
        if known is None:
            above = self._leaves_out_folder(spec, path[:-1])
            known = self._folders[path] = above or spec.match_file(_composed("/".join(path)) + "/")
        return known


def _compiled(lines: Iterable[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # late: most commands have no patterns

    return GitIgnoreSpec.from_lines(lines)


def _composed(text: str) -> str:
    """The same text in one Unicode form: a disk may have another form than the keyboard."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def check_patterns(patterns: Sequence[str], where: str = "--exclude") -> None:
    """Raises ConfigError if a pattern cannot be used, or if there are too many. `where` says where they are from."""
    if len(patterns) > MAX_PATTERNS:
        raise ConfigError(f"{where} has {len(patterns):,} patterns, but at most {MAX_PATTERNS:,} are possible.")
    if sum(map(len, patterns)) > MAX_FILE_BYTES:
        raise ConfigError(f"The patterns of {where} are longer than {MAX_FILE_BYTES >> 10} KiB in all.")
    for pattern in patterns:
        if len(_WILDCARDS.findall(pattern)) > MAX_WILDCARDS:
            raise ConfigError(
                f"{where}: {quoted(pattern)} has more than {MAX_WILDCARDS} wildcards (*). Use several patterns."
            )
        try:
            (compiled,) = _compiled([pattern]).patterns or (None,)
        except ValueError:
            compiled = None
        meant = pattern.strip() and not pattern.startswith("#")
        if meant and (compiled is None or compiled.regex is None):
            raise ConfigError(f"{where}: {quoted(pattern)} is not a pattern in the syntax of .gitignore.")


def read_ignore_file(folder: Path) -> list[str]:
    """The patterns in the `.shoalignore` of a folder, and one for that file itself; none if it has none. Blocks.

    Raises ConfigError if the file cannot be read or used: to share what it was meant to leave out would be worse.
    """
    path = folder / IGNORE_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = os.read(descriptor, MAX_FILE_BYTES + 1) if regular else b""
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(
                f"{path} is a symbolic link. Put a file in its place: it says what not to share."
            ) from error
        raise ConfigError(
            f"Cannot read {path}, which says what not to share: {causes.explained(error, forbidden=causes.MAY_READ)}"
        ) from error
    if not regular:
        raise ConfigError(f"{path} is not a regular file. It says what not to share.")
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES >> 10} KiB.")
    if b"\0" in content:
        raise ConfigError(f"{path} is not UTF-8 text (it may be UTF-16). It says what not to share.")
    lines = _LINE_END.split(os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")))
    patterns = [line for line in lines if line.strip() and not line.startswith("#")]
    check_patterns(patterns, str(path))
    return [f"/{IGNORE_FILE}", *patterns]
