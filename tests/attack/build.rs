//! Compiles the library of faults.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/faults.c");
    // `LD_PRELOAD` and the names of the calls are Linux's.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let out = env::var("OUT_DIR").expect("cargo sets it for build scripts");
    let library = Path::new(&out).join("libfaults.so");
    let status = cc::Build::new()
        .get_compiler()
        .to_command()
        .args(["-O1", "-Wall", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .args(["src/faults.c", "-ldl"])
        .status()
        .expect("the C compiler starts, as it did for libtorch's bindings");
    assert!(status.success(), "src/faults.c does not compile");
    println!("cargo::rustc-env=FAULTS={}", library.display());
}
