"""Lines of packets: bounded by age and size, small packets first, each flow in order."""

from hypothesis import given
from hypothesis import strategies as st

from p2p.core.cluster.line import FAST_BATCH_BYTES, FAST_S, LATE_S, MAX_LINE_BYTES, SHORT_BYTES, Line
from p2p.core.cluster.packets import flow_of
from tests.support.clusters.packets import tcp_packet, tcp_segments, udp_packet

BULK = tcp_segments(0, 1, bytes(60_000), 1448)


def test_what_is_late_is_dropped_while_much_waits() -> None:
    line = Line()
    for _ in range(10):
        line.put(BULK, 0.0)
    assert line.take(LATE_S / 2) == [BULK]
    taken = [line.take(LATE_S * 1.1), line.take(LATE_S * 1.1)]
    assert taken == [[BULK], []], "one is short enough to be sent late"
    assert line.dropped == 8
    assert line.bytes == 0


def test_a_line_that_nobody_takes_from_stays_short() -> None:
    line = Line()
    for step in range(1000):
        line.put(BULK, step * 0.01)
        assert line.bytes <= len(BULK) * 12 + SHORT_BYTES


def test_a_flood_within_a_moment_is_bounded() -> None:
    line = Line()
    for _ in range(1000):
        line.put(BULK, 0.0)
    assert MAX_LINE_BYTES - len(BULK) < line.bytes <= MAX_LINE_BYTES
    assert line.dropped == 1000 - MAX_LINE_BYTES // len(BULK)
    line.clear()
    assert (line.bytes, line.take(0.0)) == (0, [])


def test_small_packets_overtake_other_flows_but_not_their_own() -> None:
    line = Line()
    beat = tcp_packet(0, 1, b"beat", ports=(50_000, 8786))
    end_of_bulk = tcp_packet(0, 1, b"end")
    assert flow_of(end_of_bulk) == flow_of(BULK)
    for packet in (BULK, BULK, end_of_bulk, beat):
        line.put(packet, 0.0)
    assert [line.take(LATE_S / 2) for _ in range(3)] == [[beat, BULK], [BULK, end_of_bulk], []]
    line.put(end_of_bulk, 0.0)
    line.put(beat, 0.0)
    assert line.take(0.0) == [end_of_bulk, beat], "nothing of its flow waits any more"


def test_frames_are_larger_where_the_way_is_fast() -> None:
    line = Line()
    for _ in range(6):
        line.put(BULK, 0.0)
    assert [len(line.take(now)) for now in (0.0, FAST_S * 2, 0.0)] == [4, 1, 1]


SIZES = st.sampled_from([0, 10, 200, 300, 5000, 15_000, 20_000, 60_000])


@given(st.lists(st.tuples(SIZES, st.integers(1, 3), st.booleans()), max_size=60))
def test_each_flow_keeps_its_order_and_nothing_is_lost(steps: list[tuple[int, int, bool]]) -> None:
    line = Line()
    put: list[bytes] = []
    taken: list[bytes] = []
    for number, (size, port, is_taken) in enumerate(steps):
        packet = udp_packet(0, 1, number.to_bytes(4, "big") + bytes(size), ports=(port, port))
        line.put(packet, 0.0)
        put.append(packet)
        if is_taken:
            taken += line.take(0.0)
    while batch := line.take(0.0):
        assert sum(map(len, batch)) <= FAST_BATCH_BYTES
        taken += batch
    assert line.bytes == line.dropped == 0
    for port in (1, 2, 3):
        flow = flow_of(udp_packet(0, 1, ports=(port, port)))
        assert [one for one in put if flow_of(one) == flow] == [one for one in taken if flow_of(one) == flow]
    assert sorted(put) == sorted(taken)
