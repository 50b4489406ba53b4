use super::*;

#[test]
fn keys_have_the_order_of_their_floats_and_lead_back_to_them() {
    let floats = [
        f32::NEG_INFINITY,
        f32::MIN,
        -1.0,
        -f32::MIN_POSITIVE,
        -1e-45,
        0.0,
        1e-45,
        f32::MIN_POSITIVE,
        1.0,
        f32::MAX,
        f32::INFINITY,
    ];
    assert!(floats.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
    assert!(floats.iter().all(|&it| score_of(key(it)) == it));
    assert_eq!(key(-0.0), key(0.0));
}
