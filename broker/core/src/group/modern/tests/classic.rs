//! Members of the classic protocol in the group, and the way from one protocol to the other.

use bytes::Bytes;
use weir_kafka_records::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use weir_kafka_records::messages::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition,
};
use weir_kafka_records::{decode_versioned, encode_versioned};

use super::*;
use crate::group::classic::{Classic, Join, Joined, Leaving, Phase, Protocol, Sync};
use crate::group::description::GroupType;
use crate::group::error::JoinRefused;
use crate::group::identity::GroupId;
use crate::group::modern::heartbeat::NoUpgrade;
use crate::settings::broker_settings::MigrationPolicy;

/// What a consumer says in the classic protocol: that it reads `t`, and what it owns of it.
fn subscription(owned: &[i32]) -> Bytes {
    let owned = TopicPartition { topic: "t".to_owned(), partitions: owned.to_vec() };
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t".to_owned()],
        owned_partitions: vec![owned],
        ..Default::default()
    };
    encode_versioned(&subscription, 3).expect("short")
}

fn join_as(name: &str, owned: &[i32]) -> Join {
    let protocol =
        Protocol { name: Arc::from("cooperative-sticky"), metadata: subscription(owned) };
    Join {
        member: MemberId::from_client(name),
        instance: None,
        fresh_id: member("fresh"),
        needs_known_id: true,
        knows_skip_assignment: true,
        client: client(),
        session_timeout: SESSION,
        rebalance_timeout: SESSION / 2,
        protocol_type: Arc::from("consumer"),
        protocols: vec![protocol],
    }
}

fn claim(name: &str, generation: i32) -> Claim {
    Claim { member: Some(member(name)), instance: None, generation: Some(generation) }
}

impl Bench {
    fn join(&mut self, join: Join) -> Result<Joined, JoinRefused> {
        let request = self.request(|request| Event::Join(request, join));
        match self.replies.remove(&request) {
            Some(Reply::Join(result)) => result,
            other => panic!("the broker leads, so a join is answered, not {other:?}"),
        }
    }

    fn generation(&mut self, join: Join) -> i32 {
        self.join(join).expect("the member is welcome").generation
    }

    /// The partitions of `t` that a member gets in its generation.
    fn sync(&mut self, name: &str, generation: i32) -> Result<Vec<i32>, GroupError> {
        let sync = Sync {
            claim: claim(name, generation),
            protocol_type: Some(Arc::from("consumer")),
            protocol: Some(Arc::from("cooperative-sticky")),
            assignments: BTreeMap::new(),
        };
        let request = self.request(|request| Event::Sync(request, sync));
        match self.replies.remove(&request) {
            Some(Reply::Sync(result)) => result.map(|synced| read(&synced.assignment)),
            other => panic!("the broker leads, so a sync is answered, not {other:?}"),
        }
    }

    fn heartbeat(&mut self, name: &str, generation: i32) -> Result<(), GroupError> {
        let request = self.request(|request| Event::Heartbeat(request, claim(name, generation)));
        match self.replies.remove(&request) {
            Some(Reply::Heartbeat(result)) => result,
            other => panic!("a heartbeat is answered at once, not {other:?}"),
        }
    }

    fn leave(&mut self, names: &[&str]) -> Vec<Result<(), GroupError>> {
        let leaving = |name: &&str| Leaving { member: Some(member(name)), instance: None };
        let leaving = names.iter().map(leaving).collect();
        let request = self.request(|request| Event::Leave(request, leaving));
        match self.replies.remove(&request) {
            Some(Reply::Leave(results)) => results,
            other => panic!("a leave is answered at once, not {other:?}"),
        }
    }

    /// A stable classic group of one member, which has all of `t`.
    fn classic_group(&mut self, assignment: Bytes) {
        let join = Join {
            needs_known_id: false,
            member: None,
            fresh_id: member("a"),
            ..join_as("a", &[])
        };
        assert_eq!(self.generation(join), 1);
        let assignments = BTreeMap::from([(member("a"), assignment)]);
        let (protocol_type, protocol) = (None, None);
        let sync = Sync { claim: claim("a", 1), protocol_type, protocol, assignments };
        let request = self.request(|request| Event::Sync(request, sync));
        assert!(matches!(self.replies.remove(&request), Some(Reply::Sync(Ok(_)))));
    }

    fn group_type(&self) -> GroupType {
        self.group.listed(&GroupId::new("g").expect("short")).group_type
    }

    fn speaks_classic(&self) -> &Classic {
        match self.group.membership() {
            Membership::Classic(classic) => classic,
            Membership::Modern(_) => panic!("the group speaks the consumer protocol"),
        }
    }
}

fn assignment(partitions: &[i32], user_data: Option<&'static [u8]>) -> Bytes {
    let topic = weir_kafka_records::messages::consumer_protocol_assignment::TopicPartition {
        topic: "t".to_owned(),
        partitions: partitions.to_vec(),
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: vec![topic],
        user_data: user_data.map(Bytes::from_static),
    };
    encode_versioned(&assignment, 3).expect("short")
}

fn read(assignment: &Bytes) -> Vec<i32> {
    let assignment: ConsumerProtocolAssignment =
        decode_versioned(assignment.clone()).expect("as a leader writes it");
    assignment.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
}

#[test]
fn a_classic_group_is_taken_along_with_what_its_members_have() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.classic_group(assignment(&[0, 1, 2, 3], None));
    assert_eq!(bench.moved(joining("b", &["t"])), (2, Some(vec![])), "they are a's yet");
    assert_eq!(bench.group_type(), GroupType::Consumer);
    assert_eq!(bench.heartbeat("a", 1), Err(GroupError::RebalanceInProgress));
    // It says what it owns, learns what it is to keep, gives the rest up and says so.
    assert_eq!(bench.generation(join_as("a", &[0, 1, 2, 3])), 1);
    assert_eq!(bench.sync("a", 1), Ok(vec![0, 1]));
    assert_eq!(bench.moved(staying("b", 2)), (2, None));
    assert_eq!(bench.heartbeat("a", 1), Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.generation(join_as("a", &[0, 1])), 2);
    assert_eq!(bench.sync("a", 2), Ok(vec![0, 1]));
    assert_eq!(bench.moved(staying("b", 2)), (2, Some(vec![2, 3])));
    assert_eq!(bench.heartbeat("a", 2), Ok(()));
    assert_eq!(bench.commit("a", Some(2)), Ok(()));
    assert_eq!(bench.commit("a", Some(1)), Err(GroupError::IllegalGeneration));
    let restarted = bench.restarted();
    assert_eq!(restarted.modern().members(), bench.modern().members());
}

#[test]
fn a_group_that_cannot_be_read_is_not_taken() {
    let other_type = |join| Join { protocol_type: Arc::from("connect"), ..join };
    for (change, given, reason) in [
        (None, assignment(&[0], Some(b"own")), NoUpgrade::CustomAssignor),
        (None, Bytes::from_static(b"\0"), NoUpgrade::Malformed),
        (Some(other_type), Bytes::new(), NoUpgrade::OtherType),
    ] {
        let mut bench = Bench::new(&[("t", 1)]);
        match change {
            None => bench.classic_group(given),
            Some(change) => {
                let join = Join { needs_known_id: false, member: None, ..join_as("a", &[]) };
                bench.generation(change(join));
            }
        }
        let refused = Err(HeartbeatRefused::NoUpgrade(reason));
        assert_eq!(bench.beat(joining("b", &["t"])), refused, "{reason:?}");
        assert_eq!(bench.group_type(), GroupType::Classic);
    }
    let mut bench = Bench::new(&[("t", 1)]);
    bench.classic_group(assignment(&[0], None));
    assert_eq!(bench.beat(staying("b", 1)), Err(HeartbeatRefused::OtherProtocol));
    let bad = bench.beat(matching("b", "["));
    assert!(matches!(bad, Err(HeartbeatRefused::InvalidRegex(_))), "{bad:?}");
    assert_eq!(bench.group_type(), GroupType::Classic, "who is refused takes nobody along");
}

#[test]
fn time_that_passes_while_a_group_is_taken_along_undoes_nothing() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.classic_group(assignment(&[0, 1], None));
    bench.log_is_slow = true;
    bench.ask(joining("b", &["t"]));
    // The classic member's session ends before the log has answered.
    bench.advance(SESSION);
    while !bench.unwritten.is_empty() {
        bench.write_next(Ok(()));
    }
    let restarted = bench.restarted();
    assert_eq!(restarted.modern().members(), bench.modern().members());
    assert!(bench.modern().members().contains_key(&member("b")));
}

#[test]
fn those_who_wait_in_a_classic_rebalance_are_sent_back_to_join() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.classic_group(assignment(&[0, 1], None));
    let join =
        Join { member: None, needs_known_id: false, fresh_id: member("c"), ..join_as("c", &[]) };
    let waits = bench.request(|request| Event::Join(request, join));
    bench.moved(joining("b", &["t"]));
    match bench.replies.remove(&waits) {
        Some(Reply::Join(Err(refused))) => {
            assert_eq!(refused.error, GroupError::RebalanceInProgress);
            assert_eq!(refused.member, Some(member("c")));
        }
        other => panic!("it was to be sent back, not {other:?}"),
    }
    assert!(bench.generation(join_as("c", &[])) > 1);
}

#[test]
fn a_classic_member_joins_and_leaves_like_any_other() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(joining("a", &["t"]));
    let first = bench.join(Join { member: None, ..join_as("b", &[]) });
    let required =
        JoinRefused { error: GroupError::MemberIdRequired, member: Some(member("fresh")) };
    assert_eq!(first, Err(required));
    let joined = bench.join(join_as("b", &[])).expect("a fresh member");
    assert_eq!((joined.generation, joined.leader, joined.members.len()), (2, None, 0));
    assert_eq!(joined.protocol.as_deref(), Some("cooperative-sticky"));
    assert_eq!(bench.sync("b", 2), Ok(vec![]), "they are a's yet");
    assert_eq!(bench.heartbeat("b", 2), Ok(()), "it waits for a");
    bench.moved(owning("a", 1, &[0]));
    assert_eq!(bench.heartbeat("b", 2), Err(GroupError::RebalanceInProgress), "now it is free");
    assert_eq!(bench.generation(join_as("b", &[])), 2);
    assert_eq!(bench.sync("b", 2), Ok(vec![1]));
    assert_eq!(bench.heartbeat("a", 2), Err(GroupError::UnknownMember), "a does not speak classic");
    let other = Protocol { name: Arc::from("range"), metadata: subscription(&[]) };
    let refused = bench.join(Join { protocols: vec![other], ..join_as("c", &[]) });
    assert_eq!(refused.map_err(|refused| refused.error), Err(GroupError::InconsistentProtocol));
    assert_eq!(bench.leave(&["b", "c"]), [Ok(()), Err(GroupError::UnknownMember)]);
    assert_eq!(bench.moved(staying("a", 2)), (3, Some(vec![0, 1])));
}

#[test]
fn a_classic_member_that_does_not_come_back_is_put_out() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.classic_group(assignment(&[0, 1], None));
    bench.moved(joining("b", &["t"]));
    assert_eq!(bench.heartbeat("a", 1), Err(GroupError::RebalanceInProgress));
    bench.advance(SESSION / 4);
    assert_eq!(bench.heartbeat("a", 1), Err(GroupError::RebalanceInProgress));
    bench.advance(SESSION / 4);
    assert_eq!(bench.heartbeat("a", 1), Err(GroupError::UnknownMember));
    assert_eq!(bench.moved(staying("b", 2)), (3, Some(vec![0, 1])));
}

#[test]
fn the_group_speaks_classic_again_when_only_classic_members_are_left() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.classic_group(assignment(&[0, 1], None));
    bench.moved(joining("b", &["t"]));
    assert_eq!(bench.go("b", None, Returns::Never), Ok(-1));
    let classic = bench.speaks_classic();
    assert!(matches!(classic.phase(), Phase::Preparing { .. }));
    assert_eq!(classic.generation(), 2, "the epoch of the group");
    assert_eq!(bench.heartbeat("a", 2), Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.generation(join_as("a", &[0, 1])), 3);
    let restarted = bench.restarted();
    assert_eq!(restarted.group_type(), GroupType::Classic);
    assert_eq!(restarted.speaks_classic().generation(), 2);
    assert_eq!(restarted.speaks_classic().members().collect::<Vec<_>>(), [&member("a")]);
}

#[test]
fn a_group_without_members_changes_its_protocol_with_who_comes() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.moved(joining("a", &["t"]));
    bench.go("a", None, Returns::Never).expect("a member");
    let join =
        Join { member: None, needs_known_id: false, fresh_id: member("b"), ..join_as("b", &[]) };
    assert_eq!(bench.generation(join), 1, "a group like any new one");
    assert_eq!(bench.group_type(), GroupType::Classic);
    assert_eq!(bench.leave(&["b"]), [Ok(())]);
    assert_eq!(bench.moved(joining("c", &["t"])), (1, Some(vec![0])));
    let restarted = bench.restarted();
    assert_eq!(restarted.modern().members(), bench.modern().members());
}

#[test]
fn a_static_place_passes_from_one_protocol_to_the_other() {
    let mut bench = Bench::new(&[("t", 2)]);
    let instance = || Some(InstanceId::new("one"));
    bench.moved(fixed("a", "one"));
    bench.moved(joining("b", &["t"]));
    let still = Beat { instance: instance(), ..owning("a", 1, &[0]) };
    bench.moved(still);
    // The process restarts with the older protocol, then with the newer again.
    let classic =
        Join { member: None, instance: instance(), fresh_id: member("a2"), ..join_as("a2", &[]) };
    assert_eq!(bench.generation(classic), 2);
    let claim = Claim { instance: instance(), ..claim("a2", 2) };
    let request = bench.request(|request| Event::Heartbeat(request, claim));
    assert_eq!(bench.replies.remove(&request), Some(Reply::Heartbeat(Ok(()))));
    assert_eq!(bench.moved(fixed("a3", "one")), (2, Some(vec![0])), "and no epoch begins");
}

#[test]
fn the_last_place_of_the_newer_protocol_passes_and_the_group_speaks_classic() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(fixed("a", "one"));
    bench.generation(join_as("b", &[]));
    let instance = Some(InstanceId::new("one"));
    let fresh_id = member("a2");
    let join =
        Join { member: None, instance, fresh_id, needs_known_id: false, ..join_as("a2", &[]) };
    let request = bench.request(|request| Event::Join(request, join));
    assert!(!bench.replies.contains_key(&request), "it waits for b in a classic rebalance");
    let b = bench.request(|request| Event::Join(request, join_as("b", &[])));
    for request in [request, b] {
        assert!(matches!(bench.replies.remove(&request), Some(Reply::Join(Ok(_)))));
    }
    assert_eq!(bench.speaks_classic().members().count(), 2);
}

#[test]
fn a_group_changes_its_protocol_only_where_the_settings_allow_it() {
    let bench = |migration| {
        let mut bench =
            Bench::with(GroupLimits { migration, ..GroupLimits::default() }, &[("t", 2)]);
        bench.classic_group(assignment(&[0, 1], None));
        bench
    };
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let refused = Err(HeartbeatRefused::NoUpgrade(NoUpgrade::Disabled));
        assert_eq!(bench(policy).beat(joining("b", &["t"])), refused, "{policy:?}");
    }
    let mut bench = bench(MigrationPolicy::Upgrade);
    bench.moved(joining("b", &["t"]));
    bench.go("b", None, Returns::Never).expect("a member");
    assert_eq!(bench.group_type(), GroupType::Consumer, "classic members may stay in it");
    assert_eq!(bench.generation(join_as("a", &[0, 1])), 3);
}
