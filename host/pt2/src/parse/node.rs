//! The nodes of a graph: what they call, with what, and what they make.

use super::{Reader, STRIDED};
use crate::container::quoted;
use crate::error::Fault;
use crate::graph::{Argument, Dim, MemoryFormat, Node, Output, Scalar, Target, ValueKind};
use crate::scalar::ScalarOp;
use crate::schema;
use crate::tensor::Dtype;

/// Arguments of a node, many times as many as any operator has.
const ARGUMENTS_LIMIT: usize = 256;

impl<'a> Reader<'a> {
    /// Reads a node, which may read what stands before it.
    pub fn node(&mut self, node: &'a schema::Node) -> Result<Node, Fault> {
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
}

/// A name among a node's results.
fn first_name(output: &schema::Argument) -> Option<&str> {
    match output {
        schema::Argument::Tensor(it) => Some(&it.name),
        schema::Argument::Tensors(list) => list.first().map(|it| it.name.as_str()),
        _ => None,
    }
}
