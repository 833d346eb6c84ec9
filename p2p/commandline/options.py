"""Options that several commands share: the global options, and network options for commands that may start a peer."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from p2p.config import Settings


class _PathType(click.ParamType[Path]):
    """A path that the user named. An empty one, often a shell variable that is not set, is not the current folder."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value == "":
            self.fail("it is empty. For the current folder, give a dot.", param, ctx)
        return Path(value)


PATH = _PathType()


class CommandGroup(click.Group):
    """Lists its commands in the order in which they were added, each with the first paragraph of its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, (command.help or "").partition("\n\n")[0]) for name, command in self.commands.items()]
            )


listen = click.option(
    "--listen",
    metavar="HOST:PORT",
    multiple=True,
    help="Address to listen on; repeatable. Port 0 means any free port.",
)
network_name = click.option("--network", metavar="NAME", help="The network to join. Different networks never mix.")
json_output = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
_NETWORK_OPTIONS = (
    listen,
    click.option(
        "--join", metavar="HOST:PORT", multiple=True, help="A peer through which to join the DHT; repeatable."
    ),
    click.option("--tracker", metavar="URL", multiple=True, help="A tracker to use; repeatable."),
    click.option("--no-lan", is_flag=True, help="Do not look for peers on the local network."),
    click.option("--no-dht", is_flag=True, help="Do not take part in the DHT."),
    network_name,
)


class Global:
    """The values of the global options, which are given before the command's name."""

    home: Path


def _network_settings(
    listen: tuple[str, ...],
    join: tuple[str, ...],
    tracker: tuple[str, ...],
    no_lan: bool,
    no_dht: bool,
    network: str | None,
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
    """Decorates a command that may start a peer. Adds the network options, and passes them on as `settings`.

    The innermost decorator, so that help lists these options last.
    """

    @functools.wraps(command)
    def with_options(
        listen: tuple[str, ...],
        join: tuple[str, ...],
        tracker: tuple[str, ...],
        no_lan: bool,
        no_dht: bool,
        network: str | None,
        **given: Any,
    ) -> None:
        command(**given, settings=_network_settings(listen, join, tracker, no_lan, no_dht, network))

    for option in reversed(_NETWORK_OPTIONS):
        option(with_options)
    return with_options
