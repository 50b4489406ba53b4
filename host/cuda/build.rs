//! Compiles the C++ against libtorch's headers and CUDA's, where these are.
//!
//! No CUDA library is linked: its symbols are those of the process that loads this one.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    println!("cargo::rustc-check-cfg=cfg(has_cuda_headers)");
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        panic!("torch-sys did not say where libtorch is (DEP_TCH_LIBTORCH_LIB)");
    };
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let Some(cuda) = cuda_headers(&lib) else {
        println!(
            "cargo::warning=CUDA's headers were not found, so that GPUs will train without graphs: `make libtorch` \
             fetches them, or CUDA_HOME names a toolkit"
        );
        return;
    };
    println!("cargo::rustc-cfg=has_cuda_headers");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .pic(true)
        .warnings(false)
        .debug(false)
        .include(lib.with_file_name("include"))
        .include(lib.with_file_name("include/torch/csrc/api/include"))
        .include(cuda)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .file("src/library.cpp")
        .compile("rewind_cuda_library");
}

/// A folder with the headers of CUDA's runtime: the one that the set-up made, NVIDIA's wheels beside PyTorch, or a
/// toolkit.
fn cuda_headers(lib: &Path) -> Option<PathBuf> {
    let real = lib.canonicalize().ok();
    let beside = |lib: &Path| {
        [
            lib.join("../cuda/include"),
            lib.join("../../nvidia/cu13/include"),
        ]
    };
    let toolkit = env::var_os("CUDA_HOME").map(PathBuf::from);
    (beside(lib).into_iter())
        .chain(real.iter().flat_map(|lib| beside(lib)))
        .chain(toolkit.map(|it| it.join("include")))
        .chain(["/usr/local/cuda/include".into()])
        // The runtime's header includes the compiler's.
        .find(|it| {
            it.join("cuda_runtime_api.h").is_file() && it.join("crt/host_config.h").is_file()
        })
}
