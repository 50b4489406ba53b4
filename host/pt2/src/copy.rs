//! Copies of an archive with another state.

use std::io::{self, Write};

use crate::archive::{Archive, Part};
use crate::container::{checksum, checksums, quoted};
use crate::error::{ArchiveError, Fault};
use crate::half::ArchiveFile;
use crate::tensor::View;

/// Bytes that are copied at once.
const PIECE: u64 = 1 << 20;

/// Tensors in one memory, by name.
type Tensors<'a> = Vec<(&'a str, &'a View)>;

impl Archive {
    /// Writes a copy of one of the archive's files in which the tensors of these state_dict names have other
    /// values, in each of the file's graphs. All other bytes are as they were, but for checksums.
    ///
    /// The function is asked for every name, once for each graph; it answers with bytes as
    /// [`Archive::read_parameter`] gives them. One of several names of a tensor is enough.
    ///
    /// # Errors
    /// If the archive has no such file, a value has not the length of the tensor, two names of one tensor are
    /// given two values, or something cannot be read or written.
    pub fn write_with(
        &self,
        part: Part,
        out: &mut impl Write,
        values: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<(), ArchiveError> {
        let Some(at) = self.files.iter().position(|file| file.part == part) else {
            let reason = format!("belongs to a file {part:?}, which the archive does not have");
            let name = "the state".to_owned();
            return Err(Fault::NewValue { name, reason }.of(&self.files[0].path));
        };
        let file = &self.files[at];
        let mut memories = Vec::new();
        for (record, tensors) in self.state_of(at) {
            if let Some(record) = file.container.find(record) {
                memories.push((record, tensors));
            }
        }
        memories.sort_by_key(|(record, _)| record.data);
        let mut writer = Copy {
            file,
            out,
            at: 0,
            later: Vec::new(),
        };
        let written = memories
            .into_iter()
            .try_for_each(|(record, tensors)| writer.replace(record, &tensors, &values))
            .and_then(|()| writer.finish());
        written.map_err(|fault| fault.of(&file.path))
    }
}

/// A copy that is being written, from the front to the back.
struct Copy<'a, W> {
    file: &'a ArchiveFile,
    out: &'a mut W,
    /// Up to where it is written.
    at: u64,
    /// Checksums that stand further back.
    later: Vec<(u64, u32)>,
}

impl<W: Write> Copy<'_, W> {
    /// Writes everything up to the end of a record, whose tensors get new values.
    fn replace(
        &mut self,
        record: &crate::container::Record,
        tensors: &Tensors,
        values: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let mut new = Vec::new();
        for &(name, view) in tensors {
            if let Some(value) = values(name) {
                if value.len() != view.bytes() {
                    let (got, expected) = (value.len(), view.bytes());
                    return Err(wrong(name, format!("has {got} bytes, expected {expected}")));
                }
                new.push((name, view, value));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let mut memory = self.file.container.read(record, u64::MAX)?;
        for (_, view, value) in &new {
            view.scatter(value, &mut memory);
        }
        for (name, view, value) in &new {
            if !view.holds(value, &memory) {
                let reason = "is not that of another name of the same tensor";
                return Err(wrong(name, reason.to_owned()));
            }
        }
        let crc = checksum(&memory);
        for place in checksums(&self.file.container, record)? {
            self.later.push((place, crc));
        }
        self.later.sort_unstable();
        self.copy_to(record.data)?;
        self.put(&memory)
    }

    /// Copies the rest.
    fn finish(&mut self) -> Result<(), Fault> {
        self.copy_to(self.file.container.length)?;
        self.out.flush().map_err(Fault::Write)
    }

    /// Copies up to a place, with the new checksums that stand before it.
    fn copy_to(&mut self, end: u64) -> Result<(), Fault> {
        let due = self.later.partition_point(|&(place, _)| place < end);
        for (place, crc) in self.later.drain(..due).collect::<Vec<_>>() {
            self.copy_plainly(place)?;
            self.put(&crc.to_le_bytes())?;
        }
        self.copy_plainly(end)
    }

    fn copy_plainly(&mut self, end: u64) -> Result<(), Fault> {
        if end < self.at {
            let reason = "two of its places overlap";
            return Err(Fault::damaged("the list of records", reason));
        }
        let mut piece = vec![0; (end - self.at).min(PIECE) as usize];
        while self.at < end {
            let piece = &mut piece[..(end - self.at).min(PIECE) as usize];
            let read = self.file.container.bytes.read_at(piece, self.at);
            read.map_err(Fault::Read)?;
            self.put(piece)?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written: io::Result<()> = self.out.write_all(bytes);
        written.map_err(Fault::Write)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

fn wrong(name: &str, reason: String) -> Fault {
    Fault::NewValue {
        name: quoted(name),
        reason,
    }
}
