"""Shares in Chromium: what others chose as names and put into files is shown or saved, and never runs."""

from urllib.parse import quote

import pytest
import trio
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from p2p import ids
from p2p.node import Node
from p2p.progress import Progress
from p2p.site.text import visible
from tests.support.pages.browser import complaints, executed, one, requested, strange
from tests.support.pages.hostile_names import HOSTILE, HOSTILE_CONTENTS, HOSTILE_FILES
from tests.support.world import World
from tests.support.world import world as world


@pytest.fixture
async def peer(world: World) -> Node:
    return await world.peer("peer", web={"listen": "127.0.0.1:0"})


@pytest.fixture
async def url(peer: Node) -> str:
    """Where a browser reaches the peer."""
    assert peer.access is not None
    return peer.access.url


def nothing_ran(chromium: Chrome, url: str) -> bool:
    """Whether nothing of what others chose ran, became a part of the page, or asked anybody else for anything."""
    return (
        not executed(chromium)
        and strange(chromium) == []
        and all(address.startswith((f"{url}/", "about:", "data:")) for address in requested(chromium))
    )


def test_what_runs_is_noticed(chromium: Chrome) -> None:
    for name in HOSTILE[:3]:
        chromium.get(f"data:text/html,<main>{quote(name)}")
        assert executed(chromium)
        assert strange(chromium) or "<svg" in name or "<script" in name
    assert any("foreign.example" in address for address in requested(chromium))


async def test_hostile_names_are_only_names(world: World, peer: Node, url: str, chromium: Chrome) -> None:
    deep = [name for name in HOSTILE_FILES if len(name) < 80]
    files = {f"folder/{name}": 1 for name in HOSTILE_FILES} | {"/".join([*deep, "file"]): 1}
    share = ids.to_text((await world.publish(peer, files)).link.share_id)

    def look() -> None:
        chromium.get(f"{url}/s/{share}/folder/")
        shown = [str(link.get_property("textContent")) for link in chromium.find_elements(By.CSS_SELECTOR, "td a bdi")]
        assert sorted(shown) == sorted(map(visible, HOSTILE_FILES))
        assert nothing_ran(chromium, url)
        chromium.get(f"{url}/s/{share}/{'/'.join(map(quote, deep))}/")
        assert one(chromium, "h1").get_property("textContent") == " / ".join(["data", *map(visible, deep)])
        assert nothing_ran(chromium, url)
        for path in [*(f"s/{share}/no{quote(name)}" for name in HOSTILE[::4]), f"n/{share}/{quote(HOSTILE[1])}/"]:
            chromium.get(f"{url}/{path}")
            assert one(chromium, "h1").text in ("400", "404")
            assert nothing_ran(chromium, url), path
        assert all("status of" in told for told in complaints(chromium))  # which the answers have, and nothing else

    await trio.to_thread.run_sync(look)


async def test_hostile_names_of_shares_are_only_names(world: World, peer: Node, url: str, chromium: Chrome) -> None:
    for number, name in enumerate(HOSTILE_FILES):
        path = world.folder / f"{number}"
        path.write_bytes(bytes([number]))
        await peer.sharing.share([path], name, Progress(), unlisted=True)
    assert peer.access is not None
    login = f"{url}/login?code={peer.access.sessions.new_code(trio.current_time())}"

    def look() -> None:
        chromium.get(login)
        shown = [str(link.get_property("textContent")) for link in chromium.find_elements(By.CSS_SELECTOR, "td a bdi")]
        assert sorted(shown) == sorted(map(visible, HOSTILE_FILES))
        assert nothing_ran(chromium, url)
        assert complaints(chromium) == []

    await trio.to_thread.run_sync(look)


async def test_hostile_files_are_shown_or_saved_and_never_run(
    world: World, peer: Node, url: str, chromium: Chrome
) -> None:
    path = world.folder / "files"
    path.mkdir()
    for name, content in HOSTILE_CONTENTS.items():
        (path / name).write_bytes(content)
    share = ids.to_text((await world.publish_path(peer, path)).link.share_id)

    def look() -> None:
        for name in HOSTILE_CONTENTS:
            chromium.get(f"{url}/s/{share}/{name}")
            assert nothing_ran(chromium, url), name
        chromium.get(f"{url}/s/{share}/c.txt")
        assert "<script>" in one(chromium, "body").text

    await trio.to_thread.run_sync(look)
