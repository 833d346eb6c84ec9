"""What the commands about clusters print, and refuse."""

import pytest

from p2p.cluster.answers import ClusterRow, MemberRow
from p2p.commandline import cluster, cluster_tables
from p2p.errors import ConfigError

ROW = ClusterRow(
    name="dask",
    engine="dask",
    state="running",
    age_s=1.0,
    addresses=(),
    members=tuple(MemberRow(index, "a" * 52, f"m{index}", "ready", 1, 1 << 30) for index in range(2)),
    missing="",
    keys="/keys",
)


def test_an_engine_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no engine 'dsak'.*dask"):
        cluster.start("dsak")


def test_scaling_says_how_many_are_still_to_come_or_leave(capsys: pytest.CaptureFixture[str]) -> None:
    cluster_tables.scaled(ROW, 3)
    assert "2 more members will join" in capsys.readouterr().err
    cluster_tables.scaled(ROW, 0)
    assert "1 member will leave" in capsys.readouterr().err
    cluster_tables.scaled(ROW, 1)
    assert capsys.readouterr().err == ""
