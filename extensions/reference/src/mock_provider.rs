//! `mock_provider`: answers like a model provider without being one. It echoes the prompt, counts
//! words as tokens, and can be told to be slow, to fail or to hang, by flags for all calls or by
//! `parameters.mock` for one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use beamline_extension::{CallContext, Completion, Failure, Prompt, Usage};
use clap::{Args, ValueEnum};
use serde::Deserialize;
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
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

/// `parameters.mock`: what is given replaces the flag of the same name for this call.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Overrides {
    latency_ms: Option<u64>,
    jitter_ms: Option<u64>,
    failure_rate: Option<f64>,
    failure: Option<FailureKind>,
    output: Option<Value>,
}

impl Overrides {
    fn of(prompt: &Prompt) -> Result<Self, Failure> {
        let Some(json) = prompt.parameters.raw("mock") else {
            return Ok(Self::default());
        };
        serde_json::from_str(json.get())
            .map_err(|error| Failure::invalid_request(format!("parameters.mock: {error}")))
    }
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
        let behaviour = self.behaviour_with(&overrides)?;
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

    fn behaviour_with(&self, overrides: &Overrides) -> Result<Behaviour, Failure> {
        let failure_rate = overrides
            .failure_rate
            .unwrap_or(self.behaviour.failure_rate);
        if !(0.0..=1.0).contains(&failure_rate) {
            return Err(Failure::invalid_request(
                "parameters.mock.failure_rate: expected 0 to 1",
            ));
        }
        Ok(Behaviour {
            latency_ms: overrides.latency_ms.unwrap_or(self.behaviour.latency_ms),
            jitter_ms: overrides.jitter_ms.unwrap_or(self.behaviour.jitter_ms),
            failure_rate,
            failure: overrides.failure.unwrap_or(self.behaviour.failure),
        })
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
