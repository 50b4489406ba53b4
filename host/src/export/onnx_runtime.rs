//! A model in ONNX Runtime, in a process of Python's, to be timed beside libtorch.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::safetensors::values;

/// What the process runs.
const SCRIPT: &str = include_str!("onnx_runtime.py");
/// The environment variable that names the Python, as it does for strategies in Python.
const VARIABLE: &str = "REWIND_PYTHON";

/// The Python that is named, or else the environment's: that of `REWIND_PYTHON`, of the virtual environment that is
/// active, `python3`.
pub fn interpreter(named: Option<&Path>) -> OsString {
    if let Some(named) = named {
        return named.into();
    }
    let said = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(program) = said(VARIABLE) {
        return program;
    }
    let own = said("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    match own.filter(|program| program.exists()) {
        Some(program) => program.into(),
        None => "python3".into(),
    }
}

/// A session of ONNX Runtime's in a process of its own, which ends with this value.
pub struct OnnxRuntime {
    process: Child,
    /// None once it is told to end.
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    version: String,
}

/// What the process says.
#[derive(Deserialize)]
struct Answer {
    bytes: usize,
    error: Option<String>,
    version: Option<String>,
    milliseconds: Option<f64>,
}

impl OnnxRuntime {
    /// Starts Python and loads an ONNX file's bytes.
    ///
    /// # Errors
    /// Why it cannot be run, in words.
    pub fn new(python: &OsStr, model: &[u8], threads: usize) -> Result<Self, String> {
        let shown = python.to_string_lossy();
        let mut process = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
        let (Some(ask), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(format!("`{shown}` has no pipes"));
        };
        let answers = BufReader::new(answers);
        let mut own = Self {
            process,
            ask: Some(ask),
            answers,
            version: String::new(),
        };
        // Who cannot import it ends before it has read all.
        let _ = own.tell(&json!({"threads": threads, "bytes": model.len()}), model);
        let (answer, _) = own
            .answer()
            .map_err(|reason| format!("{shown}: {reason}"))?;
        own.version = answer.version.unwrap_or_default();
        Ok(own)
    }

    /// Which version it is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Takes the samples that the passes from now on are of.
    ///
    /// # Errors
    /// If the process ended.
    pub fn give(&mut self, input: &Tensor) -> Result<(), String> {
        let bytes: Vec<u8> = values(input)
            .iter()
            .flat_map(|it| it.to_le_bytes())
            .collect();
        self.tell(
            &json!({"shape": input.size(), "bytes": bytes.len()}),
            &bytes,
        )
    }

    /// The outputs of the samples: `[batch, outputs]`.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn outputs(&mut self, batch: i64) -> Result<Tensor, String> {
        self.tell(&json!({"outputs": true}), &[])?;
        let (_, bytes) = self.answer()?;
        let count = bytes.len() as i64 / 4;
        let shape = [batch, count / batch.max(1)];
        let outputs = Tensor::f_from_data_size(&bytes, &shape, Kind::Float);
        outputs.map_err(|error| error.to_string())
    }

    /// Milliseconds of a pass, as the process measures them.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn milliseconds(&mut self) -> Result<f64, String> {
        self.tell(&json!({"outputs": false}), &[])?;
        let (answer, _) = self.answer()?;
        answer
            .milliseconds
            .ok_or_else(|| "it names no time".to_owned())
    }

    fn tell(&mut self, words: &Value, data: &[u8]) -> Result<(), String> {
        let Some(ask) = &mut self.ask else {
            return Err("its process is told to end".to_owned());
        };
        let mut write = || {
            writeln!(ask, "{words}")?;
            ask.write_all(data)?;
            ask.flush()
        };
        write().map_err(|error| format!("its process ended: {error}"))
    }

    fn answer(&mut self) -> Result<(Answer, Vec<u8>), String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        if !read.is_ok_and(|length| length > 0) {
            return Err("its process ended before it answered".to_owned());
        }
        let answer: Answer = serde_json::from_str(&line)
            .map_err(|error| format!("it answered {line:?}: {error}"))?;
        if let Some(error) = answer.error {
            return Err(error);
        }
        let mut bytes = vec![0; answer.bytes];
        let all = self.answers.read_exact(&mut bytes);
        all.map_err(|error| format!("its process ended: {error}"))?;
        Ok((answer, bytes))
    }
}

impl Drop for OnnxRuntime {
    fn drop(&mut self) {
        // It reads until there is nothing more.
        self.ask = None;
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_started_or_imported_is_said_in_words() {
        let named = |path: &str| interpreter(Some(Path::new(path)));
        let of = |program: &OsStr| match OnnxRuntime::new(program, b"", 1) {
            Ok(_) => panic!("{program:?}"),
            Err(reason) => reason,
        };
        let absent = of(&named("/no/python"));
        assert!(
            absent.starts_with("`/no/python` cannot be started"),
            "{absent}"
        );
        let other = of(&named("true"));
        assert_eq!(other, "true: its process ended before it answered");
    }
}
