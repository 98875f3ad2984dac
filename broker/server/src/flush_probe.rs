//! How long a flush takes on the data directory's disk.
//!
//! Under the `group` policy this is what every acknowledged write waits for at least, so it is the
//! one number that explains a broker's latency. Measured after the ready line: a start does not
//! wait for it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use weir_model::time::Clock;

/// Flushes that are made; the median is told.
const FLUSHES: usize = 9;
const FLUSH_BYTES: usize = 4096;

/// The median time to write and flush 4 KiB in this directory. Blocks; leaves nothing behind.
pub fn measure(directory: &Path, clock: &dyn Clock) -> io::Result<Duration> {
    let mut file: File = tempfile::tempfile_in(directory)?;
    let mut times = [Duration::ZERO; FLUSHES];
    for time in &mut times {
        let start = clock.real_moment();
        file.write_all(&[0x77; FLUSH_BYTES])?;
        file.sync_data()?;
        *time = clock.real_moment().since(start);
    }
    times.sort_unstable();
    let [.., median, _, _, _, _] = times;
    Ok(median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::time::SystemClock;

    #[test]
    fn a_probe_measures_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let time = measure(directory.path(), &SystemClock::new()).expect("a writable directory");
        assert!(time > Duration::ZERO);
        let left = std::fs::read_dir(directory.path()).expect("still there").count();
        assert_eq!(left, 0);
        assert!(measure(&directory.path().join("missing"), &SystemClock::new()).is_err());
    }
}
