"""`DaskCluster`: Dask on machines of peers that lend to this one. It needs `distributed`.

The scheduler and the workers run in sandboxes; this program stays outside and reaches the scheduler by a door of the
peer. Scaling and adapting are those of distributed (`SpecCluster`): a worker is an object with `start` and `close`.
"""

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from p2p import extras
from p2p.client import given
from p2p.client.clusters.asking import Asking
from p2p.client.given import AnyPath
from p2p.cluster.answers import ClusterRow
from p2p.cluster.spec import ClusterSpec
from p2p.control.cluster_requests import (
    ClusterAddRequest,
    ClusterReleaseRequest,
    ClustersRequest,
    ClusterStartRequest,
    ClusterStopRequest,
)
from p2p.errors import NotFound
from p2p.formats import parse_size

try:
    from distributed.core import Status
    from distributed.deploy.spec import ProcessInterface, SpecCluster
    from distributed.security import Security
except ImportError:
    raise extras.missing("distributed", "dask") from None


class DaskCluster(SpecCluster):  # type: ignore[misc]  # distributed has no types
    """A cluster of Dask: `Client(DaskCluster(members=4))`.

    `members` are machines of peers that you trust and that lend to you (`shoal cluster trust`), each with so many cores
    and bytes of memory and disk. `env` is the environment that is sent to them: by default the one that this program
    runs in. `peers` are asked first, as ID@HOST:PORT. `scale`, `adapt` and `dashboard_link` are as in any cluster of
    Dask. Unless `shutdown_on_close`, the cluster goes on when this object or program ends: `from_name` finds it again.

    Raises ConfigError if no node runs in the home, NotFound if nobody lends what was asked for.
    """

    def __init__(
        self,
        members: int = 0,
        *,
        home: AnyPath | None = None,
        env: AnyPath | None = None,
        cores: int = 1,
        memory: str | int = "2GiB",
        disk: str | int = "4GiB",
        name: str = "",
        peers: Iterable[str] = (),
        include: Iterable[str] = (),
        wait_s: float = 60,
        shutdown_on_close: bool = True,
        **options: Any,
    ) -> None:
        spec = ClusterSpec(
            engine="dask",
            name=name,
            members=0,
            cores=cores,
            memory=_size(memory),
            disk=_size(disk),
            environment=str(Path(sys.prefix if env is None else given.path(env)).absolute()),
            peers=given.texts("peers", peers),
            include=given.texts("include", include),
            wait_s=wait_s,
        )
        self._asking = Asking(home)
        try:
            row = self._asking.ask(ClusterStartRequest(spec=spec))
            self._adopt(row, dict.fromkeys(range(members)), shutdown_on_close, options)
        except BaseException:
            self._asking.close()
            raise

    @classmethod
    def from_name(
        cls, name: str, *, home: AnyPath | None = None, shutdown_on_close: bool = False, **options: Any
    ) -> Self:
        """The cluster of this name, which another program or command has started. Raises NotFound."""
        asking = Asking(home)
        rows = asking.ask(ClustersRequest()).clusters
        row = next((row for row in rows if row.name == name and row.engine == "dask"), None)
        if row is None:
            asking.close()
            raise NotFound(
                f"There is no cluster of Dask named {name}. `shoal cluster list` shows those that there are."
            )
        made = cls.__new__(cls)
        made._asking = asking
        members = {one.label: one.index for one in row.members if one.index}
        made._adopt(row, members, shutdown_on_close, options)
        return made

    def _adopt(self, row: ClusterRow, members: dict[Any, int | None], shutdown: bool, options: dict[str, Any]) -> None:
        """Becomes the cluster of the row; members by what Dask calls them: to be added, or there already."""
        self._row = row
        self._leaves = False
        security = Security(
            tls_ca_file=f"{row.keys}/cert.pem",
            tls_client_cert=f"{row.keys}/cert.pem",
            tls_client_key=f"{row.keys}/key.pem",
            require_encryption=True,
        )
        common = {"cluster": self}
        SpecCluster.__init__(
            self,
            workers={label: _worker(common, index) for label, index in members.items()},
            scheduler={"cls": _Head, "options": common},
            worker=_worker(common, None),
            security=security,
            name=row.name,
            shutdown_on_close=shutdown,
            shutdown_scheduler=shutdown,
            **options,
        )

    @property
    def dashboard_link(self) -> str:
        """Where a browser on this machine finds the dashboard."""
        return next((f"{one.url}/status" for one in self._row.addresses if one.what == "dashboard"), "")

    async def _close(self) -> None:
        self._leaves = not self.shutdown_on_close
        try:
            await super()._close()
        finally:
            self._asking.close()


class _Process(ProcessInterface):  # type: ignore[misc]
    """What runs in a member: the scheduler, or a worker."""

    def __init__(self, scheduler: str | None = None, *, cluster: DaskCluster, name: Any = None, **more: Any) -> None:
        super().__init__(scheduler, name)
        self.cluster = cluster
        self.name = name


class _Head(_Process):
    """The scheduler, which runs before this program connects with it."""

    async def start(self) -> None:
        self.address = self.cluster._row.addresses[0].url
        await super().start()

    async def close(self) -> None:
        if self.status != Status.closed and not self.cluster._leaves:
            with suppress(NotFound):  # it ended with its scheduler
                await self.cluster._asking.ask_beside(ClusterStopRequest(name=self.cluster._row.name))
        await super().close()


class _Worker(_Process):
    """A worker, in a member that is added for it, unless it has `index` already."""

    def __init__(self, *args: Any, index: int | None, **named: Any) -> None:
        super().__init__(*args, **named)
        self.index = index

    async def start(self) -> None:
        cluster = self.cluster
        if self.index is None:
            request = ClusterAddRequest(name=cluster._row.name, label=str(self.name))
            self.index = (await cluster._asking.ask_beside(request)).index
        await super().start()

    async def close(self) -> None:
        cluster = self.cluster
        if self.status != Status.closed and self.index is not None and not cluster._leaves:
            await cluster._asking.ask_beside(ClusterReleaseRequest(name=cluster._row.name, member=self.index))
        await super().close()


def _worker(common: dict[str, Any], index: int | None) -> dict[str, Any]:
    return {"cls": _Worker, "options": {**common, "index": index}}


def _size(size: str | int) -> int:
    return parse_size(size) if isinstance(size, str) else size
