//! What holds for the classic protocol whatever happens, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{
    Bench, claim, classic_of, committed, joining, known, member, partition, stream_id,
};
use super::*;
use crate::group::offsets::CommittedOffset;
use crate::group::records::GroupRecord;
use crate::group::state::{Commit, Event, Group, NotWritten, RequestId};

/// One thing that a client, the log or time does. Clients are numbered.
#[derive(Clone, Debug)]
enum Act {
    Join { client: usize, first_asks: bool, metadata: u8 },
    Restart { client: usize },
    Sync { client: usize, generations_ago: i32 },
    Heartbeat { client: usize },
    Leave { client: usize },
    Commit { client: usize, offset: u64 },
    Forget,
    Delete,
    DeleteOffset { partition: usize },
    Expire,
    Write { works: bool },
    Wait { seconds: u64 },
}

/// Retention is short enough for offsets to expire in the middle of a history.
fn limits() -> GroupLimits {
    GroupLimits { offsets_retention: Duration::from_secs(20), ..GroupLimits::default() }
}

/// Clients 0 and 1 are static members.
const CLIENTS: usize = 5;
const STATICS: usize = 2;

fn act() -> impl Strategy<Value = Act> {
    let client = 0..CLIENTS;
    prop_oneof![
        6 => (client.clone(), any::<bool>(), 0u8..2)
            .prop_map(|(client, first_asks, metadata)| Act::Join { client, first_asks, metadata }),
        1 => (0..STATICS).prop_map(|client| Act::Restart { client }),
        6 => (client.clone(), prop_oneof![9 => Just(0), 1 => Just(1)])
            .prop_map(|(client, generations_ago)| Act::Sync { client, generations_ago }),
        2 => client.clone().prop_map(|client| Act::Heartbeat { client }),
        1 => client.clone().prop_map(|client| Act::Leave { client }),
        2 => (client, 0u64..100).prop_map(|(client, offset)| Act::Commit { client, offset }),
        1 => Just(Act::Forget),
        1 => Just(Act::Delete),
        1 => (0..CLIENTS).prop_map(|partition| Act::DeleteOffset { partition }),
        1 => Just(Act::Expire),
        5 => prop_oneof![9 => Just(true), 1 => Just(false)].prop_map(|works| Act::Write { works }),
        3 => (0u64..15).prop_map(|seconds| Act::Wait { seconds }),
    ]
}

/// The clients of one group and what they have been told.
struct World {
    bench: Bench,
    /// The id that each client goes by.
    ids: [Option<MemberId>; CLIENTS],
    ids_made: usize,
    asked: BTreeMap<RequestId, Option<usize>>,
    /// Who was told to assign in which generation.
    leaders: BTreeMap<i32, BTreeSet<MemberId>>,
    generation: i32,
    membership_write_failed: bool,
}

impl World {
    fn new() -> World {
        World {
            bench: Bench::slow_log_with(limits()),
            ids: std::array::from_fn(|_| None),
            ids_made: 0,
            asked: BTreeMap::new(),
            leaders: BTreeMap::new(),
            generation: 0,
            membership_write_failed: false,
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Join { client, first_asks, metadata } => self.join(client, first_asks, metadata),
            Act::Restart { client } => {
                self.ids[client] = None;
                self.join(client, false, 0);
            }
            Act::Sync { client, generations_ago } => {
                let claim = self.claim(client, generations_ago);
                let share = |id: &MemberId| (id.clone(), Bytes::from(id.as_str().to_owned()));
                let assignments = self.bench.classic().members().map(share).collect();
                let sync = Sync { claim, protocol_type: None, protocol: None, assignments };
                self.ask(Some(client), |request| Event::Sync(request, sync));
            }
            Act::Heartbeat { client } => {
                let claim = self.claim(client, 0);
                self.ask(Some(client), |request| Event::Heartbeat(request, claim));
            }
            Act::Leave { client } => {
                let Claim { member, instance, .. } = self.claim(client, 0);
                let leaving = vec![Leaving { member, instance }];
                self.ask(Some(client), |request| Event::Leave(request, leaving));
            }
            Act::Commit { client, offset } => {
                let claim = self.claim(client, 0);
                let offsets = vec![(partition(client), committed(offset, ""))];
                self.ask(Some(client), |request| Event::Commit(request, Commit { claim, offsets }));
            }
            Act::Forget => {
                let (name, _) = partition(0);
                self.ask(None, |request| Event::ForgetStream(request, name, stream_id(1)));
            }
            Act::Delete => self.may_delete(|world| world.ask(None, Event::Delete)),
            Act::DeleteOffset { partition: index } => {
                self.ask(None, |request| Event::DeleteOffsets(request, vec![partition(index)]));
            }
            Act::Expire => self.may_delete(|world| world.bench.step(Event::Expire)),
            Act::Write { works } => self.write(works),
            Act::Wait { seconds } => self.bench.advance(Duration::from_secs(seconds)),
        }
        self.hear();
        self.check();
    }

    fn join(&mut self, client: usize, first_asks: bool, metadata: u8) {
        self.ids_made += 1;
        let fresh = format!("c{client}-{}", self.ids_made);
        let mut join = match &self.ids[client] {
            Some(id) => known(id.as_str()),
            None => joining(&fresh),
        };
        join.fresh_id = member(&fresh);
        join.needs_known_id = first_asks && client >= STATICS;
        join.instance = instance(client);
        join.protocols[0].metadata = Bytes::from(vec![metadata]);
        self.ask(Some(client), |request| Event::Join(request, join));
    }

    fn claim(&self, client: usize, generations_ago: i32) -> Claim {
        let generation = self.bench.classic().generation() - generations_ago;
        let id = self.ids[client].as_ref().map_or("nobody", MemberId::as_str);
        Claim { instance: instance(client), ..claim(id, generation) }
    }

    fn ask(&mut self, client: Option<usize>, event: impl FnOnce(RequestId) -> Event) {
        let request = self.bench.request(event);
        self.asked.insert(request, client);
    }

    /// A deleted group begins anew; only then do generations.
    fn may_delete(&mut self, act: impl FnOnce(&mut World)) {
        let was_empty = self.bench.classic().phase() == Phase::Empty;
        act(self);
        if was_empty && self.bench.classic().generation() == 0 {
            self.generation = 0;
            self.leaders.clear();
        }
    }

    fn write(&mut self, works: bool) {
        let Some(write) = self.bench.unwritten.front() else { return };
        if write.records.iter().any(|record| matches!(record, GroupRecord::Members(_))) {
            self.membership_write_failed = !works;
        }
        self.bench.write_next(if works { Ok(()) } else { Err(NotWritten) });
    }

    /// Lets the clients learn from the replies.
    fn hear(&mut self) {
        while let Some((request, reply)) = self.bench.replies.pop_first() {
            let client = self.asked.remove(&request).expect("a reply to a request that waits");
            let Some(client) = client else { continue };
            match reply {
                Reply::Join(Ok(joined)) => {
                    if joined.leader.as_ref() == Some(&joined.member) && !joined.skip_assignment {
                        let leaders = self.leaders.entry(joined.generation).or_default();
                        leaders.insert(joined.member.clone());
                    }
                    self.ids[client] = Some(joined.member);
                }
                Reply::Join(Err(refused)) => match refused.error {
                    GroupError::MemberIdRequired => self.ids[client] = refused.member,
                    GroupError::UnknownMember | GroupError::FencedInstance => {
                        self.ids[client] = None;
                    }
                    _ => {}
                },
                Reply::Sync(_) | Reply::Heartbeat(_) | Reply::Leave(_) | Reply::Beat(_) => {}
                Reply::Commit(_) | Reply::Forgotten(_) => {}
                Reply::Deleted(_) | Reply::OffsetsDeleted(_) => {}
            }
        }
    }

    fn check(&mut self) {
        let classic = self.bench.classic();
        assert!(classic.generation() >= self.generation, "the generation went back");
        self.generation = classic.generation();
        let is_member = |id: &MemberId| classic.members.contains_key(id);
        match classic.phase() {
            Phase::Empty => assert_eq!(classic.members.len(), 0, "an empty group has members"),
            Phase::Preparing { .. } => {}
            Phase::Completing { .. } | Phase::Stable { .. } => {
                assert!(classic.leader().is_some_and(is_member), "the leader is not a member");
            }
        }
        for (instance, id) in &classic.statics {
            let holder = classic.members.get(id).expect("a static name maps to a member");
            assert_eq!(holder.instance.as_ref(), Some(instance));
        }
        for member in classic.members.values() {
            let in_completing = matches!(classic.phase(), Phase::Completing { .. });
            assert!(member.syncing.is_none() || in_completing, "a sync waits for nothing");
        }
        for (generation, leaders) in &self.leaders {
            assert!(leaders.len() <= 1, "generation {generation} has two leaders: {leaders:?}");
        }
        self.check_replay();
    }

    /// What a restart would find is what the group shows now.
    fn check_replay(&self) {
        let mut replayed = Group::new(limits());
        for record in &self.bench.logged {
            replayed.replay(record.clone());
        }
        let offsets = |group: &Group| -> Vec<(PartitionOf, CommittedOffset)> {
            let all = group.offsets().iter();
            all.map(|(stream, index, found)| ((stream.clone(), index), found.clone())).collect()
        };
        assert_eq!(offsets(&replayed), offsets(&self.bench.group));
        let is_settled =
            matches!(self.bench.classic().phase(), Phase::Empty | Phase::Stable { .. });
        if is_settled && self.bench.unwritten.is_empty() && !self.membership_write_failed {
            let date = self.bench.date();
            assert_eq!(classic_of(&replayed).image(date), self.bench.classic().image(date));
        }
    }

    /// Lets everything come to its end: the log works, nobody says anything more.
    fn come_to_rest(&mut self) {
        for _ in 0..40 {
            while !self.bench.unwritten.is_empty() {
                self.write(true);
            }
            self.bench.advance(Duration::from_secs(30));
            self.hear();
            self.check();
        }
        assert_eq!(self.asked, BTreeMap::new(), "requests that were never answered");
        assert_eq!(self.bench.classic().phase(), Phase::Empty, "everybody was silent");
        assert_eq!(self.bench.wake_by, None, "a group at rest wants to be woken for nothing");
    }
}

type PartitionOf = crate::group::offsets::PartitionName;

fn instance(client: usize) -> Option<InstanceId> {
    (client < STATICS).then(|| InstanceId::new(&format!("static-{client}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_invariants_and_answers_everyone_once(
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        world.come_to_rest();
    }
}
