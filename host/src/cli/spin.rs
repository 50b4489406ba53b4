//! Keeps idle threads from burning the cores that others need.

use std::env;

/// How often an idle thread looks for work before it sleeps: some 20 microseconds, longer than the
/// gaps between two parallel loops of a training step, shorter than anybody would notice.
const LOOKS: &str = "10000";

/// Starts the program anew, in the same process, with libgomp told to let idle threads sleep soon.
///
/// By default they spin for milliseconds. With other programs on the machine every parallel loop
/// then waits for a thread that waits for a core, and training slows down tenfold. libgomp reads the
/// setting when it is loaded, before `main`, hence the new start. What the user has set stays.
pub fn sleep_soon(threads: usize) {
    let is_set = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    if is_set || threads == 1 {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let mut arguments = env::args_os();
        let name = arguments.next();
        let Ok(program) = env::current_exe() else {
            return;
        };
        let mut command = std::process::Command::new(program);
        command.args(arguments).env("GOMP_SPINCOUNT", LOOKS);
        if let Some(name) = name {
            // Help and usage say the name that the user typed.
            command.arg0(name);
        }
        let error = command.exec();
        log::debug!("idle threads spin: the program could not start itself anew: {error}");
    }
}
