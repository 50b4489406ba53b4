//! `host infer`.

use super::args::InferArgs;
use super::exit::{Exit, Failure};
use super::stdout;

/// Runs a model that `export --format rewind` wrote, as the program `rewind-infer` does.
///
/// # Errors
/// Files that cannot be read or written, a model or an input that is refused.
pub fn infer(args: &InferArgs) -> Result<Exit, Failure> {
    let command = rewind_infer::command::Command {
        model: args.model.clone(),
        input: args.input.clone(),
        output: args.output.clone(),
        batch: args.batch.map(|it| it.get() as usize),
        threads: args.threads.map(|it| usize::from(it.get())),
        kernels: args.kernels.clone(),
        time: args.time,
        show: args.show,
    };
    let mut out = Vec::new();
    command.run(&mut out).map_err(Failure::bad_input)?;
    stdout::whole(&out)?;
    Ok(Exit::Success)
}
