//! A small server on the loopback device, with the faults of real ones, for tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Serves files by path until the test ends.
pub struct Server {
    /// Such as `http://127.0.0.1:41234`.
    pub address: String,
    state: Arc<Mutex<State>>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Start of the range asked for.
    pub from: Option<u64>,
}

struct State {
    files: HashMap<String, Vec<u8>>,
    ranges: bool,
    /// Body bytes of the next response, after which the connection is closed.
    cut: Option<usize>,
    /// Responses to come that only say 503.
    busy: u32,
    requests: Vec<Request>,
}

impl Server {
    pub fn start(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(p, c)| ((*p).to_owned(), c.to_vec()));
        let state = Arc::new(Mutex::new(State {
            files: files.collect(),
            ranges: true,
            cut: None,
            busy: 0,
            requests: Vec::new(),
        }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up early is part of the tests.
                let _ = shared.lock().unwrap().answer(stream);
            }
        });
        Self { address, state }
    }

    pub fn without_ranges(self) -> Self {
        self.state.lock().unwrap().ranges = false;
        self
    }

    pub fn cut_first_at(self, bytes: usize) -> Self {
        self.state.lock().unwrap().cut = Some(bytes);
        self
    }

    pub fn busy(self, responses: u32) -> Self {
        self.state.lock().unwrap().busy = responses;
        self
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl State {
    fn answer(&mut self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut from = None;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.trim_end_matches('-').parse().ok();
            }
        }
        self.requests.push(Request { from });
        if self.busy > 0 {
            self.busy -= 1;
            return respond(&mut stream, "503 Service Unavailable", "", b"", 0);
        }
        let Some(file) = self.files.get(&path) else {
            return respond(&mut stream, "404 Not Found", "", b"", 0);
        };
        let start = from.filter(|_| self.ranges).unwrap_or(0) as usize;
        if start > 0 && start >= file.len() {
            return respond(&mut stream, "416 Range Not Satisfiable", "", b"", 0);
        }
        let (status, range) = match start {
            0 => ("200 OK", String::new()),
            _ => (
                "206 Partial Content",
                format!(
                    "Content-Range: bytes {start}-{}/{}\r\n",
                    file.len() - 1,
                    file.len()
                ),
            ),
        };
        let body = &file[start..];
        let sent = self.cut.take().unwrap_or(body.len());
        respond(&mut stream, status, &range, &body[..sent], body.len())
    }
}

fn respond(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    sent: &[u8],
    length: usize,
) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n"
    )?;
    stream.write_all(sent)
}
