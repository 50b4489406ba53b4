//! Images that stay in their files and are decoded when a batch needs them.

use super::DataError;
use super::crop::{ResizedCrop, centre};
use super::image_index::fingerprint_of;
use super::picture::{MOST_FILE_BYTES, Picture, decode};
use super::resample::resample;
use crate::plain_file;
use crate::rng::{Moment, Purpose, Stream};
use kernels::shim::Bytes;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tch::{Device, Tensor};

/// How pictures of any size become inputs of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    /// Height and width of an input.
    pub size: usize,
    /// Length of the short side before the middle is cut out.
    pub resize: usize,
    /// The random parts that training sees; the middle if there are none.
    pub crop: Option<ResizedCrop>,
}

/// A sample that a batch needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its number.
    pub sample: usize,
    /// Where its random part is drawn; none for the middle.
    pub drawn: Option<Draw>,
}

/// The epoch for which a random part of an image is drawn. Together with the sample's number it
/// decides the part: neither the batch nor the thread that reads it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the repetition.
    pub seed: u64,
    /// Level whose data order is used.
    pub level: u64,
    /// Epoch of the level.
    pub epoch: u64,
}

/// The images of one split: their files, how they are cut, and those that memory has room for.
pub struct ImageFiles {
    folder: PathBuf,
    /// Paths below the folder.
    files: Vec<Box<str>>,
    /// What each file looked like when it was listed; nothing where nobody looked.
    looks: Vec<u64>,
    view: View,
    /// Decoded pictures by sample, as far as there was room when they were first needed.
    kept: Vec<OnceLock<Picture>>,
    shared: Arc<Shared>,
}

/// What the splits of a dataset share.
pub(super) struct Shared {
    /// Bytes that may still be kept.
    room: AtomicU64,
    threads: OnceLock<Option<ThreadPool>>,
}

impl Shared {
    /// Room for so many bytes of pictures.
    pub(super) fn new(room: u64) -> Arc<Self> {
        Arc::new(Self {
            room: AtomicU64::new(room),
            threads: OnceLock::new(),
        })
    }

    /// Whether there was room for so many bytes; they are taken.
    fn take(&self, bytes: u64) -> bool {
        let take = |room: u64| room.checked_sub(bytes);
        let relaxed = Ordering::Relaxed;
        self.room.fetch_update(relaxed, relaxed, take).is_ok()
    }

    /// Runs `work` on as many threads as libtorch computes with.
    fn on_threads<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let threads = self.threads.get_or_init(|| {
            let count = usize::try_from(tch::get_num_threads()).unwrap_or(1);
            let pool = ThreadPoolBuilder::new().num_threads(count.max(1));
            pool.thread_name(|number| format!("images-{number}"))
                .build()
                .ok()
        });
        match threads {
            Some(threads) => threads.install(work),
            // The system gives no more threads: the caller's own does it.
            None => work(),
        }
    }
}

impl ImageFiles {
    /// The images in these files below `folder`.
    pub(super) fn new(
        folder: PathBuf,
        files: Vec<Box<str>>,
        looks: Vec<u64>,
        view: View,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            kept: files.iter().map(|_| OnceLock::new()).collect(),
            folder,
            files,
            looks,
            view,
            shared,
        }
    }

    /// The images of these samples alone, in this order.
    pub(super) fn select(&self, samples: &[i64]) -> Self {
        let files = samples.iter().map(|&it| self.files[it as usize].clone());
        let looks = samples.iter();
        let looks = looks.filter_map(|&it| self.looks.get(it as usize).copied());
        Self::new(
            self.folder.clone(),
            files.collect(),
            looks.collect(),
            self.view,
            self.shared.clone(),
        )
    }

    /// Pixels of these samples, decoded side by side, on the CPU, from where a copy to `goes_to` is quick. The result
    /// depends on the samples and draws alone: not on the number of threads, nor on what is kept in memory.
    ///
    /// # Shapes
    /// `[samples, 3, size, size]`, u8.
    ///
    /// # Errors
    /// A file that cannot be read or decoded; memory that is not to be had.
    pub fn read(&self, picks: &[Pick], goes_to: Device) -> Result<Tensor, DataError> {
        let size = self.view.size;
        let shape = [picks.len() as i64, 3, size as i64, size as i64];
        let mut pixels = Bytes::new(&shape, goes_to).map_err(DataError::NoRoom)?;
        let all = pixels.as_mut_slice();
        self.shared.on_threads(|| {
            let places = all.par_chunks_exact_mut(3 * size * size).zip(picks);
            places.try_for_each(|(pixels, pick)| self.fill(pixels, *pick))
        })?;
        Ok(pixels.into_tensor())
    }

    /// The file of a sample.
    pub fn path(&self, sample: usize) -> PathBuf {
        self.folder.join(Path::new(&*self.files[sample]))
    }

    fn fill(&self, pixels: &mut [u8], pick: Pick) -> Result<(), DataError> {
        let kept = &self.kept[pick.sample];
        if let Some(picture) = kept.get() {
            self.cut(picture, pick, pixels);
            return Ok(());
        }
        let path = self.path(pick.sample);
        let bytes =
            plain_file::read(&path, MOST_FILE_BYTES).map_err(DataError::io("read", &path))?;
        let expected = self.looks.get(pick.sample);
        if expected.is_some_and(|&expected| fingerprint_of(&bytes) != expected) {
            return Err(DataError::Changed { path });
        }
        let picture = decode(&bytes).map_err(|reason| DataError::BadImage { path, reason })?;
        self.cut(&picture, pick, pixels);
        if self.shared.take(picture.pixels.len() as u64) {
            // Two threads may have decoded it: the pictures are the same.
            let _ = kept.set(picture);
        }
        Ok(())
    }

    fn cut(&self, picture: &Picture, pick: Pick, pixels: &mut [u8]) {
        let View { size, resize, crop } = self.view;
        let (width, height) = (picture.width, picture.height);
        let cut = match (crop, pick.drawn) {
            (Some(crop), Some(Draw { seed, level, epoch })) => {
                let moment = Moment {
                    level,
                    epoch,
                    step: 0,
                };
                let mut stream = Stream::new(seed, Purpose::Crop(pick.sample as u64), moment);
                crop.draw(width, height, size, &mut stream)
            }
            _ => centre(width, height, resize, size),
        };
        resample(picture, cut.columns, cut.rows, cut.mirror, pixels);
    }
}

impl fmt::Debug for ImageFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageFiles")
            .field("folder", &self.folder)
            .field("files", &self.files.len())
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
