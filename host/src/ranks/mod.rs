//! Processes that train one network together: how they find each other, agree, exchange numbers, and end together
//! when one of them is lost.
//!
//! Rank 0 leads: it alone reads and writes the run. The others do what it says. Messages and signs of life go over
//! a connection of each with rank 0, tensors over libtorch's c10d with Gloo between all.

mod door;
mod facts;
mod link;
mod links;
mod place;
mod trouble;
mod watch;

use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernels::group::{Group, Store};
use tch::{Device, Kind, Tensor};

pub use door::{Door, LOCAL};
pub use facts::Facts;
use facts::differences;
use link::Link;
pub use link::Told;
use links::Links;
pub use place::{Place, PlaceError};
pub use trouble::Trouble;
pub use watch::LastResort;

/// How long a rank may say nothing, unless somebody asks for another limit.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What goes wrong among ranks.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// A rank is gone, says nothing, or failed.
    #[error(
        "{0}; every rank ends with it. The same command goes on from the last checkpoint, also on another number of ranks"
    )]
    Lost(String),
    /// Not all came.
    #[error("{0}")]
    Join(String),
    /// They are not the same.
    #[error(
        "the ranks are not the same, so that they would not compute the same; nothing was trained:\n{}",
        .0.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    )]
    Differ(Vec<String>),
}

/// This process as one of several that train together.
pub struct Ranks {
    rank: usize,
    count: usize,
    /// To rank 0, or, of rank 0, to all others in their order.
    links: Vec<Arc<Link>>,
    all: Arc<Links>,
    /// It waits for what is under way when it goes, which a lost rank would make for ever; the process ends
    /// with it.
    group: ManuallyDrop<Group>,
    /// The group needs it.
    #[expect(dead_code, reason = "it is held")]
    store: ManuallyDrop<Store>,
    /// Collective calls are made one at a time.
    calls: Mutex<()>,
}

impl Ranks {
    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether this is rank 0.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }

    /// What became of the others.
    pub fn trouble(&self) -> &Arc<Trouble> {
        self.all.trouble()
    }

    /// Says something to all others, of rank 0.
    ///
    /// # Errors
    /// If one is lost.
    pub fn say(&self, bytes: &[u8]) -> Result<(), RanksError> {
        self.links.iter().try_for_each(|link| link.say(bytes))
    }

    /// Says something to rank 0, of the others.
    ///
    /// # Errors
    /// If it is lost.
    pub fn answer(&self, bytes: &[u8]) -> Result<(), RanksError> {
        self.links[0].say(bytes)
    }

    /// What a rank says to rank 0, of rank 0.
    ///
    /// # Errors
    /// If one is lost.
    pub fn answer_of(&self, rank: usize) -> Result<Vec<u8>, RanksError> {
        match self.links[rank - 1].hear()? {
            Told::Words(bytes) => Ok(bytes),
            Told::Leave(_) => Err(RanksError::Lost(format!("rank {rank} left"))),
        }
    }

    /// What rank 0 says, of the others.
    ///
    /// # Errors
    /// If it is lost.
    pub fn hear(&self) -> Result<Told, RanksError> {
        self.links[0].hear()
    }

    /// Has all others leave with this exit code, of rank 0.
    pub fn dismiss(&self, exit: u8) {
        self.all.trouble().end();
        for link in &self.links {
            link.dismiss(exit);
        }
    }

    /// Tells the others why this process ends.
    pub fn fail(&self, reason: &str) {
        self.all.part(reason);
    }

    /// Sends part i of `from` to rank i, and receives its part for this one as part i of `to`.
    ///
    /// # Shapes
    /// Both: `[ranks, ...]`, contiguous on the CPU.
    ///
    /// # Errors
    /// If one is lost.
    pub fn exchange(&self, from: &Tensor, to: &Tensor) -> Result<(), RanksError> {
        let _one = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.group.exchange(from, to, self.all.trouble().given_up());
        done.map_err(|error| self.all.trouble().explain(&error))
    }

    /// Receives what every rank has, one after the other.
    ///
    /// # Shapes
    /// `to`: `[ranks, ...]`, each like `from`, contiguous on the CPU.
    ///
    /// # Errors
    /// If one is lost.
    pub fn gather(&self, from: &Tensor, to: &Tensor) -> Result<(), RanksError> {
        let _one = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.group.gather(from, to, self.all.trouble().given_up());
        done.map_err(|error| self.all.trouble().explain(&error))
    }

    /// The same of numbers.
    ///
    /// # Errors
    /// If one is lost.
    pub fn gather_numbers(&self, own: &[f64]) -> Result<Vec<f64>, RanksError> {
        let from = Tensor::from_slice(own);
        let shape = [self.count as i64, own.len() as i64];
        let all = Tensor::empty(shape, (Kind::Double, Device::Cpu));
        self.gather(&from, &all)?;
        Vec::try_from(all.reshape([-1]))
            .map_err(|error: tch::TchError| RanksError::Lost(error.to_string()))
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        self.all.trouble().end();
    }
}
