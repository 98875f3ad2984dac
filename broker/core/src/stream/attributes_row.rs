//! How a stream's attributes are written: the member `attributes` of the [row](super::row).
//!
//! Every member may be absent, and is where it says nothing: rows that were written before there
//! was such a member are read as streams without it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stream::attributes::StreamAttributes;
use crate::stream::tags::Tags;

#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AttributesRow {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

impl AttributesRow {
    pub(super) fn of(attributes: &StreamAttributes) -> AttributesRow {
        AttributesRow { tags: attributes.tags.to_row() }
    }

    /// Whether it says nothing, and need not be written.
    pub(super) fn is_empty(&self) -> bool {
        *self == AttributesRow::default()
    }

    pub(super) fn into_attributes(self) -> StreamAttributes {
        StreamAttributes { tags: Tags::of_row(self.tags) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every member as it was first written. It must be read for ever.
    const FIRST: &str = r#"{"tags":{"team":"blue"}}"#;

    #[test]
    fn attributes_are_read_and_written_back_the_same() {
        let row: AttributesRow = serde_json::from_str(FIRST).expect("a legal row");
        let attributes = row.into_attributes();
        assert_eq!(attributes.tags.iter().collect::<Vec<_>>(), [("team", "blue")]);
        let written = serde_json::to_string(&AttributesRow::of(&attributes)).expect("JSON");
        assert_eq!(written, FIRST);
    }

    #[test]
    fn absent_attributes_are_read_as_none_and_not_written() {
        let row: AttributesRow = serde_json::from_str("{}").expect("a legal row");
        assert!(row.is_empty());
        assert_eq!(row.into_attributes(), StreamAttributes::default());
    }
}
