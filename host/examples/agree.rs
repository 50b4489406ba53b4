//! How far an imported network lies from what PyTorch computes of it: a line of JSON.
//!
//! ```sh
//! cargo run --release -p host --example agree -- net.pt2 golden.safetensors
//! ```
//!
//! The second file holds `input`, `logits.eval`, `logits.train` (without dropout), `grad.NAME` of the mean of
//! the squares of the latter and `after.NAME`, the running statistics then; `experiments/networks/make.py` and
//! `tests/models/zoo.py` write such files. Each figure is the largest difference as a share of the largest value of the
//! same tensor, of gradients and statistics the worst tensor's.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::path::Path;

use host::model::{InputSpec, Keys, MODELS, Mode, Network, layers};
use host::registry::{Options, find};
use host::rng::{Moment, Purpose, Stream};
use host::store::read_tensors;
use kernels_native as _;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

type Golden = BTreeMap<String, Tensor>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [archive, golden] = &arguments[..] else {
        return Err("expected an archive and a file of PyTorch's values".into());
    };
    let golden: Golden = read_tensors(Path::new(golden))?.into_iter().collect();
    let spec = InputSpec {
        shape: golden["input"].size()[1..].to_vec(),
        classes: golden["logits.eval"].size()[1],
        ..InputSpec::default()
    };
    let options: Options = serde_json::from_value(json!({ "file": archive }))?;
    let entry = find(MODELS, "pt2").ok_or("the host has no model `pt2`")?;
    let network = (entry.build)(&options, &spec)?;
    let prunable: i64 = (layers(&*network).iter())
        .map(|layer| layer.shape.iter().product::<i64>())
        .sum();
    let parameters = network.parameters().iter();
    let parameters: i64 = parameters.map(|it| it.shape.iter().product::<i64>()).sum();
    let found = json!({
        "parameters": parameters,
        "prunable": prunable,
        "double": distances(&*network, &golden, Kind::Double),
        "single": distances(&*network, &golden, Kind::Float),
    });
    println!("{found}");
    Ok(())
}

/// The distances in this precision.
fn distances(network: &dyn Network, golden: &Golden, kind: Kind) -> Value {
    let mut stream = Stream::new(0, Purpose::Init("file"), Moment::default());
    let parameters = network.parameters().iter().map(|it| {
        let count = it.shape.iter().product::<i64>() as usize;
        let values = Tensor::from_slice(&it.init.draw(count, &mut stream));
        let tensor = values.view(&it.shape[..]).to_kind(kind);
        match network.channels_last() && tensor.dim() == 4 {
            true => {
                let last = tensor.permute([0, 2, 3, 1]).contiguous();
                last.permute([0, 3, 1, 2])
            }
            false => tensor,
        }
        .set_requires_grad(true)
    });
    let parameters: Vec<Tensor> = parameters.collect();
    let buffers = network.buffers().iter().map(|it| match &it.values {
        Some(values) => Tensor::from_slice(values).to_kind(kind),
        None => Tensor::full(
            [it.features],
            f64::from(it.initial),
            (kind, tch::Device::Cpu),
        ),
    });
    let buffers: Vec<Tensor> = buffers.collect();
    let input = golden["input"].to_kind(kind);
    let eval = tch::no_grad(|| network.forward(&parameters, &buffers, &input, Mode::Eval));
    let train = network.forward(&parameters, &buffers, &input, Mode::Train(Keys::NONE));
    let loss = train.square().mean(kind);
    let slopes = Tensor::run_backward(&[loss], &parameters, false, false);
    let named = |prefix: &str, name: &str| golden.get(&format!("{prefix}.{name}"));
    // Biases before a batch norm have gradients of rounding alone.
    let most = golden.iter().filter(|(name, _)| name.starts_with("grad."));
    let floor = 1e-6 * most.map(|(_, it)| largest(it)).fold(0.0, f64::max);
    let gradient = (network.parameters().iter().zip(&slopes))
        .filter_map(|(it, slope)| Some(distance(slope, named("grad", &it.name)?, floor)));
    let statistics = (network.buffers().iter().zip(&buffers))
        .filter_map(|(it, buffer)| Some(distance(buffer, named("after", &it.name)?, 1e-12)));
    json!({
        "eval": distance(&eval, &golden["logits.eval"], 1e-12),
        "train": distance(&train, &golden["logits.train"], 1e-12),
        "gradient": gradient.fold(0.0, f64::max),
        "statistics": statistics.fold(0.0, f64::max),
    })
}

fn distance(got: &Tensor, expected: &Tensor, floor: f64) -> f64 {
    let expected = expected.to_kind(Kind::Double);
    largest(&(got.to_kind(Kind::Double) - &expected)) / largest(&expected).max(floor)
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().to_kind(Kind::Double).double_value(&[])
}
