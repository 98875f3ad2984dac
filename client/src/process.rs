//! What the operating system knows of a process: its CPU time, its memory, who holds a port.
//!
//! Read from `/proc`, so everything here answers `None` elsewhere than on Linux, and for processes
//! that this user may not look at. Used by `weir bench` (what did the broker spend?), by `/metrics`
//! (about itself) and by the error for a taken port (who has it?).

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// A process's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pid(u32);

impl Pid {
    /// The id with this number.
    pub const fn new(number: u32) -> Pid {
        Pid(number)
    }

    /// This process.
    pub fn own() -> Pid {
        Pid(std::process::id())
    }

    /// The id's number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What a process has used up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Memory that the process itself allocated (RssAnon), in bytes; mapped files are not in it.
    pub anonymous_bytes: u64,
    /// Memory in all (VmRSS), mapped files that happen to be resident included, in bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// CPU time in all.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// What the process has used, if it lives and may be looked at.
pub fn usage(pid: Pid) -> Option<Usage> {
    let directory = Path::new("/proc").join(pid.to_string());
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let status = fs::read_to_string(directory.join("status")).ok()?;
    parse_usage(&stat, &status, rustix::param::clock_ticks_per_second())
}

/// How many files and sockets the process has open.
pub fn open_files(pid: Pid) -> Option<usize> {
    fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
}

fn parse_usage(stat: &str, status: &str, ticks_per_second: u64) -> Option<Usage> {
    // The second field is the program's name in parentheses and may hold anything, so count from
    // its end: state is the first field after it, utime the 12th, stime the 13th.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    let time = |ticks: u64| Duration::from_micros(ticks * 1_000_000 / ticks_per_second.max(1));
    Some(Usage {
        user: time(user),
        system: time(system),
        anonymous_bytes: status_number(status, "RssAnon:")? << 10,
        resident_bytes: status_number(status, "VmRSS:")? << 10,
        threads: status_number(status, "Threads:")?,
    })
}

fn status_number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: Pid,
    /// Its program's name, as the kernel keeps it (at most 15 bytes).
    pub program: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (process {})", self.program, self.pid)
    }
}

/// Who listens where a bind to this address would collide, if that can be known.
pub fn holder_of(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, address))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        has_open(&entry.path(), &socket).then(|| Holder {
            pid: Pid(pid),
            program: fs::read_to_string(entry.path().join("comm"))
                .map_or_else(|_| "a process".to_owned(), |name| name.trim_end().to_owned()),
        })
    })
}

fn has_open(process: &Path, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.as_os_str() == socket)
}

/// The inode of the socket that listens on the address, from the text of `/proc/net/tcp` or `tcp6`.
///
/// ```text
///   sl  local_address rem_address   st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
///    0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0   0       27177
/// ```
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, port) = fields.get(1)?.split_once(':')?;
        let local = parse_address(local)?;
        let port = u16::from_str_radix(port, 16).ok()?;
        // A wildcard holds its port on every address; a dual-stack one on those of IPv4 too.
        let collides = local == address.ip()
            || local.is_unspecified()
            || (address.ip().is_unspecified() && local.is_ipv4() == address.is_ipv4());
        let found = *fields.get(3)? == LISTEN && port == address.port() && collides;
        found.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// An address as the kernel prints it: 32-bit words in hex, each in the machine's byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = [0u8; 16];
    let mut length = 0;
    for (word, place) in hex.as_bytes().chunks(8).zip(bytes.chunks_mut(4)) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        place.copy_from_slice(&word.to_ne_bytes());
        length += 4;
    }
    match length {
        4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        16 => Some(IpAddr::from(bytes).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_past_a_hostile_program_name() {
        let stat = "42 (a) R 1) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 9 8 7";
        let status = "Name:\tx\nVmRSS:\t  2048 kB\nRssAnon:\t  1024 kB\nThreads:\t3\n";
        let usage = parse_usage(stat, status, 100).expect("both files are complete");
        assert_eq!(usage.user, Duration::from_millis(2_500));
        assert_eq!(usage.system, Duration::from_millis(500));
        assert_eq!(usage.cpu(), Duration::from_secs(3));
        assert_eq!((usage.anonymous_bytes, usage.resident_bytes), (1 << 20, 2 << 20));
        assert_eq!(usage.threads, 3);
        assert_eq!(parse_usage("42 (x) S 1", status, 100), None, "cut short");
    }

    #[test]
    #[cfg(all(target_os = "linux", target_endian = "little"))]
    fn a_listener_is_found_by_every_address_it_keeps_from_others() {
        let four = "  sl  local_address rem_address   st tx rx tr uid timeout inode\n\
            0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 11 1\n\
            1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12 1\n\
            2: 0100007F:1000 0100007F:2384 01 00000000:00000000 00:00000000 00000000 0 0 13 1\n";
        let six = "header\n\
            0: 00000000000000000000000001000000:2384 00000000000000000000000000000000:0000 0A \
            00000000:00000000 00:00000000 00000000 0 0 21 1\n";
        for (table, address, inode) in [
            (four, "127.0.0.1:9092", Some(11)),
            (four, "0.0.0.0:9092", Some(11)),
            (four, "127.0.0.1:8080", Some(12)),
            (four, "127.0.0.1:4096", None),
            (four, "[::1]:9092", None),
            (six, "[::1]:9092", Some(21)),
            (six, "127.0.0.1:9092", None),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(listening_inode(table, address), inode, "{address}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_look_at_itself() {
        let usage = usage(Pid::own()).expect("a process sees itself");
        assert!(usage.anonymous_bytes > 0 && usage.anonymous_bytes <= usage.resident_bytes);
        assert!(open_files(Pid::own()).is_some_and(|count| count > 0));
    }
}
