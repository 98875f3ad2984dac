"""What fetches cost a broker whose partitions have nothing new, with sessions and without.

One consumer of a topic with many partitions asks again and again, at once and waiting. Printed are
the broker's CPU time and the bytes of each fetch. Then as many sessions are begun as a broker may
be asked for: what they take of its memory is bounded, and who gets no session is served without.
"""

import argparse
import pathlib
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import kafka_wire
from harness.cases import Cases
from harness.weir_process import Weir

TOPIC = "idle"
VERSION = 11
# Most sessions of a broker that is told nothing else, and most partitions in them all:
# broker/kafka/src/sessions.rs.
SESSIONS_MAX, SESSION_PARTITIONS_MAX = 1_000, 500_000
SESSION_BYTES_MAX = 250 << 20


class Answer:
    """A response, as far as these tests look at it."""

    def __init__(self, frame):
        reader = kafka_wire.Reader(frame)
        reader.i32(), reader.i32()  # correlation id, throttle time
        self.bytes = len(frame)
        self.error, self.session, self.topics = reader.i16(), reader.i32(), reader.i32()
        assert self.error == 0, f"error {self.error}"


def partitions_field(count):
    """A request's list of topics: one, with all partitions from offset 0."""
    wanted = [struct.pack(">iiqqi", index, -1, 0, -1, 1 << 20) for index in range(count)]
    return kafka_wire.array([kafka_wire.string(TOPIC) + kafka_wire.array(wanted)])


def fetch(connection, session, epoch, topics, wait_ms=0):
    """One fetch; returns its answer and the bytes of its request."""
    head = struct.pack(">iiiibii", -1, wait_ms, 1, 50 << 20, 0, session, epoch)
    body = head + topics + kafka_wire.array([]) + kafka_wire.string("")
    request = connection.request(kafka_wire.FETCH, VERSION, body)
    connection.send_frame(request)
    return Answer(connection.read_frame()), len(request)


def measure(weir, connection, fetches, ask):
    """Runs `ask(connection, number)` many times; returns CPU microseconds and bytes of each."""
    before = weir.cpu_seconds()
    for number in range(fetches):
        answer, request_bytes = ask(connection, number)
    cpu_us = (weir.cpu_seconds() - before) / fetches * 1e6
    return cpu_us, request_bytes, answer


def cost(weir, connection, partitions, fetches, wait_ms):
    """Without a session and with one."""
    every, none = partitions_field(partitions), kafka_wire.array([])
    full = measure(weir, connection, fetches, lambda c, _: fetch(c, 0, -1, every, wait_ms))
    session = fetch(connection, 0, 0, every)[0].session
    assert session != 0, "no session"
    news = measure(
        weir, connection, fetches, lambda c, number: fetch(c, session, number + 1, none, wait_ms)
    )
    assert news[2].topics == 0 and news[2].session == session, "an idle partition was answered"
    assert news[2].bytes < 64, f"{news[2].bytes} bytes to say nothing"
    shown = [f"{cpu:.0f} µs CPU, {sent} + {got.bytes} bytes" for cpu, sent, got in (full, news)]
    return f"{partitions} partitions, wait {wait_ms} ms: {shown[0]}; in a session {shown[1]}"


def memory(weir, connection, partitions, sessions):
    every = partitions_field(partitions)
    before = weir.rss_anon_bytes()
    made = sum(fetch(connection, 0, 0, every)[0].session != 0 for _ in range(sessions))
    grown = weir.rss_anon_bytes() - before
    expected = min(sessions, SESSIONS_MAX, SESSION_PARTITIONS_MAX // partitions)
    # The case before this one has left a few.
    assert expected - 5 <= made <= expected, f"{made} sessions of {sessions}, expected {expected}"
    assert grown < SESSION_BYTES_MAX, f"{grown >> 20} MiB for {made} sessions"
    each = grown / (made * partitions)
    return f"{made} of {sessions} sessions made, {grown >> 20} MiB, {each:.0f} bytes a partition"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--partitions", type=int, default=1_000)
    arguments.add_argument("--fetches", type=int, default=1_000)
    arguments.add_argument("--sessions", type=int, default=600)
    arguments = arguments.parse_args()
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-sessions-") as directory:
        with Weir(pathlib.Path(directory) / "data") as weir:
            with kafka_wire.Connection(weir.kafka, timeout_s=60) as connection:
                kafka_wire.create_topic(connection, TOPIC, arguments.partitions)
                common = (weir, connection, arguments.partitions)
                cases.run("fetches at once", cost, *common, arguments.fetches, 0)
                cases.run("fetches that wait", cost, *common, max(arguments.fetches // 20, 1), 50)
                cases.run("memory of sessions", memory, *common, arguments.sessions)
    cases.finish()


if __name__ == "__main__":
    main()
