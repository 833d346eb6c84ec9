"""Which file names a manifest may contain, and which of them a fetch writes as they are.

Refused, whoever sends them, are names that lead out of the output folder, control characters, and characters that
reorder text. All others are allowed, though some platform cannot store them, takes two of them for the same, or shows
them alike (`CON`, `README` beside `readme`, the forms of Unicode, characters of no width, U+2215): whoever shares them
is warned of those that some disk cannot keep apart, and `local_names` gives them other names on such a disk.

Names that make a program run what they hold, with no more than their being there, are in one table, `RUNNING`.
"""

import re
import unicodedata
from collections.abc import Container, Iterable
from typing import NamedTuple

MAX_PART_BYTES = 255
MAX_PATH_BYTES = 4096
MAX_DEPTH = 256

# Separators, control characters, line separators, bidirectional overrides and isolates. The marks U+061C, U+200E and
# U+200F are ordinary in Arabic and Hebrew, and reorder no letters.
_REFUSED = re.compile("[/\\\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_UNDECODED = re.compile("[\ud800-\udfff]")
_WINDOWS = re.compile(r'(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?|.*[<>:"|?*].*|.*[. ]')
_PART = re.compile(r"\.[a-z2-7]{8}(\.[0-9]+)?\.part$")

Path = tuple[str, ...]
"""The parts of a relative path; never empty."""


class Running(NamedTuple):
    """A name, or `*` and the end of names, of which some program runs what it holds, or obeys it, unasked."""

    name: str
    """In lower case."""
    why: str
    beside: tuple[str, ...] = ()
    """Names of which one must be in the same folder too; none: it need not."""


_EDITOR = "editors run what it says when a file beside it is opened"
_DEBUGGER = "debuggers, or interpreters at a prompt, run it when they start in its folder"
_SHELL = "extensions of shells run it when its folder is entered"
_MEDIUM = "desktops run it, or offer to, when a disk with it is plugged in"
_EXPLORER = "Windows contacts the host that it names, or loads code, when its folder is shown"

RUNNING = (
    Running(".git", "git, which prompts and editors call, runs the programs that it names"),
    Running("git~1", "it is the short name of .git on disks of Windows"),
    Running(
        "head", "git takes its folder for a repository, and runs the programs that it names", ("refs", "commondir")
    ),
    Running(".hg", "Mercurial, which prompts and editors call, runs the programs that it names"),
    Running(".jj", "Jujutsu, which prompts and editors call, runs the programs that it names"),
    Running(".sl", "Sapling, which prompts and editors call, runs the programs that it names"),
    Running("_darcs", "darcs runs the programs that it names"),
    Running(".envrc", _SHELL),
    Running(".env", _SHELL),
    Running(".autoenv.zsh", _SHELL),
    Running(".rvmrc", _SHELL),
    Running(".exrc", _EDITOR),
    Running("_exrc", _EDITOR),
    Running(".vimrc", _EDITOR),
    Running("_vimrc", _EDITOR),
    Running(".lvimrc", _EDITOR),
    Running(".nvimrc", _EDITOR),
    Running(".nvim.lua", _EDITOR),
    Running(".dir-locals.el", _EDITOR),
    Running(".dir-locals-2.el", _EDITOR),
    Running(".gdbinit", _DEBUGGER),
    Running(".lldbinit", _DEBUGGER),
    Running(".pdbrc", _DEBUGGER),
    Running(".pdbrc.py", _DEBUGGER),
    Running(".perldb", _DEBUGGER),
    Running(".jdbrc", _DEBUGGER),
    Running(".byebugrc", _DEBUGGER),
    Running(".radare2rc", _DEBUGGER),
    Running(".irbrc", _DEBUGGER),
    Running(".pryrc", _DEBUGGER),
    Running(".ghci", _DEBUGGER),
    Running(".ocamlinit", _DEBUGGER),
    Running(".octaverc", _DEBUGGER),
    Running(".rprofile", _DEBUGGER),
    Running(".helix", "the editor Helix runs the programs that it names"),
    Running("*.desktop", "desktops start the program that it names, at login if it is in their autostart folder"),
    Running(".directory", "file managers of KDE have run commands in it when its folder was shown"),
    Running("autorun.inf", _MEDIUM),
    Running("autorun.sh", _MEDIUM),
    Running("autorun", _MEDIUM),
    Running(".autorun", _MEDIUM),
    Running("desktop.ini", _EXPLORER),
    Running("*.lnk", _EXPLORER),
    Running("*.scf", _EXPLORER),
    Running("*.url", _EXPLORER),
    Running("*.library-ms", _EXPLORER),
    Running("*.searchconnector-ms", _EXPLORER),
)
"""What a fetch writes under other names, unless its user trusts the author of the share (`--trust-names`).

Not here: what acts only in a place that is there already, such as `.profile` in a home folder, since a fetch makes a
folder of its own; what somebody must run or open; and what a web server obeys, since it runs any script there too.
"""
_RUNNING_NAMES = {one.name: one for one in RUNNING if not one.name.startswith("*")}
_RUNNING_ENDS = {one.name.removeprefix("*."): one for one in RUNNING if one.name.startswith("*.")}


def refusal(name: str) -> str | None:
    """Why a single name cannot be part of a path, or None if it can."""
    if name in {"", ".", ".."}:
        return "is empty or names a folder above"
    if _UNDECODED.search(name):
        return "is not UTF-8; rename it"
    if _REFUSED.search(name):
        return "has a separator, a control character or one that changes the direction of text"
    if len(name) > MAX_PART_BYTES // 4 and len(name.encode()) > MAX_PART_BYTES:
        return f"is longer than {MAX_PART_BYTES} bytes"
    return None


def is_part(name: str) -> bool:
    """Whether a name is that of an unfinished file of some fetch."""
    return _PART.search(name) is not None


def path_refusal(path: Path, checked: int = 0) -> str | None:
    """Why a path is refused, or None if it is not. Its first `checked` names are known to be fine."""
    if not path:
        return "is empty"
    if len(path) > MAX_DEPTH:
        return "is too deep"
    for name in path[checked:]:
        reason = refusal(name)
        if reason is not None:
            return reason
    chars = sum(map(len, path)) + len(path)
    if chars > MAX_PATH_BYTES // 4 and len("/".join(path).encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    return None


def running(name: str) -> Running | None:
    """The entry of `RUNNING` for a name, or for one that some disk takes for the same; None if there is none."""
    name = _as_some_disk(name)
    return _RUNNING_NAMES.get(name) or _RUNNING_ENDS.get(name.rpartition(".")[2] if "." in name else "")


def runs(name: str, siblings: Container[str] | None) -> bool:
    """Whether a name is in `RUNNING`, beside these names in the same folder; None: beside any that may be there."""
    found = running(name)
    if found is None or siblings is None:
        return found is not None
    return not found.beside or any(one in siblings for one in found.beside)


def harmless(name: str) -> str:
    """A name that looks like this one, and is not in `RUNNING`."""
    name = name.replace(":", "_")
    while running(name) is not None:
        name = f"_{name[1:]}" if name.startswith(".") else f"{name}_"
    return name


def top_name(told: str) -> str:
    """The name that a fetch gives to its file or folder, for the one that its user was told; it has no dot first."""
    name = _REFUSED.sub("_", _UNDECODED.sub("_", told))
    # Some disks ignore characters that cannot be seen, so a dot behind them would be the first.
    while name and unicodedata.category(name[0]) == "Cf":
        name = name[1:]
    return f"_{name[1:]}" if name.startswith(".") else name or "_"


def _as_some_disk(name: str) -> str:
    """The name as the disks see it that ignore case, characters of no width, and what Windows ignores at the end."""
    if not name.isascii():
        name = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    return name.partition(":")[0].rstrip(". ").casefold()


def doubt(name: str) -> str | None:
    """Why some platform cannot store a name that is otherwise fine, or None if all can."""
    if _WINDOWS.fullmatch(name):
        return "cannot be stored on Windows"
    if not name.isascii() and not unicodedata.is_normalized("NFC", name):
        return "is not in the normal form (NFC) of Unicode"
    return None


def case_clashes(paths: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Pairs of different paths that name the same file on platforms that ignore case or Unicode form."""
    seen: dict[str, Path] = {}
    clashes = []
    for path in paths:
        for depth in range(1, len(path) + 1):
            head = path[:depth]
            key = unicodedata.normalize("NFC", "/".join(head)).casefold()
            other = seen.setdefault(key, head)
            if other != head:
                clashes.append((other, head))
                break
    return clashes
