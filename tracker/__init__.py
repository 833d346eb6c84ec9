"""The tracker: the optional central index of shares, sources and volunteers, with an API and web pages.

The messages between it and peers are in `p2p.wire.tracker`. It believes only what it can check: a peer announces only
for itself (announces are signed), an address is handed out only once the tracker has dialled it and met that peer
there, and everything announced expires. A tracker that lies can hide shares and waste a peer's time, but cannot get a
wrong byte accepted. The network works without it.

    command       from options to a running tracker
      server      listens, wires, stops gracefully; the only owner of a nursery of services
        app       the routes        web         the pages           bittorrent  /announce for BitTorrent clients
                  http              bodies, problems, rates         openapi     the API, described from its structs
          service the decisions: who may announce, what expires, who may be told which address
                  writing           the one writer                  dialback    whether a peer is where it says
                  feed              the figures as they change
            queries   the questions that the database answers
              store   what peers announced, kept: SQLite with FTS5; `changes` is one transaction of it
                index   words, queries, kinds, places: pure         limits      how much anybody may ask and keep
                cursor  where a list continues                      database    the file, its migrations, connections
"""
