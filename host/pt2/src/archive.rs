//! An archive: its graphs, the state that they share, and copies with another state.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::container::{Bytes, Record};
use crate::error::{ArchiveError, Fault};
use crate::graph::Graph;
use crate::half::{self, ArchiveFile, Half, Stored};
use crate::tensor::{Dtype, View};

/// What a network is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As after `model.train()`.
    Train,
    /// As after `model.eval()`.
    Eval,
}

/// A file of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The only one.
    Whole,
    /// With the graph for training, `NAME.train.pt2`.
    Train,
    /// With the graph for evaluation, `NAME.eval.pt2`.
    Eval,
}

impl Part {
    /// The name of this file of the archive `NAME.pt2`.
    pub fn path(self, archive: &Path) -> PathBuf {
        match self {
            Self::Whole => archive.to_owned(),
            Self::Train => archive.with_extension("train.pt2"),
            Self::Eval => archive.with_extension("eval.pt2"),
        }
    }
}

/// A parameter: a tensor of float32 that has a gradient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// In the state_dict.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Whether it is trained: PyTorch's `requires_grad`.
    pub trainable: bool,
    /// The place in [`Archive::parameters`] of the first name of the same tensor; none for that name itself.
    pub tied_to: Option<usize>,
}

/// A buffer: state that has no gradient, such as running statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// In the state_dict, if that has it.
    pub name: String,
    /// Of its elements.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Whether the state_dict has it.
    pub persistent: bool,
    /// The place in [`Archive::buffers`] of the first name of the same tensor; none for that name itself.
    pub tied_to: Option<usize>,
}

/// A network as `torch.export` archived it: a graph for each mode, and the state that both share.
#[derive(Debug)]
pub struct Archive {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) buffers: Vec<Buffer>,
    /// One, or those for training and evaluation.
    pub(crate) halves: Vec<Half>,
    /// One, or one for each half.
    pub(crate) files: Vec<ArchiveFile>,
}

impl Archive {
    /// Opens an archive and checks everything but the bytes of the tensors, which are read when they are asked
    /// for. If there is no file `NAME.pt2`, it is the pair `NAME.train.pt2` and `NAME.eval.pt2`, which may be
    /// named by either, too.
    ///
    /// # Errors
    /// What is wrong, where, and what to do about it.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let name = path.to_string_lossy();
        let stem = [".train.pt2", ".eval.pt2"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let whole = match stem {
            Some(stem) => PathBuf::from(format!("{stem}.pt2")),
            None => path.to_owned(),
        };
        let pair = [Part::Train, Part::Eval].map(|part| (part, part.path(&whole)));
        let is_pair = stem.is_some() || (!path.exists() && pair[0].1.exists());
        let parts = match is_pair {
            true => pair.to_vec(),
            false => vec![(Part::Whole, whole)],
        };
        let mut files = Vec::new();
        for (part, path) in parts {
            if is_pair && !path.exists() {
                let (_, other) = pair
                    .iter()
                    .find(|(other, _)| *other != part)
                    .unwrap_or(&pair[0]);
                return Err(Fault::Half { missing: path }.of(other));
            }
            let bytes = open(&path).map_err(|fault| fault.of(&path))?;
            files.push(ArchiveFile::new(part, path, bytes)?);
        }
        Self::of_files(files)
    }

    /// Opens an archive in memory. The path is what messages call it.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, ArchiveError> {
        let bytes = Bytes::Memory(bytes);
        Self::of_files(vec![ArchiveFile::new(Part::Whole, path.to_owned(), bytes)?])
    }

    fn of_files(files: Vec<ArchiveFile>) -> Result<Self, ArchiveError> {
        let path = files[0].path.clone();
        let mut halves = Vec::new();
        for (at, file) in files.iter().enumerate() {
            let read = half::graphs(file).map_err(|fault| fault.of(&file.path))?;
            for (names, mut half) in read {
                half.file = at;
                halves.push((names, half));
            }
        }
        let mut archive = Self {
            parameters: Vec::new(),
            buffers: Vec::new(),
            halves: Vec::new(),
            files,
        };
        archive.unite(halves).map_err(|fault| fault.of(&path))?;
        Ok(archive)
    }

    /// The parameters, in the order of the network's `parameters()`; of tied ones every name.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The buffers, in the order of the graph's signature; of tied ones every name.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// What the network computes in a mode. Where nothing depends on it, both modes have the same graph.
    pub fn graph(&self, mode: Mode) -> &Graph {
        &self.half(mode).graph
    }

    /// Whether each mode has a graph of its own.
    pub fn has_two_graphs(&self) -> bool {
        self.halves.len() == 2
    }

    fn half(&self, mode: Mode) -> &Half {
        match mode {
            Mode::Train => &self.halves[0],
            Mode::Eval => &self.halves[self.halves.len() - 1],
        }
    }

    /// The values of a parameter: float32, little-endian, in one piece, the last dimension fastest.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit their checksum.
    ///
    /// # Panics
    /// If there is no such parameter.
    pub fn read_parameter(&self, at: usize) -> Result<Vec<u8>, ArchiveError> {
        self.read_stored(&self.halves[0], |half| &half.parameters[at])
    }

    /// The values of a buffer, as [`Archive::read_parameter`] gives them, in the buffer's type.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit their checksum.
    ///
    /// # Panics
    /// If there is no such buffer.
    pub fn read_buffer(&self, at: usize) -> Result<Vec<u8>, ArchiveError> {
        self.read_stored(&self.halves[0], |half| &half.buffers[at])
    }

    /// The values of one of [`Graph::constants`] of the graph of a mode, in the constant's type.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit their checksum.
    ///
    /// # Panics
    /// If there is no such constant.
    pub fn read_constant(&self, mode: Mode, at: usize) -> Result<Vec<u8>, ArchiveError> {
        self.read_stored(self.half(mode), |half| &half.constants[at])
    }

    fn read_stored(
        &self,
        half: &Half,
        stored: impl Fn(&Half) -> &Stored,
    ) -> Result<Vec<u8>, ArchiveError> {
        let read = self.read(half, stored(half));
        read.map_err(|fault| fault.of(&self.files[half.file].path))
    }

    pub(crate) fn record<'a>(&'a self, half: &Half, stored: &Stored) -> Result<&'a Record, Fault> {
        let found = self.files[half.file].container.find(&stored.record);
        found.ok_or_else(|| half::missing(&stored.record))
    }

    pub(crate) fn read(&self, half: &Half, stored: &Stored) -> Result<Vec<u8>, Fault> {
        let record = self.record(half, stored)?;
        let container = &self.files[half.file].container;
        Ok(stored.view.gather(container.read(record, u64::MAX)?))
    }

    /// The files of the archive.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &Path)> {
        self.files
            .iter()
            .map(|file| (file.part, file.path.as_path()))
    }

    /// Each name of the state_dict with its place, by the place of its memory in one of the files.
    pub(crate) fn state_of(&self, file: usize) -> BTreeMap<&str, Vec<(&str, &View)>> {
        let mut memories: BTreeMap<&str, Vec<(&str, &View)>> = BTreeMap::new();
        for half in self.halves.iter().filter(|half| half.file == file) {
            for (name, stored) in &half.state {
                memories
                    .entry(&stored.record)
                    .or_default()
                    .push((name, &stored.view));
            }
        }
        memories
    }
}

/// Opens a plain file: a pipe would block, and a folder has no bytes.
fn open(path: &Path) -> Result<Bytes, Fault> {
    let plain = |it: std::fs::Metadata| match it.is_file() {
        true => Ok(()),
        false => {
            let message = "it is no plain file";
            Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                message,
            ))
        }
    };
    let opened = std::fs::metadata(path)
        .and_then(plain)
        .and_then(|()| File::open(path));
    opened.map(Bytes::File).map_err(Fault::Read)
}
