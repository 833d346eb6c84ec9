import pytest

from p2p.environments import trees
from p2p.environments.binding import check_targets
from p2p.errors import ConfigError


@pytest.mark.parametrize(
    "target",
    [
        "/proc",
        "/proc/self",
        "/sys/fs",
        "/dev",
        "/dev/shm",
        "/run/user",
        "/tmp",
        "/tmp/x",
        "/usr",
        "/usr/lib",
        "/",
        "/etc",
        "/home",
        "/home/me",
        "/home/me/venv",
        "relative",
        "/a/../b",
        "/a/",
        "//a",
        "/a//b",
        "/a/.",
        "",
        "/a\nb",
        "/a\x00",
    ],
)
def test_targets_that_are_refused(target: str) -> None:
    with pytest.raises(ConfigError):
        check_targets([target])


def test_targets_in_each_other_are_refused() -> None:
    check_targets(["/a/b", "/a/bc", "/opt/x", "/home/you/venv", "/runs"])
    for targets in (["/a", "/a/b"], ["/a/b", "/x", "/a"], ["/a", "/a"], ["/a-b", "/a", "/a/b"]):
        with pytest.raises(ConfigError):
            check_targets(targets)


def test_tops_are_outside_of_each_other() -> None:
    assert trees.tops(["/a/b", "/a", "/a-b", "/usr/lib/python3", "/lib/x", "/a/b/c"]) == ["/a", "/a-b"]
    for path in ("/tmp/venv", "/dev/shm/x", "/home/me/venv", "/", "/proc"):
        with pytest.raises(ConfigError):
            trees.tops([path])


def test_each_path_has_one_place() -> None:
    tops = ["/a", "/opt/b"]
    assert trees.place("/opt/b/c", tops) == "trees/1/c"
    assert trees.place("/lib/x86_64-linux-gnu/libc.so.6", tops) == "root/usr/lib/x86_64-linux-gnu/libc.so.6"
    assert trees.place("/opt/bc", tops) is None
