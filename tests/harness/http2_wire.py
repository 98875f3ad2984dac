"""HTTP/2 by hand, for clients that no library would let one be.

Frames are hyperframe's, header blocks hpack's; what may be sent when is up to the test.
"""

import struct
import time

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)
from kafka_wire import connect

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REFUSED_STREAM = 7
CONTINUATION_BYTES = 16_000


class Http2Connection:
    """A connection by prior knowledge; `window` is what each answer may send unasked."""

    def __init__(self, address, window=65_535, timeout_s=10, source=None):
        self.socket = connect(address, timeout_s, source)
        self.peer = "%s:%d" % self.socket.getsockname()[:2]
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.received = bytearray()
        settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: window})
        self.send(PREFACE + settings.serialize())

    def send(self, data):
        """Returns whether the other side still took it."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            return False

    def _block(self, headers):
        start = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "weir")]
        fields = [(name.lower(), value) for name, value in headers.items()]
        return self.encoder.encode(start + fields)

    def headers(self, stream, headers, ends):
        flags = ["END_HEADERS", "END_STREAM"] if ends else ["END_HEADERS"]
        frame = HeadersFrame(stream, self._block(headers), flags=flags)
        return self.send(frame.serialize())

    def request(self, stream, headers, body):
        self.headers(stream, headers, ends=False)
        return self.send(DataFrame(stream, body, flags=["END_STREAM"]).serialize())

    def reset(self, stream):
        return self.send(RstStreamFrame(stream, error_code=8).serialize())

    def frame_header(self, stream, length):
        """The start of a DATA frame of this length."""
        return self.send(struct.pack(">I", length)[1:] + b"\0\0" + struct.pack(">I", stream))

    def frames(self, timeout_s):
        """Frames as they come, until the other side closes or nothing came for this long."""
        while True:
            while len(self.received) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(bytes(self.received[:9])))
                if len(self.received) < 9 + length:
                    break
                frame.parse_body(memoryview(bytes(self.received[9 : 9 + length])))
                del self.received[: 9 + length]
                yield frame
            self.socket.settimeout(timeout_s)
            try:
                part = self.socket.recv(1 << 16)
            except TimeoutError:
                return
            except (ConnectionResetError, BrokenPipeError):
                part = b""
            if not part:
                yield None
                return
            self.received += part

    def response(self, stream):
        """The status and the body of one stream's answer."""
        status, body = None, b""
        for frame in self.frames(5):
            if isinstance(frame, HeadersFrame) and frame.stream_id == stream:
                status = dict(self.decoder.decode(frame.data))[":status"]
            elif isinstance(frame, DataFrame) and frame.stream_id == stream:
                body += frame.data
            elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                self.send(SettingsFrame(0, flags=["ACK"]).serialize())
            if frame is None or (
                getattr(frame, "stream_id", None) == stream and "END_STREAM" in frame.flags
            ):
                break
        return status, body

    def is_closed(self):
        """Whether the other side has closed, as far as can be told without waiting."""
        self.socket.setblocking(False)
        try:
            part = self.socket.recv(1 << 16)
            self.received += part
            return not part
        except BlockingIOError:
            return False
        except (ConnectionResetError, BrokenPipeError):
            return True
        finally:
            self.socket.setblocking(True)

    def error_until_closed(self, timeout_s):
        """The code of the GOAWAY frame that precedes the close; None if there was no frame."""
        code = None
        deadline = time.monotonic() + timeout_s
        for frame in self.frames(timeout_s):
            if frame is None:
                return code
            if isinstance(frame, GoAwayFrame):
                code = frame.error_code
            assert time.monotonic() < deadline, f"still open after {timeout_s} s, GOAWAY {code}"
        raise AssertionError(f"still open after {timeout_s} s, GOAWAY {code}")

    def refused_streams(self, timeout_s):
        """How many streams were refused, and the code of a GOAWAY frame if there was one."""
        refused, goaway = 0, None
        for frame in self.frames(timeout_s):
            if isinstance(frame, RstStreamFrame) and frame.error_code == REFUSED_STREAM:
                refused += 1
            elif isinstance(frame, GoAwayFrame):
                goaway = frame.error_code
        return refused, goaway

    def outcome(self, stream, timeout_s):
        """What became of one stream: a status, a reset or the end of the connection."""
        for frame in self.frames(timeout_s):
            if frame is None:
                return "closed"
            if isinstance(frame, GoAwayFrame):
                return f"GOAWAY with code {frame.error_code}"
            if isinstance(frame, RstStreamFrame) and frame.stream_id == stream:
                return f"reset with code {frame.error_code}"
            if isinstance(frame, HeadersFrame) and frame.stream_id == stream:
                status = dict(self.decoder.decode(frame.data))[":status"]
                assert status.startswith("4"), f"status {status}"
                return f"status {status}"
        raise AssertionError(f"no outcome within {timeout_s} s")

    def continuation_flood(self, count):
        """Headers that never end. Returns how many frames the other side took."""
        self.send(HeadersFrame(1, self._block({}), flags=[]).serialize())
        # Literals of one long header each, without indexing.
        value = b"x" * (CONTINUATION_BYTES - 10)
        field = b"\x00\x01a\x7f" + bytes([len(value) - 127 & 0x7F | 0x80, len(value) - 127 >> 7])
        frame = ContinuationFrame(1, field + value, flags=[]).serialize()
        for sent in range(count):
            if not self.send(frame):
                return sent
        return count

    def hpack_bomb(self, stream, headers, count):
        """One header of 4,000 bytes put into the table, then named again and again by a byte."""
        value = b"x" * 3_900
        length = bytes([0x7F, len(value) - 127 & 0x7F | 0x80, len(value) - 127 >> 7])
        block = self._block(headers) + b"\x40\x04bomb" + length + value + b"\xbe" * count
        return self.send(
            HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
        )

    def ping_flood(self, count, timeout_s):
        """Sends pings and reads nothing. Returns how many the other side took in the time."""
        ping = PingFrame(0, opaque_data=b"weirping").serialize() * 100
        deadline = time.monotonic() + timeout_s
        self.socket.settimeout(0.5)
        for sent in range(0, count, 100):
            if time.monotonic() > deadline or not self.send(ping):
                return sent
        return count

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
