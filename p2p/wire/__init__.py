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

    `Hello` carries the software, features, the TCP port on which the sender listens (0: it does not) and the host at
    which it sees the receiver. The handshake has 10 seconds and 16 KiB frames. A connection ends after 256 GiB and is
    dialled anew.

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
    the output folder, collide or deceive make the whole manifest invalid (`p2p.core.names`). Chunks are numbered
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

Peer exchange
    A peer tells only addresses to which it has itself connected with full proof; for a peer that dialled in, it dials
    back the port of its `Hello` at the host it came from. Loopback and private addresses are told only to peers that
    are as near (`address.may_tell`), and taken only from such.

Attacks, and what meets them
    Wrong bytes                every chunk is checked against the manifest before it is written; one bad chunk ends the
                               exchange, a second bans the peer for ten minutes, doubling
    Impersonation, relaying    the dialer checks the listener's key against the id in the link; the dialer's proof
                               covers the listener's id and nonce, so it is of no use towards anybody else
    Giant or endless input     bounds on every frame, field, list, manifest total and number of outstanding requests;
                               a flood of messages is slowed to 1,000 a second
    Lying have-maps, silence   nothing is written until bytes verify; a silent source is dropped after 30 seconds, and
                               its chunks are asked of others long before
    Half-open floods           the oldest unproven connection of the same prefix gives way first
    Hostile paths              refused by name; opened part by part beneath the output folder without following links
    Use as a DDoS engine       no address is told that was not proven; dials are few at once, with back-off
    Not met                    who shares and fetches what is visible to those who exchange it; a link is the only key
"""
