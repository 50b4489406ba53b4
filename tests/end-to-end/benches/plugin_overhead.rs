//! What it costs that a score is a plugin's: the same operations through the boundary and written in
//! the host, on the 11 million weights of a ResNet-18, with the same checks of the result.
//!
//! `cargo bench -p end-to-end --bench plugin_overhead`. Both sides take turns within a round, and who
//! is first changes from round to round; the ratio is taken within rounds.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use end_to_end::built::{plain, strategy};
use host::strategy::check;
use host::strategy::still::Still;
use tch::{Kind, Tensor};

const ROUNDS: usize = 41;

/// The prunable layers of a ResNet-18 for 32x32 images and 10 classes.
fn shapes() -> Vec<Vec<i64>> {
    let mut shapes = vec![vec![64, 3, 3, 3]];
    let mut inputs = 64;
    for width in [64, 128, 256, 512] {
        for block in 0..2 {
            shapes.push(vec![width, inputs, 3, 3]);
            shapes.push(vec![width, width, 3, 3]);
            if block == 0 && width != 64 {
                shapes.push(vec![width, inputs, 1, 1]);
            }
            inputs = width;
        }
    }
    shapes.push(vec![10, 512]);
    shapes
}

fn magnitude(weight: &Tensor) -> Tensor {
    weight.abs()
}

/// The operations of `magnitude/lamp`.
fn lamp(weight: &Tensor) -> Tensor {
    let squares = weight.flatten(0, -1).to_kind(Kind::Double).square();
    let order = squares.argsort_stable(true, 0, true);
    let sorted = squares.gather(0, &order, false);
    let sums = sorted.cumsum(0, Kind::Double);
    let shares = (&sorted / &sums).where_self(&sums.gt(0.0), &sorted);
    let places = order.argsort_stable(true, 0, false);
    let shares = shares.gather(0, &places, false).to_kind(Kind::Float);
    shares.reshape(weight.size())
}

/// Seconds of a call.
fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

/// The quartiles.
fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| numbers[(numbers.len() - 1) * quarter / 4])
}

fn main() {
    // What cargo passes to benchmarks means nothing here, but tests must not run this.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let shapes = shapes();
    let shapes: Vec<&[i64]> = shapes.iter().map(Vec::as_slice).collect();
    let scene = Still::new(&shapes, 0);
    println!(
        "{} weights in {} layers, {} threads, {ROUNDS} rounds",
        scene.len(),
        shapes.len(),
        tch::get_num_threads()
    );
    println!("score            plugin ms   host ms   ratio   quartiles of the ratio");
    for (component, operations) in [
        ("imp/magnitude", magnitude as fn(&Tensor) -> Tensor),
        ("magnitude/lamp", lamp),
    ] {
        let rounds = if component == "magnitude/lamp" {
            9
        } else {
            ROUNDS
        };
        let mut plugin = strategy(plain(component), plain("imp/global"), Vec::new()).unwrap();
        let layers = &scene.facts.layers;
        let mut by_plugin = || time(|| plugin.score(&scene).unwrap());
        let by_host = || {
            time(|| {
                let scores: Vec<Tensor> = scene.weights.iter().map(operations).collect();
                check::finite("score", &scores, layers).unwrap();
                scores
            })
        };
        // The first calls find no memory of the right sizes.
        let (mut through, mut within, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds + 2 {
            let (plugin, host) = match round % 2 {
                0 => {
                    let plugin = by_plugin();
                    (plugin, by_host())
                }
                _ => {
                    let host = by_host();
                    (by_plugin(), host)
                }
            };
            if round >= 2 {
                through.push(plugin * 1e3);
                within.push(host * 1e3);
                ratios.push(plugin / host);
            }
        }
        let ([_, plugin, _], [_, host, _]) = (quartiles(through), quartiles(within));
        let [low, ratio, high] = quartiles(ratios);
        println!("{component:<16} {plugin:>9.2} {host:>9.2} {ratio:>7.3}   [{low:.3}, {high:.3}]");
    }
}
