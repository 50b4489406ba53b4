use serde_json::json;

use super::*;
use crate::LayerKind;

fn experiment(densities: &[f64]) -> Experiment {
    let layer = Layer::new("fc.weight", LayerKind::Linear, [10, 7]);
    Experiment::new(vec![layer], 32, 20, densities.iter().copied())
}

#[test]
fn levels_are_as_long_as_their_epochs_and_keep_their_share() {
    let experiment = experiment(&[0.5, 0.2]);
    assert_eq!(experiment.targets, [70, 35, 14]);
    assert_eq!(
        (experiment.last_level(), experiment.steps_per_level()),
        (2, 640)
    );
    assert_eq!(experiment.steps(Step::Epochs(3)), 96);
    assert_eq!(experiment.length(), "640 steps (20 epochs of 32)");
}

/// Hosts and plugins of every 1.x from 1.1 on read these texts.
#[test]
fn texts_are_frozen_and_later_ones_are_read_as_far_as_they_are_known() {
    let text = json!({
        "layers": [{"name": "fc.weight", "kind": "linear", "shape": [10, 7]}],
        "batch_norms": 0, "steps_per_epoch": 32, "epochs": 20,
        "densities": [1.0, 0.5], "targets": [70, 35],
    });
    assert_eq!(serde_json::to_value(experiment(&[0.5])).unwrap(), text);
    let mut of_norms = text.clone();
    of_norms["norms"] = json!(13);
    let read: Experiment = serde_json::from_value(of_norms.clone()).unwrap();
    assert_eq!((read.batch_norms, read.norms), (0, 13));
    assert_eq!(serde_json::to_value(read).unwrap(), of_norms);
    let mut later = text;
    later["seeds"] = json!(6);
    assert_eq!(
        serde_json::from_value::<Experiment>(later).unwrap(),
        experiment(&[0.5])
    );
    let finding = Finding::impossible("m").at_density(3).advise("a");
    let text = json!({
        "severity": "impossible", "message": "m", "advice": "a", "option": "",
        "setting": "prune.densities.2",
    });
    assert_eq!(serde_json::to_value(&finding).unwrap(), text);
    let finding = Finding::pointless("m").at_option("every");
    let text = json!({"severity": "pointless", "message": "m", "option": "every", "more": 1});
    assert_eq!(serde_json::from_value::<Finding>(text).unwrap(), finding);
    let text = json!({"severity": "curious", "message": "m"});
    let later: Finding = serde_json::from_value(text).unwrap();
    assert_eq!(later.severity, Severity::Other);
}

#[test]
fn an_exchange_that_never_comes_is_found() {
    let experiment = experiment(&[0.5]);
    let option = |every, until| {
        let found = experiment.exchanges("every", every, "until", until);
        found.first().map(|it| (it.severity, it.option.clone()))
    };
    let at = |option: &str| Some((Severity::Pointless, option.to_owned()));
    assert_eq!(option(Step::Iterations(639), 1.0), None);
    assert_eq!(option(Step::Iterations(640), 1.0), at("every"));
    assert_eq!(option(Step::Epochs(20), 1.0), at("every"));
    assert_eq!(option(Step::Epochs(10), 0.5), at("until"));
    assert_eq!(option(Step::Iterations(319), 0.5), None);
}

#[test]
fn a_rewind_to_a_level_that_comes_later_is_found_and_one_to_an_earlier_is_not() {
    let two = experiment(&[0.5, 0.2]);
    for point in [Point::LevelStart(1), Point::LevelEnd(2)] {
        let finding = two.comes_too_late("to", &point).unwrap();
        assert_eq!(
            (finding.severity, finding.option.as_str()),
            (Severity::Impossible, "to")
        );
    }
    for point in [Point::Init, Point::LevelEnd(0), Point::PreviousLevelEnd] {
        assert_eq!(two.comes_too_late("to", &point), None);
    }
    assert_eq!(
        experiment(&[]).comes_too_late("to", &Point::LevelEnd(1)),
        None
    );
}
