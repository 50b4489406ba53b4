//! A sweep in a job array of a real Slurm, whose tasks are killed, whose nodes die, which is preempted, cancelled
//! and submitted again: nothing is lost, nothing is done twice, and no byte differs. `make cluster` starts the
//! Slurm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use attack::patience::PATIENCE;
use attack::process::{Ended, run};
use attack::program::host;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::Value;

use super::desk::{Desk, TWO, asked};

/// What is done to a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    /// A process of a task is killed, the task's own or one of a cell.
    Kill,
    /// A node dies with all that it runs, and comes back once Slurm has noticed.
    Node,
    /// A job with precedence takes the node of a task.
    Preempt,
    /// All is cancelled.
    Cancel,
}

/// A Slurm, in the folder that `make cluster` names.
struct Cluster {
    folder: PathBuf,
}

impl Cluster {
    fn new() -> Self {
        let conf = std::env::var_os("SLURM_CONF").expect("`make cluster` says where its Slurm is");
        let folder = Path::new(&conf).parent().unwrap().to_owned();
        Self { folder }
    }

    /// A node's part of the script that starts this Slurm.
    fn node(&self, verb: &str, node: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/slurm.sh");
        run(Command::new(script).arg(verb).arg(&self.folder).arg(node)).expect(0);
    }

    /// Words of each of this user's jobs, as `squeue` formats them.
    fn queue(&self, format: &str, more: &[&str]) -> Vec<Vec<String>> {
        let mut command = Command::new("squeue");
        command
            .args(["--noheader", "--array", "--format", format])
            .args(more);
        let said = run(&mut command).expect(0).stdout;
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        said.lines().map(words).collect()
    }

    /// The nodes on which tasks run.
    fn busy(&self) -> Vec<String> {
        let running = self.queue("%N", &["--states=RUNNING", "--partition=low"]);
        running.into_iter().flatten().collect()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(
                start.elapsed() < PATIENCE,
                "{what}: {:?}",
                self.queue("%i %T %N %r", &[])
            );
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The processes of the program that a node runs.
fn processes(node: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let is_own = |id: &u32| {
        let file = |name: &str| fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
        let own = format!("SLURMD_NODENAME={node}");
        let mut variables = file("environ");
        let mut variables = variables.split_mut(|it| *it == 0);
        file("comm") == b"host\n" && variables.any(|it| *it == *own.as_bytes())
    };
    ids.filter(is_own).collect()
}

/// A sweep under attack.
struct Siege<'a> {
    cluster: &'a Cluster,
    desk: &'a Desk,
    runs: String,
    stream: ChaCha8Rng,
    /// What is still to be done to it.
    blows: Vec<Blow>,
    /// What was done, in all sweeps.
    dealt: BTreeMap<Blow, usize>,
    /// How often it was submitted.
    submitted: usize,
}

impl Siege<'_> {
    fn host(&self, verb: &str, what: &Path, more: &[&str]) -> Ended {
        let mut command = Command::new(host());
        command.arg(verb).arg(what).args(more).arg("--runs");
        command
            .arg(self.desk.runs(&self.runs))
            .current_dir(self.desk.runs(""));
        command.env("HOST_CLAIM_LIMIT", &self.desk.limit);
        run(&mut command).expect(0)
    }

    fn submit(&mut self) {
        let more = [
            "--tasks=8",
            "--cpus=1",
            "--time=20",
            "--mem=200",
            "--template=job.sh",
        ];
        let more = [&more[..], &["--checkpoint-every=1", "--partition=low"]].concat();
        self.host("submit", &self.desk.file, &more);
        self.submitted += 1;
    }

    fn states(&self) -> Value {
        let said = self.host("status", Path::new("small"), &["--json"]).stdout;
        serde_json::from_str::<Value>(&said).unwrap()["states"].clone()
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = self.stream.next_u32() as usize % of.len().max(1);
        of.get(at).cloned()
    }

    /// Deals a blow; whether there was something to hit.
    fn deal(&mut self, blow: Blow) -> bool {
        let Some(node) = self.pick(&self.cluster.busy()) else {
            return false;
        };
        match blow {
            Blow::Kill => {
                let victim = self.pick(&processes(&node));
                let kill = |it: u32| {
                    let mut command = Command::new("kill");
                    run(command.args(["-KILL", &it.to_string()]))
                        .status
                        .success()
                };
                victim.is_some_and(kill)
            }
            Blow::Node => {
                self.cluster.node("kill", &node);
                let is_down = || {
                    let mut command = Command::new("sinfo");
                    command.args([
                        "--noheader",
                        "--format=%T",
                        "--partition=low",
                        "--nodes",
                        &node,
                    ]);
                    run(&mut command).expect(0).stdout.starts_with("down")
                };
                self.cluster.wait_until("the node's death", is_down);
                self.cluster.node("revive", &node);
                true
            }
            Blow::Preempt => {
                let mut command = Command::new("sbatch");
                command.args([
                    "--parsable",
                    "--partition=high",
                    "--output=/dev/null",
                    "--nodelist",
                ]);
                let job = run(command.args([&node, "--wrap", "sleep 1"]))
                    .expect(0)
                    .stdout;
                let jobs = format!("--jobs={}", job.trim());
                let is_over = || self.cluster.queue("%i", &[&jobs]).is_empty();
                self.cluster.wait_until("the other job", is_over);
                true
            }
            Blow::Cancel => {
                self.host("cancel", Path::new("small"), &[]);
                let is_empty = || self.cluster.queue("%i", &[]).is_empty();
                self.cluster.wait_until("an empty queue", is_empty);
                self.submit();
                true
            }
        }
    }

    /// Goes on until all is done.
    fn hold(&mut self, cells: u64) {
        self.submit();
        while self.states()["done"] != cells {
            // Any moment will do.
            let pause = u64::from(self.stream.next_u32()) % 1500;
            thread::sleep(Duration::from_millis(pause));
            if let Some(&blow) = self.blows.last()
                && self.deal(blow)
            {
                self.blows.pop();
                *self.dealt.entry(blow).or_default() += 1;
            }
            // A task that was killed four times is not started again.
            if self.cluster.queue("%i", &[]).is_empty() && self.states()["done"] != cells {
                self.submit();
            }
        }
        let is_empty = || self.cluster.queue("%i", &[]).is_empty();
        self.cluster.wait_until("the end of all tasks", is_empty);
    }
}

/// How often each level was finished, as the tasks' logs tell.
fn finished(runs: &Path) -> BTreeMap<String, usize> {
    let mut finished = BTreeMap::new();
    let submissions = fs::read_dir(runs.join("small/submitted"))
        .unwrap()
        .flatten();
    let logs = submissions.flat_map(|it| fs::read_dir(it.path()).unwrap().flatten());
    for log in logs.filter(|it| it.path().extension().is_some_and(|it| it == "log")) {
        let text = fs::read_to_string(log.path()).unwrap();
        let events = text
            .lines()
            .filter_map(|it| serde_json::from_str::<Value>(it).ok());
        for event in events.filter(|it| it["event"] == "level-done") {
            let level = format!(
                "{} {} {}",
                event["cell"], event["summary"]["seed"], event["summary"]["level"]
            );
            *finished.entry(level).or_default() += 1;
        }
    }
    finished
}

#[test]
#[ignore = "`make cluster` starts the Slurm that it needs"]
fn an_array_stands_kills_deaths_of_nodes_preemption_and_a_cancel() {
    let kills = asked("CLUSTER_KILLS", 30);
    let rates = asked("CLUSTER_CELLS", 60) / 2;
    let desk = Desk {
        limit: "6".to_owned(),
        ..Desk::new(rates, 60, TWO)
    };
    let began = Instant::now();
    run(&mut desk.command("one", &[])).expect(0);
    let alone = began.elapsed().as_secs_f64();
    let template = include_str!("../../../../host/src/cli/submit/template.sh");
    let template = template.replace("@COMMAND@", "@COMMAND@ --json");
    fs::write(desk.runs("job.sh"), template).unwrap();
    let mut stream = ChaCha8Rng::seed_from_u64(17);
    let mut blows = vec![Blow::Kill; kills];
    for (blow, times) in [
        (Blow::Node, kills / 10),
        (Blow::Preempt, kills / 6),
        (Blow::Cancel, 1),
    ] {
        for _ in 0..times {
            let at = stream.next_u32() as usize % blows.len();
            blows.insert(at, blow);
        }
    }
    let cluster = Cluster::new();
    let mut siege = Siege {
        cluster: &cluster,
        desk: &desk,
        runs: String::new(),
        stream,
        blows,
        dealt: BTreeMap::new(),
        submitted: 0,
    };
    let mut rows = Vec::new();
    while !siege.blows.is_empty() {
        siege.runs = format!("array-{}", rows.len());
        let (before, began) = (siege.dealt.clone(), Instant::now());
        siege.submitted = 0;
        siege.hold(2 * rates as u64);
        desk.assert_same("one", &siege.runs);
        let finished = finished(&desk.runs(&siege.runs));
        let twice = finished.values().filter(|times| **times > 1).count();
        assert_eq!(twice, 0, "{finished:#?}");
        let dealt = [Blow::Kill, Blow::Node, Blow::Preempt, Blow::Cancel].map(|blow| {
            let count = |of: &BTreeMap<Blow, usize>| of.get(&blow).copied().unwrap_or_default();
            count(&siege.dealt) - count(&before)
        });
        rows.push((dealt, siege.submitted, began.elapsed().as_secs_f64()));
    }
    println!("{} cells; one process alone: {alone:.0} s", 2 * rates);
    println!(
        "sweep  kills  nodes  preempted  cancelled  submitted  seconds  lost  twice  bytes differing"
    );
    for (sweep, ([kills, nodes, preempted, cancelled], submitted, seconds)) in
        rows.iter().enumerate()
    {
        println!(
            "{sweep:5}  {kills:5}  {nodes:5}  {preempted:9}  {cancelled:9}  {submitted:9}  {seconds:7.0}     0      0  \
             {:>15}",
            0
        );
    }
}

#[test]
#[ignore = "`make cluster` starts the Slurm that it needs"]
fn a_task_goes_on_after_its_time_limit_and_a_cancelled_one_does_not() {
    let cluster = Cluster::new();
    // Hours of work on any machine.
    let desk = Desk::new(1, 1_000_000, "");
    let host = |verb: &str, what: &Path, more: &[&str]| {
        let mut command = Command::new(host());
        command
            .arg(verb)
            .arg(what)
            .args(more)
            .args(["--runs"])
            .arg(desk.runs("runs"));
        run(command.current_dir(desk.runs("")))
    };
    let refused = host("submit", &desk.file, &["--partition=none"])
        .expect(2)
        .stderr;
    assert!(
        refused.contains("choose with --partition one of low, high, short"),
        "{refused}"
    );
    let long = ["--partition=short", "--time=2:00:00"];
    let refused = host("submit", &desk.file, &long).expect(2).stderr;
    assert!(refused.contains("give a shorter --time"), "{refused}");
    let restarts = || {
        let said = run(Command::new("scontrol").args(["show", "jobs", "-o"])).stdout;
        let own = said.lines().filter(|it| it.contains("JobName=small "));
        let restarts = own.filter_map(|it| {
            it.split("Restarts=")
                .nth(1)?
                .split(' ')
                .next()?
                .parse::<u32>()
                .ok()
        });
        restarts.sum::<u32>()
    };
    let before = restarts();
    host(
        "submit",
        &desk.file,
        &["--tasks=1", "--time=1:00", "--mem=200"],
    )
    .expect(0);
    cluster.wait_until("another start", || restarts() > before);
    cluster.wait_until("its work", || !cluster.busy().is_empty());
    // By Slurm's own command, as an administrator does.
    let job = cluster.queue("%A", &[]).pop().unwrap().pop().unwrap();
    run(Command::new("scancel").arg(&job)).expect(0);
    cluster.wait_until("its end", || cluster.queue("%i", &[]).is_empty());
    // A job that was started again would be in the queue by now.
    thread::sleep(Duration::from_secs(10));
    assert_eq!(cluster.queue("%i", &[]), Vec::<Vec<String>>::new());
    let said = host("status", Path::new("small"), &["--json"])
        .expect(0)
        .stdout;
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["states"]["stopped"], 1, "{status}");
}
