//! What a function asks of the host, and the arrays that go with it.

use plugin_api::abi::Service;
use plugin_api::abi::wire::{MasksRequest, SelectRequest};
use plugin_api::{Context, DType, Error, MaskContext, Result, RewindContext, ScoreContext, Tensor};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::channel::{Array, Ask};
use crate::child::Child;

/// The host during a call, whatever kind of component is called.
pub trait Host<'a> {
    /// What every component can ask.
    fn context(&mut self) -> &mut Context<'a>;

    /// The scores of the round.
    ///
    /// # Errors
    /// If the component sees none.
    fn scores(&mut self) -> Result<Vec<Tensor>> {
        Err(Error::new("only mask updates have scores"))
    }

    /// Where in the run this is, as the host says it.
    ///
    /// # Errors
    /// What the host says.
    fn facts(&mut self) -> Result<Value> {
        self.context().try_query(Service::FACTS, &())
    }
}

impl<'a> Host<'a> for ScoreContext<'a> {
    fn context(&mut self) -> &mut Context<'a> {
        self
    }
}

impl<'a> Host<'a> for RewindContext<'a> {
    fn context(&mut self) -> &mut Context<'a> {
        self
    }
}

impl<'a> Host<'a> for MaskContext<'a> {
    fn context(&mut self) -> &mut Context<'a> {
        self
    }

    fn scores(&mut self) -> Result<Vec<Tensor>> {
        MaskContext::scores(self)
    }
}

/// What a function gave.
pub struct Given {
    /// Its tensors.
    pub tensors: Vec<Tensor>,
    /// Of a rewind policy, the plan.
    pub plan: Value,
}

impl Given {
    /// Takes what a function gave from the memory.
    ///
    /// # Errors
    /// If it is not what the file's process promises.
    pub fn read<'a>(child: &mut Child, host: &mut dyn Host<'a>, given: Value) -> Result<Self> {
        let arrays: Vec<Array> = parsed(&given["tensors"])?;
        Ok(Self {
            tensors: tensors(child, host.context(), arrays)?,
            plan: given["plan"].clone(),
        })
    }
}

/// The answer to a question.
///
/// # Errors
/// What the host says against it.
pub fn answer<'a>(child: &mut Child, host: &mut dyn Host<'a>, ask: Ask) -> Result<Value> {
    child.free(&ask.freed);
    let request = &ask.request;
    let inputs = tensors(child, host.context(), ask.inputs)?;
    let ctx = host.context();
    let given = match ask.ask.as_str() {
        "room" => {
            let sizes: Vec<u64> = parsed(request)?;
            let places: Result<Vec<u64>> = sizes.iter().map(|size| child.take(*size)).collect();
            return Ok(json!({ "places": places? }));
        }
        "query" => {
            let service = match ask.service.as_str() {
                "survivors" => Service::SURVIVORS,
                "points" => Service::POINTS,
                "counts" => Service::COUNTS,
                "units" => Service::UNITS,
                "random_key" => Service::RANDOM_KEY,
                other => return Err(unknown(other)),
            };
            let answer: Value = ctx.try_query(service, request)?;
            return Ok(json!({ "answer": answer }));
        }
        "weights" => ctx.weights()?,
        "masks" => ctx.masks()?,
        "scores" => host.scores()?,
        "weights_at" => ctx.weights_at(&parsed(request)?)?,
        "stored_masks" => {
            let MasksRequest { run, level } = parsed(request)?;
            ctx.stored_masks(run.as_deref(), level)?
        }
        "gradients" => ctx.gradients(&parsed(request)?)?,
        "hessian_vector" => ctx.hessian_vector(&inputs, &parsed(request)?)?,
        "select" => {
            let SelectRequest { among, counts } = parsed(request)?;
            ctx.select(&inputs, among, counts)?
        }
        "select_units" => ctx.select_units(&inputs, &parsed(request)?)?,
        "unit_scales" => ctx.unit_scales()?,
        "uniform" => ctx.uniform()?,
        "normal" => ctx.normal()?,
        "permutation" => vec![ctx.permutation(parsed(request)?)?],
        other => return Err(unknown(other)),
    };
    let lent: Result<Vec<Value>> = given.iter().map(|tensor| lend(child, tensor)).collect();
    Ok(json!({ "tensors": lent? }))
}

fn unknown(service: &str) -> Error {
    Error::new(format!("there is no service `{service}`"))
}

fn parsed<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| Error::new(format!("{value} cannot be asked: {error}")))
}

/// Puts a tensor's elements into the memory; the file's process gives the place back.
fn lend(child: &mut Child, tensor: &Tensor) -> Result<Value> {
    let shape = tensor.shape();
    let (dtype, place) = match tensor.dtype() {
        DType::F32 => {
            // A copy: with an address the host would take digests of all that it lends, which costs more.
            let elements = tensor.to_vec();
            ("f32", child.put(bytemuck::cast_slice(&elements))?)
        }
        DType::I64 => {
            let elements: Vec<i64> = tensor.to_vec_f64().iter().map(|it| *it as i64).collect();
            ("i64", child.put(bytemuck::cast_slice(&elements))?)
        }
        _ => {
            let elements = tensor.to_vec_f64();
            ("f64", child.put(bytemuck::cast_slice(&elements))?)
        }
    };
    Ok(json!({ "place": place, "dtype": dtype, "shape": shape }))
}

/// Takes arrays out of the memory, whose places are free then.
fn tensors(child: &mut Child, ctx: &mut Context<'_>, arrays: Vec<Array>) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::with_capacity(arrays.len());
    for array in arrays {
        let count: usize = array
            .shape
            .iter()
            .map(|&size| size.max(0) as usize)
            .product();
        let mut elements = vec![0f32; count];
        child.get(array.place, bytemuck::cast_slice_mut(&mut elements))?;
        tensors.push(ctx.tensor(&elements, &array.shape)?);
    }
    Ok(tensors)
}
