//! How many runs go on side by side, and where.

use tch::Device;

use super::pace::Pace;
use crate::cli::args::{HowMany, RunArgs};
use crate::cli::room::Room;

/// Places where a run can go on: one a device, or several.
pub struct Slots {
    /// The device of each.
    places: Vec<Device>,
    devices: Vec<Device>,
    is_measured: bool,
}

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
        let most = (cores / threads).max(1);
        let default = match devices.as_slice() {
            [Device::Cpu] => most,
            devices => devices.len(),
        };
        let count = match args.sweep.jobs {
            None => default,
            Some(HowMany::Number(number)) => usize::from(number.get()),
            // A run on a GPU has a core of its own that keeps it busy.
            Some(HowMany::Auto) => most.max(devices.len()),
        };
        Self {
            places: devices.iter().copied().cycle().take(count).collect(),
            is_measured: args.sweep.jobs == Some(HowMany::Auto),
            devices,
        }
    }

    /// The device of each.
    pub fn places(&self) -> &[Device] {
        &self.places
    }

    /// Number of runs side by side, or the most of them if it is measured.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Whether their number is found by measuring.
    pub fn are_measured(&self) -> bool {
        self.is_measured
    }

    /// How many of them are taken.
    pub fn pace(&self) -> Pace {
        match self.is_measured {
            true => Pace::measured(self.devices.len(), self.count()),
            false => Pace::fixed(self.count()),
        }
    }

    /// What is free on the devices now, where their number is measured: a GPU that is asked gives memory for it.
    pub fn room(&self) -> Option<Room> {
        self.is_measured.then(|| Room::now(&self.devices))
    }
}
