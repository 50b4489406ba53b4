//! `host plugin show`.

use std::path::Path;
use std::rc::Rc;

use plugin_api::abi::wire::ComponentManifest;

use super::{alone, components, facts};
use crate::cli::args::Output;
use crate::cli::exit::{Exit, Failure};
use crate::cli::options::options;
use crate::cli::prose::{self, documentation};
use crate::cli::stdout;
use crate::experiment::PluginSource;
use crate::strategy::{Loader, Plugin, Trust, name_of, runner};

/// A plugin or one component of it, with options, types, defaults and meanings.
///
/// # Errors
/// A plugin or component that is not found, or cannot be used.
pub fn show(asked: &str, output: &Output) -> Result<(), Failure> {
    let (plugin, component) = find(asked)?;
    let all = &plugin.manifest.components;
    let shown: Vec<&ComponentManifest> = (all.iter())
        .filter(|it| component.is_none_or(|name| it.name == name))
        .collect();
    if shown.is_empty() {
        return Err(Failure::bad_input(format!(
            "plugin `{}` has no component `{}`; it has {}",
            plugin.name,
            component.unwrap_or_default(),
            components(&plugin)
        )));
    }
    if output.json {
        return stdout::line(facts(&plugin));
    }
    let mut text = Vec::new();
    if component.is_none() {
        text.push(head(&plugin));
    }
    text.extend(shown.iter().map(|it| describe(&plugin, it)));
    stdout::line(text.join("\n\n"))
}

/// The plugin that was asked for by `plugin`, `plugin/component` or the path of its file.
fn find(asked: &str) -> Result<(Rc<Plugin>, Option<&str>), Failure> {
    let mut loader = Loader::for_this_program(Trust::Own);
    let failed = |error| Failure::new(Exit::Plugin, error);
    let path = Path::new(asked);
    if runner(path).is_some() {
        return Ok((alone(path, None).map_err(failed)?, None));
    }
    if asked.ends_with(std::env::consts::DLL_SUFFIX) {
        let name = name_of(path);
        let source = PluginSource {
            path: path.to_owned(),
            blake3: None,
        };
        // A plugin of that name elsewhere does not matter here, and whoever names a file agrees to it.
        let probe = std::env::current_exe().ok();
        let mut alone = Loader::new(Vec::new(), Vec::new(), probe, Trust::Everything);
        return Ok((alone.load(&name, Some(&source)).map_err(failed)?, None));
    }
    let (name, component) = match asked.split_once('/') {
        Some((name, component)) => (name, Some(component)),
        None => (asked, None),
    };
    match loader.load(name, None) {
        Err(error) if !loader.names().iter().any(|it| it == name) => Err(Failure::bad_input(error)),
        result => Ok((result.map_err(failed)?, component)),
    }
}

fn head(plugin: &Plugin) -> String {
    let manifest = &plugin.manifest;
    let mut rows = vec![
        ("file", plugin.path.display().to_string()),
        ("BLAKE3", plugin.digest.clone()),
    ];
    if !plugin.is_script() {
        rows.push(("API", format!("{}.{}", plugin.api.0, plugin.api.1)));
        rows.push(("built by", plugin.rustc.clone()));
    }
    if let Some(default) = &manifest.default {
        let rewind: Vec<String> = default.rewind.iter().map(|it| format!("{it:?}")).collect();
        let trio = format!(
            "strategy = {:?} means score = {:?}, mask = {:?}, rewind = [{}]",
            plugin.name,
            default.score,
            default.mask,
            rewind.join(", ")
        );
        rows.push(("default", trio));
    }
    let mut lines = vec![match plugin.is_script() {
        true => manifest.name.clone(),
        false => format!("{} {}", manifest.name, manifest.version),
    }];
    if !manifest.summary.is_empty() {
        lines[0].push_str(&format!(": {}", manifest.summary));
    }
    lines.extend(
        rows.iter()
            .map(|(name, what)| format!("  {name:<9} {what}")),
    );
    lines.join("\n")
}

fn describe(plugin: &Plugin, component: &ComponentManifest) -> String {
    let (kind, name) = (component.kind.name(), &component.name);
    let mut lines = vec![match runner(&plugin.path) {
        Some(runner) => format!(
            "{kind} = {{ use = \"{runner}/{name}\", file = {:?} }}",
            plugin.name
        ),
        None => format!("{kind} = \"{}/{name}\"", plugin.name),
    }];
    lines.extend(prose::lines(&documentation(&component.schema), 2));
    let options = options(&component.schema);
    if options.is_empty() {
        lines.push("  It has no options.".to_owned());
        return lines.join("\n");
    }
    lines.push("  Options:".to_owned());
    for option in options {
        let head = format!(
            "{}: {} ({})",
            option.name,
            option.kind,
            option.default.words()
        );
        lines.extend(prose::wrap(&head, 4));
        lines.extend(prose::lines(&option.docs, 8));
    }
    lines.join("\n")
}
