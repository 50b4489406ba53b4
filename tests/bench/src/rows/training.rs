//! Images a second in training.

use super::{BF16, Row, TRAINING};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::machine::Machine;
use crate::measure::{Measured, Side, in_turn};
use crate::ours::{Data, Stepping, Work, random_masks};
use crate::results::Unit;

/// Images of the synthetic data sets: whole batches.
const IMAGES: i64 = 12_800;

/// What is trained on.
#[derive(Clone, Copy)]
enum On {
    Fashion,
    Mnist1d,
    Images([i64; 3]),
}

struct Spec {
    name: &'static str,
    what: &'static str,
    model: &'static str,
    on: On,
    is_convolution: bool,
    goals: &'static [(&'static str, f64)],
    bf16_goals: &'static [(&'static str, f64)],
}

const RESNET20: &[(&str, f64)] = &[("eager", 1.4), ("eager-cl", 1.0), ("compile", 1.05)];

const SPECS: [Spec; 7] = [
    Spec {
        name: "lenet",
        what: "LeNet-300-100, 60,000 images of Fashion-MNIST",
        model: "lenet-300-100",
        on: On::Fashion,
        is_convolution: false,
        goals: &[("eager", 1.5), ("loader", 4.0)],
        bf16_goals: &[],
    },
    Spec {
        name: "mlp-bn",
        what: "MLP 128-128 with batch norm, MNIST-1D",
        model: "mlp",
        on: On::Mnist1d,
        is_convolution: false,
        goals: &[],
        bf16_goals: &[],
    },
    Spec {
        name: "cnn1d",
        what: "one-dimensional convolution net, MNIST-1D",
        model: "cnn1d",
        on: On::Mnist1d,
        is_convolution: false,
        goals: &[],
        bf16_goals: &[],
    },
    Spec {
        name: "resnet20-28",
        what: "ResNet-20, 1x28x28",
        model: "resnet-20",
        on: On::Images([1, 28, 28]),
        is_convolution: true,
        goals: RESNET20,
        bf16_goals: &[("eager", 2.0)],
    },
    Spec {
        name: "resnet20-32",
        what: "ResNet-20, 3x32x32",
        model: "resnet-20",
        on: On::Images([3, 32, 32]),
        is_convolution: true,
        goals: RESNET20,
        bf16_goals: &[("eager", 2.0)],
    },
    Spec {
        name: "resnet18",
        what: "ResNet-18 for small images, 3x32x32",
        model: "resnet-18",
        on: On::Images([3, 32, 32]),
        is_convolution: true,
        goals: &[],
        bf16_goals: &[],
    },
    Spec {
        name: "vgg16",
        what: "VGG-16 with batch norm for small images, 3x32x32",
        model: "vgg-16",
        on: On::Images([3, 32, 32]),
        is_convolution: true,
        goals: &[],
        bf16_goals: &[],
    },
];

/// In fp32, then in bf16.
pub(super) fn rows() -> Vec<Row> {
    let fp32 = SPECS.iter().map(|spec| {
        let sides: &[&str] = match spec.is_convolution {
            true => &["eager", "eager-cl", "compile", "loader"],
            false => &["eager", "compile", "loader"],
        };
        let measure = |bench: &mut Bench, row: &str| spec.measure(bench, row, false, sides);
        Row::new(spec.name, TRAINING, spec.what, Unit::Images, measure).goals(spec.goals)
    });
    let bf16 = SPECS.iter().map(|spec| {
        let measure = |bench: &mut Bench, row: &str| {
            let (sides, note) = spec.bf16_sides(bench);
            let mut measured = spec.measure(bench, row, true, sides)?;
            measured.notes.extend(note);
            Ok(measured)
        };
        let name = format!("{}-bf16", spec.name);
        Row::new(name, BF16, spec.what, Unit::Images, measure).goals(spec.bf16_goals)
    });
    fp32.chain(bf16).collect()
}

impl Spec {
    fn work(&self, bench: &mut Bench) -> Result<Work, BenchError> {
        let data = match self.on {
            On::Fashion => Data::Fashion(bench.fashion()?.0),
            On::Mnist1d => Data::Mnist1d,
            On::Images(shape) => Data::Random(IMAGES, shape),
        };
        Ok(Work::new(self.model, data))
    }

    /// Beside what bf16 is measured, and what must be known of it on this machine.
    fn bf16_sides(&self, bench: &Bench) -> (&'static [&'static str], Option<String>) {
        let has = Machine::this(&bench.settings, &bench.about)
            .extensions
            .contains("bf16");
        let text = "the processor has no instructions for bfloat16";
        let note = (!has).then(|| text.to_owned());
        match (self.is_convolution, self.model) {
            (_, "resnet-18" | "vgg-16") if !has => {
                let note = format!("{text}, and without them a step of PyTorch takes minutes");
                (&["eager"], Some(note))
            }
            (true, _) => (&["eager", "eager bf16", "eager-cl bf16"], note),
            (false, _) => (&["eager", "eager bf16"], note),
        }
    }

    fn measure(
        &self,
        bench: &mut Bench,
        row: &str,
        bf16: bool,
        sides: &[&str],
    ) -> Result<Measured, BenchError> {
        let mut work = self.work(bench)?;
        if bf16 {
            work.precision = "bf16";
        }
        let mut measured = beside_peers(bench, row, &work, sides)?;
        if matches!(self.on, On::Fashion) && !bench.fashion()?.1 {
            let text = "stands in for Fashion-MNIST, which is not here: bytes of the same shape";
            measured.notes.push(text.to_owned());
        }
        Ok(measured)
    }
}

/// Trains with the host and with these sides of PyTorch.
pub(super) fn beside_peers(
    bench: &mut Bench,
    row: &str,
    work: &Work,
    names: &[&str],
) -> Result<Measured, BenchError> {
    let trainer = work.trainer()?;
    let masks = random_masks(trainer.layers(), work.density)?;
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(Stepping::new("host", &trainer, &masks)?)];
    let task = work.for_peer(&trainer);
    let period = trainer.steps_per_epoch();
    let mut notes = bench.add_peers(&mut sides, row, "training", names, &task, period);
    let mut measured = in_turn(sides, &bench.settings)?;
    notes.append(&mut measured.notes);
    measured.notes = notes;
    Ok(measured)
}
