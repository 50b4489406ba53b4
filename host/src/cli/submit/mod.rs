//! `host submit` hands a sweep over to whoever starts its tasks.

mod script;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, io, thread};

use serde_json::json;

use super::args::{Engine, Output, SubmitArgs};
use super::exit::{Exit, Failure};
use super::run::listen;
use super::stdout;
use super::submission::{Record, Submission, slurm};
use super::sweep;
use super::usage::words_of_run;
use crate::counted::counted;
use crate::experiment::{FileKind, kind_of};
use crate::program;
use crate::store;
use script::Filling;

/// Tasks at most, unless more are asked for.
const MOST_TASKS: usize = 100;

/// Hands a sweep over to whoever starts its tasks.
///
/// # Errors
/// What is wrong with the input, or why it is not taken.
pub fn submit(args: &SubmitArgs, output: &Output) -> Result<Exit, Failure> {
    if args.print_template {
        return stdout::whole(script::TEMPLATE.as_bytes()).map(|()| Exit::Success);
    }
    let file = &args.run.experiment.file;
    // What is wrong with one that cannot be read, its reader says.
    if file.is_file() && kind_of(file) != FileKind::Sweep {
        return Err(Failure::bad_input(format!(
            "{} is no sweep: tasks share out the runs of a file with [sweep]",
            file.display()
        )));
    }
    refuse(args)?;
    let template = script::template(args.template.as_deref())?;
    if args.engine == Engine::Slurm && !args.dry_run {
        slurm::find()?;
    }
    let Some(mut prepared) = sweep::prepare(&args.run, output, &listen()?)? else {
        return Ok(Exit::Interrupted);
    };
    if args.run.sweep.retry_failed {
        prepared.forget_failures();
    }
    let left = prepared.left();
    let sweep = prepared.folder();
    if left == 0 {
        log::info!(
            "{}: all runs are done, nothing was submitted",
            sweep.display()
        );
        return Ok(Exit::Success);
    }
    let tasks = args
        .tasks
        .map_or_else(|| tasks(args, left), |asked| asked.get());
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let in_folder = |error: io::Error| failed(&format!("{}: {error}", sweep.display()));
    let submission = Submission::new(sweep).map_err(in_folder)?;
    let mut record = Record {
        engine: args.engine.word().to_owned(),
        tasks,
        job: None,
    };
    // A task may start before this process goes on.
    submission.write(&record).map_err(|error| failed(&error))?;
    let filling = Filling {
        name: sweep
            .file_name()
            .and_then(|it| it.to_str())
            .unwrap_or("sweep"),
        tasks,
        folder: &env::current_dir().map_err(in_folder)?,
        submission: &submission.folder,
        words: &words(args, tasks, &submission).map_err(in_folder)?,
    };
    let (name, text) = match args.engine {
        Engine::Slurm => ("job.sh", script::job_script(&template, &filling, args)?),
        Engine::Local | Engine::Script => ("commands.txt", script::commands(&filling, args)?),
    };
    let path = submission.file(name);
    store::write(&path, text.as_bytes()).map_err(|error| failed(&error))?;
    if !args.dry_run {
        record.job = match args.engine {
            Engine::Slurm => Some(slurm::submit(&path)?),
            Engine::Local => Some(start(&submission, &text).map_err(in_folder)?),
            Engine::Script => None,
        };
        submission.write(&record).map_err(|error| failed(&error))?;
    }
    tell(
        args,
        output,
        &Told {
            sweep,
            left,
            record: &record,
            path: &path,
            text: &text,
        },
    )?;
    Ok(Exit::Success)
}

/// Refuses what makes no sense for many tasks at once.
fn refuse(args: &SubmitArgs) -> Result<(), Failure> {
    let run = &args.run;
    let wrong = [
        (
            run.fresh,
            "--fresh",
            "each task would throw away what the others make; give it to `run` first",
        ),
        (
            run.sweep.claim,
            "--claim",
            "tasks do so unless --shares is given",
        ),
        (
            run.sweep.task.is_some(),
            "--task",
            "--shares gives each task its own",
        ),
        (
            run.time_limit.is_some(),
            "--time-limit",
            "it follows from --time",
        ),
        (
            run.until_stdin_closes,
            "--until-stdin-closes",
            "tasks have no stdin",
        ),
        (
            run.sweep.submission.is_some(),
            "--submission",
            "it is made here",
        ),
    ];
    match wrong.iter().find(|(is_given, ..)| *is_given) {
        Some((_, flag, reason)) => Err(Failure::bad_input(format!(
            "{flag} is not for what is submitted: {reason}"
        ))),
        None => Ok(()),
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Number of tasks if none is asked for.
fn tasks(args: &SubmitArgs, left: usize) -> u32 {
    let each = args.cpus.map_or(1, |it| it.get() as usize);
    let most = match args.engine {
        Engine::Local => (cores() / each).max(1),
        Engine::Slurm | Engine::Script => MOST_TASKS,
    };
    left.min(most) as u32
}

/// The program with the arguments that all tasks have.
fn words(args: &SubmitArgs, tasks: u32, submission: &Submission) -> io::Result<Vec<String>> {
    let run = &args.run;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut words = vec![text(&env::current_exe()?), "run".to_owned()];
    // Failures were forgotten once; each task that does so again would never come to an end.
    let given = words_of_run(&["retry_failed"]);
    let has = |flag: &str| given.iter().any(|it| it.starts_with(&format!("--{flag}=")));
    let data = (!has("data-dir")).then(|| std::path::absolute(&run.experiment.data.data_dir));
    let gpus = args.gpus.map_or(0, |it| it.get());
    let devices = (gpus > 0 && !has("device") && !has("devices")).then(|| {
        let all: Vec<String> = (0..gpus).map(|it| format!("cuda:{it}")).collect();
        format!("--devices={}", all.join(","))
    });
    let is_on_cpu = devices.is_none() && !has("device") && !has("devices");
    let cpus = match (args.engine, args.cpus) {
        (_, Some(cpus)) => Some(cpus.get() as usize),
        (Engine::Slurm, None) => Some(1),
        (Engine::Local, None) => Some(cores() / tasks as usize),
        (Engine::Script, None) => None,
    };
    let threads = run.place.threads.map_or(1, |it| usize::from(it.get()));
    let jobs = cpus.filter(|_| is_on_cpu && !has("jobs"));
    words.extend(given);
    words.extend(devices);
    words.extend(jobs.map(|cpus| format!("--jobs={}", (cpus / threads).max(1))));
    if let Some(data) = data {
        words.push(format!("--data-dir={}", text(&data?)));
    }
    words.push(format!("--submission={}", text(&submission.folder)));
    Ok(words)
}

/// Starts each of these commands as a process that goes on without this one; how they are called together.
fn start(submission: &Submission, commands: &str) -> io::Result<String> {
    let mut processes = Vec::new();
    for (at, line) in commands.lines().enumerate() {
        let log = File::create(submission.file(&format!("task-{}.log", at + 1)))?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        #[cfg(unix)]
        {
            // A Ctrl-C in the terminal is not for it.
            use std::os::unix::process::CommandExt;
            command.process_group(0);
        }
        processes.push(command.spawn()?.id().to_string());
    }
    Ok(processes.join(" "))
}

/// What came of it.
struct Told<'a> {
    sweep: &'a Path,
    left: usize,
    record: &'a Record,
    path: &'a Path,
    text: &'a str,
}

fn tell(args: &SubmitArgs, output: &Output, told: &Told) -> Result<(), Failure> {
    let Told { sweep, record, .. } = told;
    let sweep = sweep.to_string_lossy();
    let name = program::name();
    let command = |verb: &[&str]| {
        let words = [name.as_str()].into_iter().chain(verb.iter().copied());
        program::command_line(words.chain([&*sweep]))
    };
    let (follow, stop) = (command(&["status", "--watch"]), command(&["cancel"]));
    if output.json {
        return stdout::line(json!({
            "event": "submitted", "sweep": told.sweep, "runs_left": told.left, "engine": record.engine,
            "tasks": record.tasks, "job": record.job, "script": told.path, "follow": follow, "stop": stop,
        }));
    }
    let tasks = counted(record.tasks, "task");
    let left = counted(told.left, "run");
    let first = match (&record.job, args.engine) {
        (Some(job), Engine::Slurm) => format!("submitted job {job}: {tasks} for {left}"),
        (Some(job), _) => format!("started {tasks} for {left}: processes {job}"),
        (None, Engine::Script) => format!("wrote the commands of {tasks} for {left}"),
        (None, _) => format!("nothing was submitted: {tasks} for {left} would be"),
    };
    if args.dry_run {
        stdout::line(told.text)?;
    }
    stdout::line(format!(
        "{first}\nscript  {}\nfollow  {follow}\nstop    {stop}",
        told.path.display()
    ))
}
