use super::*;

#[test]
fn a_second_taker_is_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/lock");
    let first = Lock::take(&path).unwrap();
    match Lock::take(&path).unwrap_err() {
        LockError::Held { by, .. } => {
            assert_eq!((by.pid, by.host), (std::process::id(), owner::machine()))
        }
        other => panic!("{other}"),
    }
    assert_eq!(
        Lock::holder(&path).map(|by| by.pid),
        Some(std::process::id())
    );
    assert!(Lock::wait(&path, &|| true).unwrap().is_none());
    let patience = Duration::from_millis(60);
    assert!(matches!(
        Lock::take_within(&path, patience),
        Err(LockError::Held { .. })
    ));
    let release = thread::spawn(move || {
        thread::sleep(patience);
        drop(first);
    });
    assert!(Lock::wait(&path, &|| false).unwrap().is_some());
    release.join().unwrap();
    assert_eq!(Lock::holder(&path), None);
    assert!(Lock::take(&path).is_ok());
}

/// A lock of a process on another machine that says nothing any more.
fn foreign(path: &Path, limit: f64) -> Owner {
    let owner = Owner {
        host: "elsewhere".to_owned(),
        pid: 7,
        ..Owner::this(limit)
    };
    assert!(generation::make(path, 1, &owner).is_ok_and(|it| it));
    owner
}

#[test]
fn a_silent_owner_elsewhere_is_taken_over_after_its_limit_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let limit = Duration::from_millis(300);
    let owner = foreign(&path, limit.as_secs_f64());
    assert_eq!(Lock::holder(&path), Some(owner));
    let start = Instant::now();
    let _lock = Lock::take(&path).unwrap();
    assert!(start.elapsed() >= limit);
    assert_eq!(
        Lock::holder(&path).map(|by| by.pid),
        Some(std::process::id())
    );
}

#[test]
fn an_owner_elsewhere_that_is_at_work_is_named_as_soon_as_it_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    foreign(&path, 1e6);
    let beats = path.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let beating = thread::spawn(move || {
        for count in 1.. {
            generation::beat(&beats, 1, count).unwrap();
            if stopped.recv_timeout(PATROL) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    assert!(matches!(Lock::take(&path), Err(LockError::Held { by, .. }) if by.pid == 7));
    drop(stop);
    beating.join().unwrap();
}

#[test]
fn a_lock_file_of_an_earlier_version_counts_while_a_process_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    fs::write(&path, r#"{"pid":7,"host":"here"}"#).unwrap();
    let file = File::open(&path).unwrap();
    file.try_lock().unwrap();
    assert!(matches!(Lock::take(&path), Err(LockError::Held { by, .. }) if by.pid == 7));
    drop(file);
    assert!(Lock::take(&path).is_ok());
    assert!(path.is_dir());
}
