//! Records that the broker builds into batches, held against their stream's settings first, as
//! batches of Kafka's producers are.

use weir_model::time::Timestamp;

use crate::broker::Broker;
use crate::error::AppendError;
use crate::partition::append::check_time;
use crate::routing::route::{RoutedPlace, RoutedRecord};
use crate::stream::config::StreamConfig;
use crate::stream::stream::Stream;

impl Broker {
    /// Appends records as [`Broker::append_routed`] does, but for those that the stream's settings
    /// refuse: too large, dated too far from now, or without a key where each record needs one.
    pub async fn append_checked(
        &self,
        stream: &Stream,
        records: Vec<RoutedRecord>,
    ) -> Vec<Result<RoutedPlace, AppendError>> {
        let (config, now) = (stream.config(), self.clock().now());
        let checked: Vec<_> = records.iter().map(|record| check(&config, record, now)).collect();
        let pairs = records.into_iter().zip(&checked);
        let taken = pairs.filter(|(_, checked)| checked.is_ok()).map(|(record, _)| record);
        let taken: Vec<_> = taken.collect();
        let mut written = self.append_routed(stream, &taken).await.into_iter();
        let result = |checked: Result<(), AppendError>| {
            checked.and_then(|()| written.next().expect("a result for each record"))
        };
        checked.into_iter().map(result).collect()
    }
}

fn check(config: &StreamConfig, record: &RoutedRecord, now: Timestamp) -> Result<(), AppendError> {
    let (size_bytes, limit_bytes) = (record.size_bytes(), config.message_bytes_max);
    if size_bytes > limit_bytes {
        return Err(AppendError::BatchTooLarge { size_bytes, limit_bytes });
    }
    if config.is_compacted && record.key.is_none() {
        return Err(AppendError::KeyMissing { records: vec![0], record_count: 1 });
    }
    check_time(config, record.timestamp.unwrap_or(now), now)
}
