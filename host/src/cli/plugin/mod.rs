//! `host plugin`.

mod check;
mod list;
mod new;
mod show;

use serde_json::{Value, json};

use super::args::{Output, PluginCommand};
use super::exit::{Exit, Failure};
use crate::strategy::{Plugin, probe};

/// Lists, shows, checks, makes or probes plugins.
///
/// # Errors
/// A plugin that is not found or cannot be used.
pub fn plugin(command: &PluginCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        PluginCommand::List => return list::list(output),
        PluginCommand::Show { name } => show::show(name, output)?,
        PluginCommand::Check(args) => return check::check(args, output),
        PluginCommand::New(args) => new::new(args, output)?,
        PluginCommand::Probe { file } => {
            // The parent process reads the last line of stderr.
            probe(file).map_err(|reason| Failure::new(Exit::Plugin, reason))?;
        }
    }
    Ok(Exit::Success)
}

/// `score magnitude, mask global`.
fn components(plugin: &Plugin) -> String {
    let names = plugin.manifest.components.iter();
    let names = names.map(|it| format!("{} {}", it.kind.name(), it.name));
    names.collect::<Vec<_>>().join(", ")
}

fn facts(plugin: &Plugin) -> Value {
    json!({
        "name": plugin.name,
        "path": plugin.path,
        "blake3": plugin.digest,
        "api": format!("{}.{}", plugin.api.0, plugin.api.1),
        "rustc": plugin.rustc,
        "manifest": plugin.manifest,
    })
}
