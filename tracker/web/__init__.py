"""The tracker's pages for people: rendered on the server, readable without JavaScript, updated live with it.

Nothing that a peer announced is ever taken as HTML: every template escapes it, a strict Content-Security-Policy allows
no inline script or style and nothing from other sites, and invisible characters in a name are shown (`text.visible`).

    pages     the addresses, and what each page gets from the service
    site      templates, static files, error pages
    text      links and commands as people read them
"""

from tracker.web.pages import routes
from tracker.web.site import error_page, wants_page

__all__ = ["error_page", "routes", "wants_page"]
