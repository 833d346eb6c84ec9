"""What compiled code needs of a machine: its architecture, and the class of its CPU.

The classes are those of the x86-64 psABI, each with all features of the one before. Other architectures have none.
"""

import os
from collections.abc import Collection
from pathlib import Path

CLASSES = {
    "x86-64-v1": frozenset({"cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2"}),
    "x86-64-v2": frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
"""The classes of CPU, from the oldest on, each with the flags in /proc/cpuinfo that it adds."""
WHEELS = "x86-64-v2"
"""The class for which packages are built that are not built on the machine itself."""
_X86 = "x86_64"


def arch() -> str:
    """The architecture of this machine, as `uname -m` says it."""
    return os.uname().machine


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The features of this machine's CPU; none if the system does not say. Blocks."""
    try:
        for line in cpuinfo.read_text("ascii", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


def class_of(found: Collection[str], of_arch: str) -> str:
    """The newest class that a CPU with these features belongs to; empty on other architectures, or if unknown."""
    best = ""
    for name, needed in CLASSES.items() if of_arch == _X86 else ():
        if not needed <= set(found):
            break
        best = name
    return best


def lacking(wanted_arch: str, wanted_class: str, found: Collection[str], of_arch: str) -> str | None:
    """Why code for an architecture and a class of CPU does not run on another machine, as a sentence; None if it does.

    `found` and `of_arch` are that machine's. One that does not say what its CPU has is given the benefit of the doubt.
    """
    if wanted_arch != of_arch:
        return f"The environment is for {wanted_arch}, and this machine is {of_arch}."
    if not wanted_class or not found:
        return None
    if wanted_class not in CLASSES:
        return f"The environment needs a CPU of a class that this Shoal does not know: {wanted_class}."
    missing: list[str] = []
    for name, needed in CLASSES.items():
        missing += sorted(needed - set(found))
        if name == wanted_class:
            break
    if not missing:
        return None
    return f"The environment needs a CPU of the class {wanted_class}; this machine's lacks {', '.join(missing)}."
