//! Whatever a plugin does, the host says which component of which plugin broke which rule, and goes on.

// Clippy knows tests, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use crate::rules::{RULES, Rule, When};
use end_to_end::built::{loader, own, part, plain, strategy, strategy_with};
use host::strategy::still::Still;
use host::strategy::{MakeError, PlannedWeights, Strategy, StrategyError};
use plugin_api::abi::wire::ComponentKind;
use plugin_api::{Point, Step};
use serde_json::json;

const SHAPES: [&[i64]; 2] = [&[4, 3], &[2, 4]];

fn scene() -> Still {
    Still::new(&SHAPES, 0)
}

/// The rule's component at its place, beside well-behaved ones.
fn with(rule: &Rule) -> Result<Strategy, MakeError> {
    let own = || plain(&format!("misbehaving/{}", rule.component));
    let score = match rule.kind {
        "score" => own(),
        _ => plain("imp/magnitude"),
    };
    let mask = match rule.kind {
        "mask" => own(),
        _ => plain("imp/global"),
    };
    let rewind = match rule.kind {
        "rewind" => own(),
        _ => plain("imp/weights"),
    };
    match rule.kind {
        "update" => strategy_with(score, mask, vec![rewind], vec![own()]),
        _ => strategy(score, mask, vec![rewind]),
    }
}

/// One level's end: score and mask, then rewind.
fn level(strategy: &mut Strategy, scene: &mut Still, target: u64) -> Result<(), StrategyError> {
    scene.prune(strategy, target)?;
    strategy.plan(0, scene)?;
    scene.facts.level += 1;
    for place in 0..strategy.updates().len() {
        let (update, known) = strategy.update_at(place);
        let form = known.form.clone();
        update.act(scene, &form, &scene.step(&form, 1))?;
    }
    Ok(())
}

/// What the host says of this rule's component.
fn message(rule: &Rule) -> String {
    let mut scene = scene();
    let made = with(rule);
    if rule.when == When::Made {
        return match made.map(|_| ()) {
            Err(error) => error.to_string(),
            Ok(()) => panic!("{} was made", rule.component),
        };
    }
    let mut strategy = made.unwrap();
    if rule.when == When::Called {
        return level(&mut strategy, &mut scene, 15)
            .unwrap_err()
            .to_string();
    }
    if rule.when == When::Asked {
        return strategy.points().unwrap_err().to_string();
    }
    if rule.when == When::Reviewed {
        let layers = scene.facts.layers.clone();
        let experiment = plugin_api::Experiment::new(layers, 40, 20, [0.5]);
        return strategy.review(&experiment).unwrap_err().to_string();
    }
    // An update is called after the level's start has pruned.
    let target = match (rule.when, rule.kind) {
        (When::CalledOnceSomeArePruned, "update") => scene.len(),
        _ => 15,
    };
    level(&mut strategy, &mut scene, target).unwrap();
    match rule.when {
        When::CalledAfterAnother => {
            let mut other = with(rule).unwrap();
            let mut scene = self::scene();
            level(&mut other, &mut scene, 15).unwrap_err().to_string()
        }
        When::CalledOnceSomeArePruned => level(&mut strategy, &mut scene, 12)
            .unwrap_err()
            .to_string(),
        When::Saved => strategy.save_state().unwrap_err().to_string(),
        When::Loaded => {
            let states = strategy.save_state().unwrap();
            with(rule)
                .unwrap()
                .load_state(&states)
                .unwrap_err()
                .to_string()
        }
        _ => {
            drop(strategy);
            String::new()
        }
    }
}

#[test]
fn every_broken_rule_is_reported_with_plugin_component_and_reason() {
    for rule in RULES {
        let message = message(rule);
        // What ends the process is in `hostile.rs`.
        let silent = [
            When::Dropped,
            When::CarriedOut,
            When::Found,
            When::CalledTwice,
            When::Hidden,
            When::Beside,
            When::EndsTheProcess,
        ];
        if silent.contains(&rule.when) {
            assert_eq!(message, "");
            continue;
        }
        assert!(
            message.contains(rule.says),
            "{} {}: expected {:?} in: {message}",
            rule.kind,
            rule.component,
            rule.says
        );
        let place = match rule.kind {
            "rewind" => "rewind[0]",
            "update" => "update[0]",
            kind => kind,
        };
        let start = format!(
            "{place} component `{}` of plugin `misbehaving` ",
            rule.component
        );
        assert!(message.starts_with(&start), "{message}");
        assert!(message.lines().count() <= 2, "{message}");
        assert!(!message.contains("Exception raised from"), "{message}");
    }
}

#[test]
fn every_component_of_the_fixture_has_its_rule() {
    let plugin = loader(own()).load("misbehaving", None).unwrap();
    let components: BTreeSet<(&str, &str)> = plugin
        .manifest
        .components
        .iter()
        .map(|component| (component.kind.name(), component.name.as_str()))
        .collect();
    let rules: BTreeSet<(&str, &str)> = RULES
        .iter()
        .map(|rule| (rule.kind, rule.component))
        .collect();
    assert_eq!(components, rules);
    assert_eq!(rules.len(), RULES.len());
}

fn said(kind: &str, component: &str) -> String {
    let rule = RULES
        .iter()
        .find(|rule| (rule.kind, rule.component) == (kind, component));
    message(rule.unwrap())
}

#[test]
fn messages_say_layer_got_and_expected() {
    for (kind, component, end) in [
        (
            "score",
            "wrong-shape",
            "gave a wrong score for layer `layer0.weight`: got Float [12] on Cpu, expected Float [4, 3] on Cpu",
        ),
        (
            "score",
            "wrong-dtype-i64",
            "gave a wrong score for layer `layer0.weight`: got Int64 [4, 3] on Cpu, expected Float [4, 3] on Cpu",
        ),
        (
            "rewind",
            "nan-weights",
            "gave a weight for layer `layer0.weight` whose element 1 is NaN; expected finite numbers",
        ),
        (
            "mask",
            "half",
            "gave a mask for layer `layer0.weight` whose element 0 is 0.5; expected 0 or 1",
        ),
    ] {
        let message = said(kind, component);
        assert!(message.ends_with(end), "{message}");
    }
    for (kind, got) in [("score", 1), ("mask", 3), ("rewind", 1)] {
        let message = said(kind, "wrong-count");
        assert!(message.contains(&format!(" gave {got} ")), "{message}");
        assert!(
            message.ends_with("expected 2: one for each prunable layer"),
            "{message}"
        );
    }
    for (component, got) in [("one-too-many", 16), ("one-too-few", 14)] {
        let message = said("mask", component);
        let middle =
            format!("gave masks that keep {got} weights, expected exactly 15 (per layer: ");
        assert!(message.contains(&middle), "{message}");
        assert!(message.contains("layer1.weight "), "{message}");
    }
}

#[test]
fn a_panic_is_reported_with_its_place_in_the_plugin() {
    let message = said("mask", "panics");
    assert!(
        message.contains("panicked: no mask today at tests/misbehaving/src/masks.rs:"),
        "{message}"
    );
}

#[test]
fn a_plan_to_an_undeclared_point_reaches_the_level_loop_as_it_is() {
    let rule = RULES.iter().find(|rule| rule.when == When::CarriedOut);
    let plan = with(rule.unwrap()).unwrap().plan(0, &scene()).unwrap();
    let PlannedWeights::From(point) = plan.weights else {
        panic!("it goes to a point");
    };
    assert_eq!(point, Point::Step(Step::Iterations(7)));
    assert!(
        !with(rule.unwrap())
            .unwrap()
            .points()
            .unwrap()
            .contains(&point)
    );
}

#[test]
fn a_component_that_is_not_there_is_refused_by_name() {
    let made = strategy(plain("misbehaving/absent"), plain("imp/global"), vec![]);
    let message = made.map(|_| ()).unwrap_err().to_string();
    assert!(
        message.contains("the plugin has no score component `absent`"),
        "{message}"
    );
}

#[test]
fn an_unknown_option_is_refused_by_name() {
    let made = strategy(
        part("imp/magnitude", json!({"powr": 2})),
        plain("imp/global"),
        vec![],
    );
    let message = made.map(|_| ()).unwrap_err().to_string();
    assert!(
        message.starts_with("score component `magnitude` of plugin `imp` refused its options: "),
        "{message}"
    );
    assert!(message.contains("`powr`"), "{message}");
}

#[test]
fn the_kinds_that_rules_name_are_those_of_the_boundary() {
    let kinds = [
        ComponentKind::Score,
        ComponentKind::Mask,
        ComponentKind::Rewind,
        ComponentKind::Update,
    ];
    for rule in RULES {
        assert!(kinds.iter().any(|kind| kind.name() == rule.kind));
    }
}
