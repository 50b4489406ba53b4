//! The C symbol that the host reads before anything else.

use std::ffi::c_char;

/// Version of this interface; another major version is another interface.
pub const API_MAJOR: u32 = 1;
/// Grows when codes are added.
pub const API_MINOR: u32 = 1;
/// First bytes of a descriptor.
pub const MAGIC: [u8; 8] = *b"REWINDPL";
/// Name of the symbol, with the final zero that `dlsym` wants.
pub const DESCRIPTOR_SYMBOL: &[u8] = b"REWIND_PLUGIN_DESCRIPTOR\0";

/// Says what a dynamic library is, in plain C, so that a message can name the plugin and its API
/// version even when nothing else of it can be read. Texts end with a zero byte.
#[repr(C)]
#[derive(Debug)]
pub struct Descriptor {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`API_MAJOR`] that the plugin was built with.
    pub api_major: u32,
    /// [`API_MINOR`] that the plugin was built with.
    pub api_minor: u32,
    /// 1 if panics unwind, 0 if they abort.
    pub panics_unwind: u32,
    /// Zero.
    pub reserved: u32,
    /// Plugin's name.
    pub name: *const c_char,
    /// Plugin's version.
    pub version: *const c_char,
    /// Compiler that built it.
    pub rustc: *const c_char,
    /// Target triple.
    pub target: *const c_char,
}

// SAFETY: the pointers lead to constants of the dynamic library, which is never unloaded.
unsafe impl Sync for Descriptor {}

/// Compiler that built this crate.
pub const RUSTC: &str = concat!(env!("PLUGIN_API_RUSTC"), "\0");
/// Target that this crate was built for.
pub const TARGET: &str = concat!(env!("PLUGIN_API_TARGET"), "\0");

impl Descriptor {
    /// The descriptor of a plugin; both texts end with a zero byte.
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            magic: MAGIC,
            api_major: API_MAJOR,
            api_minor: API_MINOR,
            panics_unwind: cfg!(panic = "unwind") as u32,
            reserved: 0,
            name: name.as_ptr().cast(),
            version: version.as_ptr().cast(),
            rustc: RUSTC.as_ptr().cast(),
            target: TARGET.as_ptr().cast(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;
    use std::mem::{offset_of, size_of};

    /// Every host reads these bytes before it knows anything else of a plugin: fields are only ever
    /// added behind them.
    #[test]
    fn the_layout_is_frozen() {
        let pointer = size_of::<*const c_char>();
        assert_eq!(offset_of!(Descriptor, magic), 0);
        assert_eq!(offset_of!(Descriptor, api_major), 8);
        assert_eq!(offset_of!(Descriptor, api_minor), 12);
        assert_eq!(offset_of!(Descriptor, panics_unwind), 16);
        assert_eq!(offset_of!(Descriptor, reserved), 20);
        assert_eq!(offset_of!(Descriptor, name), 24);
        assert_eq!(offset_of!(Descriptor, version), 24 + pointer);
        assert_eq!(offset_of!(Descriptor, rustc), 24 + 2 * pointer);
        assert_eq!(offset_of!(Descriptor, target), 24 + 3 * pointer);
        assert_eq!(size_of::<Descriptor>(), 24 + 4 * pointer);
        assert_eq!(
            CStr::from_bytes_with_nul(DESCRIPTOR_SYMBOL),
            Ok(c"REWIND_PLUGIN_DESCRIPTOR")
        );
    }

    #[test]
    fn the_bytes_say_magic_version_and_panic_strategy_in_front_of_the_texts() {
        let descriptor = Descriptor::new("scaled\0", "0.1.0\0");
        // SAFETY: the first 24 bytes are arrays and numbers without padding.
        let head = unsafe { std::slice::from_raw_parts((&raw const descriptor).cast::<u8>(), 24) };
        let mut expected = b"REWINDPL".to_vec();
        for number in [API_MAJOR, API_MINOR, 1, 0] {
            expected.extend(number.to_ne_bytes());
        }
        assert_eq!(head, expected);
        let text = |start| {
            // SAFETY: the texts are constants that end with a zero byte.
            unsafe { CStr::from_ptr(start) }.to_str().unwrap()
        };
        assert_eq!(text(descriptor.name), "scaled");
        assert_eq!(text(descriptor.version), "0.1.0");
        assert!(text(descriptor.rustc).starts_with("rustc 1."));
        assert!(text(descriptor.target).contains('-'));
    }
}
