"""What this machine lacks for native sandboxes with a network, as sentences that say what to do."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from p2p import causes
from p2p.errors import SandboxFailed
from p2p.sandbox.native import seccomp
from p2p.sandbox.native.spec import Account

NO_BUBBLEWRAP = (
    "bubblewrap is missing: `sudo apt install bubblewrap` (Debian, Ubuntu), `sudo dnf install bubblewrap` (Fedora) or "
    "`sudo pacman -S bubblewrap` (Arch)."
)
TUN = Path("/dev/net/tun")
_OLDEST = (0, 8)
_TRY_S = 20.0
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_SWITCHES = {
    Path("/proc/sys/kernel/unprivileged_userns_clone"): "kernel.unprivileged_userns_clone=1",
    Path("/proc/sys/user/max_user_namespaces"): "user.max_user_namespaces=10000",
}


def missing(account: Account) -> list[str]:
    """What is missing, refused or in the way for sandboxes of this account; nothing if they can be made. Blocks."""
    if sys.platform != "linux":
        return ["Native sandboxes need Linux. Elsewhere, run the peer in a Linux machine: WSL 2, or Lima."]
    found = [*_bubblewrap_lacks(account), *_tun_lacks(TUN)]
    try:
        seccomp.program()
    except SandboxFailed as error:
        found.append(str(error))
    return found


def _bubblewrap_lacks(account: Account) -> list[str]:
    program = shutil.which("bwrap")
    if program is None:
        return [NO_BUBBLEWRAP]
    if os.stat(program).st_mode & stat.S_ISUID:
        return [setuid(program)]
    if sentence := too_old(_output([program, "--version"])):
        return [sentence]
    # As root, as the user that the sandbox will have: it is that user who may be refused.
    other: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if os.geteuid() == 0 else {}
    walls = ["--unshare-user", "--unshare-all", "--disable-userns", "--ro-bind", "/", "/", "--proc", "/proc"]
    command = [program, *walls, "--", "true"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TRY_S, cwd="/", **other)
    except subprocess.CalledProcessError as error:
        return [refused(error.stderr.strip())]
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"bubblewrap cannot be started: {error}"]
    return []


def setuid(program: str) -> str:
    """The sentence about a bubblewrap that runs as root."""
    return (
        f"{program} is installed setuid, so the network of its sandboxes is root's and cannot be joined. Where user "
        f"namespaces are allowed, it need not be: `sudo chmod u-s {program}`."
    )


def too_old(version: str) -> str:
    """The sentence about a bubblewrap of this version, as it says that itself; nothing if it is new enough."""
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers >= _OLDEST:
        return ""
    return (
        f"{version.strip() or 'This bubblewrap'} is too old: it must be 0.8 or newer, as in Debian 12 and Ubuntu 23.04."
    )


def refused(words: str) -> str:
    """The sentence about what bubblewrap said when it could not make a sandbox."""
    if _APPARMOR.exists() and _APPARMOR.read_text().strip() == "1":
        return (
            f"AppArmor keeps bubblewrap from making sandboxes ({words}). Install its profile, on Ubuntu: "
            "`sudo apt install apparmor-profiles`, "
            "`sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/`, "
            "`sudo systemctl reload apparmor`."
        )
    for switch, setting in _SWITCHES.items():
        if switch.exists() and switch.read_text().strip() == "0":
            return f"This machine allows no user namespaces ({words}): `sudo sysctl -w {setting}`."
    return (
        f"bubblewrap cannot make a sandbox here: {words or 'it does not say why'}. A container must be allowed to make "
        "user namespaces (Docker: `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`)."
    )


def _tun_lacks(device: Path) -> list[str]:
    if not device.exists():
        return [f"{device} is missing: `sudo modprobe tun`. A container must get it (Docker: `--device {device}`)."]
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return [f"This user may not open {device}: `sudo chmod 0666 {device}`, which most systems do by themselves."]
    except OSError as error:
        return [f"{device} does not work ({causes.what(error)}): `sudo modprobe tun`."]
    return []


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TRY_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
