//! Which Python runs a file.

use std::env;
use std::ffi::OsString;
use std::path::Path;

/// The environment variable that names it.
pub const VARIABLE: &str = "REWIND_PYTHON";

/// The program that an experiment names, or else the environment.
pub fn find(named: &str) -> OsString {
    if !named.is_empty() {
        return named.into();
    }
    let said = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(program) = said(VARIABLE) {
        return program;
    }
    let own = said("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    match own.filter(|program| program.exists()) {
        Some(program) => program.into(),
        None => "python3".into(),
    }
}
