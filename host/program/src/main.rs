//! `host`: trains and prunes networks as experiment files say.

use kernels_native as _;

fn main() {
    host::cli::main()
}
