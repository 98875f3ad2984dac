//! Colours: where a person looks, and nowhere else. What goes into a file or another program is
//! plain text, and so is all where NO_COLOR is set and not empty (<https://no-color.org>).

use std::io::{IsTerminal, stderr, stdout};

use anstyle::{AnsiColor, Style};

/// Whether the text for people is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// It goes to a terminal.
    On,
    /// It goes elsewhere, or the user wants none.
    Off,
}

impl Colours {
    /// Those of standard output.
    pub fn of_stdout() -> Colours {
        Colours::where_seen(stdout().is_terminal())
    }

    /// Those of standard error.
    pub fn of_stderr() -> Colours {
        Colours::where_seen(stderr().is_terminal())
    }

    fn where_seen(is_terminal: bool) -> Colours {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !is_unwanted { Colours::On } else { Colours::Off }
    }

    /// The name of what speaks.
    pub fn name(self) -> String {
        self.begin(AnsiColor::Cyan.on_default().bold())
    }

    /// What matters less.
    pub fn faint(self) -> String {
        self.begin(Style::new().dimmed())
    }

    /// The names of columns.
    pub fn heading(self) -> String {
        self.begin(Style::new().bold())
    }

    /// What is as it should be.
    pub fn good(self) -> String {
        self.begin(AnsiColor::Green.on_default())
    }

    /// What could be better.
    pub fn doubtful(self) -> String {
        self.begin(AnsiColor::Yellow.on_default())
    }

    /// What is wrong.
    pub fn bad(self) -> String {
        self.begin(AnsiColor::Red.on_default().bold())
    }

    /// Behind each of them.
    pub fn end(self) -> &'static str {
        match self {
            Colours::On => "\u{1b}[0m",
            Colours::Off => "",
        }
    }

    fn begin(self, style: Style) -> String {
        match self {
            Colours::On => style.render().to_string(),
            Colours::Off => String::new(),
        }
    }
}
