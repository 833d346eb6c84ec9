"""A lock that is taken at once if it is free, and in the order of those who wait."""

import trio
import trio.testing

from p2p.concurrency.turn import Turn


async def test_a_free_turn_is_taken_without_a_checkpoint() -> None:
    turn = Turn()
    with trio.testing.assert_no_checkpoints():
        async with turn:
            pass
        async with turn:
            pass


async def test_those_who_wait_get_it_one_after_another() -> None:
    turn = Turn()
    said: list[str] = []

    async def take(name: str) -> None:
        async with turn:
            said.append(f"{name} begins")
            await trio.testing.wait_all_tasks_blocked()
            said.append(f"{name} ends")

    async with trio.open_nursery() as nursery, turn:
        for name in ("first", "second"):
            nursery.start_soon(take, name)
            await trio.testing.wait_all_tasks_blocked()
        said.append("all wait")
    assert said == ["all wait", "first begins", "first ends", "second begins", "second ends"]
