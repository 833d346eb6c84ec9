"""Settings: which layer wins, and how a wrong one is explained."""

from pathlib import Path
from typing import Any

import pytest

from p2p import config
from p2p.errors import ConfigError


def write(home: Path, text: str) -> None:
    (home / config.CONFIG_FILE).write_text(text)


def test_defaults(tmp_path: Path) -> None:
    loaded = config.load(tmp_path, {}, {})
    assert loaded.config == config.Config()
    assert loaded.origins == {}


def test_flags_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        [network]
        name = "file"
        lan = false
        [transfer]
        upload_slots = 1
        max_sources = 1
        """,
    )
    environment = {"SHOAL_TRANSFER_UPLOAD_SLOTS": "2", "SHOAL_TRANSFER_MAX_SOURCES": "2", "SHOAL_OTHER": "x"}
    loaded = config.load(tmp_path, environment, {"transfer": {"max_sources": 3}})
    assert loaded.config.network.name == "file"
    assert not loaded.config.network.lan
    assert loaded.config.network.dht
    assert loaded.config.transfer.upload_slots == 2
    assert loaded.config.transfer.max_sources == 3
    assert loaded.origins == {
        ("network", "name"): str(tmp_path / "config.toml"),
        ("network", "lan"): str(tmp_path / "config.toml"),
        ("transfer", "upload_slots"): "environment",
        ("transfer", "max_sources"): "command line",
    }


def test_environment_is_text_of_every_type(tmp_path: Path) -> None:
    environment = {
        "SHOAL_NETWORK_LAN": "false",
        "SHOAL_NETWORK_LISTEN": "127.0.0.1:1,[::1]:2",
        "SHOAL_TRANSFER_SLOT_QUANTUM_S": "2.5",
        "SHOAL_TRANSFER_UPLOAD_LIMIT_BYTES_PER_S": "1000",
    }
    loaded = config.load(tmp_path, environment, {}).config
    assert not loaded.network.lan
    assert loaded.network.listen == ("127.0.0.1:1", "[::1]:2")
    assert loaded.transfer.slot_quantum_s == 2.5
    assert loaded.transfer.upload_limit_bytes_per_s == 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[transfer]\nmax_source = 3", "there is no setting transfer.max_source"),
        ("[trasfer]\nmax_sources = 3", "there is no setting trasfer"),
        ("[transfer]\nmax_sources = '3'", "transfer.max_sources"),
        ("[transfer]\nmax_sources = 0", "transfer.max_sources"),
        ("[transfer]\nslot_quantum_s = 0.0", "transfer.slot_quantum_s"),
        ("[transfer]\nupload_limit_bytes_per_s = -1", "transfer.upload_limit_bytes_per_s"),
        ("[transfer]\ndownload_limit_bytes_per_s = 100", "transfer: download_limit_bytes_per_s = 100 is too small"),
        ("[network]\nname = 'No'", "network.name: Expected lower-case letters"),
        ("[network]\nname = ''", "network.name"),
        ('[network]\nname = "main\\n"', "network.name"),
        ("[network]\nlisten = [1]", "network.listen"),
        ("[network]\nlan = 1979-05-27", "network.lan"),
        ("network = 3", "network"),
        ("not toml", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path, {}, {})
    assert says in str(caught.value)
    assert str(tmp_path / "config.toml") in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / config.CONFIG_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        config.load(tmp_path, {}, {})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / config.CONFIG_FILE).mkdir()
    with pytest.raises(ConfigError, match="Cannot read"):
        config.load(tmp_path, {}, {})


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment: SHOAL_TRANSFER_UPLOAD_SLOTS: "):
        config.load(tmp_path, {"SHOAL_TRANSFER_UPLOAD_SLOTS": "many"}, {})


def test_a_wrong_flag_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"command line: transfer\.max_sources: "):
        config.load(tmp_path, {}, {"transfer": {"max_sources": 0}})


def test_what_a_limit_costs_is_shown_beside_it(tmp_path: Path) -> None:
    shown = config.to_toml(config.load(tmp_path, {}, {"limits": {"entries": 7}}))
    assert "entries = 7  # command line; the most files" in shown
    assert "bytes of memory for each" in shown


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"network": {"name": "test-1.x", "listen": ["[::1]:0", 'a"b\\c'], "lan": False}},
        {"transfer": {"slot_quantum_s": 1e-7, "upload_limit_bytes_per_s": 2**62}, "limits": {"entries": 1}},
    ],
)
def test_shown_settings_can_be_loaded_again(tmp_path: Path, flags: dict[str, dict[str, Any]]) -> None:
    loaded = config.load(tmp_path, {}, flags)
    write(tmp_path, config.to_toml(loaded))
    assert config.load(tmp_path, {}, {}).config == loaded.config


def test_home_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_HOME", "/somewhere/else")
    assert config.default_home() == Path("/somewhere/else")
    monkeypatch.delenv("SHOAL_HOME")
    assert config.default_home().name == "shoal"
