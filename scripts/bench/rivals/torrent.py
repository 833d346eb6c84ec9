"""libtorrent as a program: BitTorrent v1 without encryption over plain TCP on loopback.

    torrent.py make FILE TORRENT            hash FILE; prints {"seconds"}
    torrent.py seed TORRENT FOLDER          serve it until ended; prints `ready HOST:PORT`
    torrent.py get TORRENT OUT HOST:PORT... fetch it from these seeds alone; prints {"seconds"}

Imports nothing of the benchmark, so that its memory and start are libtorrent's own.
"""

import json
import sys
import time
from pathlib import Path

import libtorrent as lt

PIECE_BYTES = 1 << 20
POLL_S = 0.01


def main(role: str, *arguments: str) -> None:
    match role, arguments:
        case "make", (file, torrent):
            make(Path(file), Path(torrent))
        case "seed", (torrent, folder):
            seed(torrent, folder)
        case "get", (torrent, out, *seeds):
            get(torrent, out, seeds)
        case _:
            sys.exit(__doc__)


def make(file: Path, torrent: Path) -> None:
    started = time.perf_counter()
    files = lt.file_storage()
    lt.add_files(files, str(file))
    creator = lt.create_torrent(files, PIECE_BYTES, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(creator, str(file.parent))
    torrent.write_bytes(lt.bencode(creator.generate()))
    print(json.dumps({"seconds": time.perf_counter() - started}))


def seed(torrent: str, folder: str) -> None:
    session = open_session()
    add(session, torrent, folder, lt.torrent_flags.seed_mode)
    while not session.listen_port():
        time.sleep(POLL_S)
    print(f"ready 127.0.0.1:{session.listen_port()}", flush=True)
    while True:
        time.sleep(3600)


def get(torrent: str, out: str, seeds: list[str]) -> None:
    session = open_session()
    started = time.perf_counter()
    handle = add(session, torrent, out)
    for address in seeds:
        host, port = address.split(":")
        handle.connect_peer((host, int(port)))
    while not handle.status().is_seeding:
        time.sleep(POLL_S)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def open_session() -> lt.session:
    """Opens a session set up for speed on one machine: no discovery, no encryption, no uTP, deep queues."""
    return lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "in_enc_policy": 2,
            "out_enc_policy": 2,
            "allow_multiple_connections_per_ip": True,
            "smooth_connects": False,
            "max_out_request_queue": 2000,
            "send_buffer_watermark": 3 << 20,
            "unchoke_slots_limit": -1,
            "alert_mask": 0,
        }
    )


def add(session: lt.session, torrent: str, folder: str, flags: int = 0) -> lt.torrent_handle:
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags |= flags
    return session.add_torrent(parameters)


if __name__ == "__main__":
    main(*(sys.argv[1:] or [""]))
