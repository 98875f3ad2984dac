"""The group and admin requests that are sent in bad shape, as good ones: a table to derive from.

Each row has a request that would change something and would be taken, to be cut short, and one that
a broker refuses or that changes nothing, to be made worse field by field. `more` are requests that
are bad as they stand: members that are not there, or generations that are not now.
"""

from dataclasses import dataclass, field

from good_cluster import CLASSIC, IDLE, MODERN, MODERN_MEMBER, SPARE_TOPIC, TOPIC
from kafka_messages import Raw

STRANGER = "a-stranger"
NOWHERE = "no-such-topic"
TOPIC_RESOURCE, BROKER_RESOURCE, GROUP_RESOURCE = 2, 4, 32

# Served, but no group or admin request: what they must refuse is tested elsewhere.
OTHER_APIS = {
    "Produce": 0, "Fetch": 1, "ApiVersions": 18, "InitProducerId": 22,
    "DescribeUserScramCredentials": 50,
}  # fmt: skip


@dataclass
class Row:
    """The requests of one API; `taken` is `refused` where nothing could be changed."""

    api: str
    versions: tuple
    refused: dict
    taken: dict | None = None
    more: dict = field(default_factory=dict)
    # Variants that are good requests and do something, by what `worse` calls them.
    good: tuple = ()


def table(cluster):
    """All rows, for a cluster whose members and topic ids they name."""
    return [*_classic_groups(cluster), *_offsets(cluster), *_modern_groups(cluster),
            *_any_groups(), *_topics(cluster), *_configs(), *_log(), *_as_one_node(), *_quotas()]  # fmt: skip


def _classic_groups(cluster):
    joining = {
        "GroupId": CLASSIC, "SessionTimeoutMs": 30_000, "RebalanceTimeoutMs": 30_000,
        "MemberId": STRANGER, "GroupInstanceId": None, "ProtocolType": "consumer",
        "Protocols": [{"Name": "range", "Metadata": b"\0\0\0\0\0\0\0\0\0\0"}], "Reason": None,
    }  # fmt: skip
    yield Row("JoinGroup", (0, 5, 9), joining, joining | {"MemberId": cluster.member_id}, {
        "the member of another group": joining | {"MemberId": MODERN_MEMBER},
        "another protocol type": joining | {"MemberId": "", "ProtocolType": "connect"},
        "no protocol in common": joining | {
            "MemberId": "", "Protocols": [{"Name": "other", "Metadata": b""}],
        },
        "no protocols": joining | {"MemberId": "", "Protocols": []},
        "a session shorter than allowed": joining | {"SessionTimeoutMs": 5999},
        "a session longer than allowed": joining | {"SessionTimeoutMs": 1_800_001},
        "a member id in no group": joining | {"GroupId": "no-such-group"},
    }, good=("MemberId empty",))  # fmt: skip

    def in_generation(values, **more):
        stranger = values | {"MemberId": STRANGER, "GenerationId": cluster.generation}
        member = values | {"MemberId": cluster.member_id}
        wrong = {
            f"the generation {difference:+}": member | {
                "GenerationId": cluster.generation + difference,
            }
            for difference in (-1, 1, 1000)
        }  # fmt: skip
        return stranger, member | {"GenerationId": cluster.generation}, {
            **wrong,
            "the generation -1": member | {"GenerationId": -1},
            "no member id": member | {"MemberId": "", "GenerationId": cluster.generation},
            "the member of another group": stranger | {"MemberId": MODERN_MEMBER},
            "an instance that is not there": member | {
                "GenerationId": cluster.generation, "GroupInstanceId": "no-such-instance",
            },
            "no such group": stranger | {"GroupId": "no-such-group"},
            **more,
        }  # fmt: skip

    heartbeat = {"GroupId": CLASSIC, "GroupInstanceId": None}
    yield Row("Heartbeat", (0, 4), *in_generation(heartbeat))
    sync = heartbeat | {
        "ProtocolType": "consumer", "ProtocolName": "range",
        "Assignments": [{"MemberId": cluster.member_id, "Assignment": b"assigned"}],
    }  # fmt: skip
    named = sync | {"MemberId": cluster.member_id, "GenerationId": cluster.generation}
    yield Row("SyncGroup", (0, 5), *in_generation(
        sync,
        **{
            "another protocol": named | {"ProtocolName": "roundrobin"},
            "another protocol type": named | {"ProtocolType": "connect"},
        },
    ))  # fmt: skip

    def leaving(*members):
        # One member stands beside the group in versions 0 to 2, a list of them in later ones.
        listed = [{"MemberId": each, "GroupInstanceId": None, "Reason": None} for each in members]
        return {"GroupId": CLASSIC, "MemberId": members[0], "Members": listed}

    instance = {"MemberId": "", "GroupInstanceId": "no-such-instance", "Reason": None}
    yield Row("LeaveGroup", (0, 5), leaving(STRANGER), leaving(cluster.member_id), {
        "the member of another group": leaving(MODERN_MEMBER),
        "an instance that is not there": leaving(STRANGER) | {"Members": [instance]},
        "the member under a wrong instance": leaving(STRANGER) | {
            "Members": [instance | {"MemberId": cluster.member_id}],
        },
        "no such group": leaving(STRANGER) | {"GroupId": "no-such-group"},
    })  # fmt: skip


def _offsets(cluster):
    partition = {
        "PartitionIndex": 0, "CommittedOffset": 7, "CommittedLeaderEpoch": -1,
        "CommittedMetadata": "worse",
    }  # fmt: skip
    topic = {"Name": TOPIC, "TopicId": cluster.topic_id, "Partitions": [partition]}
    commit = {
        "GroupId": CLASSIC, "GenerationIdOrMemberEpoch": cluster.generation,
        "MemberId": STRANGER, "GroupInstanceId": None, "RetentionTimeMs": -1, "Topics": [topic],
    }  # fmt: skip
    member = commit | {"MemberId": cluster.member_id}
    modern = commit | {"GroupId": MODERN, "MemberId": MODERN_MEMBER}

    def partitions(*changed):
        return member | {"Topics": [topic | {"Partitions": [partition | each for each in changed]}]}

    yield Row("OffsetCommit", (2, 9, 10), commit, member, {
        "the generation before": member | {"GenerationIdOrMemberEpoch": cluster.generation - 1},
        "the generation after": member | {"GenerationIdOrMemberEpoch": cluster.generation + 1},
        "from outside the group": commit | {"GenerationIdOrMemberEpoch": -1, "MemberId": ""},
        "a generation of no such group": commit | {"GroupId": "no-such-group"},
        "an instance that is not there": member | {"GroupInstanceId": "no-such-instance"},
        "a topic that is not there": member | {
            "Topics": [topic | {"Name": NOWHERE, "TopicId": b"\7" * 16}],
        },
        "a partition that is not there": partitions({"PartitionIndex": 77}),
        "metadata of 4097 bytes": partitions({"CommittedMetadata": "m" * 4097}),
        "the epoch before, of KIP-848": modern | {
            "GenerationIdOrMemberEpoch": (cluster.modern_epoch or 1) - 1,
        },
        "the epoch after, of KIP-848": modern | {
            "GenerationIdOrMemberEpoch": (cluster.modern_epoch or 1) + 1,
        },
        "a stranger to KIP-848": modern | {"MemberId": STRANGER},
    })  # fmt: skip

    wanted = {"Name": TOPIC, "TopicId": cluster.topic_id, "PartitionIndexes": [0, 1]}
    group = {"GroupId": IDLE, "MemberId": None, "MemberEpoch": -1, "Topics": [wanted]}
    fetch = {"GroupId": IDLE, "Topics": [wanted], "Groups": [group], "RequireStable": False}

    def of_group(**changed):
        return fetch | {"Groups": [group | changed]}

    yield Row("OffsetFetch", (1, 7, 9, 10), fetch, None, {
        "a stranger to KIP-848": of_group(GroupId=MODERN, MemberId=STRANGER, MemberEpoch=1),
        "an epoch after, of KIP-848": of_group(
            GroupId=MODERN, MemberId=MODERN_MEMBER, MemberEpoch=1000
        ),
        "a stranger to a classic group": of_group(
            GroupId=CLASSIC, MemberId=STRANGER, MemberEpoch=1
        ),
        "a member of no such group": of_group(
            GroupId="no-such-group", MemberId=STRANGER, MemberEpoch=1
        ),
    })  # fmt: skip

    deleted = {"Name": TOPIC, "Partitions": [{"PartitionIndex": 0}]}
    delete = {"GroupId": CLASSIC, "Topics": [deleted]}
    yield Row("OffsetDelete", (0,), delete, delete | {"GroupId": IDLE}, {
        "a topic of KIP-848 members": delete | {"GroupId": MODERN},
        "no such group": delete | {"GroupId": "no-such-group"},
        "a topic that is not there": delete | {
            "GroupId": IDLE, "Topics": [deleted | {"Name": NOWHERE}],
        },
        "a partition that is not there": delete | {
            "GroupId": IDLE, "Topics": [deleted | {"Partitions": [{"PartitionIndex": 77}]}],
        },
    })  # fmt: skip


def _modern_groups(cluster):
    epoch = cluster.modern_epoch or 1
    heartbeat = {
        "GroupId": MODERN, "MemberId": STRANGER, "MemberEpoch": epoch, "InstanceId": None,
        "RackId": None, "RebalanceTimeoutMs": 30_000, "SubscribedTopicNames": [TOPIC],
        "SubscribedTopicRegex": None, "ServerAssignor": "uniform",
        "TopicPartitions": [{"TopicId": cluster.topic_id, "Partitions": [0]}],
    }  # fmt: skip
    member = heartbeat | {"MemberId": MODERN_MEMBER}
    joining = heartbeat | {"MemberEpoch": 0, "TopicPartitions": []}
    yield Row("ConsumerGroupHeartbeat", (0, 1), heartbeat, member | {"MemberEpoch": -1}, {
        "the epoch after": member | {"MemberEpoch": epoch + 1},
        "an epoch far after": member | {"MemberEpoch": epoch + 1000},
        "the epoch -3": member | {"MemberEpoch": -3},
        "a stranger that leaves": heartbeat | {"MemberEpoch": -1},
        "a stranger that leaves for a while": heartbeat | {"MemberEpoch": -2},
        "no such group": heartbeat | {"GroupId": "no-such-group"},
        "an instance that is not there": member | {"InstanceId": "no-such-instance"},
        "joining without a subscription": joining | {"SubscribedTopicNames": None},
        "joining with partitions": heartbeat | {"MemberEpoch": 0},
        "joining without a rebalance timeout": joining | {"RebalanceTimeoutMs": -1},
        "joining with an unknown assignor": joining | {"ServerAssignor": "no-such-assignor"},
        "joining with a broken regex": joining | {
            "SubscribedTopicNames": None, "SubscribedTopicRegex": "(",
        },
        "joining without a group": joining | {"GroupId": ""},
        "the member of the classic group": heartbeat | {
            "GroupId": CLASSIC, "MemberId": cluster.member_id,
        },
    })  # fmt: skip
    yield Row("ConsumerGroupDescribe", (0, 1), {"GroupIds": [MODERN]}, None, {
        "a classic group": {"GroupIds": [CLASSIC]},
        "no such group": {"GroupIds": ["no-such-group"]},
    })  # fmt: skip


def _any_groups():
    yield Row("FindCoordinator", (0, 3, 6), {
        "Key": CLASSIC, "KeyType": 0, "CoordinatorKeys": [CLASSIC],
    })  # fmt: skip
    yield Row("DescribeGroups", (0, 6), {"Groups": [CLASSIC]}, None, {
        "no such group": {"Groups": ["no-such-group"]},
    })  # fmt: skip
    yield Row("ListGroups", (0, 5), {"StatesFilter": ["Stable"], "TypesFilter": ["classic"]}, None, {
        "a state that is none": {"StatesFilter": ["NoSuchState"]},
        "a type that is none": {"TypesFilter": ["no-such-type"]},
    })  # fmt: skip
    yield Row("DeleteGroups", (0, 2), {"GroupsNames": [CLASSIC]}, {"GroupsNames": [IDLE]}, {
        "no such group": {"GroupsNames": ["no-such-group"]},
        "a group of KIP-848 with a member": {"GroupsNames": [MODERN]},
    })  # fmt: skip


def _topics(cluster):
    new = {
        "Name": "never-made", "NumPartitions": 1, "ReplicationFactor": 1, "Assignments": [],
        "Configs": [{"Name": "retention.ms", "Value": "1000"}],
    }  # fmt: skip
    create = {"Topics": [new], "timeoutMs": 5000, "validateOnly": True}

    def creating(**changed):
        return create | {"Topics": [new | changed]}

    placed = [{"PartitionIndex": 0, "BrokerIds": [1]}]
    by_hand = {"NumPartitions": -1, "ReplicationFactor": -1}
    yield Row("CreateTopics", (2, 4, 7), create, create | {"validateOnly": False}, {
        "a topic that is there": creating(Name=TOPIC),
        "a name with a slash": creating(Name="bad/name"),
        "a name of 250 characters": creating(Name="n" * 250),
        "the name ..": creating(Name=".."),
        "replication factor 2": creating(ReplicationFactor=2),
        "an unknown config": creating(Configs=[{"Name": "no.such.config", "Value": "1"}]),
        "a config of a wrong value": creating(Configs=[{"Name": "retention.ms", "Value": "x"}]),
        "a config of no value": creating(Configs=[{"Name": "retention.ms", "Value": None}]),
        "replicas and a count": creating(Assignments=placed),
        "an unknown replica": creating(
            Assignments=[{"PartitionIndex": 0, "BrokerIds": [99]}], **by_hand
        ),
        "a replica twice": creating(
            Assignments=[{"PartitionIndex": 0, "BrokerIds": [1, 1]}], **by_hand
        ),
        "a partition without replicas": creating(
            Assignments=[{"PartitionIndex": 0, "BrokerIds": []}], **by_hand
        ),
        "partitions that do not begin at 0": creating(
            Assignments=[{"PartitionIndex": 5, "BrokerIds": [1]}], **by_hand
        ),
        "a partition twice": creating(Assignments=placed * 2, **by_hand),
    })  # fmt: skip
    unknown_id = {"Name": None, "TopicId": b"\7" * 16}
    gone = {
        "Topics": [{"Name": NOWHERE, "TopicId": bytes(16)}], "TopicNames": [NOWHERE],
        "TimeoutMs": 5000,
    }  # fmt: skip
    real = {"Topics": [{"Name": SPARE_TOPIC}], "TopicNames": [SPARE_TOPIC], "TimeoutMs": 5000}
    yield Row("DeleteTopics", (1, 5, 6), gone, real, {
        "an unknown id": gone | {"Topics": [unknown_id]},
        "a name and an id": gone | {
            "Topics": [{"Name": SPARE_TOPIC, "TopicId": cluster.topic_id}],
        },
        "neither name nor id": gone | {"Topics": [unknown_id | {"TopicId": bytes(16)}]},
    })  # fmt: skip
    more = {"Name": TOPIC, "Count": 5, "Assignments": None}
    grow = {"Topics": [more], "TimeoutMs": 5000, "ValidateOnly": True}

    def growing(**changed):
        return grow | {"Topics": [more | changed]}

    yield Row("CreatePartitions", (0, 3), growing(Assignments=[{"BrokerIds": [1]}] * 2),
              grow | {"ValidateOnly": False}, {
        "no such topic": growing(Name=NOWHERE),
        "as many as there are": growing(Count=3),
        "fewer than there are": growing(Count=1),
        "fewer assignments than partitions": growing(Assignments=[{"BrokerIds": [1]}]),
        "an unknown replica": growing(Assignments=[{"BrokerIds": [99]}] * 2),
        "two replicas": growing(Assignments=[{"BrokerIds": [1, 2]}] * 2),
    })  # fmt: skip
    yield Row("Metadata", (0, 4, 13), {
        "Topics": [{"TopicId": bytes(16), "Name": TOPIC}], "AllowAutoTopicCreation": False,
    }, None, {
        "a bad name": {"Topics": [{"Name": "bad/name"}], "AllowAutoTopicCreation": False},
        # Empty asks for all topics in version 0.
    }, good=("Topics empty",))  # fmt: skip
    yield Row("DescribeTopicPartitions", (0,), {
        "Topics": [{"Name": TOPIC}], "ResponsePartitionLimit": 100,
        "Cursor": {"TopicName": TOPIC, "PartitionIndex": 1},
    }, None, {
        "no such topic": {"Topics": [{"Name": NOWHERE}]},
        "a cursor at no such topic": {
            "Topics": [{"Name": TOPIC}], "Cursor": {"TopicName": NOWHERE, "PartitionIndex": 0},
        },
    })  # fmt: skip


def _configs():
    described = {
        "ResourceType": TOPIC_RESOURCE, "ResourceName": TOPIC, "ConfigurationKeys": ["retention.ms"],
    }  # fmt: skip
    yield Row("DescribeConfigs", (1, 4), {"Resources": [described]}, None, {
        "no such topic": {"Resources": [described | {"ResourceName": NOWHERE}]},
        "no such broker": {"Resources": [described | {
            "ResourceType": BROKER_RESOURCE, "ResourceName": "99",
        }]},
        "a broker that is no number": {"Resources": [described | {
            "ResourceType": BROKER_RESOURCE, "ResourceName": "one",
        }]},
        "an unknown kind": {"Resources": [described | {"ResourceType": 3}]},
        "a group without a name": {"Resources": [described | {
            "ResourceType": GROUP_RESOURCE, "ResourceName": "",
        }]},
    })  # fmt: skip
    yield from _alter_configs({"Name": "retention.ms", "ConfigOperation": 0, "Value": "1000"})
    yield Row("ListConfigResources", (0, 1), {"ResourceTypes": [TOPIC_RESOURCE]}, None, {
        "an unknown kind": {"ResourceTypes": [3]},
    })  # fmt: skip


def _alter_configs(config):
    def altering(operation=None, **changed):
        """Both kinds of request; only one of them has operations."""
        one = config | (operation or {})
        resource = {"ResourceType": TOPIC_RESOURCE, "ResourceName": TOPIC, "Configs": [one]}
        return {"Resources": [resource | changed], "ValidateOnly": True}

    def replacing(request):
        resource = request["Resources"][0]
        configs = [{"Name": each["Name"], "Value": each["Value"]} for each in resource["Configs"]]
        return request | {"Resources": [resource | {"Configs": configs}]}

    bad = {
        "no such topic": altering(ResourceName=NOWHERE),
        "a bad topic name": altering(ResourceName="bad/name"),
        "no such broker": altering(ResourceType=BROKER_RESOURCE, ResourceName="99"),
        "a group without a name": altering(ResourceType=GROUP_RESOURCE, ResourceName=""),
        "an unknown kind": altering(ResourceType=3),
        "an unknown name": altering({"Name": "no.such.config"}),
        "a wrong value": altering({"Value": "soon"}),
        "a value out of range": altering({"Value": "-2"}),
        "no value": altering({"Value": None}),
        "a name twice": altering(Configs=[config] * 2),
    }
    good = altering()
    acted = {"ValidateOnly": False}
    yield Row("AlterConfigs", (0, 2), replacing(good), replacing(good) | acted, {
        name: replacing(request) for name, request in bad.items()
    })  # fmt: skip
    yield Row("IncrementalAlterConfigs", (0, 1), good, good | acted, bad | {
        "an unknown operation": altering({"ConfigOperation": 9}),
        "appending to what is no list": altering({"ConfigOperation": 2}),
    })  # fmt: skip


def _log():
    partition = {
        "PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -1, "LeaderEpoch": 0,
        "Partition": 0,
    }  # fmt: skip
    topic = {"Name": TOPIC, "Topic": TOPIC}

    def asking(names, **changed):
        one = {name: value for name, value in partition.items() if name in names}
        return {**topic, "Partitions": [one | changed]}

    offset_names = ("PartitionIndex", "CurrentLeaderEpoch", "Timestamp")
    offsets = {"ReplicaId": -1, "IsolationLevel": 0, "TimeoutMs": 1000}
    yield Row("ListOffsets", (1, 5, 11),
              offsets | {"Topics": [_without_topic(asking(offset_names))]}, None, {
        "a timestamp with no meaning": offsets | {
            "Topics": [_without_topic(asking(offset_names, Timestamp=-9))],
        },
        "a leader epoch to come": offsets | {
            "Topics": [_without_topic(asking(offset_names, CurrentLeaderEpoch=99))],
        },
    })  # fmt: skip
    epoch_names = ("Partition", "CurrentLeaderEpoch", "LeaderEpoch")
    epochs = asking(epoch_names)
    del epochs["Name"]
    yield Row("OffsetForLeaderEpoch", (2, 4), {"ReplicaId": -1, "Topics": [epochs]})
    deleted = {"Name": SPARE_TOPIC, "Partitions": [{"PartitionIndex": 0, "Offset": 1}]}
    taken = {"Name": TOPIC, "Partitions": [{"PartitionIndex": 0, "Offset": 5}]}
    yield Row("DeleteRecords", (0, 2), {"Topics": [deleted], "TimeoutMs": 5000},
              {"Topics": [taken], "TimeoutMs": 5000}, {
        "beyond the end": {
            "Topics": [taken | {"Partitions": [{"PartitionIndex": 0, "Offset": 99}]}],
            "TimeoutMs": 5000,
        },
    })  # fmt: skip
    yield Row("DescribeProducers", (0,), {"Topics": [{"Name": TOPIC, "PartitionIndexes": [0]}]})
    yield Row("DescribeLogDirs", (1, 4), {"Topics": [{"Topic": TOPIC, "Partitions": [0]}]})


def _without_topic(values):
    return {name: value for name, value in values.items() if name != "Topic"}


def _as_one_node():
    """What is about several nodes, to a broker that is one."""
    partitions = {"Topic": TOPIC, "Partitions": [0]}
    yield Row("ElectLeaders", (0, 2), {
        "ElectionType": 0, "TopicPartitions": [partitions], "TimeoutMs": 5000,
    })  # fmt: skip
    moved = {"Name": TOPIC, "Partitions": [{"PartitionIndex": 0, "Replicas": None}]}
    move = {"TimeoutMs": 5000, "Topics": [moved]}

    def moving(*replicas):
        partition = {"PartitionIndex": 0, "Replicas": list(replicas)}
        return move | {"Topics": [moved | {"Partitions": [partition]}]}

    yield Row("AlterPartitionReassignments", (0, 1), move, None, {
        "to an unknown broker": moving(99),
        "to one broker twice": moving(1, 1),
        "to a broker below 0": moving(-1),
        "to no broker": moving(),
    })  # fmt: skip
    yield Row("ListPartitionReassignments", (0,), {
        "TimeoutMs": 5000, "Topics": [{"Name": TOPIC, "PartitionIndexes": [0]}],
    })  # fmt: skip
    yield Row("DescribeCluster", (0, 2), {"EndpointType": 1}, None, {
        "the controllers": {"EndpointType": 2},
        "an unknown kind of endpoint": {"EndpointType": 9},
    })  # fmt: skip


def _quotas():
    yield Row("DescribeClientQuotas", (0, 1), {
        "Components": [{"EntityType": "client-id", "MatchType": 0, "Match": "nobody"}],
        "Strict": False,
    }, None, {
        "an unknown kind of entity": {
            "Components": [{"EntityType": "planet", "MatchType": 0, "Match": "earth"}],
        },
        "an exact match of nothing": {
            "Components": [{"EntityType": "client-id", "MatchType": 0, "Match": None}],
        },
        "a default with a name": {
            "Components": [{"EntityType": "client-id", "MatchType": 1, "Match": "nobody"}],
        },
        "a kind twice": {
            "Components": [
                {"EntityType": "client-id", "MatchType": 0, "Match": name} for name in "ab"
            ],
        },
    })  # fmt: skip
    entity = {"EntityType": "client-id", "EntityName": "nobody"}
    operation = {"Key": "producer_byte_rate", "Value": 1000.0, "Remove": False}
    entry = {"Entity": [entity], "Ops": [operation]}
    alter = {"Entries": [entry], "ValidateOnly": True}

    def altering(**changed):
        return alter | {"Entries": [entry | changed]}

    yield Row("AlterClientQuotas", (0, 1), alter, alter | {"ValidateOnly": False}, {
        "an unknown kind of entity": altering(Entity=[entity | {"EntityType": "planet"}]),
        "an ip that is none": altering(
            Entity=[{"EntityType": "ip", "EntityName": "999.1.1.1"}],
            Ops=[operation | {"Key": "connection_creation_rate"}],
        ),
        "an ip and a client": altering(
            Entity=[{"EntityType": "ip", "EntityName": "127.0.0.1"}, entity]
        ),
        "an unknown key": altering(Ops=[operation | {"Key": "no_such_rate"}]),
        "a key of another entity": altering(Ops=[operation | {"Key": "connection_creation_rate"}]),
        "a key twice": altering(Ops=[operation] * 2),
        "no entity": altering(Entity=[]),
        "a rate of no number": altering(Ops=[operation | {"Value": float("nan")}]),
        "a rate without end": altering(Ops=[operation | {"Value": float("inf")}]),
        "a rate below 0": altering(Ops=[operation | {"Value": -1.0}]),
        "a rate of 0": altering(Ops=[operation | {"Value": 0.0}]),
    })  # fmt: skip


__all__ = ["OTHER_APIS", "Raw", "Row", "table"]
