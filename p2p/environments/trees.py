"""Which folders of the owner's machine belong to an environment, and where in the pack they go.

What lies in /usr is merged into the little root, which is seen as /usr; all other folders become trees of their own, of
which none lies in another.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from p2p.environments.interpreter import Distribution, Interpreter
from p2p.errors import ConfigError

ROOT, TREES = "root", "trees"
"""Folders in a pack."""
_MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What is a link into /usr, or seen as one."""
OWN = ("/proc", "/sys", "/dev", "/run", "/tmp")
"""What each member has for itself, so that nothing can be bound at or below it."""
HOME = "/home/me"
"""The folder of a member in which programs write."""
LITTLE_USED = frozenset({"test", "idlelib", "turtledemo", "tkinter", "ensurepip"})
"""Parts of the standard library that no engine needs; they are not packed."""
_FOLDERS_OF_A_PREFIX = frozenset({"pkgs", "envs", "conda-bld", "include"})
_DOCUMENTS = frozenset({"doc", "man", "info", "gtk-doc"})


class Tree(msgspec.Struct, frozen=True):
    """A folder to be packed, as an absolute path. `only`: the names in it that are; None: all."""

    path: str
    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    """Absolute paths below it that are not packed."""


def in_usr(path: str) -> str:
    """The path by way of /usr, if it is one that leads there."""
    for top in _MERGED:
        if path == top or path.startswith(f"{top}/"):
            return f"/usr{path}"
    return path


def is_in(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it; both are absolute and normal."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def trees_of(found: Interpreter, more: Sequence[Path]) -> list[Tree]:
    """The folders of an environment; what is in one of them may be named again. `more` are whatever else is to go.

    Raises ConfigError if an editable install cannot be understood.
    """
    prefix, base, stdlib = map(os.path.normpath, (found.prefix, found.base, found.stdlib))
    trees = [Tree(prefix)] if prefix != base else []
    searched = [os.path.normpath(path) for path in found.path if os.path.isdir(path)]
    unneeded = frozenset(f"{stdlib}/{name}" for name in LITTLE_USED)
    unneeded |= frozenset(path for path in _listed(stdlib) if os.path.basename(path).startswith("config-"))
    if is_in(in_usr(base), "/usr"):
        trees += [Tree(path, None, unneeded) for path in searched if is_in(path, base) and not is_in(path, prefix)]
        if prefix == base:
            trees += [Tree(path) for path in searched if is_in(path, base)]
    else:
        site = f"{stdlib}/site-packages"
        without = unneeded | frozenset(f"{base}/{name}" for name in _FOLDERS_OF_A_PREFIX)
        without |= frozenset(f"{base}/share/{name}" for name in _DOCUMENTS)
        without |= frozenset() if site in searched else {site}
        trees.append(Tree(base, None, without))
    inside = [tree.path for tree in trees]
    trees += _editable(found, [path for path in searched if not any(is_in(path, one) for one in inside)])
    trees += [Tree(os.path.normpath(path.absolute())) for path in more]
    return trees


def tops(paths: Iterable[str]) -> list[str]:
    """The folders of which none lies in another, without those in /usr. Raises ConfigError for what is not bound."""
    found: list[str] = []
    for path in sorted(set(paths), key=lambda path: path.split("/")):
        if is_in(in_usr(path), "/usr"):
            continue
        if own := next((one for one in OWN if is_in(path, one)), None):
            raise ConfigError(
                f"{path} cannot be part of an environment: each member of a cluster has a {own} of its own. "
                "Make the environment in another folder."
            )
        if path in {"/", "/etc", "/home"} or is_in(path, HOME):
            raise ConfigError(f"{path} as a whole cannot be part of an environment.")
        if not any(is_in(path, one) for one in found):
            found.append(path)
    return found


def place(path: str, among: Sequence[str]) -> str | None:
    """Where in the pack an absolute path goes, given the tops; None if nowhere."""
    if is_in(in_usr(path), "/usr"):
        return f"{ROOT}{in_usr(path)}"
    for number, top in enumerate(among):
        if is_in(path, top):
            return f"{TREES}/{number}{path[len(top) :]}"
    return None


def top_of(place: str) -> str:
    """The folder of a pack that is bound as a whole, for a place in it."""
    return ROOT if place.startswith(f"{ROOT}/") else "/".join(place.split("/")[:2])


def _listed(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:
        return []


def _editable(found: Interpreter, outside: Sequence[str]) -> list[Tree]:
    """What editable installs would install, as far as `outside`, their folders, and the hooks say."""
    trees = []
    for where in found.mapped.values():
        for path in (where, f"{where}.py"):
            if os.path.exists(path):
                trees.append(Tree(os.path.dirname(path), frozenset({os.path.basename(path)})))
    for path in outside:
        projects = [one for one in found.packages if is_in(path, _project(one)) or is_in(one.where, path)]
        for one in projects:
            trees.append(Tree(path, frozenset(_installed(one, path)) | {os.path.basename(one.where)}))
    if found.hooks and not found.mapped:
        raise ConfigError(
            "An editable install of this environment brings modules by code of its own, so it cannot be told what "
            "belongs to it. Install it without -e."
        )
    return trees


def _project(one: Distribution) -> str:
    """The folder of a project that is installed editable; a path that nothing lies in, if it is not."""
    try:
        told = msgspec.json.decode(one.direct_url or "{}", type=_DirectUrl)
    except msgspec.DecodeError:
        return "/\0"
    url = urlsplit(told.url)
    editable = told.dir_info is not None and told.dir_info.editable and url.scheme == "file"
    return os.path.normpath(unquote(url.path)) if editable else "/\0"


def _installed(one: Distribution, path: str) -> list[str]:
    """The names in a folder of modules that a package would install."""
    listed = {os.path.basename(name) for name in _listed(path)}
    normal = re.sub(r"[-_.]+", "_", one.name).lower()
    if one.top_level:
        wanted = set(one.top_level)
    elif path != _project(one):
        wanted = {name.partition(".")[0] for name in listed if _is_module(path, name)}
    else:
        wanted = {name for name in (n.partition(".")[0] for n in listed) if name.lower() == normal}
    taken = [name for name in listed if name.partition(".")[0] in wanted and _is_module(path, name)]
    if not taken:
        raise ConfigError(
            f"Cannot tell which files the editable install of {one.name} in {path} would install. Install it "
            "without -e."
        )
    return taken


def _is_module(path: str, name: str) -> bool:
    if name.endswith((".py", ".so")):
        return name != "setup.py"
    return name.isidentifier() and os.path.isdir(f"{path}/{name}")


class _DirInfo(msgspec.Struct):
    editable: bool = False


class _DirectUrl(msgspec.Struct):
    url: str = ""
    dir_info: _DirInfo | None = None
