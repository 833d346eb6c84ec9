"""A real interpreter, packed, and run with nothing of this machine but its kernel."""

import filecmp
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from p2p.environments import description, packing
from p2p.environments.binding import Bound, bound
from p2p.errors import ConfigError
from p2p.progress import Progress
from tests.environments.conftest import Made

PROGRAM = """
import mine, thing, json, os, ssl, sys
print(json.dumps([thing.VALUE, mine.HERE, thing.__cached__, sys.prefix, sys.base_prefix, sorted(os.listdir("/"))]))
"""


def files(folder: Path) -> dict[str, int]:
    """All files of a folder, with their modes."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            found[str(path.relative_to(folder))] = path.lstat().st_mode & 0o777
    return found


def test_the_same_files_are_packed_to_the_same_bytes(made: Made, outside: Path) -> None:
    again = packing.plan(made.venv)
    assert again.key == made.plan.key
    progress = Progress()
    packing.pack(again, outside / "again", progress=progress)
    assert progress.state == "compiling the environment's modules"
    found = files(made.folder)
    assert found == files(outside / "again")
    different = filecmp.cmpfiles(made.folder, outside / "again", list(found), shallow=False)
    assert different == (different[0], [], [])
    assert len(different[0]) == len(found)


def test_what_belongs_to_it_is_packed_and_nothing_else(made: Made) -> None:
    found = files(made.folder)
    places = {bind.target: bind.path for bind in made.packed.description.binds}
    assert set(places) == {str(made.base), str(made.venv), str(made.base.parent / "project" / "src")}
    assert f"{places[str(made.base.parent / 'project' / 'src')]}/mine/__init__.py" in found
    assert not any(name.endswith("notes.txt") for name in found)
    assert not any("/.git/" in name or "/test/" in name or "/lib64/python" in name for name in found)
    venv = made.folder / places[str(made.venv)]
    linked = {str(path.relative_to(venv)): os.readlink(path) for path in venv.rglob("*") if path.is_symlink()}
    assert linked == {"lib64": "lib", "bin/python": "python3"}
    assert {"root/usr/bin/sh", "root/usr/bin/ls", "environment.json"} <= set(found)
    assert all(not mode & 0o222 for name, mode in found.items() if not (made.folder / name).is_symlink())


def test_secrets_stay_at_home_and_are_listed(made: Made) -> None:
    left_out = {Path(one.path).name: one.why for one in made.plan.left_out}
    assert left_out.keys() >= {".git", ".env.local", "some.pem", "gone", "loop"}
    found = {Path(name).name for name in files(made.folder)}
    assert "ca.pem" in found
    assert not found & {"some.pem", ".env.local"}
    (told,) = made.folder.rglob("thing-1.0.dist-info/direct_url.json")
    assert b"hidden" not in told.read_bytes()
    assert b"https://example.org/thing.git" in told.read_bytes()
    (about,) = made.folder.rglob("thing-1.0.dist-info/METADATA")
    assert b"me:word" in about.read_bytes()  # an example in the text about the package


def test_a_name_that_looks_like_a_secret_stops_it(made: Made) -> None:
    secret = made.site / "thing" / "credentials.json"
    secret.write_text("{}")
    try:
        with pytest.raises(ConfigError, match="credentials"):
            packing.plan(made.venv)
        planned = packing.plan(made.venv, ["credentials.json"])
        assert any(where.endswith("thing/credentials.json") for where in planned.listing.items)
        assert planned.key != made.plan.key
    finally:
        secret.unlink()


def test_a_changed_file_changes_the_key(made: Made) -> None:
    module = made.site / "thing" / "token.py"
    before = module.stat()
    module.write_text("VALUE = 40 + 2\n")
    try:
        assert packing.plan(made.venv).key != made.plan.key
    finally:
        module.write_text("VALUE = 41 + 1\n")
        os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_venv_in_tmp_is_refused(made: Made, tmp_path: Path) -> None:
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("temporary folders are elsewhere here")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(made.base / "bin" / "python3")
    (tmp_path / "pyvenv.cfg").write_text(f"home = {made.base}/bin\n")
    with pytest.raises(ConfigError, match="/tmp of its own"):
        packing.plan(tmp_path)


def test_no_environment_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bin/python3"):
        packing.plan(tmp_path)


def test_a_copy_elsewhere_is_bound(made: Made) -> None:
    seen = bound(made.folder)
    assert seen.python == str(made.venv / "bin" / "python3")
    assert {one.target for one in seen.binds} == {one.target for one in made.packed.description.binds}
    assert all(one.source.is_dir() for one in seen.binds)
    assert ("thing", "1.0") in {(one.name, one.version) for one in seen.description.packages}


def test_links_in_what_was_fetched_are_not_followed(made: Made, tmp_path: Path) -> None:
    (tmp_path / "trees").symlink_to(made.folder / "trees")
    (tmp_path / "root").symlink_to(made.folder / "root")
    shutil.copy(made.folder / description.FILE, tmp_path)
    with pytest.raises(ConfigError, match="is none"):
        bound(tmp_path)
    (tmp_path / description.FILE).unlink()
    (tmp_path / description.FILE).symlink_to(made.folder / description.FILE)
    with pytest.raises(Exception, match="Cannot read"):
        bound(tmp_path)


def test_it_runs_with_nothing_of_this_machine_but_its_kernel(made: Made) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    said = subprocess.run([*walls(bound(made.folder)), "-c", PROGRAM], check=False, capture_output=True, text=True)
    if "namespace" in said.stderr or "Operation not permitted" in said.stderr:
        pytest.skip(f"no namespaces here: {said.stderr}")
    assert said.returncode == 0, said.stderr
    value, here, cached, prefix, base, top = json.loads(said.stdout)
    assert (value, prefix, base) == (42, str(made.venv), str(made.base))
    assert here == str(made.base.parent / "project" / "src" / "mine" / "__init__.py")
    assert Path(cached).name.endswith(".pyc")
    assert "home" not in top


def walls(seen: Bound) -> list[str]:
    """Bubblewrap with the environment and nothing else, and its interpreter, which compiles nothing."""
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv", "--tmpfs", "/"]
    command += ["--ro-bind", str(seen.root / "usr"), "/usr"]
    for name in ("bin", "lib", "lib64"):
        command += ["--symlink", f"usr/{name}", f"/{name}"]
    for source, target in seen.binds:
        command += ["--ro-bind", str(source), target]
    for name, value in seen.variables.items():
        command += ["--setenv", name, value]
    return [*command, "--proc", "/proc", "--dev", "/dev", seen.python, "-B"]
