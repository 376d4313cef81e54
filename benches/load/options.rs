//! What may be said on the command line.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) seconds: Duration,
    /// `router.max_in_flight`; `None`: the router's defaults.
    pub(crate) limit: Option<usize>,
    /// Router and nats-server get a processor of their own, everything else the others.
    pub(crate) apart: bool,
    pub(crate) json: bool,
    pub(crate) provider_ms: u64,
    /// Settings of the router, such as `router.tenant_rate=100`.
    pub(crate) settings: Vec<(String, String)>,
}

const USAGE: &str = "\
make load ARGS=\"--seconds 60\"
  --seconds N       time of each level (10)
  --limit N         a fixed limit of so many requests in flight, instead of the router's defaults
  --together        do not keep the router and nats-server apart from the clients on a processor of their own
  --output json     one document instead of the table
  --provider-ms N   what the provider takes (40); 0 makes the processor the bottleneck
  --set KEY=VALUE   a setting of the router";

impl Options {
    /// Nothing when there is nothing to do.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            seconds: Duration::from_secs(10),
            limit: None,
            apart: true,
            json: false,
            provider_ms: 40,
            settings: Vec::new(),
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                arguments
                    .next()
                    .and_then(|text| text.parse::<u64>().ok())
                    .expect(USAGE)
            };
            match argument.as_str() {
                "--seconds" => options.seconds = Duration::from_secs(number()),
                "--limit" => options.limit = Some(usize::try_from(number()).expect(USAGE)),
                "--provider-ms" => options.provider_ms = number(),
                "--set" => {
                    let setting = arguments.next().expect(USAGE);
                    let (key, value) = setting.split_once('=').expect(USAGE);
                    options.settings.push((key.to_owned(), value.to_owned()));
                }
                "--together" => options.apart = false,
                "--output" => {
                    let format = arguments.next().expect(USAGE);
                    assert!(["json", "table"].contains(&format.as_str()), "{USAGE}");
                    options.json = format == "json";
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
