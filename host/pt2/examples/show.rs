//! Prints what an archive of torch.export holds: `cargo run --release -p pt2 --example show -- net.pt2`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use pt2::graph::shown;
use pt2::{Archive, ArchiveError, Graph, Mode};

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for path in std::env::args().skip(1) {
        if let Err(error) = show(&path) {
            eprintln!("{error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn show(path: &str) -> Result<(), ArchiveError> {
    let archive = Archive::open(path.as_ref())?;
    let numbers: usize = (archive.parameters().iter())
        .filter(|it| it.tied_to.is_none())
        .map(|it| it.shape.iter().product::<usize>())
        .sum();
    let (parameters, buffers) = (archive.parameters().len(), archive.buffers().len());
    println!("{path}: {parameters} parameters of {numbers} numbers, {buffers} buffers");
    for at in 0..parameters {
        archive.read_parameter(at)?;
    }
    for at in 0..buffers {
        archive.read_buffer(at)?;
    }
    let modes: &[Mode] = match archive.has_two_graphs() {
        true => &[Mode::Train, Mode::Eval],
        false => &[Mode::Train],
    };
    for &mode in modes {
        let graph = archive.graph(mode);
        for at in 0..graph.constants.len() {
            archive.read_constant(mode, at)?;
        }
        show_graph(mode, graph);
    }
    Ok(())
}

fn show_graph(mode: Mode, graph: &Graph) {
    let shape = |value| graph.shape(value).map(shown).unwrap_or_default();
    let (input, output) = (shape(graph.input), shape(graph.output));
    let mut targets = BTreeMap::new();
    for node in &graph.nodes {
        *targets.entry(node.target.to_string()).or_insert(0) += 1;
    }
    println!(
        "  {mode:?}: {input} to {output}, {} nodes of {} kinds, {} of them by the mode, {} constants, changes {} tensors, draws {}",
        graph.nodes.len(),
        targets.len(),
        graph.nodes_of_mode().count(),
        graph.constants.len(),
        graph.changes().len(),
        graph.draws(),
    );
}
