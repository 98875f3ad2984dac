//! Faults on request (`--faults`, `/api/v1/faults`): a list of rules, checked by all whom it is
//! about. What a rule may say stands in `weir_core::faults`.

use std::path::Path;

use serde::Deserialize;
use weir_core::faults::{FaultDialect, FaultRule, RULES_MAX};

/// The file's content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    #[serde(default)]
    fault: Vec<FaultRule>,
}

/// Reads the file, checked.
pub(crate) fn read(file: &Path) -> Result<Vec<FaultRule>, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|why| format!("cannot read {name}: {why}"))?;
    let rules: FaultFile = toml::from_str(&text)
        .map_err(|error| format!("cannot use {name}: {}", error.to_string().trim()))?;
    check(&rules.fault).map_err(|why| format!("cannot use {name}: {why}"))?;
    Ok(rules.fault)
}

/// Checks rules, the first that is wrong by its number.
pub(crate) fn check(rules: &[FaultRule]) -> Result<(), String> {
    if rules.len() > RULES_MAX {
        return Err(format!("{} rules, at most {RULES_MAX}", rules.len()));
    }
    for (index, rule) in rules.iter().enumerate() {
        check_rule(rule).map_err(|why| format!("fault {}: {why}", index + 1))?;
    }
    Ok(())
}

fn check_rule(rule: &FaultRule) -> Result<(), String> {
    rule.check()?;
    match rule.dialect {
        Some(FaultDialect::Kafka) => weir_kafka::check_fault(rule),
        Some(FaultDialect::Kinesis) => weir_kinesis::check_fault(rule),
        // An operation is one dialect's; a rule without one may be everybody's.
        None if rule.operation.is_some() => {
            weir_kafka::check_fault(rule).or_else(|_| weir_kinesis::check_fault(rule))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<usize, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("faults.toml");
        std::fs::write(&file, text).expect("written");
        read(&file).map(|rules| rules.len())
    }

    #[test]
    fn rules_are_read_and_the_wrong_one_is_named() {
        let good = "[[fault]]\ndialect = \"kinesis\"\nerror = \"InternalFailure\"\nrate = 0.1\n";
        assert_eq!(checked(""), Ok(0));
        assert_eq!(checked(&good.repeat(2)), Ok(2));
        for (bad, why) in [
            (
                "[[fault]]\noperation = \"Nothing\"\nlatency_ms = 1\n",
                "fault 2: the Kinesis API has",
            ),
            ("[[fault]]\nlatency_ms = 1\nerorr = \"x\"\n", "unknown field `erorr`"),
            ("[[fault]]\n", "fault 2: nothing happens"),
        ] {
            let refused = checked(&format!("{good}{bad}")).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
