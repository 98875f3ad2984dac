//! Text that a client sent, made safe to repeat.

use std::fmt::Write;

/// Most characters of a client's text in one field of a log line.
const LOGGED_CHARACTERS_MAX: usize = 256;

/// Most bytes of a value that an error message repeats. AWS repeats values whole; this is room for
/// its list of 501 records, and keeps a body of 16 MiB from coming back ten times.
const REPEATED_BYTES_MAX: usize = 40 * 1024;

/// The text for a log line: control characters escaped, cut at 256 characters.
pub(crate) fn for_log(text: &str) -> String {
    let mut logged: String =
        text.chars().flat_map(char::escape_debug).take(LOGGED_CHARACTERS_MAX).collect();
    if logged.len() < text.len() && logged.chars().count() == LOGGED_CHARACTERS_MAX {
        // Writing into a string cannot fail.
        let _ = write!(logged, "… ({} bytes)", text.len());
    }
    logged
}

/// The text for an error message, cut at 40 KiB.
pub(crate) fn shortened(text: &str) -> &str {
    let end = text.floor_char_boundary(REPEATED_BYTES_MAX);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_text_is_escaped_and_short() {
        assert_eq!(for_log("a\n\u{1b}[31mb"), r"a\n\u{1b}[31mb");
        let logged = for_log(&"é".repeat(100_000));
        assert_eq!(logged, format!("{}… (200000 bytes)", "é".repeat(256)));
    }

    #[test]
    fn repeated_text_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = format!("a{}", "é".repeat(REPEATED_BYTES_MAX));
        assert_eq!(shortened(&long).len(), REPEATED_BYTES_MAX - 1);
    }
}
