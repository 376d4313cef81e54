//! What may be said on the command line.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) seconds: Duration,
    pub(crate) limit: usize,
    pub(crate) provider_ms: u64,
    /// Settings of the router, such as `router.tenant_rate=100`.
    pub(crate) settings: Vec<(String, String)>,
}

const USAGE: &str = "\
make load ARGS=\"--seconds 60\"
  --seconds N       time of each level (10)
  --limit N         router.max_in_flight (32)
  --provider-ms N   what the provider takes (40); 0 with a high limit makes the processor the bottleneck
  --set KEY=VALUE   a setting of the router";

impl Options {
    /// Nothing when there is nothing to do.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { seconds: Duration::from_secs(10), limit: 32, provider_ms: 40, settings: Vec::new() };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).expect(USAGE);
            match argument.as_str() {
                "--seconds" => options.seconds = Duration::from_secs(number()),
                "--limit" => options.limit = usize::try_from(number()).expect(USAGE),
                "--provider-ms" => options.provider_ms = number(),
                "--set" => {
                    let setting = arguments.next().expect(USAGE);
                    let (key, value) = setting.split_once('=').expect(USAGE);
                    options.settings.push((key.to_owned(), value.to_owned()));
                }
                // From cargo bench.
                "--bench" => {}
                // From cargo test, which only wants to know that it builds.
                "--list" | "--test" => return None,
                _ => {
                    println!("{USAGE}");
                    return None;
                }
            }
        }
        Some(options)
    }
}
