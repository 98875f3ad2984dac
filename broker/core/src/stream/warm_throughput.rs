//! Warm throughput: what an on-demand stream is to take in from the first moment, without scaling
//! first. Its owner's wish is kept and shown, and within a second there are shards for it
//! ([`on_demand`](crate::stream::on_demand)).

use weir_model::ids::StreamId;

use crate::broker::Broker;
use crate::error::{AmendError, WarmThroughputRefusal};
use crate::stream::amend::Draft;
use crate::stream::mode::StreamMode;
use crate::stream::state::State;

/// Most that can be asked for, in MiB/s.
pub const WARM_MIB_MAX: u64 = 10_240;

/// Whether the account may ask for warm throughput at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WarmThroughput {
    Granted,
    NeedsCommitment,
}

impl WarmThroughput {
    pub(super) fn of(broker: &Broker) -> WarmThroughput {
        match broker.is_committed() {
            true => WarmThroughput::Granted,
            false => WarmThroughput::NeedsCommitment,
        }
    }

    fn check(self, mode: StreamMode, mib: u64) -> Result<(), WarmThroughputRefusal> {
        match (mode, self) {
            (StreamMode::Provisioned, _) => Err(WarmThroughputRefusal::Provisioned),
            (_, WarmThroughput::NeedsCommitment) => Err(WarmThroughputRefusal::NeedsCommitment),
            _ if mib > WARM_MIB_MAX => Err(WarmThroughputRefusal::TooMuch { max: WARM_MIB_MAX }),
            _ => Ok(()),
        }
    }

    /// Writes the wish for a stream that is about to have this mode.
    pub(super) fn set(
        self,
        draft: &mut Draft,
        mode: StreamMode,
        mib: u64,
    ) -> Result<(), WarmThroughputRefusal> {
        self.check(mode, mib)?;
        draft.attributes.warm_throughput_mib = Some(mib);
        Ok(())
    }
}

impl Broker {
    /// Checks that a new stream of this mode may ask for so many MiB/s.
    pub fn check_warm_throughput(
        &self,
        mode: StreamMode,
        mib: u64,
    ) -> Result<(), WarmThroughputRefusal> {
        WarmThroughput::of(self).check(mode, mib)
    }

    /// Asks for other warm throughput of a stream.
    pub async fn change_warm_throughput(
        &self,
        stream: StreamId,
        mib: u64,
    ) -> Result<(), AmendError<WarmThroughputRefusal>> {
        let warm = WarmThroughput::of(self);
        let updating = self.passing(State::Updating);
        let amended = self.registry().amend(stream, move |draft| {
            draft.pass(updating);
            let mode = draft.present.mode;
            warm.set(draft, mode, mib)
        });
        amended.await
    }
}
