//! A lock on disk: a folder of generations, of which the last one counts.
//!
//! ```text
//! lock/000007/owner.json   who made it; never written again
//! lock/000007/beat         a number that changes while that process is at work
//! lock/000007/released     there once the lock was given back
//! ```
//!
//! What decides who makes a generation is the file system's `rename` of a folder, which a folder that is
//! not empty refuses: it is atomic on local and on network file systems, where `flock` may exclude
//! nobody. A folder that were made empty, by `mkdir`, would belong to nobody for a moment, and for good
//! if its maker died then. The number says which of two owners is the later one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::owner::Owner;
use crate::plain_file;

const OWNER: &str = "owner.json";
const BEAT: &str = "beat";
const RELEASED: &str = "released";

/// Bytes of the largest of these files that is read: somebody else may have put it there.
const MOST: u64 = 1 << 16;

/// What the file system refused.
pub(in crate::store) struct Refused {
    pub path: PathBuf,
    pub bytes: usize,
    pub source: io::Error,
}

/// The last generation, as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Generation {
    pub number: u64,
    pub owner: Owner,
    pub beat: Option<Vec<u8>>,
    pub is_released: bool,
}

/// The last generation of a lock; none if nobody ever had it.
///
/// # Errors
/// If the folder is there and cannot be read.
pub(super) fn last(lock: &Path) -> io::Result<Option<Generation>> {
    loop {
        let Some(number) = last_number(lock)? else {
            return Ok(None);
        };
        let folder = folder(lock, number);
        let is_released = folder.join(RELEASED).exists();
        let owner = plain_file::read(&folder.join(OWNER), MOST);
        if is_gone(&owner) && !folder.exists() {
            // Whoever made a later one removed it just now.
            continue;
        }
        let owner = owner.ok().and_then(|it| serde_json::from_slice(&it).ok());
        return Ok(Some(Generation {
            number,
            owner: owner.unwrap_or_else(Owner::unknown),
            beat: plain_file::read(&folder.join(BEAT), MOST).ok(),
            is_released,
        }));
    }
}

/// Makes a generation; false if somebody else did.
///
/// # Errors
/// What the file system refused.
pub(super) fn make(lock: &Path, number: u64, owner: &Owner) -> Result<bool, Refused> {
    let text = serde_json::to_vec(owner).unwrap_or_default();
    let refused = |path: &Path| {
        let (path, bytes) = (path.to_owned(), text.len());
        move |source| Refused {
            path,
            bytes,
            source,
        }
    };
    fs::create_dir_all(lock).map_err(refused(lock))?;
    let name = blake3::hash(&text).to_hex();
    let prepared = lock.join(format!("new-{}", &name[..16]));
    let made = prepare(&prepared, &text);
    if let Err((path, error)) = made {
        let _ = fs::remove_dir_all(&prepared);
        return match error.kind() {
            // Whoever made a later one removes what is left over.
            ErrorKind::NotFound => Ok(false),
            _ => Err(refused(&path)(error)),
        };
    }
    // What this machine had seen of the folder may have been old; a change of its own brings the news.
    let newest = |lock| last_number(lock).map_err(refused(lock));
    if newest(lock)?.is_some_and(|last| last >= number) {
        let _ = fs::remove_dir_all(&prepared);
        return Ok(false);
    }
    let target = folder(lock, number);
    if let Err(error) = fs::rename(&prepared, &target) {
        let _ = fs::remove_dir_all(&prepared);
        // A server may have done it and its answer may be lost, so that it is asked twice.
        let own = plain_file::read(&target.join(OWNER), MOST);
        let is_own = own.is_ok_and(|it| it == text);
        let is_made = matches!(
            error.kind(),
            ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound
        );
        match (is_own, is_made) {
            (true, _) => {}
            (false, true) => return Ok(false),
            (false, false) => return Err(refused(&target)(error)),
        }
    }
    // A generation that was made, given back and removed since can be made again: later ones count.
    if newest(lock)?.is_some_and(|last| last > number) {
        let _ = fs::remove_dir_all(&target);
        return Ok(false);
    }
    Ok(true)
}

fn prepare(folder: &Path, text: &[u8]) -> Result<(), (PathBuf, io::Error)> {
    fs::create_dir(folder).map_err(|error| (folder.to_owned(), error))?;
    let path = folder.join(OWNER);
    let written = File::create(&path).and_then(|mut file| file.write_all(text));
    written.map_err(|error| (path, error))
}

/// Removes all that is not this generation, of which its maker has need no more.
pub(super) fn tidy(lock: &Path, number: u64) {
    for entry in fs::read_dir(lock).into_iter().flatten().flatten() {
        if number_of(&entry).is_none_or(|it| it < number) {
            // What is left over is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Says that the maker of a generation is at work; false if there is a later one.
///
/// # Errors
/// If it cannot be said, because the generation was removed or the file system refuses.
pub(super) fn beat(lock: &Path, number: u64, count: u64) -> io::Result<bool> {
    let path = folder(lock, number).join(BEAT);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    // Always of one length, so that it is written over. Half of it is another number, too.
    file.write_all(format!("{count:020}\n").as_bytes())?;
    // A network file system says only now whether it was written.
    file.sync_data()?;
    Ok(!folder(lock, number + 1).exists())
}

/// Time between the making of the last generation and its last beat, as the file system noted them.
///
/// # Errors
/// If either cannot be read.
pub(super) fn age(lock: &Path) -> io::Result<Option<Duration>> {
    let Some(number) = last_number(lock)? else {
        return Ok(None);
    };
    let folder = folder(lock, number);
    let [made, beaten] = [OWNER, BEAT].map(|file| fs::metadata(folder.join(file))?.modified());
    Ok(beaten?.duration_since(made?).ok())
}

/// Gives a generation back.
///
/// # Errors
/// If that cannot be written.
pub(super) fn release(lock: &Path, number: u64) -> io::Result<()> {
    File::create(folder(lock, number).join(RELEASED)).map(|_| ())
}

fn folder(lock: &Path, number: u64) -> PathBuf {
    lock.join(format!("{number:06}"))
}

fn last_number(lock: &Path) -> io::Result<Option<u64>> {
    match fs::read_dir(lock) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(entries) => Ok(entries.flatten().filter_map(|it| number_of(&it)).max()),
    }
}

fn number_of(entry: &fs::DirEntry) -> Option<u64> {
    let name = entry.file_name();
    let number: u64 = name.to_str()?.parse().ok()?;
    // No count comes to more, and another way to write one is nobody's generation.
    let is_own = number < u64::from(u32::MAX) && *name == *format!("{number:06}");
    is_own.then_some(number)
}

fn is_gone<T>(read: &io::Result<T>) -> bool {
    matches!(read, Err(error) if error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_of(lock: &Path) -> Generation {
        last(lock).unwrap().unwrap()
    }

    fn make_one(lock: &Path, number: u64, owner: &Owner) -> bool {
        make(lock, number, owner)
            .unwrap_or_else(|it| panic!("{}: {}", it.path.display(), it.source))
    }

    #[test]
    fn of_many_who_make_one_generation_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("run/lock");
        for number in 1..20 {
            let owners: Vec<Owner> = (0..8).map(|_| Owner::this(60.0)).collect();
            let made: Vec<bool> = std::thread::scope(|scope| {
                let makers = owners
                    .iter()
                    .map(|owner| scope.spawn(|| make_one(&lock, number, owner)));
                let makers: Vec<_> = makers.collect();
                makers.into_iter().map(|it| it.join().unwrap()).collect()
            });
            assert_eq!(made.iter().filter(|it| **it).count(), 1, "{number}");
            let maker = made.iter().position(|it| *it).unwrap();
            assert_eq!(last_of(&lock).owner, owners[maker]);
            tidy(&lock, number);
            assert_eq!(fs::read_dir(&lock).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_generation_that_was_removed_is_not_made_again_by_whoever_comes_late() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        let [early, late] = [(); 2].map(|()| Owner::this(60.0));
        assert!(make_one(&lock, 1, &early) && make_one(&lock, 2, &early));
        assert!(make_one(&lock, 3, &early));
        tidy(&lock, 3);
        assert!(!make_one(&lock, 2, &late));
        assert_eq!((last_of(&lock).number, last_of(&lock).owner), (3, early));
        assert_eq!(fs::read_dir(&lock).unwrap().count(), 1);
    }

    #[test]
    fn a_beat_changes_what_others_see_and_tells_of_a_later_generation() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        let owner = Owner::this(60.0);
        make_one(&lock, 1, &owner);
        assert_eq!(last_of(&lock).beat, None);
        let mut seen = Vec::new();
        for count in 1..4 {
            assert!(beat(&lock, 1, count).unwrap());
            seen.push(last_of(&lock).beat);
        }
        seen.dedup();
        assert_eq!(seen.len(), 3);
        make_one(&lock, 2, &owner);
        assert!(!beat(&lock, 1, 4).unwrap());
        tidy(&lock, 2);
        assert!(beat(&lock, 1, 5).is_err());
        release(&lock, 2).unwrap();
        assert!(last_of(&lock).is_released);
    }

    #[test]
    fn what_is_no_generation_does_not_count_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        for name in ["7", "+00008", "18446744073709551615", "9999999999", "new"] {
            fs::create_dir_all(lock.join(name)).unwrap();
        }
        assert_eq!(last(&lock).unwrap(), None);
        assert!(make_one(&lock, 1, &Owner::this(60.0)));
        tidy(&lock, 1);
        assert_eq!(fs::read_dir(&lock).unwrap().count(), 1);
    }

    #[test]
    fn an_owner_that_cannot_be_read_is_nobody_that_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        make_one(&lock, 1, &Owner::this(60.0));
        fs::write(lock.join("000001").join(OWNER), "{\"pid\": 7").unwrap();
        assert_eq!(last_of(&lock).owner, Owner::unknown());
    }
}
