//! Counts, lengths and times in words.

use std::fmt::Display;

/// A count with its noun, which takes an s unless there is one of it: `1 run`, `63 runs`, `0 levels`.
pub fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// A length in the unit that suits it.
pub fn bytes(length: u64) -> String {
    match length as f64 {
        length if length < 1e3 => format!("{length} B"),
        length if length < 1e6 => format!("{:.1} kB", length / 1e3),
        length if length < 1e9 => format!("{:.1} MB", length / 1e6),
        length => format!("{:.1} GB", length / 1e9),
    }
}

/// A time in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 100.0 * 60.0 => format!("{:.0} min", s / 60.0),
        s if s < 72.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    }
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
