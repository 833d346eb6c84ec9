from pathlib import Path

import pytest

from p2p.environments import machine

V2 = machine.CLASSES["x86-64-v1"] | machine.CLASSES["x86-64-v2"]
V3 = V2 | machine.CLASSES["x86-64-v3"]


def test_the_class_is_the_newest_whose_features_are_all_there() -> None:
    assert machine.class_of(V2, "x86_64") == "x86-64-v2"
    assert machine.class_of(V3 | machine.CLASSES["x86-64-v4"], "x86_64") == "x86-64-v4"
    assert machine.class_of(V3 - {"fma"}, "x86_64") == "x86-64-v2"
    assert machine.class_of(V3 - {"sse2"}, "x86_64") == ""
    assert machine.class_of(V3, "aarch64") == ""


def test_what_is_missing_is_said() -> None:
    assert machine.lacking("x86_64", "x86-64-v2", V3, "x86_64") is None
    assert "lacks fma" in str(machine.lacking("x86_64", "x86-64-v3", V3 - {"fma"}, "x86_64"))
    assert "is aarch64" in str(machine.lacking("x86_64", "", V3, "aarch64"))
    assert "does not know" in str(machine.lacking("x86_64", "x86-64-v9", V3, "x86_64"))
    assert machine.lacking("x86_64", "x86-64-v3", frozenset(), "x86_64") is None


@pytest.mark.parametrize("name", ["flags", "Features"])
def test_features_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{name}\t\t: fpu sse2 avx\n\n")
    assert machine.flags(tmp_path / "cpuinfo") == {"fpu", "sse2", "avx"}
    assert machine.flags(tmp_path / "gone") == frozenset()
