//! A running router as seen from the command line: one connection, questions and answers, each with
//! a deadline.
//!
//! The NATS client waits without limit for a place in its queue before its own timer starts, so
//! every wait here is bounded from outside.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use async_nats::{ConnectErrorKind, HeaderMap, RequestErrorKind};
use beamline_bus::headers;
use beamline_contract::admin::{IF_REVISION, Operation};
use beamline_contract::answer::DecisionAnswer;
use beamline_contract::fields::Fields;
use beamline_contract::request::RequestBody;
use beamline_contract::{header, subject};
use humantime::format_rfc3339_millis;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use tokio::time::timeout;

use super::failure::{Failure, RefusedAnswer};
use super::text;
use crate::config::Config;
use crate::edge::nats::{addresses, cause_of, options};
use crate::keys::{Signed, Signer, nonce};

/// A connection to the router's NATS server.
#[derive(Debug)]
pub(super) struct Client {
    nats: async_nats::Client,
    place: Place,
    /// Of whoever has a key.
    signer: Option<Signer>,
    patience: Duration,
}

/// Where we ask, for sentences. The configuration refuses addresses that hold credentials.
#[derive(Debug, Clone)]
struct Place {
    server: String,
    prefix: String,
}

/// A JSON object that is not a refusal, as the router wrote it. `A` is what the contract says of
/// it.
#[derive(Debug)]
pub(super) struct Answer<A> {
    raw: String,
    says: PhantomData<fn() -> A>,
}

impl Client {
    /// Connects, or says within `patience` why not.
    pub(super) async fn connect(config: &Config, patience: Duration) -> Result<Self, Failure> {
        let place = Place {
            server: config.nats.url.clone(),
            prefix: config.nats.subject_prefix.clone(),
        };
        let key = config.admin.api_key.as_ref();
        let signer = key.map(|key| Signer::new(key.expose_secret()));
        let connecting = async {
            let options = options(&config.nats, "beamline-router command line").await;
            let options = options.map_err(|unreadable| Failure::Usage(unreadable.to_string()))?;
            let options = options.connection_timeout(patience);
            options
                .connect(addresses(&config.nats.url))
                .await
                .map_err(|error| place.no_connection(&error))
        };
        let nats = timeout(patience, connecting)
            .await
            .map_err(|_elapsed| place.no_server(patience))??;
        Ok(Self {
            nats,
            place,
            signer,
            patience,
        })
    }

    /// An operation of the administration.
    pub(super) async fn admin<O: Operation>(
        &self,
        operation: &O,
    ) -> Result<Answer<O::Answer>, Failure> {
        self.admin_within(operation, self.patience).await
    }

    /// An operation that may take longer than others.
    pub(super) async fn admin_within<O: Operation>(
        &self,
        operation: &O,
        patience: Duration,
    ) -> Result<Answer<O::Answer>, Failure> {
        self.operate::<O>(written(operation)?, patience).await
    }

    /// A write that is refused when the object changed after the revision at which it was read.
    pub(super) async fn admin_if<O: Operation>(
        &self,
        operation: &O,
        seen: u64,
    ) -> Result<Answer<O::Answer>, Failure> {
        let unwritable = |error: serde_json::Error| Failure::Failed(format!("{error}."));
        let body = serde_json::to_string(operation).map_err(unwritable)?;
        let mut body = Fields::parse(&body).map_err(unwritable)?;
        body.set(IF_REVISION, to_raw_value(&seen).map_err(unwritable)?);
        self.operate::<O>(written(&body)?, self.patience).await
    }

    async fn operate<O: Operation>(
        &self,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Answer<O::Answer>, Failure> {
        let subject = subject::admin(&self.place.prefix, O::NAME);
        let headers = self.signature(&subject, &body)?;
        self.ask(subject, body, headers, patience).await
    }

    /// A message through the whole pipeline.
    pub(super) async fn route(
        &self,
        request: &RequestBody<'_>,
        patience: Duration,
    ) -> Result<Answer<DecisionAnswer<'static>>, Failure> {
        let subject = subject::route(&self.place.prefix);
        self.ask(subject, written(request)?, None, patience).await
    }

    /// A message up to the choice of its provider.
    pub(super) async fn decide(
        &self,
        request: &RequestBody<'_>,
        patience: Duration,
    ) -> Result<Answer<DecisionAnswer<'static>>, Failure> {
        let subject = subject::decide(&self.place.prefix);
        self.ask(subject, written(request)?, None, patience).await
    }

    /// The headers that say who asks. Who reads them learns nothing that opens anything.
    fn signature(&self, subject: &str, body: &[u8]) -> Result<Option<HeaderMap>, Failure> {
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let cannot = |cause: &dyn std::fmt::Display| {
            Failure::Failed(format!("the request cannot be signed: {cause}."))
        };
        let nonce = nonce().map_err(|error| cannot(&error))?;
        let date = format_rfc3339_millis(SystemTime::now()).to_string();
        let authorization = signer.authorization(&Signed {
            subject,
            date: &date,
            nonce: &nonce,
            body,
        });
        let mut map = HeaderMap::new();
        for (name, value) in [
            (header::AUTHORIZATION, &authorization),
            (header::ROUTER_DATE, &date),
            (header::ROUTER_NONCE, &nonce),
        ] {
            headers::insert(&mut map, name, value).map_err(|error| cannot(&error))?;
        }
        Ok(Some(map))
    }

    async fn ask<A>(
        &self,
        subject: String,
        body: Vec<u8>,
        headers: Option<HeaderMap>,
        patience: Duration,
    ) -> Result<Answer<A>, Failure> {
        let mut request = async_nats::Request::new()
            .payload(body.into())
            .timeout(Some(patience));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let message = match timeout(patience, self.nats.send_request(subject, request)).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) => {
                return Err(self.no_answer(error.kind(), &error.to_string(), patience));
            }
            Err(_elapsed) => return Err(self.no_answer(RequestErrorKind::TimedOut, "", patience)),
        };
        Answer::read_from(&message.payload)
    }

    fn no_answer(&self, kind: RequestErrorKind, cause: &str, patience: Duration) -> Failure {
        let connected = self.nats.connection_state() == async_nats::connection::State::Connected;
        match kind {
            RequestErrorKind::TimedOut if !connected => self.place.lost(),
            RequestErrorKind::TimedOut => self.place.silent_router(patience),
            RequestErrorKind::NoResponders => self.place.no_router(),
            RequestErrorKind::MaxPayloadExceeded => Failure::Failed(format!(
                "the message is larger than the NATS server takes ({}). Send less, or raise its max_payload.",
                text::count(self.nats.max_payload(), "byte")
            )),
            RequestErrorKind::InvalidSubject => Failure::Failed(format!(
                "'{}' cannot start a NATS subject. Correct nats.subject_prefix.",
                self.place.prefix
            )),
            RequestErrorKind::Other => {
                Failure::Unreachable(format!("the request was not sent: {cause}. Try again."))
            }
        }
    }
}

impl<A> Answer<A> {
    fn read_from(payload: &[u8]) -> Result<Self, Failure> {
        let raw = str::from_utf8(payload)
            .ok()
            .filter(|raw| serde_json::from_str::<AnyObject>(raw).is_ok());
        let raw = raw.ok_or_else(|| incomprehensible("it is not a JSON object"))?;
        match RefusedAnswer::in_answer(raw) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Self {
                raw: raw.to_owned(),
                says: PhantomData,
            }),
        }
    }

    /// The answer as the router wrote it.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    pub(super) fn read<'a>(&'a self) -> Result<A, Failure>
    where
        A: Deserialize<'a>,
    {
        self.read_as()
    }

    /// The same with another type in some place, say when a part is passed on as it is.
    pub(super) fn read_as<'a, B: Deserialize<'a>>(&'a self) -> Result<B, Failure> {
        serde_json::from_str(&self.raw).map_err(|error| incomprehensible(&error.to_string()))
    }
}

type AnyObject = std::collections::BTreeMap<String, serde::de::IgnoredAny>;

fn incomprehensible(cause: &str) -> Failure {
    Failure::Failed(format!(
        "the answer cannot be read: {cause}. Check that router and command line have the same version, and that nothing \
         else answers on this subject prefix."
    ))
}

impl Place {
    fn no_server(&self, patience: Duration) -> Failure {
        Failure::Unreachable(format!(
            "no NATS server answered at {} within {}. {START_OR_POINT}",
            self.server,
            text::limit(patience)
        ))
    }

    fn no_connection(&self, error: &async_nats::ConnectError) -> Failure {
        let server = &self.server;
        let cause = cause_of(error);
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Failure::Unreachable(format!(
                    "the NATS server at {server} refuses these credentials. Set nats.creds_file, nats.token, or nats.user and nats.password; for \
                     the server of an `up`, type `. .beamline/env` where that was started."
                ))
            }
            ConnectErrorKind::ServerParse => Failure::Usage(format!(
                "'{server}' is not a NATS address: {cause}. Write it as nats://host:port."
            )),
            ConnectErrorKind::Tls => Failure::Unreachable(format!(
                "no secure connection to the NATS server at {server}: {cause}. Check the nats.tls settings."
            )),
            ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => Failure::Unreachable(format!(
                "no NATS server at {server}: {cause}. {START_OR_POINT}"
            )),
        }
    }

    fn no_router(&self) -> Failure {
        Failure::Unreachable(format!(
            "no router listens on '{}.router.v1' at {}. Start one with `beamline-router up` (everything it needs) or \
             `beamline-router serve`, or correct --subject-prefix.",
            self.prefix, self.server
        ))
    }

    fn silent_router(&self, patience: Duration) -> Failure {
        Failure::Unreachable(format!(
            "the router on '{}.router.v1' at {} did not answer within {}. Give it longer with --timeout, or look at its \
             logs.",
            self.prefix,
            self.server,
            text::limit(patience)
        ))
    }

    fn lost(&self) -> Failure {
        Failure::Unreachable(format!(
            "the connection to the NATS server at {} was lost. {START_OR_POINT}",
            self.server
        ))
    }
}

const START_OR_POINT: &str =
    "Start one (`beamline-router up` brings its own) or point at one with --nats-url.";

fn written(body: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body)
        .map_err(|error| Failure::Failed(format!("cannot write the request: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_be_an_object() {
        assert_eq!(
            Answer::<()>::read_from(b"{\"ok\":true}")
                .expect("an object")
                .raw(),
            "{\"ok\":true}"
        );
        for nonsense in [&b"[1]"[..], b"", b"\xff", b"nope"] {
            let failure = Answer::<()>::read_from(nonsense).expect_err("not an object");
            assert_eq!(failure.exit_code(), 1, "{failure:?}");
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        let failure =
            Answer::<()>::read_from(br#"{"ok":false,"error":{"code":"not_found","message":"no"}}"#);
        assert_eq!(failure.expect_err("a refusal").exit_code(), 3);
    }

    #[test]
    fn each_kind_of_silence_has_its_sentence() {
        let place = Place {
            server: "nats://127.0.0.1:4222".into(),
            prefix: "beamline".into(),
        };
        assert_eq!(
            place.no_router().sentence(),
            "error: no router listens on 'beamline.router.v1' at nats://127.0.0.1:4222. Start one with `beamline-router up` \
             (everything it needs) or `beamline-router serve`, or correct --subject-prefix."
        );
        let silences = [
            place.no_server(Duration::from_secs(5)),
            place.silent_router(Duration::from_millis(1500)),
            place.lost(),
            place.no_router(),
        ];
        assert!(silences.iter().all(|silence| silence.exit_code() == 5));
    }
}
