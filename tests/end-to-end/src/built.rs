//! Plugins built beside the running test.

use std::cell::RefCell;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use host::experiment::{self, Part};
use host::registry::Options;
use host::strategy::{Loader, MakeError, Strategy, Trust};
use serde_json::Value;

/// Packages of the shipped plugins and the fixtures.
pub const PACKAGES: [&str; 26] = [
    "aligned",
    "axes",
    "cyclic",
    "gmp",
    "grasp",
    "imp",
    "lrr",
    "magnitude",
    "nm",
    "python",
    "random-mask",
    "rigl",
    "set",
    "sign-perturbation",
    "snip",
    "srigl",
    "ham",
    "sign-in",
    "pilot",
    "aws",
    "movement",
    "structured",
    "synflow",
    "transplant",
    "drop-and-grow",
    "misbehaving",
];

/// A profile of cargo's, by the folder that it builds into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile(String);

impl Profile {
    /// The profile of the running test.
    pub fn of_this_test() -> Self {
        Self(own_folder().1)
    }

    /// Debug for a test in release, else release.
    pub fn other_than_this_test() -> Self {
        let own = Self::of_this_test();
        Self(
            if own.0 == "release" {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
        )
    }
}

/// The target folder and the name of the profile's folder in it: the running test is
/// `target/release/deps/name-hash`.
fn own_folder() -> (PathBuf, String) {
    let test = env::current_exe().expect("the system knows what it runs");
    let folder = test.ancestors().nth(2).expect("tests are in deps/");
    let name = folder.file_name().expect("profiles have folders");
    let target = folder.parent().expect("profiles are in a target folder");
    (target.to_owned(), name.to_string_lossy().into_owned())
}

/// The folder with these plugins of a profile, which cargo builds if they are not fresh.
///
/// # Panics
/// With cargo's output, if it fails.
pub fn folder(profile: &Profile, packages: &[&str]) -> PathBuf {
    let mut cargo = build(profile);
    for package in packages {
        cargo.args(["--package", package]);
    }
    if *profile == Profile::of_this_test() {
        // Its libtorch bindings are only built in the profile of the tests.
        cargo.args(["--package", "program"]);
    }
    finish(&mut cargo);
    own_folder().0.join(&profile.0)
}

/// The program of an example of the host, built beside the running test.
///
/// # Panics
/// With cargo's output, if it fails.
pub fn example(name: &str) -> PathBuf {
    finish(build(&Profile::of_this_test()).args(["--package", "host", "--example", name]));
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    own_folder()
        .0
        .join(own_folder().1)
        .join("examples")
        .join(name)
}

/// A command that builds this workspace in a profile.
fn build(profile: &Profile) -> Command {
    let mut cargo = cargo();
    cargo
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .args(["build", "--quiet", "--target-dir"])
        .arg(own_folder().0);
    match profile.0.as_str() {
        // A plugin's speed is no matter here, and optimising what it depends on takes a minute.
        "debug" => cargo.args(["--config", "profile.dev.package.\"*\".opt-level=0"]),
        "release" => cargo.arg("--release"),
        other => cargo.args(["--profile", other]),
    };
    cargo
}

fn finish(cargo: &mut Command) {
    let built = cargo.output().expect("cargo runs, it runs this test");
    assert!(
        built.status.success(),
        "{cargo:?} failed:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
}

fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    // What cargo tells this test of its own package would make a dependency's build script run anew
    // in every build from here, and once more in the next from outside.
    let of_the_test = |name: &str| {
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR"
    };
    for (name, _) in env::vars().filter(|(name, _)| of_the_test(name)) {
        cargo.env_remove(name);
    }
    cargo
}

/// The target folder of crates that tests build outside this workspace. They share it, so that
/// what they depend on is compiled once.
pub fn outside() -> PathBuf {
    own_folder().0.join("tmp/outside")
}

/// A command of cargo's in the folder of a crate outside this workspace.
pub fn cargo_in(folder: &Path) -> Command {
    let mut cargo = cargo();
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", outside());
    // These crates are tested for what they do, not for how fast.
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    cargo
}

/// The folder with the plugins of this test's own profile, built once.
pub fn own() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| folder(&Profile::of_this_test(), &PACKAGES))
}

/// A loader for the plugins in a folder.
pub fn loader(folder: &Path) -> Loader {
    let trust = Trust::Everything;
    Loader::new(vec![folder.to_owned()], Vec::new(), None, trust)
}

/// `plugin/component` with options, given as a JSON object.
pub fn part(component: &str, options: Value) -> Part {
    let options: Options = match options {
        Value::Object(options) => options,
        other => panic!("{other} is not an object of options"),
    };
    Part {
        component: component.to_owned(),
        options,
    }
}

/// `plugin/component` with its default options.
pub fn plain(component: &str) -> Part {
    part(component, Value::Object(Options::new()))
}

/// A strategy of these parts, from the plugins of this test's own profile.
///
/// # Errors
/// Why it cannot be made.
pub fn strategy(score: Part, mask: Part, rewind: Vec<Part>) -> Result<Strategy, MakeError> {
    strategy_with(score, mask, rewind, Vec::new())
}

/// The same with updates.
///
/// # Errors
/// Why it cannot be made.
pub fn strategy_with(
    score: Part,
    mask: Part,
    rewind: Vec<Part>,
    update: Vec<Part>,
) -> Result<Strategy, MakeError> {
    // A loader reads a library once, but stays on its thread.
    thread_local!(static LOADER: RefCell<Loader> = RefCell::new(loader(own())));
    let config = experiment::Strategy {
        score,
        mask,
        rewind,
        update,
    };
    LOADER.with_borrow_mut(|loader| Strategy::new(&config, |part| loader.load_part(part, None)))
}
