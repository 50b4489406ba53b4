//! From an archive's JSON to a graph: every name becomes a number, and whatever nothing here runs is refused.

mod node;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::container::quoted;
use crate::error::Fault;
use crate::graph::{
    BatchRange, Constant, Dim, Graph, GraphInput, Source, Update, Value, ValueId, ValueKind, shown,
};
use crate::schema::{self, InputSpec, OutputSpec};
use crate::tensor::Dtype;

/// Values of a graph, many times as many as the largest networks have.
const VALUES_LIMIT: usize = 10_000_000;

/// The number of `torch.strided`.
pub const STRIDED: u32 = 7;

/// What a graph's inputs are called, by the places that its sources count.
#[derive(Debug, Default)]
pub struct Names {
    /// In the state_dict.
    pub parameters: Vec<String>,
    /// Each with whether the state_dict has it.
    pub buffers: Vec<(String, bool)>,
    /// Tensors that are neither.
    pub constants: Vec<String>,
}

/// Reads the graph of this name.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(name: &str, program: schema::ExportedProgram) -> Result<(Graph, Names), Fault> {
    let schema::GraphModule { graph, signature } = program.graph_module;
    let mut reader = Reader {
        graph: name,
        tensors: &graph.tensor_values.0,
        ints: &graph.sym_int_values.0,
        bools: &graph.sym_bool_values.0,
        floats: &graph.sym_float_values.0,
        batch: String::new(),
        values: Vec::new(),
        ids: HashMap::new(),
    };
    reader.batch = reader.batch(&signature.input_specs)?;
    let ranges = &program.range_constraints.0;
    let (mut parsed, names) = reader.inputs(&graph, &signature.input_specs, ranges)?;
    for node in &graph.nodes {
        parsed.nodes.push(reader.node(node)?);
    }
    reader.outputs(&graph, &signature.output_specs, &mut parsed, &names)?;
    parsed.values = reader.values;
    Ok((parsed, names))
}

struct Reader<'a> {
    graph: &'a str,
    tensors: &'a BTreeMap<String, schema::TensorMeta>,
    ints: &'a BTreeMap<String, schema::SymInt>,
    bools: &'a BTreeMap<String, schema::Symbolic>,
    floats: &'a BTreeMap<String, schema::Symbolic>,
    /// The batch's symbol.
    batch: String,
    values: Vec<Value>,
    ids: HashMap<&'a str, ValueId>,
}

impl<'a> Reader<'a> {
    fn damaged(&self, place: &str, reason: impl Into<String>) -> Fault {
        let place = format!("graph `{}`, {}", self.graph, quoted(place));
        Fault::damaged(place, reason)
    }

    /// The symbol that stands for the size of the batch.
    fn batch(&self, specs: &[InputSpec]) -> Result<String, Fault> {
        let mut found = Vec::new();
        let mut input = None;
        for spec in specs {
            match spec {
                InputSpec::UserInput(user) => match &user.arg {
                    schema::Argument::Tensor(tensor) => {
                        found.push(format!("{} (a tensor)", quoted(&tensor.name)));
                        input = Some(&tensor.name);
                    }
                    _ => found.push("one that is no tensor".to_owned()),
                },
                InputSpec::ConstantInput(constant) => {
                    found.push(format!("{} (no tensor)", quoted(&constant.name)));
                }
                _ => {}
            }
        }
        let (Some(input), 1) = (input, found.len()) else {
            if found.is_empty() {
                found.push("none".to_owned());
            }
            return Err(Fault::Inputs {
                graph: self.graph.to_owned(),
                found,
            });
        };
        let meta = self.meta(input)?;
        let symbol = match meta.sizes.first() {
            Some(schema::SymInt::Expr(expression)) => symbol(&expression.expr_str),
            _ => None,
        };
        let rest = meta.sizes.iter().skip(1);
        let fixed = rest.clone().count() == rest.filter_map(fixed).count();
        match symbol {
            Some(symbol) if fixed => Ok(symbol.to_owned()),
            _ => {
                let shape: Result<Vec<Dim>, Fault> = meta
                    .sizes
                    .iter()
                    .map(|size| self.dim(size, input))
                    .collect();
                Err(Fault::Batch {
                    graph: self.graph.to_owned(),
                    what: "input",
                    value: quoted(input),
                    shape: shown(&shape?),
                })
            }
        }
    }

    fn meta(&self, name: &str) -> Result<&'a schema::TensorMeta, Fault> {
        let meta = self.tensors.get(name);
        meta.ok_or_else(|| self.damaged(name, "nothing says what the tensor is"))
    }

    /// A dimension, in the words of the batch.
    fn dim(&self, size: &schema::SymInt, place: &str) -> Result<Dim, Fault> {
        match size {
            schema::SymInt::Int(int) => {
                let size = usize::try_from(*int);
                let wrong = |_| self.damaged(place, format!("the size {int} is none"));
                size.map(Dim::Fixed).map_err(wrong)
            }
            schema::SymInt::Expr(expression) => self.expression(&expression.expr_str, place),
        }
    }

    fn expression(&self, text: &str, place: &str) -> Result<Dim, Fault> {
        if let Some(symbol) = unbacked(text) {
            return Err(Fault::DataDependent {
                graph: self.graph.to_owned(),
                place: quoted(place),
                symbol: quoted(symbol),
            });
        }
        Ok(match symbol(text) {
            Some(symbol) if symbol == self.batch => Dim::Batch,
            _ => Dim::Other(text.to_owned()),
        })
    }

    /// Whether a truth value or float follows from sizes alone.
    fn check_symbols(
        &self,
        known: &BTreeMap<String, schema::Symbolic>,
        name: &str,
    ) -> Result<(), Fault> {
        let expression = known.get(name).and_then(|it| it.as_expr.as_ref());
        let text = expression.map_or("", |it| it.expr_str.as_str());
        self.expression(text, name).map(drop)
    }

    /// Gives a name its number.
    fn define(&mut self, name: &'a str, kind: ValueKind) -> Result<ValueId, Fault> {
        if self.values.len() >= VALUES_LIMIT {
            return Err(self.damaged(name, format!("it has more than {VALUES_LIMIT} values")));
        }
        let id = ValueId(self.values.len() as u32);
        if self.ids.insert(name, id).is_some() {
            return Err(self.damaged(name, "two values have this name"));
        }
        self.values.push(Value {
            name: name.to_owned(),
            kind,
        });
        Ok(id)
    }

    fn define_tensor(&mut self, name: &'a str) -> Result<ValueId, Fault> {
        let meta = self.meta(name)?;
        if meta.layout != STRIDED {
            return Err(self.kind(name, name, "a sparse tensor"));
        }
        let sizes = meta.sizes.iter().map(|size| self.dim(size, name));
        let kind = ValueKind::Tensor {
            dtype: Dtype::numbered(meta.dtype)?,
            shape: sizes.collect::<Result<_, _>>()?,
        };
        self.define(name, kind)
    }

    fn kind(&self, node: &str, name: &str, kind: &str) -> Fault {
        Fault::Kind {
            graph: self.graph.to_owned(),
            node: quoted(node),
            name: quoted(name),
            kind: kind.to_owned(),
        }
    }

    fn inputs(
        &mut self,
        graph: &'a schema::Graph,
        specs: &'a [InputSpec],
        ranges: &BTreeMap<String, schema::RangeConstraint>,
    ) -> Result<(Graph, Names), Fault> {
        if graph.inputs.len() != specs.len() {
            return Err(self.damaged("signature", "it does not list the graph's inputs"));
        }
        let mut names = Names::default();
        let mut known = HashSet::new();
        let (mut inputs, mut constants, mut input) = (Vec::new(), Vec::new(), None);
        for (given, spec) in graph.inputs.iter().zip(specs) {
            let (name, source) = match spec {
                InputSpec::Parameter(it) => {
                    names.parameters.push(it.parameter_name.clone());
                    (&it.arg.name, Source::Parameter(names.parameters.len() - 1))
                }
                InputSpec::Buffer(it) => {
                    names.buffers.push((it.buffer_name.clone(), it.persistent));
                    (&it.arg.name, Source::Buffer(names.buffers.len() - 1))
                }
                InputSpec::TensorConstant(it) => {
                    names.constants.push(it.tensor_constant_name.clone());
                    (&it.arg.name, Source::Constant(names.constants.len() - 1))
                }
                InputSpec::UserInput(schema::UserSpec {
                    arg: schema::Argument::Tensor(it),
                }) => (&it.name, Source::Input),
                InputSpec::CustomObj(it) => {
                    return Err(self.kind("inputs", &it.custom_obj_name, "an object of a class"));
                }
                _ => return Err(self.kind("inputs", "an input", "no tensor")),
            };
            match given {
                schema::Argument::Tensor(it) if it.name == *name => {}
                _ => return Err(self.damaged(name, "the signature lists another input")),
            }
            let own = match spec {
                InputSpec::Parameter(it) => Some(&it.parameter_name),
                InputSpec::Buffer(it) => Some(&it.buffer_name),
                _ => None,
            };
            if own.is_some_and(|own| !known.insert(own)) {
                return Err(self.damaged(name, "the state has another tensor of its name"));
            }
            let value = self.define_tensor(name)?;
            match source {
                Source::Input => input = Some(value),
                Source::Constant(_) => {
                    constants.push(self.constant(value, names.constants.last())?)
                }
                _ => {}
            }
            inputs.push(GraphInput { value, source });
        }
        let Some(input) = input else {
            return Err(self.damaged("signature", "it has no input"));
        };
        let range = ranges.get(&self.batch);
        let positive = |bound: Option<i64>| bound.and_then(|it| u64::try_from(it).ok());
        let graph = Graph {
            values: Vec::new(),
            inputs,
            nodes: Vec::new(),
            input,
            output: input,
            updates: Vec::new(),
            constants,
            batch: BatchRange {
                min: range
                    .and_then(|it| positive(it.min_val))
                    .unwrap_or(1)
                    .max(1),
                max: range.and_then(|it| positive(it.max_val)),
            },
        };
        Ok((graph, names))
    }

    fn constant(&self, value: ValueId, name: Option<&String>) -> Result<Constant, Fault> {
        let Value { name: place, kind } = &self.values[value.index()];
        let ValueKind::Tensor { dtype, shape } = kind else {
            return Err(self.damaged(place, "it is no tensor"));
        };
        let sizes = shape.iter().map(|dim| match dim {
            Dim::Fixed(size) => Ok(*size),
            _ => Err(self.damaged(place, "a stored tensor has no fixed size")),
        });
        Ok(Constant {
            name: name.cloned().unwrap_or_default(),
            dtype: *dtype,
            shape: sizes.collect::<Result<_, _>>()?,
        })
    }

    /// Reads a value, which has to be there by now.
    fn read(&self, name: &str, node: &str, tensor: bool) -> Result<ValueId, Fault> {
        let Some(&id) = self.ids.get(name) else {
            let reason = format!("it reads {}, which is made nowhere before it", quoted(name));
            return Err(self.damaged(node, reason));
        };
        match matches!(self.values[id.index()].kind, ValueKind::Tensor { .. }) == tensor {
            true => Ok(id),
            false => {
                let kind = if tensor { "a tensor" } else { "a number" };
                let reason = format!("it takes {} for {kind}, which it is not", quoted(name));
                Err(self.damaged(node, reason))
            }
        }
    }

    fn outputs(
        &self,
        graph: &schema::Graph,
        specs: &[OutputSpec],
        parsed: &mut Graph,
        names: &Names,
    ) -> Result<(), Fault> {
        if graph.outputs.len() != specs.len() {
            return Err(self.damaged("signature", "it does not list the graph's outputs"));
        }
        let buffers = names.buffers.iter().map(|(name, _)| name.as_str());
        let buffers: HashMap<&str, usize> = buffers.zip(0..).collect();
        let parameters = names.parameters.iter().map(String::as_str);
        let parameters: HashMap<&str, usize> = parameters.zip(0..).collect();
        let (mut found, mut output) = (Vec::new(), None);
        for (given, spec) in graph.outputs.iter().zip(specs) {
            let (name, target) = match spec {
                OutputSpec::UserOutput(it) => match &it.arg {
                    schema::Argument::Tensor(tensor) => {
                        found.push(format!("{} (a tensor)", quoted(&tensor.name)));
                        output = Some(self.read(&tensor.name, "output", true)?);
                        (&tensor.name, None)
                    }
                    _ => {
                        found.push("one that is no tensor".to_owned());
                        continue;
                    }
                },
                OutputSpec::BufferMutation(it) => {
                    let at = buffers.get(it.buffer_name.as_str());
                    (
                        &it.arg.name,
                        Some((at.map(|&at| Source::Buffer(at)), &it.buffer_name)),
                    )
                }
                OutputSpec::ParameterMutation(it) => {
                    let at = parameters.get(it.parameter_name.as_str());
                    (
                        &it.arg.name,
                        Some((at.map(|&at| Source::Parameter(at)), &it.parameter_name)),
                    )
                }
                OutputSpec::UserInputMutation(it) => {
                    let own = self.ids.get(it.user_input_name.as_str()) == Some(&parsed.input);
                    (
                        &it.arg.name,
                        Some((own.then_some(Source::Input), &it.user_input_name)),
                    )
                }
                _ => {
                    return Err(self.kind("outputs", "an output", "a loss, a gradient or a token"));
                }
            };
            match given {
                schema::Argument::Tensor(it) if it.name == *name => {}
                _ => return Err(self.damaged(name, "the signature lists another output")),
            }
            if let Some((source, changed)) = target {
                let unknown = || self.damaged(changed, "it is changed, and no input");
                parsed.updates.push(Update {
                    value: self.read(name, "output", true)?,
                    target: source.ok_or_else(unknown)?,
                });
            }
        }
        let (Some(output), 1) = (output, found.len()) else {
            if found.is_empty() {
                found.push("none".to_owned());
            }
            return Err(self.wrong_outputs(found));
        };
        parsed.output = output;
        let Value { name, kind } = &self.values[output.index()];
        let ValueKind::Tensor { dtype, shape } = kind else {
            return Err(self.damaged(name, "it is no tensor"));
        };
        if *dtype != Dtype::F32 {
            return Err(self.wrong_outputs(vec![format!("{} (a tensor of {dtype})", quoted(name))]));
        }
        let rest = shape.iter().skip(1);
        let fixed = rest.clone().all(|dim| matches!(dim, Dim::Fixed(_)));
        if shape.first() != Some(&Dim::Batch) || !fixed {
            return Err(Fault::Batch {
                graph: self.graph.to_owned(),
                what: "output",
                value: quoted(name),
                shape: shown(shape),
            });
        }
        Ok(())
    }

    fn wrong_outputs(&self, found: Vec<String>) -> Fault {
        Fault::Outputs {
            graph: self.graph.to_owned(),
            found,
        }
    }
}

/// The size, if it is written as a number.
fn fixed(size: &schema::SymInt) -> Option<i64> {
    match size {
        schema::SymInt::Int(int) => Some(*int),
        schema::SymInt::Expr(_) => None,
    }
}

/// The symbol's name, if an expression is nothing but a symbol: `Symbol('s0', integer=True)`.
fn symbol(expression: &str) -> Option<&str> {
    let (name, rest) = expression.strip_prefix("Symbol('")?.split_once('\'')?;
    let alone = rest.ends_with(')') && rest.matches(['(', ')']).count() == 1;
    alone.then_some(name)
}

/// A symbol for a number that stands in a tensor, if there is one in an expression: `u0`, `zuf0`.
fn unbacked(expression: &str) -> Option<&str> {
    let names = expression.split("Symbol('").skip(1);
    let mut names = names.filter_map(|rest| rest.split('\'').next());
    names.find(|name| {
        let number = name.strip_prefix('u').or_else(|| name.strip_prefix("zuf"));
        number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
    })
}
