//! `host completions`, and the names that shells ask for while a command is typed.
//!
//! Commands, options and files are completed by the scripts that clap makes, which ask nobody. A few lines behind them
//! ask the program itself for what only it knows: which runs, sweeps and components there are.

mod names;

use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::{stdout, usage};
use crate::program;

/// Writes a shell's completions.
///
/// # Errors
/// If stdout cannot be written.
pub fn completions(shell: Shell) -> Result<Exit, Failure> {
    let (mut text, name) = (Vec::new(), program::name());
    clap_complete::generate(shell, &mut usage::command(), &name, &mut text);
    let script = String::from_utf8_lossy(&text);
    // As clap names it in bash.
    let function = name.replace('-', "__");
    let more = |more: &str| {
        let more = more.replace("@FUNCTION@", &function);
        more.replace("@NAME@", &name)
    };
    stdout::whole(
        match shell {
            Shell::Bash => format!("{script}\n{}", more(include_str!("names.bash"))),
            Shell::Fish => format!("{script}\n{}", more(include_str!("names.fish"))),
            // The last lines have the shell call what the file defines, whether it was loaded or sourced.
            Shell::Zsh => match script.rsplit_once("if [ \"$funcstack[1]\"") {
                Some((definitions, _)) => {
                    format!("{definitions}{}", more(include_str!("names.zsh")))
                }
                None => script.into_owned(),
            },
            _ => script.into_owned(),
        }
        .as_bytes(),
    )?;
    Ok(Exit::Success)
}

/// Set where a shell asks what the last word of a command line can become. No command, as those are completed, too.
const VARIABLE: &str = "REWIND_COMPLETE";

/// Whether a shell asks for names.
pub fn is_asked() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Writes the names that the last word of this process's command line can become, a line each; its exit code.
pub fn names() -> i32 {
    let words = std::env::args_os().skip(1);
    let words: Vec<String> = words.map(|it| it.to_string_lossy().into_owned()).collect();
    let written = (names::of(&usage::command(), &words).into_iter()).try_for_each(stdout::line);
    written.map_or(Exit::Failed as i32, |()| Exit::Success as i32)
}
