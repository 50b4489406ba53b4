//! `host`: trains and prunes networks as experiment files say.

fn main() {
    host::cli::main()
}
