"""Commands about this peer on the web: letting a browser in, and having a share shown."""

from typing import TYPE_CHECKING, Annotated

import typer

from p2p.commandline.asking import either, perform, print_answer
from p2p.commandline.options import Json

if TYPE_CHECKING:
    from p2p.control.answers import OpenAnswer, WebAnswer


def web(
    code: Annotated[
        bool, typer.Option("--code", help="Print an address that lets one browser in, once, within a minute.")
    ] = False,
    new_token: Annotated[
        bool,
        typer.Option("--new-token", help="Replace the token of scripts, and log all browsers out."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Print where this peer is on the web. `shoal node --web` puts it there."""
    from p2p.commandline.terminal import note
    from p2p.control.protocol import WebRequest

    def show(answer: "WebAnswer") -> None:
        print_answer(answer.login if isinstance(answer.login, str) else answer.url)
        if new_token:
            note(f"{answer.token_file} has a new token, and all browsers are logged out.")
        elif code:
            note("Open it in a browser within a minute. It works once.")
        else:
            note(f"Scripts send what is in {answer.token_file}; `shoal web --code` lets a browser in.")

    perform(WebRequest(code=code, new_token=new_token), None, either(as_json, show))


def open_share(
    link: Annotated[str, typer.Argument(metavar="LINK", help="A link to a share, or a mutable link.")],
    peers: Annotated[
        list[str] | None, typer.Option("--peer", metavar="HOST:PORT", help="A peer that may have it; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Have a share shown on the web until the peer stops, and print its address."""
    from p2p.control.protocol import OpenRequest

    def show(answer: "OpenAnswer") -> None:
        print_answer(answer.url)

    perform(OpenRequest(link=link, peers=tuple(peers or ())), None, either(as_json, show))
