use super::*;

/// A claim of which nobody beats.
fn made(lock: &Path, number: u64, age: Duration) -> Claim {
    let owner = Owner::this(60.0);
    assert!(generation::make(lock, number, &owner).is_ok_and(|it| it));
    Claim {
        lock: lock.to_owned(),
        folder: lock.parent().unwrap().to_owned(),
        state: Mutex::new(State {
            number,
            count: 0,
            last: clock().saturating_sub(age),
            lost_to: None,
            is_lent: false,
        }),
    }
}

fn last(lock: &Path) -> u64 {
    generation::last(lock).unwrap().unwrap().number
}

#[test]
fn who_stood_still_has_to_make_the_next_generation_before_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    let claim = made(&lock, 1, claim_limit() / 4);
    assert!(claim.ask().is_ok());
    assert_eq!(last(&lock), 1);
    claim.state().last = clock().saturating_sub(claim_limit());
    assert!(claim.ask().is_ok());
    assert_eq!((last(&lock), claim.state().number), (2, 2));
    assert!(claim.ask().is_ok());
    assert_eq!(last(&lock), 2);
}

#[test]
fn who_stood_still_while_another_took_over_may_not_write_and_does_not_disturb() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    for by_beat in [false, true] {
        let first = if by_beat { 11 } else { 1 };
        let claim = made(&lock, first, claim_limit());
        // Twice, so that the number that the first one would make is free again.
        for number in [first + 1, first + 2] {
            made(&lock, number, Duration::ZERO);
            generation::tidy(&lock, number);
        }
        if by_beat {
            claim.beat();
        }
        assert!(matches!(claim.ask(), Err(Denied::Lost { .. })), "{by_beat}");
        claim.beat();
        claim.release();
        let left = generation::last(&lock).unwrap().unwrap();
        assert_eq!((left.number, left.is_released), (first + 2, false));
        assert_eq!(left.beat, None);
    }
}

#[test]
fn a_beat_that_finds_a_later_generation_knows_that_the_lock_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    // Neither is late: somebody else was wrong, or the folder was removed by hand.
    let claim = made(&lock, 1, Duration::ZERO);
    made(&lock, 2, Duration::ZERO);
    claim.beat();
    assert!(matches!(claim.ask(), Err(Denied::Lost { .. })));
    let claim = made(&lock, 3, Duration::ZERO);
    fs::remove_dir_all(&lock).unwrap();
    claim.beat();
    assert!(claim.ask().is_ok());
    assert_eq!(last(&lock), 4);
}
