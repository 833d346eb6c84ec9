"""Getting a manifest: its root and its parts, from any peers that have them, each checked before it is stored.

Each source is asked first for parts that have not been requested yet, then for parts that other sources were asked for
but have not sent, so a stalled source does not delay the manifest. What was stored survives a restart.
"""

from collections import Counter
from typing import TypeVar

import trio

from p2p.core.shares import manifest as manifests
from p2p.core.shares.layout import Layout
from p2p.core.shares.manifest import ManifestRoot, ShareLimits
from p2p.errors import PeerGone, ProtocolViolation, Refused, Unacceptable
from p2p.ids import ShareId
from p2p.net.connection import Connection
from p2p.store.disk import Disk
from p2p.store.library import Library
from p2p.wire import messages
from p2p.wire.messages import AnyMessage

ANSWER_TIMEOUT_S = 20.0
MAX_PIPELINED = 8

M = TypeVar("M", messages.Root, messages.Part)


class ManifestFetch:
    """The fetch of one share's manifest. `ready` is set once the manifest is whole, or known to be unacceptable."""

    def __init__(self, library: Library, disk: Disk, share: ShareId, limits: ShareLimits) -> None:
        self._library = library
        self._disk = disk
        self.share = share
        self._limits = limits
        self._root: ManifestRoot | None = None
        self._missing: set[int] = set()
        self._asked: Counter[int] = Counter()
        self._failure: Unacceptable | None = None
        self.ready = trio.Event()

    async def start(self) -> None:
        """Goes on from what is stored by now, by an earlier try or otherwise."""
        library = self._library
        body = await self._disk.run(library.root, self.share)
        if body is not None:
            held = await self._disk.run(library.parts_held, self.share)
            self._begin(manifests.decode_root(self.share, body, self._limits), held)

    async def layout(self) -> Layout:
        """The layout of the whole manifest, once `ready`. Raises BadData if it breaks the rules or is too large."""
        self.check()
        return await self._disk.run(self._library.layout, self.share)

    def check(self) -> None:
        """Raises Unacceptable if the share is known to be unacceptable."""
        if self._failure is not None:
            raise self._failure

    async def work(self, connection: Connection) -> None:
        """Gets missing parts from the peer until none is missing. Raises PeerError; BadData for a false part."""
        library = self._library
        if self._root is None:
            reply = await self._ask(connection, [messages.GetRoot(share=self.share)], messages.Root)
            body = reply[0].body
            try:
                root = manifests.decode_root(self.share, body, self._limits)
            except Unacceptable as error:
                self._failure = error
                self.ready.set()
                raise
            connection.use.got(len(body))
            if self._root is None:
                await self._disk.run(library.keep_root, self.share, body)
                self._begin(root, set())
        assert self._root is not None
        while self._missing:
            batch = sorted(self._missing, key=lambda index: (self._asked[index], index))[:MAX_PIPELINED]
            self._asked.update(batch)
            asked: list[AnyMessage] = [messages.GetPart(share=self.share, index=index) for index in batch]
            parts: dict[int, bytes] = {}
            for index, part in zip(batch, await self._ask(connection, asked, messages.Part), strict=True):
                if part.index != index:
                    raise ProtocolViolation("a manifest part that was not asked for")
                manifests.check_part(self._root, index, part.body)
                connection.use.got(len(part.body))
                parts[index] = part.body
            await self._disk.run(library.keep_parts, self.share, parts)
            self._missing -= parts.keys()
        self.ready.set()

    def _begin(self, root: ManifestRoot, held: set[int]) -> None:
        if self._root is None:
            self._root = root
            self._missing = set(range(root.part_count))
        self._missing -= held
        if not self._missing:
            self.ready.set()

    async def _ask(self, connection: Connection, asked: list[AnyMessage], kind: type[M]) -> list[M]:
        with trio.move_on_after(ANSWER_TIMEOUT_S):
            await connection.send(*asked)
            return [await self._reply(connection, kind) for _ in asked]
        raise PeerGone(f"it did not answer within {ANSWER_TIMEOUT_S:.0f} seconds")

    async def _reply(self, connection: Connection, kind: type[M]) -> M:
        reply = await connection.receive()
        if isinstance(reply, messages.Failed):
            raise Refused(reply.reason)
        if not isinstance(reply, kind):
            raise ProtocolViolation(f"a {type(reply).__name__} where a {kind.__name__} belongs")
        return reply
