"""Packs an environment into one folder: the same bytes for the same files, whoever packs them, and when.

The folder has `environment.json`, `trees/N` for each folder of the owner's, and `root/usr`, which holds glibc, a shell,
the libraries that the rest is linked with, and whatever of the environment lies in /usr. It is made under a name of its
own, and gets its name when it is whole.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from p2p import causes, private
from p2p.environments import description, interpreter, little_root, machine, omissions, sealing, trees
from p2p.environments.closure import Closure, closure, is_compiled, looks_compiled
from p2p.environments.compiling import compile_modules
from p2p.environments.description import Description, Package, TreeBind
from p2p.environments.interpreter import Interpreter
from p2p.environments.listing import LeftOut, Listing
from p2p.environments.trees import ROOT, TREES, Tree
from p2p.errors import StorageError
from p2p.progress import Progress

_FORMAT = 2
"""Raised whenever the same files would be packed otherwise."""
_LIBRARIES = "/usr/lib/shoal-more"
"""Where libraries go that lie outside of all folders of the environment and of /usr."""


Check = Callable[[], None]
"""Is called now and then, and may raise to stop."""


class Plan(msgspec.Struct, frozen=True):
    """What a pack will hold. `key` is another one as soon as a file of the environment has changed."""

    found: Interpreter
    tops: tuple[str, ...]
    listing: Listing
    key: str
    variables: dict[str, str]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(LeftOut(path, why) for path, why in sorted(self.listing.left_out.items()))

    @property
    def bytes(self) -> int:
        """The size of the files of the environment, without libraries and compiled modules."""
        return sum(item.stamp[0] for item in self.listing.items.values())


class Packed(msgspec.Struct, frozen=True):
    """A pack: its files and bytes, the system's libraries in it by their places, and the names of those not found."""

    description: Description
    files: int
    bytes: int
    libraries: dict[str, str]
    missing: tuple[str, ...]


def plan(source: Path, include: Sequence[str] = (), more: Sequence[Path] = (), check: Check = lambda: None) -> Plan:
    """Finds what belongs to the environment at a path: a venv, a conda environment, or an interpreter. Blocks.

    `include` are files that go along though they look like secrets, `more` are folders besides. `check` is called now
    and then, and may raise to stop. Raises ConfigError for what cannot or must not be packed; StorageError.
    """
    found = interpreter.ask(source)
    wanted = trees.trees_of(found, more)
    tops = tuple(trees.tops(tree.path for tree in wanted))
    listing = Listing(tops, include, check)
    for tree in wanted:
        listing.add_tree(tree)
    for path in (found.executable, found.base_executable):
        listing.add_file(path, os.path.normpath(path))
    for path, real in little_root.tools().items():
        listing.add_file(real, path)
    for folder, without in little_root.folders():
        listing.add_tree(Tree(folder, None, without))
    listing.finish()
    variables = _variables(found, more)
    key = listing.key((_FORMAT, found, tops, variables, _cpu(found)))
    return Plan(found, tops, listing, key, variables)


def pack(planned: Plan, into: Path, check: Check = lambda: None, progress: Progress | None = None) -> Packed:
    """Makes the folder `into` of a plan. Blocks; `check` as in `plan`. Raises StorageError.

    What an earlier try left behind is removed.
    """
    beginning = into.with_name(f".{into.name}.part")
    try:
        shutil.rmtree(beginning, ignore_errors=True)
        beginning.mkdir(parents=True, mode=0o700)
        packed = _fill(planned, beginning, check, progress or Progress())
        sealing.seal(beginning)
        shutil.rmtree(into, ignore_errors=True)
        beginning.rename(into)
    except OSError as error:
        raise StorageError(f"Cannot pack the environment: {causes.explained(error)}") from error
    finally:
        shutil.rmtree(beginning, ignore_errors=True)
    return packed


def _fill(planned: Plan, folder: Path, check: Check, progress: Progress) -> Packed:
    found, listing = planned.found, planned.listing
    own = set(listing.items)
    linked = _add_libraries(planned)
    added = {where: item.source for where, item in listing.items.items() if where not in own}
    progress.state, progress.size = "packing the environment", planned.bytes
    for where, item in listing.items.items():
        check()
        _copy(item.source, folder / where, executable=item.executable, told=item.told)
        progress.done += item.stamp[0]
    progress.state, progress.size, progress.done = "compiling the environment's modules", 0, 0
    for number, top in enumerate(planned.tops):
        check()
        if (folder / TREES / str(number)).is_dir():
            compile_modules(found.base_executable, folder / TREES / str(number), top)
    compile_modules(found.base_executable, folder / ROOT, "/")
    for where, text in listing.links.items():  # only now: what compiles modules follows them
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        (folder / where).symlink_to(text)
    binds = tuple(
        TreeBind(f"{TREES}/{number}", top)
        for number, top in enumerate(planned.tops)
        if (folder / TREES / str(number)).is_dir()
    )
    variables = dict(planned.variables)
    if f"{ROOT}{_LIBRARIES}" in {os.path.dirname(where) for where in added}:
        variables["LD_LIBRARY_PATH"] = ":".join(filter(None, (variables.get("LD_LIBRARY_PATH"), _LIBRARIES)))
    told = Description(
        python=os.path.normpath(found.executable),
        binds=binds,
        root=ROOT,
        variables=dict(sorted(variables.items())),
        arch=machine.arch(),
        cpu=_cpu(found),
        packages=tuple(Package(*one) for one in sorted({(one.name, one.version) for one in found.packages})),
    )
    private.write(folder / description.FILE, description.encode(told))
    found_files = (os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
    sizes = [os.lstat(path).st_size for path in found_files if not os.path.islink(path)]
    # What lies in another folder of the environment, its programs load by its path.
    here = {os.path.basename(where) for where in listing.items}
    missing = tuple(name for name in linked.missing if name not in here)
    return Packed(told, len(sizes), sum(sizes), dict(sorted(added.items())), missing)


def _add_libraries(planned: Plan) -> Closure:
    """Adds what the files of a plan are linked with, and what glibc loads later."""
    found, listing = planned.found, planned.listing
    beside = [Path(found.base) / "lib"] if not trees.is_in(found.base, "/usr") else []
    compiled = [
        item.source
        for where, item in listing.items.items()
        if looks_compiled(os.path.basename(where), 0o100 if item.executable else 0) and is_compiled(item.source)
    ]
    linked = closure(compiled, beside)
    libc = next((path for path, name in linked.libraries.items() if name == "libc.so.6"), None)
    if libc is not None:
        later = little_root.libraries(Path(libc))
        linked = closure([*compiled, *later], beside)
        for path in later:
            listing.add_file(os.path.realpath(path), path)
    for path, name in linked.libraries.items():
        inside = f"{os.path.dirname(path)}/{os.path.basename(name)}"
        if trees.place(inside, planned.tops) is None:
            inside = f"{_LIBRARIES}/{os.path.basename(name)}"
        listing.add_file(os.path.realpath(path), os.path.normpath(inside))
    return linked


def _variables(found: Interpreter, more: Sequence[Path]) -> dict[str, str]:
    """The variables with which programs run inside. What is packed besides and has programs is on PATH too."""
    homes = [found.prefix, found.base, *(str(path.absolute()) for path in more)]
    programs = [f"{os.path.normpath(one)}/bin" for one in homes if os.path.isdir(f"{one}/bin")]
    variables = {"PATH": ":".join(dict.fromkeys([*programs, "/usr/bin"]))}
    library = f"{os.path.normpath(found.base)}/lib"
    if not trees.is_in(trees.in_usr(found.base), "/usr") and any(Path(library).glob("libpython*.so*")):
        # A copy of an interpreter in a venv may look for its library beside itself.
        variables["LD_LIBRARY_PATH"] = library
    java = next((str(path.absolute()) for path in more if (path / "bin" / "java").exists()), None)
    return variables if java is None else {**variables, "JAVA_HOME": java}


def _cpu(found: Interpreter) -> str:
    """The class of CPU that the compiled packages need: of this machine's, if one was built on it."""
    here = machine.class_of(machine.flags(), machine.arch())
    built_here = any(f"-linux_{machine.arch()}" in one.wheel for one in found.packages)
    classes = list(machine.CLASSES)
    return here if built_here or here not in classes else min(here, machine.WHEELS, key=classes.index)


def _copy(source: str, target: Path, *, executable: bool, told: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if told:
        target.write_bytes(omissions.without_credentials(Path(source).read_bytes(), told))
    else:
        shutil.copyfile(source, target)
    os.chmod(target, 0o700 if executable else 0o600)
