//! Samples and labels, and how they become batches.

use std::sync::Arc;

use kernels::cuda::{CudaError, Kernels, passes};
use kernels::shim;
use tch::{Device, Kind, Tensor};

use super::{Augment, DataError, ImageFiles, Pick, StoredSamples};

/// Samples and labels of one split.
#[derive(Debug)]
pub struct Split {
    /// The samples.
    pub inputs: Inputs,
    /// `[samples, ...target_shape]`, on the training device: classes in i64, numbers and labels in f32.
    pub labels: Tensor,
    /// How u8 pixels become the model's inputs; none for data stored as f32 or i64.
    pub normalisation: Option<Normalisation>,
}

/// The samples of a split.
#[derive(Debug)]
pub enum Inputs {
    /// `[samples, ...input_shape]`, u8 (images), f32 or i64 (tokens), on the training device.
    Memory(Tensor),
    /// An array in a file, whose samples are read whenever a batch needs them.
    Stored(Arc<StoredSamples>),
    /// Files that are decoded whenever a batch needs them.
    Files(Arc<ImageFiles>),
}

impl Inputs {
    /// All samples at once, if they are in memory.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Memory(inputs) => Some(inputs),
            Self::Stored(_) | Self::Files(_) => None,
        }
    }
}

impl From<Tensor> for Inputs {
    fn from(inputs: Tensor) -> Self {
        Self::Memory(inputs)
    }
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

    /// The samples at `index` alone, in this order.
    ///
    /// # Shapes
    /// `index`: `[n]`, i64, on the CPU.
    pub(super) fn select(&self, index: &[i64]) -> Self {
        let place = Tensor::from_slice(index).to_device(self.device());
        Self {
            inputs: match &self.inputs {
                Inputs::Memory(inputs) => inputs.index_select(0, &place).into(),
                Inputs::Stored(stored) => Inputs::Stored(Arc::new(stored.select(index))),
                Inputs::Files(files) => Inputs::Files(Arc::new(files.select(index))),
            },
            labels: self.labels.index_select(0, &place),
            normalisation: self.normalisation.as_ref().map(Normalisation::share),
        }
    }

    /// Keeps the first samples, as many as fit into so many bytes, two at least, in memory of their
    /// own: a stand-in has none. Files stay.
    pub fn materialise(&mut self, bytes: usize) {
        let Inputs::Memory(inputs) = &self.inputs else {
            return;
        };
        let size = inputs.get(0).numel().max(1) * inputs.kind().elt_size_in_bytes();
        let fitting = (bytes / size).max(2) as i64;
        let count = fitting.min(self.len());
        let first = |tensor: &Tensor| tensor.narrow(0, 0, count).contiguous();
        let (inputs, labels) = (first(inputs), first(&self.labels));
        (self.inputs, self.labels) = (inputs.into(), labels);
    }

    /// The device the samples live on.
    pub fn device(&self) -> Device {
        self.labels.device()
    }

    /// The batch of the samples at `index`, unchanged, ready for the model. With samples in memory
    /// the host does not wait for the device.
    ///
    /// # Shapes
    /// `index`: `[n]`, i64, on the split's device; result: inputs `[n, ...input_shape]`, f32 or tokens in i64,
    /// labels `[n, ...target_shape]`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn gather(&self, index: &Tensor) -> Result<(Tensor, Tensor), DataError> {
        let inputs = match &self.inputs {
            Inputs::Memory(inputs) => inputs.index_select(0, index),
            Inputs::Stored(stored) => stored.read(&numbers(index), self.device())?,
            Inputs::Files(files) => {
                let pixels = files.read(&plain(index), self.device())?;
                shim::to_device(&pixels, self.device()).map_err(DataError::NoRoom)?
            }
        };
        Ok((self.normalise(&inputs), self.labels_at(index)))
    }

    /// As [`gather`](Split::gather) of images in memory, changed as was drawn before they are normalised. Image files
    /// are changed while they are read: see [`ImageFiles`].
    ///
    /// # Shapes
    /// `draws`: [`[3, n]`](super::Draws::tensor), on the split's device.
    ///
    /// # Errors
    /// As [`gather`](Split::gather).
    pub fn gather_augmented(
        &self,
        index: &Tensor,
        augment: &Augment,
        draws: &Tensor,
    ) -> Result<(Tensor, Tensor), DataError> {
        let inputs = match &self.inputs {
            Inputs::Memory(inputs) => inputs.index_select(0, index),
            Inputs::Stored(stored) => stored.read(&numbers(index), self.device())?,
            Inputs::Files(_) => return self.gather(index),
        };
        let inputs = augment.apply(&inputs, draws);
        Ok((self.normalise(&inputs), self.labels_at(index)))
    }

    /// The inputs of [`gather_augmented`](Split::gather_augmented), or of [`gather`](Split::gather) without `changes`, in
    /// one pass by kernels on the split's device; none of other samples than normalised images in memory.
    ///
    /// # Errors
    /// Those of a launch.
    pub fn gather_by(
        &self,
        kernels: &Kernels,
        index: &Tensor,
        changes: Option<(&Augment, &Tensor)>,
        channels_last: bool,
    ) -> Result<Option<Tensor>, CudaError> {
        let (Inputs::Memory(images), Some(normalisation)) = (&self.inputs, &self.normalisation)
        else {
            return Ok(None);
        };
        let &[_, channels, height, width] = images.size().as_slice() else {
            return Ok(None);
        };
        if images.kind() != Kind::Uint8 || !images.is_contiguous() {
            return Ok(None);
        }
        let count = index.numel() as i64;
        let shape = match channels_last {
            true => [count, height, width, channels],
            false => [count, channels, height, width],
        };
        let out = Tensor::empty(shape, (Kind::Float, images.device()));
        let [scale, shift] =
            [&normalisation.scale, &normalisation.shift].map(|it| it.view([channels]));
        let changes = changes.filter(|(augment, _)| !augment.is_none());
        let draws = changes.map(|(augment, places)| passes::Draws {
            places,
            crop: augment.crop.into(),
        });
        let normalise = passes::Normalise {
            scale: &scale,
            shift: &shift,
        };
        passes::gather(
            &**kernels,
            images,
            index,
            draws,
            normalise,
            channels_last,
            &out,
        )?;
        Ok(Some(match channels_last {
            true => out.permute([0, 3, 1, 2]),
            false => out,
        }))
    }

    /// The labels of the samples at `index`.
    pub fn labels_at(&self, index: &Tensor) -> Tensor {
        self.labels.index_select(0, index)
    }

    /// What each byte of a stored sample becomes, `[channels, 256]`; none if samples are not bytes in
    /// memory.
    pub fn byte_table(&self, channels: i64) -> Option<Tensor> {
        let inputs = self.inputs.tensor()?;
        if inputs.kind() != Kind::Uint8 {
            return None;
        }
        let bytes = Tensor::arange(256, (Kind::Uint8, self.device())).view([256, 1, 1, 1]);
        let values = self.normalise(&bytes.expand([256, channels, 1, 1], false));
        Some(values.view([256, channels]).transpose(0, 1).contiguous())
    }

    /// Stored samples as the model takes them.
    pub fn normalise(&self, inputs: &Tensor) -> Tensor {
        match &self.normalisation {
            Some(normalisation) => normalisation.apply(inputs),
            None if inputs.kind() == Kind::Int64 => inputs.shallow_clone(),
            None => inputs.to_kind(Kind::Float),
        }
    }
}

/// `(pixel / 255 - mean) / std`, per channel, as one product and one sum.
#[derive(Debug)]
pub struct Normalisation {
    /// `1 / (255 std)`: `[1, channels, 1, 1]`, f32, on the training device.
    scale: Tensor,
    /// `-mean / std`: `[1, channels, 1, 1]`, f32, on the training device.
    shift: Tensor,
}

impl Normalisation {
    /// The normalisation with these means and standard deviations of the channels, on the scale 0 to 1.
    pub fn new(mean: &[f64], std: &[f64], device: Device) -> Self {
        let channels = |values: Vec<f32>| {
            Tensor::from_slice(&values)
                .view([1, -1, 1, 1])
                .to_device(device)
        };
        let pairs = || mean.iter().zip(std);
        Self {
            scale: channels(pairs().map(|(_, s)| (1.0 / (255.0 * s)) as f32).collect()),
            shift: channels(pairs().map(|(m, s)| (-m / s) as f32).collect()),
        }
    }

    /// The same once more; its numbers are not copied.
    fn share(&self) -> Self {
        Self {
            scale: self.scale.shallow_clone(),
            shift: self.shift.shallow_clone(),
        }
    }

    /// The model's inputs.
    ///
    /// # Shapes
    /// `pixels`: `[n, channels, height, width]`, u8; result: the same, f32.
    pub fn apply(&self, pixels: &Tensor) -> Tensor {
        (pixels * &self.scale).g_add_(&self.shift)
    }
}

/// An index as numbers.
fn numbers(index: &Tensor) -> Vec<i64> {
    let index = index.to_device(Device::Cpu).contiguous();
    let mut samples = vec![0i64; index.numel()];
    let count = samples.len();
    index.copy_data(&mut samples, count);
    samples
}

/// The samples at `index`, to be read without random changes.
fn plain(index: &Tensor) -> Vec<Pick> {
    let pick = |sample: i64| Pick {
        sample: sample as usize,
        drawn: None,
    };
    numbers(index).into_iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::labels;

    fn split() -> Split {
        let pixels: Vec<u8> = (0..4 * 3 * 2 * 2).map(|i| (i * 5) as u8).collect();
        Split {
            inputs: Tensor::from_slice(&pixels).view([4, 3, 2, 2]).into(),
            labels: labels(&[3, 1, 0, 2], Device::Cpu),
            normalisation: Some(Normalisation::new(
                &[0.5, 0.25, 0.125],
                &[0.2, 0.3, 0.4],
                Device::Cpu,
            )),
        }
    }

    #[test]
    fn gathers_the_samples_in_the_order_of_the_index_and_normalises_each_pixel() {
        let split = split();
        let (inputs, labels) = split.gather(&Tensor::from_slice(&[2i64, 0, 2])).unwrap();
        assert_eq!(inputs.size(), [3, 3, 2, 2]);
        assert_eq!(inputs.kind(), Kind::Float);
        assert_eq!(Vec::<i64>::try_from(&labels).unwrap(), [0, 3, 0]);
        let got = Vec::<f32>::try_from(inputs.flatten(0, -1)).unwrap();
        let mut at = 0;
        for sample in [2usize, 0, 2] {
            for channel in 0..3 {
                for place in 0..4 {
                    let pixel = ((sample * 12 + channel * 4 + place) * 5) as f64;
                    let mean = [0.5, 0.25, 0.125][channel];
                    let std = [0.2, 0.3, 0.4][channel];
                    let expected = (pixel / 255.0 - mean) / std;
                    assert!((f64::from(got[at]) - expected).abs() < 1e-6);
                    at += 1;
                }
            }
        }
    }

    #[test]
    fn leaves_data_stored_as_numbers_as_they_are() {
        let split = Split {
            inputs: Tensor::from_slice(&[1.5f32, -2.0, 0.25, 8.0])
                .view([2, 2])
                .into(),
            labels: labels(&[0, 1], Device::Cpu),
            normalisation: None,
        };
        let (inputs, _) = split.gather(&Tensor::from_slice(&[1i64, 0])).unwrap();
        let got = Vec::<f32>::try_from(inputs.flatten(0, -1)).unwrap();
        assert_eq!(got, [0.25, 8.0, 1.5, -2.0]);
    }
}
