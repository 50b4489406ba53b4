//! What all ranks must have in common.

use std::collections::BTreeMap;

/// What decides what a process computes, each by its name: the program, its plugins, libtorch, the experiment.
pub type Facts = BTreeMap<String, String>;

/// What of the others' facts is not as rank 0's, each with its ranks.
pub fn differences(own: (&str, &Facts), others: &[(String, Facts)]) -> Vec<String> {
    let (who, own) = own;
    let mut names: Vec<&String> = own.keys().collect();
    names.extend(others.iter().flat_map(|(_, facts)| facts.keys()));
    names.sort();
    names.dedup();
    let mut found = Vec::new();
    for name in names {
        let value = |facts: &Facts| facts.get(name).map_or("none", |it| it.as_str()).to_owned();
        for (other, facts) in others {
            let (theirs, ours) = (value(facts), value(own));
            if theirs != ours {
                found.push(format!("{name}: {other} has {theirs}, {who} has {ours}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named_with_both_ranks() {
        let facts = |list: &[(&str, &str)]| -> Facts {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            list.iter().map(own).collect()
        };
        let own = facts(&[("program", "a"), ("data", "x"), ("plugin `imp`", "1")]);
        let others = [
            ("rank 1".to_owned(), own.clone()),
            (
                "rank 2".to_owned(),
                facts(&[("program", "b"), ("data", "x")]),
            ),
            (
                "rank 3".to_owned(),
                facts(&[
                    ("program", "a"),
                    ("data", "y"),
                    ("plugin `imp`", "1"),
                    ("more", "z"),
                ]),
            ),
        ];
        assert_eq!(
            differences(("rank 0", &own), &others),
            [
                "data: rank 3 has y, rank 0 has x",
                "more: rank 3 has z, rank 0 has none",
                "plugin `imp`: rank 2 has none, rank 0 has 1",
                "program: rank 2 has b, rank 0 has a",
            ]
        );
        assert!(differences(("rank 0", &own), &others[..1]).is_empty());
    }
}
