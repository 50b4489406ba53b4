//! An update on trial: the checker keeps its states as a session does.

use conformance::Fault;
use kernels::{elements, elements_mut};
use plugin_api::{Acts, UpdateForm};
use tch::{Device, Kind, Tensor};

use super::scene::Laid;
use crate::strategy::{PlacedUpdate, Scene, StrategyError};
use crate::update::{Fused, GRADIENTS, Given, Made, Numbers, WEIGHTS};

/// An update with its states.
pub struct Stepping {
    pub update: PlacedUpdate,
    form: UpdateForm,
    states: Vec<Vec<Tensor>>,
    /// Steps since the states were cleared.
    age: u64,
    /// What it did at the last step, and at which level, if it is pure.
    last: Option<(u64, Vec<Fused>)>,
}

impl Stepping {
    /// This update before its first step.
    ///
    /// # Errors
    /// If it fails.
    pub fn new(update: PlacedUpdate) -> Result<Self, StrategyError> {
        Ok(Self {
            form: update.form()?,
            update,
            states: Vec::new(),
            age: 0,
            last: None,
        })
    }

    /// A step with these gradients; the weights after it, and the states.
    ///
    /// # Errors
    /// What it did wrong.
    pub fn step(
        &mut self,
        scene: &Laid,
        fault: impl Fn(StrategyError) -> Fault,
    ) -> Result<Vec<Tensor>, Fault> {
        let weights = scene.weights();
        let masks = scene.masks();
        let fits = |states: &Vec<Tensor>| {
            let mut pairs = states.iter().zip(&weights);
            states.len() == weights.len() && pairs.all(|(a, b)| a.numel() == b.numel())
        };
        let zeros = || weights.iter().map(Tensor::zeros_like).collect();
        if self.states.len() != self.form.states.len() || !self.states.iter().all(fits) {
            self.states = self.form.states.iter().map(|_| zeros()).collect();
            self.age = 0;
        }
        // As a session does with what a mask prunes.
        for states in &mut self.states {
            for (state, mask) in states.iter_mut().zip(&masks) {
                let shaped = state.to_device(mask.device()).view_as(mask);
                *state = shaped.masked_fill(&mask.eq(0.0), 0.0);
            }
        }
        self.age += 1;
        let given = self.given(scene);
        if !self.form.around.is_none() {
            let known = &self.form;
            self.update.replace(scene, known, &given).map_err(&fault)?;
            (self.update.give_back(scene, known, &given)).map_err(&fault)?;
        }
        let made = self.update.act(scene, &self.form, &given).map_err(&fault)?;
        if scene.device() == Device::Cpu {
            self.check_replay(scene.facts().level, &given, &made)?;
        }
        let level = scene.facts().level;
        self.last = made.fused.map(|fused| (level, fused));
        self.states = made.states;
        Ok(match self.form.acts {
            Acts::Before => weights,
            _ => made.tensors,
        })
    }

    fn given(&self, scene: &Laid) -> Given {
        let facts = scene.facts();
        let copies = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        let states = self.states.iter().map(|it| copies(it));
        let (norms, norm_gradients) = match self.form.around.norms {
            true => (scene.norms(), scene.norm_gradients()),
            false => (Vec::new(), Vec::new()),
        };
        Given {
            weights: scene.weights(),
            gradients: scene.drawn("gradients"),
            masks: scene.masks(),
            states: self.form.states.iter().cloned().zip(states).collect(),
            norms,
            norm_gradients,
            numbers: Numbers {
                lr: 0.05,
                step: facts.step + 1,
                steps: facts.steps_per_level,
                age: self.age,
            },
        }
    }

    /// What a pure update does is the same at each step of a level, and has the same bits when it is replayed.
    fn check_replay(&self, level: u64, given: &Given, made: &Made) -> Result<(), Fault> {
        let Some(fused) = &made.fused else {
            return Ok(());
        };
        let broke = |reason: &str| {
            let form = "says that it is pure and ";
            Err(Fault::Broke(format!("{form}{reason}")))
        };
        if self
            .last
            .as_ref()
            .is_some_and(|(at, last)| *at == level && last.len() == fused.len() && last != fused)
        {
            return broke("does other operations at one step than at the one before");
        }
        for (layer, fused) in fused.iter().enumerate() {
            let copy = |tensor: &Tensor| tensor.contiguous().copy();
            let mut pieces = vec![copy(&given.weights[layer]), copy(&given.gradients[layer])];
            pieces.extend(given.states.iter().map(|(_, states)| copy(&states[layer])));
            let mask = copy(&given.masks[layer]);
            let arrays: Option<Vec<&mut [f32]>> = pieces.iter_mut().map(elements_mut).collect();
            let numbers = fused.numbers.iter().map(|it| given.numbers.get(*it));
            let (Some(mut arrays), Some(numbers)) = (arrays, numbers.collect::<Option<Vec<_>>>())
            else {
                return Ok(());
            };
            fused.program.run(&mut arrays, elements(&mask), &numbers);
            let main = match self.form.acts {
                Acts::Before => GRADIENTS,
                _ => WEIGHTS,
            };
            let states = pieces[GRADIENTS + 1..].iter();
            let expected = std::iter::once(&made.tensors[layer]);
            let expected = expected.chain(made.states.iter().map(|it| &it[layer]));
            let kept = given.masks[layer].ne(0.0);
            for (got, expected) in std::iter::once(&pieces[main]).chain(states).zip(expected) {
                let bits = |tensor: &Tensor| {
                    let kept = tensor.masked_select(&kept);
                    kept.nan_to_num(0.0, 0.0, 0.0).view_dtype(Kind::Int)
                };
                // -0 and +0 are one number here: libtorch and the replay may choose differently.
                if bits(got).ne_tensor(&bits(expected)).any().int64_value(&[]) != 0 {
                    return broke("gives other bits when its operations are replayed");
                }
            }
        }
        Ok(())
    }

    /// The states and their age, as bytes.
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = self.age.to_le_bytes().to_vec();
        let layers = self.states.first().map_or(0, Vec::len);
        bytes.extend((layers as u64).to_le_bytes());
        for state in self.states.iter().flatten() {
            let numbers = Vec::<f32>::try_from(&state.flatten(0, -1)).unwrap_or_default();
            bytes.extend((numbers.len() as u64).to_le_bytes());
            bytes.extend(numbers.iter().flat_map(|it| it.to_le_bytes()));
        }
        bytes
    }

    /// The states of another instance.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let torn = || Fault::Refused("not the states of this update".to_owned());
        let (age, rest) = bytes.split_first_chunk::<8>().ok_or_else(torn)?;
        let (layers, mut rest) = rest.split_first_chunk::<8>().ok_or_else(torn)?;
        let layers = u64::from_le_bytes(*layers) as usize;
        let mut flat = Vec::new();
        while let Some((len, more)) = rest.split_first_chunk::<8>() {
            let bytes = (u64::from_le_bytes(*len) as usize).checked_mul(4);
            let (own, more) = bytes
                .and_then(|len| more.split_at_checked(len))
                .ok_or_else(torn)?;
            let (numbers, _) = own.as_chunks::<4>();
            let numbers: Vec<f32> = numbers.iter().map(|it| f32::from_le_bytes(*it)).collect();
            flat.push(Tensor::from_slice(&numbers));
            rest = more;
        }
        let expected = layers.checked_mul(self.form.states.len());
        if !rest.is_empty() || expected != Some(flat.len()) {
            return Err(torn());
        }
        self.age = u64::from_le_bytes(*age);
        self.states.clear();
        while !flat.is_empty() {
            let later = flat.split_off(layers);
            self.states.push(std::mem::replace(&mut flat, later));
        }
        Ok(())
    }
}
