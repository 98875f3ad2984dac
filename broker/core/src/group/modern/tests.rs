//! KIP-848, behaviour by behaviour: members of the consumer protocol here, then those that still
//! speak [`classic`] and the way from one to the other.

mod classic;
mod properties;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use weir_model::ids::{PartitionId, PartitionIndex, StreamId, StreamName};
use weir_model::time::{Moment, Timestamp};

use super::heartbeat::{Beat, ConsumerHeartbeat, Going, HeartbeatRefused, Returns, Standing};
use super::member::MemberState;
use super::*;
use crate::group::assignor::Partitions;
use crate::group::classic::Client;
use crate::group::error::GroupError;
use crate::group::identity::{Claim, InstanceId, MemberId};
use crate::group::records::GroupRecord;
use crate::group::state::{Commit, Event, Group, NotWritten, Now, RequestId, Write};
use crate::group::topics::{Topic, Topics};

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(300);

/// A group with a clock that stands still, a log that takes what it is told to, topics that are
/// what the test says, and the replies.
struct Bench {
    group: Group,
    topics: BTreeMap<&'static str, (u8, u32)>,
    topics_version: u64,
    now: Moment,
    requests: u64,
    replies: BTreeMap<RequestId, Reply>,
    unwritten: VecDeque<Write>,
    logged: Vec<GroupRecord>,
    wake_by: Option<Moment>,
    log_is_slow: bool,
}

impl Bench {
    /// With these topics and numbers of partitions.
    fn new(topics: &[(&'static str, u32)]) -> Bench {
        let limits = GroupLimits { consumer_members_max: 5, ..GroupLimits::default() };
        Bench::with(limits, topics)
    }

    fn with(limits: GroupLimits, topics: &[(&'static str, u32)]) -> Bench {
        let mut bench = Bench {
            group: Group::new(limits),
            topics: BTreeMap::new(),
            topics_version: 0,
            now: Moment::default(),
            requests: 0,
            replies: BTreeMap::new(),
            unwritten: VecDeque::new(),
            logged: Vec::new(),
            wake_by: None,
            log_is_slow: false,
        };
        for (name, partitions) in topics {
            bench.set_topic(name, *partitions);
        }
        bench
    }

    /// Makes a topic, or adds partitions to it.
    fn set_topic(&mut self, name: &'static str, partitions: u32) {
        self.topics_version += 1;
        let fresh = u8::try_from(self.topics_version).expect("few topics");
        self.topics.entry(name).or_insert((fresh, partitions)).1 = partitions;
    }

    fn remove_topic(&mut self, name: &'static str) {
        self.topics_version += 1;
        self.topics.remove(name);
    }

    fn topics(&self) -> Arc<Topics> {
        let topics = self.topics.iter().map(|(name, (number, partition_count))| {
            let topic = Topic { id: topic_id(*number), partition_count: *partition_count };
            (StreamName::new(name).expect("legal"), topic)
        });
        Arc::new(Topics::new(self.topics_version, topics))
    }

    fn modern(&self) -> &Modern {
        modern_of(&self.group)
    }

    fn step(&mut self, event: Event) {
        self.group.see_topics(&self.topics());
        let effects = self.group.step(event, self.time());
        for (request, reply) in effects.replies {
            let earlier = self.replies.insert(request, reply);
            assert!(earlier.is_none(), "{request:?} was answered twice: {earlier:?}");
        }
        if let Some(at) = effects.wake_by {
            self.wake_by = Some(self.wake_by.map_or(at, |planned| planned.min(at)));
        }
        self.unwritten.extend(effects.writes);
        while !self.log_is_slow && !self.unwritten.is_empty() {
            self.write_next(Ok(()));
        }
    }

    fn time(&self) -> Now {
        let millis = i64::try_from(self.now.since_start().as_millis()).expect("small");
        Now { moment: self.now, date: Timestamp::from_millis(millis) }
    }

    fn write_next(&mut self, outcome: Result<(), NotWritten>) {
        let Write { records, then } = self.unwritten.pop_front().expect("something to write");
        if outcome.is_ok() {
            self.logged.extend(records);
        }
        self.step(Event::Written(then, outcome));
    }

    fn request(&mut self, event: impl FnOnce(RequestId) -> Event) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.step(event(request));
        request
    }

    /// Moves the clock, waking the group as often as it wants to be woken on the way.
    fn advance(&mut self, duration: Duration) {
        let until = self.now.plus(duration);
        while let Some(at) = self.wake_by.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.wake_by = None;
            self.step(Event::TimePassed);
        }
        self.now = until;
    }

    fn ask(&mut self, beat: Beat) -> RequestId {
        let beat = ConsumerHeartbeat::Stay(Box::new(beat));
        self.request(|request| Event::Beat(request, beat))
    }

    fn beat(&mut self, beat: Beat) -> Result<Standing, HeartbeatRefused> {
        let request = self.ask(beat);
        self.standing(request)
    }

    fn standing(&mut self, request: RequestId) -> Result<Standing, HeartbeatRefused> {
        match self.replies.remove(&request) {
            Some(Reply::Beat(result)) => result,
            other => panic!("a heartbeat is answered when it is logged, not {other:?}"),
        }
    }

    /// The epoch and the partitions that a heartbeat brings, the latter if it brings any.
    fn moved(&mut self, beat: Beat) -> (i32, Option<Vec<u32>>) {
        let standing = self.beat(beat).expect("the member is welcome");
        (standing.epoch, standing.assignment.map(|assignment| numbers(&assignment)))
    }

    fn go(
        &mut self,
        name: &str,
        instance: Option<&str>,
        returns: Returns,
    ) -> Result<i32, HeartbeatRefused> {
        let instance = instance.map(InstanceId::new);
        let going = ConsumerHeartbeat::Leave(Going { member: member(name), instance, returns });
        let request = self.request(|request| Event::Beat(request, going));
        self.standing(request).map(|standing| standing.epoch)
    }

    fn commit(&mut self, name: &str, epoch: Option<i32>) -> Result<(), GroupError> {
        let member = MemberId::from_client(name);
        let claim = Claim { member, instance: None, generation: epoch };
        let commit = Commit { claim, offsets: Vec::new() };
        let request = self.request(|request| Event::Commit(request, commit));
        match self.replies.remove(&request) {
            Some(Reply::Commit(result)) => result.map(|_| ()),
            other => panic!("a commit of nothing is answered at once, not {other:?}"),
        }
    }

    /// The group that a restart would find.
    fn restarted(&self) -> Bench {
        let mut restarted = Bench { topics: self.topics.clone(), now: self.now, ..Bench::new(&[]) };
        restarted.topics_version = 1;
        for record in &self.logged {
            restarted.group.replay(record.clone());
        }
        restarted.step(Event::Loaded);
        restarted.logged = self.logged.clone();
        restarted
    }
}

fn modern_of(group: &Group) -> &Modern {
    match group.membership() {
        Membership::Modern(modern) => modern,
        Membership::Classic(_) => panic!("the group speaks classic"),
    }
}

fn topic_id(number: u8) -> StreamId {
    StreamId::from_bytes([number; 16])
}

fn member(name: &str) -> MemberId {
    MemberId::from_client(name).expect("not empty")
}

fn client() -> Client {
    Client { id: Arc::from("client"), host: Arc::from("/127.0.0.1") }
}

/// Partitions of the first topic that was made.
fn partitions(numbers: &[u32]) -> Partitions {
    let index = |number: &u32| PartitionIndex::try_from(i64::from(*number)).expect("small");
    let partition = |number| PartitionId { stream: topic_id(1), index: index(number) };
    numbers.iter().map(partition).collect()
}

fn numbers(partitions: &Partitions) -> Vec<u32> {
    partitions.iter().map(|partition| partition.index.as_u32()).collect()
}

fn topic_names(topics: &[&str]) -> BTreeSet<Arc<str>> {
    topics.iter().map(|name| Arc::from(*name)).collect()
}

/// A first heartbeat.
fn joining(name: &str, topics: &[&str]) -> Beat {
    Beat {
        member: member(name),
        epoch: 0,
        instance: None,
        rack: None,
        rebalance_timeout: Some(REBALANCE),
        topics: Some(topic_names(topics)),
        regex: None,
        assignor: None,
        owned: Some(Partitions::new()),
        client: client(),
    }
}

fn matching(name: &str, regex: &str) -> Beat {
    Beat { topics: None, regex: Some(Arc::from(regex)), ..joining(name, &[]) }
}

fn fixed(name: &str, instance: &str) -> Beat {
    Beat { instance: Some(InstanceId::new(instance)), ..joining(name, &["t"]) }
}

/// A heartbeat with nothing new.
fn staying(name: &str, epoch: i32) -> Beat {
    Beat { epoch, rebalance_timeout: None, topics: None, owned: None, ..joining(name, &[]) }
}

/// A heartbeat that says what the member owns, as one does that has given something up.
fn owning(name: &str, epoch: i32, owned: &[u32]) -> Beat {
    Beat { owned: Some(partitions(owned)), ..staying(name, epoch) }
}

fn fenced(received: i32, known: i32) -> HeartbeatRefused {
    HeartbeatRefused::FencedEpoch { received, known }
}

#[test]
fn a_member_alone_has_everything_at_once() {
    let mut bench = Bench::new(&[("t", 3)]);
    assert_eq!(bench.moved(joining("a", &["t"])), (1, Some(vec![0, 1, 2])));
    assert_eq!(bench.modern().state(), ModernState::Stable);
    let written = bench.logged.len();
    let standing = bench.beat(staying("a", 1)).expect("a member");
    assert_eq!((standing.epoch, standing.assignment), (1, None), "nothing new");
    assert_eq!(standing.heartbeat_interval, Some(Duration::from_secs(5)));
    assert_eq!(bench.logged.len(), written, "a group at rest writes nothing");
}

#[test]
fn a_partition_is_given_up_before_another_gets_it() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.moved(joining("a", &["t"]));
    assert_eq!(bench.moved(joining("b", &["t"])), (2, Some(vec![])), "they are a's yet");
    assert_eq!(bench.modern().state(), ModernState::Reconciling);
    assert_eq!(bench.moved(staying("a", 1)), (1, Some(vec![0, 1])), "a is to give up two");
    assert_eq!(bench.moved(staying("b", 2)), (2, None), "and has not said that it did");
    assert_eq!(bench.moved(owning("a", 1, &[0, 1])), (2, None));
    assert_eq!(bench.moved(staying("b", 2)), (2, Some(vec![2, 3])));
    assert_eq!(bench.modern().state(), ModernState::Stable);
}

#[test]
fn what_a_member_had_is_free_when_it_goes() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(joining("a", &["t"]));
    bench.moved(joining("b", &["t"]));
    bench.moved(owning("a", 1, &[0]));
    assert_eq!(bench.go("a", None, Returns::Never), Ok(-1));
    assert_eq!(bench.moved(staying("b", 2)), (3, Some(vec![0, 1])));
    assert_eq!(bench.beat(staying("a", 2)), Err(HeartbeatRefused::UnknownMember));
    assert_eq!(bench.go("b", None, Returns::Never), Ok(-1));
    assert_eq!((bench.modern().state(), bench.modern().epoch()), (ModernState::Empty, 4));
}

#[test]
fn silence_longer_than_the_session_ends_it() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(joining("a", &["t"]));
    bench.advance(SESSION / 2);
    bench.moved(joining("b", &["t"]));
    bench.advance(SESSION / 2);
    assert_eq!(bench.beat(staying("a", 1)), Err(HeartbeatRefused::UnknownMember));
    assert_eq!(bench.moved(staying("b", 2)), (3, Some(vec![0, 1])));
}

#[test]
fn a_member_that_does_not_give_up_in_time_is_put_out() {
    let mut bench = Bench::new(&[("t", 2)]);
    let quick = |name| Beat { rebalance_timeout: Some(SESSION / 3), ..joining(name, &["t"]) };
    bench.moved(quick("a"));
    bench.moved(quick("b"));
    assert_eq!(bench.moved(staying("a", 1)), (1, Some(vec![0])));
    bench.advance(SESSION / 3);
    assert_eq!(bench.beat(staying("a", 1)), Err(HeartbeatRefused::UnknownMember));
    assert_eq!(bench.moved(staying("b", 2)), (3, Some(vec![0, 1])));
}

#[test]
fn an_epoch_that_is_not_the_members_is_fenced() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(joining("a", &["t"]));
    bench.moved(joining("b", &["t"]));
    bench.moved(owning("a", 1, &[0]));
    for (beat, expected) in [
        (staying("a", 3), Err(fenced(3, 2))),
        (staying("a", 1), Err(fenced(1, 2))),
        (owning("a", 1, &[0, 1]), Err(fenced(1, 2))),
        // The last answer may have got lost; what the member owns shows that nothing else did.
        (owning("a", 1, &[0]), Ok(2)),
        (staying("a", 2), Ok(2)),
        (Beat { epoch: 0, ..joining("a", &["t"]) }, Ok(2)),
    ] {
        let epoch = bench.beat(beat.clone()).map(|standing| standing.epoch);
        assert_eq!(epoch, expected, "{beat:?}");
    }
}

#[test]
fn new_partitions_and_topics_raise_the_epoch_with_the_next_heartbeat() {
    let mut bench = Bench::new(&[("t", 1)]);
    assert_eq!(bench.moved(joining("a", &["t", "later"])), (1, Some(vec![0])));
    bench.set_topic("other", 1);
    assert_eq!(bench.moved(staying("a", 1)), (1, None), "nobody reads it");
    bench.set_topic("t", 3);
    assert_eq!(bench.moved(staying("a", 1)), (2, Some(vec![0, 1, 2])));
    bench.set_topic("later", 1);
    assert_eq!(bench.moved(staying("a", 2)).0, 3);
    assert_eq!(bench.modern().members()[&member("a")].current.assigned.len(), 4);
    bench.remove_topic("t");
    assert_eq!(bench.moved(staying("a", 3)), (3, Some(vec![0])), "the rest is to be given up");
    assert_eq!(bench.moved(owning("a", 3, &[])).0, 4);
}

#[test]
fn a_subscription_can_change() {
    let mut bench = Bench::new(&[("t", 2), ("u", 1)]);
    bench.moved(joining("a", &["t"]));
    let both = Beat { topics: Some(topic_names(&["t", "u"])), ..staying("a", 1) };
    assert_eq!(bench.moved(both), (2, Some(vec![0, 1, 0])));
    let one = Beat { topics: Some(topic_names(&["u"])), ..staying("a", 2) };
    assert_eq!(bench.moved(one), (2, Some(vec![0])));
    let all = bench.modern().members()[&member("a")].current.clone();
    assert_eq!((all.state, all.revoking.len()), (MemberState::UnrevokedPartitions, 2));
}

#[test]
fn regular_expressions_follow_the_topics() {
    let mut bench = Bench::new(&[("orders-eu", 1), ("orders-us", 1), ("x", 1)]);
    assert_eq!(bench.moved(matching("a", "orders-.*")), (1, Some(vec![0, 0])));
    bench.set_topic("orders-asia", 2);
    assert_eq!(bench.moved(staying("a", 1)), (2, Some(vec![0, 0, 0, 1])));
    let other = Beat { regex: Some(Arc::from("x")), ..staying("a", 2) };
    assert_eq!(bench.moved(other), (2, Some(vec![])), "what it had is to be given up");
    assert_eq!(bench.moved(owning("a", 2, &[])), (3, Some(vec![0])));
    let none = Beat { regex: Some(Arc::from("")), ..owning("a", 3, &[]) };
    assert_eq!(bench.moved(none), (4, Some(vec![])));
    let bad = bench.beat(Beat { regex: Some(Arc::from("[")), ..staying("a", 4) });
    assert!(matches!(bad, Err(HeartbeatRefused::InvalidRegex(_))), "{bad:?}");
}

#[test]
fn the_assignor_that_most_ask_for_is_taken() {
    let mut bench = Bench::new(&[("t", 2)]);
    let asks = |name, assignor| Beat { assignor: Some(assignor), ..joining(name, &["t"]) };
    bench.moved(asks("a", Assignor::Range));
    assert_eq!(bench.modern().assignor(), Assignor::Range);
    bench.moved(asks("b", Assignor::Uniform));
    assert_eq!(bench.modern().assignor(), Assignor::Uniform, "a tie goes to the default");
    bench.moved(asks("c", Assignor::Range));
    assert_eq!(bench.modern().assignor(), Assignor::Range);
}

#[test]
fn a_group_takes_so_many_members_and_no_more() {
    let mut bench = Bench::new(&[("t", 1)]);
    for name in ["a", "b", "c", "d", "e"] {
        bench.beat(joining(name, &["t"])).expect("there is room");
    }
    let full = Err(HeartbeatRefused::GroupFull { members_max: 5 });
    assert_eq!(bench.beat(joining("f", &["t"])), full);
    bench.beat(joining("e", &["t"])).expect("it is a member already");
}

#[test]
fn a_static_member_that_comes_back_has_what_it_had() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(fixed("a", "one"));
    bench.moved(fixed("b", "two"));
    let still = Beat { instance: Some(InstanceId::new("one")), ..owning("a", 1, &[0]) };
    assert_eq!(bench.moved(still), (2, Some(vec![0])));
    let taken = Err(HeartbeatRefused::UnreleasedInstance(member("a")));
    assert_eq!(bench.beat(fixed("a2", "one")), taken, "a has not gone");
    assert_eq!(bench.go("a", Some("one"), Returns::Soon), Ok(-2));
    assert_eq!(bench.moved(fixed("a2", "one")), (2, Some(vec![0])), "and no epoch begins");
    let old = Beat { instance: Some(InstanceId::new("one")), ..staying("a", 2) };
    assert_eq!(bench.beat(old), Err(HeartbeatRefused::FencedInstance(member("a2"))));
    let stranger = Beat { instance: Some(InstanceId::new("x")), ..staying("a2", 2) };
    assert_eq!(bench.beat(stranger), Err(HeartbeatRefused::UnknownInstance));
    assert_eq!(bench.go("b", Some("two"), Returns::Soon), Ok(-2));
    bench.advance(SESSION - Duration::from_millis(1));
    let alive = Beat { instance: Some(InstanceId::new("one")), ..staying("a2", 2) };
    bench.beat(alive.clone()).expect("in its session");
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.moved(alive), (3, Some(vec![0, 1])), "b did not come back in time");
}

#[test]
fn offsets_are_committed_and_fetched_in_the_members_epoch_only() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.moved(joining("a", &["t"]));
    for (name, epoch, expected) in [
        ("a", Some(1), Ok(())),
        ("a", Some(2), Err(GroupError::StaleMemberEpoch)),
        ("a", None, Err(GroupError::StaleMemberEpoch)),
        ("b", Some(1), Err(GroupError::UnknownMember)),
        ("", Some(1), Err(GroupError::UnknownMember)),
    ] {
        assert_eq!(bench.commit(name, epoch), expected, "{name:?} {epoch:?}");
        let member = MemberId::from_client(name);
        let claim = Claim { member, instance: None, generation: epoch };
        let fetched = bench.group.membership().check_fetch(&claim);
        assert_eq!(fetched, expected, "{name:?} {epoch:?}");
    }
    assert_eq!(bench.commit("", None), Err(GroupError::UnknownMember), "there is a member");
    let nobody = Claim { member: None, instance: None, generation: None };
    assert_eq!(bench.group.membership().check_fetch(&nobody), Ok(()), "tools see them");
    bench.go("a", None, Returns::Never).expect("a member");
    assert_eq!(bench.commit("", None), Ok(()), "nobody would be surprised");
}

#[test]
fn requests_wait_for_the_change_before_them_and_see_it() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.log_is_slow = true;
    let [a, b] = ["a", "b"].map(|name| bench.ask(joining(name, &["t"])));
    assert_eq!((bench.unwritten.len(), bench.replies.len()), (1, 0));
    bench.write_next(Ok(()));
    assert_eq!(bench.standing(a).map(|standing| standing.epoch), Ok(1));
    bench.write_next(Ok(()));
    assert_eq!(bench.standing(b).map(|standing| standing.epoch), Ok(2));
}

#[test]
fn a_change_that_is_not_logged_has_not_happened() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(joining("a", &["t"]));
    bench.log_is_slow = true;
    let requests = ["b", "c"].map(|name| bench.ask(joining(name, &["t"])));
    bench.write_next(Err(NotWritten));
    for request in requests {
        let refused = Err(HeartbeatRefused::Group(GroupError::NotAvailable));
        assert_eq!(bench.standing(request), refused);
    }
    bench.log_is_slow = false;
    assert_eq!(bench.moved(staying("a", 1)), (1, None));
    assert_eq!(bench.modern().members().len(), 1);
}

#[test]
fn an_expiry_that_is_not_logged_is_tried_again() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.moved(joining("a", &["t"]));
    bench.log_is_slow = true;
    bench.advance(SESSION);
    bench.write_next(Err(NotWritten));
    assert_eq!(bench.modern().members().len(), 1);
    bench.log_is_slow = false;
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.modern().members().len(), 0);
}

#[test]
fn members_go_on_with_their_epochs_after_a_restart() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.moved(joining("a", &["t"]));
    bench.moved(joining("b", &["t"]));
    bench.moved(staying("a", 1));
    let mut bench = bench.restarted();
    assert_eq!(bench.modern().state(), ModernState::Reconciling);
    assert_eq!(bench.moved(staying("b", 2)), (2, None), "a has not given anything up");
    assert_eq!(bench.moved(owning("a", 1, &[0, 1])), (2, None));
    assert_eq!(bench.moved(staying("b", 2)), (2, Some(vec![2, 3])));
    let mut bench = bench.restarted();
    bench.advance(SESSION / 2);
    bench.moved(staying("b", 2));
    bench.advance(SESSION / 2);
    assert_eq!(bench.moved(staying("b", 2)), (3, Some(vec![0, 1, 2, 3])), "a never came back");
}

#[test]
fn topics_that_changed_while_the_broker_was_down_are_noticed() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.moved(matching("a", "t|u"));
    let mut bench = bench.restarted();
    assert_eq!(bench.moved(staying("a", 1)), (1, None));
    let mut bench = bench.restarted();
    bench.topics.insert("u", (9, 2));
    assert_eq!(bench.moved(staying("a", 1)), (2, Some(vec![0, 0, 1])));
}

#[test]
fn an_empty_group_is_deleted_with_everything_the_log_knows_of_it() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.moved(matching("a", "t"));
    let refused = bench.request(Event::Delete);
    let reply = Some(Reply::Deleted(Err(GroupError::NonEmptyGroup)));
    assert_eq!(bench.replies.remove(&refused), reply);
    bench.go("a", None, Returns::Never).expect("a member");
    let deleted = bench.request(Event::Delete);
    assert_eq!(bench.replies.remove(&deleted), Some(Reply::Deleted(Ok(()))));
    assert!(bench.group.is_vacant());
    assert!(bench.restarted().group.is_vacant());
}
