//! Lets the benchmarks find the libtorch that the host was built with, and say its version.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    if let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
        if lib.join("libtorch_cuda.so").exists() {
            // Nothing refers to a symbol of the CUDA library: loading it is what registers its kernels.
            println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
            println!("cargo::rustc-link-arg=-ltorch");
            println!("cargo::rustc-link-arg=-ltorch_cuda");
        }
        let version = fs::read_to_string(lib.with_file_name("build-version"));
        let version = version.unwrap_or_default();
        println!("cargo::rustc-env=LIBTORCH_VERSION={}", version.trim());
    }
    println!("cargo::rerun-if-changed=build.rs");
}
