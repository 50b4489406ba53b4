//! Compiles the C++ against torch-sys's libtorch.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

/// What works on libtorch's tensors; its headers take most of the time, so the longest come first.
const ON_TENSORS: [&str; 9] = [
    "convolution",
    "norm",
    "passes_elsewhere",
    "shim",
    "taps",
    "dispatch",
    "shards",
    "losses",
    "perceptron",
];

/// What every processor with AVX-512 has but the first, which are no processors of PCs or servers.
const AVX512: [&str; 6] = [
    "-mavx512f",
    "-mavx512vl",
    "-mavx512bw",
    "-mavx512dq",
    "-mfma",
    // Not only where the compiler thinks that half as long ones are as fast.
    "-mprefer-vector-width=512",
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
        variants.push(("rewind_kernels_avx512", &AVX512));
    }
    let objects = thread::scope(|scope| {
        let of_group = scope.spawn(|| of_group(&lib));
        let on_tensors = scope.spawn(|| on_tensors(&lib, linux));
        let variants: Vec<_> = (variants.iter())
            .map(|(name, flags)| scope.spawn(|| arithmetic(name, flags)))
            .collect();
        let all = [of_group, on_tensors].into_iter().chain(variants);
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
    let mut build = with_libtorch(lib);
    build
        .std("c++17")
        // Headers of the operations that a file names, not of all.
        .define("AT_PER_OPERATOR_HEADERS", None)
        // Every machine must round alike, whether its processor has fused multiply-add or not.
        .flag("-ffp-contract=off");
    if linux {
        // at::parallel_for is inlined and shares libtorch's threads through OpenMP.
        build.flag("-fopenmp");
    }
    compile(build, &out_dir().join("on_tensors"), &ON_TENSORS)
}

/// Compiles what exchanges tensors with other processes, where libtorch has Gloo compiled in.
fn of_group(lib: &Path) -> Vec<PathBuf> {
    let mut build = with_libtorch(lib);
    build
        // Libtorch's headers of it ask for it.
        .std("c++20")
        .include("src/gloo_names")
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None);
    compile(build, &out_dir().join("of_group"), &["group"])
}

fn with_libtorch(lib: &Path) -> cc::Build {
    let include = lib.with_file_name("include");
    let mut build = cpp();
    build
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1");
    build
}

/// Compiles the arithmetic on one thread under this name, for processors with these extensions.
fn arithmetic(name: &str, flags: &[&str]) -> Vec<PathBuf> {
    let mut build = cpp();
    build
        .std("c++17")
        .define("KERNELS", name)
        // A product and the sum that it is added to are rounded once where the processor can.
        .flag("-ffp-contract=fast")
        // Vectors are passed within this file alone.
        .flag_if_supported("-Wno-psabi")
        .flags(flags);
    compile(build, &out_dir().join(name), &["kernels"])
}

/// Compiles what has changed of `src/NAME.cpp` and gives all objects: after an edit of one file nobody waits for
/// libtorch's headers in the others.
fn compile(mut build: cc::Build, folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    // Has the compiler write beside each object what it was made of.
    build.out_dir(folder).flag("-MMD");
    let command = format!("{:?}", build.get_compiler().to_command());
    let noted = folder.join("command");
    let same = fs::read_to_string(&noted).is_ok_and(|before| before == command);
    let (mut objects, mut stale) = (Vec::new(), Vec::new());
    for name in names {
        match fresh_object(folder, name).filter(|_| same) {
            Some(object) => objects.push(object),
            None => stale.push(format!("src/{name}.cpp")),
        }
    }
    if !stale.is_empty() {
        // Whatever ends the process now leaves nothing that looks fresh.
        let _ = fs::remove_file(&noted);
        let begun = SystemTime::now();
        let made = build.files(stale).compile_intermediates();
        for object in &made {
            // What is edited meanwhile is younger than its object.
            let file = fs::File::options().write(true).open(object);
            let dated = file.and_then(|it| it.set_modified(begun));
            dated.expect("the compiler has just written this file");
        }
        objects.extend(made);
        fs::write(&noted, command).expect("the compiler has just written to this folder");
    }
    objects
}

/// The object of this name, if it is younger than this script and all that it was made of.
fn fresh_object(folder: &Path, name: &str) -> Option<PathBuf> {
    let changed = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let end = format!("-{name}.o");
    let mut files = fs::read_dir(folder).ok()?.flatten().map(|it| it.path());
    let object = files.find(|it| it.to_string_lossy().ends_with(&end))?;
    let made = changed(&object)?;
    let list = fs::read_to_string(object.with_extension("d")).ok()?;
    let (_, sources) = list.split_once(": ")?;
    let mut sources = sources.split_whitespace().filter(|it| *it != "\\");
    // A name with a space is not found, and what it belongs to is compiled.
    let is_older = |path: &Path| changed(path).is_some_and(|source| source < made);
    (is_older(&env::current_exe().ok()?) && sources.all(|it| is_older(Path::new(it))))
        .then_some(object)
}

fn out_dir() -> PathBuf {
    let out = env::var_os("OUT_DIR").map(PathBuf::from);
    out.expect("cargo sets it for build scripts")
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
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math");
    build
}
