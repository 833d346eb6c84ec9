"""What is said: messages, frames, handshake, links, records, datagrams, beacons, announces.

Nothing here knows a socket, a clock or a disk. The protocol in prose is docs/protocol.md; the modules list every field
and every bound, and hold where a page differs.
"""
