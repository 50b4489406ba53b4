//! Without a GPU the library is refused for what it is; with one, work is captured.

use std::fs;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::Graph;
use super::library::{Absent, Library};
use crate::shim::ShimError;

#[test]
fn a_library_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = std::env::temp_dir().join(format!("rewind-graphs-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("librewind_cuda.so");
    let refused = |file: &Path| Library::open(file).err().unwrap();

    let absent = refused(&file);
    assert_eq!(absent, Absent::File(file.clone()));
    assert!(
        absent.to_string().contains("REWIND_CUDA_LIBRARY"),
        "{absent}"
    );

    fs::write(&file, "no library").unwrap();
    let said = refused(&file).to_string();
    assert!(
        said.contains("cannot be loaded: ") && said.contains("TORCH=full"),
        "{said}"
    );
    fs::remove_dir_all(&folder).unwrap();
}

/// Also where libtorch has no CUDA the library is compiled and linked whole: what it lacks there is CUDA's symbols.
#[test]
fn the_built_library_lacks_nothing_but_cuda() {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    let file = built.join(libloading::library_filename("rewind_cuda"));
    match Library::open(&file) {
        Ok(_) => assert!(tch::Cuda::device_count() >= 0),
        Err(Absent::File(_)) => println!("skipped: it was not built beside this test"),
        Err(Absent::Empty(_)) => println!("skipped: CUDA's headers were not there"),
        Err(Absent::Load { reason, .. }) => {
            let is_cudas = ["cuda", "CUDA"].iter().any(|it| reason.contains(it));
            assert!(reason.contains("undefined symbol") && is_cudas, "{reason}");
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whatever comes of a capture, this thread's work goes where it went, and the next capture is as good.
#[test]
fn a_capture_leaves_the_thread_as_it_was_on_a_gpu() {
    let Some(device) = (tch::Cuda::device_count() > 0).then_some(Device::Cuda(0)) else {
        return println!("skipped: there is no GPU");
    };
    let library = Library::get().unwrap();
    let stream = || library.stream(device).unwrap();
    let before = stream();
    let number = Tensor::zeros([4], (Kind::Float, device));
    let (mut counted, mut branched) = (number.shallow_clone(), number.shallow_clone());
    let graph = Graph::capture::<ShimError>(library, device, |_| {
        let _ = counted.g_add_scalar_(1.0);
        Ok(())
    });
    assert_eq!(stream(), before);
    // What waits for the device cannot be captured, on the main stream or a branch that is not joined.
    for on_branch in [false, true] {
        let waits = || {
            number.double_value(&[0]);
            Ok(())
        };
        let failed = Graph::capture::<ShimError>(library, device, |branches| {
            let caught = std::panic::AssertUnwindSafe(|| match on_branch {
                true => branches.on(0, waits),
                false => waits(),
            });
            std::panic::catch_unwind(caught)
                .unwrap_or_else(|_| Err(ShimError::new("it waits".to_owned())))
        });
        assert!(failed.is_err());
        assert_eq!(stream(), before);
    }
    let later = Graph::capture::<ShimError>(library, device, |branches| {
        branches.on(0, || {
            let _ = branched.g_add_scalar_(10.0);
            Ok::<(), ShimError>(())
        })?;
        branches.join()
    });
    let (graph, later) = (graph.unwrap(), later.unwrap());
    for replayed in [&graph, &later, &graph] {
        replayed.replay().unwrap();
    }
    assert_eq!(number.sum(Kind::Float).double_value(&[]), 48.0);
}
