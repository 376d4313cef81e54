use super::located::MAX_MISTAKES;
use super::*;

#[test]
fn depth_is_counted_outside_strings_only() {
    assert!(check_depth("[".repeat(128).as_bytes()).is_ok());
    assert!(check_depth("[".repeat(129).as_bytes()).is_err());
    assert!(check_depth(format!("\"\\\"{}\"", "[".repeat(500)).as_bytes()).is_ok());
}

#[test]
fn repeated_and_unknown_keys_are_mistakes_with_a_place() {
    let mut mistakes = Mistakes::default();
    let mut object =
        Object::parse(r#"{"id": "a", "id": "b", "wieght": 1}"#, &mut mistakes).unwrap();
    object.text("id", &mut mistakes);
    object.finish(&["id", "weight"], &mut mistakes);
    let all: Vec<String> = mistakes
        .into_result(None::<()>)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        all,
        [
            "/id: is given twice",
            "/wieght: is not a known key; did you mean weight?"
        ]
    );
}

#[test]
fn a_hostile_number_of_keys_costs_no_more_than_its_length() {
    let keys: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
    let twice = format!("{{{},{}}}", keys.join(","), keys.join(","));
    let mut mistakes = Mistakes::default();
    assert_eq!(
        Object::parse(&twice, &mut mistakes).unwrap().entries.len(),
        100_000
    );
    assert_eq!(mistakes.count(), MAX_MISTAKES);
}
