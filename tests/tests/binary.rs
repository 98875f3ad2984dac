//! The `weir` binary as its users start, ask and stop it: exit codes, sentences, the ready line.
//!
//! Runs the binary that `WEIR_BINARY` names, or builds the one of this repository. Every broker
//! listens on free ports of loopback and has a directory of its own.

#![allow(clippy::indexing_slicing, reason = "a missing field fails the test, as it should")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use weir_model::time::{Clock, SystemClock};

/// The contract: a stop takes less than this.
const STOP_WAIT_MAX: Duration = Duration::from_secs(5);

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("WEIR_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// Builds the binary as this test was built, which costs nothing when it is up to date.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "weir", "--message-format", "json"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "weir does not build");
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_weir = message["target"]["name"] == "weir";
        let path = message["executable"].as_str()?;
        is_weir.then(|| PathBuf::from(path))
    };
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    messages.lines().find_map(executable).expect("cargo names the executable that it built")
}

/// `weir` with none of this process's settings.
fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEIR_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end. Of its log, only what went wrong is of interest.
fn run(arguments: &[&str]) -> Output {
    weir(arguments).env("WEIR_LOG", "warn").output().expect("the binary runs")
}

/// What a command that failed said: one line on standard error.
fn sentence(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "one sentence: {text}");
    text
}

/// A broker that is killed when the test ends, however it ends.
struct Broker {
    child: Child,
    ready: Value,
}

impl Broker {
    fn start(directory: &Path, more: &[&str]) -> Broker {
        let directory = directory.to_str().expect("UTF-8");
        Broker::start_with(&[&["--data-dir", directory], more].concat())
    }

    fn start_with(flags: &[&str]) -> Broker {
        let ports = ["--kafka", "--kinesis", "--kinesis-tls", "--grpc", "--http"];
        let ports: Vec<&str> = ports.into_iter().flat_map(|flag| [flag, "localhost:0"]).collect();
        let json = ["serve", "--log-format", "json"];
        Broker::spawn(weir(&[json.as_slice(), &ports, flags].concat()))
    }

    fn spawn(mut command: Command) -> Broker {
        let mut child = command.stderr(Stdio::null()).spawn().expect("the binary runs");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it writes UTF-8");
        let ready = serde_json::from_str(&line).expect("the first line is JSON");
        Broker { child, ready }
    }

    fn address(&self, dialect: &str) -> SocketAddr {
        let address = self.ready[dialect][0].as_str().expect("an address was bound");
        address.parse().expect("an address")
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address("http")).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers in UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).expect("a status");
        (status.parse().expect("a number"), body.to_owned())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits for the end and returns the exit code.
    fn end(&mut self) -> Option<i32> {
        let clock = SystemClock::new();
        while clock.moment().since_start() < STOP_WAIT_MAX {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("weir runs on {STOP_WAIT_MAX:?} after it was told to stop");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn a_broker_says_where_it_listens_and_stops_when_asked() {
    let directory = directory();
    let mut broker = Broker::start(directory.path(), &["--topic", "orders:3"]);
    assert_eq!(broker.ready["event"], "ready");
    assert_eq!(broker.ready["pid"], broker.child.id());
    assert_eq!(broker.ready["flush"], "group");
    for dialect in ["kafka", "kinesis", "http"] {
        TcpStream::connect(broker.address(dialect)).expect("every address is served");
    }
    assert_eq!(broker.get("/livez").0, 200);
    assert_eq!(broker.get("/missing").0, 404);
    let (status, body) = broker.get("/readyz");
    let readiness: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &readiness["ready"]), (200, &Value::Bool(true)));
    assert_eq!(readiness["listeners"]["kafka"], broker.ready["kafka"]);
    check_metrics(&broker.get("/metrics").1);
    broker.signal(Signal::TERM);
    assert_eq!(broker.end(), Some(0));
}

/// Every line is a comment or `name{labels} value`, and each name was announced with its type and
/// has one of the endings of that.
fn check_metrics(text: &str) {
    let mut announced = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').expect("a name and a type");
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                "info" => &["_info"],
                other => panic!("there is no type {other}"),
            };
            announced.extend(endings.iter().map(|ending| format!("{family}{ending}")));
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number");
            let name = series.split('{').next().expect("a name");
            assert!(announced.iter().any(|known| known == name), "{line} has no type");
        }
    }
    assert!(text.contains("kafka_topic_partitions{topic=\"orders\"} 3"), "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn a_second_signal_ends_the_wait_for_slow_clients() {
    let directory = directory();
    for (signals, code) in [(1, Some(0)), (2, Some(128 + 15))] {
        let mut broker = Broker::start(directory.path(), &[]);
        // Half a request: the broker waits a while for the rest before it stops.
        let mut slow = TcpStream::connect(broker.address("kinesis")).expect("it listens");
        write!(slow, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{")
            .expect("it reads");
        std::thread::sleep(Duration::from_millis(200));
        for _ in 0..signals {
            broker.signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(broker.end(), code, "{signals} signals");
    }
}

#[test]
fn streams_made_at_start_are_made_once() {
    let directory = directory();
    let flags = ["--topic", "orders:3", "--stream", "clicks:2"];
    for _ in 0..2 {
        let mut broker = Broker::start(directory.path(), &flags);
        let metrics = broker.get("/metrics").1;
        assert!(metrics.contains("kafka_topic_partitions{topic=\"orders\"} 3"), "{metrics}");
        assert!(metrics.contains("kafka_topic_partitions{topic=\"clicks\"} 2"), "{metrics}");
        broker.signal(Signal::INT);
        assert_eq!(broker.end(), Some(0));
    }
}

#[test]
fn a_second_process_on_a_directory_is_refused() {
    let directory = directory();
    let first = Broker::start(directory.path(), &[]);
    let path = directory.path().to_str().expect("UTF-8");
    let refused = run(&[
        "--data-dir",
        path,
        "--kafka",
        "off",
        "--kinesis",
        "off",
        "--http",
        "off",
        "--log-format",
        "text",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    let sentence = sentence(&refused);
    assert!(sentence.contains(path), "{sentence}");
    assert!(sentence.contains(&format!("process {}", first.child.id())), "{sentence}");
    assert_eq!(first.get("/readyz").0, 200, "the first one goes on");
}

#[test]
fn a_taken_port_is_refused_with_its_holder() {
    let directory = directory();
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("it is bound").to_string();
    let path = directory.path().to_str().expect("UTF-8");
    for flag in ["--kafka", "--kinesis", "--kinesis-tls", "--grpc", "--http"] {
        let mut arguments = vec!["--data-dir", path, "--log-format", "text"];
        for other in ["--kafka", "--kinesis", "--kinesis-tls", "--grpc", "--http"] {
            arguments.extend([other, if other == flag { address.as_str() } else { "off" }]);
        }
        let refused = run(&arguments);
        assert_eq!(refused.status.code(), Some(1));
        let sentence = sentence(&refused);
        assert!(sentence.contains(&address) && sentence.contains(flag), "{sentence}");
        if cfg!(target_os = "linux") {
            let own = format!("process {}", std::process::id());
            assert!(sentence.contains(&own), "{sentence}");
        }
    }
}

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let directory = directory();
    let limited = "ulimit -S -n 64; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited]).arg(binary()).args(["serve", "--log-format", "json"]);
    command.args([
        "--kafka",
        "localhost:0",
        "--kinesis",
        "off",
        "--grpc",
        "off",
        "--http",
        "localhost:0",
    ]);
    command.arg("--data-dir").arg(directory.path()).stdout(Stdio::piped());
    let broker = Broker::spawn(command);
    let connect = |_| TcpStream::connect(broker.address("kafka")).expect("it listens");
    let clients: Vec<TcpStream> = (0..100).map(connect).collect();
    assert_eq!(broker.get("/readyz").0, 200, "with {} clients", clients.len());
}

#[test]
fn settings_that_are_not_known_are_refused() {
    let directory = directory();
    let file = directory.path().join("weir.toml");
    std::fs::write(&file, "kafka = \"off\"\nkafak = \"off\"\n").expect("writable");
    let refused = run(&["--config", file.to_str().expect("UTF-8")]);
    assert_eq!(refused.status.code(), Some(2));
    let sentence = sentence(&refused);
    assert!(sentence.contains("weir.toml, line 2: unknown field `kafak`"), "{sentence}");
    assert_eq!(run(&["--kafak", "off"]).status.code(), Some(2));
    assert_eq!(run(&["--flush", "never"]).status.code(), Some(2));
}

#[test]
fn temporary_data_is_gone_at_exit() {
    let mut broker = Broker::start_with(&["--ephemeral"]);
    let data = PathBuf::from(broker.ready["data_dir"].as_str().expect("a path"));
    assert!(data.is_dir());
    assert_eq!(broker.ready["flush"], "os");
    broker.signal(Signal::TERM);
    assert_eq!(broker.end(), Some(0));
    assert!(!data.exists());
}

#[test]
fn health_waits_for_a_broker() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = format!("http://{}", closed.local_addr().expect("it is bound"));
    drop(closed);
    let sick = run(&["health", "--wait", "50ms", "--http", &nobody]);
    assert_eq!(sick.status.code(), Some(1));
    assert!(sentence(&sick).contains("not ready"));
    let directory = directory();
    let broker = Broker::start(directory.path(), &[]);
    let url = format!("http://{}", broker.address("http"));
    let healthy = run(&["health", "--wait", "5s", "--http", &url]);
    assert_eq!(healthy.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&healthy.stdout).expect("JSON");
    assert_eq!(answer["ready"], true);
}
