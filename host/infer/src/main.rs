//! `rewind-infer`: runs a model that was exported, without libtorch.

use std::io::Write;
use std::process::ExitCode;

use rewind_infer::Error;
use rewind_infer::command::Command;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|it| it.to_string_lossy().into_owned());
    let mut stdout = std::io::stdout().lock();
    let result = Command::parse(arguments);
    match result.and_then(|command| command.run(&mut stdout)) {
        Ok(()) => ExitCode::SUCCESS,
        // What was asked for is no mistake.
        Err(Error::Usage(text)) if text.ends_with('\n') => {
            let _ = stdout.write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
