//! Changes of settings, as clients ask for them: pure, from what is set to what will be.

use std::collections::{BTreeMap, HashSet};

use crate::error::{AlterConfigError, ListOperation};
use crate::settings::holder::Resource;
use crate::settings::setting::{Setting, words_of};
use crate::stream::config::Overrides;

/// What is asked for one resource.
#[derive(Clone, Debug)]
pub struct Alteration {
    /// Whose settings change.
    pub resource: Resource,
    /// How.
    pub changes: Changes,
}

/// A change of a resource's settings.
#[derive(Clone, Debug)]
pub enum Changes {
    /// These settings change, by name, and the others stay.
    Some(BTreeMap<String, Change>),
    /// These are set and no others.
    All(Overrides),
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has this value.
    Set(String),
    /// It is as if it had never been set.
    Remove,
    /// The list has these words too.
    Append(String),
    /// The list does not have these words.
    Subtract(String),
}

impl Changes {
    /// What will be set, if `present` is. Whether the values are legal is not looked at.
    pub(super) fn apply(
        &self,
        present: &Overrides,
        table: &'static [Setting],
    ) -> Result<Overrides, AlterConfigError> {
        let changes = match self {
            Changes::All(settings) => return Ok(settings.clone()),
            Changes::Some(changes) => changes,
        };
        let mut next = present.clone();
        for (name, change) in changes {
            let value = match change {
                Change::Remove => {
                    next.remove(name);
                    continue;
                }
                Change::Set(value) => value.clone(),
                Change::Append(words) => {
                    let mut list = list_of(name, present, table, ListOperation::Append)?;
                    let mut known: HashSet<&str> = list.iter().copied().collect();
                    list.extend(words_of(words).filter(|word| known.insert(word)));
                    list.join(",")
                }
                Change::Subtract(words) => {
                    let mut list = list_of(name, present, table, ListOperation::Subtract)?;
                    let gone: HashSet<&str> = words_of(words).collect();
                    list.retain(|word| !gone.contains(word));
                    list.join(",")
                }
            };
            next.insert(name.clone(), value);
        }
        Ok(next)
    }
}

/// The words that a list has now: those set, or those of its default.
fn list_of<'a>(
    name: &str,
    present: &'a Overrides,
    table: &'static [Setting],
    operation: ListOperation,
) -> Result<Vec<&'a str>, AlterConfigError> {
    let setting = table.iter().find(|setting| setting.name == name);
    match setting.filter(|setting| setting.kind.is_list()) {
        None => Err(AlterConfigError::NotAList { name: name.to_owned(), operation }),
        Some(setting) => {
            let value = present.get(name).map(String::as_str).or(setting.default);
            Ok(words_of(value.unwrap_or_default()).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::config_table::TOPIC_SETTINGS;

    fn applied(change: Change, present: &[(&str, &str)]) -> Result<Overrides, AlterConfigError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let present = present.iter().map(own).collect();
        Changes::Some(BTreeMap::from([("cleanup.policy".to_owned(), change)]))
            .apply(&present, TOPIC_SETTINGS)
    }

    #[test]
    fn lists_grow_and_shrink_by_words_and_begin_with_their_default() {
        let text = str::to_owned;
        for (change, present, expected) in [
            (Change::Append(text("compact")), None, "delete,compact"),
            (Change::Append(text("compact,delete")), Some("compact"), "compact,delete"),
            (Change::Subtract(text("compact,foo")), Some("delete,compact"), "delete"),
            (Change::Subtract(text("delete")), Some("delete"), ""),
            (Change::Set(text("compact")), Some("delete"), "compact"),
        ] {
            let present: Vec<_> = present.map(|p| ("cleanup.policy", p)).into_iter().collect();
            let next = applied(change.clone(), &present).expect("a list");
            assert_eq!(
                next.get("cleanup.policy").map(String::as_str),
                Some(expected),
                "{change:?}"
            );
        }
        assert_eq!(applied(Change::Remove, &[("cleanup.policy", "x")]), Ok(Overrides::new()));
    }

    #[test]
    fn a_change_of_very_many_words_is_worked_out_at_once() {
        let words = |range: std::ops::Range<u32>| {
            range.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
        };
        let (all, most) = (words(0..200_000), words(1..200_000));
        let grown = applied(Change::Append(all.clone()), &[("cleanup.policy", &most)]);
        let grown = grown.expect("a list");
        assert_eq!(grown.get("cleanup.policy"), Some(&format!("{most},0")));
        let shrunk = applied(Change::Subtract(most), &[("cleanup.policy", &all)]);
        assert_eq!(shrunk.expect("a list").get("cleanup.policy").map(String::as_str), Some("0"));
    }

    #[test]
    fn only_lists_grow() {
        let append = Change::Append("1".to_owned());
        for name in ["retention.ms", "no.such"] {
            let changes = Changes::Some(BTreeMap::from([(name.to_owned(), append.clone())]));
            let refused = AlterConfigError::NotAList {
                name: name.to_owned(),
                operation: ListOperation::Append,
            };
            assert_eq!(changes.apply(&Overrides::new(), TOPIC_SETTINGS), Err(refused));
        }
    }
}
