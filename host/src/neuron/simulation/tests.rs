use super::*;
use crate::neuron::Update;

fn small() -> Settings {
    Settings {
        inits: 300,
        ..Settings::default()
    }
}

fn record() -> &'static NeuronRecord {
    static RECORD: std::sync::OnceLock<NeuronRecord> = std::sync::OnceLock::new();
    RECORD.get_or_init(|| simulate(&small(), 2).unwrap())
}

#[test]
fn imp_learns_from_exactly_the_inits_with_both_signs_right() {
    let mut seen = 0;
    for fraction in record()
        .fractions
        .iter()
        .filter(|it| it.method == Method::Imp)
    {
        for quadrant in &fraction.quadrants {
            let right = quadrant.a_positive && quadrant.w1_positive;
            let expected = if right { quadrant.inits } else { 0 };
            assert_eq!(quadrant.successes, expected, "{fraction:?}");
            seen += quadrant.inits;
        }
        // Four standard deviations: one seed in 2,000 has a dimension beyond them.
        let (inits, successes) = (fraction.inits as f64, fraction.successes as f64);
        let spread = (inits * 0.25 * 0.75).sqrt();
        assert!(
            (successes - inits / 4.0).abs() < 4.0 * spread,
            "{fraction:?}"
        );
    }
    assert_eq!(seen, 8 * 300);
}

#[test]
fn lrr_learns_from_the_inits_with_a_positive_once_there_are_more_inputs() {
    for fraction in record()
        .fractions
        .iter()
        .filter(|it| it.method == Method::Lrr)
    {
        for quadrant in &fraction.quadrants {
            let d = fraction.dimension;
            match (quadrant.a_positive, quadrant.w1_positive) {
                (true, true) => assert_eq!(quadrant.successes, quadrant.inits, "d = {d}"),
                (true, false) if d == 1 => assert_eq!(quadrant.successes, 0),
                // Some start so close to the opposite direction that time does not suffice.
                (true, false) if d < 5 => {
                    assert!(10 * quadrant.successes > 8 * quadrant.inits, "d = {d}");
                }
                (true, false) => assert_eq!(quadrant.successes, quadrant.inits, "d = {d}"),
                (false, _) => assert_eq!(quadrant.successes, 0, "d = {d}"),
            }
        }
    }
}

#[test]
fn no_init_ends_between_success_and_failure() {
    let gap = &record().gap;
    assert!(gap.greatest_success.unwrap() < 1e-6, "{gap:?}");
    assert!(gap.least_failure.unwrap() > 0.22, "{gap:?}");
}

#[test]
fn the_simulation_follows_the_closed_form_and_its_error_falls_linearly_with_the_step() {
    let record = record();
    assert_eq!(record.closed_form.last().unwrap().time, 40.0);
    let error = |it: &ClosedForm| (it.simulated - it.exact).abs();
    assert!(record.closed_form.iter().all(|it| error(it) < 2e-3));
    let errors = &record.step_errors;
    assert_eq!(errors[2].step, 1e-2);
    assert!(errors[2].error < 2e-3, "{errors:?}");
    for pair in errors.windows(2) {
        let ratio = pair[0].error / pair[1].error;
        assert!((1.9..2.1).contains(&ratio), "{errors:?}");
    }
}

#[test]
fn the_record_does_not_depend_on_the_number_of_threads_or_the_other_dimensions() {
    let few = Settings {
        dimensions: vec![2],
        ..small()
    };
    let alone = simulate(&few, 1).unwrap();
    let among = record().fractions.iter().filter(|it| it.dimension == 2);
    assert!(alone.fractions.iter().eq(among));
}

#[test]
fn trajectories_show_every_quadrant_end_as_counted_and_begin_pruned_where_they_should() {
    let record = record();
    for &dimension in &[1, 2, 10] {
        for method in Method::BOTH {
            let own =
                |it: &&super::super::Trajectory| it.dimension == dimension && it.method == method;
            assert_eq!(record.trajectories.iter().filter(own).count(), 4);
        }
    }
    for trajectory in &record.trajectories {
        let seed = small().seed_of(trajectory.dimension, trajectory.init);
        let start = Start::draw(trajectory.dimension, 0.1, seed);
        let expected = outcomes(&start, &small())
            .into_iter()
            .find(|it| it.method == trajectory.method)
            .unwrap();
        assert_eq!(trajectory.success, expected.is_success());
        assert_eq!(*trajectory.loss.last().unwrap(), expected.loss);
        assert_eq!((trajectory.a[0], trajectory.w1[0]), (start.a, start.w[0]));
        assert_eq!(*trajectory.time.last().unwrap(), 80.0);
        let pruned = trajectory.pruned.iter().position(|&it| it).unwrap();
        assert_eq!(trajectory.time[pruned], 40.0);
        if trajectory.method == Method::Imp {
            assert_eq!(trajectory.a[pruned], start.a);
        } else {
            assert_eq!(trajectory.a[pruned], trajectory.a[pruned - 1]);
        }
    }
}

#[test]
fn a_record_names_its_update_only_where_it_is_not_gradient_descent() {
    let of = |update| {
        let settings = Settings {
            dimensions: vec![1, 3],
            inits: 60,
            update,
            ..Settings::default()
        };
        simulate(&settings, 2).unwrap()
    };
    let text = serde_json::to_string(&of(Update::Gradient)).unwrap();
    assert!(!text.contains("update"), "{text}");
    let ham = of(Update::Ham {
        alpha_a: 40.0,
        alpha_w: 1.0,
        beta: 0.0,
    });
    let text = serde_json::to_string(&ham).unwrap();
    assert!(text.contains(r#""update":{"name":"ham","alpha_a":40.0"#));
    assert!(ham.closed_form.is_empty() && ham.step_errors.is_empty());
    // One neuron: all inits with w_1 > 0, of either sign of a.
    for fraction in ham.fractions.iter().filter(|it| it.dimension == 1) {
        for it in &fraction.quadrants {
            let expected = if it.w1_positive { it.inits } else { 0 };
            assert_eq!(it.successes, expected, "{fraction:?}");
        }
    }
    for trajectory in ham.trajectories.iter().filter(|it| it.dimension == 1) {
        let ends = *trajectory.loss.last().unwrap() < SUCCESS_LOSS;
        assert_eq!(trajectory.success, ends);
    }
}
