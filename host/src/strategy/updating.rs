//! An update: called at a step, checked, and where it is pure written down.

use plugin_api::abi::TensorBox;
use plugin_api::{Layer, UpdateForm};
use tch::{Device, Kind, Tensor};

use super::component::{PlacedUpdate, host};
use super::{Scene, Services, StrategyError, Violation, check, tensor};
use crate::update::{ARRAYS, Fused, GRADIENTS, Given, Made, Replaced, WEIGHTS};

/// What is called of an update.
#[derive(Clone, Copy)]
enum Hook {
    Update,
    Replace,
    GiveBack,
}

impl PlacedUpdate {
    /// `plugin/component`.
    pub fn component(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// If it fails, or says what no update can be.
    pub fn form(&self) -> Result<UpdateForm, StrategyError> {
        let answer = {
            let _call = self.at_work();
            self.object.form()
        };
        let form: UpdateForm = self.parse(&self.unwrap(answer)?)?;
        let mut names = form.states.clone();
        names.sort();
        let says = |reason: String| Err(self.error(Violation::Failed(reason)));
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return says(format!("it names the state `{}` twice", pair[0]));
        }
        let is_plain = |name: &String| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
        };
        match names.iter().find(|name| !is_plain(name)) {
            Some(name) => says(format!(
                "it names a state `{name}`, expected letters, digits, `-` and `_`"
            )),
            None => Ok(form),
        }
    }

    /// What it makes of a step.
    ///
    /// # Errors
    /// What it did wrong.
    pub fn act(
        &mut self,
        scene: &dyn Scene,
        form: &UpdateForm,
        given: &Given,
    ) -> Result<Made, StrategyError> {
        self.owner.record();
        let handles = self.call(scene, given, Hook::Update);
        let tape = self.owner.recorded();
        let handles = handles?;
        if let (true, Some(what)) = (form.pure, tape.impure()) {
            return Err(self.error(Violation::Impure(what)));
        }
        let layers = scene.facts().layers;
        let device = scene.device();
        let lists = 1 + form.states.len();
        if handles.len() != layers.len() * lists {
            return Err(self.error(Violation::Count {
                what: "weight and state",
                got: handles.len(),
                expected: layers.len() * lists,
            }));
        }
        let acts_before = form.acts == plugin_api::Acts::Before;
        let mut all = Vec::new();
        for (list, own) in handles.chunks(layers.len().max(1)).enumerate() {
            let what = match (list, acts_before) {
                (0, true) => "gradient",
                (0, false) => "weight",
                _ => "state",
            };
            // What a gradient is where a weight is pruned is nobody's concern.
            let free = list == 0 && acts_before;
            let tensors = self.received(what, own, (&layers, device), given, free)?;
            all.push(tensors);
        }
        let mut all = all.into_iter();
        let made = Made {
            tensors: all.next().unwrap_or_default(),
            states: all.collect(),
            fused: None,
        };
        if !form.pure || device != Device::Cpu {
            return Ok(made);
        }
        let first = if acts_before { GRADIENTS } else { WEIGHTS };
        let fused = (0..layers.len()).map(|layer| {
            let outputs = (0..lists).map(|list| {
                let node = tensor::place_of(&handles[list * layers.len() + layer]);
                let array = if list == 0 { first } else { ARRAYS + list - 1 };
                Some((node?, array))
            });
            let outputs: Option<Vec<_>> = outputs.collect();
            tape.fused(
                layer,
                &outputs.ok_or("a tensor that is no part of the step")?,
            )
        });
        let fused: Result<Vec<Fused>, &str> = fused.collect();
        if let Err(what) = &fused {
            log::debug!("{} is called at each step: it takes {what}", self.name);
        }
        Ok(Made {
            fused: fused.ok(),
            ..made
        })
    }

    /// The parameters for the pass of a step.
    ///
    /// # Errors
    /// What it did wrong.
    pub fn replace(
        &mut self,
        scene: &dyn Scene,
        form: &UpdateForm,
        given: &Given,
    ) -> Result<Replaced, StrategyError> {
        let handles = self.call(scene, given, Hook::Replace)?;
        self.replaced("replaced parameter", &handles, scene, form, given, false)
    }

    /// The gradients of the parameters, of those at what took their place.
    ///
    /// # Errors
    /// What it did wrong.
    pub fn give_back(
        &mut self,
        scene: &dyn Scene,
        form: &UpdateForm,
        given: &Given,
    ) -> Result<Replaced, StrategyError> {
        let handles = self.call(scene, given, Hook::GiveBack)?;
        self.replaced("gradient", &handles, scene, form, given, true)
    }

    fn call(
        &mut self,
        scene: &dyn Scene,
        given: &Given,
        hook: Hook,
    ) -> Result<Vec<TensorBox>, StrategyError> {
        let mut services = Services {
            scene,
            scores: None,
            step: Some(given),
            stream: self.stream(scene),
            component: &self.name,
            owner: &self.owner,
        };
        let result = {
            let _call = self.at_work_in(scene);
            match hook {
                Hook::Update => self.object.update(host(&mut services)),
                Hook::Replace => self.object.replace(host(&mut services)),
                Hook::GiveBack => self.object.give_back(host(&mut services)),
            }
        };
        self.settle(scene)?;
        Ok(self.unwrap(result)?.into())
    }

    /// A list of tensors, one for each layer: finite where what it was given is, and 0 where a weight is pruned
    /// unless that is `free`.
    fn received(
        &self,
        what: &'static str,
        handles: &[TensorBox],
        (layers, device): (&[Layer], Device),
        given: &Given,
        free: bool,
    ) -> Result<Vec<Tensor>, StrategyError> {
        let tensors = check::receive(what, handles, layers, device, &self.owner)
            .map_err(|violation| self.error(violation))?;
        // A loss that is no finite number any more ends the seed elsewhere.
        let sane = given.weights.iter().chain(&given.gradients);
        let is_sane = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) != 0;
        if let Err(violation) = check::finite(what, &tensors, layers)
            && sane.into_iter().all(is_sane)
        {
            return Err(self.error(violation));
        }
        if free {
            return Ok(tensors);
        }
        for ((tensor, mask), layer) in tensors.iter().zip(&given.masks).zip(layers) {
            let alive = tensor.ne(0.0).logical_and(&mask.eq(0.0)).flatten(0, -1);
            if alive.any().int64_value(&[]) == 0 {
                continue;
            }
            let index = alive.to_kind(Kind::Int64).argmax(0, false).int64_value(&[]);
            return Err(self.error(Violation::Alive {
                what,
                layer: layer.name.clone(),
                index,
                value: tensor.flatten(0, -1).double_value(&[index]),
            }));
        }
        Ok(tensors)
    }

    fn replaced(
        &self,
        what: &'static str,
        handles: &[TensorBox],
        scene: &dyn Scene,
        form: &UpdateForm,
        given: &Given,
        free: bool,
    ) -> Result<Replaced, StrategyError> {
        let layers = scene.facts().layers;
        let device = scene.device();
        let norms: Vec<Layer> = (given.norms.iter())
            .map(|(name, tensor)| {
                Layer::new(name.clone(), plugin_api::LayerKind::Other, tensor.size())
            })
            .collect();
        let own = if form.around.weights { layers.len() } else { 0 };
        let of_norms = if form.around.norms { norms.len() } else { 0 };
        if handles.len() != own + of_norms {
            return Err(self.error(Violation::Count {
                what,
                got: handles.len(),
                expected: own + of_norms,
            }));
        }
        let (first, rest) = handles.split_at(own);
        let mut replaced = Replaced::default();
        if own > 0 {
            replaced.weights = self.received(what, first, (&layers, device), given, free)?;
        }
        if of_norms > 0 {
            let tensors = check::receive(what, rest, &norms, device, &self.owner);
            replaced.norms = tensors.map_err(|violation| self.error(violation))?;
        }
        Ok(replaced)
    }
}
