//! Files of other languages that a strategy's options name, and the options that follow from them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check::check_options;
use super::described::target;
use super::diagnostic::Diagnostic;
use super::files;
use super::problems::Diagnostics;
use super::tree::{Node, Tree};
use super::{Catalog, Part, Slot};

/// The option of a schema that names a file of another language.
pub fn option_of(schema: &Value) -> Option<&str> {
    let properties = schema.get("properties")?.as_object()?;
    let is_script = |own: &Value| {
        let mut own = [Some(own), target(own, schema)].into_iter().flatten();
        own.any(|it| it.get("x-type").is_some_and(|it| it == "script"))
    };
    let found = properties.iter().find(|(_, own)| is_script(own));
    found.map(|(name, _)| name.as_str())
}

/// A file's name without its folders, by which a script is known.
pub fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The schema of a part's options: its component's, or what follows from the file that the part names, whose path
/// becomes an absolute one. None where the file cannot be used, which is reported at its place.
pub(super) fn schema_of(
    part: &mut Node,
    slot: Slot,
    own: &Value,
    path: &str,
    (catalog, folders): (&dyn Catalog, &[PathBuf]),
    problems: &mut Diagnostics,
) -> Option<Value> {
    let named = option_of(own).and_then(|option| {
        let node = part.table_mut()?.get_mut(option)?;
        node.text()?;
        files::complete(node, folders);
        Some(node.clone())
    });
    let Some(file) = named else {
        return Some(own.clone());
    };
    // The function's own options are not known yet.
    let mut known = part.clone();
    if let Some(table) = known.table_mut() {
        let is_own = |key: &str| key == "use" || own["properties"].get(key).is_some();
        let others: Vec<String> = (table.iter())
            .map(|(key, _)| key.text.clone())
            .filter(|key| !is_own(key))
            .collect();
        for key in others {
            table.remove(&key);
        }
    }
    let found = check_options(&known, "use", own, path);
    if !found.is_empty() {
        found.into_iter().for_each(|problem| problems.push(problem));
        return None;
    }
    let typed: Part = serde_json::from_value(known.to_json()).ok()?;
    match catalog.script(slot, &typed) {
        Ok(schema) => Some(schema.unwrap_or_else(|| own.clone())),
        Err(reason) => {
            let mut lines = reason.lines();
            let first = lines.next().unwrap_or("no reason given");
            let name = match &file.value {
                Tree::Text(path) => file_name(Path::new(path)),
                _ => String::new(),
            };
            let message = format!("failed to load `{name}`: {first}");
            let problem = Diagnostic::new(Some(&file.place), message).label("named here");
            let problem = lines.fold(problem, Diagnostic::note);
            problems.push(problem.plugin_failure());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_option_that_names_a_file_is_known_by_its_schema() {
        let schema = json!({ "properties": {
            "a": { "type": "string" }, "code": { "type": "string", "x-type": "script" },
        }});
        assert_eq!(option_of(&schema), Some("code"));
        let schema = json!({
            "properties": { "a": {}, "code": { "$ref": "#/$defs/Script" } },
            "$defs": { "Script": { "type": "string", "x-type": "script" } },
        });
        assert_eq!(option_of(&schema), Some("code"));
        assert_eq!(option_of(&json!({ "properties": { "a": {} } })), None);
        assert_eq!(option_of(&json!(true)), None);
        assert_eq!(file_name(Path::new("/x/mine.py")), "mine.py");
    }
}
