//! Messages between the host's process and a file's: JSON with its length before it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use serde::Deserialize;
use serde_json::Value;

/// No message is longer: arrays do not travel in them.
const LONGEST: u32 = 1 << 28;

/// What a file's process says.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// It asks for something, and waits.
    Ask(Ask),
    /// It wants a line in the log.
    Say {
        /// The line.
        say: String,
        /// A level of the `log` crate.
        level: u32,
    },
    /// It did what it was told.
    Done {
        /// What came of it.
        ok: Value,
    },
    /// It could not.
    Failed {
        /// Why, in a line.
        error: String,
    },
}

/// What a function asks for.
#[derive(Deserialize)]
pub struct Ask {
    /// Which service.
    pub ask: String,
    /// Of a query, which.
    #[serde(default)]
    pub service: String,
    /// The request as the plugin API has it.
    #[serde(default)]
    pub request: Value,
    /// Arrays that go with it.
    #[serde(default)]
    pub inputs: Vec<Array>,
    /// Places of the memory that nothing refers to any more.
    #[serde(default)]
    pub freed: Vec<u64>,
}

/// An array of f32 in the memory.
#[derive(Deserialize)]
pub struct Array {
    /// Its first byte.
    pub place: u64,
    /// Length of each dimension.
    pub shape: Vec<i64>,
}

/// What a call heard.
pub enum Heard {
    /// A line for the log.
    Said {
        /// The line.
        text: String,
        /// A level of the `log` crate.
        level: u32,
    },
    /// A question, which waits.
    Asked(Ask),
    /// The end of the call.
    Done(Value),
}

/// Sends a message.
pub fn send(end: &mut UnixStream, message: &Value) -> io::Result<()> {
    let text = message.to_string();
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut whole = Vec::with_capacity(text.len() + 4);
    whole.extend(length.to_le_bytes());
    whole.extend(text.as_bytes());
    end.write_all(&whole)
}

/// The next message.
pub fn receive(end: &mut UnixStream) -> io::Result<Message> {
    let mut length = [0; 4];
    end.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut text = vec![0; length as usize];
    end.read_exact(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}
