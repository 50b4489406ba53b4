//! What can be said without a GPU: the library is refused for what it is.

use std::fs;
use std::path::Path;

use super::library::{Absent, Library};

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
