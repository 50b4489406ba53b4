//! A file of another language, as an option names it.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A file of code in another language, which a plugin runs.
///
/// In an experiment file it is a text: the file's path, which starts at the experiment file's folder. The host treats
/// the file as it does a plugin's: it runs only if the user trusts it, its digest is recorded with the run, and in the
/// experiment's identity it stands with its name, not with where it lies. The host reads it once and hands over what
/// it read, from plugin-api 1.1 on.
///
/// The component's other options may follow from the file: its `options()` says which there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
#[non_exhaustive]
pub struct Script {
    /// Where the file lies, for messages.
    pub path: PathBuf,
    /// What it holds; none if the host is older than plugin-api 1.1.
    pub source: Option<String>,
}

impl Script {
    /// A file with this source: for tests.
    pub fn new(path: impl Into<PathBuf>, source: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            source: Some(source.into()),
        }
    }
}

/// What a host hands over: the path alone, or with what was read.
#[derive(Deserialize)]
#[serde(untagged)]
enum Wire {
    Path(PathBuf),
    Read { path: PathBuf, source: String },
}

impl From<Wire> for Script {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Path(path) => Self { path, source: None },
            Wire::Read { path, source } => Self::new(path, source),
        }
    }
}

impl JsonSchema for Script {
    fn schema_name() -> Cow<'static, str> {
        "Script".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "x-type": "script",
            "description": "a file of code; a relative path starts at the experiment file's folder",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Hosts of every 1.x from 1.1 on write these texts, and the word in the schema is how they know the option.
    #[test]
    fn texts_and_schema_are_frozen() {
        let read = |value| serde_json::from_value::<Script>(value).unwrap();
        let whole = json!({ "path": "/x/mine.py", "source": "import rewind" });
        assert_eq!(read(whole), Script::new("/x/mine.py", "import rewind"));
        let alone = read(json!("/x/mine.py"));
        assert_eq!(
            (alone.path.to_str(), alone.source),
            (Some("/x/mine.py"), None)
        );
        let schema = schemars::schema_for!(Script).to_value();
        assert_eq!(schema["x-type"], "script");
    }
}
