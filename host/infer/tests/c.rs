//! The interface for C, as a C program calls it.

#![allow(clippy::unwrap_used, unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts the crate's libraries when it builds tests.
fn libraries() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_rewind-infer"));
    program.parent().unwrap().join("deps")
}

const PROGRAM: &str = r#"
#include <stdio.h>
#include "rewind_infer.h"

int main(int count, char **arguments) {
  size_t sizes[4] = {0};
  float input[6] = {1, 2, 3, -4, 5, -6}, output[4];
  rewind_infer_model *model = rewind_infer_load(arguments[1], 2);
  if (!model) {
    printf("%s\n", rewind_infer_last_error());
    return 1;
  }
  if (rewind_infer_input_shape(model, sizes, 4) != 1 || sizes[0] != 3) return 2;
  if (rewind_infer_output_shape(model, NULL, 0) != 1) return 3;
  if (rewind_infer_run(model, NULL, 2, output) != -1) return 4;
  printf("%s\n", rewind_infer_last_error());
  if (rewind_infer_run(model, input, (size_t)-1, output) != -1) return 5;
  if (rewind_infer_run(model, input, 2, output) != 0) return 6;
  printf("%g %g %g %g\n", output[0], output[1], output[2], output[3]);
  rewind_infer_free(model);
  rewind_infer_free(NULL);
  return count != 2;
}
"#;

#[test]
fn a_program_in_c_loads_a_model_and_runs_it() {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("main.c"), folder.path().join("main"));
    std::fs::write(&source, PROGRAM).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let library = libraries().join("librewind_infer.a");
    let built = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-std=c99", "-I"])
        .args([&include, &source, &library])
        .args(["-o".as_ref(), program.as_os_str()])
        .args(["-lpthread", "-lm", "-ldl"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(built.status.success(), "{said}");
    let graph = r#"{"version":1,"input_shape":[3],"operations":[{"op":"input"},{"op":"linear","layer":"fc","bias":true,"from":0}]}"#;
    let header = serde_json::json!({
        "__metadata__": { "graph": graph },
        "fc.weight": { "dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24] },
        "fc.bias": { "dtype": "F32", "shape": [2], "data_offsets": [24, 32] },
    });
    let header = header.to_string();
    let mut model = (header.len() as u64).to_le_bytes().to_vec();
    model.extend(header.bytes());
    for number in [1.0f32, 0.0, -1.0, 2.0, 1.0, 0.0, 0.5, 100.0] {
        model.extend(number.to_le_bytes());
    }
    let path = folder.path().join("model");
    std::fs::write(&path, &model).unwrap();
    let run = |path: &Path| Command::new(&program).arg(path).output().unwrap();
    let said = run(&path);
    let out = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(0), "{out}");
    assert_eq!(out, "input or output is a null pointer\n-1.5 104 2.5 97\n");
    let said = run(&folder.path().join("none"));
    assert_eq!(said.status.code(), Some(1));
    assert!(
        String::from_utf8(said.stdout)
            .unwrap()
            .contains("none: No such file")
    );
}
