"""Commands about jobs: to run them on volunteers' machines, to list them, and to see what they printed."""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline import fetches
from p2p.commandline.asking import NOBODY, as_text, either, perform, print_answer
from p2p.commandline.fetches import Background
from p2p.commandline.options import Json, as_path, networked

if TYPE_CHECKING:
    from p2p.compute.answers import JobAnswer
    from p2p.config import Settings
    from p2p.progress import Progress


WITH_LOCAL = frozenset(
    {"job", "inputs", "arg", "partitions", "out", "along", "requirements", "seed", "max_skipped", "local", "as_json"}
)
"""The parameters of `run` that have a meaning with --local."""
KEPT = "The job is kept: `shoal jobs` lists it, `shoal resume ID` resumes it, `shoal cancel ID` forgets it."
NOT_WITH_RESUME = frozenset(
    {
        "background",
        "inputs",
        "arg",
        "runtime",
        "partitions",
        "unit_memory",
        "unit_time",
        "trust",
        "volunteers",
        "out",
        "wait",
    }
    | {"along", "requirements", "seed", "max_skipped"}
)
"""The parameters of `run` that are fixed when a job is started."""


@networked
def run(
    context: typer.Context,
    job: Annotated[
        Path | None,
        typer.Argument(
            metavar="JOB",
            help="A Python file with a function named `job`, a folder with job.py, or a .wasm file.",
            parser=as_path,
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="LINK_OR_PATH", help="An input of the job; repeatable.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An argument for the job; VALUE is JSON, or text if it is not valid JSON; repeatable.",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(metavar="RUNTIME", help="python-wasm or python-wasm-science; chosen automatically if not given."),
    ] = None,
    partitions: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Approximate number of units per stage. "
            "\\[default: four per core, each with 64 KiB to 8 MiB of input]",
            min=0,
            show_default=False,
        ),
    ] = 0,
    unit_memory: Annotated[str, typer.Option(metavar="SIZE", help="Maximum memory of a unit.")] = "512MiB",
    unit_time: Annotated[str, typer.Option(metavar="TIME", help="Maximum time that a unit may take.")] = "10m",
    trust: Annotated[
        str,
        typer.Option(
            metavar="own",
            help="How far to trust volunteers. The only choice is `own`, which accepts all results unchecked.",
        ),
    ] = "own",
    volunteers: Annotated[
        int,
        typer.Option(
            metavar="N", help="Maximum number of volunteers. \\[default: all found]", min=0, show_default=False
        ),
    ] = 0,
    peer: Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="A volunteer to ask; repeatable.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the files that the job saves.", parser=as_path)
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop after this long without any volunteer; --resume continues the job."),
    ] = None,
    along: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="A file that goes along with the job, or a wheel; repeatable.",
            parser=as_path,
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--with-requirements",
            metavar="FILE",
            help="Packages that go along: a list of NAME==VERSION; pip gets their wheels.",
            parser=as_path,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Draw random numbers from this seed. \\[default: another one for each run]",
            min=0,
            max=2**53 - 1,
            show_default=False,
        ),
    ] = None,
    max_skipped: Annotated[
        int,
        typer.Option(
            metavar="N", help='Maximum number of records that operations with on_error="skip" may leave out.', min=0
        ),
    ] = 1000,
    local: Annotated[
        bool, typer.Option("--local", help="Run in this process, without volunteers or a sandbox.")
    ] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="JOB_ID", help="Resume a stopped job, with the options it was started with.")
    ] = None,
    background: Background = False,
    as_json: Json = False,
    *,
    settings: "Settings",
) -> None:
    """Run a job on volunteers' machines, and print its result."""
    from msgspec import UNSET

    from p2p.compute.arguments import parse_all
    from p2p.compute.spec import JobSpec
    from p2p.control.protocol import BackgroundRequest, ResumeRequest, RunRequest
    from p2p.errors import ConfigError
    from p2p.formats import parse_size, parse_time
    from p2p.paths import absolute, to_make
    from p2p.wire.link import parse_peer

    if trust != "own":
        if trust == "audit" or trust.startswith("quorum="):
            raise ConfigError(f"--trust {trust}: not in this version. The only choice, own, trusts all volunteers.")
        raise ConfigError(f"--trust {trust}: the only choice is own.")
    if local and (given := [text for name, text in _given(context) if name not in WITH_LOCAL]):
        raise ConfigError(
            f"{', '.join(given)}: not with --local, which runs the whole job in this process, without network or "
            "volunteers. Leave out one or the other."
        )
    if (job is None) == (resume is None):
        raise ConfigError("Give a job to run, or --resume with the id of a stopped job: see `shoal jobs`.")

    show = partial(shown, as_json)
    for text in peer or ():
        parse_peer(text)
    if job is None:
        if given := [text for name, text in _given(context) if name in NOT_WITH_RESUME]:
            raise ConfigError(
                f"{', '.join(given)}: not with --resume, which keeps the options that the job was started with."
            )
        request = ResumeRequest(id=str(resume), peers=tuple(peer or ()))
        perform(request, settings, show, interrupted=KEPT, nobody=NOBODY)
    spec = JobSpec(
        path=str(absolute(job)),
        inputs=tuple(map(_input, inputs or ())),
        args=parse_all(arg or ()),
        runtime=runtime,
        partitions=partitions,
        unit_memory=parse_size(unit_memory),
        unit_time_s=parse_time(unit_time),
        volunteers=volunteers,
        peers=tuple(peer or ()),
        out=None if out is None else str(to_make(out)),
        wait_s=None if wait is None else parse_time(wait),
        along=tuple(str(absolute(path)) for path in along or ()),
        requirements=None if requirements is None else str(absolute(requirements)),
        seed=UNSET if seed is None else seed,
        max_skipped=max_skipped,
    )
    if local:
        from p2p.commandline import local_run

        show(local_run.run(job, list(inputs or ()), spec, out))
        return
    if background:
        begun = partial(fetches.begun, as_json=as_json)
        perform(BackgroundRequest(request=RunRequest(wish=spec)), None, begun, nobody=NOBODY)
    had_begun = False

    def seen(progress: "Progress") -> None:
        nonlocal had_begun
        had_begun = progress.view is not None

    def interrupted() -> str:
        return KEPT if had_begun else "The job had not begun, and nothing of it is kept: run the same command again."

    perform(RunRequest(wish=spec), settings, show, interrupted=interrupted, nobody=NOBODY, seen=seen)


def jobs(
    follow: Annotated[
        str | None, typer.Option(metavar="ID", help="Wait for the end of this job; Ctrl-C does not stop it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List this peer's jobs: running, stopped, and recently ended."""
    from p2p.commandline import tables
    from p2p.control.protocol import JobsRequest, ResultRequest

    if follow is None:
        perform(JobsRequest(), {}, either(as_json, tables.jobs))
    perform(ResultRequest(id=follow, wait=True), {}, partial(shown, as_json), interrupted="The job goes on.")


def result(
    job: Annotated[str, typer.Argument(metavar="JOB_ID", help="The job's id, or the beginning of it.")],
    as_json: Json = False,
) -> None:
    """Print once more the result of a job that is done."""
    from p2p.control.protocol import ResultRequest

    perform(ResultRequest(id=job), {}, partial(shown, as_json))


def logs(
    job: Annotated[str, typer.Argument(metavar="JOB_ID", help="The job's id, or the beginning of it.")],
    unit: Annotated[
        str | None, typer.Argument(metavar="[UNIT]", help="Only this unit, written ACTION.STAGE.PARTITION.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a job's units printed."""
    from p2p.commandline import tables
    from p2p.control.protocol import LogsRequest

    perform(LogsRequest(id=job, unit=None if unit is None else _unit(unit)), {}, either(as_json, tables.logs))


def cancel(job: Annotated[str, typer.Argument(metavar="JOB_ID", help="The job's id, or the beginning of it.")]) -> None:
    """End a running job of this peer for good, or forget a stopped one."""
    from p2p.commandline import terminal
    from p2p.control.protocol import CancelRequest

    perform(CancelRequest(id=job), {}, lambda answer: terminal.note(f"Job {answer.job[:8]} is cancelled."))


def _given(context: typer.Context) -> Iterator[tuple[str, str]]:
    """The parameters given on the command line: each one's name, and its option as written there."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            yield parameter.name or "", parameter.opts[0]


def shown(as_json: bool, answer: "JobAnswer") -> None:
    """Prints a job's answer, and notes what it took."""
    text = _text(answer)
    print_answer(as_text(answer, text=text) if as_json else _shown(text))
    if as_json:
        return
    from p2p.commandline import terminal

    if isinstance(answer.folder, str):
        terminal.note(f"The files are in {answer.folder}; they are shared while a peer runs in this home.")
    if isinstance(answer.skipped, int):
        for line in _skipped(answer):
            terminal.note(line)
    if took := _took(answer):
        terminal.note(f"{took} `shoal result {answer.job[:8]}` prints the result again.")


def _took(answer: "JobAnswer") -> str:
    """What a job took; empty for a job that ran in this process."""
    from msgspec import UNSET

    from p2p.commandline.terminal import count
    from p2p.formats import format_size, format_time

    if answer.seconds is UNSET or answer.core_s is UNSET or answer.bytes_moved is UNSET:
        return ""
    cores = f"{answer.core_s:.2g} s" if answer.core_s < 10 else format_time(answer.core_s)
    return (
        f"It took {format_time(answer.seconds)}: {count(answer.units or 0, 'unit')} "
        f"on {count(answer.volunteers or 0, 'volunteer')}, {cores} of their cores' time, "
        f"{format_size(answer.bytes_moved)} moved."
    )


def _skipped(answer: "JobAnswer") -> list[str]:
    """Lines that say how many records the job left out, and why the first of them."""
    from p2p.commandline.terminal import count

    number, first = answer.skipped or 0, answer.first_skipped or ()
    which = "" if number == len(first) else f" The first {len(first)}:"
    said = (
        f"{count(number, 'record')} skipped, for which the job's code raised an exception{which and '.'}{which or ':'}"
    )
    return [said, *(f"  {one.told()}" for one in first)]


def _text(answer: "JobAnswer") -> str:
    """The text to print for a job's answer: what the job returned, and where its files are."""
    result, saved = answer.result, answer.saved
    if result is None and saved:
        return "\n".join(saved)
    return "\n".join([result if isinstance(result, str) else json.dumps(result, ensure_ascii=False), *saved])


def _shown(text: str) -> str:
    """The text, but on a terminal without control characters: the result comes from peers that cannot be trusted."""
    if not sys.stdout.isatty():
        return text
    from p2p.log import printable

    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def _input(text: str) -> str:
    from p2p.compute.inputs import named_input
    from p2p.errors import ConfigError

    if not text:
        raise ConfigError("--input is empty. For the current folder, give a dot.")
    return named_input(text)


def _unit(text: str) -> tuple[int, int, int]:
    """Parses ACTION.STAGE.PARTITION."""
    from p2p.errors import ConfigError

    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ConfigError(f"{text}: a unit is written ACTION.STAGE.PARTITION, as in `shoal logs JOB_ID`.")
    action, stage, partition = map(int, parts)
    return action, stage, partition
