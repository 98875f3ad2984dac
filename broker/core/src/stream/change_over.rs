//! Resharding for real: from a [`Plan`] to partitions that are closed and others that take their
//! place, in one metadata commit.
//!
//! ```text
//!   flush ahead     what the parents hold so far goes to the disk while they still take records
//!   seal            under each parent's lock: its end is fixed, and what comes later is refused
//!   flush           the rest of what they hold, whatever their flush policy
//!   commit          one row: parents closed at their ends, children open
//!   replace         everyone sees the children; writers that waited go on with them
//! ```
//!
//! So no record lands behind an end, and none that was answered before is missing in front of it.
//! A crash before the commit leaves the parents open and whole, since a seal is not remembered; a
//! crash after it leaves them closed, and what lies in front of their ends is on the disk already.
//! Whatever was acknowledged for a key before is in a parent, whatever is acknowledged afterwards
//! in its children, and a reader who follows the lineage reads them in that order.
//!
//! Where the commit may or may not have been made (the store failed), the parents stay sealed until
//! the next start, which knows: records behind an end that turns out to be committed would be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{error, info};
use weir_model::ids::{PartitionIndex, StreamId};
use weir_model::offset::Offset;
use weir_model::time::Timestamp;
use weir_storage::error::{MetaError, SubmitError};

use crate::carried_out::{Turn, carried_out};
use crate::error::ReshardError;
use crate::partition::partition::Partition;
use crate::routing::reshard::{Plan, Reshard};
use crate::stream::attributes::StreamAttributes;
use crate::stream::layout::Layout;
use crate::stream::registry::Registry;
use crate::stream::state::{Passing, State};
use crate::stream::stream::{Routing, Stream};

/// How often a stream may be scaled within [`SCALING_PERIOD_MS`].
const SCALINGS_MAX: usize = 10;
/// The period, in ms: a day that ends now.
const SCALING_PERIOD_MS: i64 = 24 * 3_600_000;
/// How many partitions are kept, closed ones included, for each that may be open. Closed ones count
/// against no other limit of the broker, yet take memory and metadata until their stream goes.
const KEPT_PER_OPEN_MAX: u64 = 10;

/// Whether AWS's limits of a scaling hold: at most double, at least half, ten times a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalingLimits {
    /// They do.
    AsAws,
    /// They do not.
    Off,
}

/// What a reshard did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resharded {
    /// Open partitions before it.
    pub open_before: usize,
    /// Open partitions now.
    pub open_now: usize,
}

impl Registry {
    /// Splits, merges or scales a stream's partitions, in one metadata commit. Once begun it is
    /// carried out, whether the caller waits or not.
    pub async fn reshard(
        self: &Arc<Registry>,
        id: StreamId,
        reshard: Reshard,
        limits: ScalingLimits,
        updating: Option<Passing>,
    ) -> Result<Resharded, ReshardError> {
        self.flush_ahead(id, reshard).await;
        let (registry, turn) = (Arc::clone(self), self.turn().await);
        let reshard =
            async move { registry.reshard_now(turn, id, reshard, limits, updating).await };
        carried_out(reshard).await
    }

    async fn reshard_now(
        &self,
        _turn: Turn,
        id: StreamId,
        reshard: Reshard,
        limits: ScalingLimits,
        updating: Option<Passing>,
    ) -> Result<Resharded, ReshardError> {
        let stream = self.stream_to_reshard(id)?;
        match stream.state(self.now()) {
            State::Active => {}
            state => return Err(ReshardError::NotActive(state)),
        }
        let before = stream.layout().current();
        let now = self.now();
        let scalings = scalings_with(&before, reshard, limits, now)?;
        let plan = Plan::of(&before.partitions, reshard, now)?;
        let open_before = before.open.count();
        let open_now = plan.open_count();
        self.check_partition_limit(open_before, open_now)?;
        self.check_kept_limit(plan.made_count())?;
        let parents = plan.parents(&before.partitions);
        self.check_not_sealed(&parents)?;
        self.change_over(&stream, &before, reshard, &parents, scalings, updating).await?;
        info!(stream = %stream.name, ?reshard, open_before, open_now, "stream resharded");
        self.events().tell_partitions(&stream, reshard.into(), &before);
        Ok(Resharded { open_before, open_now })
    }

    fn stream_to_reshard(&self, id: StreamId) -> Result<Arc<Stream>, ReshardError> {
        let stream = self.by_id(id).ok_or(ReshardError::Unknown)?;
        if stream.name.is_internal() {
            return Err(ReshardError::Internal);
        }
        match stream.routing {
            Routing::ByHash => Ok(stream),
            Routing::ByPartition => Err(ReshardError::RoutedByPartition),
        }
    }

    /// Most of what the parents hold unflushed goes while they still take records, so that nobody
    /// waits for it. Only the flush behind the seal counts: what fails here fails there again.
    async fn flush_ahead(&self, id: StreamId, reshard: Reshard) {
        let Ok(stream) = self.stream_to_reshard(id) else { return };
        let partitions = stream.partitions();
        let Ok(plan) = Plan::of(&partitions, reshard, self.now()) else { return };
        for parent in plan.parents(&partitions) {
            let _flushed_or_again_later = self.log().flush(parent.id).await;
        }
    }

    /// A partition that is open and yet sealed was the parent in a reshard that is not known to be
    /// kept. Taking its seal back, should this one fail, could lose what it takes then.
    fn check_not_sealed(&self, parents: &[Arc<Partition>]) -> Result<(), ReshardError> {
        match parents.iter().find(|parent| self.log().is_sealed(parent.id)) {
            None => Ok(()),
            Some(parent) => Err(ReshardError::Meta(MetaError::Failed(format!(
                "an earlier reshard of partition {} is not known to be kept",
                parent.id
            )))),
        }
    }

    fn check_partition_limit(
        &self,
        open_before: usize,
        open_now: usize,
    ) -> Result<(), ReshardError> {
        let Some(asked) = open_now.checked_sub(open_before).filter(|asked| *asked > 0) else {
            return Ok(());
        };
        let (used, max) = (self.partition_count(), self.partitions_max());
        let asked = u32::try_from(asked).unwrap_or(u32::MAX);
        if used + u64::from(asked) > u64::from(max) {
            return Err(ReshardError::PartitionLimit { used, asked, max });
        }
        Ok(())
    }

    /// A merge counts as well: it opens fewer partitions, but keeps one more.
    fn check_kept_limit(&self, made: usize) -> Result<(), ReshardError> {
        let max = KEPT_PER_OPEN_MAX * u64::from(self.partitions_max());
        // What makes none, such as a scaling to as many as there are, takes no room.
        if made > 0 && self.kept_partition_count() + made as u64 > max {
            return Err(ReshardError::LineagesFull { max });
        }
        Ok(())
    }

    async fn change_over(
        &self,
        stream: &Stream,
        before: &Layout,
        reshard: Reshard,
        parents: &[Arc<Partition>],
        scalings: Vec<Timestamp>,
        updating: Option<Passing>,
    ) -> Result<(), ReshardError> {
        // Until it is dropped, writers that meet a seal wait.
        let _change = stream.layout().begin_change();
        let ends = match self.seal_and_flush(parents).await {
            Ok(ends) => ends,
            Err(error) => {
                self.unseal(parents);
                return Err(ReshardError::Storage(error));
            }
        };
        // After all that the broker has dated in the parents: who reads from a time on must be
        // shown each shard that holds a record of that time.
        let plan = Plan::of(&before.partitions, reshard, self.now().plus_millis(1));
        let plan = plan.expect("the same was planned before the parents were sealed");
        let end_of = |index| *ends.get(&index).expect("each parent was sealed");
        let partitions = plan.carried_out(stream.id, &before.partitions, end_of);
        let layout = Layout::new(partitions, scalings);
        let mut attributes = StreamAttributes::clone(&stream.attributes());
        attributes.passing = updating.or(attributes.passing);
        match self.commit(vec![self.resharded_row(stream, &layout, &attributes)]).await {
            Ok(()) => {}
            Err(error @ (MetaError::Conflict | MetaError::DiskFull)) => {
                self.unseal(parents);
                return Err(ReshardError::Meta(error));
            }
            Err(error @ MetaError::Failed(_)) => {
                error!(stream = %stream.name, ?error, partitions = parents.len(),
                    "reshard not known to be kept: its parents take no writes until restart");
                return Err(ReshardError::Meta(error));
            }
        }
        let config = stream.config().log;
        for made in layout.partitions.iter().skip(before.partitions.len()) {
            self.declare_partition(made, config).map_err(ReshardError::Meta)?;
        }
        stream.set_attributes(attributes);
        self.replace_layout(stream, layout);
        Ok(())
    }

    /// Fixes the ends of the parents and makes all in front of them last.
    async fn seal_and_flush(
        &self,
        parents: &[Arc<Partition>],
    ) -> Result<BTreeMap<PartitionIndex, Offset>, SubmitError> {
        let mut ends = BTreeMap::new();
        for parent in parents {
            ends.insert(parent.id.index, self.log().seal(parent.id)?);
        }
        for parent in parents {
            self.log().flush(parent.id).await?;
        }
        Ok(ends)
    }

    fn unseal(&self, parents: &[Arc<Partition>]) {
        for parent in parents {
            if let Err(error) = self.log().unseal(parent.id) {
                error!(partition = %parent.id, ?error, "partition stays sealed until restart");
            }
        }
    }
}

/// The times at which the stream was scaled, with this one if it is one, and without those that
/// count no more.
fn scalings_with(
    before: &Layout,
    reshard: Reshard,
    limits: ScalingLimits,
    now: Timestamp,
) -> Result<Vec<Timestamp>, ReshardError> {
    let Reshard::Scale { partitions } = reshard else {
        return Ok(before.scalings.clone());
    };
    let is_recent = |time: &Timestamp| now.millis_since(*time) < SCALING_PERIOD_MS;
    let mut recent: Vec<Timestamp> = before.scalings.iter().copied().filter(is_recent).collect();
    if limits == ScalingLimits::AsAws {
        let open = before.open.count();
        let wanted = partitions as usize;
        if wanted > open * 2 {
            return Err(ReshardError::AboveDouble { open });
        }
        if wanted * 2 < open {
            return Err(ReshardError::BelowHalf { open });
        }
        if recent.len() >= SCALINGS_MAX {
            return Err(ReshardError::TooManyScalings { max: SCALINGS_MAX });
        }
    }
    // Without limits nobody looks at more than the last ones.
    recent.drain(..recent.len().saturating_sub(SCALINGS_MAX - 1));
    recent.push(now);
    Ok(recent)
}
