//! A component of a file: its options, and the instance of it that the file's process holds.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use plugin_api::abi::Service;
use plugin_api::abi::wire::{CallLimits, ComponentKind};
use plugin_api::schemars::{self, JsonSchema, Schema};
use plugin_api::{Cadence, Context, Error, Point, Result, Script, UnitRule};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{Given, Host, answer};
use crate::channel::Heard;
use crate::child::{self, Child, Origin};

/// GiB that a file's process may take beyond what it begins with, if the experiment does not say.
const MEMORY: f64 = 8.0;

/// A file, how it is run, and the options of its function.
#[derive(Default, Deserialize, JsonSchema)]
pub struct File {
    /// The file with the function.
    #[schemars(example = example())]
    file: Script,
    /// The Python that runs it: an absolute path, or a program on the PATH. If not given, that of the environment
    /// variable `REWIND_PYTHON`, else of the virtual environment that is active, else `python3`.
    #[serde(default)]
    #[schemars(extend("x-location" = true))]
    python: String,
    /// GiB of memory that its process may take beyond what it has once the file is loaded; 0 for no limit.
    #[serde(default = "memory")]
    #[schemars(extend("x-location" = true), range(min = 0.0))]
    memory: f64,
    /// The function's arguments.
    #[serde(flatten)]
    #[schemars(skip)]
    arguments: Map<String, Value>,
    #[serde(skip)]
    #[schemars(skip)]
    instance: OnceLock<Instance>,
}

fn memory() -> f64 {
    MEMORY
}

/// A file for who wants to see a component at work, as a host hands it over.
fn example() -> Value {
    json!({ "path": "example.py", "source": include_str!("example.py") })
}

/// What a component says of itself as it is made.
#[derive(Deserialize)]
pub struct Made {
    /// The points of training that it asks for.
    pub points: Vec<Point>,
    /// When a mask update is called.
    #[serde(default)]
    pub cadence: Cadence,
    /// The rule by which a mask update keeps whole units.
    #[serde(default)]
    pub unit_rule: Option<UnitRule>,
}

/// A component in the file's process.
struct Instance {
    child: Arc<Mutex<Child>>,
    number: u64,
    /// The schema of the function's arguments.
    schema: Value,
    made: Made,
}

impl Drop for Instance {
    fn drop(&mut self) {
        locked(&self.child).forget(self.number);
    }
}

/// The time that the user lets a call take, less a little, so that this side is the first to say something: the
/// host's guard ends the host.
fn within(ctx: &mut Context<'_>) -> Option<Duration> {
    // A host from before this question, and one that is not asked to, sets no limit.
    let limits: CallLimits = ctx.try_query(Service::LIMITS, &()).ok()?;
    let time = Duration::try_from_secs_f64(limits.time?).ok()?;
    Some(time - (time / 5).min(Duration::from_secs(1)))
}

fn locked(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    // What is half done when a call unwinds, the child itself knows.
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

impl File {
    /// Makes the component in the file's process, which is started if there is none.
    ///
    /// # Errors
    /// What is wrong with the file, the interpreter or the options.
    pub fn start(&self, kind: ComponentKind) -> Result<()> {
        if self.file.path.as_os_str().is_empty() {
            return Err(Error::new(
                "`file` is missing: name the file with the function",
            ));
        }
        let source = self.file.source.clone().ok_or_else(|| {
            Error::new("this host is older than plugin-api 1.1 and does not read files for plugins")
        })?;
        let child = child::of(&Origin {
            python: self.python.clone(),
            file: self.file.path.clone(),
            source,
            memory: self.memory,
        })?;
        let instance = {
            let mut process = locked(&child);
            let schema = process.schema(kind).ok_or_else(|| {
                Error::missing(format!(
                    "{} has no {}: mark a function with `@rs.{}`",
                    process.name(),
                    kind.name(),
                    kind.name()
                ))
            })?;
            let (number, made) = process.make(kind, &self.arguments)?;
            Instance {
                child: child.clone(),
                number,
                schema,
                made: serde_json::from_value(made)
                    .map_err(|error| Error::new(format!("{}: {error}", process.name())))?,
            }
        };
        let _ = self.instance.set(instance);
        Ok(())
    }

    fn instance(&self) -> &Instance {
        // The boundary validates every component before it uses it.
        self.instance.get().expect("it was validated")
    }

    /// What it said of itself.
    pub fn made(&self) -> &Made {
        &self.instance().made
    }

    /// The options of every file of this kind, and this function's.
    pub fn schema(&self, own: &Schema) -> Schema {
        let mut schema = own.clone();
        let function = &self.instance().schema;
        let object = schema.ensure_object();
        if let Some(Value::Object(properties)) = object.get_mut("properties")
            && let Some(arguments) = function["properties"].as_object()
        {
            properties.extend(arguments.clone());
        }
        object.insert("description".to_owned(), function["description"].clone());
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
        schema
    }

    /// Calls the function.
    ///
    /// # Errors
    /// What it raised, what of its answer cannot be used, or how its process ended.
    pub fn call<'a>(&self, host: &mut dyn Host<'a>) -> Result<Given> {
        let instance = self.instance();
        let mut child = locked(&instance.child);
        let facts = host.facts()?;
        let call = json!({ "do": "call", "id": instance.number, "facts": facts });
        child.begin(call, within(host.context()))?;
        loop {
            let heard = child.hear();
            for line in child.lines() {
                host.context().info(line);
            }
            match heard? {
                Heard::Said { text, level } => match level {
                    2 => host.context().warn(text),
                    4 => host.context().debug(text),
                    _ => host.context().info(text),
                },
                Heard::Asked(asked) => {
                    let answered = answer(&mut child, host, asked);
                    child.reply(answered)?;
                }
                Heard::Done(given) => return Given::read(&mut child, host, given),
            }
        }
    }

    /// The state of the component.
    ///
    /// # Errors
    /// What it cannot save.
    pub fn save_state(&self) -> Result<Vec<u8>> {
        let instance = self.instance();
        locked(&instance.child).save(instance.number)
    }

    /// Gives it a state.
    ///
    /// # Errors
    /// If it is not its own.
    pub fn load_state(&self, state: &[u8]) -> Result<()> {
        let instance = self.instance();
        locked(&instance.child).load(instance.number, state)
    }
}
