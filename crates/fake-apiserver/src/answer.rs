//! Answers: objects, and the `Status` of a failure in the words of the real API server.

use std::io;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What is answered with a document.
#[derive(Debug)]
pub(crate) struct Answer {
    pub code: u16,
    pub body: Value,
    pub retry_after: Option<u64>,
}

impl Answer {
    pub fn ok(body: Value) -> Answer {
        Answer { code: 200, body, retry_after: None }
    }

    pub fn created(body: Value) -> Answer {
        Answer { code: 201, body, retry_after: None }
    }

    pub fn failure(code: u16, reason: &str, message: impl Into<String>, causes: Vec<Value>) -> Answer {
        let message = message.into();
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        if !causes.is_empty() {
            body["details"] = json!({ "causes": causes });
        }
        Answer { code, body, retry_after: None }
    }

    pub fn not_found(resource: &str, name: &str) -> Answer {
        Answer::failure(404, "NotFound", format!("{resource} {name:?} not found"), Vec::new())
    }

    pub fn unknown_path() -> Answer {
        Answer::failure(404, "NotFound", "the server could not find the requested resource", Vec::new())
    }

    /// A field that isn't as it must be.
    pub fn invalid(kind: &str, name: &str, field: &str, text: &str) -> Answer {
        let cause = json!({ "reason": "FieldValueInvalid", "message": text, "field": field });
        Answer::failure(422, "Invalid", format!("{kind} {name:?} is invalid: {field}: {text}"), vec![cause])
    }

    pub fn response(&self) -> Response<Body> {
        let mut response = respond(self.code, "application/json", self.body.to_string());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

pub(crate) fn respond(code: u16, kind: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    // A code of a test that HTTP has no room for.
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or(hyper::StatusCode::IM_A_TEAPOT);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
