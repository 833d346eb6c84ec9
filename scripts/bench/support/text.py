"""Real English text of this machine, the same bytes as long as the same files are installed.

Licences, Perl's manual and Python's help, each content once, in the order of their paths; repeated to the size.
"""

import glob
import importlib.util
from hashlib import sha256
from pathlib import Path

from scripts.bench.support.data import show_size
from scripts.bench.support.measure import BenchError

FILE_BYTES = 4 << 20
MIN_BYTES = 1 << 20
SOURCES = ("/usr/share/doc/*/copyright", "/usr/share/perl/**/*.pod", "/usr/share/common-licenses/*")
_PRINTABLE = bytes(code if 32 <= code < 127 or code == 10 else 32 for code in range(256))


def write_text(folder: Path, size: int) -> str:
    """Writes `size` bytes into `folder` in files of `FILE_BYTES`, cut at line ends; says what they are."""
    block = _block()
    if len(block) < MIN_BYTES:
        raise BenchError(f"only {show_size(len(block))} of text in {', '.join(SOURCES)}")
    text = (block * (size // len(block) + 1))[: size - 1] + b"\n"
    folder.mkdir()
    begin = number = 0
    while begin < size:
        end = text.index(b"\n", min(begin + FILE_BYTES, size) - 1) + 1
        (folder / f"part-{number:04}.txt").write_bytes(text[begin:end])
        begin, number = end, number + 1
    digest = sha256(text).hexdigest()[:12]
    return f"{show_size(size)} of text in {number} files, {show_size(len(block))} of it different, SHA-256 {digest}"


def _block() -> bytes:
    paths = [path for pattern in SOURCES for path in sorted(glob.glob(pattern, recursive=True))]
    topics = importlib.util.find_spec("pydoc_data.topics")
    if topics is not None and topics.origin is not None:
        paths.append(topics.origin)
    seen: set[bytes] = set()
    block = bytearray()
    for path in map(Path, paths):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes().translate(_PRINTABLE).rstrip(b"\n") + b"\n"
        if content not in seen:
            seen.add(content)
            block += content
    return bytes(block)
