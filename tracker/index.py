"""The pure functions of searching: words, queries, kinds, and the place of a listing among all others.

A listing's place is the integer by which search results are ordered. From its most significant bits down, it encodes
how many peers have the share (in steps, so that a place seldom changes), how short the name is, and when the listing
was first announced. Kind and size are in the low bits, so that a search can filter without reading the listing itself.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from p2p.wire.keywords import wanted, words
from p2p.wire.tracker import MAX_QUERY_CHARS, MIN_PREFIX_CHARS, Content, Kind, Listing

MAX_QUERY_WORDS = 8
MAX_INDEXED_WORDS = 400
"""The most words indexed from the files of one listing; a folder of fifty files has about this many."""
PREFIX_CHARS = "2 3"
"""The lengths, in characters, of the prefixes of words that have an index of their own."""

MAX_LISTINGS = 1 << 40
_LEVELS, _LENGTHS = 63, 7
_ID_SHIFT, _KIND_SHIFT, _SIZE_SHIFT = 12, 9, 0
_LENGTH_SHIFT, _LEVEL_SHIFT = 52, 55
ID_MASK, KIND_MASK, SIZE_MASK = MAX_LISTINGS - 1, 7, 511
_KINDS = tuple(Kind)

_EXTENSIONS = {
    Kind.AUDIO: "aac aif aiff alac ape flac m3u m4a m4b mid midi mka mp3 oga ogg opus wav wma wv",
    Kind.VIDEO: "3gp avi flv idx m2ts m4v mkv mov mp4 mpeg mpg ogv srt sub ts vob webm wmv",
    Kind.IMAGE: "avif bmp cr2 dng gif heic ico jpeg jpg jxl nef png psd raw svg tif tiff webp xcf",
    Kind.DOCUMENT: "azw3 cbr cbz chm djvu doc docx epub fb2 htm html ipynb key md mobi odp ods odt pdf ppt pptx ps "
    "rst rtf tex txt xls xlsx",
    Kind.ARCHIVE: "7z ar bz2 cab cpio dmg gz img iso jar lz lz4 lzma qcow2 rar squashfs tar tbz tgz txz vmdk xz zip "
    "zst",
    Kind.PROGRAM: "apk appimage bat bin c cpp deb dll elf exe flatpak go h hpp ipa java js kt msi php pl py rb rpm rs "
    "sh snap so swift ts wasm whl",
}
_KIND_OF = {extension: kind for kind, text in reversed(_EXTENSIONS.items()) for extension in text.split()}


@dataclass(frozen=True)
class Query:
    """A search query: all of its words must be found; with `prefix`, the last word may be the start of a longer one."""

    words: tuple[str, ...]
    prefix: bool

    def expression(self, column: str = "") -> str:
        """The query for FTS5. Words have no quotes in them, so nothing that a user types is ever syntax."""
        terms = [f'"{word}"' for word in self.words]
        if self.prefix:
            terms[-1] += " *"
        said = " AND ".join(terms)
        return f"{column} : ({said})" if column else said

    def score(self, text: str) -> int:
        """How many of the words are in the text."""
        there = words(text, 1)
        found = sum(word in there for word in self.words)
        last = self.words[-1]
        return found + (self.prefix and last not in there and any(word.startswith(last) for word in there))


def read_query(text: str) -> Query | None:
    """Reads the query in any text that a user typed; None if it has no words."""
    said = wanted(text[:MAX_QUERY_CHARS], 1)
    if not said:
        return None
    kept = tuple(said[:MAX_QUERY_WORDS])
    return Query(kept, len(kept) == len(said) and len(kept[-1]) >= MIN_PREFIX_CHARS)


class Indexed(NamedTuple):
    """The indexed text of a listing: the words of its name, and further words of its files, separated by spaces."""

    name: str
    contents: str


def indexed(name: str, contents: Iterable[Content]) -> Indexed:
    """The words of a listing's name, and those words of its files that are not in its name."""
    of_name = words(name, 1)
    seen = set(of_name)
    of_files: list[str] = []
    for content in contents:
        if len(of_files) >= MAX_INDEXED_WORDS:
            break
        fresh = [word for word in words(content.path, 1) if word not in seen]
        seen.update(fresh)
        of_files += fresh
    return Indexed(" ".join(of_name), " ".join(of_files[:MAX_INDEXED_WORDS]))


def matched(query: Query, name: str, contents: Sequence[Content]) -> str | None:
    """The file of a listing that matches best; None if the listing's name alone has all the words."""
    if not contents or query.score(name) == len(query.words):
        return None
    path = max(contents, key=lambda content: query.score(content.path)).path
    return path if query.score(path) else None


def kind_of(listing: Listing) -> Kind:
    """The kind that most of a listing's bytes are, judged by its file names."""
    weights: Counter[Kind] = Counter()
    for path, size in [(content.path, content.size) for content in listing.contents] or [(listing.name, 0)]:
        extension = path.rpartition("/")[2].rpartition(".")[2]
        weights[_KIND_OF.get(extension.lower(), Kind.DATA) if len(extension) < 10 else Kind.DATA] += size + 1
    return weights.most_common(1)[0][0]


def text_bytes(listing: Listing) -> int:
    """The number of bytes that a listing counts against quotas of text."""
    return len(listing.name.encode()) + sum(len(content.path.encode()) for content in listing.contents)


# Places.


def level(sources: int) -> int:
    """The step for this number of sources."""
    return min(_LEVELS, sources.bit_length())


def size_step(size: int) -> int:
    """The step for this size, in eighths of a power of two; never lower for a larger size."""
    if size < 8:
        return size
    exponent = size.bit_length() - 1
    return (exponent - 2) * 8 + (size >> (exponent - 3) & 7)


def place(identifier: int, sources: int, name_words: int, kind: Kind, size: int) -> int:
    """A listing's place; lower is better."""
    return (
        (_LEVELS - level(sources)) << _LEVEL_SHIFT
        | min(max(name_words - 1, 0), _LENGTHS) << _LENGTH_SHIFT
        | identifier << _ID_SHIFT
        | _KINDS.index(kind) << _KIND_SHIFT
        | size_step(size) << _SIZE_SHIFT
    )


def moved(place: int, sources: int) -> int:
    """The listing's place with the step for this number of sources."""
    return place & ((1 << _LEVEL_SHIFT) - 1) | (_LEVELS - level(sources)) << _LEVEL_SHIFT


def listing_at(place: int) -> int:
    """The id of the listing at this place."""
    return place >> _ID_SHIFT & ID_MASK


def kind_at(place: int) -> Kind:
    """The kind of the listing at this place. Three bits hold the kind; seven of their eight values are used."""
    return _KINDS[min(place >> _KIND_SHIFT & KIND_MASK, len(_KINDS) - 1)]


@dataclass(frozen=True)
class Filter:
    """Which listings a search may return, by kind and size; sizes are in bytes, both limits inclusive."""

    kind: Kind | None = None
    min_size: int | None = None
    max_size: int | None = None

    def condition(self, column: str) -> tuple[str, list[int]]:
        """The filter as SQL over a column of places, with its values; empty if it lets everything through.

        The SQL reads the listing itself only if its size is on the same step as one of the two size limits.
        """
        said: list[str] = []
        values: list[int] = []
        if self.kind is not None:
            said.append(f"({column} >> {_KIND_SHIFT} & {KIND_MASK}) = ?")
            values.append(_KINDS.index(self.kind))
        for limit, sign in ((self.min_size, ">"), (self.max_size, "<")):
            if limit is not None:
                step = f"({column} & {SIZE_MASK})"
                exact = f"(SELECT size FROM listings WHERE id = ({column} >> {_ID_SHIFT} & {ID_MASK})) {sign}= ?"
                said.append(f"({step} {sign} ? OR {step} = ? AND {exact})")
                limit = min(max(limit, 0), 2**53 - 1)
                values += [size_step(limit), size_step(limit), limit]
        return " AND ".join(said), values
