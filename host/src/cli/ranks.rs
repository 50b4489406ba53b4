//! `host run` of one experiment by several processes.

use std::env;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::{Output, RunArgs};
use super::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::ranks::{Door, LOCAL, LastResort, Place, Ranks, RanksError};
use crate::run::{Run, Setting, indivisible};
use crate::strategy::guard;

/// Says that another process started this one as one of its ranks: it is quiet, and ends with that one.
const LED: &str = "HOST_RANK_IS_LED";
/// How long processes that were told to leave may take.
const PARTING: Duration = Duration::from_secs(10);
/// How often to look whether they have.
const PATROL: Duration = Duration::from_millis(20);

/// How many processes train, and who started them.
pub enum Team {
    /// This one.
    Alone,
    /// So many, of which this one starts the others.
    Here(usize),
    /// Those that somebody started, of which this is one.
    Placed(Place),
}

impl Team {
    /// As the command line and the environment say.
    ///
    /// # Errors
    /// If a variable of the environment is wrong.
    pub fn of(args: &RunArgs) -> Result<Self, Failure> {
        let asked = args.ranks.map(|ranks| usize::from(ranks.get()));
        match asked.filter(|_| !is_led()) {
            Some(1) => Ok(Self::Alone),
            Some(count) => Ok(Self::Here(count)),
            None => match Place::of_environment().map_err(Failure::bad_input)? {
                Some(place) => Ok(Self::Placed(place)),
                None => Ok(Self::Alone),
            },
        }
    }

    /// How many processes train.
    pub fn count(&self) -> usize {
        match self {
            Self::Alone => 1,
            Self::Here(count) => *count,
            Self::Placed(place) => place.count,
        }
    }
}

/// Whether another process of this program started this one as one of its ranks.
pub fn is_led() -> bool {
    env::var_os(LED).is_some()
}

/// Threads of each rank where nobody says how many: the machine's cores are shared out.
pub fn share_threads(setting: &mut Setting, team: &Team) {
    setting.ranks = team.count();
    // Ranks that somebody else started have the cores that they were given.
    if let (Team::Here(count), true) = (team, setting.threads_by_default) {
        setting.threads = (setting.threads / count).max(1);
    }
}

/// This process and the others, once all are there.
pub struct Joined {
    /// The run, which this process trains or follows.
    pub run: Run,
    /// The ranks; none if this process is alone.
    pub ranks: Option<Arc<Ranks>>,
    children: Children,
}

impl Joined {
    /// Tells the others that this process ends, and waits for those that it started.
    pub fn part(mut self, ended: Result<Exit, &Failure>) {
        if let Some(ranks) = self.ranks {
            match ended {
                Ok(exit) if ranks.leads() => ranks.dismiss(exit as u8),
                Ok(_) => {}
                Err(failure) => ranks.fail(&failure.to_string()),
            }
        }
        self.children.wait();
    }
}

/// Why processes do not train a run together that has updates.
const ALONE: &str = "`strategy.update` acts in one process alone: leave out --ranks; shards of a batch go on side by side there, \
                     with the same bytes";

/// Opens the run, and has it trained by all processes of the team.
///
/// # Errors
/// What is wrong with the run, that the team cannot train it, or who does not come.
pub fn join(
    (args, output): (&RunArgs, &Output),
    team: Team,
    setting: &Setting,
    interrupt: &Interrupt,
) -> Result<Joined, Failure> {
    let limit = Duration::from_secs(args.rank_limit);
    let file = &args.experiment.file;
    let fits = |run: &Run, count: usize| {
        let updates = !run.experiment().strategy.update.is_empty() && count > 1;
        let reason = updates.then(|| ALONE.to_owned());
        match reason.or_else(|| indivisible(run.shards(), count)) {
            None => Ok(()),
            Some(reason) => Err(Failure::bad_input(format!("{}: {reason}", file.display()))),
        }
    };
    let last_resort = || last_resort(output);
    let mut children = Children::default();
    let (mut run, door) = match team {
        Team::Alone => {
            return Ok(Joined {
                run: Run::open(file, setting)?,
                ranks: None,
                children,
            });
        }
        Team::Here(count) => {
            let run = Run::open(file, setting)?;
            fits(&run, count)?;
            let place = Place {
                rank: 0,
                count,
                address: LOCAL.to_owned(),
                port: 0,
                serves: true,
                attempt: String::new(),
            };
            let door = Door::open(place, limit, interrupt, last_resort()).map_err(failed)?;
            children.ending = Some(Box::new(door.ending()));
            for rank in 1..count {
                children.all.push((rank, start(rank, door.place())?));
            }
            (run, door)
        }
        Team::Placed(place) => {
            let count = place.count;
            let door = Door::open(place, limit, interrupt, last_resort()).map_err(failed)?;
            let opened = Run::open(file, setting).map_err(Failure::from);
            let opened = opened.and_then(|run| fits(&run, count).map(|()| run));
            (
                opened.inspect_err(|failure| door.fail(&failure.to_string()))?,
                door,
            )
        }
    };
    let facts = run.facts()?;
    let ranks = door.meet(&facts, &mut || children.early());
    let ranks = Arc::new(ranks.map_err(failed).inspect_err(|_| children.wait())?);
    run.join(ranks.clone());
    Ok(Joined {
        run,
        ranks: Some(ranks),
        children,
    })
}

fn failed(error: RanksError) -> Failure {
    match error {
        RanksError::Differ(_) => Failure::bad_input(error),
        RanksError::Lost(_) | RanksError::Join(_) => Failure::new(Exit::Failed, error),
    }
}

/// Ends the process where it does not end by itself although a rank is lost: what is stored is whole at any moment.
fn last_resort(output: &Output) -> LastResort {
    let output = output.clone();
    Box::new(move |reason| {
        Failure::new(Exit::Failed, RanksError::Lost(reason.to_owned())).report(&output);
        guard::leave(Exit::Failed as i32)
    })
}

/// Starts a rank, which follows this process.
fn start(rank: usize, place: &Place) -> Result<Child, Failure> {
    let started = || -> io::Result<Child> {
        let mut command = Command::new(env::current_exe()?);
        command
            .args(env::args_os().skip(1))
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", place.count.to_string())
            .env("MASTER_ADDR", &place.address)
            .env("MASTER_PORT", place.port.to_string())
            .env_remove("TORCHELASTIC_USE_AGENT_STORE")
            .env_remove("TORCHELASTIC_RESTART_COUNT")
            .env(LED, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        #[cfg(unix)]
        {
            // A Ctrl-C in the terminal is for this process, which has the others leave in order.
            use std::os::unix::process::CommandExt;
            command.process_group(0);
            command.arg0(crate::program::name());
        }
        command.spawn()
    };
    started().map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("rank {rank} cannot be started: {error}"),
        )
    })
}

/// The ranks that this process started. Their stdin ends with it, and they with that.
#[derive(Default)]
struct Children {
    all: Vec<(usize, Child)>,
    /// Says that this process ends. Those whose stdin has ended ask it to stop, which it would heed before it told its own
    /// reason.
    ending: Option<Box<dyn Fn()>>,
}

impl Children {
    /// Why one of them will not come.
    fn early(&mut self) -> Option<String> {
        self.all.iter_mut().find_map(|(rank, child)| {
            let status = child.try_wait().ok()??;
            Some(format!(
                "rank {rank} ended before it began to train: {status}"
            ))
        })
    }

    /// Waits until all have ended, and ends those that do not.
    fn wait(&mut self) {
        if let Some(ending) = &self.ending {
            ending();
        }
        let since = Instant::now();
        for (_, child) in &mut self.all {
            drop(child.stdin.take());
            while matches!(child.try_wait(), Ok(None)) {
                if since.elapsed() > PARTING {
                    // It fails only if the process has ended.
                    let _ = child.kill().and_then(|()| child.wait().map(|_| ()));
                    break;
                }
                std::thread::sleep(PATROL);
            }
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.wait();
    }
}
