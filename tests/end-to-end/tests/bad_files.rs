//! Files that are no plugins, damaged ones and others' ones: refused in a sentence, and never able to
//! take the host down.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use end_to_end::built::{loader, own};
use end_to_end::program::{digests, host, only_run, run};
use host::rng::{Moment, Purpose, Stream};
use object::{Object, ObjectSection, ObjectSegment};
use plugin_api::abi::{API_MAJOR, Descriptor, MAGIC};

/// The bytes of a real plugin.
fn imp() -> Vec<u8> {
    fs::read(&loader(own()).load("imp", None).unwrap().path).unwrap()
}

/// A library of this name with these bytes.
fn library(folder: &Path, bytes: &[u8]) -> PathBuf {
    let name = format!(
        "{}stranger{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn show(file: &Path) -> Output {
    let mut command = Command::new(host());
    command.args(["plugin", "show"]).arg(file);
    command.output().unwrap()
}

/// What the host says of a library with these bytes, which it refuses.
fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = library(folder.path(), bytes);
    let output = show(&file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&file.display().to_string()), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// The plugin with its descriptor's bytes from `offset` on replaced.
fn with_descriptor(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut library = imp();
    let starts: Vec<usize> = (library.windows(MAGIC.len()).enumerate())
        .filter(|(_, window)| *window == MAGIC)
        .map(|(start, _)| start)
        .collect();
    // The constant may also stand in code that compares with it: every copy is changed.
    assert!(!starts.is_empty());
    for start in starts {
        library[start + offset..start + offset + bytes.len()].copy_from_slice(bytes);
    }
    library
}

#[test]
fn what_is_no_dynamic_library_is_refused() {
    for bytes in [
        &b""[..],
        b"not a library",
        &[0; 4096],
        b"\x7fELF",
        b"\x7fELF\x02\x01\x01",
    ] {
        let said = refusal(bytes);
        assert!(
            said.contains("is not a dynamic library, or a damaged one"),
            "{said}"
        );
    }
}

#[test]
fn a_library_that_is_no_plugin_is_refused() {
    let libtorch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.libtorch/lib");
    let libtorch = std::env::var_os("LIBTORCH").map_or(libtorch, |it| Path::new(&it).join("lib"));
    let foreign = libtorch.join("libc10.so");
    let said = refusal(&fs::read(foreign).unwrap());
    assert!(
        said.contains("is not a plugin: it lacks the symbol that plugin_api::export_plugin! emits"),
        "{said}"
    );
}

#[test]
fn a_plugin_without_its_symbol_is_refused() {
    let mut library = imp();
    let symbol = plugin_api::abi::DESCRIPTOR_SYMBOL;
    let places: Vec<usize> = (library.windows(symbol.len()).enumerate())
        .filter(|(_, window)| *window == symbol)
        .map(|(start, _)| start)
        .collect();
    for place in places {
        library[place] ^= 1;
    }
    let said = refusal(&library);
    assert!(
        said.contains("is not a plugin: it lacks the symbol"),
        "{said}"
    );
}

#[test]
fn another_machines_library_is_refused() {
    let mut library = imp();
    // e_machine of an ELF header: 183 is AArch64, 62 is x86-64.
    let other: u16 = if cfg!(target_arch = "x86_64") {
        183
    } else {
        62
    };
    library[18..20].copy_from_slice(&other.to_le_bytes());
    let said = refusal(&library);
    let here = std::env::consts::ARCH;
    assert!(
        said.contains(&format!("this machine is {here}: build it here")),
        "{said}"
    );
}

#[test]
fn descriptors_of_other_versions_and_settings_are_refused() {
    let major = std::mem::offset_of!(Descriptor, api_major);
    let said = refusal(&with_descriptor(major, &(API_MAJOR + 1).to_ne_bytes()));
    let expected = format!("is built for plugin-api {}.", API_MAJOR + 1);
    assert!(
        said.contains(&expected) && said.contains("rebuild it with plugin-api"),
        "{said}"
    );

    let unwind = std::mem::offset_of!(Descriptor, panics_unwind);
    let said = refusal(&with_descriptor(unwind, &[0]));
    assert!(said.contains("is built with panic = \"abort\""), "{said}");

    let said = refusal(&with_descriptor(0, b"foreign!"));
    assert!(
        said.contains("its descriptor starts with foreign bytes"),
        "{said}"
    );
}

#[test]
fn a_truncated_plugin_is_refused_wherever_it_ends() {
    let whole = imp();
    for tenth in 0..10 {
        let said = refusal(&whole[..whole.len() * tenth / 10]);
        assert!(said.contains("damaged"), "{tenth}: {said}");
    }
    let said = refusal(&whole[..whole.len() - 1]);
    assert!(said.contains("damaged"), "{said}");
}

#[test]
fn a_pin_is_enforced_before_anything_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = imp();
    let file = library(folder.path(), &bytes);
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let runs = tempfile::tempdir().unwrap();
    let with = |pin: &str, level: &str| {
        let source = format!(
            "plugins.stranger={{ path = \"{}\", blake3 = \"{pin}\" }}",
            file.display()
        );
        let small = ["--set", level, "--set", "train.epochs=1", "--seeds", "0..1"];
        let score = [
            "--allow-plugins",
            "--set",
            &source,
            "--set",
            "strategy.score=stranger/magnitude",
        ];
        run("lrr.toml", runs.path(), &[&small[..], &score].concat())
            .output()
            .unwrap()
    };
    assert_eq!(with(&digest, "prune.levels=1").status.code(), Some(0));
    let other = digest.replace(&digest[..4], "0000");
    let output = with(&other, "prune.levels=1");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&digest) && said.contains(&other), "{said}");
    assert!(
        said.contains("put the pinned file there or change the pin"),
        "{said}"
    );
}

/// Places in a library to flip: every other one where it is loaded from.
fn places(library: &[u8], count: usize) -> Vec<usize> {
    let file = object::File::parse(library).unwrap();
    let loaded: Vec<(u64, u64)> = file.segments().map(|it| it.file_range()).collect();
    assert!(file.sections().any(|section| section.name() == Ok(".text")));
    let size: u64 = loaded.iter().map(|(_, len)| len).sum();
    let mut stream = Stream::new(7, Purpose::Strategy("flips"), Moment::default());
    (0..count)
        .map(|number| {
            if number % 2 == 0 {
                return stream.below(library.len() as u64) as usize;
            }
            let mut at = stream.below(size);
            let of = loaded.iter().find(|(_, len)| {
                let here = at < *len;
                at -= if here { 0 } else { *len };
                here
            });
            (of.unwrap().0 + at) as usize
        })
        .collect()
}

/// `FLIPS` sets how many; 500 take about ten minutes.
#[test]
fn a_plugin_with_a_random_byte_flipped_is_refused_or_works_and_never_ends_the_host() {
    let count = std::env::var("FLIPS").map_or(24, |count| count.parse().unwrap());
    let whole = imp();
    let (mut refused, mut same, mut conforming) = (0, 0, 0);
    let runs = |file: &Path| {
        let runs = tempfile::tempdir().unwrap();
        let source = format!("plugins.stranger={{ path = \"{}\" }}", file.display());
        let more = [
            "--set",
            "prune.levels=2",
            "--set",
            "train.epochs=1",
            "--seeds",
            "0..1",
            "--allow-plugins",
            "--set",
            &source,
            "--set",
            "strategy={ score = \"stranger/magnitude\", mask = \"stranger/global\", \
             rewind = \"stranger/weights\" }",
            "--plugin-time-limit",
            "20",
        ];
        let output = run("imp.toml", runs.path(), &more).output().unwrap();
        (runs, output)
    };
    let folder = tempfile::tempdir().unwrap();
    let (expected, output) = runs(&library(folder.path(), &whole));
    assert_eq!(output.status.code(), Some(0));
    let expected = digests(&only_run(expected.path(), "imp").join("seed-0"));
    for (number, place) in places(&whole, count).into_iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (number % 8);
        let folder = tempfile::tempdir().unwrap();
        let file = library(folder.path(), &bytes);
        let (found, output) = runs(&file);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(3) => refused += 1,
            // What it asked for was more memory than there is, which may not be its fault.
            Some(5) if said.contains("`stranger`") && said.contains("out of memory") => {
                refused += 1;
            }
            Some(0) => {
                let found = digests(&only_run(found.path(), "imp").join("seed-0"));
                if found == expected {
                    same += 1;
                    continue;
                }
                // Its code does something else now, by the rules.
                let mut check = Command::new(host());
                check.args(["plugin", "check", "--quick"]).arg(&file);
                let code = check.output().unwrap().status.code();
                assert!(matches!(code, Some(0 | 3)), "byte {place}: {code:?}");
                conforming += 1;
            }
            other => panic!("byte {place}: {other:?} {said}"),
        }
    }
    println!(
        "{count} flips: {refused} refused, {same} without effect, {conforming} with another one"
    );
    assert_eq!(refused + same + conforming, count);
    assert!(same > 0);
}
