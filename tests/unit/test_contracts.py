"""The figures and import contracts that the project holds itself to, read from its files."""

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("p2p", "tracker")
MAX_FILES = 24
"""In one folder: as many as a reader takes in at a glance."""
MAX_ARGUMENTS = 12
"""Of a constructor, besides self, and fields of what the parts of a package share."""
WIRING = {"Node"}
"""Classes that may have more: they put a peer together."""
NAMING = (
    "modules",
    "containers",
    "source_modules",
    "forbidden_modules",
    "protected_modules",
    "allowed_importers",
    "ancestors",
)
"""Keys of a contract under which modules are listed."""


def contracts() -> list[dict[str, Any]]:
    """The contracts as pyproject.toml has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def sources(*tops: str) -> Iterator[Path]:
    for top in tops:
        yield from sorted((ROOT / top).rglob("*.py"))


def modules() -> set[str]:
    """The names of all modules and packages."""
    found = {"cli"}
    for path in sources(*PACKAGES):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def named(contract: dict[str, Any]) -> Iterator[str]:
    """Every module, or pattern of modules, that the contract speaks of."""
    for key in NAMING:
        yield from contract.get(key, ())
    for line in contract.get("ignore_imports", ()):
        importer, _, imported = line.partition(" -> ")
        yield from (importer, imported)
    layers = [part.strip() for layer in contract.get("layers", ()) for part in layer.replace(":", "|").split("|")]
    inside = [f"{container}." for container in contract.get("containers", ())] or [""]
    for prefix in inside:
        yield from (prefix + layer.strip("()") for layer in layers)
    for container in contract.get("containers", ()):
        yield from (f"{container}.{ignored}" for ignored in contract.get("exhaustive_ignores", ()))


def exists(pattern: str, known: set[str]) -> bool:
    """Whether it names a module of ours, or a package that is somebody else's."""
    if pattern.partition(".")[0] not in {*PACKAGES, "cli"}:
        return "." not in pattern
    wanted = pattern.split(".")
    return any(_fits(wanted, module.split(".")) for module in known)


def _fits(wanted: list[str], module: list[str]) -> bool:
    """As import-linter has it: `*` is one part of a name, `**` is one or more."""
    match wanted:
        case []:
            return not module
        case ["**", *rest]:
            return any(_fits(rest, module[at:]) for at in range(1, len(module) + 1))
        case [first, *rest]:
            return bool(module) and fnmatchcase(module[0], first) and _fits(rest, module[1:])
    raise AssertionError(wanted)


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract["name"])
def test_a_contract_names_only_modules_that_exist(contract: dict[str, Any]) -> None:
    known = modules()
    assert [name for name in named(contract) if not exists(name, known)] == []


def test_no_contract_looks_away() -> None:
    assert [
        contract["name"] for contract in contracts() if {"ignore_imports", "exhaustive_ignores"} & set(contract)
    ] == []


def test_a_module_that_does_not_exist_is_noticed() -> None:
    known = modules()
    for name in ("p2p.net", "p2p.commandline.*", "p2p.**", "p2p.compute.**.deps", "trio"):
        assert exists(name, known)
    for name in ("p2p.services", "p2p.ids.*", "p2p.*.nothing", "p2p.errors.**", "tracker.nothing"):
        assert not exists(name, known)
    layered = {"containers": ["p2p", "tracker"], "layers": ["a | b", "(c)"], "ignore_imports": ["p2p.x -> p2p.y"]}
    assert set(named(layered)) == {
        *("p2p", "tracker", "p2p.x", "p2p.y"),
        *("p2p.a", "p2p.b", "p2p.c", "tracker.a", "tracker.b", "tracker.c"),
    }


def test_what_travels_with_a_job_may_import_no_other_part() -> None:
    (contract,) = [contract for contract in contracts() if contract["name"].startswith("what travels with a job")]
    parts = {name for name in modules() if name.count(".") == 1 and name.startswith("p2p.")}
    assert contract["source_modules"] == ["p2p.jobs"]
    assert parts - set(contract["forbidden_modules"]) == {"p2p.jobs"}


@pytest.mark.parametrize("top", [*PACKAGES, "tests"])
def test_no_folder_has_more_files_than_a_reader_takes_in(top: str) -> None:
    count: dict[str, int] = {}
    for path in sources(top):
        folder = path.parent.relative_to(ROOT).as_posix()
        count[folder] = count.get(folder, 0) + 1
    assert {folder: files for folder, files in count.items() if files > MAX_FILES} == {}


@dataclass(frozen=True)
class Constructor:
    """How a class is made, and where it stands."""

    place: str
    name: str
    arguments: int


def constructors(tree: ast.AST, place: str) -> Iterator[Constructor]:
    """Those that are written out, and those of the dataclasses called Deps."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                given = part.args
                some = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
                yield Constructor(place, node.name, sum(one is not None for one in some) - 1)
        if node.name == "Deps":
            yield Constructor(place, node.name, sum(isinstance(part, ast.AnnAssign) for part in node.body))


def test_no_constructor_takes_more_than_a_reader_can_follow() -> None:
    found = [
        made
        for path in sources(*PACKAGES)
        for made in constructors(ast.parse(path.read_text()), path.relative_to(ROOT).as_posix())
    ]
    assert len([made for made in found if made.name == "Deps"]) >= 5
    assert [made for made in found if made.arguments > MAX_ARGUMENTS and made.name not in WIRING] == []


def test_arguments_are_counted_whatever_their_kind() -> None:
    text = (
        "class A:\n    def __init__(self, a, /, b, *rest, c=1, **more): pass\n"
        "@dataclass(frozen=True)\nclass Deps:\n    a: int\n    b: str = ''\n    def c(self): pass\n"
    )
    assert list(constructors(ast.parse(text), "x.py")) == [Constructor("x.py", "A", 5), Constructor("x.py", "Deps", 2)]
