//! What a member has and how far its program is: all that the program's side and the membership
//! know together.
//!
//! ```text
//!   given ──> Reading ── taken ──> Revoking ── the program comes back ──> released
//!                └──────────── lost ───────────────┘
//! ```
//!
//! Each giving of a partition is a life of it. Records carry the life under which they were read,
//! so what is still on its way when a partition goes is not taken for what comes when it is back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_model::time::{Clock, Moment};

use super::{Batch, GroupEvent, GroupPartition};
use crate::error::{Error, Reason, Refusal};
use crate::record::Record;

/// A partition by its name.
pub(super) type Key = GroupPartition;

/// The share, and how its two sides wake each other.
#[derive(Debug)]
pub(super) struct Shared {
    /// Held for moments, never over an await, by the program's side, the membership and readers.
    pub(super) share: Mutex<Share>,
    /// The program has come back after partitions were taken from it.
    pub(super) returned: Notify,
    clock: Arc<dyn Clock>,
}

/// What a member has.
#[derive(Debug, Default)]
pub(super) struct Share {
    parts: BTreeMap<Key, Part>,
    is_automatic: bool,
    last_life: u64,
    /// Lives that began with the present membership, or later.
    first_life: u64,
    last_reader: u64,
    /// What the program is to be told, before any record.
    changes: VecDeque<Change>,
    /// What the program has in its hands.
    handed: Option<Handed>,
    /// Since when it is busy.
    busy_since: Option<Moment>,
    /// Of the last `Taken` that the program was told.
    taken: Vec<(Key, u64)>,
    /// Taken, and come back from.
    given_back: Vec<(Key, u64)>,
    /// Why something that the program was through with was not kept, until it is told.
    loss: Option<Error>,
    waker: Option<Waker>,
}

/// A partition that the member has.
#[derive(Debug)]
struct Part {
    life: u64,
    is_revoked: bool,
    /// The reader whose records count.
    reader: u64,
    /// Where it is to be read on; none where the member chooses.
    next_read: Option<u64>,
    /// How far the program is through.
    done: Option<u64>,
    /// What of it the broker was told.
    said: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Given(Vec<Key>),
    Taken(Vec<(Key, u64)>),
    Lost(Vec<Key>),
}

/// A record with the program.
#[derive(Debug)]
struct Handed {
    key: Key,
    life: u64,
    next_offset: u64,
}

/// What there is for the program.
pub(super) enum Next {
    Event(GroupEvent),
    /// Nothing but what may come from the readers.
    Nothing,
}

/// A position on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) key: Key,
    pub(super) next_offset: u64,
    life: u64,
}

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>, is_automatic: bool) -> Shared {
        let share = Share { is_automatic, ..Share::default() };
        Shared { share: Mutex::new(share), returned: Notify::new(), clock }
    }

    /// The program is through with what it got last.
    pub(super) fn come_back(&self) {
        if self.share.lock().come_back() {
            self.returned.notify_one();
        }
    }

    /// What comes next for the program: a change, or a record of what was read ahead.
    pub(super) fn next(&self, batch: &mut Option<Batch>, waker: &Waker) -> Next {
        let mut share = self.share.lock();
        let event = share.change().or_else(|| share.record(batch));
        match event {
            Some(event) => {
                if share.is_automatic {
                    // What was not kept comes again.
                    share.loss = None;
                }
                share.busy_since = Some(self.clock.real_moment());
                Next::Event(event)
            }
            None => {
                match &share.waker {
                    Some(known) if known.will_wake(waker) => {}
                    _ => share.waker = Some(waker.clone()),
                }
                Next::Nothing
            }
        }
    }

    /// Whether the program has come back in time.
    pub(super) fn is_alive(&self, processing_max: Duration) -> bool {
        let busy_since = self.share.lock().busy_since;
        busy_since.is_none_or(|since| self.clock.real_moment().since(since) <= processing_max)
    }
}

impl Share {
    fn come_back(&mut self) -> bool {
        self.busy_since = None;
        self.finish_handed();
        if self.taken.is_empty() {
            return false;
        }
        self.given_back.append(&mut self.taken);
        true
    }

    /// Counts the record that the program has as through, where that is automatic.
    pub(super) fn finish_handed(&mut self) {
        let Some(Handed { key, life, next_offset }) = self.handed.take() else { return };
        if self.is_automatic {
            self.finish(&key, life, next_offset);
        }
    }

    fn finish(&mut self, key: &Key, life: u64, next_offset: u64) {
        if let Some(part) = self.parts.get_mut(key).filter(|part| part.life == life) {
            part.done = part.done.max(Some(next_offset));
        }
    }

    fn change(&mut self) -> Option<GroupEvent> {
        Some(match self.changes.pop_front()? {
            Change::Given(keys) => GroupEvent::Given(keys),
            Change::Lost(keys) => GroupEvent::Lost(keys),
            Change::Taken(taken) => {
                let keys = taken.iter().map(|(key, _)| key.clone()).collect();
                self.taken = taken;
                GroupEvent::Taken(keys)
            }
        })
    }

    fn record(&mut self, batch: &mut Option<Batch>) -> Option<GroupEvent> {
        let from = batch.as_mut()?;
        let part = self.parts.get(&from.key);
        if part.is_none_or(|part| part.life != from.life || part.is_revoked) {
            *batch = None;
            return None;
        }
        let Some(record) = from.records.next() else {
            // An answer without records says where reading goes on.
            let (key, life, next_offset) = (from.key.clone(), from.life, from.next_offset);
            if self.is_automatic {
                self.finish(&key, life, next_offset);
            }
            *batch = None;
            return None;
        };
        let is_last = from.records.as_slice().is_empty();
        let next_offset = if is_last { from.next_offset } else { record.place.offset + 1 };
        self.handed = Some(Handed { key: from.key.clone(), life: from.life, next_offset });
        if is_last {
            *batch = None;
        }
        Some(GroupEvent::Record(record))
    }

    pub(super) fn partitions(&self) -> Vec<Key> {
        let reading = self.parts.iter().filter(|(_, part)| !part.is_revoked);
        reading.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn acknowledge(&mut self, record: &Record) -> Result<(), Error> {
        let key = Key { stream: Arc::clone(&record.stream), partition: record.place.partition };
        let Some(part) = self.parts.get_mut(&key) else {
            return Err(Error::Refused(Refusal {
                reason: Reason::NotAssigned,
                message: format!("partition {} of {} was lost", key.partition, key.stream),
                retry_after: Duration::ZERO,
            }));
        };
        part.done = part.done.max(Some(record.place.offset + 1));
        Ok(())
    }

    /// A membership begins, in which the member has nothing yet.
    pub(super) fn begin(&mut self) {
        self.first_life = self.last_life + 1;
    }

    /// Takes these partitions from the program.
    pub(super) fn take(&mut self, keys: Vec<Key>) {
        let mut taken = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(part) = self.parts.get_mut(&key) else { continue };
            part.is_revoked = true;
            taken.push((key, part.life));
        }
        if !taken.is_empty() {
            self.changes.push_back(Change::Taken(taken));
            self.wake();
        }
    }

    /// Gives partitions to the program, each with the group's position if it has one.
    pub(super) fn give(&mut self, added: Vec<(Key, Option<u64>)>) {
        if added.is_empty() {
            return;
        }
        let mut given = Vec::with_capacity(added.len());
        for (key, next) in added {
            self.last_life += 1;
            let life = self.last_life;
            let (next_read, done, said) = (next, next, next);
            let part = Part { life, is_revoked: false, reader: 0, next_read, done, said };
            self.parts.insert(key.clone(), part);
            given.push(key);
        }
        self.changes.push_back(Change::Given(given));
        self.wake();
    }

    /// The partitions that the program has come back from after they were taken. They are the
    /// member's until they are [`released`](Share::release).
    pub(super) fn given_back(&mut self) -> Vec<(Key, u64)> {
        let mut given_back = std::mem::take(&mut self.given_back);
        given_back.retain(|(_, life)| *life >= self.first_life);
        given_back
    }

    /// These are the member's no more.
    pub(super) fn release(&mut self, released: &[(Key, u64)]) {
        for (key, life) in released {
            // One that was made again under its name has another life.
            if self.parts.get(key).is_some_and(|part| part.life == *life) {
                self.parts.remove(key);
            }
        }
    }

    /// The membership is over, and nothing can be kept any more. `why` is told with the next commit
    /// if something that the program was through with was not kept.
    pub(super) fn lose(&mut self, why: &Error) {
        self.finish_handed();
        let parts = std::mem::take(&mut self.parts);
        let is_unkept = |part: &Part| part.done != part.said;
        if parts.values().any(is_unkept) {
            self.loss.get_or_insert_with(|| why.clone());
        }
        self.given_back.clear();
        // What was to be taken went without the program's doing, and others may have it already.
        for change in &mut self.changes {
            if let Change::Taken(taken) = change {
                let keys = std::mem::take(taken).into_iter().map(|(key, _)| key).collect();
                *change = Change::Lost(keys);
            }
        }
        let lost = parts.into_iter().filter(|(_, part)| !part.is_revoked);
        let lost: Vec<_> = lost.map(|(key, _)| key).collect();
        if !lost.is_empty() {
            self.changes.push_back(Change::Lost(lost));
            self.wake();
        }
    }

    /// Notes why a position was not kept and will not be.
    pub(super) fn note_loss(&mut self, why: Error) {
        self.loss.get_or_insert(why);
    }

    /// Why something was not kept, if that was not told yet.
    pub(super) fn loss(&mut self) -> Option<Error> {
        self.loss.take()
    }

    /// Positions that the broker is to be told, at most so many; they count as told.
    pub(super) fn unsaid(&mut self, count_max: usize) -> Vec<Position> {
        let unsaid = self.parts.iter_mut().filter(|(_, part)| part.done != part.said);
        let unsaid = unsaid.take(count_max).filter_map(|(key, part)| {
            let next_offset = part.done?;
            part.said = part.done;
            Some(Position { key: key.clone(), next_offset, life: part.life })
        });
        unsaid.collect()
    }

    /// A position was not kept, and is to be said again.
    pub(super) fn unsay(&mut self, position: &Position) {
        let part = self.parts.get_mut(&position.key);
        if let Some(part) = part.filter(|part| part.life == position.life)
            && part.said == Some(position.next_offset)
        {
            part.said = None;
        }
    }

    /// Makes the number of a new reader of that stream, whose records count from now on; none if
    /// there is nothing of it to read.
    pub(super) fn new_reader(&mut self, stream: &str) -> Option<u64> {
        self.last_reader += 1;
        let reader = self.last_reader;
        let mut has_any = false;
        for (key, part) in &mut self.parts {
            if *key.stream == *stream && !part.is_revoked {
                part.reader = reader;
                has_any = true;
            }
        }
        has_any.then_some(reader)
    }

    /// What a reader is to read, and where it goes on where that is known.
    pub(super) fn places(&self, reader: u64) -> (Vec<u32>, HashMap<u32, u64>) {
        let own = self.parts.iter().filter(|(_, part)| part.reader == reader && !part.is_revoked);
        let own: Vec<_> = own.map(|(key, part)| (key.partition, part.next_read)).collect();
        let offsets = own.iter().filter_map(|(partition, next)| Some((*partition, (*next)?)));
        (own.iter().map(|(partition, _)| *partition).collect(), offsets.collect())
    }

    /// Notes that a reader has read up to there; the life that it has read in, if that counts.
    pub(super) fn advance(&mut self, reader: u64, key: &Key, next_offset: u64) -> Option<u64> {
        let part = self.parts.get_mut(key)?;
        if part.reader != reader || part.is_revoked {
            return None;
        }
        part.next_read = Some(next_offset);
        Some(part.life)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_model::time::SystemClock;

    use super::*;
    use crate::record::Place;

    /// A share, and what its program has read ahead.
    struct Program {
        shared: Shared,
        batch: Option<Batch>,
    }

    impl Program {
        fn new(is_automatic: bool) -> Program {
            let shared = Shared::new(Arc::new(SystemClock::new()), is_automatic);
            shared.share.lock().begin();
            Program { shared, batch: None }
        }

        fn share(&self) -> parking_lot::MutexGuard<'_, Share> {
            self.shared.share.lock()
        }

        /// Has partition 0 given, from this offset on, and a reader for it; the reader's number.
        fn give(&self, next: Option<u64>) -> u64 {
            self.share().give(vec![(key(), next)]);
            self.share().new_reader("orders").expect("a partition to read")
        }

        /// Reads records at these offsets ahead, if that reader's records count.
        fn read(&mut self, reader: u64, offsets: std::ops::Range<u64>) {
            let next_offset = offsets.end;
            let Some(life) = self.share().advance(reader, &key(), next_offset) else { return };
            let records: Vec<_> = offsets.map(record).collect();
            self.batch =
                Some(Batch { key: key(), life, records: records.into_iter(), next_offset });
        }

        /// Comes back for the next event; a record as its offset.
        fn next(&mut self) -> Option<Result<u64, GroupEvent>> {
            self.shared.come_back();
            match self.shared.next(&mut self.batch, Waker::noop()) {
                Next::Event(GroupEvent::Record(record)) => Some(Ok(record.place.offset)),
                Next::Event(other) => Some(Err(other)),
                Next::Nothing => None,
            }
        }

        fn unsaid(&self) -> Vec<u64> {
            self.share().unsaid(10).iter().map(|position| position.next_offset).collect()
        }
    }

    fn key() -> Key {
        Key { stream: "orders".into(), partition: 0 }
    }

    fn record(offset: u64) -> Record {
        Record {
            stream: "orders".into(),
            place: Place { partition: 0, offset, timestamp_ms: 0 },
            sequence_number: None,
            key: None,
            value: Some(Bytes::new()),
            headers: Vec::new(),
        }
    }

    fn given() -> Option<Result<u64, GroupEvent>> {
        Some(Err(GroupEvent::Given(vec![key()])))
    }

    fn why() -> Error {
        Error::Unreachable("gone".to_owned())
    }

    #[test]
    fn a_record_is_through_when_the_program_comes_back() {
        let mut program = Program::new(true);
        let reader = program.give(Some(5));
        program.read(reader, 5..7);
        assert_eq!((program.next(), program.next()), (given(), Some(Ok(5))));
        assert!(program.unsaid().is_empty());
        assert_eq!(program.next(), Some(Ok(6)));
        assert_eq!(program.unsaid(), [6]);
        assert_eq!(program.next(), None);
        assert_eq!(program.unsaid(), [7]);
        assert!(program.unsaid().is_empty(), "it was said");
    }

    #[test]
    fn by_hand_only_what_was_acknowledged_is_through() {
        let mut program = Program::new(false);
        let reader = program.give(None);
        program.read(reader, 0..3);
        for _ in 0..4 {
            program.next();
        }
        assert!(program.unsaid().is_empty());
        assert_eq!(program.share().acknowledge(&record(1)), Ok(()));
        assert_eq!(program.share().acknowledge(&record(0)), Ok(()), "it never goes back");
        assert_eq!(program.unsaid(), [2]);
        let elsewhere = Record { place: Place { partition: 7, ..record(0).place }, ..record(0) };
        let refused = program.share().acknowledge(&elsewhere).map_err(|error| error.reason());
        assert_eq!(refused, Err(Some(Reason::NotAssigned)));
    }

    #[test]
    fn a_taken_partition_is_given_back_when_the_program_has_seen_that_and_come_back() {
        let mut program = Program::new(true);
        let reader = program.give(Some(0));
        program.read(reader, 0..9);
        assert_eq!((program.next(), program.next()), (given(), Some(Ok(0))));
        program.share().take(vec![key()]);
        assert_eq!(program.share().given_back(), [], "the program is at its record");
        assert_eq!(program.next(), Some(Err(GroupEvent::Taken(vec![key()]))));
        assert_eq!(program.unsaid(), [1], "what it had is through");
        assert_eq!(program.share().given_back(), [], "the program has been told only now");
        assert_eq!(program.next(), None, "what was read ahead is not handed out any more");
        let given_back = program.share().given_back();
        assert_eq!(given_back, [(key(), 1)]);
        program.share().release(&given_back);
        assert!(program.share().parts.is_empty());
    }

    #[test]
    fn what_was_read_in_an_earlier_life_does_not_come_in_the_next() {
        let mut program = Program::new(true);
        let reader = program.give(Some(0));
        program.read(reader, 0..9);
        assert_eq!((program.next(), program.next()), (given(), Some(Ok(0))));
        program.share().lose(&why());
        program.share().begin();
        let reader = program.give(Some(0));
        assert_eq!(program.next(), Some(Err(GroupEvent::Lost(vec![key()]))));
        assert_eq!(program.next(), given());
        assert_eq!(program.next(), None);
        assert!(program.unsaid().is_empty(), "the record of the earlier life is not through");
        program.read(reader, 0..9);
        assert_eq!(program.next(), Some(Ok(0)));
    }

    #[test]
    fn what_is_taken_and_lost_is_not_released_in_the_next_membership() {
        let mut program = Program::new(true);
        program.give(Some(0));
        program.next();
        program.share().take(vec![key()]);
        assert_eq!(program.next(), Some(Err(GroupEvent::Taken(vec![key()]))));
        program.share().lose(&why());
        program.share().begin();
        program.give(Some(0));
        assert_eq!(program.next(), given());
        assert_eq!(program.share().given_back(), []);
    }

    #[test]
    fn what_is_lost_before_it_was_told_as_taken_is_told_as_lost() {
        let mut program = Program::new(true);
        program.give(None);
        assert_eq!(program.next(), given());
        program.share().take(vec![key()]);
        program.share().lose(&why());
        assert_eq!(program.next(), Some(Err(GroupEvent::Lost(vec![key()]))));
        assert_eq!(program.next(), None);
    }

    #[test]
    fn a_loss_is_told_of_where_something_was_not_kept() {
        let mut program = Program::new(false);
        let reader = program.give(Some(0));
        program.read(reader, 0..2);
        program.next();
        program.next();
        program.share().lose(&why());
        assert_eq!(program.share().loss(), None, "the program was through with nothing");
        program.give(Some(0));
        assert_eq!(program.share().acknowledge(&record(0)), Ok(()));
        program.share().lose(&why());
        assert_eq!(program.share().loss(), Some(why()));
        assert_eq!(program.share().loss(), None, "it is told once");
    }

    #[test]
    fn a_reader_that_was_replaced_counts_no_more() {
        let mut program = Program::new(true);
        let first = program.give(None);
        program.read(first, 0..4);
        assert_eq!((program.next(), program.next()), (given(), Some(Ok(0))));
        let second = program.share().new_reader("orders").expect("a partition to read");
        assert_eq!(program.share().advance(first, &key(), 9), None);
        assert_eq!(program.share().places(first), (Vec::new(), HashMap::new()));
        assert_eq!(program.share().places(second), (vec![0], HashMap::from([(0, 4)])));
        assert_eq!(program.next(), Some(Ok(1)), "what it had read before counts");
        assert_eq!(program.share().new_reader("others"), None);
    }

    #[test]
    fn a_position_that_was_not_kept_is_said_again() {
        let program = Program::new(false);
        program.give(Some(0));
        assert_eq!(program.share().acknowledge(&record(3)), Ok(()));
        let said = program.share().unsaid(10);
        program.share().unsay(&said[0]);
        assert_eq!(program.unsaid(), [4]);
        assert_eq!(program.share().acknowledge(&record(5)), Ok(()));
        assert_eq!(program.unsaid(), [6]);
        program.share().unsay(&said[0]);
        assert!(program.unsaid().is_empty(), "a later one was said meanwhile");
    }
}
