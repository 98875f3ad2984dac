"""Kafka's protocol by hand: a connection that sends exactly the bytes that a test gives it.

Client libraries refuse to send what these tests are about, and hide a broker's answers behind
retries. So this module writes frames and a handful of requests itself, and reads their answers:

    request    length i32 | api key i16 | version i16 | correlation id i32 | client id | (tags) |
    body response   length i32 | correlation id i32 | (tags) | body

The requests at the end are in one old version each, whose arrays and strings have plain lengths.
"""

import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 8, 9, 10
API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS, INIT_PRODUCER_ID = 18, 19, 20, 22

NONE = 0
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
INVALID_REQUIRED_ACKS = 21
UNSUPPORTED_VERSION = 35
INVALID_REQUEST = 42
KAFKA_STORAGE_ERROR = 56
FETCH_SESSION_ID_NOT_FOUND = 70
INVALID_RECORD = 87

BATCH_HEADER = struct.Struct(">qiibIhiqqqhii")


class Closed(Exception):
    """The broker closed the connection, or reset it, instead of answering."""


def host_and_port(address):
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def connect(address, timeout_s, source=None):
    """A TCP connection that sends what it is given at once."""
    source = source and (source, 0)
    connected = socket.create_connection(host_and_port(address), timeout_s, source)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


class Connection:
    """One connection to the Kafka port at `address`, HOST:PORT, from the address `source`."""

    def __init__(self, address, timeout_s=10, source=None, client_id="badinput"):
        self.client_id = client_id
        self.socket = connect(address, timeout_s, source)
        # This end, as the broker sees and logs it.
        self.peer = "%s:%d" % self.socket.getsockname()[:2]
        self.correlation_id = 0

    def send(self, data):
        """Sends bytes as they are. That the broker closes meanwhile is found out by reading."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_frame(self, body):
        self.send(struct.pack(">i", len(body)) + body)

    def read_exactly(self, length):
        data = bytearray()
        while len(data) < length:
            try:
                part = self.socket.recv(length - len(data))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Closed(f"closed after {len(data)} of {length} bytes")
            data += part
        return bytes(data)

    def read_frame(self):
        """The next answer without its length."""
        (length,) = struct.unpack(">i", self.read_exactly(4))
        return self.read_exactly(length)

    def wait_until_closed(self, timeout_s):
        """Returns the seconds until the broker closed; an answer or no close is a failure."""
        started = time.monotonic()
        self.socket.settimeout(timeout_s)
        try:
            data = self.socket.recv(64)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise AssertionError(f"the connection is still open after {timeout_s} s") from None
        assert data == b"", f"answered with {data!r} instead of closing"
        return time.monotonic() - started

    def ask(self, api_key, version, body, flexible=False):
        """Sends one request and returns a reader of its answer's body."""
        self.send_frame(self.request(api_key, version, body, flexible))
        return self.answer(flexible and api_key != API_VERSIONS)

    def request(self, api_key, version, body, flexible=False):
        """A request's frame, with the next correlation id."""
        self.correlation_id += 1
        return header(api_key, version, self.correlation_id, flexible, self.client_id) + body

    def answer(self, flexible_header=False):
        reader = Reader(self.read_frame())
        correlation_id = reader.i32()
        assert correlation_id == self.correlation_id, (
            f"answer {correlation_id} to request {self.correlation_id}"
        )
        if flexible_header:
            assert reader.take(1) == b"\0", "unexpected tags in the response header"
        return reader

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def header(api_key, version, correlation_id, flexible=False, client_id="badinput"):
    tags = b"\0" if flexible else b""
    return struct.pack(">hhi", api_key, version, correlation_id) + string(client_id) + tags


def string(text):
    """A string with a length of 2 bytes; None is null."""
    if text is None:
        return struct.pack(">h", -1)
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">h", len(data)) + data


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def byte_field(data):
    """Bytes with a length of 4 bytes; None is null."""
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def unsigned_varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed_varint(number):
    return unsigned_varint(number << 1 if number >= 0 else (-number << 1) - 1)


class Reader:
    """Reads an answer's fields in order."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, length):
        data = self.data[self.at : self.at + length]
        assert len(data) == length, f"the answer ends at byte {len(self.data)}"
        self.at += length
        return data

    def _number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def i8(self):
        return self._number(">b")

    def i16(self):
        return self._number(">h")

    def i32(self):
        return self._number(">i")

    def i64(self):
        return self._number(">q")

    def string(self):
        length = self.i16()
        return None if length < 0 else self.take(length).decode()

    def bytes(self):
        length = self.i32()
        return None if length < 0 else self.take(length)

    def array(self, read):
        return [read() for _ in range(self.i32())]


# ---- record batches ----


def _crc32c_table():
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 if crc & 1 else crc >> 1
        yield crc


_CRC32C = list(_crc32c_table())


def crc32c(data):
    crc, table = 0xFFFFFFFF, _CRC32C
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def record(offset_delta, value, key=None):
    key = signed_varint(-1) if key is None else signed_varint(len(key)) + key
    body = b"\0" + signed_varint(0) + signed_varint(offset_delta) + key
    body += signed_varint(len(value)) + value + signed_varint(0)
    return signed_varint(len(body)) + body


def record_batch(values, **changes):
    """A batch of format 2 with one record for each value. `changes` replace what would be right:
    `attributes`, `magic`, `length`, `count`, `last_offset_delta`, `payload` (what stands for the
    records, compressed or not), and `crc`, which else fits whatever the others are."""
    payload = changes.get("payload")
    if payload is None:
        payload = b"".join(record(index, value) for index, value in enumerate(values))
    now_ms = time.time_ns() // 1_000_000
    count = changes.get("count", len(values))
    attributes = changes.get("attributes", 0)
    last_offset_delta = changes.get("last_offset_delta", len(values) - 1)
    checked = struct.pack(
        ">hiqqqhii", attributes, last_offset_delta, now_ms, now_ms, -1, -1, -1, count
    )
    crc = changes.get("crc", crc32c(checked + payload))
    # The length counts what follows it: epoch, magic and CRC are 9 bytes.
    length = changes.get("length", 9 + len(checked) + len(payload))
    start = struct.pack(">qiibI", 0, length, -1, changes.get("magic", 2), crc)
    return start + checked + payload


def values_of(records):
    """The values of all whole uncompressed batches, with their offsets."""
    found, at = [], 0
    while at + BATCH_HEADER.size <= len(records):
        fields = BATCH_HEADER.unpack_from(records, at)
        base_offset, length = fields[:2]
        if at + 12 + length > len(records):
            break
        assert fields[5] & 7 == 0, "only uncompressed batches are read here"
        position = at + BATCH_HEADER.size
        for _ in range(fields[12]):
            offset_delta, value, position = _record_at(records, position)
            found.append((base_offset + offset_delta, value))
        at += 12 + length
    return found


def next_offset(records):
    """The offset after the last whole batch, of any codec."""
    offset, at = None, 0
    while at + BATCH_HEADER.size <= len(records):
        fields = BATCH_HEADER.unpack_from(records, at)
        base_offset, length = fields[:2]
        if at + 12 + length > len(records):
            break
        offset, at = base_offset + fields[6] + 1, at + 12 + length
    return offset


def _record_at(data, at):
    length, at = _varint_at(data, at)
    end = at + length
    _, at = _varint_at(data, at + 1)
    offset_delta, at = _varint_at(data, at)
    key_length, at = _varint_at(data, at)
    value_length, at = _varint_at(data, at + max(key_length, 0))
    return offset_delta, data[at : at + value_length], end


def _varint_at(data, at):
    number, shift = 0, 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at


# ---- requests ----


def produce_body(topic, records, acks=-1, partition=0, timeout_ms=5000):
    """Produce, versions 3 to 8."""
    data = array([struct.pack(">i", partition) + byte_field(records)])
    return string(None) + struct.pack(">hi", acks, timeout_ms) + array([string(topic) + data])


def produce(connection, topic, records, acks=-1, partition=0):
    """Returns the error code, the base offset and the error message (version 8)."""
    answer = connection.ask(PRODUCE, 8, produce_body(topic, records, acks, partition))
    assert (answer.i32(), answer.string(), answer.i32()) == (1, topic, 1)
    assert answer.i32() == partition
    code, base_offset = answer.i16(), answer.i64()
    answer.take(16)
    answer.array(lambda: (answer.i32(), answer.string()))
    return code, base_offset, answer.string()


def fetch_body(topic, offset, partition=0, wait_ms=0, bytes_max=1 << 20):
    """Fetch, versions 4."""
    wanted = array([struct.pack(">iqi", partition, offset, bytes_max)])
    limits = struct.pack(">iiiib", -1, wait_ms, 1, bytes_max, 0)
    return limits + array([string(topic) + wanted])


def fetch(connection, topic, offset, partition=0, wait_ms=0, bytes_max=1 << 20):
    """Returns the error code, the high watermark and the record set (version 4)."""
    answer = connection.ask(FETCH, 4, fetch_body(topic, offset, partition, wait_ms, bytes_max))
    answer.i32()
    assert (answer.i32(), answer.string(), answer.i32()) == (1, topic, 1)
    assert answer.i32() == partition
    code, high_watermark, _ = answer.i16(), answer.i64(), answer.i64()
    answer.array(lambda: answer.take(16))
    return code, high_watermark, answer.bytes() or b""


def metadata(connection, topics=None, may_create=False):
    """Returns a code and a partition count for each topic (version 4); None asks for all topics."""
    names = struct.pack(">i", -1) if topics is None else array([string(name) for name in topics])
    answer = connection.ask(METADATA, 4, names + struct.pack(">b", may_create))
    answer.i32()
    answer.array(lambda: (answer.i32(), answer.string(), answer.i32(), answer.string()))
    answer.string()
    answer.i32()

    def partition():
        answer.take(10)
        answer.array(answer.i32)
        answer.array(answer.i32)

    def topic():
        code, name, _ = answer.i16(), answer.string(), answer.i8()
        return name, (code, len(answer.array(partition)))

    return dict(answer.array(topic))


def create_topic(connection, topic, partitions=1):
    """Returns the error code (CreateTopics version 2)."""
    new = string(topic) + struct.pack(">ihii", partitions, 1, 0, 0)
    answer = connection.ask(CREATE_TOPICS, 2, array([new]) + struct.pack(">ib", 5000, 0))
    answer.i32()
    assert (answer.i32(), answer.string()) == (1, topic)
    return answer.i16()


def delete_topic(connection, topic):
    """Returns the error code (DeleteTopics version 1)."""
    answer = connection.ask(DELETE_TOPICS, 1, array([string(topic)]) + struct.pack(">i", 5000))
    answer.i32()
    assert (answer.i32(), answer.string()) == (1, topic)
    return answer.i16()


def commit_offset(connection, group, topic, offset, partition=0):
    """A commit from outside any generation; returns the error code (OffsetCommit version 2)."""
    data = string(topic) + array([struct.pack(">iq", partition, offset) + string("")])
    body = (
        string(group) + struct.pack(">i", -1) + string("") + struct.pack(">q", -1) + array([data])
    )
    answer = connection.ask(OFFSET_COMMIT, 2, body)
    assert (answer.i32(), answer.string(), answer.i32()) == (1, topic, 1)
    assert answer.i32() == partition
    return answer.i16()


def committed_offset(connection, group, topic, partition=0):
    """Returns the error code and the offset (OffsetFetch version 1)."""
    body = string(group) + array([string(topic) + array([struct.pack(">i", partition)])])
    answer = connection.ask(OFFSET_FETCH, 1, body)
    assert (answer.i32(), answer.string(), answer.i32()) == (1, topic, 1)
    assert answer.i32() == partition
    offset = answer.i64()
    answer.string()
    return answer.i16(), offset
