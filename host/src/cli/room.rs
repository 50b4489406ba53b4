//! Whether there is memory for one more run on each device.

use std::fs;

use kernels::graphs::Library;
use tch::Device;

/// A run's memory grows, and is not alone: this many times what one takes has to be free.
const SPARE: f64 = 1.5;

/// What was free before the first run.
pub struct Room(Vec<(Device, Option<u64>)>);

impl Room {
    /// Of these devices, as they are now.
    pub fn now(devices: &[Device]) -> Self {
        Self(
            devices
                .iter()
                .map(|&device| (device, free(device)))
                .collect(),
        )
    }

    /// Whether each device has room for one more beside these, which are spread over them evenly.
    pub fn has_more(&self, running: usize) -> bool {
        let each = (running as f64 / self.0.len().max(1) as f64).max(1.0);
        self.0.iter().all(|&(device, before)| {
            let (Some(before), Some(now)) = (before, free(device)) else {
                return true;
            };
            now as f64 >= SPARE * before.saturating_sub(now) as f64 / each
        })
    }
}

/// Bytes that nobody uses; none where that cannot be asked.
fn free(device: Device) -> Option<u64> {
    if device.is_cuda() {
        return Some(Library::get().ok()?.facts(device).ok()?.free);
    }
    available(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// What Linux says could be given out without swapping.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|it| it.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read_and_more_than_nothing() {
        let meminfo = "MemTotal:       24 kB\nMemAvailable:   1234 kB\nBuffers: 1 kB\n";
        assert_eq!(available(meminfo), Some(1234 * 1024));
        assert_eq!(available("MemTotal: 24 kB\n"), None);
        let room = Room::now(&[Device::Cpu]);
        assert!(room.has_more(1));
        // As if one run had taken nearly all.
        let taken = Room(vec![(Device::Cpu, Some(u64::MAX))]);
        assert!(!taken.has_more(1) || free(Device::Cpu).is_none());
    }
}
