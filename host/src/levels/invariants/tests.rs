use super::*;

const NAMES: [&str; 2] = ["fc1.weight", "fc2.weight"];

fn two(first: &[f32], second: &[f32]) -> Vec<Tensor> {
    [first, second]
        .map(|values| Tensor::from_slice(values).view([1, -1]))
        .into()
}

#[test]
fn a_mask_with_another_value_is_named_with_its_place() {
    let masks = two(&[1.0, 0.0], &[0.0, 0.5, 1.0]);
    let error = binary("level-02/mask.safetensors", &NAMES, &masks).unwrap_err();
    assert_eq!(
        error.to_string(),
        "level-02/mask.safetensors: the mask of `fc2.weight` is 0.5 at index 1, expected 0 or 1"
    );
    let bytes = [Tensor::from_slice(&[0u8, 1, 2])];
    assert!(binary("mask", &["fc"], &bytes).is_err());
    assert!(binary("mask", &["fc"], &[Tensor::from_slice(&[0u8, 1])]).is_ok());
}

#[test]
fn counts_other_than_the_target_are_named_by_layer() {
    let masks = two(&[1.0, 0.0], &[0.0, 1.0, 1.0]);
    assert!(counted("mask", &NAMES, &masks, (3, 3)).is_ok());
    assert!(counted("mask", &NAMES, &masks, (2, 4)).is_ok());
    let error = counted("mask", &NAMES, &masks, (4, 4)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mask: the masks keep 3 weights, expected exactly 4 (fc1.weight 1, fc2.weight 2)"
    );
}

#[test]
fn a_weight_that_came_back_is_named() {
    let before = two(&[1.0, 0.0], &[1.0, 1.0, 0.0]);
    assert!(nested("mask", &NAMES, &two(&[1.0, 0.0], &[0.0, 1.0, 0.0]), &before).is_ok());
    let masks = two(&[0.0, 0.0], &[1.0, 0.0, 1.0]);
    let error = nested("mask", &NAMES, &masks, &before).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mask: the mask of `fc2.weight` keeps 1 weights that were pruned before, the first at index 2; \
         expected only weights that were kept"
    );
}

#[test]
fn a_pruned_weight_must_have_the_bits_of_plus_zero() {
    let masks = two(&[1.0, 0.0], &[1.0, 0.0, 0.0]);
    let good = two(&[-3.0, 0.0], &[0.5, 0.0, 0.0]);
    assert!(dead("end", "weight", &NAMES, &good, &masks).is_ok());
    for bad in [-0.0, 1e-45, f32::NAN] {
        let weights = two(&[-3.0, 0.0], &[0.5, 0.0, bad]);
        let error = dead("end", "weight", &NAMES, &weights, &masks).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("end: weight of `fc2.weight` is ")
                && error.to_string().contains("at index 2"),
            "{error}"
        );
    }
}

#[test]
fn what_is_not_finite_or_does_not_fit_is_named() {
    let stored = |values: &[f32]| vec![("bn.bias".to_owned(), Tensor::from_slice(values))];
    assert!(finite("end", &stored(&[1.0, -2.0])).is_ok());
    let error = finite("end", &stored(&[1.0, f32::INFINITY])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "end: `bn.bias` is inf at index 1, expected finite numbers"
    );
    let error = tensors_of("end", &["bias"], &[vec![3]], "bn.", &stored(&[1.0])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "end: `bn.bias` has shape [1], expected [3]"
    );
    let error = tensors_of("end", &["w"], &[vec![3]], "", &stored(&[1.0])).unwrap_err();
    assert_eq!(error.to_string(), "end: `w` is missing");
}
