//! Arguments of the commands about networks and datasets.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};

use super::common::DataArgs;

/// What to do with networks.
#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// Show a network's layers: shapes, weights that are pruned, products for a sample, first values.
    ///
    /// Also which operations of a network from PyTorch are not understood, and whether it can be written as ONNX.
    Show(ModelShowArgs),
}

/// Which network to show.
#[derive(ClapArgs, Debug)]
pub struct ModelShowArgs {
    /// An archive of torch.export (.pt2), or an experiment file, whose network is shown as it is trained.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Override a key of the experiment file: `--set model.width=32`. May be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Load every plugin that the experiment file names, whoever wrote it: plugins run with your
    /// rights.
    #[arg(long, help_heading = "Plugins")]
    pub allow_plugins: bool,
    /// Where the datasets are.
    #[command(flatten)]
    pub data: DataArgs,
}

/// What to do with datasets.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// List the datasets and whether they are here.
    List(DataArgs),
    /// Get a dataset: from a system package, or by a download whose digest is checked.
    Fetch {
        /// The dataset.
        name: String,
        /// Install no system package, even where one has the dataset.
        #[arg(long)]
        no_apt: bool,
        /// Where to.
        #[command(flatten)]
        data: DataArgs,
    },
}
