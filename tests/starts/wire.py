"""The few raw requests of these measurements, without a client library that would take longer
than weir.

Kafka requests are of versions without flexible encoding: a length, then API key, version,
correlation id and client id, then the body. The Kinesis request has a well-formed signature of
nobody.
"""

import socket
import struct
import time

PRODUCE, METADATA, CREATE_TOPICS = 0, 3, 19
CLIENT_ID = b"starts"


def connect(address):
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def text(value):
    return struct.pack(">h", len(value)) + value


def receive(connection, count):
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        data += chunk
    return data


def call(connection, api_key, version, body):
    """One request; its answer without length and correlation id."""
    header = struct.pack(">hhi", api_key, version, 7) + text(CLIENT_ID)
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    (length,) = struct.unpack(">i", receive(connection, 4))
    answer = receive(connection, length)
    assert answer[:4] == struct.pack(">i", 7), "another correlation id"
    return answer[4:]


def metadata(connection):
    """Asks for the metadata of all topics; the answer is checked to name a broker."""
    answer = call(connection, METADATA, 1, struct.pack(">i", -1))
    (brokers,) = struct.unpack_from(">i", answer)
    assert brokers == 1, f"{brokers} brokers in the metadata"


def create_topic(connection, name):
    topic = text(name) + struct.pack(">ihii", 1, 1, 0, 0)
    answer = call(
        connection,
        CREATE_TOPICS,
        2,
        struct.pack(">i", 1) + topic + struct.pack(">i?", 30_000, False),
    )
    # throttle time, one topic: its name and error
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name))
    assert error == 0, f"CreateTopics answered error {error}"


def produce(connection, name, batch):
    """One batch to partition 0 of a topic with acks=all."""
    body = struct.pack(">hhi", -1, -1, 30_000) + struct.pack(">i", 1) + text(name)
    body += struct.pack(">iii", 1, 0, len(batch)) + batch
    answer = call(connection, PRODUCE, 3, body)
    # one topic: its name, one partition: index and error
    (error,) = struct.unpack_from(">h", answer, 4 + 2 + len(name) + 4 + 4)
    assert error == 0, f"Produce answered error {error}"


def list_streams(address):
    """One ListStreams on a connection of its own; raises unless the answer is 200."""
    body = b"{}"
    request = (
        b"POST / HTTP/1.1\r\nHost: " + address.encode() + b"\r\n"
        b"Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n"
        b"X-Amz-Date: 20260101T000000Z\r\n"
        b"Authorization: AWS4-HMAC-SHA256 Credential=weir/20260101/us-east-1/kinesis/aws4_request, "
        b"SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + b"0" * 64 + b"\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )
    with connect(address) as connection:
        connection.sendall(request)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:500]


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = crc32c_table()


def batch_of_one(value):
    """A record batch of format 2 with one record without key and headers, dated now: one of 1970
    would be trimmed at once, and the trimming measured too."""
    assert len(value) < 50, "so that each length is one varint byte"
    record = bytes([0, 0, 0, 1, len(value) * 2]) + value + b"\0"
    records = bytes([len(record) * 2]) + record
    now_ms = int(time.time() * 1000)
    covered = struct.pack(">hiqqqhii", 0, 0, now_ms, now_ms, -1, -1, -1, 1) + records
    crc = 0xFFFFFFFF
    for byte in covered:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return struct.pack(">qiibI", 0, len(covered) + 9, 0, 2, crc ^ 0xFFFFFFFF) + covered
