//! Records the compiler and target, which a plugin's descriptor carries, and the name under which the layout of
//! this interface is known.

use std::env;
use std::process::Command;

fn main() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_else(|| "unknown rustc".to_owned());
    println!("cargo::rustc-env=PLUGIN_API_RUSTC={}", version.trim());
    println!(
        "cargo::rustc-env=PLUGIN_API_TARGET={}",
        env::var("TARGET").unwrap_or_else(|_| "unknown target".to_owned())
    );
    // `abi_stable` writes the package's name into every layout, and takes another name for another
    // interface: plugins built for 1.0 know it by this one, whatever the package is called.
    println!("cargo::rustc-env=CARGO_PKG_NAME=plugin-api");
    println!("cargo::rerun-if-changed=build.rs");
}
