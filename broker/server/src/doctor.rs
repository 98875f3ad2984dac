//! `weir doctor`: what a start with these flags would meet on this machine.
//!
//! ```text
//!   port         is it free, and if not, who has it
//!   advertised   can clients here reach what a running broker tells them
//!   directory    may the data lie there, and is there room
//!   flush        how long does the disk take to keep a write
//!   limits       how many files and maps may be open
//!   clock        does it show a date, and does it run evenly
//! ```
//!
//! Nothing is changed: what is written to try something is gone when this returns.

mod machine;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_client::bench::advertised_addresses;
use weir_client::command::colours::Colours;
use weir_model::time::Clock;

use crate::config::Config;
use crate::listen::{self, ListenAddress};

/// How long an advertised address may take to answer.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It will do, and could bite.
    Warning,
    /// It keeps weir from serving, or from serving well.
    Problem,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// What is so.
    fact: String,
    /// What to do about it, where something should be done.
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, fact: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, fact: fact.into(), advice: None }
    }

    fn warning(check: &'static str, fact: impl Into<String>, advice: &str) -> Finding {
        let advice = Some(advice.to_owned());
        Finding { check, verdict: Verdict::Warning, fact: fact.into(), advice }
    }

    fn problem(check: &'static str, fact: impl Into<String>, advice: &str) -> Finding {
        Finding { verdict: Verdict::Problem, ..Finding::warning(check, fact, advice) }
    }

    /// Whether it keeps weir from serving.
    pub fn is_problem(&self) -> bool {
        self.verdict == Verdict::Problem
    }

    /// One line, and another for the advice.
    pub fn to_text(&self, colours: Colours) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => colours.good(),
            Verdict::Warning => colours.doubtful(),
            Verdict::Problem => colours.bad(),
        };
        let (name, end) = (self.verdict.name(), colours.end());
        let mut text = format!("{verdict}{name:<8}{end} {:<11} {}\n", self.check, self.fact);
        if let Some(advice) = &self.advice {
            text += &format!("{:<20} {advice}\n", "");
        }
        text
    }

    /// One object.
    pub fn to_json(&self) -> Value {
        json!({
            "check": self.check,
            "verdict": self.verdict.name(),
            "fact": self.fact,
            "advice": self.advice,
        })
    }
}

/// Makes all checks, in the order in which they are told.
pub async fn examine(config: &Config, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (address, flag) in [
        (&config.kafka, "--kafka"),
        (&config.kinesis, "--kinesis"),
        (&config.kinesis_tls, "--kinesis-tls"),
        (&config.grpc, "--grpc"),
        (&config.http, "--http"),
    ] {
        findings.extend(port(address, flag).await);
    }
    findings.extend(advertised(config, clock).await);
    findings.extend(machine::examine(&config.data, &**clock));
    findings
}

/// Whether somebody may listen there; nothing where nobody is to.
async fn port(address: &ListenAddress, flag: &'static str) -> Option<Finding> {
    const CHECK: &str = "port";
    if *address == ListenAddress::Off {
        return None;
    }
    Some(match listen::bind(address, flag).await {
        Ok(listeners) => {
            let bound = listeners.first().and_then(|listener| listener.local_addr().ok());
            let bound = bound.map(|bound| bound.to_string()).unwrap_or_default();
            Finding::ok(CHECK, format!("{bound} ({flag}) is free"))
        }
        Err(taken) => match taken.holder() {
            Some(holder) if holder.program == "weir" => {
                let port = address.port().unwrap_or_default();
                Finding::ok(CHECK, format!("{holder} listens on port {port} ({flag})"))
            }
            _ => Finding::problem(
                CHECK,
                taken.to_string(),
                "clients that know the address would talk to somebody else",
            ),
        },
    })
}

/// Whether what a running broker tells Kafka's clients can be reached from here; nothing where none
/// runs.
async fn advertised(config: &Config, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    const CHECK: &str = "advertised";
    let Some(address) = reachable(&config.kafka) else { return Vec::new() };
    if TcpStream::connect(&address).await.is_err() {
        return Vec::new();
    }
    let told = match advertised_addresses(&address, clock).await {
        Ok(told) => told,
        Err(why) => {
            let fact = format!("{address} does not answer as Kafka does: {why}");
            return vec![Finding::problem(CHECK, fact, "another program has the port")];
        }
    };
    let mut findings = Vec::new();
    for (host, port) in told {
        let shown = HostPort { host: &host, port };
        let connected = timeout(CONNECT_WAIT_MAX, TcpStream::connect((host.as_str(), port))).await;
        findings.push(match connected {
            Ok(Ok(_)) => {
                Finding::ok(CHECK, format!("clients here are told {shown}, which answers"))
            }
            Ok(Err(error)) => unreachable_address(&shown, &error),
            Err(_) => unreachable_address(&shown, &format_args!("no answer")),
        });
    }
    findings
}

fn unreachable_address(address: &HostPort<'_>, why: &dyn fmt::Display) -> Finding {
    let fact = format!("clients here are told {address}, which cannot be reached: {why}");
    let advice = "--kafka-advertised says what clients are told; it may differ by network";
    Finding::problem("advertised", fact, advice)
}

struct HostPort<'a> {
    host: &'a str,
    port: u16,
}

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(out, "[{}]:{}", self.host, self.port),
            false => write!(out, "{}:{}", self.host, self.port),
        }
    }
}

/// Where a listener can be reached from here.
fn reachable(address: &ListenAddress) -> Option<String> {
    match address {
        ListenAddress::Off => None,
        ListenAddress::Localhost { port } => Some(format!("127.0.0.1:{port}")),
        ListenAddress::Address(address) if address.ip().is_unspecified() => {
            Some(format!("127.0.0.1:{}", address.port()))
        }
        ListenAddress::Address(address) => Some(address.to_string()),
        ListenAddress::Name { host, port } => Some(format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use weir_model::time::SystemClock;

    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_advice_another() {
        let finding = Finding::problem("flush", "it takes for ever", "another disk");
        let text = "problem  flush       it takes for ever\n                     another disk\n";
        assert_eq!(finding.to_text(Colours::Off), text);
        let object = json!({
            "check": "flush", "verdict": "problem", "fact": "it takes for ever",
            "advice": "another disk",
        });
        assert_eq!(finding.to_json(), object);
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_has_is_a_problem() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = ListenAddress::Address(taken.local_addr().expect("it has one"));
        assert!(port(&address, "--kafka").await.is_some_and(|finding| finding.is_problem()));
        assert_eq!(port(&ListenAddress::Off, "--kafka").await, None);
        drop(taken);
        let free = port(&address, "--kafka").await.expect("it listens somewhere");
        assert_eq!(free.verdict, Verdict::Ok);
    }

    #[tokio::test]
    async fn who_answers_but_not_as_kafka_does_is_told_of() {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = other.local_addr().expect("it has one");
        tokio::spawn(async move {
            // Takes connections and closes them.
            while other.accept().await.is_ok() {}
        });
        let config = Config { kafka: ListenAddress::Address(address), ..Config::ephemeral() };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let findings = advertised(&config, &clock).await;
        assert!(findings.iter().all(Finding::is_problem) && findings.len() == 1, "{findings:?}");
    }
}
