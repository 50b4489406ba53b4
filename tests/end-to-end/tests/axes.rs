//! Each axis of rewinding on its own: against the specialised policies and plain calculations.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::built::{part, plain, strategy};
use end_to_end::program::{digests, elements, expect, only_run, run, tensors};
use host::strategy::PlannedWeights;
use host::strategy::still::Still;
use plugin_api::{DataOrder, OptimizerState, Point, Schedule, Source, Step};
use serde_json::json;
use tch::Tensor;

const SMALL: [&str; 6] = [
    "--set",
    "prune.levels=3",
    "--set",
    "train.epochs=2",
    "--seeds",
    "0..2",
];

/// A run of `imp.toml` under a name of its own, with this rewind.
fn small(name: &str, rewind: &str, runs: &Path) -> Command {
    let name = format!("name={name}");
    let rewind = format!("strategy.rewind={rewind}");
    let more = ["--set", &name, "--set", &rewind];
    run("imp.toml", runs, &[&SMALL[..], &more].concat())
}

fn finished(name: &str, rewind: &str, runs: &Path) -> PathBuf {
    expect(&mut small(name, rewind, runs), 0);
    only_run(runs, name)
}

fn stored(run: &Path, seed: u64, level: u64, file: &str) -> BTreeMap<String, Vec<f32>> {
    let path = run.join(format!("seed-{seed}/level-{level:02}/{file}.safetensors"));
    let flat = |(name, tensor): (String, Tensor)| (name, elements(&tensor));
    tensors(&path).into_iter().map(flat).collect()
}

fn assert_same_seeds(one: &Path, other: &Path) {
    for seed in ["seed-0", "seed-1"] {
        let (one, other) = (digests(&one.join(seed)), digests(&other.join(seed)));
        assert!(one.len() > 4 * 7, "{}", one.len());
        assert_eq!(one, other);
    }
}

#[test]
fn the_known_methods_are_points_of_the_space_to_the_last_byte() {
    let runs = tempfile::tempdir().unwrap();
    let everything = |to: &str| {
        format!(
            "magnitudes = \"{to}\", signs = \"{to}\", batch_norm_affine = \"{to}\", batch_norm_statistics = \"{to}\""
        )
    };
    let fresh = "optimizer_state = \"clear\", schedule = \"restart\"";
    for (name, known, axes) in [
        (
            "imp",
            "\"imp/weights\"".to_owned(),
            format!("{}, {fresh}", everything("init")),
        ),
        (
            "wr",
            "{ use = \"imp/weights\", to = \"1ep\", optimizer_state = true, schedule_from_point = true }".to_owned(),
            format!(
                "{}, optimizer_state = \"1ep\", schedule = \"1ep\"",
                everything("1ep")
            ),
        ),
        ("lrr", "\"lrr/learning-rate\"".to_owned(), fresh.to_owned()),
        (
            "lrr-bn",
            "{ use = \"lrr/learning-rate\", batch_norm_affine = \"init\", batch_norm_statistics = \"1ep\" }".to_owned(),
            format!("batch_norm_affine = \"init\", batch_norm_statistics = \"1ep\", {fresh}"),
        ),
        ("fine-tune", "[]".to_owned(), String::new()),
    ] {
        let comma = if axes.is_empty() { "" } else { "," };
        let axes = format!("{{ use = \"axes/rewind\"{comma} {axes} }}");
        let known = finished(&format!("{name}-known"), &known, runs.path());
        let ours = finished(&format!("{name}-axes"), &axes, runs.path());
        assert_same_seeds(&known, &ours);
    }
}

/// |magnitude| with the other's sign where that has one, at survivors.
fn mixed(magnitudes: &[f32], signs: &[f32], mask: &[f32]) -> Vec<f32> {
    let one = |((magnitude, sign), mask): ((&f32, &f32), &f32)| match (*mask, *sign) {
        (0.0, _) => 0.0,
        (_, 0.0) => *magnitude,
        (_, sign) => magnitude.abs() * sign.signum(),
    };
    magnitudes.iter().zip(signs).zip(mask).map(one).collect()
}

#[test]
fn signs_of_one_run_go_with_magnitudes_of_another_level_by_level() {
    let runs = tempfile::tempdir().unwrap();
    let lrr = finished("lrr", "\"lrr/learning-rate\"", runs.path());
    let wr = finished("wr", "{ use = \"imp/weights\", to = \"1ep\" }", runs.path());
    let rewind = format!(
        "{{ use = \"axes/rewind\", magnitudes = \"{}#level-start\", signs = \"{}#previous-level-end\", \
         batch_norm_affine = \"{}#level-end\", optimizer_state = \"clear\", schedule = \"restart\" }}",
        wr.display(),
        lrr.display(),
        lrr.display()
    );
    let ours = finished("mixed", &rewind, runs.path());
    for seed in 0..2 {
        for level in 1..=3 {
            let start = stored(&ours, seed, level, "start");
            let masks = stored(&ours, seed, level, "mask");
            let magnitudes = stored(&wr, seed, level, "start");
            let signs = stored(&lrr, seed, level - 1, "end");
            let before = stored(&ours, seed, level - 1, "end");
            let trained = stored(&lrr, seed, level, "end");
            for (name, got) in &start {
                let expected = match (masks.get(name), name.starts_with("bn")) {
                    (Some(mask), _) => mixed(&magnitudes[name], &signs[name], mask),
                    (None, false) => magnitudes[name].clone(),
                    (None, true) if name.contains("running") => before[name].clone(),
                    (None, true) => trained[name].clone(),
                };
                assert_eq!(got, &expected, "seed {seed}, level {level}, {name}");
            }
        }
    }
}

#[test]
fn further_draws_of_the_init_are_new_and_come_again() {
    let runs = tempfile::tempdir().unwrap();
    let from = |draw: &str| format!("{{ use = \"imp/weights\", to = \"{draw}\" }}");
    let one = finished("one", &from("init-1"), runs.path());
    let two = finished("two", &from("init-2"), runs.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let again = finished("one", &from("init-1"), elsewhere.path());
    assert_same_seeds(&one, &again);
    let init = stored(&one, 0, 0, "start");
    let masks = stored(&one, 0, 2, "mask");
    let start = stored(&one, 0, 2, "start");
    let others = [
        init.clone(),
        stored(&two, 0, 2, "start"),
        stored(&one, 1, 2, "start"),
    ];
    for (name, values) in &start {
        if name.starts_with("bn") {
            assert_eq!(values, &init[name], "{name}");
            continue;
        }
        for other in &others {
            let differ = |(a, b): (&f32, &f32)| a != b;
            let differences = values
                .iter()
                .zip(&other[name])
                .filter(|&(a, b)| differ((a, b)));
            // Biases have no mask, and all of them differ.
            let least = masks.get(name).map_or(values.len(), |mask| {
                mask.iter().filter(|&&kept| kept == 1.0).count()
            });
            assert!(differences.count() >= least, "{name}");
        }
    }
    // He's deviation for the first layer, sqrt(2 / 40), of the 80 % that survive at random, within
    // five standard errors (magnitudes of another draw decided who survives).
    let first = stored(&one, 0, 1, "start")["fc1.weight"].clone();
    let kept: Vec<f64> = first
        .into_iter()
        .filter(|v| *v != 0.0)
        .map(f64::from)
        .collect();
    let variance = kept.iter().map(|v| v * v).sum::<f64>() / kept.len() as f64;
    let error = 0.05 * (2.0 / kept.len() as f64).sqrt();
    assert!((variance - 0.05).abs() < 5.0 * error, "{variance}");
}

#[test]
fn the_previous_levels_points_are_those_of_the_level_before() {
    let runs = tempfile::tempdir().unwrap();
    let to = |point: &str| format!("{{ use = \"imp/weights\", to = \"{point}\" }}");
    // Each level starts as the one before did, and so all of them at init.
    let start = finished("start", &to("previous-level-start"), runs.path());
    let imp = finished("init", &to("init"), runs.path());
    assert_same_seeds(&start, &imp);
    let end = finished("end", &to("previous-level-end"), runs.path());
    let lrr = finished("lrr", "\"lrr/learning-rate\"", runs.path());
    assert_same_seeds(&end, &lrr);
}

#[test]
fn the_order_of_the_samples_is_an_axis_of_its_own() {
    let runs = tempfile::tempdir().unwrap();
    let order = |order: &str| {
        format!("[\"lrr/learning-rate\", {{ use = \"axes/rewind\", data_order = \"{order}\" }}]")
    };
    let keep = finished("keep", &order("keep"), runs.path());
    assert_same_seeds(&keep, &finished("zero", &order("draw-0"), runs.path()));
    let ends = ["level-1", "level-2", "draw-1", "draw-2"].map(|text| {
        let name = format!("order-{text}");
        let run = finished(&name, &order(text), runs.path());
        let start = stored(&run, 0, 1, "start");
        assert_eq!(start, stored(&keep, 0, 1, "start"), "{text}");
        stored(&run, 0, 1, "end")
    });
    // Level 1 has the order of level 1 anyway; the other orders are different ones.
    assert_eq!(ends[0], stored(&keep, 0, 1, "end"));
    for (i, one) in ends.iter().enumerate() {
        assert!(ends[i + 1..].iter().all(|other| other != one), "{i}");
    }
}

#[test]
fn points_of_its_own_run_that_cannot_be_there_are_refused_before_anything_trains() {
    let runs = tempfile::tempdir().unwrap();
    for (point, why) in [
        (
            "level-start",
            "the start of the level is what is being made",
        ),
        ("level-end", "a level starts before its own end"),
        ("level-4-end", "the last level is 3"),
        ("3ep", "level 0 has 64 steps"),
        ("level-2-end", "is not there yet when level 1 starts"),
    ] {
        let rewind = format!("{{ use = \"axes/rewind\", signs = \"{point}\" }}");
        let output = expect(&mut small("none", &rewind, runs.path()), 2);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn every_option_reaches_its_axis_of_the_plan_and_names_its_points() {
    let options = json!({
        "magnitudes": "init-1", "signs": "runs/a#level-start", "batch_norm_affine": "2ep",
        "batch_norm_statistics": "previous-level-end", "optimizer_state": "runs/a#level-2-end",
        "schedule": "5it", "data_order": "draw-7",
    });
    let rewind = vec![part("axes/rewind", options)];
    let mut strategy = strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap();
    let of_run = |point| Point::Run {
        run: "runs/a".to_owned(),
        point: Box::new(point),
    };
    let early = Point::Step(Step::Epochs(2));
    assert_eq!(
        strategy.points().unwrap(),
        [
            Point::Init,
            Point::InitDraw(1),
            of_run(Point::SameLevelStart),
            early.clone(),
            Point::PreviousLevelEnd,
            of_run(Point::LevelEnd(2)),
        ]
    );
    let plan = strategy.plan(0, &Still::new(&[&[4, 4]], 0)).unwrap();
    let PlannedWeights::Mixed { magnitudes, signs } = plan.weights else {
        panic!("the plan does not mix");
    };
    assert_eq!(magnitudes, Some(Point::InitDraw(1)));
    assert_eq!(signs, Some(of_run(Point::SameLevelStart)));
    assert_eq!(plan.batch_norm.affine, Source::From(early));
    assert_eq!(
        plan.batch_norm.statistics,
        Source::From(Point::PreviousLevelEnd)
    );
    assert_eq!(
        plan.optimizer,
        OptimizerState::From(of_run(Point::LevelEnd(2)))
    );
    assert_eq!(plan.schedule, Schedule::From(Step::Iterations(5)));
    assert_eq!(plan.data_order, DataOrder::Draw(7));
}
