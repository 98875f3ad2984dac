//! What events of subscriptions hold in memory, until their consumers have taken them.
//!
//! A subscription makes its next event when the last was taken, so a consumer that stops reading
//! holds one. Full events come out of 64 MiB for the whole server; when many consumers take nothing
//! the others' events get smaller, never later. The small ones need no account: there are at most
//! as many as subscriptions.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KIB: usize = 1024;
const FULL_BYTES: usize = 64 * 1024 * KIB;
/// Data of a full event.
const FULL_DATA_BYTES: usize = 256 * KIB;
/// Data of an event when memory is scarce.
const SMALL_DATA_BYTES: usize = 16 * KIB;
/// An event is at most about twice as long as its data, as a reply of GetRecords is.
const FULL_PERMITS: u32 = 2 * FULL_DATA_BYTES as u32;

/// Bytes for the full events of everybody.
#[derive(Debug)]
pub(crate) struct EventMemory {
    full: Arc<Semaphore>,
}

impl Default for EventMemory {
    fn default() -> EventMemory {
        EventMemory { full: Arc::new(Semaphore::new(FULL_BYTES)) }
    }
}

/// The room for one event.
#[derive(Debug)]
pub(crate) struct EventShare {
    /// Most bytes of keys and data.
    pub(crate) data_bytes_max: usize,
    full: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl EventMemory {
    /// Room for an event, of the size that the share tells.
    pub(crate) fn take(&self) -> EventShare {
        let full = Arc::clone(&self.full);
        match Arc::clone(&self.full).try_acquire_many_owned(FULL_PERMITS) {
            Ok(permit) => {
                EventShare { data_bytes_max: FULL_DATA_BYTES, full, permit: Some(permit) }
            }
            Err(_) => EventShare { data_bytes_max: SMALL_DATA_BYTES, full, permit: None },
        }
    }
}

impl EventShare {
    /// Room for one record that is larger than a whole event may be; waits until there is some.
    pub(crate) async fn grown_to(mut self, data_bytes: usize) -> EventShare {
        let permits = u32::try_from(2 * data_bytes).unwrap_or(u32::MAX).min(FULL_BYTES as u32);
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if data_bytes > self.data_bytes_max && held < permits as usize {
            // What it has goes first: two who hold a part would wait for each other.
            drop(self.permit.take());
            let all = Arc::clone(&self.full).acquire_many_owned(permits).await;
            self.permit = Some(all.expect("event memory is never closed"));
        }
        self
    }

    /// Ties what the event really needs to it.
    pub(crate) fn keep_for(mut self, event: Bytes) -> Bytes {
        let Some(permit) = &mut self.permit else { return event };
        let unused = permit.num_permits().saturating_sub(event.len());
        drop(permit.split(unused));
        Bytes::from_owner(MeteredEvent { event, _share: self })
    }
}

struct MeteredEvent {
    event: Bytes,
    _share: EventShare,
}

impl AsRef<[u8]> for MeteredEvent {
    fn as_ref(&self) -> &[u8] {
        &self.event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_small_while_others_are_not_taken() {
        let memory = EventMemory::default();
        let untaken: Vec<Bytes> = (0..128)
            .map(|_| memory.take().keep_for(Bytes::from(vec![0; FULL_PERMITS as usize])))
            .collect();
        assert_eq!(memory.take().data_bytes_max, SMALL_DATA_BYTES);
        drop(untaken);
        let short = memory.take().keep_for(Bytes::from_static(b"short"));
        assert_eq!(memory.full.available_permits(), FULL_BYTES - short.len());
    }
}
