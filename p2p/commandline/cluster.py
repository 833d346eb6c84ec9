"""Commands about clusters: engines such as Dask, unmodified, on machines of peers whose users trust each other."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from p2p.commandline.asking import NOBODY, as_text, either, perform, print_answer
from p2p.commandline.options import Json, as_path

if TYPE_CHECKING:
    from p2p.cluster.answers import RanAnswer
    from p2p.cluster.lists import Which

app = typer.Typer(help="Run Dask, unmodified, on machines of peers that trust each other.", no_args_is_help=True)

MAX_READ_BYTES = 1 << 20

Peer = Annotated[str, typer.Argument(metavar="PEER", help="The id of the other peer: `shoal status` shows it there.")]
Remove = Annotated[bool, typer.Option("--remove", help="Take the peer off the list.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the cluster: `shoal cluster list` shows it.")]


@app.command()
def allow(peer: Peer, remove: Remove = False, as_json: Json = False) -> None:
    """Lend this machine to a peer: its user may run any program here, in a sandbox.

    The sandbox keeps the program from your files and your network. It is no wall against somebody who knows a hole in
    the kernel, so list only people whom you trust.
    """
    _change("allow", peer, remove, as_json)


@app.command()
def trust(peer: Peer, remove: Remove = False, as_json: Json = False) -> None:
    """Take a peer as a member of this peer's clusters: it reads all that is sent to them, and its answers are believed.

    That peer must list this one too: shoal cluster allow.
    """
    _change("trust", peer, remove, as_json)


@app.command()
def peers(as_json: Json = False) -> None:
    """Show to whom this peer lends, and whom it takes into its clusters."""
    from p2p.commandline import cluster_tables
    from p2p.control.cluster_requests import ClusterListsRequest

    perform(ClusterListsRequest(), {}, either(as_json, cluster_tables.lists))


@app.command()
def start(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="The engine: dask.")],
    members: Annotated[int, typer.Option(metavar="N", help="How many machines of other peers.", min=1, max=253)] = 1,
    env: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="The Python environment that has the engine, such as a venv. It is sent to the members.",
        ),
    ] = "",
    cores: Annotated[int, typer.Option(metavar="N", help="Cores of each member.", min=1)] = 1,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of each member.")] = "2GiB",
    disk: Annotated[str, typer.Option(metavar="SIZE", help="Disk of each member.")] = "4GiB",
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="A file of the environment to send though it looks like a secret; repeatable."
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="The cluster's name. \\[default: the engine's]")] = "",
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PEER@HOST:PORT", help="A peer to take, and where it is; it need not be listed. Repeatable."
        ),
    ] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="How long to look for members.", min=0)] = 60,
    as_json: Json = False,
) -> None:
    """Start an engine on machines of peers that you trust and that lend to you. It runs until you stop it.

    Needs a running peer (shoal node). Your programs connect to the addresses that are printed.
    """
    import msgspec

    from p2p.cluster.spec import ENGINES, ClusterSpec
    from p2p.commandline import cluster_tables
    from p2p.control.cluster_requests import ClusterStartRequest
    from p2p.errors import ConfigError
    from p2p.formats import parse_size, quoted
    from p2p.paths import absolute

    if engine not in ENGINES:
        raise ConfigError(f"There is no engine {quoted(engine)}. There is: {', '.join(ENGINES)}.")

    given = {
        "engine": engine,
        "name": name,
        "members": members,
        "cores": cores,
        "memory": parse_size(memory),
        "disk": parse_size(disk),
        "environment": str(absolute(as_path(env))) if env else sys.prefix,
        "include": tuple(include or ()),
        "peers": tuple(peer or ()),
        "wait_s": wait,
    }
    try:
        spec = msgspec.convert(given, ClusterSpec)
    except msgspec.ValidationError as error:
        raise ConfigError(f"This is not a cluster that can be started: {error}.") from None
    request = ClusterStartRequest(spec=spec)
    perform(request, None, either(as_json, cluster_tables.started), interrupted="It is not started.", nobody=NOBODY)


@app.command("list")
def list_clusters(as_json: Json = False) -> None:
    """List your clusters, and what this machine lends to those of others."""
    from p2p.commandline import cluster_tables
    from p2p.control.cluster_requests import ClustersRequest

    perform(ClustersRequest(), None, either(as_json, cluster_tables.clusters))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    name: Name,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="The command and its arguments.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME[=VALUE]", help="A variable for it; without a value, yours; repeatable."),
    ] = None,
) -> None:
    """Run a command in your own member of a cluster, within its network. Its exit code and output are the command's.

    Python files of this folder that it names go along; nothing else of yours is there but the environment.
    """
    from p2p.commandline import terminal
    from p2p.control.cluster_requests import ClusterRunRequest

    def show(answer: "RanAnswer") -> int:
        return answer.code if answer.code >= 0 else 128 - answer.code

    argv = command[1:] if command[0] == "--" else command
    files = _own_files(argv)
    for file in files:
        terminal.note(f"sending {file}")
    request = ClusterRunRequest(
        name=name,
        argv=tuple(os.path.basename(word) if os.path.basename(word) in files else word for word in argv),
        variables=_variables(set_ or []),
        files=files,
    )
    perform(request, None, show)


@app.command()
def logs(
    name: Name,
    member: Annotated[int | None, typer.Option(metavar="N", help="Only of this member.")] = None,
) -> None:
    """Show the end of what the engine printed, at each member."""
    from p2p.control.cluster_requests import ClusterLogsRequest

    perform(ClusterLogsRequest(name=name, member=member), None, lambda answer: None)


@app.command()
def scale(
    name: Name,
    members: Annotated[int, typer.Argument(metavar="N", help="How many machines of other peers it is to have.")],
    as_json: Json = False,
) -> None:
    """Change how many members a cluster has. More join as soon as peers lend them."""
    from p2p.commandline import cluster_tables
    from p2p.control.cluster_requests import ClusterScaleRequest

    show = either(as_json, lambda row: cluster_tables.scaled(row, members))
    perform(ClusterScaleRequest(name=name, members=members), None, show)


@app.command()
def stop(name: Name, as_json: Json = False) -> None:
    """Stop a cluster. What is on its members and was not fetched is lost."""
    from p2p.commandline import terminal
    from p2p.control.cluster_requests import ClusterStopRequest

    def show(answer: object) -> None:
        if as_json:
            print_answer(as_text(answer))
        terminal.note(f"The cluster {name} is stopped, and nothing is left of it on its members.")

    perform(ClusterStopRequest(name=name), None, show, interrupted="The cluster is being stopped all the same.")


def _own_files(argv: list[str]) -> dict[str, bytes]:
    """The Python files among the words of a command, by their names. Raises ConfigError for one that cannot be read."""
    from p2p import causes
    from p2p.errors import ConfigError

    found = {}
    for word in argv[1:]:
        if word.endswith(".py") and os.path.isfile(word):
            try:
                with open(word, "rb") as file:
                    found[os.path.basename(word)] = file.read(MAX_READ_BYTES)
            except OSError as error:
                raise ConfigError(f"Cannot read {word}: {causes.explained(error)}") from error
    return found


def _variables(given: list[str]) -> dict[str, str]:
    from p2p.errors import ConfigError

    found = {}
    for text in given:
        name, has_value, value = text.partition("=")
        if not has_value and name not in os.environ:
            raise ConfigError(f"There is no variable {name} here. Give its value: --set {name}=VALUE")
        found[name] = value if has_value else os.environ[name]
    return found


def _change(which: "Which", peer: str, remove: bool, as_json: bool) -> NoReturn:
    from p2p.commandline import cluster_tables
    from p2p.control.cluster_requests import ClusterListsRequest

    request = ClusterListsRequest(change=which, peer=peer, remove=remove)
    perform(request, {}, either(as_json, cluster_tables.lists))
