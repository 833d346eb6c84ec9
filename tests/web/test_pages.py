"""The pages as a browser without JavaScript, or any program, gets them: real announces in, HTML out."""

import re
from xml.etree import ElementTree

import pytest

from p2p import ids
from p2p.wire.link import parse_link
from p2p.wire.tracker import Capacity
from tests.support.tracker_site import Announcer, Site, listing

PAGES = ("/", "/search", "/search?q=nothing+has+these+words", "/volunteers", "/network", "/network?hours=168", "/about")
MISTAKES = {
    "/nowhere": 404,
    "/shares/nonsense": 404,
    f"/shares/{ids.to_text(bytes(32))}": 404,
    "/peers/%00%ff%0a": 404,
    f"/peers/{ids.to_text(bytes(32))}": 404,
    "/static/..%2fsite.py": 404,
    "/static/base.html": 404,
    "/search?kind=poetry": 400,
    "/search?min_size=lots": 400,
    "/search?cursor=forged": 400,
    "/volunteers?cores=-1": 400,
    "/volunteers?cores=" + "9" * 5000: 400,
    "/network?hours=nan": 400,
}
FILM = ("The Tides of Vigo 1080p.mkv", 1_500_000_000)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_locked_down(site: Site, path: str) -> None:
    page = site.page(path)
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert len(page.all("h1")) == 1
    assert all(len(script) == 2 and script["src"].startswith("/static/") for script in page.all("script"))
    assert not page.all("style")
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action"):
            assert attributes.get(name, "/").startswith(("/", "#", "shoal:s/")), (tag, attributes)


def test_every_field_has_a_label(site: Site) -> None:
    for path in PAGES:
        page = site.page(path)
        labelled = {label["for"] for label in page.all("label") if "for" in label}
        for field in page.all("input"):
            assert field.get("type") == "hidden" or field.get("id") in labelled or path == "/volunteers", (path, field)
        names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(names) == len(set(names)), path


def test_static_files_are_kept_by_their_hash(site: Site) -> None:
    page = site.page("/")
    found = [item["href"] for item in page.all("link")] + [page.all("script")[0]["src"]]
    assert len(found) == 3
    for address in found:
        answer = site.client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript", "image/svg+xml"))
        again = site.client.get(address.split("?")[0], headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "no-cache"


def test_what_is_announced_is_found_and_leads_on(site: Site, announcer: Announcer) -> None:
    share = listing("Rías Baixas documentary", FILM, ("extras/Interview with a harbour pilot.flac", 40_000_000))
    announcer.announce(share)
    results = site.page("/search?q=harbour+pilot")
    assert results.links["Rías Baixas documentary"] == f"/shares/{share.share}"
    assert "with the file extras/Interview with a harbour pilot.flac" in results.text
    assert "1.43 GiB 2 files 1 source video just now" in results.text
    link = parse_link(results.links["Link"])
    assert (ids.to_text(link.share_id), link.name, link.size) == (share.share, share.name, share.size)

    page = site.page(results.links["Rías Baixas documentary"])
    assert "The Tides of Vigo 1080p.mkv 1.4 GiB extras/ Interview with a harbour pilot.flac 38.1 MiB" in page.text
    assert f"shoal get shoal:s/{share.share}" in page.text
    assert "has all not dialable" in page.text

    peer = site.page(page.links[announcer.peer[:16]])
    assert f"Peer {announcer.peer[:16]} not dialable" in peer.text
    assert peer.links["Rías Baixas documentary"] == f"/shares/{share.share}"


def test_many_sources_unfold(site: Site) -> None:
    share = listing("Tide tables for everyone.pdf", size=1000)
    announcers = [Announcer(site) for _ in range(15)]
    for announcer in announcers:
        announcer.announce(share)
    page = site.page(f"/shares/{share.share}")
    assert "15 sources" in page.text
    assert "3 more" in page.text
    assert {announcer.peer[:16] for announcer in announcers} <= set(page.links)
    for announcer in announcers:
        announcer.bye()


def test_filters_narrow_a_search_and_stay(site: Site, announcer: Announcer) -> None:
    announcer.announce(
        listing("Sextant handbook.pdf", size=5 << 20),
        listing("Sextant lecture.mkv", size=3 << 30),
        listing("Sextant field notes.pdf", size=2 << 30),
    )

    def named(path: str) -> set[str]:
        return {name for name in site.page(path).links if name.startswith("Sextant ")}

    assert named("/search?q=sextant") == {
        "Sextant handbook.pdf",
        "Sextant lecture.mkv",
        "Sextant field notes.pdf",
    }
    assert named("/search?q=sextant&kind=document") == {"Sextant handbook.pdf", "Sextant field notes.pdf"}
    assert named("/search?q=sextant&kind=document&min_size=1GiB") == {"Sextant field notes.pdf"}
    assert named("/search?q=sextant&max_size=7777KiB") == {"Sextant handbook.pdf"}
    assert named("/search?q=sextant&min_size=999999999999999999PiB") == set()
    page = site.page("/search?q=sextant&kind=document&max_size=7777KiB")
    assert {"type": "hidden", "name": "kind", "value": "document"} in page.all("input")
    assert page.links["Video"] == "/search?q=sextant&kind=video&max_size=7777KiB"
    assert "7777KiB" in page.text


def test_pages_of_results_hold_each_once(site: Site, announcer: Announcer) -> None:
    names = {f"Lighthouse log {number:02}" for number in range(60)}
    announcer.announce(*(listing(name, size=1000) for name in names))
    seen: list[str] = []
    page = site.page("/search?q=lighthouse+log")
    while True:
        seen += [name for name in page.links if name.startswith("Lighthouse")]
        if "More" not in page.links:
            break
        page = site.page(page.links["More"])
        assert page.links["Back to the start"] == "/search?q=lighthouse+log"
    assert sorted(seen) == sorted(names)


def test_nothing_found_says_what_to_do(site: Site) -> None:
    page = site.page("/search?q=zzyzx+qwxq&kind=audio")
    assert "No listed share matches all of this." in page.text
    assert page.links["Search without filters"] == "/search?q=zzyzx%20qwxq"


def test_compute_on_offer(site: Site, announcer: Announcer) -> None:
    offer = Capacity(("wasm", "python-3.14"), 12, 3 << 30, gpu="Sunfish 9", policy="members", load=0.25)
    announcer.announce(capacity=offer)
    page = site.page("/volunteers?cores=12&runtime=python-3.14&memory=3GiB")
    assert f"{announcer.peer[:16]} not dialable 12 25 % 25 % 3 GiB wasm, python-3.14 Sunfish 9 members" in page.text
    assert announcer.peer[:16] not in site.page("/volunteers?cores=13").links
    assert announcer.peer[:16] not in site.page("/volunteers?runtime=cobol").links
    peer = site.page(f"/peers/{announcer.peer}")
    assert "Cores 12 Memory per core 3 GiB Busy 25 % Runs wasm, python-3.14 GPU Sunfish 9 For members" in peer.text


def test_the_network_in_figures(site: Site, announcer: Announcer) -> None:
    announcer.announce(listing("Buoy telemetry", size=7 << 30), capacity=Capacity(("wasm",), 5, 1 << 30))
    site.shows(peers=1, shares=1, bytes=7 << 30, cores=5)
    assert "Peers online 1 Shares 1 Shared 7 GiB Cores on offer 5" in site.page("/").text
    network = site.page("/network")
    assert "Peers 1" in network.text
    assert re.search(r"Time \(UTC\) Peers Shares Shared Cores \d+ [A-Z][a-z]{2}, \d\d:\d\d 1 1 7 GiB 5", network.text)
    for drawing in re.findall(r'<svg class="chart".*?</svg>(?:.*?</svg>){2}', network.html, re.DOTALL):
        ElementTree.fromstring(drawing)


@pytest.mark.parametrize(("path", "status"), MISTAKES.items())
def test_a_mistake_gets_a_page(site: Site, path: str, status: int) -> None:
    page = site.page(path)
    assert page.status == status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert f"{status}" in page.text
    assert page.links["Search the shoal"] == "/"


def test_the_api_answers_in_json_whoever_asks(site: Site) -> None:
    answer = site.client.get("/api/v1/shares/nonsense", headers={"accept": "text/html"})
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "a<script>alert(1)</script>", '"onload=alert(1)', "[", "a b", "x" * 3000, "a:99999999", "'"],
)
def test_a_hostile_host_is_no_markup(site: Site, host: str) -> None:
    answer = site.client.get("/about", headers={"host": host, "accept": "text/html"})
    assert answer.status_code < 500
    assert "<script>alert" not in answer.text
    assert '"onload' not in answer.text


@pytest.mark.parametrize(
    "query", ["%00", "%ff%fe", "\N{PILE OF POO}", '"', "a" * 5000, "%3Cscript%3E", "' OR 1=1 --", "NEAR(a b)", "*", "-"]
)
def test_any_query_is_answered(site: Site, query: str) -> None:
    page = site.page(f"/search?q={query}")
    assert page.status in (200, 414)
    assert "<script>" not in page.html
