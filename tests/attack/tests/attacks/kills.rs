//! Killed anywhere, and again and again, a run comes to the same bytes.

use std::sync::Once;

use attack::campaign::{attack, head, kills};
use attack::experiments::Experiment;

fn assert_nothing_is_lost(name: &'static str, seed: u64) {
    let kills = kills();
    // So many steps that a run stands all its kills.
    let epochs = if kills > 20 { 5 } else { 2 };
    let outcome = attack(&Experiment::new(name, epochs), kills, seed);
    static HEAD: Once = Once::new();
    HEAD.call_once(|| println!("{}", head()));
    println!("{outcome}");
    assert!(outcome.wrong.is_empty(), "{:#?}", outcome.wrong);
}

#[test]
fn iterative_magnitude_pruning_stands_kills_at_any_moment() {
    assert_nothing_is_lost("imp", 1);
}

#[test]
fn learning_rate_rewinding_stands_kills_at_any_moment() {
    assert_nothing_is_lost("lrr", 2);
}

#[test]
fn random_masks_stand_kills_at_any_moment() {
    assert_nothing_is_lost("random-mask", 3);
}

#[test]
fn stored_points_with_lasting_sign_flips_stand_kills_at_any_moment() {
    assert_nothing_is_lost("sign-perturbation", 4);
}

#[test]
fn a_strategy_with_state_that_works_within_levels_stands_kills_at_any_moment() {
    assert_nothing_is_lost("drop-and-grow", 5);
}

#[test]
fn updates_with_states_and_draws_stand_kills_at_any_moment() {
    assert_nothing_is_lost("updates", 7);
}

#[test]
fn a_convolution_net_with_dropout_on_augmented_images_stands_kills_at_any_moment() {
    assert_nothing_is_lost("convolution", 6);
}
