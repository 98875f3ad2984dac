//! The result of a run: for people, or as one JSON object.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::tally::Tally;
use super::{Acks, Bench, CodecName, Encoding, Endpoint};
use crate::process::{Pid, Usage};

/// What a run measured. MB and GB are 10⁶ and 10⁹ bytes; of a Kafka consumer they count whole
/// batches, otherwise the values of records alone.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What ran: `produce` or `consume`.
    pub bench: &'static str,
    /// `kafka` or `kinesis`.
    pub dialect: &'static str,
    /// The broker's address.
    pub endpoint: String,
    /// Topic or stream.
    pub topic: String,
    /// The options that matter for the figures.
    pub options: String,
    /// The broker's flush policy, if it could be known.
    pub flush: Option<String>,
    /// Records that were to be written or read, if a number was asked for.
    pub records_expected: Option<u64>,
    /// Records acknowledged or read.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From the first request to the last answer, in seconds.
    pub seconds: f64,
    /// Records per second.
    pub records_per_second: f64,
    /// MB per second.
    pub mb_per_second: f64,
    /// Requests answered.
    pub requests: u64,
    /// Records (or reads) that a quota refused and that were sent again.
    pub throttled: u64,
    /// Errors that the broker answered with.
    pub errors: std::collections::BTreeMap<String, u64>,
    /// Time from request to answer.
    pub latency_ms: Latency,
    /// What the broker spent, if it runs on this machine.
    pub broker: Option<Broker>,
}

/// Percentiles of the requests' latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What the broker's process spent during the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Broker {
    /// The process.
    pub pid: Pid,
    /// CPU time in user mode, in seconds.
    pub cpu_user_seconds: f64,
    /// CPU time in the kernel, in seconds.
    pub cpu_system_seconds: f64,
    /// Both, for each GB.
    pub cpu_seconds_per_gb: f64,
    /// RssAnon before the run, in bytes.
    pub rss_anon_bytes_before: u64,
    /// RssAnon after it, in bytes.
    pub rss_anon_bytes_after: u64,
    /// RSS after it, mapped files included, in bytes.
    pub rss_bytes_after: u64,
}

impl Report {
    pub(super) fn new(
        bench: &Bench,
        endpoint: &Endpoint,
        records_expected: Option<u64>,
        tally: Tally,
        flush: Option<String>,
        broker: Option<(Pid, (Usage, Usage))>,
    ) -> Report {
        let seconds = tally.elapsed().as_secs_f64();
        let (dialect, address) = match endpoint {
            Endpoint::Kafka(address) => ("kafka", address.clone()),
            Endpoint::Kinesis(url) => ("kinesis", url.to_string()),
        };
        let millis = |quantile: f64| {
            Duration::from_micros(tally.latency_micros.value_at_quantile(quantile)).as_secs_f64()
                * 1e3
        };
        Report {
            bench: match bench {
                Bench::Produce(_) => "produce",
                Bench::Consume(_) => "consume",
            },
            dialect,
            endpoint: address,
            topic: bench.target().topic.clone(),
            options: options_text(bench, endpoint),
            flush,
            records_expected,
            records: tally.records,
            bytes: tally.value_bytes,
            seconds,
            records_per_second: per(tally.records as f64, seconds),
            mb_per_second: per(tally.value_bytes as f64 / 1e6, seconds),
            requests: tally.requests,
            throttled: tally.throttled,
            latency_ms: Latency {
                p50: millis(0.5),
                p90: millis(0.9),
                p99: millis(0.99),
                p999: millis(0.999),
                max: millis(1.0),
            },
            errors: tally.errors,
            broker: broker
                .map(|(pid, (before, after))| Broker::new(pid, &before, &after, tally.value_bytes)),
        }
    }

    /// Whether all records that were to be written or read were, without an error.
    pub fn is_success(&self) -> bool {
        self.errors.is_empty() && self.records_expected.is_none_or(|wanted| self.records >= wanted)
    }

    /// The report as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain fields with text keys always serialise")
    }
}

impl Broker {
    fn new(pid: Pid, before: &Usage, after: &Usage, bytes: u64) -> Broker {
        let user = after.user.saturating_sub(before.user).as_secs_f64();
        let system = after.system.saturating_sub(before.system).as_secs_f64();
        Broker {
            pid,
            cpu_user_seconds: user,
            cpu_system_seconds: system,
            cpu_seconds_per_gb: per(user + system, bytes as f64 / 1e9),
            rss_anon_bytes_before: before.anonymous_bytes,
            rss_anon_bytes_after: after.anonymous_bytes,
            rss_bytes_after: after.resident_bytes,
        }
    }
}

/// A quotient, or 0 where there is nothing to divide by.
fn per(amount: f64, unit: f64) -> f64 {
    if unit > 0.0 { amount / unit } else { 0.0 }
}

fn options_text(bench: &Bench, endpoint: &Endpoint) -> String {
    let connections = format!("{} connections", bench.target().connections);
    let encoding = match bench.target().encoding {
        Encoding::Json => "json",
        Encoding::Cbor => "cbor",
    };
    match (bench, endpoint) {
        (Bench::Produce(options), Endpoint::Kafka(_)) => format!(
            "{connections}, {} in flight, {} records of {} bytes a batch, acks {}, codec {}{}",
            options.in_flight,
            options.batch.map_or_else(|| "64".to_owned(), |records| records.to_string()),
            options.size,
            match options.acks {
                Acks::All => "all",
                Acks::Leader => "1",
            },
            match options.codec {
                CodecName::None => "none",
                CodecName::Gzip => "gzip",
                CodecName::Snappy => "snappy",
                CodecName::Lz4 => "lz4",
                CodecName::Zstd => "zstd",
            },
            if options.idempotent { ", idempotent" } else { "" },
        ),
        (Bench::Produce(options), Endpoint::Kinesis(_)) => format!(
            "{connections}, {} records of {} bytes a request, {encoding}",
            options.batch.map_or_else(|| "100".to_owned(), |records| records.to_string()),
            options.size,
        ),
        (Bench::Consume(options), Endpoint::Kafka(_)) => format!(
            "{connections}, {} bytes a partition and fetch{}",
            options.partition_bytes,
            if options.verify { ", CRCs checked" } else { "" },
        ),
        (Bench::Consume(options), Endpoint::Kinesis(_)) => {
            format!("{connections}, up to {} records a call, {encoding}", options.limit)
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { bench, dialect, endpoint, topic, options, .. } = self;
        writeln!(out, "{bench}  {dialect} {endpoint}, {topic}")?;
        writeln!(out, "         {options}")?;
        let flush = self.flush.as_deref().unwrap_or("unknown");
        writeln!(out, "         flush policy: {flush}")?;
        writeln!(out)?;
        let expected = match self.records_expected {
            Some(wanted) if wanted != self.records => format!(" of {wanted}"),
            _ => String::new(),
        };
        writeln!(
            out,
            "records  {}{expected} in {:.2} s, {} requests",
            self.records, self.seconds, self.requests
        )?;
        writeln!(
            out,
            "rate     {:.1} MB/s, {:.0} records/s",
            self.mb_per_second, self.records_per_second
        )?;
        let Latency { p50, p90, p99, p999, max } = self.latency_ms;
        writeln!(
            out,
            "latency  p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms"
        )?;
        match &self.broker {
            Some(broker) => write!(out, "{broker}")?,
            None => writeln!(out, "broker   not on this machine, or not visible: see --pid")?,
        }
        if self.throttled > 0 {
            writeln!(out, "quota    {} refused and sent again", self.throttled)?;
        }
        for (error, count) in &self.errors {
            writeln!(out, "error    {count} × {error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            out,
            "broker   {:.2} CPU s/GB ({:.2} s user, {:.2} s system), process {}",
            self.cpu_seconds_per_gb, self.cpu_user_seconds, self.cpu_system_seconds, self.pid
        )?;
        writeln!(
            out,
            "memory   RssAnon {:.1} MB before, {:.1} MB after; RSS {:.1} MB after",
            mb(self.rss_anon_bytes_before),
            mb(self.rss_anon_bytes_after),
            mb(self.rss_bytes_after)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use weir_model::time::Moment;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        bench: Bench,
    }

    fn report(arguments: &[&str], records: u64, errors: u64) -> Report {
        let bench = Cli::try_parse_from(arguments).expect("legal arguments").bench;
        let mut tally = Tally::new();
        let at = |millis| Moment::from_start(Duration::from_millis(millis));
        tally.answered(at(0), at(2_000));
        tally.records = records;
        tally.value_bytes = records * 1_000;
        for _ in 0..errors {
            tally.failed("KAFKA_STORAGE_ERROR".to_owned(), 1);
        }
        let usage = |user_ms, anonymous_bytes| Usage {
            user: Duration::from_millis(user_ms),
            system: Duration::ZERO,
            anonymous_bytes,
            resident_bytes: anonymous_bytes,
            threads: 3,
        };
        let broker = Some((Pid::new(7), (usage(100, 1_000_000), usage(1_100, 2_000_000))));
        let endpoint = bench.target().endpoint();
        Report::new(&bench, &endpoint, Some(1_000_000), tally, Some("group".to_owned()), broker)
    }

    #[test]
    fn rates_are_those_of_the_acknowledged_records() {
        let report = report(&["bench", "produce"], 1_000_000, 0);
        assert!(report.is_success());
        assert!((report.mb_per_second - 500.0).abs() < 1e-6);
        assert!((report.records_per_second - 500_000.0).abs() < 1e-6);
        let text = report.to_string();
        assert!(text.contains("1.00 CPU s/GB (1.00 s user"), "{text}");
        assert!(text.contains("RssAnon 1.0 MB before, 2.0 MB after"), "{text}");
        assert!(text.contains("flush policy: group"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(json["broker"]["cpu_seconds_per_gb"], 1.0);
        // The histogram keeps three digits.
        let p50 = json["latency_ms"]["p50"].as_f64().expect("a number");
        assert!((p50 / 2_000.0 - 1.0).abs() < 0.001, "{p50}");
    }

    #[test]
    fn missing_records_and_errors_fail_a_run() {
        let short = report(&["bench", "consume"], 999_999, 0);
        assert!(!short.is_success());
        assert!(short.to_string().contains("999999 of 1000000"));
        let refused = report(&["bench", "produce"], 1_000_000, 2);
        assert!(!refused.is_success());
        assert!(refused.to_string().contains("2 × KAFKA_STORAGE_ERROR"));
    }
}
