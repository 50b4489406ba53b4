//! Tests that one pass does what all that acts does one after the other.

use kernels::elements_mut;
use kernels::elementwise::{Binary, Operation, Program};
use plugin_api::{Acts, Around, StepNumber, UpdateForm};
use serde_json::{Value, json};
use tch::Tensor;

use super::super::exactness::{State, assert_same_bits, state};
use super::super::testing::{dropout_trainer, start};
use crate::update::{Failed, Fused, GRADIENTS, Given, Known, Made, Updates, WEIGHTS};

/// Where an update's only state is among its arrays.
const STATE: usize = 2;

/// Updates that are formulas; told as such, or asked at each step.
struct Formulas {
    programs: Vec<(Known, Fused)>,
    asked: bool,
}

impl Updates for Formulas {
    fn act(&mut self, _: usize, update: usize, given: Given) -> Result<Made, Failed> {
        let (known, fused) = &self.programs[update];
        let numbers: Option<Vec<f32>> = (fused.numbers.iter())
            .map(|number| given.numbers.get(*number))
            .collect();
        let numbers = numbers.ok_or(Failed)?;
        let main = match known.form.acts {
            Acts::Before => GRADIENTS,
            _ => WEIGHTS,
        };
        let (mut tensors, mut states) = (Vec::new(), vec![Vec::new()]);
        for (layer, weight) in given.weights.iter().enumerate() {
            let state = &given.states[0].1[layer];
            let arrays = [weight, &given.gradients[layer], state];
            let mut arrays = arrays.map(Tensor::copy);
            let mut views: Vec<&mut [f32]> = arrays.iter_mut().filter_map(elements_mut).collect();
            fused.program.run(&mut views, None, &numbers);
            tensors.push(arrays[main].shallow_clone());
            states[0].push(arrays[STATE].shallow_clone());
        }
        let layers = given.weights.len();
        Ok(Made {
            tensors,
            states,
            fused: (!self.asked).then(|| vec![fused.clone(); layers]),
        })
    }
}

/// An update that gives `array + number * other` and adds what it gave to half of its state.
fn formula(
    name: &str,
    acts: Acts,
    array: usize,
    other: usize,
    number: Operation,
) -> (Known, Fused) {
    let operations = vec![
        Operation::Array(array),
        Operation::Array(other),
        number,
        Operation::Binary(Binary::Mul, 1, 2),
        Operation::Binary(Binary::Add, 0, 3),
        Operation::Array(STATE),
        Operation::Constant(0.5),
        Operation::Binary(Binary::Mul, 5, 6),
        Operation::Binary(Binary::Add, 7, 4),
    ];
    let program = Program::new(operations, vec![(4, array), (8, STATE)]).unwrap();
    let form = UpdateForm {
        acts,
        pure: true,
        states: vec!["sum".to_owned()],
        around: Around::default(),
    };
    let known = Known {
        component: format!("formulas/{name}"),
        form,
    };
    let numbers = match number {
        Operation::Scalar(_) => vec![StepNumber::Lr],
        _ => Vec::new(),
    };
    (known, Fused { program, numbers })
}

fn before() -> (Known, Fused) {
    let number = Operation::Constant(0.01);
    formula("before", Acts::Before, GRADIENTS, WEIGHTS, number)
}

fn after() -> (Known, Fused) {
    let number = Operation::Constant(-0.02);
    formula("after", Acts::After, WEIGHTS, STATE, number)
}

fn instead() -> (Known, Fused) {
    let number = Operation::Scalar(0);
    formula("instead", Acts::Instead, WEIGHTS, GRADIENTS, number)
}

/// So many lanes after three epochs.
fn trained(optimizer: &Value, formulas: &[(Known, Fused)], seeds: u64, asked: bool) -> Vec<State> {
    let keys = json!({"epochs": 3, "optimizer": optimizer, "clip_norm": 0.7});
    let known: Vec<Known> = formulas.iter().map(|(known, _)| known.clone()).collect();
    let trainer = dropout_trainer("mlp", 0.0, keys).updated_by(&known);
    let most = trainer.layers().iter().map(|layer| layer.len()).max();
    assert!(most.unwrap() as usize > super::PIECE, "{most:?}");
    let lanes = (0..seeds).map(|seed| start(&trainer, seed)).collect();
    let mut session = trainer.session(lanes).unwrap();
    let mut updates = Formulas {
        programs: formulas.to_vec(),
        asked,
    };
    let mut passes = 0;
    while !session.is_complete() {
        passes += u64::from(session.moves_in_one_pass());
        session.step_with(&mut updates).unwrap();
        if session.is_epoch_complete() {
            session.finish_epoch().unwrap();
        }
    }
    // All but an epoch's first step, and the level's second.
    let steps = trainer.steps_per_level();
    let expected = if asked { 0 } else { steps - 3 - 1 };
    assert_eq!(passes, expected);
    (0..seeds as usize)
        .map(|lane| state(&session, lane))
        .collect()
}

#[test]
fn one_pass_has_the_bits_of_one_act_after_the_other() {
    let sgd = json!({"name": "sgd", "lr": 0.1, "momentum": 0.0});
    let nesterov =
        json!({"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": true});
    let adamw = json!({"name": "adamw", "lr": 1e-2, "weight_decay": 0.1});
    let together = [
        vec![after()],
        vec![before(), after()],
        vec![after(), instead(), before()],
    ];
    for optimizer in [sgd, nesterov, adamw] {
        for formulas in &together {
            for seeds in [1, 2] {
                let one = trained(&optimizer, formulas, seeds, false);
                let other = trained(&optimizer, formulas, seeds, true);
                for (one, other) in one.iter().zip(&other) {
                    assert_same_bits(one, other);
                }
            }
        }
    }
}
