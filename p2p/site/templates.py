"""Templates of pages: they escape everything, and refuse a name that nobody gave them."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2p.formats import format_size, format_time
from p2p.site import text

SHARED = Path(__file__).parent / "templates"


def environment(folder: Path) -> Environment:
    """The templates in a folder, with what all of them may use: `frame.html` is what pages with `Assets` extend."""
    made = Environment(
        loader=FileSystemLoader((folder, SHARED)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "size": format_size,
        "time": format_time,
        "count": text.count,
        "plural": text.plural,
        "visible": text.visible,
        "ago": text.ago,
        "brief": text.brief,
        "moment": text.moment,
        "day": text.day,
    }
    return made
