//! weir's own names.

use weir_core::metrics::RequestMetrics;
use weir_core::metrics::latency::Stage;

use crate::metrics::exposition::{Exposition, Kind};
use crate::metrics::{Scrape, is_offline};

pub(super) fn write(out: &mut Exposition, scrape: &Scrape) {
    let mut info = out.family(Kind::Info, "weir_build", "Version of weir");
    info.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
    write_requests(out, scrape);
    write_latency(out, scrape);
    let help = "Connections open now";
    let mut family = out.family(Kind::Gauge, "weir_connections", help);
    for (dialect, open) in scrape.broker.metrics().connections() {
        family.sample(&[("dialect", dialect.name())], open);
    }
    let help = "Writes and reads that a quota refused or delayed";
    out.single(Kind::Counter, "weir_throttles", help, scrape.broker.metrics().throttles());
    let help = "Requests that faults on request have struck";
    out.single(Kind::Counter, "weir_faults", help, scrape.broker.faults().struck());
    write_log(out, scrape);
    write_streams(out, scrape);
    write_groups(out, scrape);
}

/// What each API of each dialect has done.
fn write_requests(out: &mut Exposition, scrape: &Scrape) {
    type Field = fn(&RequestMetrics) -> u64;
    let families: [(&str, &str, Field); 7] = [
        ("weir_requests", "Requests begun", |api| api.requests.get()),
        ("weir_request_errors", "Requests answered with an error, wholly or in part", |api| {
            api.errors.get()
        }),
        ("weir_received_bytes", "Bytes of requests", |api| api.bytes_in.get()),
        ("weir_sent_bytes", "Bytes of answers", |api| api.bytes_out.get()),
        ("weir_written_records", "Records written", |api| api.records_in.get()),
        ("weir_read_records", "Records read, where the dialect counts them", |api| {
            api.records_out.get()
        }),
        ("weir_client_pauses", "Pauses of clients over their quota", |api| api.pauses.get()),
    ];
    for (name, help, field) in families {
        let mut family = out.family(Kind::Counter, name, help);
        for ((dialect, api), metrics) in &scrape.requests {
            family.sample(&[("dialect", dialect.name()), ("api", api)], field(metrics));
        }
    }
    let help = "Time of the pauses of clients over their quota";
    let mut family = out.family(Kind::Counter, "weir_client_pause_seconds", help);
    for ((dialect, api), metrics) in &scrape.requests {
        let seconds = metrics.pause_micros.get() as f64 / 1e6;
        family.sample(&[("dialect", dialect.name()), ("api", api)], seconds);
    }
}

/// How long requests take. Most APIs are never called; they are not shown.
fn write_latency(out: &mut Exposition, scrape: &Scrape) {
    let help = "Time from a whole request to its answer";
    let mut family = out.family(Kind::Histogram, "weir_request_seconds", help);
    for ((dialect, api), metrics) in &scrape.requests {
        let total = metrics.latency.total();
        if total.count() > 0 {
            family.histogram(&[("dialect", dialect.name()), ("api", api)], &total);
        }
    }
    let help = "Time of requests by stage: receive, begin, turn, answer, send";
    let mut family = out.family(Kind::Histogram, "weir_request_stage_seconds", help);
    for ((dialect, api), metrics) in &scrape.requests {
        for stage in Stage::ALL {
            let durations = metrics.latency.stage(stage);
            let labels = [("dialect", dialect.name()), ("api", *api), ("stage", stage.name())];
            if durations.count() > 0 {
                family.histogram(&labels, &durations);
            }
        }
    }
}

/// What the log is doing.
fn write_log(out: &mut Exposition, scrape: &Scrape) {
    let log = scrape.broker.log();
    let stats = log.stats();
    let help = "Time of flushes";
    out.family(Kind::Histogram, "weir_flush_seconds", help).histogram(&[], &stats.flushes);
    let longest = stats.flush_micros_max as f64 / 1e6;
    out.single(Kind::Gauge, "weir_flush_seconds_max", "Longest flush", longest);
    let gauges = [
        ("weir_unflushed_bytes", "Bytes appended and not flushed", stats.unflushed_bytes),
        ("weir_waiters", "Waits open on watermarks", stats.waiters),
        ("weir_log_epoch", "Unclean starts so far", u64::from(log.epoch().number())),
    ];
    for (name, help, value) in gauges {
        out.single(Kind::Gauge, name, help, value);
    }
}

/// What every stream has taken, given and holds, whatever the dialect.
fn write_streams(out: &mut Exposition, scrape: &Scrape) {
    type Field = fn(&weir_core::metrics::stream::StreamMetrics) -> u64;
    let families: [(&str, &str, Field); 3] = [
        ("weir_stream_written_records", "Records written", |stream| stream.records_in.get()),
        ("weir_stream_written_bytes", "Bytes written", |stream| stream.bytes_in.get()),
        ("weir_stream_read_bytes", "Bytes read", |stream| stream.bytes_out.get()),
    ];
    for (name, help, field) in families {
        let mut family = out.family(Kind::Counter, name, help);
        for stream in &scrape.streams {
            family.sample(&[("stream", stream.name.as_str())], field(stream.metrics()));
        }
    }
    let mut held = Vec::with_capacity(scrape.streams.len());
    let (mut open, mut closed, mut failed) = (0_u64, 0_u64, 0_u64);
    for stream in &scrape.streams {
        let mut bytes = 0;
        for partition in stream.partitions().iter() {
            // One that is being deleted holds nothing any more.
            bytes += scrape.broker.log().size(partition.id).map_or(0, |size| size.bytes);
            match (is_offline(partition), partition.is_open()) {
                (true, _) => failed += 1,
                (false, true) => open += 1,
                (false, false) => closed += 1,
            }
        }
        held.push(bytes);
    }
    let mut family = out.family(Kind::Gauge, "weir_stream_bytes", "Bytes of batches held");
    for (stream, bytes) in scrape.streams.iter().zip(held) {
        family.sample(&[("stream", stream.name.as_str())], bytes);
    }
    let help = "Partitions: open, closed by a reshard, or failed with their storage";
    let mut family = out.family(Kind::Gauge, "weir_partitions", help);
    for (state, count) in [("open", open), ("closed", closed), ("failed", failed)] {
        family.sample(&[("state", state)], count);
    }
}

/// How far consumer groups are.
fn write_groups(out: &mut Exposition, scrape: &Scrape) {
    let help = "Records that a consumer group has not committed yet";
    let mut family = out.family(Kind::Gauge, "weir_group_lag", help);
    for group in &scrape.groups {
        for (stream, offsets) in group.by_topic() {
            let lag: u64 = offsets.iter().map(|offset| offset.lag).sum();
            family.sample(&[("group", &group.id), ("stream", stream)], lag);
        }
    }
    let help = "Members of a consumer group";
    let mut family = out.family(Kind::Gauge, "weir_group_members", help);
    for group in &scrape.groups {
        family.sample(&[("group", &group.id)], group.members);
    }
}
