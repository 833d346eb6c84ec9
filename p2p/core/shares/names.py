"""Which file names a manifest may contain.

Names that could lead out of the output folder, collide or deceive the reader are always refused, whoever sends them.
Doubtful names, which some platform cannot store, are allowed, with a warning when they are shared.
"""

import re
import unicodedata
from collections.abc import Iterable

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
