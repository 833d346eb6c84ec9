"""Shares for tests, made of nothing but sizes; and bytes changed as a hostile peer might change them."""

from collections.abc import Sequence

from hypothesis import strategies as st

from p2p.core.shares import manifest as manifests
from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import Entry, EntryKind, Manifest, ShareLimits
from p2p.ids import ID_BYTES
from p2p.wire.messages import MAX_PART_BYTES

KIB = 1024
MIB = 1024 * KIB
REFUSED_NAMES = [
    "",
    ".",
    "..",
    "/",
    "a/b",
    "/etc",
    "a\\b",
    "..\\up",
    "a\0b",
    "a\nb",
    "a\rb",
    "\x1b[2J",
    "a\x7f",
    "a\x85b",  # a line break too
    "a\u2028b",
    "a\u2029b",
    *(f"photo{mark}gpj.exe" for mark in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"),
    "\ud800",
    "x" * 256,
    "é" * 128,
    "\U0001f41f" * 64,
]
"""Parts of paths that no manifest may contain."""


def hashes(size: int) -> bytes:
    """As many chunk hashes as a file of this size has; all differ."""
    return b"".join(n.to_bytes(ID_BYTES, "big") for n in range(manifests.chunk_count(size)))


def file(*path: str, size: int = 0, executable: bool = False) -> Entry:
    return Entry(EntryKind.FILE, path, size, executable, hashes(size))


def folder(*path: str) -> Entry:
    return Entry(EntryKind.FOLDER, path)


def manifest_of(entries: Sequence[Entry], *, name: str = "share", single: bool = False) -> Manifest:
    """The manifest of these entries, encoded, checked and decoded."""
    body, parts = manifests.encode(name, entries, single=single)
    share_id = manifests.share_id_of(body)
    root = manifests.decode_root(share_id, body, ShareLimits())
    for index, part in enumerate(parts):
        manifests.check_part(root, index, part)
    return manifests.decode(share_id, root, parts)


def layout_of(sizes: Sequence[int]) -> Layout:
    """The layout of a share with files of these sizes, in this order."""
    return Layout(manifest_of([file(f"{number:06}", size=size) for number, size in enumerate(sizes)]))


def cut(stream: bytes) -> list[bytes]:
    """Cuts a stream of encoded entries into manifest parts."""
    return [stream[at : at + MAX_PART_BYTES] for at in range(0, len(stream), MAX_PART_BYTES)]


@st.composite
def mutations(draw: st.DrawFn, original: bytes) -> bytes:
    """Variants of the original with some bytes changed, removed, inserted, or cut off at the end."""
    body = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(("change", "drop", "insert", "cut"))):
            case "change":
                body[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "drop":
                del body[at : at + draw(st.integers(1, 8))]
            case "insert":
                body[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del body[at:]
    return bytes(body)
