//! `host plan`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::args::{Output, PlanArgs};
use super::estimate::{AT_MOST, Estimate};
use super::exit::{Exit, Failure};
use super::neuron;
use super::outline::{DataOutline, LevelOutline, Outline, SeedOutline};
use super::review;
use super::stdout;
use super::sweep;
use crate::counted::counted;
pub use crate::counted::{bytes, duration};
use crate::experiment::{self, FileKind};
use crate::report::{columns, plain_table};
use crate::run::{self, Folders, HostCatalog, Read, Setting, stand_in};
use crate::samples::{InputType, Task};
use crate::strategy::units::measured;
use crate::trainer::Trainer;

/// Shows what a run would do.
///
/// # Errors
/// What is wrong with the input.
pub fn plan(args: &PlanArgs, output: &Output) -> Result<Exit, Failure> {
    match experiment::kind_of(&args.experiment.file) {
        FileKind::Neuron => return neuron::plan(&args.experiment, &args.place, output),
        FileKind::Sweep => return sweep::plan(args, output),
        FileKind::Experiment => {}
    }
    let catalog = HostCatalog::new(&args.experiment.setting_at(&args.place));
    let overrides = args.experiment.overrides();
    let loaded = experiment::load(&args.experiment.file, &overrides, &catalog)?;
    plan_one(args, &Read::new(loaded, &catalog)?, output)
}

/// Shows what the run of one experiment would do.
///
/// # Errors
/// What is wrong with the input.
pub fn plan_one(args: &PlanArgs, read: &Read, output: &Output) -> Result<Exit, Failure> {
    let setting = args.experiment.setting_at(&args.place);
    let (data, here) = match read.data(&setting) {
        Ok(data) => (data, true),
        Err(error) if error.is_missing() => {
            let stand_in = stand_in(read, &setting)?;
            log::warn!("{error}");
            (stand_in, false)
        }
        Err(error) => return Err(read.diagnose_data(error).into()),
    };
    let identities = read.identities(&data);
    let trainer = read.taught(read.trainer(data, setting.device)?, false)?;
    let name = &read.loaded.experiment.name;
    let folders = match here {
        true => Folders::of(name, &identities, &trainer, &setting),
        false => Folders::unknown(),
    };
    let course = folders.course(&read.loaded.experiment, &trainer);
    review::tell(run::review(read, &course)?, output)?;
    let mut outline = Outline::new(read, &course, here)?;
    if !args.no_estimate {
        let left = outline.steps_left();
        outline.estimate = estimate(trainer, read, &setting, left, AT_MOST)?;
    }
    stdout::line(match output.json {
        true => serde_json::json!(outline).to_string(),
        false => text(&outline),
    })?;
    Ok(Exit::Success)
}

/// How long the `left` steps of a run will take, measured within `most`; none if nothing is left.
///
/// # Errors
/// If a step fails.
pub fn estimate(
    trainer: Trainer,
    read: &Read,
    setting: &Setting,
    left: u64,
    most: Duration,
) -> Result<Option<Estimate>, Failure> {
    if left == 0 {
        return Ok(None);
    }
    let seeds = &read.loaded.experiment.seeds;
    tch::set_num_threads(setting.threads_for(&trainer, seeds.len()) as i32);
    Estimate::new(trainer, seeds, left, most)
        .map(Some)
        .map_err(Failure::bad_input)
}

fn text(outline: &Outline) -> String {
    let mut sections = vec![facts(outline), layers(outline), levels(outline)];
    sections.extend(per_layer(outline));
    sections.push(files(outline));
    sections.join("\n\n")
}

fn facts(outline: &Outline) -> String {
    let data = &outline.data;
    let shape: Vec<String> = data.shape.iter().map(i64::to_string).collect();
    let run = match (&outline.run, outline.started) {
        (None, _) => format!(
            "runs/{}-… (its name's end depends on the data)",
            outline.name
        ),
        (Some(run), false) => format!("{run} (new)"),
        (Some(run), true) => format!("{run} (exists)"),
    };
    let seeds: Vec<String> = outline.seeds.iter().map(|it| it.seed.to_string()).collect();
    let together = match (outline.side_by_side, outline.seeds.len()) {
        (_, 1) => "",
        (true, _) => ", side by side",
        (false, _) => ", one after the other",
    };
    let mut rows = vec![
        ("run", run),
        ("seeds", format!("{}{together}", seeds.join(", "))),
        (
            "data",
            format!(
                "{}: {} + {}{} samples of {}{}, {}{}",
                data.name,
                grouped(data.train as u64),
                grouped(data.test as u64),
                match data.validation {
                    Some(count) => format!(" + {} validation", grouped(count as u64)),
                    None => String::new(),
                },
                shape.join("x"),
                match data.input_type {
                    InputType::Numbers => "",
                    InputType::Tokens => " tokens",
                },
                targets(data),
                if data.here { "" } else { " (missing)" }
            ),
        ),
        (
            "model",
            format!(
                "{}: {}, {} of them prunable weights in {}",
                outline.model,
                counted(grouped(outline.parameters), "parameter"),
                grouped(outline.prunable),
                counted(outline.layers.len(), "layer")
            ),
        ),
        ("strategy", outline.strategy.join(" -> ")),
        (
            "steps",
            format!(
                "{} an epoch, {} a level ({}){}, {} a seed ({}), {} in all",
                grouped(outline.steps_per_epoch),
                grouped(outline.steps_per_level),
                counted(grouped(outline.epochs), "epoch"),
                shorter(outline),
                grouped(outline.steps_per_seed),
                counted(outline.levels.len(), "level"),
                grouped(outline.steps_per_seed * outline.seeds.len() as u64)
            ),
        ),
    ];
    if let Some(done) = done(outline) {
        rows.insert(1, ("done", done));
    }
    if let Some(estimate) = &outline.estimate {
        let what = format!(
            "about {} of training to do ({:.1} ms a step, from {} on this machine)",
            duration(estimate.seconds),
            1e3 * estimate.seconds_per_step,
            estimate.source()
        );
        rows.push(("time", what));
    }
    let line = |(name, what): &(&str, String)| format!("{name:<9} {what}");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is to be learnt of a sample.
fn targets(data: &DataOutline) -> String {
    let sizes: Vec<String> = data.target_shape.iter().map(i64::to_string).collect();
    let what = match data.task {
        Task::Numbers => return "targets are numbers".to_owned(),
        Task::Labels => return counted(data.classes, "label"),
        Task::Classes if sizes.is_empty() => format!("{} classes", data.classes),
        Task::Classes => format!(
            "{} classes at each of {} positions",
            data.classes,
            sizes.join("x")
        ),
    };
    // Names that fit on a line.
    const SHOWN: usize = 10;
    let names = data.class_names.iter().take(SHOWN);
    let names: Vec<&str> = names.map(String::as_str).collect();
    match (names.is_empty(), data.class_names.len() > SHOWN) {
        (true, _) => what,
        (false, false) => format!("{what} ({})", names.join(", ")),
        (false, true) => format!("{what} ({}, ...)", names.join(", ")),
    }
}

/// The levels that end before their epochs do.
fn shorter(outline: &Outline) -> String {
    let levels = outline.levels.iter();
    let shorter = levels.filter(|level| level.steps < outline.steps_per_level);
    let steps: BTreeSet<u64> = shorter.map(|level| level.steps).collect();
    match (steps.first(), steps.last()) {
        (Some(least), Some(most)) if least == most => {
            format!(" or {} where it ends earlier", grouped(*most))
        }
        (Some(least), Some(most)) => format!(
            " or {} to {} where it ends earlier",
            grouped(*least),
            grouped(*most)
        ),
        _ => String::new(),
    }
}

/// Where the seeds stand, if any has started.
fn done(outline: &Outline) -> Option<String> {
    let count = outline.levels.len() as u64;
    let all = |done: &dyn Fn(&SeedOutline) -> bool| outline.seeds.iter().all(done);
    if all(&|seed| seed.levels_done == count) {
        return Some("everything".to_owned());
    }
    if all(&|seed| seed.levels_done == 0 && seed.step == 0 && !seed.dense_shared) {
        return None;
    }
    let one = |seed: &SeedOutline| {
        let step = match (seed.dense_shared, seed.step) {
            (true, _) => ", the dense level is shared with another run".to_owned(),
            (_, 0) => String::new(),
            (_, step) => format!(
                " and {} of level {}",
                counted(step, "step"),
                seed.levels_done
            ),
        };
        format!(
            "seed {}: {} of {}{step}",
            seed.seed,
            seed.levels_done,
            counted(count, "level")
        )
    };
    Some(outline.seeds.iter().map(one).collect::<Vec<_>>().join("; "))
}

fn layers(outline: &Outline) -> String {
    let rows = outline.layers.iter().map(|layer| {
        let kind = serde_json::json!(layer.kind);
        let shape: Vec<String> = layer.shape.iter().map(i64::to_string).collect();
        vec![
            layer.name.clone(),
            kind.as_str().unwrap_or_default().to_owned(),
            shape.join("x"),
            grouped(layer.weights),
        ]
    });
    let header = ["layer", "kind", "shape", "weights"].map(str::to_owned);
    columns(header.into(), rows, &[3])
}

fn levels(outline: &Outline) -> String {
    let rows = outline.levels.iter().map(|level| {
        vec![
            level.level.to_string(),
            format!("{:.6}", level.density),
            match level.whole_units {
                None => format!("{} of {}", grouped(level.keep), grouped(outline.prunable)),
                Some(whole) => format!(
                    "at most {} of {} {}",
                    grouped(level.keep),
                    grouped(whole.total),
                    measured(whole.measure)
                ),
            },
        ]
    });
    let header = ["level", "density", "keeps"].map(str::to_owned);
    columns(header.into(), rows, &[0, 1, 2])
}

/// Levels that fit beside each other on a line.
const LEVELS_A_LINE: usize = 8;

/// What each level keeps of each layer, where that is known in advance.
fn per_layer(outline: &Outline) -> Option<String> {
    outline.levels.first()?.keep_per_layer.as_ref()?;
    let counts = |level: &LevelOutline, layer: usize| {
        let counts = level.keep_per_layer.as_ref();
        counts.map_or_else(String::new, |counts| grouped(counts[layer]))
    };
    let block = |levels: &[LevelOutline]| {
        let mut header = vec!["kept at level".to_owned()];
        header.extend(levels.iter().map(|level| level.level.to_string()));
        let rows = outline.layers.iter().enumerate().map(|(index, layer)| {
            let mut row = vec![layer.name.clone()];
            row.extend(levels.iter().map(|level| counts(level, index)));
            row
        });
        let numbers: Vec<usize> = (1..=levels.len()).collect();
        columns(header, rows, &numbers)
    };
    let blocks = outline.levels.chunks(LEVELS_A_LINE).map(block);
    Some(blocks.collect::<Vec<_>>().join("\n\n"))
}

fn files(outline: &Outline) -> String {
    let rows = outline.files.iter().map(|file| {
        let at = if file.dense_only { "0" } else { "each" };
        [file.name.clone(), at.to_owned(), bytes(file.bytes)]
    });
    let table = plain_table(&["file of a seed", "level", "about"], rows);
    let dense = match &outline.dense {
        Some(dense) => format!("; level 0 is kept in {dense} and shared"),
        None => String::new(),
    };
    format!("{table}\n\n{} in all, about{dense}", bytes(outline.bytes))
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        assert_eq!(
            ["7", "1,000", "22,784", "1,234,567"],
            [7, 1000, 22784, 1_234_567].map(grouped)
        );
        assert_eq!(
            ["999 B", "93.3 kB", "1.0 MB"],
            [999, 93_312, 1_000_000].map(bytes)
        );
        assert_eq!(
            ["59 s", "10 min", "2.5 h"],
            [59.0, 600.0, 9000.0].map(duration)
        );
    }
}
