"""Compressed files and files in other encodings: their text is that of the plain file, or a fault names the file."""

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p.jobs import unpacking
from p2p.jobs.cutting import DEFAULT_PARTITION_BYTES
from p2p.jobs.unpacking import HEAD_BYTES, BadFile, form_of, in_lines, unpacked
from tests.support.local_jobs import expression, fault, notes

PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
TEXTS = st.lists(st.sampled_from([b"", b"a b", b"\xff\x80", b"x" * 90, "źdźbło".encode()]), max_size=30).map(b"\n".join)


@given(st.sampled_from([*PACK]), TEXTS, TEXTS, st.integers(0, 40))
@example("gz", b"", b"", 0)
def test_joined_files_with_padding_are_the_text(form: str, first: bytes, second: bytes, zeros: int) -> None:
    packed = PACK[form](first) + bytes(zeros) + PACK[form](second) + bytes(zeros)
    assert form_of(packed[:HEAD_BYTES]) == form
    assert b"".join(unpacked(packed, form)) == first + second


@pytest.mark.parametrize("form", PACK)
def test_a_file_cut_short_anywhere_is_noticed(form: str) -> None:
    packed = PACK[form](b"some text\n" * 50)
    for end in range(HEAD_BYTES, len(packed)):
        with pytest.raises(BadFile, match="is cut short"):
            list(unpacked(packed[:end], form))


@given(st.sampled_from([*PACK]), st.data())
def test_damage_is_noticed_or_does_no_harm(form: str, data: st.DataObject) -> None:
    text = b"".join(b"%d some text\n" % n for n in range(100))
    packed = bytearray(PACK[form](text))
    packed[data.draw(st.integers(10, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(BadFile):
        assert b"".join(unpacked(bytes(packed), form)) == text


@pytest.mark.parametrize("form", PACK)
def test_bytes_after_the_end_are_noticed(form: str) -> None:
    with pytest.raises(BadFile, match="bytes after its"):
        list(unpacked(PACK[form](b"a\n") + b"more", form))


@pytest.mark.parametrize("form", PACK)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_text_with_another_mark_is_text_when_it_is_compressed_too(form: str, encoding: str) -> None:
    text = "źdźbło\n" * 30_000
    data = text.encode(encoding)
    for packed in (PACK[form](data), PACK[form](data[:1]) + PACK[form](data[1:])):
        assert b"".join(unpacked(packed, form)).decode() == text
        assert b"".join(expression("inputs.chunks().collect()", {"f": packed}, partition_bytes=10**8)) == data


@pytest.mark.parametrize("form", PACK)
def test_a_bomb_is_unpacked_in_small_pieces(form: str) -> None:
    bomb = PACK[form](bytes(1 << 20)) * 100
    assert len(bomb) < 200_000
    assert max(map(len, unpacked(bomb, form))) <= unpacking.PIECE_BYTES
    with pytest.raises(BadFile, match="a line of more than 64 MiB"):
        list(in_lines(unpacked(bomb, form)))


def test_zst_is_read_where_python_has_it_and_refused_elsewhere() -> None:
    data = b"\x28\xb5\x2f\xfd\x20\x02\x11\x00\x00a\n"  # one block, not compressed
    assert form_of(data) == "zst"
    if find_spec("_zstd") is None:
        with pytest.raises(BadFile, match="this Python cannot decompress: decompress the file first"):
            list(unpacked(data, "zst"))
    else:
        assert list(unpacked(data * 2, "zst")) == [b"a\n"] * 2


def test_memory_that_an_xz_file_asks_for_has_a_bound() -> None:
    asks = lzma.compress(b"a\n", check=lzma.CHECK_CRC32, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 26}])
    assert b"".join(unpacked(asks, "xz")) == b"a\n"
    # The size of the dictionary is one byte of the block's header, which its CRC covers.
    at = asks.index(b"\x21\x01") + 2
    header = bytearray(asks[12 : 12 + 4 * (asks[12] + 1)])
    header[at - 12] = 36  # 1 GiB
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    with pytest.raises(BadFile, match=r"[Mm]emory"):
        list(unpacked(asks[:12] + bytes(header) + asks[12 + len(header) :], "xz"))


@given(TEXTS, st.integers(1, 60), st.integers(0, 100))
def test_pieces_are_joined_at_line_ends(text: bytes, step: int, least: int) -> None:
    pieces = list(in_lines((text[at : at + step] for at in range(0, len(text), step)), least))
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n") and len(piece) >= min(least, 1) for piece in pieces[:-1])


@pytest.mark.parametrize("form", PACK)
def test_a_job_reads_the_lines_of_a_compressed_file(form: str) -> None:
    text = b"".join(b"line %d\n" % n for n in range(3000))
    inputs = {"d/a": text, f"d/b.{form}": PACK[form](text), "d/c": PACK[form](text[:-1])}
    lines = [*text.decode().split("\n")[:-1]] * 3
    for each in (64, 10_000, 1 << 20):
        assert expression("inputs.lines().collect()", inputs, partition_bytes=each) == lines
    chunks = expression("inputs.chunks().collect()", inputs, partition_bytes=1 << 20)
    assert chunks == [text, text, text[:-1]]
    assert expression("inputs.files().collect()", inputs, partition_bytes=1 << 20) == [
        (name.removeprefix("d/"), data) for name, data in inputs.items()
    ], "files() gives files as they are"


def test_large_chunks_end_at_line_ends() -> None:
    text = (b"x" * 99 + b"\n") * 200_000
    sizes = expression("inputs.chunks().map(len).collect()", {"a": gzip.compress(text, 1)})
    assert sum(sizes) == len(text)
    assert all(DEFAULT_PARTITION_BYTES <= size < DEFAULT_PARTITION_BYTES + (2 << 20) for size in sizes[:-1])
    assert all(size % 100 == 0 for size in sizes)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_text_with_a_byte_order_mark(encoding: str) -> None:
    records = [{"słowo": "źdźbło"}, {"słowo": "𝄞"}]
    text = "".join(json.dumps(one, ensure_ascii=False) + "\r\n" for one in records)
    inputs = {"a": text.encode(encoding), "b": gzip.compress(text.encode(encoding))}
    if encoding == "utf-8-sig":
        assert expression("inputs.records().collect()", inputs, partition_bytes=16) == records * 2
        return
    assert expression("inputs.records('a').collect()", inputs, partition_bytes=16) == records
    assert expression("inputs.lines('a').count()", {"a": text.encode(encoding)}, partition_bytes=3) == 2


def test_what_is_not_utf8_is_told_once_a_job() -> None:
    data = "żółw\n".encode("iso-8859-2") * 300
    told = notes("inputs.lines().filter(str.isascii).count()", {"d/plain": b"a\n" * 100, "d/old": data, "d/too": data})
    assert len(told) == 1
    assert told[0].startswith("old is not UTF-8 text: ")
    assert "iconv" in told[0]
    assert (
        "a is not UTF-8 text: 5 characters" in notes("inputs.lines().count()", {"a": "ab\nc\n".encode("utf-16-le")})[0]
    )
    assert notes("inputs.lines().count()", {"a": "\ufffd is a character too\n".encode()}) == []


def test_files_that_are_one_unit_are_told_once() -> None:
    inputs = {f"d/{n}.gz": gzip.compress(b"%d\n" % n) for n in range(5)}
    assert notes("(inputs.lines().count(), inputs.lines().count())", inputs)[0] == (
        "unpacked, and so one unit a file (gz): 0.gz, 1.gz, 2.gz and 2 more. More and smaller files make more units"
    )
    assert notes("inputs.files().count()", inputs) == []


def test_a_file_that_cannot_be_unpacked_is_named() -> None:
    packed = gzip.compress(b"text\n" * 100)
    for data, why in ((packed[:-9], "is cut short"), (packed[:20] + b"\xff\xff" + packed[22:], "is damaged")):
        found = fault("def job(inputs):\n    return inputs.lines().count()\n", {"d/log.gz": data})
        assert found.text.startswith(f"the input's file 'log.gz' {why}")
        assert found.place is not None
        assert found.place.line == 3
