//! What administrators and time do to a group: descriptions, deletions, expiry.

use weir_kafka_records::encode_versioned;
use weir_kafka_records::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;

use super::*;
use crate::group::description::{Description, GroupType};
use crate::group::error::DeleteOffsetError;
use crate::group::identity::GroupId;

const RETENTION: Duration = Duration::from_hours(7 * 24);
const MILLI: Duration = Duration::from_millis(1);

impl Bench {
    fn delete(&mut self) -> Result<(), GroupError> {
        let request = self.request(Event::Delete);
        match self.replies.remove(&request) {
            Some(Reply::Deleted(result)) => result,
            other => panic!("the log is quick, so a deletion is answered, not {other:?}"),
        }
    }

    fn delete_offset(&mut self, index: usize) -> Result<Result<(), DeleteOffsetError>, GroupError> {
        let request = self.request(|r| Event::DeleteOffsets(r, vec![partition(index)]));
        match self.replies.remove(&request) {
            Some(Reply::OffsetsDeleted(result)) => result.map(|results| results[0]),
            other => panic!("the log is quick, so a deletion is answered, not {other:?}"),
        }
    }

    /// Commits now, as nobody in particular.
    fn commit_now(&mut self, index: usize, expires_at: Option<Timestamp>) {
        let claim = Claim { member: None, instance: None, generation: None };
        let committed =
            CommittedOffset { committed_at: self.date(), expires_at, ..committed(7, "") };
        let offsets = vec![(partition(index), committed)];
        self.request(|r| Event::Commit(r, Commit { claim, offsets }));
    }

    fn expire(&mut self) -> usize {
        self.step(Event::Expire);
        self.group.offsets().iter().count()
    }

    fn everybody_leaves(&mut self, names: &[&str]) {
        for name in names {
            self.leave(Leaving { member: Some(member(name)), instance: None }).expect("a member");
        }
    }
}

fn subscribed_to(name: &str, topics: &[&str]) -> Join {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
    let metadata = encode_versioned(&subscription, 3).expect("short");
    Join { protocols: vec![Protocol { name: Arc::from("range"), metadata }], ..joining(name) }
}

#[test]
fn a_group_is_described_as_far_as_its_state_means_something() {
    let mut bench = Bench::default();
    let described = |bench: &Bench| {
        let Description::Classic(described) = bench.group.describe() else {
            panic!("a classic group is described as one");
        };
        let members = described.members.iter();
        let shown =
            members.map(|one| (one.member.clone(), one.metadata.clone(), one.assignment.clone()));
        (described.state, described.protocol, shown.collect::<Vec<_>>())
    };
    assert_eq!(described(&bench), (GroupState::Empty, None, vec![]));
    bench.join(joining("a"));
    let nothing = (member("a"), Bytes::new(), Bytes::new());
    let completing = (GroupState::CompletingRebalance, None, vec![nothing]);
    assert_eq!(described(&bench), completing);
    bench.sync("a", 1, &[("a", "all")]);
    let all = (member("a"), Bytes::from("topics for range"), Bytes::from("all"));
    let stable = (GroupState::Stable, Some(Arc::from("range")), vec![all]);
    assert_eq!(described(&bench), stable);
    bench.join(joining("b"));
    let newcomer = (member("b"), Bytes::new(), Bytes::new());
    let rejoining = (member("a"), Bytes::new(), Bytes::from("all"));
    let preparing = (GroupState::PreparingRebalance, None, vec![rejoining, newcomer]);
    assert_eq!(described(&bench), preparing);

    let id = GroupId::new("g").expect("short");
    let listed = bench.group.listed(&id);
    assert_eq!((listed.id, listed.group_type), (id, GroupType::Classic));
    assert_eq!(listed.protocol_type.as_deref(), Some("consumer"));
}

#[test]
fn only_a_group_without_members_is_deleted_and_its_offsets_with_it() {
    let mut bench = Bench::default();
    bench.commit_now(0, None);
    bench.stable(&["a"]);
    assert_eq!(bench.delete(), Err(GroupError::NonEmptyGroup));
    bench.join(joining("b"));
    assert_eq!(bench.delete(), Err(GroupError::NonEmptyGroup), "in a rebalance too");
    bench.everybody_leaves(&["a", "b"]);
    assert_eq!(bench.delete(), Ok(()));
    assert!(bench.group.is_vacant());
    let expected = [GroupRecord::Offset(partition(0), None), GroupRecord::Members(None)];
    assert_eq!(bench.logged[bench.logged.len() - 2..], expected);
}

#[test]
fn a_deletion_covers_commits_that_are_on_their_way_and_spares_later_ones() {
    let mut bench = Bench::slow_log();
    bench.commit_now(0, None);
    let deleted = bench.request(Event::Delete);
    bench.commit_now(1, None);
    bench.write_next(Ok(()));
    assert!(bench.waits(deleted), "until the tombstones are logged");
    bench.write_next(Ok(()));
    assert_eq!(bench.replies.remove(&deleted), Some(Reply::Deleted(Ok(()))));
    bench.write_next(Ok(()));
    let left: Vec<_> = bench.group.offsets().iter().map(|(_, index, _)| index).collect();
    assert_eq!(left, [partition(1).1]);
}

#[test]
fn a_deletion_that_is_not_logged_deletes_nothing() {
    let mut bench = Bench::slow_log();
    bench.commit_now(0, None);
    bench.write_next(Ok(()));
    let deleted = bench.request(Event::Delete);
    bench.write_next(Err(NotWritten));
    let refused = Some(Reply::Deleted(Err(GroupError::NotAvailable)));
    assert_eq!(bench.replies.remove(&deleted), refused);
    assert_eq!(bench.group.offsets().iter().count(), 1);
}

/// Generations begin anew with a group, so an old assignment must not pass for a new one.
#[test]
fn assignments_from_before_a_deletion_are_not_handed_out() {
    let mut bench = Bench::slow_log();
    bench.join(joining("a"));
    bench.sync("a", 1, &[("a", "old")]);
    bench.everybody_leaves(&["a"]);
    bench.request(Event::Delete);
    bench.join(joining("a"));
    let synced = bench.sync("a", 1, &[("a", "new")]);
    for _ in 0..3 {
        bench.write_next(Ok(()));
        assert!(bench.waits(synced));
    }
    bench.write_next(Ok(()));
    assert_eq!(bench.assignment(synced), "new");
    assert!(!bench.group.is_vacant());
}

#[test]
fn a_member_that_comes_while_its_group_is_deleted_finds_a_new_one() {
    let mut bench = Bench::slow_log();
    let joined = bench.join(joining("a"));
    bench.joined(joined);
    bench.everybody_leaves(&["a"]);
    bench.write_next(Ok(()));
    bench.request(Event::Delete);
    let joined = bench.join(joining("b"));
    assert_eq!(bench.joined(joined).generation, 1);
    bench.write_next(Ok(()));
    assert_eq!(bench.classic().members().collect::<Vec<_>>(), [&member("b")]);
}

#[test]
fn a_deletion_of_many_offsets_is_logged_in_bounded_batches() {
    let mut bench = Bench::default();
    for index in 0..10_000 {
        bench.commit_now(index, None);
    }
    bench.log_is_slow = true;
    let deleted = bench.request(Event::Delete);
    let sizes: Vec<_> = bench.unwritten.iter().map(|write| write.records.len()).collect();
    assert_eq!(sizes, [4_096, 4_096, 1_808]);
    while !bench.unwritten.is_empty() {
        assert!(bench.waits(deleted), "answered only when all of it is logged");
        bench.write_next(Ok(()));
    }
    assert_eq!(bench.replies.remove(&deleted), Some(Reply::Deleted(Ok(()))));
    assert_eq!(bench.group.offsets().iter().count(), 0);
}

#[test]
fn offsets_of_topics_that_members_read_are_not_deleted() {
    let mut bench = Bench::default();
    bench.commit_now(0, None);
    assert_eq!(bench.delete_offset(1), Ok(Ok(())), "none is there, so none has to go");
    bench.join(subscribed_to("a", &["orders", "payments"]));
    let subscribed = Ok(Err(DeleteOffsetError::Subscribed));
    assert_eq!(bench.delete_offset(0), subscribed);
    bench.sync("a", 1, &[]);
    assert_eq!(bench.delete_offset(0), subscribed);
    bench.everybody_leaves(&["a"]);
    bench.join(subscribed_to("a", &["payments"]));
    bench.sync("a", 1, &[]);
    assert_eq!(bench.delete_offset(0), Ok(Ok(())));
    assert_eq!(bench.group.offsets().iter().count(), 0);
}

#[test]
fn what_the_broker_cannot_read_may_be_a_subscription_to_anything() {
    for (protocol_type, expected) in [
        ("consumer", Ok(Err(DeleteOffsetError::Subscribed))),
        ("connect", Err(GroupError::NonEmptyGroup)),
    ] {
        let mut bench = Bench::default();
        bench.commit_now(0, None);
        bench.join(Join { protocol_type: Arc::from(protocol_type), ..joining("a") });
        assert_eq!(bench.delete_offset(0), expected, "{protocol_type}");
    }
}

#[test]
fn offsets_expire_a_retention_after_the_last_member_went() {
    let mut bench = Bench::default();
    bench.stable(&["a"]);
    let generation = bench.classic().generation();
    bench.commit(claim("a", generation), 1).expect("a member's commit");
    bench.everybody_leaves(&["a"]);
    bench.advance(RETENTION - MILLI);
    assert_eq!(bench.expire(), 1);
    bench.advance(MILLI);
    assert_eq!(bench.expire(), 0);
    assert!(bench.group.is_vacant(), "the group goes with its last offset");
    assert_eq!(bench.logged.last(), Some(&GroupRecord::Members(None)));
}

#[test]
fn offsets_that_no_member_committed_expire_a_retention_after_their_commit() {
    let mut bench = Bench::default();
    bench.commit_now(0, None);
    bench.advance(RETENTION / 2);
    bench.commit_now(1, None);
    bench.advance(RETENTION / 2 - MILLI);
    assert_eq!(bench.expire(), 2);
    bench.advance(MILLI);
    assert_eq!(bench.expire(), 1);
    assert!(!bench.group.is_vacant());
    bench.advance(RETENTION / 2);
    assert_eq!(bench.expire(), 0);
    assert!(bench.group.is_vacant());
    let no_group_record = |record: &GroupRecord| matches!(record, GroupRecord::Offset(..));
    assert!(bench.logged.iter().all(no_group_record), "the log never knew of the group");
}

#[test]
fn an_expiry_time_of_the_clients_own_is_honoured() {
    let mut bench = Bench::default();
    let in_a_minute = Timestamp::from_millis(60_000);
    bench.commit_now(0, Some(in_a_minute));
    bench.commit_now(1, None);
    bench.advance(Duration::from_secs(60) - MILLI);
    assert_eq!(bench.expire(), 2);
    bench.advance(MILLI);
    assert_eq!(bench.expire(), 1);
}

#[test]
fn while_members_live_only_offsets_of_topics_that_they_do_not_read_expire() {
    for (topics, left) in [(&["orders"][..], 1), (&["payments"], 0)] {
        let mut bench = Bench::default();
        bench.commit_now(0, None);
        bench.join(subscribed_to("a", topics));
        bench.sync("a", 1, &[]);
        while bench.now.since_start() < RETENTION {
            bench.advance(SESSION / 2);
            bench.heartbeat("a", 1).expect("a member");
        }
        assert_eq!(bench.expire(), left, "{topics:?}");
        assert!(bench.is_stable());
    }
}

#[test]
fn an_empty_group_without_offsets_goes_when_retention_is_looked_at() {
    let mut bench = Bench::default();
    bench.stable(&["a"]);
    bench.everybody_leaves(&["a"]);
    assert!(!bench.group.is_vacant());
    bench.expire();
    assert!(bench.group.is_vacant());

    let mut bench = Bench::default();
    bench.commit_now(0, None);
    bench.delete_offset(0).expect("nobody reads it").expect("nobody reads it");
    assert!(!bench.group.is_vacant(), "tools may still ask what has become of it");
    bench.expire();
    assert!(bench.group.is_vacant());
}
