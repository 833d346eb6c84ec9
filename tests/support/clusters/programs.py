"""Programs that run in sandboxes."""

RECEIVE = """
import hashlib, socket
with socket.create_server(("", 5300)) as server:
    connection, _ = server.accept()
    digest = hashlib.sha256()
    while data := connection.recv(1 << 20):
        digest.update(data)
    connection.sendall(digest.digest())
"""
SEND = """
import hashlib, os, socket, sys, time
for _ in range(500):
    try:
        connection = socket.create_connection((sys.argv[1], 5300))
        break
    except ConnectionRefusedError:
        time.sleep(0.02)
data = os.urandom(1 << 20) * 20
connection.sendall(data)
connection.shutdown(socket.SHUT_WR)
print(connection.recv(32) == hashlib.sha256(data).digest())
"""
PING = """
import socket, struct, sys
ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
ping.settimeout(10)
ping.sendto(struct.pack(">BBHHH", 8, 0, 0xF7FE, 0, 1), (sys.argv[1], 0))
print(ping.recv(99)[0])
"""
