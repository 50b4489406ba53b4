//! Compiles the C++ against torch-sys's libtorch.

use std::env;
use std::path::{Path, PathBuf};
use std::thread;

/// What works on libtorch's tensors; its headers take most of the time, so the longest come first.
const ON_TENSORS: [&str; 6] = [
    "convolution",
    "norm",
    "shim",
    "taps",
    "dispatch",
    "perceptron",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        panic!("torch-sys did not say where libtorch is (DEP_TCH_LIBTORCH_LIB)");
    };
    let linux = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux");
    let mut variants = vec![("rewind_kernels_plain", &[][..])];
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        variants.push(("rewind_kernels_avx2", &["-mavx2", "-mfma"]));
    }
    let objects = thread::scope(|scope| {
        let on_tensors = scope.spawn(|| on_tensors(&lib, linux));
        let variants: Vec<_> = (variants.iter())
            .map(|(name, flags)| scope.spawn(|| arithmetic(name, flags)))
            .collect();
        let all = std::iter::once(on_tensors).chain(variants);
        all.flat_map(|it| it.join().expect("a compiler that fails ends the process"))
            .collect::<Vec<_>>()
    });
    cc::Build::new()
        .cpp(true)
        .objects(objects)
        // Whatever comes first on the linker's command line.
        .link_lib_modifier("+whole-archive")
        .compile("rewind_kernels");
    if linux {
        // libtorch's own OpenMP, so that there is one pool of threads.
        let gomp = if lib.join("libgomp.so.1").exists() {
            "dylib:+verbatim=libgomp.so.1"
        } else {
            "dylib=gomp"
        };
        println!("cargo::rustc-link-lib={gomp}");
    }
}

/// Compiles what works on libtorch's tensors, and shares its threads.
fn on_tensors(lib: &Path, linux: bool) -> Vec<PathBuf> {
    let include = lib.with_file_name("include");
    let mut build = cpp();
    build
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        // Headers of the operations that a file names, not of all.
        .define("AT_PER_OPERATOR_HEADERS", None)
        // Every machine must round alike, whether its processor has fused multiply-add or not.
        .flag("-ffp-contract=off")
        .files(ON_TENSORS.map(|name| format!("src/{name}.cpp")));
    if linux {
        // at::parallel_for is inlined and shares libtorch's threads through OpenMP.
        build.flag("-fopenmp");
    }
    build.compile_intermediates()
}

/// Compiles the arithmetic on one thread under this name, for processors with these extensions.
fn arithmetic(name: &str, flags: &[&str]) -> Vec<PathBuf> {
    let out = env::var_os("OUT_DIR").map(PathBuf::from);
    let out = out.expect("cargo sets it for build scripts");
    cpp()
        .out_dir(out.join(name))
        .define("KERNELS", name)
        // A product and the sum that it is added to are rounded once where the processor can.
        .flag("-ffp-contract=fast")
        // Vectors are passed within this file alone.
        .flag_if_supported("-Wno-psabi")
        .flags(flags)
        .file("src/kernels.cpp")
        .compile_intermediates()
}

fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .pic(true)
        .warnings(false)
        // The compiler would take as long again to describe libtorch's headers.
        .debug(false)
        .opt_level(3)
        .std("c++17")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math");
    build
}
