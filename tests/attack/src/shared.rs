//! Folders that the tests of one process share.

use std::fs;
use std::path::{Path, PathBuf};

/// An empty folder of this process in `place`, for what a static holds: that is never dropped, and a temporary
/// folder would stay. Those of processes that are gone are removed; of the same tests in another terminal,
/// they are in use.
///
/// # Panics
/// If it cannot be made.
pub fn folder(place: &Path, name: &str) -> PathBuf {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let owner = file.to_str().and_then(|it| it.strip_prefix(name));
        let owner = owner.and_then(|it| it.strip_prefix('-')?.parse::<u32>().ok());
        let is_gone = |id: u32| {
            Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{id}")).exists()
        };
        if owner.is_some_and(|id| id == std::process::id() || is_gone(id)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let own = place.join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&own).expect("a folder can be made there");
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_use_stays_and_what_nobody_does_is_removed() {
        let place = tempfile::tempdir().unwrap();
        // No process has the first number, and the first process is always there.
        let [gone, used, other] =
            ["runs-4294967295", "runs-1", "runs-of-mine"].map(|it| place.path().join(it));
        for folder in [&gone, &used, &other] {
            fs::create_dir(folder).unwrap();
        }
        let own = folder(place.path(), "runs");
        fs::write(own.join("file"), "").unwrap();
        assert_eq!(own, folder(place.path(), "runs"));
        assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
        assert!(used.exists() && other.exists());
        assert_eq!(gone.exists(), !Path::new("/proc/self").exists());
    }
}
