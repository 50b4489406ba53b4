//! `host`: trains and prunes networks as experiment files say.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::cli::main()
}
