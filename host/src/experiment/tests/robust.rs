//! No text makes the reader panic.

use proptest::prelude::*;

use super::*;

/// Whatever comes out, showing it must work too.
fn survive(text: &str, overrides: &[&str]) {
    let folder = Folder::new(&[("lrr.toml", text)]);
    match folder.load("lrr.toml", overrides) {
        Ok(loaded) => assert!(load_text(&loaded.text).is_ok(), "{}", loaded.text),
        Err(problems) => {
            assert!(!problems.is_empty());
            let _ = (
                problems.render(true),
                problems.to_string(),
                problems.to_json(),
            );
        }
    }
}

/// Pieces of which files are made.
const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\"",
    "'",
    "\n",
    "[[",
    "]]",
    "\"\"\"",
    "#",
    "0",
    "-1",
    "1e999",
    "nan",
    "9999999999999999999",
    "0x",
    "true",
    "1979-05-27",
    "π",
    "\u{7f}",
    "\u{200b}",
    "\r",
    "\t",
    "base",
    "name",
    "use",
    "strategy",
    "rewind",
    "\"lrr\"",
    "\"imp/weights\"",
    "\"broken/x\"",
    "\"mine/endless\"",
    "train",
    "prune",
    "densities",
    "levels",
    "plugins",
    "mine",
    "path",
    "seeds",
    "[]",
    "{}",
    "\"\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        survive(&text, &[]);
    }

    #[test]
    fn any_damage_to_a_good_file_is_read_or_refused(
        at in 0..GOOD.len(), length in 0..40usize, pieces in prop::collection::vec(prop::sample::select(PIECES), 0..6),
    ) {
        let end = (at + length).min(GOOD.len());
        let text = format!("{}{}{}", &GOOD[..at], pieces.concat(), &GOOD[end..]);
        survive(&text, &[]);
    }

    #[test]
    fn any_sequence_of_pieces_is_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40), spaced in any::<bool>(),
    ) {
        survive(&pieces.join(if spaced { " " } else { "" }), &[]);
    }

    #[test]
    fn any_override_is_taken_or_refused(
        key in prop::collection::vec(prop::sample::select(&["strategy", "rewind", "0", "2", "use", "train", "name", "\"a=b\"", "plugins", "mine", "path", ""][..]), 0..5),
        value in prop_oneof![any::<String>(), prop::sample::select(PIECES).prop_map(str::to_owned)],
    ) {
        let text = format!("{}={value}", key.join("."));
        survive(GOOD, &[&text, &value]);
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed_to_the_end_of_the_stack() {
    for depth in [50, 100, 10_000, 100_000] {
        survive(&format!("x = {}", "[".repeat(depth)), &[]);
        survive(
            &format!("x = {}{}", "[".repeat(depth), "]".repeat(depth)),
            &[],
        );
        survive(
            &format!("x = {}1{}", "{a = ".repeat(depth), "}".repeat(depth)),
            &[],
        );
        survive(&format!("{}x = 1", "a.".repeat(depth)), &[]);
        survive(&format!("[{}x]", "a.".repeat(depth)), &[]);
        survive(GOOD, &[&format!("{}x=1", "a.".repeat(depth))]);
        survive(GOOD, &[&format!("model.hidden={}", "[".repeat(depth))]);
    }
}
