"""How the tracker's pages write links, commands and lists of files; for all other text see `p2p.site.text`."""

import shlex

from p2p.errors import ConfigError
from p2p.ids import to_text
from p2p.wire.link import Link, parse_link

MAX_LINK_NAME, MAX_LINK_URL = 80, 200


def shown_link(link: str, share: str) -> str:
    """The link, rebuilt from its valid parts with few hints; empty if it is not to this share.

    A very long name in the link is cut: the name is only a hint, and a page shows many links.
    """
    try:
        found = parse_link(link)
    except ConfigError:
        return ""
    if to_text(found.share_id) != share:
        return ""
    name = found.name[:MAX_LINK_NAME] if found.name else None
    trackers = [url for url in found.trackers if url.startswith(("http://", "https://")) and len(url) <= MAX_LINK_URL]
    return str(Link(found.share_id, name, found.size, found.peers[:3], tuple(trackers[:2])))


def command(*words: str) -> str:
    """A command line, quoted for a shell."""
    return shlex.join(words)


def folders(paths: list[tuple[str, int]]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Files (path, size in bytes) grouped by folder, both sorted by name."""
    grouped: dict[str, list[tuple[str, int]]] = {}
    for path, size in paths:
        folder, _, name = path.rpartition("/")
        grouped.setdefault(folder, []).append((name, size))
    return [(folder, sorted(files)) for folder, files in sorted(grouped.items())]
