use super::*;

/// If one of these changes, every stored run stops being reproducible: runs under way would go on
/// with other numbers, and nobody could repeat a published one. Bump the identity's schema.
///
/// The numbers are those of another implementation of BLAKE3 and ChaCha8, in Python.
#[test]
fn streams_are_golden() {
    let moment = Moment {
        level: 1,
        epoch: 2,
        step: 30,
    };
    for (purpose, expected) in [
        (Purpose::Init("fc.weight"), 4_012_444_332_043_781_384),
        (
            Purpose::InitDraw {
                parameter: "fc.weight",
                draw: 1,
            },
            4_400_516_271_251_545_831,
        ),
        (Purpose::Shuffle, 13_062_659_800_244_374_347),
        (Purpose::Augment, 18_043_536_504_603_341_544),
        (Purpose::Crop(1_281_166), 348_917_993_195_174_610),
        (Purpose::Dropout("fc"), 13_352_413_160_038_460_713),
        (
            Purpose::DropPath("blocks.1.drop_path1"),
            13_742_181_186_353_499_173,
        ),
        (
            Purpose::Strategy("rewind[1]:sign-perturbation/flip"),
            5_802_553_434_174_075_308,
        ),
        (Purpose::Samples("hidden-neuron"), 5_717_132_158_027_600_108),
        (Purpose::HeldOut("validation"), 6_831_655_471_080_423_454),
        (
            Purpose::NeuronInit {
                dimension: 5,
                init: 1999,
            },
            1_123_826_558_526_373_755,
        ),
    ] {
        let first = Stream::new(3, purpose, moment).next_u64();
        assert_eq!(first, expected, "{purpose:?}");
    }
    let at_start = |purpose| Stream::new(0, purpose, Moment::default()).next_u64();
    let init = at_start(Purpose::Init("fc.weight"));
    assert_eq!(init, 10_867_380_060_574_773_230);
    let moment = Moment { step: 0, ..moment };
    let mut stream = Stream::new(3, Purpose::Shuffle, moment);
    assert_eq!(stream.permutation(8), [3, 1, 7, 6, 4, 2, 0, 5]);
    let mut coins = [0.0; 16];
    let moment = Moment { step: 30, ..moment };
    Stream::new(4, Purpose::Dropout("fc"), moment).coins(0.7, &mut coins);
    let expected = [0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1];
    assert_eq!(coins.map(|coin| coin as u8), expected);
}

#[test]
fn purposes_levels_and_seeds_have_streams_of_their_own() {
    let at = |seed, purpose, level| {
        Stream::new(
            seed,
            purpose,
            Moment {
                level,
                ..Moment::default()
            },
        )
        .next_u64()
    };
    let draw = |draw| Purpose::InitDraw {
        parameter: "shuffle",
        draw,
    };
    let all = [
        at(0, Purpose::Shuffle, 0),
        at(0, Purpose::Augment, 0),
        at(0, Purpose::Dropout("fc1"), 0),
        at(0, Purpose::Dropout("fc2"), 0),
        at(0, Purpose::DropPath("fc1"), 0),
        at(0, Purpose::Crop(0), 0),
        at(0, Purpose::Crop(1), 0),
        at(1, Purpose::Shuffle, 0),
        at(0, Purpose::Shuffle, 1),
        at(0, Purpose::Init("shuffle"), 0),
        at(0, draw(1), 0),
        at(0, draw(2), 0),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| a != b));
    }
}

#[test]
fn coins_compare_a_fraction_of_32_bits_with_the_probability() {
    for p in [0.0, 1e-9, 0.3, 0.5, 0.999, 1.0] {
        let stream = || Stream::new(5, Purpose::Augment, Moment::default());
        let mut numbers = stream();
        // Two whole pieces and a part of one, which ends within a word.
        let mut coins = vec![0.5; 2 * 1024 + 333];
        stream().coins(p, &mut coins);
        let mut drawn = Vec::new();
        for piece in coins.chunks(1024) {
            let words = piece.len().div_ceil(4);
            let words: Vec<u32> = (0..words).map(|_| numbers.0.next_u32()).collect();
            let bytes = words.into_iter().flat_map(u32::to_le_bytes);
            let bytes: Vec<u8> = bytes.take(piece.len()).collect();
            drawn.extend(bytes.into_iter().map(|byte| {
                // The further bits change nothing where the byte decides.
                let undecided = f64::from(byte) == (p * 256.0).floor();
                let more = if undecided {
                    numbers.0.next_u32() >> 8
                } else {
                    0
                };
                f64::from(byte) / 256.0 + f64::from(more) / 2f64.powi(32)
            }));
        }
        for (coin, drawn) in coins.into_iter().zip(drawn) {
            let below = (p * 2f64.powi(32)).round() / 2f64.powi(32);
            assert_eq!(coin, f32::from(u8::from(drawn < below)), "{drawn}, {p}");
        }
    }
}

#[test]
fn normal_numbers_have_mean_zero_and_variance_one() {
    let mut stream = Stream::new(0, Purpose::Augment, Moment::default());
    let draws: Vec<f64> = (0..100_000).map(|_| f64::from(stream.normal())).collect();
    let mean = draws.iter().sum::<f64>() / draws.len() as f64;
    let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
    // Five standard errors of each.
    assert!(mean.abs() < 0.016, "{mean}");
    assert!((variance - 1.0).abs() < 0.023, "{variance}");
}
