"""A program in C, the example `examples/wasm/agrep.c`: as it is there, and built anew where there is a compiler."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2p.jobs.cutting import at_lines, by_size, driven
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.guest import Reply
from p2p.sandbox.limits import GuestEnded, GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from tests.support.guest_programs import SEED, run_module

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "wasm"
LIMITS = GuestLimits(wall_s=30, memory_bytes=4 << 20, output_bytes=8 << 20)
BUFFER_BYTES = 64 * 1024


@pytest.fixture(scope="session", params=["as it is", "built anew"])
def agrep(request: pytest.FixtureRequest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    path = FOLDER / "agrep.wasm"
    if request.param == "built anew":
        if not (shutil.which("make") and shutil.which("clang") and Path("/usr/include/wasm32-wasi").is_dir()):
            pytest.skip("make, clang or wasi-libc is not installed")
        path = tmp_path_factory.mktemp("built") / path.name
        for name in ("Makefile", "agrep.c"):
            shutil.copy(FOLDER / name, path.parent)
        subprocess.run(["make", "-C", path.parent], check=True, capture_output=True)
    runtime = runtimes.for_module(path)
    trio.run(compiled.ensure_compiled, cache, runtime, print)
    return runtime


async def run(modules: Sandbox, agrep: Runtime, stdin: bytes, *options: str) -> Reply:
    return await run_module(modules, agrep, ["agrep.wasm", *options], stdin, seed=SEED, limits=LIMITS)


def pieces(text: bytes, each: int) -> Iterator[bytes]:
    """As a job's input is cut: about `each` bytes, at line ends."""
    for partition in by_size([len(text)], each):
        for piece in partition:
            cut = driven(at_lines(piece, len(text)), lambda offset, size: text[offset : offset + size])
            yield text[cut.offset : cut.offset + cut.size]


def distance(word: bytes, line: bytes) -> int:
    """The least edit distance of the word and any part of the line (Sellers 1980)."""
    column = list(range(len(word) + 1))
    least = column[-1]
    for byte in line:
        before, column = column, [0]
        for row, letter in enumerate(word):
            column.append(min(before[row] + (byte != letter), before[row + 1] + 1, column[row] + 1))
        least = min(least, column[-1])
    return least


def lines_near(word: str, errors: int, text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    return [line for line in lines[: len(lines) - (not lines[-1])] if distance(word.encode(), line) <= errors]


async def test_the_pieces_of_a_text_give_together_what_the_text_gives(modules: Sandbox, agrep: Runtime) -> None:
    text = b"".join(path.read_bytes() for path in sorted((ROOT / "docs").glob("*.md")))
    expected = lines_near("volunteer", 2, text)
    assert 10 < len(expected) < text.count(b"\n")
    cut = list(pieces(text, 5_000))
    assert b"".join(cut) == text
    options = ["--word=volunteer", "--errors=2"]
    found, counted, seen = [], 0, 0
    for number, piece in enumerate(cut):
        place = [f"--partition={number}", f"--partitions={len(cut)}"]
        lines, log = await run(modules, agrep, piece, *options, *place)
        count, _ = await run(modules, agrep, piece, *options, "--count=yes", *place)
        found += lines.splitlines(keepends=True)
        counted += int(count)
        assert log.startswith(f"part {number} of {len(cut)}: {int(count)} of ".encode())
        seen += int(log.split()[-2])
    assert found == [line + b"\n" for line in expected]
    assert (counted, seen) == (len(expected), text.count(b"\n"))


async def test_any_bytes_in_lines_of_any_length(modules: Sandbox, agrep: Runtime) -> None:
    chance = random.Random(5)
    words = [b"Wroc\xc5\x82aw", b"Wroclaw", b"Wrocaw", b"Wrrocla", b"\xff\xfe", b"\0", b"\r", b" ", b"Breslau", b""]
    lines = [b"".join(chance.choices(words, k=chance.randrange(6))) for _ in range(400)]
    text = b"\n".join(lines)
    for errors in range(4):
        expected = lines_near("Wrocław", errors, text)
        assert 0 < len(expected) < len(lines)
        output, _ = await run(modules, agrep, text, "--word=Wrocław", f"--errors={errors}")
        assert output == b"".join(line + b"\n" for line in expected)


async def test_a_word_is_found_across_reads_and_a_long_line_is_cut(modules: Sandbox, agrep: Runtime) -> None:
    for before in (0, BUFFER_BYTES - 7, BUFFER_BYTES - 4, 3 * BUFFER_BYTES):
        line = b"." * before + b"needle" + b"." * BUFFER_BYTES
        output, _ = await run(modules, agrep, b"hay\n" + line + b"\nhay\nneedle\n", "--word=needle")
        assert output == line[:BUFFER_BYTES] + b"\nneedle\n"


LINE_ENDS = {
    b"": (b"", 0),
    b"\n": (b"", 1),
    b"\n\n": (b"", 2),
    b"a needle": (b"a needle\n", 1),
    b"hay\nneedl": (b"needl\n", 2),
    b"hay\nneedle\n": (b"needle\n", 2),
    b"nee\ndle\n": (b"", 2),
    b"needle\r\n": (b"needle\r\n", 1),
}


async def test_line_ends(modules: Sandbox, agrep: Runtime) -> None:
    for stdin, (output, seen) in LINE_ENDS.items():
        found = output.count(b"\n")
        log = f"part 0 of 1: {found} of {seen} lines\n".encode()
        assert await run(modules, agrep, stdin, "--word=needle") == (output, log)
        assert await run(modules, agrep, stdin, "--word=needle", "--count=yes") == (f"{found}\n".encode(), log)


async def test_the_longest_word(modules: Sandbox, agrep: Runtime) -> None:
    word = "ab" * 32
    text = f"x{word}x\n{word[:30]}?{word[30:]}\n{word[2:]}\n{word[3:]}\n".encode()
    for errors, found in ((0, 1), (1, 2), (2, 3), (3, 4)):
        assert (await run(modules, agrep, text, f"--word={word}", f"--errors={errors}", "--count=yes"))[0] == (
            f"{found}\n".encode()
        )


WRONG = {
    "--word=TEXT is missing": [""],
    "--word is 1 to 64 bytes": ["--word=", "--word=" + 65 * "x", "--word=a\nb"],
    "with as many --errors as": ["--word=ab --errors=2", "--word=a"],
    "not a number: --errors=": [f"--word=ab --errors={number}" for number in ("", "-1", "+1", "1x", 10**9, "\u0661")],
    "neither yes nor no: --count=1": ["--word=ab --count=1"],
    "--partition is not one of": ["--word=ab --partition=4 --partitions=4", "--word=ab --partitions=0"],
    "unknown: --speed=9": ["--word=ab --speed=9"],
    "unknown: file": ["--word=ab file"],
}


async def test_wrong_options_end_it_with_the_reason(modules: Sandbox, agrep: Runtime) -> None:
    for said, wrong in WRONG.items():
        for options in wrong:
            with pytest.raises(GuestEnded, match="code 2") as ended:
                await run(modules, agrep, b"ab\n", *filter(None, options.split(" ")))
            assert ended.value.kind == "failed"
            assert ended.value.log.startswith(f"agrep: {said}".encode()), options


async def test_lines_beyond_the_limit_of_an_answer_end_it(modules: Sandbox, agrep: Runtime) -> None:
    limits = replace(LIMITS, output_bytes=1_000)
    with pytest.raises(GuestEnded) as ended:
        await run_module(modules, agrep, ["agrep.wasm", "--word=ab"], b"ab\n" * 400, seed=SEED, limits=limits)
    assert ended.value.kind == "output"


def test_the_source_says_how_to_run_it() -> None:
    assert "shoal run examples/wasm/agrep.wasm" in (FOLDER / "agrep.c").read_text()
    assert (FOLDER / "agrep.wasm").stat().st_size < 64 * 1024
