//! The only place that writes: answers to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use beamline_contract::mistake::Mistake;

use super::failure::Failure;
use super::view::look::Look;
use super::view::{json, text};

/// Terminals and pipes take a sentence at once.
const SAY_LIMIT: Duration = Duration::from_secs(2);

const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables and sentences for people.
    Table,
    /// Exactly one JSON document.
    Json,
}

/// Where answers go and what they look like there.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    format: Format,
    colour: bool,
    /// Of what goes to standard error.
    colour_of_warnings: bool,
}

impl Console {
    /// Colours only reach a terminal, and only when nobody asked for none.
    #[must_use]
    pub fn new(format: Format, no_colour: bool) -> Self {
        let console = Self {
            format,
            colour: !no_colour && io::stdout().is_terminal(),
            colour_of_warnings: !no_colour && io::stderr().is_terminal(),
        };
        console.look().set();
        console
    }

    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn colour(self) -> bool {
        self.colour
    }

    /// Tables stand on standard error too, below a refusal.
    pub(super) fn look(self) -> Look {
        Look {
            width: columns(),
            colour: self.colour && io::stderr().is_terminal(),
        }
    }

    /// Writes a text that is already fit for a terminal.
    pub(super) fn print(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Writes one JSON document, laid out for people.
    pub(super) fn print_json(self, document: &str) -> Result<(), Failure> {
        self.print(&json::pretty(document))
    }

    /// Writes one JSON document on one line, for streams of them.
    pub(super) fn print_json_line(self, document: &str) -> Result<(), Failure> {
        self.print(&json::compact(document))
    }

    /// The document for scripts, or the text for people: whichever was asked for. Scripts get the
    /// document even when no text can be made of it.
    pub(super) fn answer(
        self,
        document: &str,
        people: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.is_json() {
            self.print_json(document)
        } else {
            self.print(&people()?)
        }
    }

    /// Replaces what a terminal shows.
    pub(super) fn redraw(self, text: &str) -> Result<(), Failure> {
        if !io::stdout().is_terminal() {
            return self.print(&format!("{text}\n"));
        }
        let mut out = io::stdout().lock();
        let rows = terminal_size::terminal_size().map(|(_, height)| usize::from(height.0));
        let text = rows.map_or_else(|| text.to_owned(), |rows| its_head(text, rows));
        write!(out, "{}", over_the_last(&text))?;
        Ok(out.flush()?)
    }

    /// Something that people should know although the command did its work.
    pub(super) fn warn(self, sentence: &str) {
        let warning = format!("warning: {}", text::plain_block(sentence));
        if self.colour_of_warnings {
            say(&format!("{YELLOW}{warning}{PLAIN}"));
        } else {
            say(&warning);
        }
    }

    /// What was saved, but is probably not what was meant, with its place in the document.
    pub(super) fn warn_of(self, warnings: &[Mistake]) {
        for warning in warnings {
            self.warn(&warning.to_string());
        }
    }

    /// Whether somebody can be asked.
    pub(super) fn can_ask(self) -> bool {
        io::stdin().is_terminal()
    }

    /// Asks before something that cannot be taken back; only a person at a terminal can say yes.
    pub(super) fn confirm(self, question: &str) -> Result<(), Failure> {
        if !io::stdin().is_terminal() {
            return Err(Failure::Usage(format!(
                "nobody is there to answer: {question} Add --yes if you mean it."
            )));
        }
        let mut err = io::stderr().lock();
        let written = write!(err, "{} [y/N] ", text::plain(question)).and_then(|()| err.flush());
        let mut answer = String::new();
        let said_yes = written
            .and_then(|()| io::stdin().read_line(&mut answer))
            .is_ok()
            && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        if said_yes {
            Ok(())
        } else {
            Err(Failure::Failed("nothing was done.".to_owned()))
        }
    }

    /// Says how a command ended; with `--output json` a failure is a document on standard output as
    /// well.
    #[must_use]
    pub fn finish(self, outcome: Result<(), Failure>) -> ExitCode {
        let Err(failure) = outcome else {
            return ExitCode::SUCCESS;
        };
        let sentence = failure.sentence();
        if !sentence.is_empty() {
            say(&sentence);
            if self.is_json() {
                // The exit code already tells; a reader who has gone changes nothing about it.
                let _gone = self.print_json(&failure.document());
            }
        }
        ExitCode::from(failure.exit_code())
    }
}

/// For pictures, which grow no further.
pub(super) fn width() -> usize {
    columns().clamp(40, 140)
}

/// Columns of the terminal; what `COLUMNS` says wins, and without a terminal there are 80.
fn columns() -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.trim().parse::<usize>().ok())
        .or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)));
    columns.unwrap_or(80)
}

/// What a terminal of so many rows can show: more would push the head off the screen. The cursor
/// needs a row too.
fn its_head(text: &str, rows: usize) -> String {
    let room = rows.saturating_sub(1).max(2);
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= room {
        return text.to_owned();
    }
    let shown = room - 1;
    let head = lines.get(..shown).unwrap_or_default().join("\n");
    let rest = lines.len() - shown;
    format!("{head}\n… {rest} more lines; make the terminal higher")
}

/// From the top left corner on; each line is cleared to its end instead of the whole screen, so
/// nothing flickers.
fn over_the_last(text: &str) -> String {
    format!(
        "\u{1b}[H{}\u{1b}[K\n\u{1b}[J",
        text.replace('\n', "\u{1b}[K\n")
    )
}

/// Standard error may be closed; then there is nobody left to tell. Nor is there when its reader
/// stands still, and a router that has stopped must end all the same.
fn say(text: &str) {
    let line = format!("{text}\n");
    let (said, heard) = mpsc::channel();
    let speaker = thread::Builder::new().spawn(move || {
        let _closed = io::stderr().lock().write_all(line.as_bytes());
        let _gave_up = said.send(());
    });
    if speaker.is_ok() {
        let _nobody_reads = heard.recv_timeout(SAY_LIMIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_frame_leaves_nothing_of_a_longer_one() {
        assert_eq!(
            over_the_last("a\nb"),
            "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J"
        );
    }

    #[test]
    fn the_head_stays_on_the_screen() {
        let text = "router\n\nNAME\na\nb\nc\nd";
        assert_eq!(its_head(text, 8), text);
        let shown = its_head(text, 6);
        assert_eq!(
            shown,
            "router\n\nNAME\na\n… 3 more lines; make the terminal higher"
        );
        assert_eq!(its_head(text, 0).lines().count(), 2);
    }

    #[test]
    fn without_a_terminal_there_is_no_colour_and_nobody_to_ask() {
        let console = Console {
            format: Format::Table,
            colour: false,
            colour_of_warnings: false,
        };
        if !io::stdin().is_terminal() {
            let failure = console
                .confirm("Delete policy 'x'?")
                .expect_err("nobody said yes");
            assert_eq!(failure.exit_code(), 2);
            assert_eq!(
                failure.sentence(),
                "error: nobody is there to answer: Delete policy 'x'? Add --yes if you mean it."
            );
        }
    }
}
