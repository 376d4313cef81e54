//! Reads what somebody wrote about breakers.

mod older;

use crate::document::{Mistakes, Object};
use beamline_contract::record::{BreakerOverrides, BreakerSetting, Isolation};

/// Reads the `breaker` object of a record.
pub fn read_record(mut object: Object<'_>, mistakes: &mut Mistakes) -> BreakerOverrides {
    let isolation = object.choice(BreakerOverrides::ISOLATION, &Isolation::WORDS, mistakes);
    let mut overrides = read_numbers(object, BreakerSetting::name, mistakes);
    overrides.isolation = isolation;
    overrides
}

/// Reads the `circuit_breaker` object of a policy.
pub fn read_policy(mut object: Object<'_>, mistakes: &mut Mistakes) -> BreakerOverrides {
    let older = older::take(&mut object, mistakes);
    let newer = read_numbers(object, BreakerSetting::policy_name, mistakes);
    older.overlaid(&newer)
}

fn read_numbers(
    mut object: Object<'_>,
    name_of: fn(BreakerSetting) -> &'static str,
    mistakes: &mut Mistakes,
) -> BreakerOverrides {
    let mut overrides = BreakerOverrides::default();
    for setting in BreakerSetting::ALL {
        let limits = setting.limits();
        let range = u64::from(*limits.start())..=u64::from(*limits.end());
        let number = object.whole(name_of(setting), range, mistakes);
        if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
            overrides.set(setting, number);
        }
    }
    object.finish(&BreakerSetting::ALL.map(name_of), mistakes);
    overrides
}
