//! Which open call is which member.
//!
//! A member that lost its connection may be back before the broker has noticed. Its new call then
//! has the old one end, which must not take the member out of the group any more, and waits until
//! it has: from then on only one call speaks for the member.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use weir_core::group::identity::{GroupId, MemberId};

/// The calls that are open, by their members.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// A sync lock: held for one change of the table, never across an await.
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    last_number: u64,
    of: HashMap<Key, Call>,
}

type Key = (GroupId, MemberId);

#[derive(Debug)]
struct Call {
    number: u64,
    /// Dropped to have it end.
    _holds: oneshot::Sender<()>,
    /// Ends when the call has.
    ended: watch::Receiver<()>,
}

/// A call's right to speak for its member, until another takes it.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    key: Key,
    number: u64,
    held: oneshot::Receiver<()>,
    _ended: watch::Sender<()>,
}

impl Places {
    /// Makes the caller the one that speaks for a member, once the call that did so has ended.
    pub(crate) async fn take(self: &Arc<Self>, group: GroupId, member: MemberId) -> Place {
        let key = (group, member);
        let (holds, held) = oneshot::channel();
        let (sender, ended) = watch::channel(());
        let (number, before) = {
            let mut calls = self.calls.lock();
            calls.last_number += 1;
            let number = calls.last_number;
            (number, calls.of.insert(key.clone(), Call { number, _holds: holds, ended }))
        };
        let place = Place { places: Arc::clone(self), key, number, held, _ended: sender };
        if let Some(Call { _holds, mut ended, .. }) = before {
            drop(_holds);
            // Nothing is ever sent: this returns when the call before has dropped its place.
            let _ = ended.changed().await;
        }
        place
    }
}

impl Place {
    /// Returns when another call has taken the place.
    pub(crate) async fn taken(&mut self) {
        let _ = (&mut self.held).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calls = self.places.calls.lock();
        if calls.of.get(&self.key).is_some_and(|call| call.number == self.number) {
            calls.of.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_taken_when_the_call_before_has_ended() {
        let places = Arc::<Places>::default();
        let take = || {
            let member = MemberId::from_client("m").expect("an id");
            places.take(GroupId::new("g").expect("short"), member)
        };
        let mut first = take().await;
        let not_yet = tokio::time::timeout(Duration::from_secs(1), first.taken()).await;
        assert!(not_yet.is_err(), "nobody has come");

        let second = take();
        tokio::pin!(second);
        let waits = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
        assert!(waits.is_err(), "the first call goes on");
        first.taken().await;
        drop(first);
        let second = second.await;
        assert_eq!(places.calls.lock().of.len(), 1, "the first one's end is not the second's");
        drop(second);
        assert!(places.calls.lock().of.is_empty());
    }
}
