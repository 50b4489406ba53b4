use super::*;
use crate::rng::{Moment, Purpose, Stream};
use plugin_api::LayerKind;
use proptest::prelude::*;

fn layers(sizes: &[usize]) -> Vec<Layer> {
    sizes
        .iter()
        .enumerate()
        .map(|(i, &n)| Layer::new(format!("fc{i}.weight"), LayerKind::Linear, [1, n as i64]))
        .collect()
}

fn tensors(layers: &[Layer], values: &[f32]) -> Vec<Tensor> {
    let mut rest = values;
    layers
        .iter()
        .map(|layer| {
            let (own, others) = rest.split_at(layer.len() as usize);
            rest = others;
            Tensor::from_slice(own).view(layer.shape.as_slice())
        })
        .collect()
}

fn flat(masks: &[Tensor]) -> Vec<f32> {
    masks
        .iter()
        .flat_map(|m| elements(m).unwrap().to_vec())
        .collect()
}

/// The definition: sort candidates by (score descending, index), keep the first `total`.
fn sorted_reference(scores: &[f32], eligible: &[bool], total: usize) -> Vec<f32> {
    let mut order: Vec<usize> = (0..scores.len()).filter(|&i| eligible[i]).collect();
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap().then(a.cmp(&b)));
    let mut mask = vec![0.0; scores.len()];
    for &i in &order[..total] {
        mask[i] = 1.0;
    }
    mask
}

fn awkward_score() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -2.0f32..2.0,
        2 => prop::sample::select(vec![
            0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE,
            1e-45, -1e-45, f32::MAX, f32::MIN,
        ]),
        2 => (0i8..4).prop_map(f32::from),
    ]
}

proptest! {
    #[test]
    fn chooses_what_a_plain_sort_chooses_with_ties_infinities_and_signed_zeros(
        scores in prop::collection::vec(awkward_score(), 1..60),
        bits in prop::collection::vec(any::<bool>(), 60),
        share in 0.0f64..=1.0,
        split in 0.0f64..=1.0,
    ) {
        let cut = (split * scores.len() as f64) as usize;
        let layers = layers(&[cut, scores.len() - cut]);
        let eligible = &bits[..scores.len()];
        let available = eligible.iter().filter(|&&b| b).count();
        let total = (share * available as f64) as usize;
        let mask: Vec<f32> = eligible.iter().map(|&b| f32::from(u8::from(b))).collect();
        let score_tensors = tensors(&layers, &scores);
        let mask_tensors = tensors(&layers, &mask);
        let got = select(&layers, &score_tensors, &mask_tensors, Among::Survivors, &Counts::Total(total as u64)).unwrap();
        let expected = sorted_reference(&scores, eligible, total);
        prop_assert_eq!(flat(&got), expected.clone());
        let candidates: Vec<_> = layers.iter().zip(&score_tensors).zip(&mask_tensors)
            .map(|((l, s), m)| Candidates::new(l, s, m, Among::Survivors)).collect();
        prop_assert_eq!(flat(&choose_on_device(&candidates, total as u64).unwrap()), expected);
    }
}

/// Enough of them for a sample to say where the threshold is.
#[test]
fn of_many_scores_it_chooses_what_a_plain_sort_chooses_too() {
    let layers = layers(&[90_000, 1, 250_003]);
    let all = 340_004;
    let mut stream = Stream::new(3, Purpose::Strategy("scores"), Moment::default());
    type Draw = fn(&mut Stream, usize) -> f32;
    let draws: [Draw; 6] = [
        |stream, _| stream.normal(),
        |stream, _| stream.normal().abs(),
        // Ties everywhere, at two values, and among zeros of both signs.
        |stream, _| (stream.normal() * 4.0).round(),
        |stream, _| f32::from(u8::from(stream.uniform() < 0.3)),
        |stream, at| {
            if at % 2 == 0 {
                0.0
            } else {
                stream.normal().min(-0.0)
            }
        },
        // In order, so that a sample of every n-th sees each.
        |_, at| at as f32,
    ];
    for (kind, draw) in draws.into_iter().enumerate() {
        let scores: Vec<f32> = (0..all).map(|at| draw(&mut stream, at)).collect();
        let eligible: Vec<bool> = (0..all).map(|_| stream.uniform() < 0.8).collect();
        let mask: Vec<f32> = eligible.iter().map(|&b| f32::from(u8::from(b))).collect();
        let available = eligible.iter().filter(|&&b| b).count();
        let (scores_of, masks_of) = (tensors(&layers, &scores), tensors(&layers, &mask));
        let among = |total: usize| {
            let counts = Counts::Total(total as u64);
            select(&layers, &scores_of, &masks_of, Among::Survivors, &counts)
        };
        for total in [
            0,
            1,
            available / 50,
            available / 2,
            available * 4 / 5,
            available,
        ] {
            let expected = sorted_reference(&scores, &eligible, total);
            assert!(flat(&among(total).unwrap()) == expected, "{kind}, {total}");
        }
        assert!(matches!(
            among(available + 1),
            Err(SelectError::TooFew { .. })
        ));
        let mut broken = scores.clone();
        let at = eligible.iter().rposition(|&it| it).unwrap();
        broken[at] = f32::NAN;
        let counts = Counts::Total(5);
        let broken = tensors(&layers, &broken);
        let error = select(&layers, &broken, &masks_of, Among::Survivors, &counts);
        let index = at - 90_001;
        let layer = "fc2.weight".to_owned();
        assert_eq!(error.unwrap_err(), SelectError::NotANumber { layer, index });
    }
}

proptest! {
    #[test]
    fn who_keeps_more_keeps_all_that_who_keeps_fewer_keeps(
        scores in prop::collection::vec(awkward_score(), 2..60),
        fewer in 0usize..60,
        more in 0usize..60,
    ) {
        let layers = layers(&[scores.len() / 2, scores.len() - scores.len() / 2]);
        let [fewer, more] = [fewer.min(more), fewer.max(more)].map(|it| it.min(scores.len()));
        let (scores, ones) = (tensors(&layers, &scores), tensors(&layers, &vec![1.0; scores.len()]));
        let chosen = |total: usize| {
            let counts = Counts::Total(total as u64);
            flat(&select(&layers, &scores, &ones, Among::All, &counts).unwrap())
        };
        let (small, large) = (chosen(fewer), chosen(more));
        prop_assert_eq!(small.iter().sum::<f32>() as usize, fewer);
        prop_assert!(small.iter().zip(&large).all(|(small, large)| small <= large));
    }

    #[test]
    fn counts_for_each_layer_choose_in_each_what_a_sort_chooses_there(
        first in prop::collection::vec(awkward_score(), 1..30),
        second in prop::collection::vec(awkward_score(), 1..30),
        shares in (0.0f64..=1.0, 0.0f64..=1.0),
    ) {
        let layers = layers(&[first.len(), second.len()]);
        let all = [&first[..], &second[..]].concat();
        let ones = tensors(&layers, &vec![1.0; all.len()]);
        let scores = tensors(&layers, &all);
        let counts = [(shares.0 * first.len() as f64) as usize, (shares.1 * second.len() as f64) as usize];
        let per_layer = Counts::PerLayer(counts.map(|it| it as u64).to_vec());
        let got = select(&layers, &scores, &ones, Among::Survivors, &per_layer).unwrap();
        let expected = [
            sorted_reference(&first, &vec![true; first.len()], counts[0]),
            sorted_reference(&second, &vec![true; second.len()], counts[1]),
        ];
        prop_assert_eq!(flat(&got), expected.concat());
    }

    #[test]
    fn nan_is_refused_wherever_it_stands_and_whatever_its_bits(
        mut scores in prop::collection::vec(awkward_score(), 1..40),
        at in any::<prop::sample::Index>(),
        payload in 1u32..0x40_0000,
        negative: bool,
    ) {
        let at = at.index(scores.len());
        scores[at] = f32::from_bits(0x7f80_0000 | payload | u32::from(negative) << 31);
        let layers = layers(&[scores.len()]);
        let ones = tensors(&layers, &vec![1.0; scores.len()]);
        let error = select(&layers, &tensors(&layers, &scores), &ones, Among::All, &Counts::Total(1));
        let is_named = matches!(error, Err(SelectError::NotANumber { index, .. }) if index == at);
        prop_assert!(is_named);
    }
}

#[test]
fn equal_scores_are_chosen_by_lower_index() {
    let layers = layers(&[2, 3]);
    let scores = tensors(&layers, &[1.0; 5]);
    let masks = tensors(&layers, &[1.0; 5]);
    let chosen = select(&layers, &scores, &masks, Among::All, &Counts::Total(3)).unwrap();
    assert_eq!(flat(&chosen), [1.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_score_that_is_not_a_number_is_refused_with_its_layer() {
    let layers = layers(&[1, 2]);
    let scores = tensors(&layers, &[1.0, 0.0, f32::NAN]);
    let masks = tensors(&layers, &[1.0; 3]);
    let error = select(&layers, &scores, &masks, Among::All, &Counts::Total(1)).unwrap_err();
    assert_eq!(
        error,
        SelectError::NotANumber {
            layer: "fc1.weight".into(),
            index: 1
        }
    );
    let pruned = tensors(&layers, &[1.0, 1.0, 0.0]);
    assert!(
        select(
            &layers,
            &scores,
            &pruned,
            Among::Survivors,
            &Counts::Total(1)
        )
        .is_ok()
    );
}

#[test]
fn more_than_there_is_cannot_be_chosen() {
    let layers = layers(&[3]);
    let scores = tensors(&layers, &[1.0; 3]);
    let masks = tensors(&layers, &[1.0, 0.0, 1.0]);
    let error = select(
        &layers,
        &scores,
        &masks,
        Among::Survivors,
        &Counts::PerLayer(vec![3]),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer `fc0.weight`: 3 weights are to be chosen, but there are only 2 to choose from"
    );
}
