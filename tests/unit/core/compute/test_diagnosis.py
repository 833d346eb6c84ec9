"""What a user is told when nobody works for a job."""

from p2p.core.compute.diagnosis import where_it_waits, why_nothing_runs
from p2p.core.compute.matching import Need, VolunteerOffer
from p2p.ids import PeerId

SMALL, LARGE = 2**28, 2**32
PEERS = [PeerId(bytes([n]) * 32) for n in range(3)]


def test_why_nothing_runs() -> None:
    need = Need("python-wasm-science", LARGE, 5)
    plain = VolunteerOffer(1, SMALL, frozenset({"python-wasm"}))
    science = frozenset({"python-wasm", "python-wasm-science"})
    assert why_nothing_runs(need, {}, {}, {}).startswith("no volunteers found yet")
    assert why_nothing_runs(need, {}, {}, {}, failures=["a: refused"]) == "no volunteers found yet: a: refused"
    three = dict.fromkeys(PEERS[:3], plain)
    assert why_nothing_runs(need, three, {}, {}) == "3 volunteers found, 0 offer python-wasm-science"
    little = {PEERS[0]: plain, PEERS[1]: VolunteerOffer(1, SMALL, science)}
    assert "0 of the 1 with python-wasm-science have 4 GiB" in why_nothing_runs(need, little, {}, {})
    full = {PEERS[0]: VolunteerOffer(0, LARGE, science)}
    assert why_nothing_runs(need, full, {}, {}) == "1 volunteer found, 0 have a free core"
    fit = dict.fromkeys(PEERS[:2], VolunteerOffer(1, LARGE, science))
    assert why_nothing_runs(need, fit, {PEERS[0]: "paused"}, {}) == ""
    text = why_nothing_runs(need, fit, dict.fromkeys(PEERS[:2], "paused"), {})
    assert text == "2 peers found, none takes the job: 2 said: paused"
    assert why_nothing_runs(need, fit, {}, {}, PEERS[:1]) == "", "the other could be at work"
    text = why_nothing_runs(need, fit, {PEERS[0]: "paused"}, {}, PEERS[:2], dialable=False)
    assert text.endswith(": 1 said: paused, 1 cannot be dialled, and neither can this peer")
    text = why_nothing_runs(need, fit, {PEERS[0]: "paused"}, {PEERS[1]: "it was silent"})
    assert text == "2 peers found, none takes the job: 1 said: paused, 1 left out by this peer: it was silent"
    text = why_nothing_runs(need, fit, {}, {}, PEERS[:2])
    assert text == "2 peers found, none takes the job: 2 cannot be dialled, and may call this peer"


def test_where_a_job_waits() -> None:
    assert where_it_waits([(2, "its core is busy")]) == "queued at 1 volunteer, 2nd in line: its core is busy"
    both = [(12, "its core is busy"), (1, "paused by its user")]
    assert where_it_waits(both) == "queued at 2 volunteers, 1st in line at best: paused by its user"
    places = {n: where_it_waits([(n, "no")]).split(" in line")[0].split(", ")[1] for n in (3, 4, 11, 21, 112)}
    assert list(places.values()) == ["3rd", "4th", "11th", "21st", "112th"]
