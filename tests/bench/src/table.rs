//! `BENCHMARKS.md`: a fixed introduction, and tables of results.

use std::fmt::Write;
use std::fs;

use crate::error::BenchError;
use crate::machine::Machine;
use crate::place::Place;
use crate::results::{Curve, Results, RowResult};
use crate::rows;
use crate::settings::root;

const START: &str = "<!-- Written by `make bench`: changes below are lost. -->";
const END: &str = "<!-- The end of what `make bench` writes. -->";

/// The marks around the section on GPUs.
const GPU: [&str; 2] = [
    "<!-- Written by `make bench-cuda`: changes below are lost. -->",
    "<!-- The end of what `make bench-cuda` writes. -->",
];

/// Writes the page, or its section on GPUs. What somebody wrote below the tables stays.
///
/// # Errors
/// If it cannot be written.
pub fn write(results: &Results, place: Place) -> Result<(), BenchError> {
    let path = root().join("BENCHMARKS.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    if place.has_gpu_rows() {
        let page = with_section(&before, &section(results, place));
        return fs::write(&path, page).map_err(BenchError::file(&path));
    }
    let after = before.split_once(END).map_or("\n", |(_, after)| after);
    let body = body(results);
    let page = format!(
        "{}\n{START}\n\n{body}\n{END}{after}",
        include_str!("introduction.md")
    );
    fs::write(&path, page).map_err(BenchError::file(&path))
}

/// The section on GPUs.
pub fn section(results: &Results, place: Place) -> String {
    let all = rows::all(place);
    let found: Vec<_> = (all.iter())
        .filter_map(|row| Some((row.name.as_str(), results.rows.get(&row.name)?)))
        .collect();
    let Machine {
        gpu,
        processor,
        libtorch,
        torch,
        python,
        ..
    } = &results.machine;
    let gpu = match gpu.as_str() {
        "" => "no GPU, as a dry run",
        gpu => gpu,
    };
    let measured = format!(
        "Measured on {gpu} (name, driver, memory) beside {processor}, libtorch {libtorch}, PyTorch {torch}, Python {python}.\n"
    );
    let introduction = include_str!("gpu.md");
    format!(
        "## {}\n\n{introduction}\n{measured}\n{}",
        rows::GPU,
        table(&found)
    )
}

/// The page with this section in its place: where it stands, or below the tables.
fn with_section(page: &str, section: &str) -> String {
    let [start, end] = GPU;
    let section = format!("{start}\n\n{section}\n{end}");
    if let Some((before, rest)) = page.split_once(start)
        && let Some((_, after)) = rest.split_once(end)
    {
        return format!("{before}{section}{after}");
    }
    match page.split_once(END) {
        Some((before, after)) => format!("{before}{END}\n\n{section}{after}"),
        None => format!("{page}\n{section}\n"),
    }
}

fn body(results: &Results) -> String {
    let mut text = String::new();
    if results.rows.is_empty() && results.scaling.is_empty() {
        return "Nothing is measured yet.\n".to_owned();
    }
    text += &machine(&results.machine);
    let all = rows::all(Place::Processors);
    for group in rows::GROUPS {
        let names = all
            .iter()
            .filter(|row| row.group == *group)
            .map(|row| &row.name);
        let found: Vec<_> = names
            .filter_map(|name| Some((name.as_str(), results.rows.get(name)?)))
            .collect();
        if !found.is_empty() {
            let _ = write!(text, "\n## {group}\n\n{}", table(&found));
        }
    }
    if !results.scaling.is_empty() {
        text += &scaling(results);
    }
    text
}

fn machine(machine: &Machine) -> String {
    format!(
        "Measured on {} ({} cores, {}; caches {}; {} GiB of memory; {}) with {} threads, libtorch {}, PyTorch {}, Python {}.\n",
        machine.processor,
        machine.cores,
        machine.extensions,
        machine.caches,
        machine.memory,
        machine.kernel,
        machine.threads,
        machine.libtorch,
        machine.torch,
        machine.python,
    )
}

/// A line for each ratio, and notes below.
fn table(rows: &[(&str, &RowResult)]) -> String {
    let mut text = "| row | what | host | against | it has | ratio | goal | |\n".to_owned();
    text += "|---|---|---|---|---|---|---|---|\n";
    let mut notes = String::new();
    for (name, row) in rows {
        let Some(ours) = row.sides.first() else {
            let _ = writeln!(text, "| `{name}` | {} | not measured | | | | | |", row.what);
            row.notes
                .iter()
                .for_each(|note| add_note(&mut notes, name, note));
            continue;
        };
        let own = row.unit.show(ours.median);
        let mut first = Some((format!("`{name}`"), row.what.clone(), own.clone()));
        let mut head = || first.take().unwrap_or_default();
        if let Some(limit) = row.limit {
            let (name, what, own) = head();
            let goal = format!("below {}", row.unit.show(1.0 / limit));
            let mark = mark(1.0 / ours.median < limit);
            let _ = writeln!(text, "| {name} | {what} | {own} | | | | {goal} | {mark} |");
        } else if row.ratios.is_empty() {
            let (name, what, own) = head();
            let _ = writeln!(text, "| {name} | {what} | {own} | | | | | |");
        }
        for ratio in &row.ratios {
            let (name, what, own) = head();
            let other = row.sides.iter().find(|it| it.name == ratio.against);
            let other = other.map_or_else(String::new, |it| row.unit.show(it.median));
            let got = ratio.ratio;
            let goal = ratio
                .goal
                .map_or_else(String::new, |goal| format!("{goal}"));
            let mark = ratio.goal.map_or("", |goal| mark(got.median >= goal));
            let _ = writeln!(
                text,
                "| {name} | {what} | {own} | {} | {other} | **{:.2}** [{:.2}, {:.2}] | {goal} | {mark} |",
                ratio.against, got.median, got.low, got.high,
            );
        }
        row.notes
            .iter()
            .for_each(|note| add_note(&mut notes, name, note));
    }
    let dates: Vec<&str> = rows.iter().map(|(_, row)| row.date.as_str()).collect();
    let (first, last) = (dates.iter().min(), dates.iter().max());
    if let (Some(first), Some(last)) = (first, last) {
        let span = if first == last {
            (*first).to_owned()
        } else {
            format!("{first} to {last}")
        };
        let _ = writeln!(text, "\nMeasured {span}.");
    }
    text + &notes
}

fn add_note(notes: &mut String, name: &str, note: &str) {
    if notes.is_empty() {
        notes.push('\n');
    }
    let _ = writeln!(notes, "- `{name}`: {}", note.replace('\n', " "));
}

fn mark(met: bool) -> &'static str {
    if met { "met" } else { "not met" }
}

fn scaling(results: &Results) -> String {
    let mut text = "\n## How the host's costs grow\n".to_owned();
    for (name, curve) in &results.scaling {
        let _ = write!(
            text,
            "\n**{name}** ({})\n\n{}",
            curve.date,
            curve_table(curve)
        );
    }
    text += "\n![Time of a step against the network's size](docs/scaling-size.svg)\n";
    text += "\n![Time of a step against seeds side by side](docs/scaling-seeds.svg)\n";
    text += "\n![Memory over a thousand levels](docs/scaling-levels.svg)\n";
    text
}

fn curve_table(curve: &Curve) -> String {
    let mut text = format!("| {} | {} | |\n|---|---|---|\n", curve.x, curve.y);
    // A long curve is shown by a few of its points; the picture has all.
    let every = curve.points.len().div_ceil(12);
    let last = curve.points.len().saturating_sub(1);
    for (place, (x, y, word)) in curve.points.iter().enumerate() {
        if place % every == 0 || place == last {
            let _ = writeln!(text, "| {x} | {y:.1} | {word} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Measured, Series};
    use crate::results::Unit;

    fn row(unit: Unit, ours: &[f64], theirs: &[f64]) -> RowResult {
        let series = |name: &str, rates: &[f64]| Series {
            name: name.to_owned(),
            rates: rates.to_vec(),
        };
        let measured = Measured {
            series: vec![series("host", ours), series("eager", theirs)],
            notes: vec!["compile: no compiler".to_owned()],
        };
        RowResult::new("a network", unit, measured, &[("eager", 1.5)], "2026-11-26")
    }

    #[test]
    fn a_line_holds_both_medians_the_ratio_with_its_quartiles_and_the_goal() {
        let row = row(
            Unit::Images,
            &[3000.0, 2000.0, 4000.0],
            &[2000.0, 1000.0, 2000.0],
        );
        let text = table(&[("lenet", &row)]);
        let line = "| `lenet` | a network | 3,000 images/s | eager | 2,000 images/s | **2.00** [1.75, 2.00] | 1.5 | met |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("- `lenet`: compile: no compiler"), "{text}");
    }

    #[test]
    fn what_is_missed_is_marked_in_every_unit() {
        use Unit::{Bytes, Images, Mebibytes, Seconds, Weights};
        for unit in [Images, Weights, Bytes, Seconds, Mebibytes] {
            let text = table(&[("lenet", &row(unit, &[1.0], &[1.0]))]);
            assert!(text.contains("| 1.5 | not met |"), "{text}");
        }
    }

    #[test]
    fn the_section_on_gpus_takes_its_place_and_leaves_all_else() {
        let page = format!("intro\n{START}\nrows\n{END}\n\n## Why\n");
        let first = with_section(&page, "## GPU\n\nold\n");
        assert!(first.starts_with(&format!("intro\n{START}\nrows\n{END}\n\n{}\n", GPU[0])));
        assert!(
            first.ends_with(&format!("{}\n\n## Why\n", GPU[1])),
            "{first}"
        );
        let second = with_section(&first, "## GPU\n\nnew\n");
        assert_eq!(second, first.replace("old", "new"));
    }

    #[test]
    fn a_limit_is_compared_with_the_time_itself() {
        let mut row = row(Unit::Seconds, &[4.0], &[4.0]);
        row.limit = Some(0.3);
        row.ratios.clear();
        let text = table(&[("plan", &row)]);
        assert!(
            text.contains("| 250 ms | | | | below 300 ms | met |"),
            "{text}"
        );
    }

    #[test]
    fn a_row_without_any_side_says_so() {
        let mut row = row(Unit::Images, &[1.0], &[1.0]);
        (row.sides, row.ratios) = (Vec::new(), Vec::new());
        assert!(table(&[("lenet", &row)]).contains("not measured"));
    }
}
