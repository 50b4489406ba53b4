//! `host plugin`.

mod check;
mod list;
mod new;
mod show;
mod trust;

use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};

use super::args::{Output, PluginCommand};
use super::exit::{Exit, Failure};
use crate::experiment::PluginSource;
use crate::strategy::{LoadError, Loader, Plugin, Trust, name_of, runner, trial};

/// Lists, shows, checks, makes, trusts or probes plugins.
///
/// # Errors
/// A plugin that is not found or cannot be used.
pub fn plugin(command: &PluginCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        PluginCommand::List => return list::list(output),
        PluginCommand::Show { name } => show::show(name, output)?,
        PluginCommand::Check(args) => return check::check(args, output),
        PluginCommand::New(args) => new::new(args, output)?,
        // The parent process completes "FILE ..." with what this says.
        PluginCommand::Trust(args) => trust::trust(args, output)?,
        PluginCommand::Probe { file, name } => match alone(file, name.as_deref()) {
            Ok(plugin) => trial::all(&plugin),
            Err(LoadError::Unusable { reason, .. }) => {
                return Err(Failure::new(Exit::Plugin, reason));
            }
            Err(error) => return Err(Failure::new(Exit::Plugin, error)),
        },
    }
    Ok(Exit::Success)
}

/// A plugin by its file, without a trial: this process is one. Whoever names the file agrees to it.
fn alone(file: &Path, name: Option<&str>) -> Result<Rc<Plugin>, LoadError> {
    if let Some(runner) = runner(file) {
        return Loader::for_this_program(Trust::Everything).load_script(runner, file);
    }
    let source = PluginSource {
        path: file.to_owned(),
        blake3: None,
    };
    let name = name.map_or_else(|| name_of(file), str::to_owned);
    Loader::new(Vec::new(), Vec::new(), None, Trust::Everything).load(&name, Some(&source))
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
