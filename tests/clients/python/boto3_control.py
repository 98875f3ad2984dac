"""The control plane of Kinesis by boto3, on a stream that is there: retention, tags, encryption,
monitoring, consumers. Part of boto3_client.py; what is changed is looked up again.

Where an operation is asynchronous on AWS the check waits until the stream is ACTIVE, so that it
holds there too.
"""

import time

DEADLINE_S = 60
KEY = "alias/aws/kinesis"


class Control:
    def __init__(self, kinesis, name, expect):
        self.kinesis, self.name, self.expect = kinesis, name, expect
        self.arn = self.described()["StreamARN"]

    def described(self):
        return self.kinesis.describe_stream_summary(StreamName=self.name)[
            "StreamDescriptionSummary"
        ]

    def active(self):
        """What the stream is once no change of it is under way."""
        deadline = time.monotonic() + DEADLINE_S
        while (described := self.described())["StreamStatus"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is still {described['StreamStatus']}")
            time.sleep(0.5)
        return described

    def check(self):
        """All of it; returns what to say about it."""
        for part in (self.retention, self.tags, self.encryption, self.monitoring, self.consumers):
            part()
        return "retention, tags, encryption, monitoring, consumers"

    def retention(self):
        for change, hours in [
            (self.kinesis.increase_stream_retention_period, 48),
            (self.kinesis.decrease_stream_retention_period, 24),
        ]:
            change(StreamName=self.name, RetentionPeriodHours=hours)
            self.expect(self.active()["RetentionPeriodHours"], hours, "the retention")

    def tags(self):
        self.kinesis.add_tags_to_stream(StreamName=self.name, Tags={"team": "blue", "tier": ""})
        self.kinesis.remove_tags_from_stream(StreamName=self.name, TagKeys=["tier"])
        listed = self.kinesis.list_tags_for_stream(StreamName=self.name)
        self.expect(listed["Tags"], [{"Key": "team", "Value": "blue"}], "the tags")
        self.expect(listed["HasMoreTags"], False, "more tags")
        listed = self.kinesis.list_tags_for_resource(ResourceARN=self.arn)
        self.expect(listed["Tags"], [{"Key": "team", "Value": "blue"}], "the resource's tags")

    def encryption(self):
        key = {"EncryptionType": "KMS", "KeyId": KEY}
        self.kinesis.start_stream_encryption(StreamName=self.name, **key)
        described = self.active()
        self.expect(described["EncryptionType"], "KMS", "the encryption")
        self.expect(described["KeyId"], KEY, "the key")
        put = self.kinesis.put_record(StreamName=self.name, Data=b"x", PartitionKey="k")
        self.expect(put.get("EncryptionType"), "KMS", "a record's encryption")
        self.kinesis.stop_stream_encryption(StreamName=self.name, **key)
        self.expect(self.active()["EncryptionType"], "NONE", "the encryption at last")

    def monitoring(self):
        metrics = ["IncomingBytes", "OutgoingBytes"]
        asked = self.kinesis.enable_enhanced_monitoring(
            StreamName=self.name, ShardLevelMetrics=metrics
        )
        self.expect(asked["CurrentShardLevelMetrics"], [], "the figures before")
        self.expect(sorted(asked["DesiredShardLevelMetrics"]), metrics, "the figures after")
        shown = self.active()["EnhancedMonitoring"]
        self.expect(sorted(shown[0]["ShardLevelMetrics"]), metrics, "the figures shown")
        self.kinesis.disable_enhanced_monitoring(StreamName=self.name, ShardLevelMetrics=["ALL"])
        self.expect(self.active()["EnhancedMonitoring"][0]["ShardLevelMetrics"], [], "none at last")

    def consumers(self):
        registered = self.kinesis.register_stream_consumer(
            StreamARN=self.arn, ConsumerName="reader"
        )["Consumer"]
        deadline = time.monotonic() + DEADLINE_S
        while True:
            described = self.kinesis.describe_stream_consumer(ConsumerARN=registered["ConsumerARN"])
            if described["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE":
                break
            if time.monotonic() > deadline:
                raise TimeoutError("the consumer did not become active")
            time.sleep(0.5)
        pages = self.kinesis.get_paginator("list_stream_consumers").paginate(StreamARN=self.arn)
        names = [consumer["ConsumerName"] for page in pages for consumer in page["Consumers"]]
        self.expect(names, ["reader"], "the consumers")
        self.kinesis.deregister_stream_consumer(ConsumerARN=registered["ConsumerARN"])
        deadline = time.monotonic() + DEADLINE_S
        while self.described()["ConsumerCount"]:
            if time.monotonic() > deadline:
                raise TimeoutError("the consumer did not go")
            time.sleep(0.5)
