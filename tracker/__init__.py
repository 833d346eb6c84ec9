"""The tracker: the optional central index. Search, browse, who has what, who offers compute; and a page for people.

What it says to peers is in `p2p.wire.tracker`. Nothing that it is told is believed further than it can be checked: a
peer speaks for itself alone (announces are signed), an address is handed out only once the tracker has dialled it and
met that peer there, and all that is said expires. A tracker that lies can hide shares and waste a peer's time; it
cannot make a wrong byte be accepted. The network goes on without it.

    server        listens, wires, stops gracefully; the only owner of a nursery
      app         HTTP: routes, limits, OpenAPI, the pages (`web`)    bittorrent   /announce for BitTorrent clients
        service   what is decided: announces, quotas, expiry, who may be told which address
          store   SQLite with FTS5
            index   what is pure: words, kinds, ranking, queries
"""
