"""A subscription by hand, in CBOR over HTTP/1.1: counts the bytes of data that it is pushed, or stops
reading. An SDK would need more processor time for 20 of them than the broker that they are to judge.
"""

import pathlib
import socket
import sys
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "harness"))

import cbor
from kafka_wire import host_and_port
from kinesis_wire import CBOR, signed

SHARD = "shardId-000000000000"


def connect(address, consumer, receive_buffer=None):
    """A socket on which events come."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(30)
    connection.connect(host_and_port(address))
    body = cbor.encode(
        {"ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": {"Type": "TRIM_HORIZON"}}
    )
    headers = signed("SubscribeToShard", CBOR) | {"Host": address, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body)
    return connection


class Subscriber(threading.Thread):
    """Reads until `until`; `counted` holds moments and the bytes of data that had come by then."""

    def __init__(self, address, consumer, record_bytes, until):
        super().__init__(daemon=True)
        self.connection = connect(address, consumer)
        # A member "Data" with a byte string of this length, as CBOR begins it.
        self.mark = b"\x64Data\x59" + record_bytes.to_bytes(2, "big")
        self.record_bytes, self.until = record_bytes, until
        self.counted, self.error = [(time.monotonic(), 0)], None
        self.start()

    def run(self):
        try:
            self.read()
        except Exception as error:
            self.error = error
        finally:
            self.connection.close()

    def read(self):
        buffer = bytearray(1 << 18)
        rest, records, status = b"", 0, b""
        while time.monotonic() < self.until:
            length = self.connection.recv_into(buffer)
            if length == 0:
                raise AssertionError(f"the subscription ended: {status[:200]}")
            came = rest + bytes(memoryview(buffer)[:length])
            if not status:
                status = came
                assert status.startswith(b"HTTP/1.1 200"), status[:500]
            found = came.count(self.mark)
            rest = came[-(len(self.mark) - 1):]
            if found:
                records += found
                self.counted.append((time.monotonic(), records * self.record_bytes))

    def bytes_between(self, start, end):
        """The bytes that came from one moment to another."""
        at = lambda moment: max((count for time_s, count in self.counted if time_s <= moment), default=0)
        return at(end) - at(start)
