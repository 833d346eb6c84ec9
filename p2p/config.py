"""Settings: one frozen struct of frozen sections, from defaults < config.toml < environment < flags (the last wins).

Unknown keys are refused with their path. Units are in the names. Environment variables are SHOAL_<SECTION>_<KEY>.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from p2p import causes
from p2p.errors import ConfigError
from p2p.formats import MIN_RATE

CONFIG_FILE = "config.toml"
DEFAULT_PORT = 7474

_Bytes = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_NetworkName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}\Z")]


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where this peer listens and how it finds others."""

    name: _NetworkName = "main"
    listen: tuple[str, ...] = ()
    """The HOST:PORT of each address; if empty, all addresses, at port 7474 or, if that is taken, a free one."""
    join: tuple[str, ...] = ()
    """HOST:PORT of peers through which to join the DHT."""
    trackers: tuple[str, ...] = ()
    """URLs of trackers to announce to and to ask."""
    lan: bool = True
    dht: bool = True
    dialable: Literal["auto", "no"] = "auto"
    """Whether others can dial this peer. `no`: it is behind a router or firewall, and gives its address to nobody."""
    max_connections: _Positive = 512
    max_connections_per_prefix: _Positive = 128
    max_connections_per_peer: _Positive = 8


class DhtConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this peer takes part in the DHT."""

    work_bits: Annotated[int, msgspec.Meta(ge=0, le=32)] | None = None
    """The zero bits of work in a node id, the same for all peers of a network. None: 16 in `main`, 0 elsewhere."""


class TransferConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How fast this peer transfers, and with how many peers; a limit of 0 means no limit."""

    upload_limit_bytes_per_s: _Bytes = 0
    download_limit_bytes_per_s: _Bytes = 0
    upload_slots: _Positive = 16
    slot_quantum_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    max_sources: _Positive = 32

    def __post_init__(self) -> None:
        for key in ("upload_limit_bytes_per_s", "download_limit_bytes_per_s"):
            if 0 < (limit := getattr(self, key)) < MIN_RATE:
                raise ValueError(f"{key} = {limit} is too small to work; the smallest is {MIN_RATE}, and 0 is no limit")


class SharingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this peer's shares have in them."""

    times: bool = False
    """Whether new shares have the modification times of their files. Peers of older versions cannot fetch these."""


class VolunteerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much computing power this peer offers; with no cores it is not a volunteer."""

    cores: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 0
    memory_bytes: _Positive = 1024**3
    """The memory offered per core."""
    cache_bytes: _Bytes = 10 * 1024**3
    """The most disk used for inputs that are kept for later jobs."""
    unit_time_s: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 3600.0
    """The longest that a unit of another peer's job may run. While owners wait, a core changes hands that often."""
    priority: Literal["idle", "normal"] = "idle"
    """Idle: other peers' jobs get only the processor time that nothing else on the machine wants."""


class JobsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this peer's own jobs may use on this machine."""

    memory_bytes: _Positive | None = None
    """The memory for the guests that plan its jobs, together; those that repeat units may have as much again. None: a
    quarter of the machine's memory. More jobs wait until there is room to plan them.
    """


class WebConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where this peer is on the web, for browsers and programs of its user."""

    listen: str = ""
    """HOST:PORT; if empty, nowhere."""
    hosts: tuple[str, ...] = ()
    """The names by which others reach it, through a proxy that speaks TLS."""


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To whom this peer lends room for a cluster, how much, and whom it takes into its own."""

    allow: tuple[str, ...] = ()
    """The ids of the owners to whom it lends; if empty, it lends to nobody."""
    trust: tuple[str, ...] = ()
    """The ids of the peers that it takes as members."""
    cores: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 0
    """The most cores that it lends; 0: all of the machine."""
    memory_bytes: _Bytes = 0
    """The most memory that it lends; 0: half of the machine's."""
    disk_bytes: _Positive = 20 * 1024**3
    """The most disk that it lends."""
    uids: Annotated[tuple[_Positive, ...], msgspec.Meta(max_length=2)] = ()
    """For a peer that runs as root: the first user id for members, and how many there are from it on. Nobody else may
    use them: each member has one while it runs.
    """

    def __post_init__(self) -> None:
        if len(self.uids) == 1:
            raise ValueError("uids has two numbers: the first user id, and how many there are")


class ManifestLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The largest share that this peer accepts.

    Opening a link of this size takes less than 400 MiB of memory: 70 MiB, the manifest, and about 110 bytes an entry.
    """

    entries: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="the most files and empty folders; to open a link takes 110 bytes of memory for each"
        ),
    ] = 1_000_000
    manifest_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="the largest list of files, with their hashes; to open a link takes as much memory"
        ),
    ] = 192 * 1024 * 1024
    share_bytes: _Positive = 2**50


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings."""

    network: NetworkConfig = NetworkConfig()
    dht: DhtConfig = DhtConfig()
    transfer: TransferConfig = TransferConfig()
    sharing: SharingConfig = SharingConfig()
    volunteer: VolunteerConfig = VolunteerConfig()
    jobs: JobsConfig = JobsConfig()
    cluster: ClusterConfig = ClusterConfig()
    limits: ManifestLimits = ManifestLimits()
    web: WebConfig = WebConfig()


Settings = dict[str, dict[str, Any]]
"""Values by section and key."""


class Loaded(msgspec.Struct, frozen=True):
    """The settings in force, and for each (section, key) where it came from."""

    config: Config
    origins: dict[tuple[str, str], str]


def _from_toml(text: str) -> Settings:
    """Parses a settings file. Raises ValueError."""
    import tomllib  # late: few homes have such a file

    return tomllib.loads(text)


def load(home: Path, environment: Mapping[str, str], flags: Settings) -> Loaded:
    """The settings of a home. Raises a ConfigError that names the file or variable and the key."""
    path = home / CONFIG_FILE
    try:
        text = path.read_text("utf-8")
        from_file = _from_toml(text) if text else {}
    except FileNotFoundError:
        from_file = {}
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {causes.explained(error, forbidden=causes.MAY_READ)}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    merged: Settings = {}
    origins: dict[tuple[str, str], str] = {}
    for origin, layer in (
        (str(path), from_file),
        ("environment", _from_environment(environment)),
        ("command line", flags),
    ):
        _checked(layer, origin)
        for section, values in layer.items():
            for key, value in values.items():
                merged.setdefault(section, {})[key] = value
                origins[section, key] = origin
    return Loaded(_checked(merged, "settings"), origins)


def to_toml(loaded: Loaded) -> str:
    """The settings in force as a config.toml, each with its origin, and with what it costs if that is not plain."""
    lines: list[str] = []
    described = {section.name: msgspec.structs.fields(section.type) for section in msgspec.structs.fields(Config)}
    for section, values in msgspec.to_builtins(loaded.config).items():
        lines.append(f"[{section}]")
        for field in described[section]:
            key, value = field.name, values[field.name]
            origin = loaded.origins.get((section, key), "default")
            more = "".join(f"; {meta.description}" for meta in get_args(field.type)[1:] if _describes(meta))
            # TOML has no null: a setting that is not set is shown as a comment.
            text = msgspec.json.encode(value).decode()
            shown = f"# {key} is not set" if value is None else f"{key} = {text}"
            lines.append(f"{shown}  # {origin}{more}")
        lines.append("")
    return "\n".join(lines)


def _describes(meta: object) -> bool:
    return isinstance(meta, msgspec.Meta) and meta.description is not None


def _from_environment(environment: Mapping[str, str]) -> Settings:
    found: Settings = {}
    for section in msgspec.structs.fields(Config):
        for field in msgspec.structs.fields(section.type):
            name = f"SHOAL_{section.name}_{field.name}".upper()
            if name in environment:
                text = environment[name]
                is_list = isinstance(field.default, tuple)
                value: Any = [item for item in text.split(",") if item] if is_list else text
                found.setdefault(section.name, {})[field.name] = value
    return found


def _checked(settings: Settings, origin: str) -> Config:
    try:
        return msgspec.convert(settings, Config, strict=origin != "environment" and origin != "settings")
    except msgspec.ValidationError as error:
        raise ConfigError(_explanation(str(error), origin)) from error


def _explanation(error: str, origin: str) -> str:
    """Which setting is wrong and why, from msgspec's ``<what> - at `$.<section>.<key>` ``."""
    what, _, path = error.partition(" - at `$")
    where = path.strip("`.")
    if unknown := re.fullmatch("Object contains unknown field `(.*)`", what):
        name = ".".join(filter(None, (where, unknown[1])))
        return f"{origin}: there is no setting {name}. `shoal config` lists all there are."
    if origin == "environment":
        where = f"SHOAL_{where.replace('.', '_').upper()}"
    if "matching regex" in what:
        what = "Expected lower-case letters, digits, dots and dashes, at most 64, beginning with a letter or digit"
    return f"{origin}: {where}: {what}."


def default_home() -> Path:
    """SHOAL_HOME, or the platform's folder for user data. Raises ConfigError for a user who has none."""
    import platformdirs  # late: needed only when a command runs, not for `--help`

    if named := os.environ.get("SHOAL_HOME"):
        return Path(named)
    try:
        return Path(platformdirs.user_data_dir("shoal", appauthor=False))
    except RuntimeError as error:
        raise ConfigError("This user has no home folder. Name a folder for the peer with --home DIR.") from error
