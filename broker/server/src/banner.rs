//! What the broker prints when it is ready: a few lines for people, or one JSON line for programs.
//!
//! The JSON line is a contract: programs that start weir on port 0 wait for it on standard output
//! and read the addresses that were really bound. Fields are added to it, never changed.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use weir_client::command::colours::Colours;

/// The broker as it stands when it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// Always `ready`: tells the line from log lines.
    pub event: &'static str,
    /// weir's version.
    pub version: &'static str,
    /// This process.
    pub pid: u32,
    /// From the start of the process to now, in milliseconds.
    pub startup_ms: u64,
    /// The default flush policy.
    pub flush: &'static str,
    /// Where the data lies.
    pub data_dir: PathBuf,
    /// Whether the data goes when the broker does.
    pub ephemeral: bool,
    /// Kafka addresses, all that were bound.
    pub kafka: Vec<SocketAddr>,
    /// Kinesis addresses.
    pub kinesis: Vec<SocketAddr>,
    /// Addresses of the native API.
    pub grpc: Vec<SocketAddr>,
    /// Addresses of health and metrics.
    pub http: Vec<SocketAddr>,
    /// Kinesis addresses with TLS.
    pub kinesis_tls: Vec<SocketAddr>,
    /// The file that clients of those are to trust; none with certificates of the user's own.
    pub tls_authority: Option<PathBuf>,
}

impl Ready {
    /// The line for programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain fields always serialise")
    }

    /// The lines for people.
    pub fn to_text(&self, colours: Colours) -> String {
        let mut out = String::new();
        let (name, faint, end) = (colours.name(), colours.faint(), colours.end());
        let mut line = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text).expect("a string takes whatever is written");
            out.push('\n');
        };
        line(format_args!(""));
        line(format_args!(
            "  {name}weir{end} {}  {faint}ready in {} ms, process {}{end}",
            self.version, self.startup_ms, self.pid
        ));
        line(format_args!(""));
        let trust = match &self.tls_authority {
            Some(file) => format!("the same, for who trusts {}", file.display()),
            None => "the same, with your certificate".to_owned(),
        };
        for (label, addresses, prefix, what) in [
            ("Kafka", &self.kafka, "", "bootstrap.servers of any Kafka client"),
            (
                "Kinesis",
                &self.kinesis,
                "http://",
                "endpoint of any AWS SDK: AWS_ENDPOINT_URL_KINESIS",
            ),
            ("TLS", &self.kinesis_tls, "https://", &trust),
            ("gRPC", &self.grpc, "http://", "weir.v1, the native API"),
            ("HTTP", &self.http, "http://", "/metrics  /livez  /readyz"),
        ] {
            let place = match address_to_show(addresses) {
                Some(address) => format!("{prefix}{address}"),
                None => "off".to_owned(),
            };
            let what = if addresses.is_empty() { "" } else { what };
            line(format_args!("  {label:<9}{place:<24}{faint}{what}{end}"));
        }
        let data = match self.ephemeral {
            true => format!("{}, gone at exit", self.data_dir.display()),
            false => self.data_dir.display().to_string(),
        };
        line(format_args!("  {:<9}{data}", "Data"));
        let meaning = flush_meaning(self.flush);
        line(format_args!("  {:<9}{:<24}{faint}{meaning}{end}", "Flush", self.flush));
        line(format_args!(""));
        for (number, command) in self.hints().iter().enumerate() {
            let label = if number == 0 { "try" } else { "" };
            line(format_args!("  {faint}{label:<9}{end}{command}"));
        }
        line(format_args!("  {faint}{:<9}Ctrl-C{end}", "stop"));
        line(format_args!(""));
        out
    }

    /// What to type next, in another terminal, for the dialects that are on: the first lines write
    /// a record, the others find it.
    fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        if let Some(address) = address_to_show(&self.grpc) {
            let at = match address == LOCAL_GRPC {
                true => String::new(),
                false => format!(" --grpc http://{address}"),
            };
            hints.push(format!("weir topic create greetings{at}"));
            hints.push(format!("echo hello | weir produce greetings{at}"));
            hints.push(format!("weir consume greetings --exit{at}"));
        }
        if let Some(address) = address_to_show(&self.kafka) {
            hints.push(format!("kcat -C -b {address} -t greetings -e"));
        }
        if let Some(address) = address_to_show(&self.kinesis) {
            hints.push(format!("aws kinesis list-streams --endpoint-url http://{address}"));
        }
        hints
    }
}

/// Where client commands look unless they are told otherwise.
const LOCAL_GRPC: &str = "localhost:50051";

/// The line that tells what a flush costs here, printed once it was measured.
pub fn flush_text(flush: Duration, colours: Colours) -> String {
    let (faint, end) = (colours.faint(), colours.end());
    let millis = flush.as_secs_f64() * 1e3;
    format!("  {faint}a flush of 4 KiB to this disk takes {millis:.2} ms{end}\n")
}

fn flush_meaning(policy: &str) -> &'static str {
    match policy {
        "group" => "an acknowledged record is on disk",
        "interval" => "an acknowledged record is on disk within 50 ms",
        _ => "an acknowledged record survives this process, not a power cut",
    }
}

/// The shortest way to write where we listen: `localhost` where that leads there.
fn address_to_show(addresses: &[SocketAddr]) -> Option<String> {
    let first = addresses.first()?;
    let leads_from_localhost = first.ip().is_loopback() || first.ip().is_unspecified();
    match leads_from_localhost {
        true => Some(format!("localhost:{}", first.port())),
        false => Some(first.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Ready {
        let address = |text: &str| text.parse().expect("an address");
        Ready {
            event: "ready",
            version: "1.2.3",
            pid: 42,
            startup_ms: 7,
            flush: "group",
            data_dir: "./weir-data".into(),
            ephemeral: false,
            kafka: vec![address("127.0.0.1:9092"), address("[::1]:9092")],
            kinesis: Vec::new(),
            grpc: vec![address("127.0.0.1:50051")],
            http: vec![address("192.0.2.1:8080")],
            kinesis_tls: vec![address("127.0.0.1:4567")],
            tls_authority: Some("./weir-data/tls/ca.pem".into()),
        }
    }

    #[test]
    fn the_ready_line_keeps_its_form() {
        assert_eq!(
            ready().to_json(),
            r#"{"event":"ready","version":"1.2.3","pid":42,"startup_ms":7,"flush":"group","#
                .to_owned()
                + r#""data_dir":"./weir-data","ephemeral":false,"#
                + r#""kafka":["127.0.0.1:9092","[::1]:9092"],"kinesis":[],"#
                + r#""grpc":["127.0.0.1:50051"],"http":["192.0.2.1:8080"],"#
                + r#""kinesis_tls":["127.0.0.1:4567"],"#
                + r#""tls_authority":"./weir-data/tls/ca.pem"}"#
        );
    }

    #[test]
    fn the_banner_shows_addresses_that_can_be_copied() {
        let text = ready().to_text(Colours::Off);
        for part in [
            "weir 1.2.3  ready in 7 ms, process 42",
            "Kafka    localhost:9092 ",
            "Kinesis  off",
            "TLS      https://localhost:4567  the same, for who trusts ./weir-data/tls/ca.pem",
            "gRPC     http://localhost:50051 ",
            "HTTP     http://192.0.2.1:8080 ",
            "try      weir topic create greetings\n",
            "echo hello | weir produce greetings\n",
            "kcat -C -b localhost:9092 -t greetings -e",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let elsewhere = Ready { grpc: vec!["127.0.0.1:7".parse().expect("it is one")], ..ready() };
        let text_elsewhere = elsewhere.to_text(Colours::Off);
        assert!(text_elsewhere.contains("produce greetings --grpc http://localhost:7\n"));
        assert!(!text.contains("aws kinesis"), "no hint for a dialect that is off");
        assert!(!text.contains('\u{1b}'), "no colours asked for");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }
}
