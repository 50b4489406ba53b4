//! How ranks find each other, and agree that they are the same.

use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kernels::group::{Group, Reached, Store};
use serde::{Deserialize, Serialize};

use super::link::{Link, Told, Who};
use super::links::Links;
use super::watch::{LastResort, watch};
use super::{Facts, Place, Ranks, RanksError, differences};
use crate::interrupt::Interrupt;
use crate::memory;

/// Within this time all ranks have to come.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a connection may take to say who it is.
const GREETING: Duration = Duration::from_secs(20);
/// How often to look whether somebody came.
const PATROL: Duration = Duration::from_millis(20);
/// An exchange may take as long as anybody computes: who is lost is noticed by what it no longer says.
const CALL: Duration = Duration::from_secs(7 * 24 * 3600);
/// The environment's variable by which ranks of one machine exchange as those of several do.
const SHARED_MEMORY: &str = "REWIND_SHARED_MEMORY";
/// Bytes that a greeting may have.
const MOST: usize = 4096;
/// The address of ranks that one process starts on its own machine.
pub const LOCAL: &str = "127.0.0.1";

/// What a rank says of itself as it comes.
#[derive(Serialize, Deserialize)]
struct Greeting {
    attempt: String,
    who: Who,
}

/// Where the ranks meet, before they know that they are the same.
pub struct Door {
    place: Place,
    store: Store,
    links: Arc<Links>,
}

impl Door {
    /// Rank 0 opens it, and the others come in. From now on a rank that says nothing for longer than `limit` is lost;
    /// one that does not end when another is lost comes to its last resort. Whoever is asked to stop asks rank 0.
    ///
    /// # Errors
    /// If the port is in use, or rank 0 does not come.
    pub fn open(
        place: Place,
        limit: Duration,
        interrupt: &Interrupt,
        last_resort: LastResort,
    ) -> Result<Self, RanksError> {
        let serves = place.rank == 0 && place.serves;
        let patience = if serves { limit } else { PATIENCE };
        let store = Store::open(&place.address, place.port, serves, patience);
        let (store, port) = store.map_err(|error| {
            let at = format!("{}:{}", place.address, place.port);
            RanksError::Join(match serves {
                true => format!(
                    "rank 0 cannot open {at}, where the others look for it: {error}; choose another port with \
                     MASTER_PORT"
                ),
                false => format!("rank {} does not find rank 0 at {at}: {error}", place.rank),
            })
        })?;
        let door = Self {
            links: Arc::new(Links::new(place.rank, place.count)),
            place: Place { port, ..place },
            store,
        };
        match door.place.rank {
            0 => door.listen(limit)?,
            _ => door.knock(limit)?,
        }
        let watched = (door.links.clone(), interrupt.clone());
        watch(watched, limit, last_resort)
            .map_err(|error| RanksError::Join(format!("a thread cannot be started: {error}")))?;
        Ok(door)
    }

    /// Where it is, with the port that the system chose.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What has nobody missed from now on, and nobody heard who asks to stop: to be called before the others are ended.
    pub fn ending(&self) -> impl Fn() + use<> {
        let trouble = self.links.trouble().clone();
        move || trouble.end()
    }

    /// Tells the others why this process will not come.
    pub fn fail(&self, reason: &str) {
        self.links.part(reason);
    }

    fn key(&self) -> String {
        format!("rewind/{}/door", self.place.attempt)
    }

    /// Lets the others in, in the background.
    fn listen(&self, limit: Duration) -> Result<(), RanksError> {
        let failed = |error: &dyn std::fmt::Display| {
            RanksError::Join(format!("rank 0 cannot listen to the others: {error}"))
        };
        let address = match self.place.address.as_str() {
            LOCAL => LOCAL,
            _ => "0.0.0.0",
        };
        let listener = TcpListener::bind((address, 0)).map_err(|error| failed(&error))?;
        listener
            .set_nonblocking(true)
            .map_err(|error| failed(&error))?;
        let port = listener.local_addr().map_err(|error| failed(&error))?;
        let sign = serde_json::to_string(&(port.port(), Who::this(0)));
        let sign = sign.map_err(|error| failed(&error))?;
        let (links, attempt) = (self.links.clone(), self.place.attempt.clone());
        let accept = move || {
            while !links.are_complete() && !links.trouble().is_over() {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(PATROL);
                    continue;
                };
                // Whoever does not speak like a rank is none.
                if let Some((stream, who)) = welcome(stream, &attempt) {
                    links.add(stream, who, limit);
                }
            }
        };
        let builder = thread::Builder::new().name("ranks".to_owned());
        builder.spawn(accept).map_err(|error| failed(&error))?;
        (self.store.set(&self.key(), &sign)).map_err(|error| failed(&error))
    }

    /// Goes to rank 0.
    fn knock(&self, limit: Duration) -> Result<(), RanksError> {
        let Place { rank, address, .. } = &self.place;
        let failed = |error: &dyn std::fmt::Display| {
            RanksError::Join(format!(
                "rank {rank} cannot reach rank 0 on {address}: {error}"
            ))
        };
        let sign = self
            .store
            .get(&self.key())
            .map_err(|error| failed(&error))?;
        let sign = serde_json::from_str(&sign);
        let (port, leader): (u16, Who) = sign.map_err(|error| failed(&error))?;
        let stream = TcpStream::connect((address.as_str(), port));
        let mut stream = stream.map_err(|error| failed(&error))?;
        let greeting = Greeting {
            attempt: self.place.attempt.clone(),
            who: Who::this(*rank),
        };
        let words = serde_json::to_vec(&greeting).map_err(|error| failed(&error))?;
        let len = (words.len() as u32).to_le_bytes();
        (stream.write_all(&[&len, &words[..]].concat())).map_err(|error| failed(&error))?;
        match self.links.add(stream, leader, limit) {
            true => Ok(()),
            false => Err(failed(&"the connection cannot be used")),
        }
    }

    /// The ranks, once all have come with the same facts. `early` says why one of them will not come.
    ///
    /// # Errors
    /// Who does not come, or every difference.
    pub fn meet(
        self,
        facts: &Facts,
        early: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Ranks, RanksError> {
        let links = self.wait(early)?;
        let (rank, count) = (self.place.rank, self.place.count);
        match rank {
            0 => self.compare(&links, facts)?,
            _ => self.present(&links[0], facts)?,
        }
        let host = links[0].own_address();
        let interface = std::env::var("GLOO_SOCKET_IFNAME").unwrap_or_default();
        let reached = match interface.as_str() {
            "" => Reached::Host(&host),
            interface => Reached::Interface(interface),
        };
        let name = format!("rewind/{}/gloo", self.place.attempt);
        let with_memory = std::env::var_os(SHARED_MEMORY).is_none_or(|it| it != "0");
        let group = Group::open(
            &self.store,
            &name,
            (rank, count),
            reached,
            CALL,
            with_memory,
        );
        let group = group.map_err(|error| {
            if let Some(reason) = self.links.trouble().reason() {
                return RanksError::Lost(reason);
            }
            let advice = match memory::shortage(&error.to_string()).is_some() {
                true => {
                    "this process gets no more memory, or no more threads: raise its limits (ulimit -v and -u; a job's \
                     --mem)"
                }
                false => "GLOO_SOCKET_IFNAME names the network interface to use",
            };
            let reason = format!(
                "rank {rank} cannot exchange tensors with the others from {host}: {error}; {advice}"
            );
            self.links.part(&reason);
            RanksError::Join(reason)
        })?;
        Ok(Ranks {
            rank,
            count,
            links,
            all: self.links,
            group: ManuallyDrop::new(group),
            store: ManuallyDrop::new(self.store),
            calls: Mutex::new(()),
        })
    }

    /// The connections, once all are there.
    fn wait(
        &self,
        early: &mut dyn FnMut() -> Option<String>,
    ) -> Result<Vec<Arc<Link>>, RanksError> {
        let since = Instant::now();
        while !self.links.are_complete() {
            if let Some(reason) = early() {
                return Err(RanksError::Join(reason));
            }
            self.links.trouble().check()?;
            if since.elapsed() > PATIENCE {
                let missing: Vec<String> = (self.links.missing().iter())
                    .map(usize::to_string)
                    .collect();
                return Err(RanksError::Join(format!(
                    "of {} ranks these did not come within {} s: {}",
                    self.place.count,
                    PATIENCE.as_secs(),
                    missing.join(", ")
                )));
            }
            thread::sleep(PATROL);
        }
        Ok(self.links.all())
    }

    /// Compares everybody's facts with those of rank 0.
    fn compare(&self, links: &[Arc<Link>], own: &Facts) -> Result<(), RanksError> {
        let mut others = Vec::new();
        for link in links {
            let Told::Words(words) = link.hear()? else {
                return Err(RanksError::Join(format!("{} left", link.who)));
            };
            let facts = serde_json::from_slice(&words);
            let facts = facts.map_err(|error| RanksError::Join(format!("{}: {error}", link.who)));
            others.push((link.who.to_string(), facts?));
        }
        let this = Who::this(0).to_string();
        let found = differences((&this, own), &others);
        let verdict = serde_json::to_vec(&found).unwrap_or_default();
        for link in links {
            link.say(&verdict)?;
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(RanksError::Differ(found)),
        }
    }

    /// Shows rank 0 the facts of this process.
    fn present(&self, link: &Link, own: &Facts) -> Result<(), RanksError> {
        link.say(&serde_json::to_vec(own).unwrap_or_default())?;
        let Told::Words(verdict) = link.hear()? else {
            return Err(RanksError::Join("rank 0 ended".to_owned()));
        };
        let found: Vec<String> = serde_json::from_slice(&verdict).unwrap_or_default();
        match found.is_empty() {
            true => Ok(()),
            false => Err(RanksError::Differ(found)),
        }
    }
}

/// Who comes, if it is a rank of this start.
fn welcome(mut stream: TcpStream, attempt: &str) -> Option<(TcpStream, Who)> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(GREETING)).ok()?;
    let mut len = [0; 4];
    stream.read_exact(&mut len).ok()?;
    let len = Some(u32::from_le_bytes(len) as usize);
    let mut words = vec![0; len.filter(|len| *len <= MOST)?];
    stream.read_exact(&mut words).ok()?;
    let greeting: Greeting = serde_json::from_slice(&words).ok()?;
    (greeting.attempt == attempt).then_some((stream, greeting.who))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rank 0 and rank 1 of two, with what asks each of them to stop.
    fn pair() -> [(Door, Interrupt); 2] {
        let open = |rank, port| {
            let place = Place {
                rank,
                count: 2,
                address: LOCAL.to_owned(),
                port,
                serves: rank == 0,
                attempt: String::new(),
            };
            let interrupt = Interrupt::default();
            let limit = Duration::from_secs(30);
            let door = Door::open(place, limit, &interrupt, Box::new(|_| {})).unwrap();
            (door, interrupt)
        };
        let first = open(0, 0);
        let second = open(1, first.0.place().port);
        let since = Instant::now();
        while !first.0.links.are_complete() {
            assert!(since.elapsed() < Duration::from_secs(20));
            thread::sleep(PATROL);
        }
        [first, second]
    }

    #[test]
    fn a_rank_that_ends_heeds_no_other_that_asks_to_stop() {
        let [(ends, ended), (_other, asks)] = pair();
        let [(_heeds, heeded), (_another, also_asks)] = pair();
        ends.ending()();
        asks.stop();
        also_asks.stop();
        let since = Instant::now();
        while !heeded.wants_stop() {
            assert!(since.elapsed() < Duration::from_secs(20));
            thread::sleep(PATROL);
        }
        thread::sleep(Duration::from_secs(1));
        assert!(!ended.wants_stop());
    }
}
