//! A disk that is full, broken or read-only ends the run with what could not be written, and costs
//! nothing: when it is mended, the same command comes to the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use attack::experiments::Experiment;
use attack::faults::{Call, Fault, When, calls, log, strike};
use attack::process::run;
use attack::shared::folder;
use attack::tree::{differences, leftovers};

/// How many calls of a run fail: `ATTACK_FAULTS`, else a few.
fn faults() -> usize {
    let asked = std::env::var("ATTACK_FAULTS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Everything a run does, in little.
fn tiny() -> Experiment {
    Experiment::new("sign-perturbation", 2).with(&[
        "train.batch_size=2000",
        "prune.levels=2",
        "model.hidden=[8]",
    ])
}

/// The runs' folder of an uninterrupted run, and its calls.
fn uninterrupted() -> &'static (PathBuf, Vec<Call>) {
    static WHOLE: OnceLock<(PathBuf, Vec<Call>)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let folder = folder(Path::new(env!("CARGO_TARGET_TMPDIR")), "attack-whole");
        let (runs, file) = (folder.join("runs"), folder.join("calls"));
        let mut command = tiny().command(&runs);
        log(&mut command, &runs, &file);
        run(&mut command).expect(0);
        (runs, calls(&file))
    })
}

/// What the user has to be told of a call that failed.
fn is_told(said: &str, call: &Call) -> bool {
    let path = call.path.to_string_lossy();
    // Under a lock the process's mark stands before that.
    let path =
        (path.strip_suffix(".tmp")).map_or(&*path, |it| it.rsplit_once('.').map_or(it, |it| it.0));
    // A folder is made, and a folder is synced, for the sake of a file; and removed with its files.
    let of_a_file = said.contains(path);
    let folder = call.path.parent().map(Path::to_string_lossy);
    let of_its_folder = folder.is_some_and(|it| said.contains(&format!("failed to remove {it}: ")));
    let what = ["failed to write ", "failed to remove "];
    let is_said = of_a_file && what.iter().any(|what| said.contains(what));
    (is_said || call.kind == "unlink" && of_its_folder) && said.contains("the same command")
}

fn has_bytes(said: &str) -> bool {
    said.contains(" bytes)")
}

fn fails_and_goes_on(action: &'static str, lasts: bool, when: When) {
    let folder = tempfile::tempdir().unwrap();
    let experiment = tiny();
    let (whole, all) = uninterrupted();
    let room = ["open", "write", "mkdir", "link"];
    let no_room = ["ENOSPC", "EDQUOT"].contains(&action);
    let kinds = match (when, no_room) {
        (When::Half, _) => "write",
        (_, true) => "open,write,mkdir,link",
        (_, false) => "",
    };
    let counted = all.iter().filter(|call| {
        let kind = call.kind.as_str();
        match when {
            When::Half => kind == "write",
            _ => !no_room || room.contains(&kind),
        }
    });
    let count = counted.count();
    let wanted = faults().min(count);
    for place in 0..wanted {
        let at = 1 + place * (count - 1) / (wanted - 1).max(1);
        let runs = folder.path().join(format!("{action}-{at}"));
        let report = folder.path().join(format!("{action}-{at}.report"));
        let fault = Fault {
            root: runs.clone(),
            kinds,
            at: at as u64,
            when,
            action,
            lasts,
        };
        let mut command = experiment.command(&runs);
        strike(&mut command, &fault, &report);
        let ended = run(&mut command);
        let call = calls(&report).pop();
        let call = call.unwrap_or_else(|| panic!("call {at} of {count} was not made"));
        let said = &ended.stderr;
        assert!(!said.contains("bug of the program"), "{call:?}\n{said}");
        match ended.status.code() {
            Some(5) => {
                assert!(is_told(said, &call) || lasts, "{call:?}\n{said}");
                assert!(
                    has_bytes(said) || said.contains("failed to remove"),
                    "{call:?}\n{said}"
                );
            }
            // TensorBoard shows what is stored elsewhere, an old checkpoint is only in the way, and
            // what cannot be linked is copied.
            Some(0) => assert!(may_fail(&call), "{call:?}\n{said}"),
            other => panic!("{other:?} at {call:?}\n{said}"),
        }
        run(&mut experiment.command(&runs)).expect(0);
        let different = differences(whole, &runs);
        assert!(different.is_empty(), "{call:?}: {different:#?}");
        assert_eq!(leftovers(&runs), Vec::<PathBuf>::new(), "{call:?}");
        fs::remove_dir_all(&runs).unwrap();
    }
}

fn may_fail(call: &Call) -> bool {
    let path = call.path.to_string_lossy();
    path.contains("/tensorboard")
        || (call.kind == "unlink" && path.contains("/progress/"))
        || call.kind == "link"
        // What is left over of a lock is in nobody's way, and whoever does not give it back is gone.
        || path.contains("/lock/") && (call.kind == "unlink" || path.ends_with("/released"))
}

#[test]
fn a_disk_that_is_full_from_some_call_on_names_path_and_bytes_and_costs_nothing() {
    fails_and_goes_on("ENOSPC", true, When::Before);
}

#[test]
fn a_disk_that_fills_half_way_through_a_write_names_path_and_bytes_and_costs_nothing() {
    fails_and_goes_on("ENOSPC", true, When::Half);
}

#[test]
fn a_quota_that_is_used_up_for_one_call_costs_nothing() {
    fails_and_goes_on("EDQUOT", false, When::Before);
}

#[test]
fn a_disk_that_breaks_is_named_and_costs_nothing() {
    fails_and_goes_on("EIO", true, When::Before);
}

#[test]
fn a_call_that_fails_once_is_named_and_costs_nothing() {
    fails_and_goes_on("EIO", false, When::Before);
}

#[test]
fn a_file_system_that_becomes_read_only_is_named_and_costs_nothing() {
    fails_and_goes_on("EROFS", true, When::Before);
}

#[test]
fn a_full_disk_under_tensorboards_file_leaves_a_beginning_that_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = tiny();
    let (whole, _) = uninterrupted();
    let runs = folder.path().join("runs");
    let named = |path: &Path| {
        let found = fs::read_dir(path).unwrap().flatten().map(|it| it.path());
        found
            .filter(|it| it.join("tensorboard").is_dir())
            .last()
            .unwrap()
    };
    let events = |runs: &Path| {
        let file = "tensorboard/seed-0/events.out.tfevents.0.rewind";
        fs::read(named(runs).join(file)).unwrap()
    };
    let report = folder.path().join("report");
    // The run's folder has the same name everywhere.
    let root = runs.join(named(whole).file_name().unwrap());
    let mut command = experiment.command(&runs);
    let fault = Fault {
        root: root.join("tensorboard/seed-0"),
        kinds: "write",
        // The file is there after the first level; the second level's events are appended.
        at: 2,
        when: When::Half,
        action: "ENOSPC",
        lasts: true,
    };
    strike(&mut command, &fault, &report);
    let said = run(&mut command).expect(0).stderr;
    assert_eq!(calls(&report).len(), 1, "{said}");
    assert!(
        said.contains("seed 0 is not shown in TensorBoard: failed to write"),
        "{said}"
    );
    let (whole_events, part) = (events(whole), events(&runs));
    assert!(part.len() < whole_events.len());
    assert!(whole_events.starts_with(&part));
    run(&mut experiment.command(&runs)).expect(0);
    assert!(differences(whole, &runs).is_empty());
}

#[test]
fn a_real_file_system_that_is_too_small_ends_the_run_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = tiny();
    let (whole, _) = uninterrupted();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&disk);
        command.output().is_ok_and(|output| output.status.success())
    };
    if !mount("size=96k") {
        println!("not checked: a file system cannot be mounted here");
        return;
    }
    let runs = disk.join("runs");
    let ended = run(&mut experiment.command(&runs));
    let (code, said) = (ended.status.code(), ended.stderr);
    let grown = mount("remount,size=64m");
    let again = run(&mut experiment.command(&runs));
    let different = differences(whole, &runs);
    let _ = Command::new("umount").arg(&disk).status();
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(
        said.contains("failed to write ") && has_bytes(&said),
        "{said}"
    );
    assert!(grown);
    again.expect(0);
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn a_folder_that_may_not_be_written_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    fs::create_dir(&runs).unwrap();
    // Not even root writes into what is immutable, or below a file.
    let below = folder.path().join("file");
    fs::write(&below, "").unwrap();
    let said = run(&mut tiny().command(&below.join("runs")))
        .expect(5)
        .stderr;
    assert!(
        said.contains("failed to write ") && said.contains("/lock ("),
        "{said}"
    );
    let may = |mode: &str| Command::new("chmod").arg(mode).arg(&runs).status();
    may("555").unwrap();
    if fs::write(runs.join("probe"), "").is_ok() {
        println!("not checked with chmod: this user may write everywhere");
        return;
    }
    let said = run(&mut tiny().command(&runs)).expect(5).stderr;
    may("755").unwrap();
    assert!(said.contains("Permission denied"), "{said}");
    assert!(
        said.contains("failed to write ") && said.contains("/lock ("),
        "{said}"
    );
    run(&mut tiny().command(&runs)).expect(0);
}
