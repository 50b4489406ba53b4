//! `validation`, an option of every dataset: training samples that are held out, by which is chosen what to state
//! of the test samples.

use super::held_out::{Amount, hold_out as split};
use super::{DataError, Dataset, Definition};
use crate::registry::{Entry, Options};
use crate::samples::Task;
use plugin_api::schemars::{Schema, json_schema};
use serde_json::Value;

/// The option's name.
pub(super) const KEY: &str = "validation";

/// The schema of a dataset's options, with what every dataset takes.
pub fn schema(entry: &Entry<Definition>) -> Schema {
    let mut schema = (entry.schema)();
    if has_own(&schema) {
        return schema;
    }
    let option = json_schema!({
        "description": "Training samples that are held out, the same for every seed and of each class its share: \
                        a share of them between 0 and 1, or their number. By default none.",
        "type": ["number", "null"],
        "exclusiveMinimum": 0.0,
        "default": null,
    });
    let properties = schema
        .ensure_object()
        .entry("properties")
        .or_insert_with(|| Value::Object(Default::default()));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(KEY.to_owned(), option.to_value());
    }
    schema
}

/// Whether a dataset holds its samples out by itself.
fn has_own(schema: &Schema) -> bool {
    let properties = schema.as_value().get("properties");
    properties.is_some_and(|it| it.get(KEY).is_some())
}

/// The dataset's own options, and how many training samples are to be held out.
pub(super) fn take(
    entry: &Entry<Definition>,
    options: &Options,
) -> Result<(Options, Option<Amount>), DataError> {
    let mut own = options.clone();
    let Some(value) = options.get(KEY).filter(|_| !has_own(&(entry.schema)())) else {
        return Ok((own, None));
    };
    own.remove(KEY);
    let amount = match value {
        Value::Null => return Ok((own, None)),
        value => Amount::new(KEY, value.as_f64().unwrap_or(f64::NAN))?,
    };
    Ok((own, Some(amount)))
}

/// How many of so many training samples are held out, before their classes are known.
pub(super) fn count(amount: Amount, train: i64) -> Result<i64, DataError> {
    let held_out = amount.of(train as usize) as i64;
    match (1..train).contains(&held_out) {
        true => Ok(held_out),
        false => Err(DataError::unfit(
            KEY,
            format!(
                "{held_out} of {train} training samples are to be held out: expected 1 to {}",
                train - 1
            ),
        )),
    }
}

/// Takes the samples out of the training samples.
pub(super) fn hold_out(mut data: Dataset, amount: Amount) -> Result<Dataset, DataError> {
    let labels = &data.train.labels;
    let samples = data.train.len() as usize;
    let classes = match data.task {
        Task::Classes if data.target_shape.is_empty() => {
            let mut classes = vec![0i64; samples];
            labels
                .to_device(tch::Device::Cpu)
                .copy_data(&mut classes, samples);
            Some(classes)
        }
        _ => None,
    };
    let sides = split(KEY, amount, samples, classes.as_deref(), &|class| {
        format!("class {class}")
    })?;
    data.validation = Some(data.train.select(&sides.held_out));
    data.train = data.train.select(&sides.kept);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DATASETS, DataContext, declared, load};
    use serde_json::json;
    use tch::Device;

    fn mnist1d(options: Value) -> Result<Dataset, DataError> {
        let context = DataContext {
            data_dir: "no-such-folder".into(),
            device: Device::Cpu,
        };
        load("mnist1d", options.as_object().unwrap(), &context)
    }

    #[test]
    fn every_dataset_takes_it() {
        for entry in DATASETS {
            let schema = schema(entry).to_value();
            let option = &schema["properties"][KEY];
            assert_eq!(option["default"], Value::Null, "{}", entry.name);
            assert!(option["description"].is_string(), "{}", entry.name);
        }
    }

    #[test]
    fn held_out_samples_are_no_longer_among_the_training_samples() {
        let whole = mnist1d(json!({})).unwrap();
        assert!(whole.validation.is_none());
        let data = mnist1d(json!({"validation": 0.1})).unwrap();
        let validation = data.validation.unwrap();
        assert_eq!((data.train.len(), validation.len()), (3600, 400));
        assert_eq!(data.test.len(), whole.test.len());
        assert_eq!(data.checksum, whole.checksum);
        // Each row of the whole is on one side, in the whole's order.
        let rows = |split: &crate::data::Split| {
            let inputs = split.inputs.tensor().unwrap();
            let flat = Vec::<f32>::try_from(inputs.flatten(0, -1)).unwrap();
            let labels = Vec::<i64>::try_from(&split.labels).unwrap();
            let bits = |row: &[f32]| row.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
            let rows = flat.chunks_exact(40).map(bits).zip(labels);
            rows.collect::<Vec<_>>()
        };
        let (all, kept, out) = (rows(&whole.train), rows(&data.train), rows(&validation));
        let (mut kept, mut out) = (kept.into_iter().peekable(), out.into_iter().peekable());
        for row in all {
            let next = if kept.peek() == Some(&row) {
                &mut kept
            } else {
                &mut out
            };
            assert_eq!(next.next(), Some(row));
        }
        let counts = validation.labels.bincount::<tch::Tensor>(None, 10);
        let counts = Vec::<i64>::try_from(counts).unwrap();
        let all = Vec::<i64>::try_from(whole.train.labels.bincount::<tch::Tensor>(None, 10));
        for (count, all) in counts.into_iter().zip(all.unwrap()) {
            assert!(
                (count as f64 - all as f64 * 0.1).abs() < 1.0,
                "{count} of {all}"
            );
        }
        assert_eq!(
            mnist1d(json!({"validation": 300})).unwrap().train.len(),
            3700
        );
    }

    #[test]
    fn a_stand_in_has_as_many() {
        let declared = declared("mnist1d", json!({"validation": 0.1}).as_object().unwrap());
        let declared = declared.unwrap();
        assert_eq!((declared.train, declared.validation), (3600, 400));
        assert_eq!(
            declared.stand_in(Device::Cpu).validation.unwrap().len(),
            400
        );
    }

    #[test]
    fn what_would_leave_nothing_is_refused() {
        for number in [json!(4000), json!(1.5), json!(1e9)] {
            let error = mnist1d(json!({ "validation": number })).unwrap_err();
            assert_eq!(error.key(), Some("data.validation".to_owned()), "{error}");
        }
    }
}
