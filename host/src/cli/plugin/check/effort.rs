//! How long a process takes by its own doing, however busy the machine is.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// The system counts processor time in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// Time that a process takes by its own doing: what its busiest thread computes, and what all of its
/// threads sleep at once. Time in which it could compute and gets no processor, waits for a disk or is
/// stopped is not its own.
pub struct Effort {
    process: u32,
    /// Processor time of each thread as the counting began.
    before: BTreeMap<u64, Duration>,
    /// Processor time of each thread, and when that was read.
    last: Option<(Instant, BTreeMap<u64, Duration>)>,
    asleep: Duration,
}

/// What a thread is at, by the system's account.
struct Thread {
    computed: Duration,
    sleeps: bool,
}

impl Effort {
    /// Counts from now on.
    pub fn of(process: u32) -> Self {
        let mut effort = Self {
            process,
            before: BTreeMap::new(),
            last: None,
            asleep: Duration::ZERO,
        };
        effort.restart();
        effort
    }

    /// Counts from now on.
    pub fn restart(&mut self) {
        self.asleep = Duration::ZERO;
        let now = computed(&threads(self.process).unwrap_or_default());
        self.before.clone_from(&now);
        self.last = Some((Instant::now(), now));
    }

    /// The time until now; none where the system does not say.
    pub fn spent(&mut self) -> Option<Duration> {
        let threads = threads(self.process)?;
        let (time, now) = (Instant::now(), computed(&threads));
        if let Some((before, last)) = &self.last
            // Nothing was computed between two looks at sleepers, so they slept all the while.
            && threads.values().all(|thread| thread.sleeps)
            && *last == now
        {
            self.asleep += time.duration_since(*before);
        }
        let own = now.iter().map(|(thread, computed)| {
            let before = self.before.get(thread).copied().unwrap_or_default();
            computed.saturating_sub(before)
        });
        let busiest = own.max().unwrap_or_default();
        self.last = Some((time, now));
        Some(busiest + self.asleep)
    }
}

fn computed(threads: &BTreeMap<u64, Thread>) -> BTreeMap<u64, Duration> {
    let pairs = threads.iter();
    pairs.map(|(id, thread)| (*id, thread.computed)).collect()
}

/// The threads of a process; none where the system does not say, or there is no such process.
fn threads(process: u32) -> Option<BTreeMap<u64, Thread>> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let mut threads = BTreeMap::new();
    for entry in entries.flatten() {
        // A thread may end meanwhile.
        if let Ok(text) = fs::read_to_string(entry.path().join("stat"))
            && let Ok(id) = entry.file_name().to_string_lossy().parse()
        {
            threads.insert(id, parse(&text)?);
        }
    }
    (!threads.is_empty()).then_some(threads)
}

/// State and times follow the name, which stands in parentheses and may hold anything.
fn parse(stat: &str) -> Option<Thread> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    let sleeps = words.next()? == "S";
    let user: u32 = words.nth(10)?.parse().ok()?;
    let system: u32 = words.next()?.parse().ok()?;
    Some(Thread {
        computed: TICK * user.checked_add(system)?,
        sleeps,
    })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that does what the script says, until it is dropped.
    struct Shell(Child);

    impl Shell {
        fn new(script: &str) -> Self {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).stdin(Stdio::piped());
            Self(shell.spawn().unwrap())
        }

        fn effort(&self) -> Effort {
            Effort::of(self.0.id())
        }

        fn signal(&self, name: &str) {
            let kill = format!("kill -{name} {}", self.0.id());
            let mut shell = Command::new("sh");
            assert!(shell.args(["-c", &kill]).status().unwrap().success());
        }

        fn is(&self, state: &str) -> bool {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
            let (_, rest) = stat.rsplit_once(')').unwrap();
            rest.trim_start().starts_with(state)
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    const COMPUTES: &str = "while :; do :; done";
    /// The shell itself waits for a line that never comes.
    const SLEEPS: &str = "read line";

    /// Asks until that much was spent.
    fn wait(effort: &mut Effort, time: Duration) {
        while effort.spent().unwrap() < time {
            std::thread::sleep(TICK);
        }
    }

    #[test]
    fn what_is_computed_and_what_is_slept_counts_from_the_last_restart_on() {
        let time = Duration::from_millis(100);
        for script in [COMPUTES, SLEEPS] {
            let shell = Shell::new(script);
            let mut effort = shell.effort();
            wait(&mut effort, time);
            effort.restart();
            assert!(effort.spent().unwrap() < time, "{script}");
            wait(&mut effort, time);
        }
    }

    #[test]
    fn what_is_kept_from_the_processor_spends_nothing() {
        let (kept, other) = (Shell::new(COMPUTES), Shell::new(COMPUTES));
        kept.signal("STOP");
        while !kept.is("T") {
            std::thread::sleep(TICK);
        }
        let (mut effort, mut clock) = (kept.effort(), other.effort());
        wait(&mut clock, Duration::from_millis(300));
        assert_eq!(effort.spent(), Some(Duration::ZERO));
        kept.signal("CONT");
        wait(&mut effort, Duration::from_millis(50));
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_skipped() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 31 11 0 0";
        let thread = parse(&format!("17 (a) R (b) {rest}")).unwrap();
        assert!(thread.sleeps);
        assert_eq!(thread.computed, Duration::from_millis(420));
    }
}
