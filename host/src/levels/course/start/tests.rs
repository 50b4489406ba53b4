use super::*;

#[test]
fn rounds_fall_by_the_same_factor_and_end_at_the_target() {
    let counts: Vec<u64> = (1..=4)
        .map(|round| geometric(10_000, 1, round, 4))
        .collect();
    assert_eq!(counts, [1000, 100, 10, 1]);
    assert_eq!(geometric(100, 33, 1, 1), 33);
}

#[test]
fn states_come_back_byte_for_byte() {
    let states = vec![
        ("mask".to_owned(), vec![0, 1, 254, 255]),
        ("rewind[0]".to_owned(), vec![]),
    ];
    let stored = encode(&states);
    assert_eq!(stored.len(), 1);
    assert_eq!(decode(&stored).unwrap(), states[..1]);
}
