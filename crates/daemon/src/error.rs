//! Errors towards people: the whole chain in one line, and the last words of a program that cannot start.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::log;

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

/// Says why the program fails, and gives exit code 1: in the log once that is set up, so that a log in JSON stays one;
/// before that, and in subcommands, on standard error.
pub fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    say(error);
    ExitCode::from(1)
}

/// Says what is wrong with the arguments or the configuration, where [`fail`] would, and gives exit code 2.
pub fn fail_usage(error: &(dyn Error + 'static)) -> ExitCode {
    say(error);
    ExitCode::from(2)
}

fn say(error: &(dyn Error + 'static)) {
    if log::is_set_up() {
        tracing::error!(error = %error_chain(error), "cannot go on");
        return;
    }
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "error: {}", error_chain(error));
}
