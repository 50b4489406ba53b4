//! `host verify`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kernels::shim;
use serde_json::json;

use super::args::{Output, VerifyArgs, trust};
use super::exit::{Exit, Failure};
use super::{locate, spin, stdout};
use crate::counted::counted;
use crate::data::{self, DataContext};
use crate::experiment::{self, Experiment, Identity};
use crate::levels::{Course, Ends};
use crate::records::SweepRecord;
use crate::report::columns;
use crate::run::{HostCatalog, Read, Setting};
use crate::store::{MANIFEST, RunDir, RunIdentity};
use crate::trainer::Trainer;
use crate::verify::{self, Kind, Means, Verdict};

/// Checks runs from their files.
///
/// # Errors
/// What is no run. Runs with which something is wrong are no error: the exit code says so.
pub fn verify(args: &VerifyArgs, output: &Output) -> Result<Exit, Failure> {
    spin::sleep_soon(args.threads());
    let mut verdicts = Vec::new();
    for name in &args.run {
        for folder in folders(&find(name, &args.runs)?, &mut verdicts) {
            verdicts.push(verify_run(&folder, args));
        }
    }
    let well = verdicts.iter().all(Verdict::is_well);
    for verdict in &verdicts {
        if output.json {
            let line =
                serde_json::to_value(verdict).map_err(|it| Failure::new(Exit::Failed, it))?;
            stdout::line(line)?;
        } else {
            stdout::line(text(verdict, output))?;
        }
    }
    let problems: usize = verdicts.iter().map(|it| it.problems.len()).sum();
    let files: u64 = verdicts.iter().map(|it| it.files).sum();
    stdout::line(if output.json {
        json!({ "event": "verified", "folders": verdicts.len(), "files": files, "problems": problems })
            .to_string()
    } else if well {
        format!("{}: nothing is wrong", counted(files, "file"))
    } else {
        format!(
            "{} whole, {} wrong",
            counted(files, "file"),
            counted(problems, "thing")
        )
    })?;
    Ok(if well { Exit::Success } else { Exit::Failed })
}

/// A folder that is there, or its name among the runs; also one whose main file is gone.
fn find(name: &Path, runs: &Path) -> Result<PathBuf, Failure> {
    let among = runs.join(name);
    let has =
        |folder: &&PathBuf| folder.join(MANIFEST).exists() || verify::kind(folder) != Kind::Run;
    let name = name.to_owned();
    if let Some(folder) = [&name, &among].into_iter().find(has) {
        return Ok(folder.clone());
    }
    Ok(match locate::locate(&name, runs)? {
        crate::report::Subject::Run(it)
        | crate::report::Subject::Sweep(it)
        | crate::report::Subject::Neuron(it) => it,
    })
}

/// The runs of a folder: itself, or those of a sweep, whose own files are checked at once.
fn folders(folder: &Path, verdicts: &mut Vec<Verdict>) -> Vec<PathBuf> {
    match verify::kind(folder) {
        Kind::Run => return vec![folder.to_owned()],
        Kind::Neuron => {
            verdicts.push(verify::collection(folder, "neuron.json"));
            return Vec::new();
        }
        Kind::Sweep => verdicts.push(verify::collection(folder, "sweep.json")),
    }
    let parts = SweepRecord::read(folder).map(|record| record.parts);
    let parts = parts.unwrap_or_default();
    let mut runs = BTreeSet::new();
    for part in &parts {
        runs.extend(part.cells.iter().map(|cell| cell.run.clone()));
        let neuron = part.neuron.as_ref().map(|it| folder.join(it));
        if let Some(neuron) = neuron.filter(|neuron| neuron.is_dir()) {
            verdicts.push(verify::collection(&plain(&neuron), "neuron.json"));
        }
    }
    let runs = runs.iter().map(|run| plain(&folder.join(run)));
    // A cell that was not run yet is no mistake.
    runs.filter(|run| run.is_dir()).collect()
}

/// The path without `name/..`.
fn plain(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn verify_run(folder: &Path, args: &VerifyArgs) -> Verdict {
    let run = RunDir::new(folder);
    let path = run.file("experiment.toml");
    let experiment = experiment::read_stored(&path);
    let known = RunIdentity::read(&run).ok().flatten().map(|it| it.value);
    let threads = args.threads.map(|it| usize::from(it.get()));
    let threads = threads
        .or(known.as_ref().and_then(RunIdentity::threads))
        .unwrap_or_else(|| args.threads());
    tch::set_num_threads(threads as i32);
    let trainer = match &experiment {
        _ if args.no_data => Err("--no-data leaves them out".to_owned()),
        Ok(experiment) => trainer(experiment, known.as_ref(), args),
        Err(_) => Err("experiment.toml cannot be read".to_owned()),
    };
    let mut read = read(&run, known.as_ref(), args);
    let updates = read.as_ref().ok().and_then(|read| read.seeds.first());
    let trainer = trainer
        .map(|trainer| trainer.updated_by(updates.map_or(&[], |seed| seed.strategy.updates())));
    let identity = match (&read, &known) {
        (Ok(read), Some(known)) => Ok(identity(read, known)),
        (Err(why), _) => Err(why.clone()),
        (_, None) => Err("identity.json cannot be read".to_owned()),
    };
    let dense = known.as_ref().and_then(|it| it.dense.clone());
    let parent = folder.parent().unwrap_or(Path::new("."));
    let strategy = match (&trainer, &mut read) {
        (Ok(trainer), Ok(read)) => {
            let course = Course {
                experiment: &read.loaded.experiment,
                trainer,
                run: run.clone(),
                dense: RunDir::new(parent.join(dense.unwrap_or_default())),
                store_points: Vec::new(),
                ends: Ends::default(),
            };
            Ok((course, &mut read.seeds))
        }
        (Err(why), _) => Err(why.clone()),
        (_, Err(why)) => Err(why.clone()),
    };
    let (course, strategy) = match strategy {
        Ok((course, seeds)) => (Some(course), Ok(seeds)),
        Err(why) => (None, Err(why)),
    };
    let mut means = Means {
        experiment: experiment.as_ref().map_err(verify::reason),
        identity: identity.as_ref().map_err(Clone::clone),
        trainer: trainer.as_ref().map_err(Clone::clone),
        strategy: match (&course, strategy) {
            (Some(course), Ok(seeds)) => Ok((course, seeds.as_mut_slice())),
            (_, Err(why)) => Err(why),
            (None, Ok(_)) => Err("there is no strategy".to_owned()),
        },
    };
    verify::run(&run, &mut means)
}

/// The network on the data that the run was trained on.
fn trainer(
    experiment: &Experiment,
    known: Option<&RunIdentity>,
    args: &VerifyArgs,
) -> Result<Trainer, String> {
    let context = DataContext {
        data_dir: args.data.data_dir.clone(),
        device: args.device,
    };
    if args.device.is_cuda() {
        shim::set_deterministic(true).map_err(|error| error.to_string())?;
    }
    let named = &experiment.data;
    let data =
        data::load(&named.name, &named.options, &context).map_err(|error| error.to_string())?;
    let expected = known.and_then(|known| known.canonical["data_checksum"].as_str());
    if let Some(expected) = expected.filter(|expected| **expected != data.checksum) {
        return Err(format!(
            "dataset `{}` is not the one that the run was trained on: its checksum is {}, expected {expected}",
            named.name, data.checksum
        ));
    }
    Trainer::of(experiment, data, args.device).map_err(|error| error.to_string())
}

/// The run's experiment with its plugins, if they are those that computed it.
fn read(run: &RunDir, known: Option<&RunIdentity>, args: &VerifyArgs) -> Result<Read, String> {
    let known = known.ok_or("identity.json cannot be read")?;
    let seeds = run.seeds();
    let setting = Setting {
        overrides: match seeds.is_empty() {
            true => Vec::new(),
            false => vec![format!("seeds={seeds:?}")],
        },
        trust: trust(args.allow_plugins),
        data_dir: args.data.data_dir.clone(),
        runs: args.runs.clone(),
        ..Setting::default()
    };
    let catalog = HostCatalog::new(&setting);
    let file = run.file("experiment.toml");
    let loaded = experiment::load(&file, &setting.overrides, &catalog)
        .map_err(|problems| problems.to_string())?;
    let read = Read::new(loaded, &catalog).map_err(|error| error.to_string())?;
    for (name, plugin) in &read.plugins {
        let expected = known.plugins.get(name).map(|it| it.blake3.as_str());
        if expected != Some(plugin.digest.as_str()) {
            return Err(format!(
                "plugin `{name}` here has the BLAKE3 digest {}, the run was made with {}",
                plugin.digest,
                expected.unwrap_or("another plugin")
            ));
        }
    }
    if !known.replaced_plugins.is_empty() {
        return Err("levels of it were made with plugins that were replaced since".to_owned());
    }
    Ok(read)
}

/// The identity of the run's experiment file. The data's checksum is as recorded: whether the data
/// that are here have it is another question.
fn identity(read: &Read, known: &RunIdentity) -> Identity {
    let checksum = known.canonical["data_checksum"].as_str();
    experiment::identity(&read.loaded, checksum.unwrap_or_default(), None)
}

/// A verdict for people.
fn text(verdict: &Verdict, output: &Output) -> String {
    let mut parts = vec![format!("{}", verdict.folder.display())];
    if !verdict.levels.is_empty() && !output.quiet {
        let rows = verdict.levels.iter().map(|it| {
            let numbers = [it.seed, it.level, it.files].map(|number| number.to_string());
            [&numbers[..], &[it.checked.join(", ")]].concat()
        });
        let header = ["seed", "level", "files", "checked"].map(str::to_owned);
        parts.push(columns(header.into(), rows, &[0, 1, 2]));
    }
    let mut lines = Vec::new();
    if !verdict.checked.is_empty() && !output.quiet {
        lines.push(format!("checked: {}", verdict.checked.join(", ")));
    }
    if !output.quiet {
        lines.extend(verdict.notes.iter().map(|note| format!("note: {note}")));
        let unchecked = verdict.unchecked.iter();
        lines.extend(unchecked.map(|it| format!("not checked: {}: {}", it.what, it.why)));
    }
    let problems = verdict.problems.iter();
    lines.extend(problems.map(|it| format!("WRONG: {}: {}", it.file, it.reason)));
    if !lines.is_empty() {
        parts.push(lines.join("\n"));
    }
    parts.join("\n\n") + "\n"
}
