//! What holds for groups of the consumer protocol whatever happens, in whatever order.

use proptest::prelude::*;

use super::*;

/// One thing that a client, the log, an administrator or time does. Clients are numbered.
#[derive(Clone, Debug)]
enum Act {
    /// The client joins, with these topics, or with a regular expression for both.
    Join {
        client: usize,
        topics: usize,
    },
    /// It is heard of, once it has done what the last answer asked for.
    Beat {
        client: usize,
    },
    /// It is heard of, and the answer gets lost.
    Lose {
        client: usize,
    },
    Leave {
        client: usize,
        returns: bool,
    },
    /// It dies without a word.
    Die {
        client: usize,
    },
    Topic {
        name: usize,
        partitions: u32,
    },
    RemoveTopic {
        name: usize,
    },
    Write {
        works: bool,
    },
    Wait {
        seconds: u64,
    },
}

const CLIENTS: usize = 4;
/// Client 0 is a static member.
const STATIC: usize = 0;
const TOPICS: [&str; 2] = ["t", "u"];
const SUBSCRIPTIONS: [&[&str]; 3] = [&["t"], &["u"], &["t", "u"]];

fn act() -> impl Strategy<Value = Act> {
    let client = 0..CLIENTS;
    prop_oneof![
        5 => (client.clone(), 0usize..4).prop_map(|(client, topics)| Act::Join { client, topics }),
        12 => client.clone().prop_map(|client| Act::Beat { client }),
        2 => client.clone().prop_map(|client| Act::Lose { client }),
        1 => (client.clone(), any::<bool>())
            .prop_map(|(client, returns)| Act::Leave { client, returns }),
        1 => client.prop_map(|client| Act::Die { client }),
        1 => (0usize..2, 1u32..6).prop_map(|(name, partitions)| Act::Topic { name, partitions }),
        1 => (0usize..2).prop_map(|name| Act::RemoveTopic { name }),
        12 => prop_oneof![9 => Just(true), 1 => Just(false)].prop_map(|works| Act::Write { works }),
        2 => (0u64..40).prop_map(|seconds| Act::Wait { seconds }),
    ]
}

/// What a client knows and does, as the Java client: it has one heartbeat under way at a time, and
/// gives partitions up before it says so.
#[derive(Clone, Debug, Default)]
struct Consumer {
    /// Fresh whenever its process starts.
    id: Option<MemberId>,
    epoch: i32,
    owned: Partitions,
    topics: usize,
    asked: Option<RequestId>,
    /// An answer got lost or was an error, so that it asks for everything again.
    is_unsure: bool,
}

struct World {
    bench: Bench,
    consumers: Vec<Consumer>,
    ids_made: usize,
    /// Requests whose answer nobody hears.
    lost: BTreeSet<RequestId>,
}

impl World {
    fn new() -> World {
        let mut bench = Bench::new(&[("t", 3), ("u", 2)]);
        bench.log_is_slow = true;
        let consumers = vec![Consumer::default(); CLIENTS];
        World { bench, consumers, ids_made: 0, lost: BTreeSet::new() }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Join { client, topics } => self.join(client, topics),
            Act::Beat { client } => self.beat(client),
            Act::Lose { client } => {
                self.beat(client);
                self.lost.extend(self.consumers[client].asked.take());
                self.consumers[client].is_unsure = true;
            }
            Act::Leave { client, returns } => self.leave(client, returns),
            Act::Die { client } => {
                let Consumer { asked, .. } = std::mem::take(&mut self.consumers[client]);
                self.lost.extend(asked);
            }
            Act::Topic { name, partitions } => {
                let present = self.bench.topics.get(TOPICS[name]).map_or(0, |topic| topic.1);
                self.bench.set_topic(TOPICS[name], partitions.max(present));
            }
            Act::RemoveTopic { name } => self.bench.remove_topic(TOPICS[name]),
            Act::Write { works } => {
                if !self.bench.unwritten.is_empty() {
                    self.bench.write_next(if works { Ok(()) } else { Err(NotWritten) });
                }
            }
            Act::Wait { seconds } => self.bench.advance(Duration::from_secs(seconds)),
        }
        self.hear();
        self.check();
    }

    fn instance(client: usize) -> Option<InstanceId> {
        (client == STATIC).then(|| InstanceId::new("static"))
    }

    fn subscribed(beat: Beat, topics: usize) -> Beat {
        match SUBSCRIPTIONS.get(topics) {
            Some(names) => {
                Beat { topics: Some(topic_names(names)), regex: Some(Arc::from("")), ..beat }
            }
            None => Beat { topics: Some(topic_names(&[])), regex: Some(Arc::from("[tu]")), ..beat },
        }
    }

    fn join(&mut self, client: usize, topics: usize) {
        if self.consumers[client].asked.is_some() {
            return;
        }
        if self.consumers[client].id.is_none() {
            self.ids_made += 1;
            self.consumers[client].id = Some(member(&format!("c{client}-{}", self.ids_made)));
        }
        let consumer = &mut self.consumers[client];
        // Whoever joins has abandoned everything.
        consumer.owned = Partitions::new();
        (consumer.epoch, consumer.topics) = (0, topics);
        let id = consumer.id.clone().expect("it was just made");
        let joining = Beat { instance: World::instance(client), ..joining(id.as_str(), &[]) };
        let asked = self.bench.ask(World::subscribed(joining, topics));
        self.consumers[client].asked = Some(asked);
    }

    fn beat(&mut self, client: usize) {
        let consumer = &self.consumers[client];
        let (Some(id), None) = (&consumer.id, consumer.asked) else { return };
        if consumer.epoch == 0 {
            return self.join(client, consumer.topics);
        }
        let beat = Beat {
            instance: World::instance(client),
            owned: Some(consumer.owned.clone()),
            ..staying(id.as_str(), consumer.epoch)
        };
        let full = || Beat { rebalance_timeout: Some(REBALANCE), ..beat.clone() };
        let beat = match consumer.is_unsure {
            true => World::subscribed(full(), consumer.topics),
            false => beat,
        };
        let asked = self.bench.ask(beat);
        self.consumers[client].asked = Some(asked);
        self.consumers[client].is_unsure = false;
    }

    fn leave(&mut self, client: usize, returns: bool) {
        if self.consumers[client].asked.is_some() {
            return;
        }
        let Some(id) = std::mem::take(&mut self.consumers[client]).id else { return };
        let instance = World::instance(client);
        let returns = if returns && instance.is_some() { Returns::Soon } else { Returns::Never };
        let going = ConsumerHeartbeat::Leave(Going { member: id, instance, returns });
        let request = self.bench.request(|request| Event::Beat(request, going));
        self.lost.insert(request);
    }

    /// Lets the clients learn from the replies.
    fn hear(&mut self) {
        while let Some((request, reply)) = self.bench.replies.pop_first() {
            if self.lost.remove(&request) {
                continue;
            }
            let asks = |consumer: &&mut Consumer| consumer.asked == Some(request);
            let consumer = self.consumers.iter_mut().find(asks);
            let consumer = consumer.expect("a reply to a request that waits");
            consumer.asked = None;
            match reply {
                Reply::Beat(Ok(Standing { epoch, assignment, .. })) => {
                    consumer.epoch = epoch;
                    // What it is not to have it gives up before it is heard of again.
                    consumer.owned = assignment.unwrap_or_else(|| consumer.owned.clone());
                }
                Reply::Beat(Err(HeartbeatRefused::Group(GroupError::NotAvailable))) => {
                    consumer.is_unsure = true;
                }
                Reply::Beat(Err(_)) => {
                    (consumer.epoch, consumer.owned) = (0, Partitions::new());
                }
                other => panic!("a heartbeat was answered by {other:?}"),
            }
        }
    }

    fn check(&self) {
        let Membership::Modern(modern) = self.bench.group.membership() else { return };
        let mut owners: BTreeMap<PartitionId, MemberId> = BTreeMap::new();
        for (id, member) in modern.members() {
            let current = &member.current;
            for partition in current.assigned.iter().chain(&current.revoking) {
                let other = owners.insert(*partition, id.clone());
                assert_eq!(other, None, "{partition:?} has two owners, one is {id:?}");
            }
        }
        assert_eq!(owners, modern.owners);
        for consumer in &self.consumers {
            // A member that was put out and does not know yet is fenced when it is heard of.
            let Some(id) = consumer.id.as_ref().filter(|id| modern.members().contains_key(*id))
            else {
                continue;
            };
            for partition in &consumer.owned {
                assert_eq!(owners.get(partition), Some(id), "{id:?} reads {partition:?}");
            }
        }
        for (instance, id) in &modern.statics {
            let holder = modern.members().get(id).expect("a static name maps to a member");
            assert_eq!(holder.metadata.instance.as_ref(), Some(instance));
        }
        if self.bench.unwritten.is_empty() {
            self.check_replay(modern);
        }
    }

    /// What a restart would find is what the group shows now.
    fn check_replay(&self, modern: &Modern) {
        let mut replayed = Group::new(GroupLimits::default());
        for record in &self.bench.logged {
            replayed.replay(record.clone());
        }
        let replayed = modern_of(&replayed);
        assert_eq!(replayed.members, modern.members);
        assert_eq!(replayed.targets, modern.targets);
        assert_eq!(replayed.owners, modern.owners);
        assert_eq!(replayed.regexes, modern.regexes);
        let epochs = |modern: &Modern| (modern.epoch, modern.target_epoch, modern.metadata_hash);
        assert_eq!(epochs(replayed), epochs(modern));
    }

    fn write_all(&mut self) {
        while !self.bench.unwritten.is_empty() {
            self.bench.write_next(Ok(()));
        }
        self.hear();
        self.check();
    }

    /// The log works, everybody who lives is heard of: then everything that somebody reads is
    /// owned, and nobody has anything to do.
    fn come_to_rest(&mut self) {
        for _ in 0..20 {
            for client in 0..CLIENTS {
                self.write_all();
                self.beat(client);
            }
            self.write_all();
            self.bench.advance(Duration::from_secs(5));
        }
        self.write_all();
        assert!(self.lost.is_empty(), "requests that were never answered: {:?}", self.lost);
        let mut wanted = BTreeSet::new();
        let mut owned = BTreeSet::new();
        for consumer in &self.consumers {
            assert_eq!(consumer.asked, None, "a request that was never answered");
            let Some(id) = &consumer.id else { continue };
            let names = SUBSCRIPTIONS.get(consumer.topics).copied().unwrap_or(&TOPICS);
            for (number, count) in names.iter().filter_map(|name| self.bench.topics.get(name)) {
                wanted.extend((0..*count).map(|index| (topic_id(*number), index)));
            }
            owned.extend(consumer.owned.iter().map(|one| (one.stream, one.index.as_u32())));
            let member = &self.bench.modern().members()[id];
            assert_eq!(member.current.state, MemberState::Stable, "{id:?}");
            assert_eq!(member.current.epoch, consumer.epoch, "{id:?}");
        }
        assert_eq!(owned, wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_partition_ever_has_two_owners_and_in_the_end_each_has_one(
        acts in proptest::collection::vec(act(), 1..100),
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        world.come_to_rest();
    }
}
