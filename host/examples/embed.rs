//! Runs two levels of an experiment from another program, and watches them.
//!
//! ```sh
//! cargo run --release -p host --example embed -- experiments/lrr.toml
//! ```

use std::error::Error;
use std::path::PathBuf;

use host::levels::{Event, Observer, Outcome};
use host::run::{Conduct, Run, Setting};

/// Prints what each level came to.
struct Printer;

impl Observer for Printer {
    fn observe(&mut self, event: &Event<'_>) {
        if let Event::LevelDone { summary } = event {
            println!(
                "seed {} level {}: {} of {} weights, test accuracy {:.2} %",
                summary.seed,
                summary.level,
                summary.survivors,
                summary.weights,
                100.0 * summary.test_accuracy
            );
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let file = arguments.next().unwrap_or("experiments/lrr.toml".into());
    let setting = Setting {
        overrides: vec!["prune.levels=2".to_owned()],
        runs: arguments.next().unwrap_or("runs".into()),
        ..Setting::default()
    };
    let mut run = Run::open(&file, &setting)?;
    let ended = run.train(Conduct::default(), &mut Printer)?;
    assert!(matches!(ended.outcome, Outcome::Finished { failed } if failed.is_empty()));
    println!("{}", run.folders().run.path().display());
    Ok(())
}
