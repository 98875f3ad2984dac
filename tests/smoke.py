"""One record each way between the dialects of a weir of its own: kcat to boto3, and boto3 to
kcat.
"""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import aws
from harness.weir_process import Weir


def kcat(weir, *arguments, lines=b""):
    command = ["kcat", "-b", weir.kafka, "-q", *arguments]
    return subprocess.run(
        command, input=lines, stdout=subprocess.PIPE, check=True, timeout=30
    ).stdout


def main():
    with (
        tempfile.TemporaryDirectory(prefix="weir-smoke-") as root,
        Weir(pathlib.Path(root) / "data") as weir,
    ):
        kinesis = aws.kinesis(weir.endpoint)

        kcat(weir, "-P", "-t", "greetings", "-K", ":", lines=b"key:hello from kcat\n")
        iterator = kinesis.get_shard_iterator(
            StreamName="greetings", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        came = [(record["PartitionKey"], record["Data"]) for record in records]
        assert came == [("key", b"hello from kcat")], f"boto3 read {came}"

        kinesis.put_record(StreamName="greetings", PartitionKey="key", Data=b"hello from boto3")
        came = kcat(weir, "-C", "-t", "greetings", "-e", "-f", "%k:%s\n")
        assert came == b"key:hello from kcat\nkey:hello from boto3\n", f"kcat read {came!r}"
    print("PASS one record each way between kcat and boto3")


if __name__ == "__main__":
    main()
