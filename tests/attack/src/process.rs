//! Processes that must come to an end.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::patience::PATIENCE;

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
    /// How long that took from when it was waited for. On a busy machine it says nothing.
    pub took: Duration,
}

impl Ended {
    /// Expects this exit code.
    ///
    /// # Panics
    /// With what it said, if it ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let Self { stdout, stderr, .. } = &self;
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\n{stdout}\n{stderr}",
            self.status
        );
        self
    }
}

/// A command that is piped and started.
///
/// # Panics
/// If it does not start.
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Waits for the end of a child.
///
/// # Panics
/// If it does not come; the child is killed.
#[track_caller]
pub fn end(mut child: Child) -> Ended {
    let since = Instant::now();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let stdout = thread::spawn(move || text(out));
    let stderr = thread::spawn(move || text(err));
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            break status;
        }
        if since.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            let said = stderr.join().unwrap_or_default();
            panic!("not at its end after {PATIENCE:?}:\n{said}");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let took = since.elapsed();
    Ended {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
        took,
    }
}

/// Runs a command to its end.
///
/// # Panics
/// If it does not come.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    end(start(command))
}

/// Sends a signal: `TERM`, `INT`, `USR1`, `STOP`, `CONT`, `KILL`.
///
/// # Panics
/// If it cannot be sent.
pub fn signal(child: &Child, name: &str) {
    send(child.id(), name);
}

/// Sends a signal to a process that is no child of this one.
///
/// # Panics
/// If it cannot be sent.
pub fn send(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status()
        .expect("`kill` starts");
    assert!(sent.success(), "no SIG{name} for {process}");
}

/// Processes that this one started and that still run.
///
/// # Panics
/// Where there is no `/proc`.
pub fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux has it").flatten() {
        let Ok(child) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name before may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = fields.split_whitespace();
        let (state, parent) = (fields.next(), fields.next());
        if state != Some("Z") && parent == Some(&of.to_string()) {
            found.push(child);
        }
    }
    found
}

/// Waits until none of these processes is there.
///
/// # Panics
/// If one stays.
pub fn wait_for_ends(processes: &[u32]) {
    let is_there = |id: &u32| Path::new(&format!("/proc/{id}")).exists();
    let since = Instant::now();
    while processes.iter().any(is_there) {
        assert!(since.elapsed() < PATIENCE, "{processes:?} are left");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process was sent a signal, by its number, that none of its threads has taken yet.
pub fn is_pending(process: u32, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let sets = status.lines().filter_map(|line| {
        let set = line
            .strip_prefix("SigPnd:")
            .or(line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(set.trim(), 16).ok()
    });
    sets.fold(0, |all, set| all | set) >> (signal - 1) & 1 == 1
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before a failure is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
