//! How far something long has come: one line on standard error that is written over, for whoever
//! looks at a terminal. Elsewhere nothing is printed, so that logs and pipes hold results alone.
//!
//! ```text
//! [###########                   ]  37 %  370,000 records
//! ```

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use weir_model::time::{Clock, Moment};

/// What is done sooner needs no line.
const FIRST_AFTER: Duration = Duration::from_millis(300);
const AGAIN_AFTER: Duration = Duration::from_millis(100);
const BAR_CHARACTERS: u64 = 30;
/// Back to the beginning of the line, and away with what stands there.
const CLEAR: &str = "\r\u{1b}[K";

/// The line. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// None where nobody looks.
    next: Option<Moment>,
    is_shown: bool,
    clock: Arc<dyn Clock>,
}

impl Progress {
    /// A line that appears when it has taken a while, if standard error is a terminal that can
    /// write a line over.
    pub(crate) fn on_terminal(clock: Arc<dyn Clock>) -> Progress {
        let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let is_seen = io::stderr().is_terminal() && !is_dumb;
        let next = is_seen.then(|| clock.real_moment().plus(FIRST_AFTER));
        Progress { next, is_shown: false, clock }
    }

    /// Whether anybody looks.
    pub(crate) fn is_seen(&self) -> bool {
        self.next.is_some()
    }

    /// Says how far it is, if it is time to. The total may be unknown.
    pub(crate) fn tell(&mut self, done: u64, total: Option<u64>, records: u64) {
        let Some(next) = self.next else { return };
        let now = self.clock.real_moment();
        if now < next {
            return;
        }
        self.next = Some(now.plus(AGAIN_AFTER));
        self.is_shown = true;
        write(&format!("{CLEAR}{}", line(done, total, records)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            write(CLEAR);
        }
    }
}

/// A terminal that is gone needs to know nothing.
fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn line(done: u64, total: Option<u64>, records: u64) -> String {
    let records = format!("{} records", grouped(records));
    let Some(total) = total.filter(|total| *total > 0) else { return records };
    let done = u128::from(done.min(total));
    let share = |of: u64| u64::try_from(done * u128::from(of) / u128::from(total)).unwrap_or(of);
    let full = usize::try_from(share(BAR_CHARACTERS)).unwrap_or_default();
    let bar = format!("{:<width$}", "#".repeat(full), width = BAR_CHARACTERS as usize);
    format!("[{bar}] {:>3} %  {records}", share(100))
}

/// A number with a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        for (done, total, records, expected) in [
            (0, Some(10), 0, "[                              ]   0 %  0 records"),
            (5, Some(10), 1_234, "[###############               ]  50 %  1,234 records"),
            (10, Some(10), 1_000_000, "[##############################] 100 %  1,000,000 records"),
            // A file that grew meanwhile.
            (11, Some(10), 999, "[##############################] 100 %  999 records"),
            (u64::MAX, Some(u64::MAX), 1, "[##############################] 100 %  1 records"),
            (7, None, 7, "7 records"),
            (0, Some(0), 0, "0 records"),
        ] {
            assert_eq!(line(done, total, records), expected);
        }
    }
}
