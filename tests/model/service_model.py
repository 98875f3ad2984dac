"""The service model of Kinesis as botocore ships it: what each operation takes and answers, what is
wrong with a value by the model's rules, in AWS's words, and values that break each rule once.

The checker here is written from the model alone. It is what weir's own tables are compared with.
"""

import re

from botocore.loaders import Loader

ACCOUNT = "000000000000"
STREAM = "s"
STREAM_ARN = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{STREAM}"

# A value for each pattern that the model has, by the shape's name.
LEGAL = {
    "ConsumerARN": f"{STREAM_ARN}/consumer/c:1700000000",
    "ConsumerName": "c",
    "HashKey": "0",
    "ResourceARN": STREAM_ARN,
    "SequenceNumber": "0",
    "ShardId": "shardId-000000000000",
    "StreamARN": STREAM_ARN,
    "StreamId": "abcdefghij0123456789-abc",
    "StreamName": STREAM,
}


class ServiceModel:
    def __init__(self):
        model = Loader().load_service_model("kinesis", "service-2")
        self.shapes, self.operations = model["shapes"], model["operations"]

    def shape(self, reference):
        name = reference["shape"]
        return Shape(self, name, self.shapes[name])

    def input(self, operation):
        return self.shape(self.operations[operation]["input"])

    def output(self, operation):
        reference = self.operations[operation].get("output")
        return reference and self.shape(reference)


class Shape:
    """One shape of the model."""

    def __init__(self, model, name, described):
        self.model, self.name, self.described = model, name, described
        self.kind = described["type"]
        self.min, self.max = described.get("min"), described.get("max")
        self.pattern, self.enum = described.get("pattern"), described.get("enum")

    def inner(self, part):
        """The shape of a list's `member`, of a map's `key` or `value`."""
        return self.model.shape(self.described[part])

    def members(self):
        return {
            name: self.model.shape(reference)
            for name, reference in self.described.get("members", {}).items()
        }

    def required(self):
        return self.described.get("required", [])

    # ---- values ----

    def legal(self):
        """A value that breaks no rule, with no more in it than must be."""
        match self.kind:
            case "string" if self.enum:
                return self.enum[0]
            case "string" if self.pattern:
                return LEGAL[self.name]
            case "string":
                return "x" * max(self.min or 0, 1)
            case "integer" | "long":
                return self.min or 1
            case "boolean":
                return False
            case "timestamp":
                return 0
            case "blob":
                return b"x"
            case "list":
                return [self.inner("member").legal()] * max(self.min or 0, 1)
            case "map":
                return {self.inner("key").legal(): self.inner("value").legal()}
            case "structure":
                members = self.members()
                return {name: members[name].legal() for name in self.required()}
        raise AssertionError(f"the model has a new type of shape: {self.kind}")

    def illegal(self):
        """Values that break a rule each, and what each breaks."""
        match self.kind:
            case "string":
                yield from self._illegal_texts()
            case "integer" | "long":
                if self.min is not None:
                    yield "below the least", self.min - 1
                if self.max is not None:
                    yield "above the most", self.max + 1
            case "blob":
                yield "too long", bytes(self.max + 1)
            case "list":
                element = self.inner("member")
                if self.min:
                    yield "too few", []
                if self.max:
                    yield "too many", [element.legal()] * (self.max + 1)
                for what, value in element.illegal():
                    yield f"an element {what}", [element.legal(), value]
            case "map":
                yield from self._illegal_maps()
            case "structure":
                yield from self._illegal_structures()

    def _illegal_texts(self):
        if self.min:
            yield "empty", ""
        if self.max:
            yield "too long", self._longer()
        if self.pattern:
            yield "of another pattern", "no such thing"
        if self.enum:
            yield "not in the list", "NONSENSE"

    def _longer(self):
        """A text that is too long, and else as it should be where that is possible."""
        start = LEGAL[self.name] if self.pattern else "x"
        if self.name == "ConsumerARN":
            return start + "1" * (self.max + 1 - len(start))
        return start + "x" * (self.max + 1 - len(start))

    def _illegal_maps(self):
        key, value = self.inner("key"), self.inner("value")
        if self.min:
            yield "too few", {}
        if self.max:
            yield "too many", {f"k{number}": value.legal() for number in range(self.max + 1)}
        for what, text in key.illegal():
            yield f"a key {what}", {key.legal(): value.legal(), text: value.legal()}
        for what, text in value.illegal():
            yield f"a value {what}", {"a": value.legal(), "b": text}

    def _illegal_structures(self):
        members = self.members()
        base = self.legal()
        for name in self.required():
            yield f"without {name}", {key: base[key] for key in base if key != name}
        for name, member in members.items():
            for what, value in member.illegal():
                yield f"{name} {what}", base | {name: value}

    def mistyped(self):
        """Values of other types, and what AWS says of them."""
        number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
        text = "class java.lang.String"
        match self.kind:
            case "string":
                yield 1, f"{number} can not be converted to an String"
                yield True, "class java.lang.Boolean can not be converted to an String"
            case "integer" | "long":
                noun = self.kind.capitalize()
                yield "x", f"{text} can not be converted to an {noun}"
            case "boolean":
                yield "x", "'X' can not be converted to an Boolean"
            case "timestamp":
                yield "x", f"{text} can not be converted to milliseconds since epoch"
            case "blob":
                yield 1, f"{number} can not be converted to a Blob"
            case "list":
                yield "x", "Expected list or null"
            case "map":
                yield "x", "Expected map or null"
            case "structure":
                yield "x", "Expected null"
        if self.kind != "list":
            yield [], "Start of list found where not expected"
        if self.kind not in ("map", "structure"):
            yield {}, "Start of structure or map found where not expected."

    # ---- what is wrong with a value ----

    def violations(self, value, path=""):
        """Each item of AWS's sentence about this value."""
        if self.kind == "structure":
            yield from self._structure_violations(value, path)
            return
        for rule in self._broken_rules(value):
            yield item(f"'{shown(value, self)}'", path, rule)
        if self.kind == "list":
            element = self.inner("member")
            if element.kind == "structure":
                for number, inner in enumerate(value, start=1):
                    yield from element.violations(inner, f"{path}.{number}.member")

    def _structure_violations(self, value, path):
        members = self.members()
        for name in self.required():
            if name not in value:
                yield item("null", place(path, name), "Member must not be null")
        for name, inner in value.items():
            yield from members[name].violations(inner, place(path, name))

    def _broken_rules(self, value):
        if self.kind in ("integer", "long"):
            if self.min is not None and value < self.min:
                yield f"Member must have value greater than or equal to {self.min}"
            if self.max is not None and value > self.max:
                yield f"Member must have value less than or equal to {self.max}"
        elif self.kind in ("string", "blob", "list", "map"):
            if self.min is not None and len(value) < self.min:
                yield f"Member must have length greater than or equal to {self.min}"
            if self.max is not None and len(value) > self.max:
                yield f"Member must have length less than or equal to {self.max}"
        if self.pattern and not re.fullmatch(self.pattern, value, re.ASCII):
            yield f"Member must satisfy regular expression pattern: {self.pattern}"
        if self.enum and value not in self.enum:
            yield f"Member must satisfy enum value set: [{', '.join(self.enum)}]"
        if self.kind == "list":
            yield from self.inner("member")._rules_of_parts("Member", value)
        if self.kind == "map":
            yield from self.inner("key")._rules_of_parts("Map keys", value.keys())
            yield from self.inner("value")._rules_of_parts("Map value", value.values())

    def _rules_of_parts(self, noun, parts):
        """What the whole is told when texts in it break the rules of their own shape."""
        if self.kind == "string" and any(list(self._broken_rules(part)) for part in parts):
            yield f"{noun} must satisfy constraint: [{', '.join(self._all_rules())}]"

    def _all_rules(self):
        if self.max is not None:
            yield f"Member must have length less than or equal to {self.max}"
            yield f"Member must have length greater than or equal to {self.min}"
        if self.enum:
            yield f"Member must satisfy enum value set: [{', '.join(self.enum)}]"

    # ---- what an answer looks like ----

    def faults(self, value, path="answer"):
        """What an answer has that it should not have, or lacks."""
        if value is None:
            yield f"{path} is null"
            return
        types = {
            "string": str, "integer": int, "long": int, "boolean": bool, "list": list,
            "map": dict, "structure": dict, "timestamp": (int, float),
        }  # fmt: skip
        if self.kind in types and not isinstance(value, types[self.kind]):
            yield f"{path} is a {type(value).__name__}"
        elif self.kind == "structure":
            members = self.members()
            yield from (f"{path} lacks {name}" for name in self.required() if name not in value)
            for name, inner in value.items():
                if name in members:
                    yield from members[name].faults(inner, f"{path}.{name}")
                else:
                    yield f"{path} has {name}"
        elif self.kind == "list":
            for inner in value:
                yield from self.inner("member").faults(inner, f"{path}[]")
        elif self.enum and value not in self.enum:
            yield f"{path} is {value!r}"


def place(path, name):
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def item(value, path, rule):
    return f"Value {value} at '{path}' failed to satisfy constraint: {rule}"


def shown(value, shape):
    """A value as Java's `toString` shows it in AWS's sentences."""
    match shape.kind:
        case "blob":
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
        case "list":
            element = shape.inner("member")
            return "[" + ", ".join(shown(inner, element) for inner in value) + "]"
        case "map":
            return "{" + ", ".join(f"{key}={inner}" for key, inner in value.items()) + "}"
        case "structure":
            # What follows the @ is an object's hash code.
            return f"com.amazonaws.kinesis.v20131202.{shape.name}@"
    return str(value)
