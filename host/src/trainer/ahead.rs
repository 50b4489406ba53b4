//! Reads batches of image files ahead of who needs them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use kernels::shim;
use tch::{Device, Tensor};

use super::TrainError;
use super::pace::Pace;
use crate::data::{DataError, ImageFiles, Pick};

/// Batches that wait to be taken; a further one is being decoded.
const MOST: usize = 3;

/// Batches that a thread in the background decodes in their order. Reading ahead changes no result.
///
/// What goes to a GPU is decoded into pinned memory and copied while the CPU goes on.
pub(super) struct Ahead {
    batches: Receiver<Result<Tensor, DataError>>,
    device: Device,
}

impl Ahead {
    /// These batches for `device`. `pace` learns how fast they are decoded.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn start(
        files: &Arc<ImageFiles>,
        device: Device,
        batches: impl Iterator<Item = Vec<Pick>> + Send + 'static,
        pace: &Arc<Pace>,
    ) -> Result<Self, TrainError> {
        let (sender, receiver) = sync_channel(MOST);
        let (files, pace) = (files.clone(), pace.clone());
        let read = move || {
            for picks in batches {
                let begun = Instant::now();
                let batch = files.read(&picks, device);
                pace.add_read(picks.len(), begun.elapsed());
                // Nobody waits any more: the session ended or is elsewhere.
                if sender.send(batch).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("images".to_owned())
            .spawn(read)
            .map_err(|error| TrainError::Feed(error.to_string()))?;
        Ok(Self {
            batches: receiver,
            device,
        })
    }

    /// The next batch, on its device.
    ///
    /// # Shapes
    /// `[samples, 3, size, size]`, u8.
    ///
    /// # Errors
    /// A file that cannot be read or decoded.
    pub fn next(&mut self) -> Result<Tensor, TrainError> {
        let batch = self.batches.recv().map_err(|_| {
            TrainError::Feed("it ended early, which is a bug of the host".to_owned())
        })?;
        Ok(shim::to_device(&batch?, self.device)?)
    }
}
