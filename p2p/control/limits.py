"""The limits of a running peer's traffic: as they are, and changed until it ends, or in its config.toml too."""

from pathlib import Path

from p2p import config_file
from p2p.control import answers
from p2p.control.protocol import LimitRequest
from p2p.control.user_fetch import UserFetch
from p2p.control.user_fetches import UserFetches
from p2p.errors import ConfigError
from p2p.formats import MIN_RATE
from p2p.sharing.traffic import Traffic
from p2p.store.disk import Disk

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
            settings = {_KEYS[key]: value for key, value in given.items()}
            saved = str(await self._disk.run(config_file.save, self._home, "transfer", settings))
        self._traffic.limit(request.upload, request.download)
        return answers.LimitAnswer(self._traffic.upload.bytes_per_s, self._traffic.download.bytes_per_s, saved)

    async def _change_one(self, request: LimitRequest, fetch: UserFetch) -> answers.LimitAnswer:
        if request.upload is not None or request.save:
            raise ConfigError("For one fetch there is only a limit of its download, which is kept with the fetch.")
        if request.download is not None:
            await self._fetches.limit(fetch, request.download)
        return answers.LimitAnswer(None, fetch.throttle.bytes_per_s, None)
