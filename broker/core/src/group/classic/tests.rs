//! The classic protocol, behaviour by behaviour: dynamic members here, then [`static_members`],
//! what is [`logged`] and how groups are [`administered`].

mod administered;
mod logged;
mod static_members;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_model::ids::{PartitionIndex, StreamId, StreamName};
use weir_model::offset::Offset;
use weir_model::time::{Moment, Timestamp};

use super::*;
use crate::group::error::{CommitError, JoinRefused};
use crate::group::membership::Membership;
use crate::group::offsets::{CommittedOffset, PartitionName};
use crate::group::records::GroupRecord;
use crate::group::state::{Commit, Event, Group, NotWritten, Now, RequestId, Write};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group with a clock that stands still, a log that takes what it is told to, and the replies.
pub(super) struct Bench {
    pub(super) group: Group,
    pub(super) now: Moment,
    requests: u64,
    pub(super) replies: BTreeMap<RequestId, Reply>,
    pub(super) unwritten: VecDeque<Write>,
    pub(super) logged: Vec<GroupRecord>,
    pub(super) wake_by: Option<Moment>,
    log_is_slow: bool,
}

impl Bench {
    pub(super) fn new(limits: GroupLimits) -> Bench {
        Bench {
            group: Group::new(limits),
            now: Moment::default(),
            requests: 0,
            replies: BTreeMap::new(),
            unwritten: VecDeque::new(),
            logged: Vec::new(),
            wake_by: None,
            log_is_slow: false,
        }
    }

    fn default() -> Bench {
        Bench::new(GroupLimits::default())
    }

    fn slow_log() -> Bench {
        Bench::slow_log_with(GroupLimits::default())
    }

    pub(super) fn slow_log_with(limits: GroupLimits) -> Bench {
        Bench { log_is_slow: true, ..Bench::new(limits) }
    }

    pub(super) fn classic(&self) -> &Classic {
        classic_of(&self.group)
    }

    pub(super) fn date(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.now.since_start().as_millis()).expect("small"))
    }

    pub(super) fn step(&mut self, event: Event) {
        let now = Now { moment: self.now, date: self.date() };
        let effects = self.group.step(event, now);
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

    pub(super) fn write_next(&mut self, outcome: Result<(), NotWritten>) {
        let Write { records, then } = self.unwritten.pop_front().expect("something to write");
        if outcome.is_ok() {
            self.logged.extend(records);
        }
        self.step(Event::Written(then, outcome));
    }

    pub(super) fn request(&mut self, event: impl FnOnce(RequestId) -> Event) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.step(event(request));
        request
    }

    /// Moves the clock, waking the group as often as it wants to be woken on the way.
    pub(super) fn advance(&mut self, duration: Duration) {
        let until = self.now.plus(duration);
        while let Some(at) = self.wake_by.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.wake_by = None;
            self.step(Event::TimePassed);
        }
        self.now = until;
    }

    fn join(&mut self, join: Join) -> RequestId {
        self.request(|request| Event::Join(request, join))
    }

    fn sync(&mut self, name: &str, generation: i32, assignments: &[(&str, &str)]) -> RequestId {
        let sync = Sync {
            claim: claim(name, generation),
            protocol_type: None,
            protocol: None,
            assignments: assigned(assignments),
        };
        self.request(|request| Event::Sync(request, sync))
    }

    fn joined(&mut self, request: RequestId) -> Joined {
        match self.replies.remove(&request) {
            Some(Reply::Join(Ok(joined))) => joined,
            other => panic!("{request:?} did not join: {other:?}"),
        }
    }

    fn refused(&mut self, request: RequestId) -> GroupError {
        match self.replies.remove(&request) {
            Some(Reply::Join(Err(JoinRefused { error, .. })) | Reply::Sync(Err(error))) => error,
            other => panic!("{request:?} was not refused: {other:?}"),
        }
    }

    fn assignment(&mut self, request: RequestId) -> Bytes {
        match self.replies.remove(&request) {
            Some(Reply::Sync(Ok(synced))) => synced.assignment,
            other => panic!("{request:?} did not sync: {other:?}"),
        }
    }

    fn waits(&self, request: RequestId) -> bool {
        !self.replies.contains_key(&request)
    }

    fn heartbeat(&mut self, name: &str, generation: i32) -> Result<(), GroupError> {
        let request = self.request(|request| Event::Heartbeat(request, claim(name, generation)));
        match self.replies.remove(&request) {
            Some(Reply::Heartbeat(result)) => result,
            other => panic!("a heartbeat is answered at once, not {other:?}"),
        }
    }

    fn leave(&mut self, leaving: Leaving) -> Result<(), GroupError> {
        let request = self.request(|request| Event::Leave(request, vec![leaving]));
        match self.replies.remove(&request) {
            Some(Reply::Leave(results)) => results[0],
            other => panic!("a leave is answered at once, not {other:?}"),
        }
    }

    fn commit(&mut self, claim: Claim, offset: u64) -> Result<(), GroupError> {
        let commit = Commit { claim, offsets: vec![(partition(0), committed(offset, ""))] };
        let request = self.request(|request| Event::Commit(request, commit));
        match self.replies.remove(&request) {
            Some(Reply::Commit(result)) => result.map(|_| ()),
            other => panic!("the log is quick, so a commit is answered, not {other:?}"),
        }
    }

    /// A stable group of these dynamic members, the first of which leads, in generation 1 or more.
    fn stable(&mut self, names: &[&str]) -> i32 {
        for name in names {
            self.join(joining(name));
        }
        let requests: Vec<_> = names.iter().map(|name| self.join(known(name))).collect();
        let mut generation = self.classic().generation();
        for request in requests {
            if let Some(Reply::Join(Ok(joined))) = self.replies.remove(&request) {
                generation = joined.generation;
            }
        }
        let leader = self.classic().leader().cloned().expect("there is a leader");
        let shares: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
        self.sync(leader.as_str(), generation, &shares);
        for name in names {
            self.sync(name, generation, &shares);
        }
        assert!(self.is_stable(), "{:?}", self.classic().phase());
        self.replies.clear();
        generation
    }

    fn is_stable(&self) -> bool {
        matches!(self.classic().phase(), Phase::Stable { .. })
    }
}

pub(super) fn classic_of(group: &Group) -> &Classic {
    match group.membership() {
        Membership::Classic(classic) => classic,
        Membership::Modern(_) => panic!("nobody has joined with the consumer protocol"),
    }
}

pub(super) fn member(name: &str) -> MemberId {
    MemberId::from_client(name).expect("names are not empty")
}

pub(super) fn claim(name: &str, generation: i32) -> Claim {
    Claim { member: Some(member(name)), instance: None, generation: Some(generation) }
}

/// A join of a client that asks for no id first; its fresh id is its name.
pub(super) fn joining(name: &str) -> Join {
    Join {
        member: None,
        instance: None,
        fresh_id: member(name),
        needs_known_id: false,
        knows_skip_assignment: false,
        client: Client { id: Arc::from(name), host: Arc::from("/127.0.0.1") },
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: Arc::from("consumer"),
        protocols: protocols(&["range"]),
    }
}

/// A join of a member that is one already.
pub(super) fn known(name: &str) -> Join {
    Join { member: Some(member(name)), ..joining(name) }
}

/// A join of a static member; each process gets an id of its own.
fn process(instance: &str, id: &str) -> Join {
    Join { instance: Some(InstanceId::new(instance)), ..joining(id) }
}

fn protocols(names: &[&str]) -> Vec<Protocol> {
    let protocol = |name: &&str| Protocol {
        name: Arc::from(*name),
        metadata: Bytes::copy_from_slice(format!("topics for {name}").as_bytes()),
    };
    names.iter().map(protocol).collect()
}

fn assigned(shares: &[(&str, &str)]) -> BTreeMap<MemberId, Bytes> {
    let share =
        |(name, share): &(&str, &str)| (member(name), Bytes::copy_from_slice(share.as_bytes()));
    shares.iter().map(share).collect()
}

pub(super) fn partition(index: usize) -> PartitionName {
    let stream = StreamName::new("orders").expect("a legal name");
    (stream, PartitionIndex::try_from(index).expect("a small index"))
}

pub(super) fn stream_id(number: u8) -> StreamId {
    StreamId::from_bytes([number; 16])
}

pub(super) fn committed(offset: u64, metadata: &str) -> CommittedOffset {
    CommittedOffset {
        stream: Some(stream_id(1)),
        offset: Offset::new(offset),
        leader_epoch: None,
        metadata: Arc::from(metadata),
        committed_at: Timestamp::from_millis(0),
        expires_at: None,
    }
}

#[test]
fn the_first_member_leads_a_generation_of_its_own_at_once() {
    let mut bench = Bench::default();
    let request = bench.join(joining("a"));
    let joined = bench.joined(request);
    assert_eq!((joined.generation, joined.leader.as_ref()), (1, Some(&member("a"))));
    assert_eq!(joined.members.len(), 1);
    let synced = bench.sync("a", 1, &[("a", "all")]);
    assert_eq!(bench.assignment(synced), "all");
    assert_eq!(bench.heartbeat("a", 1), Ok(()));
}

#[test]
fn a_new_member_starts_a_rebalance_that_waits_for_the_old_ones() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a"]);
    let newcomer = bench.join(joining("b"));
    assert!(bench.waits(newcomer));
    assert_eq!(bench.heartbeat("a", generation), Err(GroupError::RebalanceInProgress));
    let again = bench.join(known("a"));
    let (leader, follower) = (bench.joined(again), bench.joined(newcomer));
    assert_eq!(leader.generation, generation + 1);
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!((leader.leader, follower.leader), (Some(member("a")), Some(member("a"))));

    let waiting = bench.sync("b", generation + 1, &[]);
    assert!(bench.waits(waiting), "a follower waits for the leader's assignments");
    let leader = bench.sync("a", generation + 1, &[("a", "0"), ("b", "1"), ("stranger", "2")]);
    assert_eq!(bench.assignment(leader), "0");
    assert_eq!(bench.assignment(waiting), "1");
}

#[test]
fn a_member_that_the_leader_forgets_gets_an_empty_assignment() {
    let mut bench = Bench::default();
    bench.stable(&["a", "b"]);
    let generation = bench.classic().generation();
    bench.join(known("a"));
    bench.join(known("b"));
    bench.sync("a", generation + 1, &[("a", "all")]);
    let forgotten = bench.sync("b", generation + 1, &[]);
    assert_eq!(bench.assignment(forgotten), "");
}

#[test]
fn a_dynamic_member_is_sent_away_once_to_come_back_with_its_id() {
    let mut bench = Bench::default();
    let nameless = bench.join(Join { needs_known_id: true, ..joining("a") });
    let expected = JoinRefused { error: GroupError::MemberIdRequired, member: Some(member("a")) };
    assert_eq!(bench.replies.remove(&nameless), Some(Reply::Join(Err(expected))));
    assert!(!bench.group.is_vacant(), "the id is kept for the client");
    let named = bench.join(known("a"));
    assert_eq!(bench.joined(named).generation, 1);
}

#[test]
fn an_id_that_nobody_joins_with_is_forgotten_after_the_session_timeout() {
    let mut bench = Bench::default();
    bench.join(Join { needs_known_id: true, ..joining("a") });
    bench.advance(SESSION);
    assert!(bench.group.is_vacant());
    let late = bench.join(known("a"));
    assert_eq!(bench.refused(late), GroupError::UnknownMember);
}

#[test]
fn a_rebalance_waits_for_ids_that_were_given_out() {
    let mut bench = Bench::default();
    bench.stable(&["a"]);
    bench.join(Join { needs_known_id: true, ..joining("b") });
    let leader = bench.join(known("a"));
    assert!(bench.waits(leader), "b has an id and is about to join");
    let newcomer = bench.join(known("b"));
    assert_eq!(bench.joined(leader).members.len(), 2);
    assert_eq!(bench.joined(newcomer).leader, Some(member("a")));
}

#[test]
fn members_that_do_not_rejoin_in_time_are_dropped() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a", "b"]);
    let rejoined = bench.join(known("a"));
    // b goes on heartbeating, so only the rebalance timeout can end the wait.
    for _ in 0..REBALANCE.as_secs() / 5 {
        assert!(bench.waits(rejoined));
        assert_eq!(bench.heartbeat("b", generation), Err(GroupError::RebalanceInProgress));
        bench.advance(Duration::from_secs(5));
    }
    assert_eq!(bench.joined(rejoined).members.len(), 1);
    assert_eq!(bench.heartbeat("b", generation), Err(GroupError::UnknownMember));
}

#[test]
fn a_silent_member_is_dropped_and_the_others_rebalance() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a", "b"]);
    bench.advance(SESSION / 2);
    assert_eq!(bench.heartbeat("a", generation), Ok(()));
    bench.advance(SESSION / 2);
    assert_eq!(bench.heartbeat("a", generation), Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.heartbeat("b", generation), Err(GroupError::UnknownMember));
    let again = bench.join(known("a"));
    assert_eq!(bench.joined(again).members.len(), 1);
}

#[test]
fn when_the_leader_dies_another_member_leads() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a", "b"]);
    for _ in 0..2 {
        bench.advance(SESSION / 2);
        let _told_to_rejoin = bench.heartbeat("b", generation);
    }
    let again = bench.join(known("b"));
    let joined = bench.joined(again);
    assert_eq!((joined.leader, joined.members.len()), (Some(member("b")), 1));
}

#[test]
fn a_leader_that_never_assigns_is_dropped_with_all_who_do_not_sync() {
    let mut bench = Bench::default();
    bench.stable(&["a", "b"]);
    let generation = bench.classic().generation() + 1;
    bench.join(known("a"));
    bench.join(known("b"));
    let waiting = bench.sync("b", generation, &[]);
    for _ in 0..REBALANCE.as_secs() / 5 {
        let _told_to_rejoin = bench.heartbeat("a", generation);
        bench.advance(Duration::from_secs(5));
    }
    assert_eq!(bench.refused(waiting), GroupError::RebalanceInProgress);
    assert_eq!(bench.heartbeat("a", generation), Err(GroupError::UnknownMember));
    let again = bench.join(known("b"));
    assert_eq!(bench.joined(again).leader, Some(member("b")));
}

#[test]
fn waiting_for_the_coordinator_is_not_silence() {
    let mut bench = Bench::default();
    bench.stable(&["a", "b"]);
    let generation = bench.classic().generation() + 1;
    bench.join(known("a"));
    bench.join(known("b"));
    let waiting = bench.sync("b", generation, &[]);
    for _ in 0..5 {
        assert_eq!(bench.heartbeat("a", generation), Ok(()), "no news while the leader assigns");
        bench.advance(SESSION / 2);
    }
    bench.sync("a", generation, &[("b", "1")]);
    assert_eq!(bench.assignment(waiting), "1");
    assert_eq!(bench.heartbeat("b", generation), Ok(()));
}

#[test]
fn a_follower_that_rejoins_unchanged_is_told_the_generation_there_is() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a", "b"]);
    let again = bench.join(known("b"));
    assert_eq!(bench.joined(again).generation, generation);
    assert!(bench.is_stable());
    let changed = bench.join(Join { protocols: protocols(&["range", "sticky"]), ..known("b") });
    assert!(bench.waits(changed), "new metadata is worth a rebalance");
    let leader = bench.join(known("a"));
    assert_eq!(bench.joined(leader).generation, generation + 1);
}

#[test]
fn a_leader_that_rejoins_unchanged_starts_a_rebalance() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a", "b"]);
    let leader = bench.join(known("a"));
    assert!(bench.waits(leader));
    assert_eq!(bench.heartbeat("b", generation), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_join_that_is_sent_twice_answers_both_and_counts_once() {
    let mut bench = Bench::default();
    bench.stable(&["a"]);
    bench.join(joining("b"));
    let first = bench.join(Join { protocols: protocols(&["range", "x"]), ..known("b") });
    let second = bench.join(Join { protocols: protocols(&["range", "x"]), ..known("b") });
    assert_eq!(bench.refused(first), GroupError::RebalanceInProgress);
    bench.join(known("a"));
    assert_eq!(bench.joined(second).generation, 2);
}

#[test]
fn the_protocol_with_most_votes_among_the_common_ones_wins() {
    for (members, expected) in [
        (vec![vec!["range"], vec!["range", "sticky"]], "range"),
        (vec![vec!["range", "sticky"], vec!["sticky", "range"], vec!["sticky", "range"]], "sticky"),
        // A tie goes to the leader's favourite.
        (vec![vec!["sticky", "range"], vec!["range", "sticky"]], "sticky"),
        // What only some know does not count, even as a first choice.
        (vec![vec!["new", "range"], vec!["new", "range"], vec!["range"]], "range"),
    ] {
        let mut bench = Bench::default();
        for (index, names) in members.iter().enumerate() {
            bench.join(Join { protocols: protocols(names), ..joining(&format!("m{index}")) });
        }
        let rejoined = bench.join(Join { protocols: protocols(&members[0]), ..known("m0") });
        assert_eq!(bench.joined(rejoined).protocol.as_deref(), Some(expected), "{members:?}");
    }
}

#[test]
fn joins_that_cannot_work_are_refused() {
    let limits = GroupLimits { members_max: 2, ..GroupLimits::default() };
    let too_large = vec![Protocol {
        name: Arc::from("range"),
        metadata: Bytes::from(vec![0; METADATA_BYTES_MAX + 1]),
    }];
    for (join, expected) in [
        (
            Join { session_timeout: Duration::from_secs(5), ..joining("b") },
            GroupError::InvalidSessionTimeout,
        ),
        (
            Join { session_timeout: Duration::from_secs(1801), ..joining("b") },
            GroupError::InvalidSessionTimeout,
        ),
        (
            Join { protocols: protocols(&["sticky"]), ..joining("b") },
            GroupError::InconsistentProtocol,
        ),
        (Join { protocols: Vec::new(), ..joining("b") }, GroupError::InconsistentProtocol),
        (
            Join { protocol_type: Arc::from("connect"), ..joining("b") },
            GroupError::InconsistentProtocol,
        ),
        (Join { protocols: too_large, ..joining("b") }, GroupError::TooLarge),
        (known("nobody"), GroupError::UnknownMember),
    ] {
        let mut bench = Bench::new(limits);
        bench.stable(&["a"]);
        let request = bench.join(join.clone());
        assert_eq!(bench.refused(request), expected, "{join:?}");
        assert!(bench.is_stable(), "a refused join changes nothing: {join:?}");
    }
}

#[test]
fn a_full_group_takes_its_own_members_back_but_nobody_else() {
    let mut bench = Bench::new(GroupLimits { members_max: 2, ..GroupLimits::default() });
    bench.stable(&["a", "b"]);
    let third = bench.join(joining("c"));
    assert_eq!(bench.refused(third), GroupError::GroupFull);
    bench.join(known("a"));
    let again = bench.join(known("b"));
    assert_eq!(bench.joined(again).generation, bench.classic().generation());
}

#[test]
fn protocol_types_are_carried_without_a_look_inside() {
    let mut bench = Bench::default();
    let connect = Join { protocol_type: Arc::from("connect"), ..joining("worker") };
    let request = bench.join(connect);
    assert_eq!(bench.joined(request).protocol_type.as_deref(), Some("connect"));
}

#[test]
fn zombies_are_told_what_they_are() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a", "b"]);
    assert_eq!(bench.heartbeat("a", generation - 1), Err(GroupError::IllegalGeneration));
    assert_eq!(bench.heartbeat("a", generation + 1), Err(GroupError::IllegalGeneration));
    assert_eq!(bench.heartbeat("x", generation), Err(GroupError::UnknownMember));
    let stale = bench.sync("a", generation - 1, &[]);
    assert_eq!(bench.refused(stale), GroupError::IllegalGeneration);
    let foreign = bench.sync("x", generation, &[]);
    assert_eq!(bench.refused(foreign), GroupError::UnknownMember);
    assert_eq!(bench.commit(claim("a", generation - 1), 5), Err(GroupError::IllegalGeneration));
    assert_eq!(bench.commit(claim("x", generation), 5), Err(GroupError::UnknownMember));
    let other_protocol = Sync {
        claim: claim("a", generation),
        protocol_type: Some(Arc::from("consumer")),
        protocol: Some(Arc::from("sticky")),
        assignments: BTreeMap::new(),
    };
    let request = bench.request(|request| Event::Sync(request, other_protocol));
    assert_eq!(bench.refused(request), GroupError::InconsistentProtocol);
}

#[test]
fn the_last_member_to_leave_empties_the_group() {
    let mut bench = Bench::default();
    let generation = bench.stable(&["a"]);
    assert_eq!(bench.leave(Leaving { member: Some(member("a")), instance: None }), Ok(()));
    let classic = bench.classic();
    assert_eq!((classic.phase(), classic.generation()), (Phase::Empty, generation + 1));
    assert_eq!(classic.leader(), None);
    let gone = Leaving { member: Some(member("a")), instance: None };
    assert_eq!(bench.leave(gone), Err(GroupError::UnknownMember));
    let again = bench.join(Join { protocol_type: Arc::from("connect"), ..joining("b") });
    assert_eq!(bench.joined(again).generation, generation + 2, "any type may use an empty group");
}

#[test]
fn a_member_that_leaves_while_it_waits_is_answered() {
    let mut bench = Bench::default();
    bench.stable(&["a", "b"]);
    let waiting = bench.join(Join { protocols: protocols(&["range", "x"]), ..known("b") });
    bench.leave(Leaving { member: Some(member("b")), instance: None }).expect("a member");
    assert_eq!(bench.refused(waiting), GroupError::UnknownMember);

    bench.join(joining("c"));
    bench.join(known("a"));
    let generation = bench.classic().generation();
    let syncing = bench.sync("c", generation, &[]);
    bench.leave(Leaving { member: Some(member("c")), instance: None }).expect("a member");
    assert_eq!(bench.refused(syncing), GroupError::UnknownMember);
}

#[test]
fn an_id_that_was_only_given_out_can_leave_too() {
    for instance in [None, Some(InstanceId::new("whatever"))] {
        let mut bench = Bench::default();
        bench.join(Join { needs_known_id: true, ..joining("a") });
        assert_eq!(bench.leave(Leaving { member: Some(member("a")), instance }), Ok(()));
        assert!(bench.group.is_vacant());
    }
}

#[test]
fn an_empty_group_waits_for_company_if_it_is_told_to() {
    let delay = Duration::from_secs(3);
    let limits = GroupLimits { initial_rebalance_delay: delay, ..GroupLimits::default() };
    let mut bench = Bench::new(limits);
    let first = bench.join(joining("a"));
    bench.advance(Duration::from_secs(2));
    let second = bench.join(joining("b"));
    bench.advance(Duration::from_secs(3));
    assert!(bench.waits(first), "b came during the first delay, so there is a second one");
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.joined(first).members.len(), 2);
    assert_eq!(bench.joined(second).generation, 1);
}

#[test]
fn the_wait_for_company_ends_with_the_rebalance_timeout() {
    let delay = Duration::from_secs(3);
    let limits = GroupLimits { initial_rebalance_delay: delay, ..GroupLimits::default() };
    let mut bench = Bench::new(limits);
    let first = bench.join(joining("m0"));
    for index in 1..30 {
        bench.advance(Duration::from_secs(2));
        bench.join(joining(&format!("m{index}")));
    }
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.joined(first).members.len(), 30);
}
