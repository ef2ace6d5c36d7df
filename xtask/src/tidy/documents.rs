//! Rules over the documents: links inside the repository lead somewhere. It knows Markdown's links and how GitHub names
//! headings, and nothing of what the documents say.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::Problem;

/// Checks the links of every document against the repository's files and the documents' headings.
pub fn check(documents: &BTreeMap<PathBuf, String>, files: &[PathBuf]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in documents {
        for (line, target) in links(text) {
            if let Some(message) = broken(path, target, documents, files) {
                problems.push(Problem::new(path, line, message));
            }
        }
    }
    problems
}

/// What is wrong with a link, if it stays in the repository and leads nowhere.
fn broken(
    from: &Path,
    target: &str,
    documents: &BTreeMap<PathBuf, String>,
    files: &[PathBuf],
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, name)| (file, Some(name)));
    let path = if file.is_empty() { from.to_owned() } else { beside(from, Path::new(file)) };
    if !files.iter().any(|known| known.starts_with(&path)) {
        return Some(format!("the link `{target}` leads to {}, which is not there", path.display()));
    }
    let (heading, text) = (heading?, documents.get(&path)?);
    let missing = !headings(text).any(|known| known == heading);
    missing.then(|| format!("the link `{target}`: {} has no such heading", path.display()))
}

/// A path that a document names, from the repository's root.
fn beside(from: &Path, target: &Path) -> PathBuf {
    let mut path = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in target.components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// The lines that are prose, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence).then_some((at + 1, line))
    })
}

/// The targets of links, with their lines. One that is broken over two lines has its target on one of them.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(line, text)| {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.map(move |(target, _)| (line, target))
    })
}

/// The names by which links call the headings, as GitHub makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles = prose(text).map(|(_, line)| line).filter(|line| line.starts_with('#'));
    titles.map(|title| {
        let kept = title
            .trim_start_matches('#')
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let other =
            ("docs/adr/0001.md", "# A page\n\n## What `it` does, and why\n```sh\n# no heading\n```\n");
        let documents = [other, ("docs/page.md", text)];
        let documents: BTreeMap<_, _> =
            documents.map(|(path, text)| (PathBuf::from(path), text.to_owned())).into();
        let files = ["docs/adr/0001.md", "docs/page.md", "crates/x/src/lib.rs"].map(PathBuf::from);
        check(&documents, &files).iter().map(Problem::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_let_be() {
        let text = "# Mine\n[a](adr/0001.md#what-it-does-and-why) [b](#mine) [c](../crates/x/) [d](adr)\n\
                    [e](https://example.com/nowhere.md) [f](./adr/0001.md)\n```\n[g](nowhere.md)\n```\n";
        assert_eq!(problems(text), Vec::<String>::new());
    }

    #[test]
    fn links_that_lead_nowhere_are_found_with_their_line() {
        let text =
            "# Mine\n[a](nowhere.md)\n[b](adr/0001.md#no-heading) and [c](#yours)\n[d](../../etc/passwd)";
        assert_eq!(
            problems(text),
            [
                "docs/page.md:2: the link `nowhere.md` leads to docs/nowhere.md, which is not there",
                "docs/page.md:3: the link `adr/0001.md#no-heading`: docs/adr/0001.md has no such heading",
                "docs/page.md:3: the link `#yours`: docs/page.md has no such heading",
                "docs/page.md:4: the link `../../etc/passwd` leads to etc/passwd, which is not there",
            ]
        );
    }
}
