//! The reference of node files: rendered from the schema, which is made of the parser's types, and held by a golden.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use nvml_sim::node_file_schema;
use serde_json::{Map, Value};

const HEAD: &str = "\
# Keys of a node file

Generated from the types that `nvml-sim` reads a node file into; `UPDATE_GOLDEN=1 cargo test -p nvml-sim reference` writes
it anew. `nvml-sim presets --schema` prints the same as JSON Schema, for editors. How to write a node file, and what to do
with the node, is told in [simulator.md](simulator.md#the-node-file).

Keys that are not listed are errors, and so is a key that stands twice.
";

#[test]
fn reference_of_node_files_is_what_the_parser_reads() {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulator-node.md"));
    golden::assert_golden(golden, &reference(&node_file_schema()));
}

#[test]
fn every_key_says_what_it_means() {
    let schema = node_file_schema();
    let definitions = schema["$defs"].as_object().unwrap();
    for (name, section) in definitions.iter().chain([(&"NodeFile".to_owned(), &schema)]) {
        for (key, value) in section["properties"].as_object().into_iter().flatten() {
            assert!(value["description"].is_string(), "{name}.{key} has no words");
        }
    }
}

/// One section for the file and for each kind of thing in it, in the order in which they are met.
fn reference(schema: &Value) -> String {
    let definitions = &schema["$defs"];
    let (mut text, mut known) = (HEAD.to_owned(), BTreeSet::new());
    let mut waiting = vec![schema];
    while let Some(section) = waiting.pop() {
        section_to(&mut text, section, definitions);
        let mut met: Vec<&str> = Vec::new();
        for value in section["properties"].as_object().unwrap().values() {
            references(value, &mut met);
        }
        let new = met.into_iter().filter(|name| known.insert(*name)).collect::<Vec<_>>();
        let sections = new.into_iter().rev().map(|name| &definitions[name]);
        waiting.extend(sections.filter(|section| section["properties"].is_object()));
    }
    text
}

/// Names of what a value refers to.
fn references<'a>(value: &'a Value, met: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            met.extend(map.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()));
            map.values().for_each(|value| references(value, met));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, met)),
        _ => {}
    }
}

/// A heading and the words below it.
fn words(section: &Value) -> (String, String) {
    let said = section["description"].as_str().unwrap().replace('\n', " ");
    let (title, rest) = said.split_once(['.', ':', ';', ',']).unwrap_or((&said, ""));
    let rest = rest.trim();
    let whole = if rest.is_empty() { String::new() } else { said.clone() };
    (title.to_owned(), whole)
}

fn section_to(text: &mut String, section: &Value, definitions: &Value) {
    let (title, whole) = words(section);
    writeln!(text, "\n## {title}\n").unwrap();
    if !whole.is_empty() {
        writeln!(text, "{whole}\n").unwrap();
    }
    let empty = Vec::new();
    let required = section["required"].as_array().unwrap_or(&empty);
    let keys = section["properties"].as_object().unwrap();
    let default = |key: &str, value: &Value| match &value["default"] {
        _ if required.iter().any(|required| required == key) => "required".to_owned(),
        Value::Null => String::new(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        // The defaults of its own section.
        Value::Object(_) => String::new(),
        default => format!("`{}`", default.as_str().map_or_else(|| default.to_string(), str::to_owned)),
    };
    let has_defaults = keys.iter().any(|(key, value)| !default(key, value).is_empty());
    let (titles, line) = if has_defaults { ("| Default ", "|---") } else { ("", "") };
    writeln!(text, "| Key | Value {titles}| Means |\n|---|---{line}|---|").unwrap();
    for (key, value) in keys {
        let kind = kind(value, definitions);
        let means = value["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let default = if has_defaults { format!(" | {}", default(key, value)) } else { String::new() };
        writeln!(text, "| `{key}` | {kind}{default} | {means} |").unwrap();
    }
}

/// What a value is, in words.
fn kind(value: &Value, definitions: &Value) -> String {
    let map = value.as_object().unwrap();
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    if let Some(title) = text("title") {
        return title.to_owned();
    }
    if let Some(name) = text("$ref").and_then(|path| path.rsplit('/').next()) {
        return referred(&definitions[name], definitions);
    }
    if let Some(choices) = map.get("anyOf").or_else(|| map.get("oneOf")).and_then(Value::as_array) {
        let kinds = choices.iter().filter(|choice| choice["type"] != "null");
        let between = if choices.iter().all(|choice| choice["const"].is_string()) { ", " } else { " or " };
        return kinds.map(|choice| kind(choice, definitions)).collect::<Vec<_>>().join(between);
    }
    if let Some(values) = map.get("enum").and_then(Value::as_array) {
        return choices(values);
    }
    if let Some(value) = map.get("const") {
        return choices(std::slice::from_ref(value));
    }
    plain(map, definitions)
}

fn choices(values: &[Value]) -> String {
    let word =
        |value: &Value| format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let words = values.iter().filter(|value| !value.is_null()).map(word);
    words.collect::<Vec<_>>().join(", ")
}

fn plain(map: &Map<String, Value>, definitions: &Value) -> String {
    let kinds: Vec<&str> = match map.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let of = kinds.iter().find(|kind| **kind != "null").copied();
    assert!(of.is_some(), "no words for {map:?}");
    match of {
        Some("string") => "text".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("array") => format!("list: {}", kind(&map["items"], definitions)),
        Some("object") => {
            let names = map.get("propertyNames").or_else(|| map.get("patternProperties"));
            let of = map.get("additionalProperties").filter(|of| of.is_object());
            let of = of.or_else(|| names?.as_object()?.values().next());
            of.map_or_else(|| "keys".to_owned(), |of| format!("name -> {}", kind(of, definitions)))
        }
        other => other.unwrap_or_default().to_owned(),
    }
}

/// A section of its own, or the values of a choice.
fn referred(section: &Value, definitions: &Value) -> String {
    if !section["properties"].is_object() {
        return kind(section, definitions);
    }
    let title = words(section).0;
    let keep = |c: char| if c == ' ' { Some('-') } else { (c.is_alphanumeric() || c == '-').then_some(c) };
    let anchor: String = title.to_lowercase().chars().filter_map(keep).collect();
    format!("[{title}](#{anchor})")
}
