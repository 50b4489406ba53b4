//! Who has a lock, and what can be known of that process.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::claim_limit;

/// The process that has a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// Name of the machine.
    pub host: String,
    /// When the process started, in ticks since its machine did, by which it is told from a later one of
    /// the same id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// What tells one start of a machine from all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The namespace in which the process has that id: containers have their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Tells the machine from others of its name: a digest of its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The user whose process it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The cluster's job, with the task where it is an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How often the cluster started that job again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u64>,
    /// The process that leads this one, such as a sweep's: when it is gone, this one is about to leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
    /// Seconds without a beat after which it counts as dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Number of the claim among those of its process.
    #[serde(default)]
    pub claim: u64,
}

/// A process that leads another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started: u64,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there, though it may be stopped.
    There,
    /// It ended.
    Gone,
    /// It runs where this process cannot see it.
    Unseen,
}

static LEADER: OnceLock<Leader> = OnceLock::new();

/// Says that this process was started by another one, and leaves soon after that one's end.
pub fn be_led() {
    #[cfg(unix)]
    {
        let pid = std::os::unix::process::parent_id();
        if let Some(started) = started(pid) {
            // It is said once, as the program starts.
            let _ = LEADER.set(Leader { pid, started });
        }
    }
}

impl Owner {
    /// This process.
    pub fn here() -> Self {
        Self::this(claim_limit().as_secs_f64())
    }

    /// This process, with a new claim.
    pub(super) fn this(limit: f64) -> Self {
        static CLAIMS: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        Self {
            pid,
            host: machine(),
            started: started(pid),
            boot: boot(),
            namespace: namespace(),
            machine: machine_id(),
            user: user(),
            job: job(),
            restarts: number("SLURM_RESTART_COUNT"),
            leader: LEADER.get().copied(),
            limit: Some(limit),
            claim: CLAIMS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Who it is if nothing says so.
    pub(super) fn unknown() -> Self {
        Self {
            pid: 0,
            host: "an unknown machine".to_owned(),
            started: None,
            boot: None,
            namespace: None,
            machine: None,
            user: None,
            job: None,
            restarts: None,
            leader: None,
            limit: None,
            claim: 0,
        }
    }

    /// Whether it is still there, as far as this machine can tell.
    pub fn presence(&self) -> Presence {
        match self.started {
            Some(started) if self.is_near() => at(self.pid, started),
            _ if self.is_of_an_earlier_start() => Presence::Gone,
            _ => Presence::Unseen,
        }
    }

    /// Whether this machine was started anew since. What runs in a container does not say: another one of that name
    /// may run elsewhere.
    fn is_of_an_earlier_start(&self) -> bool {
        let is_known = |it: &Option<String>| it.is_some();
        self.namespace.as_deref() == Some(FIRST_NAMESPACE)
            && self.host == machine()
            && is_known(&self.machine)
            && self.machine == machine_id()
            && is_known(&self.boot)
            && is_known(&boot())
            && self.boot != boot()
    }

    /// Time without a beat after which it counts as dead.
    pub(super) fn limit(&self) -> Duration {
        let own = self.limit.map(Duration::try_from_secs_f64);
        own.and_then(Result::ok).unwrap_or_else(claim_limit)
    }

    /// Whether it leads this process, to which it lends what it has.
    pub(super) fn lends_to_this_process(&self) -> bool {
        let own = |leader: &Leader| {
            self.is_near() && (leader.pid, Some(leader.started)) == (self.pid, self.started)
        };
        LEADER.get().is_some_and(own)
    }

    /// Whether the process that leads it is gone, so that it is about to leave.
    pub fn is_orphan(&self) -> bool {
        let gone = |leader: Leader| at(leader.pid, leader.started) == Presence::Gone;
        self.is_near() && self.leader.is_some_and(gone)
    }

    /// Whether its process id means the same here: the same start of the same machine, the same namespace,
    /// and a user whose processes this one is shown.
    fn is_near(&self) -> bool {
        self.boot.is_some()
            && self.namespace.is_some()
            && (&self.boot, &self.namespace) == (&boot(), &namespace())
            && (&self.host, self.user) == (&machine(), user())
    }
}

/// The namespace of processes in which a machine's first one is: in no container.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// Whether the process of this id is still the one that started then.
fn at(pid: u32, then: u64) -> Presence {
    match started(pid) {
        Some(now) if now == then => Presence::There,
        _ => Presence::Gone,
    }
}

/// When a process started, in ticks since its machine did; none if it ended.
fn started(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, brackets and spaces included.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    // One that ended stays until whoever started it has asked for its end.
    let is_there = |state: &&str| !matches!(*state, "Z" | "X" | "x");
    fields.next().filter(is_there)?;
    fields.nth(18)?.parse().ok()
}

pub(super) fn machine() -> String {
    let name = |path| Some(fs::read_to_string(path).ok()?.trim().to_owned());
    name("/proc/sys/kernel/hostname")
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "this machine".to_owned())
}

fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// A digest of the machine's id, which is not for everybody to know.
fn machine_id() -> Option<String> {
    let id = fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    let digest = || blake3::hash(format!("rewind {id}").as_bytes()).to_hex()[..16].to_owned();
    (!id.is_empty()).then(digest)
}

fn namespace() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.to_string_lossy().into_owned())
}

fn user() -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        fs::metadata("/proc/self").ok().map(|it| it.uid())
    }
    #[cfg(not(unix))]
    None
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The job of the cluster that this process belongs to.
fn job() -> Option<String> {
    let text = |variable: &str| std::env::var(variable).ok().filter(|it| !it.is_empty());
    let array = text("SLURM_ARRAY_JOB_ID").zip(text("SLURM_ARRAY_TASK_ID"));
    array
        .map(|(job, task)| format!("{job}_{task}"))
        .or_else(|| text("SLURM_JOB_ID"))
        .or_else(|| text("PBS_JOBID"))
        .or_else(|| Some(format!("{}_{}", text("LSB_JOBID")?, text("LSB_JOBINDEX")?)))
        .or_else(|| Some(format!("{}_{}", text("JOB_ID")?, text("SGE_TASK_ID")?)))
        .or_else(|| text("AWS_BATCH_JOB_ID"))
}

#[cfg(test)]
mod tests;
