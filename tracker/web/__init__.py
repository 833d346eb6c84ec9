"""The tracker's pages for people: rendered on the server, readable without JavaScript, live with it.

Nothing that a peer said is ever HTML: every template escapes, a strict Content-Security-Policy lets in no inline
script, style or foreign resource, and invisible characters in a name are shown (`text.visible`).

    pages     the addresses, and what each asks of the service
    site      templates, static files, headers          charts    figures as SVG, from numbers alone
    text      sizes, ages and names as people read them
"""

from tracker.web.pages import routes
from tracker.web.site import SECURITY_HEADERS, error_page, wants_page

__all__ = ["SECURITY_HEADERS", "error_page", "routes", "wants_page"]
