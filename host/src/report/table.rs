//! The table of levels.

use comfy_table::{CellAlignment, Table, presets};

use super::Interval;
use super::builds::{MARK, OtherBuilds};
use crate::records::Summary;

/// One row a level: density, survivors, test accuracy over seeds with its 95 % interval, sign flips
/// against init; where samples are held out for it, also the accuracy on these. Levels of another build
/// of a plugin are marked, and said to be.
pub fn table(summaries: &[Summary], builds: Option<&OtherBuilds>) -> String {
    let mut header = vec![
        "level",
        "density",
        "survivors",
        "test accuracy %",
        "95 % interval",
        "flips vs init %",
        "seeds",
    ];
    let has_validation = summaries.iter().any(|it| it.validation_accuracy.is_some());
    if has_validation {
        header.push("validation accuracy %");
    }
    let mut table = plain(header);
    let last = summaries.iter().map(|summary| summary.level).max();
    for level in last.into_iter().flat_map(|last| 0..=last) {
        let own: Vec<&Summary> = summaries
            .iter()
            .filter(|summary| summary.level == level)
            .collect();
        let values = |pick: fn(&Summary) -> f64| -> Vec<f64> {
            own.iter().map(|s| 100.0 * pick(s)).collect()
        };
        let accuracy = Interval::of(&values(|summary| summary.test_accuracy));
        let flips = Interval::of(&values(|summary| summary.flips_init));
        let (Some(first), Some(accuracy), Some(flips)) = (own.first(), accuracy, flips) else {
            continue;
        };
        let mut row = vec![
            match builds.is_some_and(|it| it.has(level)) {
                true => format!("{level}{MARK}"),
                false => level.to_string(),
            },
            format!("{:.4}", first.density),
            first.survivors.to_string(),
            format!("{:.2}", accuracy.mean),
            accuracy
                .half_width
                .map_or_else(String::new, |half| format!("± {half:.2}")),
            format!("{:.1}", flips.mean),
            own.len().to_string(),
        ];
        if has_validation {
            let known = own.iter().filter_map(|it| it.validation_accuracy);
            let known: Vec<f64> = known.map(|it| 100.0 * it).collect();
            row.push(Interval::of(&known).map_or_else(String::new, |it| format!("{:.2}", it.mean)));
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    match builds {
        None => table.to_string(),
        Some(builds) => format!("{table}\n\n{MARK} {}", builds.note),
    }
}

fn plain<Row: Into<comfy_table::Row>>(header: Row) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header);
    table
}

/// Rows of texts under a header, in columns without lines.
pub fn plain_table<const N: usize>(
    header: &[&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    columns(
        header.iter().map(|&name| name.to_owned()).collect(),
        rows.into_iter().map(Vec::from),
        &[],
    )
}

/// As [`plain_table`], for a number of columns that is not known in advance; numbers stand at the
/// right side of these columns.
pub fn columns(
    header: Vec<String>,
    rows: impl IntoIterator<Item = Vec<String>>,
    numbers: &[usize],
) -> String {
    let mut table = plain(header);
    table.add_rows(rows);
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}
