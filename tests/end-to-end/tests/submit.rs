//! Sweeps that are handed over: to a Slurm made of four shell scripts, to processes here, as a list of commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use attack::patience::PATIENCE;
use attack::tree::files;
use end_to_end::program::{digests, expect, host};
use serde_json::Value;

/// Runs each task of the array in a process of its own, as job 77.
const SBATCH: &str = r#"#!/bin/bash
echo "$@" >>"$FAKE/sbatch"
for script; do :; done
tasks=$(sed -n 's/^#SBATCH --array=1-\([0-9]*\).*/\1/p' "$script")
for task in $(seq "$tasks"); do "$FAKE/task" "$task" "$script" & done >/dev/null 2>&1
echo 77
"#;
const TASK: &str = r#"#!/bin/bash
export SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$1 FAKE_SCRIPT=$2
cd "$(dirname "$2")" && bash "$2" >>"task-$1.log" 2>&1
echo "$1 $?" >>"$FAKE/ended"
"#;
const SQUEUE: &str = r#"#!/bin/bash
echo "$@" >>"$FAKE/squeue"
case "$*" in *%T) echo RUNNING ;; *) cat "$FAKE/running" ;; esac
"#;
// The one that asks for it is ended, as by Slurm.
const SCONTROL: &str = r#"#!/bin/bash
echo "$@" >>"$FAKE/scontrol"
"$FAKE/task" "${2#77_}" "$FAKE_SCRIPT" >/dev/null 2>&1 &
kill -9 $PPID
"#;
const SCANCEL: &str = "#!/bin/bash\necho \"$@\" >>\"$FAKE/scancel\"\n";

struct Desk {
    folder: tempfile::TempDir,
    file: PathBuf,
}

const TWO: &str =
    "[sweep.methods.imp]\n[sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n";

impl Desk {
    /// A sweep of small networks, in a folder with a space, and the scripts of a Slurm.
    fn new(epochs: u32, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("its sweep.toml");
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
        let text = format!(
            "base = {base:?}\nname = \"small\"\nseeds = [0, 1]\n\
             [model]\nhidden = [16]\n[train]\nepochs = {epochs}\n[prune]\nlevels = 2\n{more}"
        );
        fs::write(&file, text).unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let desk = Self { folder, file };
        for (name, text) in [
            ("bin/sbatch", SBATCH),
            ("bin/squeue", SQUEUE),
            ("bin/scontrol", SCONTROL),
            ("bin/scancel", SCANCEL),
            ("task", TASK),
        ] {
            desk.script(name, text);
        }
        fs::write(desk.at("running"), "").unwrap();
        desk
    }

    fn at(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
        let mode = Command::new("chmod").arg("+x").arg(self.at(name)).status();
        assert!(mode.unwrap().success());
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.at(file)).unwrap_or_default()
    }

    fn command(&self, verb: &str, what: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(host());
        command.arg(verb).arg(what).args(more);
        command.env("FAKE", self.folder.path());
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.at("bin").display()));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn submit(&self, more: &[&str]) -> Command {
        self.command("submit", &self.file, more)
    }

    fn run(&self, more: &[&str]) -> Command {
        self.command("run", &self.file, more)
    }

    fn status(&self) -> Value {
        let mut command = self.command("status", Path::new("small"), &["--json"]);
        serde_json::from_slice(&expect(&mut command, 0).stdout).unwrap()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "{what}: {}", self.logs());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn logs(&self) -> String {
        let logs = (1..4).map(|it| self.read(&format!("runs/small/submitted/1/task-{it}.log")));
        logs.collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the runs consist of, without what was told of them and what was submitted.
fn results(runs: &Path) -> std::collections::BTreeMap<PathBuf, String> {
    let mut all = digests(runs);
    all.retain(|path, _| {
        !["small/logs", "small/submitted"]
            .iter()
            .any(|it| path.starts_with(it))
    });
    all
}

#[test]
fn tasks_of_an_array_start_again_by_themselves_until_all_is_done() {
    let desk = Desk::new(600, TWO);
    expect(&mut desk.run(&["--runs=whole", "--jobs=2"]), 0);
    // Each has less time than a run takes.
    let asked = [
        "--tasks=2",
        "--time=0:03",
        "--checkpoint-every=1",
        "--partition=short",
    ];
    let said = text(&expect(&mut desk.submit(&asked), 0).stdout);
    for line in [
        "submitted job 77: 2 tasks for 2 runs\n",
        "status --watch runs/small\n",
        "cancel runs/small\n",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    let is_done = || desk.status()["states"]["done"] == 2;
    desk.wait_until("all cells", is_done);
    desk.wait_until("its tasks", || {
        desk.read("ended").matches(" 0\n").count() == 2
    });
    assert_eq!(results(&desk.at("runs")), results(&desk.at("whole")));
    let again = desk.read("scontrol");
    // Which of them had more to do than its time allows depends on the machine.
    assert!(again.contains("requeue 77_"), "{again}");
    assert!(
        desk.logs().contains("the time limit is reached"),
        "{}",
        desk.logs()
    );
    let script = desk.read("runs/small/submitted/1/job.sh");
    assert!(script.contains("#SBATCH --partition=short\n"), "{script}");
    let submission: Value =
        serde_json::from_str(&desk.read("runs/small/submitted/1/submission.json")).unwrap();
    assert_eq!(
        (&submission["job"], &submission["tasks"]),
        (&"77".into(), &2.into())
    );
    // Nothing is left to do.
    let said = expect(&mut desk.submit(&[]), 0);
    assert!(text(&said.stderr).contains("nothing was submitted"));
    assert_eq!(desk.read("sbatch").lines().count(), 1);
}

#[test]
fn a_killed_task_starts_again_three_times_and_one_that_fails_does_not() {
    let desk = Desk::new(2, TWO);
    // In the place of the program something that ends as told.
    let template = include_str!("../../../host/src/cli/submit/template.sh");
    for (command, restarts, code) in [("bash -c 'kill -9 $$'", 3, 137), ("exit 5", 0, 5)] {
        let command = format!("{command} # @COMMAND@");
        let own = template.replace("\"${inside[@]}\" @COMMAND@ &", &format!("({command}\n) &"));
        fs::write(desk.at("own.sh"), own).unwrap();
        for file in ["scontrol", "ended"] {
            fs::write(desk.at(file), "").unwrap();
        }
        expect(&mut desk.submit(&["--tasks=1", "--template=own.sh"]), 0);
        let times = restarts + 1;
        desk.wait_until("its end", || desk.read("ended").lines().count() == times);
        assert!(desk.read("ended").ends_with(&format!("1 {code}\n")));
        assert_eq!(desk.read("scontrol").lines().count(), restarts);
    }
}

#[test]
fn what_cannot_be_submitted_is_refused_with_what_to_do() {
    let desk = Desk::new(2, TWO);
    let refused = |command: &mut Command, parts: &[&str]| {
        let said = text(&expect(command, 2).stderr);
        for part in parts {
            assert!(said.contains(part), "{part}\n{said}");
        }
    };
    let mut elsewhere = desk.submit(&[]);
    elsewhere.env("PATH", desk.folder.path());
    let parts = ["sbatch was not found", "--engine local", "--engine script"];
    refused(&mut elsewhere, &parts);
    assert!(!desk.at("runs").exists());
    refused(
        &mut desk.submit(&["--fresh"]),
        &["--fresh is not for what is submitted"],
    );
    refused(
        &mut desk.submit(&["--time=soon"]),
        &["expected a time such as 90"],
    );
    refused(
        &mut desk.submit(&["--template=none.sh"]),
        &["none.sh", "--print-template"],
    );
    let single = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
    refused(&mut desk.command("submit", &single, &[]), &["is no sweep"]);
    refused(
        &mut desk.command("submit", Path::new("none.toml"), &[]),
        &["none.toml"],
    );
    let refusal = |said: &str| {
        let text = format!("#!/bin/sh\necho 'sbatch: error: {said}' >&2\nexit 1\n");
        desk.script("bin/sbatch", &text);
    };
    desk.script("bin/sinfo", "#!/bin/sh\necho cpu; echo gpu\n");
    refusal("invalid partition specified: none");
    let parts = [
        "invalid partition specified: none",
        "one of cpu, gpu",
        "submitted/1/job.sh",
    ];
    refused(&mut desk.submit(&["--partition=none"]), &parts);
    refusal(
        "Batch job submission failed: Invalid account or account/partition combination specified",
    );
    refused(
        &mut desk.submit(&["--account=none"]),
        &["Invalid account", "another --account"],
    );
    refusal("Batch job submission failed: Requested node configuration is not available");
    refused(
        &mut desk.submit(&["--cpus=99"]),
        &["not available", "ask for less with --cpus"],
    );
}

#[test]
fn a_dry_run_prints_the_script_and_submits_nothing() {
    let desk = Desk::new(2, TWO);
    let said = text(&expect(&mut desk.submit(&["--dry-run", "--gpus=2"]), 0).stdout);
    assert!(said.contains("#SBATCH --gpus=2\n"), "{said}");
    assert!(said.contains(" --devices=cuda:0,cuda:1 "), "{said}");
    assert!(
        said.contains("nothing was submitted: 2 tasks for 2 runs would be"),
        "{said}"
    );
    assert_eq!(desk.read("sbatch"), "");
    let mut command = Command::new(host());
    let printed = text(&expect(command.args(["submit", "--print-template"]), 0).stdout);
    assert!(
        printed.starts_with("#!/bin/bash\n@DIRECTIVES@\n"),
        "{printed}"
    );
}

#[test]
fn a_list_of_commands_does_the_sweep_a_line_for_each_task() {
    let desk = Desk::new(2, TWO);
    expect(&mut desk.run(&["--runs=whole"]), 0);
    let asked = [
        "--engine=script",
        "--tasks=3",
        "--shares",
        "--json",
        "--time=10",
    ];
    let told = expect(&mut desk.submit(&asked), 0).stdout;
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(
        (&told["engine"], &told["job"]),
        (&"script".into(), &Value::Null)
    );
    let lines = fs::read_to_string(told["script"].as_str().unwrap()).unwrap();
    assert_eq!(lines.lines().count(), 3);
    for line in lines.lines() {
        // From anywhere.
        let mut command = Command::new("sh");
        expect(command.arg("-c").arg(line).current_dir("/"), 0);
    }
    assert_eq!(results(&desk.at("runs")), results(&desk.at("whole")));
}

#[test]
fn processes_here_go_on_without_the_command_and_are_cancelled_by_another() {
    let desk = Desk::new(1_000_000, TWO);
    let asked = ["--engine=local", "--tasks=2"];
    let said = text(&expect(&mut desk.submit(&asked), 0).stdout);
    assert!(
        said.contains("started 2 tasks for 2 runs: processes "),
        "{said}"
    );
    let running = || desk.status()["states"]["running"] == 2;
    desk.wait_until("both cells", running);
    let cancel = || {
        let mut command = desk.command("cancel", Path::new("small"), &["--json"]);
        serde_json::from_slice::<Value>(&expect(&mut command, 0).stdout).unwrap()
    };
    let said = cancel();
    assert_eq!(said["submissions"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(said["not_submitted"], Value::Array(vec![]), "{said}");
    desk.wait_until("their end", || desk.status()["states"]["stopped"] == 2);
    assert_eq!(cancel()["submissions"], Value::Array(vec![]));
    // Each wrote its checkpoint, of the dense level that both need.
    let checkpoint = |path: &PathBuf| path.ends_with("progress/checkpoint.json");
    assert!(files(&desk.at("runs")).iter().any(checkpoint));
    // What was cancelled stays so, also for a task that comes late.
    let submission = desk.at("runs/small/submitted/1");
    let late = format!("--submission={}", submission.display());
    let said = expect(&mut desk.run(&["--claim", &late]), 5);
    assert!(text(&said.stderr).contains("was cancelled"));
}

#[test]
fn a_slurm_job_is_cancelled_with_all_its_tasks() {
    let desk = Desk::new(1_000_000, TWO);
    expect(&mut desk.submit(&["--tasks=1"]), 0);
    desk.wait_until("a cell", || desk.status()["states"]["running"] == 1);
    let mut command = desk.command("cancel", Path::new("runs/small"), &[]);
    let said = text(&expect(&mut command, 0).stdout);
    assert!(
        said.contains("submitted/1: cancelled slurm 77, 1 task\n"),
        "{said}"
    );
    assert_eq!(desk.read("scancel"), "77\n");
    desk.wait_until("its end", || desk.read("ended") == "1 5\n");
    assert_eq!(desk.read("scontrol"), "");
}

#[test]
fn a_task_tells_when_the_others_do_not_see_what_it_sees() {
    let desk = Desk::new(60, TWO);
    // Whoever submitted it did so in a folder that is another one here.
    let said = expect(&mut desk.run(&["--claim", "--submission=none/1"]), 2);
    assert!(text(&said.stderr).contains("a folder that all machines share"));
    // A task that Slurm runs for long and that never came, and one that has just begun.
    fs::write(desk.at("running"), "1 0:05 n1\n2 15:00 n2\n3 0:10 n3\n").unwrap();
    expect(desk.submit(&["--tasks=1"]).env("HOST_CLAIM_LIMIT", "2"), 0);
    desk.wait_until("its end", || desk.read("ended") == "1 0\n");
    let said = desk.logs();
    assert!(
        said.contains("task 77_2 runs on n2 for 15 min, and "),
        "{said}"
    );
    assert!(said.contains("do not share that folder"), "{said}");
    assert!(
        !said.contains("task 77_1") && !said.contains("task 77_3"),
        "{said}"
    );
    #[cfg(target_os = "linux")]
    {
        let own = desk.at("runs/small/submitted/1");
        let own = format!("--submission={}", own.display());
        let mut late = desk.run(&["--claim", &own]);
        attack::faults::shift_clock(&mut late, 5 * 3600);
        let said = text(&expect(&mut late, 0).stderr);
        assert!(said.contains("are 5.0 h apart"), "{said}");
    }
}

#[test]
fn a_run_that_fails_three_times_is_left_alone_until_it_is_asked_for() {
    let broken = "[sweep.methods.broken]\nstrategy.mask = \"misbehaving/one-too-many\"\n";
    let desk = Desk::new(2, &format!("{broken}{TWO}"));
    let tried = || {
        desk.read("runs/small/logs/broken.log")
            .matches("one-too-many")
            .count()
    };
    let mut each = Vec::new();
    for claim in ["--claim", "--task=1/1", "--claim", "--claim", "--task=1/1"] {
        let before = tried();
        let said = text(&expect(&mut desk.run(&[claim]), 5).stdout);
        each.push(tried() > before);
        let is_told = said.contains("it failed 3 times and is left alone");
        assert_eq!(is_told, each.len() > 3, "{said}");
    }
    assert_eq!(each, [true, true, true, false, false]);
    let status = desk.status();
    let cell = &status["cells"][0];
    assert_eq!(
        (&cell["state"], &cell["failures"]),
        (&"failed".into(), &3.into())
    );
    assert!(
        cell["reason"]
            .as_str()
            .unwrap()
            .starts_with("failed 3 times and is left alone: ")
    );
    for asked in [&["--claim", "--retry-failed"][..], &["--only=broken"]] {
        let before = tried();
        expect(&mut desk.run(asked), 5);
        assert!(tried() > before, "{asked:?}");
    }
    // Another experiment under the same name has not failed yet.
    let own = fs::read_to_string(&desk.file).unwrap();
    fs::write(
        &desk.file,
        own.replace("misbehaving/one-too-many", "imp/global"),
    )
    .unwrap();
    let note = desk.at("runs/small/failures/broken.json");
    let noted = fs::read(&note).unwrap();
    expect(&mut desk.run(&["--claim"]), 0);
    assert!(!note.exists());
    // As if who did it had been killed before it forgot the failure.
    fs::write(&note, noted).unwrap();
    expect(&mut desk.run(&["--claim"]), 0);
    assert!(!note.exists());
}
