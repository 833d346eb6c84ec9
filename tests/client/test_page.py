"""The lines of docs/python.md run, in their order, and give what it says beside them."""

import ast
import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import trio

from p2p import Peer
from tests.support.world import NETWORK, PATIENCE_S, World, hint_of
from tests.support.world_jobs import volunteer

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOMEBODY = "192.0.2.7:7474"
"""The address of a volunteer, on the page."""


def program(page: str) -> tuple[str, int]:
    """The lines of a page as one program that compares what its expressions give; and how many these are."""
    lines = "\n".join(BLOCK.findall(page)).splitlines()
    told = dict(expected(lines))
    for line, (end, value) in told.items():
        text = lines[line].partition("  # ")[0]
        indent = text[: len(text) - len(text.lstrip())]
        assert end == line, f"{text}: one line, please"
        lines[line] = f"{indent}found = {text.strip()}; assert found == {value}, found"
    return "\n".join(lines), len(told)


def expected(lines: list[str]) -> Iterator[tuple[int, tuple[int, str]]]:
    """The lines that are an expression with a value beside it, and that value."""
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Expr) and node.end_lineno is not None:
            _, sign, value = lines[node.end_lineno - 1].partition("  # ")
            if sign:
                ast.literal_eval(value)
                yield node.lineno - 1, (node.end_lineno - 1, value)


async def test_the_lines_of_the_page_run_and_give_what_it_says(world: World) -> None:
    lender, owner = await volunteer(world), await world.peer("owner")
    page = PAGE.read_text()
    text, count = program(page)
    assert count > 8
    assert text.count(SOMEBODY) == 1
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOAL_")} | {
        "SHOAL_HOME": str(owner.home),
        "SHOAL_NETWORK_NAME": NETWORK,
        "SHOAL_NETWORK_LISTEN": "127.0.0.1:0",
        "SHOAL_NETWORK_LAN": "false",
        "SHOAL_NETWORK_DHT": "false",
    }
    script = world.folder / "page.py"
    script.write_text(text.replace(SOMEBODY, str(hint_of(lender))))
    with trio.fail_after(PATIENCE_S):
        ended = await trio.run_process(
            [sys.executable, "-W", "error", str(script)],
            cwd=world.folder,
            env=environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr.decode()
    assert "Nobody had it" in ended.stdout.decode()
    assert ended.stderr == b""


def test_the_page_names_every_method() -> None:
    """And each of their arguments."""
    rows = re.findall(r"^\| `(\w+)\((.*?)\)` \|", PAGE.read_text(), re.MULTILINE)
    methods = {name: value for name, value in inspect.getmembers(Peer, inspect.isfunction) if name[0] != "_"}
    arguments = {name: [one.lstrip("*") for one in text.split(", ") if one] for name, text in rows}
    assert arguments == {name: list(inspect.signature(value).parameters)[1:] for name, value in methods.items()}
