//! Where the groups come from: their log is found or made, and read from its start.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{error, warn};
use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::record::Record;

use crate::error::CreateStreamError;
use crate::group::coordinator::offsets::belongs_to;
use crate::group::coordinator::{CONSUMER_OFFSETS, Shared, Slot};
use crate::group::error::GroupError;
use crate::group::identity::GroupId;
use crate::group::internal_log::InternalLog;
use crate::group::records::{self, GroupRecord};
use crate::group::state::{Event, Group};
use crate::stream::stream::{Intent, NewStream, Routing, Stream};

impl Shared {
    /// Finds the groups' log, or makes it when the first group of all comes.
    pub(super) async fn open_log(&self) -> Result<InternalLog, GroupError> {
        let stream = match self.registry.by_name(CONSUMER_OFFSETS) {
            Some(stream) => stream,
            None => self.make_log().await?,
        };
        let partition = stream.partition(PartitionIndex::ZERO).ok_or(GroupError::NotAvailable)?;
        InternalLog::new(Arc::clone(&self.log), partition.id).map_err(|error| {
            error!(?error, "the log of the consumer groups cannot be opened");
            GroupError::NotAvailable
        })
    }

    async fn make_log(&self) -> Result<Arc<Stream>, GroupError> {
        // What compaction keeps must not be removed by age or size, whatever the defaults are.
        let overrides = [
            ("cleanup.policy", "compact"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("weir.flush", self.options.flush.name()),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let new = NewStream {
            name: StreamName::new(CONSUMER_OFFSETS).expect("the name is legal"),
            routing: Routing::ByPartition,
            partitions: 1,
            overrides: overrides.into_iter().map(own).collect(),
            attributes: Default::default(),
            intent: Intent::Make,
        };
        match self.registry.create_internal(new).await {
            Ok(stream) => Ok(stream),
            Err(CreateStreamError::AlreadyExists) => {
                self.registry.by_name(CONSUMER_OFFSETS).ok_or(GroupError::NotAvailable)
            }
            Err(error) => {
                error!(?error, "the log of the consumer groups cannot be made");
                Err(GroupError::NotAvailable)
            }
        }
    }

    /// Rebuilds all groups from the log.
    pub(super) async fn read_groups(
        &self,
        log: &InternalLog,
    ) -> Result<HashMap<GroupId, Arc<Slot>>, GroupError> {
        let mut groups: HashMap<GroupId, Group> = HashMap::new();
        let read = log.read_all(|record| {
            if let Some((id, change)) = readable(record) {
                let fresh = || Group::new(self.limits_of(&id));
                groups.entry(id.clone()).or_insert_with(fresh).replay(change);
            }
        });
        let kept_to = read.await.map_err(|error| {
            error!(?error, "the log of the consumer groups cannot be read");
            GroupError::NotAvailable
        })?;
        let mut slots = HashMap::with_capacity(groups.len());
        for (id, mut group) in groups {
            // Offsets of a stream that a crash kept from being forgotten.
            group.retain_offsets(|name, committed| {
                let stream = self.registry.by_name(name.as_str());
                stream.is_some_and(|stream| belongs_to(committed, &stream))
            });
            let effects = group.step(Event::Loaded, self.now());
            if group.is_vacant() {
                continue;
            }
            let slot = Slot::new(id.clone(), group, kept_to);
            self.schedule(&slot, &mut slot.state.lock(), effects.wake_by);
            slots.insert(id, slot);
        }
        Ok(slots)
    }
}

fn readable(record: &Record) -> Option<(GroupId, GroupRecord)> {
    let Some(key) = &record.key else {
        warn!("a record without a key in the log of the consumer groups is skipped");
        return None;
    };
    records::decode(key, record.value.as_ref()).unwrap_or_else(|error| {
        warn!(why = error.0, "a record in the log of the consumer groups is skipped");
        None
    })
}
