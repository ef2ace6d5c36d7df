//! The terminal view: 80 columns, few colours, none where they are not wanted. It knows layout, not meaning.

use std::io::{self, Write};

use fake_kubelet::align;

use crate::args::Looks;
use crate::wording::wrap;

/// Columns used; a terminal has at least so many.
const WIDTH: usize = 80;

/// Columns before what a scene says.
const INDENT: usize = 3;

/// Columns of the names of facts.
const NAME: usize = 10;

/// How something is meant to strike the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As text is.
    Plain,
    /// Stronger.
    Bold,
    /// Weaker.
    Dim,
    /// Good.
    Good,
    /// Bad.
    Bad,
    /// Somebody's.
    Held,
}

/// The terminal.
#[derive(Debug)]
pub struct Screen {
    looks: Looks,
    out: io::Stdout,
}

impl Screen {
    /// The standard output, used like this.
    pub fn new(looks: Looks) -> Screen {
        Screen { looks, out: io::stdout() }
    }

    /// Whether somebody reads along.
    pub fn is_paced(&self) -> bool {
        self.looks.paced
    }

    /// The first line: what this is, and of which node.
    pub fn title(&mut self, text: &str, right: &str) -> io::Result<()> {
        let gap = " ".repeat(WIDTH.saturating_sub(text.len() + right.len()));
        let (text, right) = (self.paint(Tone::Bold, text), self.paint(Tone::Dim, right));
        self.line(&format!("{text}{gap}{right}"))
    }

    /// A scene begins.
    pub fn scene(&mut self, number: usize, name: &str) -> io::Result<()> {
        let text = self.paint(Tone::Bold, &format!("{number}  {name}"));
        self.line("")?;
        self.line(&text)
    }

    /// Somebody does something.
    pub fn action(&mut self, text: &str) -> io::Result<()> {
        let sign = self.paint(Tone::Held, if self.looks.ascii { ">" } else { "▸" });
        self.hang(&sign, 1, Tone::Bold, text)
    }

    /// Something that can be seen, under a name.
    pub fn fact(&mut self, name: &str, text: &str) -> io::Result<()> {
        let name = self.paint(Tone::Dim, &format!("  {name:NAME$}"));
        self.hang(&name, NAME + 2, Tone::Plain, text)
    }

    /// Words of a program.
    pub fn quote(&mut self, name: &str, text: &str) -> io::Result<()> {
        let name = self.paint(Tone::Dim, &format!("  {name:NAME$}"));
        self.hang(&name, NAME + 2, Tone::Dim, text)
    }

    /// Whether something is as expected.
    pub fn check(&mut self, holds: bool, text: &str) -> io::Result<()> {
        let (sign, tone) = match (holds, self.looks.ascii) {
            (true, false) => ("✓", Tone::Good),
            (true, true) => ("ok", Tone::Good),
            (false, false) => ("✗", Tone::Bad),
            (false, true) => ("FAILED", Tone::Bad),
        };
        let painted = self.paint(tone, sign);
        self.hang(&painted, sign.chars().count(), if holds { Tone::Plain } else { tone }, text)
    }

    /// Cells of one width under a name.
    pub fn strip(&mut self, name: &str, cells: &[(String, Tone)]) -> io::Result<()> {
        let width = cells.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
        let cells: Vec<String> =
            cells.iter().map(|(text, tone)| self.paint(*tone, &format!("{text:width$}"))).collect();
        let name = self.paint(Tone::Dim, &format!("  {name:NAME$}"));
        self.line(&format!("{:INDENT$}{name} {}", "", cells.join("  ")))
    }

    /// A table; the cells of a row have one tone.
    pub fn table(&mut self, head: &[&str], rows: &[(Vec<String>, Tone)]) -> io::Result<()> {
        let titles: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
        let lines: Vec<Vec<String>> =
            std::iter::once(titles).chain(rows.iter().map(|(cells, _)| cells.clone())).collect();
        let tones = std::iter::once(Tone::Dim).chain(rows.iter().map(|(_, tone)| *tone));
        let indent = INDENT + 2;
        for (line, tone) in align(&lines).iter().zip(tones) {
            let painted = self.paint(tone, line);
            self.line(&format!("{:indent$}{painted}", ""))?;
        }
        Ok(())
    }

    /// A remark beside the show.
    pub fn hint(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(Tone::Dim, text);
        self.line(&format!("{:INDENT$}{text}", ""))
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock();
        writeln!(out, "{}", text.trim_end())?;
        out.flush()
    }

    /// A text with a sign before its first line, all its lines beginning in one column.
    fn hang(&mut self, sign: &str, sign_width: usize, tone: Tone, text: &str) -> io::Result<()> {
        let indent = INDENT + sign_width + 1;
        for (at, line) in wrap(text, WIDTH - indent).iter().enumerate() {
            let line = self.paint(tone, line);
            let line = if at == 0 {
                format!("{:INDENT$}{sign} {line}", "")
            } else {
                format!("{:indent$}{line}", "")
            };
            self.line(&line)?;
        }
        Ok(())
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            _ if !self.looks.colours => return text.to_owned(),
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Held => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
