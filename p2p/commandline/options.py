"""Options that several commands share: the global options, and network options for commands that may start a peer."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from p2p.config import Settings

Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", metavar="HOST:PORT", help="Address to listen on; repeatable. Port 0 means any free port."),
]
Join = Annotated[
    list[str] | None,
    typer.Option("--join", metavar="HOST:PORT", help="A peer through which to join the DHT; repeatable."),
]
Tracker = Annotated[list[str] | None, typer.Option("--tracker", metavar="URL", help="A tracker to use; repeatable.")]
NoLan = Annotated[bool, typer.Option("--no-lan", help="Do not look for peers on the local network.")]
NoDht = Annotated[bool, typer.Option("--no-dht", help="Do not take part in the DHT.")]
NetworkName = Annotated[
    str | None, typer.Option("--network", metavar="NAME", help="The network to join. Different networks never mix.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def as_path(value: str | Path) -> Path:
    """A path that the user named. An empty one, often a shell variable that is not set, is not the current folder."""
    if value == "":
        raise typer.BadParameter("it is empty. For the current folder, give a dot.")
    return Path(value)


class Global:
    """The values of the global options, which are given before the command's name."""

    home: Path


def _network_settings(
    listen: Listen = None,
    join: Join = None,
    tracker: Tracker = None,
    no_lan: NoLan = False,
    no_dht: NoDht = False,
    network: NetworkName = None,
) -> "Settings":
    """The settings made from the network options given on the command line."""
    from p2p.wire.address import parse_address

    values: dict[str, Any] = {}
    if listen:
        values["listen"] = [str(parse_address(text, any_port=True)) for text in listen]
    if join:
        values["join"] = [str(parse_address(text)) for text in join]
    if tracker:
        from p2p.net.http import check_url

        values["trackers"] = [check_url(url) for url in tracker]
    if no_lan:
        values["lan"] = False
    if no_dht:
        values["dht"] = False
    if network is not None:
        values["name"] = network
    return {"network": values} if values else {}


def networked(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command that may start a peer. Adds the network options, and passes them on as `settings`."""
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "settings"]
    network = inspect.signature(_network_settings).parameters

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        settings = _network_settings(**{name: given.pop(name) for name in network})
        command(**given, settings=settings)

    # Typer makes options of these.
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *network.values())]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options
