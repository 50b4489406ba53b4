//! What the page shows, item by item, each with the version of its last change.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// So many items are remembered to be gone; whoever has not heard of one before gets all anew.
const MOST_GONE: usize = 10_000;

/// Where the files of an item lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Its folder.
    pub folder: PathBuf,
    /// Its seeds.
    pub seeds: Vec<u64>,
    /// The files with what its processes told people.
    pub logs: Vec<PathBuf>,
}

/// What is shown.
#[derive(Default)]
pub struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    version: u64,
    items: BTreeMap<String, Item>,
    gone: VecDeque<(u64, String)>,
    /// Items that went in this version or before are not remembered.
    forgotten: u64,
    /// Nobody looks any more.
    is_closed: bool,
}

struct Item {
    version: u64,
    text: Arc<str>,
    place: Option<Place>,
}

/// What changed since a version.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// The version that they lead to.
    pub version: u64,
    /// Whether all of it is here, and nothing that was known before counts.
    pub whole: bool,
    /// The items that changed, as JSON.
    pub items: Vec<Arc<str>>,
    /// The keys of those that are gone.
    pub gone: Vec<String>,
}

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a thread that failed left here is whole: each change is made at one stroke.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows an item. Nothing changes if it is shown like this already.
    pub fn put(&self, key: &str, item: &impl Serialize, place: Option<Place>) {
        // A map with keys that are no strings is what cannot be written, and there is none.
        let Ok(text) = serde_json::to_string(item) else {
            return;
        };
        let mut inner = self.inner();
        let next = inner.version + 1;
        match inner.items.get_mut(key) {
            Some(known) if *known.text == *text && known.place == place => return,
            Some(known) => {
                known.version = next;
                known.text = text.into();
                known.place = place;
            }
            None => {
                let item = Item {
                    version: next,
                    text: text.into(),
                    place,
                };
                inner.items.insert(key.to_owned(), item);
            }
        }
        inner.version = next;
    }

    /// Shows nothing any more but the items with these keys.
    pub fn keep(&self, is_kept: impl Fn(&str) -> bool) {
        let mut inner = self.inner();
        let gone: Vec<String> = (inner.items.keys())
            .filter(|it| !is_kept(it))
            .cloned()
            .collect();
        for key in gone {
            inner.items.remove(&key);
            inner.version += 1;
            let version = inner.version;
            inner.gone.push_back((version, key));
        }
        while inner.gone.len() > MOST_GONE {
            if let Some((version, _)) = inner.gone.pop_front() {
                inner.forgotten = version;
            }
        }
    }

    /// Where an item's files lie; none if there is no such item, or it has none.
    pub fn place(&self, key: &str) -> Option<Place> {
        self.inner().items.get(key)?.place.clone()
    }

    /// Tells those who wait that something changed.
    pub fn tell(&self) {
        self.changed.notify_all();
    }

    /// Sends away those who wait.
    pub fn close(&self) {
        self.inner().is_closed = true;
        self.tell();
    }

    /// Whether nobody is to wait any more.
    pub fn is_closed(&self) -> bool {
        self.inner().is_closed
    }

    /// What changed since a version, once something has or this time is over. A version that never was gets all.
    pub fn changes(&self, since: u64, patience: Duration) -> Changes {
        let waits = |it: &mut Inner| it.version == since && !it.is_closed;
        let waited = self
            .changed
            .wait_timeout_while(self.inner(), patience, waits);
        let inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        let whole = since == 0 || since > inner.version || since < inner.forgotten;
        let since = if whole { 0 } else { since };
        let items = inner.items.values().filter(|it| it.version > since);
        let gone = inner.gone.iter().filter(|_| !whole);
        Changes {
            version: inner.version,
            whole,
            items: items.map(|it| it.text.clone()).collect(),
            gone: gone
                .filter(|it| it.0 > since && !inner.items.contains_key(&it.1))
                .map(|it| it.1.clone())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(board: &Board, since: u64) -> Changes {
        board.changes(since, Duration::ZERO)
    }

    #[test]
    fn whoever_comes_back_gets_what_changed_and_what_is_gone() {
        let board = Board::default();
        for key in ["a", "b", "c"] {
            board.put(key, &key, None);
        }
        let first = after(&board, 0);
        assert_eq!((first.version, first.whole), (3, true));
        let texts: Vec<&str> = first.items.iter().map(|it| &**it).collect();
        assert_eq!(texts, ["\"a\"", "\"b\"", "\"c\""]);
        board.put("b", &"b", None);
        assert_eq!(
            after(&board, 3),
            Changes {
                version: 3,
                ..Changes::default()
            }
        );
        board.put("b", &"new", None);
        board.keep(|it| it != "c");
        let then = after(&board, 3);
        assert_eq!((then.version, then.whole), (5, false));
        assert_eq!(
            (&*then.items[0], then.gone.as_slice()),
            ("\"new\"", &["c".to_owned()][..])
        );
        // What came back is not gone.
        board.put("c", &"again", None);
        assert!(after(&board, 3).gone.is_empty());
        // A version of another server's.
        assert!(after(&board, 99).whole);
    }

    #[test]
    fn whoever_was_away_for_too_long_gets_all() {
        let board = Board::default();
        board.put("stays", &1, None);
        board.put("goes", &1, None);
        for round in 0..=MOST_GONE {
            board.put("goes", &round, None);
            board.keep(|it| it != "goes");
        }
        assert!(after(&board, 2).whole);
        assert!(!after(&board, 9).whole);
    }

    #[test]
    fn whoever_waits_is_told_of_a_change_and_sent_away_at_the_end() {
        let board = Board::default();
        std::thread::scope(|threads| {
            let waits = threads.spawn(|| board.changes(0, Duration::from_secs(60)));
            board.put("a", &1, None);
            board.tell();
            assert_eq!(waits.join().unwrap().version, 1);
            let waits = threads.spawn(|| board.changes(1, Duration::from_secs(60)));
            board.close();
            assert!(waits.join().unwrap().items.is_empty());
        });
    }
}
