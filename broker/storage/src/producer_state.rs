//! What a partition remembers of its idempotent producers, and the rule by which a batch is new, a
//! duplicate or refused (KIP-98, KIP-360; kafka.md §4.1).
//!
//! Pure: the local arm calls it under the partition's lock, another arm inside its transaction. The
//! check, the offset and the write are one step there, since a sequence that is remembered for a
//! batch that was never written turns the client's retry into a false success.
//!
//! Each producer has an epoch and its last five batches; five is the most that a client keeps in
//! flight. The state is a function of the log: replaying [`ProducerStates::record`] over its
//! batches gives it back, except that producers then count as seen at the replay.

use std::collections::{HashMap, VecDeque};

use weir_model::batch::BatchHeader;
use weir_model::ids::ProducerId;
use weir_model::offset::Offset;
use weir_model::time::Timestamp;

/// Batches remembered per producer: the client's limit of requests in flight.
pub const BATCHES_PER_PRODUCER: usize = 5;

/// Why a producer's batch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProducerError {
    /// Neither the next sequence nor one of the last five: an earlier batch has not arrived. The
    /// client retries.
    SequenceGap {
        /// The sequence that would fit.
        expected: i32,
        /// The sequence that came.
        found: i32,
    },
    /// A newer instance of the producer has written with a higher epoch.
    StaleEpoch {
        /// The newer instance's epoch.
        current: i16,
    },
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedBatch {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// When it was appended, or replayed, by the log's clock: an idle producer expires by that. Its
    /// records' own times may lie years back.
    pub seen_at: Timestamp,
}

/// What is remembered of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Epoch of its last batch.
    pub epoch: i16,
    /// Its last batches, oldest first; at least one, at most [`BATCHES_PER_PRODUCER`].
    pub batches: VecDeque<RememberedBatch>,
}

/// A producer as descriptions show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Epoch of its last batch.
    pub epoch: i16,
    /// Sequence of the last record of its last batch.
    pub last_sequence: i32,
    /// When it appended last; after an unclean stop, when that was replayed.
    pub last_append: Timestamp,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    New,
    /// It is in the log already, here.
    Duplicate(RememberedBatch),
}

/// All producers that one partition remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    entries: HashMap<ProducerId, ProducerEntry>,
}

impl ProducerStates {
    /// Judges a batch before it is written. Changes nothing.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, ProducerError> {
        let Some(id) = ProducerId::new(header.producer_id) else {
            return Ok(Verdict::New);
        };
        // An unknown producer is taken at any sequence: its state may have expired or been trimmed
        // with its records, and Kafka since 2.5 trusts the client then (KIP-360).
        let Some(entry) = self.entries.get(&id) else {
            return Ok(Verdict::New);
        };
        if header.producer_epoch < entry.epoch {
            return Err(ProducerError::StaleEpoch { current: entry.epoch });
        }
        let found = header.base_sequence;
        if header.producer_epoch > entry.epoch {
            return match found {
                0 => Ok(Verdict::New),
                _ => Err(ProducerError::SequenceGap { expected: 0, found }),
            };
        }
        let last_sequence = header.last_sequence();
        let same =
            |b: &&RememberedBatch| b.first_sequence == found && b.last_sequence == last_sequence;
        if let Some(original) = entry.batches.iter().find(same) {
            return Ok(Verdict::Duplicate(*original));
        }
        let expected = entry.batches.back().map_or(0, |last| sequence_after(last.last_sequence, 1));
        if found == expected {
            Ok(Verdict::New)
        } else {
            Err(ProducerError::SequenceGap { expected, found })
        }
    }

    /// Remembers a batch that was written, or that recovery found in the log.
    pub fn record(&mut self, header: &BatchHeader, base_offset: Offset, now: Timestamp) {
        let Some(id) = ProducerId::new(header.producer_id) else {
            return;
        };
        let batch = RememberedBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset,
            last_offset: base_offset.plus(u64::from(header.last_offset_delta.unsigned_abs())),
            seen_at: now,
        };
        let epoch = header.producer_epoch;
        let fresh = || ProducerEntry { epoch, batches: VecDeque::with_capacity(1) };
        let entry = self.entries.entry(id).or_insert_with(fresh);
        if entry.epoch != epoch {
            *entry = fresh();
        }
        if entry.batches.len() == BATCHES_PER_PRODUCER {
            entry.batches.pop_front();
        }
        entry.batches.push_back(batch);
    }

    /// Forgets producers whose last batch came before `before` (`producer.id.expiration.ms`).
    pub fn expire(&mut self, before: Timestamp) {
        self.entries
            .retain(|_, entry| entry.batches.back().is_some_and(|last| last.seen_at >= before));
    }

    /// The producers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// The producers as descriptions show them, in no order.
    pub(crate) fn active(&self) -> impl Iterator<Item = ActiveProducer> {
        self.iter().filter_map(|(id, entry)| {
            let last = entry.batches.back()?;
            let (last_sequence, last_append) = (last.last_sequence, last.seen_at);
            Some(ActiveProducer { id, epoch: entry.epoch, last_sequence, last_append })
        })
    }

    /// Puts back a producer from a snapshot.
    pub fn restore(&mut self, id: ProducerId, entry: ProducerEntry) {
        self.entries.insert(id, entry);
    }
}

/// The sequence `count` after `sequence`; sequences wrap from 2³¹-1 to 0, never negative.
fn sequence_after(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::batch::{BatchHeader, ProducerStamp};
    use weir_model::batch_builder::{BatchBuilder, BatchOptions};
    use weir_model::record::RecordToWrite;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn header(epoch: i16, base_sequence: i32, count: i32) -> BatchHeader {
        let id = ProducerId::new(9).expect("not negative");
        let producer = Some(ProducerStamp { id, epoch, base_sequence });
        let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
        for _ in 0..count {
            let record = RecordToWrite {
                timestamp: Timestamp::from_millis(0),
                key: None,
                value: None,
                headers: &[],
            };
            builder.append(&record).expect("there is room");
        }
        *builder.build().header()
    }

    /// Five batches of ten records: sequences 0-49 at offsets 0-49.
    fn five_batches() -> ProducerStates {
        let mut states = ProducerStates::default();
        for batch in 0..5 {
            states.record(&header(0, batch * 10, 10), Offset::new(batch as u64 * 10), NOW);
        }
        states
    }

    #[test]
    fn sequences_decide_between_new_duplicate_and_refused() {
        let states = five_batches();
        let gap = |expected, found| Err(ProducerError::SequenceGap { expected, found });
        for (what, batch, expected) in [
            ("the next", header(0, 50, 1), Ok(Verdict::New)),
            ("one too far", header(0, 51, 1), gap(50, 51)),
            ("same start, other length", header(0, 40, 9), gap(50, 40)),
            ("new epoch from 0", header(1, 0, 1), Ok(Verdict::New)),
            ("new epoch, not from 0", header(1, 50, 1), gap(0, 50)),
        ] {
            assert_eq!(states.check(&batch), expected, "{what}");
        }
    }

    #[test]
    fn duplicate_batch_returns_the_first_offset() {
        let states = five_batches();
        for first_sequence in [0, 10, 20, 30, 40] {
            match states.check(&header(0, first_sequence, 10)) {
                Ok(Verdict::Duplicate(original)) => {
                    assert_eq!(original.base_offset, Offset::new(first_sequence as u64));
                }
                other => panic!("sequence {first_sequence}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_sixth_batch_pushes_out_the_first() {
        let mut states = five_batches();
        states.record(&header(0, 50, 10), Offset::new(50), NOW);
        assert_eq!(
            states.check(&header(0, 0, 10)),
            Err(ProducerError::SequenceGap { expected: 60, found: 0 })
        );
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut states = ProducerStates::default();
        states.record(&header(0, i32::MAX - 1, 2), Offset::ZERO, NOW);
        assert_eq!(states.check(&header(0, 0, 1)), Ok(Verdict::New));
    }

    #[test]
    fn a_newer_epoch_fences_the_older() {
        let mut states = five_batches();
        states.record(&header(1, 0, 1), Offset::new(50), NOW);
        assert_eq!(states.check(&header(0, 50, 1)), Err(ProducerError::StaleEpoch { current: 1 }));
    }
}
