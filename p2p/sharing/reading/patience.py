"""How long a reader for the user waits: as long as something of the share comes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from p2p.errors import NotFound, StorageError
from p2p.formats import format_time
from p2p.sharing.reading.open_share import OpenShare

T = TypeVar("T")


class Nobody(NotFound):
    """Raised if for some time no peer had what is read."""


async def patiently(held: OpenShare, wait_s: float, read: Callable[[], Awaitable[T]]) -> T:
    """Reads something that the share has. Raises Nobody if nothing of it comes for so long; ShoalError.

    `read` is repeated, after an error of the disk once: what it needs is then fetched from others.
    """
    failed = False
    while True:
        before = held.fetched
        try:
            with trio.move_on_after(wait_s):
                return await read()
        except NotFound as error:
            raise Nobody(str(error)) from error
        except StorageError:
            if failed:
                raise
            failed = True
            continue
        if held.fetched == before:
            reason = f" ({held.trouble})" if held.trouble else ""
            text = f"Nobody had this for {format_time(wait_s)}{reason}. Try again when a peer is there that has it."
            raise Nobody(text)
