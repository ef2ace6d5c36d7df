//! Why a request to the API server came to nothing.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error as ThisError;

use crate::answer::Answer;

/// Why a request came to nothing. Each but [`ApiError::Answer`] is worth trying again.
#[derive(Clone, Debug, ThisError)]
pub enum ApiError {
    /// There is no client yet: no service account, no kubeconfig, or one that makes no sense.
    #[error("cannot prepare access to the Kubernetes API by {access}")]
    Access {
        /// What was to be used.
        access: String,
        /// What is wrong with it.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// No connection, or one that broke.
    #[error("cannot reach the Kubernetes API")]
    Unreachable(#[source] Arc<dyn Error + Send + Sync>),
    /// No full answer in time.
    #[error("the Kubernetes API gave no answer within {0:?}")]
    Timeout(Duration),
    /// The server's own refusal.
    #[error("the Kubernetes API answered {}: {}", .0.code, .0.message)]
    Answer(Box<Answer>),
    /// Success, but not of a kind that Kubernetes answers with: a proxy's page, for example.
    #[error("the Kubernetes API answered with nothing that makes sense: {what}")]
    Garbage {
        /// What was seen.
        what: String,
    },
}

impl ApiError {
    /// The server's refusal, if it is one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            ApiError::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// HTTP's code, if the server refused.
    pub fn code(&self) -> Option<u16> {
        self.answer().map(|answer| answer.code)
    }

    /// A short constant for readiness reports and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            ApiError::Access { .. } => "api-access",
            ApiError::Unreachable(_) => "api-unreachable",
            ApiError::Timeout(_) => "api-timeout",
            ApiError::Garbage { .. } => "api-garbage",
            ApiError::Answer(answer) => match answer.code {
                401 => "api-unauthorized",
                403 => "api-forbidden",
                404 => "api-not-found",
                409 => "api-conflict",
                429 => "api-throttled",
                500.. => "api-failing",
                _ => "api-refused",
            },
        }
    }

    /// Error and causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }

    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer().and_then(|answer| answer.retry_after)
    }
}
