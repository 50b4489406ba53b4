//! The JSON of an archive, as `torch.export` writes it. What is not needed is passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};

#[derive(Debug, Deserialize)]
pub struct ExportedProgram {
    pub graph_module: GraphModule,
    #[serde(default)]
    pub range_constraints: Unique<RangeConstraint>,
}

/// Read before all else, so that another version's file is called by its name.
#[derive(Debug, Deserialize)]
pub struct Versioned {
    pub schema_version: SchemaVersion,
}

#[derive(Debug, Deserialize)]
pub struct SchemaVersion {
    pub major: u32,
    pub minor: u32,
}

#[derive(Debug, Deserialize)]
pub struct RangeConstraint {
    pub min_val: Option<i64>,
    pub max_val: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct GraphModule {
    pub graph: Graph,
    pub signature: Signature,
}

#[derive(Debug, Deserialize)]
pub struct Graph {
    pub inputs: Vec<Argument>,
    pub outputs: Vec<Argument>,
    pub nodes: Vec<Node>,
    pub tensor_values: Unique<TensorMeta>,
    #[serde(default)]
    pub sym_int_values: Unique<SymInt>,
    #[serde(default)]
    pub sym_bool_values: Unique<Symbolic>,
    #[serde(default)]
    pub sym_float_values: Unique<Symbolic>,
}

#[derive(Debug, Deserialize)]
pub struct Node {
    pub target: String,
    pub inputs: Vec<NamedArgument>,
    pub outputs: Vec<Argument>,
    pub name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct NamedArgument {
    pub name: String,
    pub arg: Argument,
}

#[derive(Debug, Deserialize)]
pub struct TensorMeta {
    pub dtype: u32,
    pub sizes: Vec<SymInt>,
    #[serde(default)]
    pub requires_grad: bool,
    pub strides: Vec<SymInt>,
    pub storage_offset: SymInt,
    pub layout: u32,
}

#[derive(Debug, Deserialize)]
pub struct Name {
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct SymExpr {
    pub expr_str: String,
}

/// A truth value or a float, of which the way it is computed matters alone.
#[derive(Debug, Deserialize)]
pub struct Symbolic {
    pub as_expr: Option<SymExpr>,
}

#[derive(Debug, Deserialize)]
pub enum SymInt {
    #[serde(rename = "as_expr")]
    Expr(SymExpr),
    #[serde(rename = "as_int")]
    Int(i64),
}

#[derive(Debug, Deserialize)]
pub enum SymIntArgument {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_int")]
    Int(i64),
}

#[derive(Debug, Deserialize)]
pub enum SymFloatArgument {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_float")]
    Float(Float),
}

#[derive(Debug, Deserialize)]
pub enum SymBoolArgument {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_bool")]
    Bool(bool),
}

#[derive(Debug, Deserialize)]
pub enum OptionalTensor {
    #[serde(rename = "as_tensor")]
    Tensor(Name),
    #[serde(rename = "as_none")]
    None(de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
pub struct Device {
    pub r#type: String,
    pub index: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub enum Argument {
    #[serde(rename = "as_none")]
    None(de::IgnoredAny),
    #[serde(rename = "as_tensor")]
    Tensor(Name),
    #[serde(rename = "as_tensors")]
    Tensors(Vec<Name>),
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_ints")]
    Ints(Vec<i64>),
    #[serde(rename = "as_float")]
    Float(Float),
    #[serde(rename = "as_floats")]
    Floats(Vec<Float>),
    #[serde(rename = "as_string")]
    String(String),
    #[serde(rename = "as_strings")]
    Strings(Vec<String>),
    #[serde(rename = "as_sym_int")]
    SymInt(SymIntArgument),
    #[serde(rename = "as_sym_ints")]
    SymInts(Vec<SymIntArgument>),
    #[serde(rename = "as_scalar_type")]
    ScalarType(u32),
    #[serde(rename = "as_memory_format")]
    MemoryFormat(u32),
    #[serde(rename = "as_layout")]
    Layout(u32),
    #[serde(rename = "as_device")]
    Device(Device),
    #[serde(rename = "as_bool")]
    Bool(bool),
    #[serde(rename = "as_bools")]
    Bools(Vec<bool>),
    #[serde(rename = "as_sym_bool")]
    SymBool(SymBoolArgument),
    #[serde(rename = "as_sym_bools")]
    SymBools(Vec<SymBoolArgument>),
    #[serde(rename = "as_graph")]
    Graph(de::IgnoredAny),
    #[serde(rename = "as_optional_tensors")]
    OptionalTensors(Vec<OptionalTensor>),
    #[serde(rename = "as_custom_obj")]
    CustomObj(de::IgnoredAny),
    #[serde(rename = "as_operator")]
    Operator(de::IgnoredAny),
    #[serde(rename = "as_sym_float")]
    SymFloat(SymFloatArgument),
    #[serde(rename = "as_sym_floats")]
    SymFloats(Vec<SymFloatArgument>),
    #[serde(rename = "as_optional_tensor")]
    OptionalTensor(OptionalTensor),
    #[serde(rename = "as_complex")]
    Complex(de::IgnoredAny),
    #[serde(rename = "as_nested_tensors")]
    NestedTensors(Vec<Vec<Name>>),
    #[serde(rename = "as_int_lists")]
    IntLists(Vec<Vec<i64>>),
    #[serde(rename = "as_string_to_argument")]
    Dictionary(de::IgnoredAny),
    #[serde(rename = "as_float_lists")]
    FloatLists(Vec<Vec<Float>>),
}

#[derive(Debug, Deserialize)]
pub struct Signature {
    pub input_specs: Vec<InputSpec>,
    pub output_specs: Vec<OutputSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSpec {
    UserInput(UserSpec),
    Parameter(ParameterSpec),
    Buffer(BufferSpec),
    TensorConstant(ConstantSpec),
    CustomObj(CustomObjSpec),
    Token(de::IgnoredAny),
    ConstantInput(ConstantInputSpec),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSpec {
    UserOutput(UserSpec),
    LossOutput(de::IgnoredAny),
    BufferMutation(BufferMutation),
    GradientToParameter(de::IgnoredAny),
    GradientToUserInput(de::IgnoredAny),
    UserInputMutation(InputMutation),
    Token(de::IgnoredAny),
    ParameterMutation(ParameterMutation),
}

#[derive(Debug, Deserialize)]
pub struct UserSpec {
    pub arg: Argument,
}

#[derive(Debug, Deserialize)]
pub struct ParameterSpec {
    pub arg: Name,
    pub parameter_name: String,
}

#[derive(Debug, Deserialize)]
pub struct BufferSpec {
    pub arg: Name,
    pub buffer_name: String,
    pub persistent: bool,
}

#[derive(Debug, Deserialize)]
pub struct ConstantSpec {
    pub arg: Name,
    pub tensor_constant_name: String,
}

#[derive(Debug, Deserialize)]
pub struct CustomObjSpec {
    pub custom_obj_name: String,
}

#[derive(Debug, Deserialize)]
pub struct ConstantInputSpec {
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct BufferMutation {
    pub arg: Name,
    pub buffer_name: String,
}

#[derive(Debug, Deserialize)]
pub struct InputMutation {
    pub arg: Name,
    pub user_input_name: String,
}

#[derive(Debug, Deserialize)]
pub struct ParameterMutation {
    pub arg: Name,
    pub parameter_name: String,
}

#[derive(Debug, Deserialize)]
pub struct PayloadConfig {
    pub config: Unique<Payload>,
}

#[derive(Debug, Deserialize)]
pub struct Payload {
    pub path_name: String,
    #[serde(default)]
    pub use_pickle: bool,
    pub tensor_meta: Option<TensorMeta>,
}

/// A float, for whose special values JSON has no words.
#[derive(Debug, Clone, Copy)]
pub struct Float(pub f64);

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = Float;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"Infinity\", \"-Infinity\" or \"NaN\"")
            }

            fn visit_f64<E: de::Error>(self, float: f64) -> Result<Float, E> {
                Ok(Float(float))
            }

            fn visit_i64<E: de::Error>(self, int: i64) -> Result<Float, E> {
                Ok(Float(int as f64))
            }

            fn visit_u64<E: de::Error>(self, int: u64) -> Result<Float, E> {
                Ok(Float(int as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Float, E> {
                match text {
                    "Infinity" => Ok(Float(f64::INFINITY)),
                    "-Infinity" => Ok(Float(f64::NEG_INFINITY)),
                    "NaN" => Ok(Float(f64::NAN)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

/// A map in which no key occurs twice.
#[derive(Debug)]
pub struct Unique<T>(pub BTreeMap<String, T>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for Entries<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique<T>, A::Error> {
                let mut map = BTreeMap::new();
                while let Some(key) = entries.next_key::<String>()? {
                    if map.contains_key(&key) {
                        let message = format!("the key {:?} occurs twice", key);
                        return Err(de::Error::custom(message));
                    }
                    map.insert(key, entries.next_value()?);
                }
                Ok(Unique(map))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}
