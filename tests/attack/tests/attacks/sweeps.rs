//! A sweep stands the end of its own process and of those that it started.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use attack::faults::{Fault, When, calls, strike};
use attack::patience::wait_until;
use attack::process::{end, run, signal, start};
use attack::program::{host, only_run};
use attack::tree::{differences, leftovers};

struct Desk {
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Desk {
    fn new(epochs: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("small.toml");
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
        let text = format!(
            "base = {base:?}\nname = \"small\"\nseeds = [0, 1]\n\
             [model]\nhidden = [16]\n[train]\nepochs = {epochs}\nbatch_size = 400\n[prune]\nlevels = 2\n\
             [sweep.methods.imp]\n\
             [sweep.methods.wr]\nstrategy.rewind = {{ use = \"imp/weights\", to = \"1ep\" }}\n\
             [sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n"
        );
        fs::write(&file, text).unwrap();
        Self { folder, file }
    }

    fn runs(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, runs: &str, every: &str) -> Command {
        let mut command = Command::new(host());
        command.arg("run").arg(&self.file);
        command.args([
            "--quiet",
            "--jobs",
            "2",
            "--checkpoint-every",
            every,
            "--runs",
        ]);
        command.arg(self.runs(runs));
        command
    }

    #[track_caller]
    fn assert_same(&self, expected: &str, got: &str) {
        let mut different = differences(&self.runs(expected), &self.runs(got));
        // What a process told people is no result.
        different.retain(|it| !it.starts_with("small/logs/"));
        assert!(different.is_empty(), "{different:#?}");
        assert_eq!(leftovers(&self.runs(got)), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_sweep_whose_process_is_killed_goes_on_at_once_to_the_same_bytes() {
    let desk = Desk::new(4);
    let took = run(&mut desk.command("whole", "0")).expect(0).took;
    for part in [0.2, 0.4, 0.6, 0.5] {
        let mut sweep = start(&mut desk.command("killed", "0"));
        // Any moment will do.
        thread::sleep(took.mul_f64(part));
        let _ = sweep.kill();
        let ended = end(sweep);
        if ended.status.signal().is_none() {
            ended.expect(0);
        }
    }
    // While it writes what it consists of, which it does where that is not there.
    fs::remove_file(desk.runs("killed").join("small/sweep.json")).unwrap();
    let fault = Fault {
        root: desk.runs("killed").join("small/sweep.json"),
        kinds: "write,rename",
        at: 1,
        when: When::Half,
        action: "kill",
        lasts: false,
    };
    let report = desk.runs("report");
    let mut command = desk.command("killed", "0");
    strike(&mut command, &fault, &report);
    let ended = run(&mut command);
    assert_eq!(ended.status.signal(), Some(9), "{}", ended.stderr);
    run(&mut desk.command("killed", "0")).expect(0);
    desk.assert_same("whole", "killed");
}

#[test]
fn a_cell_whose_process_is_killed_stops_no_other_and_goes_on_to_the_same_bytes() {
    let desk = Desk::new(2);
    run(&mut desk.command("whole", "0")).expect(0);
    let report = desk.runs("report");
    for (at, when) in [(40, When::Half), (15, When::Before), (60, When::After)] {
        let mut command = desk.command("killed", "0");
        let fault = Fault {
            // The cell's own folder, whatever its identity.
            root: desk.runs("killed").join("small-lrr-"),
            kinds: "write",
            at,
            when,
            action: "kill",
            lasts: false,
        };
        strike(&mut command, &fault, &report);
        let ended = run(&mut command).expect(5);
        assert!(
            ended.stderr.contains("its process was killed"),
            "{}",
            ended.stderr
        );
        for other in ["small-imp", "small-wr"] {
            let last = only_run(&desk.runs("killed"), other).join("seed-1/level-02/done.json");
            assert!(last.exists(), "{other}");
        }
    }
    assert_eq!(calls(&report).len(), 3);
    run(&mut desk.command("killed", "0")).expect(0);
    desk.assert_same("whole", "killed");
}

#[test]
fn a_sweep_passes_signals_on_and_a_second_one_is_told_who_holds_it() {
    // Never at its end while this looks at it.
    let desk = Desk::new(1_000_000);
    let mut first = desk.command("runs", "100000");
    let mut sweep = start(first.env("HOST_CLAIM_LIMIT", "12"));
    let checkpoints = || {
        let runs = fs::read_dir(desk.runs("runs"))
            .into_iter()
            .flatten()
            .flatten();
        let all = runs.flat_map(|run| {
            [0, 1].map(|seed| {
                run.path()
                    .join(format!("seed-{seed}/progress/checkpoint.json"))
            })
        });
        all.filter(|path| path.exists()).count()
    };
    wait_until(&mut sweep, "the first cell", || {
        let runs = fs::read_dir(desk.runs("runs"))
            .into_iter()
            .flatten()
            .flatten();
        let mut all = runs.map(|run| run.path().join("seed-1/level-00/start.safetensors"));
        all.any(|path| path.exists())
    });
    let mut second = desk.command("runs", "100000");
    let said = run(second.args(["--only", "imp"]).env("HOST_CLAIM_LIMIT", "12")).expect(0);
    let table = said.stdout;
    let row = table
        .lines()
        .find(|line| line.starts_with(" imp "))
        .unwrap();
    let owner = row
        .split("process ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    // The cell's process, which the sweep started.
    let status = fs::read_to_string(format!("/proc/{owner}/status")).unwrap();
    let leader = format!("PPid:\t{}\n", sweep.id());
    assert!(
        row.contains(" elsewhere ") && status.contains(&leader),
        "{row}\n{status}"
    );
    assert_eq!(checkpoints(), 0);
    signal(&sweep, "USR1");
    wait_until(&mut sweep, "checkpoints", || checkpoints() >= 2);
    assert!(sweep.try_wait().unwrap().is_none());
    signal(&sweep, "TERM");
    end(sweep).expect(4);
}
