//! Text from files of strangers, as a terminal or a log may show it.

use std::borrow::Cow;

/// The text without anything that a terminal obeys instead of showing: escape sequences, carriage
/// returns, characters that turn the direction of what is read. They are written out, as `\u001b`. Line
/// breaks and tabs stay. In a string of JSON it means the same as before.
pub fn printable(text: &str) -> Cow<'_, str> {
    written_out(text, |c| obeyed(c) && !matches!(c, '\n' | '\t'))
}

/// The same on one line: line breaks, too, are written out, so that a name cannot look like a line of the
/// log.
pub fn one_line(text: &str) -> Cow<'_, str> {
    written_out(text, obeyed)
}

fn obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

fn written_out(text: &str, obeyed: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match obeyed(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        let hostile = "a\u{1b}[2J\r\u{9b}31m\u{202e}b\n\tc";
        assert_eq!(
            printable(hostile),
            "a\\u001b[2J\\u000d\\u009b31m\\u202eb\n\tc"
        );
        assert_eq!(one_line("x\n[ERROR] y"), "x\\u000a[ERROR] y");
        let json = serde_json::json!({ "name": hostile }).to_string();
        let shown: serde_json::Value = serde_json::from_str(&printable(&json)).unwrap();
        assert_eq!(shown["name"], hostile);
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["größe ≤ 0.5 → π", "C:\\run", "日本語"] {
            assert!(matches!(one_line(text), Cow::Borrowed(it) if it == text));
        }
    }
}
