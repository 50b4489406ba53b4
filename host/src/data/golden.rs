//! Pictures as Pillow and torchvision see them; `host/tests/golden/images.py` wrote the file.

use super::crop::{Cut, centre};
use super::picture::{Picture, decode};
use super::resample::{Axis, resample};
use safetensors::SafeTensors;

const NAMES: [&str; 6] = ["jpeg", "progressive", "grey", "cmyk", "palette", "alpha"];

fn with_golden(check: impl Fn(&str, &dyn Fn(&str) -> Vec<u8>, Picture)) {
    let path = format!(
        "{}/tests/golden/images.safetensors",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for name in NAMES {
        let tensor = |what: &str| file.tensor(&format!("{what}.{name}")).unwrap();
        let rgb = tensor("rgb");
        let picture = Picture {
            width: rgb.shape()[1],
            height: rgb.shape()[0],
            pixels: rgb.data().to_vec(),
        };
        check(name, &|what| tensor(what).data().to_vec(), picture);
    }
}

#[test]
fn decoded_files_differ_from_pillows_by_the_rounding_of_jpeg_decoders() {
    with_golden(|name, tensor, expected| {
        let got = decode(&tensor("file")).unwrap();
        assert_eq!((got.width, got.height), (expected.width, expected.height));
        let differences = got.pixels.iter().zip(&expected.pixels);
        let differences: Vec<u8> = differences.map(|(a, b)| a.abs_diff(*b)).collect();
        let largest = *differences.iter().max().unwrap();
        let mean = differences.iter().map(|&it| f64::from(it)).sum::<f64>();
        let mean = mean / differences.len() as f64;
        println!("{name}: mean {mean:.4}, largest {largest}");
        match name {
            "palette" | "alpha" => assert_eq!(largest, 0, "{name}"),
            // Two libraries may enlarge the colours of a JPEG by other filters.
            _ => assert!(mean < 0.5 && largest <= 6, "{name}: {mean} {largest}"),
        }
    });
}

#[test]
fn resized_middles_and_parts_are_torchvisions_to_the_byte() {
    let part = |start: [usize; 2], length: [usize; 2]| {
        let axis = |i: usize| Axis {
            start: start[i],
            length: length[i],
            full: 24,
            from: 0,
            count: 24,
        };
        Cut {
            columns: axis(0),
            rows: axis(1),
            mirror: false,
        }
    };
    with_golden(|name, tensor, picture| {
        let middle = centre(picture.width, picture.height, 28, 24);
        for (what, cut) in [
            ("centre", middle),
            ("crop", part([9, 5], [17, 11])),
            ("grown", part([2, 3], [7, 20])),
        ] {
            let mut pixels = vec![0; 3 * 24 * 24];
            resample(&picture, cut.columns, cut.rows, cut.mirror, &mut pixels);
            assert!(pixels == tensor(what), "{what} of {name}");
        }
    });
}
