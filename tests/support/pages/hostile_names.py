"""Names as somebody chooses them who wants them to be more than names: one corpus for every place that shows names.

Whatever would run sets `window.hacked`; whatever would load something asks `foreign.example` for it.
"""

from p2p.core.shares.names import refusal

HOSTILE = (
    "<script>window.hacked=1</script>",
    "<img src=http://foreign.example/x onerror=window.hacked=1>",
    "\"'><svg/onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "</title></a></h3><base href=//foreign.example><b>bold</b>",
    "{{ 7*7 }} {% raw %} ${7*7}",
    "two\nlines",
    "invoice\u202efdp.exe",
    "zero\u200bwidth",
    "M" * 255,
    "👩\u200d💻 " + "ä" * 100,
    "<script>window.hacked=1",
    '"><svg onload=window.hacked=1>',
    "<img src=x onerror=window.hacked=1>.png",
    "\"' onmouseover=window.hacked=1 onfocus=window.hacked=1 autofocus='\".txt",
    "</script></style></textarea></pre></table><svg onload=window.hacked=1>",
    "--><details open ontoggle=window.hacked=1>",
    "<iframe srcdoc='<script>top.hacked=1&lt;/script>'>",
    "<style>@import '//foreign.example/x';</style><link rel=stylesheet href=//foreign.example/x>",
    "<meta http-equiv=refresh content=0;url=http:&#x2f;&#x2f;foreign.example>",
    "data:text&#x2f;html,<script>window.hacked=1<&#x2f;script>",
    "[a](javascript:window.hacked=1) ![b](http://foreign.example/x) $\\href{javascript:window.hacked=1}{c}$",
    "';window.hacked=1;'`${window.hacked=1}`\\",
    "%3Cscript%3Ewindow.hacked=1%3C%2Fscript%3E",
    "&lt;script&gt;window.hacked=1&lt;&sol;script&gt;",
    "\x1b[2J\x1b]0;title\x07\x1b]8;;http://foreign.example\x1b\\\r\x9b31m",
    "one\u2028two\u2029three\x85four\x7f",
    "\u2066\u200f\u061cright to left\u2069",
    "\ufeff \u3164\u2800",
    "Z" + "\u0301" * 40,
)
HOSTILE_FILES = tuple(name for name in HOSTILE if refusal(name) is None)
"""Those that a file of a share can have."""
PAGE = b"<!doctype html><script>window.hacked=1</script><img src=http://foreign.example/x onerror=window.hacked=1>"
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.hacked=1"><script>window.hacked=1</script>'
    b'<image href="http://foreign.example/x"/></svg>'
)
HOSTILE_CONTENTS = {
    **dict.fromkeys(("a.html", "a.htm", "a.xhtml", "a.shtml", "a.mht", "a.pdf", "a", "a.html.unknown"), PAGE),
    **dict.fromkeys(("b.svg", "b.xml", "b.xsl", "b.rss"), SVG),
    **dict.fromkeys(("c.txt", "c.md", "c.csv", "c.log", "c.png", "c.jpg", "c.gif", "c.mp4", "c.ogg"), PAGE),
    "d.js": b"window.hacked=1",
    "d.webmanifest": b'{"start_url": "javascript:window.hacked=1"}',
}
"""Files that some browser would run if it took them for what they look like, by name or by content."""
