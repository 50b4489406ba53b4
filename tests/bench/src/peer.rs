//! PyTorch's process, spoken to in lines of JSON.

use std::cell::RefCell;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use serde_json::{Value, json};
use tch::Device;

use crate::error::BenchError;
use crate::measure::{Sample, Side};
use crate::settings::{Settings, root};

/// A command of PyTorch's Python, with PyTorch's own defaults.
pub fn python(settings: &Settings, script: &str) -> Command {
    let own = || settings.folder().join("venv/bin/python").into_os_string();
    let mut command = Command::new(env::var_os("BENCH_PYTHON").unwrap_or_else(own));
    command
        .arg(root().join("tests/bench").join(script))
        .env("BENCH_THREADS", settings.threads.to_string())
        // The host asks MKL for results that do not depend on memory addresses, and its idle threads
        // sleep soon; users of PyTorch do neither.
        .env_remove("MKL_CBWR")
        .env_remove("GOMP_SPINCOUNT");
    if settings.place.device() == Device::Cpu {
        // Processes that compile ahead would stay, and wait, beside the measurements.
        command.env("TORCHINDUCTOR_COMPILE_THREADS", "1");
    }
    command
}

/// PyTorch's process. It ends when it is dropped.
pub struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Peer {
    /// Starts it.
    ///
    /// # Errors
    /// If there is no PyTorch.
    pub fn start(settings: &Settings) -> Result<Self, BenchError> {
        let log = settings.folder().join("peer.log");
        let stderr = File::create(&log).map_err(BenchError::file(&log))?;
        let mut command = python(settings, "peer.py");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(stderr).spawn().map_err(|error| {
            BenchError::Peer(format!("{error}; `make bench` sets up what it needs"))
        })?;
        let missing = || BenchError::Peer("its pipes are not there".to_owned());
        Ok(Self {
            requests: Some(child.stdin.take().ok_or_else(missing)?),
            answers: BufReader::new(child.stdout.take().ok_or_else(missing)?),
            child,
            log,
        })
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its answer to a request.
    ///
    /// # Errors
    /// What it says, or that it ended.
    pub fn ask(&mut self, request: &Value) -> Result<Value, BenchError> {
        let mut line = String::new();
        let spoken = self
            .requests
            .as_mut()
            .ok_or(std::io::ErrorKind::BrokenPipe.into())
            .and_then(|requests| writeln!(requests, "{request}"))
            .and_then(|()| self.answers.read_line(&mut line));
        let answer = match spoken {
            Ok(length) if length > 0 => serde_json::from_str::<Value>(&line).ok(),
            _ => None,
        };
        let Some(answer) = answer else {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it said nothing");
            return Err(BenchError::Peer(format!("the process ended: {last}")));
        };
        match answer["error"].as_str() {
            Some(error) => Err(BenchError::Peer(error.to_owned())),
            None => Ok(answer),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input is the end of its loop.
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// Something that PyTorch's process measures.
pub struct PeerSide {
    peer: Rc<RefCell<Peer>>,
    row: String,
    name: String,
    period: u64,
}

impl PeerSide {
    /// Has it prepared: networks built, compiled and warmed up.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn prepare(
        peer: &Rc<RefCell<Peer>>,
        row: &str,
        name: &str,
        kind: &str,
        task: &Value,
    ) -> Result<Self, BenchError> {
        let request =
            json!({"do": "prepare", "row": row, "side": name, "kind": kind, "task": task});
        peer.borrow_mut().ask(&request)?;
        Ok(Self {
            peer: peer.clone(),
            row: row.to_owned(),
            name: name.to_owned(),
            period: 1,
        })
    }

    /// With this period.
    pub fn with_period(mut self, period: u64) -> Self {
        self.period = period;
        self
    }
}

impl Side for PeerSide {
    fn name(&self) -> &str {
        &self.name
    }

    fn measure(&mut self, steps: u64) -> Result<Sample, BenchError> {
        let request = json!({"do": "measure", "row": self.row, "side": self.name, "steps": steps});
        let answer = self.peer.borrow_mut().ask(&request)?;
        match (answer["seconds"].as_f64(), answer["units"].as_f64()) {
            (Some(seconds), Some(units)) => Ok(Sample { seconds, units }),
            _ => Err(BenchError::Peer(format!("it answered {answer}"))),
        }
    }

    fn period(&self) -> u64 {
        self.period
    }
}
