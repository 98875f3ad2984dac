"""Any request of Kafka's protocol, written field by field, also where a field is wrong on purpose.

The definitions are those of Kafka that kafka-python carries, and for the requests that it lacks
those in `kafka_messages.json`, in the same form. Values are dicts with Kafka's field names; a field
that is missing has its default. A value that is `Raw` is written as it stands, whatever the field
is: so null stands where it must not, and a count says what is not there.
"""

import functools
import importlib.resources
import json
import pathlib
import re
import struct

from kafka_wire import Reader, unsigned_varint

NUMBERS = {
    "bool": ">?",
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
}
OWN_DEFINITIONS = pathlib.Path(__file__).with_name("kafka_messages.json")
COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)


class Raw(bytes):
    """Bytes that stand for a field's encoding."""


class Field:
    """One field of a message in one version."""

    def __init__(self, definition, version, flexible, structs):
        self.name = definition["name"]
        kind = definition["type"]
        self.is_array = kind.startswith("[]")
        self.kind = kind.removeprefix("[]")
        self.flexible = flexible
        self.nullable = _covers(definition.get("nullableVersions", "none"), version)
        self.tag = definition.get("tag")
        if not _covers(definition.get("taggedVersions", "none"), version):
            self.tag = None
        self.default = definition.get("default")
        self.fields = None
        if self.kind not in NUMBERS and self.kind not in ("string", "bytes", "records", "uuid"):
            own = definition.get("fields") or structs[self.kind]
            self.fields = _fields_of(own, version, flexible, structs)

    def default_value(self):
        if self.default == "null":
            return None
        if self.is_array:
            return []
        if self.kind in NUMBERS:
            if isinstance(self.default, str):
                return self.default == "true" if self.kind == "bool" else int(self.default, 0)
            return self.default or 0
        return {"string": self.default or "", "uuid": bytes(16)}.get(
            self.kind, {} if self.fields else b""
        )

    def null(self):
        """Null in place of the field's value, whether it may be null or not."""
        if self.fields is not None and not self.is_array:
            return Raw(b"\xff")
        if self.flexible:
            return Raw(b"\0")
        return Raw(struct.pack(">h" if self.kind == "string" and not self.is_array else ">i", -1))

    def length(self, count):
        """The length that stands before the field's elements or characters."""
        if self.flexible:
            return unsigned_varint(count + 1)
        plain = self.kind == "string" and not self.is_array
        return struct.pack(">h" if plain else ">i", count)


def _covers(versions, version):
    """Whether a range as Kafka writes it, `2`, `2-5` or `2+`, has the version."""
    if versions == "none":
        return False
    first, _, last = versions.partition("-")
    if first.endswith("+"):
        return version >= int(first[:-1])
    return int(first) <= version <= int(last or first)


def _fields_of(definitions, version, flexible, structs):
    return [
        Field(definition, version, flexible, structs)
        for definition in definitions
        if _covers(definition["versions"], version)
    ]


@functools.cache
def _definition(name):
    own = json.loads(OWN_DEFINITIONS.read_text())
    if name in own:
        return own[name]
    folder = importlib.resources.files("kafka.protocol.schemas.resources")
    return json.loads(COMMENT.sub("", (folder / f"{name}.json").read_text()))


class Message:
    """The request or the response of one API in one version: `Message("Heartbeat", 4).request`."""

    def __init__(self, api, version):
        definition = _definition(f"{api}Request")
        self.api, self.version = api, version
        self.key = definition["apiKey"]
        self.flexible = _covers(definition["flexibleVersions"], version)
        self.known_names = _names_of(definition)
        self.request = self._fields(f"{api}Request")
        self.response = self._fields(f"{api}Response")

    def _fields(self, name):
        definition = _definition(name)
        structs = {
            common["name"]: common["fields"] for common in definition.get("commonStructs", [])
        }
        return _fields_of(definition["fields"], self.version, self.flexible, structs)

    def encode(self, values):
        """A request's body. Fields that only other versions have are left out."""
        unknown = _names_in(values) - self.known_names
        assert not unknown, f"{self.api} has no field {unknown}"
        return _struct(self.request, values, self.flexible)

    def decode(self, answer):
        """An answer's body, from a reader that stands behind its header."""
        return _read_struct(self.response, answer, self.flexible)

    def ask(self, connection, values):
        """Sends the request and returns what is answered, decoded."""
        return self.decode(connection.ask(self.key, self.version, self.encode(values), self.flexible))


def _names_of(definition):
    """The names of all fields of a message, in whatever version and depth."""
    if isinstance(definition, list):
        return set().union(*map(_names_of, definition))
    nested = definition.get("fields", []) + definition.get("commonStructs", [])
    own = {definition["name"]} if "name" in definition else set()
    return own | _names_of(nested)


def _names_in(values):
    if isinstance(values, list):
        return set().union(*map(_names_in, values))
    if isinstance(values, dict):
        return set(values).union(*map(_names_in, values.values()))
    return set()


# ---- writing ----


def _struct(fields, values, flexible):
    parts, tagged = [], []
    for field in fields:
        if field.tag is None:
            parts.append(_field(field, values.get(field.name, field.default_value())))
        elif field.name in values:
            data = _field(field, values[field.name])
            tagged.append(unsigned_varint(field.tag) + unsigned_varint(len(data)) + data)
    if flexible:
        parts += [unsigned_varint(len(tagged)), *tagged]
    return b"".join(parts)


def _field(field, value):
    if isinstance(value, Raw):
        return value
    if value is None:
        return field.null()
    if field.is_array:
        return field.length(len(value)) + b"".join(_element(field, each) for each in value)
    return _element(field, value)


def _element(field, value):
    if isinstance(value, Raw):
        return value
    if field.fields is not None:
        return _struct(field.fields, value, field.flexible)
    if field.kind in NUMBERS:
        return struct.pack(NUMBERS[field.kind], value)
    if field.kind == "uuid":
        return value
    data = value.encode() if isinstance(value, str) else value
    if field.flexible:
        return unsigned_varint(len(data) + 1) + data
    return struct.pack(">h" if field.kind == "string" else ">i", len(data)) + data


# ---- reading ----


def _read_struct(fields, answer, flexible):
    values = {field.name: _read_field(field, answer) for field in fields if field.tag is None}
    if flexible:
        tagged = {field.tag: field for field in fields if field.tag is not None}
        for _ in range(_read_varint(answer)):
            tag, data = _read_varint(answer), answer.take(_read_varint(answer))
            if tag in tagged:
                values[tagged[tag].name] = _read_field(tagged[tag], Reader(data))
    return values


def _read_length(answer, flexible, short=False):
    if flexible:
        return _read_varint(answer) - 1
    return answer.i16() if short else answer.i32()


def _read_field(field, answer):
    if not field.is_array:
        return _read_element(field, answer)
    count = _read_length(answer, field.flexible)
    return None if count < 0 else [_read_element(field, answer) for _ in range(count)]


def _read_element(field, answer):
    if field.fields is not None:
        if field.nullable and not field.is_array and answer.i8() < 0:
            return None
        return _read_struct(field.fields, answer, field.flexible)
    if field.kind in NUMBERS:
        form = NUMBERS[field.kind]
        return struct.unpack(form, answer.take(struct.calcsize(form)))[0]
    if field.kind == "uuid":
        return answer.take(16)
    length = _read_length(answer, field.flexible, short=field.kind == "string")
    if length < 0:
        return None
    data = answer.take(length)
    return data.decode() if field.kind == "string" else data


def _read_varint(answer):
    number = shift = 0
    while True:
        byte = answer.take(1)[0]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number
