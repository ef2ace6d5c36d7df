//! The client of a daemon's admin server: one GET, one answer. Plain HTTP/1.1 over a socket, so that no library of
//! the daemons judges itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

use crate::eventually::NotInTime;

/// Patience with a daemon on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an admin server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAnswer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// An admin server that was not heard.
#[derive(Debug, Error)]
pub enum AdminError {
    /// It does not listen.
    #[error(transparent)]
    Silent(#[from] NotInTime),
    /// The connection failed.
    #[error("GET {path} at {address}")]
    Io {
        /// Where.
        address: SocketAddr,
        /// What was asked for.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It does not speak HTTP.
    #[error("GET {path} at {address} got no HTTP answer: {answer:?}")]
    Garbled {
        /// Where.
        address: SocketAddr,
        /// What was asked for.
        path: String,
        /// What came instead.
        answer: String,
    },
}

impl AdminAnswer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_str(&self.body)
    }

    /// Sum of the samples of a `/metrics` page whose name and labels begin so; 0 when there are none, no number when
    /// one of them is none.
    pub fn metric(&self, sample: &str) -> f64 {
        let samples = self.body.lines().filter(|line| line.starts_with(sample));
        let values = samples.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()));
        values.map(|value| value.unwrap_or(f64::NAN)).sum()
    }
}

/// Asks for `path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<AdminAnswer, AdminError> {
    let answer = exchange(address, path).map_err(|source| AdminError::Io {
        address,
        path: path.to_owned(),
        source,
    })?;
    parse(&answer).ok_or_else(|| AdminError::Garbled { address, path: path.to_owned(), answer })
}

fn exchange(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Status and body. The admin server closes each connection and sends no chunks, so the body is the rest.
fn parse(answer: &str) -> Option<AdminAnswer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(AdminAnswer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_status_and_body_and_anything_else_is_none() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno").unwrap();
        assert_eq!(answer, AdminAnswer { status: 503, body: "no".to_owned() });
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn metric_is_the_sum_of_its_samples_and_of_no_others() {
        let body =
            "# TYPE gpus gauge\ngpus{health=\"good\"} 6\ngpus{health=\"bad\"} 2\ngpu_age 40\n".to_owned();
        let page = AdminAnswer { status: 200, body };
        for (sample, sum) in [("gpus{", 8.0), ("gpus{health=\"bad\"}", 2.0), ("pods", 0.0)] {
            assert!((page.metric(sample) - sum).abs() < f64::EPSILON, "{sample}");
        }
        assert!(AdminAnswer { status: 200, body: "gpus{} many".to_owned() }.metric("gpus").is_nan());
    }
}
