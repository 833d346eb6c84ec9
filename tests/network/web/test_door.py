"""The door over TCP: what is refused, what a secret allows, and which shares are shown."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio

from p2p import ids
from p2p.compute.spec import JobSpec
from p2p.config import WebConfig
from p2p.control.access import web_access
from p2p.control.protocol import OpenRequest, RunRequest, WebRequest
from p2p.errors import ConfigError
from p2p.ids import ShareId
from p2p.node import Node
from p2p.web.api import API
from p2p.web.listening import open_listeners
from tests.network.gateway.asking import PATIENCE_S
from tests.support.compiled import compiled as compiled
from tests.support.constants import Shorten
from tests.support.world import PATIENCE_S as WORLD_PATIENCE_S
from tests.support.world import Published, World, asked, until, using

LOCAL = {"listen": "127.0.0.1:0"}
NAMED = LOCAL | {"hosts": ("shoal.example",)}


@pytest.fixture
async def peer(world: World) -> Node:
    return await world.peer("peer", web=LOCAL)


@pytest.fixture
async def published(world: World, peer: Node) -> Published:
    return await world.publish(peer, {"a.txt": 1000})


@asynccontextmanager
async def client_of(peer: Node, *, token: bool = False) -> AsyncIterator[httpx2.AsyncClient]:
    """A client over TCP."""
    assert peer.access is not None
    headers = {"authorization": f"Bearer {(peer.home / web_access.TOKEN_FILE).read_text().strip()}"} if token else {}
    url = f"http://{peer.access.address}"
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
        yield client


@pytest.fixture
async def client(peer: Node) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(peer) as opened:
        yield opened


def at(share: ShareId, path: str = "a.txt") -> str:
    return f"/s/{ids.to_text(share)}/{path}"


async def login_of(peer: Node) -> str:
    """Where a browser logs in."""
    login = (await asked(peer, WebRequest(code=True))).login
    assert isinstance(login, str)
    return login


async def test_shares_need_no_secret_and_all_else_does(
    peer: Node, published: Published, client: httpx2.AsyncClient
) -> None:
    found = await client.get(at(published.link.share_id))
    assert (found.status_code, found.content) == (200, (published.path / "a.txt").read_bytes())
    for path in (
        "/",
        "/logout",
        "/metrics",
        f"{API}status",
        f"{API}shares",
        f"{API}events",
        f"{API}openapi.json",
        "/x",
    ):
        refused = await client.get(path)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), path
        wrong = await client.get(path, headers={"authorization": "Bearer x"})
        assert wrong.status_code == 401
    async with client_of(peer, token=True) as script:
        assert (await script.get(f"{API}shares")).json()[0]["name"] == "data"
        assert "shoal_peer_shares 1" in (await script.get("/metrics")).text
        made = await script.post(f"{API}unshare", json={"id": ids.to_text(published.link.share_id)})
        assert made.status_code == 200
    answer = await client.request("OPTIONS", f"{API}share", headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_browser_logs_in_once_with_a_code(peer: Node, published: Published, client: httpx2.AsyncClient) -> None:
    login = await login_of(peer)
    answer = await client.get(login)
    assert (answer.status_code, answer.headers["location"], answer.headers["cache-control"]) == (303, "/", "no-store")
    assert peer.access is not None
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"shoal-session-{peer.access.address.port}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    page = await client.get("/")
    assert ids.to_text(peer.peer_id) in page.text
    assert client.cookies
    form = page.text.partition('name="shoal-form-token" content="')[2].partition('"')[0]
    assert (await client.get(f"{API}status")).status_code == 200
    assert (await client.get("/static/style.css")).headers["content-type"].startswith("text/css")
    assert (await client.get("/static/none")).status_code == 404
    async with client_of(peer) as other:
        used = await other.get(login)
        assert (used.status_code, used.text.startswith("This code was used")) == (403, True)
        assert (await other.get("/login")).status_code == 403
    share = {"id": ids.to_text(published.link.share_id)}
    own = {"origin": f"http://{peer.access.address}"}
    for headers, status in (
        ({}, 403),
        (own, 403),
        ({"shoal-form-token": form}, 403),
        (own | {"shoal-form-token": "x"}, 403),
        ({"origin": "http://evil.example", "shoal-form-token": form}, 403),
        (own | {"shoal-form-token": form, "sec-fetch-site": "cross-site"}, 403),
        (own | {"shoal-form-token": form, "sec-fetch-site": "same-origin"}, 200),
    ):
        assert (await client.post(f"{API}unshare", json=share, headers=headers)).status_code == status, headers
    assert (await client.post("/logout", headers=own, data={"shoal-form-token": "x"})).status_code == 403
    assert (await client.post("/logout", headers=own, content="a&" * 2000)).status_code == 400
    assert (await client.post("/logout", headers=own, content="a=b&" * 1000)).status_code == 400
    assert (await client.post("/logout", headers=own, content="a" * 5000)).status_code == 400
    assert (await client.post("/logout", headers=own, data={"shoal-form-token": form})).status_code == 200
    assert (await client.get("/")).status_code == 401


async def test_a_new_token_ends_the_old_one_and_all_sessions(peer: Node, client: httpx2.AsyncClient) -> None:
    await client.get(await login_of(peer))
    code = await login_of(peer)
    path = peer.home / web_access.TOKEN_FILE
    before = path.read_text()
    async with client_of(peer, token=True) as script:
        assert (await script.get("/metrics")).status_code == 200
        await asked(peer, WebRequest(new_token=True))
        assert (await script.get("/metrics")).status_code == 401
    assert path.read_text() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await client.get("/")).status_code == 401
    assert (await client.get(code)).status_code == 403
    async with client_of(peer, token=True) as script:
        assert (await script.get("/metrics")).status_code == 200


async def test_whoever_asks_over_tcp_for_a_new_token_is_answered(peer: Node) -> None:
    async with client_of(peer, token=True) as script:
        renewed = await script.post(f"{API}web", json={"new_token": True})
        assert renewed.json()["token_file"] == str(peer.home / web_access.TOKEN_FILE)
        assert (await script.get("/metrics")).status_code == 401


async def test_what_is_being_answered_ends_with_what_let_it_in(peer: Node, client: httpx2.AsyncClient) -> None:
    assert peer.access is not None
    await client.get(await login_of(peer))
    (session,) = peer.access.sessions
    cookie = f"shoal-session-{peer.access.address.port}={session.token}"
    token = (peer.home / web_access.TOKEN_FILE).read_text().strip()
    for header in (f"cookie: {cookie}", f"authorization: Bearer {token}"):
        async with await trio.open_tcp_stream(*peer.access.address) as stream:
            head = f"GET {API}events HTTP/1.1\r\nhost: {peer.access.address}\r\n{header}\r\n\r\n"
            await stream.send_all(head.encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            if header.startswith("cookie"):
                peer.access.end(session)
            else:
                await asked(peer, WebRequest(new_token=True))
            with trio.fail_after(PATIENCE_S):
                while await stream.receive_some():
                    pass


async def test_a_token_lasts_unless_others_may_have_read_it(world: World, peer: Node) -> None:
    path = peer.home / web_access.TOKEN_FILE
    first = path.read_text()
    await world.stop("peer")
    await world.peer("peer", web=LOCAL)
    assert path.read_text() == first
    await world.stop("peer")
    path.chmod(0o644)
    await world.peer("peer", web=LOCAL)
    assert path.read_text() != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_other_names_are_misdirected(published: Published, client: httpx2.AsyncClient) -> None:
    for host in ("rebound.example", "127.0.0.1.example:7475", "evil.example:80"):
        answer = await client.get(at(published.link.share_id), headers={"host": host})
        assert answer.status_code == 421
    for site in ("cross-site", "same-site"):
        answer = await client.get(at(published.link.share_id), headers={"sec-fetch-site": site})
        assert answer.status_code == 403


async def test_what_was_opened_is_shown_and_nothing_else_of_others(
    world: World, published: Published, shorten: Shorten
) -> None:
    shorten(web_access, "MAX_OPEN", 2)
    reader = await world.peer("reader", web=LOCAL)
    share, hint = published.link.share_id, str(published.hint)
    async with client_of(reader) as client, client_of(reader, token=True) as script:
        for one in (client, script):
            refused = await one.get(at(share), params={"peer": hint})
            assert (refused.status_code, "shoal open" in refused.text) == (404, True)
        # A cache is not shown, nor is what a job reads.
        async with using(reader, share, [published.hint]) as held:
            assert len(await held.read("a.txt", 0, 10)) == 10
            assert (await client.get(at(share))).status_code == 404
        assert (await client.get(at(share))).status_code == 404
        opened = await asked(reader, OpenRequest(link=str(published.link), peers=(hint,)))
        assert opened.url.endswith(at(share, ""))
        assert (await client.get(f"{opened.url}a.txt")).content == (published.path / "a.txt").read_bytes()
        for number in range(2):
            await asked(reader, OpenRequest(link=ids.to_text(ShareId(bytes([number]) * 32))))
        assert (await client.get(at(share))).status_code == 404, "the oldest makes room"


async def test_a_name_that_was_opened_leads_to_its_share(world: World, peer: Node, published: Published) -> None:
    await peer.discovery.mutable_links.point("news", published.link.share_id)
    reader = await world.peer("reader", web=LOCAL)
    publisher = ids.to_text(peer.peer_id)
    async with client_of(peer) as own:
        found = await own.get(f"/n/{publisher}/news/a.txt", follow_redirects=True)
        assert found.status_code == 200
    async with client_of(reader) as client:
        assert (await client.get(f"/n/{publisher}/news/a.txt")).status_code == 404
        opened = await asked(reader, OpenRequest(link=f"shoal:{publisher}/news", peers=(str(published.hint),)))
        found = await client.get(f"{opened.url}a.txt", follow_redirects=True)
        assert found.content == (published.path / "a.txt").read_bytes()


async def test_what_the_user_is_fetching_is_shown(world: World, peer: Node) -> None:
    published = await world.publish(peer, {"a.txt": 5_000_000}, "large")
    reader = await world.peer("reader", web=LOCAL)
    share = published.link.share_id
    async with client_of(reader) as client, trio.open_nursery() as nursery:

        async def get() -> None:
            await world.get(reader, published.link, [published.hint], limit_bytes_per_s=1_000_000)

        assert (await client.get(at(share))).status_code == 404
        nursery.start_soon(get)
        await until(lambda: reader.swarms.progress_of(share) is not None)
        part = await client.get(at(share), headers={"range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, (published.path / "a.txt").read_bytes()[100:200])
        assert reader.swarms.progress_of(share) is not None
        nursery.cancel_scope.cancel()


async def test_what_a_job_reads_is_not_shown(world: World, peer: Node, compiled: None) -> None:
    path = world.folder / "input.txt"
    path.write_text("one\ntwo\n")
    job = world.folder / "job.py"
    job.write_text("def job(inputs):\n    return inputs.lines().count()\n")
    wish = JobSpec(str(job), inputs=(str(path),), runtime="python-wasm")
    async with client_of(peer) as client, trio.open_nursery() as nursery:
        nursery.start_soon(asked, peer, RunRequest(wish=wish))
        await until(lambda: peer.jobs.under_way)
        (share,) = (ShareId(row.id) for row in peer.library.shares() if row.name == "input.txt")
        assert await peer.jobs.made(share)
        assert (await client.get(at(share, "input.txt"))).status_code == 404
        nursery.cancel_scope.cancel()
    await until(lambda: not peer.jobs.claimed)


async def test_a_peer_with_a_name_shows_nothing_without_a_secret(world: World) -> None:
    peer = await world.peer("peer", web=NAMED)
    published = await world.publish(peer, {"a.txt": 10})
    by_name = {"host": "shoal.example"}
    async with client_of(peer) as client, client_of(peer, token=True) as script:
        for headers in (by_name, {}):
            assert (await client.get(at(published.link.share_id), headers=headers)).status_code == 401
            assert (await script.get(at(published.link.share_id), headers=headers)).status_code == 200
        assert (await script.get("/", headers={"host": "other.example"})).status_code == 421
        login = await login_of(peer)
        assert login.startswith("https://shoal.example/login?code=")
        answer = await client.get(login.removeprefix("https://shoal.example"), headers=by_name)
        assert (answer.status_code, "Secure" in answer.headers["set-cookie"]) == (303, True)


async def test_a_place_that_is_taken_is_named(peer: Node) -> None:
    assert peer.access is not None
    taken = str(peer.access.address)
    with pytest.raises(ConfigError, match=f"{re.escape(taken)}.*--web-listen"):
        await open_listeners(WebConfig(listen=taken))


@pytest.mark.parametrize(
    "web",
    [
        {"listen": "0.0.0.0:0"},
        {"listen": "[::]:0"},
        {"listen": "192.0.2.1:7475"},
        {"listen": "somewhere.example:7475"},
        {"listen": "7475"},
        {"listen": "127.0.0.1:0", "hosts": ("http://shoal.example",)},
        {"listen": "127.0.0.1:0", "hosts": ("shoal.example:443",)},
        {"hosts": ("shoal.example",)},
    ],
)
async def test_places_that_are_not_safe_are_refused(web: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        await open_listeners(WebConfig(**web))


async def test_a_peer_without_a_door_says_so(world: World) -> None:
    peer = await world.peer("peer")
    for request in (WebRequest(), OpenRequest(link=ids.to_text(bytes(32)))):
        with pytest.raises(ConfigError, match="shoal node --web"):
            await asked(peer, request)
    assert not (peer.home / web_access.TOKEN_FILE).exists()


ASK = r"""
exec 3<>/dev/tcp/127.0.0.1/$0
printf 'GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n' >&3
cat <&3
"""


@pytest.mark.skipif(os.getuid() != 0 or not sys.platform.startswith("linux"), reason="only root has other users")
async def test_another_user_of_this_machine_is_refused(world: World, peer: Node) -> None:
    named = await world.peer("named", web=NAMED)

    def heard(one: Node, user: int) -> bytes:
        assert one.access is not None
        command = ["bash", "-c", ASK, str(one.access.address.port)]  # other users may not run this Python
        return subprocess.run(command, user=user, group=user, capture_output=True, check=True, cwd="/").stdout

    with trio.fail_after(WORLD_PATIENCE_S):
        for one, user, said in (
            (peer, 65534, b"another user"),
            (peer, 0, b"Log in first"),
            (named, 65534, b"Log in first"),  # which a proxy may be
        ):
            assert said in await trio.to_thread.run_sync(heard, one, user)
