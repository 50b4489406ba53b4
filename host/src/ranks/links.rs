//! The connections of a rank.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::link::{Link, Who};
use super::trouble::Trouble;

/// The connections of a rank: of rank 0 with all others, of these with rank 0.
pub(super) struct Links {
    rank: usize,
    list: Mutex<Vec<Option<Arc<Link>>>>,
    trouble: Arc<Trouble>,
}

impl Links {
    /// None yet, of this rank of `count`.
    pub fn new(rank: usize, count: usize) -> Self {
        let expected = if rank == 0 { count - 1 } else { 1 };
        Self {
            rank,
            list: Mutex::new((0..expected).map(|_| None).collect()),
            trouble: Arc::default(),
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Option<Arc<Link>>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of this rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// What became of the others.
    pub fn trouble(&self) -> &Arc<Trouble> {
        &self.trouble
    }

    /// Adds a connection; false if it cannot be used, or nobody expects it.
    pub fn add(&self, stream: TcpStream, who: Who, limit: Duration) -> bool {
        let at = match self.rank {
            0 => who.rank.wrapping_sub(1),
            _ => 0,
        };
        let mut list = self.list();
        let Some(free @ None) = list.get_mut(at) else {
            return false;
        };
        match Link::new(stream, who, self.trouble.clone(), limit) {
            Ok(link) => {
                *free = Some(Arc::new(link));
                true
            }
            Err(_) => false,
        }
    }

    /// Those that are there.
    pub fn all(&self) -> Vec<Arc<Link>> {
        self.list().iter().flatten().cloned().collect()
    }

    /// Whether all are there.
    pub fn are_complete(&self) -> bool {
        self.list().iter().all(Option::is_some)
    }

    /// Numbers of the ranks that rank 0 lacks.
    pub fn missing(&self) -> Vec<usize> {
        let list = self.list();
        let lacking = (1..).zip(list.iter()).filter(|(_, link)| link.is_none());
        lacking.map(|(rank, _)| rank).collect()
    }

    /// Tells all why this process ends.
    pub fn part(&self, reason: &str) {
        self.trouble.end();
        for link in self.all() {
            link.part(reason);
        }
    }
}
