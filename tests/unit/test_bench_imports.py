"""Imports among benchmarks, tests and the product go one way, and every benchmark that our texts name is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "scripts/bench"
COMMANDS = sorted(path.stem for path in BENCH.glob("*.py") if path.stem != "__init__")
FOLDERS = ("support", "rivals", "cases")
"""From the lowest upwards; above them are the commands."""
IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\s+\(?\s*(\w+)|import\s+([\w.]+))", re.MULTILINE)
TEXTS = ("README.md", "CHANGELOG.md", "docs/*.md", "p2p/**/*.py", "scripts/bench/**/*.py")


def imports(folder: str, *names: str) -> Iterator[tuple[str, str]]:
    """Each import of these packages beneath a folder: the file, and the module or what is taken from it."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for module, first, whole in IMPORT.findall(path.read_text()):
            taken = whole or f"{module}.{first}"
            if taken.partition(".")[0] in names:
                yield path.relative_to(ROOT).as_posix(), taken


def rank(folder: str) -> int:
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


@pytest.mark.parametrize("folder", ["p2p", "tracker"])
def test_the_product_imports_neither_tests_nor_scripts(folder: str) -> None:
    assert list(imports(folder, "tests", "scripts")) == []


def test_tests_import_no_benchmark() -> None:
    assert list(imports("tests", "scripts")) == []


def test_benchmarks_take_from_the_tests_only_peers() -> None:
    taken = list(imports("scripts", "tests"))
    assert {path for path, _ in taken} == {"scripts/bench/kills.py", "scripts/bench/surprises.py"}
    assert all(name.startswith("tests.support.") for _, name in taken)


def test_benchmarks_import_downwards() -> None:
    upwards = [
        (path, name)
        for path, name in imports("scripts/bench", "scripts")
        if rank(path.split("/")[2]) < rank(name.split(".")[2])
    ]
    assert upwards == []


def test_an_engine_needs_nothing_but_itself() -> None:
    """Its interpreter has none of our dependencies; it imports `scripts.bench` itself on the way."""
    assert not IMPORT.search((BENCH / "__init__.py").read_text())
    needed = {name for _, name in imports("scripts/bench/rivals/engines", "scripts", "p2p", "tracker", "tests")}
    assert needed
    assert all(name.startswith("scripts.bench.rivals.engines.") for name in needed)


def test_every_module_at_the_top_is_run_by_its_name() -> None:
    listed = re.findall(r"python -m scripts\.bench\.(\w+)", (BENCH / "__init__.py").read_text())
    assert sorted(listed) == COMMANDS
    for name in COMMANDS:
        assert 'if __name__ == "__main__":' in (BENCH / f"{name}.py").read_text(), name


def test_benchmarks_that_texts_name_are_there() -> None:
    for path in (path for pattern in TEXTS for path in ROOT.glob(pattern)):
        for name in re.findall(r"python -m scripts\.bench\.([\w.]*\w)", path.read_text()):
            at = BENCH / name.replace(".", "/")
            assert at.with_suffix(".py").is_file() or (at / "__main__.py").is_file(), f"{name} in {path}"
