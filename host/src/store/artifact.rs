//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use tch::{Kind, Tensor};

use super::lock::{self, Denied, Owner};
use crate::memory::why_unwritten;
use crate::plain_file;

/// Why an artifact could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Writing.
    #[error("failed to write {path} ({bytes} bytes): {}", why_unwritten(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// Why.
        source: io::Error,
    },
    /// Removing.
    #[error("failed to remove {path}: {source}; mend the folder, and run the same command again")]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the folder now.
    #[error(
        "{path} was not written: process {} on {} took over {folder} while this process stood still, and goes on \
         with it; what is stored is whole", .by.pid, .by.host
    )]
    Lost {
        /// The file or folder that this process was about to change.
        path: PathBuf,
        /// The folder that it had locked.
        folder: PathBuf,
        /// Who has it.
        by: Box<Owner>,
    },
    /// A file that is not what its name says.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        reason: String,
    },
}

impl StoreError {
    /// Whether a file is missing or not what it should be, rather than out of reach for now.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Read { source, .. } => matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
            ),
            _ => false,
        }
    }
}

/// Fails unless this process still has the locks that it took on folders around a path; true if there is one.
///
/// Between this answer and what is done next another process may take over, if this one stands still just there
/// for a whole limit. That harms nothing: what is written has a name of its own until it is renamed in whole,
/// and two who do the same work write the same bytes.
///
/// # Errors
/// Who has the folder now, or what keeps this process from saying that it is at work.
pub fn ask(path: &Path) -> Result<bool, StoreError> {
    lock::ask(path).map_err(|denied| match denied {
        Denied::Lost { lock, by } => StoreError::Lost {
            path: path.to_owned(),
            folder: lock.parent().unwrap_or(&lock).to_owned(),
            by: Box::new(by),
        },
        Denied::Refused(refused) => StoreError::Write {
            path: refused.path,
            bytes: refused.bytes,
            source: refused.source,
        },
    })
}

/// Removes a file, or a folder with all that it holds; one that is not there is no error. Where no lock is held, what
/// killed processes left of the file goes, too.
///
/// # Errors
/// Names the path, or who has its folder now.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    if !ask(path)? {
        tidy_file(path);
    }
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(StoreError::Remove {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Writes a file whole or not at all: to a temporary sibling, synced, then renamed over the target,
/// then the folder is synced. A reader, or a run that was killed, never sees half of it.
///
/// The sibling is this process's own, as others may be writing the same file: where a lock is held and asked for, who
/// lost it and does not know yet; elsewhere, whoever does the same at the same time. There who is done removes what
/// others have under way, or left as they were killed; whose sibling goes that way was overwritten.
///
/// # Errors
/// Names the path and the bytes it needs, or who has its folder now.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let error = |source| StoreError::Write {
        path: path.to_owned(),
        bytes: bytes.len(),
        source,
    };
    // The parent of a bare name is the empty path, which no system call knows.
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    let is_locked = ask(path)?;
    fs::create_dir_all(folder).map_err(error)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", lock::mark()));
    let sibling = path.with_file_name(name);
    let written = File::create(&sibling).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    // Writing may have taken long.
    (written.map_err(error))
        .and_then(|()| ask(path))
        .and_then(|_| match fs::rename(&sibling, path) {
            Err(gone) if gone.kind() == ErrorKind::NotFound && !is_locked && path.exists() => {
                Ok(())
            }
            renamed => renamed.and_then(|()| sync_folder(folder)).map_err(error),
        })
        .inspect(|()| {
            if !is_locked {
                tidy_file(path);
            }
        })
        .inspect_err(|_| {
            // What was written of it takes room that the user may need to make.
            let _ = fs::remove_file(&sibling);
        })
}

/// Removes what processes that were killed left of files that they wrote into a folder under its lock.
pub fn tidy(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if left_of(&entry.file_name().to_string_lossy()).is_some() {
            // It is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes what others left of a file, or have under way.
fn tidy_file(path: &Path) {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new(".")));
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        if path
            .file_name()
            .is_some_and(|own| left_of(&name.to_string_lossy()) == own.to_str())
        {
            // It is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Lets this machine see what others did in a folder and in those below it, locks left out. A network file system may
/// show for some seconds what it had seen before; a change of one's own brings the news. What killed processes left of
/// their files goes.
pub fn refresh(folder: &Path) {
    refresh_folder(folder);
    tidy(folder);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
        if is_folder && entry.file_name() != lock::NAME {
            refresh(&entry.path());
        }
    }
}

/// As [`refresh`], of a folder alone.
pub fn refresh_folder(folder: &Path) {
    let news = folder.join(format!("news.{}.tmp", lock::mark()));
    // Where there is no such folder, or it is not to be written, there is no news. Who is killed before it is removed
    // leaves it to `tidy`.
    let _ = File::create(&news).and_then(|_| fs::remove_file(&news));
}

/// The name of the file that a temporary sibling with this name was to become; none if it is the name of none.
pub fn left_of(name: &str) -> Option<&str> {
    let (name, mark) = name.strip_suffix(".tmp")?.rsplit_once('.')?;
    let is_mark = mark.len() == lock::MARK_LETTERS && mark.bytes().all(|it| it.is_ascii_hexdigit());
    is_mark.then_some(name)
}

/// Makes renames in a folder last; not every system can sync a folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Reads a file.
///
/// # Errors
/// Names the path.
pub fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let bytes = plain_file::open(path).and_then(|mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    bytes.map_err(|source| StoreError::Read {
        path: path.to_owned(),
        source,
    })
}

/// BLAKE3 of a file, hexadecimal.
///
/// # Errors
/// Names the path.
pub fn digest(path: &Path) -> Result<String, StoreError> {
    Ok(blake3::hash(&read(path)?).to_hex().to_string())
}

/// Fails unless a file has this digest.
///
/// # Errors
/// Names the path, and both digests if they differ.
pub fn expect_digest(path: &Path, expected: &str) -> Result<(), StoreError> {
    let got = digest(path)?;
    if got == expected {
        return Ok(());
    }
    Err(StoreError::Damaged {
        path: path.to_owned(),
        reason: format!("its BLAKE3 digest is {got}, expected {expected}"),
    })
}

/// The tensors as they are written: on the CPU, row-major. Those that lie so already share their memory.
pub fn at_hand(tensors: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    let at_hand = |(name, tensor): &(String, Tensor)| {
        let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
        (name.clone(), tensor)
    };
    tensors.iter().map(at_hand).collect()
}

/// Writes named tensors as safetensors, in PyTorch's row-major layout.
///
/// # Errors
/// Names the path and the bytes it needs.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), StoreError> {
    let damaged = |reason: String| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let tensors = at_hand(tensors);
    let mut raw = Vec::with_capacity(tensors.len());
    for (name, tensor) in &tensors {
        let dtype = dtype(tensor.kind()).ok_or_else(|| {
            damaged(format!(
                "`{name}` has type {:?}, which is not stored",
                tensor.kind()
            ))
        })?;
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        raw.push((name.as_str(), dtype, shape, bytes));
    }
    let views: Result<Vec<_>, SafeTensorError> = raw
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect();
    // More than one entry of metadata would be written in a random order.
    let metadata = [("format".to_owned(), "pt".to_owned())]
        .into_iter()
        .collect();
    let bytes = views
        .and_then(|views| safetensors::serialize(views, Some(metadata)))
        .map_err(|error| damaged(error.to_string()))?;
    write(path, &bytes)
}

/// Reads named tensors onto the CPU, in the order of their names.
///
/// # Errors
/// Names the path, and what is wrong with it.
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Tensor)>, StoreError> {
    let damaged = |reason: String| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let bytes = read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    // The reader's own order is another one each time.
    let mut views: Vec<_> = file.iter().collect();
    views.sort_unstable_by_key(|(name, _)| *name);
    views
        .into_iter()
        .map(|(name, view)| {
            let kind = kind(view.dtype()).ok_or_else(|| {
                damaged(format!(
                    "`{name}` has type {:?}, expected F32, F64, I64 or U8",
                    view.dtype()
                ))
            })?;
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)
                .map_err(|error| damaged(format!("`{name}`: {error}")))?;
            Ok((name.to_owned(), tensor))
        })
        .collect()
}

fn dtype(kind: Kind) -> Option<Dtype> {
    match kind {
        Kind::Float => Some(Dtype::F32),
        Kind::Double => Some(Dtype::F64),
        Kind::Int64 => Some(Dtype::I64),
        Kind::Uint8 => Some(Dtype::U8),
        _ => None,
    }
}

fn kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F64 => Some(Kind::Double),
        Dtype::I64 => Some(Kind::Int64),
        Dtype::U8 => Some(Kind::Uint8),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
