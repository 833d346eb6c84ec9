"""A peer over HTTP: its shares (`p2p.gateway`), the operations of its control socket, what changes, figures.

door          one connection; what speaks HTTP is loaded when the first comes
application   which address leads to which part
api           the operations of the control socket, from the same table
description   the API as OpenAPI, from the types of requests and answers
events        what changes, as server-sent events
figures       for Prometheus
"""
