use super::super::picture::tests::file;
use super::*;
use crate::data::picture::Format;

/// Two classes, with one image each to evaluate on.
fn small() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, width) in [
        ("train/b/2.png", 40),
        ("train/b/10.JPG", 41),
        ("train/a/x.jpeg", 42),
        ("val/a/y.png", 43),
        ("val/b/z.jpg", 300),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The first bytes and not the name tell the format.
        fs::write(path, file(Format::Jpeg, width, 200, 0)).unwrap();
    }
    root
}

fn message(root: &Path) -> String {
    list(root).unwrap_err().to_string()
}

#[test]
fn files_are_sorted_by_the_bytes_of_class_and_name() {
    let root = small();
    fs::write(root.path().join("train/a/.hidden"), "").unwrap();
    let listing = list(root.path()).unwrap();
    let expected = ["a/x.jpeg", "b/10.JPG", "b/2.png"].map(Box::from);
    assert_eq!(listing.train.files, expected);
    assert_eq!(listing.train.labels, [0, 1, 1]);
    assert_eq!((listing.classes, listing.test.labels), (2, vec![0, 1]));
}

#[test]
fn the_checksum_changes_with_names_lengths_and_both_ends_and_not_with_the_folder() {
    let root = small();
    let path = root.path().join("val/b/z.jpg");
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() as u64 > 2 * LOOK + 100);
    let before = list(root.path()).unwrap().checksum;
    assert_eq!(list(small().path()).unwrap().checksum, before);
    let mut seen = vec![before.clone()];
    for at in [bytes.len() - 3, 4000] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        seen.push(list(root.path()).unwrap().checksum);
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    seen.push(list(root.path()).unwrap().checksum);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(list(root.path()).unwrap().checksum, before);
    fs::rename(&path, path.with_file_name("zz.jpg")).unwrap();
    seen.push(list(root.path()).unwrap().checksum);
    fs::rename(root.path().join("val"), root.path().join("test")).unwrap();
    assert_eq!(list(root.path()).unwrap().checksum, seen[4]);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn folders_that_are_not_laid_out_as_they_should_be_are_named() {
    let root = small();
    let at = |path: &str| root.path().join(path);
    fs::write(at("train/readme.txt"), "").unwrap();
    let said = message(root.path());
    let expected = "one thing in it is neither a folder of a class nor a file in one that ends in \
                    .jpg, .jpeg or .png; move elsewhere:\n  train/readme.txt";
    assert!(said.ends_with(expected), "{said}");
    fs::remove_file(at("train/readme.txt")).unwrap();

    fs::create_dir(at("train/c")).unwrap();
    let said = message(root.path());
    assert!(said.contains("val: there is no folder `c` here"), "{said}");
    fs::create_dir(at("val/c")).unwrap();
    let said = message(root.path());
    assert!(said.contains("/c: it is empty"), "{said}");
    fs::remove_dir(at("train/c")).unwrap();
    let said = message(root.path());
    assert!(
        said.contains("train: there is no folder `c` here"),
        "{said}"
    );

    fs::remove_dir_all(at("val")).unwrap();
    assert!(message(root.path()).contains("neither `val` nor `test`"));
}

#[test]
fn all_litter_is_named_in_one_go() {
    let root = small();
    let at = |path: &str| root.path().join(path);
    fs::write(at("val/list.csv"), "").unwrap();
    fs::create_dir(at("train/b/more.jpg")).unwrap();
    for number in 10..21 {
        fs::write(at("train/a").join(format!("{number}.txt")), "").unwrap();
    }
    let said = message(root.path());
    assert!(said.contains("13 things in it are neither"), "{said}");
    let lines: Vec<&str> = said.lines().skip(1).collect();
    let mut expected = vec!["  val/list.csv".to_owned()];
    expected.extend((10..19).map(|it| format!("  train/a/{it}.txt")));
    expected.push("  and 3 more".to_owned());
    assert_eq!(lines, expected);
}

#[test]
fn all_files_that_are_no_images_are_named_in_one_go() {
    let root = small();
    let cut = &file(Format::Jpeg, 300, 200, 0)[..9000];
    fs::write(root.path().join("val/b/z.jpg"), cut).unwrap();
    fs::write(root.path().join("train/b/2.png"), "hello").unwrap();
    let said = message(root.path());
    assert!(said.contains(": 2 of 5 files are no images that can be read; replace"));
    let lines: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "  train/b/2.png: its first bytes are neither those of JPEG nor of PNG",
            "  val/b/z.jpg: it is cut off: its end marker is missing",
        ]
    );
}

#[test]
fn a_file_that_is_cut_off_behind_the_preview_in_it_is_named_before_training() {
    let picture = file(Format::Jpeg, 300, 200, 0);
    let preview = file(Format::Jpeg, 160, 120, 7);
    let size = u16::try_from(preview.len() + 2).unwrap().to_be_bytes();
    let head = [&picture[..2], &[0xff, 0xe1], &size, &preview].concat();
    let whole = [&head[..], &picture[2..]].concat();
    let root = small();
    let path = root.path().join("train/a/x.jpeg");
    // A moment after the preview's own end, which lies in the last bytes, and much later.
    for length in [head.len(), head.len() + 700, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let said = message(root.path());
        assert!(
            said.contains("x.jpeg") && said.contains("it is cut off"),
            "{said}"
        );
    }
    fs::write(&path, whole).unwrap();
    assert!(list(root.path()).is_ok());
}

#[test]
fn files_that_are_no_images_or_cut_off_are_named_before_training() {
    for (contents, expected) in [
        (b"hello".to_vec(), "neither those of JPEG nor of PNG"),
        (Vec::new(), "neither those of JPEG nor of PNG"),
        (
            file(Format::Jpeg, 300, 200, 0)[..9000].to_vec(),
            "end marker is missing",
        ),
        (file(Format::Png, 300, 200, 0)[..9000].to_vec(), "x.jpeg"),
    ] {
        let root = small();
        fs::write(root.path().join("train/a/x.jpeg"), contents).unwrap();
        let said = message(root.path());
        assert!(
            said.contains("train/a/x.jpeg") && said.contains(expected),
            "{said}"
        );
    }
    // Something after the end does no harm.
    let root = small();
    let long = [file(Format::Jpeg, 300, 200, 0), vec![0; 9000]].concat();
    fs::write(root.path().join("train/a/x.jpeg"), long).unwrap();
    assert!(list(root.path()).is_ok());
}
