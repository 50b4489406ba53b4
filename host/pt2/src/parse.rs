//! From an archive's JSON to a graph: every name becomes a number, and whatever nothing here runs is refused.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::container::quoted;
use crate::error::Fault;
use crate::graph::{
    Argument, BatchRange, Constant, Dim, Graph, GraphInput, MemoryFormat, Node, Output, Scalar,
    Source, Target, Update, Value, ValueId, ValueKind, shown,
};
use crate::scalar::ScalarOp;
use crate::schema::{self, InputSpec, OutputSpec};
use crate::tensor::Dtype;

/// Values of a graph, many times as many as the largest networks have.
const VALUES_LIMIT: usize = 10_000_000;

/// Arguments of a node, many times as many as any operator has.
const ARGUMENTS_LIMIT: usize = 256;

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

    fn node(&mut self, node: &'a schema::Node) -> Result<Node, Fault> {
        let name = node
            .name
            .as_deref()
            .or_else(|| node.outputs.iter().find_map(first_name));
        let name = name.unwrap_or(&node.target);
        let target = self.target(&node.target, name)?;
        if node.inputs.len() > ARGUMENTS_LIMIT {
            return Err(self.damaged(
                name,
                format!("it has more than {ARGUMENTS_LIMIT} arguments"),
            ));
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            if inputs.iter().any(|(given, _)| *given == input.name) {
                return Err(self.damaged(
                    name,
                    format!("it has two arguments {}", quoted(&input.name)),
                ));
            }
            let argument = self.argument(&input.arg, name, &input.name)?;
            inputs.push((input.name.clone(), argument));
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for output in &node.outputs {
            outputs.push(self.output(output, name)?);
        }
        let node = Node {
            name: name.to_owned(),
            target,
            inputs,
            outputs,
        };
        self.check_scalar(&node)?;
        Ok(node)
    }

    fn target(&self, target: &str, node: &str) -> Result<Target, Fault> {
        if target == "torch.ops.aten.sym_size.int" {
            return Ok(Target::Size);
        }
        if let Some(op) = ScalarOp::named(target) {
            return Ok(Target::Scalar(op));
        }
        let word = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !text.is_empty() && text.bytes().all(plain)
        };
        let operator = target.strip_prefix("torch.ops.aten.");
        match operator.and_then(|it| it.split_once('.')) {
            Some((name, overload)) if word(name) && word(overload) => Ok(Target::Aten {
                name: name.to_owned(),
                overload: if overload == "default" { "" } else { overload }.to_owned(),
            }),
            _ if target.starts_with("torch.ops.higher_order.") => Err(Fault::HigherOrder {
                graph: self.graph.to_owned(),
                node: quoted(node),
                operator: quoted(&target["torch.ops.higher_order.".len()..]),
            }),
            _ => Err(Fault::Operator {
                graph: self.graph.to_owned(),
                node: quoted(node),
                target: quoted(target),
            }),
        }
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

    fn argument(
        &self,
        argument: &schema::Argument,
        node: &str,
        name: &str,
    ) -> Result<Argument, Fault> {
        use schema::Argument as Raw;
        let tensor = |it: &schema::Name| self.read(&it.name, node, true);
        let tensors =
            |list: &Vec<schema::Name>| list.iter().map(tensor).collect::<Result<Vec<_>, _>>();
        let number = |name: &String| self.read(name, node, false);
        let int = |it: &schema::SymIntArgument| match it {
            schema::SymIntArgument::Name(name) => number(name).map(Scalar::Value),
            schema::SymIntArgument::Int(int) => Ok(Scalar::Fixed(*int)),
        };
        let float = |it: &schema::SymFloatArgument| match it {
            schema::SymFloatArgument::Name(name) => number(name).map(Scalar::Value),
            schema::SymFloatArgument::Float(float) => Ok(Scalar::Fixed(float.0)),
        };
        let bool = |it: &schema::SymBoolArgument| match it {
            schema::SymBoolArgument::Name(name) => number(name).map(Scalar::Value),
            schema::SymBoolArgument::Bool(bool) => Ok(Scalar::Fixed(*bool)),
        };
        let optional = |it: &schema::OptionalTensor| match it {
            schema::OptionalTensor::Tensor(it) => tensor(it).map(Some),
            schema::OptionalTensor::None(_) => Ok(None),
        };
        let floats = |list: &Vec<schema::Float>| list.iter().map(|it| it.0).collect();
        Ok(match argument {
            Raw::None(_) => Argument::None,
            Raw::Tensor(it) => Argument::Tensor(tensor(it)?),
            Raw::Tensors(list) => Argument::Tensors(tensors(list)?),
            Raw::OptionalTensor(it) => optional(it)?.map_or(Argument::None, Argument::Tensor),
            Raw::OptionalTensors(list) => {
                Argument::OptionalTensors(list.iter().map(optional).collect::<Result<_, _>>()?)
            }
            Raw::NestedTensors(lists) => {
                Argument::TensorLists(lists.iter().map(tensors).collect::<Result<_, _>>()?)
            }
            Raw::Int(int) => Argument::Int(*int),
            Raw::Ints(list) => Argument::Ints(list.clone()),
            Raw::IntLists(lists) => Argument::IntLists(lists.clone()),
            Raw::Float(float) => Argument::Float(float.0),
            Raw::Floats(list) => Argument::Floats(floats(list)),
            Raw::FloatLists(lists) => Argument::FloatLists(lists.iter().map(floats).collect()),
            Raw::Bool(bool) => Argument::Bool(*bool),
            Raw::Bools(list) => Argument::Bools(list.clone()),
            Raw::String(text) => Argument::String(text.clone()),
            Raw::Strings(list) => Argument::Strings(list.clone()),
            Raw::SymInt(it) => Argument::SymInt(int(it)?),
            Raw::SymInts(list) => {
                Argument::SymInts(list.iter().map(int).collect::<Result<_, _>>()?)
            }
            Raw::SymFloat(it) => Argument::SymFloat(float(it)?),
            Raw::SymFloats(list) => {
                Argument::SymFloats(list.iter().map(float).collect::<Result<_, _>>()?)
            }
            Raw::SymBool(it) => Argument::SymBool(bool(it)?),
            Raw::SymBools(list) => {
                Argument::SymBools(list.iter().map(bool).collect::<Result<_, _>>()?)
            }
            Raw::ScalarType(number) => Argument::Dtype(Dtype::numbered(*number)?),
            Raw::MemoryFormat(format) => Argument::MemoryFormat(match format {
                1 => MemoryFormat::Contiguous,
                2 => MemoryFormat::ChannelsLast,
                3 => MemoryFormat::ChannelsLast3d,
                4 => MemoryFormat::Preserve,
                _ => return Err(self.kind(node, name, "an unknown memory format")),
            }),
            Raw::Layout(STRIDED) => Argument::Strided,
            Raw::Device(device) => Argument::Device {
                kind: device.r#type.clone(),
                index: device.index,
            },
            Raw::Layout(_) => return Err(self.kind(node, name, "the layout of sparse tensors")),
            Raw::Complex(_) => return Err(self.kind(node, name, "a complex number")),
            Raw::Graph(_) => {
                return Err(Fault::HigherOrder {
                    graph: self.graph.to_owned(),
                    node: quoted(node),
                    operator: format!("its argument {}", quoted(name)),
                });
            }
            Raw::CustomObj(_) => return Err(self.kind(node, name, "an object of a class")),
            Raw::Operator(_) => return Err(self.kind(node, name, "an operator")),
            Raw::Dictionary(_) => return Err(self.kind(node, name, "a dictionary")),
        })
    }

    fn output(&mut self, output: &'a schema::Argument, node: &'a str) -> Result<Output, Fault> {
        use schema::Argument as Raw;
        Ok(match output {
            Raw::None(_) => Output::None,
            Raw::Tensor(it) => Output::Value(self.define_tensor(&it.name)?),
            Raw::Tensors(list) => {
                let values = list.iter().map(|it| self.define_tensor(&it.name));
                Output::List(values.collect::<Result<_, _>>()?)
            }
            Raw::SymInt(schema::SymIntArgument::Name(name)) => {
                let ints = self.ints;
                let Some(size) = ints.get(name) else {
                    return Err(self.damaged(name, "nothing says what the number is"));
                };
                let dim = match size {
                    // A difference may be negative, which no dimension is.
                    schema::SymInt::Int(int) if *int < 0 => Dim::Other(int.to_string()),
                    size => self.dim(size, name)?,
                };
                Output::Value(self.define(name, ValueKind::Int(dim))?)
            }
            Raw::SymBool(schema::SymBoolArgument::Name(name)) => {
                self.check_symbols(self.bools, name)?;
                Output::Value(self.define(name, ValueKind::Bool)?)
            }
            Raw::SymFloat(schema::SymFloatArgument::Name(name)) => {
                self.check_symbols(self.floats, name)?;
                Output::Value(self.define(name, ValueKind::Float)?)
            }
            Raw::Graph(_) | Raw::CustomObj(_) => {
                return Err(self.kind(node, "a result", "an object of a class"));
            }
            _ => return Err(self.kind(node, "a result", "no tensor and no number")),
        })
    }

    /// Arithmetic takes and gives single numbers, as many as the function has.
    fn check_scalar(&self, node: &Node) -> Result<(), Fault> {
        let one_number = || match node.outputs.as_slice() {
            [Output::Value(value)] => {
                !matches!(self.values[value.index()].kind, ValueKind::Tensor { .. })
            }
            _ => false,
        };
        let fits = match &node.target {
            Target::Aten { .. } => true,
            Target::Size => {
                let tensor = matches!(node.argument("self"), Some(Argument::Tensor(_)));
                let dim = matches!(node.argument("dim"), Some(Argument::Int(_)));
                tensor && dim && one_number()
            }
            Target::Scalar(op) => {
                let number = |argument: &Argument| {
                    use Argument::{Bool, Float, Int, SymBool, SymFloat, SymInt};
                    matches!(
                        argument,
                        Int(_) | Float(_) | Bool(_) | SymInt(_) | SymFloat(_) | SymBool(_)
                    )
                };
                let numbers = node.inputs.iter().all(|(_, argument)| number(argument));
                numbers && node.inputs.len() == op.arity() && one_number()
            }
        };
        match fits {
            true => Ok(()),
            false => Err(self.damaged(&node.name, "its arguments are not those of its function")),
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

/// A name among a node's results.
fn first_name(output: &schema::Argument) -> Option<&str> {
    match output {
        schema::Argument::Tensor(it) => Some(&it.name),
        schema::Argument::Tensors(list) => list.first().map(|it| it.name.as_str()),
        _ => None,
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
