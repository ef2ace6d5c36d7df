//! What an API server says when it doesn't do what it was asked: code, `Status`, `Retry-After`.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use kube::core::Status;

/// The longest text of an answer that is kept, in bytes: a proxy may answer with a page.
const MAX_TEXT: usize = 1024;

/// A refusal or failure that the API server answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's code.
    pub code: u16,
    /// The `Status`' reason, as `Conflict`; empty when there was none.
    pub reason: String,
    /// The `Status`' message, or the begin of the body when it is none.
    pub message: String,
    /// What the message consists of, each with its field.
    pub causes: Vec<Cause>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// One of the causes of an [`Answer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// As `FieldManagerConflict` or `FieldValueInvalid`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// As `.metadata.labels.KEY` or `metadata.labels`.
    pub field: String,
}

impl Answer {
    /// Reads an answer that isn't a success. Total: whatever the body is, there is an answer.
    pub(crate) fn read(code: u16, headers: &HeaderMap, body: &[u8]) -> Answer {
        let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        // The other form, a date, would need the server's clock; API servers don't send it.
        let header = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let Ok(status) = serde_json::from_slice::<Status>(body) else {
            let message = cut(String::from_utf8_lossy(body).trim());
            return Answer { code, message, retry_after: header, ..Answer::default() };
        };
        let (causes, asked) =
            status.details.map(|it| (it.causes, it.retry_after_seconds)).unwrap_or_default();
        let asked = (asked > 0).then(|| Duration::from_secs(u64::from(asked)));
        let causes = causes.into_iter();
        Answer {
            code,
            reason: status.reason,
            message: cut(&status.message),
            causes: causes
                .map(|it| Cause { reason: it.reason, message: it.message, field: it.field })
                .collect(),
            retry_after: header.or(asked),
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().take_while(|(at, _)| *at <= MAX_TEXT).last() {
        Some((at, _)) if at >= MAX_TEXT - 4 => format!("{}...", &text[..at]),
        _ => text.to_owned(),
    }
}
