//! `host barrier`.

use std::path::Path;

use kernels::shim;
use plugin_api::Point;

use super::args::{BarrierArgs, Output};
use super::exit::{Exit, Failure};
use super::{locate, spin, stdout};
use crate::program;
use crate::report::{Interval, columns, warn_of_other_builds};
use crate::statistics::{self, Barrier, Line, Settings, StatisticsError, Stored};
use crate::store::RunDir;

/// Evaluates networks on the lines between stored points.
///
/// # Errors
/// What is no run or point, runs that cannot be compared, data that are missing.
pub fn barrier(args: &BarrierArgs, output: &Output) -> Result<Exit, Failure> {
    let settings = Settings {
        points: args.points,
        batch_norm: args.batch_norm,
        data: args.on,
    };
    if settings.points < 3 {
        return Err(failed(StatisticsError::Points(settings.points)));
    }
    let a = End::read(&args.a, &args.place.runs)?;
    let b = (args.b.as_deref())
        .map(|text| End::read(text, &args.place.runs))
        .transpose()?;
    for end in [Some(&a), b.as_ref()].into_iter().flatten() {
        warn_of_other_builds(&end.run);
    }
    let (device, threads) = (args.place.device, args.place.threads());
    spin::sleep_soon(threads);
    tch::set_num_threads(threads as i32);
    if device.is_cuda() {
        shim::set_deterministic(true).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    let trainer = statistics::trainer(&a.run, &args.data.data_dir, device).map_err(failed)?;
    let mut lines = match (a.point, b) {
        (None, None) => statistics::consecutive_levels(&a.run),
        (
            None,
            Some(End {
                run: other,
                point: None,
            }),
        ) => statistics::same_levels(&a.run, &other),
        (
            Some(point),
            Some(End {
                run: other,
                point: Some(to),
            }),
        ) => {
            let stored = |run, point| Stored { run, point };
            let line = Line::between(stored(a.run, point), stored(other, to), &trainer);
            vec![line.map_err(failed)?]
        }
        _ => {
            return Err(Failure::bad_input(
                "expected two points (RUN#POINT RUN#POINT), two runs, which are compared at every \
                 level, or one run, whose consecutive levels are compared",
            ));
        }
    };
    if lines.is_empty() {
        return Err(Failure::bad_input(format!(
            "there is nothing to compare: no seed has finished the levels that a line needs; \
             `{} show RUN` shows those that are finished",
            program::name()
        )));
    }
    if let Some(seeds) = &args.seeds {
        for line in &mut lines {
            line.seeds.clone_from(&seeds.0);
        }
    }
    let mut told = Ok(());
    let barriers = statistics::barriers(&trainer, &lines, &settings, |barrier| {
        log::debug!(
            "seed {}: {} to {}: error barrier {:.4}",
            barrier.seed,
            barrier.a.point,
            barrier.b.point,
            barrier.error_barrier
        );
        if output.json && told.is_ok() {
            let line = serde_json::to_string(barrier);
            told = line
                .map_err(|error| Failure::new(Exit::Failed, error))
                .and_then(stdout::line);
        }
    });
    let barriers = barriers.map_err(failed)?;
    told?;
    if !output.json {
        stdout::line(table(&barriers))?;
    }
    Ok(Exit::Success)
}

/// One end of a line, as the command line names it.
struct End {
    run: RunDir,
    point: Option<Point>,
}

impl End {
    fn read(text: &str, runs: &Path) -> Result<Self, Failure> {
        let (run, point) = match text.rsplit_once('#') {
            Some((run, point)) => (run, Some(point.parse().map_err(Failure::bad_input)?)),
            None => (text, None),
        };
        Ok(Self {
            run: RunDir::new(locate::find(Path::new(run), runs)?),
            point,
        })
    }
}

fn failed(error: StatisticsError) -> Failure {
    match error {
        StatisticsError::Data(error) => Failure::bad_input(error),
        StatisticsError::Store(_) | StatisticsError::Lock(_) => Failure::new(Exit::Failed, error),
        error => Failure::bad_input(error),
    }
}

/// One row a line: means over seeds with their 95 % intervals.
fn table(barriers: &[Barrier]) -> String {
    let header = [
        "from",
        "to",
        "density between",
        "error at the ends %",
        "greatest error %",
        "error barrier %",
        "loss barrier",
        "error rise %",
        "seeds",
    ];
    let name = |barrier: &Barrier| {
        [&barrier.a, &barrier.b].map(|end| format!("{}#{}", end.run, end.point))
    };
    let mut names: Vec<[String; 2]> = Vec::new();
    for barrier in barriers {
        let name = name(barrier);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let rows = names.iter().map(|wanted| {
        let own: Vec<&Barrier> = barriers.iter().filter(|it| name(it) == *wanted).collect();
        let mean = |digits: usize, pick: &dyn Fn(&Barrier) -> f64| {
            let values: Vec<f64> = own.iter().map(|it| pick(it)).collect();
            Interval::of(&values).map_or_else(String::new, |it| match it.half_width {
                Some(half) => format!("{:.digits$} ± {half:.digits$}", it.mean),
                None => format!("{:.digits$}", it.mean),
            })
        };
        let ends = |it: &Barrier| {
            let end = |error: Option<&f64>| error.copied().unwrap_or(f64::NAN);
            (end(it.errors.first()) + end(it.errors.last())) / 2.0
        };
        let density = |it: &Barrier| it.density_between;
        let densities: Vec<f64> = own.iter().map(|it| density(it)).collect();
        let greatest = |it: &Barrier| it.errors.iter().copied().fold(0.0, f64::max);
        vec![
            wanted[0].clone(),
            wanted[1].clone(),
            Interval::of(&densities).map_or_else(String::new, |it| format!("{:.4}", it.mean)),
            mean(2, &|it| 100.0 * ends(it)),
            mean(2, &|it| 100.0 * greatest(it)),
            mean(2, &|it| 100.0 * it.error_barrier),
            mean(3, &|it| it.loss_barrier),
            mean(2, &|it| 100.0 * it.error_rise),
            own.len().to_string(),
        ]
    });
    columns(
        header.map(str::to_owned).to_vec(),
        rows,
        &[2, 3, 4, 5, 6, 7, 8],
    )
}
