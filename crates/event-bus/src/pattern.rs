//! Patterns over message names, as AMQP's topic exchanges read them.

use std::fmt;

/// Which message names are meant: words separated by dots, where `*` stands for one word and `#`
/// for any number of them, also none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pattern(String);

/// The longest that fits into a routing key of AMQP, in bytes.
const MAX_BYTES: usize = 255;

impl Pattern {
    /// A pattern, or `None` if it is empty or too long to travel.
    pub(crate) fn new(pattern: &str) -> Option<Self> {
        (!pattern.is_empty() && pattern.len() <= MAX_BYTES).then(|| Self(pattern.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        matches(&self.0, name)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Whether a name matches a pattern, in time that grows with the product of their lengths.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let name: Vec<&str> = name.split('.').collect();
    let (mut at, mut of) = (0, 0);
    // The last `#` and the first word after those it stands for; when nothing else fits, it stands
    // for one word more.
    let mut hash: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(&"#") => {
                hash = Some((at, of));
                at += 1;
            }
            Some(&word) if word == "*" || word == name[of] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((after_hash, taken)) = hash else {
                    return false;
                };
                hash = Some((after_hash, taken + 1));
                at = after_hash + 1;
                of = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|word| *word == "#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_on_a_topic_exchange() {
        for (pattern, name) in [
            ("catalog.product.created", "catalog.product.created"),
            ("catalog.*.created", "catalog.product.created"),
            ("catalog.#", "catalog.product.created"),
            ("#", "anything"),
            ("catalog.#", "catalog"),
            ("#.created", "catalog.product.created"),
            ("#.b.#.b", "a.b.c.b"),
        ] {
            assert!(matches(pattern, name), "{pattern} should match {name}");
        }
        for (pattern, name) in [
            ("catalog.*", "catalog.product.created"),
            ("catalog.product", "catalog.product.created"),
            ("identity.#", "catalog.product.created"),
            ("#.created", "catalog.product.updated"),
            ("*", "a.b"),
        ] {
            assert!(!matches(pattern, name), "{pattern} should not match {name}");
        }
    }

    /// The rules, written as they are read, and slow.
    fn by_definition(pattern: &[&str], name: &[&str]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ["#", rest @ ..] => (0..=name.len()).any(|n| by_definition(rest, &name[n..])),
            [word, rest @ ..] => match name {
                [first, others @ ..] => {
                    (*word == "*" || word == first) && by_definition(rest, others)
                }
                [] => false,
            },
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_rules_say(
            pattern in proptest::collection::vec(prop_oneof!["#", r"\*", "a", "b"], 1..6),
            name in proptest::collection::vec(prop_oneof!["a", "b", "c"], 1..7),
        ) {
            let words = |words: &[String]| words.join(".");
            let pattern_words: Vec<&str> = pattern.iter().map(String::as_str).collect();
            let name_words: Vec<&str> = name.iter().map(String::as_str).collect();
            prop_assert_eq!(
                matches(&words(&pattern), &words(&name)),
                by_definition(&pattern_words, &name_words)
            );
        }
    }
}
