//! `host`: trains and prunes networks as experiment files say.

use kernels_native as _;

/// Called by the dynamic loader before the constructors of any library.
// SAFETY: the section is a list of functions, and this is one. It ends up in the executable, where alone the
// section may be.
#[cfg(target_os = "linux")]
#[used]
#[allow(unsafe_code)]
#[unsafe(link_section = ".preinit_array")]
static BEFORE_CONSTRUCTORS: extern "C" fn() = host::cli::early::heed;

fn main() {
    host::cli::main()
}
