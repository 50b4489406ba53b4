//! What the program `rewind-infer` does, and `infer` of the host.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::model::{Model, Options};
use crate::network::read_file;
use crate::npy::Array;

/// What to run, on what.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The model's file.
    pub model: PathBuf,
    /// An array of inputs, `[batch, ...]` or one sample; zeros if not given.
    pub input: Option<PathBuf>,
    /// Where the outputs go, as an array `[batch, ...]`; to stdout as text if not given.
    pub output: Option<PathBuf>,
    /// Samples of an input of zeros; 1 if not given.
    pub batch: Option<usize>,
    /// Threads; 1 if not given.
    pub threads: Option<usize>,
    /// Kernels by name.
    pub kernels: Option<String>,
    /// Seconds in which passes are timed.
    pub time: Option<f64>,
    /// Whether to say what the model is and does.
    pub show: bool,
}

/// Bytes of an array's file at most.
const MOST_BYTES: u64 = 16 << 30;
/// Samples of an input of zeros at most.
const MOST_SAMPLES: usize = 1_000_000;
/// Passes that are timed at least.
const LEAST_PASSES: usize = 5;

/// How the program is called.
pub const USAGE: &str = "\
Runs a model that `export --format rewind` wrote.

Usage: rewind-infer MODEL [OPTIONS]

  --input FILE      inputs, [batch, ...] or one sample: an array of NumPy's (.npy), float32; zeros if not given
  --output FILE     outputs, [batch, ...], as such a file; a line of numbers a sample on stdout if not given
  --batch N         samples of an input of zeros [default: 1]
  --threads N       threads [default: 1]
  --kernels NAME    avx512, avx2, neon or plain [default: the first that the processor has]
  --time [SECONDS]  time passes for so long [default: 2], after the first
  --show            say what the model is, and how its steps are computed
  --help            print this
  --version         print the version
";

impl Command {
    /// What the arguments say; nothing if they ask for [`USAGE`] or the version, which are in `Err` as
    /// [`Error::Usage`] with no more said.
    ///
    /// # Errors
    /// Arguments that are not known or have no value.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.into_iter().peekable();
        let mut command = Self::default();
        let mut model = None;
        let usage = |text: String| Error::Usage(format!("{text}; --help lists the options"));
        while let Some(argument) = arguments.next() {
            let (name, mut given) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (argument.clone(), None),
            };
            if name == "--time" {
                let number = |it: &String| it.parse::<f64>().is_ok();
                let next = || arguments.next_if(number);
                let text = given.or_else(next).unwrap_or_else(|| "2".to_owned());
                let seconds = text.parse().ok().filter(|it| *it > 0.0 && *it < 1e6);
                let seconds = seconds
                    .ok_or_else(|| usage(format!("--time is `{text}`, expected seconds")))?;
                command.time = Some(seconds);
                continue;
            }
            let mut value = || {
                let next = given.take().or_else(|| arguments.next());
                next.ok_or_else(|| usage(format!("{name} has no value")))
            };
            let count = |text: String, most: usize| {
                let count = text.parse().ok().filter(|it| (1..=most).contains(it));
                count.ok_or_else(|| usage(format!("`{text}` is no number from 1 to {most}")))
            };
            match name.as_str() {
                "--input" => command.input = Some(value()?.into()),
                "--output" => command.output = Some(value()?.into()),
                "--batch" => command.batch = Some(count(value()?, MOST_SAMPLES)?),
                "--threads" => command.threads = Some(count(value()?, 1024)?),
                "--kernels" => command.kernels = Some(value()?),
                "--show" => command.show = true,
                "--help" | "-h" => return Err(Error::Usage(USAGE.to_owned())),
                "--version" => {
                    let version = concat!("rewind-infer ", env!("CARGO_PKG_VERSION"), "\n");
                    return Err(Error::Usage(version.to_owned()));
                }
                other if other.starts_with('-') && other.len() > 1 => {
                    return Err(usage(format!("{other} is no option")));
                }
                _ if model.is_none() => model = Some(argument),
                _ => return Err(usage(format!("`{argument}` is one file too many"))),
            }
        }
        command.model = model
            .ok_or_else(|| usage("no model is named".to_owned()))?
            .into();
        Ok(command)
    }

    /// Loads the model and runs it.
    ///
    /// # Errors
    /// Files that cannot be read or written, a model or an input that is refused.
    pub fn run(&self, out: &mut dyn Write) -> Result<()> {
        let options = Options {
            threads: self.threads.unwrap_or(1),
            kernels: self.kernels.clone(),
        };
        let model = Model::load_with(&self.model, &options)?;
        let (input, batch) = self.inputs(&model)?;
        let output = model.run(&input, batch)?;
        let shape = [&[batch], model.output_shape()].concat();
        let mut text = String::new();
        match &self.output {
            Some(path) => {
                let array = Array {
                    shape,
                    numbers: output,
                };
                std::fs::write(path, array.bytes()).map_err(|source| failed(path, source))?;
            }
            None => {
                for sample in output.chunks(output.len() / batch.max(1)) {
                    let numbers: Vec<String> = sample.iter().map(f32::to_string).collect();
                    // Writing to a text does not fail.
                    let _ = writeln!(text, "{}", numbers.join(" "));
                }
            }
        }
        if self.show {
            let _ = write!(text, "{}", show(&model, batch)?);
        }
        if let Some(seconds) = self.time {
            let _ = writeln!(text, "{}", time(&model, &input, batch, seconds)?);
        }
        let stdout = Path::new("stdout");
        out.write_all(text.as_bytes())
            .map_err(|source| failed(stdout, source))
    }

    /// The inputs and how many there are.
    fn inputs(&self, model: &Model) -> Result<(Vec<f32>, usize)> {
        let shape = model.input_shape();
        let Some(path) = &self.input else {
            let batch = self.batch.unwrap_or(1);
            let numbers = shape.iter().product::<usize>().checked_mul(batch);
            let numbers = numbers.filter(|it| *it <= 1 << 32).ok_or(Error::TooLarge {
                what: "the number of numbers of the input".to_owned(),
                got: format!("{batch} samples of shape {shape:?}"),
                most: 1 << 32,
            })?;
            return Ok((vec![0.0; numbers], batch));
        };
        let bytes = read_file(path, MOST_BYTES)?;
        let array = Array::parse(&bytes).map_err(|error| error.within(path))?;
        let batch = match &array.shape[..] {
            own if own == shape => 1,
            [batch, own @ ..] if own == shape => *batch,
            other => {
                let reason = format!("its shape is {other:?}, expected [batch, {}", join(shape));
                return Err(Error::Array(reason).within(path));
            }
        };
        Ok((array.numbers, batch))
    }
}

fn join(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("{}]", sizes.join(", "))
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

fn show(model: &Model, batch: usize) -> Result<String> {
    let [all, alive] = model.multiplications();
    let mut text = format!(
        "input {:?}, output {:?}, {alive} of {all} multiply-adds, kernels {}, threads {}\n",
        model.input_shape(),
        model.output_shape(),
        model.kernels(),
        model.threads()
    );
    for (key, value) in model.metadata() {
        let _ = writeln!(text, "{key}: {}", value.escape_debug());
    }
    for (at, step) in model.steps(batch)?.iter().enumerate() {
        let _ = writeln!(text, "step {at}: {step}");
    }
    Ok(text)
}

fn time(model: &Model, input: &[f32], batch: usize, seconds: f64) -> Result<String> {
    let mut output = model.run(input, batch)?;
    let (start, all) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut times = Vec::new();
    while times.len() < LEAST_PASSES || start.elapsed() < all {
        let before = Instant::now();
        model.run_into(input, batch, &mut output)?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let [first, median, third] = [1, 2, 3].map(|it| times[(times.len() - 1) * it / 4]);
    Ok(format!(
        "batch {batch}: median {median:.4} ms, quartiles {first:.4} to {third:.4} ms, {} passes",
        times.len()
    ))
}
