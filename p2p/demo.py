"""`shoal demo`: a whole network on this machine."""


def run_demo(size: int, *, as_json: bool) -> int:
    raise SystemExit(f"{size} {as_json}")
