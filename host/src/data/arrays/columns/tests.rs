use super::super::table::tests::table;
use super::*;
use serde_json::json;

fn options(more: serde_json::Value) -> ArraysOptions {
    let mut options = json!({"train": "table.csv"});
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    ArraysOptions::read(options.as_object().unwrap()).unwrap()
}

fn rows(array: &Array) -> Vec<Vec<f64>> {
    let all: Vec<u64> = (0..array.samples() as u64).collect();
    let numbers = array.element.numbers(&array.read(&all).unwrap());
    numbers
        .chunks(array.values())
        .map(<[f64]>::to_vec)
        .collect()
}

const MIXED: &str = "size,color,y,weight\n1,red,0,5\n2,blue,1,NA\n4,red,0,9\n9,green,1,100\n";

#[test]
fn texts_become_a_place_each_and_missing_numbers_the_training_samples_mean() {
    let table = table(MIXED).unwrap();
    let options = options(json!({"categories": "one-hot", "missing": "mean"}));
    let mut features = Features::choose(&table, &[2], &options).unwrap();
    // The last sample is none that is trained on: its weight is in no mean.
    features.fill(&table, &[0, 1, 2]).unwrap();
    let array = features.encode(&table, options.missing, 1 << 20).unwrap();
    assert_eq!(array.shape, [4, 5]);
    let expected = [
        [1.0, 0.0, 0.0, 1.0, 5.0],
        [2.0, 1.0, 0.0, 0.0, 7.0],
        [4.0, 0.0, 0.0, 1.0, 9.0],
        [9.0, 0.0, 1.0, 0.0, 100.0],
    ];
    assert_eq!(rows(&array), expected);
    let refused = features.encode(&table, options.missing, 100).err().unwrap();
    assert!(refused.to_string().contains("160 bytes"), "{refused}");
}

#[test]
fn texts_and_missing_numbers_are_refused_with_their_place_unless_an_option_says_so() {
    let table = table(MIXED).unwrap();
    let message = |more| {
        let refused = Features::choose(&table, &[2], &options(more));
        refused.err().unwrap().to_string()
    };
    let said = message(json!({}));
    assert!(
        said.contains("line 2, column `color`: `red` is no number"),
        "{said}"
    );
    let said = message(json!({"inputs": ["size", "weight"]}));
    assert!(
        said.contains("line 3, column `weight`: a value is missing"),
        "{said}"
    );
    let said = message(json!({"inputs": "colour"}));
    assert!(
        said.contains("no column `colour`") && said.contains("`color`"),
        "{said}"
    );
    let said = message(json!({"inputs": ["y"]}));
    assert!(said.contains("`y` is an input and the target"), "{said}");
    let chosen = Features::choose(&table, &[2], &options(json!({"inputs": "size"})));
    assert_eq!(chosen.unwrap().width(), 1);
}

#[test]
fn another_file_has_to_have_the_columns_and_the_texts() {
    let first = table(MIXED).unwrap();
    let options = options(json!({"categories": "one-hot", "missing": "mean"}));
    let mut features = Features::choose(&first, &[2], &options).unwrap();
    features.fill(&first, &[0, 1, 2, 3]).unwrap();
    let encode = |text: &str| {
        let other = table(text).unwrap();
        features.encode(&other, options.missing, 1 << 20)
    };
    let array = encode("weight,color,size,y\n3,blue,8,0\n").unwrap();
    assert_eq!(rows(&array), [[8.0, 1.0, 0.0, 0.0, 3.0]]);
    let message = |text| encode(text).err().unwrap().to_string();
    let said = message("weight,color,size,y\n3,pink,8,0\n");
    assert!(
        said.contains(
            "line 2, column `color`: `pink` does not occur in the training file, which has `blue`"
        ),
        "{said}"
    );
    let said = message("weight,color,y\n3,red,0\n");
    assert!(said.contains("no column `size`"), "{said}");
    let said = message("weight,color,size,y\n3,red,big,0\n");
    assert!(said.contains("`big` is no number"), "{said}");
}
