//! Compiles the libraries of faults and of stale attributes.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for (name, variable) in [("faults", "FAULTS"), ("stale", "STALE")] {
        let source = format!("src/{name}.c");
        println!("cargo::rerun-if-changed={source}");
        // `LD_PRELOAD` and the names of the calls are Linux's.
        if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
            continue;
        }
        let out = env::var("OUT_DIR").expect("cargo sets it for build scripts");
        let library = Path::new(&out).join(format!("lib{name}.so"));
        let status = cc::Build::new()
            .get_compiler()
            .to_command()
            .args(["-O1", "-Wall", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([&source, "-ldl"])
            .status()
            .expect("the C compiler starts, as it did for libtorch's bindings");
        assert!(status.success(), "{source} does not compile");
        println!("cargo::rustc-env={variable}={}", library.display());
    }
}
