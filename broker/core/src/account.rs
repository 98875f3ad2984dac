//! What holds for the whole account, of which there is one: its commitment to a minimum throughput,
//! which AWS sells as "on-demand advantage". It opens warm throughput and more consumers to
//! on-demand streams. weir charges nobody; it keeps what was said, and opens the same doors.
//!
//! ```text
//!              enable                   disable, a day after the start or later
//!   disabled ─────────▶ enabled ──────────────────────────────────────────────▶ disabled
//!                        ▲   │ disable, earlier
//!                 enable │   ▼
//!                   enabled until its first day has passed ── the day passes ──▶ disabled
//! ```

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tracing::info;
use weir_model::time::{Clock, Timestamp};
use weir_storage::error::MetaError;
use weir_storage::meta::{Expect, MetaChange, MetaStore};

use crate::broker::Broker;
use crate::carried_out::{Turn, Turns, carried_out};

/// How long a commitment lasts at least, in ms.
const COMMITMENT_MS_MIN: i64 = 86_400_000;

/// The row that holds the account's settings, as JSON.
const KEY: &[u8] = b"c:account";

/// A commitment to a minimum throughput, from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// When it began.
    pub started: Timestamp,
    /// When it ends, or ended; none: it was not ended.
    pub ended: Option<Timestamp>,
}

/// How a commitment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitmentStatus {
    /// There is none, or it has ended.
    Disabled,
    /// It holds.
    Enabled,
    /// It holds until its first day has passed.
    EnabledUntilEarliestEnd,
}

impl Commitment {
    /// The first moment at which it may end.
    pub fn earliest_end(&self) -> Timestamp {
        self.started.plus_millis(COMMITMENT_MS_MIN)
    }

    /// How it stands now.
    pub fn status(&self, now: Timestamp) -> CommitmentStatus {
        match self.ended {
            None => CommitmentStatus::Enabled,
            Some(ended) if now < ended => CommitmentStatus::EnabledUntilEarliestEnd,
            Some(_) => CommitmentStatus::Disabled,
        }
    }
}

/// Whether the account commits itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitmentWish {
    /// From now on.
    Enable,
    /// No longer than it must.
    Disable,
}

/// The commitment after a wish.
fn wished(present: Option<Commitment>, wish: CommitmentWish, now: Timestamp) -> Option<Commitment> {
    let living = present.filter(|present| present.status(now) != CommitmentStatus::Disabled);
    match (wish, living) {
        (CommitmentWish::Enable, Some(living)) => Some(Commitment { ended: None, ..living }),
        (CommitmentWish::Enable, None) => Some(Commitment { started: now, ended: None }),
        (CommitmentWish::Disable, Some(living)) => {
            Some(Commitment { ended: Some(living.earliest_end().max(now)), ..living })
        }
        (CommitmentWish::Disable, None) => present,
    }
}

#[derive(Default, Serialize, Deserialize)]
struct AccountRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commitment: Option<CommitmentRow>,
}

#[derive(Serialize, Deserialize)]
struct CommitmentRow {
    started_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_ms: Option<i64>,
}

impl AccountRow {
    fn of(commitment: Option<Commitment>) -> AccountRow {
        let row = |commitment: Commitment| CommitmentRow {
            started_ms: commitment.started.as_millis(),
            ended_ms: commitment.ended.map(|time| time.as_millis()),
        };
        AccountRow { commitment: commitment.map(row) }
    }

    fn into_commitment(self) -> Option<Commitment> {
        let row = self.commitment?;
        let started = Timestamp::from_millis(row.started_ms);
        Some(Commitment { started, ended: row.ended_ms.map(Timestamp::from_millis) })
    }
}

/// The account's settings, and the only place that changes them.
#[derive(Debug)]
pub(crate) struct Account {
    meta: Arc<dyn MetaStore>,
    clock: Arc<dyn Clock>,
    /// A sync lock: held for a look-up or a change, never across an await.
    commitment: RwLock<Option<Commitment>>,
    /// One change at a time, across its commit.
    turns: Turns,
}

impl Account {
    /// Reads what was set.
    pub(crate) async fn open(
        meta: Arc<dyn MetaStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Account, MetaError> {
        let row = match meta.get(Bytes::from_static(KEY)).await? {
            None => AccountRow::default(),
            Some(row) => serde_json::from_slice(&row.value)
                .map_err(|why| MetaError::Failed(format!("damaged account row: {why}")))?,
        };
        let commitment = RwLock::new(row.into_commitment());
        Ok(Account { meta, clock, commitment, turns: Turns::default() })
    }

    async fn change(
        &self,
        _turn: Turn,
        wish: CommitmentWish,
    ) -> Result<Option<Commitment>, MetaError> {
        let present = *self.commitment.read();
        let next = wished(present, wish, self.clock.now());
        if next != present {
            let row = serde_json::to_vec(&AccountRow::of(next));
            let row = row.expect("a row of numbers always serialises");
            let (key, value) = (Bytes::from_static(KEY), Some(Bytes::from(row)));
            self.meta.commit(vec![MetaChange { key, expect: Expect::Anything, value }]).await?;
            info!(?wish, "the account's commitment changed");
            *self.commitment.write() = next;
        }
        Ok(next)
    }
}

impl Broker {
    /// The account's commitment to a minimum throughput, the last one if it has ended.
    pub fn commitment(&self) -> Option<Commitment> {
        *self.account().commitment.read()
    }

    /// Whether the commitment holds now.
    pub fn is_committed(&self) -> bool {
        let now = self.clock().now();
        let commitment = self.commitment();
        commitment.is_some_and(|commitment| commitment.status(now) != CommitmentStatus::Disabled)
    }

    /// Begins or ends the commitment, and gives it as it is then. Once begun it is carried out,
    /// whether the caller waits or not.
    pub async fn change_commitment(
        &self,
        wish: CommitmentWish,
    ) -> Result<Option<Commitment>, MetaError> {
        let (account, turn) = (Arc::clone(self.account()), self.account().turns.next().await);
        carried_out(async move { account.change(turn, wish).await }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_lasts_a_day_at_least() {
        use CommitmentStatus::{Disabled, Enabled, EnabledUntilEarliestEnd};
        use CommitmentWish::{Disable, Enable};
        let at = Timestamp::from_millis;
        let mut commitment = None;
        for (time, wish, status, started, ended) in [
            (10, Enable, Enabled, 10, None),
            (20, Enable, Enabled, 10, None),
            (30, Disable, EnabledUntilEarliestEnd, 10, Some(COMMITMENT_MS_MIN + 10)),
            (40, Enable, Enabled, 10, None),
            (COMMITMENT_MS_MIN + 50, Disable, Disabled, 10, Some(COMMITMENT_MS_MIN + 50)),
            (COMMITMENT_MS_MIN + 60, Disable, Disabled, 10, Some(COMMITMENT_MS_MIN + 50)),
            (COMMITMENT_MS_MIN + 70, Enable, Enabled, COMMITMENT_MS_MIN + 70, None),
        ] {
            commitment = wished(commitment, wish, at(time));
            let expected = Commitment { started: at(started), ended: ended.map(at) };
            assert_eq!(commitment, Some(expected), "{time}");
            assert_eq!(expected.status(at(time)), status, "{time}");
        }
        assert_eq!(wished(None, Disable, at(0)), None);
        let ending = Commitment { started: at(0), ended: Some(at(COMMITMENT_MS_MIN)) };
        assert_eq!(ending.status(at(COMMITMENT_MS_MIN)), Disabled);
    }

    #[test]
    fn rows_are_read_and_written_back_the_same() {
        for text in [
            "{}",
            r#"{"commitment":{"started_ms":1}}"#,
            r#"{"commitment":{"started_ms":1,"ended_ms":2}}"#,
        ] {
            let row: AccountRow = serde_json::from_str(text).expect("a legal row");
            let written = AccountRow::of(row.into_commitment());
            assert_eq!(serde_json::to_string(&written).expect("JSON"), text);
        }
    }
}
