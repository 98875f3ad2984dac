//! Server-side encryption, as far as weir has it: the state is kept and shown, the bytes on the
//! disk stay as they are. An application that asks whether its records are encrypted gets the
//! answer that AWS would give it; who wants them encrypted encrypts the disk.
//!
//! A record is shown as encrypted when its stream was at the record's time. It carries no mark of
//! its own, since its bytes are the same in all dialects.

use weir_model::ids::StreamId;
use weir_model::time::Timestamp;

use crate::broker::Broker;
use crate::error::{AmendError, EncryptionRefusal};
use crate::stream::amend::Draft;
use crate::stream::rolling_count::RollingCount;
use crate::stream::state::State;

/// How often within a day a stream gets a new key, and how often its encryption is stopped.
pub const ENCRYPTION_CHANGES_PER_DAY_MAX: usize = 25;

/// Most turns between encrypted and not that are remembered. At 25 a day no stream that keeps its
/// records for less than 20 days has as many; of others the oldest records may be shown wrongly.
const TURNS_MAX: usize = 1_000;

/// Whether and how a stream is encrypted, and was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encryption {
    /// The key that holds now; none: not encrypted.
    key: Option<String>,
    /// When it turned from encrypted to not, or back; ordered.
    turns: Vec<Timestamp>,
    started: RollingCount,
    stopped: RollingCount,
}

/// What is written of it.
pub(super) struct EncryptionParts {
    pub(super) key: Option<String>,
    pub(super) turns: Vec<Timestamp>,
    pub(super) started: RollingCount,
    pub(super) stopped: RollingCount,
}

impl Encryption {
    /// The key that records are encrypted with now, as its owner called it.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether a record of this time was encrypted.
    pub fn covers(&self, time: Timestamp) -> bool {
        let turns_since = self.turns.iter().rev().take_while(|turn| **turn > time).count();
        self.key.is_some() == turns_since.is_multiple_of(2)
    }

    fn turn(&mut self, key: Option<String>, now: Timestamp) {
        if self.key.is_some() != key.is_some() {
            self.turns.push(now);
            let surplus = self.turns.len().saturating_sub(TURNS_MAX);
            self.turns.drain(..surplus);
        }
        self.key = key;
    }

    pub(super) fn parts(&self) -> EncryptionParts {
        let Encryption { key, turns, started, stopped } = self.clone();
        EncryptionParts { key, turns, started, stopped }
    }

    pub(super) fn of_parts(parts: EncryptionParts) -> Encryption {
        let EncryptionParts { key, turns, started, stopped } = parts;
        Encryption { key, turns, started, stopped }
    }
}

impl Broker {
    /// Says that a stream's records are encrypted with this key from now on. The key that holds
    /// already changes nothing and does not count as a change.
    pub async fn start_encryption(
        &self,
        stream: StreamId,
        key: String,
    ) -> Result<(), AmendError<EncryptionRefusal>> {
        let per_day_max = self.daily_limit(ENCRYPTION_CHANGES_PER_DAY_MAX);
        let updating = self.passing(State::Updating);
        let amended = self.registry().amend(stream, move |draft| {
            start(draft, key, per_day_max).map(|()| draft.pass(updating))
        });
        amended.await
    }

    /// Says that a stream's records are not encrypted from now on. Where they are not, nothing
    /// changes and nothing counts.
    pub async fn stop_encryption(
        &self,
        stream: StreamId,
    ) -> Result<(), AmendError<EncryptionRefusal>> {
        let per_day_max = self.daily_limit(ENCRYPTION_CHANGES_PER_DAY_MAX);
        let updating = self.passing(State::Updating);
        let amended = self
            .registry()
            .amend(stream, move |draft| stop(draft, per_day_max).map(|()| draft.pass(updating)));
        amended.await
    }
}

fn start(draft: &mut Draft, key: String, per_day_max: usize) -> Result<(), EncryptionRefusal> {
    let (encryption, now) = (&mut draft.attributes.encryption, draft.now);
    if encryption.key.as_ref() == Some(&key) {
        return Ok(());
    }
    if encryption.started.within_a_day(now) >= per_day_max {
        return Err(EncryptionRefusal::TooOften { per_day_max });
    }
    encryption.started.add(now);
    encryption.turn(Some(key), now);
    Ok(())
}

fn stop(draft: &mut Draft, per_day_max: usize) -> Result<(), EncryptionRefusal> {
    let (encryption, now) = (&mut draft.attributes.encryption, draft.now);
    if encryption.key.is_none() {
        return Ok(());
    }
    if encryption.stopped.within_a_day(now) >= per_day_max {
        return Err(EncryptionRefusal::TooOften { per_day_max });
    }
    encryption.stopped.add(now);
    encryption.turn(None, now);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_encrypted_as_their_stream_was_at_their_time() {
        let at = Timestamp::from_millis;
        let mut encryption = Encryption::default();
        assert!(!encryption.covers(at(0)));
        encryption.turn(Some("a".to_owned()), at(10));
        encryption.turn(Some("b".to_owned()), at(15));
        encryption.turn(None, at(20));
        encryption.turn(Some("a".to_owned()), at(30));
        for (time, expected) in [(9, false), (10, true), (19, true), (20, false), (30, true)] {
            assert_eq!(encryption.covers(at(time)), expected, "{time}");
        }
    }

    #[test]
    fn the_oldest_turns_are_forgotten_and_the_others_stay_right() {
        let at = |number: usize| Timestamp::from_millis(i64::try_from(number).expect("small"));
        let mut encryption = Encryption::default();
        for turn in 1..=TURNS_MAX + 1 {
            let key = (turn % 2 == 1).then(|| "a".to_owned());
            encryption.turn(key, at(turn * 10));
        }
        assert_eq!(encryption.turns.len(), TURNS_MAX);
        let newest = (TURNS_MAX + 1) * 10;
        assert!(encryption.covers(at(newest)));
        assert!(!encryption.covers(at(newest - 1)));
        assert!(!encryption.covers(at(20)));
    }
}
