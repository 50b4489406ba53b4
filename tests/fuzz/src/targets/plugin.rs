//! What plugins are and say.

use host::fuzzing;
use plugin_api::abi::wire::{Manifest, Plan};
use plugin_api::{Cadence, Finding};

use super::Target;
use super::experiment::read_with_schema;

/// Dynamic libraries, looked at and not loaded.
pub const LIBRARY: Target = Target {
    name: "library",
    read: library,
    dictionary: &[
        "\x7fELF",
        "REWIND_PLUGIN_DESCRIPTOR",
        ".dynsym",
        ".dynstr",
        ".shstrtab",
    ],
    mutations: 4000,
    memory: 64,
};

/// A plugin's description of itself, whose schemas an experiment is checked against.
pub const MANIFEST: Target = Target {
    name: "manifest",
    read: manifest,
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\"#\"",
        "\"$ref\":\"#\"",
        "\"$ref\"",
        "\"#/$defs/a\"",
        "\"$defs\"",
        "\"type\"",
        "\"object\"",
        "\"properties\"",
        "\"additionalProperties\"",
        "\"patternProperties\"",
        "\"items\"",
        "\"prefixItems\"",
        "\"oneOf\"",
        "\"anyOf\"",
        "\"allOf\"",
        "\"const\"",
        "\"enum\"",
        "\"default\"",
        "\"required\"",
        "\"pattern\"",
        "\"(a*)*$\"",
        "\"minimum\"",
        "\"maxItems\"",
        "\"x-type\"",
        "\"run\"",
        "\"point\"",
        "\"fraction\"",
        "true",
        "false",
        "null",
        "\"score\"",
        "\"mask\"",
        "\"rewind\"",
    ],
    mutations: 300,
    memory: 64,
};

/// Plans and requests: a line with the service's number, then its JSON.
pub const SERVICE: Target = Target {
    name: "service",
    read: service,
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"distribution\"",
        "\"erk\"",
        "\"uniform\"",
        "\"balanced\"",
        "\"total\"",
        "\"may_grow\"",
        "true",
        "\"among\"",
        "\"survivors\"",
        "\"pruned\"",
        "\"all\"",
        "\"counts\"",
        "\"per-layer\"",
        "\"init\"",
        "\"run\"",
        "\"level\"",
        "\"batches\"",
        "\"random\"",
        "[[2,3]]",
        "[[]]",
        "1000000",
    ],
    mutations: 1000,
    // A plugin may draw as many numbers as there is room for.
    memory: 4096,
};

fn library(bytes: &[u8]) {
    let _ = fuzzing::library(bytes);
}

fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        for component in manifest.components.into_iter().take(3) {
            read_with_schema(component.schema);
        }
    }
}

/// Whether a request is for so many random numbers that drawing them takes seconds: there is room for
/// them, and nothing is wrong with it.
fn takes_long(request: &str) -> bool {
    let long = |count: f64| (4e6..1e11).contains(&count);
    let shapes: Result<Vec<Vec<f64>>, _> = serde_json::from_str(request);
    let count: Result<f64, _> = serde_json::from_str(request);
    count.is_ok_and(long)
        || shapes.is_ok_and(|it| long(it.iter().map(|it| it.iter().product::<f64>()).sum()))
}

fn service(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let _ = (
        serde_json::from_str::<Plan>(text),
        serde_json::from_str::<Cadence>(text),
        serde_json::from_str::<Vec<Finding>>(text),
    );
    let (code, request) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(code) = code.trim().parse()
        && !takes_long(request)
    {
        let (answer, _) = fuzzing::service(code, request);
        if let Some(answer) = answer {
            let json: Result<serde_json::Value, _> = serde_json::from_str(&answer);
            assert!(json.is_ok(), "{answer}");
        }
    }
}
