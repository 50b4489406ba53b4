use proptest::prelude::*;

use super::*;

#[test]
fn reads_what_it_writes() {
    let run = |point| Point::Run {
        run: "runs/lrr-3f9a".to_owned(),
        point: Box::new(point),
    };
    for point in [
        Point::Init,
        Point::Step(Step::Epochs(4)),
        Point::LevelStart(3),
        Point::LevelEnd(0),
        Point::InitDraw(1),
        Point::InitDraw(20),
        Point::SameLevelStart,
        Point::SameLevelEnd,
        Point::PreviousLevelStart,
        Point::PreviousLevelEnd,
        run(Point::Init),
        run(Point::LevelEnd(12)),
        run(Point::SameLevelStart),
    ] {
        assert_eq!(point.to_string().parse(), Ok(point.clone()));
        assert_eq!(point.to_string().parse(), Ok(Source::From(point)));
    }
    assert_eq!("keep".parse(), Ok(Source::Keep));
}

#[test]
fn a_point_without_a_levels_number_gets_that_of_the_level_that_the_rewind_leads_to() {
    let run = |point| Point::Run {
        run: "lrr".to_owned(),
        point: Box::new(point),
    };
    for (point, expected) in [
        (Point::SameLevelStart, Point::LevelStart(4)),
        (Point::SameLevelEnd, Point::LevelEnd(4)),
        (Point::PreviousLevelStart, Point::LevelStart(3)),
        (run(Point::PreviousLevelEnd), run(Point::LevelEnd(3))),
        (Point::LevelStart(9), Point::LevelStart(9)),
        (Point::InitDraw(2), Point::InitDraw(2)),
    ] {
        assert_eq!(point.at_level(4), expected);
    }
    assert_eq!(Point::PreviousLevelEnd.at_level(0), Point::PreviousLevelEnd);
}

#[test]
fn refuses_what_is_not_a_point() {
    for text in [
        "",
        "Init",
        "level-3",
        "level--start",
        "4",
        "#init",
        "a#",
        "a#b#init",
        "init-0",
        "init-01",
        "init-+1",
        "init-",
        "a#init-1",
        "level-+3-start",
        "previous-level-3-end",
        "previous-level",
    ] {
        assert_eq!(
            text.parse::<Point>(),
            Err(ParsePointError(text.to_owned())),
            "{text}"
        );
    }
}

fn own_point() -> impl Strategy<Value = Point> {
    prop_oneof![
        Just(Point::Init),
        Just(Point::SameLevelStart),
        Just(Point::SameLevelEnd),
        Just(Point::PreviousLevelStart),
        Just(Point::PreviousLevelEnd),
        any::<u64>().prop_map(|it| Point::Step(Step::Epochs(it))),
        any::<u64>().prop_map(|it| Point::Step(Step::Iterations(it))),
        any::<u64>().prop_map(Point::LevelStart),
        any::<u64>().prop_map(Point::LevelEnd),
    ]
}

fn any_point() -> impl Strategy<Value = Point> {
    prop_oneof![
        own_point(),
        (1u64..).prop_map(Point::InitDraw),
        ("[^#]{1,20}", own_point()).prop_map(|(run, point)| Point::Run {
            run,
            point: Box::new(point),
        }),
    ]
}

proptest! {
    #[test]
    fn every_point_is_read_as_it_was_written(point in any_point(), level: u64) {
        let text = point.to_string();
        prop_assert_eq!(text.parse(), Ok(point.clone()));
        prop_assert_eq!(text.parse(), Ok(Source::From(point.clone())));
        let placed = point.at_level(level);
        prop_assert_eq!(placed.to_string().parse(), Ok(placed.clone()));
        // What has a level keeps it, but for the level before level 0.
        if level > 0 {
            prop_assert_eq!(placed.at_level(level / 2), placed);
        }
    }

    #[test]
    fn what_is_read_of_any_text_is_written_as_the_same_point(text in any::<String>()) {
        if let Ok(point) = text.parse::<Point>() {
            prop_assert_eq!(point.to_string().parse(), Ok(point));
        }
    }
}
