//! The cases. Each leaves the Node as it found it, or says what is wrong.

use serde_json::{Value, json};

use super::client::{Client, Reply};

const NODE: &str = "gantry-conformance";
const NODES: &str = "/api/v1/nodes";
const KEY: &str = "conformance.gantry.dev/a.b_c";
const OTHER_KEY: &str = "conformance.gantry.dev/other";
const OURS: &str = "conformance-ours";
const THEIRS: &str = "conformance-theirs";
const FEATURES: &str = "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/default/nodefeatures";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

type Found = Result<(), String>;

pub(super) async fn all(client: &Client, node_features: bool) -> Vec<(&'static str, Found)> {
    let stage = Stage { client };
    let mut found = vec![("a Node can be created", stage.begin().await)];
    found.push(("an apply owns its keys, and answers with metadata alone", stage.owns().await));
    found.push(("an apply that changes nothing leaves the version", stage.same().await));
    found.push(("an apply without a key removes it", stage.drops().await));
    found.push(("a key that another changed conflicts by name and owner", stage.conflicts().await));
    found.push(("a key that two applied stays when one gives it up", stage.shares().await));
    found.push(("a key that another removed comes back without conflict", stage.restores().await));
    found.push(("a bad label is refused with field and value", stage.refuses_label().await));
    found.push(("an apply with a uid never creates", stage.never_creates().await));
    found.push(("a Node that isn't there is a Status of NotFound", stage.absent().await));
    found.push(("an event needs its members", stage.events().await));
    if node_features {
        found.push(("a NodeFeature is created, replaced by version, and deleted", stage.features().await));
    }
    found.push(("a watch of one Node goes on from a version to its deletion", stage.watches().await));
    found
}

struct Stage<'a> {
    client: &'a Client,
}

impl Stage<'_> {
    async fn begin(&self) -> Found {
        self.client.send("DELETE", &node(), &Value::Null, false).await?;
        let body = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
        expect(&self.client.send("POST", NODES, &body, false).await?, 201)
    }

    async fn owns(&self) -> Found {
        let reply = self.apply(OURS, &[(KEY, "1"), (OTHER_KEY, "2")]).await?;
        expect(&reply, 200)?;
        equal("kind", &reply.body["kind"], "PartialObjectMetadata")?;
        equal("value", &reply.body["metadata"]["labels"][KEY], "1")?;
        if reply.body.get("spec").is_some() {
            return Err("the answer has a spec".to_owned());
        }
        if owned(&reply.body, OURS) == 2 { Ok(()) } else { Err(managed(&reply.body)) }
    }

    async fn same(&self) -> Found {
        let version = |reply: &Reply| reply.body["metadata"]["resourceVersion"].clone();
        // The cluster's own controllers write to a new Node, too: once it must be calm.
        for _ in 0..5 {
            let before = self.apply(OURS, &[(KEY, "1"), (OTHER_KEY, "2")]).await?;
            let after = self.apply(OURS, &[(KEY, "1"), (OTHER_KEY, "2")]).await?;
            if version(&before) == version(&after) {
                return Ok(());
            }
        }
        Err("it changed each of 5 times".to_owned())
    }

    async fn drops(&self) -> Found {
        let reply = self.apply(OURS, &[(KEY, "1")]).await?;
        equal("value", &reply.body["metadata"]["labels"][OTHER_KEY], Value::Null)
    }

    async fn conflicts(&self) -> Found {
        expect(&self.update(THEIRS, KEY, Value::from("theirs")).await?, 200)?;
        let reply = self.apply(OURS, &[(KEY, "1"), (OTHER_KEY, "2")]).await?;
        expect(&reply, 409)?;
        equal("reason", &reply.body["reason"], "Conflict")?;
        let causes = reply.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        let [cause] = causes.as_slice() else { return Err(format!("causes: {causes:?}")) };
        equal("the cause's reason", &cause["reason"], "FieldManagerConflict")?;
        equal("the cause's field", &cause["field"], format!(".metadata.labels.{KEY}").as_str())?;
        let by = format!("conflict with {THEIRS:?}");
        if !cause["message"].as_str().is_some_and(|text| text.starts_with(&by)) {
            return Err(format!("the cause's message: {}", cause["message"]));
        }
        // Without that key, the other goes.
        let reply = self.apply(OURS, &[(OTHER_KEY, "2")]).await?;
        equal("value", &reply.body["metadata"]["labels"][OTHER_KEY], "2")?;
        equal("value", &reply.body["metadata"]["labels"][KEY], "theirs")?;
        expect(&self.update(THEIRS, KEY, Value::Null).await?, 200)
    }

    async fn shares(&self) -> Found {
        expect(&self.apply(OURS, &[(KEY, "1")]).await?, 200)?;
        expect(&self.apply(THEIRS, &[(KEY, "1")]).await?, 200)?;
        let reply = self.apply(OURS, &[]).await?;
        expect(&reply, 200)?;
        equal("value", &reply.body["metadata"]["labels"][KEY], "1")?;
        if owned(&reply.body, OURS) != 0 {
            return Err(managed(&reply.body));
        }
        let reply = self.apply(THEIRS, &[]).await?;
        equal("value", &reply.body["metadata"]["labels"][KEY], Value::Null)
    }

    async fn restores(&self) -> Found {
        expect(&self.apply(OURS, &[(KEY, "1")]).await?, 200)?;
        let reply = self.update(THEIRS, KEY, Value::Null).await?;
        equal("value", &reply.body["metadata"]["labels"][KEY], Value::Null)?;
        if owned(&reply.body, OURS) != 0 {
            return Err(managed(&reply.body));
        }
        let reply = self.apply(OURS, &[(KEY, "1")]).await?;
        expect(&reply, 200)?;
        equal("value", &reply.body["metadata"]["labels"][KEY], "1")
    }

    async fn refuses_label(&self) -> Found {
        let reply = self.apply(OURS, &[(KEY, "not good!")]).await?;
        expect(&reply, 422)?;
        let cause = &reply.body["details"]["causes"][0];
        equal("the cause's field", &cause["field"], "metadata.labels")?;
        if cause["message"].as_str().is_some_and(|text| text.contains("Invalid value: \"not good!\"")) {
            return Ok(());
        }
        Err(format!("the cause's message: {}", cause["message"]))
    }

    async fn never_creates(&self) -> Found {
        let name = "gantry-conformance-absent";
        let uid = "00000000-0000-4000-8000-0000000000ff";
        let body = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "uid": uid } });
        let path = format!("{NODES}/{name}");
        let apply = format!("{path}?fieldManager={OURS}");
        let reply = self.client.send("PATCH application/apply-patch+yaml", &apply, &body, true).await?;
        expect(&reply, 409)?;
        expect(&self.client.send("GET", &path, &Value::Null, true).await?, 404)
    }

    async fn absent(&self) -> Found {
        let reply =
            self.client.send("GET", "/api/v1/nodes/gantry-conformance-absent", &Value::Null, true).await?;
        expect(&reply, 404)?;
        equal("kind", &reply.body["kind"], "Status")?;
        equal("reason", &reply.body["reason"], "NotFound")
    }

    async fn events(&self) -> Found {
        let mut event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": { "name": NODE, "namespace": "default" },
            "regarding": { "apiVersion": "v1", "kind": "Node", "name": NODE, "uid": NODE },
            "eventTime": format!("{:.6}", jiff::Timestamp::now()), "reportingController": "gantry.dev/conformance",
            "reportingInstance": "one", "action": "Try", "reason": "Trial", "type": "Normal", "note": "a trial",
        });
        let path = format!("{EVENTS}/{NODE}");
        self.client.send("DELETE", &path, &Value::Null, false).await?;
        expect(&self.client.send("POST", EVENTS, &event, false).await?, 201)?;
        expect(&self.client.send("POST", EVENTS, &event, false).await?, 409)?;
        self.client.send("DELETE", &path, &Value::Null, false).await?;
        event["action"] = Value::from("");
        expect(&self.client.send("POST", EVENTS, &event, false).await?, 422)
    }

    async fn features(&self) -> Found {
        let path = format!("{FEATURES}/{NODE}");
        self.client.send("DELETE", &path, &Value::Null, false).await?;
        let features = json!({
            "flags": { "f": { "elements": { "x": {} } } },
            "attributes": { "a": { "elements": { "k": "v" } } },
            "instances": { "i": { "elements": [{ "attributes": { "k": "v" } }] } },
        });
        let object = json!({
            "apiVersion": "nfd.k8s-sigs.io/v1alpha1", "kind": "NodeFeature",
            "metadata": { "name": NODE, "namespace": "default" },
            "spec": { "labels": { "example.com/a": "b" }, "features": features },
        });
        let reply = self.client.send("POST", FEATURES, &object, false).await?;
        expect(&reply, 201)?;
        equal("spec", &reply.body["spec"], object["spec"].clone())?;
        expect(&self.client.send("POST", FEATURES, &object, false).await?, 409)?;
        let mut newer = reply.body.clone();
        newer["spec"]["labels"]["example.com/a"] = Value::from("c");
        expect(&self.client.send("PUT", &path, &newer, false).await?, 200)?;
        newer["spec"]["labels"]["example.com/a"] = Value::from("d");
        expect(&self.client.send("PUT", &path, &newer, false).await?, 409)?;
        expect(&self.client.send("DELETE", &path, &Value::Null, false).await?, 200)
    }

    async fn watches(&self) -> Found {
        let reply = self.apply(OURS, &[]).await?;
        let version = reply.body["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        expect(&self.apply(OURS, &[(KEY, "seen")]).await?, 200)?;
        let mut watch = self
            .client
            .watch(&format!(
                "{NODES}?watch=true&fieldSelector=metadata.name%3D{NODE}&resourceVersion={version}"
            ))
            .await?;
        loop {
            let event = watch.next().await?;
            equal("type", &event["type"], "MODIFIED")?;
            equal("kind", &event["object"]["kind"], "PartialObjectMetadata")?;
            equal("name", &event["object"]["metadata"]["name"], NODE)?;
            if event["object"]["metadata"]["labels"][KEY] == "seen" {
                break;
            }
        }
        expect(&self.client.send("DELETE", &node(), &Value::Null, false).await?, 200)?;
        // Controllers may write to it until then.
        for _ in 0..20 {
            let event = watch.next().await?;
            if event["type"] == "DELETED" {
                return equal("name", &event["object"]["metadata"]["name"], NODE);
            }
        }
        Err("no event tells of the deletion".to_owned())
    }

    async fn apply(&self, manager: &str, labels: &[(&str, &str)]) -> Result<Reply, String> {
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
        let mut body = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
        if !labels.is_empty() {
            body["metadata"]["labels"] = Value::Object(labels);
        }
        let path = format!("{}?fieldManager={manager}", node());
        self.client.send("PATCH application/apply-patch+yaml", &path, &body, true).await
    }

    async fn update(&self, manager: &str, key: &str, value: Value) -> Result<Reply, String> {
        let body = json!({ "metadata": { "labels": { key: value } } });
        let path = format!("{}?fieldManager={manager}", node());
        self.client.send("PATCH application/merge-patch+json", &path, &body, true).await
    }
}

fn node() -> String {
    format!("{NODES}/{NODE}")
}

fn expect(reply: &Reply, code: u16) -> Found {
    if reply.code == code {
        Ok(())
    } else {
        Err(format!("code {} instead of {code}: {}", reply.code, reply.body))
    }
}

fn equal(what: &str, found: &Value, wanted: impl Into<Value>) -> Found {
    let wanted = wanted.into();
    if *found == wanted { Ok(()) } else { Err(format!("{what} is {found}, not {wanted}")) }
}

/// How many labels a manager applied.
fn owned(object: &Value, manager: &str) -> usize {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let ours = entries.filter(|entry| entry["manager"] == manager && entry["operation"] == "Apply");
    ours.map(|entry| {
        entry["fieldsV1"]["f:metadata"]["f:labels"]
            .as_object()
            .map_or(0, |keys| keys.keys().filter(|key| key.starts_with("f:")).count())
    })
    .sum()
}

fn managed(object: &Value) -> String {
    format!("managed fields: {}", object["metadata"]["managedFields"])
}
