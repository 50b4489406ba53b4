//! Arguments of the commands about plugins.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};

/// What to do with plugins.
#[derive(Subcommand, Debug)]
pub enum PluginCommand {
    /// List the plugins that are found, and where they are looked for.
    List,
    /// Show what a plugin provides, with the options of its components.
    Show {
        /// `plugin`, `plugin/component`, or the path of a plugin's file.
        #[arg(value_name = "NAME[/COMPONENT]")]
        name: String,
    },
    /// Check that a plugin keeps every rule.
    ///
    /// Its components are made and called in a process of their own, on networks of all kinds. Ends
    /// with 3 if a rule is broken.
    Check(CheckArgs),
    /// Write a new plugin: a crate with components, tests, an experiment, a README and CI, or a file of Python.
    New(NewArgs),
    /// Let experiment files load a plugin from where it lies, from now on.
    ///
    /// A library is trusted by its digest, so that another file is not; a folder with whatever is
    /// built in it. Your configuration keeps what you trust: `plugin list` shows it.
    Trust(TrustArgs),
    /// Load a file, to see whether it takes the process down.
    #[command(hide = true)]
    Probe {
        /// The file.
        file: PathBuf,
        /// The plugin's name, if the file has another one.
        #[arg(long)]
        name: Option<String>,
    },
}

/// Which plugin is checked, and how.
#[derive(ClapArgs, Clone, Debug)]
pub struct CheckArgs {
    /// The plugin's file: a library, or a strategy in Python.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Check these components only: `score/NAME`, or NAME for all kinds. May be given more than once.
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Check these rules only. May be given more than once.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub rule: Vec<String>,
    /// Seed that the cases are drawn from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Try fewer cases, and leave out the rules that take seconds.
    #[arg(long)]
    pub quick: bool,
    /// Seconds that a rule may take of its own: computing, or asleep. Waiting for a processor is not.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub time_limit: u64,
    /// GiB of memory that the process of a component may hold.
    #[arg(long, value_name = "GIB", default_value_t = 4)]
    pub memory_limit: u64,
    /// Also write the report as JUnit's XML.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub junit: Option<PathBuf>,
    /// Be the process that checks this component.
    #[arg(long, hide = true, value_name = "COMPONENT")]
    pub worker: Option<String>,
}

/// A new plugin.
#[derive(ClapArgs, Debug)]
pub struct NewArgs {
    /// Name of the crate, and of the folder to write it to.
    pub name: String,
    /// What the plugin decides.
    #[arg(long, value_enum, default_value_t = NewKind::Score)]
    pub kind: NewKind,
    /// Write a file of Python with a test and an experiment, instead of a crate.
    #[arg(long, conflicts_with_all = ["sdk", "repository", "commit"])]
    pub python: bool,
    /// Folder with the plugin API's sources; those that came with this program if not given.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sdk: Option<PathBuf>,
    /// Git repository of Rewind that the crate's CI is to install from; without one the crate gets no CI.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, requires = "commit")]
    pub repository: Option<String>,
    /// Commit or tag of that repository.
    #[arg(long, value_name = "REV", requires = "repository")]
    pub commit: Option<String>,
    /// Do not trust what will be built in the crate's folder `target`, or lie in the folder of a file of Python.
    #[arg(long)]
    pub no_trust: bool,
}

/// What is trusted.
#[derive(ClapArgs, Debug)]
pub struct TrustArgs {
    /// A plugin's file or a folder; with `--remove` also a digest.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Trust it no longer.
    #[arg(long)]
    pub remove: bool,
}

/// What a new plugin decides.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKind {
    /// Which weights matter.
    Score,
    /// Which weights survive.
    Mask,
    /// What is reset before training goes on.
    Rewind,
    /// What becomes of the weights at each step.
    Update,
    /// One of each.
    All,
}
