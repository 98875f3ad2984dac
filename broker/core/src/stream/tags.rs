//! Tags: up to fifty names with values that an owner puts on a resource, for people and their
//! tools. weir only keeps them.

use std::collections::BTreeMap;

use crate::broker::Broker;
use crate::error::{AmendError, TagRefusal};
use crate::stream::labels::Resource;

/// Most tags of one resource.
pub const TAGS_MAX: usize = 50;

/// Begins the keys that AWS keeps for itself.
const RESERVED_PREFIX: &str = "aws:";

/// The tags of one resource, or those that are to be put on one: legal ones only, at most
/// [`TAGS_MAX`], ordered by key. How long they may be is the dialect's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Checks keys and values; of two values for one key the later counts.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags, TagRefusal> {
        let mut tags = Tags::default();
        for (key, value) in pairs {
            if !is_legal(&key) || !is_legal(&value) {
                return Err(TagRefusal::IllegalCharacters);
            }
            if key.starts_with(RESERVED_PREFIX) {
                return Err(TagRefusal::ReservedKey);
            }
            tags.0.insert(key, value);
        }
        tags.check_count()
    }

    fn check_count(self) -> Result<Tags, TagRefusal> {
        if self.0.len() > TAGS_MAX { Err(TagRefusal::TooMany) } else { Ok(self) }
    }

    /// Keys and values, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The tags after a change of them.
    pub(crate) fn changed(&self, change: TagChange) -> Result<Tags, TagRefusal> {
        let mut tags = self.clone();
        match change {
            TagChange::Put(added) => tags.0.extend(added.0),
            TagChange::Remove(keys) => {
                if !keys.iter().all(|key| is_legal(key)) {
                    return Err(TagRefusal::IllegalCharacters);
                }
                tags.0.retain(|key, _| !keys.contains(key));
            }
        }
        tags.check_count()
    }

    pub(super) fn to_row(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }

    /// Tags that were checked when they were written.
    pub(super) fn of_row(row: BTreeMap<String, String>) -> Tags {
        Tags(row)
    }
}

/// A wish for other tags.
#[derive(Clone, Debug)]
pub enum TagChange {
    /// Put these on, in place of those with the same keys.
    Put(Tags),
    /// Take those with these keys off; keys that are not there do not matter.
    Remove(Vec<String>),
}

/// Letters, digits and spaces of any script, and a few signs. A tab or the end of a line is none of
/// them.
fn is_legal(text: &str) -> bool {
    text.chars().all(|character| {
        character.is_alphanumeric()
            || (character.is_whitespace() && !character.is_control())
            || "_./=+-%@:".contains(character)
    })
}

impl Broker {
    /// Changes the tags of a resource.
    pub async fn change_tags(
        &self,
        resource: Resource,
        change: TagChange,
    ) -> Result<(), AmendError<TagRefusal>> {
        let amended = self.registry().amend(resource.stream, move |draft| {
            let tags = &mut draft.labels_of(resource.consumer.as_ref())?.tags;
            *tags = tags.changed(change)?;
            Ok(())
        });
        amended.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(keys: &[&str]) -> Result<Tags, TagRefusal> {
        Tags::new(keys.iter().map(|key| ((*key).to_owned(), String::new())))
    }

    #[test]
    fn only_letters_digits_spaces_and_some_signs_are_legal() {
        for (key, expected) in [
            ("ü0 _./=+-%@:", Ok(())),
            ("名前", Ok(())),
            ("a;b", Err(TagRefusal::IllegalCharacters)),
            ("a,b", Err(TagRefusal::IllegalCharacters)),
            ("a\tb", Err(TagRefusal::IllegalCharacters)),
            ("a\nb", Err(TagRefusal::IllegalCharacters)),
            ("aws:a", Err(TagRefusal::ReservedKey)),
            ("Aws:a", Ok(())),
        ] {
            assert_eq!(tags(&[key]).map(drop), expected, "{key:?}");
        }
        let value = Tags::new([("a".to_owned(), "b;c".to_owned())]);
        assert_eq!(value, Err(TagRefusal::IllegalCharacters));
    }

    #[test]
    fn at_most_fifty_stay_after_a_change() {
        let keys: Vec<String> = (0..51).map(|number| number.to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(tags(&keys), Err(TagRefusal::TooMany));
        let fifty = tags(&keys[..50]).expect("legal");
        let again = fifty.changed(TagChange::Put(tags(&keys[..50]).expect("legal")));
        assert_eq!(again, Ok(fifty.clone()), "in place of those with the same keys");
        let one_more = fifty.changed(TagChange::Put(tags(&keys[50..]).expect("legal")));
        assert_eq!(one_more, Err(TagRefusal::TooMany));
        let gone = TagChange::Remove(vec!["0".to_owned(), "none".to_owned()]);
        assert_eq!(fifty.changed(gone), tags(&keys[1..50]));
    }
}
