//! Fetch sessions (KIP-227): the broker remembers what a consumer fetches, so that its requests
//! name only what changes and its answers only what is new.
//!
//! ```text
//!   session, epoch, partitions of the request      session, partitions of the answer
//!   0, 0, all                                      7, all          (0 if there is no room)
//!   7, 1, none                                     7, those with news
//!   7, 2, those that change, those to forget       7, those with news
//!   7, 0 or -1, all                                another or 0, all; session 7 has ended
//! ```
//!
//! A session is of no connection: whoever names it with its next epoch goes on with it, as in
//! Kafka. Each request raises the epoch, so of two that name the same one is refused.
//!
//! Invariants: at most `max.incremental.fetch.session.cache.slots` sessions, and at most
//! [`PARTITIONS_MAX`] partitions in them all. A new session takes the place of one that nobody used
//! for [`EVICTION_AGE`], or else of a smaller one that is older than that; where there is none, the
//! consumer is served without a session.
//!
//! Locks: the table's and a session's are never held together, neither across an await.

mod tracked;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::fetch::FetchRequest;
use weir_model::random::Random;
use weir_model::time::Moment;

pub(crate) use tracked::{FetchedTopic, TrackedPartition, TrackedPartitions, Turn};
use tracked::{TopicNaming, partitions_of};

/// Most partitions of all sessions together; each takes about 250 bytes.
const PARTITIONS_MAX: usize = 500_000;
/// How long a session is safe from new ones (Kafka's `min.incremental.fetch.session.eviction.ms`).
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// Stands for no session in requests and answers.
pub(crate) const NO_SESSION: i32 = 0;
/// Epoch of a request that begins a session.
const FIRST_EPOCH: i32 = 0;
/// Epoch of a request that wants none.
const FINAL_EPOCH: i32 = -1;

/// The sessions of a broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    sessions_max: usize,
    partitions_max: usize,
    /// A sync lock: held for a look-up or a look at all sessions, never across an await.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<i32, Entry>,
    /// Of all sessions together.
    partition_count: usize,
}

/// What is known of a session without its lock.
#[derive(Debug)]
struct Entry {
    session: Arc<Mutex<Session>>,
    created: Moment,
    last_used: Moment,
    partition_count: usize,
}

/// What one consumer fetches.
#[derive(Debug)]
struct Session {
    /// The epoch that its next request names.
    epoch: i32,
    naming: TopicNaming,
    partitions: TrackedPartitions,
}

/// What a request fetches.
#[derive(Debug)]
pub(crate) enum Subject {
    /// Exactly the partitions that it names.
    Named {
        partitions: Vec<TrackedPartition>,
        /// Whether to make a session of them.
        wish: SessionWish,
    },
    /// Those of a session.
    Session(OpenSession),
}

/// Whether a consumer wants a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionWish {
    /// It does, and names topics as its version does.
    New { by: TopicNaming },
    /// It does not.
    None,
}

/// A session that a request goes on with.
#[derive(Debug)]
pub(crate) struct OpenSession {
    session: Arc<Mutex<Session>>,
    id: i32,
    /// The session's epoch since the request.
    epoch: i32,
}

/// A session, kept from other requests while it is looked at.
pub(crate) struct LockedSession<'a>(MutexGuard<'a, Session>);

impl LockedSession<'_> {
    pub(crate) fn partitions(&mut self) -> &mut TrackedPartitions {
        &mut self.0.partitions
    }
}

impl OpenSession {
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// The session as the request left it; none once another request went on with it, whose answer
    /// this one's would contradict.
    pub(crate) fn lock(&self) -> Option<LockedSession<'_>> {
        let session = self.session.lock();
        (session.epoch == self.epoch).then(|| LockedSession(session))
    }
}

impl FetchSessions {
    /// No sessions yet, and never more than these.
    pub(crate) fn new(sessions_max: usize) -> FetchSessions {
        FetchSessions { sessions_max, partitions_max: PARTITIONS_MAX, table: Mutex::default() }
    }

    /// Finds what a request fetches, and brings its session up to date. The request's lists of
    /// topics are taken.
    pub(crate) fn begin(
        &self,
        version: i16,
        request: &mut FetchRequest,
        now: Moment,
    ) -> Result<Subject, ErrorCode> {
        let naming = TopicNaming::in_version(version);
        let named = partitions_of(std::mem::take(&mut request.topics), naming);
        if [FIRST_EPOCH, FINAL_EPOCH].contains(&request.session_epoch) {
            self.table.lock().remove(request.session_id);
            let wish = match request.session_epoch {
                FIRST_EPOCH => SessionWish::New { by: naming },
                _ => SessionWish::None,
            };
            return Ok(Subject::Named { partitions: named, wish });
        }
        let session = self
            .table
            .lock()
            .find(request.session_id)
            .ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let (epoch, partition_count) = {
            let mut session = session.lock();
            if session.epoch != request.session_epoch {
                return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
            }
            if session.naming != naming {
                return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
            }
            for partition in named {
                session.partitions.insert(partition);
            }
            session.partitions.forget(std::mem::take(&mut request.forgotten_topics_data), naming);
            session.epoch = next_epoch(session.epoch);
            (session.epoch, session.partitions.len())
        };
        if partition_count == 0 {
            self.table.lock().remove(request.session_id);
            return Ok(Subject::Named { partitions: Vec::new(), wish: SessionWish::None });
        }
        let mut table = self.table.lock();
        table.used(request.session_id, partition_count, now);
        if table.partition_count > self.partitions_max {
            // Its consumer begins again, and is served without a session if there is no room still.
            table.remove(request.session_id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        Ok(Subject::Session(OpenSession { session, id: request.session_id, epoch }))
    }

    /// Makes a session of what was just answered in full; returns its id, or [`NO_SESSION`].
    pub(crate) fn create(
        &self,
        naming: TopicNaming,
        partitions: Vec<TrackedPartition>,
        now: Moment,
        random: &dyn Random,
    ) -> i32 {
        let partitions: TrackedPartitions = partitions.into_iter().collect();
        let partition_count = partitions.len();
        let mut table = self.table.lock();
        while table.sessions.len() >= self.sessions_max
            || table.partition_count + partition_count > self.partitions_max
        {
            let Some(evicted) = table.evictable(partition_count, now) else { return NO_SESSION };
            table.remove(evicted);
        }
        let id = table.unused_id(random);
        let session = Session { epoch: next_epoch(FIRST_EPOCH), naming, partitions };
        let session = Arc::new(Mutex::new(session));
        let entry = Entry { session, created: now, last_used: now, partition_count };
        table.sessions.insert(id, entry);
        table.partition_count += partition_count;
        id
    }
}

impl Table {
    fn find(&self, id: i32) -> Option<Arc<Mutex<Session>>> {
        self.sessions.get(&id).map(|entry| Arc::clone(&entry.session))
    }

    fn remove(&mut self, id: i32) {
        if let Some(entry) = self.sessions.remove(&id) {
            self.partition_count -= entry.partition_count;
        }
    }

    /// Notes that a session was used; one that was evicted meanwhile stays so.
    fn used(&mut self, id: i32, partition_count: usize, now: Moment) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            self.partition_count = self.partition_count - entry.partition_count + partition_count;
            (entry.partition_count, entry.last_used) = (partition_count, now);
        }
    }

    /// The session that has to go for a new one of this size: the one that was not used for
    /// longest, if that is long; or else the smallest of the old ones, if the new one is larger.
    fn evictable(&self, partition_count: usize, now: Moment) -> Option<i32> {
        let stalest = self.sessions.iter().min_by_key(|(id, entry)| (entry.last_used, **id))?;
        if now.since(stalest.1.last_used) > EVICTION_AGE {
            return Some(*stalest.0);
        }
        let old = self.sessions.iter().filter(|(_, e)| e.last_used.since(e.created) > EVICTION_AGE);
        let smallest = old.min_by_key(|(id, entry)| (entry.partition_count, **id))?;
        (smallest.1.partition_count < partition_count).then_some(*smallest.0)
    }

    /// A random id, so that one consumer cannot name another's by accident.
    fn unused_id(&self, random: &dyn Random) -> i32 {
        loop {
            let bits = u32::try_from(random.next_u64() >> 33).expect("31 bits fit");
            let id = bits.cast_signed();
            if id != NO_SESSION && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(FIRST_EPOCH + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_kafka_protocol::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
    use weir_model::random::SeededRandom;

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    fn request(session_id: i32, session_epoch: i32, partitions: usize) -> FetchRequest {
        let partition = |partition| FetchPartition { partition, ..Default::default() };
        let count = i32::try_from(partitions).unwrap();
        FetchRequest {
            session_id,
            session_epoch,
            topics: vec![FetchTopic {
                topic: "orders".to_owned(),
                partitions: (0..count).map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Few, so that they are filled up at once.
    const SESSIONS_MAX: usize = 20;

    struct Bench {
        sessions: FetchSessions,
        random: SeededRandom,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { sessions: FetchSessions::new(SESSIONS_MAX), random: SeededRandom::new(7) }
        }

        fn create(&self, partitions: usize, now: Moment) -> i32 {
            let subject = self.sessions.begin(12, &mut request(0, 0, partitions), now);
            let Ok(Subject::Named { partitions, wish: SessionWish::New { by } }) = subject else {
                panic!("a wish for a session, but {subject:?}");
            };
            self.sessions.create(by, partitions, now, &self.random)
        }

        fn resume(&self, id: i32, epoch: i32, now: Moment) -> Result<OpenSession, ErrorCode> {
            match self.sessions.begin(12, &mut request(id, epoch, 0), now)? {
                Subject::Session(session) => Ok(session),
                Subject::Named { .. } => panic!("a session"),
            }
        }

        fn exists(&self, id: i32) -> bool {
            self.sessions.table.lock().find(id).is_some()
        }
    }

    #[test]
    fn each_request_must_name_the_epoch_after_the_last_one() {
        let bench = Bench::new();
        let id = bench.create(2, at(0));
        let first = bench.resume(id, 1, at(1)).unwrap();
        assert_eq!(first.lock().unwrap().partitions().len(), 2);
        let again = bench.resume(id, 1, at(1)).err();
        assert_eq!(again, Some(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        bench.resume(id, 2, at(1)).unwrap();
        assert!(first.lock().is_none(), "another request has gone on with the session");
        let unknown = bench.resume(id ^ 1, 1, at(1)).err();
        assert_eq!(unknown, Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    }

    #[test]
    fn the_epoch_after_the_highest_is_the_one_after_the_first() {
        for (epoch, next) in [(1, 2), (i32::MAX - 1, i32::MAX), (i32::MAX, 1)] {
            assert_eq!(next_epoch(epoch), next);
        }
    }

    #[test]
    fn a_session_keeps_to_one_way_to_name_topics() {
        let bench = Bench::new();
        let id = bench.create(1, at(0));
        let by_id = bench.sessions.begin(13, &mut request(id, 1, 0), at(0)).err();
        assert_eq!(by_id, Some(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        bench.resume(id, 1, at(0)).expect("the refused request changed nothing");
    }

    #[test]
    fn a_full_request_ends_the_session_that_it_names() {
        for epoch in [FIRST_EPOCH, FINAL_EPOCH] {
            let bench = Bench::new();
            let id = bench.create(1, at(0));
            bench.sessions.begin(12, &mut request(id, epoch, 1), at(0)).unwrap();
            assert!(!bench.exists(id), "after epoch {epoch}");
            assert_eq!(bench.sessions.table.lock().partition_count, 0);
        }
    }

    #[test]
    fn a_session_without_partitions_ends() {
        let bench = Bench::new();
        let id = bench.create(2, at(0));
        let mut empty = request(id, 1, 0);
        empty.forgotten_topics_data = vec![ForgottenTopic {
            topic: "orders".to_owned(),
            partitions: vec![0, 1],
            ..Default::default()
        }];
        let subject = bench.sessions.begin(12, &mut empty, at(0)).unwrap();
        assert!(matches!(subject, Subject::Named { wish: SessionWish::None, .. }), "{subject:?}");
        assert!(!bench.exists(id));
    }

    #[test]
    fn a_new_session_takes_the_place_of_a_stale_or_of_a_smaller_old_one_only() {
        let age = EVICTION_AGE.as_secs();
        for (last_used, now, old_size, new_size, takes_place, why) in [
            (0, age, 1, 9, false, "used not long ago, and young"),
            (0, age + 1, 9, 1, true, "stale"),
            (age, age + 1, 1, 9, false, "young when it was used last"),
            (age + 1, age + 2, 2, 3, true, "old and smaller"),
            (age + 1, age + 2, 2, 2, false, "old and of the same size"),
        ] {
            let bench = Bench::new();
            let ids: Vec<_> = (0..SESSIONS_MAX).map(|_| bench.create(old_size, at(0))).collect();
            for id in &ids {
                assert!(bench.exists(*id));
                bench.resume(*id, 1, at(last_used)).unwrap();
            }
            let new = bench.create(new_size, at(now));
            assert_eq!(new != NO_SESSION, takes_place, "{why}");
            let left = ids.iter().filter(|id| bench.exists(**id)).count();
            assert_eq!(left, SESSIONS_MAX - usize::from(takes_place), "{why}");
        }
    }

    #[test]
    fn sessions_hold_a_bounded_number_of_partitions() {
        let mut bench = Bench::new();
        bench.sessions.partitions_max = 10;
        let id = bench.create(8, at(0));
        assert_eq!(bench.create(3, at(0)), NO_SESSION, "no room");
        assert_ne!(bench.create(2, at(0)), NO_SESSION);
        let grown = bench.sessions.begin(12, &mut request(id, 1, 9), at(0)).err();
        assert_eq!(grown, Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert!(!bench.exists(id));
        assert_eq!(bench.sessions.table.lock().partition_count, 2);
    }

    #[test]
    fn a_broker_without_slots_has_no_sessions() {
        let mut bench = Bench::new();
        bench.sessions.sessions_max = 0;
        assert_eq!(bench.create(1, at(0)), NO_SESSION);
    }
}
