use super::server::Server;
use super::*;
use crate::data::cifar100;
use crate::data::folder::Package;
use crate::data::hints::Elsewhere;
use sha2::{Digest, Sha256};

fn mode(mirror: &str) -> FetchMode {
    FetchMode {
        apt: false,
        mirror: Some(mirror.to_owned()),
        attempts: 2,
        pause: Duration::from_millis(1),
    }
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn pinned(name: &'static str, contents: &[u8]) -> Pinned {
    Pinned {
        name,
        sha256: leak(format!("{:x}", Sha256::digest(contents))),
    }
}

fn origin(files: Vec<Pinned>) -> Origin {
    Origin {
        base: "http://127.0.0.1:9/never-asked",
        files: Box::leak(files.into_boxed_slice()),
    }
}

const TOY: Files = Files {
    name: "toy",
    files: &["a", "b"],
    gz: true,
    inside: None,
    package: None,
    contents: &[],
    elsewhere: Elsewhere {
        folders: &[],
        python: None,
    },
};

#[test]
fn downloads_every_file_from_the_mirror_and_only_once() {
    let server = Server::start(&[("/toy/a.gz", b"first"), ("/toy/b.gz", b"second")]);
    let data = tempfile::tempdir().unwrap();
    let origin = origin(vec![pinned("a.gz", b"first"), pinned("b.gz", b"second")]);
    let mut seen = Vec::new();
    let mut run = || {
        fetch_from(
            &TOY,
            &origin,
            None,
            data.path(),
            &mode(&server.address),
            &mut |p| seen.push((p.file.to_owned(), p.done, p.total)),
        )
        .unwrap()
    };
    let folder = data.path().join("toy");
    let report = run();
    assert_eq!(
        report.outcome,
        Outcome::Downloaded {
            folder: folder.clone(),
            bytes: 11
        }
    );
    assert!(report.to_string().contains("digests match"));
    assert_eq!(run().outcome, Outcome::Here(folder.clone()));
    assert_eq!(fs::read(folder.join("b.gz")).unwrap(), b"second");
    assert_eq!(server.requests().len(), 2);
    assert!(seen.contains(&("b.gz".to_owned(), 6, Some(6))));
}

#[test]
fn unpacks_an_archive_and_the_dataset_is_then_found() {
    let (train, test) = (vec![1; 5000], vec![2; 3000]);
    let archive = archive::tests::tar_gz(&[
        ("cifar-100-binary/train.bin", &train),
        ("cifar-100-binary/fine_label_names.txt", b"apple"),
        ("cifar-100-binary/test.bin", &test),
    ]);
    let server = Server::start(&[("/cifar100/cifar-100-binary.tar.gz", &archive)]);
    let data = tempfile::tempdir().unwrap();
    let origin = origin(vec![pinned("cifar-100-binary.tar.gz", &archive)]);
    fetch_from(
        &cifar100::FILES,
        &origin,
        None,
        data.path(),
        &mode(&server.address),
        &mut |_| {},
    )
    .unwrap();
    let folder = data.path().join("cifar100");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["test.bin", "train.bin"]);
    assert_eq!(fs::read(folder.join("train.bin")).unwrap(), train);
}

#[test]
fn without_a_network_the_error_says_what_to_do_by_hand() {
    let data = tempfile::tempdir().unwrap();
    // Nothing listens on the discard port.
    let error = fetch(
        "mnist",
        data.path(),
        &mode("http://127.0.0.1:9"),
        &mut |_| {},
    )
    .unwrap_err()
    .to_string();
    for part in [
        "failed to download http://127.0.0.1:9/mnist/train-images-idx3-ubyte.gz",
        "2 attempts",
        "t10k-labels-idx1-ubyte.gz",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        data.path().join("mnist").to_str().unwrap(),
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn embedded_and_unknown_datasets_are_told_apart() {
    let data = tempfile::tempdir().unwrap();
    let fetch = |name| fetch(name, data.path(), &mode("http://127.0.0.1:9"), &mut |_| {});
    assert_eq!(fetch("mnist1d").unwrap().outcome, Outcome::Embedded);
    assert!(matches!(fetch("nist"), Err(DataError::Unknown { .. })));
    let message = fetch("tiny-imagenet").unwrap_err().to_string();
    assert!(
        message.contains("cannot be fetched: get http://cs231n"),
        "{message}"
    );
    std::fs::create_dir(data.path().join("tiny-imagenet")).unwrap();
    std::fs::write(data.path().join("tiny-imagenet/wnids.txt"), "").unwrap();
    let here = Outcome::Here(data.path().join("tiny-imagenet"));
    assert_eq!(fetch("tiny-imagenet").unwrap().outcome, here);
}

#[test]
fn prefers_the_system_package() {
    let data = tempfile::tempdir().unwrap();
    let system = data.path().join("system");
    let files = Files {
        package: Some(Package {
            name: "dataset-toy",
            folder: leak(system.display().to_string()),
        }),
        ..TOY
    };
    // An apt-get that knows the package only after an update.
    let script = format!(
        "cd {0}\ncase \"$1\" in\nupdate) touch updated ;;\n\
         install) test -f updated && mkdir system && echo 1 | tee system/a > system/b ;;\nesac\n",
        data.path().display()
    );
    let apt = apt::tests::script(data.path(), &script);
    let run = |apt| {
        fetch_from(
            &files,
            &origin(Vec::new()),
            apt,
            data.path(),
            &mode("http://127.0.0.1:9"),
            &mut |_| {},
        )
    };
    let report = run(Some(apt)).unwrap();
    assert_eq!(
        report.outcome,
        Outcome::Installed {
            package: "dataset-toy",
            folder: system.clone()
        }
    );
    assert_eq!(run(None).unwrap().outcome, Outcome::Here(system));
}

#[test]
fn every_published_dataset_has_an_origin_whose_files_it_reads() {
    for entry in DATASETS {
        let Source::Published(files, origin) = &entry.build.source else {
            continue;
        };
        assert_eq!(files.name, entry.name);
        assert!(origin.base.starts_with("http") && !origin.base.ends_with('/'));
        for file in origin.files {
            assert_eq!(file.sha256.len(), 64, "{}", file.name);
        }
        if files.gz {
            let names: Vec<_> = origin.files.iter().map(|file| file.name).collect();
            let read: Vec<_> = files.files.iter().map(|f| format!("{f}.gz")).collect();
            assert_eq!(names, read);
        }
    }
}
