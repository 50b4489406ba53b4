//! Processes that claim cells of a sweep and are killed and stopped meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use attack::process::{end, run};
use attack::stale::Machine;
use attack::tree::{differences, leftovers};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::Value;

use super::attributes::STALE_SECONDS;
use super::claims::children_of;
use super::desk::{Desk, asked, states};

/// Seconds for which who is stopped stands still: twice the limit, and longer than a beat.
pub fn still() -> u64 {
    asked("ATTACK_STILL", 6) as u64
}

/// Processes that claim, and are killed and stopped until so many times were reached or all is done.
pub struct Siege<'a> {
    pub desk: &'a Desk,
    pub runs: String,
    /// Number of processes at a time.
    pub count: usize,
    /// Where they are, one after the other; all on this one if there are none.
    pub machines: Vec<Machine>,
    stream: ChaCha8Rng,
    claimers: Vec<Child>,
    still: Vec<(u32, Instant)>,
    pub kills: usize,
    pub stops: usize,
}

impl<'a> Siege<'a> {
    /// By so many processes on this machine; victims and moments are drawn with `seed`.
    pub fn new(desk: &'a Desk, count: usize, seed: u64) -> Self {
        Self {
            desk,
            runs: String::new(),
            count,
            machines: Vec::new(),
            stream: ChaCha8Rng::seed_from_u64(seed),
            claimers: Vec::new(),
            still: Vec::new(),
            kills: 0,
            stops: 0,
        }
    }

    fn claimer(&self, at: usize) -> Child {
        let mut command = self
            .desk
            .command(&self.runs, &["--claim", "--checkpoint-every", "0"]);
        if !self.machines.is_empty() {
            let machine = &self.machines[at % self.machines.len()];
            machine.run(&mut command, &self.desk.runs(&self.runs), STALE_SECONDS);
        }
        let said = self.desk.runs(&format!("{}-said", self.runs));
        let said = File::options().append(true).create(true).open(said);
        command.stdout(said.unwrap()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// How often each level was finished, as the processes said.
    fn finished(&self) -> BTreeMap<String, usize> {
        let said = fs::read_to_string(self.desk.runs(&format!("{}-said", self.runs))).unwrap();
        let mut finished = BTreeMap::new();
        // One that was killed may have left half a line.
        let events = said
            .lines()
            .filter_map(|it| serde_json::from_str::<Value>(it).ok());
        for event in events.filter(|it| it["event"] == "level-done") {
            let name = format!("{} {}", event["cell"], event["summary"]["level"]);
            *finished.entry(name).or_insert(0) += 1;
        }
        finished
    }

    fn pick(&mut self) -> u32 {
        let mut all: Vec<u32> = self.claimers.iter().map(Child::id).collect();
        all.extend(self.claimers.iter().flat_map(|it| children_of(it.id())));
        all[self.stream.next_u32() as usize % all.len()]
    }

    /// Goes on until all is done, with at most so many kills and stops.
    pub fn hold(&mut self, kills: usize, stops: usize) {
        self.claimers = (0..self.count).map(|at| self.claimer(at)).collect();
        let still = Duration::from_secs(still());
        loop {
            // Any moment will do.
            thread::sleep(Duration::from_millis(
                u64::from(self.stream.next_u32()) % 500,
            ));
            if self.kills < kills {
                let victim = self.pick();
                self.kills += usize::from(send_if_there(victim, "KILL"));
            }
            if self.stops < stops && self.kills * stops >= kills * self.stops {
                let victim = self.pick();
                self.stops += usize::from(send_if_there(victim, "STOP"));
                self.still.push((victim, Instant::now()));
            }
            let over = |since: &Instant| since.elapsed() > still;
            for (process, _) in self.still.extract_if(.., |(_, since)| over(since)) {
                send_if_there(process, "CONT");
            }
            for at in 0..self.claimers.len() {
                match self.claimers[at].try_wait().unwrap() {
                    Some(status) if status.success() => return self.end(),
                    // What was killed three times at one place is left alone, for whoever asks for it.
                    Some(_) if self.kills >= kills && self.stops >= stops => return self.end(),
                    Some(_) => self.claimers[at] = self.claimer(at),
                    None => {}
                }
            }
        }
    }

    /// Wakes whoever is stopped, and waits for all.
    fn end(&mut self) {
        for (process, _) in self.still.drain(..) {
            send_if_there(process, "CONT");
        }
        for claimer in self.claimers.drain(..) {
            end(claimer);
        }
    }
}

/// So many cells, of which every tenth costs a process and every fiftieth a stop: fails unless each is done, none
/// of their levels is said to be done twice, and their bytes are those of one process.
pub fn crowd(cells: usize, machines: &dyn Fn(&Desk) -> Vec<Machine>) {
    let (kills, stops) = (cells / 10, cells.div_ceil(50));
    let desk = Desk {
        limit: (still() / 2).to_string(),
        ..Desk::new(cells, 1, "")
    };
    let mut siege = Siege {
        runs: "crowd".to_owned(),
        machines: machines(&desk),
        ..Siege::new(&desk, if cells > 100 { 8 } else { 3 }, 11)
    };
    let began = Instant::now();
    siege.hold(kills, stops);
    let took = began.elapsed().as_secs_f64();
    let left = run(&mut desk.command("crowd", &["--claim", "--retry-failed"])).expect(0);
    let states = states(&left.stdout);
    assert_eq!(states.len(), cells);
    assert!(states.values().all(|it| it == "done"), "{states:#?}");
    let finished = siege.finished();
    let twice = finished.values().filter(|times| **times > 1).count();
    println!(
        "{cells} cells by {} processes in {took:.0} s, {:.1} a second, with {} kills and {} stops: {} levels were said \
         to be done, {twice} of them twice",
        siege.count,
        cells as f64 / took,
        siege.kills,
        siege.stops,
        finished.len(),
    );
    assert_eq!(twice, 0, "{finished:#?}");
    // Some of them alone in one process; of a thousand, all would take another quarter of an hour.
    let some: Vec<String> = states.keys().step_by(cells.div_ceil(50)).cloned().collect();
    run(&mut desk.command("one", &["--only", &some.join(",")])).expect(0);
    for entry in fs::read_dir(desk.runs("one")).unwrap().flatten() {
        let name = entry.file_name();
        let [one, other] = ["one", "crowd"].map(|it| desk.runs(it).join(&name));
        if name != "small" {
            assert_eq!(differences(&one, &other), Vec::<String>::new(), "{name:?}");
        }
    }
    assert_eq!(leftovers(&desk.runs("crowd")), Vec::<PathBuf>::new());
}

/// Sends a signal to a process that may have ended; whether it was there.
fn send_if_there(process: u32, name: &str) -> bool {
    let mut command = Command::new("kill");
    command.args([&format!("-{name}"), &process.to_string()]);
    let sent = command.stderr(Stdio::null()).status();
    sent.is_ok_and(|it| it.success())
}
