//! The coordinator on the in-memory log, which answers *later*, with time that moves by itself
//! whenever everybody waits.

use std::time::Duration;

use bytes::Bytes;
use weir_model::batch_builder::{BatchBuilder, BatchOptions};
use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::random::SeededRandom;
use weir_model::record::RecordToWrite;
use weir_model::time::Timestamp;
use weir_storage::commit::{Append, CommitSet, Stamp};
use weir_storage::memory::MemoryLog;
use weir_storage::meta::memory::MemoryMeta;

use super::*;
use crate::group::classic::{Client, JoinedMember, Protocol};
use crate::group::description::GroupState;
use crate::group::error::CommitError;
use crate::group::identity::MemberId;
use crate::group::modern::heartbeat::{Beat, Going, Returns};
use crate::settings::alteration::{Alteration, Change, Changes};
use crate::settings::broker_settings::TopicDefaults;
use crate::settings::holder::Resource;
use crate::stream::registry::{Deletion, RegistryOptions};
use crate::stream::stream::{Intent, NewStream, Routing, Stream};

const SESSION: Duration = Duration::from_secs(10);

/// Tokio's paused time as a clock, so that sleeping and looking at the clock agree.
#[derive(Debug)]
struct PausedClock {
    start: tokio::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "tokio's time is paused and so under our control")]
fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.moment().since_start().as_millis();
        Timestamp::from_millis(1_700_000_000_000 + i64::try_from(elapsed).expect("a short test"))
    }

    fn moment(&self) -> Moment {
        Moment::from_start(tokio_now().duration_since(self.start))
    }
}

/// Everything that outlives a coordinator.
struct Ground {
    registry: Arc<Registry>,
    configurations: Arc<Configurations>,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
}

impl Ground {
    async fn new() -> Ground {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock { start: tokio_now() });
        let log = Arc::new(Log::Memory(MemoryLog::start(Arc::clone(&clock))));
        let (registry, _) = Registry::open(
            Arc::clone(&log),
            Arc::new(MemoryMeta::default()),
            Arc::clone(&clock),
            Arc::new(SeededRandom::new(1)),
            RegistryOptions {
                defaults: TopicDefaults::of_the_table(FlushPolicy::Group),
                partitions_max: 100,
            },
        )
        .await
        .expect("memory does not fail");
        let registry = Arc::new(registry);
        let configurations = Arc::new(Configurations::new(
            Arc::clone(&registry),
            Default::default(),
            FlushPolicy::Group,
            Default::default(),
            BrokerSettings::default(),
        ));
        Ground { registry, configurations, log, clock }
    }

    fn coordinator(&self, options: GroupOptions) -> Arc<GroupCoordinator> {
        Arc::new(GroupCoordinator::new(
            Arc::clone(&self.registry),
            Arc::clone(&self.configurations),
            Arc::clone(&self.log),
            Arc::clone(&self.clock),
            Arc::new(SeededRandom::new(2)),
            options,
        ))
    }

    fn started(&self) -> Arc<GroupCoordinator> {
        self.coordinator(GroupOptions::default())
    }

    async fn stream(&self, name: &str) -> Arc<Stream> {
        let new = NewStream {
            name: StreamName::new(name).expect("a legal name"),
            routing: Routing::ByPartition,
            partitions: 2,
            overrides: Default::default(),
            attributes: Default::default(),
            intent: Intent::Make,
        };
        self.registry.create(vec![new]).await.remove(0).expect("the name is free")
    }

    async fn delete(&self, groups: &GroupCoordinator, stream: &Arc<Stream>) {
        let turn = self.registry.turn().await;
        let deletion = Deletion::WithConsumers;
        let decided = self.registry.begin_deletions(turn, &[stream.id], deletion).await;
        decided[0].as_ref().expect("it lives");
        groups.stream_deleted(stream).await.expect("the log works");
        self.registry.finish_deletions(&[Arc::clone(stream)]).await.expect("memory does not fail");
    }
}

fn group(name: &str) -> GroupId {
    GroupId::new(name).expect("a short name")
}

fn nobody() -> Claim {
    Claim { member: None, instance: None, generation: None }
}

fn at(stream: &Arc<Stream>, partition: usize, offset: u64) -> OffsetToCommit {
    OffsetToCommit {
        stream: Arc::clone(stream),
        partition: PartitionIndex::try_from(partition).expect("a small index"),
        offset: Offset::new(offset),
        leader_epoch: Some(0),
        metadata: Arc::from("note"),
        expires_at: None,
    }
}

async fn fetched(groups: &GroupCoordinator, name: &str, stream: &Arc<Stream>) -> Option<u64> {
    let wanted = [(Arc::clone(stream), PartitionIndex::ZERO)];
    let found = groups.fetch_offsets(&group(name), &nobody(), &wanted).await.expect("loaded");
    found[0].as_ref().map(|committed| committed.offset.number())
}

fn joining(name: &str) -> Join {
    Join {
        member: None,
        instance: None,
        fresh_id: MemberId::from_client(name).expect("not empty"),
        needs_known_id: false,
        knows_skip_assignment: false,
        client: Client { id: Arc::from(name), host: Arc::from("/127.0.0.1") },
        session_timeout: SESSION,
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: Arc::from("consumer"),
        protocols: vec![Protocol { name: Arc::from("range"), metadata: Bytes::new() }],
    }
}

fn claim(joined: &Joined) -> Claim {
    Claim {
        member: Some(joined.member.clone()),
        instance: None,
        generation: Some(joined.generation),
    }
}

async fn sync(groups: &GroupCoordinator, joined: &Joined) -> Result<Synced, GroupError> {
    let share = |member: &JoinedMember| {
        (member.member.clone(), Bytes::copy_from_slice(member.member.as_str().as_bytes()))
    };
    let sync = Sync {
        claim: claim(joined),
        protocol_type: joined.protocol_type.clone(),
        protocol: joined.protocol.clone(),
        assignments: joined.members.iter().map(share).collect(),
    };
    groups.sync(&group("g"), sync).await
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_found_again_also_after_a_restart() {
    let ground = Ground::new().await;
    let orders = ground.stream("orders").await;
    let groups = ground.started();
    let offsets = vec![at(&orders, 0, 42), at(&orders, 7, 1)];
    let results = groups.commit_offsets(&group("g"), nobody(), offsets).await;
    assert_eq!(results, Ok(vec![Ok(()), Err(CommitError::UnknownPartition)]));
    for groups in [groups, ground.started()] {
        assert_eq!(fetched(&groups, "g", &orders).await, Some(42));
        assert_eq!(fetched(&groups, "other", &orders).await, None);
        let all = groups.fetch_all_offsets(&group("g"), &nobody()).await.expect("loaded");
        let [(stream, partition, committed)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((stream.id, *partition), (orders.id, PartitionIndex::ZERO));
        assert_eq!((&*committed.metadata, committed.leader_epoch), ("note", Some(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_is_made_by_the_first_request_and_kept_for_ever() {
    let ground = Ground::new().await;
    let groups = ground.started();
    assert!(ground.registry.by_name(CONSUMER_OFFSETS).is_none());
    assert_eq!(groups.fetch_all_offsets(&group("g"), &nobody()).await.map(|all| all.len()), Ok(0));
    let stream = ground.registry.by_name(CONSUMER_OFFSETS).expect("made");
    let config = stream.config();
    assert_eq!((config.retention_ms, config.log.retention_bytes), (None, None));
    assert_eq!(config.flush, FlushPolicy::Group);
    assert_eq!(config.overrides.get("cleanup.policy").map(String::as_str), Some("compact"));
}

#[tokio::test(start_paused = true)]
async fn members_wait_for_each_other_and_share_the_work() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let first = groups.join(&group("g"), joining("a")).await.expect("joined");
    assert_eq!((first.generation, first.members.len()), (1, 1));

    let newcomer = tokio::spawn({
        let groups = Arc::clone(&groups);
        async move { groups.join(&group("g"), joining("b")).await }
    });
    tokio::task::yield_now().await;
    let beat = groups.heartbeat(&group("g"), claim(&first)).await;
    assert_eq!(beat, Err(GroupError::RebalanceInProgress));
    let again = Join { member: Some(first.member.clone()), ..joining("a") };
    let leader = groups.join(&group("g"), again).await.expect("joined");
    let follower = newcomer.await.expect("no panic").expect("joined");
    assert_eq!((leader.generation, leader.members.len(), follower.members.len()), (2, 2, 0));

    let (leaders, followers) = tokio::join!(sync(&groups, &leader), sync(&groups, &follower));
    assert_eq!(leaders.map(|synced| synced.assignment), Ok(Bytes::from_static(b"a")));
    assert_eq!(followers.map(|synced| synced.assignment), Ok(Bytes::from_static(b"b")));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_falls_silent_is_expired_by_the_timer() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let joined = groups.join(&group("g"), joining("a")).await.expect("joined");
    sync(&groups, &joined).await.expect("synced");
    tokio::time::sleep(SESSION - Duration::from_secs(1)).await;
    assert_eq!(groups.heartbeat(&group("g"), claim(&joined)).await, Ok(()));
    tokio::time::sleep(SESSION - Duration::from_secs(1)).await;
    assert_eq!(groups.heartbeat(&group("g"), claim(&joined)).await, Ok(()));
    tokio::time::sleep(SESSION + Duration::from_secs(1)).await;
    let late = groups.heartbeat(&group("g"), claim(&joined)).await;
    assert_eq!(late, Err(GroupError::UnknownMember));
}

/// Sets a group's own settings.
async fn configure(ground: &Ground, name: &str, settings: &[(&str, &str)]) {
    let set = |(name, value): &(&str, &str)| ((*name).to_owned(), Change::Set((*value).to_owned()));
    let alteration = Alteration {
        resource: Resource::Held(Holder::Group(name.to_owned())),
        changes: Changes::Some(settings.iter().map(set).collect()),
    };
    let altered = ground.configurations.alter(vec![alteration], Intent::Make).await;
    assert_eq!(altered, [Ok(())]);
}

/// The heartbeat of the consumer protocol of member `m`, who joins in epoch 0.
fn beat(epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat::Stay(Box::new(Beat {
        member: MemberId::from_client("m").expect("an id"),
        epoch,
        instance: None,
        rack: None,
        rebalance_timeout: Some(Duration::from_secs(300)),
        topics: Some([Arc::from("t")].into()),
        regex: None,
        assignor: None,
        owned: Some(Default::default()),
        client: Client { id: "c".into(), host: "/127.0.0.1".into() },
    }))
}

#[tokio::test(start_paused = true)]
async fn a_groups_own_timeouts_act_from_the_next_heartbeat_on_and_after_a_restart() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let interval_s = |standing: Result<Standing, HeartbeatRefused>| {
        let standing = standing.expect("a member");
        (standing.epoch, standing.heartbeat_interval.map(|interval| interval.as_secs()))
    };
    let (name, after) = (group("g"), Duration::from_secs);
    let joined = groups.consumer_heartbeat(&name, beat(0)).await;
    assert_eq!(interval_s(joined), (1, Some(5)));
    let own =
        [("consumer.session.timeout.ms", "60000"), ("consumer.heartbeat.interval.ms", "7000")];
    configure(&ground, "g", &own).await;
    assert_eq!(interval_s(groups.consumer_heartbeat(&name, beat(1)).await), (1, Some(7)));
    tokio::time::sleep(after(59)).await;
    assert_eq!(interval_s(groups.consumer_heartbeat(&name, beat(1)).await), (1, Some(7)));

    drop(groups);
    let restarted = ground.started();
    assert!(restarted.list().await.is_ok(), "the groups are loaded, and their timers begin");
    tokio::time::sleep(after(59)).await;
    assert_eq!(interval_s(restarted.consumer_heartbeat(&name, beat(1)).await), (1, Some(7)));
    tokio::time::sleep(after(61)).await;
    assert!(restarted.consumer_heartbeat(&name, beat(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_ends_by_the_timer_when_a_member_does_not_come() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let gone = groups.join(&group("g"), joining("a")).await.expect("joined");
    sync(&groups, &gone).await.expect("synced");
    let alone = groups.join(&group("g"), joining("b")).await.expect("joined");
    let leader = alone.leader.as_ref().map(MemberId::as_str);
    assert_eq!((leader, alone.members.len()), (Some("b"), 1));
}

#[tokio::test(start_paused = true)]
async fn members_keep_their_place_over_a_restart_or_are_expired_after_it() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let joined = groups.join(&group("g"), joining("a")).await.expect("joined");
    sync(&groups, &joined).await.expect("synced");
    let restarted = ground.started();
    assert_eq!(restarted.heartbeat(&group("g"), claim(&joined)).await, Ok(()));
    let synced = sync(&restarted, &joined).await.expect("still a member");
    assert_eq!(synced.assignment, "a");
    tokio::time::sleep(SESSION + Duration::from_secs(1)).await;
    let late = restarted.heartbeat(&group("g"), claim(&joined)).await;
    assert_eq!(late, Err(GroupError::UnknownMember));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_made_again_does_not_inherit_offsets() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let old = ground.stream("orders").await;
    let committed = groups.commit_offsets(&group("g"), nobody(), vec![at(&old, 0, 42)]).await;
    assert_eq!(committed, Ok(vec![Ok(())]));
    ground.delete(&groups, &old).await;
    let late = groups.commit_offsets(&group("g"), nobody(), vec![at(&old, 0, 43)]).await;
    assert_eq!(late, Ok(vec![Err(CommitError::UnknownPartition)]));
    let new = ground.stream("orders").await;
    for groups in [groups, ground.started()] {
        assert_eq!(fetched(&groups, "g", &new).await, None);
        assert_eq!(
            groups.fetch_all_offsets(&group("g"), &nobody()).await.map(|all| all.len()),
            Ok(0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_whose_tombstones_were_never_written_do_not_come_back() {
    let ground = Ground::new().await;
    let old = ground.stream("orders").await;
    let groups = ground.started();
    let committed = groups.commit_offsets(&group("g"), nobody(), vec![at(&old, 0, 42)]).await;
    assert_eq!(committed, Ok(vec![Ok(())]));
    // A crash between the decision and the tombstones.
    let turn = ground.registry.turn().await;
    let deletion = Deletion::WithConsumers;
    let decided = ground.registry.begin_deletions(turn, &[old.id], deletion).await;
    decided[0].as_ref().expect("it lives");
    let new = ground.stream("orders").await;
    assert_eq!(fetched(&ground.started(), "g", &new).await, None);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_stream_before_any_group_came_makes_no_log() {
    let ground = Ground::new().await;
    let stream = ground.stream("orders").await;
    ground.delete(&ground.started(), &stream).await;
    assert!(ground.registry.by_name(CONSUMER_OFFSETS).is_none());
}

#[tokio::test(start_paused = true)]
async fn refused_requests_leave_no_group_behind() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let bad = Join { session_timeout: Duration::ZERO, ..joining("a") };
    let refused = groups.join(&group("g"), bad).await.expect_err("the session is too short");
    assert_eq!(refused.error, GroupError::InvalidSessionTimeout);
    let known = Join { member: MemberId::from_client("x"), ..joining("a") };
    let refused = groups.join(&group("g"), known).await.expect_err("nobody knows x");
    assert_eq!(refused.error, GroupError::UnknownMember);
    let foreign = Claim { generation: Some(3), ..nobody() };
    let refused = groups.commit_offsets(&group("g"), foreign, vec![]).await;
    assert_eq!(refused, Err(GroupError::GroupNotFound));
    let refused = groups.join(&group(""), joining("a")).await.expect_err("no name");
    assert_eq!(refused.error, GroupError::InvalidGroupId);

    let asked = Join { needs_known_id: true, ..joining("a") };
    let refused = groups.join(&group("g"), asked).await.expect_err("sent back with an id");
    assert_eq!(refused.error, GroupError::MemberIdRequired);
    assert_eq!(groups.shared.groups.read().len(), 1, "the id is kept");
    tokio::time::sleep(SESSION + Duration::from_secs(1)).await;
    assert_eq!(groups.shared.groups.read().len(), 0, "and forgotten with its group");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_groups_is_bounded() {
    let ground = Ground::new().await;
    let stream = ground.stream("orders").await;
    let groups = ground.coordinator(GroupOptions { groups_max: 1, ..GroupOptions::default() });
    for (name, expected) in
        [("g", Ok(vec![Ok(())])), ("h", Err(GroupError::TooManyGroups)), ("g", Ok(vec![Ok(())]))]
    {
        let result = groups.commit_offsets(&group(name), nobody(), vec![at(&stream, 0, 1)]).await;
        assert_eq!(result, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_would_log_too_much_is_refused_for_good() {
    let ground = Ground::new().await;
    let stream = ground.stream("orders").await;
    let groups = ground.started();
    let long_id = group(&"g".repeat(1_024));
    let all = |count| vec![at(&stream, 0, 1); count];
    let refused = groups.commit_offsets(&long_id, nobody(), all(16_000)).await;
    assert_eq!(refused, Err(GroupError::TooLarge));
    let kept = groups.commit_offsets(&long_id, nobody(), all(10_000)).await.expect("it fits");
    assert!(kept.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn stopping_answers_who_waits_and_who_comes_later() {
    let ground = Ground::new().await;
    let groups = ground.started();
    let joined = groups.join(&group("g"), joining("a")).await.expect("joined");
    let waiting = tokio::spawn({
        let groups = Arc::clone(&groups);
        async move { groups.join(&group("g"), joining("b")).await }
    });
    tokio::task::yield_now().await;
    groups.shut_down();
    let refused = waiting.await.expect("no panic").expect_err("answered without a generation");
    assert_eq!(refused.error, GroupError::ShuttingDown);
    let late = groups.heartbeat(&group("g"), claim(&joined)).await;
    assert_eq!(late, Err(GroupError::ShuttingDown));
}

/// Nobody else writes this log; if somebody does all the same, one change fails and is said to
/// have failed, instead of being mixed in.
#[tokio::test(start_paused = true)]
async fn a_foreign_record_in_the_log_fails_one_change_and_no_more() {
    let ground = Ground::new().await;
    let stream = ground.stream("orders").await;
    let groups = ground.started();
    let commit = |offset| {
        let offsets = vec![at(&stream, 0, offset)];
        let groups = Arc::clone(&groups);
        async move { groups.commit_offsets(&group("g"), nobody(), offsets).await }
    };
    assert_eq!(commit(1).await, Ok(vec![Ok(())]));
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(&RecordToWrite { key: Some(b"x"), ..Default::default() }).expect("small");
    let offsets = ground.registry.by_name(CONSUMER_OFFSETS).expect("made");
    let partition = offsets.partition(PartitionIndex::ZERO).expect("its only one").id;
    let batch = builder.build();
    let foreign = Append { partition, batch, stamp: Stamp::Keep, expect_end: None };
    let placed = ground.log.submit(CommitSet::of(foreign)).settled().await;
    assert!(placed[0].is_ok());
    assert_eq!(commit(2).await, Err(GroupError::NotAvailable));
    assert_eq!(fetched(&groups, "g", &stream).await, Some(1));
    assert_eq!(commit(3).await, Ok(vec![Ok(())]));
    assert_eq!(fetched(&ground.started(), "g", &stream).await, Some(3));
}

async fn listed(groups: &GroupCoordinator) -> Vec<(String, GroupState)> {
    let listed = groups.list().await.expect("loaded");
    let mut listed: Vec<_> =
        listed.into_iter().map(|group| (group.id.as_str().to_owned(), group.state)).collect();
    listed.sort_by(|one, other| one.0.cmp(&other.0));
    listed
}

#[tokio::test(start_paused = true)]
async fn groups_that_are_deleted_do_not_come_back_after_a_restart() {
    let ground = Ground::new().await;
    let stream = ground.stream("orders").await;
    let groups = ground.started();
    for name in ["idle", "kept"] {
        let kept = groups.commit_offsets(&group(name), nobody(), vec![at(&stream, 0, 1)]).await;
        assert_eq!(kept, Ok(vec![Ok(())]));
    }
    let joined = groups.join(&group("g"), joining("a")).await.expect("joined");
    sync(&groups, &joined).await.expect("synced");
    let wanted = [group("idle"), group("g"), group("nobody")];
    let expected = vec![Ok(()), Err(GroupError::NonEmptyGroup), Err(GroupError::GroupNotFound)];
    assert_eq!(groups.delete(&wanted).await, Ok(expected));
    let described = groups.describe(&group("idle")).await;
    assert_eq!(described, Err(GroupError::GroupNotFound));
    tokio::time::sleep(SESSION * 2).await;
    assert_eq!(groups.delete(&wanted[1..2]).await, Ok(vec![Ok(())]), "its member was silent");
    for groups in [groups, ground.started()] {
        assert_eq!(listed(&groups).await, [("kept".to_owned(), GroupState::Empty)]);
        assert_eq!(fetched(&groups, "idle", &stream).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_that_are_deleted_do_not_come_back_after_a_restart() {
    let ground = Ground::new().await;
    let stream = ground.stream("orders").await;
    let groups = ground.started();
    let offsets = vec![at(&stream, 0, 1), at(&stream, 1, 1)];
    let kept = groups.commit_offsets(&group("g"), nobody(), offsets).await;
    assert_eq!(kept, Ok(vec![Ok(()), Ok(())]));
    let wanted = [(Arc::clone(&stream), PartitionIndex::ZERO)];
    assert_eq!(groups.delete_offsets(&group("g"), &wanted).await, Ok(vec![Ok(())]));
    for (name, error) in [("", GroupError::InvalidGroupId), ("nobody", GroupError::GroupNotFound)] {
        assert_eq!(groups.delete_offsets(&group(name), &wanted).await, Err(error));
    }
    for groups in [groups, ground.started()] {
        assert_eq!(fetched(&groups, "g", &stream).await, None);
        assert_eq!(
            groups.fetch_all_offsets(&group("g"), &nobody()).await.map(|all| all.len()),
            Ok(1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_retention_of_offsets_is_looked_at_from_time_to_time() {
    let ground = Ground::new().await;
    let stream = ground.stream("orders").await;
    let options = GroupOptions::default();
    let groups = ground.coordinator(options);
    let kept = groups.commit_offsets(&group("g"), nobody(), vec![at(&stream, 0, 1)]).await;
    assert_eq!(kept, Ok(vec![Ok(())]));
    tokio::time::sleep(options.limits.offsets_retention - Duration::from_secs(1)).await;
    assert_eq!(fetched(&groups, "g", &stream).await, Some(1));
    tokio::time::sleep(options.offsets_check_interval).await;
    for groups in [groups, ground.started()] {
        assert_eq!(fetched(&groups, "g", &stream).await, None);
        assert_eq!(listed(&groups).await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_group_is_woken_when_it_has_moved_and_only_then() {
    let ground = Ground::new().await;
    ground.stream("t").await;
    let groups = ground.started();
    let name = group("g");
    assert!(groups.progress(&name).await.is_ok_and(|progress| progress.is_none()));
    groups.consumer_heartbeat(&name, beat(0)).await.expect("joins");
    let mut progress = groups.progress(&name).await.expect("loaded").expect("a group");
    groups.consumer_heartbeat(&name, beat(1)).await.expect("stays");
    assert!(progress.has_changed().is_ok_and(|changed| !changed), "a group at rest");

    let other = match beat(0) {
        ConsumerHeartbeat::Stay(beat) => {
            let member = MemberId::from_client("other").expect("an id");
            ConsumerHeartbeat::Stay(Box::new(Beat { member, ..*beat }))
        }
        ConsumerHeartbeat::Leave(_) => unreachable!("a beat"),
    };
    groups.consumer_heartbeat(&name, other).await.expect("joins");
    assert!(progress.has_changed().is_ok_and(|changed| changed), "another epoch");
    progress.mark_unchanged();
    let going = |member: &str| {
        let member = MemberId::from_client(member).expect("an id");
        ConsumerHeartbeat::Leave(Going { member, instance: None, returns: Returns::Never })
    };
    groups.consumer_heartbeat(&name, going("other")).await.expect("leaves");
    assert!(progress.has_changed().is_ok_and(|changed| changed), "a member went");
}
