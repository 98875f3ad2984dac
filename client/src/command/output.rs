//! What commands print: for people, or one JSON object for each result.

use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::command::colours::Colours;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// One JSON object for each result, indented
    Json,
    /// One JSON object for each result, each on a line
    Jsonl,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit_code: u8,
    reason: String,
    message: String,
    /// Whoever read the output has left: nothing went wrong, and nobody is to be told.
    is_silent: bool,
}

impl Failure {
    pub(crate) fn of(reason: impl Into<String>, message: impl Into<String>) -> Failure {
        let (reason, message) = (reason.into(), message.into());
        Failure { exit_code: 1, reason, message, is_silent: false }
    }

    /// Whether this is why.
    pub(crate) fn is(&self, reason: &str) -> bool {
        self.reason == reason
    }

    /// What there is to say.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// With something more to say.
    pub(crate) fn adding(self, more: &str) -> Failure {
        Failure { message: self.message + more, ..self }
    }

    /// What was written cannot be understood.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { exit_code: 2, ..Failure::of("usage", message) }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { exit_code: 0, is_silent: true, ..Failure::of("", "") };
        }
        Failure::of("io", error.to_string())
    }
}

/// The error of a command as JSON has it.
pub fn error_object(reason: &str, message: &str) -> Value {
    json!({"error": {"reason": reason, "message": message}})
}

/// Prints results to standard output.
#[derive(Debug)]
pub(crate) struct Printer {
    pub(crate) output: Output,
    out: BufWriter<Stdout>,
}

impl Printer {
    pub(crate) fn new(output: Output) -> Printer {
        Printer { output, out: BufWriter::new(io::stdout()) }
    }

    /// Prints one result: as JSON, or as what `text` makes of it.
    pub(crate) fn result(
        &mut self,
        object: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.output {
            Output::Text => self.out.write_all(text().as_bytes())?,
            Output::Json => writeln!(self.out, "{object:#}")?,
            Output::Jsonl => writeln!(self.out, "{object}")?,
        }
        Ok(())
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Has everything printed so far seen.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    /// Says how the command ended; its exit code.
    pub(crate) fn finish(mut self, result: Result<(), Failure>) -> u8 {
        let result = match result {
            Ok(()) => self.flush(),
            Err(failure) => {
                // What was printed before counts; why it cannot be seen is not the news.
                let _ = self.out.flush();
                Err(failure)
            }
        };
        let Err(failure) = result else { return 0 };
        if failure.is_silent {
            return failure.exit_code;
        }
        match self.output {
            Output::Text => say_failed(&failure.message),
            output => {
                let object = error_object(&failure.reason, &failure.message);
                let text = if output == Output::Json {
                    format!("{object:#}\n")
                } else {
                    format!("{object}\n")
                };
                if self.raw(text.as_bytes()).and_then(|()| self.flush()).is_err() {
                    say_failed(&failure.message);
                }
            }
        }
        failure.exit_code
    }
}

/// Says to a person why it failed, as all commands do.
pub fn say_failed(why: impl fmt::Display) {
    let colours = Colours::of_stderr();
    eprintln!("{}weir:{} {why}", colours.bad(), colours.end());
}

/// Rows under a heading, in columns, for standard output. Numbers stand on the right.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let colours = Colours::of_stdout();
    let table = plain_table(heading, rows);
    let (heading, rows) = table.split_once('\n').unwrap_or((&table, ""));
    format!("{}{heading}{}\n{rows}", colours.heading(), colours.end())
}

fn plain_table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let heading = heading.get(column).map_or(0, |cell| cell.len());
        cells.max().unwrap_or(0).max(heading)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let is_number = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        !rows.is_empty() && cells.all(|cell| cell.parse::<u128>().is_ok())
    };
    let numbers: Vec<bool> = (0..heading.len()).map(is_number).collect();
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells = row.iter().zip(&widths).zip(&numbers).map(|((cell, width), is_number)| {
            if *is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [("orders", "12"), ("a", "3")].map(|(n, c)| vec![n.to_owned(), c.to_owned()]);
        let expected = "NAME    PARTITIONS\norders          12\na                3\n";
        assert_eq!(plain_table(&["NAME", "PARTITIONS"], &rows), expected);
    }
}
