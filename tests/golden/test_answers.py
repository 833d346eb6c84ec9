"""What commands say with `--json`, and what a peer answers over its control socket, as it was recorded.

Recorded by `python -m tests.golden.test_answers FOLDER`; an entry that is there is never changed. Real peers with a
tracker are asked everything once: commands in processes of their own, requests over the socket as raw lines. Keys,
their order, types and what always is the same are pinned; `settled` has the rest replaced. `shoal demo` is left out.
"""

import json
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
import trio

from p2p.cluster.spec import ClusterSpec
from p2p.compute.runtimes import runtime_for
from p2p.compute.spec import JobSpec
from p2p.control import cluster_requests as clusters
from p2p.control import protocol as requests
from p2p.control.path import socket_path
from p2p.control.protocol import AnyRequest, Event
from p2p.progress import Progress
from tests.support.processes import Peer, make_file, until
from tests.support.recordings import left_out, load, samples, save, tag_of

COMMANDS, CONTROL, REQUESTS = "answers_commands.json", "answers_control.json", "requests.json"
SAVE = """
def job(inputs):
    inputs.range(2).map(lambda n: f"line {n}").save()
    return inputs.range(4).map(show).sum()


def show(n):
    print("at", n)
    return n
"""
STUCK = """
def job(inputs):
    return inputs.range(2).map(work).sum()


def work(n):
    while n:
        pass
    return n
"""
FAULTY = "def job(inputs):\n    raise ValueError('no such luck')\n"

WISH = JobSpec(
    path="/home/somebody/job.py",
    inputs=("/home/somebody/texts",),
    args={"words": ["a", 1, None]},
    runtime="python-wasm",
    partitions=12,
    unit_memory=1 << 28,
    unit_time_s=90.5,
    peers=("192.0.2.1:7474",),
    volunteers=3,
    out="/home/somebody/out",
    wait_s=20.0,
    along=("/home/somebody/data.csv",),
    requirements="/home/somebody/wanted.txt",
    seed=4711,
    max_skipped=77,
)
CLUSTER = ClusterSpec(
    engine="dask",
    name="mine",
    members=2,
    cores=3,
    memory=1 << 32,
    disk=1 << 33,
    environment="/home/somebody/env",
    include=("/home/somebody/env/key.pem",),
    peers=("192.0.2.1:7474",),
    seconds=3600.5,
    wait_s=20.0,
)
GET = requests.GetRequest(
    link="magnet:?xt=urn:shoal:a",
    out="/out",
    peers=("192.0.2.1:7474",),
    select=("*.txt",),
    exclude=("*.tmp",),
    names="skip",
    trust_names=True,
    into_existing=True,
    sequential=True,
    overwrite=True,
    wait_s=1.5,
    limit_bytes_per_s=1000,
)
ASKED: tuple[AnyRequest, ...] = (
    requests.ShareRequest(
        paths=("/a", "/b"),
        name="both",
        unlisted=True,
        pointer="news",
        exclude=("*.tmp",),
        rehash=True,
        times=True,
        links=True,
        sure=True,
    ),
    requests.PackRequest(source="/venv", name="mine", include=("token.json",), more=("/usr/lib/jvm/java",)),
    GET,
    requests.BackgroundRequest(request=GET),
    requests.FetchesRequest(),
    requests.FollowRequest(id="abc"),
    requests.PauseRequest(id="abc"),
    requests.GoOnRequest(id="abc", background=True, peers=("192.0.2.1:7474",)),
    requests.RemoveRequest(id="abc", delete_files=True),
    requests.LimitRequest(upload=2000, download=1000, fetch="abc", save=True),
    requests.ListRequest(
        link="magnet:?xt=urn:shoal:a", path="letters", after="a.txt", peers=("192.0.2.1:7474",), wait_s=1.5
    ),
    requests.CatRequest(link="magnet:?xt=urn:shoal:a", path="letters/b.txt", peers=("192.0.2.1:7474",), wait_s=1.5),
    requests.SearchRequest(query="two words"),
    requests.BrowseRequest(peer="192.0.2.1:7474"),
    requests.RunRequest(wish=WISH, keep=False),
    requests.ResumeRequest(id="abc", peers=("192.0.2.1:7474",)),
    clusters.ClusterListsRequest(change="allow", peer="a" * 52, remove=True),
    clusters.ClusterStartRequest(spec=CLUSTER),
    clusters.ClustersRequest(),
    clusters.ClusterRunRequest(
        name="dask", argv=("python", "my.py"), variables={"NAME": "value"}, files={"my.py": b"1"}
    ),
    clusters.ClusterLogsRequest(name="dask", member=1),
    clusters.ClusterScaleRequest(name="dask", members=3),
    clusters.ClusterAddRequest(name="dask", label="7"),
    clusters.ClusterReleaseRequest(name="dask", member=2),
    clusters.ClusterStopRequest(name="dask"),
    requests.LogsRequest(id="abc", unit=(1, 2, 3)),
    requests.ResultRequest(id="abc", wait=True),
    requests.CancelRequest(id="abc"),
    requests.VolunteerRequest(pause=True, now=True),
    requests.JobsRequest(),
    requests.SharesRequest(),
    requests.UnshareRequest(id="abc"),
    requests.PeersRequest(),
    requests.StatusRequest(),
    requests.WebRequest(code=True, new_token=True),
    requests.OpenRequest(link="magnet:?xt=urn:shoal:a", peers=("192.0.2.1:7474",)),
    requests.HoldRequest(),
)
ANSWERED: tuple[Event, ...] = (
    requests.Update(
        Progress(
            state="fetching",
            name="books",
            size=9,
            done=4,
            resumed=1,
            received=3,
            files=2,
            files_done=1,
            sources=5,
            known=6,
            rate=0.5,
            trouble="a source is slow",
            notes=["said once"],
        )
    ),
    requests.Note(text="Bücher"),
    requests.Piece(data=b"B\xfccher"),
    requests.Answer(value=[{"a": None}, 1]),
    requests.Failure(kind="NotFound", text="no"),
)

VARYING = frozenset(
    {
        *("seconds", "age_s", "uptime_s", "announced_s", "created", "version", "units_done", "connections", "core_s"),
        *("memory_bytes", "inputs_bytes", "bytes_moved", "bytes_fetched", "uploaded", "downloaded", "received", "done"),
        *("sources", "known", "nodes", "records", "shares"),
    }
)
"""Numbers of which only the type is the same every time."""
CHANCE = frozenset({"left_s", "rate", "dialable", "reachability", "reachable_from", "walls", "software", "compiling"})
"""What hangs on the moment or the machine, its type too."""
LISTS = frozenset({"runtimes", "addresses", "seen_as"})
"""Lists whose length depends on the moment or the machine too."""
WORDS = (
    (re.compile(r"[a-z2-7]{52}"), "ID"),
    (re.compile(r"(\b[Jj]ob |`shoal resume |\bsave-)[a-z2-7]{8}\b"), r"\1SHORT"),
    (re.compile(r"code=[\w-]{32}"), "code=CODE"),
    (re.compile(r"127\.0\.0\.1(:|%3A)\d+"), r"127.0.0.1\1PORT"),
)
LINK = re.compile(r"(?:magnet:\?xt=urn:shoal:|shoal:(?:[sm]/)?)ID[^\"\s]*")
"""A link, in the form of the recorded files or in that of today: both are read (`links.json`)."""


def settled(value: Any, folder: Path, key: str = "") -> Any:
    """The answer with what varies replaced: by its type, or by what it is an example of."""
    match value:
        case _ if key in CHANCE:
            return "varies"
        case dict():
            return {settled(name, folder): settled(one, folder, name) for name, one in value.items()}
        case list():
            each = [settled(one, folder, key) for one in value]
            return each[:1] if key in LISTS else each
        case str():
            text = value.replace(str(folder), "FOLDER")
            for pattern, word in WORDS:
                text = pattern.sub(word, text)
            return text
        case int() | float() if key in VARYING:
            return type(value).__name__
        case _:
            return value


def ask(peer: Peer, request: AnyRequest) -> list[dict[str, Any]]:
    """The raw answer over the control socket: the last update, the notes, and what ended it."""
    with hanging(peer, request) as connection:
        lines = [json.loads(line) for line in connection.makefile("rb")]
    updates = [line for line in lines if line["event"] == "update"]
    return updates[-1:] + [line for line in lines if line["event"] != "update"]


def of(peer: Peer, request: AnyRequest) -> Any:
    """The value that a request is answered with."""
    return ask(peer, request)[-1]["value"]


@contextmanager
def hanging(peer: Peer, request: AnyRequest) -> Iterator[socket.socket]:
    """A request whose answer nobody waits for while the body runs."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(socket_path(peer.home)))
        connection.sendall(requests.encode(request))
        yield connection


def told(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What commands and what the socket of real peers answered, `settled`."""
    trio.run(runtime_for, "python-wasm", lambda text: None)
    for name, text in (("save.py", SAVE), ("stuck.py", STUCK), ("faulty.py", FAULTY)):
        (folder / name).write_text(text)
    make_file(folder / "offered" / "bigger.bin", 1 << 20)
    make_file(folder / "large.bin", 16 << 20)
    song = make_file(folder / "song.txt", 1000)
    owner, other = Peer(folder / "owner"), Peer(folder / "other")
    commands: dict[str, Any] = {}
    answers: dict[str, Any] = {}

    def run(name: str, *arguments: str | Path, by: Peer = owner) -> None:
        commands[name] = settled(by.run(*arguments, "--json").json(), folder)

    def run_at_once(*named: tuple[str, Peer, tuple[str | Path, ...]]) -> None:
        with ExitStack() as stack:
            running = [stack.enter_context(by.start(*arguments, "--json")) for _, by, arguments in named]
            for (name, *_), one in zip(named, running, strict=True):
                commands[name] = settled(one.wait().json(), folder)

    def request(name: str, asked: AnyRequest, by: Peer = owner) -> None:
        events = ask(by, asked)
        if isinstance(asked, requests.RunRequest):
            events[0]["progress"]["view"]["volunteers"] = []  # who is still there at the end is chance
        answers[name] = settled(events, folder)

    with ExitStack() as stack:
        tracker = stack.enter_context(Peer(folder / "tracker").start("tracker", "--listen", "127.0.0.1:0"))
        url = tracker.line().split()[1]
        options = ("--no-lan", "--tracker", url)
        volunteer = stack.enter_context(other.node("--volunteer", "--cores", "1", *options))
        stack.enter_context(owner.node("--join", volunteer.address, "--web-listen", "127.0.0.1:0", *options))
        hers = of(other, requests.ShareRequest(paths=(str(folder / "offered"),)))
        large = of(other, requests.ShareRequest(paths=(str(folder / "large.bin"),), unlisted=True))

        run("share", "share", song, "--as", "news")
        request("pack, of none", requests.PackRequest(source=str(folder / "offered")))
        request("cluster_lists", clusters.ClusterListsRequest())
        request("cluster_start, of a peer without an id", clusters.ClusterStartRequest(spec=CLUSTER))
        request("clusters", clusters.ClustersRequest())
        for one in (clusters.ClusterRunRequest(name="none", argv=("true",)), clusters.ClusterLogsRequest(name="none")):
            request(f"{tag_of(type(one))}, of none", one)
        for two in (clusters.ClusterStopRequest(name="none"), clusters.ClusterAddRequest(name="none")):
            request(f"{tag_of(type(two))}, of none", two)
        request("cluster_scale, of none", clusters.ClusterScaleRequest(name="none", members=2))
        request("cluster_release, of none", clusters.ClusterReleaseRequest(name="none", member=2))
        request("share", requests.ShareRequest(paths=(str(song),), name="tune", unlisted=True, pointer="tunes"))
        until(lambda: of(owner, requests.SearchRequest(query="offered")), "the tracker's word")
        run_at_once(
            ("search", owner, ("search", "offered")),
            ("browse", owner, ("browse", volunteer.address)),
        )
        request("search", requests.SearchRequest(query="offered"))
        request("browse", requests.BrowseRequest(peer=volunteer.address))
        volunteers = ("--peer", volunteer.address, "--partitions", "2", "--runtime", "python-wasm")
        locally = ("--local", "--partitions", "2", "--out", folder / "here")
        run_at_once(
            ("get", owner, ("get", hers["link"], "--out", folder / "got")),
            ("run", owner, ("run", folder / "save.py", *volunteers, "--out", folder / "saved")),
            ("run --local", owner, ("run", folder / "save.py", *locally)),
        )
        request("get", requests.GetRequest(link=hers["link"], out=str(folder / "again")))
        run("ls", "ls", hers["link"])
        request("ls", requests.ListRequest(link=hers["link"]))
        (tune,) = (row["link"] for row in of(owner, requests.SharesRequest()) if row["name"] == "tune")
        request("cat", requests.CatRequest(link=tune, path="tune"))
        (done,) = of(owner, requests.JobsRequest())

        def wish(name: str) -> JobSpec:
            return JobSpec(
                str(folder / name), runtime="python-wasm", partitions=2, peers=(volunteer.address,), wait_s=60.0, seed=5
            )

        request("run", requests.RunRequest(wish=wish("save.py")))
        request("run, faulty", requests.RunRequest(wish=wish("faulty.py")))
        run("logs", "logs", done["job"])
        request("logs", requests.LogsRequest(id=done["job"], unit=(1, 0, 1)))
        run("result", "result", done["job"])
        request("result", requests.ResultRequest(id=done["job"]))

        slow = requests.GetRequest(link=large["link"], out=str(folder / "slowly"), limit_bytes_per_s=1 << 18)
        with hanging(owner, requests.RunRequest(wish=wish("stuck.py"))) as running, hanging(owner, slow):
            until(lambda: is_under_way(owner), "a job and a fetch under way")
            request("jobs", requests.JobsRequest())
            request("peers", requests.PeersRequest())
            request("status", requests.StatusRequest())
            request("peers, of a volunteer", requests.PeersRequest(), by=other)
            run_at_once(
                *((name, owner, (name,)) for name in ("jobs", "peers", "status")),
                ("volunteer status", other, ("volunteer", "status")),
            )
            (job, *_) = of(owner, requests.JobsRequest())
            request("cancel", requests.CancelRequest(id=job["job"]))
            answers["run, cancelled"] = settled(json.loads([*running.makefile("rb")][-1]), folder)
        until(lambda: of(owner, requests.FetchesRequest())[0]["state"] == "paused", "a fetch without its command")
        run("fetches", "fetches")
        request("fetches", requests.FetchesRequest())
        paused, fetched = (row["id"] for row in of(owner, requests.FetchesRequest())[:2])
        request("follow", requests.FollowRequest(id=fetched))
        request("background", requests.BackgroundRequest(request=slow))
        request("pause", requests.PauseRequest(id=paused))
        request("limit", requests.LimitRequest(upload=0))
        run("limit", "limit", "--fetch", paused, "--download", "2MiB")
        request("go_on", requests.GoOnRequest(id=paused, background=True))
        run("pause", "pause", paused)
        run("resume", "resume", paused, "--background")
        run("remove", "remove", paused)
        request("remove", requests.RemoveRequest(id=fetched))
        until(lambda: is_idle(other), "a volunteer without work")
        request("volunteer_status", requests.VolunteerRequest(pause=True), by=other)
        request("volunteer_status, of none", requests.VolunteerRequest())
        request("resume", requests.ResumeRequest(id=done["job"]))
        run_at_once(
            ("volunteer resume", other, ("volunteer", "resume")),
            ("shares", owner, ("shares",)),
            ("config", owner, ("config",)),
        )
        request("shares", requests.SharesRequest())
        request("jobs, that ended", requests.JobsRequest())
        run("unshare", "unshare", hers["id"])
        request("unshare", requests.UnshareRequest(id=hers["id"]))
        run("web", "web", "--code")
        run("open", "open", tune)
        request("web", requests.WebRequest())
        request("web, of none", requests.WebRequest(code=True), by=other)
        request("open", requests.OpenRequest(link=tune))
        with hanging(owner, requests.HoldRequest()) as holding:
            answers["hold"] = settled([json.loads(holding.makefile("rb").readline())], folder)
    return commands, answers


def is_idle(volunteer: Peer) -> bool:
    status = of(volunteer, requests.VolunteerRequest())
    return not status["busy"] and not status["jobs"]


def is_under_way(owner: Peer) -> bool:
    """Whether a job waits for its last unit alone, and a fetch has begun."""
    status = of(owner, requests.StatusRequest())
    running = [stage["running"] for job in status["jobs"] for stage in job["stages"] if stage["done"]]
    return running == [1] and any(fetch["done"] for fetch in status["fetches"])


def asked() -> dict[str, list[str]]:
    """Requests and events as they are on the socket, by their tags."""
    return {
        tag_of(type(full)): [requests.encode(one).decode() for one in samples(full)] for full in (*ASKED, *ANSWERED)
    }


def record(folder: Path) -> None:
    save(folder, REQUESTS, asked())
    with tempfile.TemporaryDirectory() as place:
        commands, answers = told(Path(place))
    save(folder, COMMANDS, commands)
    save(folder, CONTROL, answers)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    return told(tmp_path_factory.mktemp("answers"))


@pytest.mark.parametrize(("number", "name"), [(0, COMMANDS), (1, CONTROL)])
def test_everything_is_answered_as_it_was_recorded(
    answered: tuple[dict[str, Any], dict[str, Any]], number: int, name: str
) -> None:
    recorded = load(name)
    assert list(answered[number]) == list(recorded)
    # As texts, so that the order of keys counts.
    for what, answer in answered[number].items():
        now, before = (LINK.sub("LINK", json.dumps(said, indent=1)) for said in (answer, recorded[what]))
        assert now == before, what


def test_requests_and_events_are_written_and_read_as_they_were_recorded() -> None:
    recorded = load(REQUESTS)
    assert asked() == recorded
    for request in ASKED:
        lines = [line.encode() for line in recorded[tag_of(type(request))]]
        assert [requests.decode_request(line) for line in lines] == samples(request)
    for event in ANSWERED:
        assert [requests.decode_event(line.encode()) for line in recorded[tag_of(type(event))]] == samples(event)
    versions = [".version"] * len(ASKED) + [".request.version"]
    assert sorted(found for request in ASKED for found in left_out(request)) == sorted(versions)


def test_every_request_and_event_was_recorded() -> None:
    of_requests = set(map(tag_of, get_args(AnyRequest)))
    assert set(load(REQUESTS)) == of_requests | set(map(tag_of, get_args(Event))), f"or is no more, of {REQUESTS}"
    assert {name.partition(",")[0] for name in load(CONTROL)} == of_requests, f"or is no more, of {CONTROL}"


if __name__ == "__main__":
    record(Path(sys.argv[1]))
