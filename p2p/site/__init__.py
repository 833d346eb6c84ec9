"""What pages and APIs have in common, whoever serves them. It does no HTTP.

text       how text from others, numbers and times are shown
templates  templates that escape it
assets     static files, and the headers of pages; the style and the icon of all pages are in `static`
charts     figures as SVG, from numbers alone
notebook   tables for notebooks, which `shown` has as the base of what shows itself
openapi    the description of an API, made from the structs of its messages
"""
