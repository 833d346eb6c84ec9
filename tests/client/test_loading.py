"""What a program loads with `from p2p import Peer`, and what it does not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import p2p
from tests.support.world import World

PROGRAM = """
import sys
import p2p
few = [name for name in sys.modules if name.startswith("p2p.")]
assert not few, few
peer = p2p.Peer(sys.argv[1])
peer.shares()
unwanted = {"trio", "cryptography", "httpx2", "httpcore2", "http.client", "anyio", "ssl", "asyncio", "typer", "rich",
            "jinja2", "numpy", "pandas", "IPython", "joblib", "concurrent.futures", "fsspec"}
print(sorted(unwanted & set(sys.modules)))
"""


async def test_no_event_loop_cryptography_or_http_client_is_loaded(world: World) -> None:
    import trio

    local = await world.peer("one")
    command = [sys.executable, "-c", PROGRAM, str(local.home)]
    ended = await trio.run_process(command, capture_stdout=True, check=False)
    assert (ended.returncode, ended.stdout.decode().strip()) == (0, "[]")


def test_the_names_of_the_package_are_where_their_types_are() -> None:
    stub = ast.parse(Path(p2p.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    typed = {str(alias.asname): (str(node.module), alias.name) for node in imports for alias in node.names}
    assert {"__version__", *typed} == set(vars(p2p)["__all__"])
    for name, (module, original) in typed.items():
        assert getattr(p2p, name).__module__ == module
        assert original == name
    with pytest.raises(AttributeError, match="has no attribute 'Pear'"):
        _ = p2p.Pear  # type: ignore[attr-defined]
    assert subprocess.run([sys.executable, "-c", "from p2p import *; Peer, ShareAnswer"], check=True)
