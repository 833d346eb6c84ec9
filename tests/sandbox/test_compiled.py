"""The cache of compiled modules: compiled once, ours alone, and nothing left of what failed."""

import os
from pathlib import Path

import pytest
import trio

from p2p.errors import SandboxFailed
from p2p.sandbox import compiled, runtimes
from p2p.sandbox.limits import GuestLimits
from p2p.sandbox.runtimes import Runtime
from p2p.sandbox.sandbox import open_sandbox
from tests.support.constants import Shorten
from tests.support.guest_programs import NO_MEMORY, OBEDIENT, SEED, run_module, write_module


@pytest.fixture
def module(tmp_path: Path) -> Runtime:
    return runtimes.for_module(write_module(tmp_path, "module", OBEDIENT))


def _silent(_line: str) -> None:
    pass


async def test_two_at_once_compile_once(tmp_path: Path, module: Runtime) -> None:
    cache = tmp_path / "cache" / "compiled"
    assert not compiled.is_compiled(cache, module)
    told: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(compiled.ensure_compiled, cache, module, told.append)
    assert sum("Compiling wasm" in line for line in told) >= 1
    assert any("Waiting" in line for line in told)
    assert sorted(path.name for path in cache.iterdir()) == sorted(["lock", compiled.place(cache, module).name])
    assert compiled.is_compiled(cache, module)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert compiled.place(cache, module).stat().st_mode & 0o777 == 0o600
    again: list[str] = []
    await compiled.ensure_compiled(cache, module, again.append)
    assert not again


async def test_a_file_that_others_could_write_is_compiled_anew(tmp_path: Path, module: Runtime) -> None:
    cache = tmp_path / "cache"
    await compiled.ensure_compiled(cache, module, _silent)
    place = compiled.place(cache, module)
    place.write_bytes(b"evil")
    place.chmod(0o666)
    assert not compiled.is_compiled(cache, module)
    await compiled.ensure_compiled(cache, module, _silent)
    async with open_sandbox(1, cache) as sandbox:
        assert (await run_module(sandbox, module, [], b"e!", seed=SEED, limits=GuestLimits()))[0] == b"!"
    place.unlink()
    place.symlink_to(tmp_path / "elsewhere")
    assert not compiled.is_compiled(cache, module)


async def test_a_module_that_is_gone_is_an_error_and_no_crash(tmp_path: Path, module: Runtime) -> None:
    assert module.digest  # read while it was there
    module.module.unlink()
    with pytest.raises(SandboxFailed, match="cannot be compiled in"):
        await compiled.ensure_compiled(tmp_path / "cache", module, _silent)


async def test_a_damaged_file_is_an_error_and_no_crash(tmp_path: Path, module: Runtime) -> None:
    cache = tmp_path / "cache"
    await compiled.ensure_compiled(cache, module, _silent)
    place = compiled.place(cache, module)
    place.write_bytes(place.read_bytes()[:1000])
    async with open_sandbox(1, cache) as sandbox:
        with pytest.raises(SandboxFailed):
            await sandbox.guest(module)


async def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, module: Runtime) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(SandboxFailed, match="chmod 700"):
        await compiled.ensure_compiled(cache, module, _silent)


async def test_what_is_no_module_is_refused_with_a_reason(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    wrong = tmp_path / "wrong.wasm"
    wrong.write_bytes(b"this is no module")
    with pytest.raises(SandboxFailed, match=r"wrong\.wasm cannot be compiled"):
        await compiled.ensure_compiled(cache, runtimes.for_module(wrong), _silent)
    with pytest.raises(SandboxFailed, match="Cannot read"):
        await compiled.ensure_compiled(cache, runtimes.for_module(tmp_path / "missing.wasm"), _silent)
    huge = tmp_path / "huge.wasm"
    with huge.open("wb") as file:
        os.truncate(file.fileno(), compiled.MAX_MODULE_BYTES + 1)
    with pytest.raises(SandboxFailed, match="at most"):
        await compiled.ensure_compiled(cache, runtimes.for_module(huge), _silent)
    assert [path.name for path in cache.iterdir()] == ["lock"]


async def test_a_module_that_changed_after_it_was_named_is_refused(tmp_path: Path, module: Runtime) -> None:
    assert module.module_digest
    write_module(tmp_path, "module", NO_MEMORY)
    with pytest.raises(SandboxFailed, match="changed"):
        await compiled.ensure_compiled(tmp_path / "cache", module, _silent)


async def test_old_modules_are_forgotten(tmp_path: Path, module: Runtime, shorten: Shorten) -> None:
    cache = tmp_path / "cache"
    shorten(compiled, "_MODULES_KEPT", 1)
    await compiled.ensure_compiled(cache, module, _silent)
    os.utime(compiled.place(cache, module), (0, 0))
    (cache / ".new-1").touch()
    (cache / "wasm-of-somebody").touch()
    other = runtimes.for_module(write_module(tmp_path, "other", NO_MEMORY))
    await compiled.ensure_compiled(cache, other, _silent)
    names = [compiled.place(cache, other).name, "lock", "wasm-of-somebody"]
    assert sorted(path.name for path in cache.iterdir()) == sorted(names)


async def test_a_cancelled_compilation_leaves_nothing(tmp_path: Path, module: Runtime) -> None:
    cache = tmp_path / "cache"
    started = trio.Event()
    with trio.CancelScope() as scope:

        def tell(_line: str) -> None:
            started.set()
            scope.cancel()

        await compiled.ensure_compiled(cache, module, tell)
    assert started.is_set()
    assert [path.name for path in cache.iterdir()] == ["lock"]
    await compiled.ensure_compiled(cache, module, _silent)


def test_a_runtimes_digest_covers_what_its_guests_see(tmp_path: Path, python: Runtime) -> None:
    assert python.digest == runtimes.python(python.arguments[-1]).digest
    assert python.digest != runtimes.python("pass").digest
    assert python.module_digest == runtimes.python("pass").module_digest
    one = runtimes.for_module(write_module(tmp_path, "one", OBEDIENT))
    other = runtimes.for_module(write_module(tmp_path, "other", NO_MEMORY))
    assert one.digest != other.digest
