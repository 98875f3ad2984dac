//! How records that the broker routes are spread over the shards of a stream: by their keys, or
//! evenly, whatever their keys say. The latter is for on-demand streams whose readers need no
//! order.

use weir_model::ids::{PartitionIndex, StreamId};

use crate::broker::Broker;
use crate::error::{AmendError, DistributionRefusal};
use crate::routing::route::{RoutedRecord, WantedPlace};
use crate::stream::mode::StreamMode;
use crate::stream::stream::Stream;

/// How routed records are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// By the key, or the hash key that stands in its place.
    #[default]
    ByKey,
    /// In turn over all open shards; keys are kept with the records and decide nothing.
    Even,
}

impl Distribution {
    /// How a stream's records are spread now. Where Kafka's tools have made it provisioned, what
    /// was said of it before counts no more.
    pub fn of(stream: &Stream) -> Distribution {
        match stream.attributes().distribution {
            Distribution::Even if stream.config().mode == StreamMode::OnDemand => {
                Distribution::Even
            }
            Distribution::Even | Distribution::ByKey => Distribution::ByKey,
        }
    }

    /// Checks that a stream of this mode may have it.
    pub fn check(self, mode: StreamMode) -> Result<(), DistributionRefusal> {
        match (self, mode) {
            (Distribution::Even, StreamMode::Provisioned) => Err(DistributionRefusal::Provisioned),
            (Distribution::Even, StreamMode::OnDemand) | (Distribution::ByKey, _) => Ok(()),
        }
    }
}

impl Stream {
    /// Where a record goes by its keys now; none where they do not matter, or it has none.
    pub fn place_by_key(&self, record: &RoutedRecord) -> Option<PartitionIndex> {
        let is_anywhere = record.wanted == WantedPlace::ByKey && record.key.is_none();
        let goes_by_key = Distribution::of(self) == Distribution::ByKey && !is_anywhere;
        let layout = self.layout().current();
        let partition = layout.open.route(record, || 0).filter(|_| goes_by_key)?;
        Some(partition.id.index)
    }
}

impl Broker {
    /// Changes how a stream's records are spread, from the next write on.
    pub async fn change_distribution(
        &self,
        stream: StreamId,
        distribution: Distribution,
    ) -> Result<(), AmendError<DistributionRefusal>> {
        let amended = self.registry().amend(stream, move |draft| {
            distribution.check(draft.present.mode)?;
            draft.attributes.distribution = distribution;
            Ok(())
        });
        amended.await
    }
}
