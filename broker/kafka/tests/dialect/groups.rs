//! Consumer groups: every version of every request in one member's life, and members that share.

use bytes::Bytes;
use weir_kafka_protocol::messages::find_coordinator::FindCoordinatorRequest;
use weir_kafka_protocol::messages::heartbeat::HeartbeatRequest;
use weir_kafka_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use weir_kafka_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use weir_kafka_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use weir_kafka_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use weir_kafka_protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use weir_kafka_protocol::{ErrorCode, Uuid};

use crate::client::{Client, Server};

const NO_MEMBER: &str = "";

fn join(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 10_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"subscription"),
        }],
        ..Default::default()
    }
}

/// Joins as clients do, coming back with the id that newer versions ask them to use.
async fn joined(client: &mut Client, version: i16, group: &str) -> JoinGroupResponse {
    let first = client.call(version, &join(group, NO_MEMBER)).await;
    if first.error_code != ErrorCode::MEMBER_ID_REQUIRED.0 {
        return first;
    }
    assert!(version >= 4, "older clients do not know the code");
    client.call(version, &join(group, &first.member_id)).await
}

fn sync(group: &str, joined: &JoinGroupResponse, version: i16) -> SyncGroupRequest {
    let says_protocol = version >= 5;
    let share = |member: &str| SyncGroupRequestAssignment {
        member_id: member.to_owned(),
        assignment: Bytes::copy_from_slice(member.as_bytes()),
    };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: says_protocol.then(|| "consumer".to_owned()),
        protocol_name: says_protocol.then(|| "range".to_owned()),
        assignments: joined.members.iter().map(|member| share(&member.member_id)).collect(),
        ..Default::default()
    }
}

fn heartbeat(group: &str, joined: &JoinGroupResponse) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
    }
}

fn leave(group: &str, member: &str, version: i16) -> LeaveGroupRequest {
    let identity = MemberIdentity { member_id: member.to_owned(), ..Default::default() };
    let (member_id, members) =
        if version >= 3 { (String::new(), vec![identity]) } else { (member.to_owned(), vec![]) };
    LeaveGroupRequest { group_id: group.to_owned(), member_id, members }
}

#[tokio::test]
async fn a_member_lives_through_all_its_requests_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client();
    for version in 0..=9 {
        let group = format!("group-{version}");
        let (sync_version, beat_version) = (version.min(5), version.min(4));
        let joined = joined(&mut client, version, &group).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "version {version}");
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
        assert_eq!(joined.members[0].metadata, "subscription");
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));

        let synced = client.call(sync_version, &sync(&group, &joined, sync_version)).await;
        assert_eq!(
            (synced.error_code, synced.assignment.as_ref()),
            (0, joined.member_id.as_bytes())
        );
        let beat = client.call(beat_version, &heartbeat(&group, &joined)).await;
        assert_eq!(beat.error_code, 0);

        let request = leave(&group, &joined.member_id, sync_version);
        let left = client.call(sync_version, &request).await;
        let codes: Vec<_> = left.members.iter().map(|member| member.error_code).collect();
        assert_eq!((left.error_code, codes), (0, vec![0; request.members.len()]));
        let again = client.call(sync_version, &request).await;
        let code = again.members.first().map_or(again.error_code, |member| member.error_code);
        assert_eq!(code, ErrorCode::UNKNOWN_MEMBER_ID.0, "version {version}");
        let beat = client.call(beat_version, &heartbeat(&group, &joined)).await;
        assert_eq!(beat.error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    }
}

#[tokio::test]
async fn a_newcomer_waits_until_the_member_that_is_there_has_rejoined() {
    let server = Server::start().await;
    let (mut old, mut new) = (server.client(), server.client());
    let first = joined(&mut old, 9, "g").await;
    old.call(5, &sync("g", &first, 5)).await;
    let id = new.call(9, &join("g", NO_MEMBER)).await.member_id;
    new.send(9, &join("g", &id)).await;
    // The join of one connection must not hold up another; sooner or later it is heard of.
    while old.call(4, &heartbeat("g", &first)).await.error_code == 0 {
        tokio::task::yield_now().await;
    }
    let leader = old.call(9, &join("g", &first.member_id)).await;
    let follower: JoinGroupResponse = new.receive(9).await;
    assert_eq!((leader.generation_id, leader.members.len()), (2, 2));
    assert_eq!((follower.generation_id, follower.members.len()), (2, 0));
    assert_eq!(follower.leader, first.member_id);
    new.send(5, &sync("g", &follower, 5)).await;
    old.call(5, &sync("g", &leader, 5)).await;
    let synced: SyncGroupResponse = new.receive(5).await;
    assert_eq!(synced.assignment.as_ref(), follower.member_id.as_bytes());
}

#[tokio::test]
async fn group_requests_that_cannot_work_get_kafkas_codes() {
    let server = Server::start().await;
    let mut client = server.client();
    for (request, expected) in [
        (join("", NO_MEMBER), ErrorCode::INVALID_GROUP_ID),
        (join("g", "stranger"), ErrorCode::UNKNOWN_MEMBER_ID),
        (
            JoinGroupRequest { session_timeout_ms: 5_999, ..join("g", NO_MEMBER) },
            ErrorCode::INVALID_SESSION_TIMEOUT,
        ),
        (
            JoinGroupRequest { session_timeout_ms: -1, ..join("g", NO_MEMBER) },
            ErrorCode::INVALID_SESSION_TIMEOUT,
        ),
        (
            JoinGroupRequest { protocols: Vec::new(), ..join("g", NO_MEMBER) },
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ),
    ] {
        for version in [0, 6, 9] {
            let refused = client.call(version, &request).await;
            assert_eq!(refused.error_code, expected.0, "{request:?} in version {version}");
            assert_eq!((refused.generation_id, refused.members.len()), (-1, 0));
            let no_name = if version >= 7 { None } else { Some("") };
            assert_eq!(refused.protocol_name.as_deref(), no_name);
        }
    }
    let member = joined(&mut client, 9, "g").await;
    let nameless = SyncGroupRequest { protocol_name: None, ..sync("g", &member, 5) };
    let refused = client.call(5, &nameless).await;
    assert_eq!(refused.error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL.0);
    let stale = HeartbeatRequest { generation_id: 7, ..heartbeat("g", &member) };
    let refused = client.call(4, &stale).await;
    assert_eq!(refused.error_code, ErrorCode::ILLEGAL_GENERATION.0);
}

#[tokio::test]
async fn a_stopping_broker_answers_joins_that_wait() {
    let server = Server::start().await;
    let (mut old, mut new) = (server.client(), server.client());
    let first = joined(&mut old, 3, "g").await;
    old.call(3, &sync("g", &first, 3)).await;
    new.send(3, &join("g", NO_MEMBER)).await;
    while old.call(3, &heartbeat("g", &first)).await.error_code == 0 {
        tokio::task::yield_now().await;
    }
    server.stop();
    let refused: JoinGroupResponse = new.receive(3).await;
    assert_eq!(refused.error_code, ErrorCode::COORDINATOR_NOT_AVAILABLE.0);
}

fn commit(version: i16, name: &str, id: Uuid, partitions: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |(index, offset): &(i32, i64)| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: *offset,
        committed_leader_epoch: if version >= 6 { 3 } else { -1 },
        committed_metadata: Some("note".to_owned()),
    };
    OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        member_id: String::new(),
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: if version >= 10 { String::new() } else { name.to_owned() },
            topic_id: if version >= 10 { id } else { Uuid::ZERO },
            partitions: partitions.iter().map(partition).collect(),
        }],
        ..Default::default()
    }
}

/// Offset, leader epoch, metadata and code of each partition of the first topic, and the group's
/// own code.
type Fetched = (Vec<(i64, i32, String, i16)>, i16);

/// Asks for partitions of a topic, or with none for everything, whatever the version's shape.
async fn fetch(
    client: &mut Client,
    version: i16,
    topic: Option<(&str, Uuid, Vec<i32>)>,
) -> Fetched {
    let mut request = OffsetFetchRequest::default();
    if version >= 8 {
        let topics = topic.map(|(name, id, partition_indexes)| {
            let name = if version >= 10 { String::new() } else { name.to_owned() };
            let topic_id = if version >= 10 { id } else { Uuid::ZERO };
            vec![OffsetFetchRequestTopics { name, topic_id, partition_indexes }]
        });
        let group =
            OffsetFetchRequestGroup { group_id: "g".to_owned(), topics, ..Default::default() };
        request.groups = vec![group];
    } else {
        request.group_id = "g".to_owned();
        request.topics = topic.map(|(name, _, partition_indexes)| {
            vec![OffsetFetchRequestTopic { name: name.to_owned(), partition_indexes }]
        });
    }
    let response = client.call(version, &request).await;
    if version >= 8 {
        let group = &response.groups[0];
        let found = group.topics.iter().flat_map(|topic| &topic.partitions).map(|found| {
            let metadata = found.metadata.clone().unwrap();
            (found.committed_offset, found.committed_leader_epoch, metadata, found.error_code)
        });
        return (found.collect(), group.error_code);
    }
    let found = response.topics.iter().flat_map(|topic| &topic.partitions).map(|found| {
        let metadata = found.metadata.clone().unwrap();
        (found.committed_offset, found.committed_leader_epoch, metadata, found.error_code)
    });
    (found.collect(), response.error_code)
}

#[tokio::test]
async fn offsets_are_kept_and_found_in_every_version() {
    let server = Server::start().await;
    let mut client = server.client();
    let id = client.create_topic("orders", 2, &[]).await;
    for version in 2..=10 {
        let offset = i64::from(version) * 100;
        let request = commit(version, "orders", id, &[(0, offset), (9, 1), (0, -5), (-1, 1)]);
        let answer = client.call(version, &request).await;
        let codes: Vec<_> = answer.topics[0].partitions.iter().map(|p| p.error_code).collect();
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
        let expected = [0, unknown, ErrorCode::INVALID_REQUEST.0, unknown];
        assert_eq!(codes, expected, "version {version}");
        for fetch_version in 1..=10 {
            let epoch = if version >= 6 && fetch_version >= 5 { 3 } else { -1 };
            let topic = Some(("orders", id, vec![0, 1, 9]));
            let (found, code) = fetch(&mut client, fetch_version, topic).await;
            let none = (-1, -1, String::new(), 0);
            let expected = vec![(offset, epoch, "note".to_owned(), 0), none.clone(), none];
            assert_eq!((found, code), (expected, 0), "{version} {fetch_version}");
            if fetch_version >= 2 {
                let (all, _) = fetch(&mut client, fetch_version, None).await;
                assert_eq!(all, [(offset, epoch, "note".to_owned(), 0)]);
            }
        }
    }
}

#[tokio::test]
async fn offsets_asked_for_twice_are_told_once_and_too_many_not_at_all() {
    let server = Server::start().await;
    let mut client = server.client();
    let topic = |partition_indexes: Vec<i32>| OffsetFetchRequestTopics {
        name: "orders".to_owned(),
        partition_indexes,
        ..Default::default()
    };
    let group =
        |topics| OffsetFetchRequestGroup { group_id: "g".to_owned(), topics, ..Default::default() };
    let twice = Some(vec![topic(vec![1, 0, 1]), topic(vec![0, 2])]);
    let groups = vec![group(twice), group(None), group(Some(vec![topic(vec![1, 3])])), group(None)];
    let request = OffsetFetchRequest { groups, ..Default::default() };
    let response = client.call(9, &request).await;
    let told = response.groups.iter().map(|group| {
        let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.partition_index).collect::<Vec<_>>()
    });
    assert_eq!(told.collect::<Vec<_>>(), [vec![1, 0, 2], vec![], vec![3]]);
    let groups = vec![group(Some(vec![topic(vec![0; 200_000])]))];
    client.send(9, &OffsetFetchRequest { groups, ..Default::default() }).await;
    client.expect_close().await;
}

#[tokio::test]
async fn topics_that_are_not_there_have_no_offsets() {
    let server = Server::start().await;
    let mut client = server.client();
    let id = Uuid([9; 16]);
    for (version, expected) in
        [(9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), (10, ErrorCode::UNKNOWN_TOPIC_ID)]
    {
        let answer = client.call(version, &commit(version, "nothing", id, &[(0, 1)])).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, expected.0);
    }
    for (version, expected) in
        [(1, ErrorCode::NONE), (9, ErrorCode::NONE), (10, ErrorCode::UNKNOWN_TOPIC_ID)]
    {
        let (found, code) = fetch(&mut client, version, Some(("nothing", id, vec![0]))).await;
        assert_eq!((found, code), (vec![(-1, -1, String::new(), expected.0)], 0));
    }
}

#[tokio::test]
async fn commits_of_strangers_are_refused_in_every_partition() {
    let server = Server::start().await;
    let mut client = server.client();
    let id = client.create_topic("orders", 2, &[]).await;
    // Partition 7 is not there, which no group need be asked for.
    let with_generation = |version| OffsetCommitRequest {
        generation_id_or_member_epoch: 1,
        member_id: "stranger".to_owned(),
        ..commit(version, "orders", id, &[(0, 1), (1, 1), (7, 1)])
    };
    for (version, expected) in [
        (8, ErrorCode::ILLEGAL_GENERATION),
        (9, ErrorCode::GROUP_ID_NOT_FOUND),
        (10, ErrorCode::GROUP_ID_NOT_FOUND),
    ] {
        let answer = client.call(version, &with_generation(version)).await;
        let codes: Vec<_> = answer.topics[0].partitions.iter().map(|p| p.error_code).collect();
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(codes, [expected.0, expected.0, unknown.0], "version {version}");
    }
    joined(&mut client, 9, "g").await;
    let answer = client.call(9, &with_generation(9)).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    let plain = client.call(9, &commit(9, "orders", id, &[(0, 1)])).await;
    assert_eq!(plain.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
}

#[tokio::test]
async fn every_group_is_kept_here_and_no_transaction_anywhere() {
    let server = Server::start().await;
    let mut client = server.client();
    for (key_type, expected) in [
        (0, ErrorCode::NONE),
        (1, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (2, ErrorCode::INVALID_REQUEST),
        (9, ErrorCode::INVALID_REQUEST),
    ] {
        let place = if expected == ErrorCode::NONE { (1, "localhost", 9092) } else { (-1, "", -1) };
        for version in 0..=6 {
            if version == 0 && key_type != 0 {
                continue; // Version 0 knows groups only.
            }
            let (key, keys) = if version >= 4 {
                (String::new(), vec!["g".to_owned(), "h".to_owned()])
            } else {
                ("g".to_owned(), Vec::new())
            };
            let request = FindCoordinatorRequest { key, key_type, coordinator_keys: keys.clone() };
            let answer = client.call(version, &request).await;
            if version < 4 {
                let told = (answer.node_id, answer.host.as_str(), answer.port);
                assert_eq!((told, answer.error_code), (place, expected.0), "version {version}");
                continue;
            }
            let told: Vec<_> = answer.coordinators.iter().map(|one| one.key.clone()).collect();
            assert_eq!(told, keys);
            for one in &answer.coordinators {
                let told = (one.node_id, one.host.as_str(), one.port);
                assert_eq!((told, one.error_code), (place, expected.0), "version {version}");
            }
        }
    }
}
