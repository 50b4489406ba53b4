//! What is submitted: the job script, or a list of commands.

use std::fs;
use std::path::Path;
use std::time::Duration;

use regex::{Captures, Regex};

use crate::cli::args::{SubmitArgs, time_text};
use crate::cli::exit::{Exit, Failure};

/// The job script that is used if the user has none.
pub const TEMPLATE: &str = include_str!("template.sh");

/// What a template may leave to be filled in, and what that is.
const NAMES: [(&str, &str); 5] = [
    ("DIRECTIVES", "the options of sbatch, as lines"),
    ("FOLDER", "the folder in which `submit` was called"),
    ("VARIABLES", "variables of the environment, as lines"),
    ("COMMAND", "the program with its arguments"),
    ("SUBMISSION", "the folder of this submission"),
];

/// What is filled in.
pub struct Filling<'a> {
    /// The sweep's name.
    pub name: &'a str,
    /// Number of tasks.
    pub tasks: u32,
    /// The folder in which `submit` was called.
    pub folder: &'a Path,
    /// The folder of the submission.
    pub submission: &'a Path,
    /// The program with its arguments, but for those that a task alone knows.
    pub words: &'a [String],
}

/// The template that the user names, or the one that comes along.
///
/// # Errors
/// If it cannot be read, or lacks what it has to have.
pub fn template(file: Option<&Path>) -> Result<String, Failure> {
    let Some(file) = file else {
        return Ok(TEMPLATE.to_owned());
    };
    let wrong = |reason: String| {
        Failure::bad_input(format!(
            "{}: {reason}; --print-template prints one to begin with",
            file.display()
        ))
    };
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    for (number, line) in text.lines().enumerate() {
        let unknown = blanks().captures_iter(line).find(|it| !is_known(&it[1]));
        if let Some(unknown) = unknown {
            let known = NAMES.map(|(name, what)| format!("@{name}@ ({what})"));
            return Err(wrong(format!(
                "line {}: nothing is known for @{}@; known are {}",
                number + 1,
                &unknown[1],
                known.join(", ")
            )));
        }
    }
    for needed in ["DIRECTIVES", "COMMAND"] {
        if !text.contains(&format!("@{needed}@")) {
            return Err(wrong(format!("it lacks @{needed}@")));
        }
    }
    Ok(text)
}

fn blanks() -> Regex {
    Regex::new("@([A-Z]+)@").expect("the pattern is a constant")
}

fn is_known(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

/// The job script of Slurm.
///
/// # Errors
/// Words that no line can hold.
pub fn job_script(template: &str, filling: &Filling, args: &SubmitArgs) -> Result<String, Failure> {
    let values = [
        directives(filling, args)?,
        quoted(filling.folder)?,
        variables()?,
        command_of_task(filling, args)?,
        quoted(filling.submission)?,
    ];
    let value = |found: &Captures| {
        let at = NAMES.iter().position(|(name, _)| *name == &found[1]);
        at.map_or_else(|| found[0].to_owned(), |at| values[at].clone())
    };
    Ok(blanks().replace_all(template, value).into_owned())
}

/// A line for each task that does its work wherever a shell runs it.
///
/// # Errors
/// Words that no line can hold.
pub fn commands(filling: &Filling, args: &SubmitArgs) -> Result<String, Failure> {
    let variables: Vec<String> = exported()?.collect();
    let lines = (1..=filling.tasks).map(|task| {
        let mut words = filling.words.to_vec();
        words.push(share(args, &task.to_string(), filling.tasks));
        if let Some(time) = args.time {
            words.push(format!("--time-limit={}", time_text(time - margin(time))));
        }
        let folder = quoted(filling.folder)?;
        let assignments = variables.iter().map(|it| format!("{it} "));
        let assignments: String = assignments.collect();
        Ok(format!(
            "cd {folder} && {assignments}exec {}\n",
            joined(&words)?
        ))
    });
    lines.collect()
}

/// The argument by which a task knows what to do.
pub fn share(args: &SubmitArgs, task: &str, tasks: u32) -> String {
    match args.shares {
        true => format!("--task={task}/{tasks}"),
        false => "--claim".to_owned(),
    }
}

/// The time before a task's end at which it writes checkpoints.
fn margin(time: Duration) -> Duration {
    (time / 4).min(Duration::from_secs(60))
}

/// The program in the job script. What it has of the time begins with the job.
fn command_of_task(filling: &Filling, args: &SubmitArgs) -> Result<String, Failure> {
    let mut command = joined(filling.words)?;
    let share = share(args, "$SLURM_ARRAY_TASK_ID", filling.tasks);
    command += &match args.shares {
        true => format!(" \"{share}\""),
        false => format!(" {share}"),
    };
    if let Some(time) = args.time {
        // Where the signal does not come, the clock does a little later.
        let margin = margin(time).as_secs() * 3 / 4;
        let seconds = time.as_secs() - margin;
        command += &format!(" --time-limit=\"0:$(({seconds} - SECONDS))\"");
    }
    Ok(command)
}

/// The options of `sbatch`.
fn directives(filling: &Filling, args: &SubmitArgs) -> Result<String, Failure> {
    let limit = args.array_limit.map(|it| format!("%{it}"));
    let mut options = vec![
        format!("--job-name={}", filling.name),
        format!("--array=1-{}{}", filling.tasks, limit.unwrap_or_default()),
        format!("--chdir={}", filling.submission.display()),
        "--output=task-%a.log".to_owned(),
        "--open-mode=append".to_owned(),
        "--requeue".to_owned(),
    ];
    let named = [
        ("partition", args.partition.clone()),
        ("account", args.account.clone()),
        ("time", args.time.map(time_text)),
        ("cpus-per-task", args.cpus.map(|it| it.to_string())),
        ("gpus", args.gpus.map(|it| it.to_string())),
        ("mem", args.mem.clone()),
    ];
    for (name, value) in named {
        options.extend(value.map(|it| format!("--{name}={it}")));
    }
    if let Some(time) = args.time {
        options.push(format!("--signal=B:TERM@{}", margin(time).as_secs()));
    }
    let own = options.iter().map(|it| quoted(Path::new(it)));
    // These are for sbatch to read as they are.
    let extra = args.extra.iter().map(|it| one_line(it).map(str::to_owned));
    let lines = own
        .chain(extra)
        .map(|it| Ok(format!("#SBATCH {}", it?)))
        .collect::<Result<Vec<String>, Failure>>()?;
    Ok(lines.join("\n"))
}

/// Variables that change what the program does, which a node may not have.
fn exported() -> Result<impl Iterator<Item = String>, Failure> {
    let names = ["HOST_CLAIM_LIMIT", crate::configuration::PATH_VARIABLE];
    let values = names.map(|name| Some((name, std::env::var_os(name)?)));
    let values = values.into_iter().flatten().map(|(name, value)| {
        let value = quoted(Path::new(&value))?;
        Ok(format!("{name}={value}"))
    });
    Ok(values
        .collect::<Result<Vec<String>, Failure>>()?
        .into_iter())
}

fn variables() -> Result<String, Failure> {
    let lines: Vec<String> = exported()?.map(|it| format!("export {it}")).collect();
    Ok(lines.join("\n"))
}

fn joined(words: &[String]) -> Result<String, Failure> {
    let words = words.iter().map(|it| quoted(Path::new(it)));
    Ok(words.collect::<Result<Vec<String>, Failure>>()?.join(" "))
}

/// A word as a shell takes it.
fn quoted(word: &Path) -> Result<String, Failure> {
    let word = word.to_string_lossy();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-+=:,./%@".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Ok(word.into_owned());
    }
    let quoted = shlex::try_quote(one_line(&word)?);
    let quoted = quoted.map_err(|error| Failure::new(Exit::BadInput, error))?;
    Ok(quoted.into_owned())
}

fn one_line(word: &str) -> Result<&str, Failure> {
    match word.contains(['\n', '\r', '\0']) {
        true => Err(Failure::bad_input(format!(
            "{word:?} has more than one line, which no job script can hold: rename it"
        ))),
        false => Ok(word),
    }
}

#[cfg(test)]
mod tests;
