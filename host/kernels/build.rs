//! Lets the tests find the libtorch that they are built with.

use std::env;

fn main() {
    if let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.to_string_lossy());
    }
    println!("cargo::rerun-if-changed=build.rs");
}
