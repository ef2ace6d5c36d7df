//! Rules over single source files: their names, their head, their length, what they may say.

use std::path::Path;

use super::Problem;

/// Production lines that a file may have; tests and generated files do not count.
const LONGEST: usize = 600;

/// Names that say nothing about what a module knows.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "shared", "helper", "helpers", "misc", "types"];

/// Crates that may hold `unsafe`: those that stand at a C ABI.
const UNSAFE_CRATES: &[&str] = &["nvml", "nvml-sim-abi"];

/// The one module of `nvml` that may speak of the bindings.
const BINDING: &str = "crates/nvml/src/binding";

/// The one function of a test that may sleep: it polls a condition and pauses between two looks.
const POLLS: &str = "fn eventually";

/// Checks a file's path alone.
pub fn check_path(path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let rust = path.extension().is_some_and(|extension| extension == "rs");
    for part in path.components() {
        let name = part.as_os_str().to_string_lossy();
        let stem = name.strip_suffix(".rs").unwrap_or(&name);
        let crate_folder = path.starts_with("crates") || path.starts_with("xtask");
        if crate_folder && EMPTY_NAMES.contains(&stem) {
            problems.push(Problem::new(
                path,
                0,
                format!("the name {stem:?} does not say what it knows: name it after its subject"),
            ));
        }
    }
    if rust && path.ends_with("mod.rs") {
        problems.push(Problem::new(path, 0, "use NAME.rs beside a folder NAME/, not NAME/mod.rs"));
    }
    problems
}

/// Checks a Rust file's text.
pub fn check_text(path: &Path, text: &str) -> Vec<Problem> {
    if is_generated(path) {
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
    let production = if is_test(path) { 0 } else { production_lines(text) };
    if production > LONGEST {
        problems.push(Problem::new(
            path,
            0,
            format!("{production} production lines, at most {LONGEST}: cut it by subject"),
        ));
    }
    let mut polls = false;
    for (at, line) in text.lines().enumerate() {
        let test = is_test(path) || at >= production;
        if line.contains("fn ") {
            polls = line.contains(POLLS);
        }
        if test && !polls && is_sleep(line) {
            problems.push(Problem::new(
                path,
                at + 1,
                "a test does not sleep: poll the condition in a function `eventually`",
            ));
        }
        problems.extend(
            check_line(path, line.trim_start(), test).map(|message| Problem::new(path, at + 1, message)),
        );
    }
    problems.extend(test_names(path, text));
    problems
}

fn check_line(path: &Path, line: &str, test: bool) -> Option<String> {
    if line.starts_with("//") {
        return None;
    }
    let says = |what: &str| line.contains(what);
    let lint = says("expect(") || says("allow(");
    if lint
        && says(concat!("unsafe", "_code"))
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
    let floor_0 = path.starts_with("crates/gpu-model/src");
    if floor_0
        && !test
        && ["std::fs", "std::net", "std::process", "std::thread"].iter().any(|module| says(module))
    {
        return Some("floor 0 does no I/O".to_owned());
    }
    None
}

fn is_sleep(line: &str) -> bool {
    line.contains(concat!("thread::", "sleep(")) || line.contains(concat!("time::", "sleep("))
}

fn is_generated(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "gen")
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| ["tests", "benches"].iter().any(|name| part.as_os_str() == *name))
        || path.ends_with("tests.rs")
}

/// Lines before the in-file test module.
fn production_lines(text: &str) -> usize {
    text.lines().position(|line| line.starts_with("#[cfg(test)]")).unwrap_or_else(|| text.lines().count())
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
        let tested = "//! A.\n#[cfg(test)]\n".to_owned() + &"fn a() {}\n".repeat(600);
        assert_eq!(messages("crates/cdi/src/lib.rs", &tested), Vec::<String>::new());
        assert_eq!(messages("crates/cdi/tests/it/main.rs", &long), Vec::<String>::new());
    }

    #[test]
    fn source_that_lifts_the_unsafe_lint_outside_the_abi_crates_is_found() {
        let text = concat!("//! A.\n#![expect(unsafe", "_code, reason = \"no\")]\n");
        finds("crates/worker/src/lib.rs", text, "unsafe code belongs in");
        assert_eq!(messages("crates/nvml/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn test_that_is_ignored_is_found() {
        finds("crates/cdi/tests/it/main.rs", concat!("//! A.\n#[", "ignore]\n"), "no test is ignored");
    }

    #[test]
    fn test_that_sleeps_is_found_unless_it_polls_and_production_may() {
        let text = concat!("//! A.\nfn a() { tokio::time::", "sleep(x).await; }\n");
        finds("crates/cdi/tests/it/main.rs", text, "does not sleep");
        assert_eq!(messages("crates/cdi/src/lib.rs", text), Vec::<String>::new());
        assert_eq!(
            messages("crates/cdi/tests/it/main.rs", &text.replace("fn a()", "fn eventually()")),
            Vec::<String>::new()
        );
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
        finds("crates/gpu-model/src/ids.rs", "//! A.\nuse std::fs::File;\n", "floor 0 does no I/O");
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
        assert_eq!(check_path(Path::new("crates/cdi/src/spec.rs")).len(), 0);
    }

    #[test]
    fn generated_source_with_any_content_is_left_alone() {
        assert_eq!(messages("crates/kubelet-api/src/gen/v1.rs", "fn a() {}\n"), Vec::<String>::new());
    }
}
