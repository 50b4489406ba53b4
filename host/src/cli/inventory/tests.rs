use std::time::Duration;

use super::clean::choose;
use super::*;
use crate::cli::args::CleanArgs;

const HOUR: f64 = 3600.0;

fn entry(name: &str, kind: Kind, state: State, hours: f64, uses: &[&str]) -> Entry {
    Entry {
        name: name.to_owned(),
        kind,
        state,
        levels_done: 1,
        levels: Some(1),
        bytes: 100,
        seconds_since: Some(hours * HOUR),
        identity: None,
        uses: uses.iter().map(|&it| it.to_owned()).collect(),
        used_by: Vec::new(),
        note: "process 7 on here".to_owned(),
    }
}

/// A sweep of two runs, a run that takes masks from one that stands alone, and runs of one name.
fn shelf() -> Inventory {
    let (done, stopped) = (State::Done, State::Stopped);
    let entries = vec![
        entry("dense-00000000", Kind::Dense, done, 50.0, &[]),
        entry("dense-11111111", Kind::Dense, done, 50.0, &[]),
        entry("dense-22222222", Kind::Dense, done, 50.0, &[]),
        entry("imp-00000000", Kind::Run, done, 40.0, &["dense-00000000"]),
        entry("imp-11111111", Kind::Run, done, 20.0, &["dense-00000000"]),
        entry(
            "lrr-00000000",
            Kind::Run,
            stopped,
            30.0,
            &["dense-11111111"],
        ),
        entry("lrr-11111111", Kind::Run, done, 10.0, &["dense-00000000"]),
        entry("swap-00000000", Kind::Run, done, 5.0, &["imp-00000000"]),
        entry(
            "both",
            Kind::Sweep,
            done,
            10.0,
            &["imp-11111111", "lrr-11111111"],
        ),
        entry(
            "busy-00000000",
            Kind::Run,
            State::Running,
            90.0,
            &["dense-00000000"],
        ),
    ];
    let mut inventory = Inventory {
        entries,
        bytes: 0,
        remains: Vec::new(),
    };
    inventory.link();
    inventory
}

fn args(change: impl FnOnce(&mut CleanArgs)) -> CleanArgs {
    let mut args = CleanArgs {
        names: Vec::new(),
        unfinished: false,
        superseded: false,
        unused: false,
        older_than: None,
        yes: false,
        runs: PathBuf::new(),
    };
    change(&mut args);
    args
}

/// Names of what goes, and of what stays although it was asked for, with the reason.
fn chosen(args: &CleanArgs) -> (Vec<String>, Vec<String>) {
    let inventory = shelf();
    let choice = choose(args, &inventory.entries);
    let name = |place: usize| inventory.entries[place].name.clone();
    let kept = choice.kept.iter();
    (
        choice.gone.iter().map(|&it| name(it)).collect(),
        kept.map(|(place, why)| format!("{}: {why}", name(*place)))
            .collect(),
    )
}

#[test]
fn what_needs_what_is_known_both_ways() {
    let inventory = shelf();
    let of = |name: &str| inventory.entries.iter().find(|it| it.name == name).unwrap();
    assert_eq!(of("imp-00000000").used_by, ["swap-00000000"]);
    assert_eq!(of("lrr-11111111").used_by, ["both"]);
    assert_eq!(of("dense-00000000").used_by.len(), 4);
    assert!(of("dense-22222222").used_by.is_empty());
}

#[test]
fn an_identity_in_an_experiment_is_a_run_that_it_needs() {
    let other = "ab".repeat(32);
    let canonical = serde_json::json!({
        "strategy": { "mask": { "run": format!("{other}#2ep") }, "score": ["imp/magnitude", "ab"] },
        "data_checksum": "not hexadecimal".repeat(5),
    });
    assert_eq!(identities_in(&canonical), [other.as_str()]);
    let mut entries = vec![
        entry("a-0", Kind::Run, State::Done, 1.0, &[]),
        entry(
            "b-0",
            Kind::Run,
            State::Done,
            1.0,
            &[other.as_str(), "gone-0"],
        ),
    ];
    entries[0].identity = Some(other);
    let mut inventory = Inventory {
        entries,
        bytes: 0,
        remains: Vec::new(),
    };
    inventory.link();
    assert_eq!(inventory.entries[1].uses, ["a-0"]);
    assert_eq!(inventory.entries[0].used_by, ["b-0"]);
}

#[test]
fn unfinished_runs_go_and_their_dense_level_when_nothing_else_needs_it() {
    let (gone, kept) = chosen(&args(|it| it.unfinished = true));
    assert_eq!((gone, kept), (vec!["lrr-00000000".to_owned()], vec![]));
    let both = args(|it| (it.unfinished, it.unused) = (true, true));
    assert_eq!(
        chosen(&both).0,
        ["dense-11111111", "dense-22222222", "lrr-00000000"]
    );
    let unused = args(|it| it.unused = true);
    assert_eq!(chosen(&unused).0, ["dense-22222222"]);
    let not_yet =
        args(|it| (it.unfinished, it.older_than) = (true, Some(Duration::from_secs(31 * 3600))));
    assert!(chosen(&not_yet).0.is_empty());
}

#[test]
fn a_superseded_run_stays_while_another_one_or_a_sweep_needs_it() {
    // The older run of `imp` is another one's source, the newer one of a sweep.
    assert_eq!(chosen(&args(|it| it.superseded = true)).0, ["lrr-00000000"]);
}

#[test]
fn what_is_old_goes_but_not_what_something_younger_needs_nor_what_runs() {
    let old = args(|it| it.older_than = Some(Duration::from_secs(15 * 3600)));
    let (gone, kept) = chosen(&old);
    assert_eq!(gone, ["lrr-00000000"]);
    assert_eq!(
        kept,
        [
            "busy-00000000: it is in use by process 7 on here",
            "imp-00000000: swap-00000000 needs it",
            "imp-11111111: both needs it",
        ]
    );
    // Dense levels are asked for by an option of their own, also where they are old.
    let all = chosen(&args(|it| it.older_than = Some(Duration::ZERO))).0;
    assert_eq!(all.len(), 6, "{all:?}");
    let unused = args(|it| (it.older_than, it.unused) = (Some(Duration::ZERO), true));
    assert_eq!(chosen(&unused).0, ["dense-22222222"]);
}

#[test]
fn a_name_is_removed_unless_it_is_needed() {
    let named = |name: &str| args(|it| it.names.push(name.to_owned()));
    assert_eq!(chosen(&named("swap-00000000")).0, ["swap-00000000"]);
    assert!(chosen(&named("dense-00000000")).0.is_empty());
    let both = args(|it| it.names = vec!["swap-00000000".into(), "imp-00000000".into()]);
    assert_eq!(chosen(&both).0, ["imp-00000000", "swap-00000000"]);
}
