"""What well-behaved clients have made of a broker, and a look at all of it.

A topic with records and a config of its own, a classic group with one member, a group of KIP-848
with one member, and a group of nobody that has offsets. `look` reads every bit of that through the
protocol, so that whoever sends something bad in between can tell whether it changed anything.
The members' sessions are longer than a test, the heartbeats are a part of the look.
"""

import struct
import time

import kafka_wire
from kafka_messages import Message

TOPIC, SPARE_TOPIC = "well-kept", "well-kept-too"
PARTITIONS = 3
CLASSIC, MODERN, IDLE = "classic-group", "modern-group", "idle-group"
SESSION_MS = 1_800_000
MODERN_MEMBER = "modern-member-of-22-by"
RECORDS = 10
COORDINATOR_TIMEOUT_S = 30
UNKNOWN_MEMBER_ID = 25


class GoodCluster:
    """Made on the broker at `address`, through one connection that stays open."""

    def __init__(self, address):
        self.connection = kafka_wire.Connection(address, timeout_s=30)
        versions = kafka_wire.Connection.ask(
            self.connection, kafka_wire.API_VERSIONS, 0, b""
        )
        assert versions.i16() == 0
        listed = versions.array(lambda: (versions.i16(), versions.i16(), versions.i16()))
        self.served = {key: (first, last) for key, first, last in listed}
        self.member_id = self.generation = self.topic_id = None
        self.modern_epoch = None
        self.make()

    def ask(self, api, version, values):
        return Message(api, version).ask(self.connection, values)

    def serves(self, api, version):
        first, last = self.served.get(Message(api, version).key, (0, -1))
        return first <= version <= last

    # ---- making it ----

    def make(self):
        self._make_topics()
        self._join_classic()
        if self.serves("ConsumerGroupHeartbeat", 1):
            self._join_modern()
        self._commit(CLASSIC, as_member=True)
        self._commit(IDLE, as_member=False)

    def _make_topics(self):
        configs = [{"Name": "retention.ms", "Value": "123456789"}]
        for name in (TOPIC, SPARE_TOPIC):
            topic = {"Name": name, "NumPartitions": PARTITIONS, "ReplicationFactor": 1}
            answer = self.ask(
                "CreateTopics", 7, {"Topics": [{**topic, "Configs": configs}], "timeoutMs": 9000}
            )
            code = answer["Topics"][0]["ErrorCode"]
            assert code == 0, f"{name} was not made: error code {code}"
        batch = kafka_wire.record_batch([b"kept %d" % number for number in range(RECORDS)])
        for partition in range(PARTITIONS):
            code, _, why = kafka_wire.produce(self.connection, TOPIC, batch, partition=partition)
            assert code == 0, f"the records were not taken: error code {code} {why}"
        self.topic_id = next(
            topic["TopicId"] for topic in self._topics() if topic["Name"] == TOPIC
        )

    def join_values(self):
        """What the member of the classic group joins with."""
        subscription = struct.pack(">hi", 0, 1) + kafka_wire.string(TOPIC) + struct.pack(">i", -1)
        return {
            "GroupId": CLASSIC,
            "SessionTimeoutMs": SESSION_MS,
            "RebalanceTimeoutMs": SESSION_MS,
            "MemberId": self.member_id or "",
            "ProtocolType": "consumer",
            "Protocols": [{"Name": "range", "Metadata": subscription}],
        }

    def _join_classic(self):
        self._wait_for_the_coordinator()
        # The first answer gives a member id, the second lets it in (KIP-394).
        self.member_id = self.ask("JoinGroup", 9, self.join_values())["MemberId"]
        joined = self.ask("JoinGroup", 9, self.join_values())
        assert joined["ErrorCode"] == 0, f"not let into the group: {joined}"
        self.generation = joined["GenerationId"]
        partitions = [struct.pack(">i", index) for index in range(PARTITIONS)]
        owned = kafka_wire.string(TOPIC) + kafka_wire.array(partitions)
        assignment = struct.pack(">hi", 0, 1) + owned + struct.pack(">i", -1)
        synced = self.ask("SyncGroup", 5, {
            "GroupId": CLASSIC,
            "GenerationId": self.generation,
            "MemberId": self.member_id,
            "ProtocolType": "consumer",
            "ProtocolName": "range",
            "Assignments": [{"MemberId": self.member_id, "Assignment": assignment}],
        })  # fmt: skip
        assert synced["ErrorCode"] == 0, f"no assignment: {synced}"

    def _wait_for_the_coordinator(self):
        """Kafka makes its topic of offsets when somebody asks for it first."""
        find = {"KeyType": 0, "CoordinatorKeys": [CLASSIC]}
        heartbeat = {"GroupId": CLASSIC, "GenerationId": 1, "MemberId": "nobody"}
        deadline = time.monotonic() + COORDINATOR_TIMEOUT_S
        while time.monotonic() < deadline:
            self.ask("FindCoordinator", 6, find)
            if self.ask("Heartbeat", 4, heartbeat)["ErrorCode"] == UNKNOWN_MEMBER_ID:
                return
            time.sleep(0.2)
        raise AssertionError("there is no coordinator")

    def modern_join_values(self):
        """What the member of the group of KIP-848 joins with."""
        return {
            "GroupId": MODERN,
            "MemberId": MODERN_MEMBER,
            "RebalanceTimeoutMs": 60_000,
            "SubscribedTopicNames": [TOPIC],
            "ServerAssignor": "uniform",
            "TopicPartitions": [],
        }

    def _join_modern(self):
        joined = self.ask("ConsumerGroupHeartbeat", 1, self.modern_join_values())
        assert joined["ErrorCode"] == 0, f"not let into the group of KIP-848: {joined}"
        self.modern_epoch = joined["MemberEpoch"]
        owned = joined["Assignment"]["TopicPartitions"]
        self.modern_heartbeat({"TopicPartitions": owned})

    def modern_heartbeat(self, more=None):
        values = {
            "GroupId": MODERN, "MemberId": MODERN_MEMBER, "MemberEpoch": self.modern_epoch,
            "RebalanceTimeoutMs": -1, **(more or {}),
        }  # fmt: skip
        return self.ask("ConsumerGroupHeartbeat", 1, values)

    def _commit(self, group, as_member):
        partitions = [
            {"PartitionIndex": index, "CommittedOffset": index + 1, "CommittedMetadata": "kept"}
            for index in range(PARTITIONS)
        ]
        values = {"GroupId": group, "Topics": [{"Name": TOPIC, "Partitions": partitions}]}
        if as_member:
            values |= {
                "GenerationIdOrMemberEpoch": self.generation, "MemberId": self.member_id,
            }  # fmt: skip
        answer = self.ask("OffsetCommit", 8, values)
        for partition in answer["Topics"][0]["Partitions"]:
            assert partition["ErrorCode"] == 0, f"the commit of {group} was refused: {answer}"

    # ---- looking at it ----

    def look(self):
        """Everything, as a flat dict of what there is to what it is."""
        seen = {}
        for topic in self._topics():
            seen[f"topic {topic['Name']}"] = (topic["TopicId"].hex(), len(topic["Partitions"]))
        for topic, partition, offset in self._log_starts():
            seen[f"log start of {topic}-{partition}"] = offset
        for group in (CLASSIC, MODERN, IDLE):
            for topic, partition, offset, metadata in self._offsets(group):
                seen[f"offset of {group} for {topic}-{partition}"] = (offset, metadata)
        heartbeat = self.ask("Heartbeat", 4, {
            "GroupId": CLASSIC, "GenerationId": self.generation, "MemberId": self.member_id,
        })  # fmt: skip
        seen["heartbeat of the classic member"] = heartbeat["ErrorCode"]
        if self.modern_epoch is not None:
            answer = self.modern_heartbeat()
            seen["heartbeat of the modern member"] = (answer["ErrorCode"], answer["MemberEpoch"])
        if self.serves("ListGroups", 5):
            for group in self.ask("ListGroups", 5, {})["Groups"]:
                seen[f"group {group['GroupId']}"] = (group["GroupState"], group["GroupType"])
        if self.serves("DescribeGroups", 5):
            for group in self.ask("DescribeGroups", 5, {"Groups": [CLASSIC]})["Groups"]:
                members = [member["MemberId"] for member in group["Members"]]
                seen["members of the classic group"] = (group["GroupState"], members)
        if self.serves("DescribeConfigs", 4):
            seen |= self._configs()
        if self.serves("DescribeClientQuotas", 1):
            answer = self.ask("DescribeClientQuotas", 1, {"Components": [], "Strict": False})
            seen["quotas"] = repr(answer["Entries"])
        return seen

    def _topics(self):
        return self.ask("Metadata", 12, {"Topics": None})["Topics"]

    def _log_starts(self):
        partitions = [
            {"PartitionIndex": index, "Timestamp": -2} for index in range(PARTITIONS)
        ]
        answer = self.ask(
            "ListOffsets", 6,
            {"ReplicaId": -1, "Topics": [{"Name": TOPIC, "Partitions": partitions}]},
        )  # fmt: skip
        for topic in answer["Topics"]:
            for partition in topic["Partitions"]:
                yield topic["Name"], partition["PartitionIndex"], partition["Offset"]

    def _offsets(self, group):
        answer = self.ask("OffsetFetch", 8, {"Groups": [{"GroupId": group, "Topics": None}]})
        for topic in answer["Groups"][0]["Topics"]:
            for partition in topic["Partitions"]:
                yield (
                    topic["Name"], partition["PartitionIndex"],
                    partition["CommittedOffset"], partition["Metadata"],
                )  # fmt: skip

    def _configs(self):
        resources = [
            {"ResourceType": kind, "ResourceName": name}
            for kind, name in ((2, TOPIC), (2, SPARE_TOPIC), (4, ""))
        ]
        answer = self.ask("DescribeConfigs", 4, {"Resources": resources})
        return {
            f"config {config['Name']} of {result['ResourceName']!r}": config["Value"]
            for result in answer["Results"]
            for config in result["Configs"]
            # Kafka: 5 is a default, and the others that a broker was started with stay too.
            if config["ConfigSource"] in (1, 2, 3)
        }

    # ---- making it again ----

    def restore(self, wanted):
        """Takes away what was added to `wanted`, an earlier look, and commits again; tells whether
        all is as it was.
        """
        extra = set(self.look()) - set(wanted)
        topics = [name.removeprefix("topic ") for name in extra if name.startswith("topic ")]
        if topics:
            self.ask(
                "DeleteTopics", 6,
                {"Topics": [{"Name": name} for name in topics], "TimeoutMs": 30_000},
            )  # fmt: skip
        groups = [name.removeprefix("group ") for name in extra if name.startswith("group ")]
        if groups and self.serves("DeleteGroups", 2):
            self.ask("DeleteGroups", 2, {"GroupsNames": groups})
        self._commit(CLASSIC, as_member=True)
        self._commit(IDLE, as_member=False)
        return self.look() == wanted

    def close(self):
        self.connection.close()
