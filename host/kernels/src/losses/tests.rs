use tch::{Kind, Reduction, kind};

use super::*;

fn results(lanes: i64) -> [Tensor; 2] {
    [Kind::Double, Kind::Int64].map(|kind| Tensor::zeros([lanes], (kind, tch::Device::Cpu)))
}

/// Leaves in f64 with the values of these logits.
fn leaf(logits: &Tensor) -> Tensor {
    logits.to_kind(Kind::Double).set_requires_grad(true)
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

#[test]
fn the_gradient_of_labels_is_that_of_autograd_in_f64() {
    tch::manual_seed(3);
    let outputs = Tensor::randn([2, 300, 21], kind::FLOAT_CPU) * 4.0;
    let targets = Tensor::rand([2, 300, 21], kind::FLOAT_CPU).gt(0.7);
    let targets = targets.to_kind(Kind::Float);
    let [losses, right] = results(2);
    let slope = binary_cross_entropy(&outputs, &targets, &losses, &right).unwrap();
    let leaf = leaf(&outputs);
    let wanted = targets.to_kind(Kind::Double);
    let each =
        leaf.binary_cross_entropy_with_logits::<Tensor>(&wanted, None, None, Reduction::None);
    let mean = each.sum(Kind::Double) / (300.0 * 21.0);
    let expected = Tensor::run_backward(&[&mean], &[&leaf], false, false).remove(0);
    assert!(distance(&slope, &expected) < 1e-10);
    let correct = outputs.gt(0.0).eq_tensor(&targets.gt(0.5));
    for lane in 0..2 {
        let sum = each.get(lane).sum(Kind::Double).double_value(&[]);
        assert!((losses.double_value(&[lane]) - sum).abs() < 1e-9 * sum);
        let count = correct.get(lane).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(right.int64_value(&[lane]), count);
    }
    let [again, count] = results(2);
    binary_cross_entropy_value(&outputs, &targets, &again, &count).unwrap();
    assert_eq!((again, count), (losses, right));
}

#[test]
fn a_label_that_is_certain_costs_what_it_costs_in_real_numbers() {
    // `log(1 + exp(x))` of a float overflows at 89.
    let outputs = Tensor::from_slice(&[1e4f32, -1e4, 0.0]).view([1, 1, 3]);
    let targets = Tensor::from_slice(&[0.0f32, 0.0, 1.0]).view([1, 1, 3]);
    let [losses, right] = results(1);
    let slope = binary_cross_entropy(&outputs, &targets, &losses, &right).unwrap();
    let expected = 1e4 + std::f64::consts::LN_2;
    assert_eq!(losses.double_value(&[0]), expected);
    // 0 is not above 0: the label is said to be absent.
    assert_eq!(right.int64_value(&[0]), 1);
    let slopes = Vec::<f32>::try_from(slope.flatten(0, -1)).unwrap();
    assert_eq!(slopes, [(1.0f64 / 3.0) as f32, 0.0, -(0.5f64 / 3.0) as f32]);
}

#[test]
fn the_gradient_of_distillation_is_that_of_autograd_in_f64() {
    tch::manual_seed(4);
    let logits = Tensor::randn([2, 60, 11], kind::FLOAT_CPU) * 3.0;
    let taught = Tensor::randn([2, 60, 11], kind::FLOAT_CPU) * 3.0;
    let labels = Tensor::randint(11, [2, 60], kind::INT64_CPU);
    for (temperature, alpha, smoothing) in [(4.0, 0.9, 0.0), (1.0, 0.5, 0.1), (0.5, 1.0, 0.0)] {
        let how = Distillation {
            temperature,
            alpha,
            smoothing,
        };
        let [losses, right] = results(2);
        let slope = distillation(&logits, &taught, &labels, how, &losses, &right).unwrap();
        let leaf = leaf(&logits);
        let goals = (taught.to_kind(Kind::Double) / temperature).softmax(-1, Kind::Double);
        let own = (&leaf / temperature).log_softmax(-1, Kind::Double);
        let apart = own.kl_div(&goals, Reduction::None, false).sum_dim_intlist(
            [-1i64].as_slice(),
            false,
            Kind::Double,
        );
        let hard = leaf.flatten(0, 1).cross_entropy_loss::<Tensor>(
            &labels.view([-1]),
            None,
            Reduction::None,
            -100,
            smoothing,
        );
        let each = apart * (alpha * temperature * temperature) + hard.view([2, 60]) * (1.0 - alpha);
        let mean = each.sum(Kind::Double) / 60.0;
        let expected = Tensor::run_backward(&[&mean], &[&leaf], false, false).remove(0);
        // The cross-entropy's own gradient is computed in f32.
        assert!(distance(&slope, &expected) < 1e-8, "{how:?}");
        let correct = logits.argmax(-1, false).eq_tensor(&labels);
        for lane in 0..2 {
            let sum = each.get(lane).sum(Kind::Double).double_value(&[]);
            assert!((losses.double_value(&[lane]) - sum).abs() < 1e-5 * sum);
            let count = correct.get(lane).sum(Kind::Int64).int64_value(&[]);
            assert_eq!(right.int64_value(&[lane]), count);
        }
    }
}

#[test]
fn a_student_that_says_what_its_teacher_says_has_nothing_to_learn() {
    let logits = Tensor::randn([1, 5, 7], kind::FLOAT_CPU);
    let labels = Tensor::zeros([1, 5], kind::INT64_CPU);
    let how = Distillation {
        temperature: 3.0,
        alpha: 1.0,
        smoothing: 0.0,
    };
    let [losses, right] = results(1);
    let slope = distillation(&logits, &logits, &labels, how, &losses, &right).unwrap();
    assert_eq!(slope.count_nonzero(None).int64_value(&[]), 0);
    assert_eq!(losses.double_value(&[0]), 0.0);
}

#[test]
fn a_lane_has_the_bits_that_it_has_alone_with_any_number_of_threads() {
    tch::manual_seed(5);
    let logits = Tensor::randn([3, 701, 13], kind::FLOAT_CPU);
    let taught = Tensor::randn([3, 701, 13], kind::FLOAT_CPU);
    let labels = Tensor::randint(13, [3, 701], kind::INT64_CPU);
    let present = taught.gt(0.5).to_kind(Kind::Float);
    let how = Distillation {
        temperature: 2.0,
        alpha: 0.7,
        smoothing: 0.1,
    };
    let both = |from: i64, lanes: i64| {
        let part = |tensor: &Tensor| tensor.narrow(0, from, lanes);
        let [losses, right] = results(lanes);
        let (own, its) = (part(&logits), part(&taught));
        let first = distillation(&own, &its, &part(&labels), how, &losses, &right).unwrap();
        let [others, more] = results(lanes);
        let second = binary_cross_entropy(&own, &part(&present), &others, &more).unwrap();
        [first, second, losses, right, others, more]
    };
    tch::set_num_threads(2);
    let together = both(0, 3);
    tch::set_num_threads(1);
    for lane in 0..3 {
        for (alone, together) in both(lane, 1).iter().zip(&together) {
            assert_eq!(*alone, together.narrow(0, lane, 1));
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let [losses, right] = results(1);
    let outputs = Tensor::zeros([1, 4, 3], kind::FLOAT_CPU);
    let targets = Tensor::zeros([1, 4, 2], kind::FLOAT_CPU);
    let error = binary_cross_entropy(&outputs, &targets, &losses, &right).unwrap_err();
    assert!(
        error.to_string().contains("[lanes, batch, labels]"),
        "{error}"
    );
    let how = Distillation {
        temperature: 1.0,
        alpha: 1.0,
        smoothing: 0.0,
    };
    let labels = Tensor::full([1, 4], 3, kind::INT64_CPU);
    let error = distillation(&outputs, &outputs, &labels, how, &losses, &right).unwrap_err();
    assert_eq!(
        error.to_string(),
        "libtorch: label 3 is not one of 3 classes"
    );
    let error = distillation(&outputs, &targets, &labels, how, &losses, &right).unwrap_err();
    assert!(error.to_string().contains("student and teacher"), "{error}");
}
