//! Version ranges as message definitions write them: `3`, `3-5`, `3+`, `none`.

use std::fmt;

/// An inclusive range of versions, possibly open at the end, possibly empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Empty if `first > last`.
    pub(crate) first: i16,
    pub(crate) last: i16,
}

impl Versions {
    pub(crate) const NONE: Self = Self { first: 0, last: -1 };

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.parse::<i16>().map_err(|_| format!("{text:?} is not a range of versions"))
        };
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(first) = text.strip_suffix('+') {
            return Ok(Self { first: number(first)?, last: i16::MAX });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Self { first: number(first)?, last: number(last)? })
    }

    pub(crate) fn is_empty(self) -> bool {
        self.first > self.last
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    pub(crate) fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.first <= other.first && other.last <= self.last)
    }

    pub(crate) fn intersect(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = i16> {
        self.first..=self.last
    }

    /// A Rust condition that is true for these versions, given that `version` is one of `known`;
    /// `None` if it always is.
    pub(crate) fn condition(self, known: Self) -> Option<String> {
        let within = self.intersect(known);
        match (within.first > known.first, within.last < known.last) {
            _ if within.is_empty() => Some("false".to_owned()),
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", within.first)),
            (false, true) => Some(format!("version <= {}", within.last)),
            (true, true) if within.first == within.last => {
                Some(format!("version == {}", within.first))
            }
            (true, true) => {
                Some(format!("({}..={}).contains(&version)", within.first, within.last))
            }
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            _ if self.is_empty() => write!(f, "no version"),
            (first, last) if first == last => write!(f, "version {first}"),
            (first, i16::MAX) => write!(f, "versions {first} and later"),
            (first, last) => write!(f, "versions {first} to {last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_conditions_that_say_no_more_than_needed() {
        let known = Versions { first: 2, last: 7 };
        for (text, condition) in [
            ("0+", None),
            ("2-7", None),
            ("3+", Some("version >= 3")),
            ("0-4", Some("version <= 4")),
            ("3-4", Some("(3..=4).contains(&version)")),
            ("5", Some("version == 5")),
            ("8+", Some("false")),
            ("none", Some("false")),
        ] {
            let versions = Versions::parse(text).expect(text);
            assert_eq!(versions.condition(known).as_deref(), condition, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "+", "a", "1-", "1-b", "-1"] {
            assert!(Versions::parse(text).is_err(), "{text}");
        }
    }
}
