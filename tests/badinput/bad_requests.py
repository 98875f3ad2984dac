"""Makes a good request worse: one field at a time, in every way that the protocol has room for.

`worse` yields the variants of a request by name. Each is written as the protocol wants it but for
that one field, so that a broker reads it up to the end and must judge what it says, or finds null
or a length where there must be none and closes.
"""

import struct

from kafka_messages import Raw
from kafka_wire import unsigned_varint

MIB = 1 << 20
# The longest string that has its length in two bytes.
PLAIN_STRING_MAX = 32_767
LIST_COUNT = 10_000
COUNT_MAX = 2**31 - 1
INTEGER_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
INDEX_NAMES = ("PartitionIndex", "Partition")


def worse(message, values):
    """Yields a name and the values of each bad variant of the request."""
    for path, field, value in _present(message.request, values, ()):
        for what, bad in _bad_values(field, value):
            yield f"{'.'.join(path)} {what}", _replaced(values, path, bad)


def _present(fields, values, above):
    """The fields that the values have, with their paths; of an array the first element's."""
    for field in fields:
        if field.name not in values or field.tag is not None:
            continue
        path, value = (*above, field.name), values[field.name]
        yield path, field, value
        inner = value[0] if field.is_array and value else value
        if field.fields is not None and isinstance(inner, dict):
            yield from _present(field.fields, inner, path)


def _replaced(values, path, bad):
    name, *below = path
    if not below:
        return values | {name: bad}
    inner = values[name]
    if isinstance(inner, list):
        return values | {name: [_replaced(inner[0], below, bad), *inner[1:]]}
    return values | {name: _replaced(inner, below, bad)}


def _bad_values(field, value):
    if field.is_array:
        yield from _bad_arrays(field, value)
    elif field.fields is None:
        yield from _bad_scalars(field, value)


def _bad_arrays(field, value):
    if not field.nullable:
        yield "null", field.null()
    if field.flexible:
        yield "of 2^31-1 that are not there", Raw(unsigned_varint(COUNT_MAX + 1))
    else:
        yield "of 2^31-1 that are not there", Raw(struct.pack(">i", COUNT_MAX))
        yield "of length -2", Raw(struct.pack(">i", -2))
    if not value:
        return
    yield "empty", []
    yield "twice the same", [value[0], value[0]]
    yield f"of {LIST_COUNT}", [_numbered(field, value[0], index) for index in range(LIST_COUNT)]
    if field.fields is None:
        for what, bad in _bad_scalars(field, value[0]):
            yield f"with one {what}", [bad]


def _bad_scalars(field, value):
    if field.kind in ("string", "bytes") and (field.is_array or not field.nullable):
        yield "null", _null_element(field)
    if field.kind == "string":
        yield "empty", ""
        if field.flexible:
            yield "of 1 MiB", "x" * MIB
        else:
            yield f"of {PLAIN_STRING_MAX} characters", "x" * PLAIN_STRING_MAX
            yield "of length -2", Raw(struct.pack(">h", -2))
    elif field.kind == "bytes":
        yield "of 1 MiB", bytes(MIB)
        if not field.flexible:
            yield "of length -2", Raw(struct.pack(">i", -2))
    elif field.kind in INTEGER_BITS:
        bits = INTEGER_BITS[field.kind]
        for name, bad in (
            (f"-2^{bits - 1}", -(1 << bits - 1)), ("-1", -1), ("0", 0),
            (f"2^{bits - 1}-1", (1 << bits - 1) - 1),
        ):  # fmt: skip
            if bad != value:
                yield name, bad
    elif field.kind == "uuid":
        yield "of zeros", bytes(16)
        yield "of nothing known", b"\7" * 16


def _null_element(field):
    if field.flexible:
        return Raw(b"\0")
    return Raw(struct.pack(">h" if field.kind == "string" else ">i", -1))


def _numbered(field, element, index):
    """An element like the given one that names something else."""
    if field.fields is None:
        return _renamed(field.kind, field.name, element, index)
    return {
        name: _renamed(
            "string" if isinstance(value, str) else "uuid" if isinstance(value, bytes) else "",
            name, value, index,
        )
        for name, value in element.items()
    }  # fmt: skip


def _renamed(kind, name, value, index):
    if kind == "string":
        return f"{value}-{index}"
    if kind == "uuid" and any(value):
        return index.to_bytes(16, "big")
    if name in INDEX_NAMES or kind == "int32":
        return index
    return value
