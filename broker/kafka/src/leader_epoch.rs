//! The leader epoch that a reader believes to be the current one (KIP-320), which is weir's log
//! epoch.

/// The epoch in a request, or nothing where the reader does not say: that is -1 alone. Any other
/// number below 0 is an epoch that is over, as in Kafka.
pub(crate) fn said_epoch(raw: i32) -> Option<i32> {
    Some(raw).filter(|epoch| *epoch != -1)
}
