//! Files of datasets.

use std::fs;

use host::fuzzing;
use tempfile::TempDir;

use super::Target;

/// IDX files of three images of 2 x 2 pixels, plain and compressed.
pub const IDX: Target = Target {
    name: "idx",
    read: idx,
    dictionary: &["\x1f\u{8b}", "\0\0\x08\x03", "\0\0\0\x03"],
    mutations: 2000,
    memory: 16,
};

/// Records of CIFAR-10 and CIFAR-100. The pixels of an input are repeated, so that it can be short.
pub const CIFAR: Target = Target {
    name: "cifar",
    read: cifar,
    dictionary: &[],
    mutations: 2000,
    memory: 16,
};

/// JPEG and PNG files.
pub const PICTURE: Target = Target {
    name: "picture",
    read: picture,
    dictionary: &[
        "IHDR", "PLTE", "tRNS", "IDAT", "IEND", "iCCP", "zTXt", "iTXt", "gAMA", "fcTL", "acTL",
        "Exif\0\0", "JFIF\0", "Adobe",
    ],
    mutations: 1000,
    // 134 million pixels of eight bytes, and the same as red, green and blue.
    memory: 1600,
};

/// Archives as datasets are published in: tar and gzip.
pub const ARCHIVE: Target = Target {
    name: "archive",
    read: archive,
    dictionary: &[
        "toy-bin/a.bin",
        "toy-bin/b.bin",
        "./",
        "../",
        "ustar\0",
        "ustar  \0",
        "././@LongLink",
        "777777777777",
        "path=",
    ],
    mutations: 400,
    memory: 16,
};

fn idx(bytes: &[u8]) {
    if let Ok(values) = fuzzing::idx(bytes, &[3, 2, 2]) {
        assert_eq!(values.len(), 12);
    }
    if let Ok(values) = fuzzing::idx(bytes, &[4]) {
        assert_eq!(values.len(), 4);
    }
}

fn cifar(bytes: &[u8]) {
    let _ = fuzzing::cifar(bytes, false, 2);
    let of_length =
        |length: usize| -> Vec<u8> { bytes.iter().copied().cycle().take(length).collect() };
    if fuzzing::cifar(&of_length(3073), false, 1).is_ok() && !bytes.is_empty() {
        assert!(bytes[0] < 10);
    }
    if fuzzing::cifar(&of_length(3074), true, 1).is_ok() && bytes.len() > 1 {
        assert!(bytes[1] < 100);
    }
}

fn picture(bytes: &[u8]) {
    if let Ok((width, height, pixels)) = fuzzing::picture(bytes) {
        assert_eq!(pixels.len(), 3 * width * height);
    }
    // Where a picture ends does not depend on what follows, whether or not the end is searched first in
    // the last bytes.
    let longer = [bytes, &[0x5a; 9000]].concat();
    if fuzzing::picture_is_whole(bytes) {
        assert!(fuzzing::picture_is_whole(&longer));
    }
}

/// The compressed bytes, and an uncompressed archive that is compressed here: a mutation of
/// compressed bytes is seldom more than damaged.
fn archive(bytes: &[u8]) {
    let packed = match bytes {
        [0x1f, 0x8b, ..] => bytes.to_vec(),
        _ => gz(bytes),
    };
    let outside = TempDir::new().expect("the system has room for a folder");
    let folder = outside.path().join("toy");
    fs::create_dir(&folder).expect("it is a new folder");
    let path = folder.join("toy.tar.gz");
    fs::write(&path, packed).expect("there is room for a small file");
    let done = fuzzing::unpack(&path).is_ok();
    // Whatever the archive says, nothing else than these is written.
    let names = |folder| -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder is there").flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(outside.path()), ["toy"]);
    let names = names(&folder);
    if done {
        assert_eq!(names, ["a.bin", "b.bin"]);
    }
    let known = ["a.bin", "a.part", "b.bin", "b.part", "toy.tar.gz"];
    assert!(
        names.iter().all(|it| known.contains(&it.as_str())),
        "{names:?}"
    );
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("writing to memory cannot fail")
}
