"""Commands about the Python environments that a user's clusters run in."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.asking import as_text, perform, print_answer
from p2p.commandline.options import Global, Json, as_path, networked

if TYPE_CHECKING:
    from p2p.config import Settings
    from p2p.control.answers import PackAnswer

app = typer.Typer(help="Pack a Python environment for the members of your clusters.", no_args_is_help=True)
MAX_TOLD = 20


@app.callback()
def _group() -> None:
    """Makes `pack` a command of its own, though it is the only one."""


@app.command()
@networked
def pack(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="A venv, a conda environment, or an interpreter. \\[default: the active one]",
            parser=as_path,
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Make a venv of this file, and pack that.", parser=as_path),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Another folder that goes along, such as Java; repeatable.", parser=as_path),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A file that goes along though it looks like a secret; repeatable."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The share's name.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which files would go along, and pack nothing.")
    ] = False,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Pack a Python environment, with its interpreter and libraries, for the members of your clusters.

    Only they can get it. Prints its link.
    """
    from p2p.control.protocol import PackRequest

    if requirements is not None and name is None:
        name = f"{requirements.stem} environment"
    source, folders = _source(path, requirements), [one.absolute() for one in also or ()]
    if dry_run:
        _list(source, include or [], folders, as_json)
        return
    request = PackRequest(
        source=str(source), name=name, include=tuple(include or ()), more=tuple(str(one) for one in folders)
    )
    perform(request, settings, lambda answer: _show(answer, as_json))


def _source(path: Path | None, requirements: Path | None) -> Path:
    from p2p.errors import ConfigError
    from p2p.homes import ENVIRONMENTS

    if path is not None and requirements is not None:
        raise ConfigError("Give an environment or --requirements, not both.")
    if requirements is not None:
        from p2p.environments.requirements import environment_of

        return environment_of(requirements, Global.home / ENVIRONMENTS / "venvs")
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    if path is None and not active:
        raise ConfigError("No environment is active. Give the folder of one: shoal env pack PATH")
    return Path(os.path.normpath((path or Path(active or "")).absolute()))


def _list(source: Path, include: list[str], more: list[Path], as_json: bool) -> None:
    from p2p.commandline.terminal import count, note
    from p2p.environments.packing import plan
    from p2p.formats import format_size
    from p2p.log import printable

    planned = plan(source, include, more)
    files = sorted((item.source, item.stamp[0]) for item in planned.listing.items.values())
    if as_json:
        left_out = [{"path": one.path, "why": one.why} for one in planned.left_out]
        print_answer(as_text({"files": [path for path, _ in files], "left_out": left_out, "bytes": planned.bytes}))
        return
    print_answer("\n".join(printable(path) for path, _ in files))
    for one in planned.left_out:
        note(f"left out {one.path}: {one.why}")
    note(
        f"{count(len(files), 'file')}, {format_size(planned.bytes)}, would go along, and the libraries of this system "
        "that they are linked with."
    )


def _show(answer: "PackAnswer", as_json: bool) -> None:
    from p2p.commandline.terminal import count, note
    from p2p.formats import format_size

    print_answer(as_text(answer) if as_json else answer.link)
    for one in answer.left_out[:MAX_TOLD]:
        note(f"left out {one.path}: {one.why}")
    if answer.left_out_count > MAX_TOLD:
        note(f"and {answer.left_out_count - MAX_TOLD:,} more, which --dry-run lists")
    did = "Packed" if answer.packed else "Nothing has changed since this was packed:"
    note(f"{did} {answer.name}: {count(answer.files, 'file')}, {format_size(answer.bytes)}, in {answer.seconds:.2g} s.")
    note("Only members of your clusters can get it. They can read all of it.")
