//! Runs two levels of an experiment from a program of one's own, and watches them.
//!
//! ```sh
//! cargo run --release -p host --example embed -- experiments/lrr.toml target/release/host
//! ```
//!
//! It depends on `host` and on `kernels-native`, the C++ that a binary brings along.
//!
//! The second argument is the program `host`, whose plugins are used and which checks the run
//! afterwards: `target/release/host verify runs/lrr-...`.

use std::path::PathBuf;

use host::levels::{Event, Observer, Outcome};
use host::run::{Conduct, OpenError, Run, Setting};
use kernels_native as _;

/// Prints what each level came to.
struct Printer;

impl Observer for Printer {
    fn observe(&mut self, event: &Event<'_>) {
        if let Event::LevelDone { summary } = event {
            let (seed, level) = (summary.seed, summary.level);
            let accuracy = 100.0 * summary.test_accuracy;
            println!("seed {seed} level {level}: test accuracy {accuracy:.2} %");
        }
    }
}

fn two_levels(file: PathBuf, program: PathBuf) -> Result<(), OpenError> {
    let setting = Setting {
        overrides: vec!["prune.levels=1".to_owned()],
        program: Some(program),
        ..Setting::default()
    };
    let mut run = Run::open(&file, &setting)?;
    let ended = run.train(Conduct::default(), &mut Printer)?;
    if let Outcome::Finished { failed } = ended.outcome {
        println!("{} seeds were given up", failed.len());
    }
    println!("{}", run.folders().run.path().display());
    Ok(())
}

fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [file, program] = arguments
        .try_into()
        .expect("an experiment file, and a program host");
    if let Err(error) = two_levels(file, program) {
        eprintln!("{error}");
    }
}
