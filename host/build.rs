//! Compiles the C++ shim against torch-sys's libtorch and lets binaries find that libtorch when they run.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/shim.cpp");
    println!("cargo:rerun-if-changed=src/guarded.h");
    println!("cargo:rerun-if-changed=src/kernels");
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        panic!("torch-sys did not say where libtorch is (DEP_TCH_LIBTORCH_LIB)");
    };
    let include = lib.with_file_name("include");
    let linux = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux");

    let mut shim = cc::Build::new();
    shim.cpp(true)
        .pic(true)
        .warnings(false)
        .opt_level(3)
        .std("c++17")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        // Every machine must round alike, whether its processor has fused multiply-add or not.
        .flag("-ffp-contract=off")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .file("src/shim.cpp")
        .file("src/kernels/perceptron.cpp")
        .file("src/kernels/convolution.cpp")
        .file("src/kernels/taps.cpp")
        .file("src/kernels/norm.cpp");
    if linux {
        // at::parallel_for is inlined and shares libtorch's threads through OpenMP.
        shim.flag("-fopenmp");
    }
    shim.compile("rewind_shim");
    kernels("rewind_kernels_plain", &[]);
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        kernels("rewind_kernels_avx2", &["-mavx2", "-mfma"]);
    }

    if linux {
        // libtorch's own OpenMP, so that there is one pool of threads.
        let gomp = if lib.join("libgomp.so.1").exists() {
            "dylib:+verbatim=libgomp.so.1"
        } else {
            "dylib=gomp"
        };
        println!("cargo:rustc-link-lib={gomp}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/libtorch");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        // Nothing refers to a symbol of the CUDA library: loading it is what registers its kernels.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-ltorch");
        if lib.join("libtorch_cuda.so").exists() {
            println!("cargo:rustc-link-arg=-ltorch_cuda");
        }
    } else {
        println!("cargo:rustc-link-arg=-Wl,-rpath,@loader_path/libtorch");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}

/// Compiles the arithmetic of the kernels under this name, for processors with these extensions.
fn kernels(name: &str, flags: &[&str]) {
    let mut kernels = cc::Build::new();
    kernels
        .cpp(true)
        .pic(true)
        .warnings(false)
        .opt_level(3)
        .std("c++17")
        .define("KERNELS", name)
        // A product and the sum that it is added to are rounded once where the processor can.
        .flag("-ffp-contract=fast")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        // Vectors are passed within this file alone.
        .flag_if_supported("-Wno-psabi")
        .file("src/kernels/kernels.cpp");
    for flag in flags {
        kernels.flag(flag);
    }
    kernels.compile(name);
}
