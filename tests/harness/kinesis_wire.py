"""The Kinesis API by hand: HTTP/1.1 requests with exactly the headers and the body that a test
gives.

Requests carry a signature whose form is right; weir without a key file does not check its value.
"""

import http.client
import json
import socket
import time

from kafka_wire import connect, host_and_port

JSON, CBOR = "application/x-amz-json-1.1", "application/x-amz-cbor-1.1"
DATE = "20260101T000000Z"
CREDENTIAL = "weir/20260101/us-east-1/kinesis/aws4_request"
AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, "
    "SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + "0" * 64
)


def target(operation):
    return f"Kinesis_20131202.{operation}"


def signed(operation, media_type=JSON):
    """The headers of a well-formed request."""
    return {
        "X-Amz-Target": target(operation),
        "Content-Type": media_type,
        "X-Amz-Date": DATE,
        "Authorization": AUTHORIZATION,
    }


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def expect(self, status):
        assert self.status == status, f"status {self.status}, not {status}: {self.body[:300]!r}"
        return self

    def json(self):
        return json.loads(self.body) if self.body else {}

    def expect_error(self, name, message=None, status=400, member="message"):
        """An error in JSON. `message` None: there is none; else it must begin with this text."""
        self.expect(status)
        body = self.json()
        assert body.get("__type") == name, f"{body}, not {name}"
        if message is None:
            assert list(body) == ["__type"], f"{body} has a message"
        else:
            text = body.get(member)
            assert text is not None, f"{body} has no {member}"
            assert text.startswith(message), f"{text!r} does not begin with {message!r}"
        return body.get(member)


class Connection:
    """A keep-alive connection to the Kinesis port at `address`, a `HOST:PORT`."""

    def __init__(self, address, timeout_s=10, source=None):
        source = source and (source, 0)
        where = host_and_port(address)
        self.http = http.client.HTTPConnection(*where, timeout=timeout_s, source_address=source)
        self.http.connect()
        self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = "%s:%d" % self.http.sock.getsockname()[:2]

    def call(self, operation, members):
        return self.post(signed(operation), json.dumps(members).encode())

    def post(self, headers, body, path="/", method="POST"):
        self.http.request(method, path, body, headers)
        return Answer(self.http.getresponse())

    def close(self):
        self.http.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RawConnection:
    """A TCP connection that speaks whatever a test makes it speak."""

    def __init__(self, address, timeout_s=10, source=None):
        self.socket = connect(address, timeout_s, source)
        self.peer = "%s:%d" % self.socket.getsockname()[:2]

    def send(self, data):
        """Returns whether the broker still took it."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def read_until_closed(self, timeout_s):
        """Everything that comes until the broker closes; fails if it does not."""
        deadline = time.monotonic() + timeout_s
        data = bytearray()
        while True:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                part = b""
            except TimeoutError:
                shown = bytes(data[:100])
                raise AssertionError(
                    f"the connection is still open after {timeout_s} s, it sent {shown!r}"
                ) from None
            if not part:
                return bytes(data)
            data += part

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
