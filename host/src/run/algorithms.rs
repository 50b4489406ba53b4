//! By which algorithms a run on a GPU is computed: `algorithms.json` in its folder, which it goes on by.

use std::path::PathBuf;
use std::sync::Arc;

use kernels::cuda::{Kernels, OnDevice, autograd_by};
use kernels::graphs::Library;
use kernels::shim;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::{OpenError, Setting};
use crate::store::{self, ALGORITHMS, RunDir, StoreError};

/// What decides the bits of a run on a GPU beside its experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Algorithms {
    /// The GPU's name, where it can be asked for.
    gpu: Option<String>,
    /// Version of cuDNN, whose rules choose the algorithm of each convolution: 92000 is 9.20.0.
    cudnn: Option<i64>,
    /// Whether kernels of our own compute what they can.
    kernels: bool,
    /// Version of the compiler that made them.
    nvrtc: Option<[i32; 2]>,
}

impl Algorithms {
    /// Those of a run on the setting's device, with the kernels if they are among them: as it began, or as it is asked
    /// for; nothing on the CPU.
    ///
    /// # Errors
    /// If it began by kernels, or is asked to, and they cannot be had.
    pub fn of(
        run: &RunDir,
        setting: &Setting,
    ) -> Result<Option<(Self, Option<Kernels>)>, OpenError> {
        if !setting.device.is_cuda() {
            if setting.kernels {
                log::warn!("--cuda-kernels is for GPUs, and this run is trained on the CPU");
            }
            return Ok(None);
        }
        let before = Self::read(run).map_err(OpenError::Algorithms)?;
        let begun = before.is_some() || !run.seeds().is_empty();
        let by_kernels = match (&before, begun) {
            (Some(before), _) => before.kernels,
            (None, true) => false,
            (None, false) => setting.kernels,
        };
        if setting.kernels && !by_kernels {
            log::warn!(
                "--cuda-kernels: {} began without them, and goes on so",
                run.path().display()
            );
        }
        let kernels = match by_kernels {
            true => Some(open(setting.device).map_err(|reason| {
                let whose = match begun {
                    true => "this run began by kernels of the program's own (algorithms.json)",
                    false => "--cuda-kernels",
                };
                OpenError::Device(format!("{whose}: {reason}"))
            })?),
            false => None,
        };
        let library = Library::get().ok();
        let facts = library.and_then(|it| it.facts(setting.device).ok());
        let now = Self {
            gpu: facts.map(|it| it.name),
            cudnn: shim::cudnn_version(),
            kernels: by_kernels,
            nvrtc: kernels.as_ref().map(|it| it.compiler_version()),
        };
        if let Some(before) = before.filter(|before| *before != now) {
            log::warn!(
                "{} was computed by {}, and goes on by {}: its levels will not be what one uninterrupted run gives",
                run.path().display(),
                before.words(),
                now.words()
            );
        }
        let kernels = kernels.map(|it| -> Kernels { Arc::new(it) });
        autograd_by(kernels.as_ref());
        Ok(Some((now, kernels)))
    }

    fn read(run: &RunDir) -> Result<Option<Self>, StoreError> {
        let path = run.file(ALGORITHMS);
        match path.exists() {
            true => store::read_sealed(&path).map(|read| Some(read.value)),
            false => Ok(None),
        }
    }

    /// Writes them into a run's folder.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, run: &RunDir) -> Result<(), StoreError> {
        store::write_sealed(&run.file(ALGORITHMS), self)
    }

    fn words(&self) -> String {
        let number = |it: Option<i64>| it.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
        let kernels = match self.nvrtc {
            Some([major, minor]) => format!(" with kernels by NVRTC {major}.{minor}"),
            None => String::new(),
        };
        format!(
            "cuDNN {} on {}{kernels}",
            number(self.cudnn),
            self.gpu.as_deref().unwrap_or("an unknown GPU")
        )
    }
}

/// The kernels on this GPU, compiled if they are not kept among the user's caches.
fn open(device: Device) -> Result<OnDevice, String> {
    let library = Library::get().map_err(|absent| absent.to_string())?;
    OnDevice::open(device, library, &cache()).map_err(|error| error.to_string())
}

/// Where compiled kernels are kept.
fn cache() -> PathBuf {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.filter(|it| it.is_absolute()).or_else(home);
    caches
        .unwrap_or_else(std::env::temp_dir)
        .join("rewind/kernels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_began_by_is_read_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path());
        assert_eq!(Algorithms::read(&run).unwrap(), None);
        let begun = Algorithms {
            gpu: Some("NVIDIA H200".to_owned()),
            cudnn: Some(92_000),
            kernels: true,
            nvrtc: Some([13, 0]),
        };
        begun.write(&run).unwrap();
        assert_eq!(Algorithms::read(&run).unwrap(), Some(begun.clone()));
        let said = begun.words();
        assert_eq!(
            said,
            "cuDNN 92000 on NVIDIA H200 with kernels by NVRTC 13.0"
        );
        let unknown = Algorithms::default().words();
        assert_eq!(unknown, "cuDNN unknown on an unknown GPU");
        // A flipped bit is no other algorithm.
        let text = std::fs::read_to_string(run.file(ALGORITHMS)).unwrap();
        std::fs::write(run.file(ALGORITHMS), text.replace("92000", "92001")).unwrap();
        assert!(Algorithms::read(&run).is_err());
    }

    #[test]
    fn a_run_on_the_cpu_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let setting = Setting {
            kernels: true,
            ..Setting::default()
        };
        let of_cpu = Algorithms::of(&RunDir::new(folder.path()), &setting).unwrap();
        assert!(of_cpu.is_none());
    }
}
