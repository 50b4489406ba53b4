//! Unpacks the files of a dataset from its published archive.

use crate::data::DataError;
use crate::data::folder::Source;
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// No member is larger.
const LIMIT: u64 = 256 << 20;

/// Unpacks `inside/<member>` for each of `members` to a file beside the archive, then removes the
/// archive. Other members are left in it, whatever their names.
pub(super) fn unpack(
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
    let mut tar = tar::Archive::new(GzDecoder::new(source.open()?));
    let unreadable = |error| source.unreadable(error);
    for entry in tar.entries().map_err(unreadable)? {
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
}
