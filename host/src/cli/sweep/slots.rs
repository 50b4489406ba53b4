//! How many runs go on side by side, and where.

use tch::Device;

use crate::cli::args::RunArgs;

/// Places where a run can go on: one a device, or several on the CPU.
pub struct Slots(Vec<Device>);

impl Slots {
    /// As the command line says: `--jobs` of them, by default as many as the cores allow or one a
    /// device.
    pub fn new(args: &RunArgs) -> Self {
        let devices = match args.sweep.devices.as_slice() {
            [] => vec![args.place.device],
            devices => devices.to_vec(),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.place.threads.map_or(1, |it| usize::from(it.get()));
        let default = match devices.as_slice() {
            [Device::Cpu] => (cores / threads).max(1),
            devices => devices.len(),
        };
        let count = args.sweep.jobs.map_or(default, |it| usize::from(it.get()));
        Self(devices.into_iter().cycle().take(count).collect())
    }

    /// The device of each.
    pub fn devices(&self) -> &[Device] {
        &self.0
    }

    /// Number of runs side by side.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
