//! The command line.

mod args;
mod barrier;
mod bars;
mod bench_export;
mod best;
mod cancel;
mod compare;
mod completions;
mod data;
mod disk;
pub mod early;
mod estimate;
mod exit;
mod export;
mod groups;
mod infer;
mod init;
mod inventory;
mod locate;
mod man;
mod model;
mod neuron;
mod options;
mod outline;
mod overlap;
mod plan;
mod plugin;
mod prose;
mod ranks;
mod report;
mod review;
mod room;
mod run;
mod show;
pub mod spin;
mod status;
mod stdout;
mod submission;
mod submit;
mod sweep;
mod tensorboard;
mod together;
mod usage;
mod verify;
mod watch;
mod watcher;

use std::io::{self, Write};
use std::sync::Mutex;

use clap::FromArgMatches;
use indicatif::MultiProgress;
use serde_json::json;

use crate::memory::{shortage, text_of, with_advice};
use crate::strategy::guard::{self, Farewell, Limits};
use crate::strategy::trial;

use args::{Args, Command, PluginCommand};
pub use exit::{Exit, Failure};
pub use plan::grouped;

/// Reads the value of `--seeds`, for [`crate::fuzzing`].
pub(crate) fn seeds(text: &str) -> Result<Vec<u64>, String> {
    args::parse_seeds(text).map(|list| list.0)
}

/// Parses the command line, does what it says and ends the process with an exit code.
pub fn main() -> ! {
    crate::memory::keep_freed();
    if completions::is_asked() {
        guard::leave(completions::names());
    }
    let parsed = usage::command().try_get_matches();
    match parsed.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => guard::leave(follow(&args) as i32),
        // Help and the version come as errors too, with an exit code of 0.
        Err(error) => {
            let _ = error.print().and_then(|()| io::stdout().flush());
            guard::leave(error.exit_code())
        }
    }
}

fn follow(args: &Args) -> Exit {
    if matches!(args.command, Command::Run(_)) {
        crate::memory::keep_freed_by_threads();
    }
    let bars = MultiProgress::new();
    args.output.start_logging(&bars);
    guard::watch(limits(&args.command), farewell(args));
    match catch(|| obey(args, &bars)) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.report(&args.output);
            failure.exit
        }
    }
}

fn obey(args: &Args, bars: &MultiProgress) -> Result<Exit, Failure> {
    check_kernels()?;
    let output = &args.output;
    match &args.command {
        Command::Init(args) => init::init(args, output),
        Command::Run(run) => run::run(run, output, bars),
        Command::Plan(plan) => plan::plan(plan, output),
        Command::Show(show) => show::show(show, output),
        Command::Status(args) => status::status(args, output),
        Command::Watch(args) => watch::watch(args, output),
        Command::Ls(args) => inventory::ls(args, output),
        Command::Clean(args) => inventory::clean(args, output),
        Command::Submit(args) => submit::submit(args, output),
        Command::Cancel(args) => cancel::cancel(args, output),
        Command::Verify(args) => verify::verify(args, output),
        Command::Report(report) => report::report(report, output),
        Command::Compare(compare) => compare::compare(compare, output),
        Command::Best(args) => best::best(args, output),
        Command::Neuron(neuron) => neuron::neuron(neuron, output),
        Command::Overlap(overlap) => overlap::overlap(overlap, output),
        Command::Barrier(barrier) => barrier::barrier(barrier, output),
        Command::Tensorboard(args) => tensorboard::tensorboard(args, output),
        Command::Export(args) => export::export(args, output),
        Command::BenchExport(args) => bench_export::bench(args, output),
        Command::Infer(args) => infer::infer(args),
        Command::Groups(args) => groups::groups(args, output),
        Command::Model(command) => model::model(command, output),
        Command::Plugin(command) => plugin::plugin(command, output),
        Command::Data(command) => data::data(command, output, bars),
        Command::Completions { shell } => completions::completions(*shell),
        Command::Man => man::man(),
    }
}

/// The environment variable that names the longest vectors that the kernels may use.
const KERNELS: &str = "REWIND_KERNELS";
const KINDS: [&str; 3] = ["avx512", "avx2", "plain"];

/// The kernels take what they do not know for `plain`.
fn check_kernels() -> Result<(), Failure> {
    match std::env::var_os(KERNELS) {
        Some(named) if !named.is_empty() && KINDS.iter().all(|kind| named != *kind) => {
            Err(Failure::bad_input(format!(
                "{KERNELS} is `{}`, expected one of {}, or nothing, which takes the best that the processor has",
                named.display(),
                KINDS.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// Makes a failure of a panic. `tch` panics of what libtorch refuses, memory above all.
fn catch(work: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_else(|| "an unknown place".to_owned());
        let text = text_of(panic.payload());
        match std::thread::current().name() {
            Some("main") => log::debug!("panic at {place}: {text}"),
            name => log::error!("thread `{}` failed at {place}: {text}", name.unwrap_or("?")),
        }
        // The place is all that the panic's own value lacks.
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = place;
        }
    }));
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(Failure::new(Exit::Failed, panicked(text_of(&*panic)))),
    }
}

/// Where the last panic was.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn panicked(text: &str) -> String {
    if let Some(shortage) = shortage(text) {
        return with_advice(&shortage);
    }
    if let Some(said) = crate::gpu::said(text) {
        return said.under_way();
    }
    let text = text
        .split("\\nException raised from")
        .next()
        .unwrap_or(text);
    let place = LAST_PANIC.lock().map(|last| last.clone());
    format!(
        "the program failed at {}: {text}; this is a bug of the program, please report it; what is stored is \
         whole: the same command goes on from there",
        place.unwrap_or_default()
    )
}

/// What the calls of plugins may cost.
fn limits(command: &Command) -> Limits {
    match command {
        Command::Run(run) => run.limits.limits(),
        Command::Plugin(PluginCommand::Probe { .. }) => trial::LIMITS,
        _ => Limits::default(),
    }
}

/// What is said when a plugin ends the process.
fn farewell(args: &Args) -> Farewell {
    let line: fn(&str) -> String = match (&args.command, args.output.json) {
        (Command::Plugin(PluginCommand::Probe { .. }), _) => {
            |message| format!("error: did not pass its trial: {message}")
        }
        (Command::Run(_), true) => |message| exit::as_json(&can_go_on(message)),
        (Command::Run(_), false) => |message| format!("error: {}", can_go_on(message)),
        (_, true) => exit::as_json,
        (_, false) => |message| format!("error: {message}"),
    };
    let own: fn(&str) -> String = match args.output.json {
        true => |message| json!({ "error": message, "exit": Exit::Failed as u8 }).to_string(),
        false => |message| format!("error: {message}"),
    };
    Farewell {
        line,
        exit: Exit::Plugin as i32,
        own: own(
            "the program was ended from within, for want of memory or of threads, or of its GPU, if nothing above says \
             otherwise; what is stored is whole: the same command goes on from there",
        ),
        own_exit: Exit::Failed as i32,
    }
}

fn can_go_on(message: &str) -> String {
    format!(
        "{message}; what is stored is whole: the same command goes on once the plugin is mended"
    )
}
