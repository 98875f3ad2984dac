//! `weir fault` and `weir clock`: what a test asks of a broker over `/api/v1/…`.
//!
//! A rule names requests and what happens to them. The broker judges rules; here they are only
//! written down, so that what a later broker knows needs no later command.

use clap::{Args, Subcommand, ValueEnum};
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};
use serde_json::{Map, Value, json};

use crate::command::UNREACHABLE;
use crate::command::complete;
use crate::command::format::rfc3339;
use crate::command::output::{Failure, Output, Printer, table};
use crate::http::{Connection, Url};

/// What a rule says is done, beside the names of requests.
const EFFECTS: [&str; 5] = ["error", "message", "latency_ms", "throttle_ms", "disconnect"];
/// What the broker counts of a rule.
const COUNTS: [&str; 2] = ["named", "struck"];

/// Where the broker is asked.
#[derive(Clone, Debug, Args)]
pub(crate) struct Control {
    /// Where the broker answers `/api/v1/`
    #[arg(
        long,
        value_name = "URL",
        env = "WEIR_HTTP_URL",
        default_value = "http://localhost:8080"
    )]
    http: Url,

    /// How results are printed; one JSON object for each, errors included, in json and jsonl
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

/// What to do with the rules.
#[derive(Clone, Debug, Subcommand)]
pub enum FaultCommand {
    /// Show the rules, and what each has done
    #[command(visible_alias = "ls")]
    List(ListOptions),
    /// Add a rule behind the others; all of them begin to count anew
    #[command(after_help = ADD_EXAMPLES)]
    Add(Box<AddOptions>),
    /// Remove rules by their numbers; the others begin to count anew
    #[command(visible_alias = "rm")]
    Remove(RemoveOptions),
    /// Remove all rules
    Clear(ListOptions),
}

const ADD_EXAMPLES: &str = "Examples:
  weir fault add --dialect kinesis --operation PutRecords --shard 2 --after 2 --times 1 \\
      --error ProvisionedThroughputExceededException
  weir fault add --dialect kafka --operation Produce --disconnect after --rate 0.1 --seed 7
  weir fault add --latency 250

Of the requests that a rule names it lets --after pass, and strikes --times of those that follow,
or a share (--rate) that --seed fixes. The first rule that strikes is the only one.";

/// Options of `list` and `clear`.
#[derive(Clone, Debug, Args)]
pub struct ListOptions {
    #[command(flatten)]
    control: Control,
}

/// Options of `remove`.
#[derive(Clone, Debug, Args)]
pub struct RemoveOptions {
    #[command(flatten)]
    control: Control,

    /// Which ones, as list counts them, from 1
    #[arg(required = true)]
    numbers: Vec<usize>,
}

/// Options of `add`.
#[derive(Clone, Debug, Args)]
pub struct AddOptions {
    #[command(flatten)]
    control: Control,

    /// Whose requests [default: everybody's]
    #[arg(long, value_enum)]
    dialect: Option<Dialect>,

    /// The operation or API, such as PutRecords or Produce [default: all]
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,

    /// The topic or stream [default: all]
    #[arg(long, value_name = "NAME", add = complete::streams())]
    stream: Option<String>,

    /// The shard or partition [default: requests as a whole]
    #[arg(long, visible_alias = "partition", value_name = "INDEX")]
    shard: Option<u32>,

    /// How many such requests pass first
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    after: u64,

    /// How many are struck then [default: all]
    #[arg(long, value_name = "COUNT")]
    times: Option<u64>,

    /// The share of those that is struck, from 0 to 1 [default: all]
    #[arg(long, value_name = "SHARE")]
    rate: Option<f64>,

    /// Fixes which ones the share is made of
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,

    /// The error that is answered, by the dialect's own name
    #[arg(long, value_name = "NAME")]
    error: Option<String>,

    /// The error's text, where the dialect has one
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// A delay before anything else, in milliseconds
    #[arg(long, value_name = "MS")]
    latency: Option<u64>,

    /// The pause that a Kafka client is told, in milliseconds
    #[arg(long, value_name = "MS")]
    throttle: Option<u64>,

    /// The connection breaks off before or after the work is done
    #[arg(long, value_enum)]
    disconnect: Option<BreakOff>,
}

/// Whose requests a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dialect {
    Kafka,
    Kinesis,
}

/// When a connection breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BreakOff {
    Before,
    After,
}

/// What to do with the clock.
#[derive(Clone, Debug, Subcommand)]
pub enum ClockCommand {
    /// Show what time it is for the broker
    Show(ListOptions),
    /// Move a clock that stands still (weir serve --manual-clock); what becomes due has run then
    Advance(AdvanceOptions),
}

/// Options of `advance`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:
  weir clock advance 86400000                     a day")]
pub struct AdvanceOptions {
    #[command(flatten)]
    control: Control,

    /// By how much, in milliseconds
    #[arg(value_name = "MS")]
    millis: u64,
}

impl Control {
    /// Asks, and returns the answer's JSON. What the broker says to a refusal is the failure.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = body.map_or_else(String::new, Value::to_string);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header(HOST, &self.http.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
            .map_err(|error| Failure::usage(error.to_string()))?;
        let unreachable = |error: crate::http::HttpError| {
            let why = format!("the broker cannot be reached: {error} at {}", self.http);
            Failure::of(UNREACHABLE, why)
        };
        let mut connection = Connection::open(&self.http).await.map_err(unreachable)?;
        let answer = connection.ask(request).await.map_err(unreachable)?;
        let told: Value = serde_json::from_slice(&answer.body).map_err(|_| {
            Failure::of("protocol", format!("{} is no control API of weir", self.http))
        })?;
        if answer.status.is_success() {
            return Ok(told);
        }
        let why = told.get("error").and_then(Value::as_str).unwrap_or("no reason is said");
        Err(Failure::of("refused", why))
    }

    async fn rules(&self) -> Result<Vec<Value>, Failure> {
        rules_of(self.ask("GET", "faults", None).await?)
    }

    async fn set_rules(&self, mut rules: Vec<Value>) -> Result<Vec<Value>, Failure> {
        for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
            rule.retain(|name, _| !COUNTS.contains(&name.as_str()));
        }
        rules_of(self.ask("PUT", "faults", Some(&json!({"faults": rules}))).await?)
    }
}

fn rules_of(mut answer: Value) -> Result<Vec<Value>, Failure> {
    match answer.get_mut("faults").map(Value::take) {
        Some(Value::Array(rules)) => Ok(rules),
        _ => Err(Failure::of("protocol", "unexpected answer: there are no faults in it")),
    }
}

impl FaultCommand {
    pub(super) fn control(&self) -> &Control {
        match self {
            FaultCommand::List(options) | FaultCommand::Clear(options) => &options.control,
            FaultCommand::Add(options) => &options.control,
            FaultCommand::Remove(options) => &options.control,
        }
    }

    pub(super) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let control = self.control().clone();
        let rules = match self {
            FaultCommand::List(_) => control.rules().await?,
            FaultCommand::Clear(_) => rules_of(control.ask("DELETE", "faults", None).await?)?,
            FaultCommand::Add(options) => {
                let mut rules = control.rules().await?;
                rules.push(options.rule());
                control.set_rules(rules).await?
            }
            FaultCommand::Remove(options) => {
                let rules = without(control.rules().await?, &options.numbers)?;
                control.set_rules(rules).await?
            }
        };
        print_rules(&rules, printer)
    }
}

fn without(rules: Vec<Value>, numbers: &[usize]) -> Result<Vec<Value>, Failure> {
    if let Some(number) = numbers.iter().find(|number| !(1..=rules.len()).contains(number)) {
        return Err(Failure::of("unknown_fault", format!("there is no fault {number}")));
    }
    let numbered = (1..).zip(rules).filter(|(number, _)| !numbers.contains(number));
    Ok(numbered.map(|(_, rule)| rule).collect())
}

impl AddOptions {
    /// The rule as the control API takes it; what was not said is left out.
    fn rule(&self) -> Value {
        let dialect = self.dialect.map(|dialect| match dialect {
            Dialect::Kafka => "kafka",
            Dialect::Kinesis => "kinesis",
        });
        let disconnect = self.disconnect.map(|when| match when {
            BreakOff::Before => "before",
            BreakOff::After => "after",
        });
        let rule = json!({
            "dialect": dialect,
            "operation": self.operation,
            "stream": self.stream,
            "shard": self.shard,
            "after": self.after,
            "times": self.times,
            "rate": self.rate,
            "seed": self.seed,
            "error": self.error,
            "message": self.message,
            "latency_ms": self.latency,
            "throttle_ms": self.throttle,
            "disconnect": disconnect,
        });
        let said = rule.as_object().cloned().unwrap_or_default().into_iter();
        Value::Object(said.filter(|(_, value)| !value.is_null()).collect())
    }
}

fn print_rules(rules: &[Value], printer: &mut Printer) -> Result<(), Failure> {
    if printer.output == Output::Text {
        return printer.raw(rules_text(rules).as_bytes());
    }
    for (number, rule) in (1..).zip(rules) {
        let mut members = rule.as_object().cloned().unwrap_or_default();
        members.insert("number".to_owned(), json!(number));
        printer.result(&Value::Object(members), String::new)?;
    }
    Ok(())
}

fn rules_text(rules: &[Value]) -> String {
    if rules.is_empty() {
        return "no faults\n".to_owned();
    }
    let empty = Map::new();
    let row = |(number, rule): (usize, &Value)| {
        let members = rule.as_object().unwrap_or(&empty);
        let shown = |name: &&str| members.get(*name).map(|value| word(name, value));
        let counts = COUNTS.iter().map(|name| members.get(*name).map_or(String::new(), plain));
        let effect: Vec<_> = EFFECTS.iter().filter_map(shown).collect();
        let is_named = |(name, value): &(&String, &Value)| match name.as_str() {
            // Without it the same holds.
            "after" | "seed" => *value != &json!(0),
            name => !EFFECTS.contains(&name) && !COUNTS.contains(&name),
        };
        let names = members.iter().filter(is_named);
        let names: Vec<_> = names.map(|(name, value)| word(name, value)).collect();
        let requests = if names.is_empty() { "all".to_owned() } else { names.join(" ") };
        let mut cells = vec![number.to_string(), requests, effect.join(" ")];
        cells.extend(counts);
        cells
    };
    let rows: Vec<_> = (1..).zip(rules).map(row).collect();
    table(&["FAULT", "REQUESTS", "WHAT HAPPENS", "NAMED", "STRUCK"], &rows)
}

fn word(name: &str, value: &Value) -> String {
    format!("{name}={}", plain(value))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

impl ClockCommand {
    pub(super) fn control(&self) -> &Control {
        match self {
            ClockCommand::Show(options) => &options.control,
            ClockCommand::Advance(options) => &options.control,
        }
    }

    pub(super) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let control = self.control().clone();
        let told = match self {
            ClockCommand::Show(_) => control.ask("GET", "clock", None).await?,
            ClockCommand::Advance(options) => {
                let step = json!({"advance_ms": options.millis});
                control.ask("POST", "clock", Some(&step)).await?
            }
        };
        printer.result(&told, || {
            let time = told.get("now_ms").and_then(Value::as_i64).map_or_else(String::new, rfc3339);
            let is_manual = told.get("manual").and_then(Value::as_bool) == Some(true);
            let how = if is_manual { "stands still" } else { "moves by itself" };
            format!("{time}  {how}\n")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_one_line_that_leaves_out_what_holds_anyway() {
        let rules = [
            json!({"dialect": "kinesis", "operation": "PutRecords", "shard": 0, "after": 2,
                "seed": 0, "times": 1, "error": "X", "named": 3, "struck": 1}),
            json!({"after": 0, "seed": 0, "latency_ms": 5, "named": 0, "struck": 0}),
        ];
        let expected = "\
FAULT  REQUESTS                                                     WHAT HAPPENS  NAMED  STRUCK
    1  after=2 dialect=kinesis operation=PutRecords shard=0 times=1  error=X           3       1
";
        let text = rules_text(&rules);
        for (line, wanted) in text.lines().zip(expected.lines()) {
            let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
            assert_eq!(words(line), words(wanted));
        }
        assert!(text.contains("all"), "{text}");
        assert_eq!(rules_text(&[]), "no faults\n");
    }

    #[test]
    fn rules_are_removed_by_number() {
        let rules = vec![json!(1), json!(2), json!(3)];
        assert_eq!(without(rules.clone(), &[1, 3]).expect("they are there"), [json!(2)]);
        for number in [0, 4] {
            assert!(without(rules.clone(), &[number]).is_err(), "{number}");
        }
    }
}
