"""Two peers of processes of their own: one shares something, the other is asked for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.processes import Peer

OFFLINE = {"SHOAL_NETWORK_DHT": "false"}


class Shared(NamedTuple):
    """A share of `owner`, made from `folder`, and the peer that reads it."""

    owner: Peer
    reader: Peer
    folder: Path
    link: str
    id: str

    @property
    def root(self) -> str:
        return f"shoal://{self.id}"

    def system(self, link: Any = None, **options: Any) -> Any:
        """The file system of the reader, which knows the link, or this one."""
        from p2p.client.filesystem.system import ShoalFileSystem

        return ShoalFileSystem(self.reader.home, link or self.link, skip_instance_cache=True, **options)


@contextmanager
def sharing(folder: Path, shared: Path, *options: str) -> Iterator[Shared]:
    """Has a peer share something, while the body runs. The homes of both are in `folder`."""
    owner, reader = (Peer(folder / name, environment=OFFLINE) for name in ("owner", "reader"))
    with owner.node(), reader.node():
        answer = owner.run("share", shared, *options, "--json").json()
        yield Shared(owner, reader, shared, answer["link"], answer["id"])
