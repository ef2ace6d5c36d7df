//! Patterns for names: `*` stands for any text. It knows no other sign.

use std::fmt;

/// A pattern such as `*A100*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of a text. Any text is one.
    pub fn new(text: impl Into<String>) -> Pattern {
        Pattern(text.into())
    }

    /// Whether it fits the whole of a name.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        // The first place where a part fits leaves most to the others.
        let after =
            middle.iter().try_fold(rest, |rest, part| rest.find(part).map(|at| &rest[at + part.len()..]));
        after.is_some_and(|rest| rest.ends_with(last))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pattern_fits_the_whole_name_with_any_text_for_each_star() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("*", "NVIDIA A100", true),
            ("*A100*", "NVIDIA A100-SXM4-80GB", true),
            ("NVIDIA*80GB", "NVIDIA A100-SXM4-80GB", true),
            ("NVIDIA*80GB", "NVIDIA A100-SXM4-80GB+", false),
            ("1g.10gb", "1g.10gb", true),
            ("1g.10gb", "1g.10gb+me", false),
            ("a*a", "a", false),
            ("*a*b*", "xbya", false),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} on {name}");
        }
    }

    /// By definition: each star takes no text, or one character and goes on.
    fn fits_slowly(pattern: &[char], name: &[char]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some('*'), _) => {
                fits_slowly(&pattern[1..], name) || (!name.is_empty() && fits_slowly(pattern, &name[1..]))
            }
            (Some(expected), Some(found)) => expected == found && fits_slowly(&pattern[1..], &name[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn pattern_fits_as_its_definition_says(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = fits_slowly(&chars(&pattern), &chars(&name));
            prop_assert_eq!(Pattern::new(pattern).fits(&name), expected);
        }
    }
}
