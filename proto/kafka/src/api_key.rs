//! Which requests exist, in which versions, and what that says about their headers.

pub use crate::messages::api_key::ApiKey;

/// What the message definitions say about one request and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiDefinition {
    /// Kafka's name, such as `Fetch`.
    pub name: &'static str,
    /// First version that exists.
    pub version_min: i16,
    /// Last version that exists.
    pub version_max: i16,
    /// The last version may still change in the next release of Kafka, so brokers do not offer it
    /// by default.
    pub latest_version_unstable: bool,
    /// First version with compact lengths and tagged fields; `None` if there is none.
    pub flexible_from: Option<i16>,
}

impl ApiDefinition {
    pub(crate) const fn new(
        name: &'static str,
        (version_min, version_max): (i16, i16),
        flexible_from: Option<i16>,
    ) -> Self {
        Self { name, version_min, version_max, latest_version_unstable: false, flexible_from }
    }

    pub(crate) const fn with_unstable_version(self) -> Self {
        Self { latest_version_unstable: true, ..self }
    }
}

impl ApiKey {
    /// Kafka's name, such as `Fetch`.
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// First and last version that a broker should offer: those that exist and will not change.
    ///
    /// All of them are proven against the Java classes: see `tests/oracle.rs`.
    pub fn stable_versions(self) -> (i16, i16) {
        let definition = self.definition();
        let unstable = i16::from(definition.latest_version_unstable);
        (definition.version_min, definition.version_max - unstable)
    }

    /// Whether bodies of this version have compact lengths and tagged fields. Holds for versions
    /// from the future too.
    pub fn is_flexible(self, version: i16) -> bool {
        self.definition().flexible_from.is_some_and(|first| version >= first)
    }

    /// 2 for flexible versions, else 1.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// 1 for flexible versions, else 0; always 0 for `ApiVersions`.
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self.is_flexible(version) && self != Self::ApiVersions)
    }
}
