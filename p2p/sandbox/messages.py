"""What the peer, a worker and a guest's process send to each other, over inherited sockets.

    peer -> worker    the frame made of the runtime's `ahead`; then orders, each with the number of a guest; with START
                      comes the guest's end of a new socket pair
    worker -> peer    OK or FAILED, with a text: once when the worker is ready, then in answer to each order; for CPU,
                      the text is how many seconds the guest's process has run so far
    peer -> guest     a request: limits and seed, then the frame
    guest -> peer     LOG any number of times, then REPLY with a frame; or ENDED with kind and text

The peer trusts no length that it receives: each is checked before a byte is kept for it.
"""

import struct

ORDER = struct.Struct(">BQ")
START, END, CPU = 1, 2, 4

REQUEST = struct.Struct(">I32sQQQ")
"""The frame's size in bytes, the seed, then the limits on memory, output and log in bytes."""

ANSWER = struct.Struct(">BI")
"""The kind of an answer, and the number of bytes that follow."""
OK, FAILED = 1, 2
REPLY, LOG, ENDED = 1, 2, 3

MAX_TEXT_BYTES = 8 * 1024
LOG_PIECE_BYTES = 64 * 1024


def text(words: str) -> bytes:
    """Encodes the words for sending, cut to the most that a peer reads."""
    return words.encode("utf-8", "replace")[:MAX_TEXT_BYTES]


def command_frame(arguments: list[str], stdin: bytes) -> bytes:
    """Makes the request of a WASI command: its arguments and its whole standard input."""
    packed = "".join(f"{argument}\0" for argument in arguments).encode()
    return len(packed).to_bytes(4, "big") + packed + stdin


def read_command_frame(frame: memoryview) -> tuple[list[bytes], memoryview]:
    """Reads the arguments and the standard input of a WASI command."""
    size = int.from_bytes(frame[:4], "big")
    return bytes(frame[4 : 4 + size]).split(b"\0")[:-1], frame[4 + size :]
