//! `mock_provider`: answers like a model provider without being one. It echoes the prompt, counts
//! words as tokens, and can be told to be slow, to fail or to hang, by flags for all calls or by
//! `parameters.mock` for one.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use beamline_extension::{CallContext, Completion, Failure, Prompt, Usage};
use clap::{Args, ValueEnum};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// How the mock behaves.
#[derive(Args, Clone, Debug)]
pub struct Behaviour {
    /// Milliseconds before every answer
    #[arg(long, env = "BEAMLINE_MOCK_LATENCY_MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Up to so many milliseconds more, at random
    #[arg(long, env = "BEAMLINE_MOCK_JITTER_MS", default_value_t = 0)]
    pub jitter_ms: u64,
    /// Share of calls that fail, from 0 to 1
    #[arg(long, env = "BEAMLINE_MOCK_FAILURE_RATE", default_value_t = 0.0, value_parser = share)]
    pub failure_rate: f64,
    /// What a failing call does
    #[arg(long, env = "BEAMLINE_MOCK_FAILURE", default_value = "error")]
    pub failure: FailureKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// An error answer with code `mock_failure`, retryable
    #[default]
    Error,
    /// No answer at all
    Timeout,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            jitter_ms: 0,
            failure_rate: 0.0,
            failure: FailureKind::Error,
        }
    }
}

/// What of the parameters is read here; others are none of the mock's.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Parameters {
    #[serde(default)]
    mock: Overrides,
}

/// `parameters.mock`: what is given replaces the flag of the same name for this call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Overrides {
    latency_ms: Option<Milliseconds>,
    jitter_ms: Option<Milliseconds>,
    #[schemars(range(min = 0.0, max = 1.0))]
    failure_rate: Option<f64>,
    failure: Option<FailureKind>,
    output: Option<Value>,
}

impl Overrides {
    fn of(prompt: &Prompt) -> Result<Self, Failure> {
        let mock = prompt.parameters.raw("mock");
        mock.map_or(Ok(Self::default()), |json| Self::read(json.get()))
    }

    pub(crate) fn read(json: &str) -> Result<Self, Failure> {
        // A list of the fields' values would do for a struct, too.
        if !json.starts_with('{') {
            return Err(Failure::invalid_request(
                "parameters.mock: expected an object",
            ));
        }
        let overrides: Self = serde_json::from_str(json)
            .map_err(|error| Failure::invalid_request(format!("parameters.mock: {error}")))?;
        match overrides.failure_rate {
            Some(rate) if !(0.0..=1.0).contains(&rate) => Err(Failure::invalid_request(
                "parameters.mock.failure_rate: expected 0 to 1",
            )),
            Some(_) | None => Ok(overrides),
        }
    }
}

/// A whole number, however it is written: JSON knows no difference between 5 and 5.0.
#[derive(Clone, Copy, Debug)]
struct Milliseconds(u64);

impl Milliseconds {
    /// An hour.
    const MOST: u32 = 3_600_000;
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if number.fract() != 0.0 || !(0.0..=f64::from(Self::MOST)).contains(&number) {
            let limits = format!("expected a whole number from 0 to {}", Self::MOST);
            return Err(serde::de::Error::custom(limits));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and within the limits"
        )]
        Ok(Self(number as u64))
    }
}

impl JsonSchema for Milliseconds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Milliseconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 0, "maximum": Self::MOST})
    }
}

/// Of the parameters that a policy may set.
pub fn config_schema() -> Schema {
    schema_for!(Parameters)
}

#[derive(Clone, Debug)]
pub struct MockProvider {
    behaviour: Behaviour,
    random: Arc<Mutex<fastrand::Rng>>,
}

impl MockProvider {
    /// With a seed, the same calls in the same order give the same delays and failures.
    pub fn new(behaviour: Behaviour, seed: Option<u64>) -> Self {
        let random = seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self {
            behaviour,
            random: Arc::new(Mutex::new(random)),
        }
    }

    /// Answers `echo: ` and the prompt.
    ///
    /// # Errors
    /// `invalid_request` for wrong `parameters.mock`; else only the failures that were asked for.
    pub async fn handle(self, prompt: Prompt, _call: CallContext) -> Result<Completion, Failure> {
        let overrides = Overrides::of(&prompt)?;
        let behaviour = self.behaviour_with(&overrides);
        let draw = self.draw(&behaviour);
        tokio::time::sleep(draw.delay).await;
        if !draw.fails {
            return complete(&prompt, overrides.output);
        }
        match behaviour.failure {
            FailureKind::Error => Err(Failure::new("mock_failure", "asked to fail").retryable()),
            FailureKind::Timeout => Err(Failure::no_answer()),
        }
    }

    fn behaviour_with(&self, overrides: &Overrides) -> Behaviour {
        let milliseconds = |own: Option<Milliseconds>, flag: u64| own.map_or(flag, |own| own.0);
        let flags = &self.behaviour;
        Behaviour {
            latency_ms: milliseconds(overrides.latency_ms, flags.latency_ms),
            jitter_ms: milliseconds(overrides.jitter_ms, flags.jitter_ms),
            failure_rate: overrides.failure_rate.unwrap_or(flags.failure_rate),
            failure: overrides.failure.unwrap_or(flags.failure),
        }
    }

    fn draw(&self, behaviour: &Behaviour) -> Draw {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let jitter_ms = random.u64(0..=behaviour.jitter_ms);
        Draw {
            delay: Duration::from_millis(behaviour.latency_ms.saturating_add(jitter_ms)),
            fails: random.f64() < behaviour.failure_rate,
        }
    }
}

/// What chance makes of one call.
struct Draw {
    delay: Duration,
    fails: bool,
}

fn complete(prompt: &Prompt, output: Option<Value>) -> Result<Completion, Failure> {
    let text = text_of(prompt);
    let output = output.unwrap_or_else(|| format!("echo: {text}").into());
    let answered = output.as_str().map_or(1, words);
    let model = prompt
        .parameters
        .get::<String>("model")
        .unwrap_or_else(|| "mock".to_owned());
    #[expect(
        clippy::cast_precision_loss,
        reason = "a prompt has fewer words than a float has whole numbers"
    )]
    let usage = Usage::new(words(&text) as f64, answered as f64);
    Ok(Completion::new(&output)?
        .with_usage(usage)
        .with_metadata("model", &model)
        .with_metadata("mock", &true))
}

/// The prompt, or else the last message's content.
fn text_of(prompt: &Prompt) -> String {
    if !prompt.text.is_empty() {
        return prompt.text.clone();
    }
    let messages: Vec<Value> = prompt
        .messages
        .as_deref()
        .and_then(|messages| serde_json::from_str(messages.get()).ok())
        .unwrap_or_default();
    match messages.last().and_then(|message| message.get("content")) {
        Some(Value::String(text)) => text.clone(),
        Some(content) => content.to_string(),
        None => String::new(),
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}
