//! `host ls`.

use serde_json::json;

use super::super::args::{LsArgs, Order, Output};
use super::super::exit::{Exit, Failure};
use super::super::plan::{bytes, duration};
use super::super::stdout;
use super::{Entry, Inventory, Kind};
use crate::counted::counted;
use crate::program;
use crate::report::columns;

/// Lists what lies in a folder of runs.
///
/// # Errors
/// If there is no such folder.
pub fn ls(args: &LsArgs, output: &Output) -> Result<Exit, Failure> {
    let mut inventory = Inventory::read(&args.runs)?;
    let entries = &mut inventory.entries;
    match args.by {
        Order::Name => (),
        Order::Size => entries.sort_by_key(|it| std::cmp::Reverse(it.bytes)),
        Order::Time => entries.sort_by(|a, b| time(a).total_cmp(&time(b))),
    }
    if output.json {
        stdout::line(json!({
            "event": "ls", "runs": args.runs, "entries": inventory.entries, "bytes": inventory.bytes,
        }))?;
        return Ok(Exit::Success);
    }
    let mut text = match inventory.entries.is_empty() {
        true => format!("no runs in {}", args.runs.display()),
        false => table(&inventory.entries),
    };
    text += &format!("\n\n{}", total(&inventory));
    if !inventory.remains.is_empty() {
        text += &format!(
            "\n{} began to be removed and was not; `{} clean` removes the rest",
            counted(inventory.remains.len(), "folder"),
            program::name()
        );
    }
    stdout::line(text)?;
    Ok(Exit::Success)
}

/// Those of which nothing is known come last.
fn time(entry: &Entry) -> f64 {
    entry.seconds_since.unwrap_or(f64::INFINITY)
}

pub(super) fn table<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let header = ["", "what", "state", "levels", "size", "written", ""].map(str::to_owned);
    let rows = entries.into_iter().map(|it| {
        let levels = it
            .levels
            .map_or_else(|| "?".to_owned(), |it| it.to_string());
        let since = it.seconds_since.map(|it| format!("{} ago", duration(it)));
        vec![
            it.name.clone(),
            it.kind.word().to_owned(),
            it.state.word().to_owned(),
            format!("{}/{levels}", it.levels_done),
            bytes(it.bytes),
            since.unwrap_or_default(),
            remark(it),
        ]
    });
    columns(header.into(), rows, &[3, 4, 5])
}

/// Who has it or why nobody does, and what needs it or which dense level it shares.
fn remark(entry: &Entry) -> String {
    let mut parts = Vec::new();
    if !entry.note.is_empty() {
        parts.push(entry.note.clone());
    }
    match (entry.kind, entry.used_by.len()) {
        (Kind::Dense, 0) => parts.push("used by nothing".to_owned()),
        (Kind::Dense, count) => parts.push(format!("used by {}", counted(count, "run"))),
        (Kind::Sweep, _) | (_, 0) => (),
        (_, 1 | 2) => parts.push(format!("of {}", entry.used_by.join(", "))),
        (_, count) => parts.push(format!("of {}", counted(count, "other"))),
    }
    let dense = entry.uses.iter().find(|it| it.starts_with("dense-"));
    parts.extend(dense.map(|it| format!("level 0 in {it}")));
    parts.join("; ")
}

fn total(inventory: &Inventory) -> String {
    let count = |kind| {
        inventory
            .entries
            .iter()
            .filter(|it| it.kind == kind)
            .count()
    };
    let kinds = [
        (Kind::Sweep, "sweep"),
        (Kind::Run, "run"),
        (Kind::Simulation, "simulation"),
        (Kind::Dense, "shared dense level"),
    ];
    let counts = kinds.iter().filter(|(kind, _)| count(*kind) > 0);
    let counts: Vec<String> = counts
        .map(|(kind, noun)| counted(count(*kind), noun))
        .collect();
    format!(
        "{}; {} in all, what is shared counted once",
        match counts.is_empty() {
            true => "nothing".to_owned(),
            false => counts.join(", "),
        },
        bytes(inventory.bytes)
    )
}
