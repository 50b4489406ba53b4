//! Short texts with a form of their own.

use host::fuzzing;
use plugin_api::{Point, RunRef, Source, Step};

use super::Target;

/// Times, points, sources, runs and lists of seeds, one a line.
pub const TEXTS: Target = Target {
    name: "texts",
    read: texts,
    dictionary: &[
        "ep",
        "it",
        "init",
        "init-",
        "level-",
        "-start",
        "-end",
        "previous-",
        "#",
        "keep",
        "..",
        "..=",
        ",",
        " ",
        "+",
        "-",
    ],
    mutations: 2000,
    memory: 16,
};

/// What is read comes back when it is written and read again.
fn round<T: std::str::FromStr + ToString + PartialEq>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let again = value.to_string().parse().ok();
    assert!(again.as_ref() == Some(&value), "{text}");
    Some(value)
}

fn texts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().take(100) {
        if let Some(step) = round::<Step>(line) {
            assert!(step.steps(u64::MAX) >= step.steps(1));
        }
        if let Some(point) = round::<Point>(line) {
            assert_eq!(round::<Source>(line), Some(Source::From(point.clone())));
            let placed = point.at_level(u64::MAX);
            assert_eq!(placed.at_level(3), placed);
        }
        let json = serde_json::Value::String(line.to_owned());
        let _ = serde_json::from_value::<RunRef>(json);
        if let Ok(seeds) = fuzzing::seeds(line) {
            assert!((1..=10_000).contains(&seeds.len()));
        }
    }
}
