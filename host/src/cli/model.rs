//! `host model`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tch::Device;

use super::args::{ModelCommand, ModelShowArgs, Output, trust};
use super::exit::{Exit, Failure};
use super::plan::grouped;
use super::stdout;
use crate::counted::counted;
use crate::experiment::{self, FileKind};
use crate::model::{self, InputSpec, MODELS, Network, Operation, Parameter, Role, spec_of};
use crate::registry::{Options, find};
use crate::report::columns;
use crate::run::{HostCatalog, Read, Setting, stand_in};
use crate::trainer::Trainer;

/// Shows networks.
///
/// # Errors
/// A file that is no network, or an experiment that cannot be carried out.
pub fn model(command: &ModelCommand, output: &Output) -> Result<Exit, Failure> {
    let ModelCommand::Show(args) = command;
    let shown = match args.file.extension().is_some_and(|it| it == "pt2") {
        true => of_archive(&args.file)?,
        false => of_experiment(args)?,
    };
    stdout::line(match output.json {
        true => json!(shown).to_string(),
        false => text(&shown),
    })?;
    Ok(Exit::Success)
}

/// A network, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    /// The model's name in an experiment file.
    model: String,
    /// Shape of one sample.
    input: Vec<i64>,
    /// Number of outputs.
    outputs: i64,
    /// Number of parameters.
    parameters: u64,
    /// Those that are pruned.
    prunable: u64,
    /// Layers with such.
    layers: usize,
    /// Products that are added up for one sample.
    multiply_adds: u64,
    /// Those of them in which no parameter has a part.
    multiply_adds_without_parameters: u64,
    /// The parameters.
    tensors: Vec<TensorShown>,
    /// The running statistics, and what else training changes.
    buffers: Vec<BufferShown>,
    /// Operations that are not understood, with how often each is there.
    not_understood: BTreeMap<String, u64>,
    /// Whether it can be exported as ONNX.
    onnx: bool,
}

/// A parameter.
#[derive(Debug, Serialize)]
struct TensorShown {
    name: String,
    shape: Vec<i64>,
    parameters: u64,
    /// What it is for.
    role: String,
    prunable: bool,
    /// Products of its numbers for one sample.
    multiply_adds: u64,
    /// How it starts.
    start: String,
}

/// A buffer.
#[derive(Debug, Serialize)]
struct BufferShown {
    name: String,
    features: i64,
    start: String,
}

/// The network of an archive, and the samples that it was exported for.
pub(super) fn archived(path: &Path) -> Result<(Box<dyn Network>, InputSpec), Failure> {
    let spec = spec_of(path).map_err(Failure::bad_input)?;
    let name = "pt2";
    let entry = find(MODELS, name)
        .ok_or_else(|| Failure::bad_input(format!("this program has no model `{name}`")))?;
    let options = Options::from_iter([("file".to_owned(), json!(path))]);
    let network = model::network(entry, &options, &spec).map_err(Failure::bad_input)?;
    Ok((network, spec))
}

fn of_archive(path: &Path) -> Result<Shown, Failure> {
    let (network, spec) = archived(path)?;
    let prunable = |it: &Parameter| matches!(it.role, Role::Weight(_));
    let parameters: Vec<(&Parameter, bool)> = (network.parameters().iter())
        .map(|it| (it, prunable(it)))
        .collect();
    Ok(shown(
        "pt2",
        &*network,
        &parameters,
        network.buffers(),
        (&spec.shape, spec.classes),
    ))
}

/// An experiment's network as it is trained, without its data.
pub(super) struct Experimental {
    /// Its name in the file.
    pub name: String,
    /// What trains it.
    pub trainer: Trainer,
    /// Shape of a sample.
    pub input: Vec<i64>,
    /// Number of outputs that the data ask for.
    pub classes: i64,
}

/// Reads the experiment of which the network is meant.
///
/// # Errors
/// If the file is none, or wrong.
pub(super) fn experimental(args: &ModelShowArgs) -> Result<Experimental, Failure> {
    if experiment::kind_of(&args.file) != FileKind::Experiment {
        return Err(Failure::bad_input(format!(
            "{} is a sweep or a simulation, expected one experiment, or an archive (.pt2): name the file that it is \
             based on",
            args.file.display()
        )));
    }
    let setting = Setting {
        overrides: args.set.clone(),
        trust: trust(args.allow_plugins),
        data_dir: args.data.data_dir.clone(),
        ..Setting::default()
    };
    let catalog = HostCatalog::new(&setting);
    let loaded = experiment::load(&args.file, &setting.overrides, &catalog)?;
    let read = Read::new(loaded, &catalog)?;
    let data = stand_in(&read, &setting)?;
    let (input, classes) = (data.input_shape.clone(), data.classes);
    Ok(Experimental {
        trainer: read.trainer(data, Device::Cpu)?,
        name: read.loaded.experiment.model.name,
        input,
        classes,
    })
}

fn of_experiment(args: &ModelShowArgs) -> Result<Shown, Failure> {
    let Experimental {
        name,
        trainer,
        input,
        classes,
    } = experimental(args)?;
    let layers = trainer.layers();
    let parameters: Vec<(&Parameter, bool)> = (trainer.layout().parameters())
        .map(|it| (it, layers.iter().any(|layer| layer.name == it.name)))
        .collect();
    let buffers = trainer.layout().buffers();
    Ok(shown(
        &name,
        trainer.network(),
        &parameters,
        buffers,
        (&input, classes),
    ))
}

/// A network whose parameters and buffers start as these say; with each parameter, whether it is pruned.
fn shown(
    name: &str,
    network: &dyn Network,
    parameters: &[(&Parameter, bool)],
    buffers: &[model::Buffer],
    (input, outputs): (&[i64], i64),
) -> Shown {
    let products = network.multiply_adds(input);
    let of = |name: Option<&str>| -> u64 {
        let own = products.iter().filter(|(held, _)| held.as_deref() == name);
        own.map(|(_, count)| count).sum()
    };
    let count = |it: &Parameter| it.shape.iter().product::<i64>() as u64;
    let tensors = parameters.iter().map(|&(it, prunable)| TensorShown {
        name: it.name.clone(),
        shape: it.shape.clone(),
        parameters: count(it),
        role: role(it.role),
        prunable,
        multiply_adds: of(Some(&it.name)),
        start: it.init.to_string(),
    });
    let buffers = buffers.iter().map(|it| BufferShown {
        name: it.name.clone(),
        features: it.features,
        start: match it.values {
            Some(_) => "as in the file".to_owned(),
            None => it.initial.to_string(),
        },
    });
    let graph = network.graph();
    let mut not_understood: BTreeMap<String, u64> = BTreeMap::new();
    for (_, operation) in graph.operations() {
        if let Operation::Opaque { name, .. } = operation {
            *not_understood.entry(name.clone()).or_default() += 1;
        }
    }
    let pruned = || parameters.iter().filter(|(_, prunable)| *prunable);
    Shown {
        model: name.to_owned(),
        input: input.to_vec(),
        outputs,
        parameters: parameters.iter().map(|(it, _)| count(it)).sum(),
        prunable: pruned().map(|(it, _)| count(it)).sum(),
        layers: pruned().count(),
        multiply_adds: products.iter().map(|(_, count)| count).sum(),
        multiply_adds_without_parameters: of(None),
        tensors: tensors.collect(),
        buffers: buffers.collect(),
        onnx: not_understood.is_empty(),
        not_understood,
    }
}

fn role(role: Role) -> String {
    match role {
        Role::Weight(kind) => json!(kind).as_str().unwrap_or_default().to_owned(),
        Role::FixedWeight => "other".to_owned(),
        Role::Bias => "bias".to_owned(),
        Role::NormWeight => "norm's scale".to_owned(),
        Role::NormBias => "norm's shift".to_owned(),
    }
}

fn text(shown: &Shown) -> String {
    let sizes = |shape: &[i64]| {
        let sizes: Vec<String> = shape.iter().map(i64::to_string).collect();
        sizes.join("x")
    };
    let mut facts = vec![
        ("model", shown.model.clone()),
        (
            "takes",
            format!(
                "{}, gives {}",
                sizes(&shown.input),
                counted(shown.outputs, "number")
            ),
        ),
        (
            "weights",
            format!(
                "{}, {} of them prunable in {}",
                counted(grouped(shown.parameters), "parameter"),
                grouped(shown.prunable),
                counted(shown.layers, "layer")
            ),
        ),
        ("products", products(shown)),
        ("ONNX", onnx(shown).to_owned()),
    ];
    if !shown.not_understood.is_empty() {
        let names = shown.not_understood.iter();
        let names: Vec<String> = names
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        facts.push((
            "unknown",
            format!(
                "{}: before the last of them every surviving weight counts as effective, and no unit as dead",
                names.join(", ")
            ),
        ));
    }
    let line = |(name, what): &(&str, String)| format!("{name:<9} {what}");
    let facts = facts.iter().map(line).collect::<Vec<_>>().join("\n");
    let header = [
        "tensor", "shape", "numbers", "what", "pruned", "products", "starts",
    ];
    let tensors = shown.tensors.iter().map(|it| {
        let products = match it.multiply_adds {
            0 => String::new(),
            count => grouped(count),
        };
        vec![
            it.name.clone(),
            sizes(&it.shape),
            grouped(it.parameters),
            it.role.clone(),
            if it.prunable { "yes" } else { "" }.to_owned(),
            products,
            it.start.clone(),
        ]
    });
    let buffers = shown.buffers.iter().map(|it| {
        let mut row = vec![String::new(); header.len()];
        row[0] = it.name.clone();
        row[1] = it.features.to_string();
        row[2] = grouped(it.features as u64);
        row[3] = "buffer".to_owned();
        row[6] = it.start.clone();
        row
    });
    let table = columns(
        header.map(str::to_owned).into(),
        tensors.chain(buffers),
        &[2, 5],
    );
    format!("{facts}\n\n{table}")
}

fn products(shown: &Shown) -> String {
    let all = format!("{} are added up for a sample", grouped(shown.multiply_adds));
    match shown.multiply_adds_without_parameters {
        0 => all,
        count => format!("{all}, {} of them of activations alone", grouped(count)),
    }
}

fn onnx(shown: &Shown) -> &'static str {
    match shown.onnx {
        true => "can be exported",
        false => "cannot be exported here, but by PyTorch from what `export --format pt2` writes",
    }
}
