use super::*;
use crate::neuron::{Outcome, outcomes};

fn sign_in(inner_scale_a: f64, inner_scale_w: f64) -> Update {
    Update::SignIn {
        inner_scale_a,
        inner_scale_w,
        every: 0.2,
    }
}

fn ham(alpha_a: f64, alpha_w: f64) -> Update {
    Update::Ham {
        alpha_a,
        alpha_w,
        beta: 0.0,
    }
}

fn settings(update: Update) -> Settings {
    Settings {
        update,
        ..Settings::default()
    }
}

fn start(a: f64, w: &[f64]) -> Start {
    Start { a, w: w.to_vec() }
}

fn succeeds(update: Update, a: f64, w: &[f64]) -> [bool; 2] {
    outcomes(&start(a, w), &settings(update)).map(Outcome::is_success)
}

/// Each update with the larger option at the output weight, at the input weights, and at neither.
fn updates() -> [(Update, bool); 6] {
    [
        (sign_in(1.0, 0.5), true),
        (sign_in(0.5, 1.0), false),
        (sign_in(1.0, 1.0), false),
        (ham(4.0, 1.0), true),
        (ham(1.0, 4.0), false),
        (ham(4.0, 4.0), false),
    ]
}

#[test]
fn one_neuron_recovers_a_negative_output_weight_if_the_output_weight_moves_more_readily() {
    for (update, frees) in updates() {
        for (a, w, expected) in [
            (0.2, 0.2, true),
            (-0.2, 0.2, frees),
            (0.2, -0.2, false),
            (-0.2, -0.2, false),
        ] {
            let got = succeeds(update, a, &[w]);
            assert_eq!(got, [expected; 2], "{update:?}, a = {a}, w = {w}");
        }
    }
}

#[test]
fn one_neuron_of_any_balance_recovers_where_the_potentials_say() {
    let (mut learnt, mut lost) = (0, 0);
    for (update, _) in updates() {
        for place in 1..20 {
            let (a, w) = (-0.2, 0.02 * f64::from(place));
            let balance = update.balance(a, &[w]);
            // The nearer to the edge, the longer it takes.
            if balance.abs() < 1e-3 * update.balance(a, &[]) {
                continue;
            }
            assert_eq!(
                succeeds(update, a, &[w]),
                [balance < 0.0; 2],
                "{update:?}, w = {w}"
            );
            learnt += u32::from(balance < 0.0);
            lost += u32::from(balance > 0.0);
        }
    }
    assert!(learnt > 30 && lost > 30, "{learnt}, {lost}");
}

#[test]
fn the_flow_keeps_the_difference_of_the_potentials_and_a_step_nearly() {
    let start = start(-0.3, &[0.2, -0.1, 0.25]);
    for (update, _) in updates() {
        let drift = |step| {
            let settings = Settings {
                step,
                ..settings(update)
            };
            let mut student = Student::dense(&start, &settings);
            let balance = |student: &Student| {
                let Way::Alone(weights) = &student.way else {
                    panic!("each weight moves alone");
                };
                let inputs: Vec<f64> = weights.inputs().map(Weight::value).collect();
                update.balance(weights.a.value(), &inputs)
            };
            let before = balance(&student);
            let mut most: f64 = 0.0;
            for _ in 0..settings.steps() {
                student.descend();
                most = most.max((balance(&student) - before).abs());
            }
            most
        };
        let (long, short) = (drift(1e-2), drift(5e-3));
        assert!(long < 1e-2, "{update:?}: {long}");
        assert!(long / short > 1.5, "{update:?}: {long}, {short}");
    }
}

#[test]
fn without_strength_ham_is_gradient_descent() {
    for (a, w) in [(0.1, [0.06, -0.08, 0.01]), (0.1, [-0.06, -0.08, 0.03])] {
        let start = start(a, &w);
        let by = |update| {
            let settings = settings(update);
            let dense = Student::dense(&start, &settings).trained(&settings);
            Method::BOTH.map(|method| {
                let pruned = dense.prune(&start, method, &settings);
                [dense.neuron(), pruned.trained(&settings).neuron()]
            })
        };
        let (alone, together) = (by(ham(0.0, 0.0)), by(Update::Gradient));
        for (alone, together) in alone.iter().flatten().zip(together.iter().flatten()) {
            for (alone, together) in [
                (alone.a, together.a),
                (alone.w1, together.w1),
                (alone.rest, together.rest),
            ] {
                assert!((alone - together).abs() < 1e-9, "{alone}, {together}");
            }
        }
    }
}

#[test]
fn pruning_keeps_the_weight_that_is_largest_after_training() {
    let settings = settings(sign_in(1.0, 0.5));
    let init = start(0.5, &[0.1, -0.3, 0.4]);
    let trained = Student::dense(&start(0.9, &[0.1, -0.35, 0.2]), &settings);
    let imp = trained.prune(&init, Method::Imp, &settings).neuron();
    assert_eq!((imp.a, imp.w1), (init.a, 0.0));
    assert!((imp.rest - 0.3).abs() < 1e-15);
    let lrr = trained.prune(&init, Method::Lrr, &settings).neuron();
    assert!((lrr.a - 0.9).abs() < 1e-15 && (lrr.rest - 0.35).abs() < 1e-15);
    let trained = Student::dense(&start(0.9, &[-0.4, -0.35, 0.4]), &settings);
    let imp = trained.prune(&init, Method::Imp, &settings).neuron();
    assert!((imp.w1 - 0.1).abs() < 1e-15 && imp.rest == 0.0);
}

/// Twenty input weights of length 0.1, the first of this sign.
fn twenty(sign: f64) -> Vec<f64> {
    let mut w: Vec<f64> = (0..20).map(|i| (1.0 + 2.4 * f64::from(i)).sin()).collect();
    w[0] = 0.3 * sign;
    let length = w.iter().map(|it| it * it).sum::<f64>().sqrt();
    w.iter().map(|it| 0.1 * it / length).collect()
}

#[test]
fn kept_as_trained_a_neuron_of_more_inputs_recovers_every_quadrant_if_its_output_weight_is_freed() {
    let quadrants = |update| {
        [(0.1, 1.0), (0.1, -1.0), (-0.1, 1.0), (-0.1, -1.0)].map(|(a, sign)| {
            let [_, lrr] = succeeds(update, a, &twenty(sign));
            lrr
        })
    };
    for update in [sign_in(4.0, 0.5), ham(40.0, 1.0)] {
        assert_eq!(quadrants(update), [true; 4], "{update:?}");
    }
    for update in [
        Update::Gradient,
        sign_in(1.0, 1.0),
        sign_in(0.5, 1.0),
        ham(1.0, 4.0),
    ] {
        assert_eq!(quadrants(update), [true, true, false, false], "{update:?}");
    }
}
