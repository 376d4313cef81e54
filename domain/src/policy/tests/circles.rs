//! A circle is found exactly when no order of waves exists: a stage that was accepted can always be
//! planned.

use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::Strategy;

use super::*;
use crate::policy::waves::waves;

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn any_stage() -> impl Strategy<Value = Vec<Option<Vec<&'static str>>>> {
    prop::collection::vec(
        prop::option::weighted(0.8, subsequence(IDS.to_vec(), 0..3)),
        IDS.len(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_can_be_planned_is_accepted_and_nothing_else(stage in any_stage()) {
        let entry = |(id, names): (&&str, &Option<Vec<&str>>)| match names {
            Some(names) => format!(r#"{{"id": "{id}", "depends_on": {names:?}}}"#),
            None => format!(r#"{{"id": "{id}"}}"#),
        };
        let entries: Vec<String> = IDS.iter().zip(&stage).map(entry).collect();
        let json = format!(r#"{{"providers": ["m"], "pre": [{}]}}"#, entries.join(", "));
        let processors: Vec<Processor> = IDS.iter().zip(stage).map(|(id, names)| Processor {
            id: (*id).to_owned(),
            mode: Mode::Optional,
            config: Fields::default(),
            depends_on: names.map(|names| names.into_iter().map(str::to_owned).collect()), terms: Default::default(),
        }).collect();
        let parsed = Policy::parse(&json);
        prop_assert_eq!(waves(&processors).is_some(), parsed.is_ok(), "{}", json);
        if let Err(mistakes) = parsed {
            let path = mistakes[0].message.split(": ").nth(1).unwrap_or_default().split(';').next().unwrap_or_default();
            let names: Vec<&str> = path.split(" -> ").collect();
            prop_assert!(names.len() > 1 && names.first() == names.last(), "{}", mistakes[0]);
        }
    }
}
