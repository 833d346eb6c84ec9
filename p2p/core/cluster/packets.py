"""Packets of a cluster's network, as the kernel hands them over and takes them: a vnet header, then IPv4.

The vnet header (`struct virtio_net_hdr`, little-endian) says how much of the work was left to whoever takes the packet:
a checksum to fill in, or a segment of up to 64 KiB to cut up. It travels with the packet, and the kernel of another
member acts on it. So what comes from others is taken only if every field says what a kernel that does TCP and UDP over
IPv4 would have said: this kernel's parser never sees anything else.
"""

import struct

VNET = struct.Struct("<BBHHHH")
"""Flags, kind of segments, length of all headers, size of a segment, start of the checksummed part, offset in it."""
IP = struct.Struct(">BxHxxHxBxx4s4s")
"""Version and length of the header, total length, fragment, protocol, source, target."""
MAX_PACKET_BYTES = VNET.size + 65535
TCP, UDP, ICMP = 6, 17, 1
PLAIN_HEADER = bytes(VNET.size)

_NEEDS_CHECKSUM = 1
_WHOLE, _SEGMENTS_OF_TCP, _SEGMENTS_OF_UDP = 0, 1, 5
_NO_OPTIONS = 0x45
_FRAGMENT, _FRAGMENT_OFFSET = 0x3FFF, 0x1FFF
_TCP_HEADER_BYTES, _UDP_HEADER_BYTES = 20, 8
_CHECKSUMS = {TCP: 16, UDP: 6}
_AT = VNET.size + IP.size
"""Where the header of TCP or UDP begins."""
_DATA_OFFSET_AT = _AT + 12
_LEAST_SEGMENT_BYTES = 8
"""Linux has no TCP segments of fewer."""
_MOST_SEGMENTS_OF_UDP = 128

Packet = bytes | bytearray | memoryview


def address_of(index: int) -> bytes:
    """The address of a member in its cluster's network."""
    return bytes((10, 77, 0, index + 1))


def index_of(address: bytes) -> int:
    """The member that has an address; -1 if no member could have it."""
    return address[3] - 1 if address[:3] == b"\x0a\x4d\x00" else -1


def is_sound(packet: Packet, source: bytes, target: bytes) -> bool:
    """Whether a packet that another member sent may be given to the kernel: it comes from that member's address, is for
    this one's, and its headers are in order.
    """
    size = len(packet) - VNET.size
    if size < IP.size:
        return False
    flags, kind, headers, segment, start, offset = VNET.unpack_from(packet)
    first, total, fragment, protocol, its_source, its_target = IP.unpack_from(packet, VNET.size)
    if first != _NO_OPTIONS or total != size or its_source != source or its_target != target or headers > size:
        return False
    if flags == 0:
        at_end = (fragment & _FRAGMENT_OFFSET) * 8 + total
        return bool(kind == _WHOLE and at_end <= 65535)
    if flags != _NEEDS_CHECKSUM or fragment & _FRAGMENT or start != IP.size or _CHECKSUMS.get(protocol) != offset:
        return False
    left = size - IP.size - (_TCP_HEADER_BYTES if protocol == TCP else _UDP_HEADER_BYTES)
    if left < 0:
        return False
    if kind == _SEGMENTS_OF_TCP:
        options = (packet[_DATA_OFFSET_AT] >> 4) * 4 - _TCP_HEADER_BYTES
        return bool(protocol == TCP and 0 <= options < left and segment >= _LEAST_SEGMENT_BYTES)
    if kind == _SEGMENTS_OF_UDP:
        return bool(protocol == UDP and segment > 0 and left <= segment * _MOST_SEGMENTS_OF_UDP)
    return bool(kind == _WHOLE)


def flow_of(packet: Packet) -> bytes:
    """What tells apart the flows from this member to one other: ports, where it has any."""
    return bytes(packet[_AT : _AT + 4])
