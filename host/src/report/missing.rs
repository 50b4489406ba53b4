//! What a report lacks, and which command makes it.

use crate::counted::counted;
use std::path::Path;

use serde::Serialize;

use super::part::{Cell, Part, name_of};
use crate::program;

/// Something that is not there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// The run or simulation.
    pub what: String,
    /// What it lacks.
    pub lacks: String,
    /// What makes it.
    pub command: String,
}

/// What a part lacks. `sweep` is the file of the sweep that it belongs to.
pub fn missing(part: &Part, sweep: Option<&Path>) -> Vec<Missing> {
    let mut missing = Vec::new();
    for cell in &part.cells {
        missing.extend(of_cell(part, cell, sweep));
    }
    if let Some(simulation) = &part.neuron
        && let Err(reason) = &simulation.record
    {
        missing.push(Missing {
            what: name_of(&simulation.folder),
            lacks: reason.clone(),
            command: again(part, sweep),
        });
    }
    missing
}

fn of_cell(part: &Part, cell: &Cell, sweep: Option<&Path>) -> Option<Missing> {
    let results = &cell.results;
    // Where its sweep stopped it nothing is missing after that.
    let last = cell.stopped.as_ref().map(|it| it.level + 1);
    let wanted = match (results.wanted(), last) {
        (Some(wanted), Some(last)) => Some(wanted.min(last)),
        (wanted, _) => wanted,
    };
    let mut lacks = Vec::new();
    let mut seeds = Vec::new();
    for seed in &results.seeds {
        let done = seed.levels.len() as u64;
        let unfinished = wanted.map_or(done == 0, |wanted| done < wanted);
        if !unfinished && seed.trouble.is_none() {
            continue;
        }
        seeds.push(seed.seed);
        let levels = match wanted {
            Some(wanted) => format!("{done} of {}", counted(wanted, "level")),
            None => counted(done, "level"),
        };
        let why = seed
            .trouble
            .iter()
            .map(|it| format!(" ({it})"))
            .collect::<String>();
        lacks.push(format!("seed {}: {levels} done{why}", seed.seed));
    }
    // Without it nothing says how many levels there are to be.
    if let Some(damage) = &results.damage {
        return Some(Missing {
            what: cell.name.clone(),
            lacks: damage.clone(),
            command: again(part, sweep),
        });
    }
    if lacks.is_empty() && !results.seeds.is_empty() {
        return None;
    }
    let nothing = results.levels() == 0 && results.seeds.iter().all(|it| it.trouble.is_none());
    Some(Missing {
        what: cell.name.clone(),
        lacks: match nothing {
            true => "no level is finished yet".to_owned(),
            false => lacks.join("; "),
        },
        command: match results.text.is_empty() {
            true => again(part, sweep),
            false => go_on(results.run.path(), &seeds),
        },
    })
}

/// The command that goes on with a run.
pub(super) fn go_on(run: &Path, seeds: &[u64]) -> String {
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let seeds = match seeds.is_empty() {
        true => String::new(),
        false => format!(" --seeds {}", seeds.join(",")),
    };
    let runs = match run.parent() {
        Some(parent) if parent == Path::new("") => " --runs .".to_owned(),
        Some(parent) if parent != Path::new("runs") => format!(" --runs {}", quote(parent)),
        _ => String::new(),
    };
    format!(
        "{} run {}{seeds}{runs}",
        program::name(),
        quote(&run.join("experiment.toml"))
    )
}

/// What to do where a sweep has not begun a run.
fn again(part: &Part, sweep: Option<&Path>) -> String {
    match sweep {
        Some(file) => format!("{} run {}", program::name(), quote(file)),
        None => format!(
            "{} run FILE, with the experiment file that is named {}",
            program::name(),
            part.name
        ),
    }
}

/// A path as a shell takes it.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |it: char| it.is_alphanumeric() || "/._-+=,@%:".contains(it);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Desk;
    use super::*;

    #[test]
    fn an_unfinished_run_is_named_with_its_seeds_and_the_command_that_goes_on() {
        let desk = Desk::new();
        let missing = missing(&desk.part(), None);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].what, "half");
        assert_eq!(
            missing[0].lacks,
            "seed 0: 1 of 3 levels done; seed 1: 1 of 3 levels done"
        );
        let file = desk.path("half").join("experiment.toml");
        let start = format!("called run {} --seeds 0,1 --runs ", file.display());
        assert!(
            missing[0].command.starts_with(&start),
            "{}",
            missing[0].command
        );
    }

    #[test]
    fn a_run_that_was_stopped_lacks_nothing_after_that() {
        let desk = Desk::new();
        assert_eq!(missing(&desk.part_with_stop(), None), []);
        let level = desk.path("half/seed-1/level-00");
        std::fs::remove_dir_all(level).unwrap();
        let missing = missing(&desk.part_with_stop(), None);
        assert_eq!(missing[0].lacks, "seed 1: 0 of 1 level done");
    }

    #[test]
    fn a_failed_seed_says_why_and_a_damaged_level_ends_its_seed() {
        let desk = Desk::new();
        let failure = r#"{"level": 2, "reason": "the loss is NaN"}"#;
        std::fs::write(desk.path("lrr/seed-1/failed.json"), failure).unwrap();
        std::fs::write(desk.path("lrr/seed-2/level-01/summary.json"), "{").unwrap();
        let missing = missing(&desk.part(), None);
        assert!(
            missing[0]
                .lacks
                .contains("given up at level 2: the loss is NaN")
        );
        assert!(missing[0].lacks.contains("seed 2: 1 of 3 levels done"));
        assert!(missing[0].lacks.contains("summary.json is damaged"));
    }

    #[test]
    fn the_command_names_the_folder_of_runs_unless_it_is_the_usual_one() {
        let command = |run: &str| go_on(Path::new(run), &[2]);
        assert_eq!(
            command("runs/a"),
            "called run runs/a/experiment.toml --seeds 2"
        );
        assert_eq!(
            command("a"),
            "called run a/experiment.toml --seeds 2 --runs ."
        );
        assert_eq!(
            command("b/a"),
            "called run b/a/experiment.toml --seeds 2 --runs b"
        );
    }

    #[test]
    fn a_path_with_spaces_is_quoted() {
        assert_eq!(quote(Path::new("my runs/it's")), r"'my runs/it'\''s'");
    }
}
