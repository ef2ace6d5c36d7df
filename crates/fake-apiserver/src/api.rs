//! The API: a request in, an answer out. Transport and faults of it are the server's.

use std::collections::BTreeMap;

use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::answer::{Answer, Body};
use crate::apply::{apply, merge_changes, update};
use crate::metadata::{check, partial};
use crate::state::State;

const NODES: &str = "/api/v1/nodes";

/// A request that was read.
#[derive(Debug)]
pub(crate) struct Asked {
    pub verb: &'static str,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    pub content_type: String,
    pub metadata: bool,
}

/// What is answered.
pub(crate) enum Outcome {
    Document(Answer),
    Stream(Response<Body>),
}

/// Which resource a path names.
struct Place<'a> {
    kind: &'static str,
    resource: &'static str,
    collection: &'a str,
    name: Option<&'a str>,
}

pub(crate) fn serve(state: &mut State, asked: &Asked) -> Outcome {
    let Some(place) = place(state, &asked.path) else { return Outcome::Document(Answer::unknown_path()) };
    if asked.verb == "watch" {
        return watch(state, asked, &place);
    }
    let answer = match (asked.verb, place.name) {
        ("get", Some(_)) if state.refuse_reads_of_nodes && place.kind == "Node" => Err(no_right_to("get")),
        ("get", Some(name)) => get(state, asked, &place, name),
        ("create", None) => create(state, asked, &place),
        ("update", Some(name)) => replace(state, asked, &place, name),
        ("patch", Some(name)) => patch(state, asked, &place, name),
        ("delete", Some(name)) => match state.delete(&asked.path) {
            Some(_) => Ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })),
            None => Err(Answer::not_found(place.resource, name)),
        },
        _ => Err(Answer::failure(405, "MethodNotAllowed", "the server does not allow this", Vec::new())),
    };
    Outcome::Document(match answer {
        Err(answer) => answer,
        Ok(object) => {
            let object = if asked.metadata && object["kind"] != "Status" { partial(&object) } else { object };
            if asked.verb == "create" { Answer::created(object) } else { Answer::ok(object) }
        }
    })
}

fn place<'a>(state: &State, path: &'a str) -> Option<Place<'a>> {
    let named = |rest: &'a str| rest.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'));
    if let Some(rest) = path.strip_prefix(NODES) {
        let (kind, resource) = ("Node", "nodes");
        return match rest {
            "" => Some(Place { kind, resource, collection: path, name: None }),
            rest => Some(Place { kind, resource, collection: NODES, name: Some(named(rest)?) }),
        };
    }
    let groups = [
        ("/apis/events.k8s.io/v1/namespaces/", "events", "Event"),
        ("/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/", "nodefeatures", "NodeFeature"),
    ];
    let (rest, resource, kind) = groups
        .iter()
        .find_map(|(prefix, resource, kind)| Some((path.strip_prefix(prefix)?, *resource, *kind)))?;
    if kind == "NodeFeature" && !state.node_features {
        return None;
    }
    let (_, rest) = rest.split_once('/')?;
    let rest = rest.strip_prefix(resource)?;
    let collection = &path[..path.len() - rest.len()];
    match rest {
        "" => Some(Place { kind, resource, collection, name: None }),
        rest => Some(Place { kind, resource, collection, name: Some(named(rest)?) }),
    }
}

fn get(state: &State, asked: &Asked, place: &Place<'_>, name: &str) -> Result<Value, Answer> {
    state.objects.get(&asked.path).cloned().ok_or_else(|| Answer::not_found(place.resource, name))
}

fn create(state: &mut State, asked: &Asked, place: &Place<'_>) -> Result<Value, Answer> {
    let name = asked.body["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{}/{name}", place.collection);
    if name.is_empty() || asked.body["kind"] != place.kind {
        return Err(Answer::failure(400, "BadRequest", "this is no object of that kind", Vec::new()));
    }
    if state.objects.contains_key(&path) {
        let message = format!("{} {name:?} already exists", place.resource);
        return Err(Answer::failure(409, "AlreadyExists", message, Vec::new()));
    }
    accept(state, place, name, None, &asked.body)?;
    let intent = merge_changes(&asked.body);
    let mut bare = asked.body.clone();
    for map in ["labels", "annotations"] {
        if let Some(metadata) = bare["metadata"].as_object_mut() {
            metadata.remove(map);
        }
    }
    Ok(state.create(&path, update(&bare, &intent, manager(asked))))
}

fn replace(state: &mut State, asked: &Asked, place: &Place<'_>, name: &str) -> Result<Value, Answer> {
    let found = get(state, asked, place, name)?;
    let version = &asked.body["metadata"]["resourceVersion"];
    if !version.is_null() && *version != found["metadata"]["resourceVersion"] {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: the object has been modified",
            place.resource
        );
        return Err(Answer::failure(409, "Conflict", message, Vec::new()));
    }
    accept(state, place, name, Some(&found), &asked.body)?;
    let mut object = asked.body.clone();
    for member in ["uid", "resourceVersion", "managedFields"] {
        object["metadata"][member] = found["metadata"][member].clone();
    }
    Ok(state.replace(&asked.path, object))
}

fn patch(state: &mut State, asked: &Asked, place: &Place<'_>, name: &str) -> Result<Value, Answer> {
    let applies = asked.content_type == "application/apply-patch+yaml";
    let uid = asked.body["metadata"]["uid"].as_str();
    let Some(found) = state.objects.get(&asked.path).cloned() else {
        return match (applies, uid) {
            (true, Some(uid)) => {
                let message = format!(
                    "Operation cannot be fulfilled on {} {name:?}: uid mismatch: the provided object specified uid {uid}, and no existing object was found",
                    place.resource
                );
                Err(Answer::failure(409, "Conflict", message, Vec::new()))
            }
            (true, None) => {
                let bare = json!({ "apiVersion": asked.body["apiVersion"], "kind": place.kind, "metadata": { "name": name } });
                let object = apply(&bare, &asked.body, manager(asked), false)?;
                Ok(state.create(&asked.path, object))
            }
            _ => Err(Answer::not_found(place.resource, name)),
        };
    };
    if uid.is_some_and(|uid| found["metadata"]["uid"] != uid) {
        let text = format!("Invalid value: {:?}: field is immutable", uid.unwrap_or_default());
        return Err(Answer::invalid(place.kind, name, "metadata.uid", &text));
    }
    let object = match asked.content_type.as_str() {
        "application/apply-patch+yaml" => {
            if manager(asked).is_empty() {
                let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
                return Err(Answer::failure(422, "Invalid", message, Vec::new()));
            }
            let force = asked.query.get("force").is_some_and(|value| value == "true");
            apply(&found, &asked.body, manager(asked), force)?
        }
        "application/merge-patch+json" => update(&found, &merge_changes(&asked.body), manager(asked)),
        other => {
            let message = format!("the body of the request was in an unknown format - {other}");
            return Err(Answer::failure(415, "UnsupportedMediaType", message, Vec::new()));
        }
    };
    accept(state, place, name, Some(&found), &object)?;
    Ok(state.replace(&asked.path, object))
}

/// The rules that every write keeps to.
fn accept(
    state: &State,
    place: &Place<'_>,
    name: &str,
    before: Option<&Value>,
    object: &Value,
) -> Result<(), Answer> {
    check(place.kind, name, object)?;
    state.admit(before, object)?;
    if place.kind == "Event" {
        for member in ["eventTime", "reportingController", "reportingInstance", "action", "reason"] {
            if object[member].as_str().is_none_or(str::is_empty) {
                return Err(Answer::invalid("Event", name, member, "Required value"));
            }
        }
    }
    let owned = object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
    if owned && state.refuse_owners {
        let message = format!(
            "{} {name:?} is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on",
            place.resource
        );
        return Err(Answer::failure(403, "Forbidden", message, Vec::new()));
    }
    Ok(())
}

fn watch(state: &mut State, asked: &Asked, place: &Place<'_>) -> Outcome {
    let selected = asked.query.get("fieldSelector").and_then(|text| text.strip_prefix("metadata.name="));
    let Some(node) = selected.filter(|_| place.kind == "Node" && place.name.is_none()) else {
        let message = "only one Node can be watched here, selected by its name";
        return Outcome::Document(Answer::failure(400, "BadRequest", message, Vec::new()));
    };
    if state.refuse_watches {
        return Outcome::Document(no_right_to("watch"));
    }
    let since =
        asked.query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(state.version);
    let (lines, stream) = mpsc::unbounded_channel();
    state.watches.open(node, since, asked.metadata, lines);
    Outcome::Stream(Response::new(StreamBody::new(UnboundedReceiverStream::new(stream)).boxed_unsync()))
}

fn no_right_to(verb: &str) -> Answer {
    let message = format!(
        "nodes is forbidden: User \"system:serviceaccount:gantry:agent\" cannot {verb} resource \"nodes\" in API group \"\" at the cluster scope"
    );
    Answer::failure(403, "Forbidden", message, Vec::new())
}

fn manager(asked: &Asked) -> &str {
    asked.query.get("fieldManager").map_or("", String::as_str)
}
