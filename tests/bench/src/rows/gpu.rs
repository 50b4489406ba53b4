//! Images a second in training on a GPU.

use kernels::shim::set_deterministic;
use tch::Tensor;

use super::{GPU, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Measured, Sample, Side, in_turn};
use crate::ours::{Data, Stepping, Work, random_masks};
use crate::place::Place;
use crate::results::Unit;

/// What is trained on: images of channels, height and width.
#[derive(Clone, Copy)]
enum On {
    Fashion,
    Mnist1d,
    Images(i64, [i64; 3]),
}

#[derive(Clone, Copy)]
struct Spec {
    name: &'static str,
    what: &'static str,
    model: &'static str,
    on: On,
    batch: u64,
    precision: &'static str,
    seeds: u64,
}

const RESNET20: Spec = Spec {
    name: "gpu-resnet20-bf16",
    what: "ResNet-20, 3x32x32, batches of 128, bf16",
    model: "resnet-20",
    on: On::Images(12_800, [3, 32, 32]),
    batch: 128,
    precision: "bf16",
    seeds: 1,
};

const SPECS: [Spec; 8] = [
    RESNET20,
    Spec {
        name: "gpu-resnet20-tf32",
        what: "ResNet-20, 3x32x32, batches of 128, tf32",
        precision: "tf32",
        ..RESNET20
    },
    Spec {
        name: "gpu-resnet20-512-bf16",
        what: "ResNet-20, 3x32x32, batches of 512, bf16",
        batch: 512,
        ..RESNET20
    },
    Spec {
        name: "gpu-resnet20-512-tf32",
        what: "ResNet-20, 3x32x32, batches of 512, tf32",
        batch: 512,
        precision: "tf32",
        ..RESNET20
    },
    Spec {
        name: "gpu-resnet18-512-bf16",
        what: "ResNet-18 for small images, 3x32x32, batches of 512, bf16",
        model: "resnet-18",
        batch: 512,
        ..RESNET20
    },
    Spec {
        name: "gpu-resnet50-bf16",
        what: "ResNet-50, 3x224x224, batches of 128, bf16",
        model: "resnet-50",
        on: On::Images(1024, [3, 224, 224]),
        ..RESNET20
    },
    Spec {
        name: "gpu-lenet",
        what: "LeNet-300-100, 60,000 images of Fashion-MNIST, batches of 128, fp32",
        model: "lenet-300-100",
        on: On::Fashion,
        precision: "fp32",
        ..RESNET20
    },
    Spec {
        name: "gpu-mlp-bn-6-seeds",
        what: "MLP 128-128 with batch norm, MNIST-1D, batches of 128, fp32: 6 seeds side by side; PyTorch trains one",
        model: "mlp",
        on: On::Mnist1d,
        precision: "fp32",
        seeds: 6,
        ..RESNET20
    },
];

/// Beside PyTorch, and what deterministic algorithms cost.
pub(super) fn rows(place: Place) -> Vec<Row> {
    let row = |spec: Spec| {
        let spec = if place == Place::Dry {
            spec.tiny()
        } else {
            spec
        };
        let measure = move |bench: &mut Bench, row: &str| spec.measure(bench, row);
        Row::new(spec.name, GPU, spec.what, Unit::Images, measure)
    };
    let mut rows: Vec<Row> = SPECS.into_iter().map(row).collect();
    let spec = match place {
        Place::Dry => RESNET20.tiny(),
        _ => RESNET20,
    };
    rows.push(Row::new(
        "gpu-determinism",
        GPU,
        "ResNet-20 as above, with deterministic algorithms beside whatever libtorch chooses",
        Unit::Images,
        move |bench, _| spec.determinism(bench),
    ));
    rows
}

impl Spec {
    /// So small that a step takes a moment on a CPU.
    fn tiny(self) -> Self {
        let side = if self.model == "resnet-50" { 32 } else { 8 };
        let on = match self.on {
            On::Fashion => On::Images(8, [1, 28, 28]),
            On::Images(..) => On::Images(8, [3, side, side]),
            On::Mnist1d => On::Mnist1d,
        };
        Self {
            on,
            batch: 4,
            ..self
        }
    }

    fn work(&self, bench: &mut Bench) -> Result<Work, BenchError> {
        let data = match self.on {
            On::Fashion => Data::Fashion(bench.fashion()?.0),
            On::Mnist1d => Data::Mnist1d,
            On::Images(samples, shape) => Data::Random(samples, shape),
        };
        let mut work = Work::new(self.model, data);
        (work.batch, work.precision) = (self.batch, self.precision);
        work.place = bench.settings.place;
        Ok(work)
    }

    /// The sides of PyTorch: convolutions gain by channels_last.
    fn peers(&self) -> Vec<String> {
        let kinds: &[&str] = match self.on {
            On::Images(_, [3, ..]) => &[
                "eager",
                "eager-cl",
                "graph-cl",
                "compile-cl",
                "compile-graph-cl",
            ],
            _ => &["eager", "graph", "compile", "compile-graph"],
        };
        let name = |kind: &&str| match self.precision {
            "fp32" => (*kind).to_owned(),
            precision => format!("{kind} {precision}"),
        };
        kinds.iter().map(name).collect()
    }

    fn measure(&self, bench: &mut Bench, row: &str) -> Result<Measured, BenchError> {
        // As under `host run`.
        set_deterministic(true).map_err(BenchError::ours)?;
        let work = self.work(bench)?;
        let plain = work.trainer()?;
        let recorded = work.recorded()?;
        let masks = masks(&work, &plain)?;
        let mut sides: Vec<Box<dyn Side>> = Vec::new();
        if let Some(recorded) = &recorded {
            let side = Stepping::of_seeds("host, graphs", recorded, &masks, self.seeds)?;
            sides.push(Box::new(side));
        }
        let side = Stepping::of_seeds("host", &plain, &masks, self.seeds)?;
        sides.push(Box::new(side));
        let mut notes = Vec::new();
        if recorded.is_none() {
            notes.push("host, graphs: left out: CUDA graphs are for GPUs".to_owned());
        }
        let peers = self.peers();
        let names: Vec<&str> = peers.iter().map(String::as_str).collect();
        let period = plain.steps_per_epoch();
        let task = work.for_peer(&plain);
        notes.extend(bench.add_peers(&mut sides, row, "training", &names, &task, period));
        let mut measured = in_turn(sides, &bench.settings)?;
        notes.append(&mut measured.notes);
        measured.notes = notes;
        Ok(measured)
    }

    /// Recorded where there are graphs.
    fn determinism(&self, bench: &mut Bench) -> Result<Measured, BenchError> {
        let work = self.work(bench)?;
        let trainer = || match work.recorded()? {
            Some(recorded) => Ok(recorded),
            None => work.trainer(),
        };
        let trainers = [trainer()?, trainer()?];
        let masks = masks(&work, &trainers[0])?;
        let names = [("host", true), ("not deterministic", false)];
        let sides = trainers.iter().zip(names).map(|(trainer, (name, on))| {
            let stepping = Stepping::new(name, trainer, &masks)?;
            Ok(Box::new(Chosen { stepping, on }) as Box<dyn Side>)
        });
        let sides = sides.collect::<Result<_, BenchError>>()?;
        let measured = in_turn(sides, &bench.settings);
        set_deterministic(true).map_err(BenchError::ours)?;
        measured
    }
}

/// Masks where the network lies.
fn masks(work: &Work, trainer: &host::trainer::Trainer) -> Result<Vec<Tensor>, BenchError> {
    let masks = random_masks(trainer.layers(), work.density)?;
    Ok(masks
        .iter()
        .map(|it| it.to_device(trainer.device()))
        .collect())
}

/// A side for whose turn libtorch is told whether to choose deterministic algorithms.
struct Chosen<'t> {
    stepping: Stepping<'t>,
    on: bool,
}

impl Side for Chosen<'_> {
    fn name(&self) -> &str {
        self.stepping.name()
    }

    fn measure(&mut self, steps: u64) -> Result<Sample, BenchError> {
        set_deterministic(self.on).map_err(BenchError::ours)?;
        self.stepping.measure(steps)
    }

    fn period(&self) -> u64 {
        self.stepping.period()
    }
}
