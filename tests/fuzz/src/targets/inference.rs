//! Models for the runtime, and the arrays that it is fed with.

use rewind_infer::{Array, Model, Options};

use super::Target;

/// Models that are loaded, and run if they are small; arrays of NumPy's are told apart by their first bytes.
pub const INFERENCE: Target = Target {
    name: "inference",
    read: inference,
    dictionary: &[
        "\u{93}NUMPY\x01\0",
        "'fortran_order': True",
        "'shape': (",
        "\\\"op\\\":\\\"input\\\"",
        "{\\\"op\\\":\\\"relu\\\",\\\"from\\\":0},",
        "{\\\"op\\\":\\\"gelu\\\",\\\"from\\\":1},",
        "{\\\"op\\\":\\\"flatten\\\",\\\"from\\\":1},",
        "{\\\"op\\\":\\\"sum\\\",\\\"from\\\":[1,0]},",
        "{\\\"op\\\":\\\"tokens\\\",\\\"from\\\":1},",
        "{\\\"op\\\":\\\"add-channel\\\",\\\"from\\\":0},",
        "{\\\"op\\\":\\\"max-pool\\\",\\\"kernel\\\":2,\\\"stride\\\":2,\\\"padding\\\":0,\\\"from\\\":0},",
        "\\\"input_shape\\\":[",
        "\\\"version\\\":",
        "\"dtype\":\"F32\"",
        "\"shape\":[",
        "\"data_offsets\":[",
        "\"__metadata__\"",
    ],
    mutations: 1000,
    // A pass that takes more is not run, and what is measured for one takes several times the weights.
    memory: 64,
};

/// Bytes of a pass that is run.
const MOST_BYTES: u64 = 4 << 20;
/// Multiply-adds of a pass that is run.
const MOST_WORK: u64 = 10_000_000;

fn inference(bytes: &[u8]) {
    if let [0x93, ..] = bytes {
        if let Ok(array) = Array::parse(bytes) {
            let again = Array::parse(&array.bytes()).map(|it| it.bytes());
            assert_eq!(again.ok(), Some(array.bytes()));
        }
        return;
    }
    let Ok(model) = Model::of_bytes(bytes, &Options::default()) else {
        return;
    };
    if model.multiplications()[0] > MOST_WORK {
        return;
    }
    for batch in [1, 3] {
        if model.bytes_of_a_pass(batch) > MOST_BYTES {
            continue;
        }
        let numbers = batch * model.input_shape().iter().product::<usize>();
        let input: Vec<f32> = (0..numbers).map(|at| (at % 7) as f32 - 3.0).collect();
        let output = model.run(&input, batch);
        let expected = batch * model.output_shape().iter().product::<usize>();
        assert_eq!(output.map(|it| it.len()).ok(), Some(expected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_begin_at_models_that_run_and_what_is_bad_is_refused() {
        let inputs = crate::corpus::inputs("inference").expect("the corpus is there");
        let mut read = 0;
        for (name, bytes) in &inputs {
            let result = match bytes.first() {
                Some(0x93) => Array::parse(bytes).map(|_| ()),
                _ => Model::of_bytes(bytes, &Options::default()).map(|_| ()),
            };
            match result {
                Ok(()) => read += 1,
                Err(error) => assert!(name.starts_with("bad-"), "{name}: {error}"),
            }
        }
        assert!(read >= 6, "{read}");
    }
}
