//! Records that wait to be sent: routed to a partition, encoded into its batch, counted against the
//! producer's memory. All under one lock that is held for as long as it takes to copy a record.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;
use weir_model::compression::Codec;
use weir_model::record::RecordToWrite;
use weir_model::time::Moment;

use crate::error::{Error, Reason, Refusal};
use crate::producer::batch::{Batch, Delivery, OpenBatch, Outcome};
use crate::producer::layout::Layout;
use crate::record::WantedPlace;

/// Around the key, value and headers of a record in a batch, at most.
const RECORD_OVERHEAD_BYTES: usize = 40;
/// Around a header, at most.
const HEADER_OVERHEAD_BYTES: usize = 10;
/// What a partition's first batch has room for before it has to grow.
const FIRST_CAPACITY_BYTES: usize = 4 * 1024;

/// What waits, and how much the producer holds.
#[derive(Debug)]
pub(super) struct Accumulator {
    limits: Limits,
    layout: Layout,
    queues: BTreeMap<u32, Queue>,
    /// Counts up the partitions that records without a key go to.
    turn: usize,
    /// Of all batches that are not decided.
    held_bytes: usize,
    undecided: BTreeMap<u64, watch::Receiver<Outcome>>,
    next_number: u64,
}

/// The limits of what waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) codec: Codec,
    pub(super) batch_bytes_max: usize,
    pub(super) memory_bytes_max: usize,
    pub(super) linger: Duration,
}

/// The batches of one partition, oldest first.
#[derive(Debug, Default)]
struct Queue {
    full: VecDeque<Batch>,
    open: Option<OpenBatch>,
    /// What the next batch gets room for: what the last one needed.
    capacity_bytes: usize,
}

/// What came of a record.
#[derive(Debug)]
pub(super) enum Added {
    /// It waits. The sender is to be told if it need not have known of its batch.
    Waits { delivery: Delivery, wakes_sender: bool },
    /// The memory is full.
    NoRoom,
}

impl Accumulator {
    pub(super) fn new(limits: Limits, layout: Layout) -> Accumulator {
        Accumulator {
            limits,
            layout,
            queues: BTreeMap::new(),
            turn: 0,
            held_bytes: 0,
            undecided: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// Adds a record if there is room for it. One that is larger than all of the memory has room
    /// when nothing else is there.
    pub(super) fn add(
        &mut self,
        record: &RecordToWrite<'_>,
        place: &WantedPlace,
        now: Moment,
    ) -> Result<Added, Error> {
        let is_over = self.held_bytes + size_bytes(record) > self.limits.memory_bytes_max;
        if is_over && self.held_bytes > 0 {
            return Ok(Added::NoRoom);
        }
        self.add_anyway(record, place, now)
    }

    /// Adds a record, which was there before.
    pub(super) fn add_anyway(
        &mut self,
        record: &RecordToWrite<'_>,
        place: &WantedPlace,
        now: Moment,
    ) -> Result<Added, Error> {
        let partition = self.route(record, place);
        let size_bytes = size_bytes(record);
        let queue = self.queues.entry(partition).or_default();
        let is_full = |open: &OpenBatch| open.bytes() + size_bytes > self.limits.batch_bytes_max;
        let mut wakes_sender = false;
        if queue.open.as_ref().is_some_and(is_full) {
            self.finish_open(partition);
            wakes_sender = true;
        }
        let queue = self.queues.entry(partition).or_default();
        if queue.open.is_none() {
            let capacity_bytes = queue.capacity_bytes.max(FIRST_CAPACITY_BYTES.max(size_bytes));
            let open = OpenBatch::new(self.limits.codec, capacity_bytes, now);
            self.held_bytes += open.bytes();
            queue.open = Some(open);
            wakes_sender = true;
        }
        let open = queue.open.as_mut().expect("it was made if there was none");
        let bytes_before = open.bytes();
        let delivery = open.add(record, place).map_err(|_| too_large(size_bytes))?;
        self.held_bytes += open.bytes() - bytes_before;
        Ok(Added::Waits { delivery, wakes_sender })
    }

    fn route(&self, record: &RecordToWrite<'_>, place: &WantedPlace) -> u32 {
        match (place, record.key) {
            (WantedPlace::Partition(index), _) => *index,
            (WantedPlace::HashKey(hash_key), _) => self.layout.owner(*hash_key),
            (WantedPlace::ByKey, Some(key)) => self.layout.owner_of_key(key),
            (WantedPlace::ByKey, None) => self.layout.in_turn(self.turn),
        }
    }

    fn finish_open(&mut self, partition: u32) {
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        let Some(open) = queue.open.take() else { return };
        queue.capacity_bytes = open.bytes().min(self.limits.batch_bytes_max);
        self.undecided.insert(self.next_number, open.watch());
        queue.full.push_back(open.finish(self.next_number));
        self.next_number += 1;
        if self.layout.in_turn(self.turn) == partition {
            self.turn = self.turn.wrapping_add(1);
        }
    }

    /// Ends all batches that take records. What became of them, and of all before them.
    pub(super) fn finish_all(&mut self) -> Vec<watch::Receiver<Outcome>> {
        let partitions: Vec<u32> = self.queues.keys().copied().collect();
        for partition in partitions {
            self.finish_open(partition);
        }
        self.undecided.values().cloned().collect()
    }

    /// A batch to be sent now, of a partition that may be sent to.
    pub(super) fn take(
        &mut self,
        now: Moment,
        may_send: impl Fn(u32) -> bool,
    ) -> Option<(u32, Batch)> {
        let linger = self.limits.linger;
        let is_due = |queue: &Queue| {
            let is_old = |open: &OpenBatch| now.since(open.began()) >= linger;
            !queue.full.is_empty() || queue.open.as_ref().is_some_and(is_old)
        };
        let mut queues = self.queues.iter();
        let due = queues.find(|(partition, queue)| is_due(queue) && may_send(**partition));
        let partition = due.map(|(partition, _)| *partition)?;
        if self.queues.get(&partition).is_some_and(|queue| queue.full.is_empty()) {
            self.finish_open(partition);
        }
        let batch = self.queues.get_mut(&partition)?.full.pop_front()?;
        Some((partition, batch))
    }

    /// How long until a batch that takes records is to be sent although it is not full.
    pub(super) fn next_due(&self, now: Moment, may_send: impl Fn(u32) -> bool) -> Option<Duration> {
        let linger = self.limits.linger;
        let sendable = self.queues.iter().filter(|(partition, _)| may_send(**partition));
        let open = sendable.filter_map(|(_, queue)| queue.open.as_ref());
        open.map(|open| linger.saturating_sub(now.since(open.began()))).min()
    }

    /// The partitions that have something to be sent, now or later.
    pub(super) fn waiting(&self) -> Vec<u32> {
        let has_any = |queue: &Queue| !queue.full.is_empty() || queue.open.is_some();
        let waiting = self.queues.iter().filter(|(_, queue)| has_any(queue));
        waiting.map(|(partition, _)| *partition).collect()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.values().all(|queue| queue.full.is_empty() && queue.open.is_none())
    }

    /// Forgets a batch that is decided.
    pub(super) fn forget(&mut self, batch: &Batch) {
        self.undecided.remove(&batch.number);
        self.held_bytes -= batch.held_bytes;
    }

    /// Takes what has waited since before `began_before` and was not sent.
    pub(super) fn take_older(&mut self, began_before: Moment) -> Vec<Batch> {
        let mut older = Vec::new();
        let partitions: Vec<u32> = self.queues.keys().copied().collect();
        for partition in partitions {
            let Some(queue) = self.queues.get(&partition) else { continue };
            if queue.open.as_ref().is_some_and(|open| open.began() < began_before) {
                self.finish_open(partition);
            }
            let Some(queue) = self.queues.get_mut(&partition) else { continue };
            while queue.full.front().is_some_and(|batch| batch.began < began_before) {
                older.extend(queue.full.pop_front());
            }
        }
        older
    }

    /// What a partition's records are now, in place of `layout`'s.
    pub(super) fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// Has the records of a partition that was closed go where they belong now: those of `batches`,
    /// which were refused, and those that waited behind them. One whose writer chose the partition
    /// fails with what the broker said.
    pub(super) fn reroute(
        &mut self,
        partition: u32,
        batches: Vec<Batch>,
        refusal: &Refusal,
        now: Moment,
    ) {
        self.finish_open(partition);
        let waited = self.queues.remove(&partition).map(|queue| queue.full).unwrap_or_default();
        for batch in batches.into_iter().chain(waited) {
            self.forget(&batch);
            batch.move_records(|record, place| {
                if let WantedPlace::Partition(_) = place {
                    return Err(Error::Refused(refusal.clone()));
                }
                match self.add_anyway(record, place, now)? {
                    Added::Waits { delivery, .. } => Ok(delivery),
                    Added::NoRoom => unreachable!("room is not asked for"),
                }
            });
        }
    }
}

/// What a record takes in a batch, at most.
fn size_bytes(record: &RecordToWrite<'_>) -> usize {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter();
    let headers: usize =
        headers.map(|header| HEADER_OVERHEAD_BYTES + header.key.len() + length(header.value)).sum();
    RECORD_OVERHEAD_BYTES + length(record.key) + length(record.value) + headers
}

fn too_large(size_bytes: usize) -> Error {
    Error::Refused(Refusal {
        reason: Reason::RecordTooLarge,
        message: format!("a record of {size_bytes} bytes fits into no batch"),
        retry_after: Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::v1::{HashKeyRange, Partition, Stream};

    fn layout(open: &[(u32, u128)]) -> Layout {
        let partition = |(index, starting): &(u32, u128)| Partition {
            index: *index,
            hash_keys: Some(HashKeyRange { starting: starting.to_string(), ending: String::new() }),
            is_open: true,
            ..Partition::default()
        };
        let partitions = open.iter().map(partition).collect();
        Layout::of(&Stream { partitions, ..Stream::default() }).expect("one is open")
    }

    fn accumulator(memory_bytes_max: usize) -> Accumulator {
        let limits = Limits {
            codec: Codec::None,
            batch_bytes_max: 1000,
            memory_bytes_max,
            linger: Duration::from_millis(5),
        };
        Accumulator::new(limits, layout(&[(0, 0), (1, 1 << 127)]))
    }

    fn add(accumulator: &mut Accumulator, value: &[u8], place: &WantedPlace) -> Added {
        let record = RecordToWrite { value: Some(value), ..RecordToWrite::default() };
        accumulator.add(&record, place, Moment::default()).expect("it fits into a batch")
    }

    fn after(millis: u64) -> Moment {
        Moment::default().plus(Duration::from_millis(millis))
    }

    #[test]
    fn a_batch_is_sent_when_it_is_full_or_old_and_then_holds_nothing() {
        let mut accumulator = accumulator(1_000_000);
        let place = WantedPlace::Partition(1);
        add(&mut accumulator, &[0; 600], &place);
        assert!(accumulator.take(after(4), |_| true).is_none(), "it may wait for others");
        add(&mut accumulator, &[0; 600], &place);
        let (partition, full) = accumulator.take(after(4), |_| true).expect("the first is full");
        assert_eq!((partition, full.record_count()), (1, 1));
        assert!(accumulator.take(after(6), |_| false).is_none(), "its lane is not free");
        let (_, old) = accumulator.take(after(6), |_| true).expect("the second is old");
        assert!(accumulator.is_empty());
        for batch in [full, old] {
            accumulator.forget(&batch);
        }
        assert_eq!(accumulator.held_bytes, 0);
    }

    #[test]
    fn there_is_no_room_beyond_the_memory_but_for_a_record_that_is_alone() {
        let mut accumulator = accumulator(1000);
        let place = WantedPlace::Partition(0);
        assert!(matches!(add(&mut accumulator, &[0; 5000], &place), Added::Waits { .. }));
        assert!(matches!(add(&mut accumulator, &[0; 10], &place), Added::NoRoom));
        accumulator.finish_all();
        let (_, batch) = accumulator.take(after(0), |_| true).expect("it is full");
        accumulator.forget(&batch);
        assert!(matches!(add(&mut accumulator, &[0; 10], &place), Added::Waits { .. }));
    }

    #[test]
    fn records_without_a_key_take_the_next_partition_with_each_batch() {
        let mut accumulator = accumulator(1_000_000);
        let mut partitions = Vec::new();
        for _ in 0..3 {
            add(&mut accumulator, b"value", &WantedPlace::ByKey);
            accumulator.finish_all();
            let (partition, _) = accumulator.take(after(0), |_| true).expect("it was ended");
            partitions.push(partition);
        }
        assert_eq!(partitions, [0, 1, 0]);
    }

    #[tokio::test]
    async fn records_of_a_closed_partition_go_where_their_keys_belong_now() {
        let mut accumulator = accumulator(1_000_000);
        let by_hash = WantedPlace::HashKey(0);
        let by_partition = WantedPlace::Partition(0);
        let mut deliveries = Vec::new();
        for (value, place) in [(b"a", &by_hash), (b"b", &by_hash), (b"c", &by_partition)] {
            match add(&mut accumulator, value, place) {
                Added::Waits { delivery, .. } => deliveries.push(delivery),
                Added::NoRoom => panic!("there is room"),
            }
        }
        accumulator.finish_all();
        let (_, refused) = accumulator.take(after(0), |_| true).expect("it was ended");
        accumulator.set_layout(layout(&[(2, 0), (1, 1 << 127)]));
        let refusal = Refusal {
            reason: Reason::PartitionClosed,
            message: String::new(),
            retry_after: Duration::ZERO,
        };
        accumulator.reroute(0, vec![refused], &refusal, after(1));
        accumulator.finish_all();
        let (partition, moved) = accumulator.take(after(1), |_| true).expect("they are in one");
        assert_eq!((partition, moved.record_count()), (2, 2));
        accumulator.forget(&moved);
        assert_eq!(accumulator.held_bytes, 0);
        let kept = Outcome::Kept { partition, base_offset: 7, append_time_ms: Some(1) };
        moved.decide(kept);
        let mut places = Vec::new();
        for delivery in deliveries {
            places.push(delivery.await);
        }
        let offsets: Vec<_> = places.iter().flatten().map(|place| place.offset).collect();
        assert_eq!(offsets, [7, 8]);
        let refusal = places.pop().and_then(Result::err).and_then(|error| error.reason());
        assert_eq!(refusal, Some(Reason::PartitionClosed));
    }
}
