//! Cubins on disk, so that kernels are compiled once for a machine and not once for a process.
//!
//! A file's name is the digest of all that its cubin follows from. Behind the cubin stands its own digest: what a
//! disk or another program damaged is compiled anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::CudaError;
use super::nvrtc::{Nvrtc, OPTIONS};
use super::sources::{HEADER, Source};

/// Bytes of a digest.
const DIGEST: usize = 32;

/// A folder of cubins, which any number of processes may share.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in this folder, which is made when there is something to keep.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The cubin of a source for this architecture, such as `sm_90`: that on disk, or else what the compiler makes,
    /// which is then kept. A folder that cannot be written to costs the next process its time and nothing else.
    ///
    /// # Errors
    /// The compiler's.
    pub fn cubin(
        &self,
        source: &Source,
        architecture: &str,
        compiler: &Nvrtc,
    ) -> Result<Vec<u8>, CudaError> {
        let compile = || compiler.compile(source, architecture);
        self.made_by(&key(source, architecture, compiler.version()), compile)
    }

    /// What is kept under this name, or else what `make` gives.
    pub(super) fn made_by(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Vec<u8>, CudaError>,
    ) -> Result<Vec<u8>, CudaError> {
        let path = self.folder.join(name);
        if let Some(kept) = fs::read(&path).ok().and_then(intact) {
            return Ok(kept);
        }
        let cubin = make()?;
        if let Err(error) = self.keep(&path, &cubin) {
            log::warn!(
                "failed to keep a compiled kernel in {}: {error}",
                path.display()
            );
        }
        Ok(cubin)
    }

    /// Writes a file whole or not at all.
    fn keep(&self, path: &Path, cubin: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.folder)?;
        let own = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{}-{own}.part", process::id()));
        let written = fs::write(&part, [cubin, &Sha256::digest(cubin)].concat())
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            // What is left of it would stay for ever; that it is not there is as good.
            let _ = fs::remove_file(&part);
        }
        written
    }
}

/// The name of a source's cubin.
pub(super) fn key(source: &Source, architecture: &str, version: [i32; 2]) -> String {
    let [major, minor] = version.map(|it| it.to_string());
    let parts = [source.name, source.text, HEADER[1]];
    let parts = parts.into_iter().chain(OPTIONS);
    let mut digest = Sha256::new();
    for part in parts.chain([architecture, &major, &minor]) {
        // With its length, so that no two lists of parts are the same bytes.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let name: String = digest.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{name}.cubin")
}

/// A file's cubin, if its digest is that of what it holds.
fn intact(mut file: Vec<u8>) -> Option<Vec<u8>> {
    let digest = file.split_off(file.len().checked_sub(DIGEST)?);
    (Sha256::digest(&file)[..] == digest[..]).then_some(file)
}
