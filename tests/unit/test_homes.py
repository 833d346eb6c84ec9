"""What must not be shared: peers' homes; and, unless the user is sure, what usually holds secrets."""

from pathlib import Path

import pytest

from p2p import homes
from p2p.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A peer's home."""
    made = tmp_path / "home"
    made.mkdir()
    (made / homes.KEY_FILE).touch()
    (made / homes.LOCK_FILE).touch()
    return made


def test_a_home_has_a_key_and_was_used() -> None:
    assert homes.is_home({"key.pem", "lock"})
    assert homes.is_home({"key.pem", "shoal.db", "config.toml"})
    assert not homes.is_home({"key.pem", "certificate.pem"})
    assert not homes.is_home({"shoal.db", "lock"})


def test_a_home_and_all_in_it_is_refused(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "harmless"
    link.symlink_to(home / "jobs")
    for path in (home, home / homes.KEY_FILE, home / "jobs" / "missing", link):
        with pytest.raises(ConfigError, match="the home of a Shoal peer"):
            homes.refuse(path, sure=True)
    homes.refuse(tmp_path / "beside")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/", "the whole file system"),
        ("/home/ann", "your home directory"),
        ("/home", "holds your home directory"),
        ("/home/ann/.ssh", "a .ssh folder"),
        ("/srv/backup/.GnuPG/private-keys-v1.d", "a .gnupg folder"),
        ("/home/ann/pictures", None),
        ("/home/anna", None),
        ("/srv/ssh", None),
    ],
)
def test_what_usually_holds_secrets_is_doubted(path: str, why: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    doubt = homes.doubt(Path(path))
    assert doubt is None if why is None else doubt is not None and why in doubt


def test_who_is_sure_shares_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="--yes"):
        homes.refuse(tmp_path)
    homes.refuse(tmp_path, sure=True)
