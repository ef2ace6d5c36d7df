//! Rules over single source files: their names, their head, their length, what they may say.

use std::path::Path;

use super::{Problem, floors};

/// Production lines that a file may have; tests and generated files do not count.
const LONGEST: usize = 600;

/// Names that say nothing about what a module knows.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "shared", "helper", "helpers", "misc", "types"];

/// Crates that may hold `unsafe`: those that stand at a C ABI. Of these, `clock-shim` stands in for functions of the C library
/// in tests, and no program links it.
const UNSAFE_CRATES: &[&str] = &["clock-shim", "nvml", "nvml-probe", "nvml-sim-abi"];

/// The one module of `nvml` that may speak of the bindings.
const BINDING: &str = "crates/nvml/src/binding";

/// The one function of a test that may sleep: it polls a condition and pauses between two looks.
const POLLS: &str = "fn eventually";

/// Code that a generator wrote.
const GENERATED: &str = "crates/kubelet-api/src/gen";

/// Modules of the standard library by which a program reaches outside itself.
const OUTSIDE: &[&str] = &["env", "fs", "net", "os", "process", "thread"];

/// Checks a file's path alone.
pub fn check_path(path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let rust = path.extension().is_some_and(|extension| extension == "rs");
    for part in path.components() {
        let name = part.as_os_str().to_string_lossy();
        let stem = name.strip_suffix(".rs").unwrap_or(&name);
        let code = ["crates", "integration-tests", "xtask"].iter().any(|top| path.starts_with(top));
        if code && let Some(message) = empty_name(stem) {
            problems.push(Problem::new(path, 0, message));
        }
    }
    if rust && path.ends_with("mod.rs") {
        problems.push(Problem::new(path, 0, "use NAME.rs beside a folder NAME/, not NAME/mod.rs"));
    }
    problems
}

/// What is wrong with a name of a crate or module, if it says nothing.
pub fn empty_name(name: &str) -> Option<String> {
    EMPTY_NAMES
        .contains(&name)
        .then(|| format!("the name {name:?} does not say what it knows: name it after its subject"))
}

/// Checks a Rust file's text.
pub fn check_text(path: &Path, text: &str) -> Vec<Problem> {
    if path.starts_with(GENERATED) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if !text.starts_with("//!") {
        problems.push(Problem::new(
            path,
            1,
            "a source file starts with `//!`: what it knows, what it must not touch",
        ));
    }
    let tests = if is_test(path) { vec![true; text.lines().count()] } else { test_lines(text) };
    let production = tests.iter().filter(|test| !**test).count();
    if production > LONGEST {
        problems.push(Problem::new(
            path,
            0,
            format!("{production} production lines, at most {LONGEST}: cut it by subject"),
        ));
    }
    let mut polls = false;
    for (at, (line, test)) in text.lines().zip(&tests).enumerate() {
        if line.contains("fn ") {
            polls = line.contains(POLLS);
        }
        if *test && !polls && is_sleep(line) {
            problems.push(Problem::new(
                path,
                at + 1,
                "a test does not sleep: poll the condition in a function `eventually`",
            ));
        }
        problems
            .extend(check_line(path, line.trim_start()).map(|message| Problem::new(path, at + 1, message)));
    }
    if crate_of(path).is_some_and(floors::is_pure) {
        let outside = reaches_outside(text).into_iter().filter(|(at, _)| !tests[*at]);
        problems.extend(
            outside.map(|(at, what)| Problem::new(path, at + 1, format!("floor 0 does no I/O: {what}"))),
        );
    }
    problems.extend(test_names(path, text));
    problems
}

fn check_line(path: &Path, line: &str) -> Option<String> {
    if line.starts_with("//") {
        return None;
    }
    let says = |what: &str| line.contains(what);
    // In an attribute, which may go over several lines: so the lint's name alone counts.
    if says(concat!("unsafe", "_code"))
        && !UNSAFE_CRATES.iter().any(|name| path.starts_with(format!("crates/{name}")))
    {
        return Some(format!("unsafe code belongs in {} alone", UNSAFE_CRATES.join(", ")));
    }
    if says(concat!("#[", "ignore")) {
        return Some("no test is ignored: make it pass, or move it behind a required feature".to_owned());
    }
    if says(concat!("super::", "super")) {
        return Some("write crate:: paths, not super of super".to_owned());
    }
    let in_nvml = path.starts_with("crates/nvml/src") && !path.to_string_lossy().starts_with(BINDING);
    if in_nvml && says(concat!("nvml", "_wrapper")) {
        return Some(format!("binding types stay below {BINDING}: nvml speaks gpu-model"));
    }
    inline_module(line).and_then(empty_name)
}

/// The name of a module that begins in this line.
fn inline_module(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("mod ")?;
    let visibility = before.trim_end();
    (visibility.is_empty() || visibility.starts_with("pub"))
        .then(|| rest.trim_end_matches(['{', ';', ' ', '}']))
}

/// A call of `sleep`, or an import of it, under whatever path.
fn is_sleep(line: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices("sleep").any(|(at, word)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let after = after.strip_prefix("_until").unwrap_or(after);
        let named = before.ends_with("fn ") || before.ends_with('.') || before.ends_with(is_word);
        let called = after.starts_with('(');
        let passed_or_imported =
            (before.ends_with("::") || line.trim_start().starts_with("use ")) && !after.starts_with(is_word);
        !named && (called || passed_or_imported)
    })
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| ["tests", "benches"].iter().any(|name| part.as_os_str() == *name))
        || path.ends_with("tests.rs")
}

/// The crate in whose `src` the file lies.
fn crate_of(path: &Path) -> Option<&str> {
    let mut parts = path.components().map(|part| part.as_os_str().to_str().unwrap_or_default());
    (parts.next() == Some("crates")).then_some(())?;
    let name = parts.next()?;
    (parts.next() == Some("src")).then_some(name)
}

/// Which lines are of test modules written in the file itself. A test module in a file of its own, or a single item
/// for tests, leaves what follows production.
fn test_lines(text: &str) -> Vec<bool> {
    let lines: Vec<&str> = text.lines().collect();
    let mut tests = vec![false; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        if lines[at] == TEST_MODULE {
            let module = lines[at..].iter().position(|line| !line.starts_with('#')).map(|more| at + more);
            if let Some(module) = module
                && lines[module].starts_with("mod ")
                && lines[module].ends_with('{')
            {
                let end = lines[module..].iter().position(|line| *line == "}");
                let end = end.map_or(lines.len(), |more| module + more + 1);
                tests[at..end].fill(true);
                at = end;
                continue;
            }
        }
        at += 1;
    }
    tests
}

/// What stands before a test module.
const TEST_MODULE: &str = concat!("#[", "cfg(test)]");

/// Where a text names a module of the standard library that reaches outside, or reads a clock: (line from 0, what).
fn reaches_outside(text: &str) -> Vec<(usize, String)> {
    let code: String = text
        .lines()
        .flat_map(|line| [if line.trim_start().starts_with("//") { "" } else { line }, "\n"])
        .collect();
    let line_of = |at: usize| code[..at].matches('\n').count();
    let mut found = Vec::new();
    for (at, start) in code.match_indices("std::") {
        let rest = &code[at + start.len()..];
        let modules = match rest.strip_prefix('{') {
            Some(group) => first_words(group),
            None => vec![first_word(rest)],
        };
        let outside = modules.into_iter().filter(|module| OUTSIDE.contains(module));
        found.extend(outside.map(|module| (line_of(at), format!("std::{module}"))));
    }
    for clock in ["SystemTime::now", "Instant::now"] {
        found.extend(code.match_indices(clock).map(|(at, _)| (line_of(at), clock.to_owned())));
    }
    found
}

/// The first word of each path in a group of imports, up to the brace that closes it.
fn first_words(group: &str) -> Vec<&str> {
    let (mut depth, mut begins, mut words) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                words.push(first_word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    words
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// A test's name tells subject, condition and outcome: three words at the least.
fn test_names(path: &Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut is_next = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        match name {
            Some(rest) if is_next => {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if name.matches('_').count() < 2 {
                    problems.push(Problem::new(
                        path,
                        at + 1,
                        format!("test {name}: name it <subject>_<condition>_<outcome>"),
                    ));
                }
                is_next = false;
            }
            Some(_) => {}
            None => {
                is_next = (is_next && line.starts_with('#'))
                    || line.starts_with("#[test]")
                    || line.starts_with("#[tokio::test")
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check_text(Path::new(path), text)
            .into_iter()
            .map(|problem| format!("{}: {}", problem.line, problem.message))
            .collect()
    }

    fn finds(path: &str, text: &str, wanted: &str) {
        let found = messages(path, text);
        assert!(found.len() == 1 && found[0].contains(wanted), "wanted one {wanted:?}, found {found:?}");
    }

    #[test]
    fn source_that_keeps_all_rules_passes() {
        assert_eq!(
            messages(
                "crates/cdi/src/lib.rs",
                "//! Specs.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn a_b_c() {}\n}\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn source_without_a_module_doc_is_found() {
        finds("crates/cdi/src/lib.rs", "fn a() {}\n", "1: a source file starts with `//!`");
    }

    #[test]
    fn source_over_the_length_limit_is_found_and_its_tests_do_not_count() {
        let long = "//! A.\n".to_owned() + &"fn a() {}\n".repeat(600);
        finds("crates/cdi/src/lib.rs", &long, "601 production lines");
        let tested = "//! A.\n#[cfg(test)]\nmod tests {\n".to_owned() + &"fn a() {}\n".repeat(600);
        assert_eq!(messages("crates/cdi/src/lib.rs", &tested), Vec::<String>::new());
        assert_eq!(messages("crates/cdi/tests/it/main.rs", &long), Vec::<String>::new());
    }

    #[test]
    fn source_that_lifts_the_unsafe_lint_outside_the_abi_crates_is_found() {
        let text = concat!("//! A.\n#![expect(unsafe", "_code, reason = \"no\")]\n");
        finds("crates/worker/src/lib.rs", text, "unsafe code belongs in");
        let lines = concat!("//! A.\n#![expect(\n    unsafe", "_code,\n    reason = \"no\"\n)]\n");
        finds("crates/worker/src/lib.rs", lines, "3: unsafe code belongs in");
        assert_eq!(messages("crates/nvml/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn test_that_is_ignored_is_found() {
        finds("crates/cdi/tests/it/main.rs", concat!("//! A.\n#[", "ignore]\n"), "no test is ignored");
    }

    #[test]
    fn test_that_sleeps_is_found_unless_it_polls_and_production_may() {
        let text = concat!("//! A.\nfn a() { tokio::time::sl", "eep(x).await; }\n");
        finds("crates/cdi/tests/it/main.rs", text, "does not sleep");
        assert_eq!(messages("crates/cdi/src/lib.rs", text), Vec::<String>::new());
        assert_eq!(
            messages("crates/cdi/tests/it/main.rs", &text.replace("fn a()", "fn eventually()")),
            Vec::<String>::new()
        );
    }

    #[test]
    fn test_that_sleeps_under_another_name_is_found() {
        for line in [
            concat!("fn a() { std::thread::sl", "eep(x); }"),
            concat!("fn a() { sl", "eep(x).await; }"),
            concat!("fn a() { tokio::time::sl", "eep_until(x).await; }"),
            concat!("use std::thread::{self, sl", "eep};"),
            concat!("use tokio::time::sl", "eep as nap;"),
            concat!("fn a() { wait_by(thread::sl", "eep); }"),
        ] {
            finds("crates/cdi/tests/it/main.rs", &format!("//! A.\n{line}\n"), "2: a test does not sleep");
        }
        for line in [r#"fn a() { run("sleep 5"); }"#, "fn asleep() {}", "fn a() { node.sleep(x); }"] {
            assert_eq!(
                messages("crates/cdi/tests/it/main.rs", &format!("//! A.\n{line}\n")),
                Vec::<String>::new()
            );
        }
    }

    #[test]
    fn source_after_a_test_module_in_a_file_of_its_own_counts_as_production() {
        let long = "fn a() {}\n".repeat(600);
        let outside = format!("//! A.\n#[cfg(test)]\nmod tests;\n{long}");
        finds("crates/cdi/src/lib.rs", &outside, "603 production lines");
        let behind = format!("//! A.\n#[cfg(test)]\nmod tests {{\n}}\n{long}");
        finds("crates/cdi/src/lib.rs", &behind, "601 production lines");
        let item = format!("//! A.\n#[cfg(test)]\nfn of_tests() {{}}\n{long}");
        finds("crates/cdi/src/lib.rs", &item, "603 production lines");
        let featured = format!("//! A.\n#[cfg(test)]\n#[cfg(feature = \"root\")]\nmod tests {{\n{long}}}\n");
        assert_eq!(messages("crates/cdi/src/lib.rs", &featured), Vec::<String>::new());
    }

    #[test]
    fn test_with_a_short_name_is_found() {
        finds("crates/cdi/src/a.rs", "//! A.\n#[test]\nfn works() {}\n", "test works: name it");
        finds(
            "crates/cdi/src/a.rs",
            "//! A.\n#[tokio::test]\nasync fn two_words() {}\n",
            "test two_words: name it",
        );
    }

    #[test]
    fn binding_type_outside_the_binding_module_is_found() {
        let text = concat!("//! A.\nuse nvml", "_wrapper::Nvml;\n");
        finds("crates/nvml/src/lib.rs", text, "binding types stay below");
        assert_eq!(messages("crates/nvml/src/binding/calls.rs", text), Vec::<String>::new());
    }

    #[test]
    fn floor_0_that_reads_files_is_found() {
        for (line, what) in [
            ("use std::fs::File;", "std::fs"),
            ("use std::net::IpAddr;", "std::net"),
            ("fn a() { std::process::id(); }", "std::process"),
            ("fn a() { std::thread::current(); }", "std::thread"),
            ("fn a() { std::env::args(); }", "std::env"),
            ("use std::os::fd::OwnedFd;", "std::os"),
            ("use std::{fmt, fs::{self, File}};", "std::fs"),
            ("use std::{\n    collections::{BTreeMap, BTreeSet},\n    env,\n};", "std::env"),
            ("fn a() { SystemTime::now(); }", "SystemTime::now"),
            ("fn a() { Instant::now(); }", "Instant::now"),
        ] {
            let told = format!("2: floor 0 does no I/O: {what}");
            finds("crates/gpu-model/src/ids.rs", &format!("//! A.\n{line}\n"), &told);
        }
        let innocent = "//! A.\n// std::fs\nuse std::{fmt, collections::BTreeMap};\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(messages("crates/gpu-model/src/ids.rs", innocent), Vec::<String>::new());
        assert_eq!(messages("crates/node-host/src/lib.rs", "//! A.\nuse std::fs;\n"), Vec::<String>::new());
    }

    #[test]
    fn path_that_climbs_two_modules_is_found() {
        finds("crates/cdi/src/a.rs", concat!("//! A.\nuse super::", "super::b;\n"), "write crate:: paths");
    }

    #[test]
    fn file_name_that_says_nothing_is_found() {
        assert_eq!(check_path(Path::new("crates/cdi/src/utils.rs")).len(), 1);
        assert_eq!(check_path(Path::new("crates/helpers/src/lib.rs")).len(), 1);
        assert_eq!(check_path(Path::new("crates/cdi/src/spec/mod.rs")).len(), 1);
        assert_eq!(check_path(Path::new("xtask/src/misc.rs")).len(), 1);
        assert_eq!(check_path(Path::new("integration-tests/tests/cluster/common.rs")).len(), 1);
        assert_eq!(check_path(Path::new("crates/cdi/src/spec.rs")).len(), 0);
    }

    #[test]
    fn module_name_that_says_nothing_is_found_in_the_file_that_holds_it() {
        for line in ["mod util {", "pub(crate) mod helpers {", "    pub mod types;"] {
            finds("crates/cdi/src/lib.rs", &format!("//! A.\n{line}\n"), "2: the name");
        }
        assert_eq!(
            messages("crates/cdi/src/lib.rs", "//! A.\nmod utility_bills {\n}\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn generated_source_with_any_content_is_left_alone() {
        assert_eq!(messages("crates/kubelet-api/src/gen/v1.rs", "fn a() {}\n"), Vec::<String>::new());
        finds("crates/worker/src/gen/v1.rs", "fn a() {}\n", "a source file starts with");
    }
}
