//! Documentation, laid out for a terminal.

use serde_json::Value;

/// Columns that a line has at most.
const WIDTH: usize = 100;

/// A schema's description as it was written: paragraphs, and sections under their headings. Lines of a
/// paragraph become one; points of a list, rows of a table and code keep theirs.
pub fn documentation(schema: &Value) -> Vec<Block> {
    let text = schema.get("description").and_then(Value::as_str);
    let mut blocks: Vec<Block> = Vec::new();
    let (mut is_open, mut is_code) = (false, false);
    for line in text.unwrap_or_default().lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            is_code = !is_code;
            is_open = false;
        } else if is_code {
            blocks.push(Block::Line(line.to_owned()));
        } else if trimmed.is_empty() {
            is_open = false;
        } else if let Some(heading) = heading(trimmed) {
            blocks.push(Block::Heading(heading.to_owned()));
            is_open = false;
        } else if is_row(trimmed) {
            blocks.push(Block::Paragraph(trimmed.to_owned()));
            is_open = !trimmed.starts_with('|');
        } else if let (true, Some(Block::Paragraph(text))) = (is_open, blocks.last_mut()) {
            text.push(' ');
            text.push_str(trimmed);
        } else {
            blocks.push(Block::Paragraph(trimmed.to_owned()));
            is_open = true;
        }
    }
    blocks
}

/// What stands on lines of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// `# Source`, without the sign.
    Heading(String),
    /// Text that is broken where the line ends.
    Paragraph(String),
    /// Text that is not broken.
    Line(String),
}

/// The blocks as lines, this far from the left.
pub fn lines(blocks: &[Block], indent: usize) -> Vec<String> {
    let margin = " ".repeat(indent);
    let mut lines = Vec::new();
    for block in blocks {
        match block {
            Block::Heading(text) => lines.push(format!("{margin}{text}:")),
            Block::Paragraph(text) => lines.extend(wrap(text, indent)),
            Block::Line(text) => lines.push(format!("{margin}  {text}")),
        }
    }
    lines
}

/// A text broken between words, this far from the left.
pub fn wrap(text: &str, indent: usize) -> Vec<String> {
    let margin = " ".repeat(indent);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{margin}{word}")),
        }
    }
    lines
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len() && text.starts_with(' ')).then(|| text.trim())
}

/// Whether a line is a point of a list or a row of a table.
fn is_row(line: &str) -> bool {
    let number = line.trim_start_matches(|it: char| it.is_ascii_digit());
    line.starts_with("- ")
        || line.starts_with("* ")
        || line.starts_with('|')
        || (number.len() < line.len() && number.starts_with(". "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paragraph(text: &str) -> Block {
        Block::Paragraph(text.to_owned())
    }

    #[test]
    fn paragraphs_lists_code_and_sections_stay_apart() {
        let text = "First\nline.\n\nSecond.\n- a\n  b\n- c\n\n```text\nx  =\n  y\n```\n# Source\nA paper.\n\
                    ## Limits\n1. one";
        let expected = [
            paragraph("First line."),
            paragraph("Second."),
            paragraph("- a b"),
            paragraph("- c"),
            Block::Line("x  =".to_owned()),
            Block::Line("  y".to_owned()),
            Block::Heading("Source".to_owned()),
            paragraph("A paper."),
            Block::Heading("Limits".to_owned()),
            paragraph("1. one"),
        ];
        assert_eq!(documentation(&json!({ "description": text })), expected);
        assert!(documentation(&json!({})).is_empty());
    }

    #[test]
    fn lines_are_broken_between_words_and_lose_none() {
        let words: Vec<String> = (0..200).map(|it| format!("w{it}")).collect();
        let text = words.join(" ");
        let lines = lines(&[paragraph(&text)], 4);
        assert!(lines.len() > 5);
        assert!(
            lines
                .iter()
                .all(|it| it.starts_with("    w") && it.len() <= WIDTH)
        );
        let whole: Vec<&str> = lines.iter().flat_map(|it| it.split_whitespace()).collect();
        assert_eq!(whole.join(" "), text);
        let long = "x".repeat(2 * WIDTH);
        assert_eq!(wrap(&format!("a {long} b"), 0), ["a", &long, "b"]);
    }
}
