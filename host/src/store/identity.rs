//! What a run is: `identity.json` in its folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifact::StoreError;
use super::run::RunDir;
use super::sealed::{self, Sealed};

/// What a run computes and which plugin files did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// Canonical form of the experiment.
    pub canonical: Value,
    /// Name of the folder of level 0, beside the run.
    #[serde(default)]
    pub dense: Option<String>,
    /// BLAKE3 of the canonical form, hexadecimal.
    pub identity: String,
    /// The plugins, by name.
    #[serde(default)]
    pub plugins: BTreeMap<String, PluginFile>,
    /// Plugins that computed earlier levels, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced_plugins: Vec<BTreeMap<String, PluginFile>>,
    /// For each of these, the levels that they had a part in, as [`level_name`](Self::level_name), with
    /// the BLAKE3 of their `done.json`; nothing for one that was under way. Earlier versions noted
    /// none: then it is shorter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced_levels: Vec<BTreeMap<String, Option<String>>>,
}

/// A plugin's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginFile {
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: String,
    /// Version that the plugin gives itself.
    pub version: String,
}

const FILE: &str = "identity.json";

impl RunIdentity {
    /// Reads that of a run; none if it has none.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn read(run: &RunDir) -> Result<Option<Sealed<Self>>, StoreError> {
        let path = run.file(FILE);
        match path.exists() {
            true => sealed::read_sealed(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Writes it into a run's folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, run: &RunDir) -> Result<(), StoreError> {
        sealed::write_sealed(&run.file(FILE), self)
    }

    /// A level as `replaced_levels` names it.
    pub fn level_name(seed: u64, level: u64) -> String {
        format!("seed-{seed}/level-{level:02}")
    }

    /// Number of threads that its levels were computed with, where their bits depend on it: the name
    /// of level 0's folder ends in it.
    pub fn threads(&self) -> Option<usize> {
        let (_, last) = self.dense.as_ref()?.rsplit_once('-')?;
        last.strip_suffix('t')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_is_read_from_the_dense_levels_folder() {
        let of = |dense: &str| {
            let dense = Some(dense.to_owned());
            let identity = RunIdentity {
                dense,
                ..RunIdentity::default()
            };
            identity.threads()
        };
        assert_eq!(of("dense-b1758ce5-12t"), Some(12));
        assert_eq!(of("dense-b1758ce5"), None);
        assert_eq!(of("dense-b1758ce5-cuda"), None);
    }

    #[test]
    fn a_run_of_an_older_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path());
        let text = r#"{"canonical": {"schema": 1}, "dense": "dense-0", "identity": "ff",
            "plugins": {"imp": {"blake3": "aa", "version": "1.0.0"}}}"#;
        super::super::artifact::write(&run.file(FILE), text.as_bytes()).unwrap();
        let read = RunIdentity::read(&run).unwrap().unwrap();
        assert!(!read.sealed);
        assert_eq!(read.value.plugins["imp"].version, "1.0.0");
    }
}
