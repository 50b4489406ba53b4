//! `host plugin list`.

use serde_json::json;

use super::{components, facts};
use crate::cli::args::Output;
use crate::cli::exit::Failure;
use crate::cli::stdout;
use crate::report::plain_table;
use crate::strategy::{Loader, PATH_VARIABLE};

/// The plugins that are found, and where they were looked for.
///
/// # Errors
/// If stdout cannot be written to.
pub fn list(output: &Output) -> Result<(), Failure> {
    let mut loader = Loader::for_this_program();
    let mut rows = Vec::new();
    for name in loader.names() {
        let plugin = loader.load(&name, None).map_err(|error| error.to_string());
        if output.json {
            stdout::line(match &plugin {
                Ok(plugin) => facts(plugin),
                Err(error) => json!({ "name": name, "error": error }),
            })?;
            continue;
        }
        rows.push(match plugin {
            Ok(plugin) => [
                name,
                plugin.manifest.version.clone(),
                format!("{}.{}", plugin.api.0, plugin.api.1),
                components(&plugin),
                plugin.digest[..16].to_owned(),
                plugin.path.display().to_string(),
            ],
            Err(error) => [
                name,
                "unusable".into(),
                "".into(),
                error,
                "".into(),
                "".into(),
            ],
        });
    }
    if output.json {
        return Ok(());
    }
    let header = ["plugin", "version", "API", "components", "BLAKE3", "file"];
    let folders: Vec<String> = loader
        .folders()
        .map(|it| it.display().to_string())
        .collect();
    stdout::line(plain_table(&header, rows))?;
    if output.quiet {
        return Ok(());
    }
    stdout::line(format!(
        "\nsearched: {} ({PATH_VARIABLE} adds folders)",
        folders.join(", ")
    ))
}
