"""What of an environment stays at home: secrets, and what holds them.

What is never needed is left out, and listed. Whatever else has a name that looks like a secret stops the packing: only
its user knows. Both are overruled by naming the file.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto
from fnmatch import fnmatchcase

FOLDERS = frozenset(
    {".git", ".hg", ".svn", ".jj", ".ssh", ".gnupg", ".aws", ".azure", ".docker", ".kube", "__pycache__"}
)
_FILES = frozenset(
    {".netrc", "_netrc", "pip.conf", "pip.ini", ".pypirc", ".npmrc", ".condarc", "condarc", ".pgpass", ".my.cnf"}
    | {".git-credentials", ".dockercfg", ".htpasswd", "uv.toml", ".git", ".bash_history", ".python_history"}
)
_KEY_ENDS = (".pem", ".key", ".crt", ".cer", ".cert")
_PRIVATE = b"PRIVATE KEY-----"
MAX_KEY_BYTES = 1024 * 1024
"""How much of a file is looked through for a private key."""
_STORES = (".kdbx", ".kdb", ".p12", ".pfx", ".jks", ".keystore", ".ppk", ".gpg", ".keytab", ".ovpn")
_DATA = re.compile("json|ya?ml|toml|ini|cfg|conf|txt|csv|xml|properties|env|bak|old")
_SECRET = re.compile(
    r"(?i)(^|[^a-z])(secrets?|credentials?|passw(or)?ds?|passwd|passphrase|api[-_ ]?keys?|private[-_ ]?keys?"
    r"|(access|auth|api|bearer|refresh|bot)[-_ ]?tokens?|service[-_ ]?account|id_(rsa|dsa|ecdsa|ed25519))([^a-z]|$)"
)
_CREDENTIALS = re.compile(
    rb"(?i)\b(https?|git\+https?|ftp)://[^/\s\"'<>@]+@|\b([a-z][a-z0-9+.-]*)://[^/\s:\"'<>@]+:[^/\s\"'<>@]+@"
)
_CONDA_TOKEN = re.compile(rb"(://[^\s\"']*?)/t/[^/\s\"']+/")


class Verdict(Enum):
    """What happens to a file."""

    TAKEN = auto()
    LEFT_OUT = auto()
    DOUBTFUL = auto()
    """It looks like a secret."""


def of_name(name: str) -> tuple[Verdict, str]:
    """What its name says of a file, and why. A key's file is decided by its content: see `may_be_key`."""
    lower = name.lower()
    if lower in _FILES or lower == ".env" or lower.startswith((".env.", ".env-", ".env_", ".envrc")):
        return Verdict.LEFT_OUT, "such files hold passwords"
    if lower.endswith(_STORES):
        return Verdict.DOUBTFUL, "its name is that of a store of keys"
    stem, dot, end = lower.rpartition(".")
    if (not dot or not stem or _DATA.fullmatch(end)) and _SECRET.search(stem or lower):
        return Verdict.DOUBTFUL, "its name is that of a secret"
    return Verdict.TAKEN, ""


def may_be_key(name: str) -> bool:
    """Whether it is worth looking into a file of this name for a private key."""
    return name.lower().endswith(_KEY_ENDS) or name.lower().startswith("id_")


def is_key(content: bytes) -> bool:
    return _PRIVATE in content


def has_urls(name: str, folder: str) -> bool:
    """Whether a file is one in which installers note where a package came from."""
    of_package = folder.endswith((".dist-info", ".egg-info"))
    if folder == "conda-meta" or name.endswith((".pth", ".egg-link")):
        return True
    return of_package and name in {"direct_url.json", "METADATA", "PKG-INFO", "dependency_links.txt", "requires.txt"}


def without_credentials(content: bytes, name: str) -> bytes:
    """The content with the users, passwords and tokens taken out of its URLs; of METADATA, only in its header."""
    head, blank, rest = content.partition(b"\n\n") if name in {"METADATA", "PKG-INFO"} else (content, b"", b"")
    head = _CREDENTIALS.sub(lambda found: (found[1] or found[2]) + b"://", head)
    return _CONDA_TOKEN.sub(rb"\1/", head) + blank + rest


def is_included(path: str, include: Sequence[str]) -> bool:
    """Whether the user named a file: by its path, its name, or a pattern for one of them."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path, one) or fnmatchcase(name, one) for one in include)
