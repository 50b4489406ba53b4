//! Against what is dead by numbers: gradients that are 0 where a unit was taken out.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Kind, Tensor};

use super::{Side, UnitSet, Units};
use crate::model::tests::built;
use crate::model::{MODELS, Mode, Network, Parameter, Role};
use crate::rng::{Moment, Purpose, Stream};

/// A network of each model, with every operation: images as small as still let every weight of a kernel see a
/// pixel.
const NETWORKS: [(&str, &str, &[i64]); 16] = [
    ("mlp", r#"{"hidden": [12, 9, 7]}"#, &[3, 4, 4]),
    ("mlp", r#"{"hidden": [12, 9], "batch_norm": false}"#, &[20]),
    ("mlp", r#"{"hidden": []}"#, &[6]),
    ("lenet-300-100", "{}", &[28]),
    ("cnn1d", r#"{"width": 6}"#, &[40]),
    ("cnn1d", r#"{"width": 6, "dropout": 0.4}"#, &[13]),
    ("resnet-20", r#"{"width": 3}"#, &[3, 8, 8]),
    ("resnet-32", r#"{"width": 2}"#, &[3, 8, 8]),
    ("resnet-44", r#"{"width": 2}"#, &[3, 8, 8]),
    ("resnet-56", r#"{"width": 2}"#, &[3, 8, 8]),
    (
        "resnet-18",
        r#"{"width": 3, "stem": "imagenet"}"#,
        &[3, 64, 64],
    ),
    ("resnet-34", r#"{"width": 2}"#, &[3, 16, 16]),
    (
        "resnet-50",
        r#"{"width": 2, "stem": "cifar"}"#,
        &[3, 16, 16],
    ),
    ("vgg-16", r#"{"width": 3}"#, &[3, 32, 32]),
    (
        "vit",
        r#"{"patch": 4, "width": 6, "depth": 2, "heads": 3, "mlp_ratio": 1.5}"#,
        &[3, 8, 8],
    ),
    ("hidden-neuron", "{}", &[7]),
];

/// Numbers in [1, 2), of their own for each name; of a network that is curved, normal ones.
fn numbers(name: &str, shape: &[i64], curved: bool) -> Tensor {
    let mut stream = Stream::new(5, Purpose::Init(name), Moment::default());
    let count = shape.iter().product::<i64>();
    let mut one = || match curved {
        true => f64::from(stream.normal()),
        false => 1.0 + f64::from(stream.uniform()),
    };
    let values: Vec<f64> = (0..count).map(|_| one()).collect();
    Tensor::from_slice(&values).view(shape)
}

/// A network with numbers by which nothing is dead, in double precision: where everything is positive every ReLU is
/// open and nothing cancels.
struct Subject {
    network: Box<dyn Network>,
    shape: Vec<i64>,
    curved: bool,
}

/// Places of weights: a parameter's number, and which of its numbers.
type Places = BTreeMap<usize, BTreeSet<i64>>;

impl Subject {
    fn values(&self) -> Vec<Tensor> {
        let of = |it: &Parameter| {
            let value = numbers(&it.name, &it.shape, self.curved);
            match it.role {
                Role::Weight(_) => value / (it.shape[1..].iter().product::<i64>() as f64),
                _ => value,
            }
        };
        self.network.parameters().iter().map(of).collect()
    }

    /// Where the gradient of a sum of the outputs is 0, with these places and statistics set to 0.
    fn dead(&self, zeroed: &Places, statistics: &BTreeMap<String, BTreeSet<i64>>) -> Places {
        let lane = |tensor: Tensor| match self.network.lanes() {
            true => tensor.unsqueeze(0),
            false => tensor,
        };
        let place = |places: Option<&BTreeSet<i64>>, value: Tensor| {
            let places: Vec<i64> = places.into_iter().flatten().copied().collect();
            let shape = value.size();
            let flat = value
                .view([-1])
                .index_fill(0, &Tensor::from_slice(&places), 0.0);
            lane(flat.view(&shape[..]))
        };
        let values = self.values().into_iter().enumerate();
        let parameters: Vec<Tensor> = values
            .map(|(at, value)| place(zeroed.get(&at), value).set_requires_grad(true))
            .collect();
        let buffers = self.network.buffers().iter().map(|it| {
            let value = numbers(&it.name, &[it.features], false);
            match it.initial {
                0.0 => place(statistics.get(&it.name), -value),
                _ => lane(value),
            }
        });
        let buffers: Vec<Tensor> = buffers.collect();
        let samples = [&[6], &self.shape[..]].concat();
        let input = lane(numbers("input", &samples, self.curved));
        let output = self
            .network
            .forward(&parameters, &buffers, &input, Mode::Eval);
        let slopes = lane(numbers(
            "slopes",
            &[6, output.size()[output.dim() - 1]],
            self.curved,
        ));
        let loss = (output * slopes).sum(Kind::Double);
        let gradients = Tensor::run_backward(&[loss], &parameters, false, false);
        let mut dead = Places::new();
        for (at, gradient) in gradients.iter().enumerate() {
            // A key's bias changes no softmax: what is left of its gradient is rounding.
            let floor = gradient.abs().max() * 1e-13;
            let flat = gradient.reshape([-1]).abs();
            let zeros = flat.le_tensor(&floor).nonzero().view([-1]);
            let zeros: Vec<i64> = Vec::try_from(&zeros).unwrap();
            if !zeros.is_empty() {
                dead.insert(at, zeros.into_iter().collect());
            }
        }
        dead
    }

    /// The numbers of the parameters that a unit has on these sides, and of which statistics.
    fn places(
        &self,
        set: &UnitSet,
        unit: usize,
        sides: &[Side],
    ) -> (Places, BTreeMap<String, BTreeSet<i64>>) {
        let (mut places, mut statistics) = (Places::new(), BTreeMap::new());
        for slice in set.slices.iter().filter(|it| sides.contains(&it.side)) {
            let own = (0..).zip(&slice.units).filter(|(_, it)| **it == Some(unit));
            let own: Vec<i64> = own.map(|(place, _)| place).collect();
            let parameters = self.network.parameters();
            let Some(at) = parameters.iter().position(|it| it.name == slice.tensor) else {
                statistics.insert(slice.tensor.clone(), own.into_iter().collect());
                continue;
            };
            let shape = &parameters[at].shape;
            let all = Tensor::arange(
                shape.iter().product::<i64>(),
                (Kind::Int64, tch::Device::Cpu),
            );
            let all = all
                .view(&shape[..])
                .index_select(slice.axis as i64, &Tensor::from_slice(&own));
            let all: Vec<i64> = Vec::try_from(&all.reshape([-1])).unwrap();
            places.entry(at).or_default().extend(all);
        }
        (places, statistics)
    }

    /// Places among these that were not dead from the start.
    fn without(&self, places: &Places, known: &Places) -> Places {
        let mut left = Places::new();
        for (at, own) in places {
            let none = BTreeSet::new();
            let own: BTreeSet<i64> = own - known.get(at).unwrap_or(&none);
            if !own.is_empty() {
                left.insert(*at, own);
            }
        }
        left
    }

    /// Compares each unit of each set with numbers; how many there were.
    fn check(&self, units: &Units, what: &str) -> usize {
        let none = BTreeMap::new();
        let before = self.dead(&Places::new(), &none);
        let share: usize = before.values().map(BTreeSet::len).sum();
        let all: i64 = self
            .network
            .parameters()
            .iter()
            .map(|it| it.shape.iter().product::<i64>())
            .sum();
        assert!(
            (share as f64) < 0.02 * all as f64,
            "{what}: {share} of {all} are dead at the start"
        );
        let mut count = 0;
        for set in &units.sets {
            // Of a large set some: its units are alike.
            let step = set.units.div_ceil(4).max(1);
            for unit in (0..set.units).filter(|it| set.units <= 8 || it % step == 0) {
                let at = format!("{what}, {} unit {unit}", set.name);
                let (makes, statistics) = self.places(set, unit, &[Side::Makes, Side::Follows]);
                let (reads, _) = self.places(set, unit, &[Side::Reads]);
                // Without what makes it nothing that reads it is alive, and all else is.
                let dead = self.without(&self.dead(&makes, &statistics), &before);
                let others = self.without(&dead, &makes);
                assert_eq!(
                    others,
                    self.without(&self.without(&reads, &makes), &before),
                    "{at}: what reads it"
                );
                // Without what reads it nothing that makes it is alive, and all else is.
                let dead = self.without(&self.dead(&reads, &none), &before);
                let others = self.without(&dead, &reads);
                assert_eq!(
                    others,
                    self.without(&self.without(&makes, &reads), &before),
                    "{at}: what makes it"
                );
                if unit == 0 {
                    self.check_ties(set, unit, &at);
                }
                count += 1;
            }
        }
        count
    }

    /// All that makes a unit is tied by what reads it: none of it would do for a unit of its own.
    fn check_ties(&self, set: &UnitSet, unit: usize, at: &str) {
        let parameters = self.network.parameters();
        let (makes, statistics) = self.places(set, unit, &[Side::Makes]);
        let (follows, means) = self.places(set, unit, &[Side::Follows]);
        let (reads, _) = self.places(set, unit, &[Side::Reads]);
        let shifts = follows
            .iter()
            .filter(|(at, _)| matches!(parameters[**at].role, Role::Bias | Role::NormBias));
        let shifts: Places = shifts.map(|(at, own)| (*at, own.clone())).collect();
        let statistics: BTreeMap<_, _> = statistics.into_iter().chain(means).collect();
        // Groups of what makes it, with what reads any of them.
        let mut tied: Vec<(BTreeSet<usize>, BTreeSet<usize>)> = Vec::new();
        for maker in makes.keys() {
            let mut zeroed: Places = makes.clone();
            zeroed.remove(maker);
            zeroed.extend(shifts.clone());
            let dead = self.dead(&zeroed, &statistics);
            let alive = |it: &&usize| {
                let own = &reads[*it];
                dead.get(*it).is_none_or(|dead| !own.is_subset(dead))
            };
            let mut own = (
                BTreeSet::from([*maker]),
                reads.keys().filter(alive).copied().collect(),
            );
            let (same, others) = tied.into_iter().partition(|it| !it.1.is_disjoint(&own.1));
            tied = others;
            for (makers, readers) in same as Vec<(BTreeSet<usize>, BTreeSet<usize>)> {
                own.0.extend(makers);
                own.1.extend(readers);
            }
            tied.push(own);
        }
        assert_eq!(tied.len(), 1, "{at}: {tied:?}");
    }
}

#[test]
fn what_goes_with_a_unit_is_what_is_dead_without_it() {
    // Imported networks are files, compared in their own tests.
    for model in MODELS.iter().filter(|it| it.name != "pt2") {
        assert!(
            NETWORKS.iter().any(|it| it.0 == model.name),
            "{}",
            model.name
        );
    }
    for (name, options, shape) in NETWORKS {
        let network = built(name, options, shape);
        let units = network.units(shape);
        let subject = Subject {
            network,
            shape: shape.to_vec(),
            curved: name == "vit",
        };
        let count = subject.check(&units, name);
        let hidden = !(name == "hidden-neuron" || options == r#"{"hidden": []}"#);
        assert_eq!(count > 0, hidden, "{name}: {units:?}");
    }
}

/// Name, number of units and slices of each set.
fn outline(units: &Units) -> Vec<(String, usize, String)> {
    let slices = |set: &UnitSet| {
        let all = set
            .slices
            .iter()
            .map(|it| format!("{} {}", it.tensor, it.axis));
        all.collect::<Vec<_>>().join(", ")
    };
    let sets = units.sets.iter();
    sets.map(|set| (set.name.clone(), set.units, slices(set)))
        .collect()
}

#[test]
fn channels_that_shortcuts_add_up_are_one_set_and_the_inner_ones_have_their_own() {
    let network = built("resnet-20", r#"{"width": 4}"#, &[3, 8, 8]);
    let units = network.units(&[3, 8, 8]);
    let sizes: Vec<(&str, usize)> = units
        .sets
        .iter()
        .map(|it| (it.name.as_str(), it.units))
        .collect();
    let inner = |stage: usize, block: usize| format!("layer{stage}.{block}.conv1");
    let mut expected = vec![("conv1".to_owned(), 4)];
    for stage in 1..=3 {
        for block in 0..3 {
            expected.push((inner(stage, block), 4 << (stage - 1)));
            if (stage, block) == (2, 0) || (stage, block) == (3, 0) {
                expected.push((format!("layer{stage}.0.conv2"), 4 << (stage - 1)));
            }
        }
    }
    let expected: Vec<(&str, usize)> = expected.iter().map(|it| (it.0.as_str(), it.1)).collect();
    assert_eq!(sizes, expected);
    let left: Vec<(&str, &str)> = units
        .left_out
        .iter()
        .map(|it| (it.weight.as_str(), it.reason.as_str()))
        .collect();
    assert_eq!(left, [("fc.weight", "they are the network's outputs")]);
}

#[test]
fn heads_take_their_queries_keys_and_values_and_features_that_a_norm_adds_up_stay() {
    let network = built(
        "vit",
        r#"{"patch": 4, "width": 6, "depth": 1, "heads": 3, "mlp_ratio": 2}"#,
        &[3, 8, 8],
    );
    let units = network.units(&[3, 8, 8]);
    let sets = outline(&units);
    assert_eq!(sets.len(), 2, "{sets:?}");
    assert_eq!((sets[0].1, sets[1].1), (3, 12), "{sets:?}");
    let qkv = units.sets[0]
        .slices
        .iter()
        .find(|it| it.tensor.ends_with("qkv.weight"))
        .unwrap();
    // Two features a head, queries, keys and values one after the other.
    let third: Vec<Option<usize>> = [0, 0, 1, 1, 2, 2].map(Some).to_vec();
    assert_eq!(qkv.units, [&third[..], &third, &third].concat());
    assert!(
        units
            .left_out
            .iter()
            .any(|it| it.reason.contains("adds them up")),
        "{:?}",
        units.left_out
    );
}
