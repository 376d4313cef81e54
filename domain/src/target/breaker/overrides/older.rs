//! The keys of breakers in older policies (contract section 4), as the settings that they are now.

use crate::document::{Mistakes, Object, shorten};
use beamline_contract::policy::OLDER_BREAKER_KEYS;
use beamline_contract::record::{BreakerOverrides, BreakerSetting};

/// Takes them out of a `circuit_breaker` object. What is written beside them under a newer name
/// goes before.
pub(super) fn take(object: &mut Object<'_>, mistakes: &mut Mistakes) -> BreakerOverrides {
    let mut overrides = BreakerOverrides::default();
    if object.flag("enabled", mistakes) == Some(false) {
        switch_off(&mut overrides);
    }
    for (key, setting, factor) in OLDER_BREAKER_KEYS {
        let pointer = object.at(key);
        let Some(raw) = object.take(key) else {
            continue;
        };
        match raw.get().parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => {
                let fitting = fit(number * factor, setting);
                let is_cut = (f64::from(fitting) - number * factor).abs() > 1.0;
                overrides.set(setting, fitting);
                if is_cut {
                    mistakes.warn(
                        pointer,
                        format!(
                            "is taken as {} {fitting}, which is the limit",
                            setting.policy_name()
                        ),
                    );
                }
            }
            _ => mistakes.add(
                pointer,
                format!("must be a number above 0, is {}", shorten(raw.get())),
            ),
        }
    }
    overrides
}

/// Failures of the policy's calls open nothing. Other policies share the breaker, and theirs do.
fn switch_off(overrides: &mut BreakerOverrides) {
    let most = [
        BreakerSetting::ConsecutiveFailures,
        BreakerSetting::MinimumCalls,
        BreakerSetting::FailureRate,
        BreakerSetting::SlowCallRate,
    ];
    for setting in most {
        overrides.set(setting, *setting.limits().end());
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the limits of the setting, which are whole and small"
)]
fn fit(number: f64, setting: BreakerSetting) -> u32 {
    let limits = setting.limits();
    let bounded = number.clamp(f64::from(*limits.start()), f64::from(*limits.end()));
    bounded.round() as u32
}

#[cfg(test)]
mod tests {
    use crate::policy::Policy;

    fn read(json: &str) -> (String, Vec<String>) {
        let document = format!(r#"{{"providers": ["p"], "circuit_breaker": {json}}}"#);
        let policy = Policy::parse(&document).unwrap();
        let warnings = policy.warnings().iter().map(ToString::to_string).collect();
        let numbers = serde_json::to_string(&policy.circuit_breaker).unwrap();
        (numbers, warnings)
    }

    #[test]
    fn older_keys_are_the_settings_that_they_are_now() {
        let (numbers, warnings) = read(
            r#"{"enabled": true, "failure_threshold": 7, "success_threshold": 2, "timeout_ms": 30000,
                "half_open_max_calls": 4, "error_rate_threshold": 0.25, "error_rate_window_seconds": 20}"#,
        );
        assert_eq!(
            numbers,
            r#"{"window_ms":20000,"failure_rate":25,"consecutive_failures":7,"open_base_ms":30000,"half_open_permits":4,"half_open_successes":2}"#
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn what_is_beyond_a_limit_is_cut_and_told() {
        let (numbers, warnings) = read(r#"{"error_rate_window_seconds": 60, "timeout_ms": 1}"#);
        assert_eq!(numbers, r#"{"window_ms":30000,"open_base_ms":100}"#);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("window_ms 30000"), "{warnings:?}");
    }

    #[test]
    fn a_newer_key_goes_before_and_one_that_is_off_opens_nothing() {
        let (numbers, _) = read(r#"{"timeout_ms": 9000, "open_base_ms": 7000}"#);
        assert_eq!(numbers, r#"{"open_base_ms":7000}"#);
        let (numbers, _) = read(r#"{"enabled": false}"#);
        assert_eq!(
            numbers,
            r#"{"minimum_calls":100000,"failure_rate":100,"slow_call_rate":100,"consecutive_failures":1000}"#
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for json in [
            r#"{"error_rate_threshold": "half"}"#,
            r#"{"success_threshold": 0}"#,
            r#"{"enabled": "no"}"#,
        ] {
            let document = format!(r#"{{"providers": ["p"], "circuit_breaker": {json}}}"#);
            assert!(Policy::parse(&document).is_err(), "{json}");
        }
    }
}
