"""The pinned service model of Kinesis, walked as raw HTTP in JSON and in CBOR.

    served       every operation of the model is answered, but for those that are named below
    constraints  each constraint of each member of each input, broken once: a ValidationException
                 that says the same as the model does, whatever the order of its items
    types        each member with a value of another type: a SerializationException in AWS's words
    unknown      members that the model does not have are ignored
    answers      what succeeds has the members that the model says, none of another type, none null
"""

import argparse
import base64
import json
import pathlib
import re
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(TESTS / "harness"))

import cbor
from harness.cases import Cases
from harness.weir_process import Weir
from kinesis_wire import CBOR, JSON, Connection, signed
from service_model import STREAM, STREAM_ARN, ServiceModel

# Of queues and channels, which are not built.
LATER = re.compile("Queue|Channel")
# It answers with events for five minutes, which tests/efo reads.
EVENTS = {"SubscribeToShard"}

# AWS lists no more violations than this.
ITEMS_MAX = 10

POLICY = '{"Statement":[{"Effect":"Allow"}]}'
CONSUMER = {"StreamARN": STREAM_ARN, "ConsumerName": "c"}
# What succeeds, in this order, on a broker that has one stream: the answers' shapes are looked at.
SUCCESSES = [
    ("CreateStream", {"StreamName": "t", "ShardCount": 1, "Tags": {"a": "b"}}),
    ("ListStreams", {}),
    ("DescribeLimits", {}),
    ("DescribeAccountSettings", {}),
    ("UpdateAccountSettings", {"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}}),
    ("IncreaseStreamRetentionPeriod", {"StreamName": STREAM, "RetentionPeriodHours": 48}),
    ("DecreaseStreamRetentionPeriod", {"StreamName": STREAM, "RetentionPeriodHours": 24}),
    (
        "UpdateShardCount",
        {"StreamName": "t", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"},
    ),
    ("SplitShard", {"StreamName": "t", "ShardToSplit": "1", "NewStartingHashKey": "1000"}),
    ("MergeShards", {"StreamName": "t", "ShardToMerge": "3", "AdjacentShardToMerge": "4"}),
    ("AddTagsToStream", {"StreamName": STREAM, "Tags": {"a": "b", "c": "d"}}),
    ("ListTagsForStream", {"StreamName": STREAM}),
    ("RemoveTagsFromStream", {"StreamName": STREAM, "TagKeys": ["a"]}),
    ("TagResource", {"ResourceARN": STREAM_ARN, "Tags": {"e": "f"}}),
    ("ListTagsForResource", {"ResourceARN": STREAM_ARN}),
    ("UntagResource", {"ResourceARN": STREAM_ARN, "TagKeys": ["e"]}),
    (
        "StartStreamEncryption",
        {"StreamName": STREAM, "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"},
    ),
    ("EnableEnhancedMonitoring", {"StreamName": STREAM, "ShardLevelMetrics": ["ALL"]}),
    ("DisableEnhancedMonitoring", {"StreamName": STREAM, "ShardLevelMetrics": ["ALL"]}),
    ("UpdateMaxRecordSize", {"StreamARN": STREAM_ARN, "MaxRecordSizeInKiB": 2048}),
    (
        "UpdateStreamMode",
        {"StreamARN": STREAM_ARN, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}},
    ),
    (
        "UpdateStreamRecordDistributionStrategy",
        {"StreamARN": STREAM_ARN, "RecordDistributionStrategy": "AUTO"},
    ),
    ("UpdateStreamWarmThroughput", {"StreamName": STREAM, "WarmThroughputMiBps": 8}),
    ("PutResourcePolicy", {"ResourceARN": STREAM_ARN, "Policy": POLICY}),
    ("GetResourcePolicy", {"ResourceARN": STREAM_ARN}),
    ("DeleteResourcePolicy", {"ResourceARN": STREAM_ARN}),
    ("RegisterStreamConsumer", CONSUMER),
    ("DescribeStreamConsumer", CONSUMER),
    ("ListStreamConsumers", {"StreamARN": STREAM_ARN}),
    ("DescribeStream", {"StreamName": STREAM}),
    ("DescribeStreamSummary", {"StreamName": STREAM}),
    ("ListShards", {"StreamName": STREAM}),
    ("PutRecord", {"StreamName": STREAM, "Data": b"x", "PartitionKey": "k"}),
    ("PutRecords", {"StreamName": STREAM, "Records": [{"Data": b"x", "PartitionKey": "k"}]}),
    (
        "GetShardIterator",
        {"StreamName": STREAM, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"},
    ),
    ("GetRecords", {"ShardIterator": None}),
    ("StopStreamEncryption", {"StreamName": STREAM, "EncryptionType": "KMS", "KeyId": "alias/a"}),
    ("DeregisterStreamConsumer", CONSUMER),
    ("DeleteStream", {"StreamName": STREAM}),
]


class Speaker:
    """One connection that speaks one encoding."""

    def __init__(self, weir, media_type):
        self.connection = Connection(weir.kinesis)
        self.media_type = media_type

    def ask(self, operation, members):
        """The status and the body of an answer, with nothing where there is no body."""
        if self.media_type == JSON:
            body = json.dumps(members, default=lambda data: base64.b64encode(data).decode())
            answer = self.connection.post(signed(operation), body.encode())
            return answer.status, json.loads(answer.body) if answer.body else None
        answer = self.connection.post(signed(operation, CBOR), cbor.encode(members))
        return answer.status, cbor.decode(answer.body) if answer.body else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def name_of(media_type):
    return "JSON" if media_type == JSON else "CBOR"


def check_served(model, weir):
    unknown = set()
    with Speaker(weir, JSON) as speaker:
        for operation in model.operations:
            _, body = speaker.ask(operation, {})
            if body and body.get("__type") == "UnknownOperationException":
                unknown.add(operation)
    later = {operation for operation in model.operations if LATER.search(operation)}
    assert later <= unknown, f"served all of a sudden: {sorted(later - unknown)}"
    assert unknown <= later, f"not served: {sorted(unknown - later)}"
    served = len(model.operations) - len(unknown)
    return f"{served} of {len(model.operations)} operations"


def items_of(message):
    """The items of AWS's sentence, and the number that it begins with."""
    head = re.match(r"(\d+) validation errors? detected: ", message)
    assert head, f"{message[:200]!r} is no list of violations"
    items = re.split(r"; (?=Value )", message[head.end() :])
    # Hash codes of objects differ from run to run.
    return int(head[1]), {re.sub(r"(v20131202\.\w+@)[0-9a-f]+", r"\1", item) for item in items}


def check_constraints(model, weir, media_type, operation):
    shape = model.input(operation)
    broken = 0
    with Speaker(weir, media_type) as speaker:
        for what, members in shape.illegal():
            expected = set(shape.violations(members))
            assert expected, f"{what} breaks no rule: the test is at fault"
            status, body = speaker.ask(operation, members)
            assert status == 400, f"{what}: status {status}"
            kind = body["__type"]
            assert kind == "ValidationException", f"{what}: {kind} {body.get('message')!r}"
            count, items = items_of(body["message"])
            assert count == min(len(expected), ITEMS_MAX), f"{what}: {count} items"
            # A value of many kilobytes is cut where it is repeated.
            cut = {item[:200] for item in items}
            missing = {item for item in expected if item[:200] not in cut}
            whole = max(map(len, expected)) < 40_000
            assert not missing, f"{what}: not said {sorted(missing)[:2]}, but {sorted(items)[:2]}"
            assert not whole or items == expected, f"{what}: {sorted(items ^ expected)[:2]}"
            broken += 1
    return f"{broken} broken rules told as the model says"


def check_types(model, weir, media_type, operation):
    told = 0
    with Speaker(weir, media_type) as speaker:
        for name, member in model.input(operation).members().items():
            for value, message in member.mistyped():
                status, body = speaker.ask(operation, {name: value})
                expected = {"__type": "SerializationException", "Message": message}
                assert (status, body) == (400, expected), f"{name}: {value!r}: {status} {body}"
                told += 1
    return f"{told} values of other types told"


def check_unknown(model, weir, media_type):
    with Speaker(weir, media_type) as speaker:
        for operation, members in [("DescribeStream", {"StreamName": STREAM}), ("ListStreams", {})]:
            answer = speaker.ask(operation, members)
            more = members | {"NoSuchMember": {"a": [1, None]}, "Other": "x"}
            assert answer[0] == 200, answer
            assert speaker.ask(operation, more) == answer, operation
    return "the same answers with and without"


def check_answers(model, weir, media_type):
    seen = 0
    iterator = None
    with Speaker(weir, media_type) as speaker:
        speaker.ask("CreateStream", {"StreamName": STREAM, "ShardCount": 1})
        for operation, members in SUCCESSES:
            if "ShardIterator" in members:
                members = {"ShardIterator": iterator}
            status, body = speaker.ask(operation, members)
            assert status == 200, f"{operation}: {status} {body}"
            output = model.output(operation)
            if output is None:
                assert body is None, f"{operation} answers {body}, where the model has no answer"
            else:
                faults = list(output.faults(body))
                assert not faults, f"{operation}: {faults[:3]}"
                iterator = body.get("ShardIterator", iterator)
            seen += 1
        speaker.ask("DeleteStream", {"StreamName": "t"})
    return f"{seen} operations answer as the model says"


def check_all_answered(model):
    """Each operation that is served has a place in the list of successes."""
    listed = {operation for operation, _ in SUCCESSES}
    served = {name for name in model.operations if not LATER.search(name)} - EVENTS
    assert listed == served, f"not in both lists: {sorted(listed ^ served)}"
    return f"{len(listed)} operations"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("operations", nargs="*", metavar="OPERATION")
    arguments = parser.parse_args()
    model, cases = ServiceModel(), Cases()
    wanted = arguments.operations or [
        name for name in model.operations if not LATER.search(name)
    ]
    with tempfile.TemporaryDirectory(prefix="weir-model-") as folder:
        # The modes of one stream are switched more often than twice a day.
        with Weir(pathlib.Path(folder) / "data", "--quotas", "off") as weir:
            cases.run("served", check_served, model, weir)
            cases.run("each has a success", check_all_answered, model)
            for media_type in (JSON, CBOR):
                encoding = name_of(media_type)
                for operation in wanted:
                    case = f"constraints of {operation}, {encoding}"
                    cases.run(case, check_constraints, model, weir, media_type, operation)
                    case = f"types of {operation}, {encoding}"
                    cases.run(case, check_types, model, weir, media_type, operation)
                cases.run(f"answers, {encoding}", check_answers, model, weir, media_type)
                with Speaker(weir, media_type) as speaker:
                    speaker.ask("CreateStream", {"StreamName": STREAM, "ShardCount": 1})
                cases.run(f"unknown members, {encoding}", check_unknown, model, weir, media_type)
    cases.finish()


if __name__ == "__main__":
    main()
