"""The id of a fetch: that of what is fetched, and of the folder into which. The same command is the same fetch."""

import os
from hashlib import sha256

from p2p.control.protocol import GetRequest
from p2p.wire.link import PointerLink, parse_any_link


def id_of(request: GetRequest) -> bytes:
    """The id of the fetch that a request is for. Raises ConfigError for a link that is none."""
    link = parse_any_link(request.link)
    what = (
        link.publisher + link.name.encode("utf-8", "surrogateescape")
        if isinstance(link, PointerLink)
        else link.share_id
    )
    return sha256(b"fetch\0" + sha256(what).digest() + os.fsencode(request.out)).digest()
