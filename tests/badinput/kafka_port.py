"""Bad input on the Kafka port of a running weir; `tests/badinput/run kafka`.

Every case ends in Kafka's own error code or in a closed connection, with one log line that names
the peer and says why. All the while two well-behaved clients go on and the broker's memory is
watched. The codes are those of Apache Kafka 4.2 given the same bytes; where Kafka answers
UNKNOWN_SERVER_ERROR or nothing at all, any error code will do.
"""

import concurrent.futures
import contextlib
import gzip
import random
import struct
import time

import kafka_wire
import kinesis_wire
from kafka_wire import Closed, array, produce, record_batch, string, unsigned_varint
from subject import MIB, Subject, main

TOPIC = "badinput"
COUNT_MAX = 2**31 - 1


def frame(body, length=None):
    return struct.pack(">i", len(body) if length is None else length) + body


def request(api_key, version, body, flexible=False):
    return frame(kafka_wire.header(api_key, version, 1, flexible) + body)


class KafkaPort(Subject):
    def connect(self):
        return kafka_wire.Connection(self.weir.kafka, source=self.own_address())

    def closes(self, data, reason, half_close=False, timeout_s=2):
        """Sends bytes on a connection of their own; weir must close it and say why."""
        with self.connect() as connection:
            connection.send(data)
            if half_close:
                connection.socket.shutdown(1)
            connection.wait_until_closed(timeout_s)
            return self.expect_line(connection.peer, reason)

    def refuses(self, records, codes, reason):
        """Produces a record set; it must be refused with one of the codes, the next one taken."""
        with self.connect() as connection:
            refused_code, _, message = produce(connection, TOPIC, records)
            assert refused_code in codes, f"error code {refused_code} ({message}), not {codes}"
            self.expect_line(connection.peer, reason)
            code, _, message = produce(connection, TOPIC, record_batch([b"good"]))
            assert code == 0, f"error code {code} ({message}) for a good batch after it"
            return f"error code {refused_code}, and the next batch is taken"

    # ---- frames ----

    def frames(self):
        for name, data, reason in [
            ("a frame length of 2 GB", struct.pack(">i", COUNT_MAX), "frame length"),
            ("a frame one byte above 100 MiB", struct.pack(">i", 100 * MIB + 1), "frame length"),
            ("a frame length of -1", struct.pack(">i", -1), "frame length"),
            ("a frame length of -2^31", struct.pack(">i", -(2**31)), "frame length"),
            ("an empty frame", frame(b""), "malformed"),
            ("a frame that ends in the header", frame(b"\0\3\0\4\0\0"), "malformed"),
            ("HTTP", b"GET / HTTP/1.1\r\nHost: weir\r\n\r\n", "HTTP"),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
            ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), "TLS"),
        ]:
            yield name, self.closes, data, reason
        for name, data in [
            ("a truncated frame, then a close", frame(b"\0\3\0\4", length=100)),
            ("a truncated length, then a close", b"\0\0"),
        ]:
            yield name, self.closes, data, "ended inside a frame", True

    # ---- keys and versions ----

    def versions(self):
        for key in (9999, -1, 32767):
            yield f"api key {key}", self.closes, request(key, 0, b""), "unknown api key"
        for name, key in [("LeaderAndIsr", 4), ("Vote", 52), ("AddPartitionsToTxn", 24)]:
            yield (
                f"api {name}, which is not served",
                self.closes,
                request(key, 0, b""),
                "api",
            )
        for name, key, version in [
            ("Produce", 0, 0),
            ("Produce", 0, 1),
            ("Produce", 0, 2),
            ("Produce", 0, 14),
            ("Produce", 0, -1),
            ("Fetch", 1, 3),
            ("Fetch", 1, 19),
            ("Metadata", 3, 99),
            ("Metadata", 3, -32768),
        ]:
            data = request(key, version, bytes(64))
            yield f"{name} version {version}", self.closes, data, "version"
        yield "ApiVersions version 99", self.api_versions_from_the_future
        yield "ApiVersions with an illegal software name", self.illegal_software_name

    def api_versions_from_the_future(self):
        with self.connect() as connection:
            answer = connection.ask(kafka_wire.API_VERSIONS, 99, b"\0\0\0", flexible=True)
            code = answer.i16()
            listed = answer.array(lambda: (answer.i16(), answer.i16(), answer.i16()))
            assert code == kafka_wire.UNSUPPORTED_VERSION, f"error code {code}"
            assert answer.at == len(answer.data), "the body is not one of version 0"
            _, _, highest = next(api for api in listed if api[0] == kafka_wire.API_VERSIONS)
            software = (unsigned_varint(5) + b"test" + unsigned_varint(2) + b"1") + b"\0"
            answer = connection.ask(kafka_wire.API_VERSIONS, highest, software, flexible=True)
            assert answer.i16() == 0, "the second question, in the version told, failed"
            return f"error 35 in a body of version 0, then version {highest} works"

    def illegal_software_name(self):
        with self.connect() as connection:
            software = unsigned_varint(4) + b"-x\n" + unsigned_varint(2) + b"1" + b"\0"
            code = connection.ask(kafka_wire.API_VERSIONS, 3, software, flexible=True).i16()
            assert code == kafka_wire.INVALID_REQUEST, f"error code {code}"
            assert connection.ask(kafka_wire.API_VERSIONS, 0, b"").i16() == 0
            return "error 42, and the connection goes on"

    # ---- array lengths ----

    def arrays(self):
        """−1 and 2³¹−1 in every array of Metadata, Produce and Fetch, in plain and compact form."""
        null, most = struct.pack(">i", -1), struct.pack(">i", COUNT_MAX)
        compact_most = unsigned_varint(COUNT_MAX + 1)
        topic, compact_topic = string(TOPIC), unsigned_varint(len(TOPIC) + 1) + TOPIC.encode()
        produce_start = string(None) + struct.pack(">hi", -1, 1000)
        produce_9_start = b"\0" + struct.pack(">hi", -1, 1000)
        fetch_start = struct.pack(">iiiib", -1, 0, 1, MIB, 0)
        fetch_7_start = fetch_start + struct.pack(">ii", 0, -1)
        one = struct.pack(">i", 1)
        for name, key, version, flexible, start, lengths in [
            ("topics of Metadata 0", 3, 0, False, b"", (null, most)),
            ("topics of Metadata 4", 3, 4, False, b"", (most,)),
            ("topics of Metadata 12", 3, 12, True, b"", (compact_most,)),
            ("topics of Produce 3", 0, 3, False, produce_start, (null, most)),
            ("partitions of Produce 3", 0, 3, False, produce_start + one + topic, (null, most)),
            ("topics of Produce 9", 0, 9, True, produce_9_start, (b"\0", compact_most)),
            (
                "partitions of Produce 9",
                0,
                9,
                True,
                produce_9_start + b"\2" + compact_topic,
                (b"\0", compact_most),
            ),
            (
                "record bytes of Produce 3",
                0,
                3,
                False,
                produce_start + one + topic + one + bytes(4),
                (most, struct.pack(">i", -2)),
            ),
            ("topics of Fetch 4", 1, 4, False, fetch_start, (null, most)),
            ("partitions of Fetch 4", 1, 4, False, fetch_start + one + topic, (null, most)),
            ("forgotten topics of Fetch 7", 1, 7, False, fetch_7_start + bytes(4), (null, most)),
            ("topics of Fetch 12", 1, 12, True, fetch_7_start, (b"\0", compact_most)),
        ]:
            for length in lengths:
                data = request(key, version, start + length + bytes(16), flexible)
                shown = {null: "-1", b"\0": "null"}.get(length, "2^31-1")
                if length == struct.pack(">i", -2):
                    shown = "-2"
                yield f"array length {shown}, {name}", self.closes, data, "malformed"
        overlong = request(3, 12, b"\xff\xff\xff\xff\xff\x01" + bytes(16), flexible=True)
        yield "a varint of six bytes, topics of Metadata 12", self.closes, overlong, "malformed"
        yield "array length -1, topics of Metadata 4", self.null_topics_are_all_topics
        yield "a small array element a million times", self.many_small_elements

    def null_topics_are_all_topics(self):
        with self.connect() as connection:
            topics = kafka_wire.metadata(connection, None)
            assert TOPIC in topics, f"{TOPIC} is not among {list(topics)}"
            return "means all topics, as in Kafka"

    def many_small_elements(self):
        """30 MiB of topic names of no characters: 2 bytes each here, and many more once decoded."""
        count = 15 * MIB
        body = struct.pack(">i", count) + bytes(2 * count) + b"\0"
        return self.closes(request(3, 4, body), "malformed", timeout_s=10)

    # ---- bodies ----

    def bodies(self):
        yield "every prefix of good requests", self.every_prefix
        yield "garbage as the body of every api", self.garbage_bodies
        yield "5,000 good requests with flipped bits", self.flipped_bits

    def good_requests(self):
        batch = record_batch([b"value"])
        return [
            (3, 4, array([string(TOPIC)]) + b"\0"),
            (0, 8, kafka_wire.produce_body(TOPIC, batch)),
            (1, 4, kafka_wire.fetch_body(TOPIC, 0)),
            (
                2,
                1,
                struct.pack(">i", -1) + array([string(TOPIC) + array([struct.pack(">iq", 0, -1)])]),
            ),
            (
                19,
                2,
                array([string("t") + struct.pack(">ihii", 1, 1, 0, 0)])
                + struct.pack(">ib", 1000, 1),
            ),
        ]

    def every_prefix(self):
        cuts = 0
        for key, version, body in self.good_requests():
            for end in range(len(body)):
                self.closes(request(key, version, body[:end]), "malformed")
                cuts += 1
        return f"{cuts} requests cut short, each closed with its line"

    def served_versions(self):
        with self.connect() as connection:
            answer = connection.ask(kafka_wire.API_VERSIONS, 0, b"")
            assert answer.i16() == 0
            return answer.array(lambda: (answer.i16(), answer.i16(), answer.i16()))

    def garbage_bodies(self):
        chance = random.Random(7)
        closed = answered = 0
        for key, lowest, highest in self.served_versions():
            for version in (lowest, highest):
                for body in (b"", b"\xff" * 64, b"\x7f" * 64, chance.randbytes(200)):
                    if self.survives(request(key, version, body)):
                        answered += 1
                    else:
                        closed += 1
        return f"{closed} closed with a line each, {answered} answered"

    def survives(self, data):
        """Sends one request; tells whether it was answered, else it must be closed with a line."""
        with self.connect() as connection:
            connection.send(data)
            try:
                connection.read_frame()
                return True
            except Closed:
                self.expect_line(connection.peer, "")
                return False

    def flipped_bits(self):
        chance = random.Random(11)
        requests = self.good_requests()
        connection, closed = self.connect(), 0
        connection.socket.settimeout(2)
        for _ in range(5_000):
            key, version, body = chance.choice(requests)
            data = bytearray(kafka_wire.header(key, version, 1) + body)
            for _ in range(chance.randint(1, 3)):
                # Not in the key and the version, so that it stays a request of this api.
                position = chance.randrange(4, len(data))
                data[position] ^= 1 << chance.randrange(8)
            if key == kafka_wire.FETCH:
                data[18:26] = data[18:26][:4] + struct.pack(">i", 0)  # No waiting for records.
            try:
                connection.send_frame(bytes(data))
                connection.read_frame()
            except (Closed, TimeoutError):
                # A flip can turn acks into 0, which has no answer.
                closed += 1
                connection.close()
                connection = self.connect()
                connection.socket.settimeout(2)
        connection.close()
        return f"{closed} connections were closed"

    # ---- record batches ----

    def batches(self):
        good = record_batch([b"a"])
        corrupt, invalid = kafka_wire.CORRUPT_MESSAGE, kafka_wire.INVALID_RECORD
        unknown = -1
        for name, records, codes, reason in [
            ("a bad CRC", record_batch([b"a"], crc=1), (corrupt,), "crc"),
            ("two batches in one partition", good + good, (invalid,), ""),
            ("magic 0", record_batch([b"a"], magic=0), (invalid,), "format"),
            ("magic 1", record_batch([b"a"], magic=1), (invalid,), "format"),
            ("magic 3", record_batch([b"a"], magic=3), (corrupt,), "format"),
            ("no records", b"", (invalid,), ""),
            ("null records", None, (invalid,), ""),
            ("a batch cut short by a byte", good[:-1], (invalid,), ""),
            ("a batch of 40 bytes", good[:40], (invalid,), ""),
            ("a batch length of 0", record_batch([b"a"], length=0), (corrupt,), ""),
            ("a batch length of -1", record_batch([b"a"], length=-1), (corrupt,), ""),
            (
                "a batch length of 2^31-1",
                record_batch([b"a"], length=COUNT_MAX),
                (invalid, corrupt, unknown),
                "",
            ),
            # Kafka looks at the length first, weir at the magic.
            ("200 zero bytes", bytes(200), (corrupt, invalid), ""),
            ("a count of 5 for one record", record_batch([b"a"], count=5), (invalid,), ""),
            ("a count of 0", record_batch([b"a"], count=0), (invalid,), ""),
            (
                "a count of 2^31-1",
                record_batch([b"a"], count=COUNT_MAX, last_offset_delta=COUNT_MAX - 1),
                (invalid,),
                "",
            ),
            ("a last offset delta of 9", record_batch([b"a"], last_offset_delta=9), (invalid,), ""),
            ("a control batch", record_batch([b"a"], attributes=0x20), (invalid,), ""),
            ("codec 7", record_batch([b"a"], attributes=7), (invalid, unknown), ""),
            (
                "a batch of 1.1 MB",
                record_batch([bytes(1_100_000)]),
                (kafka_wire.MESSAGE_TOO_LARGE,),
                "max.message.bytes",
            ),
        ]:
            yield name, self.refuses, records, codes, reason
        yield "acks 5", self.illegal_acks
        yield "a bad CRC with acks 0", self.bad_batch_without_acks
        yield "a partition that is not there", self.missing_partition
        yield "batches that nobody can decode", self.undecodable_batches

    def illegal_acks(self):
        with self.connect() as connection:
            code, _, _ = produce(connection, TOPIC, record_batch([b"a"]), acks=5)
            assert code == kafka_wire.INVALID_REQUIRED_ACKS, f"error code {code}"
            return "error code 21"

    def bad_batch_without_acks(self):
        body = kafka_wire.produce_body(TOPIC, record_batch([b"a"], crc=1), acks=0)
        self.closes(request(kafka_wire.PRODUCE, 8, body), "acks=0")
        return "closed, the only way to tell a producer that wants no answers"

    def missing_partition(self):
        with self.connect() as connection:
            for partition in (9, -1, COUNT_MAX):
                code, _, _ = produce(connection, TOPIC, record_batch([b"a"]), partition=partition)
                assert code == kafka_wire.UNKNOWN_TOPIC_OR_PARTITION, f"{partition}: error {code}"
            return "error code 3"

    def undecodable_batches(self):
        """weir stores batches unread, so what is wrong inside is found by a reader that decodes."""
        topic = "undecodable"
        bomb = gzip.compress(bytes(64 * MIB), 9)
        with self.connect() as connection:
            assert kafka_wire.create_topic(connection, topic) == 0
            for payload in (bomb, b"\x1f\x8b garbage", bomb[:100]):
                records = record_batch([b""], attributes=1, payload=payload)
                code, _, message = produce(connection, topic, records)
                assert code == 0, f"error code {code} ({message})"
            code, last, _ = produce(connection, topic, record_batch([b"good"]))
            assert code == 0
            # A Kafka consumer gets them as they came.
            code, _, records = kafka_wire.fetch(connection, topic, 0)
            assert (code, len(records) > len(bomb)) == (0, True)
        with kinesis_wire.Connection(self.weir.kinesis) as connection:
            start = {"StreamName": topic, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
            iterator = (
                connection.call("GetShardIterator", start).expect(200).json()["ShardIterator"]
            )
            found = []
            deadline = time.monotonic() + 5
            while not found and time.monotonic() < deadline:
                page = connection.call("GetRecords", {"ShardIterator": iterator}).expect(200).json()
                iterator, found = page["NextShardIterator"], page["Records"]
                time.sleep(0.25)
        assert [record["Data"] for record in found] == ["Z29vZA=="], f"read {found}"
        return (
            f"a gzip bomb and two torn ones are stored, GetRecords steps over them to offset {last}"
        )

    # ---- requests that ask for much ----

    def greed(self):
        yield "metadata of 10,000 topics that are not there", self.many_missing_topics
        yield "metadata that makes 10,000 topics", self.many_new_topics
        yield "topics with impossible partition counts", self.impossible_partition_counts
        yield "200 topics of 10,000 partitions in one request", self.many_partitions
        yield "a fetch that names one partition 50,000 times", self.repeated_partition
        yield "clients that ask and never read", self.clients_that_never_read
        yield "8 frames of 31 MiB of garbage, all sent", self.large_garbage
        yield "6,000,000 topic names in one request", self.many_names
        yield "40 frames of 31 MiB, sent but for the last byte", self.unfinished_frames
        yield "the last and 8 frames of garbage, four times over", self.large_frames_again
        yield "200 announcements of 90 MiB", self.announcements, 90 * MIB
        yield "200 announcements of 32 MiB", self.announcements, 32 * MIB

    def many_missing_topics(self):
        names = [f"missing-{number}" for number in range(10_000)]
        with self.connect() as connection:
            started = time.monotonic()
            answered = kafka_wire.metadata(connection, names)
            seconds = time.monotonic() - started
        assert sorted(answered) == sorted(names), "not the topics asked for"
        assert set(answered.values()) == {(kafka_wire.UNKNOWN_TOPIC_OR_PARTITION, 0)}
        return f"error code 3 for each in {seconds * 1000:.0f} ms"

    def many_new_topics(self):
        names = [f"made-{number}" for number in range(10_000)]
        with self.connect() as connection:
            started = time.monotonic()
            answered = kafka_wire.metadata(connection, names, may_create=True)
            seconds = time.monotonic() - started
        assert len(answered) == len(names)
        made = sum(code == 0 for code, _ in answered.values())
        return f"{made} made in {seconds * 1000:.0f} ms"

    def impossible_partition_counts(self):
        with self.connect() as connection:
            for count in (0, -2, 1_000_000, COUNT_MAX):
                code = kafka_wire.create_topic(connection, f"impossible{count}", count)
                # Kafka gives a policy's code (44) for more than 10,000.
                assert code in (37, 44), f"{count} partitions: error code {code}"
            return "refused"

    def many_partitions(self):
        """Kafka makes at most 10,000 partitions for one request: a policy, by its code."""
        new = [
            string(f"wide{number}") + struct.pack(">ihii", 10_000, 1, 0, 0) for number in range(200)
        ]
        with self.connect() as connection:
            body = array(new) + struct.pack(">ib", 5000, 0)
            answer = connection.ask(kafka_wire.CREATE_TOPICS, 2, body)
            answer.i32()
            codes = set(answer.array(lambda: (answer.string(), answer.i16(), answer.string())[1]))
            assert codes == {44}, f"error codes {codes}"
            return "error code 44 for each"

    def fill(self, topic, bytes_wanted):
        batch = record_batch([bytes(1_000_000)])
        with self.connect() as connection:
            kafka_wire.create_topic(connection, topic)
            for _ in range(bytes_wanted // len(batch)):
                assert produce(connection, topic, batch, acks=1)[0] == 0

    def repeated_partition(self):
        self.fill("greedy", 20_000_000)
        wanted = struct.pack(">iqi", 0, 0, COUNT_MAX)
        limits = struct.pack(">iiiib", -1, 0, 1, COUNT_MAX, 0)
        body = limits + array([string("greedy") + array([wanted] * 50_000)])
        with self.connect() as connection:
            connection.socket.settimeout(20)
            connection.send_frame(connection.request(kafka_wire.FETCH, 4, body))
            size = len(connection.read_frame())
        # 64 MiB of records, and 30 bytes for each partition named.
        assert size < 64 * MIB + 50_000 * 40 + 2 * MIB, f"an answer of {size} bytes"
        return f"answered with {size / MIB:.0f} MiB"

    def clients_that_never_read(self):
        """Each asks for 20 MB a hundred times and takes nothing of it."""
        self.fill("unread", 20_000_000)
        connections = [self.connect() for _ in range(20)]
        body = kafka_wire.fetch_body("unread", 0, bytes_max=20_000_000)
        for connection in connections:
            frames = [frame(connection.request(kafka_wire.FETCH, 4, body)) for _ in range(100)]
            connection.send(b"".join(frames))
        time.sleep(2)
        for connection in connections:
            connection.close()
        return "40 GB of answers asked for by 20 connections"

    def large_garbage(self):
        """As much as the budget of request bytes, and really sent, by a thread for each."""
        body = kafka_wire.header(3, 4, 1) + b"\x7f" * (31 * MIB)
        connections = [self.connect() for _ in range(8)]

        def send_all(connection):
            connection.send_frame(body)
            connection.wait_until_closed(10)

        try:
            with concurrent.futures.ThreadPoolExecutor(len(connections)) as threads:
                list(threads.map(send_all, connections))
            for connection in connections:
                self.expect_line(connection.peer, "malformed")
        finally:
            for connection in connections:
                connection.close()
        return "closed after they were read"

    def many_names(self):
        """30 MB of topic names, each of which is worth many times its bytes once it is decoded."""
        body = struct.pack(">i", 6_000_000) + b"\0\3abc" * 6_000_000 + b"\0"
        return self.closes(request(3, 4, body), "malformed", timeout_s=10)

    def unfinished_frames(self):
        """More than the budget, and really sent: others go on, and the budget comes back."""
        connections = [self.connect() for _ in range(40)]
        for connection in connections:
            connection.send(struct.pack(">i", 31 * MIB))
            connection.socket.setblocking(False)
        unsent = {connection: 31 * MIB - 1 for connection in connections}
        block = bytes(MIB)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            for connection, left in unsent.items():
                with contextlib.suppress(BlockingIOError, OSError):
                    unsent[connection] -= connection.socket.send(block[:left])
            time.sleep(0.005)
        sent = 40 * 31 * MIB - sum(unsent.values())
        seen = self.bystanders.look()
        for connection in connections:
            connection.close()
        return f"{sent // MIB} MiB were taken; while they stood there: {seen}"

    def large_frames_again(self):
        """What a freed buffer leaves behind must not add up."""
        for _ in range(4):
            self.large_garbage()
            self.unfinished_frames()

    def announcements(self, frame_bytes):
        """Connections that announce a large frame and send nothing more of it."""
        connections = [self.connect() for _ in range(200)]
        try:
            for connection in connections:
                connection.send(struct.pack(">i", frame_bytes))
            # Longer than a frame may stand still, so that the first are closed and others follow.
            time.sleep(6)
            seen = self.bystanders.look()
        finally:
            for connection in connections:
                connection.close()
        # The last had no room until the others were gone.
        for connection in connections:
            self.expect_line(connection.peer, "frame", timeout_s=10)
        return f"while they stood there: {seen}"

    # ---- slow clients, which run beside the other cases ----

    def slow(self):
        for name, client, reason in [
            ("a length of two bytes, then nothing", self.two_bytes, "no byte"),
            ("half a frame, then nothing", self.half_a_frame, "no byte"),
            ("a body of one byte each half second", self.trickle, "slower"),
        ]:
            yield name, client, reason

    def two_bytes(self, connection):
        connection.send(b"\0\0")
        return connection.wait_until_closed(15)

    def half_a_frame(self, connection):
        connection.send(frame(bytes(50), length=100))
        return connection.wait_until_closed(15)

    def trickle(self, connection):
        connection.send(struct.pack(">i", 2000))
        started = time.monotonic()
        connection.socket.settimeout(0.5)
        while time.monotonic() - started < 30:
            connection.send(b"x")
            try:
                if not connection.socket.recv(1):
                    return time.monotonic() - started
            except TimeoutError:
                continue
            except ConnectionResetError:
                return time.monotonic() - started
        raise AssertionError("still open after 30 s")

    def cases(self):
        yield from self.frames()
        yield from self.versions()
        yield from self.arrays()
        yield from self.bodies()
        yield from self.batches()
        yield from self.greed()

    def prepare(self):
        with self.connect() as connection:
            assert kafka_wire.create_topic(connection, TOPIC) == 0


if __name__ == "__main__":
    main(KafkaPort)
