//! The kernels against autograd in double precision, and against themselves.

use tch::{Reduction, kind};

use super::*;

/// Layers of these widths in one buffer, each but the last with a batch norm if `norm`; the width of a lane.
fn network(widths: &[i64], norm: bool) -> (Vec<Layer>, i64) {
    let (mut layers, mut width) = (Vec::new(), 0);
    let mut take = |count: i64| {
        width += count;
        width - count
    };
    for (at, pair) in widths.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let last = at + 2 == widths.len();
        layers.push(Layer {
            inputs,
            outputs,
            weight: take(inputs * outputs),
            bias: take(outputs),
            norm: (norm && !last).then(|| Norm {
                weight: take(outputs),
                bias: take(outputs),
                mean: 2 * at,
                variance: 2 * at + 1,
            }),
        });
    }
    (layers, width)
}

/// Everything that a step reads and writes.
struct Case {
    layers: Vec<Layer>,
    weights: Tensor,
    statistics: Vec<Tensor>,
    mask: Tensor,
    inputs: Tensor,
    targets: Tensor,
    index: Tensor,
}

/// What a step leaves: gradients, statistics, losses, right answers.
type Left = (Tensor, Vec<Tensor>, Tensor, Tensor);

impl Case {
    /// Weights of which `density` survive, and `batch` of 50 samples for each lane.
    fn new(widths: &[i64], norm: bool, lanes: i64, batch: i64, density: f64) -> Self {
        tch::manual_seed(7);
        let (layers, width) = network(widths, norm);
        let weights = Tensor::randn([lanes, width], kind::FLOAT_CPU) * 0.3;
        let mut mask = Tensor::ones([lanes, width], kind::FLOAT_CPU);
        for layer in &layers {
            let count = layer.inputs * layer.outputs;
            let kept = Tensor::rand([lanes, count], kind::FLOAT_CPU).lt(density);
            mask.narrow(1, layer.weight, count)
                .copy_(&kept.to_kind(Kind::Float));
        }
        let _ = mask.clamp_(0.0, 1.0);
        let statistic = |layer: &Layer, value: f64| {
            Tensor::full([lanes, layer.outputs], value, kind::FLOAT_CPU)
        };
        let normed = layers.iter().filter(|layer| layer.norm.is_some());
        Self {
            statistics: normed
                .flat_map(|layer| [statistic(layer, 0.1), statistic(layer, 0.9)])
                .collect(),
            weights: weights * &mask,
            mask,
            inputs: Tensor::randn([50, widths[0]], kind::FLOAT_CPU),
            targets: Tensor::randint(widths[widths.len() - 1], [50], kind::INT64_CPU),
            index: Tensor::randint(50, [lanes, batch], kind::INT64_CPU),
            layers,
        }
    }

    /// Survivors of every layer and lane; none at all if `dense`.
    fn survivors(&self, dense: bool) -> Vec<Vec<Option<Survivors>>> {
        let lanes = self.weights.size()[0];
        let of = |layer: &Layer, lane: i64| {
            let count = layer.inputs * layer.outputs;
            let mask = self.mask.select(0, lane).narrow(0, layer.weight, count);
            let mask = Vec::<f32>::try_from(mask).unwrap();
            Survivors::of(&mask, layer.inputs as usize, mask.len())
        };
        let of_layer = |layer| {
            (0..lanes)
                .map(|lane| if dense { None } else { of(layer, lane) })
                .collect()
        };
        self.layers.iter().map(of_layer).collect()
    }

    fn samples(&self) -> Samples<'_> {
        Samples {
            inputs: &self.inputs,
            table: None,
            targets: &self.targets,
            rows: Rows::Listed(&self.index),
        }
    }

    fn step(&self, dense: bool, threads: i32) -> Left {
        tch::set_num_threads(threads);
        let survivors = self.survivors(dense);
        let statistics: Vec<Tensor> = self.statistics.iter().map(Tensor::copy).collect();
        let lanes = Lanes {
            weights: &self.weights,
            statistics: &statistics,
            survivors: &survivors,
        };
        let mut slopes = self.weights.zeros_like();
        let [losses, right] = results(self.weights.size()[0]);
        Perceptron::new(self.layers.clone())
            .step(lanes, &mut slopes, self.samples(), LOSS, [&losses, &right])
            .unwrap();
        (slopes, statistics, losses, right)
    }

    /// One lane alone.
    fn lane(&self, lane: i64) -> Self {
        let of = |tensor: &Tensor| tensor.narrow(0, lane, 1).copy();
        Self {
            layers: self.layers.clone(),
            weights: of(&self.weights),
            statistics: self.statistics.iter().map(of).collect(),
            mask: of(&self.mask),
            inputs: self.inputs.copy(),
            targets: self.targets.copy(),
            index: of(&self.index),
        }
    }

    /// A lane's loss in double precision, with the statistics of the batch or the running ones.
    fn reference(&self, lane: i64, flat: &Tensor, train: bool) -> (Tensor, Vec<Tensor>) {
        let index = self.index.get(lane);
        let mut x = self.inputs.index_select(0, &index).to_kind(Kind::Double);
        let mut statistics = Vec::new();
        for (at, layer) in self.layers.iter().enumerate() {
            let weight = flat.narrow(0, layer.weight, layer.inputs * layer.outputs);
            let weight = weight.view([layer.outputs, layer.inputs]);
            x = x.matmul(&weight.tr()) + flat.narrow(0, layer.bias, layer.outputs);
            if let Some(norm) = layer.norm {
                let [mean, variance] = [norm.mean, norm.variance]
                    .map(|i| self.statistics[i].get(lane).to_kind(Kind::Double).copy());
                let part = |place| flat.narrow(0, place, layer.outputs);
                x = x.batch_norm(
                    Some(part(norm.weight)),
                    Some(part(norm.bias)),
                    Some(mean.shallow_clone()),
                    Some(variance.shallow_clone()),
                    train,
                    0.1,
                    1e-5,
                    false,
                );
                statistics.extend([mean, variance]);
            }
            if at + 1 < self.layers.len() {
                x = x.relu();
            }
        }
        let targets = self.targets.index_select(0, &index);
        let smoothing = if train { LOSS.smoothing } else { 0.0 };
        let mean = x.cross_entropy_loss::<Tensor>(&targets, None, Reduction::Mean, -100, smoothing);
        (mean, statistics)
    }
}

const LOSS: Loss = Loss {
    numbers: false,
    smoothing: 0.1,
    tolerance: 0.0,
};

fn results(lanes: i64) -> [Tensor; 2] {
    [Kind::Double, Kind::Int64].map(|kind| Tensor::zeros([lanes], (kind, Device::Cpu)))
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let difference = a.to_kind(Kind::Double) - b.to_kind(Kind::Double);
    difference.abs().max().double_value(&[])
}

fn bits(tensor: &Tensor) -> Tensor {
    match tensor.kind() {
        Kind::Float => tensor.view_dtype(Kind::Int),
        _ => tensor.view_dtype(Kind::Int64),
    }
}

/// Widths with and without whole vectors, tiles and blocks of terms.
const SHAPES: &[&[i64]] = &[&[300, 21, 17, 5], &[7, 600, 10], &[40, 128, 3], &[9, 4]];

#[test]
fn a_step_is_that_of_autograd_in_double_precision() {
    for (widths, norm, batch) in SHAPES
        .iter()
        .flat_map(|widths| [(widths, false, 37), (widths, true, 16), (widths, true, 37)])
    {
        let case = Case::new(widths, norm, 2, batch, 0.4);
        let (slopes, statistics, losses, _) = case.step(true, 2);
        for lane in 0..2 {
            let flat = case.weights.get(lane).to_kind(Kind::Double);
            let flat = flat.set_requires_grad(true);
            let (loss, expected) = case.reference(lane, &flat, true);
            let found = losses.double_value(&[lane]) / batch as f64;
            let wanted = loss.double_value(&[]);
            assert!(
                (found - wanted).abs() < 1e-5,
                "{widths:?}: {found} {wanted}"
            );
            for (got, expected) in statistics.iter().zip(expected) {
                assert!(distance(&got.get(lane), &expected) < 1e-5, "{widths:?}");
            }
            let wanted = &Tensor::run_backward(&[&loss], &[&flat], false, false)[0];
            let error = distance(&slopes.get(lane), wanted);
            assert!(error < 1e-5, "{widths:?} {norm} {batch}: {error}");
            assert!(wanted.abs().max().double_value(&[]) > 1e-2);
        }
    }
}

#[test]
fn a_sparse_layer_has_the_bits_of_the_dense_one_whatever_the_threads() {
    for (widths, norm) in SHAPES.iter().flat_map(|w| [(w, false), (w, true)]) {
        for density in [0.0, 0.03, 0.3, 1.0] {
            let case = Case::new(widths, norm, 3, 37, density);
            let dense = case.step(true, 1);
            for (sparse, threads) in [(true, 1), (true, 2), (false, 2)] {
                let got = case.step(!sparse, threads);
                let survive = case.mask.ne(0.0);
                let kept = |slopes: &Tensor| bits(&slopes.masked_select(&survive));
                assert_eq!(kept(&got.0), kept(&dense.0), "{widths:?} {density}");
                assert_eq!(bits(&got.2), bits(&dense.2));
                assert_eq!(got.3, dense.3);
                for (got, dense) in got.1.iter().zip(&dense.1) {
                    assert_eq!(bits(got), bits(dense));
                }
                if sparse {
                    let rest = got.0.masked_select(&survive.logical_not());
                    assert_eq!(rest.count_nonzero(None).int64_value(&[]), 0);
                }
            }
        }
    }
}

#[test]
fn a_lane_has_the_bits_that_it_has_alone() {
    let case = Case::new(&[30, 20, 10, 4], true, 5, 24, 0.5);
    let together = case.step(true, 2);
    for lane in 0..5 {
        let alone = case.lane(lane).step(true, 1);
        assert_eq!(bits(&alone.0.get(0)), bits(&together.0.get(lane)));
        assert_eq!(bits(&alone.2), bits(&together.2.narrow(0, lane, 1)));
    }
}

#[test]
fn evaluation_is_by_the_running_statistics_and_unsmoothed() {
    let mut case = Case::new(&[12, 30, 20, 4], true, 2, 50, 0.3);
    let all = Tensor::arange(50, kind::INT64_CPU);
    case.index = Tensor::stack(&[&all, &all], 0);
    let samples = Samples {
        rows: Rows::Shared(0, 50),
        ..case.samples()
    };
    let smooth = Loss {
        smoothing: 0.0,
        ..LOSS
    };
    let mut found = Vec::new();
    for dense in [true, false] {
        let survivors = case.survivors(dense);
        let lanes = Lanes {
            weights: &case.weights,
            statistics: &case.statistics,
            survivors: &survivors,
        };
        let [losses, right] = results(2);
        let perceptron = Perceptron::new(case.layers.clone());
        perceptron
            .evaluate(lanes, samples, smooth, [&losses, &right], None)
            .unwrap();
        for lane in 0..2 {
            let flat = case.weights.get(lane).to_kind(Kind::Double);
            let wanted = case.reference(lane, &flat, false).0.double_value(&[]);
            let got = losses.double_value(&[lane]) / 50.0;
            assert!((got - wanted).abs() < 1e-5, "{got} {wanted}");
        }
        found.push((bits(&losses), right));
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn the_outputs_of_an_evaluation_are_those_that_its_losses_are_of() {
    // More samples than are evaluated together.
    let mut case = Case::new(&[12, 30, 4], true, 2, 50, 0.3);
    case.inputs = Tensor::randn([300, 12], kind::FLOAT_CPU);
    case.targets = Tensor::randint(4, [300], kind::INT64_CPU);
    let samples = Samples {
        rows: Rows::Shared(7, 290),
        ..case.samples()
    };
    let survivors = case.survivors(true);
    let lanes = Lanes {
        weights: &case.weights,
        statistics: &case.statistics,
        survivors: &survivors,
    };
    let smooth = Loss {
        smoothing: 0.0,
        ..LOSS
    };
    let perceptron = Perceptron::new(case.layers.clone());
    let evaluate = |outputs: Option<&Tensor>| {
        let [losses, right] = results(2);
        perceptron
            .evaluate(lanes, samples, smooth, [&losses, &right], outputs)
            .map(|()| (bits(&losses), losses, right))
    };
    let outputs = Tensor::zeros([2, 290, 4], kind::FLOAT_CPU);
    let with = evaluate(Some(&outputs)).unwrap();
    let without = evaluate(None).unwrap();
    assert_eq!((with.0, with.2), (without.0, without.2));
    let targets = case.targets.narrow(0, 7, 290);
    for lane in 0..2 {
        let wanted = outputs
            .get(lane)
            .to_kind(Kind::Double)
            .cross_entropy_loss::<Tensor>(&targets, None, tch::Reduction::Sum, -100, 0.0);
        let got = with.1.double_value(&[lane]);
        assert!((got - wanted.double_value(&[])).abs() < 1e-4, "{got}");
    }
    let small = Tensor::zeros([2, 289, 4], kind::FLOAT_CPU);
    let error = evaluate(Some(&small)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("outputs must be contiguous"), "{error}");
}

#[test]
fn bytes_are_read_through_the_table_of_their_channel() {
    let mut case = Case::new(&[12, 8, 3], false, 1, 20, 1.0);
    let bytes = Tensor::randint(256, [50, 12], kind::INT64_CPU);
    let table = Tensor::randn([2, 256], kind::FLOAT_CPU);
    let of_channel = |channel: i64| {
        let places = bytes.narrow(1, 6 * channel, 6).contiguous().view([-1]);
        let values = table.get(channel).index_select(0, &places);
        values.view([50, 6])
    };
    case.inputs = Tensor::cat(&[of_channel(0), of_channel(1)], 1);
    let expected = case.step(true, 1);
    let bytes = bytes.to_kind(Kind::Uint8);
    let samples = Samples {
        inputs: &bytes,
        table: Some(&table),
        ..case.samples()
    };
    let survivors = case.survivors(true);
    let lanes = Lanes {
        weights: &case.weights,
        statistics: &[],
        survivors: &survivors,
    };
    let (mut slopes, [losses, right]) = (case.weights.zeros_like(), results(1));
    Perceptron::new(case.layers.clone())
        .step(lanes, &mut slopes, samples, LOSS, [&losses, &right])
        .unwrap();
    assert_eq!(bits(&slopes), bits(&expected.0));
}

#[test]
fn what_is_not_there_is_refused() {
    let case = Case::new(&[4, 3], false, 1, 8, 1.0);
    let survivors = case.survivors(true);
    let lanes = Lanes {
        weights: &case.weights,
        statistics: &[],
        survivors: &survivors,
    };
    let [losses, right] = results(1);
    let try_with = |samples| {
        let mut slopes = case.weights.zeros_like();
        Perceptron::new(case.layers.clone())
            .step(lanes, &mut slopes, samples, LOSS, [&losses, &right])
            .unwrap_err()
            .to_string()
    };
    let far = Tensor::from_slice(&[3i64, 50]).view([1, 2]);
    let rows = Rows::Listed(&far);
    let error = try_with(Samples {
        rows,
        ..case.samples()
    });
    assert_eq!(error, "libtorch: sample 50 is not one of 50");
    let targets = Tensor::full([50], 3, kind::INT64_CPU);
    let error = try_with(Samples {
        targets: &targets,
        ..case.samples()
    });
    assert_eq!(error, "libtorch: label 3 is not one of 3 classes");
    let inputs = Tensor::zeros([50, 5], kind::FLOAT_CPU);
    let error = try_with(Samples {
        inputs: &inputs,
        ..case.samples()
    });
    assert!(error.contains("other rows or features"), "{error}");
}

#[test]
fn a_density_that_breaks_even_is_one() {
    for (outputs, inputs) in [(300, 784), (10, 100), (2, 1)] {
        let density = break_even(outputs, inputs);
        assert!((0.0..=1.0).contains(&density), "{density}");
        assert_eq!(break_even(outputs, inputs), density);
    }
}
