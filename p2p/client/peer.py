"""`Peer`: what Shoal can do for a program."""

import logging
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from p2p import config, extras, paths
from p2p.client import given
from p2p.client.given import AnyPath
from p2p.client.jobs import Jobs, OnProgress
from p2p.client.session import Session
from p2p.control import answers
from p2p.control import protocol as requests
from p2p.errors import ConfigError
from p2p.site.shown import Rows

logger = logging.getLogger(__name__)


class Peer(Jobs):
    """The peer of a home, as a program uses it. Any number of threads may use one.

    Each method asks the peer and waits for its answer; Ctrl-C, or any other exception meanwhile, ends the request in
    the peer too. Sizes are in bytes, times in seconds. Errors are those of `p2p.errors`: ConfigError for a wrong
    argument, NotFound if nobody has what was asked for, PeerGone if the peer stops midway, and StorageError.
    What the peer has to say besides the answer is logged as a warning.
    """

    def __init__(
        self,
        home: AnyPath | None = None,
        trackers: Iterable[str] = (),
        peers: Iterable[str] = (),
        network: str | None = None,
    ) -> None:
        """`home` is the peer's folder; by default, that of the command line. `trackers` are URLs. `peers` are others,
        as HOST:PORT or ID@HOST:PORT: each `get` and `run` asks them, and the DHT is joined through them.

        If no peer runs in the home, one is started, with the settings of the home and these. It ends with the last
        program that uses it: when that closes its `Peer`, ends, or is killed. A peer that runs keeps its own settings.

        Raises ConfigError for wrong arguments, or if the peer that runs is in another network; StorageError and
        IdentityError if the home cannot be used.
        """
        named = config.default_home() if home is None else given.path(home).expanduser()
        self._trackers, self._peers, self._network = (
            given.texts("trackers", trackers),
            given.texts("peers", peers),
            network,
        )
        self._session = Session(paths.to_make(named), self._settings())
        weakref.finalize(self, self._session.close)
        self._session.reach()
        if not self._session.has_started and (network is not None or self._trackers):
            self._compare(self.status())

    def _settings(self) -> config.Settings:
        """The settings that the arguments give a peer that is started."""
        values: dict[str, Any] = {}
        if self._trackers:
            values["trackers"] = self._trackers
        if self._peers:
            from p2p.wire.link import parse_peer

            values["join"] = tuple(str(parse_peer(text).address) for text in self._peers)
        if self._network is not None:
            values["name"] = self._network
        return {"network": values} if values else {}

    def _compare(self, status: answers.StatusAnswer) -> None:
        """Looks whether a peer that ran before has the settings that were asked for."""
        if self._network not in {None, status.network}:
            self.close()
            raise ConfigError(
                f"The peer that runs in {self.home} is in the network {status.network}. "
                "Leave out `network`, or stop it."
            )
        used = {tracker.url for tracker in status.trackers}
        for url in self._trackers:
            if url.rstrip("/") not in used:
                logger.warning("a peer is running in this home: it keeps its own trackers, and %s is ignored", url)

    @property
    def home(self) -> Path:
        """The peer's folder."""
        return self._session.home

    # Files.

    def share(
        self,
        *files: AnyPath,
        name: str | None = None,
        unlisted: bool = False,
        pointer: str | None = None,
        exclude: Iterable[str] | None = None,
        rehash: bool = False,
        times: bool | None = None,
        on_progress: OnProgress | None = None,
    ) -> answers.ShareAnswer:
        """Shares files or folders in place, until `unshare`. In the answer, `link` is what others get it by.

        `unlisted`: only those with the link find it. `pointer` publishes it as the newest version of that name; then
        `pointer` in the answer is the link to the newest one. `exclude` has patterns of .gitignore. `rehash` reads
        files again that seem unchanged. `times` keeps modification times.
        """
        request = requests.ShareRequest(
            paths=tuple(str(paths.resolved(given.path(one))) for one in files),
            name=name,
            unlisted=unlisted,
            pointer=pointer,
            exclude=None if exclude is None else given.texts("exclude", exclude),
            rehash=rehash,
            times=times,
        )
        if not request.paths:
            raise ConfigError("Name a file or folder to share.")
        answer: answers.ShareAnswer = self._ask(request, on_progress)
        return answer

    def get(
        self,
        link: str,
        out: AnyPath = ".",
        *,
        peers: Iterable[str] = (),
        select: Iterable[str] = (),
        exclude: Iterable[str] = (),
        names: Literal["map", "skip", "fail"] = "map",
        trust_names: bool = False,
        sequential: bool = False,
        overwrite: bool = False,
        into_existing: bool = False,
        wait_s: float | None = None,
        limit_bytes_per_s: int = 0,
        on_progress: OnProgress | None = None,
    ) -> answers.GetAnswer:
        """Fetches a share, or what is missing of it, into the folder `out`; every chunk is verified.

        `link` is a link or a share's id. `select` and `exclude` choose among its files, by patterns. Names that
        the disk cannot hold are changed, left out, or refused, as `names` says; `trust_names` keeps those that make
        programs run what they hold. `overwrite` replaces files that differ; `into_existing` allows a folder that is
        there already. Raises NotFound if nobody has it for `wait_s`; by default, this waits for ever.
        """
        request = requests.GetRequest(
            link=link,
            out=str(paths.to_make(given.path(out))),
            peers=self._known(peers),
            select=given.texts("select", select),
            exclude=given.texts("exclude", exclude),
            names=names,
            trust_names=trust_names,
            into_existing=into_existing,
            sequential=sequential,
            overwrite=overwrite,
            wait_s=wait_s,
            limit_bytes_per_s=limit_bytes_per_s,
        )
        answer: answers.GetAnswer = self._ask(request, on_progress)
        return answer

    def search(self, words: str) -> Rows[answers.HitRow]:
        """Finds shares by words, which must all be in a share's name or in its file names."""
        return Rows(self._ask(requests.SearchRequest(query=words)))

    def browse(self, peer: str) -> Rows[answers.ListedRow]:
        """Lists what another peer shares. `peer` is its id, HOST:PORT, ID@HOST:PORT, or a mutable link of it."""
        return Rows(self._ask(requests.BrowseRequest(peer=peer)))

    def shares(self) -> Rows[answers.ShareRow]:
        """Lists what this peer shares."""
        return Rows(self._ask(requests.SharesRequest()))

    def open(
        self,
        address: str,
        mode: Literal["rb", "r"] = "rb",
        *,
        link: str | Iterable[str] = (),
        peers: Iterable[str] = (),
    ) -> IO[Any]:
        """Opens a file of a share, at `shoal://<share id>/<path>`, to read it by ranges. Only what is read is fetched.

        `link` is one that leads to the share, or several; without it, and without `peers`, those who know are asked.
        Raises FileNotFoundError if the share has no such path, TimeoutError if nobody has it, and ConfigError without
        the extra `fs`.
        """
        try:
            from p2p.client.filesystem.system import ShoalFileSystem
        except ImportError as error:
            raise extras.missing("fsspec", "fs") from error
        self._session.reach()
        files = ShoalFileSystem(self.home, link, self._known(peers), skip_instance_cache=True)
        opened: IO[Any] = files.open(address, mode)
        return opened

    def unshare(self, share: str) -> answers.UnshareAnswer:
        """Stops sharing. `share` is the share's id, the beginning of that, or a link. Files stay where they are."""
        answer: answers.UnshareAnswer = self._ask(requests.UnshareRequest(id=share))
        return answer

    # The peer itself.

    def peers(self) -> Rows[answers.PeerRow]:
        """Lists the connections to other peers."""
        return Rows(self._ask(requests.PeersRequest()))

    def status(self) -> answers.StatusAnswer:
        """The state of this peer, and what it is doing."""
        answer: answers.StatusAnswer = self._ask(requests.StatusRequest())
        return answer

    def close(self) -> None:
        """Ends the use of the peer, and whatever is asked of it.

        If it was started for this, this waits for its end, unless others use it.
        """
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (str(self.home), self._trackers, self._peers, self._network)

    def __repr__(self) -> str:
        return f"Peer({str(self.home)!r})"
