//! What computes here.

/// The processor's name as the system has it, or else its kind.
pub fn name() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    of(&cpu).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first processor's name in the text of `/proc/cpuinfo`; some kinds have none.
fn of(cpu: &str) -> Option<String> {
    let values = cpu.lines().filter_map(|line| line.split_once(':'));
    let mut names = values.filter(|(key, _)| key.trim_end() == "model name");
    let name = names.next()?.1.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_first_processors() {
        let text =
            "processor\t: 0\nmodel name\t: AMD EPYC: 9B45\nflags\t\t: fpu\n\nmodel name\t: other\n";
        assert_eq!(of(text).as_deref(), Some("AMD EPYC: 9B45"));
        assert_eq!(of("processor\t: 0\nCPU implementer\t: 0x41\n"), None);
        assert_eq!(of("model name\t:\n"), None);
        assert!(!name().is_empty());
    }
}
