"""The tracker: the optional central index. Search, browse, who has what, who offers compute; and a page for people.

What it says to peers is in `p2p.wire.tracker`. Nothing that it is told is believed further than it can be checked: a
peer speaks for itself alone (announces are signed), an address is handed out only once the tracker has dialled it and
met that peer there, and all that is said expires. A tracker that lies can hide shares and waste a peer's time; it
cannot make a wrong byte be accepted. The network goes on without it.

    command       from options to a running tracker
      server      listens, wires, stops gracefully; the only owner of a nursery of services
        app       the routes        web         the pages           bittorrent  /announce for BitTorrent clients
                  http              bodies, problems, rates         openapi     the API, described from its structs
          service what is decided: who may announce, what expires, who may be told which address
                  writing           the one writer                  dialback    whether a peer is where it says
                  feed              the figures as they change
            queries   what can be asked of the database
              store   what peers announced, kept: SQLite with FTS5; `changes` is one transaction of it
                index   words, queries, kinds, places: pure         limits      how much anybody may
                cursor  where a list goes on                        database    the file, its migrations, connections
"""
