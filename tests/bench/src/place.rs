//! On what it is measured.

use std::process::Command;

use tch::Device;

use crate::error::BenchError;

/// On what, and so which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The processors: the rows of `make bench`.
    Processors,
    /// This GPU: the rows of `make bench-cuda`.
    Gpu(usize),
    /// The rows for GPUs, tiny and on the processors, to try them.
    Dry,
}

impl Place {
    /// From `--device` and `--dry-run`.
    ///
    /// # Errors
    /// Says what is understood.
    pub fn parse(device: &str, dry: bool) -> Result<Self, BenchError> {
        let number = match device.split_once(':') {
            None if device == "cuda" => Some(0),
            Some(("cuda", number)) => number.parse().ok(),
            _ => None,
        };
        match (device, dry, number) {
            ("cpu", false, _) => Ok(Self::Processors),
            ("cpu", true, _) => Ok(Self::Dry),
            (_, false, Some(number)) => Ok(Self::Gpu(number)),
            _ => Err(BenchError::Setting {
                name: "--device".to_owned(),
                got: device.to_owned(),
                expected: "cpu, cuda or cuda:N; with --dry-run cpu",
            }),
        }
    }

    /// Where tensors lie.
    pub fn device(self) -> Device {
        match self {
            Self::Gpu(number) => Device::Cuda(number),
            _ => Device::Cpu,
        }
    }

    /// The same for programs and for PyTorch.
    pub fn name(self) -> String {
        match self {
            Self::Gpu(number) => format!("cuda:{number}"),
            _ => "cpu".to_owned(),
        }
    }

    /// Whether its rows are those for GPUs.
    pub fn has_gpu_rows(self) -> bool {
        self != Self::Processors
    }

    /// Why nothing can be measured there, if there is no such GPU.
    ///
    /// # Errors
    /// If there is one that this libtorch does not see.
    pub fn absence(self) -> Result<Option<String>, BenchError> {
        let Self::Gpu(number) = self else {
            return Ok(None);
        };
        let there = tch::Cuda::device_count();
        if (number as i64) < there {
            return Ok(None);
        }
        let reason = format!("there is no CUDA device {number}: this machine shows {there}");
        match gpu(number) {
            None => Ok(Some(reason)),
            Some(gpu) => Err(BenchError::Ours(format!(
                "{gpu} is here, but {reason}; a lean libtorch (make libtorch TORCH=lean) shows none"
            ))),
        }
    }
}

/// `NAME, DRIVER, MEMORY` of a GPU, as its driver says.
pub fn gpu(number: usize) -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args(["-i", &number.to_string(), "--format=csv,noheader"])
        .arg("--query-gpu=name,driver_version,memory.total")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_on_the_processors() {
        let parse = |device, dry| Place::parse(device, dry).ok();
        assert_eq!(parse("cpu", false), Some(Place::Processors));
        assert_eq!(parse("cpu", true), Some(Place::Dry));
        assert_eq!(parse("cuda", false), Some(Place::Gpu(0)));
        assert_eq!(parse("cuda:3", false), Some(Place::Gpu(3)));
        assert_eq!(parse("cuda:0", true), None);
        assert_eq!(parse("cuda:first", false), None);
        assert_eq!(parse("gpu", false), None);
    }
}
