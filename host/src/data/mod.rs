//! Datasets, held in memory on the training device.

use tch::{Device, Tensor};

/// A dataset with its two splits.
pub struct Dataset {
    /// Name in the experiment file.
    pub name: String,
    /// Number of classes.
    pub classes: i64,
    /// Shape of one input as the model sees it: `[features]` or `[channels, height, width]`.
    pub input_shape: Vec<i64>,
    /// Samples to train on.
    pub train: Split,
    /// Samples to evaluate on.
    pub test: Split,
    /// BLAKE3 of the raw bytes (inputs, labels; train, test): part of a run's identity.
    pub checksum: String,
}

/// Samples and labels of one split.
pub struct Split {
    /// `[samples, ...input_shape]`, u8 (images) or f32, on the training device.
    pub inputs: Tensor,
    /// `[samples]`, i64, on the training device.
    pub labels: Tensor,
    /// How u8 pixels become the model's inputs; none for data stored as f32.
    pub normalisation: Option<Normalisation>,
}

/// `(pixel / 255 - mean) / std`, per channel.
pub struct Normalisation {
    /// `[1, channels, 1, 1]`, f32, on the training device.
    pub mean: Tensor,
    /// `[1, channels, 1, 1]`, f32, on the training device.
    pub std: Tensor,
}

impl Split {
    /// Number of samples.
    pub fn len(&self) -> i64 {
        self.labels.size()[0]
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device the samples live on.
    pub fn device(&self) -> Device {
        self.labels.device()
    }
}
