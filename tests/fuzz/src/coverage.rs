//! The target that `FUZZ_TARGET` names, fed by libFuzzer. `make fuzz` builds and runs it.
#![no_main]
#![allow(unsafe_code)]

use std::sync::OnceLock;

use fuzz::meter::{self, Meter};
use fuzz::mutate::Mutator;
use fuzz::{Target, target};

#[global_allocator]
static METER: Meter = Meter;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET names no target: `{name}`"))
    })
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let target = chosen();
    let ((), peak) = meter::peak(|| (target.read)(input));
    let (peak, most) = (peak >> 20, target.memory);
    assert!(
        peak <= most,
        "it allocates {peak} MiB, expected at most {most}"
    );
});

// libFuzzer's own changes and those that know the format's words, in turn.
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    if seed % 3 > 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, most);
    }
    let input = [(String::new(), data[..size].to_vec())];
    let changed = Mutator::new(seed.into(), chosen().dictionary).next(&input);
    let length = changed.len().min(most);
    data[..length].copy_from_slice(&changed[..length]);
    length
});
