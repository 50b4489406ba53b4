use std::cell::Cell;
use std::fs;

use super::super::cache::{Cache, key};
use super::super::sources::SOURCES;
use super::*;

#[test]
fn a_cubin_is_made_once_and_again_where_its_file_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(&folder.path().join("kernels"));
    let made = Cell::new(0);
    let cubin = || {
        let make = || {
            made.set(made.get() + 1);
            Ok(b"machine code".to_vec())
        };
        cache.made_by("a.cubin", make).unwrap()
    };
    assert_eq!(cubin(), b"machine code");
    assert_eq!((cubin(), made.get()), (b"machine code".to_vec(), 1));
    let path = folder.path().join("kernels/a.cubin");
    let whole = fs::read(&path).unwrap();
    let mut turned = whole.clone();
    turned[3] ^= 1;
    for damaged in [&whole[..20], &[], &whole[..whole.len() - 1], &turned] {
        fs::write(&path, damaged).unwrap();
        let before = made.get();
        assert_eq!(
            (cubin(), made.get()),
            (b"machine code".to_vec(), before + 1)
        );
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    let names: Vec<_> = fs::read_dir(folder.path().join("kernels"))
        .unwrap()
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn what_cannot_be_kept_or_made_is_given_or_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Cache::new(file.path());
    assert_eq!(cache.made_by("a", || Ok(vec![1])).unwrap(), [1]);
    let error = CudaError::Compiler("no".to_owned());
    let failed = cache.made_by("a", || Err(error.clone()));
    assert_eq!(failed.unwrap_err(), error);
}

#[test]
fn a_name_says_all_that_a_cubin_follows_from() {
    let mut names = Vec::new();
    for source in SOURCES {
        for architecture in ["sm_80", "sm_90"] {
            for version in [[13, 0], [1, 30], [12, 8]] {
                names.push(key(&source, architecture, version));
            }
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
