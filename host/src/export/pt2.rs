//! An imported network's archive with a level's weights.

use ::pt2::{Archive, Part};

use super::safetensors::values;
use super::{ExportError, Source};
use crate::store;

/// The bytes of the run's archive in which parameters and running statistics are the level's. All else is as it was
/// exported, counters of batches too.
///
/// # Errors
/// If the network was not imported, its output layer was made another size, or the run's copy of the archive
/// cannot be read.
pub fn pt2(source: &Source) -> Result<Vec<u8>, ExportError> {
    let Some(path) = &source.archive else {
        let model = source.model.metadata.get("model").cloned();
        return Err(ExportError::NotImported(model.unwrap_or_default()));
    };
    let archive = Archive::from_bytes(path, store::read(path)?).map_err(Box::new)?;
    let tensors = &source.model.tensors;
    for parameter in archive.parameters() {
        let expected: Vec<i64> = parameter.shape.iter().map(|&size| size as i64).collect();
        if let Some(own) = tensors.get(&parameter.name)
            && own.size() != expected
        {
            return Err(ExportError::Resized {
                name: parameter.name.clone(),
                got: own.size(),
                expected,
            });
        }
    }
    let mut copy = Vec::new();
    let bytes = |name: &str| {
        let numbers = values(tensors.get(name)?);
        Some(numbers.iter().flat_map(|it| it.to_le_bytes()).collect())
    };
    (archive.write_with(Part::Whole, &mut copy, bytes)).map_err(Box::new)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use serde_json::json;
    use tch::{Kind, Tensor};

    use super::*;
    use crate::data::declared;
    use crate::export::Model;
    use crate::model::{InputSpec, MODELS, Mode, Network, network};
    use crate::registry::{Options, find};

    fn file() -> PathBuf {
        let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        format!("{top}/experiments/networks/mlp.pt2").into()
    }

    fn of_file(file: PathBuf, classes: i64) -> Box<dyn Network> {
        let options = json!({"file": file, "replace_head": classes != 10});
        let spec = InputSpec {
            shape: vec![40],
            classes,
            ..InputSpec::default()
        };
        let entry = find(MODELS, "pt2").unwrap();
        network(entry, options.as_object().unwrap(), &spec).unwrap()
    }

    /// A level of the shipped perceptron with other weights.
    fn source(classes: i64) -> Source {
        let network = of_file(file(), classes);
        let options = (Kind::Float, tch::Device::Cpu);
        let parameters = network.parameters().iter();
        let parameters = parameters.map(|it| (it.name.clone(), it.shape.clone()));
        let buffers = network.buffers().iter();
        let buffers = buffers.map(|it| (it.name.clone(), vec![it.features]));
        let tensors: BTreeMap<String, Tensor> = parameters
            .chain(buffers)
            .map(|(name, shape)| (name, Tensor::rand(&shape[..], options) + 0.1))
            .collect();
        Source {
            seed: 0,
            level: 0,
            model: Model {
                graph: network.graph(),
                tensors,
                held: BTreeMap::new(),
                prunable: Vec::new(),
                input_shape: vec![40],
                outputs: classes,
                metadata: BTreeMap::from([("model".to_owned(), "pt2".to_owned())]),
            },
            network,
            data: declared("mnist1d", &Options::new()).unwrap(),
            weights: 0,
            survivors: 0,
            archive: Some(file()),
        }
    }

    /// What a network computes with tensors by their names.
    fn logits(network: &dyn Network, tensors: &BTreeMap<String, Tensor>, input: &Tensor) -> Tensor {
        let of = |name: &String| tensors[name].shallow_clone();
        let parameters: Vec<Tensor> = network.parameters().iter().map(|it| of(&it.name)).collect();
        let buffers: Vec<Tensor> = network.buffers().iter().map(|it| of(&it.name)).collect();
        network.forward(&parameters, &buffers, input, Mode::Eval)
    }

    #[test]
    fn an_archive_that_is_given_back_computes_the_levels_logits() {
        let source = source(10);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("level.pt2");
        std::fs::write(&path, pt2(&source).unwrap()).unwrap();
        let back = of_file(path, 10);
        let mut own: BTreeMap<String, Tensor> = BTreeMap::new();
        for parameter in back.parameters() {
            let crate::model::Init::Values(values) = &parameter.init else {
                panic!("{}", parameter.name)
            };
            let tensor = Tensor::from_slice(values).view(&parameter.shape[..]);
            own.insert(parameter.name.clone(), tensor);
        }
        for buffer in back.buffers() {
            let values = buffer.values.as_ref().unwrap();
            own.insert(buffer.name.clone(), Tensor::from_slice(values));
        }
        assert_eq!(own, source.model.tensors);
        let input = Tensor::rand([3, 40], (Kind::Float, tch::Device::Cpu));
        let [got, expected] = [&own, &source.model.tensors].map(|it| logits(&*back, it, &input));
        assert!(got.equal(&expected));
        let before = logits(&*source.network, &source.model.tensors, &input);
        assert!(got.equal(&before));
    }

    #[test]
    fn what_has_no_archive_of_its_size_is_refused() {
        let resized = pt2(&source(7)).unwrap_err().to_string();
        assert!(
            resized.contains("`6.bias` has shape [7]")
                || resized.contains("`6.weight` has shape [7, 100]"),
            "{resized}"
        );
        let mut own = source(10);
        own.archive = None;
        let refused = pt2(&own).unwrap_err().to_string();
        assert!(refused.contains("is the program's own"), "{refused}");
    }
}
