"""fsspec's own tests of reading, over a share: what they would write first is there already."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from p2p.client.filesystem.system import ShoalFileSystem
from tests.support.processes import Peer

SCENARIOS = {
    "fs_bulk_operations_scenario_0": "_bulk_operations_scenario_0",
    "fs_glob_edge_cases_files": "_glob_edge_cases_files",
    "fs_dir_and_file_with_same_name_prefix": "_dir_and_file_with_same_name_prefix",
    "fs_10_files_with_hashed_names": "_10_files_with_hashed_names",
}


class Prepared(ShoalFileSystem):
    """A share that has what is written to it."""

    def touch(self, path: str, **_: Any) -> None:  # type: ignore[override]
        assert self.isfile(path)

    def mkdir(self, path: str, **_: Any) -> None:  # type: ignore[override]
        assert self.isdir(path)

    def pipe(self, path: str, value: bytes) -> None:  # type: ignore[override]
        assert self.cat_file(path) == value

    def rm(self, path: str, **_: Any) -> None:  # type: ignore[override]
        """Leaves it there."""

    makedirs = mkdir  # type: ignore[assignment]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prepared, str]]:
    """The folders that the tests want, shared, and the root of the share."""
    folder = tmp_path_factory.mktemp("abstract")
    local = LocalFileSystem(auto_mkdir=True)

    def join(*parts: str) -> str:
        return "/".join(map(str, parts))

    for name, maker in SCENARIOS.items():
        getattr(AbstractFixtures(), maker)(local, join, folder / "data" / name)
    local.touch(folder / "data" / "other" / "src" / "file")
    peer = Peer(folder / "home", environment={"SHOAL_NETWORK_DHT": "false"})
    with peer.node():
        share = peer.run("share", folder / "data", "--json").json()["id"]
        system = Prepared(peer.home, skip_instance_cache=True)
        system.ls(share)  # the connection stays
        yield system, share
        system.close()


class TestGet(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, shared: tuple[Prepared, str]) -> Prepared:
        return shared[0]

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_path(self, request: pytest.FixtureRequest, shared: tuple[Prepared, str]) -> str:
        scenario = next((name for name in request.fixturenames if name in SCENARIOS), "other")
        return f"{shared[1]}/{scenario}"

    @pytest.fixture
    def local_path(self, tmp_path: Path) -> Path:
        return tmp_path
