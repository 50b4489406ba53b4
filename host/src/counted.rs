//! Counts in words.

use std::fmt::Display;

/// A count with its noun, which takes an s unless there is one of it: `1 run`, `63 runs`, `0 levels`.
pub fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular_and_any_other_number_is_not() {
        let words = [0, 1, 2, 21].map(|count| counted(count, "seed"));
        assert_eq!(words, ["0 seeds", "1 seed", "2 seeds", "21 seeds"]);
        assert_eq!(counted("22,784", "weight"), "22,784 weights");
    }
}
