"""A tracker that runs as a real process, peers that announce to it, and its pages as a program reads them."""

from html.parser import HTMLParser
from random import Random
from typing import Any

import httpx2
import msgspec

from p2p import ids
from p2p.identity import Identity
from p2p.wire.tracker import (
    Announce,
    Capacity,
    Content,
    Listing,
    Statistics,
    key_text,
    provider_key,
    sign_announce,
)

NETWORK = "test-web"
VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})
INLINE = frozenset({"a", "b", "bdi", "code", "q", "span", "svg"})


def listing(name: str, *files: tuple[str, int], size: int = 0, seed: int | str = 0) -> Listing:
    """A share with this name; its id follows from the name and the seed."""
    share = ids.to_text(Random(f"{name} {seed}").randbytes(32))
    contents = tuple(Content(path, length) for path, length in files)
    return Listing(share, name, size or sum(length for _, length in files), max(1, len(files)), contents)


class Announcer:
    """A peer as the tracker sees it: it signs and numbers its announces, and cannot be dialled."""

    def __init__(self, site: "Site") -> None:
        self.identity = Identity.generate()
        self.peer = ids.to_text(self.identity.peer_id)
        self._site = site
        self._sequence = 0

    def announce(self, *add: Listing, capacity: Capacity | None = None, drop: tuple[Listing, ...] = ()) -> None:
        """Adds and drops shares; offers this compute from now on."""
        dropped = tuple(key_text(provider_key(ids.ShareId(ids.from_text(item.share)))) for item in drop)
        self._send(add=add, drop=dropped, capacity=capacity)

    def bye(self) -> None:
        """Withdraws everything that it announced."""
        self._send(bye=True)

    def _send(self, **fields: Any) -> None:
        previous, self._sequence = self._sequence, self._sequence + 1
        announce = Announce(self._site.url, NETWORK, self._sequence, previous=previous, reset=previous == 0, **fields)
        body, headers = sign_announce(announce, self.identity)
        answer = self._site.client.post("/api/v1/announce", content=body, headers=headers)
        assert answer.status_code == 200, answer.text


class Page(HTMLParser):
    """A page without its styling: text, links, tags with their attributes, and whether every tag is closed."""

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__()
        self.status = answer.status_code
        self.headers = answer.headers
        self.html = answer.text
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.links: dict[str, str] = {}
        self._words: list[str] = []
        self._open: list[str] = []
        self._link: tuple[str, int] | None = None
        self.feed(self.html)
        self.close()
        assert self._open == []
        self.text = " ".join("".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._space(tag)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "a":
            self._link = attributes["href"], len(self._words)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another"
        self._space(tag)
        if tag == "a" and self._link is not None:
            address, start = self._link
            self.links.setdefault(" ".join("".join(self._words[start:]).split()), address)

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def _space(self, tag: str) -> None:
        if tag not in INLINE:
            self._words.append(" ")

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every tag with this name."""
        return [attributes for name, attributes in self.tags if name == tag]


class Site:
    """The tracker under test, accessed without a browser."""

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self.url = url
        self.client = client

    def page(self, path: str, **headers: str) -> Page:
        return Page(self.client.get(path, headers={"accept": "text/html"} | headers))

    def shows(self, **figures: int) -> None:
        """Waits until the tracker shows these figures, which lag behind a little."""
        with self.client.stream("GET", "/api/v1/events") as events:
            for line in events.iter_lines():
                if line.startswith("data:"):
                    now = msgspec.json.decode(line.removeprefix("data:"), type=Statistics).now
                    if all(getattr(now, name) == figure for name, figure in figures.items()):
                        return
        raise AssertionError(f"the events ended before {figures}")
