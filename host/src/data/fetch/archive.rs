//! Unpacks the files of a dataset from its published archive.

use crate::data::DataError;
use crate::data::folder::Source;
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// No member is larger.
const LIMIT: u64 = 256 << 20;

/// No archive unpacks to more; what lies behind it is not looked at.
const UNPACKED_LIMIT: u64 = 1 << 30;

/// Unpacks `inside/<member>` for each of `members` to a file beside the archive, then removes the
/// archive. Other members are left in it, whatever their names.
pub(in crate::data) fn unpack(
    name: &'static str,
    archive: &Path,
    inside: &str,
    members: &[&str],
) -> Result<(), DataError> {
    let source = Source {
        name,
        path: archive.to_owned(),
    };
    let mut missing: Vec<&str> = members.to_vec();
    let unpacked = GzDecoder::new(source.open()?).take(UNPACKED_LIMIT);
    let mut tar = tar::Archive::new(unpacked);
    let unreadable = |error| source.unreadable(error);
    // Raw: a member that is the long name of the next would be read into memory, however long.
    for entry in tar.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        // The path is compared, never used: a member can't choose where it goes.
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let member = path.trim_start_matches("./").strip_prefix(inside);
        let member = member.and_then(|rest| rest.strip_prefix('/'));
        let Some(place) = missing.iter().position(|&name| Some(name) == member) else {
            continue;
        };
        if !entry.header().entry_type().is_file() || entry.size() > LIMIT {
            return Err(source.malformed(
                format!("member {path}"),
                format!("a file of at most {LIMIT} bytes"),
                format!(
                    "{:?} of {} bytes",
                    entry.header().entry_type(),
                    entry.size()
                ),
            ));
        }
        let file = archive.with_file_name(missing.swap_remove(place));
        let part = file.with_extension("part");
        let size = entry.size();
        let mut output = File::create(&part).map_err(DataError::io("create", &part))?;
        let written = io::copy(&mut (&mut entry).take(LIMIT), &mut output).map_err(unreadable)?;
        if written != size {
            return Err(source.malformed("the file", "complete", "cut off"));
        }
        output.sync_all().map_err(DataError::io("write", &part))?;
        fs::rename(&part, &file).map_err(DataError::io("rename", &part))?;
    }
    if !missing.is_empty() {
        return Err(source.malformed(
            "the archive",
            format!("one with {} in {inside}", missing.join(", ")),
            "one without",
        ));
    }
    fs::remove_file(archive).map_err(DataError::io("remove", archive))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    pub fn tar_gz(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, contents) in members {
            let mut header = tar::Header::new_gnu();
            // Written by hand: the crate refuses paths that climb.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *contents).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn unpacked(archive: &[u8]) -> (tempfile::TempDir, Result<(), DataError>) {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("toy");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("toy.tar.gz");
        fs::write(&path, archive).unwrap();
        let result = unpack("toy", &path, "toy-bin", &["a.bin", "b.bin"]);
        (data, result)
    }

    #[test]
    fn takes_the_expected_members_alone() {
        let (data, result) = unpacked(&tar_gz(&[
            ("../a.bin", b"climbs"),
            ("toy-bin/../../b.bin", b"climbs"),
            ("other/a.bin", b"other folder"),
            ("./toy-bin/b.bin", b"second"),
            ("toy-bin/readme.html", b"not asked for"),
            ("toy-bin/a.bin", b"first"),
            ("toy-bin/a.bin", b"again"),
        ]));
        result.unwrap();
        let toy = data.path().join("toy");
        assert_eq!(fs::read(toy.join("a.bin")).unwrap(), b"first");
        assert_eq!(fs::read(toy.join("b.bin")).unwrap(), b"second");
        assert_eq!(fs::read_dir(&toy).unwrap().count(), 2);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_the_members_that_are_missing() {
        let (_data, result) = unpacked(&tar_gz(&[("toy-bin/a.bin", b"first")]));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("one with b.bin in toy-bin"), "{message}");
    }

    #[test]
    fn refuses_an_archive_that_is_cut_off() {
        let noise: Vec<u8> = (0..100_000u32).map(|i| (i * i / 7) as u8).collect();
        let whole = tar_gz(&[("toy-bin/a.bin", &noise), ("toy-bin/b.bin", &noise)]);
        let (data, result) = unpacked(&whole[..whole.len() / 4]);
        let message = result.unwrap_err().to_string();
        assert!(message.contains("cut off"), "{message}");
        assert!(!data.path().join("toy/a.bin").exists());
    }

    /// A member of any kind that says it has this size.
    fn member(name: &str, kind: tar::EntryType, size: u64, contents: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o755);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        let padding = vec![0; contents.len().next_multiple_of(512) - contents.len()];
        [header.as_bytes(), contents, &padding].concat()
    }

    fn gz(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for part in parts {
            std::io::Write::write_all(&mut encoder, part).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn members_of_absurd_size_and_links_are_refused_before_anything_is_written() {
        use tar::EntryType::{Link, Regular, Symlink};
        for (kind, size, expected) in [
            (Regular, u64::MAX >> 1, "of 9223372036854775807 bytes"),
            (Regular, LIMIT + 1, "expected"),
            (Symlink, 0, "Symlink of 0 bytes"),
            (Link, 0, "Link of 0 bytes"),
        ] {
            let archive = gz(&[member("toy-bin/a.bin", kind, size, b"short")]);
            let (data, result) = unpacked(&archive);
            let message = result.unwrap_err().to_string();
            let expected = expected.replace("expected", "of 268435457 bytes");
            assert!(message.contains(&expected), "{message}");
            assert_eq!(fs::read_dir(data.path().join("toy")).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_long_name_is_neither_held_in_memory_nor_used() {
        use tar::EntryType::{GNULongName, Regular};
        let archive = |long: &[u8], size: u64| {
            gz(&[
                member("././@LongLink", GNULongName, size, long),
                member("toy-bin/a.bin", Regular, 5, b"first"),
                member("toy-bin/b.bin", Regular, 6, b"second"),
                vec![0; 1024],
            ])
        };
        let (data, result) = unpacked(&archive(b"../../escaped\0", 14));
        result.unwrap();
        assert_eq!(fs::read(data.path().join("toy/a.bin")).unwrap(), b"first");
        // It says that it has a tebibyte: what follows is part of it, and is cut off.
        let (_data, result) = unpacked(&archive(b"x", 1 << 40));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("toy.tar.gz"), "{message}");
    }

    #[test]
    fn what_was_unpacked_cannot_be_executed() {
        use std::os::unix::fs::PermissionsExt;
        use tar::EntryType::Regular;
        let (data, result) = unpacked(&gz(&[
            member("toy-bin/a.bin", Regular, 5, b"first"),
            member("toy-bin/b.bin", Regular, 6, b"second"),
            vec![0; 1024],
        ]));
        result.unwrap();
        let mode = fs::metadata(data.path().join("toy/a.bin"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0, "{mode:o}");
    }
}
