"""How a cluster's object asks the peer: in threads, so that the engine's own event loop goes on."""

import asyncio
from pathlib import Path
from typing import Any

from p2p import config, paths
from p2p.client import given
from p2p.client.call import Call
from p2p.client.given import AnyPath
from p2p.client.session import Session
from p2p.control.protocol import AnyRequest, Note, Update


class Asking:
    """The peer of a home, which must be running: a cluster outlives the program that made it."""

    def __init__(self, home: AnyPath | None) -> None:
        named = config.default_home() if home is None else given.path(home).expanduser()
        self.home: Path = paths.to_make(named)
        self._session = Session(self.home, {})

    def ask(self, request: AnyRequest) -> Any:
        """Has the peer perform a request. Returns the answer. Raises ShoalError."""
        return self._session.perform(Call(request), _ignore)

    async def ask_beside(self, request: AnyRequest) -> Any:
        """The same, without stopping the event loop."""
        return await asyncio.to_thread(self.ask, request)

    def close(self) -> None:
        """Lets the peer go."""
        self._session.close()


def _ignore(told: Update | Note) -> None:
    pass
