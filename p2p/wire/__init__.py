"""The wire protocol: messages, frames, handshake, links, records, datagrams, beacons, announces.

Nothing here uses a socket, a clock or a disk. docs/protocol.md describes the protocol in prose; the modules list every
field and every bound, and are authoritative where that page differs.
"""
