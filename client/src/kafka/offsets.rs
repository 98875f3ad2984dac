//! ListOffsets: where partitions begin and end, and where a time lies in them.

use std::collections::BTreeMap;

use weir_kafka_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use super::{Kafka, errors, index, wire_index};
use crate::error::Error;

const VERSION_MAX: i16 = 6;
/// How the protocol asks for the start.
const EARLIEST: i64 = -2;
/// How the protocol asks for the end.
const LATEST: i64 = -1;
const READ_COMMITTED: i8 = 1;
const READ_UNCOMMITTED: i8 = 0;

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Of the oldest record that is kept.
    Earliest,
    /// Behind the newest record that is replicated.
    HighWatermark,
    /// Behind the newest record that readers of committed transactions see.
    LastStable,
    /// Of the first record of this time or later, in milliseconds since 1970; none where there is
    /// no such record.
    AtMs(i64),
}

impl Kafka {
    /// The offsets of these partitions of a topic.
    pub(crate) async fn offsets(
        &self,
        name: &str,
        partitions: &[u32],
        wanted: Wanted,
    ) -> Result<BTreeMap<u32, Option<u64>>, Error> {
        // What leads a partition may change between the two questions.
        let call = || self.offsets_once(name, partitions, wanted);
        self.retry().run(call).await
    }

    /// The same where there always is an offset.
    pub(crate) async fn ends(
        &self,
        name: &str,
        partitions: &[u32],
        wanted: Wanted,
    ) -> Result<BTreeMap<u32, u64>, Error> {
        let found = self.offsets(name, partitions, wanted).await?;
        Ok(found.into_iter().filter_map(|(partition, offset)| Some((partition, offset?))).collect())
    }

    async fn offsets_once(
        &self,
        name: &str,
        partitions: &[u32],
        wanted: Wanted,
    ) -> Result<BTreeMap<u32, Option<u64>>, Error> {
        let topic = self.topic(name).await?;
        if let Some(unknown) = partitions.iter().find(|index| !topic.leaders.contains_key(index)) {
            return Err(errors::unknown_partition(*unknown));
        }
        let mut offsets = BTreeMap::new();
        for (leader, indexes) in topic.by_leader(|index| partitions.contains(&index)) {
            let request = request(name, &indexes, wanted)?;
            let answer = self.call_at(leader, VERSION_MAX, &request).await?;
            for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
                if partition.error_code != 0 {
                    return Err(errors::refused(partition.error_code, None));
                }
                let offset = u64::try_from(partition.offset).ok();
                offsets.insert(index(partition.partition_index)?, offset);
            }
        }
        match partitions.iter().find(|index| !offsets.contains_key(index)) {
            None => Ok(offsets),
            Some(index) => Err(Error::Protocol(format!("no offset of partition {index}"))),
        }
    }
}

fn request(name: &str, indexes: &[u32], wanted: Wanted) -> Result<ListOffsetsRequest, Error> {
    let timestamp = match wanted {
        Wanted::Earliest => EARLIEST,
        Wanted::HighWatermark | Wanted::LastStable => LATEST,
        // Below 0 are names.
        Wanted::AtMs(millis) => millis.max(0),
    };
    let isolation_level = match wanted {
        Wanted::HighWatermark => READ_UNCOMMITTED,
        Wanted::Earliest | Wanted::LastStable | Wanted::AtMs(_) => READ_COMMITTED,
    };
    let mut partitions = Vec::with_capacity(indexes.len());
    for index in indexes {
        let partition_index = wire_index(*index)?;
        partitions.push(ListOffsetsPartition {
            partition_index,
            timestamp,
            ..ListOffsetsPartition::default()
        });
    }
    Ok(ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![ListOffsetsTopic { name: name.to_owned(), partitions }],
        ..ListOffsetsRequest::default()
    })
}
