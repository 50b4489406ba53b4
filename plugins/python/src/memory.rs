//! Memory that both processes have. This one writes and reads it as a file and never maps it: whatever the other does
//! to it, here it is an error with a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Arrays begin at multiples of it, as vector instructions like it.
const ALIGNED: u64 = 64;

/// The memory, and which of its places are taken.
pub struct Memory {
    file: File,
    size: u64,
    /// Beginnings and ends, in order.
    taken: Vec<(u64, u64)>,
}

impl Memory {
    /// Memory without a name, which goes when both processes have left it.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            file: unnamed()?,
            size: 0,
            taken: Vec::new(),
        })
    }

    /// The other process's end.
    ///
    /// # Errors
    /// If there are too many open files.
    pub fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes a place for so many bytes: the first that is large enough.
    ///
    /// # Errors
    /// If the memory cannot grow so far.
    pub fn take(&mut self, bytes: u64) -> io::Result<u64> {
        let length = bytes.max(1).next_multiple_of(ALIGNED);
        let mut place = 0;
        let mut at = self.taken.len();
        for (index, (start, end)) in self.taken.iter().enumerate() {
            if start - place >= length {
                at = index;
                break;
            }
            place = *end;
        }
        let end = place + length;
        if end > self.size {
            // By halves, so that a list of arrays does not grow it as often as it has arrays.
            let size = end.max(self.size + self.size / 2);
            self.file.set_len(size)?;
            self.size = size;
        }
        self.taken.insert(at, (place, end));
        Ok(place)
    }

    /// Gives places back.
    pub fn free(&mut self, places: &[u64]) {
        self.taken.retain(|(start, _)| !places.contains(start));
    }

    /// Writes bytes to a place.
    ///
    /// # Errors
    /// If there is no memory left.
    pub fn write(&self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, place)
    }

    /// Reads bytes from a place.
    ///
    /// # Errors
    /// If it is outside.
    pub fn read(&self, place: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, place)
    }
}

#[cfg(target_os = "linux")]
fn unnamed() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(memfd_create("rewind-python", MemfdFlags::CLOEXEC)?.into())
}

#[cfg(not(target_os = "linux"))]
fn unnamed() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!(
        "rewind-python-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_and_what_is_taken_never_twice() {
        let mut memory = Memory::new().unwrap();
        let places: Vec<u64> = (0..4).map(|_| memory.take(100).unwrap()).collect();
        assert_eq!(places, [0, 128, 256, 384]);
        memory.free(&[128, 256]);
        assert_eq!(memory.take(200).unwrap(), 128);
        assert_eq!(memory.take(1).unwrap(), 512);
        memory.free(&[0]);
        assert_eq!(memory.take(128).unwrap(), 0);
        assert!(memory.size() >= 576);
    }

    #[test]
    fn what_is_read_outside_is_an_error() {
        let mut memory = Memory::new().unwrap();
        let place = memory.take(4).unwrap();
        memory.write(place, b"four").unwrap();
        let mut four = [0; 4];
        memory.read(place, &mut four).unwrap();
        assert_eq!(&four, b"four");
        assert!(memory.read(1 << 40, &mut four).is_err());
    }
}
