"""The tracker: the optional central index of shares, sources and volunteers, with an API and web pages.

Peers and the tracker exchange the messages of `p2p.wire.tracker`. The tracker accepts only what it can check: a peer
announces only for itself (announces are signed), an address is handed out only once the tracker has dialled it and met
that peer there, and everything announced expires. A tracker that lies can hide shares and waste a peer's time, but
cannot get a wrong byte accepted. The network works without it.

    command       starts a tracker with the options given
      server      listens, connects the parts, stops gracefully; the only module with a nursery for services
        app       the routes        web         the pages           torrents    /announce for BitTorrent clients
                  bodies            of requests, in memory          http        problems, rates
                  openapi           the API, described from its structs
          service the decisions: who may announce, what expires, who may be told which address
                  writing           the one writer                  dialback    whether peers can be dialled
                  feed              the figures as they change    reading     whose question is next, and its cost
            queries   the questions that the database answers
              store   keeps what peers announced: SQLite with FTS5; `changes` is one transaction
                index   words, queries, kinds, places: pure         limits      how much a client may ask and store
                cursor  where a list continues                      database    the file, its migrations, connections
                reindexing  the index of a database of before       room        who has room in the index
                turns   whose words are read next
"""
