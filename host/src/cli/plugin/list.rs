//! `host plugin list`.

use serde_json::json;

use super::facts;
use super::trust::said;
use crate::cli::args::Output;
use crate::cli::exit::{Exit, Failure};
use crate::cli::stdout;
use crate::configuration::{self, Configuration, ConfigurationError};
use crate::report::plain_table;
use crate::strategy::{LoadError, Loader, PATH_VARIABLE, Plugin, Trust};

/// Every component of every plugin that is found, and where was looked. Says whether all of them
/// can be used.
///
/// # Errors
/// If stdout cannot be written to.
pub fn list(output: &Output) -> Result<Exit, Failure> {
    let mut loader = Loader::for_this_program(Trust::Own);
    let names = loader.names();
    let mut rows = Vec::new();
    let mut unusable: Vec<LoadError> = Vec::new();
    for name in names {
        match loader.load(&name, None) {
            Ok(plugin) if output.json => stdout::line(facts(&plugin))?,
            Ok(plugin) => rows.extend(components(&plugin)),
            Err(error) => {
                if output.json {
                    stdout::line(json!({ "name": name, "error": error.to_string() }))?;
                }
                unusable.push(error);
            }
        }
    }
    if !output.json {
        let header = [
            "component",
            "kind",
            "crate",
            "version",
            "API",
            "BLAKE3",
            "file",
        ];
        stdout::line(plain_table(&header, rows))?;
    }
    if !output.json && !output.quiet {
        stdout::line("\nsearched, in this order:")?;
        for folder in loader.folders() {
            let missing = if folder.is_dir() { "" } else { " (not there)" };
            stdout::line(format!("  {}{missing}", folder.display()))?;
        }
        stdout::line(format!(
            "{PATH_VARIABLE} adds folders, [plugins] in an experiment file adds files."
        ))?;
    }
    trusted(output)?;
    unusable.iter().for_each(|error| log::error!("{error}"));
    Ok(if unusable.is_empty() {
        Exit::Success
    } else {
        Exit::Plugin
    })
}

/// What else may be loaded where an experiment file names it.
fn trusted(output: &Output) -> Result<(), Failure> {
    let path = match configuration::path() {
        Err(ConfigurationError::Nowhere) => return Ok(()),
        path => path.map_err(Failure::bad_input)?,
    };
    let trusted = Configuration::read(&path).map_err(Failure::bad_input)?;
    let trusted = trusted.plugins.trusted;
    if output.json {
        return trusted
            .iter()
            .try_for_each(|it| stdout::line(json!({ "trusted": it })));
    }
    if output.quiet || trusted.is_empty() {
        return Ok(());
    }
    stdout::line(format!("\ntrusted, by {}:", path.display()))?;
    trusted
        .iter()
        .try_for_each(|it| stdout::line(format!("  {}", said(it))))
}

/// A row for each component.
fn components(plugin: &Plugin) -> Vec<[String; 7]> {
    let components = plugin.manifest.components.iter();
    let row = |it: &plugin_api::abi::wire::ComponentManifest| {
        [
            format!("{}/{}", plugin.name, it.name),
            it.kind.name().to_owned(),
            plugin.manifest.name.clone(),
            plugin.manifest.version.clone(),
            format!("{}.{}", plugin.api.0, plugin.api.1),
            plugin.digest[..16].to_owned(),
            plugin.path.display().to_string(),
        ]
    };
    components.map(row).collect()
}
