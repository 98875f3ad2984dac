//! Groups as administrators see them: listed, described, deleted, and their offsets with them.

use bytes::Bytes;
use weir_kafka_protocol::messages::delete_groups::DeleteGroupsRequest;
use weir_kafka_protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use weir_kafka_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use weir_kafka_protocol::messages::leave_group::LeaveGroupRequest;
use weir_kafka_protocol::messages::list_groups::ListGroupsRequest;
use weir_kafka_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use weir_kafka_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use weir_kafka_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use weir_kafka_protocol::{ErrorCode, Message};

use crate::client::{Client, Server, versions_of};

/// A subscription to `orders`, as consumers write it.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\0\0\0\0";

/// Joins as the only member of a group, in a version that needs no id first.
async fn join(client: &mut Client, group: &str) -> JoinGroupResponse {
    let request = JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(SUBSCRIPTION),
        }],
        ..Default::default()
    };
    let joined = client.call(3, &request).await;
    assert_eq!(joined.error_code, 0);
    joined
}

async fn sync(client: &mut Client, group: &str, joined: &JoinGroupResponse) {
    let request = SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(b"all"),
        }],
        ..Default::default()
    };
    assert_eq!(client.call(3, &request).await.error_code, 0);
}

async fn leave(client: &mut Client, group: &str, joined: &JoinGroupResponse) {
    let (group_id, member_id) = (group.to_owned(), joined.member_id.clone());
    let request = LeaveGroupRequest { group_id, member_id, members: vec![] };
    assert_eq!(client.call(2, &request).await.error_code, 0);
}

async fn commit(client: &mut Client, group: &str, topic: &str) {
    let partition = OffsetCommitRequestPartition { committed_offset: 7, ..Default::default() };
    let (name, partitions) = (topic.to_owned(), vec![partition]);
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic { name, partitions, ..Default::default() }],
        ..Default::default()
    };
    let answer = client.call(8, &request).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

async fn describe(client: &mut Client, version: i16, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        include_authorized_operations: version >= 3,
    };
    client.call(version, &request).await.groups.remove(0)
}

/// Id, protocol type, state and type of each group that is listed, in order.
async fn list(
    client: &mut Client,
    version: i16,
    states: &[&str],
    types: &[&str],
) -> Vec<[String; 4]> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let request = ListGroupsRequest { states_filter: owned(states), types_filter: owned(types) };
    let answer = client.call(version, &request).await;
    assert_eq!(answer.error_code, 0);
    let shown = answer
        .groups
        .into_iter()
        .map(|group| [group.group_id, group.protocol_type, group.group_state, group.group_type]);
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    shown
}

async fn delete(client: &mut Client, version: i16, groups: &[&str]) -> Vec<(String, i16)> {
    let groups_names = groups.iter().map(|group| (*group).to_owned()).collect();
    let answer = client.call(version, &DeleteGroupsRequest { groups_names }).await;
    answer.results.into_iter().map(|result| (result.group_id, result.error_code)).collect()
}

/// The request's own code, and each partition's.
async fn delete_offsets(
    client: &mut Client,
    group: &str,
    wanted: &[(&str, i32)],
) -> (i16, Vec<i16>) {
    let topic = |(name, partition_index): &(&str, i32)| OffsetDeleteRequestTopic {
        name: (*name).to_owned(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: *partition_index }],
    };
    let topics = wanted.iter().map(topic).collect();
    let request = OffsetDeleteRequest { group_id: group.to_owned(), topics };
    let answer = client.call(0, &request).await;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    (answer.error_code, partitions.map(|partition| partition.error_code).collect())
}

#[tokio::test]
async fn groups_are_listed_in_the_states_and_types_that_are_asked_for() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    commit(&mut client, "offsets-only", "orders").await;
    let joined = join(&mut client, "working").await;
    sync(&mut client, "working", &joined).await;
    let offsets_only = ["offsets-only", "", "Empty", "classic"].map(str::to_owned);
    let working = ["working", "consumer", "Stable", "classic"].map(str::to_owned);
    let all = [offsets_only.clone(), working.clone()];
    for version in versions_of::<ListGroupsRequest>() {
        let known_fields = if version >= 5 { 4 } else { version.clamp(3, 4) - 1 };
        let known = |group: &[String; 4]| {
            let mut group = group.clone();
            group[usize::try_from(known_fields).unwrap()..].fill(String::new());
            group
        };
        let expected: Vec<_> = all.iter().map(known).collect();
        assert_eq!(list(&mut client, version, &[], &[]).await, expected, "version {version}");
    }
    for (states, types, expected) in [
        (&["stable"][..], &[][..], &[working.clone()][..]),
        (&[" EMPTY "], &["Classic"], &[offsets_only]),
        (&["Dead", "Stable"], &["consumer", "classic"], &[working]),
        (&["bogus"], &[], &[]),
        (&[], &["bogus"], &[]),
        (&[], &[" classic"], &[]),
    ] {
        let found = list(&mut client, 5, states, types).await;
        assert_eq!(found, expected, "{states:?} {types:?}");
    }
}

#[tokio::test]
async fn a_group_is_described_with_its_members_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client();
    let joined = join(&mut client, "g").await;
    for (state, is_stable) in [("CompletingRebalance", false), ("Stable", true)] {
        if is_stable {
            sync(&mut client, "g", &joined).await;
        }
        for version in versions_of::<DescribeGroupsRequest>() {
            let group = describe(&mut client, version, "g").await;
            assert_eq!((group.error_code, group.error_message), (0, None), "version {version}");
            let shown = (&*group.group_state, &*group.protocol_type, &*group.protocol_data);
            let protocol = if is_stable { "range" } else { "" };
            assert_eq!(shown, (state, "consumer", protocol));
            let operations = if version >= 3 { 0b1101_0100_1000 } else { i32::MIN };
            assert_eq!(group.authorized_operations, operations);
            let [member] = group.members.as_slice() else { panic!("{:?}", group.members) };
            let shown = (&*member.client_id, &*member.client_host);
            assert_eq!(shown, ("test", "/127.0.0.1"));
            assert_eq!((&member.member_id, &member.group_instance_id), (&joined.member_id, &None));
            let told = (&member.member_metadata[..], &member.member_assignment[..]);
            assert_eq!(
                told,
                if is_stable { (SUBSCRIPTION, &b"all"[..]) } else { (&b""[..], &b""[..]) }
            );
        }
    }
}

#[tokio::test]
async fn a_group_that_is_not_there_is_dead() {
    let server = Server::start().await;
    let mut client = server.client();
    let too_long = "g".repeat(2_000);
    for name in ["nobody", "", &too_long] {
        for version in versions_of::<DescribeGroupsRequest>() {
            let group = describe(&mut client, version, name).await;
            assert_eq!((&*group.group_id, &*group.group_state), (name, "Dead"));
            let code = if version >= 6 { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::NONE };
            assert_eq!(group.error_code, code.0, "version {version}");
            assert_eq!(group.error_message.is_some(), version >= 6);
        }
    }
    let message = describe(&mut client, 6, "nobody").await.error_message;
    assert_eq!(message.as_deref(), Some("Group nobody not found."));
}

#[tokio::test]
async fn groups_without_members_are_deleted_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let joined = join(&mut client, "busy").await;
    let (not_found, non_empty) = (ErrorCode::GROUP_ID_NOT_FOUND.0, ErrorCode::NON_EMPTY_GROUP.0);
    for version in versions_of::<DeleteGroupsRequest>() {
        commit(&mut client, "idle", "orders").await;
        let deleted = delete(&mut client, version, &["idle", "busy", "nobody", "idle"]).await;
        let expected = [("busy", non_empty), ("idle", 0), ("nobody", not_found)];
        assert_eq!(deleted, expected.map(|(name, code)| (name.to_owned(), code)));
        assert_eq!(describe(&mut client, 6, "idle").await.error_code, not_found);
    }
    leave(&mut client, "busy", &joined).await;
    assert_eq!(delete(&mut client, 2, &["busy"]).await, [("busy".to_owned(), 0)]);
    assert!(list(&mut client, 5, &[], &[]).await.is_empty());
}

#[tokio::test]
async fn offsets_are_deleted_unless_a_member_reads_the_topic() {
    let server = Server::start().await;
    let mut client = server.client();
    for topic in ["orders", "payments"] {
        client.create_topic(topic, 1, &[]).await;
        commit(&mut client, "g", topic).await;
    }
    let joined = join(&mut client, "g").await;
    let subscribed = ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC.0;
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    let wanted = [
        ("orders", 0),
        ("payments", 0),
        ("payments", 1),
        ("payments", -1),
        ("no", 0),
        ("no/name", 0),
        ("payments", 0),
        ("orders", 0),
    ];
    // Each topic once, with all that was named of it.
    let codes = vec![subscribed, subscribed, 0, unknown, unknown, 0, unknown, unknown];
    assert_eq!(delete_offsets(&mut client, "g", &wanted).await, (0, codes));
    leave(&mut client, "g", &joined).await;
    assert_eq!(delete_offsets(&mut client, "g", &wanted[..2]).await, (0, vec![0, 0]));
    assert_eq!(describe(&mut client, 6, "g").await.group_state, "Empty");
    for (group, code) in
        [("nobody", ErrorCode::GROUP_ID_NOT_FOUND), ("", ErrorCode::INVALID_GROUP_ID)]
    {
        assert_eq!(delete_offsets(&mut client, group, &wanted).await, (code.0, vec![]));
    }
    let topic = |partitions: &[i32]| OffsetDeleteRequestTopic {
        name: "orders".to_owned(),
        partitions: partitions
            .iter()
            .map(|index| OffsetDeleteRequestPartition { partition_index: *index })
            .collect(),
    };
    let topics = vec![topic(&[0]), topic(&[7, 0])];
    commit(&mut client, "twice", "orders").await;
    let request = OffsetDeleteRequest { group_id: "twice".to_owned(), topics };
    let answer = client.call(0, &request).await;
    assert_eq!((answer.error_code, answer.topics.len()), (0, 1), "a topic that is named twice");
    let indexes = answer.topics[0].partitions.iter().map(|partition| partition.partition_index);
    assert_eq!(indexes.collect::<Vec<_>>(), [0, 7, 0]);
    assert_eq!(OffsetDeleteRequest::VERSIONS, (0, 0));
}
