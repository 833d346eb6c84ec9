"""The notebooks of examples/ run, each in a process of its own, and give what they have as their outputs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import PATIENCE_S, Peer

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("kmeans", "parquet", "sweep")
NETWORK = "test-notebooks"
SMALL = 64 * 1024
PROGRAM = """
import sys, nbformat
from nbclient import NotebookClient

for path in sys.argv[2:]:
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=float(sys.argv[1]), record_timing=False, kernel_name="python3").execute()
    nbformat.write(notebook, path)
"""


def outputs(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", ())]


def said(path: Path) -> list[str]:
    """The values that cells had, but for tables, which tell of this run."""
    values = [output["data"] for output in outputs(path) if output["output_type"] == "execute_result"]
    return ["".join(value["text/plain"]) for value in values if "text/html" not in value]


@pytest.mark.parametrize("name", NAMES)
def test_the_outputs_that_come_with_a_notebook_are_small(name: str) -> None:
    path = EXAMPLES / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < SMALL
    kinds = {kind for output in outputs(path) for kind in output.get("data", ())}
    assert {"text/html", "image/png"} <= kinds
    assert not [output for output in outputs(path) if output["output_type"] == "error"]
    assert said(path)


def test_the_notebooks_run(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    folder = tmp_path / "examples" / "notebooks"
    with Peer(tmp_path / "helper", network=NETWORK).node("--volunteer") as helper:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOAL_")} | {
            "SHOAL_HOME": str(tmp_path / "home"),
            "SHOAL_NETWORK_NAME": NETWORK,
            "SHOAL_NETWORK_LISTEN": "127.0.0.1:0",
            "SHOAL_NETWORK_LAN": "false",
            "SHOAL_NETWORK_JOIN": helper.address,
            "IPYTHONDIR": str(tmp_path / "ipython"),
        }
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(PATIENCE_S), *(f"{name}.ipynb" for name in NAMES)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S * len(NAMES),
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        for name in NAMES:
            path = folder / f"{name}.ipynb"
            assert said(path) == said(EXAMPLES / "notebooks" / path.name)
            tables = [output["data"]["text/html"] for output in outputs(path) if "text/html" in output.get("data", ())]
            assert name == "parquet" or "</strong></bdi> done</p>" in "".join(tables[0])
