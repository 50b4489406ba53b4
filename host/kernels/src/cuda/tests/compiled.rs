use std::collections::HashSet;
use std::time::Instant;

use super::super::driver::Gpu;
use super::super::nvrtc::Nvrtc;
use super::super::sources::{SOURCES, Source};
use super::*;

#[test]
fn every_kernel_of_the_sources_is_listed_and_has_a_form() {
    let mut names = HashSet::new();
    for source in SOURCES {
        let declared: Vec<_> = (source.text.split("extern \"C\" __global__ void ").skip(1))
            .map(|rest| &rest[..rest.find('(').unwrap()])
            .collect();
        assert_eq!(declared, source.kernels, "{}", source.name);
        for kernel in source.kernels {
            assert!(names.insert(*kernel), "{kernel} twice");
            // SAFETY: a grid of no block reads no argument.
            let launched = unsafe { OnCpu.launch(kernel, 0, 1, &[]) };
            assert_eq!(launched, Ok(()));
        }
    }
    // SAFETY: as above.
    let unknown = unsafe { OnCpu.launch("none", 0, 1, &[]) };
    assert!(unknown.is_err());
}

/// The compiler, if it is here.
fn compiler() -> Option<Nvrtc> {
    match Nvrtc::open(None) {
        Ok(compiler) => Some(compiler),
        Err(error) => {
            say_skipped(&error.to_string());
            None
        }
    }
}

#[test]
fn every_source_compiles_for_gpus() {
    let Some(compiler) = compiler() else { return };
    for architecture in ["sm_80", "sm_90"] {
        for source in SOURCES {
            let start = Instant::now();
            let cubin = compiler.compile(&source, architecture).unwrap();
            assert!(cubin.starts_with(b"\x7fELF"), "{}", source.name);
            let text = String::from_utf8_lossy(&cubin);
            for kernel in source.kernels {
                assert!(text.contains(&format!(".text.{kernel}")), "{kernel}");
            }
            println!(
                "NVRTC {:?}: {} for {architecture}: {} bytes in {:.2} s",
                compiler.version(),
                source.name,
                cubin.len(),
                start.elapsed().as_secs_f64()
            );
        }
    }
}

#[test]
fn a_source_with_an_error_gives_the_compilers_log() {
    let Some(compiler) = compiler() else { return };
    let wrong = Source {
        name: "wrong.cu",
        text: "extern \"C\" __global__ void wrong() { unknown(); }",
        kernels: &["wrong"],
    };
    let error = compiler.compile(&wrong, "sm_90").unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("wrong.cu does not compile for sm_90:\n"),
        "{text}"
    );
    assert!(
        text.contains("identifier \"unknown\" is undefined"),
        "{text}"
    );
}

#[test]
fn a_compiler_that_is_named_and_is_not_there_is_an_error() {
    let error = Nvrtc::open(Some("/nowhere/libnvrtc.so.13".as_ref())).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/libnvrtc.so.13"),
        "{error}"
    );
}

#[test]
fn without_a_driver_an_error_says_so() {
    match Gpu::open(0) {
        Ok(gpu) => say_skipped(&format!("there is a GPU of {:?}", gpu.architecture())),
        Err(CudaError::NoDriver(reason)) => assert!(reason.contains("libcuda.so.1"), "{reason}"),
        Err(other) => say_skipped(&format!("there is a driver, which says: {other}")),
    }
}
