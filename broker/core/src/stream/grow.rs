//! More partitions for streams: those that Kafka made, since Kinesis splits shards instead.
//!
//! The hash-key ranges, by which writers of the other dialects find their partition, are cut anew
//! over all partitions in the same metadata commit, so there is no moment at which a new partition
//! has no range or an old one a range that is not its own any more.

use std::sync::Arc;

use tracing::info;
use weir_model::hash_key::HashKeyRange;
use weir_model::ids::{PartitionId, PartitionIndex};
use weir_model::limits::STREAM_PARTITIONS_MAX;
use weir_storage::error::MetaError;

use crate::carried_out::{Turn, carried_out};
use crate::error::GrowStreamError;
use crate::events::PartitionsChange;
use crate::partition::partition::{Origin, Partition};
use crate::quota::client_quotas::MutationQuota;
use crate::stream::layout::Layout;
use crate::stream::registry::Registry;
use crate::stream::stream::{Intent, Routing, Stream};

/// A wish for more partitions.
#[derive(Clone, Debug)]
pub struct Growth {
    /// The stream's name.
    pub name: String,
    /// How many partitions it is to have in all.
    pub partitions: u32,
}

type Grown = (Arc<Stream>, Layout);

impl Registry {
    /// Gives streams more partitions, all in one metadata commit; each is judged on its own, in the
    /// order given, as far as the quota reaches: what could be added is charged, be it added or
    /// only judged. Once begun it is carried out, whether the caller waits or not.
    pub async fn grow_within(
        self: &Arc<Registry>,
        quota: Arc<MutationQuota>,
        growths: Vec<Growth>,
        intent: Intent,
    ) -> Vec<Result<(), GrowStreamError>> {
        self.grow_charging(Some(quota), growths, intent).await
    }

    /// Gives streams more partitions as [`Registry::grow_within`] does, whoever asks.
    pub async fn grow(
        self: &Arc<Registry>,
        growths: Vec<Growth>,
        intent: Intent,
    ) -> Vec<Result<(), GrowStreamError>> {
        self.grow_charging(None, growths, intent).await
    }

    async fn grow_charging(
        self: &Arc<Registry>,
        quota: Option<Arc<MutationQuota>>,
        growths: Vec<Growth>,
        intent: Intent,
    ) -> Vec<Result<(), GrowStreamError>> {
        let (registry, turn) = (Arc::clone(self), self.turn().await);
        let grow = async move { registry.grow_now(turn, quota.as_deref(), &growths, intent).await };
        carried_out(grow).await
    }

    async fn grow_now(
        &self,
        _turn: Turn,
        quota: Option<&MutationQuota>,
        growths: &[Growth],
        intent: Intent,
    ) -> Vec<Result<(), GrowStreamError>> {
        let mut used = self.partition_count();
        let mut grown: Vec<Grown> = Vec::new();
        let mut results = Vec::with_capacity(growths.len());
        for growth in growths {
            let decided = self.decide_growth(quota, growth, &mut used);
            results.push(decided.map(|decided| grown.push(decided)));
        }
        if intent == Intent::Validate {
            return results;
        }
        if let Err(error) = self.commit_grown(grown).await {
            let failed = GrowStreamError::Meta(error);
            return results.into_iter().map(|result| result.and(Err(failed.clone()))).collect();
        }
        results
    }

    fn decide_growth(
        &self,
        quota: Option<&MutationQuota>,
        growth: &Growth,
        used: &mut u64,
    ) -> Result<Grown, GrowStreamError> {
        let stream = self.by_name(&growth.name).ok_or(GrowStreamError::Unknown)?;
        if stream.name.is_internal() {
            return Err(GrowStreamError::Internal);
        }
        if stream.routing == Routing::ByHash {
            return Err(GrowStreamError::RoutedByHash);
        }
        let present = stream.partitions();
        let now = u32::try_from(present.len()).unwrap_or(u32::MAX);
        if growth.partitions <= now {
            return Err(GrowStreamError::NotMore { now });
        }
        let max = u32::try_from(STREAM_PARTITIONS_MAX).unwrap_or(u32::MAX);
        if growth.partitions > max {
            return Err(GrowStreamError::PartitionCount { max });
        }
        let (asked, max) = (growth.partitions - now, self.partitions_max());
        if *used + u64::from(asked) > u64::from(max) {
            return Err(GrowStreamError::PartitionLimit { used: *used, asked, max });
        }
        if let Some(quota) = quota {
            quota.charge(asked as usize).map_err(|_| GrowStreamError::OverQuota)?;
        }
        *used += u64::from(asked);
        let created = self.now();
        let cut = |(number, range): (usize, HashKeyRange)| match present.get(number) {
            Some(partition) => Arc::new(partition.with_hash_keys(range)),
            None => {
                let index = PartitionIndex::try_from(number).expect("the count was checked");
                let id = PartitionId { stream: stream.id, index };
                Arc::new(Partition::new(id, range, Origin::without_parents(created), None))
            }
        };
        let ranges = HashKeyRange::even_ranges(growth.partitions);
        let partitions = ranges.into_iter().enumerate().map(cut).collect();
        Ok((stream, Layout::new(partitions, Vec::new())))
    }

    async fn commit_grown(&self, grown: Vec<Grown>) -> Result<(), MetaError> {
        let row = |(stream, layout): &Grown| self.layout_row(stream, layout);
        self.commit(grown.iter().map(row).collect()).await?;
        for (stream, layout) in grown {
            let config = stream.config().log;
            for partition in layout.partitions.iter().skip(stream.partitions().len()) {
                self.declare_partition(partition, config)?;
            }
            let partitions = layout.partitions.len();
            info!(stream = %stream.name, partitions, "partitions added");
            let before = stream.layout().current();
            self.replace_layout(&stream, layout);
            self.events().tell_partitions(&stream, PartitionsChange::Added, &before);
        }
        Ok(())
    }
}
