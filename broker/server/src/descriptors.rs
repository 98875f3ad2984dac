//! Descriptors: how many files and sockets the process may have open, and how many of them may be
//! segments.
//!
//! A system starts a process with a soft limit of 256 or 1,024, for programs that still call
//! `select`, and lets it raise that to the hard limit by itself. A broker has one open file for
//! each segment in use and one socket for each client, so it does; and segments, which can be
//! closed and opened again, leave room for clients, which cannot.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is asked for where there is no hard limit; macOS refuses more.
const DESCRIPTORS_UNLIMITED: u64 = 10_240;
/// However many descriptors there are: every open segment has a map as well.
const SEGMENTS_MAX: u64 = 4_096;

/// Raises the soft limit of descriptors as far as the system lets it. Acts on the whole process.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS_UNLIMITED);
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(())
}

/// How many segments may be open at once under the limit of this process.
pub(crate) fn segments_max() -> usize {
    share_of_segments(getrlimit(Resource::Nofile).current)
}

/// Half of the descriptors; all that segments may have where descriptors are not limited.
fn share_of_segments(descriptors: Option<u64>) -> usize {
    let half = descriptors.map_or(SEGMENTS_MAX, |descriptors| descriptors / 2);
    usize::try_from(half.clamp(1, SEGMENTS_MAX)).expect("SEGMENTS_MAX fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_take_half_of_the_descriptors_at_most() {
        let table = [
            (Some(0), 1),
            (Some(256), 128),
            (Some(1_024), 512),
            (Some(8_192), 4_096),
            (Some(1_048_576), 4_096),
            (None, 4_096),
        ];
        for (descriptors, expected) in table {
            assert_eq!(share_of_segments(descriptors), expected, "of {descriptors:?}");
        }
    }
}
