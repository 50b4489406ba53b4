//! How fast networks run elsewhere: what `bench-export` measured, each way beside the one that everybody has.

use crate::counted::counted;
use crate::records::{LATENCIES, Latency, Timing, Variant};

use super::part::Part;

/// The ways that are shown, and what each is called in a column's head.
const WAYS: [(Variant, &str); 6] = [
    (Variant::Onnx, "ONNX Runtime"),
    (Variant::OnnxCompact, "without dead units"),
    (Variant::OnnxInt8, "in 8 bits"),
    (Variant::Infer, "rewind-infer"),
    (Variant::Dense, "libtorch"),
    (Variant::Compact, "libtorch, without dead units"),
];

/// Networks that one processor was timed with, on so many threads.
#[derive(Clone, Debug)]
pub struct Speeds {
    /// Where, and on how many threads.
    pub machine: String,
    /// What the others are compared with.
    pub base: &'static str,
    /// The others.
    pub ways: Vec<&'static str>,
    /// A network's level on one batch each.
    pub rows: Vec<Speed>,
}

/// A network's level on one batch.
#[derive(Clone, Debug)]
pub struct Speed {
    /// Name of the network's run.
    pub network: String,
    /// The seed.
    pub seed: u64,
    /// The level.
    pub level: u64,
    /// Share of the prunable weights that survive.
    pub density: f64,
    /// Samples of a pass.
    pub batch: i64,
    /// What the others are compared with.
    pub base: Timed,
    /// The others, in the columns' order; none that was not computed.
    pub ways: Vec<Option<Timed>>,
}

/// One way of computing it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// Median time of a pass in milliseconds.
    pub ms: f64,
    /// How many times as fast as the base, in quartiles of the turns.
    pub times: [f64; 3],
    /// Share of the test samples that are right.
    pub accuracy: Option<f64>,
}

impl Timed {
    fn of(latency: &Latency, base: Variant) -> Option<Self> {
        let shares = match base {
            Variant::Onnx => latency.of_onnx,
            _ => latency.of_dense,
        };
        let [first, median, third] = shares?.map(|share| 1.0 / share);
        Some(Self {
            ms: latency.quartiles_ms?[1],
            times: [third, median, first],
            accuracy: latency.accuracy,
        })
    }
}

/// Timings side by side, each with its network's name: those of a processor, a number of threads and a base together.
pub fn speeds(timings: &[(String, Timing)]) -> Vec<Speeds> {
    let mut all: Vec<(Variant, Speeds)> = Vec::new();
    for (network, timing) in timings {
        // ONNX Runtime in full where there is one, else libtorch.
        let bases = [Variant::Onnx, Variant::Dense];
        let base = bases.iter().find_map(|&base| {
            let timed = Timed::of(timing.of(base)?, base)?;
            Some((base, timed))
        });
        let Some((variant, base)) = base else {
            continue;
        };
        let machine = format!(
            "{}, {}",
            timing.processor,
            counted(timing.threads, "thread")
        );
        let others = || WAYS.into_iter().filter(|it| it.0 != variant);
        let known = |it: &(Variant, Speeds)| it.0 == variant && it.1.machine == machine;
        let at = all.iter().position(known).unwrap_or_else(|| {
            let name = WAYS.into_iter().find(|it| it.0 == variant);
            let speeds = Speeds {
                machine: machine.clone(),
                base: name.map_or("", |it| it.1),
                ways: others().map(|it| it.1).collect(),
                rows: Vec::new(),
            };
            all.push((variant, speeds));
            all.len() - 1
        });
        let ways = others().map(|it| Timed::of(timing.of(it.0)?, variant));
        all[at].1.rows.push(Speed {
            network: network.clone(),
            seed: timing.seed,
            level: timing.level,
            density: timing.density,
            batch: timing.batch,
            base,
            ways: ways.collect(),
        });
    }
    let mut all: Vec<Speeds> = all.into_iter().map(|it| it.1).collect();
    all.iter_mut().for_each(Speeds::leave_out_what_nobody_has);
    all
}

impl Speeds {
    fn leave_out_what_nobody_has(&mut self) {
        for column in (0..self.ways.len()).rev() {
            if self.rows.iter().all(|row| row.ways[column].is_none()) {
                self.ways.remove(column);
                self.rows.iter_mut().for_each(|row| {
                    row.ways.remove(column);
                });
            }
        }
    }
}

/// What was measured of a part's runs, each under its cell's name, by run, level and batch. What cannot be read is left
/// out and warned of.
pub(super) fn timings(part: &Part) -> Vec<(String, Timing)> {
    let mut all = Vec::new();
    let mut seen = Vec::new();
    for cell in &part.cells {
        let run = &cell.results.run;
        if seen.contains(&run.path()) {
            continue;
        }
        seen.push(run.path());
        let is_here = |it: &Timing| cell.results.level(it.seed, it.level).is_some();
        match LATENCIES.read::<Timing>(run) {
            Ok(mut own) => {
                own.retain(is_here);
                own.sort_by_key(|it| (it.seed, it.level, it.batch));
                all.extend(own.into_iter().map(|it| (cell.name.clone(), it)));
            }
            Err(error) => log::warn!("times of forward passes are left out: {error}"),
        }
    }
    all
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::Desk;
    use super::*;
    use crate::records::latency;

    pub fn timing(level: u64, batch: i64, with_onnx: bool) -> Timing {
        let latency = |variant, ms: f64| Latency {
            of_onnx: with_onnx.then_some([0.9, 1.0, 1.25].map(|it| it * ms / 4.0)),
            accuracy: Some(0.875),
            ..latency(
                variant,
                batch,
                [ms, ms / 8.0].map(|it| [0.9 * it, it, 1.2 * it]),
            )
        };
        let mut latencies = vec![latency(Variant::Dense, 8.0), latency(Variant::Infer, 2.0)];
        if with_onnx {
            latencies.push(latency(Variant::Onnx, 4.0));
        }
        Timing {
            seed: 0,
            level,
            density: 0.5,
            batch,
            threads: 1,
            multiple: 1,
            processor: "EPYC".to_owned(),
            onnx_runtime: with_onnx.then(|| "1.32".to_owned()),
            latencies,
        }
    }

    #[test]
    fn ways_are_compared_with_onnx_runtime_and_without_it_with_libtorch() {
        let named = |it| ("lrr".to_owned(), it);
        let all = [timing(1, 1, true), timing(1, 1, false), timing(2, 32, true)];
        let all = speeds(&all.map(named));
        assert_eq!(all.len(), 2);
        let [with, without] = [&all[0], &all[1]];
        assert_eq!(
            (with.base, with.machine.as_str()),
            ("ONNX Runtime", "EPYC, 1 thread")
        );
        assert_eq!(with.ways, ["rewind-infer", "libtorch"]);
        let batches = with.rows.iter().map(|it| (it.level, it.batch));
        assert_eq!(batches.collect::<Vec<_>>(), [(1, 1), (2, 32)]);
        let infer = with.rows[0].ways[0].unwrap();
        assert_eq!((infer.ms, infer.accuracy), (2.0, Some(0.875)));
        assert_eq!(infer.times[1], 2.0);
        assert!((infer.times[0] - 1.6).abs() < 1e-12 && (infer.times[2] - 2.0 / 0.9).abs() < 1e-12);
        assert_eq!(without.base, "libtorch");
        assert_eq!(without.rows[0].ways[0].unwrap().times[1], 4.0);
    }

    #[test]
    fn what_is_not_finite_in_a_record_was_not_computed() {
        let mut ended = timing(1, 1, true);
        ended.latencies[2].quartiles_ms = None;
        ended.latencies[1].of_onnx = None;
        let text = serde_json::to_string(&ended).unwrap();
        let back: Timing = serde_json::from_str(&text).unwrap();
        assert_eq!(back, ended);
        assert_eq!(speeds(&[("lrr".to_owned(), back)])[0].base, "libtorch");
    }

    #[test]
    fn a_part_has_the_times_of_its_levels_alone() {
        let desk = Desk::new();
        let part = desk.part();
        let run = &part.cells[0].results.run;
        let _lock = LATENCIES.lock(run).unwrap();
        let measured = vec![timing(2, 32, true), timing(1, 1, true), timing(7, 1, true)];
        LATENCIES.add(run, measured, Timing::is_of_same).unwrap();
        let again = Timing {
            density: 0.25,
            ..timing(1, 1, true)
        };
        let elsewhere = Timing {
            processor: "Xeon".to_owned(),
            ..timing(2, 1, true)
        };
        let more = vec![again, elsewhere];
        LATENCIES.add(run, more, Timing::is_of_same).unwrap();
        let got = timings(&part);
        let got = got
            .iter()
            .map(|(name, it)| (name.as_str(), it.level, it.density));
        assert_eq!(
            got.collect::<Vec<_>>(),
            [("lrr", 1, 0.25), ("lrr", 2, 0.5), ("lrr", 2, 0.5)]
        );
    }
}
