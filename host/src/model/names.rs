//! Parameters by name or by pattern.

use regex::Regex;

/// Names that are listed in an error at most.
const MOST_LISTED: usize = 12;

/// Names that a pattern was meant to choose from, of which it fits none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is called `{pattern}`: known are {known}")]
pub struct Unmatched {
    /// The pattern.
    pub pattern: String,
    /// What there is, the nearest first.
    pub known: String,
}

/// Whether a text is a pattern and no name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a name or a pattern of this form fits a name.
///
/// As Python's `fnmatch.fnmatchcase`: `*` stands for any run of characters, dots included, `?` for one character,
/// `[abc]`, `[0-9]` and `[!abc]` for one of a set or one that is not in it; all of the name has to fit. What has
/// none of these is a name.
pub fn fits(pattern: &str, name: &str) -> bool {
    if !is_pattern(pattern) {
        return pattern == name;
    }
    // A set such as `[9-0]` is none, and fits nothing.
    Regex::new(&translated(pattern)).is_ok_and(|it| it.is_match(name))
}

/// The pattern as a regular expression.
fn translated(pattern: &str) -> String {
    let mut made = String::from("(?s)^");
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '*' => made.push_str(".*"),
            '?' => made.push('.'),
            '[' => match set(rest) {
                Some((set, after)) => {
                    made.push_str(&set);
                    rest = after;
                }
                // Without its end it is a character.
                None => made.push_str("\\["),
            },
            other => made.push_str(&regex::escape(&other.to_string())),
        }
    }
    made + "$"
}

/// A set as in a regular expression, and what stands behind it; none if it has no end.
fn set(rest: &str) -> Option<(String, &str)> {
    let (negation, body) = match rest.strip_prefix('!') {
        Some(body) => ("^", body),
        None => ("", rest),
    };
    // A bracket that stands first belongs to the set.
    let first = body.chars().next()?.len_utf8();
    let end = first + body.get(first..)?.find(']')?;
    let escaped: String = (body[..end].chars())
        .map(|it| match it {
            '-' => it.to_string(),
            it => regex::escape(&it.to_string()),
        })
        .collect();
    Some((format!("[{negation}{escaped}]"), &body[end + 1..]))
}

/// Which of these names one of the patterns fits.
///
/// # Errors
/// The first pattern that fits none.
pub fn chosen(patterns: &[String], names: &[&str]) -> Result<Vec<bool>, Unmatched> {
    let mut chosen = vec![false; names.len()];
    for pattern in patterns {
        let mut found = false;
        for (chosen, name) in chosen.iter_mut().zip(names) {
            let own = fits(pattern, name);
            *chosen |= own;
            found |= own;
        }
        if !found {
            return Err(unmatched(pattern, names));
        }
    }
    Ok(chosen)
}

/// A pattern that fits none of these names.
pub fn unmatched(pattern: &str, names: &[&str]) -> Unmatched {
    Unmatched {
        pattern: pattern.to_owned(),
        known: nearest_first(pattern, names),
    }
}

/// Names in a list, in their order if there are few, else those that are nearest to what was written.
fn nearest_first(written: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    if names.len() <= MOST_LISTED {
        return names.join(", ");
    }
    let mut ranked: Vec<(usize, &str)> = (names.iter())
        .map(|name| (strsim::damerau_levenshtein(written, name), *name))
        .collect();
    ranked.sort_by_key(|(distance, _)| *distance);
    let listed: Vec<&str> = ranked[..MOST_LISTED]
        .iter()
        .map(|(_, name)| *name)
        .collect();
    let more = names.len() - MOST_LISTED;
    format!("{}, and {more} more", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_pythons_fnmatch_does() {
        // What `fnmatch.fnmatchcase(name, pattern)` says.
        for (pattern, name, expected) in [
            ("blocks.*.mlp.*", "blocks.0.mlp.fc1.weight", true),
            ("blocks.*.mlp.*", "blocks.0.attn.qkv.weight", false),
            ("blocks.*", "blocks.0.attn.qkv.weight", true),
            ("*.weight", "weight", false),
            ("*weight", "weight", true),
            ("fc?.weight", "fc1.weight", true),
            ("fc?.weight", "fc12.weight", false),
            ("fc?.weight", "fc.weight", false),
            ("blocks.[0-3].*", "blocks.2.bias", true),
            ("blocks.[!0-3].*", "blocks.2.bias", false),
            ("blocks.[!0-3].*", "blocks.4.bias", true),
            ("a[]]b", "a]b", true),
            ("a[!]]b", "a]b", false),
            ("a[b", "a[b", true),
            ("a[^b]c", "a^c", true),
            ("a[^b]c", "adc", false),
            ("a[9-0]*", "a5", false),
            ("fc.weight", "fc.weight", true),
            ("fc.weight", "fcxweight", false),
            ("f*", "FC", false),
            ("*(x|y)*", "a(x|y)b", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_named_with_what_is_there() {
        let names = ["fc1.weight", "fc2.weight", "fc2.bias"];
        let patterns = ["fc2.*", "fc1.weight"].map(str::to_owned);
        assert_eq!(chosen(&patterns, &names), Ok(vec![true; 3]));
        let error = chosen(&["conv*".to_owned()], &names).unwrap_err();
        assert_eq!(error.known, "fc1.weight, fc2.weight, fc2.bias");
        let many: Vec<String> = (0..100).map(|it| format!("blocks.{it}.weight")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = chosen(&["block.42.weight".to_owned()], &many).unwrap_err();
        assert!(error.known.starts_with("blocks.42.weight, "), "{error:?}");
        assert!(error.known.ends_with(", and 88 more"), "{error:?}");
    }
}
