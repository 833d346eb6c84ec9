"""Programs that run in boxes."""

PING = """
import socket, struct, sys
ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
ping.settimeout(10)
ping.sendto(struct.pack(">BBHHH", 8, 0, 0xF7FE, 0, 1), (sys.argv[1], 0))
print(ping.recv(99)[0])
"""
