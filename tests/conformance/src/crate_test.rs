//! The rules as a test of a plugin's own crate.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Environment variable with the program's path.
const PROGRAM: &str = "REWIND_HOST";

/// Builds the library of the crate in `folder` and has the program check every rule.
///
/// # Panics
/// With the program's report if a rule is broken, and with what to do if there is no program.
pub fn assert_crate_conforms(folder: &str, name: &str) {
    let library = build(Path::new(folder), name);
    let program = program();
    let output = Command::new(&program)
        .args(["plugin", "check"])
        .arg(&library)
        .output()
        .unwrap_or_else(|error| panic!("failed to run {}: {error}", program.display()));
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Builds the library in the profile and the target folder of the running test:
/// `target/debug/deps/name-hash`. Cargo builds a dynamic library for nobody but on request.
fn build(folder: &Path, name: &str) -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    let built = test.ancestors().nth(2).unwrap_or(folder);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).args(["build", "--quiet"]);
    match built.file_name().and_then(|profile| profile.to_str()) {
        Some("debug") | None => &mut cargo,
        Some(profile) => cargo.args(["--profile", profile]),
    };
    if let Some(target) = built.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    let output = cargo
        .output()
        .unwrap_or_else(|error| panic!("failed to run cargo: {error}"));
    assert!(
        output.status.success(),
        "the plugin does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = format!(
        "{}{}{}",
        env::consts::DLL_PREFIX,
        name.replace('-', "_"),
        env::consts::DLL_SUFFIX
    );
    let library = built.join(&file);
    assert!(
        library.is_file(),
        "cargo built no {}: the crate needs `crate-type = [\"cdylib\"]` under [lib]",
        library.display()
    );
    library
}

/// The program: as the environment says, or the first of its names that is it and not a namesake.
fn program() -> PathBuf {
    if let Some(named) = env::var_os(PROGRAM) {
        assert!(
            is_ours(&named),
            "{PROGRAM} names {}, which is not the program `rewind`",
            named.display()
        );
        return named.into();
    }
    ["rewind", "host"]
        .map(OsString::from)
        .into_iter()
        .find(is_ours)
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            panic!(
                "the program that checks the rules was not found: install it (`make install` in a \
                 checkout of Rewind) and put its folder on the PATH, or name it in {PROGRAM}"
            )
        })
}

/// Whether it knows `plugin check`; a DNS tool is called `host`, too.
fn is_ours(program: &OsString) -> bool {
    let mut asked = Command::new(program);
    asked.args(["plugin", "check", "--help"]);
    asked
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}
