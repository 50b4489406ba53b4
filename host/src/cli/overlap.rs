//! `host overlap`.

use super::args::{Between, Output, OverlapArgs};
use super::exit::{Exit, Failure};
use super::{locate, stdout};
use crate::report::{Interval, columns, warn_of_other_builds};
use crate::statistics::{self, OverlapRecord, StatisticsError};
use crate::store::{self, RunDir};

/// Masks that were compared with each other.
struct Matrix {
    title: String,
    /// What the rows and columns are called.
    places: Vec<String>,
    /// The places of a record.
    of: fn(&OverlapRecord) -> [String; 2],
    records: Vec<OverlapRecord>,
    /// Whether the overlap that unrelated masks would have is shown beside.
    with_chance: bool,
}

/// Compares the masks of levels, runs or seeds.
///
/// # Errors
/// What is no run, a level that is not finished, masks of other layers or shapes.
pub fn overlap(args: &OverlapArgs, output: &Output) -> Result<Exit, Failure> {
    let runs: Result<Vec<RunDir>, Failure> = (args.run.iter())
        .map(|run| Ok(RunDir::new(locate::find(run, &args.runs)?)))
        .collect();
    let runs = runs?;
    runs.iter().for_each(warn_of_other_builds);
    let between = args.between.unwrap_or(match runs.len() {
        1 => Between::Levels,
        _ => Between::Runs,
    });
    let matrices = match between {
        Between::Levels if args.level.is_some() => {
            return Err(Failure::bad_input(
                "--level says where runs or seeds are compared: give it with --between runs or --between seeds",
            ));
        }
        Between::Runs if runs.len() == 1 => {
            return Err(Failure::bad_input(
                "--between runs compares several runs, and one is given: name another one",
            ));
        }
        Between::Levels => each(&runs, |run| levels(run, args)),
        Between::Seeds => each(&runs, |run| seeds(run, args)),
        Between::Runs => at_level(&runs, args).map(|matrix| vec![matrix]),
    };
    let matrices = matrices.map_err(failed)?;
    if let Some(path) = &args.csv {
        let records = matrices.iter().flat_map(|matrix| &matrix.records);
        let bytes = csv(records).map_err(|error| Failure::new(Exit::Failed, error))?;
        store::write(path, &bytes).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    for (at, matrix) in matrices.iter().enumerate() {
        if output.json {
            for record in &matrix.records {
                let line = serde_json::to_string(record);
                stdout::line(line.map_err(|error| Failure::new(Exit::Failed, error))?)?;
            }
            continue;
        }
        let gap = if at > 0 { "\n" } else { "" };
        stdout::line(format!("{gap}{}", matrix.show(args.layers)))?;
    }
    Ok(Exit::Success)
}

type Matrices = Result<Vec<Matrix>, StatisticsError>;

fn each(runs: &[RunDir], of_run: impl Fn(&RunDir) -> Result<Matrix, StatisticsError>) -> Matrices {
    runs.iter().map(of_run).collect()
}

fn levels(run: &RunDir, args: &OverlapArgs) -> Result<Matrix, StatisticsError> {
    let own = std::slice::from_ref(run);
    let seeds = chosen(own, 0, args)?;
    let (mut records, mut last) = (Vec::new(), 0);
    for &seed in &seeds {
        // Seeds of a run under way may stand at different levels.
        let finished = run.seed(seed).finished_levels();
        let levels: Vec<u64> = (0..finished).collect();
        records.extend(statistics::between_levels(run, &[seed], &levels)?);
        last = last.max(finished);
    }
    Ok(Matrix {
        title: format!("levels of {}, {}", run.name(), mean_over(&seeds)),
        places: (0..last).map(|level| level.to_string()).collect(),
        of: |record| [record.level_a, record.level_b].map(|level| level.to_string()),
        records,
        with_chance: false,
    })
}

fn seeds(run: &RunDir, args: &OverlapArgs) -> Result<Matrix, StatisticsError> {
    let own = std::slice::from_ref(run);
    let level = chosen_level(own, args)?;
    let seeds = chosen(own, level, args)?;
    Ok(Matrix {
        title: format!("seeds of {} at level {level}", run.name()),
        places: seeds.iter().map(u64::to_string).collect(),
        of: |record| [record.seed_a, record.seed_b].map(|seed| seed.to_string()),
        records: statistics::between_seeds(run, &seeds, level)?,
        with_chance: true,
    })
}

fn at_level(runs: &[RunDir], args: &OverlapArgs) -> Result<Matrix, StatisticsError> {
    let level = chosen_level(runs, args)?;
    let seeds = chosen(runs, level, args)?;
    Ok(Matrix {
        title: format!("runs at level {level}, {}", mean_over(&seeds)),
        places: runs.iter().map(RunDir::name).collect(),
        of: |record| [record.run_a.clone(), record.run_b.clone()],
        records: statistics::between_runs(runs, &seeds, level)?,
        with_chance: true,
    })
}

fn chosen(runs: &[RunDir], level: u64, args: &OverlapArgs) -> Result<Vec<u64>, StatisticsError> {
    match &args.seeds {
        Some(seeds) => Ok(seeds.0.clone()),
        None => statistics::common_seeds(runs, level),
    }
}

fn chosen_level(runs: &[RunDir], args: &OverlapArgs) -> Result<u64, StatisticsError> {
    let last = || statistics::last_common_level(runs);
    match args.level.or_else(last) {
        Some(level) => Ok(level),
        // Level 0 is what they lack at least: the error says which of them.
        None => statistics::common_seeds(runs, 0).map(|_| 0),
    }
}

fn mean_over(seeds: &[u64]) -> String {
    let list: Vec<String> = seeds.iter().map(u64::to_string).collect();
    match list.len() {
        1 => format!("seed {}", list[0]),
        _ => format!("mean over the seeds {}", list.join(", ")),
    }
}

fn failed(error: StatisticsError) -> Failure {
    let exit = match error {
        StatisticsError::Store(_) => Exit::Failed,
        _ => Exit::BadInput,
    };
    Failure::new(exit, error)
}

fn csv<'a>(records: impl Iterator<Item = &'a OverlapRecord>) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.serialize(record)?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

impl Matrix {
    fn show(&self, layers: bool) -> String {
        let beside = match self.with_chance {
            true => " (that of unrelated masks)",
            false => "",
        };
        let title = format!("Intersection over union{beside} between {}", self.title);
        let mut parts = vec![format!("{title}\n\n{}", self.table(None))];
        let mut names: Vec<&String> = Vec::new();
        for name in self
            .records
            .iter()
            .filter_map(|record| record.layer.as_ref())
        {
            if layers && !names.contains(&name) {
                names.push(name);
            }
        }
        parts.extend(
            (names.into_iter()).map(|name| format!("{name}\n\n{}", self.table(Some(name)))),
        );
        parts.join("\n\n")
    }

    /// The matrix of a layer, or of the whole network.
    fn table(&self, layer: Option<&String>) -> String {
        let header = std::iter::once(String::new()).chain(self.places.iter().cloned());
        let row = |row: &String| {
            let cells = self
                .places
                .iter()
                .map(|column| self.cell(layer, row, column));
            std::iter::once(row.clone()).chain(cells).collect()
        };
        let numbers: Vec<usize> = (0..=self.places.len()).collect();
        columns(header.collect(), self.places.iter().map(row), &numbers)
    }

    fn cell(&self, layer: Option<&String>, row: &str, column: &str) -> String {
        if row == column {
            return "1".to_owned();
        }
        let own: Vec<&OverlapRecord> = (self.records.iter())
            .filter(|record| record.layer.as_ref() == layer)
            .filter(|record| {
                let [a, b] = (self.of)(record);
                (a == row && b == column) || (a == column && b == row)
            })
            .collect();
        let mean = |pick: fn(&OverlapRecord) -> f64| {
            let values: Vec<f64> = own.iter().map(|record| pick(record)).collect();
            Interval::of(&values).map(|interval| interval.mean)
        };
        match (mean(|it| it.iou), mean(|it| it.iou_by_chance)) {
            (Some(iou), Some(chance)) if self.with_chance => format!("{iou:.3} ({chance:.3})"),
            (Some(iou), _) => format!("{iou:.3}"),
            _ => String::new(),
        }
    }
}
