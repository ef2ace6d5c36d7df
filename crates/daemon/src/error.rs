//! Errors towards people: the whole chain in one line, and the last words of a program that cannot start.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Prints an error and everything that caused it, outermost first, joined by `: `.
///
/// Our errors never repeat their source, so each link says something new; a link that wraps another
/// one transparently is printed once.
pub fn error_chain<'a>(error: &'a (dyn Error + 'a)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            if text != said {
                write!(f, ": {text}")?;
            }
            said = text;
            next = error.source();
        }
        Ok(())
    }
}

/// Says on standard error why the program fails, and gives exit code 1. For use before logs are set up,
/// and by subcommands.
pub fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    say(error);
    ExitCode::from(1)
}

/// Says on standard error what is wrong with the arguments or the configuration, and gives exit code 2.
pub fn fail_usage(error: &(dyn Error + 'static)) -> ExitCode {
    say(error);
    ExitCode::from(2)
}

fn say(error: &(dyn Error + 'static)) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "error: {}", error_chain(error));
}
