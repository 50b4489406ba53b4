use super::*;
use plugin_api::LayerKind;

#[test]
fn a_record_that_went_through_a_file_is_the_same_to_the_last_bit() {
    let record = Epoch {
        level: 3,
        epoch: 1,
        step: 64,
        lr: 0.09935993039376595,
        train_loss: 0.11397171193888259,
        train_accuracy: 0.97675,
        test_loss: Some(0.19993785175786039),
        test_accuracy: None,
        validation_loss: Some(0.25),
        validation_accuracy: None,
    };
    let line = lines(std::slice::from_ref(&record)).unwrap();
    assert_eq!(serde_json::from_slice::<Epoch>(&line).unwrap(), record);
}

#[test]
fn a_loss_that_is_not_finite_can_be_read_back() {
    let text = r#"{"seed":0,"level":0,"weights":1,"survivors":1,"density":1.0,"train_loss":0.5,
        "test_loss":null,"test_correct":0,"test_samples":1,"test_accuracy":0.0,"flips_init":0.0,
        "flips_start":0.0,"flips_previous":null}"#;
    let summary: Summary = serde_json::from_str(text).unwrap();
    assert!(summary.test_loss.is_nan());
    // It is from before effective weights were counted, too.
    assert_eq!(summary.effective_survivors, None);
    // Nobody asked for metrics: there is no word of them.
    assert_eq!(summary.test_nll, None);
    assert!(!serde_json::to_string(&summary).unwrap().contains("nll"));
    let text = text.replace(
        "\"flips_init\"",
        "\"test_r2\":null,\"test_nll\":0.25,\"flips_init\"",
    );
    let summary: Summary = serde_json::from_str(&text).unwrap();
    assert!(summary.test_r2.unwrap().is_nan());
    assert_eq!(summary.test_nll, Some(0.25));
    let written = serde_json::to_string(&summary).unwrap();
    assert!(
        written.ends_with("\"test_nll\":0.25,\"test_r2\":null}"),
        "{written}"
    );
}

#[test]
fn a_record_without_validation_has_no_word_of_it() {
    let mut summary = Summary::of_layers(0, 0, 1, &[]);
    let text = |summary: &Summary| serde_json::to_string(summary).unwrap();
    assert!(!text(&summary).contains("validation"));
    summary.validation_loss = Some(f64::NAN);
    let read: Summary = serde_json::from_str(&text(&summary)).unwrap();
    assert!(read.validation_loss.is_some_and(f64::is_nan));
    let csv = summary_csv(&[summary]).unwrap();
    assert!(
        String::from_utf8(csv)
            .unwrap()
            .contains(",validation_loss,")
    );
}

#[test]
fn flips_count_survivors_whose_sign_differs() {
    let layers = [Layer::new("fc.weight", LayerKind::Linear, [1, 4])];
    let tensor = |values: &[f32]| vec![Tensor::from_slice(values).view([1, 4])];
    let records = compare(
        2,
        &layers,
        &Compared {
            end: &tensor(&[3.0, -4.0, 0.0, 1.0]),
            masks: &tensor(&[1.0, 1.0, 0.0, 1.0]),
            effective: &[2],
            init: &tensor(&[-1.0, -1.0, -1.0, 1.0]),
            start: &tensor(&[-1.0, 1.0, 0.0, -1.0]),
            previous: Some(&tensor(&[1.0, -1.0, 5.0, 1.0])),
        },
    );
    assert_eq!(
        records,
        [LayerRecord {
            level: 2,
            layer: "fc.weight".into(),
            size: 4,
            survivors: 3,
            density: 0.75,
            effective: Some(2),
            flips_init: 1,
            flips_start: 3,
            flips_previous: Some(0),
            norm: 26f64.sqrt(),
        }]
    );
}
