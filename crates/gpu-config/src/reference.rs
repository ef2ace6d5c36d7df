//! The reference of the file, from its types: a JSON schema, and a page for people.

use std::fmt::Write as _;

use schemars::Schema;
use serde_json::{Map, Value};

use crate::file::File;

/// The JSON schema of the file, draft 2020-12.
pub fn json_schema() -> Schema {
    schemars::schema_for!(File)
}

/// The page for people, in Markdown.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    let schema = json_schema();
    for key in Walk::over(&schema) {
        let _ = writeln!(page, "| `{}` | {} | {} |", key.path, key.values, key.meaning);
    }
    page.push_str(TAIL);
    page
}

const HEAD: &str = "\
# The config file

`gpu-device-plugin` and `gpu-feature-discovery` read the same file, YAML or JSON. It is the one of NVIDIA's device plugin
(`version: v1`): an existing file works unchanged. `gpu-device-plugin check FILE` says what is wrong with one, and where.

```yaml
version: v1
flags:
  migStrategy: mixed
sharing:
  timeSlicing:
    renameByDefault: true
    resources:
      - name: nvidia.com/gpu
        replicas: 4
```

Every key may be left out. `[]` stands for each entry of a list.

| Key | Value | Meaning |
|---|---|---|
";

const TAIL: &str = "
## Strict, or as NVIDIA's

By default an unknown or misplaced key, a value of the wrong kind and a combination that cannot be are errors, all told at
once. With `--compat` the file means what it means to NVIDIA's device plugin v0.20: unknown keys, `sharing.mps`,
`devices`, `gpuManagement`, `health`, `rename`, a choice of `devices` within a shared resource, and `resources` have no effect, and
each is told as a warning. What the ways of injection are and which settings take effect when: [device-plugin.md](device-plugin.md).

This page and `config.schema.json` beside it are generated from the types in `crates/gpu-config`; `UPDATE_GOLDEN=1 cargo
test -p gpu-config` writes them anew.
";

/// One key of the file.
#[derive(Debug)]
pub(crate) struct Key {
    /// Whole path, with `[]` for each list.
    path: String,
    /// What can be written there.
    values: String,
    /// What it means.
    meaning: String,
}

impl Key {
    /// The key itself.
    pub fn key(&self) -> &str {
        self.path.rsplit_once('.').map_or(self.path.as_str(), |(_, key)| key).trim_end_matches("[]")
    }

    /// The path of the map in which it stands.
    pub fn parent(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }
}

/// A walk over the keys of a schema.
pub(crate) struct Walk<'a> {
    definitions: Option<&'a Map<String, Value>>,
    keys: Vec<Key>,
}

impl<'a> Walk<'a> {
    /// All keys, parents before what is in them.
    pub fn over(schema: &'a Schema) -> Vec<Key> {
        let Some(root) = schema.as_object() else { return Vec::new() };
        let mut walk = Walk { definitions: root.get("$defs").and_then(Value::as_object), keys: Vec::new() };
        walk.object("", root);
        walk.keys
    }

    fn object(&mut self, path: &str, object: &'a Map<String, Value>) {
        let properties = object.get("properties").and_then(Value::as_object);
        for (key, schema) in properties.into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let meaning = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
            let schema = self.real(schema);
            let items = schema.get("items").map(|items| self.real(items));
            let of = items.unwrap_or(schema);
            let path = if items.is_some() { format!("{path}[]") } else { path };
            self.keys.push(Key { path: path.clone(), values: self.values(of), meaning });
            if let Some(of) = of.as_object() {
                self.object(&path, of);
            }
        }
    }

    /// What a schema refers to, without the choice of leaving it out.
    fn real(&self, schema: &'a Value) -> &'a Value {
        let null = Value::from("null");
        let not_null = |choice: &&Value| choice.get("type") != Some(&null);
        let choices = schema.get("anyOf").and_then(Value::as_array);
        if let Some(choice) = choices.and_then(|choices| choices.iter().find(not_null)) {
            return self.real(choice);
        }
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
        let found = name.and_then(|name| self.definitions?.get(name));
        found.map_or(schema, |found| self.real(found))
    }

    fn values(&self, schema: &Value) -> String {
        let texts = |list: &Vec<Value>| {
            let texts = list.iter().filter_map(Value::as_str).map(|text| format!("`{text}`"));
            texts.collect::<Vec<_>>().join(", ")
        };
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let named: Vec<Value> =
                choices.iter().filter_map(|choice| choice.get("const")).cloned().collect();
            if named.len() == choices.len() {
                return texts(&named);
            }
            return choices.iter().map(|choice| self.values(choice)).collect::<Vec<_>>().join(" or ");
        }
        if let Some(text) = schema.get("const").and_then(Value::as_str) {
            return format!("`{text}`");
        }
        if let Some(list) = schema.get("enum").and_then(Value::as_array) {
            return texts(list);
        }
        let words = |kind: &str| match kind {
            "object" => "keys",
            "boolean" => "`true`, `false`",
            "array" => "list",
            "integer" => "whole number",
            "string" => "text",
            _ => "",
        };
        match schema.get("type") {
            Some(Value::String(kind)) => words(kind).to_owned(),
            Some(Value::Array(kinds)) => {
                let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").map(words);
                kinds.collect::<Vec<_>>().join(" or ")
            }
            _ => "anything".to_owned(),
        }
    }
}
