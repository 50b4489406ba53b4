//! A run in a process of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;

use serde_json::Value;
use tch::Device;

use super::device_name;
use super::jobs::{Job, RUN, Task};
use crate::cli::args::RunArgs;
use crate::cli::run::ELSEWHERE;
use crate::store::Owner;

/// What a process says.
pub enum Said {
    /// An event of the run.
    Event(Value),
    /// It closed its stdout: it ends.
    End,
}

/// A process that runs a job.
pub struct Running {
    child: Child,
    /// The process stops in order when this is dropped, and so when this one dies.
    stdin: Option<ChildStdin>,
    log: PathBuf,
    /// Where in the log it began: others may have written there before.
    from: u64,
    is_run: bool,
    /// The process that has the run instead.
    owner: Option<Owner>,
    /// The level to which it brings the run, if that is not its last.
    goal: Option<u64>,
}

impl Running {
    /// Starts a job, of which these seeds are asked for, up to a level if not to its last; what it says comes through `said` with the job's
    /// number, and what it tells people goes into the file `log`.
    ///
    /// # Errors
    /// If the process cannot be started or its log cannot be written.
    pub fn start(
        (index, job, seeds, goal): (usize, &Job, &[u64], Option<u64>),
        args: &RunArgs,
        device: Device,
        log: &Path,
        said: Sender<(usize, Said)>,
    ) -> io::Result<Self> {
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut command = command((job, seeds), args, device)?;
        if let Some(goal) = goal {
            command.args(["--to-level", &goal.to_string()]);
        }
        // Another process may be at the same job, and say there what this one will be told.
        let stderr = OpenOptions::new().create(true).append(true).open(log)?;
        let from = stderr.metadata()?.len();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr);
        #[cfg(unix)]
        {
            // A Ctrl-C in the terminal is for the sweep, which lets its runs stop in order.
            use std::os::unix::process::CommandExt;
            command.process_group(0);
        }
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        std::thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|it| BufReader::new(it).lines());
            for line in lines.map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line) {
                    // Nobody listens any more only when the sweep ends.
                    let _ = said.send((index, Said::Event(event)));
                }
            }
            let _ = said.send((index, Said::End));
        });
        Ok(Self {
            child,
            stdin,
            log: log.to_owned(),
            from,
            is_run: matches!(job.task, Task::Run { .. }),
            owner: None,
            goal,
        })
    }

    /// Asks it to write a checkpoint and to leave. What is no run has no checkpoint and ends at once.
    pub fn stop(&mut self) {
        self.stdin = None;
        if !self.is_run {
            // It fails only if the process has ended.
            let _ = self.child.kill();
        }
    }

    /// Asks it to write a checkpoint and to go on.
    pub fn checkpoint(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            // It fails only if the process has ended.
            let _ = stdin.write_all(b"c").and_then(|()| stdin.flush());
        }
    }

    /// Takes in what it says of another process.
    pub fn hear(&mut self, event: &Value) {
        if event["event"] == ELSEWHERE {
            self.owner = serde_json::from_value(event["owner"].clone()).ok();
        }
    }

    /// The process that had its run, or took it over.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// The level to which it brings the run, if that is not its last.
    pub fn goal(&self) -> Option<u64> {
        self.goal
    }

    /// Waits for its end: its exit code, or none if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        self.stdin = None;
        self.child.wait().ok()?.code()
    }

    /// The last error that it reported, with where to read more.
    pub fn reason(&self) -> String {
        let text = read_from(&self.log, self.from).unwrap_or_default();
        let said = text.lines().rev().find(|line| !line.trim().is_empty());
        let more = format!("see {}", self.log.display());
        match said {
            Some(said) => format!("{} ({more})", message(said)),
            None => more,
        }
    }
}

/// What a file holds from a place on.
fn read_from(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// The command line of a job.
fn command((job, seeds): (&Job, &[u64]), args: &RunArgs, device: Device) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    match &job.task {
        Task::Run { file, .. } => {
            command
                // Whatever the environment says of ranks is said of the sweep.
                .args(["run", "--until-stdin-closes", "--told", "--ranks", "1"])
                .arg(file);
            command.args(["--checkpoint-every", &args.checkpoint_every.to_string()]);
            let together = args.seeds_together.to_string();
            command.args(["--seeds-together", &together]);
            for (asked, flag) in [
                (args.cuda_graphs, "--cuda-graphs"),
                (args.cuda_kernels, "--cuda-kernels"),
            ] {
                if asked {
                    command.arg(flag);
                }
            }
            if job.noun == RUN && seeds != job.seeds() {
                let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
                command.args(["--seeds", &seeds.join(",")]);
            }
            for point in &job.points {
                command.args(["--store-points", &point.to_string()]);
            }
            if args.fresh {
                command.arg("--fresh");
            }
            if args.allow_changed_plugins {
                command.arg("--allow-changed-plugins");
            }
            if args.experiment.allow_plugins {
                command.arg("--allow-plugins");
            }
            let limits = &args.limits;
            for (name, limit) in [
                ("--plugin-time-limit", limits.plugin_time_limit),
                ("--plugin-memory-limit", limits.plugin_memory_limit),
            ] {
                if let Some(limit) = limit {
                    command.args([name, &limit.to_string()]);
                }
            }
        }
        Task::Barrier(other) => {
            command.arg("barrier").arg(&job.run).args(other);
        }
    }
    let threads = args.place.threads.map_or(1, u16::from);
    command
        .args(["--json", "--threads", &threads.to_string()])
        .args(["--device", &device_name(device)])
        .arg("--runs")
        .arg(&args.place.runs)
        .arg("--data-dir")
        .arg(&args.experiment.data.data_dir);
    Ok(command)
}

/// The text of an error, which a process may have written as JSON.
fn message(line: &str) -> String {
    let Ok(error) = serde_json::from_str::<Value>(line) else {
        return line.trim_start_matches("[ERROR] ").to_owned();
    };
    let first = error["error"]
        .as_str()
        .or(error["errors"][0]["message"].as_str());
    first.unwrap_or(line).to_owned()
}
