"""The protocol of Shoal, version 1, in prose. Sans-IO: nothing here knows a socket, a clock or a disk.

A second implementation can be made from this text and the modules beside it; where they differ from any other page,
they hold. Numbers are big-endian. H is `p2p.ids.H`. Every structure that outlives a connection begins with a version;
fields are only ever added.

Identity
    A peer is an Ed25519 key pair; its peer id is the 32-byte public key, written in lower-case base32 without
    padding (52 characters; people see the first 8). Signatures are over the purposes in `signatures`, which lists
    them all.

Connection
    TCP, then TLS 1.3 with ALPN `shoal/1/<network>` on both sides (a peer of another network is refused there), no
    session tickets. Each listener has a self-signed certificate on its key; only the key is looked at. The dialer
    presents no certificate and proves itself inside:

        listener -> Challenge(32 random bytes)
        dialer   -> Proof(peer id, signature of `signatures.dialer_proof`), Hello
        listener -> Hello

    `Hello` carries the software, features, the TCP port on which the sender listens (0: it does not, or knows that it
    cannot be dialled) and the host at which it sees the receiver. The handshake has 10 seconds and 16 KiB frames. A
    connection ends after 256 GiB and is dialled anew.

Frames
    length (4) | kind (1) | channel (2, zero) | body; the length counts the body. Control bodies (kind 0, at most
    1 MiB) are the msgpack maps of `messages`, with the type in the key "type"; unknown fields are ignored, unknown
    types answered `Failed("unsupported")`. A data body (kind 1) is chunk number (8), offset in the chunk (4), then at
    most 256 KiB of the chunk. Bounds are checked on the header, before memory is spent on the body.

Manifest and share id
    A file of n bytes is cut into chunks of the smallest power of two from 256 KiB to 8 MiB that gives fewer than
    2,000 (8 MiB and more of them for larger files). A chunk's hash is its BLAKE3-256; the file id is
    H("file", n in 8 bytes, all chunk hashes). Entries, sorted by path, are each length (4) and the msgpack array
    [kind (0 file, 1 empty folder), path parts, size, executable, chunk hashes joined]; joined, and cut into parts of
    256 KiB. A part's hash is BLAKE3 in derive-key mode with context `shoal part 1`. The root is a msgpack map
    (version, name, single, files, folders, size, chunks, length, parts: the part hashes joined); the share id is its
    BLAKE3 with context `shoal manifest 1`. So each piece verifies by itself, whoever sends it. Paths that could leave
    the output folder, collide or deceive make the whole manifest invalid (`p2p.core.shares.names`). Chunks are numbered
    through the share, in entry order.

Getting a manifest
    GetRoot(share) -> Root | Failed;  GetPart(share, index) -> Part | Failed. Any number may be under way; answers come
    in order. They may be asked at any time, also within an exchange.

Exchange
    One conversation per connection, about one share, both sides equal once it is open:

        either -> Open(share)          the other answers Failed, or Have (perhaps empty) and whatever it likes
        both   -> Have(ranges, bits)   chunks now held, added to those said before; Gone: no longer held
        both   -> Want(first, count)   answered by data frames, chunk by chunk in the order asked, offsets ascending
        both   -> Cancel(first, count) no longer wanted; what is under way may still come, or be cut off
        both   -> Choked(position)     wants are kept but wait for a slot behind that many; 0: served now
        both   -> Peers(...)           others of this share that the sender has itself connected to
        both   -> Bad(chunk)           it did not match its hash; the sender then ends the exchange

    Ranges ascend and do not overlap. Only asked chunks are sent, never more bytes than were asked for. One exchange
    of a share per pair of peers: where both have dialled, the connection whose dialer has the smaller id stands, and
    the other is answered Failed("duplicate"). `Browse` -> `Listed` gives the listed shares of a peer.

Peers that cannot be dialled
    They dial, and offer what they have over the connection that they opened:

        dialer   -> Offer(share)       "I have chunks of it, or fetch it too: ask me over this connection"
        listener -> Failed, or whatever a fetcher asks: GetRoot, GetPart, Open

    From there on it is as if the listener had dialled, and needs nothing known before, the manifest neither. An `Offer`
    comes from the dialer only and before an exchange; who does not fetch the share answers Failed("not found"), who has
    callers enough Failed("busy"). A second call of the same peer takes the place of its first. A dialer whose
    `Open` was answered "not found" may offer on the same connection: the other may be fetching, with no manifest yet.
    Who is to be called, trackers and the DHT tell: they know who has a share without an address, and who lacks it.
    `DialMe(share)`, from either side at any time, asks for one more connection on which the receiver offers that share.
    It is never answered; the receiver dials where it has itself met the sender before, seldom, or not at all.

    Volunteers and owners of jobs do the same (`work`). Work for a runtime is as a share whose key is
    H("hiring", runtime, 0): an owner who looks for volunteers, and can be dialled, publishes and announces that it
    lacks it, a volunteer that cannot be dialled that it has it. So the volunteer is told of the owner, and calls it.

Peer exchange
    A peer tells only addresses to which it has itself connected with full proof; for a peer that dialled in, it dials
    back the port of its `Hello` at the host it came from, and where that was in vain not again for ten minutes.
    Loopback and private addresses are told only to peers that are as near (`address.may_tell`), and taken only from
    such.

Jobs
    An owner and a volunteer have one conversation for each job, over a connection of its own; who reads an output that
    a volunteer keeps has another. `work` has both in prose, and every bound. A job brings the API that runs inside
    its guests with it, so a volunteer speaks to guests as `guest` says.

DHT
    UDP, on the number of the TCP port; one overlay for IPv4, one for IPv6 (as in BEP 32). Kademlia: k = 20, alpha = 3,
    ids of 20 bytes. A node id is H("id", peer id, nonce) cut to 20 bytes, and valid if H("work", node id) begins with
    as many zero bits as the network asks for: 16 in `main`, else none unless all peers of the network are set so
    (S/Kademlia's static puzzle). `datagrams` has the layout, `records` the records; both list every field and bound.

        Ping                  -> Pong
        FindNode(target)      -> Nodes(token, contacts)             the nearest known
        FindValue(key)        -> Values(token, contacts, records)   what is kept, and the nearest known
        Store(token, key, record) -> Stored(reason, or nothing)

    All are signed and name whom they are for; a query is padded so that its answer is at most three times as long.
    Answers carry the sender's clock and where it sees the asker. A query sent twice does nothing twice, so after the
    soft timeout it is sent again as it was. A token is a MAC over the asker's address and node id, under a secret
    that changes every five minutes and is taken for ten.

    Records are signed by their publisher, who alone publishes them again; a storer never makes one last longer. Under
    a key they are a set, one for each publisher and kind; the highest sequence stands. A record with addresses is kept
    only if they are the very one from which it was stored. A full storer answers `full`, and the publisher of words
    turns to the next of four shards; who searches asks all four. Times are of the machine's clock plus the median of
    what other prefixes say, where that is half a minute or more.

        provider   every 45 minutes, give or take a fifth       address   likewise
        keyword    every 3 hours                                pointer   every 12 hours, by anybody who follows it

Mutable links
    `shoal:<peer id>/<name>` is the share in that peer's pointer record of that name. GetPointer(publisher, name) ->
    PointerIs(record) | Failed asks any peer for the newest that it has seen. Readers never go back to a lower
    sequence than they have seen; a publisher takes the clock, or one more than the highest it has seen.

Tracker
    HTTP and JSON; `tracker` has the requests, answers and bounds. Announces are signed deltas. A peer announces its
    shares under H("provider", share id), and itself under H("address", peer id), so that both can be looked for.
    A tracker that a link names, and not the user, is asked only if its host is on the open Internet, now and after
    every redirect (`p2p.net.http`).

Local network
    Peers of one local network find each other by beacons (`beacon`), sent over UDP by multicast with a TTL of 1, to
    239.255.74.77 and ff12::8000:7477 on each interface, port 7477: `HELLO` at the start and once more after 1.5
    seconds, `HERE` every 30 (give or take a tenth), `LEAVING` at the end. Who hears a `HELLO` says `HERE` within 0.3
    seconds, at most once a second. A beacon says the peer's id and TCP port, 0 if it cannot be dialled; its host is
    where the beacon came from. Who was silent for 100 seconds is forgotten. A peer that listens at one address only
    sends from that address, one that listens on loopback is heard on its own machine only. Nothing is said of shares:
    neighbours are asked, and they are ways into the DHT.

Attacks, and what meets them
    Wrong bytes                every chunk is checked against the manifest before it is written; one bad chunk ends the
                               exchange, a second bans the peer for ten minutes, doubling
    Impersonation, relaying    the dialer checks the listener's key against the id in the link; the dialer's proof
                               covers the listener's id and nonce, so it is of no use towards anybody else
    Giant or endless input     bounds on every frame, field, list, manifest total and number of outstanding requests;
                               a flood of messages is slowed to 1,000 a second, of costly ones by what they cost (a
                               map of a million chunks counts as a hundred)
    Lying have-maps, silence   nothing is written until bytes verify; a silent source is dropped after 30 seconds, and
                               its chunks are asked of others long before
    Half-open floods           the oldest unproven connection of the same prefix gives way first
    Hostile paths              refused by name; opened part by part beneath the output folder without following links
    Ids near a chosen key      cost work to make; lookups take two of a prefix, and read from three holders or more
    Lying lists of nodes       who is named counts for nothing until it has answered; a namer of many who are not there
                               is not listened to
    False or old records       checked by storers and by readers: signature, key, times, form; one publisher has one
                               record under a key, and the newest seen stands
    Spoofed UDP, replay        an answer needs the query's number, address and node; a record needs the token that went
                               to its address; a query at another node is not for it
    UDP floods                 100 queries a second from an IPv4 address or IPv6 /64, 1,000 from all, counted before
                               any signature is checked
    False, replayed beacons    signed; one from elsewhere leads to who fails the handshake; start and number show what
                               was played back, and a `LEAVING` undoes only what its own start has said. A public
                               source must be of this machine's own /24 (IPv6 /48); what was sent to the machine
                               alone, or was routed, is not heard
    Floods of beacons          3,200 looks a second, 10 signature checks for a host and 200 in all; 1,024 neighbours, 64
                               of a host, and who is there stays
    Poisoned search            a result's signer is shown; storers keep 64 records a key and 256 a publisher
    Links to inner servers     see Tracker; private addresses in records are taken only by who is on such a network,
                               and from trackers only if they are the user's own
    Use as a DDoS engine       no address is told that was not proven; dials are few at once, with back-off; `DialMe`
                               leads to its sender only, at an address where this peer has met it
    Offers                     one that nobody waits for is answered and forgotten; the others share places, half of
                               them for one network at most, and prove what they bring like any source
    Calls of volunteers        likewise: 16 places for those who have not taken the job yet, and who did not take it is
                               offered it no sooner than 10 seconds later
    Crowds of waiting owners   a volunteer's line has 32 places, 16 for one network, 4 for one owner; turns go round by
                               network, then by owner; silence, or a turn not taken, costs the place after 10 seconds
    Owners who only lure       a volunteer has 8 calls for work, 4 to one network, waits 15 seconds for an offer, and
                               calls one for whom it has done nothing ever more seldom, as sources are
    Not met                    who shares and fetches what is visible to those who exchange it; a link is the only key
"""
