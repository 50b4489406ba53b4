//! The rows of the table.

mod abreast;
mod change;
mod checkpoint;
mod gpu;
mod images;
mod imported;
mod memory;
mod overhead;
mod selection;
mod sparse;
mod start;
mod training;
mod whole;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::bench::Bench;
use crate::error::BenchError;
use crate::machine::{Machine, today};
use crate::measure::Measured;
use crate::place::Place;
use crate::results::{Results, RowResult, Unit};
use crate::table;

/// Headings, in the page's order.
pub const GROUPS: &[&str] = &[
    TRAINING, BF16, IMPORTED, SPARSE, WHOLE, MASKS, OVERHEAD, IMAGES, FILES, MEMORY,
];
const TRAINING: &str = "Training in fp32";
const BF16: &str = "Training in bf16";
const IMPORTED: &str = "Networks from PyTorch's archives";
const SPARSE: &str = "Sparse training";
const WHOLE: &str = "Whole runs";
const MASKS: &str = "Global magnitude masks";
const OVERHEAD: &str = "What masks and plugins cost";
const IMAGES: &str = "Images from files";
const FILES: &str = "Checkpoints and start";
const MEMORY: &str = "Largest memory";
/// The heading of the rows for GPUs, whose section stands by itself.
pub const GPU: &str = "GPU";

/// Something that is measured.
pub struct Row {
    /// Its name.
    pub name: String,
    /// The heading below which it stands.
    pub group: &'static str,
    what: String,
    unit: Unit,
    goals: Vec<(&'static str, f64)>,
    limit: Option<f64>,
    measure: Box<Measure>,
}

/// Measures a row, given its name.
type Measure = dyn Fn(&mut Bench, &str) -> Result<Measured, BenchError>;

impl Row {
    fn new(
        name: impl Into<String>,
        group: &'static str,
        what: impl Into<String>,
        unit: Unit,
        measure: impl Fn(&mut Bench, &str) -> Result<Measured, BenchError> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            group,
            what: what.into(),
            unit,
            goals: Vec::new(),
            limit: None,
            measure: Box::new(measure),
        }
    }

    /// With ratios that it should reach.
    fn goals(mut self, goals: &[(&'static str, f64)]) -> Self {
        self.goals = goals.to_vec();
        self
    }

    /// With a number of seconds that ours should stay below.
    fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// All rows that are measured there, in the page's order.
pub fn all(place: Place) -> Vec<Row> {
    if place.has_gpu_rows() {
        return gpu::rows(place)
            .into_iter()
            .chain(abreast::rows())
            .chain(change::gpu_rows())
            .collect();
    }
    [
        training::rows(),
        imported::rows(),
        sparse::rows(),
        selection::rows(),
        whole::rows(),
        change::rows(),
        overhead::rows(),
        images::rows(),
        checkpoint::rows(),
        start::rows(),
        memory::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Measures the rows that match a pattern and puts them into the table.
///
/// # Errors
/// If no row matches or results cannot be stored. A row that fails becomes a note.
pub fn run(bench: &mut Bench, patterns: &[String]) -> Result<(), BenchError> {
    let mut rows = all(bench.settings.place);
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let known = names.join(", ");
    let is_asked = |row: &Row| patterns.iter().any(|pattern| matches(pattern, &row.name));
    rows.retain(|row| patterns.is_empty() || is_asked(row));
    if rows.is_empty() {
        return Err(BenchError::Ours(format!(
            "no row is called so; there are {known}"
        )));
    }
    let path = bench.settings.results();
    let is_dry = bench.settings.place == Place::Dry;
    let mut results = match is_dry {
        true => Results::default(),
        false => Results::read(&path)?,
    };
    let count = rows.len();
    for (place, row) in rows.into_iter().enumerate() {
        eprintln!("{} ({} of {count})", row.name, place + 1);
        let result = measure(bench, &row);
        say(&result);
        // A machine without PyTorch still measures the host.
        results.be_of(Machine::this(&bench.settings, &bench.about));
        results.rows.insert(row.name, result);
        if !is_dry {
            results.write(&path)?;
            table::write(&results, bench.settings.place)?;
        }
    }
    if is_dry {
        print!("{}", table::section(&results, bench.settings.place));
        return match results.rows.iter().find(|(_, row)| row.sides.is_empty()) {
            Some((name, row)) => Err(BenchError::Ours(format!(
                "{name}: {}",
                row.notes.join("; ")
            ))),
            None => Ok(()),
        };
    }
    Ok(())
}

fn measure(bench: &mut Bench, row: &Row) -> RowResult {
    // libtorch's bindings panic where libtorch throws, as without memory.
    let measured = catch_unwind(AssertUnwindSafe(|| (row.measure)(bench, &row.name)));
    bench.free(&row.name);
    let measured = measured.unwrap_or_else(|panic| {
        let text = host::memory::text_of(&*panic);
        let text = host::memory::shortage(text).unwrap_or_else(|| text.to_owned());
        Err(BenchError::Ours(text))
    });
    let measured = measured.unwrap_or_else(|error| Measured {
        series: Vec::new(),
        notes: vec![error.to_string()],
    });
    let mut result = RowResult::new(&row.what, row.unit, measured, &row.goals, &today());
    result.limit = row.limit;
    result
}

fn say(result: &RowResult) {
    for side in &result.sides {
        eprintln!("    {:<20} {}", side.name, result.unit.show(side.median));
    }
    for ratio in &result.ratios {
        let got = ratio.ratio;
        eprintln!(
            "    / {:<18} {:.2} [{:.2}, {:.2}]{}",
            ratio.against,
            got.median,
            got.low,
            got.high,
            ratio
                .goal
                .map_or_else(String::new, |goal| format!("   goal {goal}"))
        );
    }
    for note in &result.notes {
        eprintln!("    {note}");
    }
}

/// What a row measures in a process of its own.
///
/// # Errors
/// If it cannot be measured.
pub fn child(arguments: &[String]) -> Result<(), BenchError> {
    match arguments {
        [what, model, steps] if what == "memory" => memory::child(model, steps),
        [what, folder] if what == "plugins" => start::load_plugins(folder.as_ref()),
        _ => Err(BenchError::Setting {
            name: "--child".to_owned(),
            got: arguments.join(" "),
            expected: "memory MODEL STEPS or plugins FOLDER",
        }),
    }
}

/// Whether a name matches a pattern in which `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, name, expected) in [
            ("lenet", "lenet", true),
            ("lenet", "lenet-bf16", false),
            ("lenet*", "lenet", true),
            ("*-bf16", "lenet-bf16", true),
            ("l*-*6", "lenet-bf16", true),
            ("resnet*", "lenet", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn every_row_has_a_name_of_its_own_and_stands_below_a_heading() {
        let gpu = all(Place::Gpu(0));
        assert!(gpu.iter().all(|row| row.group == GPU));
        let processors = all(Place::Processors);
        assert!(processors.iter().all(|row| GROUPS.contains(&row.group)));
        let rows: Vec<Row> = gpu.into_iter().chain(processors).collect();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len());
    }
}
