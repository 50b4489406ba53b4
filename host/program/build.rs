//! Lets the program find libtorch when it runs: beside itself, or where it was built with it.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        panic!("torch-sys did not say where libtorch is (DEP_TCH_LIBTORCH_LIB)");
    };
    let linux = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux");
    let beside = if linux { "$ORIGIN" } else { "@loader_path" };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{beside}/libtorch");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if linux {
        // Nothing refers to a symbol of the CUDA library: loading it is what registers its kernels.
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo::rustc-link-arg=-ltorch");
        if lib.join("libtorch_cuda.so").exists() {
            println!("cargo::rustc-link-arg=-ltorch_cuda");
        }
    }
}
