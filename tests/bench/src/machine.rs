//! The machine that measures.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::place::{Place, gpu};
use crate::settings::Settings;

/// What results depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Processors of the machine.
    pub cores: usize,
    /// Extensions that decide which kernels run.
    pub extensions: String,
    /// Sizes of its caches.
    pub caches: String,
    /// GiB of memory.
    pub memory: f64,
    /// Kernel of the system.
    pub kernel: String,
    /// libtorch of the host.
    pub libtorch: String,
    /// PyTorch.
    pub torch: String,
    /// Python.
    pub python: String,
    /// Threads, and processors, of either side.
    pub threads: usize,
    /// Name, driver and memory of the GPU that is measured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gpu: String,
}

impl Machine {
    /// This machine; `about` is what PyTorch's process says of itself.
    pub fn this(settings: &Settings, about: &Value) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = field(&memory, "MemTotal")
            .trim_end_matches(" kB")
            .parse::<f64>();
        let flags = field(&cpu, "flags");
        let notable = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];
        let extensions = notable.map(|it| flags.split(' ').any(|flag| flag == it).then_some(it));
        let text = |name: &str| about[name].as_str().unwrap_or("not measured").to_owned();
        Self {
            processor: field(&cpu, "model name").to_owned(),
            cores: cpu
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            extensions: extensions
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", "),
            caches: caches(),
            memory: (kib.unwrap_or(0.0) / f64::from(1 << 20) * 10.0).round() / 10.0,
            kernel: said("uname", &["-sr"]),
            libtorch: libtorch(),
            torch: text("torch"),
            python: text("python"),
            threads: settings.threads,
            gpu: match settings.place {
                Place::Gpu(number) => gpu(number).unwrap_or_else(|| settings.place.name()),
                _ => String::new(),
            },
        }
    }

    /// Whether results of both may stand in one table.
    pub fn is_like(&self, other: &Self) -> bool {
        self.processor == other.processor
            && self.cores == other.cores
            && self.threads == other.threads
            && self.libtorch == other.libtorch
            && self.gpu == other.gpu
    }
}

/// Today, as the system writes it.
pub fn today() -> String {
    said("date", &["-u", "+%F"])
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or("", |(_, value)| value.trim())
}

/// `L1 32K data, ...` of the first processor.
fn caches() -> String {
    let read = |index: usize, file: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
        Some(fs::read_to_string(path).ok()?.trim().to_owned())
    };
    let cache = |index| {
        let (level, kind) = (read(index, "level")?, read(index, "type")?);
        let size = read(index, "size")?;
        (kind != "Instruction").then(|| format!("L{level} {size}"))
    };
    (0..8).filter_map(cache).collect::<Vec<_>>().join(", ")
}

/// The version that the build found; a libtorch without one is still of the version that links.
fn libtorch() -> String {
    match option_env!("LIBTORCH_VERSION") {
        Some(version) if !version.is_empty() => version.to_owned(),
        _ => "2.13".to_owned(),
    }
}
