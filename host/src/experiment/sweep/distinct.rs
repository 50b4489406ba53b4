//! Names that must differ.

use std::collections::BTreeSet;

/// Gives out names, none of them twice.
#[derive(Default)]
pub struct Distinct(BTreeSet<String>);

impl Distinct {
    /// The name, or, if it was given out before, with the least number behind it that makes it new:
    /// `lrr`, `lrr-2`, `lrr-3`.
    pub fn take(&mut self, name: &str) -> String {
        let mut own = name.to_owned();
        let mut count = 1_u64;
        while !self.0.insert(own.clone()) {
            count += 1;
            own = format!("{name}-{count}");
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_a_numbered_one_is_told_from_it() {
        let mut names = Distinct::default();
        let taken = ["a", "a", "a-2", "a", "b"].map(|name| names.take(name));
        assert_eq!(taken, ["a", "a-2", "a-2-2", "a-3", "b"]);
    }
}
