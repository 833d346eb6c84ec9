"""Manifests: the canonical list of a share's files, and the share id that follows from it.

Entries are sorted by path, and each is encoded as its length (4 bytes, big-endian) and a msgpack array. Joined, they
are cut into parts of at most 256 KiB, even in the middle of an entry; the root holds the totals and the hash of each
part. The share id is the hash of the root, so the root and each part can be verified separately, whoever sends it.

Version 2 also has the modification time of each entry. It is written only if the entries have times, so that peers that
read only version 1 can fetch all other shares. Version 3 is written only for shares with symbolic links, which follow
the entries of either kind: see `links`.

In memory the entries stay as they are encoded (`encoded`), so that a manifest takes little more than its own bytes.

Everything decoded here is untrusted: totals are checked against limits before parts are fetched, and each entry against
the totals before the next is read, so that a small message cannot make a large structure.
"""

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import islice
from typing import Annotated, Any

import msgspec
from blake3 import blake3

from p2p.core.shares import links as share_links
from p2p.core.shares import names
from p2p.core.shares.encoded import GAP_BYTES, Encoded
from p2p.core.shares.links import MAX_LINKS, LinkEntry
from p2p.errors import BadData, Unacceptable
from p2p.ids import ID_BYTES, ChunkHash, FileId, H, ShareId
from p2p.wire.messages import MAX_PART_BYTES, Number, ShortText

VERSION, TIMED_VERSION, LINKED_VERSION = 1, 2, 3
MIN_CHUNK_BYTES = 256 * 1024
MAX_CHUNK_BYTES = 8 * 1024 * 1024
MAX_CHUNKS_PER_FILE = 2000
"""The number of chunks below which a file stays by having larger chunks, until these reach their largest size."""

PAUSE_ENTRIES = 128

_LENGTH = struct.Struct(">I")
assert _LENGTH.size == GAP_BYTES


class EntryKind(IntEnum):
    """Whether an entry is a file or a folder. Folders are listed only if they are empty."""

    FILE = 0
    FOLDER = 1


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A file or empty folder of a share; `size` is in bytes, `hashes` is its chunks' 32-byte hashes, joined."""

    kind: EntryKind
    path: Annotated[names.Path, msgspec.Meta(max_length=names.MAX_DEPTH)]
    size: Number = 0
    executable: bool = False
    hashes: bytes = b""

    @property
    def chunks(self) -> int:
        """How many chunks the file has; an empty file has none."""
        return len(self.hashes) // ID_BYTES

    @property
    def is_file(self) -> bool:
        return self.kind is EntryKind.FILE

    @property
    def file_id(self) -> FileId:
        """The file's id, equal for equal files."""
        return FileId(H("file", self.size.to_bytes(8, "big"), self.hashes))


MIN_TIME_NS, MAX_TIME_NS = -(2**63), 2**63 - 1
"""The bounds of modification times, in nanoseconds since 1970: the years 1677 to 2262."""


class TimedEntry(Entry, frozen=True, gc=False, array_like=True, kw_only=True):
    """An entry of version 2, with its modification time in nanoseconds since 1970."""

    modified_ns: Annotated[int, msgspec.Meta(ge=MIN_TIME_NS, le=MAX_TIME_NS)]


class ManifestRoot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The root of a manifest. `size` is the total size of the files, and `length` that of the encoded entries.

    Both are in bytes.
    """

    version: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    name: ShortText
    single: bool
    """Whether the share is one file by itself rather than a folder."""
    files: Number
    folders: Number
    size: Number
    chunks: Number
    length: Number
    parts: bytes
    links: Number = 0
    """The number of links, which only version 3 has."""
    times: bool = False
    """Whether the entries of version 3 have modification times. Those of version 2 do, those of version 1 do not."""

    @property
    def has_times(self) -> bool:
        """Whether the entries have modification times, whatever the version."""
        return self.version == TIMED_VERSION or self.times

    @property
    def part_count(self) -> int:
        return len(self.parts) // ID_BYTES

    def part_hash(self, index: int) -> bytes:
        return self.parts[index * ID_BYTES : (index + 1) * ID_BYTES]


class ShareLimits(msgspec.Struct, frozen=True):
    """The largest share and manifest that a peer accepts."""

    entries: int = 1_000_000
    length: int = 192 * 1024 * 1024
    size: Annotated[int, msgspec.Meta(ge=0)] = 2**50


class Manifest(msgspec.Struct, frozen=True):
    """A share's root and all its entries, checked. Entries are decoded whenever they are asked for."""

    share_id: ShareId
    root: ManifestRoot
    entries: Sequence[Entry]
    links: tuple[LinkEntry, ...] = ()
    """Symbolic links, which are neither files nor folders. All lead to entries of the same manifest."""


class _Version(msgspec.Struct):
    version: int


_root_decoder = msgspec.msgpack.Decoder(ManifestRoot)
_entry_decoders: dict[bool, msgspec.msgpack.Decoder[Any]] = {
    False: msgspec.msgpack.Decoder(Entry),
    True: msgspec.msgpack.Decoder(TimedEntry),
}
"""By whether the entries have times."""
_version_decoder = msgspec.msgpack.Decoder(_Version)
_link_decoder = msgspec.msgpack.Decoder(LinkEntry)


def chunk_bytes(size: int) -> int:
    """The chunk size of a file of `size` bytes: the smallest power of two that gives fewer than 2,000 chunks,
    from 256 KiB to 8 MiB. It depends on the size alone, so equal files have equal chunks everywhere."""
    chunk = MIN_CHUNK_BYTES
    while chunk < MAX_CHUNK_BYTES and size >= chunk * MAX_CHUNKS_PER_FILE:
        chunk *= 2
    return chunk


def chunk_count(size: int) -> int:
    """How many chunks a file of `size` bytes has."""
    return -(-size // chunk_bytes(size))


def hash_chunk(data: bytes | bytearray | memoryview) -> ChunkHash:
    """The BLAKE3-256 of a chunk. Releases the GIL while hashing."""
    return ChunkHash(blake3(data).digest())


def hash_part(data: bytes) -> bytes:
    return blake3(data, derive_key_context="shoal part 1").digest()


def share_id_of(root: bytes) -> ShareId:
    """The share id: the hash of the encoded root."""
    return ShareId(blake3(root, derive_key_context="shoal manifest 1").digest())


def encode(
    name: str, entries: Iterable[Entry], *, single: bool, links: Iterable[LinkEntry] = ()
) -> tuple[bytes, list[bytes]]:
    """Makes the root and parts of a share with these entries, and sorts them. The caller has checked names and links.

    Either all entries have times, or none.
    """
    encoder = msgspec.msgpack.Encoder()
    stream = bytearray()
    files = folders = size = chunks = timed = 0
    for entry in sorted(entries, key=lambda entry: entry.path):
        body = encoder.encode(entry)
        stream += _LENGTH.pack(len(body))
        stream += body
        files += entry.kind is EntryKind.FILE
        folders += entry.kind is EntryKind.FOLDER
        size += entry.size
        chunks += entry.chunks
        timed += isinstance(entry, TimedEntry)
    if timed not in {0, files + folders}:
        raise ValueError("only some entries have times")
    linked = 0
    for link in sorted(links, key=lambda link: link.path):
        body = encoder.encode(link)
        stream += _LENGTH.pack(len(body))
        stream += body
        linked += 1
    version = LINKED_VERSION if linked else TIMED_VERSION if timed else VERSION
    parts = [bytes(stream[at : at + MAX_PART_BYTES]) for at in range(0, len(stream), MAX_PART_BYTES)]
    hashes = b"".join(map(hash_part, parts))
    totals = files, folders, size, chunks, len(stream)
    root = ManifestRoot(version, name, single, *totals, hashes, linked, bool(linked and timed))
    return encoder.encode(root), parts


def decode_root(share_id: ShareId, body: bytes, limits: ShareLimits) -> ManifestRoot:
    """Decodes the root in `body`, and checks that it is this share's and within limits.

    Raises BadData; Unacceptable if the share itself is at fault.
    """
    if share_id_of(body) != share_id:
        raise BadData("the manifest root is not the one the link names")
    try:
        root = _root_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unacceptable(f"the share's manifest is broken: {error}") from None
    if not VERSION <= root.version <= LINKED_VERSION:
        raise Unacceptable(
            f"the share's manifest has version {root.version}, this Shoal reads up to {LINKED_VERSION}: update Shoal"
        )
    if (root.version == LINKED_VERSION) != bool(root.links) or (root.times and not root.links):
        raise Unacceptable("the manifest's root does not agree with itself")
    if root.links > MAX_LINKS:
        raise Unacceptable(f"the share has {root.links:,} symbolic links, of which {MAX_LINKS:,} are possible")
    if reason := names.refusal(root.name):
        raise Unacceptable(f"the share's name {reason}")
    for setting, found, most in (
        ("entries", root.files + root.folders + root.links, limits.entries),
        ("manifest_bytes", root.length, limits.length),
        ("share_bytes", root.size, limits.size),
    ):
        if found > most:
            raise Unacceptable(
                f"the share is larger than this peer accepts: {setting} {found:,}, at most {most:,}; "
                f"see {setting} of [limits] in config.toml"
            )
    if len(root.parts) != ID_BYTES * -(-root.length // MAX_PART_BYTES):
        raise Unacceptable("the manifest's root does not agree with itself")
    # Each chunk has a hash in the parts, so these totals bound each other.
    if root.chunks * ID_BYTES > root.length or root.chunks > root.size:
        raise Unacceptable("the manifest's totals do not agree with each other")
    return root


def has_links(root: bytes) -> bool:
    """Whether an encoded root, which was checked before, is that of a share with links."""
    return _version_decoder.decode(root).version == LINKED_VERSION


def part_length(root: ManifestRoot, index: int) -> int:
    """The size of part `index` in bytes: all parts but the last are full."""
    return min(MAX_PART_BYTES, root.length - index * MAX_PART_BYTES)


def check_part(root: ManifestRoot, index: int, body: bytes) -> None:
    """Raises BadData unless `body` is part `index` of the manifest."""
    if not 0 <= index < root.part_count or len(body) != part_length(root, index):
        raise BadData(f"manifest part {index} has the wrong length")
    if hash_part(body) != root.part_hash(index):
        raise BadData(f"manifest part {index} does not match its hash")


def decode(
    share_id: ShareId, root: ManifestRoot, parts: Iterable[bytes], pause: Callable[[], None] = lambda: None
) -> Manifest:
    """Decodes the manifest from its parts, which were checked before. Raises BadData if its author broke the rules.

    `pause` is called now and then, so that a thread that decodes a large manifest can let others run.
    """
    stream = bytearray(root.length)  # all at once: one that grows leaves holes in memory
    end = 0
    for part in parts:
        stream[end : end + len(part)] = part
        end += len(part)
    del stream[end:]
    starts = array("Q")
    decoder = _entry_decoders[root.has_times]
    files = size = chunks = 0
    previous: names.Path = ()
    for entry in _decode_entries(stream, starts, decoder, root.files + root.folders):
        path = entry.path
        # What is above a file was looked at with the file before it, if both are in one folder.
        checked = len(previous) - 1 if previous and path[: len(previous) - 1] == previous[:-1] else 0
        if reason := names.path_refusal(path, checked):
            raise BadData(f"the share names a path that {reason}: {path!r:.200}")
        if path <= previous:
            raise BadData(f"the share's paths are not in order: {path!r:.200}")
        if previous and path[: len(previous)] == previous:
            raise BadData(f"the share has a file that is also a folder: {previous!r:.200}")
        previous = path
        if entry.kind is EntryKind.FILE:
            if len(entry.hashes) != ID_BYTES * chunk_count(entry.size):
                raise BadData(f"the share gives a wrong number of chunk hashes for {path!r:.200}")
            files += 1
            size += entry.size
            chunks += entry.chunks
        elif entry.size or entry.hashes or entry.executable:
            raise BadData(f"the share gives a folder a file's properties: {path!r:.200}")
        if files > root.files:
            raise BadData("the share has more entries than its root says")
        if not len(starts) % PAUSE_ENTRIES:
            pause()
    if (files, len(starts) - 1 - files, size, chunks) != (root.files, root.folders, root.size, root.chunks):
        raise BadData("the share's entries do not add up to its totals")
    links = tuple(_decode_links(stream, starts[-1] - GAP_BYTES, root.links))
    entries: Encoded[Entry] = Encoded(stream, starts, decoder)
    if root.single and (len(entries) != 1 or files != 1 or len(entries[0].path) != 1):
        raise BadData("the share says it is a single file but is not")
    if links and root.single:
        raise BadData("the share says it is a single file but is not")
    if links and (wrong := share_links.fault(entries, links, pause)) is not None:
        raise BadData(wrong)
    return Manifest(share_id, root, entries, links)


def _decode_entries(
    stream: bytearray, starts: "array[int]", decoder: msgspec.msgpack.Decoder[Entry], count: int
) -> Iterator[Entry]:
    """Decodes `count` entries one by one, and adds where each starts; then where another would."""
    end = 0
    for at, body in islice(_bodies(stream, 0), count):
        starts.append(at)
        end = at + len(body)
        try:
            yield decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadData(f"the manifest has a broken entry: {error}") from None
    starts.append(end + GAP_BYTES)


def _decode_links(stream: bytearray, at: int, count: int) -> Iterator[LinkEntry]:
    """Decodes what follows the entries: exactly so many links."""
    found = 0
    for _, body in _bodies(stream, at):
        found += 1
        if found > count:
            raise BadData("the share has more entries than its root says")
        try:
            yield _link_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadData(f"the manifest has a broken link: {error}") from None
    if found != count:
        raise BadData("the share's links do not add up to its total")


def _bodies(stream: bytearray, at: int) -> Iterator[tuple[int, memoryview]]:
    """The encoded entries from a place on, each with where it starts."""
    view, end = memoryview(stream), len(stream)
    while at < end:
        if at + GAP_BYTES > end:
            raise BadData("the manifest ends within an entry")
        (length,) = _LENGTH.unpack_from(stream, at)
        at += GAP_BYTES
        if at + length > end:
            raise BadData("the manifest ends within an entry")
        yield at, view[at : at + length]
        at += length
