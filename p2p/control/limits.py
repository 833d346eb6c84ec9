"""The limits of a running peer's traffic: as they are, and changed until it ends, or in its config.toml too."""

import os
import re
from pathlib import Path

from p2p import causes, config, private
from p2p.config import CONFIG_FILE
from p2p.control import answers
from p2p.control.protocol import LimitRequest
from p2p.control.user_fetches import UserFetch, UserFetches
from p2p.errors import ConfigError, StorageError
from p2p.formats import MIN_RATE
from p2p.sharing.traffic import Traffic
from p2p.store.disk import Disk

_SECTION = re.compile(r"\s*\[\s*(.*?)\s*\]\s*(#.*)?$")
_KEYS = {"upload": "upload_limit_bytes_per_s", "download": "download_limit_bytes_per_s"}


class Limits:
    """Changes the limits of the peer in `home`, whose fetches are these."""

    def __init__(self, home: Path, traffic: Traffic, fetches: UserFetches, disk: Disk) -> None:
        self._home = home
        self._traffic = traffic
        self._fetches = fetches
        self._disk = disk

    async def change(self, request: LimitRequest, fetch: UserFetch | None) -> answers.LimitAnswer:
        """Changes the limits that the request names, of the peer or of one fetch. Raises ConfigError, StorageError."""
        given = {key: value for key in _KEYS if (value := getattr(request, key)) is not None}
        for value in given.values():
            if value < 0 or 0 < value < MIN_RATE:
                raise ConfigError(f"{value} bytes per second is no limit that works; the smallest is {MIN_RATE}.")
        if fetch is not None:
            return await self._change_one(request, fetch)
        saved = None
        if request.save:
            saved = str(await self._disk.run(_save, self._home, given))
        self._traffic.limit(request.upload, request.download)
        return answers.LimitAnswer(self._traffic.upload.bytes_per_s, self._traffic.download.bytes_per_s, saved)

    async def _change_one(self, request: LimitRequest, fetch: UserFetch) -> answers.LimitAnswer:
        if request.upload is not None or request.save:
            raise ConfigError("For one fetch there is only a limit of its download, which is kept with the fetch.")
        if request.download is not None:
            await self._fetches.limit(fetch, request.download)
        return answers.LimitAnswer(None, fetch.throttle.bytes_per_s, None)


def _save(home: Path, given: dict[str, int]) -> Path:
    """Writes limits into the home's config.toml, and leaves all else in it as it is. Returns its path."""
    path = home / CONFIG_FILE
    config.load(home, {}, {})  # what cannot be read is not written over
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        for key, value in given.items():
            text = _with(text, _KEYS[key], value)
        _check(path, text, given)
        part = path.with_suffix(".toml.part")
        private.touch(part)
        part.write_text(text, "utf-8")
        os.replace(part, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {causes.explained(error)}") from error
    return path


def _check(path: Path, text: str, given: dict[str, int]) -> None:
    """Raises ConfigError if the text does not say what it should: `_with` does not know all ways to write TOML."""
    import tomllib  # late: few change limits

    try:
        section = tomllib.loads(text)["transfer"]
        good = all(section[_KEYS[key]] == value for key, value in given.items())
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        good = False
    if not good:
        keys = ", ".join(_KEYS[key] for key in given)
        raise ConfigError(f"{path} is not written line by line. Change {keys} of transfer there by hand.")


def _with(text: str, key: str, value: int) -> str:
    """The text of a config.toml in which the key of the section [transfer] has this value."""
    setting = f"{key} = {value}"
    lines, section = text.splitlines(), ""
    found = None
    for number, line in enumerate(lines):
        if header := _SECTION.fullmatch(line):
            section = header[1]
            if section == "transfer":
                found = number
        elif section == "transfer" and re.match(rf"\s*{key}\s*=", line):
            return "\n".join([*lines[:number], setting, *lines[number + 1 :]]) + "\n"
    if found is None:
        return "\n".join([*lines, *([""] if lines else []), "[transfer]", setting]) + "\n"
    return "\n".join([*lines[: found + 1], setting, *lines[found + 1 :]]) + "\n"
