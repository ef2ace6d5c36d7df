//! Answers of the admin server. Pure but for what it reads from memory: no answer waits for anything.

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::Sources;
use crate::metrics;

const PATHS: [&str; 4] = ["/live", "/ready", "/metrics", "/version"];

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The answer to one request.
pub(super) fn answer<B: Body>(request: &Request<B>, sources: &Sources) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if !request.body().is_end_stream() {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here\n");
    }
    match request.uri().path() {
        "/live" => text(StatusCode::OK, "live\n"),
        "/ready" => {
            let report = sources.readiness.report();
            let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            json(status, &report)
        }
        "/metrics" => match metrics::text(&sources.registry) {
            Ok(metrics) => response(StatusCode::OK, metrics::CONTENT_TYPE, metrics),
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot encode the metrics: {error}\n"))
            }
        },
        "/version" => json(StatusCode::OK, &sources.build),
        _ => text(StatusCode::NOT_FOUND, &format!("nothing here; there is {}\n", PATHS.join(", "))),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    response(status, TEXT, body.to_owned())
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(body) {
        Ok(body) => response(status, JSON, body + "\n"),
        Err(error) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot encode the answer: {error}\n"))
        }
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
