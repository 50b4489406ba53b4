//! Answers browsers: the page's files to whoever asks, what lies in the folder of runs to who shows the token.
//!
//! One thread for each connection, one request for each connection. The token comes in a header, which no page of another
//! origin can make a browser send, and stands behind the `#` of the address, which no browser sends at all.

mod request;
mod response;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::board::{Board, Place};
use super::token::Token;
use super::{detail, pages};
use request::Request;
use response::Response;

/// So long a browser may take to send a request, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections at a time.
const MOST: usize = 64;

/// What all connections share.
pub struct Server {
    runs: PathBuf,
    board: Arc<Board>,
    token: Token,
    machine: String,
    connections: AtomicUsize,
}

/// Where browsers come to.
pub struct Door {
    listener: TcpListener,
    /// Its address, with the port that it got.
    pub address: SocketAddr,
}

impl Door {
    /// Opens a door at a port; at any that is free if that is 0.
    ///
    /// # Errors
    /// If the port is taken, or the address is not of this machine.
    pub fn open(address: IpAddr, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((address, port))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

impl Server {
    /// A server of what is on this board, and lies in this folder.
    pub fn new(runs: &Path, board: Arc<Board>, token: Token, machine: String) -> Self {
        Self {
            runs: runs.to_owned(),
            board,
            token,
            machine,
            connections: AtomicUsize::new(0),
        }
    }

    /// The address of the page, with the token.
    pub fn url(&self, door: &Door) -> String {
        // An address that stands for all of a machine's leads nowhere.
        let address = match door.address.ip().is_unspecified() {
            true => format!("{}:{}", self.machine, door.address.port()),
            false => door.address.to_string(),
        };
        format!("http://{address}/#{}", self.token.word())
    }

    /// Answers whoever comes, for as long as the process lives.
    pub fn serve(self: Arc<Self>, door: Door) {
        for stream in door.listener.incoming() {
            let Ok(stream) = stream else {
                // Too many files are open, say: it passes.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let server = self.clone();
            let answer = move || {
                let counted = Counted::of(&server.connections);
                // It fails only where the other side is gone.
                let _ = server.answer(&stream, counted.before >= MOST);
            };
            // Without a thread the connection is closed, and the browser asks again.
            let _ = std::thread::Builder::new()
                .name("page".to_owned())
                .spawn(answer);
        }
    }

    fn answer(&self, mut stream: &TcpStream, is_full: bool) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let request = match Request::read(&mut stream) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                let why = format!("no request of HTTP/1.1: {error}");
                return Response::refused(400, &why).write(&mut stream, false);
            }
        };
        let is_head = request.method == "HEAD";
        match self.find(&request, is_full) {
            Found::Answer(response) => response.write(&mut stream, is_head),
            Found::Changes(since) => stream::send(&self.board, since, &mut stream),
        }
    }

    fn find(&self, request: &Request, is_full: bool) -> Found {
        let refused = |status, why: &str| Found::Answer(Response::refused(status, why));
        if !request.calls(&self.machine) {
            return refused(
                421,
                "call this server by an address, by localhost, or by its machine's name",
            );
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return refused(405, "this server is asked only: GET and HEAD");
        }
        if is_full {
            return refused(503, "too many connections: close some of the pages");
        }
        if let Some((kind, text)) = pages::file(&request.path) {
            return Found::Answer(Response::file(kind, text));
        }
        let Some(question) = request.path.strip_prefix("/api/") else {
            return refused(404, "there is no such page");
        };
        if !request.token.as_ref().is_some_and(|it| self.token.is(it)) {
            return refused(
                401,
                "the token is wrong: open the address that the program printed when it was started",
            );
        }
        let answer = |read: &dyn Fn(&Place) -> serde_json::Value| {
            // A name that the index found, or nothing: no path is made of it.
            let key = format!("run/{}", request.asked("id").unwrap_or_default());
            match self.board.place(&key) {
                Some(place) => Found::Answer(Response::json(&read(&place))),
                None => refused(404, "there is no such run any more"),
            }
        };
        match question {
            "changes" => match request.asked("since").unwrap_or("0").parse() {
                Ok(since) if request.method == "GET" => Found::Changes(since),
                _ => refused(400, "since: expected the version that came last"),
            },
            "run" => answer(&detail::run),
            "epochs" => answer(&detail::epochs),
            "settings" => answer(&detail::settings),
            "logs" => answer(&|place| detail::logs(place, &self.runs)),
            _ => refused(404, "there is no such question"),
        }
    }
}

/// What a request gets.
enum Found {
    Answer(Response),
    /// What changed since a version, and all that changes from now on.
    Changes(u64),
}

/// A connection among those that are counted.
struct Counted<'a> {
    all: &'a AtomicUsize,
    before: usize,
}

impl<'a> Counted<'a> {
    fn of(all: &'a AtomicUsize) -> Self {
        let before = all.fetch_add(1, Ordering::Relaxed);
        Self { all, before }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
