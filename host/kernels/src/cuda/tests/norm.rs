use super::super::passes::{NormGradients, NormMemory, norm_backward, norm_forward};
use super::*;
use crate::BatchNorm;

/// Images of 3 x 5 and channels (of one alone the kernels for CPUs know no channels beside each other): channels beside each other in vectors of eight and sixteen and left over,
/// blocks of 16 rows and of more, whole and not, few and many.
const SHAPES: [[i64; 2]; 7] = [
    [1, 3],
    [2, 300],
    [9, 8],
    [30, 21],
    [31, 64],
    [90, 70],
    [200, 2],
];

struct Case {
    input: Tensor,
    added: Option<Tensor>,
    scale: Tensor,
    shift: Tensor,
    relu: bool,
    slope: Tensor,
}

/// `[n, 3, 5, channels]`, as all activations here.
fn case([images, channels]: [i64; 2], kind: Kind, [adds, relu]: [bool; 2]) -> Case {
    let random = || randn(&[images, 3, 5, channels]);
    Case {
        input: (random() * 2.0 + 3.0).to_kind(kind),
        added: adds.then(|| random().to_kind(kind)),
        scale: randn(&[channels]),
        shift: randn(&[channels]),
        relu,
        slope: random().to_kind(kind),
    }
}

/// Results in the order of both sides' lists.
type Named = Vec<(&'static str, Tensor)>;

fn norm<'a>(case: &'a Case, running: &'a [Tensor; 2], trains: bool) -> BatchNorm<'a> {
    BatchNorm {
        scale: &case.scale,
        shift: &case.shift,
        running: [&running[0], &running[1]],
        trains,
        epsilon: 1e-5,
        momentum: 0.1,
    }
}

fn running(channels: i64) -> [Tensor; 2] {
    let numbers = Tensor::linspace(-0.5, 0.5, channels, kind::FLOAT_CPU);
    [copy(&numbers), numbers + 1.0]
}

/// By the kernels for GPUs.
fn ours(case: &Case, trains: bool) -> Named {
    let shape = case.input.size();
    let channels = shape[3];
    let running = running(channels);
    let memory = NormMemory::new(case.input.numel() as i64 / channels, channels, Device::Cpu);
    let memory = memory.unwrap();
    let out = case.input.zeros_like();
    let norm = norm(case, &running, trains);
    let added = case.added.as_ref();
    norm_forward(&OnCpu, &norm, &case.input, added, case.relu, &memory, &out).unwrap();
    let mut found = vec![("out", copy(&out))];
    if trains {
        let [of_input, of_added] = [(); 2].map(|()| case.input.zeros_like());
        let [of_scale, of_shift] = [(); 2].map(|()| case.scale.zeros_like());
        let through = case.relu && added.is_some();
        let gradients = NormGradients {
            input: &of_input,
            added: through.then_some(&of_added),
            scale: &of_scale,
            shift: &of_shift,
        };
        let made = case.relu.then_some(&out);
        norm_backward(
            &OnCpu,
            &case.scale,
            &case.slope,
            &case.input,
            made,
            &memory,
            gradients,
        )
        .unwrap();
        found.push(("input's gradient", of_input));
        found.push(("scale's gradient", of_scale));
        found.push(("shift's gradient", of_shift));
        if through {
            found.push(("added's gradient", of_added));
        }
    }
    let [mean, variance] = running;
    found.extend([("running mean", mean), ("running variance", variance)]);
    found
}

/// By the kernels for CPUs.
fn theirs(case: &Case, trains: bool) -> Named {
    let running = running(case.scale.size()[0]);
    let leaf = |tensor: &Tensor| copy(tensor).set_requires_grad(trains);
    let (input, scale, shift) = (leaf(&case.input), leaf(&case.scale), leaf(&case.shift));
    let added = case.added.as_ref().map(leaf);
    let middle = |tensor: &Tensor| tensor.permute([0, 3, 1, 2]);
    let norm = BatchNorm {
        scale: &scale,
        shift: &shift,
        ..norm(case, &running, trains)
    };
    let more = added.as_ref().map(middle);
    let out = norm
        .apply(&middle(&input), 1, more.as_ref(), case.relu)
        .unwrap();
    let mut found = vec![("out", out.permute([0, 2, 3, 1]).detach())];
    if trains {
        let mut leaves = vec![&input, &scale, &shift];
        leaves.extend(added.as_ref().filter(|_| case.relu));
        let gradients: Vec<_> = leaves.iter().map(|it| it.zeros_like()).collect();
        let leaves: Vec<_> = leaves.iter().map(|it| it.shallow_clone()).collect();
        crate::shim::backward(&out, &middle(&case.slope), &leaves, &gradients, false).unwrap();
        let names = [
            "input's gradient",
            "scale's gradient",
            "shift's gradient",
            "added's gradient",
        ];
        found.extend(names.into_iter().zip(gradients));
    }
    let [mean, variance] = running;
    found.extend([("running mean", mean), ("running variance", variance)]);
    found
}

/// Whether the kernels for this processor round a product and a sum at once.
fn rounds_once() -> bool {
    #[cfg(target_arch = "x86_64")]
    let found =
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let found = false;
    found
}

#[test]
fn norms_have_the_bits_of_those_for_processors_with_avx2() {
    let plain = std::env::var("REWIND_KERNELS").is_ok_and(|named| named == "plain");
    if plain || !rounds_once() {
        say_skipped("this processor's kernels for the CPU round products by themselves");
        return;
    }
    for kind in [Kind::Float, Kind::BFloat16] {
        for (shape, trains) in SHAPES.iter().flat_map(|s| [true, false].map(|t| (s, t))) {
            for how in [[false, false], [false, true], [true, false], [true, true]] {
                let case = case(*shape, kind, how);
                let what = format!("{kind:?} {shape:?} {trains} {how:?}");
                let (ours, theirs) = (ours(&case, trains), theirs(&case, trains));
                assert_eq!(ours.len(), theirs.len(), "{what}");
                for ((name, ours), (other, theirs)) in ours.iter().zip(&theirs) {
                    assert_eq!(name, other);
                    assert_bits(ours, theirs, &format!("{what}: {name}"));
                }
            }
        }
    }
}
