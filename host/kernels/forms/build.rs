//! Compiles the CUDA kernels as C++, without libtorch.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=../cuda");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("src/forms.cpp")
        .include("../cuda")
        .opt_level(2)
        .debug(false)
        // As NVRTC's --fmad=false: products and sums are rounded one by one.
        .flag("-ffp-contract=off")
        .flag("-fno-math-errno")
        // What is meant for the other compiler.
        .flag_if_supported("-Wno-unknown-pragmas")
        .compile("rewind_kernel_forms");
}
