//! What the machine gives: a directory on a disk, a flush, files and maps, a clock.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{StatVfs, statfs, statvfs};
use rustix::process::{Resource, getrlimit};
use weir_model::time::{Clock, Timestamp};

use super::Finding;
use crate::config::DataLocation;
use crate::{descriptors, flush_probe};

/// Below this much room a broker will not last long.
const ROOM_BYTES_MIN: u64 = 1 << 30;
/// A flush that takes longer is felt in every acknowledged write.
const FLUSH_SLOW: Duration = Duration::from_millis(10);
/// No disk keeps anything in less.
const FLUSH_UNBELIEVABLE: Duration = Duration::from_micros(10);
/// Descriptors that a broker with many partitions and clients wants.
const DESCRIPTORS_MIN: u64 = 10_000;
/// Maps that a process has beside those of its segments.
const OTHER_MAPS: u64 = 1_000;
/// The beginning of 2024: no machine that runs this is older.
const DATE_MIN: Timestamp = Timestamp::from_millis(1_704_067_200_000);
/// How long the two clocks are held against each other, and how much they may part.
const CLOCKS_WATCHED: Duration = Duration::from_millis(100);
const CLOCKS_PART_MAX: Duration = Duration::from_millis(10);

/// File systems by the numbers that Linux has for them (`statfs(2)`), and what speaks against them.
const FILE_SYSTEMS: [(i64, &str, &str); 5] = [
    (0x0102_1994, "tmpfs", "what lies there is gone with the machine's next start"),
    (0x6969, "NFS", "a lost server may take acknowledged records with it, or stop the broker"),
    (
        0xff53_4d42,
        "CIFS",
        "a lost server may take acknowledged records with it, or stop the broker",
    ),
    (0xfe53_4d42, "SMB", "a lost server may take acknowledged records with it, or stop the broker"),
    (0x6573_5546, "FUSE", "whether a flush keeps anything there depends on the program behind it"),
];

pub(super) fn examine(data: &DataLocation, clock: &dyn Clock) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (path, is_temporary) = match data {
        DataLocation::Directory(path) => (path.clone(), false),
        DataLocation::Temporary => (std::env::temp_dir(), true),
    };
    match usable(&path) {
        Ok(found) => {
            let room = room(&path, &found, is_temporary);
            findings.push(room);
            findings.extend(file_system(&found).filter(|_| !is_temporary));
            findings.push(flush(&found, clock));
        }
        Err(error) => {
            let fact = format!("nothing can be written to {}: {error}", path.display());
            let advice = "another --data-dir, or its owner's leave";
            findings.push(Finding::problem("directory", fact, advice));
        }
    }
    findings.push(descriptors());
    findings.extend(maps());
    findings.push(date(clock));
    findings
}

/// The directory, or the one that it would be made in; an error if nothing can be written there.
fn usable(path: &Path) -> io::Result<PathBuf> {
    let mut found = std::path::absolute(path)?;
    while !found.exists() && found.pop() {}
    tempfile::tempfile_in(&found)?;
    Ok(found)
}

fn room(path: &Path, found: &Path, is_temporary: bool) -> Finding {
    const CHECK: &str = "directory";
    let shown = path.display();
    let room = match statvfs(found) {
        Ok(StatVfs { f_bavail, f_frsize, .. }) => f_bavail.saturating_mul(f_frsize),
        Err(error) => {
            let fact = format!("{shown} can be written to, but how much room it has, nobody says");
            return Finding::warning(CHECK, fact, &error.to_string());
        }
    };
    let made = match (is_temporary, found.ends_with(path) || found == path) {
        (true, _) => "a directory that goes with the broker is made in it",
        (false, true) => "it is there and can be written to",
        (false, false) => "it can be made",
    };
    let fact = format!("{shown}: {made}, {} MB are free", room / 1_000_000);
    match room < ROOM_BYTES_MIN {
        true => Finding::warning(CHECK, fact, "writes are refused when the disk is full"),
        false => Finding::ok(CHECK, fact),
    }
}

fn file_system(found: &Path) -> Option<Finding> {
    let number = statfs(found).ok()?.f_type;
    let known = FILE_SYSTEMS.iter().find(|(known, ..)| i128::from(*known) == i128::from(number));
    let (_, name, advice) = known?;
    Some(Finding::warning("directory", format!("it lies on {name}"), advice))
}

fn flush(found: &Path, clock: &dyn Clock) -> Finding {
    const CHECK: &str = "flush";
    let took = match flush_probe::measure(found, clock) {
        Ok(took) => took,
        Err(error) => {
            let advice = "with --flush group and interval nothing could be acknowledged";
            return Finding::problem(CHECK, format!("a flush fails: {error}"), advice);
        }
    };
    judged(took)
}

fn judged(took: Duration) -> Finding {
    const CHECK: &str = "flush";
    let fact = format!(
        "a flush of 4 KiB takes {:.2} ms, which is what a write waits for with --flush group",
        took.as_secs_f64() * 1000.0
    );
    if took > FLUSH_SLOW {
        return Finding::warning(CHECK, fact, "another disk, or --flush interval");
    }
    if took < FLUSH_UNBELIEVABLE {
        let advice = "no disk is so fast: a power cut may take what was acknowledged";
        return Finding::warning(CHECK, fact, advice);
    }
    Finding::ok(CHECK, fact)
}

fn descriptors() -> Finding {
    const CHECK: &str = "limits";
    match getrlimit(Resource::Nofile).maximum {
        None => Finding::ok(CHECK, "files and sockets are not limited"),
        Some(most) => {
            let fact = format!("{most} files and sockets may be open at a time");
            match most < DESCRIPTORS_MIN {
                true => Finding::warning(CHECK, fact, "ulimit -Hn, or LimitNOFILE= of systemd"),
                false => Finding::ok(CHECK, fact),
            }
        }
    }
}

/// How many maps a process may have; nothing where the system does not say.
fn maps() -> Option<Finding> {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let most: u64 = text.trim().parse().ok()?;
    let wanted = descriptors::segments_max() as u64 + OTHER_MAPS;
    let fact = format!("{most} maps of files may be there at a time, {wanted} are wanted at most");
    Some(match most < wanted {
        true => Finding::warning("limits", fact, "sysctl vm.max_map_count"),
        false => Finding::ok("limits", fact),
    })
}

fn date(clock: &dyn Clock) -> Finding {
    const CHECK: &str = "clock";
    let (date, moment) = (clock.now(), clock.real_moment());
    if date < DATE_MIN {
        let fact = format!("it is {} ms after 1970", date.as_millis());
        let advice = "records would be taken for old ones, and signatures for forged ones";
        return Finding::problem(CHECK, fact, advice);
    }
    std::thread::sleep(CLOCKS_WATCHED);
    let passed = clock.real_moment().since(moment).as_secs_f64() * 1000.0;
    let dated = clock.now().millis_since(date) as f64;
    let apart = (dated - passed).abs();
    let fact = format!("the date moved {dated:.0} ms while {passed:.0} ms passed");
    match apart > CLOCKS_PART_MAX.as_secs_f64() * 1000.0 {
        true => Finding::warning(CHECK, fact, "something sets the clock: let NTP slew it instead"),
        false => Finding::ok(CHECK, fact),
    }
}

#[cfg(test)]
mod tests {
    use weir_model::time::{ManualClock, SystemClock};

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_flush_may_be_too_slow_and_too_fast() {
        for (micros, expected) in [
            (5, Verdict::Warning),
            (200, Verdict::Ok),
            (10_000, Verdict::Ok),
            (10_001, Verdict::Warning),
        ] {
            assert_eq!(judged(Duration::from_micros(micros)).verdict, expected, "{micros} µs");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_a_problem() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("file");
        std::fs::write(&file, "no directory").expect("it can be written");
        for (path, has_problem) in [
            (directory.path().to_owned(), false),
            (directory.path().join("a/b"), false),
            (file.join("data"), true),
        ] {
            let data = DataLocation::Directory(path.clone());
            let findings = examine(&data, &SystemClock::new());
            let found = findings.iter().any(|f| f.check == "directory" && f.is_problem());
            assert_eq!(found, has_problem, "{}: {findings:?}", path.display());
        }
        assert!(!directory.path().join("a").exists(), "nothing is made");
    }

    #[test]
    fn a_clock_that_shows_no_date_is_a_problem() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(0));
        assert!(date(&clock).is_problem());
    }

    #[test]
    fn a_clock_that_stands_while_time_passes_is_not_trusted() {
        /// Dates that stand still, and moments that do not.
        #[derive(Debug)]
        struct Stopped(SystemClock);

        impl Clock for Stopped {
            fn now(&self) -> Timestamp {
                DATE_MIN
            }
            fn moment(&self) -> weir_model::time::Moment {
                self.0.moment()
            }
        }
        assert_eq!(date(&Stopped(SystemClock::new())).verdict, Verdict::Warning);
    }
}
