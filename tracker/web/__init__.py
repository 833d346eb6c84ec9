"""The tracker's pages for people: rendered here, readable without JavaScript, live with it.

Nothing that a peer said is ever HTML: every template escapes, a strict Content-Security-Policy lets no inline script,
style or foreign resource in, and what would be invisible in a name is shown (`text.visible`).

    pages     the addresses and what is asked of the service for each
    site      templates, static files, headers          charts    figures as SVG, from numbers alone
    text      sizes, ages, names as people read them
"""

from tracker.web.pages import routes
from tracker.web.site import SECURITY_HEADERS, error_page, wants_page

__all__ = ["SECURITY_HEADERS", "error_page", "routes", "wants_page"]
