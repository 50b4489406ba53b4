//! Reading files that somebody else may have put there: a pipe would block for ever, a device never
//! ends, and a huge file does not fit into memory.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a file for reading, if it is a plain one.
///
/// # Errors
/// If it is a folder, a pipe or a device, or the system refuses.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before it is opened, because opening a device may do something, and after, because
    // the name may lead elsewhere by then.
    expect_plain(fs::metadata(path)?.file_type())?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Opening a pipe would wait for who writes to it. It changes nothing for plain files.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    expect_plain(file.metadata()?.file_type())?;
    Ok(file)
}

/// The bytes of a plain file of at most `limit` bytes; a larger one is refused before it is read.
///
/// # Errors
/// As [`open`], and if it is larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Err(too_large(&length.to_string(), limit));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // The length of some files of the system is 0, whatever they hold.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(too_large("more", limit)),
        false => Ok(bytes),
    }
}

fn too_large(length: &str, limit: u64) -> io::Error {
    let message = format!("it has {length} bytes, expected at most {limit}");
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

fn expect_plain(kind: FileType) -> io::Result<()> {
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder, expected a file",
        )),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a pipe or a device, expected a plain file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that nobody writes to.
    pub(crate) fn pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }

    #[test]
    fn pipes_devices_and_folders_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        pipe(&path);
        let message = |path: &Path| read(path, 100).unwrap_err().to_string();
        assert!(message(&path).contains("a pipe or a device"));
        assert!(message(Path::new("/dev/zero")).contains("a pipe or a device"));
        assert!(message(folder.path()).contains("a folder"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(message(&link).contains("a pipe or a device"));
    }

    #[test]
    fn a_file_over_the_limit_is_refused_whether_or_not_its_length_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap(), [7; 100]);
        let message = read(&path, 99).unwrap_err().to_string();
        assert_eq!(message, "it has 100 bytes, expected at most 99");
        // A sparse file of a terabyte takes no room on the disk.
        let sparse = folder.path().join("sparse");
        File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
        let message = read(&sparse, 1 << 20).unwrap_err().to_string();
        assert!(
            message.starts_with("it has 1099511627776 bytes"),
            "{message}"
        );
        #[cfg(target_os = "linux")]
        {
            let message = read(Path::new("/proc/self/maps"), 10).unwrap_err();
            assert_eq!(
                message.to_string(),
                "it has more bytes, expected at most 10"
            );
        }
    }
}
