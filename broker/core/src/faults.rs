//! Faults on request: what a test wants to go wrong, and when.
//!
//! A [`FaultRule`] names requests (a dialect, an operation, a stream, a shard) and what happens to
//! them: an error, a delay, a connection that breaks off before or after the work, a pause that a
//! client is told. Of the requests that it names, it lets `after` pass, then strikes `times` of
//! them, or a share of them that `rate` and `seed` fix. Which errors there are is for the dialects
//! to say ([`Faults::replace`]).
//!
//! A request is looked up as a whole, and if it was not struck once more for each shard that it is
//! about; a rule that names a shard (or, of Kafka, a stream) is about these places and no others.
//! Without rules a look costs one load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tracing::warn;
use weir_model::time::Timestamp;

use crate::log_limit::LogLimit;

/// Most rules at a time.
pub const RULES_MAX: usize = 1_000;
/// Longest delay and pause, in ms.
pub const DELAY_MS_MAX: u64 = 600_000;

/// Whose requests a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultDialect {
    /// The Kafka protocol.
    Kafka,
    /// The Kinesis Data Streams API.
    Kinesis,
}

/// When a connection breaks off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BreakOff {
    /// Before anything is done.
    Before,
    /// After it is done, so that the answer is lost; a subscription, after the rule's delay.
    After,
}

/// Requests, and what happens to them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Whose requests; none: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<FaultDialect>,
    /// The operation's or API's name, such as `PutRecords` or `Produce`; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The stream's or topic's name; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The number of a shard or partition; none: requests as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// How many such requests pass first.
    #[serde(default)]
    pub after: u64,
    /// How many are struck then; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The share of those that is struck, from 0 to 1; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Fixes which ones the share is made of.
    #[serde(default)]
    pub seed: u64,
    /// The error that is answered, by the dialect's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The error's text, where the dialect has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A delay before anything else, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The pause that a Kafka client is told, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_ms: Option<u64>,
    /// When the connection breaks off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect: Option<BreakOff>,
}

impl FaultRule {
    /// Checks what no dialect needs to be asked about.
    pub fn check(&self) -> Result<(), String> {
        let delays = [self.latency_ms, self.throttle_ms];
        if delays.into_iter().flatten().any(|delay| delay > DELAY_MS_MAX) {
            return Err(format!("a delay is above {DELAY_MS_MAX} ms"));
        }
        if self.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err("rate is not between 0 and 1".to_owned());
        }
        let is_idle = self.error.is_none() && self.disconnect.is_none();
        if is_idle && delays == [None, None] {
            return Err("nothing happens: no error, latency_ms, throttle_ms or disconnect".into());
        }
        if self.message.is_some() && self.error.is_none() {
            return Err("a message without an error".to_owned());
        }
        if self.throttle_ms.is_some() && self.dialect != Some(FaultDialect::Kafka) {
            return Err("throttle_ms needs dialect kafka".to_owned());
        }
        if self.error.is_some() && self.dialect.is_none() {
            return Err("an error needs a dialect, whose error it is".to_owned());
        }
        if self.error.is_some() && self.disconnect.is_some() {
            return Err("an error is answered, and with disconnect nothing is".to_owned());
        }
        if self.dialect.is_none() && (self.stream.is_some() || self.shard.is_some()) {
            return Err("a stream or shard needs a dialect, whose requests name it".to_owned());
        }
        Ok(())
    }

    fn names(&self, asked: &AskedOf<'_>) -> bool {
        let is = |wanted: Option<&str>, found: Option<&str>| {
            wanted.is_none_or(|wanted| found == Some(wanted))
        };
        self.dialect.is_none_or(|dialect| dialect == asked.dialect)
            && is(self.operation.as_deref(), Some(asked.operation))
            && is(self.stream.as_deref(), asked.stream)
            && self.shard == asked.shard
            && (!asked.is_part || self.stream.is_some() || self.shard.is_some())
    }

    /// Whether the request of this number among those that it names is struck.
    fn strikes(&self, number: u64) -> bool {
        let Some(number) = number.checked_sub(self.after) else { return false };
        let is_in_time = self.times.is_none_or(|times| number < times);
        is_in_time && self.rate.is_none_or(|rate| share_of(self.seed, number) < rate)
    }
}

/// A number from 0 up to 1 that a seed and a counter fix: one step of SplitMix64 (Steele, Lea and
/// Flood, 2014).
fn share_of(seed: u64, number: u64) -> f64 {
    let mut mixed = seed.wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // The upper 53 bits, which a float holds exactly.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// A request, or its part for one shard.
#[derive(Clone, Copy, Debug)]
pub struct AskedOf<'a> {
    /// The dialect.
    pub dialect: FaultDialect,
    /// The operation.
    pub operation: &'a str,
    /// The stream, where it is about one.
    pub stream: Option<&'a str>,
    /// The shard, where it is looked up for one.
    pub shard: Option<u32>,
    /// Whether the request was looked up as a whole before. Rules that name neither a stream nor a
    /// shard are not about its parts.
    pub is_part: bool,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub struct Fault {
    rule: Arc<ActiveRule>,
}

impl Fault {
    /// The error that is answered, and its text.
    pub fn error(&self) -> Option<(&str, Option<&str>)> {
        let rule = &self.rule.rule;
        rule.error.as_deref().map(|error| (error, rule.message.as_deref()))
    }

    /// The delay before anything else.
    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.rule.rule.latency_ms.unwrap_or(0))
    }

    /// The pause that the client is told.
    pub fn throttle(&self) -> Duration {
        Duration::from_millis(self.rule.rule.throttle_ms.unwrap_or(0))
    }

    /// When the connection breaks off.
    pub fn disconnect(&self) -> Option<BreakOff> {
        self.rule.rule.disconnect
    }
}

/// A rule at work.
#[derive(Debug)]
struct ActiveRule {
    rule: FaultRule,
    /// Requests that it named.
    named: AtomicU64,
    /// Requests that it struck.
    struck: AtomicU64,
}

/// A rule and what it has done.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FaultReport {
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// Requests that it named since it was set.
    pub named: u64,
    /// Requests that it struck.
    pub struck: u64,
}

/// The rules at work, in their order; the first that strikes a request is the only one.
#[derive(Debug, Default)]
pub struct Faults {
    is_any: AtomicBool,
    rules: RwLock<Arc<[Arc<ActiveRule>]>>,
    struck: AtomicU64,
    log: LogLimit,
}

impl Faults {
    /// Puts these rules in place of the present ones. The caller has checked them.
    pub fn replace(&self, rules: Vec<FaultRule>) {
        let (count, active) = (rules.len(), |rule| {
            Arc::new(ActiveRule { rule, named: AtomicU64::new(0), struck: AtomicU64::new(0) })
        });
        let was_any = self.is_any.load(Ordering::Relaxed);
        {
            // Both under the lock, so that of two who replace the rules one has the last word.
            let mut present = self.rules.write();
            *present = rules.into_iter().map(active).collect();
            self.is_any.store(count > 0, Ordering::Release);
        }
        if count > 0 || was_any {
            warn!(rules = count, "faults on request");
        }
    }

    /// Whether there are rules.
    pub fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// What happens to this request, if anything does. Counts it.
    pub fn look(&self, asked: &AskedOf<'_>, now: Timestamp) -> Option<Fault> {
        if !self.is_any() {
            return None;
        }
        let rules = Arc::clone(&self.rules.read());
        // Each rule counts all that it names, whether or not an earlier one strikes.
        let mut struck = None;
        for active in rules.iter().filter(|active| active.rule.names(asked)) {
            let number = active.named.fetch_add(1, Ordering::Relaxed);
            if struck.is_none() && active.rule.strikes(number) {
                struck = Some(active);
            }
        }
        let active = struck?;
        active.struck.fetch_add(1, Ordering::Relaxed);
        self.struck.fetch_add(1, Ordering::Relaxed);
        if let Some(unsaid) = self.log.admit(now) {
            let (operation, stream, shard) = (asked.operation, asked.stream, asked.shard);
            warn!(operation, stream, shard, rule = ?active.rule, unsaid, "a fault on request");
        }
        Some(Fault { rule: Arc::clone(active) })
    }

    /// The rules, and what each has done.
    pub fn report(&self) -> Vec<FaultReport> {
        let report = |active: &Arc<ActiveRule>| FaultReport {
            rule: active.rule.clone(),
            named: active.named.load(Ordering::Relaxed),
            struck: active.struck.load(Ordering::Relaxed),
        };
        self.rules.read().iter().map(report).collect()
    }

    /// Requests that were struck since the start, by whatever rule.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(rules: serde_json::Value) -> Faults {
        let rules: Vec<FaultRule> = serde_json::from_value(rules).expect("rules");
        rules.iter().for_each(|rule| rule.check().expect("a legal rule"));
        let faults = Faults::default();
        faults.replace(rules);
        faults
    }

    const PUT: AskedOf<'static> = AskedOf {
        dialect: FaultDialect::Kinesis,
        operation: "PutRecords",
        stream: Some("s"),
        shard: None,
        is_part: false,
    };

    #[test]
    fn the_third_request_to_a_shard() {
        let rule = json!({"dialect": "kinesis", "operation": "PutRecords", "shard": 2,
            "after": 2, "times": 1, "error": "X"});
        let faults = faults(json!([rule]));
        let now = Timestamp::from_millis(0);
        let to = |shard: u32| faults.look(&AskedOf { shard: Some(shard), ..PUT }, now).is_some();
        assert_eq!([to(2), to(1), to(2), to(2), to(2)], [false, false, false, true, false]);
        assert!(faults.look(&PUT, now).is_none(), "the request as a whole");
        let report = faults.report();
        assert_eq!((report[0].named, report[0].struck, faults.struck()), (4, 1, 1));
    }

    #[test]
    fn a_share_is_fixed_by_its_seed() {
        let of_seed = |seed: u64| {
            let faults = faults(json!([{"rate": 0.25, "seed": seed, "latency_ms": 1}]));
            let now = Timestamp::from_millis(0);
            (0..4_000).map(|_| faults.look(&PUT, now).is_some()).collect::<Vec<_>>()
        };
        let first = of_seed(1);
        assert_eq!(first, of_seed(1));
        assert_ne!(first, of_seed(2));
        let count = first.iter().filter(|struck| **struck).count();
        assert!((900..1100).contains(&count), "{count} of 4000");
    }

    #[test]
    fn rules_name_what_they_say_and_the_first_strikes() {
        let faults = faults(json!([
            {"dialect": "kafka", "error": "A"},
            {"stream": "t", "dialect": "kinesis", "error": "B"},
            {"operation": "PutRecord", "dialect": "kinesis", "error": "C"},
            {"dialect": "kinesis", "error": "D"},
            {"latency_ms": 5},
        ]));
        let now = Timestamp::from_millis(0);
        let error = |asked: AskedOf<'_>| {
            let fault = faults.look(&asked, now).expect("one strikes");
            (fault.error().map(|(name, _)| name.to_owned()), fault.latency().as_millis())
        };
        assert_eq!(error(PUT), (Some("D".to_owned()), 0));
        assert_eq!(error(AskedOf { stream: Some("t"), ..PUT }), (Some("B".to_owned()), 0));
        assert_eq!(error(AskedOf { operation: "PutRecord", ..PUT }), (Some("C".to_owned()), 0));
        let kafka = AskedOf { dialect: FaultDialect::Kafka, ..PUT };
        assert_eq!(error(kafka), (Some("A".to_owned()), 0));
        faults.replace(Vec::new());
        assert!(faults.look(&PUT, now).is_none());
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        for (rule, why) in [
            (json!({}), "nothing happens"),
            (json!({"latency_ms": 600_001}), "above 600000 ms"),
            (json!({"latency_ms": 1, "rate": 1.5}), "rate is not"),
            (json!({"latency_ms": 1, "message": "x"}), "without an error"),
            (json!({"throttle_ms": 1}), "needs dialect kafka"),
            (json!({"error": "X"}), "needs a dialect"),
        ] {
            let rule: FaultRule = serde_json::from_value(rule).expect("a rule");
            let refused = rule.check().expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        assert!(serde_json::from_value::<FaultRule>(json!({"erorr": "X"})).is_err());
    }
}
