"""A peer over HTTP: its shares (`p2p.gateway`), the operations of its control socket, what changes, figures.

door          both ways in: the control socket, and TCP if its user wants that; loads what follows when it is asked
listening     the sockets of TCP
deps          what is served, made by `p2p.node`
speaking      what speaks HTTP, over both
entry         the application behind TCP: who may ask, logging in and out, a page that says so
permission    who may ask what, decided from a request's words alone
users         whose a connection within this machine is
selection     which shares are shown over TCP
application   which address leads to which part; over the control socket, everybody may ask everything
api           the operations of the control socket, from the same table
description   the API as OpenAPI, from the types of requests and answers
events        what changes, as server-sent events
figures       for Prometheus
"""
