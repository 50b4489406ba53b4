//! The shipped rewind policies: what their plans say, for each option.

// Clippy knows tests, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::hold::Hold;
use end_to_end::built::{part, plain, strategy};
use end_to_end::program::{command, digests, elements, expect, only_run, run, tensors};
use host::strategy::still::{Still, flat};
use host::strategy::{PlannedWeights, Strategy};
use plugin_api::{BatchNorm, DataOrder, OptimizerState, Point, Schedule, Source, Step};
use serde_json::{Value, json};
use tch::Tensor;

const SHAPES: [&[i64]; 3] = [&[8, 4, 3, 3], &[10, 32], &[16, 2, 3]];

fn flip(options: Value) -> Strategy {
    let rewind = vec![part("sign-perturbation/flip", options)];
    strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap()
}

fn planned(weights: PlannedWeights) -> Vec<Tensor> {
    match weights {
        PlannedWeights::Tensors(tensors) => tensors,
        _ => panic!("the plan brings no tensors"),
    }
}

/// A scene after level 0 with 300 survivors.
fn pruned(seed: u64) -> Still {
    let mut scene = Still::new(&SHAPES, seed);
    let mut imp = strategy(plain("imp/magnitude"), plain("imp/global"), vec![]).unwrap();
    scene.prune(&mut imp, 300).unwrap();
    scene
}

/// Per layer: the number of weights whose sign differs. All others must be the same bits.
fn flipped(before: &[Tensor], after: &[Tensor]) -> Vec<u64> {
    let count = |(before, after): (&Tensor, &Tensor)| {
        let pairs = flat(std::slice::from_ref(before))
            .into_iter()
            .zip(flat(std::slice::from_ref(after)));
        let mut flips = 0;
        for (before, after) in pairs {
            if after != before {
                assert_eq!(after, -before);
                flips += 1;
            }
        }
        flips
    };
    before.iter().zip(after).map(count).collect()
}

#[test]
fn flip_turns_exactly_the_rounded_fraction_of_each_layers_survivors() {
    let scene = pruned(0);
    for fraction in [0.0, 0.01, 0.2, 0.5, 0.77, 1.0] {
        let plan = flip(json!({ "fraction": fraction }))
            .plan(0, &scene)
            .unwrap();
        let expected: Vec<u64> = scene
            .survivors()
            .iter()
            .map(|&survivors| (fraction * survivors as f64).round() as u64)
            .collect();
        // Pruned weights are 0 and would not show as flipped: that none of the flips was spent on
        // one follows from the count.
        let after = planned(plan.weights);
        assert_eq!(flipped(&scene.weights, &after), expected, "{fraction}");
        assert!(plan.redefine.is_empty());
        assert_eq!(plan.optimizer, OptimizerState::Keep);
        assert_eq!(plan.schedule, Schedule::Keep);
    }
}

#[test]
fn flip_works_at_the_levels_that_are_given_only() {
    let mut scene = pruned(0);
    let mut strategy = flip(json!({ "levels": [2] }));
    assert!(matches!(
        strategy.plan(0, &scene).unwrap().weights,
        PlannedWeights::Keep
    ));
    scene.facts.level = 1;
    assert!(matches!(
        strategy.plan(0, &scene).unwrap().weights,
        PlannedWeights::Tensors(_)
    ));
}

#[test]
fn lasting_flips_redefine_every_stored_point_at_the_same_weights() {
    let mut scene = pruned(2);
    let early = Point::Step(Step::Epochs(4));
    scene.points.push((
        early.clone(),
        scene.gradients.iter().map(|g| g * 3.0).collect(),
    ));
    let plan = flip(json!({ "lasting": true, "fraction": 0.3 }))
        .plan(0, &scene)
        .unwrap();
    let signs = |before: &[Tensor], after: &[Tensor]| -> Vec<bool> {
        let masks = flat(&scene.masks);
        let pairs = flat(before).into_iter().zip(flat(after)).zip(masks);
        pairs
            .map(|((before, after), mask)| {
                assert_eq!(before.abs(), after.abs());
                if mask == 0.0 {
                    assert_eq!(before, after, "a pruned weight was flipped");
                }
                before != after
            })
            .collect()
    };
    let now = signs(&scene.weights, &planned(plan.weights));
    let points: Vec<Point> = plan
        .redefine
        .iter()
        .map(|(point, _)| point.clone())
        .collect();
    assert_eq!(points, [Point::Init, early]);
    for ((_, stored), (_, redefined)) in scene.points.iter().zip(&plan.redefine) {
        assert_eq!(signs(stored, redefined), now);
    }
    assert_eq!(now.iter().filter(|&&flipped| flipped).count(), {
        let rounded = |&n: &u64| (0.3 * n as f64).round() as usize;
        scene.survivors().iter().map(rounded).sum::<usize>()
    });
}

#[test]
fn flips_differ_between_places_of_the_same_policy() {
    let twice = vec![
        plain("sign-perturbation/flip"),
        plain("sign-perturbation/flip"),
    ];
    let mut strategy = strategy(plain("imp/magnitude"), plain("imp/global"), twice).unwrap();
    let scene = pruned(0);
    let first = planned(strategy.plan(0, &scene).unwrap().weights);
    let second = planned(strategy.plan(1, &scene).unwrap().weights);
    assert_ne!(flat(&first), flat(&second));
    let again = planned(strategy.plan(0, &scene).unwrap().weights);
    assert_eq!(flat(&again), flat(&first));
}

/// The plan of a policy without tensors, as (weights' point, batch norm, optimizer, schedule).
fn plan(component: &str, options: Value) -> (Option<Point>, BatchNorm, OptimizerState, Schedule) {
    let rewind = vec![part(component, options)];
    let mut strategy = strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap();
    let plan = strategy.plan(0, &pruned(0)).unwrap();
    assert_eq!(plan.data_order, DataOrder::Keep);
    assert!(plan.redefine.is_empty());
    let point = match plan.weights {
        PlannedWeights::Keep => None,
        PlannedWeights::From(point) => Some(point),
        _ => panic!("the plan mixes weights or brings tensors"),
    };
    (point, plan.batch_norm, plan.optimizer, plan.schedule)
}

fn both(source: Source) -> BatchNorm {
    BatchNorm {
        affine: source.clone(),
        statistics: source,
    }
}

#[test]
fn weight_rewinding_takes_weights_and_batch_norm_back_to_its_point() {
    let early = Point::Step(Step::Epochs(4));
    assert_eq!(
        plan("imp/weights", json!({})),
        (
            Some(Point::Init),
            both(Source::From(Point::Init)),
            OptimizerState::Clear,
            Schedule::Restart
        )
    );
    assert_eq!(
        plan("imp/weights", json!({"to": "4ep"})),
        (
            Some(early.clone()),
            both(Source::From(early.clone())),
            OptimizerState::Clear,
            Schedule::Restart
        )
    );
    assert_eq!(
        plan(
            "imp/weights",
            json!({"to": "4ep", "optimizer_state": true, "schedule_from_point": true})
        ),
        (
            Some(early.clone()),
            both(Source::From(early.clone())),
            OptimizerState::From(early),
            Schedule::From(Step::Epochs(4))
        )
    );
}

#[test]
fn learning_rate_rewinding_keeps_weights_and_restarts_the_schedule() {
    assert_eq!(
        plan("lrr/learning-rate", json!({})),
        (
            None,
            BatchNorm::default(),
            OptimizerState::Clear,
            Schedule::Restart
        )
    );
    let rewound = json!({
        "batch_norm_affine": "init", "batch_norm_statistics": "4ep", "keep_optimizer_state": true,
    });
    let batch_norm = BatchNorm {
        affine: Source::From(Point::Init),
        statistics: Source::From(Point::Step(Step::Epochs(4))),
    };
    assert_eq!(
        plan("lrr/learning-rate", rewound),
        (
            None,
            batch_norm.clone(),
            OptimizerState::Keep,
            Schedule::Restart
        )
    );
    // Norms of every kind are one axis, which keeps its first name.
    let of_norms = json!({
        "norm_affine": "init", "batch_norm_statistics": "4ep", "keep_optimizer_state": true,
    });
    assert_eq!(
        plan("lrr/learning-rate", of_norms),
        (None, batch_norm, OptimizerState::Keep, Schedule::Restart)
    );
}

#[test]
fn the_points_that_options_name_are_declared_once_and_init_first() {
    let rewind = vec![
        part("imp/weights", json!({"to": "4ep"})),
        part(
            "lrr/learning-rate",
            json!({"batch_norm_affine": "4ep", "batch_norm_statistics": "500it"}),
        ),
    ];
    let strategy = strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap();
    let points = [
        Point::Init,
        Point::Step(Step::Epochs(4)),
        Point::Step(Step::Iterations(500)),
    ];
    assert_eq!(strategy.points().unwrap(), points);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (component, options, fragment) in [
        (
            "imp/weights",
            json!({"schedule_from_point": true}),
            "wants a time of level 0 in `to`",
        ),
        (
            "imp/weights",
            json!({"to": "later"}),
            "`later` is not a point of training",
        ),
        (
            "sign-perturbation/flip",
            json!({"levels": [0, 1]}),
            "levels start at 1",
        ),
        (
            "axes/rewind",
            json!({"schedule": "later"}),
            "`later` is not \"keep\", \"restart\", \"hold\" or time",
        ),
        (
            "axes/rewind",
            json!({"optimizer_state": "restart"}),
            "`restart` is not \"keep\", \"clear\" or point",
        ),
    ] {
        let rewind = vec![part(component, options)];
        let made = strategy(plain("imp/magnitude"), plain("imp/global"), rewind);
        let message = made.map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("refused its options"), "{message}");
        assert!(message.contains(fragment), "{message}");
    }
}

/// Weight rewinding to `to` whose schedule goes on from there: four epochs of 32 steps.
const WR: [&str; 12] = [
    "--set",
    "train.epochs=4",
    "--set",
    "train.evaluate_every=1ep",
    "--set",
    "model.hidden=[24, 16]",
    "--set",
    "prune.levels=2",
    "--set",
    "strategy.rewind.schedule_from_point=true",
    "--seeds",
    "0..2",
];

fn wr(runs: &Path, to: &str, level_end: &str, more: &[&str]) -> Command {
    let to = format!("strategy.rewind.to={to}");
    let level_end = format!("prune.level_end={level_end}");
    let own = ["--set", &to, "--set", &level_end];
    run("wr.toml", runs, &[&WR[..], &own, more].concat())
}

/// A level's records, as (steps done, learning rate).
fn records(run: &Path, level: u64) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(run.join(format!("seed-1/level-{level:02}/metrics.jsonl")));
    let text = text.unwrap();
    let lines = text.lines().enumerate().map(|(number, line)| {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["epoch"], number);
        let step = record["step"].as_u64().unwrap();
        assert_eq!(record["test_accuracy"].is_number(), step.is_multiple_of(32));
        (step, record["lr"].as_f64().unwrap())
    });
    lines.collect()
}

/// What `host plan` says of the experiment, and how it ends.
fn planned_run(to: &str, more: &[&str], code: i32) -> (String, String) {
    let mut plan = command();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/wr.toml");
    let to = format!("strategy.rewind.to={to}");
    let end = ["--set", "prune.level_end=schedule", "--set", &to];
    plan.arg("plan").arg(file).arg("--no-estimate");
    let output = expect(plan.args(WR).args(end).args(more), code);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn a_level_that_ends_with_its_schedule_trains_what_is_left_and_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let finished = |to: &str, level_end: &str| -> PathBuf {
        let runs = folder.path().join(format!("{to}-{level_end}"));
        expect(&mut wr(&runs, to, level_end, &[]), 0);
        only_run(&runs, "wr")
    };
    // Whole epochs, and within one.
    for (to, steps) in [("2ep", vec![32, 64]), ("50it", vec![32, 64, 78])] {
        let last = steps[steps.len() - 1];
        let (plan, said) = planned_run(to, &["--json"], 0);
        assert_eq!(said, "");
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let lengths = plan["levels"].as_array().unwrap().iter();
        let lengths: Vec<&Value> = lengths.map(|level| &level["steps"]).collect();
        assert_eq!(lengths, [128, last, last]);
        assert_eq!(plan["steps_per_seed"], 128 + 2 * last);

        let [whole, shorter] = ["epochs", "schedule"].map(|level_end| finished(to, level_end));
        expect(command().arg("verify").arg(&shorter), 0);
        let dense = records(&shorter, 0);
        assert_eq!(dense.len(), 4);
        for level in 1..=2 {
            let records = records(&shorter, level);
            let done: Vec<u64> = records.iter().map(|it| it.0).collect();
            assert_eq!(done, steps);
            let rates = |list: &[(u64, f64)]| list.iter().map(|it| it.1).collect::<Vec<_>>();
            match to {
                "2ep" => assert_eq!(rates(&records), rates(&dense[2..])),
                _ => assert_eq!(rates(&records).last(), rates(&dense).last()),
            }
            // The rest of the whole level trains at rate 0: no weight moves.
            for (name, expected) in tensors(&end(&whole, level)) {
                let got = &tensors(&end(&shorter, level))[&name];
                if !name.contains("running") {
                    assert_eq!(elements(got), elements(&expected), "level {level}, {name}");
                }
            }
        }
    }
    let expected = digests(&only_run(&folder.path().join("50it-schedule"), "wr"));
    let runs = folder.path().join("killed");
    let mut killed = wr(&runs, "50it", "schedule", &["--checkpoint-every", "0"]);
    let mut hold = Hold::at(&mut killed, "rename", &runs);
    let mut child = killed.spawn().unwrap();
    // In the part of an epoch at the end of level 1.
    let step = || {
        let folders = fs::read_dir(&runs).ok()?.flatten().map(|it| it.path());
        let own = folders
            .filter(|path| path.join("experiment.toml").exists())
            .last()?;
        let bytes = fs::read(own.join("seed-1/progress/checkpoint.json")).ok()?;
        let checkpoint: Value = serde_json::from_slice(&bytes).ok()?;
        (checkpoint["level"] == 1).then(|| checkpoint["position"]["step"].as_u64())?
    };
    hold.until(&mut child, "a checkpoint of level 1", |_| step() > Some(70));
    child.kill().unwrap();
    child.wait().unwrap();
    hold.release();
    assert!(step().is_some_and(|step| (71..78).contains(&step)));
    expect(&mut wr(&runs, "50it", "schedule", &[]), 0);
    assert_eq!(digests(&only_run(&runs, "wr")), expected);
}

fn end(run: &Path, level: u64) -> PathBuf {
    run.join(format!("seed-1/level-{level:02}/end.safetensors"))
}

#[test]
fn a_schedule_that_is_over_or_never_goes_on_is_told_at_its_line() {
    let (_, said) = planned_run("4ep", &[], 2);
    assert!(
        said.contains("error: level 1 has nothing to train"),
        "{said}"
    );
    assert!(said.contains("strategy.rewind.to=4ep\n"), "{said}");
    let restarts = ["--set", "strategy.rewind.schedule_from_point=false"];
    let (plan, said) = planned_run("2ep", &restarts, 0);
    assert!(
        said.contains("warning: every level trains all its epochs"),
        "{said}"
    );
    assert!(said.contains("prune.level_end=schedule\n"), "{said}");
    assert!(
        plan.contains("128 a level (4 epochs), 384 a seed"),
        "{plan}"
    );
}
