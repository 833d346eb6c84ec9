"""WASI commands, whoever wrote them: the same limits, the same walls, one process each."""

from dataclasses import replace

import pytest

from p2p.sandbox.limits import EndKind, GuestEnded, GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import Sandbox
from tests.support import guest_programs
from tests.support.guest_programs import SEED, ModuleOf, run_module

LIMITS = GuestLimits(wall_s=30, memory_bytes=32 << 20, output_bytes=1 << 20, log_bytes=100)


async def test_input_goes_in_and_output_comes_out(modules: Sandbox, obedient: Runtime) -> None:
    data = bytes(range(256)) * 2_000
    assert await run_module(modules, obedient, [], b"e" + data, seed=SEED, limits=LIMITS) == (data, b"")
    assert await run_module(modules, obedient, [], b"", seed=SEED, limits=LIMITS) == (b"", b"")


async def test_arguments_and_chance_are_what_the_owner_gave(modules: Sandbox, obedient: Runtime) -> None:
    arguments = ["module", "--top=3", "--wörd=", "--partition=0"]
    output, _ = await run_module(modules, obedient, arguments, b"a", seed=SEED, limits=LIMITS)
    assert output.decode().split("\0")[:-1] == arguments
    draws = [
        await run_module(modules, obedient, [], b"d", seed=seed, limits=LIMITS) for seed in (SEED, SEED, b"1" * 32)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0][0]) == 16


async def test_what_it_grumbles_is_its_log(modules: Sandbox, obedient: Runtime) -> None:
    assert await run_module(modules, obedient, [], b"g", seed=SEED, limits=LIMITS) == (b"", b"g")


@pytest.mark.parametrize(
    ("order", "kind", "text"),
    [
        (b"l", "time", None),
        (b"m", "memory", None),
        (b"o", "output", None),
        (b"r", "stack", None),
        (b"t", "broken", "unreachable"),
        (b"x", "failed", "code 3"),
        (b"p", "failed", "code 21"),  # EFAULT
        (b"q", "failed", "code 21"),
        (b"s", "failed", "code 58"),  # ENOTSUP
        (b"f", "failed", "code 8"),  # EBADF: there is no folder
    ],
)
async def test_what_it_does_wrong_ends_it(
    modules: Sandbox, obedient: Runtime, order: bytes, kind: EndKind, text: str | None
) -> None:
    limits = replace(LIMITS, wall_s=0.3) if order == b"l" else LIMITS
    with pytest.raises(GuestEnded, match=text) as ended:
        await run_module(modules, obedient, [], order, seed=SEED, limits=limits)
    assert ended.value.kind == kind
    assert await run_module(modules, obedient, [], b"e!", seed=SEED, limits=LIMITS) == (b"!", b"")


@pytest.fixture(params=[guest_programs.NO_MEMORY, guest_programs.OTHER_IMPORT, guest_programs.STARTS_AT_ONCE])
def odd(request: pytest.FixtureRequest, module_of: ModuleOf) -> Runtime:
    return module_of(request.param)


async def test_odd_modules_end_where_they_would_start(modules: Sandbox, odd: Runtime) -> None:
    with pytest.raises(GuestEnded) as ended:
        await run_module(modules, odd, [], b"", seed=SEED, limits=replace(LIMITS, wall_s=0.3))
    assert ended.value.kind in {"broken", "time"}
