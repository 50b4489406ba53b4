//! Times as Slurm writes them.

use std::time::Duration;

/// A time as Slurm writes it: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || {
        "expected a time such as 90 (minutes), 30:00 (minutes and seconds), 4:00:00 (hours, minutes and seconds) \
         or 2-12 (days and hours)"
            .to_owned()
    };
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
        let number = |it: &str| is_number(it).then(|| it.parse().ok()).flatten();
        text.split(':').map(number).collect()
    };
    let [days, hours, minutes, seconds] = match text.split_once('-') {
        Some((days, rest)) => match (numbers(days).as_deref(), numbers(rest).as_deref()) {
            (Some(&[d]), Some(&[h])) => [d, h, 0, 0],
            (Some(&[d]), Some(&[h, m])) => [d, h, m, 0],
            (Some(&[d]), Some(&[h, m, s])) => [d, h, m, s],
            _ => return Err(wrong()),
        },
        None => match numbers(text).as_deref() {
            Some(&[m]) => [0, 0, m, 0],
            Some(&[m, s]) => [0, 0, m, s],
            Some(&[h, m, s]) => [0, h, m, s],
            _ => return Err(wrong()),
        },
    };
    let all = [(days, 86_400), (hours, 3600), (minutes, 60), (seconds, 1)].map(|(count, each)| {
        // No cluster grants a thousand years, and the sum cannot overflow.
        (count < 1 << 30).then(|| count * each)
    });
    let sum = all.into_iter().sum::<Option<u64>>().ok_or_else(wrong)?;
    match sum {
        0 => Err(wrong()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// A time as [`parse_time`] takes it, with hours.
pub fn time_text(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        for (text, seconds) in [
            ("90", 5400),
            ("1:30", 90),
            ("0:14400", 14_400),
            ("4:00:00", 14_400),
            ("2-12", 216_000),
            ("1-1:1", 90_060),
            ("1-1:1:1", 90_061),
        ] {
            let time = Duration::from_secs(seconds);
            assert_eq!(parse_time(text), Ok(time), "{text}");
            assert_eq!(parse_time(&time_text(time)), Ok(time), "{text}");
        }
        for text in [
            "", "0", "0:00", "1h", "-5", "+5", "1:", "1:2:3:4", "1-", "-1:00", "1-2-3",
        ] {
            assert!(parse_time(text).unwrap_err().contains("4:00:00"), "{text}");
        }
        assert!(parse_time("99999999999999999999").is_err());
        assert!(parse_time("18446744073709551615-1").is_err());
    }
}
