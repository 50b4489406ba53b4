use plugin_api::{Layer, LayerKind, Measure, Scope, UnitRule, Units};
use proptest::prelude::*;
use tch::{Kind, Tensor};

use super::*;

fn layers() -> Vec<Layer> {
    vec![
        Layer::new("conv1.weight", LayerKind::Conv2d, [6, 1, 3, 3]),
        Layer::new("conv2.weight", LayerKind::Conv2d, [4, 6, 1, 1]),
        Layer::new("fc.weight", LayerKind::Linear, [3, 16]),
    ]
}

fn ones(layers: &[Layer]) -> Vec<Tensor> {
    let one = |it: &Layer| Tensor::ones(&it.shape[..], (Kind::Float, Device::Cpu));
    layers.iter().map(one).collect()
}

/// Scores by which units have these, of the two sets one after the other.
fn scores(first: [f32; 6], second: [f32; 4]) -> Vec<Tensor> {
    let rows = |values: &[f32], shape: &[i64]| {
        let own = Tensor::from_slice(values).view([-1, 1, 1, 1]);
        own.expand(shape, false).contiguous()
    };
    vec![
        rows(&first, &[6, 1, 3, 3]),
        rows(&second, &[4, 6, 1, 1]),
        Tensor::zeros([3, 16], (Kind::Float, Device::Cpu)),
    ]
}

fn rule(measure: Measure, scope: Scope, multiple: u64) -> UnitRule {
    UnitRule {
        measure,
        scope,
        multiple,
    }
}

fn kept(masks: &[Tensor]) -> Vec<Vec<bool>> {
    let layers = layers();
    alive(&Units::of_chain(&layers), &numbers(masks), &layers)
}

const FIRST: [f32; 6] = [6.0, 1.0, 5.0, 2.0, 4.0, 3.0];
const SECOND: [f32; 4] = [1.5, 2.5, 7.0, 0.5];

#[test]
fn units_of_lowest_score_go_until_the_target_is_kept() {
    let (layers, units) = (layers(), Units::of_chain(&layers()));
    let rule = rule(Measure::Units, Scope::Global, 1);
    let masks = select(
        &units,
        &rule,
        &layers,
        &scores(FIRST, SECOND),
        &ones(&layers),
        6,
    )
    .unwrap();
    // Without 0.5, 1, 1.5 and 2.
    let expected = vec![
        vec![true, false, true, false, true, true],
        vec![false, true, true, false],
    ];
    assert_eq!(kept(&masks), expected);
    // 4 x 9; 2 x 4; 3 x 2 x 4: rows of one set are columns of the next.
    let counts: Vec<f64> = masks
        .iter()
        .map(|it| it.sum(Kind::Double).double_value(&[]))
        .collect();
    assert_eq!(counts, [36.0, 8.0, 24.0]);
}

#[test]
fn each_set_keeps_one_unit_and_less_names_the_nearest_two_counts() {
    let (layers, units) = (layers(), Units::of_chain(&layers()));
    let rule = rule(Measure::Weights, Scope::Global, 1);
    let choose = |target| {
        select(
            &units,
            &rule,
            &layers,
            &scores(FIRST, SECOND),
            &ones(&layers),
            target,
        )
    };
    // 9 + 1 + 12, and with one more of the first set 18 + 2 + 12.
    let masks = choose(22).unwrap();
    let count = |own: &Vec<bool>| own.iter().filter(|it| **it).count();
    assert_eq!(kept(&masks).iter().map(count).collect::<Vec<_>>(), [1, 1]);
    let error = choose(21).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "21 weights are to be kept at most, and whole units come to 22 at least, to 32 next"
        ),
        "{error}"
    );
}

#[test]
fn multiples_are_kept_together_and_a_set_may_keep_all() {
    let (layers, units) = (layers(), Units::of_chain(&layers()));
    let all = scores(FIRST, SECOND);
    let sizes = |multiple, target| {
        let rule = rule(Measure::Units, Scope::Global, multiple);
        let masks = select(&units, &rule, &layers, &all, &ones(&layers), target).unwrap();
        counted(&units, &rule, &layers, &masks, target).unwrap()
    };
    // Blocks of 4: the last two of the first set have 1.5 on average; the second set is one block.
    assert_eq!(sizes(4, 9), (vec![4, 4], 8));
    assert_eq!(sizes(4, 10), (vec![6, 4], 10));
    assert_eq!(sizes(2, 7), (vec![4, 2], 6));
}

#[test]
fn by_layer_every_set_keeps_about_the_same_share() {
    let (layers, units) = (layers(), Units::of_chain(&layers()));
    let rule = rule(Measure::Units, Scope::Layer, 1);
    let all = scores([100.0; 6], SECOND);
    let sizes = |target| {
        let masks = select(&units, &rule, &layers, &all, &ones(&layers), target).unwrap();
        counted(&units, &rule, &layers, &masks, target).unwrap().0
    };
    assert_eq!(sizes(5), [3, 2]);
    assert_eq!(sizes(8), [5, 3]);
    assert_eq!(sizes(2), [1, 1]);
}

#[test]
fn masks_that_are_no_whole_units_or_other_ones_are_named() {
    let (layers, units) = (layers(), Units::of_chain(&layers()));
    let rule = rule(Measure::Units, Scope::Global, 1);
    let (before, all) = (ones(&layers), scores(FIRST, SECOND));
    let masks = select(&units, &rule, &layers, &all, &before, 6).unwrap();
    let checked = |masks: &[Tensor], target| {
        check(&units, &rule, &layers, (&all, &before), masks, target).map_err(|it| it.to_string())
    };
    checked(&masks, 6).unwrap();
    assert!(
        checked(&masks, 5)
            .unwrap_err()
            .contains("keep 6 units, expected 5 at most")
    );
    let error = checked(&masks, 7).unwrap_err();
    assert!(
        error.contains("of `conv1` the masks prune unit 3, which the rule keeps"),
        "{error}"
    );
    let part: Vec<Tensor> = masks.iter().map(Tensor::copy).collect();
    let _ = part[2].narrow(0, 0, 1).fill_(0.0);
    let error = checked(&part, 6).unwrap_err();
    assert!(
        error.contains("the mask of `fc.weight` is 0 at index 4, expected 1"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn what_is_selected_keeps_the_rule_level_after_level(
        values in prop::collection::vec(-2i8..3, 20),
        multiple in 1u64..4,
        shares in prop::collection::vec(0.0f64..1.0, 3),
        by_layer: bool,
        measure in prop::sample::select(vec![Measure::Weights, Measure::Units, Measure::Macs]),
    ) {
        let (layers, units) = (layers(), Units::of_chain(&layers()));
        let scope = if by_layer { Scope::Layer } else { Scope::Global };
        let rule = rule(measure, scope, multiple);
        let mut masks = ones(&layers);
        let mut target = units.total(measure, &layers);
        for (level, share) in shares.into_iter().enumerate() {
            target = (share * target as f64) as u64;
            let own: Vec<f32> = values.iter().map(|it| f32::from(*it)).collect();
            let first: [f32; 6] = own[level..level + 6].try_into().unwrap();
            let second: [f32; 4] = own[level + 6..level + 10].try_into().unwrap();
            let all = scores(first, second);
            let chosen = match select(&units, &rule, &layers, &all, &masks, target) {
                Ok(chosen) => chosen,
                Err(UnitError::Unreachable { least, next, .. }) => {
                    prop_assert!(least > target && next.is_none_or(|next| next > least));
                    break;
                }
                Err(error) => panic!("{error}"),
            };
            prop_assert_eq!(check(&units, &rule, &layers, (&all, &masks), &chosen, target), Ok(()));
            masks = chosen;
        }
    }
}
