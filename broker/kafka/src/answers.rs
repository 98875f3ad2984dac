//! What answers may hold. A request can name a thing in fewer bytes than the answer takes to say
//! something of it, four for a partition: so each is answered once, however often it is named, and
//! whoever asks about more things than there can be is not answered at all.

use std::collections::HashSet;
use std::hash::Hash;

use crate::close::CloseReason;

/// Most things that one request may ask about. Each takes 100 to 300 bytes of the answer.
pub(crate) const ASKED_MAX: usize = 200_000;

/// Refuses requests that ask about too many things.
pub(crate) fn check_asked(count: usize) -> Result<(), CloseReason> {
    match count {
        0..=ASKED_MAX => Ok(()),
        _ => Err(CloseReason::AsksForTooMuch { count }),
    }
}

/// The things that are asked about, in order, without those that were named before.
pub(crate) fn each_once<T: Clone + Eq + Hash>(mut named: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::with_capacity(named.len());
    named.retain(|thing| seen.insert(thing.clone()));
    named
}
