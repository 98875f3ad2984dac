//! This process, under the names that every Prometheus client library uses; nothing where the
//! system does not tell.

use weir_client::process::{self, Pid};

use crate::metrics::exposition::{Exposition, Kind};

pub(super) fn write(out: &mut Exposition) {
    if let Some(usage) = process::usage(Pid::own()) {
        let help = "User and system CPU time";
        out.single(Kind::Counter, "process_cpu_seconds", help, usage.cpu().as_secs_f64());
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Memory, resident pages of mapped segments included",
                usage.resident_bytes,
            ),
            (
                "weir_anonymous_memory_bytes",
                "Memory that the process allocated (RssAnon)",
                usage.anonymous_bytes,
            ),
            ("process_threads", "Threads", usage.threads),
        ];
        for (name, help, value) in gauges {
            out.single(Kind::Gauge, name, help, value);
        }
    }
    if let Some(count) = process::open_files(Pid::own()) {
        out.single(Kind::Gauge, "process_open_fds", "Open files and sockets", count as f64);
    }
}
