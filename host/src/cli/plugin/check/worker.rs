//! The process that loads the plugin and checks the rules of one component.

use std::rc::Rc;

use conformance::{RULES, RuleReport, Trial};
use plugin_api::abi::wire::Manifest;
use serde::{Deserialize, Serialize};

use super::subject::Loaded;
use crate::cli::args::CheckArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::plugin::alone;
use crate::cli::stdout;

/// Name of no component: describes the plugin instead.
pub const DESCRIBE: &str = "-";

/// What a worker says, a line each.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// What the plugin says of itself.
    Manifest(Manifest),
    /// The rule that it is about now.
    About(String),
    /// What became of it.
    Found(RuleReport),
}

/// Checks one component, or describes the plugin.
///
/// # Errors
/// A file that is no plugin.
pub fn work(args: &CheckArgs, component: &str) -> Result<Exit, Failure> {
    let plugin = match args.file.is_file() {
        true => alone(&args.file, None).map_err(|error| Failure::new(Exit::Plugin, error))?,
        false => {
            let reason = format!("{} is no file", args.file.display());
            return Err(Failure::new(Exit::Plugin, reason));
        }
    };
    let say = |line: &Line| {
        let line =
            serde_json::to_string(line).map_err(|error| Failure::new(Exit::Failed, error))?;
        stdout::line(line)
    };
    if component == DESCRIBE {
        say(&Line::Manifest(plugin.manifest.clone()))?;
        return Ok(Exit::Success);
    }
    let is = |it: &&plugin_api::abi::wire::ComponentManifest| {
        component == format!("{}/{}", it.kind.name(), it.name)
    };
    let manifest = plugin.manifest.components.iter().find(is).ok_or_else(|| {
        Failure::bad_input(format!("{} has no component `{component}`", plugin.name))
    })?;
    let subject = Loaded::new(Rc::clone(&plugin), manifest);
    let trial = Trial {
        subject: &subject,
        manifest: &plugin.manifest,
        component: manifest,
        seed: args.seed,
        quick: args.quick,
    };
    for rule in RULES {
        if args.rule.iter().any(|name| name == rule.name) {
            say(&Line::About(rule.name.to_owned()))?;
            say(&Line::Found(RuleReport {
                rule: rule.name.to_owned(),
                verdict: rule.check(&trial),
            }))?;
        }
    }
    Ok(Exit::Success)
}
