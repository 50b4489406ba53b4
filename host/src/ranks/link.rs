//! The connection of a rank with rank 0.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::RanksError;
use super::trouble::Trouble;

/// How often to look whether anything became of the others.
const PATROL: Duration = Duration::from_millis(100);
/// No message is longer: what claims to be is none of ours.
const MOST: u64 = 1 << 40;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Its number.
    pub rank: usize,
    /// Its machine.
    pub host: String,
    /// Its process there.
    pub pid: u32,
}

impl Who {
    /// This process.
    pub fn this(rank: usize) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        Self {
            rank,
            host: host.map_or_else(|_| "this machine".to_owned(), |it| it.trim().to_owned()),
            pid: std::process::id(),
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rank, host, pid } = self;
        write!(formatter, "rank {rank} on {host} (process {pid})")
    }
}

/// What one rank tells another.
#[derive(Debug)]
pub enum Told {
    /// Something to do, or what came of it.
    Words(Vec<u8>),
    /// To leave, with this exit code.
    Leave(u8),
}

/// Kinds of messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Beat = 0,
    Words = 1,
    Leave = 2,
    Part = 3,
    Lost = 4,
    Stop = 5,
}

impl Tag {
    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Beat,
            Self::Words,
            Self::Leave,
            Self::Part,
            Self::Lost,
            Self::Stop,
        ];
        all.into_iter().find(|tag| *tag as u8 == byte)
    }
}

/// A connection under way.
pub(super) struct Link {
    stream: Mutex<TcpStream>,
    inbox: Mutex<Receiver<Told>>,
    trouble: Arc<Trouble>,
    heard: Arc<Mutex<Instant>>,
    pub who: Who,
}

impl Link {
    /// A connection with this rank, which is lost when it says nothing for longer than `limit`.
    pub fn new(
        stream: TcpStream,
        who: Who,
        trouble: Arc<Trouble>,
        limit: Duration,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limit))?;
        stream.set_read_timeout(None)?;
        let reader = stream.try_clone()?;
        let (sender, inbox) = channel();
        let heard = Arc::new(Mutex::new(Instant::now()));
        let listener = Listener {
            stream: reader,
            sender,
            trouble: trouble.clone(),
            heard: heard.clone(),
            who: who.clone(),
        };
        thread::Builder::new()
            .name(format!("rank-{}", who.rank))
            .spawn(move || listener.listen())?;
        Ok(Self {
            stream: Mutex::new(stream),
            inbox: Mutex::new(inbox),
            trouble,
            heard,
            who,
        })
    }

    /// Says something.
    pub fn say(&self, bytes: &[u8]) -> Result<(), RanksError> {
        self.trouble.check()?;
        self.send(Tag::Words, bytes).map_err(|error| {
            self.lose(&error);
            RanksError::Lost(self.trouble.reason().unwrap_or_else(|| error.to_string()))
        })
    }

    /// What the other end says next.
    pub fn hear(&self) -> Result<Told, RanksError> {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match inbox.recv_timeout(PATROL) {
                Ok(told) => return Ok(told),
                Err(RecvTimeoutError::Timeout) => self.trouble.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    self.trouble.check()?;
                    return Err(RanksError::Lost(format!("{} left", self.who)));
                }
            }
        }
    }

    /// Says that this process lives.
    pub fn beat(&self) {
        self.tell(Tag::Beat, &[]);
    }

    /// Says that this process was asked to stop.
    pub fn ask_to_stop(&self) {
        self.tell(Tag::Stop, &[]);
    }

    fn tell(&self, tag: Tag, bytes: &[u8]) {
        if let Err(error) = self.send(tag, bytes) {
            self.lose(&error);
        }
    }

    /// Has the other end leave.
    pub fn dismiss(&self, exit: u8) {
        // Who is gone needs not be told.
        let _ = self.send(Tag::Leave, &[exit]);
    }

    /// Says why this process ends.
    pub fn part(&self, reason: &str) {
        let _ = self.send(Tag::Part, reason.as_bytes());
    }

    /// Says who of the others is lost.
    pub fn pass_on(&self, reason: &str) {
        let _ = self.send(Tag::Lost, reason.as_bytes());
    }

    /// The address of this machine at which the other end reaches it.
    pub fn own_address(&self) -> String {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream
            .local_addr()
            .map_or_else(|_| String::new(), |it| it.ip().to_string())
    }

    /// Loses the other end if it has said nothing for longer than `limit`.
    pub fn check(&self, limit: Duration) {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.elapsed() > limit {
            let silent = limit.as_secs_f64();
            (self.trouble).lose(format!("{} has said nothing for {silent} s", self.who));
        }
    }

    fn lose(&self, error: &io::Error) {
        self.trouble
            .lose(format!("{} cannot be reached: {error}", self.who));
    }

    fn send(&self, tag: Tag, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let mut head = [0; 9];
        head[0] = tag as u8;
        head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        match bytes.len() {
            // One packet.
            0..4096 => stream.write_all(&[&head, bytes].concat()),
            _ => stream
                .write_all(&head)
                .and_then(|()| stream.write_all(bytes)),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let stream = self
            .stream
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // Its listener ends; what was sent arrives.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Reads what the other end says.
struct Listener {
    stream: TcpStream,
    sender: Sender<Told>,
    trouble: Arc<Trouble>,
    heard: Arc<Mutex<Instant>>,
    who: Who,
}

impl Listener {
    fn listen(mut self) {
        loop {
            let (tag, bytes) = match self.read() {
                Ok(message) => message,
                Err(error) => {
                    let how = match error.kind() {
                        io::ErrorKind::UnexpectedEof => "it ended, or was killed".to_owned(),
                        _ => error.to_string(),
                    };
                    return self.trouble.lose(format!("{} is gone: {how}", self.who));
                }
            };
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            let told = match tag {
                Tag::Beat => continue,
                Tag::Stop => {
                    self.trouble.ask_to_stop();
                    continue;
                }
                Tag::Part => {
                    let reason = String::from_utf8_lossy(&bytes);
                    return self.trouble.lose(format!("{} ended: {reason}", self.who));
                }
                Tag::Lost => {
                    return self
                        .trouble
                        .lose(String::from_utf8_lossy(&bytes).into_owned());
                }
                Tag::Leave => {
                    self.trouble.end();
                    let exit = bytes.first().copied().unwrap_or_default();
                    let _ = self.sender.send(Told::Leave(exit));
                    return;
                }
                Tag::Words => Told::Words(bytes),
            };
            // Nobody listens when the process ends.
            if self.sender.send(told).is_err() {
                return;
            }
        }
    }

    fn read(&mut self) -> io::Result<(Tag, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [tag, len @ ..] = head;
        let len = u64::from_le_bytes(len);
        let tag = Tag::of(tag).filter(|_| len <= MOST);
        let tag = tag.ok_or_else(|| io::Error::other("it does not speak this protocol"))?;
        let mut bytes = Vec::new();
        let got = (&mut self.stream).take(len).read_to_end(&mut bytes)?;
        match got as u64 == len {
            true => Ok((tag, bytes)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
