//! Shows text that a client chose, in a log line or an error message, and no more than shows it.

use std::fmt;

/// Most characters of a client's text that are shown.
const SHOWN_CHARS_MAX: usize = 256;

/// A client's text with everything but printable characters escaped, cut after 256 characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientText<'a>(pub(crate) &'a str);

impl fmt::Display for ClientText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown_chars = 0;
        for character in self.0.chars() {
            let escaped = character.escape_debug();
            shown_chars += escaped.len();
            if shown_chars > SHOWN_CHARS_MAX {
                return out.write_str("…");
            }
            write!(out, "{escaped}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_client_cannot_break_a_log_line() {
        let cut = format!("{}…", "a".repeat(SHOWN_CHARS_MAX));
        for (text, shown) in [
            ("rdkafka", "rdkafka"),
            ("a\nb\u{1b}[31m", "a\\nb\\u{1b}[31m"),
            ("größe", "größe"),
            (&"a".repeat(300), &cut),
        ] {
            assert_eq!(ClientText(text).to_string(), shown);
        }
    }
}
