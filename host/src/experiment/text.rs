//! Writing a tree as TOML, in the layout of a file written by hand.

use std::fmt::Write;

use super::tree::{Node, Table, Tree};

/// The TOML text of a file: plain keys first, then a section for each table.
pub(super) fn write_file(root: &Table) -> String {
    let mut text = String::new();
    let is_section = |node: &Node| matches!(node.value, Tree::Table(_));
    for (key, node) in root.iter().filter(|(_, node)| !is_section(node)) {
        push_entry(&mut text, &key.text, node);
    }
    for (key, node) in root.iter() {
        if let Tree::Table(table) = &node.value {
            text.push_str("\n[");
            push_key(&mut text, &key.text);
            text.push_str("]\n");
            for (key, node) in table.iter() {
                push_entry(&mut text, &key.text, node);
            }
        }
    }
    text
}

/// A file that [`write_file`] wrote, with other seeds: its plain keys stand first, each on a line of its
/// own.
pub(super) fn with_seeds(text: &str, seeds: &[u64]) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut is_plain = true;
    for line in text.lines() {
        is_plain &= !line.starts_with('[');
        match is_plain && line.starts_with("seeds = ") {
            // A list of numbers is written alike in Rust and in TOML.
            true => changed.push_str(&format!("seeds = {seeds:?}")),
            false => changed.push_str(line),
        }
        changed.push('\n');
    }
    changed
}

fn push_entry(text: &mut String, key: &str, node: &Node) {
    push_key(text, key);
    text.push_str(" = ");
    push_value(text, node);
    text.push('\n');
}

fn push_key(text: &mut String, key: &str) {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) {
        text.push_str(key);
    } else {
        push_string(text, key);
    }
}

fn push_value(text: &mut String, node: &Node) {
    // Writing to a string cannot fail.
    let _ = match &node.value {
        Tree::Text(it) => {
            push_string(text, it);
            Ok(())
        }
        Tree::Integer(it) => write!(text, "{it}"),
        Tree::Float(it) => write!(text, "{it:?}"),
        Tree::Bool(it) => write!(text, "{it}"),
        Tree::List(elements) => {
            text.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                push_value(text, element);
            }
            text.push(']');
            Ok(())
        }
        Tree::Table(table) => {
            text.push('{');
            for (i, (key, node)) in table.iter().enumerate() {
                text.push_str(if i > 0 { ", " } else { " " });
                push_key(text, &key.text);
                text.push_str(" = ");
                push_value(text, node);
            }
            text.push_str(" }");
            Ok(())
        }
        // An experiment that holds one is not written.
        Tree::Invalid => Ok(()),
    };
}

fn push_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
