//! How many of the test samples a model gets right, however it is computed.

use tch::{Kind, Tensor};

use crate::trainer::{On, TrainError, Trainer};

/// Samples that are computed together.
const TOGETHER: i64 = 128;

/// Share of the test samples that are right; none if it cannot compute them.
///
/// # Errors
/// If the samples cannot be read.
pub fn accuracy(
    tests: &Trainer,
    mut forward: impl FnMut(&Tensor) -> Result<Tensor, String>,
) -> Result<Option<f64>, TrainError> {
    let samples = tests.data().test.len();
    let (mut right, mut all) = (0, 0);
    for first in (0..samples).step_by(TOGETHER as usize) {
        let index = Tensor::arange_start(
            first,
            samples.min(first + TOGETHER),
            (Kind::Int64, tch::Device::Cpu),
        );
        let (input, _) = tests.data().test.gather(&index)?;
        let Ok(outputs) = forward(&input) else {
            return Ok(None);
        };
        let counted = tests.right(On::Test, &index, &outputs)?;
        (right, all) = (right + counted.0, all + counted.1);
    }
    Ok((all > 0).then(|| right as f64 / all as f64))
}
