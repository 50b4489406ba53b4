//! What CUDA and libtorch say of a GPU that does not compute, and what to do.

/// Why a GPU does not compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Libtorch has no kernels for GPUs of its generation.
    Generation,
    /// Its driver and libtorch's CUDA do not fit.
    Driver,
    /// There is none, or none that this process may use.
    Absent,
    /// It computed until now.
    Lost,
}

/// What is said of each, by CUDA's runtime (`cudaGetErrorString`), its management library and libtorch.
const SIGNS: [(&str, Trouble); 21] = [
    (
        "no kernel image is available for execution on the device",
        Trouble::Generation,
    ),
    ("device kernel image is invalid", Trouble::Generation),
    (
        "CUDA driver version is insufficient for CUDA runtime version",
        Trouble::Driver,
    ),
    (
        "The NVIDIA driver on your system is too old",
        Trouble::Driver,
    ),
    (
        "the provided PTX was compiled with an unsupported toolchain",
        Trouble::Driver,
    ),
    (
        "system has unsupported display driver / cuda driver combination",
        Trouble::Driver,
    ),
    (
        "forward compatibility was attempted on non supported HW",
        Trouble::Driver,
    ),
    ("Found no NVIDIA driver on your system", Trouble::Absent),
    ("No CUDA GPUs are available", Trouble::Absent),
    ("no CUDA-capable device is detected", Trouble::Absent),
    ("CUDA unknown error", Trouble::Absent),
    ("unspecified launch failure", Trouble::Lost),
    ("an illegal memory access was encountered", Trouble::Lost),
    ("an illegal instruction was encountered", Trouble::Lost),
    (
        "CUDA-capable device(s) is/are busy or unavailable",
        Trouble::Lost,
    ),
    ("the launch timed out and was terminated", Trouble::Lost),
    ("hardware stack error", Trouble::Lost),
    ("uncorrectable ECC error encountered", Trouble::Lost),
    (
        "uncorrectable NVLink error detected during the execution",
        Trouble::Lost,
    ),
    ("GPU is lost", Trouble::Lost),
    ("GPU has fallen off the bus", Trouble::Lost),
];

/// How the advice of every kind ends, by which it is known that a text has it.
const STORED: &str = "what is stored is whole: the same command goes on from there";

/// A GPU that does not compute, as a failure's text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Why it does not.
    pub trouble: Trouble,
    words: &'static str,
}

/// Whether a failure's text says that a GPU does not compute.
pub fn said(text: &str) -> Option<Said> {
    let (words, trouble) = SIGNS.into_iter().find(|(words, _)| text.contains(words))?;
    Some(Said { trouble, words })
}

impl Said {
    /// What was said, in CUDA's words and in plain ones, and what to do.
    pub fn with_advice(self) -> String {
        let Self { trouble, words } = self;
        match trouble {
            Trouble::Generation => format!(
                "libtorch has no kernels for this GPU (CUDA: {words}): libtorch 2.13 for CUDA 13 computes on GPUs of \
                 compute capability 7.5 to 12.x, which are Turing (GeForce RTX 20, T4) to Blackwell; take one of these, \
                 --device cpu, or a libtorch 2.13 for a CUDA that knows this GPU, in the folder that LIBTORCH names"
            ),
            Trouble::Driver => format!(
                "the NVIDIA driver and the CUDA that libtorch was built for do not fit (CUDA: {words}): update the driver, \
                 580 or later for CUDA 13 (nvidia-smi shows it), or take a libtorch 2.13 for an older CUDA, in the \
                 folder that LIBTORCH names"
            ),
            Trouble::Absent => format!(
                "no GPU is to be had (CUDA: {words}): nvidia-smi lists those that the driver shows, CUDA_VISIBLE_DEVICES \
                 and a container or job say which of them this process sees; if it lists some that nothing can use, \
                 load the driver's module nvidia_uvm anew or restart the machine"
            ),
            Trouble::Lost => format!(
                "the GPU failed or was taken away while it computed (CUDA: {words}): nvidia-smi and the kernel's log \
                 (dmesg, NVRM: Xid) say more; if it happens again on this GPU alone, take another one"
            ),
        }
    }

    /// As [`with_advice`](Said::with_advice), of what was under way.
    pub fn under_way(self) -> String {
        format!("{}; {STORED}", self.with_advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libtorch 2.13 throws: CUDA's words among advice for who debugs libtorch.
    fn thrown(words: &str) -> String {
        format!(
            "CUDA error: {words}\nSearch for `cudaError' in https://docs.nvidia.com/cuda/cuda-runtime-api/ for more \
             information.\nCUDA kernel errors might be asynchronously reported at some other API call, so the \
             stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with \
             `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
        )
    }

    #[test]
    fn each_of_cudas_words_is_told_with_what_to_do_and_without_advice_for_libtorchs_authors() {
        for (words, trouble) in SIGNS {
            // As the shim passes it on, and as `tch` panics of it.
            let by_shim = format!("libtorch: {}", thrown(words));
            let by_panic = format!(
                "called `Result::unwrap()` on an `Err` value: Torch({:?})",
                thrown(words)
            );
            for text in [by_shim, by_panic] {
                let said = said(&text).unwrap();
                assert_eq!((said.trouble, said.words), (trouble, words));
                let told = said.under_way();
                assert!(told.contains(words) && told.ends_with(STORED), "{told}");
                assert!(
                    !told.contains("TORCH_USE_CUDA_DSA") && !told.contains('\n'),
                    "{told}"
                );
            }
        }
    }

    #[test]
    fn an_old_gpu_an_old_driver_and_a_lost_gpu_have_advice_of_their_own() {
        let told = |text: &str| said(text).unwrap().with_advice();
        let old = told("CUDA error: no kernel image is available for execution on the device");
        assert!(
            old.contains("capability 7.5") && old.contains("LIBTORCH"),
            "{old}"
        );
        let driver = told(
            "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver by \
             downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx",
        );
        assert!(
            driver.contains("update the driver") && driver.contains("older CUDA"),
            "{driver}"
        );
        let lost = told("CUDA error: unspecified launch failure");
        assert!(
            lost.contains("failed or was taken away") && lost.contains("dmesg"),
            "{lost}"
        );
        let absent = told(
            "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable \
             CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.",
        );
        assert!(absent.contains("nvidia-smi"), "{absent}");
    }

    #[test]
    fn other_failures_are_none_of_a_gpu() {
        for text in [
            "CUDA out of memory. Tried to allocate 20.50 GiB.",
            "CUDA error: device-side assert triggered",
            "mat1 and mat2 shapes cannot be multiplied",
        ] {
            assert_eq!(said(text), None);
        }
    }
}
