//! A plugin that was built against plugin-api 1.0 loads in this host, and one that was built against
//! a later 1.x is told what this host lacks.

// Clippy knows tests, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use end_to_end::built::{cargo_in, loader, outside, plain};
use end_to_end::program::{self, expect};
use host::experiment;
use host::strategy::Strategy;
use host::strategy::still::Still;
use plugin_api::abi::{API_MAJOR, API_MINOR};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// BLAKE3 of the archive. A plugin in somebody's hands was built from exactly this: if the digest
/// changes, the promise to load it is no longer tested.
const ARCHIVE_DIGEST: &str = "78035eb2ea192ddc84c621828b8a11fb41e7b612c5bae046f13ef8dd48f3563f";

/// Builds a plugin of `tests/abi` in a workspace of its own beside a plugin-api, and gives the
/// library.
fn build(name: &str, workspace: &Path) -> PathBuf {
    let manifest = fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    let mut manifest: toml::Table = manifest.parse().unwrap();
    let own = manifest["workspace"].as_table_mut().unwrap();
    own.remove("default-members");
    own.insert("members".into(), vec!["plugin-api", name].into());
    fs::write(workspace.join("Cargo.toml"), manifest.to_string()).unwrap();
    fs::copy(
        Path::new(ROOT).join("Cargo.lock"),
        workspace.join("Cargo.lock"),
    )
    .unwrap();
    let package = workspace.join(name);
    fs::create_dir_all(package.join("src")).unwrap();
    let source = Path::new(ROOT).join(format!("tests/abi/{name}.rs"));
    fs::copy(source, package.join("src/lib.rs")).unwrap();
    let text = format!(
        "[package]\nname = \"{name}\"\ndescription = \"A fixture\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\nplugin-api.workspace = true\nserde.workspace = true\n"
    );
    fs::write(package.join("Cargo.toml"), text).unwrap();
    expect(cargo_in(&package).args(["build", "--release"]), 0);
    let file = libloading_name(name);
    let library = workspace.join(&file);
    fs::copy(outside().join("release").join(&file), &library).unwrap();
    library
}

fn libloading_name(name: &str) -> String {
    format!(
        "{}{name}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    )
}

/// Replaces a text that must be there once.
fn replace(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(
        text.matches(old).count(),
        1,
        "{old:?} in {}",
        path.display()
    );
    fs::write(path, text.replace(old, new)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The folder of a workspace, empty.
fn workspace(name: &str) -> PathBuf {
    let folder = outside().join("workspaces").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn conforms(library: &Path, only: &[&str]) {
    let mut check = std::process::Command::new(program::host());
    check
        .args(["plugin", "check"])
        .arg(library)
        .args(["--quick"]);
    expect(check.args(only), 0);
}

#[test]
fn a_plugin_built_against_1_0_conforms_and_runs_an_experiment() {
    let archive = fs::read(Path::new(ROOT).join("tests/abi/plugin-api-1.0.0.tar.gz")).unwrap();
    assert_eq!(blake3::hash(&archive).to_hex().as_str(), ARCHIVE_DIGEST);
    let folder = workspace("1.0");
    let unpacked = flate2::read::GzDecoder::new(archive.as_slice());
    tar::Archive::new(unpacked).unpack(&folder).unwrap();
    let library = build("frozen", &folder);
    conforms(&library, &[]);
    let runs = tempfile::tempdir().unwrap();
    let plugins = format!("plugins.frozen.path=\"{}\"", library.display());
    let more = ["--seeds", "0..2", "--allow-plugins"];
    let mut run = program::run("imp.toml", runs.path(), &more);
    for set in [
        "name=frozen",
        "prune.levels=3",
        "train.epochs=3",
        "strategy=\"frozen\"",
        &plugins,
    ] {
        run.args(["--set", set]);
    }
    expect(&mut run, 0);
}

#[test]
fn a_plugin_built_against_a_later_version_is_told_what_this_host_lacks() {
    let folder = workspace("later");
    copy(
        &Path::new(ROOT).join("plugin-api"),
        &folder.join("plugin-api"),
    );
    fs::copy(
        Path::new(ROOT).join("Cargo.toml"),
        folder.join("Cargo.toml"),
    )
    .unwrap();
    let source = folder.join("plugin-api/src");
    let codes = source.join("abi/codes.rs");
    let later = "/// Later.\n    LATER = 9_000,\n";
    replace(
        &codes,
        "    /// `-x`.\n",
        &format!("{later}    /// `-x`.\n"),
    );
    let facts = "    /// Query: [`Facts`]";
    replace(&codes, facts, &format!("{later}{facts}"));
    let power = "    /// `self ^ exponent`.\n";
    let method = "/// Later.\n    pub fn later(&self) -> Tensor {\n        self.apply(Op::LATER, &[], &[], &[])\n    }\n\n";
    replace(
        &source.join("tensor.rs"),
        power,
        &format!("    {method}{power}"),
    );
    let field = "    /// Whether batch norm uses its running statistics.\n";
    let added = "    /// Later.\n    #[serde(skip_serializing_if = \"std::ops::Not::not\")]\n    pub later: bool,\n";
    replace(
        &source.join("request.rs"),
        field,
        &format!("{added}{field}"),
    );
    let default = "            temperature: 1.0,\n";
    replace(
        &source.join("request.rs"),
        default,
        &format!("            later: false,\n{default}"),
    );
    replace(
        &source.join("abi/descriptor.rs"),
        &format!("API_MINOR: u32 = {API_MINOR};"),
        &format!("API_MINOR: u32 = {};", API_MINOR + 1),
    );
    // Workspaces share a target folder, where cargo tells packages at the same place apart by version.
    replace(
        &folder.join("plugin-api/Cargo.toml"),
        &format!("version = \"{API_MAJOR}.{API_MINOR}.0\""),
        &format!("version = \"{API_MAJOR}.{}.0\"", API_MINOR + 1),
    );
    let library = build("newer", &folder);
    conforms(&library, &["--only", "adapts"]);
    let plugin = loader(&folder).load("newer", None).unwrap();
    assert_eq!(plugin.api, (API_MAJOR, API_MINOR + 1));
    let score = |component: &str| {
        let config = experiment::Strategy {
            score: plain(component),
            mask: plain("imp/global"),
            rewind: vec![],
            update: vec![],
        };
        let mut own = loader(&folder);
        let mut shipped = loader(end_to_end::built::own());
        let mut strategy = Strategy::new(&config, |part| match part.names().0 {
            "newer" => own.load_part(part, None),
            _ => shipped.load_part(part, None),
        })
        .unwrap();
        strategy.score(&Still::new(&[&[4, 3]], 0)).map(|_| ())
    };
    score("newer/adapts").unwrap();
    let message = score("newer/insists").unwrap_err().to_string();
    assert!(
        message.starts_with("score component `insists` of plugin `newer` failed: "),
        "{message}"
    );
    assert!(message.contains("9000"), "{message}");
    // A kind that no host of today knows.
    let kind = "    /// An [`Update`](crate::Update), from 1.1 on.\n";
    let renamed = format!("{kind}    #[serde(rename = \"hereafter\")]\n");
    replace(&source.join("abi/wire.rs"), kind, &renamed);
    build("later", &folder);
    let message = match loader(&folder).load("later", None) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was loaded"),
    };
    assert!(message.starts_with("plugin `later`: "), "{message}");
    assert!(
        message.contains("unknown variant `hereafter`") && message.contains("a newer host"),
        "{message}"
    );
}
