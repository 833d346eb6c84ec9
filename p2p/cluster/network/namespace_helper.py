"""A process in the network of a sandbox, never in the sandbox itself: `namespace_helper.py PID SOCKET ADDRESS MTU TUN`.

It joins the network namespace of process PID and the user namespace that owns it, which needs no privilege if this user
made both; a root helper becomes the sandbox's user there. It makes the TUN device, and passes its descriptor to the
peer over the socket. Then it answers, one request at a time, until the peer closes the socket:

    s            ->  s, with a TCP socket of that network
    d ADDRESS    ->  d COUNT: so many TCP connections with that address have been ended
    otherwise    ->  e TEXT: why it failed

No program in the sandbox ever has a capability, or sees the device. Only the standard library, and no module that takes
much memory: this process stays for as long as the sandbox does.
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import sys
import time

NAME = b"shoal0"
NETMASK = bytes((255, 255, 255, 0))
_CLONE_NEWUSER, _CLONE_NEWNET, _NS_GET_USERNS = 0x10000000, 0x40000000, 0xB701
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_TUNSETIFF, _TUNSETOFFLOAD, _TUNSETVNETHDRSZ, _TUNSETVNETLE = 0x400454CA, 0x400454D0, 0x400454D8, 0x400454DC
_CSUM, _TSO4, _USO4, _USO6 = 0x01, 0x02, 0x20, 0x40
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8922, 0x8914
_IFF_UP, _IFF_RUNNING = 0x01, 0x40
_VNET_BYTES = 10

_SOCK_DIAG, _BY_FAMILY, _DESTROY = 4, 20, 21
_REQUEST, _ACK, _DUMP = 0x001, 0x004, 0x300
_ERROR, _DONE = 2, 3
_MESSAGE = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBBI48s")
_FOUND = struct.Struct("=BBBB48s")
_SOCKET_BYTES = 48
"""Of the kernel's struct inet_diag_sockid: two ports, source, target at 20, interface, cookie."""
_TARGET = slice(20, 36)
_TCP = 6
_TIME_WAIT, _CLOSED, _LISTENING = 6, 7, 10
_ANY_OPEN = 0xFFF & ~(1 << _TIME_WAIT | 1 << _CLOSED | 1 << _LISTENING)
_NOT_FOUND = 2
_PROBE_TIMEOUT_S = 2.0
_LOOPBACK = "127.0.0.1"
_TRIES, _TRY_INTERVAL_S = 100, 0.02


def join(pid: int) -> None:
    """Enters the network of the process, and the user namespace that owns it."""
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    owner = fcntl.ioctl(network, _NS_GET_USERNS)
    if os.geteuid() == 0:
        os.setgroups([])
    entered = [(network, _CLONE_NEWNET)]
    if os.fstat(owner).st_ino != os.stat("/proc/self/ns/user").st_ino:
        entered.insert(0, (owner, _CLONE_NEWUSER))
    for handle, kind in entered:
        if libc.setns(handle, kind):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "the sandbox's network")
        os.close(handle)


def open_tun(device: str, address: bytes, mtu: int) -> int:
    """Makes the TUN device with this address, and sets it up. Returns its descriptor."""
    tun = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", NAME, _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR))
    fcntl.ioctl(tun, _TUNSETVNETHDRSZ, struct.pack("i", _VNET_BYTES))
    fcntl.ioctl(tun, _TUNSETVNETLE, struct.pack("i", 1))
    for offload in (_CSUM | _TSO4 | _USO4 | _USO6, _CSUM | _TSO4, _CSUM):  # Linux has USO since 6.2
        try:
            fcntl.ioctl(tun, _TUNSETOFFLOAD, offload)
            break
        except OSError:
            continue
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP | _IFF_RUNNING))
        for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, NETMASK)):
            fcntl.ioctl(control, request, struct.pack("16sHH4s16x", NAME, socket.AF_INET, 0, value))
        fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", NAME, mtu))
        write_setting(f"ipv6/conf/{NAME.decode()}/disable_ipv6", "1")
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", NAME, _IFF_UP | _IFF_RUNNING))
    return tun


def write_setting(name: str, value: str) -> None:
    """Sets what this network would be a little better for; a kernel without it does as well."""
    try:
        with open(f"/proc/sys/net/{name}", "w") as file:
            file.write(value)
    except OSError:
        pass


def first_id(path: str) -> int:
    """The first user or group that there is in this user namespace; whoever made it may be about to say so."""
    for _ in range(_TRIES):
        with open(path) as file:
            if words := file.readline().split():
                return int(words[0])
        time.sleep(_TRY_INTERVAL_S)
    raise OSError(f"{path} is empty")


def become_user() -> None:
    """Becomes the user and group that the sandbox has, if this process is another's: root's."""
    uid, gid = first_id("/proc/self/uid_map"), first_id("/proc/self/gid_map")
    write_setting("ipv4/ping_group_range", f"{gid} {gid}")
    if os.getgid() != gid:
        os.setresgid(gid, gid, gid)
    if os.getuid() != uid:
        os.setresuid(uid, uid, uid)


def end_connections(address: bytes) -> int:
    """Ends all TCP connections with this IPv4 address. Returns how many. Raises OSError if the kernel cannot."""
    mapped = bytes(10) + b"\xff\xff" + address
    targets = {socket.AF_INET: address + bytes(12), socket.AF_INET6: mapped}
    ended = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as diag:
        diag.bind((0, 0))
        for family, target in targets.items():
            for one in [one for one in _open_sockets(diag, family) if one[_TARGET] == target]:
                query = _QUERY.pack(family, _TCP, 0, 0, _ANY_OPEN, one)
                diag.send(_MESSAGE.pack(_MESSAGE.size + len(query), _DESTROY, _REQUEST | _ACK, 1, 0) + query)
                number = -struct.unpack_from("=i", diag.recv(1 << 16), _MESSAGE.size)[0]
                if number not in (0, _NOT_FOUND):
                    raise OSError(number, os.strerror(number))
                ended += not number
    return ended


def _open_sockets(diag: socket.socket, family: int) -> list[bytes]:
    """The identities of all TCP sockets of a family that are connected, or about to be."""
    query = _QUERY.pack(family, _TCP, 0, 0, _ANY_OPEN, bytes(_SOCKET_BYTES))
    diag.send(_MESSAGE.pack(_MESSAGE.size + len(query), _BY_FAMILY, _REQUEST | _DUMP, 1, 0) + query)
    found: list[bytes] = []
    while True:
        part = diag.recv(1 << 16)
        at = 0
        while at < len(part):
            size, kind, _, _, _ = _MESSAGE.unpack_from(part, at)
            if kind == _DONE:
                return found
            if kind == _ERROR:
                number = -struct.unpack_from("=i", part, at + _MESSAGE.size)[0]
                if number == _NOT_FOUND:  # nothing speaks IPv6 here
                    return found
                raise OSError(number, os.strerror(number))
            found.append(_FOUND.unpack_from(part, at + _MESSAGE.size)[4])
            at += size + -size % 4


def can_end_connections() -> bool:
    """Whether this kernel ends connections on request (CONFIG_INET_DIAG_DESTROY): one is made here, and ended."""
    try:
        with socket.socket() as listener, socket.socket() as client:
            listener.bind((_LOOPBACK, 0))
            listener.listen(1)
            client.settimeout(_PROBE_TIMEOUT_S)
            client.connect(listener.getsockname())
            if not end_connections(socket.inet_aton(_LOOPBACK)):
                return False
            try:
                client.recv(1)
            except (ConnectionAbortedError, ConnectionResetError):  # whichever end was ended first
                return True
    except OSError:
        pass
    return False


def answer(peer: socket.socket, request: bytes) -> None:
    """Answers one request."""
    try:
        if request == b"s":
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
                send(peer, b"s", made.fileno())
        elif request[:1] == b"d" and len(request) == 5:
            peer.send(b"d" + struct.pack(">I", end_connections(request[1:])))
        else:
            peer.send(b"e" + b"this is no request")
    except OSError as error:
        peer.send(b"e" + str(error).encode()[:200])


def send(peer: socket.socket, said: bytes, handle: int) -> None:
    """Sends words with a descriptor."""
    peer.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))])


def main() -> None:
    pid, handle, address, mtu, device = sys.argv[1:]
    peer = socket.socket(fileno=int(handle))
    try:
        join(int(pid))
        tun = open_tun(device, socket.inet_aton(address), int(mtu))
        become_user()
    except OSError as error:
        peer.send(b"e" + str(error).encode()[:200])
        return
    send(peer, b"t" + bytes([can_end_connections()]), tun)
    os.close(tun)
    try:
        while request := peer.recv(64):
            answer(peer, request)
    except OSError:
        pass  # the peer is gone


if __name__ == "__main__":
    main()
