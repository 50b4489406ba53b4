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
