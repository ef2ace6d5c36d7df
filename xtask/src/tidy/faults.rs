//! The fault matrix and its tests: each row names tests that are there, or says why there is none, and each test that
//! is called after a row stands in it and says which line's removal it notices.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::Problem;

/// The table.
pub const MATRIX: &str = "docs/fault-matrix.md";

/// The rows that there are: those of the kubelet, and those of all faults that name plugin, kubelet or NVML, labels or the
/// Kubernetes API.
const ROWS: [(char, RangeInclusive<u32>); 3] = [('K', 1..=30), ('F', 1..=42), ('F', 51..=57)];

/// How a cell begins that names no test.
const NONE: &str = "none: ";

/// What a test's comment has to say.
const REASON: &str = "Fails ";

/// A test that is called after rows: `k05_f09_stream_that_is_cut`.
#[derive(Debug, PartialEq, Eq)]
pub struct RowTest {
    path: PathBuf,
    line: usize,
    name: String,
    has_reason: bool,
}

/// The tests of a source file that are called after rows.
pub fn tests_in(path: &Path, text: &str) -> Vec<RowTest> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let signature = line.strip_prefix("async ").unwrap_or(line);
        let name = signature.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        let Some(name) = name.filter(|name| !rows_of(name).is_empty()) else { continue };
        let above = lines[..at].iter().rev();
        let attributes = above.clone().take_while(|line| line.starts_with("#[")).count();
        let is_test = above.clone().take(attributes).any(|line| line.contains("test"));
        let mut comment = above.skip(attributes).take_while(|line| line.starts_with("//"));
        if is_test {
            let has_reason = comment.any(|line| line.contains(REASON));
            found.push(RowTest { path: path.to_owned(), line: at + 1, name: name.to_owned(), has_reason });
        }
    }
    found
}

/// Checks the table against the tests.
pub fn check(matrix: &str, tests: &[RowTest]) -> Vec<Problem> {
    let path = Path::new(MATRIX);
    let mut problems = Vec::new();
    let mut named: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (at, line) in matrix.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let (Some(row), Some(cell)) = (cells.first(), cells.last()) else { continue };
        if !is_row(row) {
            continue;
        }
        let mut tell = |message: String| problems.push(Problem::new(path, at + 1, message));
        let names: BTreeSet<&str> = cell.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !cell.starts_with(NONE) {
            tell(format!("{row} names no test; one that has none says why, after `{NONE}`"));
        }
        for name in &names {
            if !tests.iter().any(|test| test.name == *name) {
                tell(format!("{row}: there is no test `{name}` that is called after a row"));
            } else if !rows_of(name).contains(*row) {
                tell(format!("{row}: `{name}` is called after other rows"));
            }
        }
        if named.insert((*row).to_owned(), names).is_some() {
            tell(format!("{row} is there twice"));
        }
    }
    for row in all_rows().filter(|row| !named.contains_key(row)) {
        problems.push(Problem::new(path, 0, format!("{row} is missing")));
    }
    for test in tests {
        for row in rows_of(&test.name) {
            if !named.get(&row).is_some_and(|names| names.contains(&*test.name)) {
                let message = format!("`{}` does not stand in row {row} of {MATRIX}", test.name);
                problems.push(Problem::new(&test.path, test.line, message));
            }
        }
        if !test.has_reason {
            let message = format!("above `{}`: a comment that begins `{REASON}`: what breaks it", test.name);
            problems.push(Problem::new(&test.path, test.line, message));
        }
    }
    problems
}

/// The rows that a test is called after.
fn rows_of(name: &str) -> BTreeSet<String> {
    let row = |word: &str| {
        let (kind, number) = (word.chars().next()?.to_ascii_uppercase(), word.get(1..)?);
        let is_two_digits = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit());
        let row = format!("{kind}{}", number.parse::<u32>().ok()?);
        (is_two_digits && is_row(&row)).then_some(row)
    };
    name.split('_').map_while(row).collect()
}

fn is_row(word: &str) -> bool {
    all_rows().any(|row| row == word)
}

fn all_rows() -> impl Iterator<Item = String> {
    ROWS.into_iter().flat_map(|(kind, numbers)| numbers.map(move |number| format!("{kind}{number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "// Fails if it does not wait.\n#[tokio::test]\nasync fn k02_f01_kubelet_that_comes_late() {\n}\n\n\
        #[test]\nfn f03_restart() {}\n\nfn f32_of_something() {}\n\n#[test]\nfn fine_k02() {}\n";

    /// A table with these rows, and a reason for each other one.
    fn table(rows: &[(&str, &str)]) -> String {
        let cell = |row: &str| {
            let given = rows.iter().find(|(name, _)| *name == row);
            given.map_or("none: not here", |(_, cell)| cell).to_owned()
        };
        all_rows().map(|row| format!("| {row} | something | {} |\n", cell(&row))).collect()
    }

    fn told(matrix: &str, source: &str) -> Vec<String> {
        let tests = tests_in(Path::new("a.rs"), source);
        check(matrix, &tests).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn tests_are_found_with_their_rows_and_reasons() {
        let found = tests_in(Path::new("a.rs"), SOURCE);
        let found: Vec<_> = found.iter().map(|test| (test.line, &*test.name, test.has_reason)).collect();
        assert_eq!(found, [(3, "k02_f01_kubelet_that_comes_late", true), (7, "f03_restart", false)]);
    }

    #[test]
    fn table_that_fits_the_tests_passes() {
        let source = SOURCE.replace("#[test]\nfn f03", "// Fails always.\n#[test]\nfn f03");
        let test = "`k02_f01_kubelet_that_comes_late`";
        let rows = [("K2", test), ("F1", test), ("F3", "`f03_restart`")];
        assert_eq!(told(&table(&rows), &source), Vec::<String>::new());
    }

    #[test]
    fn row_without_test_or_reason_and_test_without_row_or_reason_are_found() {
        let rows = [
            ("K2", "`k02_f01_kubelet_that_comes_late` `k02_gone`"),
            ("K3", "`f03_restart`"),
            ("F3", "later"),
        ];
        let found = told(&table(&rows).replace("| F42 |", "| F41 |"), SOURCE);
        assert_eq!(
            found,
            [
                "docs/fault-matrix.md:2: K2: there is no test `k02_gone` that is called after a row",
                "docs/fault-matrix.md:3: K3: `f03_restart` is called after other rows",
                "docs/fault-matrix.md:33: F3 names no test; one that has none says why, after `none: `",
                "docs/fault-matrix.md:72: F41 is there twice",
                "docs/fault-matrix.md:0: F42 is missing",
                "a.rs:3: `k02_f01_kubelet_that_comes_late` does not stand in row F1 of docs/fault-matrix.md",
                "a.rs:7: `f03_restart` does not stand in row F3 of docs/fault-matrix.md",
                "a.rs:7: above `f03_restart`: a comment that begins `Fails `: what breaks it",
            ]
        );
    }
}
