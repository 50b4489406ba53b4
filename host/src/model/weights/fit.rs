//! Which tensors of a state_dict are which of a network's, and what does not fit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::Replaced;
use super::file::{StateDict, Stored};
use crate::model::{Held, Network};

/// First values by the places of a network's parameters and buffers; none of what starts as without the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Of parameters, row-major.
    pub parameters: Vec<Option<Arc<[f32]>>>,
    /// Of buffers.
    pub buffers: Vec<Option<Arc<[f32]>>>,
}

/// What of a state_dict does not fit a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfit {
    /// Names of the network that the file lacks.
    pub missing: Vec<String>,
    /// Names of the file that are not the network's.
    pub extra: Vec<String>,
    /// Tensors of another shape, with both.
    pub misshapen: Vec<String>,
    /// What else cannot be taken, each with its reason.
    pub unfit: Vec<String>,
    /// What is wrong with the file, whatever it is for.
    pub wrong: Vec<String>,
    /// What to do.
    pub advice: String,
}

impl Misfit {
    fn is_empty(&self) -> bool {
        let lists = [&self.missing, &self.extra, &self.misshapen, &self.unfit];
        lists.iter().all(|it| it.is_empty()) && self.wrong.is_empty()
    }

    /// The lists that are not empty, each in a line.
    fn lines(&self) -> Vec<String> {
        let lists = [
            ("it lacks", quoted(&self.missing)),
            ("not the network's are", quoted(&self.extra)),
            ("of another shape are", self.misshapen.join(", ")),
            ("not to be taken are", self.unfit.join(", ")),
            ("wrong are", self.wrong.join(", ")),
        ];
        let full = lists.into_iter().filter(|(_, list)| !list.is_empty());
        full.map(|(what, list)| format!("{what} {list}")).collect()
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("; "))?;
        match self.advice.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.advice),
        }
    }
}

/// `` `a`, `b` ``.
fn quoted<S: fmt::Display>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// A tensor that the network has.
struct Own<'a> {
    name: &'a str,
    shape: Vec<i64>,
    /// Whether it starts as without the file.
    replaced: bool,
}

/// The state_dict's values by the network's places, and what is to be told of them.
///
/// # Errors
/// All that does not fit. Where it need not be `strict`, only what cannot be right, or that nothing fits.
pub fn fit(
    network: &dyn Network,
    dict: StateDict,
    replaced: &Replaced,
    strict: bool,
) -> Result<(Given, Vec<String>), Misfit> {
    let held = network.held();
    let parameters = network.parameters().iter().zip(&replaced.parameters);
    let parameters: Vec<Own<'_>> = parameters
        .map(|(it, &replaced)| Own {
            name: &it.name,
            shape: it.shape.clone(),
            replaced,
        })
        .collect();
    let buffers = network.buffers().iter().zip(&replaced.buffers);
    let buffers: Vec<Own<'_>> = buffers
        .map(|(it, &replaced)| Own {
            name: &it.name,
            shape: vec![it.features],
            replaced,
        })
        .collect();
    let known: BTreeSet<&str> = (parameters.iter().chain(&buffers).map(|it| it.name))
        .chain(held.iter().map(|(name, _)| name.as_str()))
        .collect();
    let dict = dict.unwrapped(|name| known.contains(name));
    let mut fitting = Fitting::new(&dict, &held);
    let given = Given {
        parameters: parameters.iter().map(|it| fitting.take(it)).collect(),
        buffers: buffers.iter().map(|it| fitting.take(it)).collect(),
    };
    fitting.look_at_the_rest(&held);
    let taken = fitting.taken;
    let mut misfit = fitting.misfit;
    let wanted = parameters.iter().chain(&buffers).filter(|it| !it.replaced);
    if taken == 0 && wanted.count() > 0 {
        misfit.advice = "nothing of it is this network's: name the file of this network".to_owned();
        return Err(misfit);
    }
    if !misfit.wrong.is_empty() || (strict && !misfit.is_empty()) {
        misfit.advice = advice(network, &misfit);
        return Err(misfit);
    }
    let mut notes = Vec::new();
    if !fitting.redrawn.is_empty() {
        notes.push(format!("drawn anew are {}", quoted(&fitting.redrawn)));
    }
    for (dtype, count) in fitting.converted {
        notes.push(format!("{count} of its tensors are {dtype}, taken as F32"));
    }
    if !dict.prefix.is_empty() {
        notes.push(format!("`{}` is taken off its names", dict.prefix));
    }
    if !misfit.is_empty() {
        let lines = misfit.lines().join("; ");
        notes.push(format!(
            "{lines}: what is left of the network starts as without the file"
        ));
    }
    Ok((given, notes))
}

fn advice(network: &dyn Network, misfit: &Misfit) -> String {
    let head: Vec<&str> = (network.head().iter())
        .map(|&at| network.parameters()[at].name.as_str())
        .collect();
    let is_of_head = |text: &String| {
        let name = text.trim_start_matches('`').split('`').next();
        name.is_some_and(|name| head.contains(&name))
    };
    let only_shapes = misfit.missing.is_empty()
        && misfit.extra.is_empty()
        && misfit.unfit.is_empty()
        && misfit.wrong.is_empty();
    if !misfit.wrong.is_empty() {
        "mend the file".to_owned()
    } else if only_shapes && misfit.misshapen.iter().all(is_of_head) {
        "model.replace_head = true draws the output layer anew for this dataset's classes"
            .to_owned()
    } else {
        "name the file of this network; model.weights_strict = false takes what fits".to_owned()
    }
}

/// A state_dict of which tensors are taken.
struct Fitting<'a> {
    dict: &'a StateDict,
    /// Further names of a tensor.
    twins: HashMap<&'a str, Vec<&'a str>>,
    used: BTreeSet<&'a str>,
    taken: usize,
    converted: BTreeMap<&'a str, usize>,
    redrawn: Vec<&'a str>,
    misfit: Misfit,
}

impl<'a> Fitting<'a> {
    fn new(dict: &'a StateDict, held: &'a [(String, Held)]) -> Self {
        let mut twins: HashMap<&str, Vec<&str>> = HashMap::new();
        for (name, held) in held {
            if let Held::Tied(first) = held {
                twins.entry(first).or_default().push(name);
            }
        }
        Self {
            dict,
            twins,
            used: BTreeSet::new(),
            taken: 0,
            converted: BTreeMap::new(),
            redrawn: Vec::new(),
            misfit: Misfit::default(),
        }
    }

    /// The values of one of the network's tensors.
    fn take(&mut self, own: &Own<'a>) -> Option<Arc<[f32]>> {
        let dict = self.dict;
        let twins = self.twins.get(own.name).map_or(&[][..], Vec::as_slice);
        let names = [own.name].into_iter().chain(twins.iter().copied());
        let found: Vec<(&'a str, &'a Stored)> = names
            .filter_map(|name| {
                let (name, stored) = dict.tensors.get_key_value(name)?;
                Some((name.as_str(), stored))
            })
            .collect();
        self.used.extend(found.iter().map(|(name, _)| *name));
        if own.replaced {
            self.redrawn.push(own.name);
            return None;
        }
        let Some(&(name, stored)) = found.first() else {
            self.misfit.missing.push(own.name.to_owned());
            return None;
        };
        if let Some((other, _)) = found[1..].iter().find(|(_, other)| *other != stored) {
            self.misfit.wrong.push(format!(
                "`{name}` and `{other}`, which are one tensor in the network and two in the file"
            ));
            return None;
        }
        let Some(values) = &stored.values else {
            let got = &stored.dtype;
            self.misfit
                .unfit
                .push(format!("`{name}`, which is {got}, expected F32"));
            return None;
        };
        if stored.shape != own.shape {
            let (got, expected) = (&stored.shape, &own.shape);
            self.misfit
                .misshapen
                .push(format!("`{name}` {got:?}, expected {expected:?}"));
            return None;
        }
        if let Some(at) = values.iter().position(|it| !it.is_finite()) {
            let value = values[at];
            self.misfit
                .wrong
                .push(format!("`{name}`, whose element {at} is {value}"));
            return None;
        }
        if stored.dtype != "F32" {
            *self.converted.entry(&stored.dtype).or_default() += 1;
        }
        self.taken += 1;
        Some(Arc::clone(values))
    }

    /// What no parameter or buffer took.
    fn look_at_the_rest(&mut self, held: &[(String, Held)]) {
        for (name, stored) in &self.dict.tensors {
            if self.used.contains(name.as_str()) || name.ends_with("num_batches_tracked") {
                continue;
            }
            match held.iter().find(|(other, _)| other == name) {
                Some((_, Held::Constant(own))) => {
                    if !is_same(stored, own) {
                        self.misfit.unfit.push(format!(
                            "`{name}`, which training leaves as it is in the archive, where it is another"
                        ));
                    }
                }
                // Its first name is a constant as well.
                Some((_, Held::Tied(_))) => {}
                None => self.misfit.extra.push(name.clone()),
            }
        }
    }
}

/// Whether a stored tensor has these numbers. What has no fractions is not looked at: the graph has it.
fn is_same(stored: &Stored, own: &Tensor) -> bool {
    let Some(values) = &stored.values else {
        return true;
    };
    let flat = own.to_kind(Kind::Float).reshape([-1]);
    stored.shape == own.size()
        && Vec::try_from(&flat).is_ok_and(|own: Vec<f32>| own[..] == values[..])
}
