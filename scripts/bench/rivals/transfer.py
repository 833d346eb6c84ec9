"""The programs that Shoal's transfers are measured against: curl and aria2 with nginx, libtorrent, rsync.

Says how each is set up on loopback and what one fetch with it is. Each server gets its own configuration, port and
folder, so that nothing installed on the machine takes part. Programs that are not installed are left out, with a note.
"""

import importlib.util
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scripts.bench.support.measure import BenchError, Fetch, Sample, Server, run, serve

TORRENT = str(Path(__file__).with_name("torrent.py"))
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


def file_rivals(stack: ExitStack, source: Path, work: Path, sources: int, notes: list[str]) -> dict[str, Fetch]:
    """Everything that can fetch the file `source`; those that can use several sources at once get `sources` of them."""
    fetches: dict[str, Fetch] = {}
    if installed(notes, "nginx", "openssl"):
        sites = [stack.enter_context(nginx(source.parent, work / f"nginx{number}")) for number in range(sources)]
        if installed(notes, "curl"):
            notes.append("curl fetches over HTTPS from 1 nginx and verifies nothing")
            fetches["curl"] = curl(sites[0], source.name)
        if installed(notes, "aria2c"):
            notes.append(f"aria2 fetches over HTTPS, a connection to each of {sources} nginx, and verifies nothing")
            fetches["aria2"] = aria2(sites, source.name)
    if libtorrent_installed(notes):
        notes.append("libtorrent is BitTorrent v1 over plain TCP: verified (SHA-1), not encrypted")
        torrent = work / "source.torrent"
        run([sys.executable, TORRENT, "make", str(source), str(torrent)])
        seeds = [
            stack.enter_context(seed(torrent, source.parent, work / f"seed{number}.log")) for number in range(sources)
        ]
        fetches["libtorrent"] = libtorrent(seeds, torrent)
    return fetches | (folder_rivals(stack, source, work, notes) if sources == 1 else {})


def folder_rivals(stack: ExitStack, source: Path, work: Path, notes: list[str]) -> dict[str, Fetch]:
    """Everything that can fetch a folder as well as a file."""
    if not installed(notes, "rsync"):
        return {}
    notes.append("rsync runs with -a over its daemon, plain TCP: verified, not encrypted")
    return {"rsync": rsync(stack.enter_context(rsync_daemon(source.parent, work / "rsync")), source.name)}


def libtorrent_installed(notes: list[str]) -> bool:
    if importlib.util.find_spec("libtorrent") is None:
        notes.append("libtorrent is not installed: skipped")
        return False
    return True


@contextmanager
def nginx(root: Path, work: Path, *, is_plain: bool = False) -> Iterator[tuple[Server, str]]:
    """Serves the files of `root` over HTTPS (TLS 1.3 only, self-signed), or over plain HTTP.

    nginx has its defaults otherwise.
    """
    work.mkdir()
    port = _free_port()
    if is_plain:
        listen = f"listen 127.0.0.1:{port};\n"
    else:
        key, certificate = work / "key.pem", work / "certificate.pem"
        request = [program("openssl"), "req", "-x509", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
        request += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        run([*request, "-keyout", str(key), "-out", str(certificate)])
        listen = f"listen 127.0.0.1:{port} ssl;\nssl_protocols TLSv1.3;\n"
        listen += f"ssl_certificate {certificate};\nssl_certificate_key {key};\n"
    temporary = "".join(
        f"{kind}_temp_path {work}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (work / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\n"  # as nobody, it could not read a private folder
        f"daemon off;\npid {work}/pid;\nworker_processes 1;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}"
        f"server {{\n{listen}root {root};\n}}\n}}\n"
    )
    argv = [program("nginx"), "-p", str(work), "-e", "stderr", "-c", str(work / "nginx.conf")]
    with serve(argv, work / "log") as server:
        _wait_for(port, server)
        yield server, f"http{'' if is_plain else 's'}://127.0.0.1:{port}"


def curl(site: tuple[Server, str], name: str) -> Fetch:
    server, url = site

    def fetch(out: Path) -> Sample:
        argv = [program("curl"), "-q", "-k", "-sS", "--fail", "-o", str(out / name), "-w", "%{time_total}"]
        ran = run([*argv, f"{url}/{name}"], [server])
        return Sample.of(ran, float(ran.stdout))

    return fetch


def aria2(sites: Sequence[tuple[Server, str]], name: str) -> Fetch:
    """Fetches with one connection to each site, a part of the file from each."""

    def fetch(out: Path) -> Sample:
        argv = [program("aria2c"), "--no-conf", "--quiet", "--check-certificate=false", "--file-allocation=none"]
        argv += ["--max-connection-per-server=1", "--min-split-size=1M", f"--split={len(sites)}", f"--dir={out}"]
        return Sample.of(run([*argv, *(f"{url}/{name}" for _, url in sites)], [server for server, _ in sites]))

    return fetch


@contextmanager
def seed(torrent: Path, root: Path, log: Path) -> Iterator[tuple[Server, str]]:
    with serve([sys.executable, TORRENT, "seed", str(torrent), str(root)], log) as server:
        yield server, server.first_line().removeprefix("ready ")


def libtorrent(seeds: Sequence[tuple[Server, str]], torrent: Path) -> Fetch:
    def fetch(out: Path) -> Sample:
        argv = [sys.executable, TORRENT, "get", str(torrent), str(out), *(address for _, address in seeds)]
        ran = run(argv, [server for server, _ in seeds])
        return Sample.of(ran, float(json.loads(ran.stdout)["seconds"]))

    return fetch


def libtorrent_hashing(source: Path, torrent: Path) -> Sample:
    """Make a torrent of `source`, which hashes all of it."""
    ran = run([sys.executable, TORRENT, "make", str(source), str(torrent)])
    return Sample.of(ran, float(json.loads(ran.stdout)["seconds"]))


@contextmanager
def rsync_daemon(root: Path, work: Path) -> Iterator[tuple[Server, str]]:
    work.mkdir()
    port = _free_port()
    owner = "uid = 0\ngid = 0\n" if os.geteuid() == 0 else ""  # as nobody, it could not read a private folder
    (work / "rsyncd.conf").write_text(
        f"pid file = {work}/pid\nlog file = {work}/messages\nuse chroot = no\nreverse lookup = no\n{owner}"
        f"[data]\npath = {root}\nread only = yes\n"
    )
    argv = [program("rsync"), "--daemon", "--no-detach", f"--config={work}/rsyncd.conf"]
    with serve([*argv, f"--port={port}", "--address=127.0.0.1"], work / "log") as server:
        _wait_for(port, server)
        yield server, f"rsync://127.0.0.1:{port}/data"


def rsync(daemon: tuple[Server, str], name: str) -> Fetch:
    server, url = daemon
    return lambda out: Sample.of(run([program("rsync"), "-a", f"{url}/{name}", f"{out}/"], [server]))


def installed(notes: list[str], *programs: str) -> bool:
    missing = [program for program in programs if shutil.which(program, path=SEARCH_PATH) is None]
    notes += [f"{program} is not installed: skipped" for program in missing]
    return not missing


def program(name: str) -> str:
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise BenchError(f"{name} is not installed")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _wait_for(port: int, server: Server, timeout_s: float = 20) -> None:
    """Waits until something accepts connections on `port`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=timeout_s).close()
            return
        except ConnectionRefusedError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"does not listen: {server.process.args!r}\n{server.log.read_text()}") from None
            time.sleep(0.02)
