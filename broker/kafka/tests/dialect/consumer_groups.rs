//! KIP-848 over the socket: heartbeats, descriptions, offsets and the words of refusals.

use weir_kafka_protocol::messages::api_versions::ApiVersionsRequest;
use weir_kafka_protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, DescribedGroup,
};
use weir_kafka_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};
use weir_kafka_protocol::messages::describe_groups::DescribeGroupsRequest;
use weir_kafka_protocol::messages::list_groups::ListGroupsRequest;
use weir_kafka_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use weir_kafka_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::client::{Client, Server, versions_of};

fn joining(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: 0,
        rebalance_timeout_ms: 300_000,
        subscribed_topic_names: Some(vec!["orders".to_owned()]),
        topic_partitions: Some(vec![]),
        ..Default::default()
    }
}

fn staying(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<(Uuid, Vec<i32>)>> {
    let topics = answer.assignment.as_ref()?.topic_partitions.iter();
    Some(topics.map(|topic| (topic.topic_id, topic.partitions.clone())).collect())
}

async fn describe(client: &mut Client, version: i16, group: &str) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![group.to_owned()],
        include_authorized_operations: true,
    };
    client.call(version, &request).await.groups.remove(0)
}

#[tokio::test(start_paused = true)]
async fn members_join_share_and_leave() {
    let server = Server::start().await;
    let mut client = server.client();
    let orders = client.create_topic("orders", 4, &[]).await;
    for version in versions_of::<ConsumerGroupHeartbeatRequest>() {
        let group = format!("g{version}");
        let a = client.call(version, &joining(&group, "a")).await;
        assert_eq!((a.error_code, a.member_epoch, a.heartbeat_interval_ms), (0, 1, 5_000));
        assert_eq!(a.member_id.as_deref(), Some("a"));
        assert_eq!(assigned(&a), Some(vec![(orders, vec![0, 1, 2, 3])]));
        let b = client.call(version, &joining(&group, "b")).await;
        assert_eq!((b.member_epoch, assigned(&b)), (2, Some(vec![])));
        let a = client.call(version, &staying(&group, "a", 1)).await;
        assert_eq!((a.member_epoch, assigned(&a)), (1, Some(vec![(orders, vec![0, 1])])));
        let owned = RequestTopicPartitions { topic_id: orders, partitions: vec![0, 1] };
        let released = ConsumerGroupHeartbeatRequest {
            topic_partitions: Some(vec![owned]),
            ..staying(&group, "a", 1)
        };
        let a = client.call(version, &released).await;
        assert_eq!((a.member_epoch, assigned(&a)), (2, None));
        let b = client.call(version, &staying(&group, "b", 2)).await;
        assert_eq!(assigned(&b), Some(vec![(orders, vec![2, 3])]));
        let gone = client.call(version, &staying(&group, "a", -1)).await;
        assert_eq!((gone.error_code, gone.member_epoch, gone.heartbeat_interval_ms), (0, -1, 0));
        let b = client.call(version, &staying(&group, "b", 2)).await;
        assert_eq!((b.member_epoch, assigned(&b)), (3, Some(vec![(orders, vec![0, 1, 2, 3])])));
    }
    let unnamed = client.call(0, &joining("unnamed", "")).await;
    let id = unnamed.member_id.expect("the broker makes one");
    assert_eq!(id.len(), 22, "a UUID as Kafka writes it: {id}");
    assert_eq!(client.call(0, &staying("unnamed", &id, 1)).await.error_code, 0);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_is_described_with_its_members_and_listed_with_its_type() {
    let server = Server::start().await;
    let mut client = server.client();
    let orders = client.create_topic("orders", 1, &[]).await;
    let join = ConsumerGroupHeartbeatRequest {
        rack_id: Some("r1".to_owned()),
        subscribed_topic_regex: Some("ord.*".to_owned()),
        server_assignor: Some("range".to_owned()),
        ..joining("g", "a")
    };
    assert_eq!(client.call(1, &join).await.error_code, 0);
    for version in versions_of::<ConsumerGroupDescribeRequest>() {
        let group = describe(&mut client, version, "g").await;
        let shown = (group.group_state.as_str(), group.group_epoch, group.assignment_epoch);
        assert_eq!(shown, ("Stable", 1, 1));
        assert_eq!((group.assignor_name.as_str(), group.error_code), ("range", 0));
        assert_eq!(group.authorized_operations, 0b1101_0100_1000);
        let member = &group.members[0];
        assert_eq!((member.member_id.as_str(), member.member_epoch), ("a", 1));
        assert_eq!(
            (member.rack_id.as_deref(), member.client_host.as_str()),
            (Some("r1"), "/127.0.0.1")
        );
        assert_eq!(member.subscribed_topic_names, ["orders"]);
        assert_eq!(member.subscribed_topic_regex.as_deref(), Some("ord.*"));
        let topic = &member.assignment.topic_partitions[0];
        assert_eq!((topic.topic_id, topic.topic_name.as_str()), (orders, "orders"));
        assert_eq!((&topic.partitions, &member.assignment), (&vec![0], &member.target_assignment));
        assert_eq!(member.member_type, if version >= 1 { 1 } else { -1 });
    }
    let listed = client.call(5, &ListGroupsRequest::default()).await.groups.remove(0);
    assert_eq!(
        (listed.group_type.as_str(), listed.protocol_type.as_str()),
        ("consumer", "consumer")
    );
    let classic = DescribeGroupsRequest { groups: vec!["g".to_owned()], ..Default::default() };
    let refused = client.call(6, &classic).await.groups.remove(0);
    assert_eq!(refused.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    assert_eq!(refused.error_message.as_deref(), Some("Group g is not a classic group."));
    let missing = describe(&mut client, 1, "h").await;
    assert_eq!(missing.error_message.as_deref(), Some("Group h not found."));
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_named_twice_is_described_once() {
    let server = Server::start().await;
    let mut client = server.client();
    client.call(1, &joining("g", "a")).await;
    let group_ids = ["g", "none", "g", "none", "g"].map(str::to_owned).to_vec();
    let request = ConsumerGroupDescribeRequest { group_ids, ..Default::default() };
    let groups = client.call(1, &request).await.groups;
    let told: Vec<_> = groups.iter().map(|group| (&*group.group_id, group.members.len())).collect();
    assert_eq!(told, [("g", 1), ("none", 0)]);
}

async fn commit(client: &mut Client, version: i16, epoch: i32) -> i16 {
    let partition = OffsetCommitRequestPartition { committed_offset: 0, ..Default::default() };
    let (name, partitions) = ("orders".to_owned(), vec![partition]);
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        member_id: "a".to_owned(),
        generation_id_or_member_epoch: epoch,
        topics: vec![OffsetCommitRequestTopic { name, partitions, ..Default::default() }],
        ..Default::default()
    };
    client.call(version, &request).await.topics[0].partitions[0].error_code
}

async fn fetch(client: &mut Client, member: Option<&str>, member_epoch: i32) -> (i16, usize) {
    let group = OffsetFetchRequestGroup {
        group_id: "g".to_owned(),
        member_id: member.map(str::to_owned),
        member_epoch,
        topics: None,
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let found = client.call(9, &request).await.groups.remove(0);
    (found.error_code, found.topics.len())
}

#[tokio::test(start_paused = true)]
async fn offsets_go_with_the_members_epoch() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(client.call(1, &joining("g", "a")).await.member_epoch, 1);
    let (stale, unknown) = (ErrorCode::STALE_MEMBER_EPOCH.0, ErrorCode::UNKNOWN_MEMBER_ID.0);
    assert_eq!(commit(&mut client, 9, 1).await, 0);
    assert_eq!(commit(&mut client, 9, 2).await, stale);
    assert_eq!(commit(&mut client, 8, 2).await, ErrorCode::UNSUPPORTED_VERSION.0);
    for (member, epoch, expected) in [
        (None, -1, (0, 1)),
        (Some("a"), 1, (0, 1)),
        (Some("a"), 0, (stale, 0)),
        (Some("b"), 1, (unknown, 0)),
    ] {
        assert_eq!(fetch(&mut client, member, epoch).await, expected, "{member:?} in {epoch}");
    }
    client.close().await;
}

fn fixed(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".to_owned()),
        member_epoch: epoch,
        ..joining("g", member)
    }
}

async fn check_refused(
    client: &mut Client,
    code: ErrorCode,
    cases: &[(ConsumerGroupHeartbeatRequest, &str)],
) {
    for (request, words) in cases {
        let answer = client.call(1, request).await;
        assert_eq!(answer.error_code, code.0, "{request:?}: {:?}", answer.error_message);
        assert_eq!(answer.error_message.as_deref(), Some(*words));
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_group_could_take_is_refused_in_kafkas_words() {
    let server = Server::start().await;
    let mut client = server.client();
    let text = |text: &str| Some(text.to_owned());
    let good = || joining("g", "b");
    type Request = ConsumerGroupHeartbeatRequest;
    let invalid = [
        (staying("g", "", 1), "MemberId can't be empty."),
        (staying(" ", "a", 1), "GroupId can't be empty."),
        (Request { instance_id: text(""), ..good() }, "InstanceId can't be empty."),
        (Request { rack_id: text(""), ..good() }, "RackId can't be empty."),
        (
            Request { rebalance_timeout_ms: -1, ..good() },
            "RebalanceTimeoutMs must be provided in first request.",
        ),
        (
            Request { topic_partitions: None, ..good() },
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            Request { subscribed_topic_names: None, ..good() },
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
             (re-)joining.",
        ),
        (staying("g", "a", -2), "InstanceId can't be null."),
        (staying("g", "a", -3), "MemberEpoch is invalid."),
    ];
    check_refused(&mut client, ErrorCode::INVALID_REQUEST, &invalid).await;
    let mine = Request { server_assignor: text("mine"), ..good() };
    let words = "ServerAssignor mine is not supported. Supported assignors: uniform, range.";
    check_refused(&mut client, ErrorCode::UNSUPPORTED_ASSIGNOR, &[(mine, words)]).await;
    let bracket = Request { subscribed_topic_regex: text("["), ..good() };
    let words = "SubscribedTopicRegex `[` is not a valid regular expression: missing closing ].";
    check_refused(&mut client, ErrorCode::INVALID_REGULAR_EXPRESSION, &[(bracket, words)]).await;
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_not_the_member_it_says_is_refused_in_kafkas_words() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(client.call(1, &fixed("a", 0)).await.error_code, 0);
    let named = |instance: &str| ConsumerGroupHeartbeatRequest {
        instance_id: Some(instance.to_owned()),
        ..staying("g", "a", 1)
    };
    for (code, request, words) in [
        (
            ErrorCode::UNKNOWN_MEMBER_ID,
            staying("g", "b", 1),
            "Member b is not a member of group g.",
        ),
        (ErrorCode::UNKNOWN_MEMBER_ID, named("j"), "Instance id j is unknown."),
        (ErrorCode::GROUP_ID_NOT_FOUND, staying("h", "b", 1), "Consumer group h not found."),
        (ErrorCode::GROUP_ID_NOT_FOUND, staying("h", "b", -1), "Group h not found."),
        (
            ErrorCode::FENCED_MEMBER_EPOCH,
            staying("g", "a", 2),
            "The consumer group member has a greater member epoch (2) than the one known by the \
             group coordinator (1). The member must abandon all its partitions and rejoin.",
        ),
        (
            ErrorCode::UNRELEASED_INSTANCE_ID,
            fixed("b", 0),
            "Static member b with instance id i cannot join the group because the instance id is \
             owned by a member.",
        ),
        (
            ErrorCode::FENCED_INSTANCE_ID,
            fixed("b", 1),
            "Static member b with instance id i was fenced by member a.",
        ),
    ] {
        check_refused(&mut client, code, &[(request, words)]).await;
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_feature_that_clients_go_by_is_listed() {
    let server = Server::start().await;
    let mut client = server.client();
    for version in versions_of::<ApiVersionsRequest>() {
        let request = ApiVersionsRequest {
            client_software_name: "test".to_owned(),
            client_software_version: "1".to_owned(),
        };
        let answer = client.call(version, &request).await;
        let finalized = answer.finalized_features.iter();
        let finalized: Vec<_> = finalized.map(|one| (&*one.name, one.max_version_level)).collect();
        let supported = answer.supported_features.iter();
        let supported: Vec<_> =
            supported.map(|one| (&*one.name, one.min_version, one.max_version)).collect();
        let expected = if version >= 3 { vec![("group.version", 1)] } else { vec![] };
        assert_eq!(finalized, expected, "version {version}");
        let expected = if version >= 4 { vec![("group.version", 0, 1)] } else { vec![] };
        assert_eq!(supported, expected, "version {version}");
    }
    client.close().await;
}
