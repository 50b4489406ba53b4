//! The process of a file: started once for all components of it, and ended with everything that it started.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use plugin_api::abi::wire::ComponentKind;
use plugin_api::{Error, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::channel::{Heard, Message, receive, send};
use crate::interpreter;
use crate::memory::Memory;
use crate::words::{Words, place};

/// What the interpreter runs first.
const BOOT: &str = include_str!("boot.py");

/// The package that the file imports, module by module.
const PACKAGE: [(&str, &str); 11] = [
    ("rewind", ""),
    (
        "rewind.strategy",
        include_str!("../../../host/python/rewind/strategy/__init__.py"),
    ),
    (
        "rewind.strategy._arrays",
        include_str!("../../../host/python/rewind/strategy/_arrays.py"),
    ),
    (
        "rewind.strategy._child",
        include_str!("../../../host/python/rewind/strategy/_child.py"),
    ),
    (
        "rewind.strategy._components",
        include_str!("../../../host/python/rewind/strategy/_components.py"),
    ),
    (
        "rewind.strategy._confine",
        include_str!("../../../host/python/rewind/strategy/_confine.py"),
    ),
    (
        "rewind.strategy._context",
        include_str!("../../../host/python/rewind/strategy/_context.py"),
    ),
    (
        "rewind.strategy._options",
        include_str!("../../../host/python/rewind/strategy/_options.py"),
    ),
    (
        "rewind.strategy._plan",
        include_str!("../../../host/python/rewind/strategy/_plan.py"),
    ),
    (
        "rewind.strategy._state",
        include_str!("../../../host/python/rewind/strategy/_state.py"),
    ),
    (
        "rewind.strategy._still",
        include_str!("../../../host/python/rewind/strategy/_still.py"),
    ),
];

/// Processes that are kept for the next component of their file.
const KEPT: usize = 4;

/// How long a process that closed its end may take to be gone.
const LEAVING: Duration = Duration::from_secs(2);

/// How long a process may take to load its file, or to make a component.
const STARTING: Duration = Duration::from_secs(120);

/// How long a process may take to say where it is.
const TELLING: Duration = Duration::from_millis(300);

/// What a process is made of: components that agree in it share one.
#[derive(Clone, PartialEq)]
pub struct Origin {
    /// The interpreter that the experiment names, or nothing.
    pub python: String,
    /// The file, for messages.
    pub file: PathBuf,
    /// What it holds.
    pub source: String,
    /// GiB that it may take.
    pub memory: f64,
}

/// The processes that were used last, the latest first.
static CHILDREN: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

/// The process of a file, started if there is none that still lives.
///
/// # Errors
/// Why it cannot be started, or what is wrong with the file.
pub fn of(origin: &Origin) -> Result<Arc<Mutex<Child>>> {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_it = |child: &Arc<Mutex<Child>>| {
        let child = child.lock().unwrap_or_else(PoisonError::into_inner);
        child.origin == *origin && child.end.is_none() && !child.is_called
    };
    let child = match children.iter().position(is_it) {
        Some(index) => children.remove(index),
        None => Arc::new(Mutex::new(Child::start(origin)?)),
    };
    children.insert(0, child.clone());
    children.truncate(KEPT);
    Ok(child)
}

/// A file's process.
pub struct Child {
    origin: Origin,
    python: OsString,
    process: std::process::Child,
    socket: UnixStream,
    memory: Memory,
    words: Words,
    /// The schemas of its functions, by kind.
    schemas: Value,
    instances: u64,
    /// Until when what is under way has to be done, and how long that was.
    deadline: Option<(Instant, Duration)>,
    /// Whether a call is under way: if one begins meanwhile, the last did not come to its end.
    is_called: bool,
    /// How it ended.
    end: Option<String>,
    /// Dropped with this value, which lets the thread go that the process depends on.
    _life: Sender<()>,
}

impl Child {
    /// Starts the process and has it run the file.
    fn start(origin: &Origin) -> Result<Self> {
        let python = interpreter::find(&origin.python);
        let failed = |what: &str, error: io::Error| {
            Error::new(format!(
                "failed to {what} for a strategy in Python: {error}"
            ))
        };
        let memory = Memory::new().map_err(|error| failed("get memory", error))?;
        let theirs = memory
            .share()
            .map_err(|error| failed("share memory", error))?;
        let (socket, end) = UnixStream::pair().map_err(|error| failed("make a socket", error))?;
        let mut command = Command::new(&python);
        command
            .args(["-c", BOOT])
            .stdin(OwnedFd::from(end))
            .stdout(theirs)
            .stderr(Stdio::piped())
            // An interrupt from the terminal is for the host, which ends the call in order.
            .process_group(0)
            // The same bytes again: no order of sets by chance, no sums cut by the machine's number of cores.
            .env("PYTHONHASHSEED", "0");
        for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(threads, "1");
        }
        let words = Words::default();
        let (life, died) = channel::<()>();
        let (born, birth) = channel();
        let listener = words.clone();
        // The system ends the process when the thread that started it ends: this one lives as long as is needed.
        thread::spawn(move || {
            let spawned = command.spawn();
            // Its copies of the other end go with it, so that the process's own is the last.
            drop(command);
            let stderr = match spawned {
                Ok(mut process) => {
                    let stderr = process.stderr.take();
                    let _ = born.send(Ok(process));
                    stderr
                }
                Err(error) => {
                    let _ = born.send(Err(error));
                    return;
                }
            };
            if let Some(stderr) = stderr {
                listener.read(stderr);
            }
            let _ = died.recv();
        });
        let shown = python.to_string_lossy().into_owned();
        let spawned = birth
            .recv()
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        let process = spawned.map_err(|error| {
            Error::new(format!(
                "failed to start the Python `{shown}`: {error}; `python = ...` names one, or the environment \
                 variable {}",
                interpreter::VARIABLE
            ))
        })?;
        let mut child = Self {
            origin: origin.clone(),
            python,
            process,
            socket,
            memory,
            words,
            schemas: Value::Null,
            instances: 0,
            deadline: None,
            is_called: false,
            end: None,
            _life: life,
        };
        let package: Map<String, Value> = (PACKAGE.iter())
            .map(|(name, text)| ((*name).to_owned(), json!(text)))
            .collect();
        let loaded = child.told(&json!({
            "package": package,
            "file": origin.file,
            "source": origin.source,
            "memory": origin.memory,
        }))?;
        child.schemas = loaded["components"].clone();
        Ok(child)
    }

    /// The file's name.
    pub fn name(&self) -> String {
        let name = self.origin.file.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The schema of the options of its function of a kind; none if it has no such function.
    pub fn schema(&self, kind: ComponentKind) -> Option<Value> {
        self.schemas.get(kind.name()).cloned()
    }

    /// Makes a component: its number, and what it says of itself.
    ///
    /// # Errors
    /// What is wrong with its options.
    pub fn make(
        &mut self,
        kind: ComponentKind,
        options: &Map<String, Value>,
    ) -> Result<(u64, Value)> {
        self.instances += 1;
        let id = self.instances;
        let make = json!({ "do": "make", "id": id, "kind": kind.name(), "options": options });
        Ok((id, self.told(&make)?))
    }

    /// Lets a component go.
    pub fn forget(&mut self, id: u64) {
        if self.end.is_none() {
            // A process that is gone has forgotten it.
            let _ = send(&mut self.socket, &json!({ "do": "drop", "id": id }));
        }
    }

    /// The state of a component.
    ///
    /// # Errors
    /// What cannot be saved.
    pub fn save(&mut self, id: u64) -> Result<Vec<u8>> {
        let saved = self.told(&json!({ "do": "save", "id": id }))?;
        let saved = &saved["state"];
        let (place, length) = (saved["place"].as_u64(), saved["shape"][0].as_u64());
        let mut state = vec![0; length.unwrap_or_default() as usize];
        self.get(place.unwrap_or_default(), &mut state)?;
        Ok(state)
    }

    /// Gives a component a state.
    ///
    /// # Errors
    /// If it is not its own.
    pub fn load(&mut self, id: u64, state: &[u8]) -> Result<()> {
        let place = self.put(state)?;
        let size = self.memory.size();
        let load =
            json!({ "do": "restore", "id": id, "state": [place, state.len()], "size": size });
        let loaded = self.told(&load);
        self.free(&[place]);
        loaded.map(|_| ())
    }

    /// Tells the process to do something that asks for nothing but room.
    fn told(&mut self, message: &Value) -> Result<Value> {
        self.begin(message.clone(), Some(STARTING))?;
        loop {
            match self.hear()? {
                Heard::Done(value) => return Ok(value),
                Heard::Said { .. } => {}
                Heard::Asked(ask) => {
                    self.free(&ask.freed);
                    let sizes = Vec::<u64>::deserialize(&ask.request);
                    let places: Result<Vec<u64>> = match sizes {
                        Ok(sizes) => sizes.iter().map(|size| self.take(*size)).collect(),
                        Err(error) => Err(error.into()),
                    };
                    self.reply(places.map(|places| json!({ "places": places })))?;
                }
            }
        }
    }

    /// Begins to tell the process something, which has to be done within a time.
    ///
    /// # Errors
    /// If it is gone.
    pub fn begin(&mut self, message: Value, within: Option<Duration>) -> Result<()> {
        if self.is_called {
            self.kill("was ended, because a call of it was not brought to its end");
        }
        if let Some(end) = &self.end {
            return Err(Error::new(format!("its process {end}")));
        }
        self.is_called = true;
        self.deadline = within.map(|within| (Instant::now() + within, within));
        self.send(message)
    }

    /// Sends a message with the size of the memory.
    fn send(&mut self, mut message: Value) -> Result<()> {
        message["size"] = json!(self.memory.size());
        send(&mut self.socket, &message).map_err(|error| self.ended(&error))
    }

    /// Answers a question.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn reply(&mut self, answer: Result<Value>) -> Result<()> {
        self.send(answer.unwrap_or_else(|error| json!({ "error": error.to_string() })))
    }

    /// What the process says next.
    ///
    /// # Errors
    /// Its own error, which ends what it was told, or how it ended.
    pub fn hear(&mut self) -> Result<Heard> {
        if let Some((deadline, _)) = self.deadline {
            // A time of 0 would be none.
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left))?;
        } else {
            self.socket.set_read_timeout(None)?;
        }
        match receive(&mut self.socket) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(self.late())
            }
            Ok(Message::Ask(ask)) => Ok(Heard::Asked(ask)),
            Ok(Message::Say { say, level }) => Ok(Heard::Said { text: say, level }),
            Ok(Message::Done { ok }) => {
                self.is_called = false;
                Ok(Heard::Done(ok))
            }
            Ok(Message::Failed { error }) => {
                self.is_called = false;
                Err(Error::new(error))
            }
            Err(error) => Err(self.ended(&error)),
        }
    }

    /// What it wrote since this was asked last, each line with the file's name.
    pub fn lines(&self) -> Vec<String> {
        let name = self.name();
        let lines = self.words.take();
        lines.iter().map(|line| format!("{name}: {line}")).collect()
    }

    /// Takes a place of the memory.
    ///
    /// # Errors
    /// If there is no room.
    pub fn take(&mut self, bytes: u64) -> Result<u64> {
        let taken = self.memory.take(bytes);
        taken.map_err(|error| Error::new(format!("there is no room for {bytes} bytes: {error}")))
    }

    /// Puts bytes into the memory.
    ///
    /// # Errors
    /// If there is no room.
    pub fn put(&mut self, bytes: &[u8]) -> Result<u64> {
        let place = self.take(bytes.len() as u64)?;
        let written = self.memory.write(place, bytes);
        written.map_err(|error| {
            Error::new(format!(
                "there is no room for {} bytes: {error}",
                bytes.len()
            ))
        })?;
        Ok(place)
    }

    /// Takes bytes out of the memory, whose place is free then.
    ///
    /// # Errors
    /// If the place is outside.
    pub fn get(&mut self, place: u64, bytes: &mut [u8]) -> Result<()> {
        let read = self.memory.read(place, bytes);
        self.free(&[place]);
        read.map_err(|error| Error::new(format!("{} bytes cannot be read: {error}", bytes.len())))
    }

    /// Gives places of the memory back.
    pub fn free(&mut self, places: &[u64]) {
        self.memory.free(places);
    }

    /// Ends a process that is late: what to say of it, and where it was.
    fn late(&mut self) -> Error {
        let (_, within) = self.deadline.unwrap_or((Instant::now(), STARTING));
        let file = self.origin.file.to_string_lossy().into_owned();
        let (start, mut said) = (Instant::now(), self.words.take());
        if let Some(process) = self.id() {
            // It answers with a traceback, if it can. Whoever is gone meanwhile says nothing.
            let _ = kill_process(process, Signal::USR1);
        }
        let mut found = None;
        while found.is_none() && start.elapsed() < TELLING {
            thread::sleep(Duration::from_millis(5));
            said.extend(self.words.take());
            found = place(&said, &file, &self.name());
        }
        let at = found.map_or_else(String::new, |place| format!(": it was at {place}"));
        let end = format!("did not return within {:.1} s{at}", within.as_secs_f64());
        self.kill(&end);
        Error::new(format!("{} {end}", self.name()))
    }

    fn id(&self) -> Option<Pid> {
        i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
    }

    /// What to say of a process that does not answer any more.
    fn ended(&mut self, error: &io::Error) -> Error {
        let start = Instant::now();
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if start.elapsed() < LEAVING => thread::sleep(Duration::from_millis(1)),
                _ => break None,
            }
        };
        while !self.words.is_over() && start.elapsed() < LEAVING {
            thread::sleep(Duration::from_millis(1));
        }
        let said = self.words.take();
        let file = self.origin.file.to_string_lossy();
        let how = match status {
            Some(status) => describe(status),
            None => format!("broke off: {error}"),
        };
        let end = match (place(&said, &file, &self.name()), &self.schemas) {
            (Some(place), _) => format!("{how} at {place}"),
            // It never came to the file.
            (None, Value::Null) => {
                let last = said.last().map(|line| format!(", its last words: {line}"));
                let python = self.python.to_string_lossy();
                format!(
                    "{how} before it answered{}; it is of `{python}`, expected a Python of 3.10 or newer with NumPy",
                    last.unwrap_or_default()
                )
            }
            (None, _) => how,
        };
        self.kill(&end);
        Error::new(format!("{}: its process {end}", self.name()))
    }

    /// Ends the process, with whatever it started.
    fn kill(&mut self, end: &str) {
        self.end.get_or_insert_with(|| end.to_owned());
        if let Some(group) = self.id() {
            // There may be nothing left of it.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill("was ended");
    }
}

/// Signals that end processes, by their numbers on every system that this runs on.
const SIGNALS: [(i32, &str); 6] = [
    (4, "SIGILL"),
    (6, "SIGABRT"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (15, "SIGTERM"),
];

/// How a process ended, completing "its process ...".
fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("ended with exit code {}", status.code().unwrap_or_default());
    };
    match SIGNALS.iter().find(|(number, _)| *number == signal) {
        Some((_, name)) => format!("ended by {name}"),
        None => format!("ended by signal {signal}"),
    }
}
