//! Figures and lists in words. Pure.

use std::fmt::Display;
use std::time::Duration;

/// A duration in the unit that a reader would choose.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match span.as_micros() {
        0..1_000 => format!("{:.0} us", seconds * 1e6),
        1_000..10_000 => format!("{:.1} ms", seconds * 1e3),
        10_000..1_000_000 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

/// `one`, `one and two`, `one, two and three`.
pub fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Lines of at most `width` characters, broken between words where that is possible.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word = word;
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        while let Some((at, _)) = word.char_indices().nth(width).filter(|_| line.is_empty()) {
            lines.push(word[..at].to_owned());
            word = &word[at..];
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// A log line without its time, which is of no use to a reader of the show.
pub fn without_time(line: &str) -> &str {
    let starts_with_time = line.starts_with(|c: char| c.is_ascii_digit());
    if starts_with_time { line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start()) } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_a_reader_would_choose() {
        let texts = [3, 212, 4_210, 42_000, 1_300_000].map(|micros| span(Duration::from_micros(micros)));
        assert_eq!(texts, ["3 us", "212 us", "4.2 ms", "42 ms", "1.3 s"]);
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(list([0; 0]), "none");
        assert_eq!(list([1]), "1");
        assert_eq!(list([1, 2, 3]), "1, 2 and 3");
    }

    #[test]
    fn long_text_is_broken_between_words_and_long_words_where_they_must() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn log_lines_lose_their_time_alone() {
        assert_eq!(without_time("2026-01-01T00:00:00Z  WARN XID gpu=1"), "WARN XID gpu=1");
        assert_eq!(without_time("plain words"), "plain words");
    }
}
