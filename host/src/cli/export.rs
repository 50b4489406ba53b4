//! `host export`.

use std::path::{Path, PathBuf};

use serde_json::json;
use tch::Device;

use super::args::{ExportArgs, Format, ModelArgs, Output};
use super::exit::{Exit, Failure};
use super::plan::grouped;
use super::{locate, stdout};
use crate::data::PixelStatistics;
use crate::export::{self, Calibration, Compacted, ExportError, Int8, Quantised, Source};
use crate::report::warn_of_other_builds;
use crate::statistics::{self, StatisticsError};
use crate::store::{self, RunDir};

/// Writes a level's model in a form that other programs read.
///
/// # Errors
/// What is no run or no finished level, a damaged file, options that the format does not have.
pub fn export(args: &ExportArgs, output: &Output) -> Result<Exit, Failure> {
    check_options(args)?;
    let run = RunDir::new(locate::find(&args.model.run, &args.model.runs)?);
    warn_of_other_builds(&run);
    let mut source = read(&run, &args.model)?;
    let path = target(args, &run, &source)?;
    let compacted = match args.compact {
        true => export::compact(&mut source.model, args.multiple.unwrap_or(1)).map_err(failed)?,
        false => Vec::new(),
    };
    // Shapes that nobody's module has.
    if args.compact && matches!(args.format, Format::Safetensors | Format::Csr) {
        export::describe_modules(&mut source.model);
    }
    let pixels = pixels(args, &source).map_err(failed)?;
    // The runtime and integers have no need of them by themselves.
    if args.fold || matches!(args.format, Format::Rewind | Format::Int8) {
        export::fold(&mut source.model);
    }
    let quantised = match args.format {
        Format::Int8 => Some(quantise(args, &run, &mut source).map_err(failed)?),
        _ => None,
    };
    let (quantised, int8) = quantised.unzip();
    let onnx = (pixels.as_ref(), quantised.as_ref());
    let (bytes, left) = encode(args.format, &source, onnx).map_err(failed)?;
    store::write(&path, &bytes).map_err(|error| Failure::new(Exit::Failed, error))?;
    if output.json {
        stdout::line(json!({
            "event": "exported", "file": path, "bytes": bytes.len(), "run": run.path(),
            "seed": source.seed, "level": source.level, "density": source.density(),
            "compact": compacted, "left_dense": left, "int8": int8,
        }))?;
        return Ok(Exit::Success);
    }
    let mut lines = vec![format!(
        "{}: level {} of seed {}, {} of {} weights, {} bytes",
        path.display(),
        source.level,
        source.seed,
        source.survivors,
        source.weights,
        bytes.len()
    )];
    let smaller = |it: &&Compacted| it.kept < it.units;
    lines.extend(compacted.iter().filter(smaller).map(removed));
    if args.compact && !compacted.iter().any(|it| smaller(&it)) {
        lines.push(match args.multiple {
            None | Some(1) => "no unit is dead".to_owned(),
            Some(multiple) => format!("no layer has fewer live units by a multiple of {multiple}"),
        });
    }
    lines.extend(int8.iter().map(rounded));
    if !left.is_empty() {
        let layers = left.join(", ");
        lines.push(format!(
            "in full, because sparse rows are no smaller: {layers}"
        ));
    }
    stdout::line(lines.join("\n"))?;
    Ok(Exit::Success)
}

/// Fails if options do not go with the format.
fn check_options(args: &ExportArgs) -> Result<(), Failure> {
    let format = args.format;
    let onnx = matches!(format, Format::Onnx | Format::Int8);
    let calibrated = args.calibration.is_some() || args.percentile.is_some();
    let problem = if args.fold && !onnx {
        "--fold changes what is computed, which only an ONNX file says: leave it out or use --format onnx"
    } else if args.normalise && !onnx {
        "--normalise changes what is computed, which only an ONNX file says: leave it out or use --format onnx"
    } else if args.compact && format == Format::Pt2 {
        "--compact makes layers smaller, and an archive's graph says how large they are: leave it out, or use --format \
         safetensors, whose `modules` say what the small layers are"
    } else if args.multiple.is_some() && !onnx && format != Format::Safetensors {
        "--multiple keeps units that are zero, which this format skips: leave it out, or use --format onnx, int8 or \
         safetensors"
    } else if calibrated && format != Format::Int8 {
        "--calibration and --percentile are about activations in 8 bits: leave them out or use --format int8"
    } else {
        return Ok(());
    };
    Err(Failure::bad_input(problem.to_owned()))
}

/// The model in 8 bits, calibrated on the run's data.
fn quantise(
    args: &ExportArgs,
    run: &RunDir,
    source: &mut Source,
) -> Result<(Quantised, Int8), ExportError> {
    let usual = Calibration::default();
    let how = Calibration {
        samples: args.calibration.unwrap_or(usual.samples),
        percentile: args.percentile.unwrap_or(usual.percentile),
    };
    let trainer = statistics::trainer(run, &args.data.data_dir, Device::Cpu);
    let trainer = trainer.map_err(ExportError::Calibration)?;
    export::quantise(&mut source.model, &trainer, how)
}

/// The model that the arguments name.
///
/// # Errors
/// What is no finished level, a file that cannot be read.
fn read(run: &RunDir, args: &ModelArgs) -> Result<Source, Failure> {
    export::read(run, args.seed, args.level).map_err(failed)
}

/// What went wrong, with its exit code.
pub fn failed(error: ExportError) -> Failure {
    let exit = match error {
        ExportError::Store(_)
        | ExportError::Statistics(StatisticsError::Store(_))
        | ExportError::Archive(_)
        | ExportError::Train(_) => Exit::Failed,
        _ => Exit::BadInput,
    };
    Failure::new(exit, error)
}

fn encode(
    format: Format,
    source: &Source,
    (pixels, quantised): (Option<&PixelStatistics>, Option<&Quantised>),
) -> Result<(Vec<u8>, Vec<String>), ExportError> {
    let model = &source.model;
    Ok(match format {
        Format::Safetensors => (export::dense(model), Vec::new()),
        Format::Csr => export::csr(model),
        Format::Onnx | Format::Int8 => (export::onnx(model, pixels, quantised)?, Vec::new()),
        Format::Pt2 => (export::pt2(source)?, Vec::new()),
        Format::Rewind => (export::rewind(model)?, Vec::new()),
    })
}

/// How the file normalises bytes, if it does.
fn pixels(args: &ExportArgs, source: &Source) -> Result<Option<PixelStatistics>, ExportError> {
    match (args.normalise, &source.data.pixels) {
        (false, _) => Ok(None),
        (true, Some(pixels)) => Ok(Some(pixels.clone())),
        (true, None) => Err(ExportError::NoPixels(source.data.name.to_owned())),
    }
}

/// Where the file goes: never into the run, whose files it could take the place of.
fn target(args: &ExportArgs, run: &RunDir, source: &Source) -> Result<PathBuf, Failure> {
    let ending = match args.format {
        Format::Safetensors => "safetensors",
        Format::Csr => "csr.safetensors",
        Format::Onnx => "onnx",
        Format::Int8 => "int8.onnx",
        Format::Pt2 => "pt2",
        Format::Rewind => "rewind.safetensors",
    };
    let (seed, level) = (source.seed, source.level);
    let name = format!("{}-seed-{seed}-level-{level:02}.{ending}", run.name());
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(name));
    if path.is_dir() {
        return Err(Failure::bad_input(format!(
            "{} is a folder: name a file with -o",
            path.display()
        )));
    }
    let real = |path: &Path| path.canonicalize().ok();
    // The nearest folder that is there: the others are made.
    let folder = std::path::absolute(&path).ok();
    let folder = folder.and_then(|it| it.ancestors().skip(1).find_map(real));
    match (folder, real(run.path())) {
        (Some(folder), Some(own)) if folder.starts_with(&own) => {
            let run = run.path().to_owned();
            Err(failed(ExportError::InRun { path, run }))
        }
        _ => Ok(path),
    }
}

fn removed(compacted: &Compacted) -> String {
    let Compacted { layer, units, kept } = compacted;
    format!("{layer}: {kept} of {units} units are left")
}

fn rounded(int8: &Int8) -> String {
    let share = |it: Option<f64>| it.map_or_else(|| "unknown".to_owned(), |it| format!("{it:.4}"));
    format!(
        "accuracy {} in 8 bits and {} in 32, of {} test samples; ranges of {} training samples, {} percent within",
        share(int8.accuracy),
        share(int8.accuracy_in_full),
        grouped(int8.test_samples as u64),
        grouped(int8.calibration_samples as u64),
        int8.percentile
    )
}
