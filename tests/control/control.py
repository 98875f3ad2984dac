"""kill -9 in the middle of changes of the control plane: afterwards the account and its streams are
as they were before the change, or as they are after it.

What "after" is, a twin says: a second weir that makes the same changes and is never killed. Each
round picks a change, begins it on the subject, kills the subject within some milliseconds, makes
the change on the twin, starts the subject again, and compares everything that the API shows.
"""

import argparse
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

import botocore.exceptions

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "harness"))

import aws
from cases import Cases
from weir_process import Weir

NAMES = ["a", "b"]
# With fewer, an on-demand stream is scaled, and in the twin at another time.
ON_DEMAND_SHARDS_MIN = 4
CONSUMERS = ["c", "d"]
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/"
KILL_WITHIN_S = 0.004
# What differs between two brokers and two runs.
VOLATILE = {
    "StreamCreationTimestamp", "StreamId", "ConsumerARN", "ConsumerCreationTimestamp",
    "SequenceNumberRange", "ResponseMetadata", "StartedAt", "EndedAt", "EarliestAllowedEndAt",
}  # fmt: skip


def client(weir):
    return aws.kinesis(weir.endpoint, retries={"max_attempts": 0}, parameter_validation=False)


def steady(value):
    """An answer without what is volatile; whether a shard is closed is kept."""
    if isinstance(value, dict):
        kept = {name: steady(member) for name, member in value.items() if name not in VOLATILE}
        if "SequenceNumberRange" in value:
            kept["closed"] = "EndingSequenceNumber" in value["SequenceNumberRange"]
        return kept
    if isinstance(value, list):
        return [steady(member) for member in value]
    return value


def shown(kinesis):
    """Everything that the API shows of the account and its streams."""
    streams = {}
    for name in kinesis.list_streams()["StreamNames"]:
        arn = ARN + name
        consumers = kinesis.list_stream_consumers(StreamARN=arn)
        streams[name] = steady([
            kinesis.describe_stream_summary(StreamName=name),
            kinesis.list_shards(StreamName=name),
            kinesis.list_tags_for_stream(StreamName=name),
            kinesis.get_resource_policy(ResourceARN=arn),
            consumers,
            [kinesis.list_tags_for_resource(ResourceARN=consumer["ConsumerARN"])
             for consumer in consumers["Consumers"]],
        ])  # fmt: skip
    return json.dumps([streams, steady(kinesis.describe_account_settings())], sort_keys=True, default=str)


def open_shards(kinesis, name):
    shards = kinesis.list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def split(kinesis, name, chance):
    shard = chance.choice(open_shards(kinesis, name))
    start, end = (int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
    return "split_shard", {
        "StreamName": name, "ShardToSplit": shard["ShardId"],
        "NewStartingHashKey": str((start + end) // 2),
    }  # fmt: skip


def merge(kinesis, name, chance):
    shards = open_shards(kinesis, name)
    if len(shards) < 2:
        return split(kinesis, name, chance)
    lower = chance.randrange(len(shards) - 1)
    return "merge_shards", {
        "StreamName": name, "ShardToMerge": shards[lower]["ShardId"],
        "AdjacentShardToMerge": shards[lower + 1]["ShardId"],
    }  # fmt: skip


def of_stream(kinesis, name, chance):
    """A change of a stream that there is."""
    arn, number = ARN + name, chance.randrange(1000)
    consumer = {"StreamARN": arn, "ConsumerName": chance.choice(CONSUMERS)}
    registered = [
        each["ConsumerName"] for each in kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]
    ]
    is_registered = consumer["ConsumerName"] in registered
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    is_on_demand = summary["StreamModeDetails"]["StreamMode"] == "ON_DEMAND"
    encryption = {"StreamName": name, "EncryptionType": "KMS", "KeyId": f"alias/{number}"}
    is_encrypted = summary["EncryptionType"] == "KMS"
    hours = summary["RetentionPeriodHours"]
    changes = [
        ("delete_stream", {"StreamName": name, "EnforceConsumerDeletion": True}),
        ("add_tags_to_stream", {"StreamName": name, "Tags": {f"k{number % 20}": str(number)}}),
        ("tag_resource", {"ResourceARN": arn, "Tags": {f"k{number % 20}": str(number)}}),
        ("remove_tags_from_stream", {"StreamName": name, "TagKeys": [f"k{i}" for i in range(10)]}),
        ("put_resource_policy", {"ResourceARN": arn, "Policy": json.dumps({"Statement": {"Sid": str(number)}})}),
        ("delete_resource_policy", {"ResourceARN": arn}),
        ("update_max_record_size", {"StreamARN": arn, "MaxRecordSizeInKiB": 1024 + number}),
        ("enable_enhanced_monitoring", {"StreamName": name, "ShardLevelMetrics": ["ALL"]}),
        ("disable_enhanced_monitoring", {"StreamName": name, "ShardLevelMetrics": ["IncomingBytes"]}),
        ("deregister_stream_consumer" if is_registered else "register_stream_consumer", consumer),
        ("stop_stream_encryption" if is_encrypted else "start_stream_encryption", encryption),
        ("decrease_stream_retention_period", {"StreamName": name, "RetentionPeriodHours": 24})
        if hours > 24
        else ("increase_stream_retention_period", {"StreamName": name, "RetentionPeriodHours": 25 + number}),
    ]  # fmt: skip
    if is_on_demand or len(open_shards(kinesis, name)) >= ON_DEMAND_SHARDS_MIN:
        mode = {"StreamMode": "PROVISIONED" if is_on_demand else "ON_DEMAND"}
        changes.append(("update_stream_mode", {"StreamARN": arn, "StreamModeDetails": mode}))
    if is_on_demand:
        strategy = chance.choice(["AUTO", "USER_PARTITION_KEY"])
        changes.append(("update_stream_record_distribution_strategy",
                        {"StreamARN": arn, "RecordDistributionStrategy": strategy}))  # fmt: skip
    else:
        target = {"StreamName": name, "ScalingType": "UNIFORM_SCALING"}
        changes.append(split(kinesis, name, chance))
        changes.append(merge(kinesis, name, chance))
        changes.append(("update_shard_count", target | {"TargetShardCount": chance.randint(1, 6)}))
    return chance.choice(changes)


def any_change(kinesis, chance):
    name = chance.choice(NAMES)
    if name not in kinesis.list_streams()["StreamNames"]:
        return "create_stream", {"StreamName": name, "ShardCount": chance.randint(1, 4), "Tags": {"a": "b"}}
    if chance.random() < 0.05:
        status = {"Status": chance.choice(["ENABLED", "DISABLED"])}
        return "update_account_settings", {"MinimumThroughputBillingCommitment": status}
    return of_stream(kinesis, name, chance)


def make(kinesis, change):
    operation, members = change
    getattr(kinesis, operation)(**members)


class Attempt(threading.Thread):
    """A change that is begun and may never be answered."""

    def __init__(self, kinesis, change):
        super().__init__(daemon=True)
        self.kinesis, self.change = kinesis, change
        self.answered, self.refused = False, None
        self.start()

    def run(self):
        try:
            make(self.kinesis, self.change)
            self.answered = True
        except botocore.exceptions.ClientError as error:
            self.refused = error
        except botocore.exceptions.BotoCoreError:
            pass


def kills(subject, twin, count, seed):
    chance = random.Random(seed)
    twin_kinesis = client(twin)
    ended = {"answered": 0, "kept": 0, "not made": 0}
    operations = set()
    for number in range(count):
        before = shown(twin_kinesis)
        change = any_change(twin_kinesis, chance)
        operations.add(change[0])
        attempt = Attempt(client(subject), change)
        time.sleep(chance.uniform(0, KILL_WITHIN_S))
        subject.kill()
        attempt.join(10)
        assert attempt.refused is None, (change, attempt.refused)
        make(twin_kinesis, change)
        after = shown(twin_kinesis)
        subject.start()
        kinesis = client(subject)
        now = shown(kinesis)
        told = f"round {number} of seed {seed}, {change}, answered: {attempt.answered}"
        assert now in (before, after), f"{told}: neither before nor after:\n{before}\n{after}\n{now}"
        if attempt.answered:
            assert now == after, f"{told}: it is gone"
            ended["answered"] += 1
        elif now == after:
            ended["kept"] += 1
        else:
            ended["not made"] += 1
            make(kinesis, change)
            assert shown(kinesis) == after, f"{told}: made again, it differs from the twin"
    assert count < 50 or ended["answered"] < count, "no kill came before its answer"
    return f"{count} kills in {len(operations)} kinds of change: {ended}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-control-") as directory:
        directory = pathlib.Path(directory)
        flags = ["--quotas", "off"]
        with Weir(directory / "subject", *flags) as subject, Weir(directory / "twin", *flags) as twin:
            cases.run("kill -9 in a change", kills, subject, twin, arguments.kills, arguments.seed)
    cases.finish()


if __name__ == "__main__":
    main()
