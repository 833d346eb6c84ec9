"""Small files of one folder in one answer: their bytes one after another, in the order of its list.

Whoever reads thousands of small files, whose sizes the list has, saves most of the time by it. The first file is waited
for as if it was asked for alone. The answer ends before the first other one that is not small, or not here at once.
"""

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import islice

import trio
from starlette.requests import Request
from starlette.responses import Response

from p2p.core.shares import folders
from p2p.core.shares.manifest import Entry, Manifest
from p2p.errors import MalformedMessage, NotFound, ShoalError
from p2p.gateway import kinds
from p2p.gateway.addresses import Path
from p2p.gateway.memory import LEAST_BYTES, Memory
from p2p.sharing.reading.open_share import OpenShare
from p2p.sharing.reading.patience import patiently

MOST_FILES = 256
TOGETHER_BYTES = 1024 * 1024
SMALL_BYTES = LEAST_BYTES
"""How large a file may be, so that there is always the memory for one."""
REST_S = 1.0
"""How long all files after the first may take."""


class Together:
    """Makes the answers. `memory` is for the bytes in them."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def answer(
        self, request: Request, held: OpenShare, manifest: Manifest, path: Path, wait_s: float, used: AsyncExitStack
    ) -> Response:
        """Makes the answer with the next files of a folder, at most `count` of them. It holds memory until `used` ends.

        Raises ShoalError.
        """
        query = request.query_params
        after, count = query.get("after", ""), query["count"]
        if not (count.isascii() and count.isdigit()):
            raise MalformedMessage("`count` is the number of files.")
        children = folders.children(manifest.entries, path, after)
        following = (child.file for child in children if child.file is not None)
        files = _fitting(islice(following, min(int(count[:9]), MOST_FILES)), TOGETHER_BYTES)
        if not held.is_here:
            await _coming(held, files, wait_s)
        lent = await self._memory.borrow(sum(file.size for file in files))
        used.callback(lent.give_back)
        body = b"".join(await _read(held, _fitting(files, lent.size), wait_s))
        headers = kinds.HEADERS | {"cache-control": "no-store", "content-disposition": "attachment"}
        return Response(body, headers=headers, media_type=kinds.SAVED)


def _fitting(files: Iterable[Entry], most: int) -> list[Entry]:
    """The first files, as long as they are small and all fit into so many bytes. Raises NotFound if none is."""
    found: list[Entry] = []
    for file in files:
        most -= file.size
        if file.size > SMALL_BYTES or most < 0:
            break
        found.append(file)
    if not found:
        raise NotFound("No small file follows in this folder.")
    return found


async def _coming(held: OpenShare, files: Sequence[Entry], wait_s: float) -> None:
    """Has the files fetched, and waits for the first, so that no memory is borrowed for longer than a disk takes."""
    for file in files:
        await patiently(held, wait_s, partial(held.expect, "/".join(file.path), 0, file.size))
    await patiently(held, wait_s, partial(held.ready, "/".join(files[0].path), 0, files[0].size))


async def _read(held: OpenShare, files: Sequence[Entry], wait_s: float) -> list[bytes]:
    reads = [partial(held.read, "/".join(file.path), 0, file.size) for file in files]
    found = [await patiently(held, wait_s, reads[0])]
    with suppress(ShoalError), trio.move_on_after(REST_S):
        for read in reads[1:]:
            found.append(await read())
    return found
