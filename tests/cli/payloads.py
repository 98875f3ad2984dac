"""What `weir consume --decode` shows of values that real libraries packed: aggregates by AWS's own
module for Python, gzip and base64 by Python's, written through boto3.

    payloads.py     needs a built weir
"""

import base64
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import boto3
from aws_kinesis_agg.aggregator import RecordAggregator
from harness.cases import Cases
from harness.weir_process import Weir, binary

TIMEOUT_S = 30
USER_RECORDS = 50_000
KEYS = 37
# What a reader in between could make of an aggregate.
WRAPPINGS = [
    (["kpl"], lambda data: data),
    (["gzip", "kpl"], gzip.compress),
    (["base64", "kpl"], base64.b64encode),
    (["base64", "gzip", "kpl"], lambda data: base64.b64encode(gzip.compress(data))),
]


def user_records():
    """Keys come again, some data is empty, some is no text, some looks packed and is not."""
    special = [b"", b"\xff\x00", b"\x1f\x8b\x08 no gzip", b"abcd", b'{"a":1}']
    for number in range(USER_RECORDS):
        data = special[number % 7] if number % 7 < len(special) else f"click {number}".encode()
        yield f"visitor-{number % KEYS}", data


class Reader:
    def __init__(self, weir):
        self.environment = {"WEIR_ENDPOINT": weir.grpc, "PATH": "/usr/bin:/bin"}

    def run(self, *arguments, stdin=None):
        return subprocess.run(
            [binary(), *arguments], env=self.environment, input=stdin, capture_output=True,
            timeout=TIMEOUT_S,
        )  # fmt: skip

    def records(self, *arguments):
        done = self.run("consume", *arguments, "--exit", "-o", "jsonl")
        assert done.returncode == 0, done
        return [json.loads(line) for line in done.stdout.splitlines()]


def value_of(record):
    if "value_base64" in record:
        return base64.b64decode(record["value_base64"])
    return record["value"].encode()


def aggregates():
    """The user's records in aggregates of up to 1 MB, with the records that lie in each."""
    aggregator, inside, packed = RecordAggregator(), [], []
    for key, data in user_records():
        full = aggregator.add_user_record(key, data)
        if full:
            packed.append((full.get_contents(), inside))
            inside = []
        inside.append((key, data))
    packed.append((aggregator.clear_and_get().get_contents(), inside))
    return packed


def shows_what_was_aggregated(kinesis, reader, steps, wrap):
    name = "-".join(steps)
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    expected = []
    for (key, _, data), inside in aggregates():
        wrapped = wrap(data)
        # base64 makes more of an aggregate than Kinesis takes in one record by default.
        if len(wrapped) > 1024 * 1024:
            continue
        kinesis.put_record(StreamName=name, PartitionKey=key, Data=wrapped)
        expected += [(*record, number) for number, record in enumerate(inside)]
    assert len(expected) > 1_000, f"only {len(expected)} records"
    for decode in ("auto", ",".join(steps)):
        records = reader.records(name, "--decode", decode)
        # Asked for more than it says, auto goes on; nothing here was packed inside.
        assert all(record["decoded"] == steps for record in records), records[0]
        read = [(one["key"], value_of(one), one["sub_sequence"]) for one in records]
        assert read == expected, f"{decode}: {len(read)} records, {len(expected)} expected"
    as_written = reader.records(name)
    assert all("decoded" not in record for record in as_written), "nobody asked for it"
    return f"{len(expected)} records in {len(as_written)}"


def stops_in_the_middle(reader):
    records = reader.records("kpl", "--decode", "auto", "--count", "5")
    assert [record["sub_sequence"] for record in records] == [0, 1, 2, 3, 4], records
    done = reader.run("consume", "kpl", "--decode", "auto", "-n", "3", "-f", "%D %s %k\\n")
    assert done.stdout == b"kpl 0 visitor-0\nkpl 1 visitor-1\nkpl 2 visitor-2\n", done
    found = reader.records("kpl", "--decode", "auto", "--key", "visitor-3", "--count", "2")
    assert [record["sub_sequence"] for record in found] == [3, 3 + KEYS], found
    return "counts and filters are those of what is shown"


def refuses_what_does_not_fit(reader):
    done = reader.run("produce", "plain", stdin=b"just text\n")
    assert done.returncode == 0, done
    done = reader.run("consume", "plain", "--decode", "gzip", "--exit", "-o", "jsonl")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["reason"]) == (1, "decode"), done
    done = reader.run("consume", "plain", "--decode", "rot13", "--exit")
    assert done.returncode == 2, done
    (record,) = reader.records("plain", "--decode", "auto")
    assert record["value"] == "just text" and "decoded" not in record, record
    return error["message"]


def can_be_written_again(reader):
    """What was unpacked goes into another topic as it was printed."""
    printed = reader.run("consume", "kpl", "--decode", "auto", "-n", "100", "-o", "jsonl").stdout
    done = reader.run("produce", "copy", "--json", stdin=printed)
    assert done.returncode == 0, done
    copied = [(record["key"], value_of(record)) for record in reader.records("copy")]
    assert copied == list(user_records())[:100], copied
    return f"{len(copied)} records"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-payloads-") as root:
        with Weir(pathlib.Path(root) / "data", "--quotas", "off") as weir:
            kinesis = boto3.client(
                "kinesis", endpoint_url=f"http://{weir.kinesis}", region_name="us-east-1",
                aws_access_key_id="test", aws_secret_access_key="test",
            )  # fmt: skip
            reader = Reader(weir)
            for name in ("plain", "copy"):
                made = reader.run("topic", "create", name)
                assert made.returncode == 0, made
            for steps, wrap in WRAPPINGS:
                cases.run("+".join(steps), shows_what_was_aggregated, kinesis, reader, steps, wrap)
            cases.run("counts", stops_in_the_middle, reader)
            cases.run("what does not fit", refuses_what_does_not_fit, reader)
            cases.run("written again", can_be_written_again, reader)
    cases.finish()


if __name__ == "__main__":
    main()
