"""boto3 with its defaults on a Kinesis endpoint: all five iterator types, and PutRecords beyond a
shard's quota.

    create a stream of 2 shards -> PutRecord five records to each shard, pause, five more -> each
    iterator type returns exactly the records that it must -> two PutRecords of 500 x 5 KB at once
    to one shard (2.4 MB each, a shard takes 1 MiB/s): what is
       over quota fails per record and is sent again until all is in -> GetRecords returns all once
    -> the control plane (boto3_control.py) -> delete the stream

The programs in other languages (`../js`, `../go`, `../java-kinesis`, `../rust-kinesis`) do the
same but for the control plane.
"""

import argparse
import concurrent.futures
import json
import sys
import time

import boto3
import botocore
from boto3_control import Control

# The lowest hash key lies in the first of two even shards, the highest in the second.
HASH_KEYS = ["0", str(2**128 - 1)]
SHARDS = ["shardId-000000000000", "shardId-000000000001"]
BURSTS = 2
BURST_RECORDS = 500
BURST_RECORD_BYTES = 5 * 1024
DEADLINE_S = 90


class Mismatch(Exception):
    """The endpoint did something else than Kinesis does."""


def expect(actual, wanted, what):
    if actual != wanted:
        raise Mismatch(f"{what}: {actual!r} instead of {wanted!r}")


def create_stream(kinesis, name):
    kinesis.create_stream(StreamName=name, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(
        StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    description = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    expect(description["StreamStatus"], "ACTIVE", "DescribeStream status")
    expect([shard["ShardId"] for shard in description["Shards"]], SHARDS, "DescribeStream shards")
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    expect(summary["OpenShardCount"], 2, "DescribeStreamSummary open shards")
    shards = kinesis.list_shards(StreamName=name)["Shards"]
    expect([shard["ShardId"] for shard in shards], SHARDS, "ListShards")
    names = kinesis.get_paginator("list_streams").paginate().build_full_result()["StreamNames"]
    expect(name in names, True, "ListStreams has the stream")


def iterator(kinesis, name, shard, kind, **start):
    answer = kinesis.get_shard_iterator(
        StreamName=name, ShardId=shard, ShardIteratorType=kind, **start
    )
    return answer["ShardIterator"]


def read(kinesis, shard_iterator, count):
    """Reads until `count` records came and once more, so that a record too many is seen."""
    records = []
    deadline = time.monotonic() + DEADLINE_S
    complete = False
    while not complete:
        if time.monotonic() > deadline:
            raise Mismatch(f"only {len(records)} of {count} records came in {DEADLINE_S} s")
        complete = len(records) >= count
        try:
            answer = kinesis.get_records(ShardIterator=shard_iterator)
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            # Two MiB and five calls a second for each shard: wait until the shard is out of debt.
            complete = False
            time.sleep(0.5)
            continue
        records += answer["Records"]
        shard_iterator = answer["NextShardIterator"]
        if not records[:count]:
            time.sleep(0.2)
    return records


def put_five(kinesis, name, half):
    """Five records to each shard, one PutRecord each; returns the data in order per shard."""
    written = {shard: [] for shard in SHARDS}
    for number in range(5):
        for shard, hash_key in zip(SHARDS, HASH_KEYS):
            data = f"{shard} {half} {number}".encode()
            answer = kinesis.put_record(
                StreamName=name, Data=data, PartitionKey=f"key-{number}", ExplicitHashKey=hash_key
            )
            expect(answer["ShardId"], shard, "PutRecord shard of an explicit hash key")
            written[shard].append(data)
    return written


def check_iterators(kinesis, name):
    latest_at_first = {shard: iterator(kinesis, name, shard, "LATEST") for shard in SHARDS}
    early = put_five(kinesis, name, "early")
    time.sleep(1.5)
    late = put_five(kinesis, name, "late")
    for shard in SHARDS:
        everything = early[shard] + late[shard]

        def check(kind, shard_iterator, wanted):
            data = [record["Data"] for record in read(kinesis, shard_iterator, len(wanted))]
            expect(data, wanted, f"{kind} on {shard}")

        records = read(kinesis, iterator(kinesis, name, shard, "TRIM_HORIZON"), len(everything))
        expect([record["Data"] for record in records], everything, f"TRIM_HORIZON on {shard}")
        expect(
            [record["PartitionKey"] for record in records],
            [f"key-{n}" for n in range(5)] * 2,
            "keys",
        )
        numbers = [int(record["SequenceNumber"]) for record in records]
        expect(numbers, sorted(set(numbers)), "ascending sequence numbers")

        check("LATEST before the writes", latest_at_first[shard], everything)
        third = records[2]["SequenceNumber"]
        at = iterator(kinesis, name, shard, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=third)
        check("AT_SEQUENCE_NUMBER", at, everything[2:])
        after = iterator(
            kinesis, name, shard, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=third
        )
        check("AFTER_SEQUENCE_NUMBER", after, everything[3:])
        # Between the halves, so that no rounding of the time matters.
        pause = records[4]["ApproximateArrivalTimestamp"].timestamp() + 0.75
        by_time = iterator(kinesis, name, shard, "AT_TIMESTAMP", Timestamp=pause)
        check("AT_TIMESTAMP", by_time, late[shard])
        check("LATEST after the writes", iterator(kinesis, name, shard, "LATEST"), [])


def put_until_in(kinesis, name, burst):
    """One PutRecords, its over-quota records sent again until none fails; returns how many were
    refused.
    """
    waiting = [
        {
            "Data": f"burst {burst} {number:03} ".encode().ljust(BURST_RECORD_BYTES, b"."),
            "PartitionKey": f"burst-{burst}",
            "ExplicitHashKey": HASH_KEYS[0],
        }
        for number in range(BURST_RECORDS)
    ]
    refused = 0
    deadline = time.monotonic() + DEADLINE_S
    while waiting:
        if time.monotonic() > deadline:
            raise Mismatch(f"{len(waiting)} records were still refused after {DEADLINE_S} s")
        try:
            answer = kinesis.put_records(StreamName=name, Records=waiting)
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            refused += len(waiting)
            time.sleep(0.3)
            continue
        expect(len(answer["Records"]), len(waiting), "PutRecords results")
        failed = []
        for record, result in zip(waiting, answer["Records"]):
            if "ErrorCode" in result:
                expect(
                    result["ErrorCode"],
                    "ProvisionedThroughputExceededException",
                    "PutRecords error code",
                )
                failed.append(record)
            else:
                expect(result["ShardId"], SHARDS[0], "PutRecords shard")
        expect(answer.get("FailedRecordCount", 0), len(failed), "FailedRecordCount")
        refused += len(failed)
        waiting = failed
        if waiting:
            time.sleep(0.3)
    return refused


def check_put_records(kinesis, name, expect_throttle):
    start = {shard: iterator(kinesis, name, shard, "LATEST") for shard in SHARDS}
    with concurrent.futures.ThreadPoolExecutor(BURSTS) as threads:
        refused = sum(threads.map(lambda burst: put_until_in(kinesis, name, burst), range(BURSTS)))
    if expect_throttle and refused == 0:
        raise Mismatch("5 MB at once to a shard of 1 MiB/s, and no record was over quota")
    wanted = [
        f"burst {burst} {number:03}" for burst in range(BURSTS) for number in range(BURST_RECORDS)
    ]
    came = []
    for shard, count in zip(SHARDS, [len(wanted), 0]):
        for record in read(kinesis, start[shard], count):
            expect(len(record["Data"]), BURST_RECORD_BYTES, "length of a record")
            came.append(record["Data"].decode().rstrip(".").strip())
    expect(sorted(came), wanted, "the records of both PutRecords")
    return refused


def delete_stream(kinesis, name):
    kinesis.delete_stream(StreamName=name)
    kinesis.get_waiter("stream_not_exists").wait(
        StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True, metavar="URL")
    parser.add_argument("--stream", required=True)
    parser.add_argument(
        "--expect-throttle", action="store_true", help="fail when no record was over quota"
    )
    options = parser.parse_args()
    started = time.monotonic()
    result = {
        "client": "boto3",
        "version": f"{boto3.__version__} (botocore {botocore.__version__})",
    }
    checks = []
    try:
        kinesis = boto3.client("kinesis", endpoint_url=options.endpoint)
        create_stream(kinesis, options.stream)
        checks.append("create, describe, list")
        check_iterators(kinesis, options.stream)
        checks.append("five iterator types")
        refused = check_put_records(kinesis, options.stream, options.expect_throttle)
        checks.append(f"PutRecords, {refused} over quota and sent again")
        checks.append(Control(kinesis, options.stream, expect).check())
        delete_stream(kinesis, options.stream)
        checks.append("delete")
        result["ok"] = True
    except Exception as failure:
        result["ok"] = False
        result["error"] = f"{type(failure).__name__}: {failure}"
        print(f"boto3: {result['error']}", file=sys.stderr)
    result |= {"checks": checks, "seconds": round(time.monotonic() - started, 2)}
    print(json.dumps(result), flush=True)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
