"""As much CBOR as the Kinesis API needs, for tests that write it by hand."""

import struct


def encode(value):
    """Text, bytes, integers, truth values, None, lists and dicts, in definite lengths."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return _head(3, len(data)) + data
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        items = b"".join(encode(key) + encode(item) for key, item in value.items())
        return _head(5, len(value)) + items
    raise TypeError(f"no CBOR for {type(value).__name__}")


def _head(major, number):
    for short, form, limit in ((24, ">B", 1 << 8), (25, ">H", 1 << 16), (26, ">I", 1 << 32)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < limit:
            return bytes([major << 5 | short]) + struct.pack(form, number)
    return bytes([major << 5 | 27]) + struct.pack(">Q", number)


def decode(data):
    """The one value that `data` is."""
    value, at = _value(data, 0)
    assert at == len(data), f"{len(data) - at} bytes after the value"
    return value


_END = object()


def _value(data, at):
    first = data[at]
    if first == 0xFF:
        return _END, at + 1
    major, short = first >> 5, first & 31
    number, at = short, at + 1
    if 24 <= short <= 27:
        size = 1 << short - 24
        number, at = int.from_bytes(data[at : at + size], "big"), at + size
    indefinite = short == 31
    if major in (0, 1):
        return number if major == 0 else -1 - number, at
    if major in (2, 3) and not indefinite:
        part = data[at : at + number]
        return bytes(part) if major == 2 else part.decode(), at + number
    if major in (4, 5):
        items = []
        while indefinite or len(items) < number * (major - 3):
            item, at = _value(data, at)
            if item is _END:
                break
            items.append(item)
        return (items if major == 4 else dict(zip(items[::2], items[1::2], strict=True))), at
    if major == 6:
        return _value(data, at)
    simple = {20: False, 21: True, 22: None}
    if short in simple:
        return simple[short], at
    if short == 27:
        return struct.unpack(">d", number.to_bytes(8, "big"))[0], at
    raise ValueError(f"no such item as {first:#x} is expected from Kinesis")
