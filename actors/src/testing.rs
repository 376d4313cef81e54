//! In-memory Store, Transport and SessionStore, for tests of this crate and of the router.

mod sessions;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ports::{
    Answer, Answers, Author, Call, Change, HealthLine, Nonce, Store, StoreError, Transport,
    TransportError,
};
use crate::responder::{AnswerSink, Outgoing, PartSink, Responder, TooManyParts};
use beamline_domain::fleet::{FleetKey, FleetKeys};
use beamline_domain::record;
use beamline_domain::snapshot::{Content, StoredPolicy};
pub use sessions::MemorySessions;

/// A store that can be taken away and given back.
#[derive(Debug)]
pub struct MemoryStore {
    content: Mutex<Content>,
    health: Mutex<Vec<(String, HealthLine)>>,
    away: AtomicBool,
    unreadable: AtomicBool,
    hints: watch::Sender<u64>,
}

impl MemoryStore {
    pub fn new(content: Content) -> Arc<Self> {
        let content = Mutex::new(content);
        let health = Mutex::default();
        Arc::new(Self {
            content,
            health,
            away: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
            hints: watch::Sender::new(0),
        })
    }

    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// It holds what this router cannot read.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.unreadable.store(unreadable, Ordering::SeqCst);
    }

    /// A write that nobody hears of, as through another replica whose hint was lost.
    pub fn write_silently(&self, change: Change) -> Result<u64, StoreError> {
        apply(&mut self.content.lock(), change)
    }

    /// All lines that were written so far, with their replicas.
    pub fn health(&self) -> Vec<(String, HealthLine)> {
        self.health.lock().clone()
    }

    fn present(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("away".into()))
        } else if self.unreadable.load(Ordering::SeqCst) {
            Err(StoreError::Corrupt("of another age".into()))
        } else {
            Ok(())
        }
    }
}

impl Store for MemoryStore {
    fn revision(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async { self.present().map(|()| self.content.lock().revision) }.boxed()
    }

    fn load(&self) -> BoxFuture<'_, Result<Content, StoreError>> {
        async { self.present().map(|()| self.content.lock().clone()) }.boxed()
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    fn write(&self, change: Change, by: Author) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            self.present()?;
            if by
                .based_on
                .is_some_and(|seen| seen != self.content.lock().revision)
            {
                return Err(StoreError::Stale);
            }
            let revision = self.write_silently(change)?;
            self.hints.send_modify(|count| *count += 1);
            Ok(revision)
        }
        .boxed()
    }

    fn spend<'a>(&'a self, _: &'a Nonce) -> BoxFuture<'a, Result<(), StoreError>> {
        async { self.present() }.boxed()
    }

    fn write_health<'a>(
        &'a self,
        replica: &'a str,
        lines: &'a [HealthLine],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.present()?;
            self.health
                .lock()
                .extend(lines.iter().map(|line| (replica.to_owned(), line.clone())));
            Ok(())
        }
        .boxed()
    }

    fn fleet_keys(&self) -> BoxFuture<'_, Result<FleetKeys, StoreError>> {
        async {
            self.present()
                .map(|()| self.content.lock().fleet_keys.clone())
        }
        .boxed()
    }

    fn add_fleet_key<'a>(&'a self, key: &'a FleetKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            self.present()?;
            let mut content = self.content.lock();
            let is_next = content.fleet_keys.newest() < Some(key.number);
            if is_next {
                let before = content.fleet_keys.iter().cloned();
                content.fleet_keys = before.chain([key.clone()]).collect::<Vec<_>>().into();
                self.hints.send_modify(|count| *count += 1);
            }
            Ok(is_next)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

fn apply(content: &mut Content, change: Change) -> Result<u64, StoreError> {
    let (_, name) = change.object();
    match change {
        Change::CreateExtension(extension) => {
            if content.extensions.iter().any(|e| e.id == extension.id) {
                return Err(StoreError::Conflict(name));
            }
            content.extensions.push(extension);
        }
        Change::UpdateExtension(extension) => {
            let known = content.extensions.iter_mut().find(|e| e.id == extension.id);
            *known.ok_or(StoreError::NotFound(name))? = extension;
        }
        Change::DeleteExtension { id } => {
            let at = content
                .extensions
                .iter()
                .position(|e| e.id == id)
                .ok_or(StoreError::NotFound(name))?;
            content.extensions.remove(at);
        }
        Change::PutPolicy(policy) => {
            let same = |p: &StoredPolicy| {
                p.tenant_id == policy.tenant_id && p.policy_id == policy.policy_id
            };
            content.policies.retain(|p| !same(p));
            content.policies.push(policy);
        }
        Change::DeletePolicy {
            tenant_id,
            policy_id,
        } => {
            let is_it = |p: &StoredPolicy| p.tenant_id == tenant_id && p.policy_id == policy_id;
            let at = content
                .policies
                .iter()
                .position(is_it)
                .ok_or(StoreError::NotFound(name))?;
            content.policies.remove(at);
        }
        Change::CreateKey(key) => content.keys.push(key),
        Change::RotateKey {
            id,
            expires_at,
            successor,
        } => {
            let known = content.keys.iter_mut().find(|key| key.id == id);
            known.ok_or(StoreError::NotFound(name))?.expires_at = Some(expires_at);
            content.keys.push(successor);
        }
        Change::RevokeKey { id } => content.keys.retain(|key| key.id != id),
    }
    content.revision += 1;
    Ok(content.revision)
}

type Handler =
    Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Answer, TransportError>> + Send + Sync>;

/// A bus on which every subject is a closure. A subject without one has no responders.
#[derive(Default)]
pub struct MemoryTransport {
    handlers: Mutex<HashMap<String, Handler>>,
    away_since: watch::Sender<Option<Instant>>,
    unsettled: AtomicBool,
    calls: Mutex<Vec<Call>>,
    living: Mutex<HashSet<String>>,
    pings: Mutex<Vec<String>>,
}

impl MemoryTransport {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Answers every call on `subject` with this JSON.
    pub fn answers(&self, subject: &str, body: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        self.handles(subject, move |_| {
            let body = body.clone();
            async move {
                Ok(Answer {
                    body,
                    ..Answer::default()
                })
            }
            .boxed()
        });
    }

    /// Fails every call on `subject` like this.
    pub fn fails(&self, subject: &str, error: TransportError) {
        self.handles(subject, move |_| {
            futures_util::future::ready(Err(error.clone())).boxed()
        });
    }

    /// Never answers on `subject`.
    pub fn hangs(&self, subject: &str) {
        self.handles(subject, |call| {
            let silence = async move {
                tokio::time::sleep(call.timeout).await;
                Err(TransportError::Timeout)
            };
            silence.boxed()
        });
    }

    pub fn handles(
        &self,
        subject: &str,
        handler: impl Fn(Call) -> BoxFuture<'static, Result<Answer, TransportError>>
        + Send
        + Sync
        + 'static,
    ) {
        self.handlers
            .lock()
            .insert(subject.to_owned(), Arc::new(handler));
    }

    pub fn set_away(&self, away: bool) {
        self.away_since
            .send_modify(|since| *since = away.then(|| since.unwrap_or_else(Instant::now)));
    }

    /// As shortly after the bus came back.
    pub fn set_unsettled(&self, unsettled: bool) {
        self.unsettled.store(unsettled, Ordering::SeqCst);
    }

    /// Whether an extension answers pings; none does at first.
    pub fn set_living(&self, extension_id: &str, lives: bool) {
        let mut living = self.living.lock();
        if lives {
            living.insert(extension_id.to_owned());
        } else {
            living.remove(extension_id);
        }
    }

    /// How often an extension was pinged.
    pub fn pings(&self, extension_id: &str) -> usize {
        self.pings
            .lock()
            .iter()
            .filter(|id| *id == extension_id)
            .count()
    }

    /// The calls made so far on `subject`.
    pub fn calls(&self, subject: &str) -> Vec<Call> {
        self.calls
            .lock()
            .iter()
            .filter(|call| &*call.subject == subject)
            .cloned()
            .collect()
    }
}

impl Transport for MemoryTransport {
    fn call(&self, call: Call) -> Answers {
        self.calls.lock().push(call.clone());
        let handler = self.handlers.lock().get(&*call.subject).cloned();
        match handler {
            Some(handler) => stream::once(handler(call)).boxed(),
            None => stream::iter([Err(TransportError::NoResponders)]).boxed(),
        }
    }

    fn ping(
        &self,
        extension_id: &str,
        _: Duration,
    ) -> BoxFuture<'static, Result<bool, TransportError>> {
        self.pings.lock().push(extension_id.to_owned());
        futures_util::future::ready(Ok(self.living.lock().contains(extension_id))).boxed()
    }

    fn away_for(&self) -> Option<Duration> {
        self.away_since.borrow().map(|since| since.elapsed())
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        let mut away_since = self.away_since.subscribe();
        async move { drop(away_since.wait_for(Option::is_none).await) }.boxed()
    }

    fn is_settled(&self) -> bool {
        !self.unsettled.load(Ordering::SeqCst)
    }

    fn max_body(&self) -> usize {
        1024 * 1024
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("MemoryTransport")
    }
}

/// A registry's content from records and `tenant/policy` documents; panics on a mistake in them.
#[expect(
    clippy::expect_used,
    reason = "a test with a wrong record must fail where it is written"
)]
pub fn content(extensions: &[&str], policies: &[(&str, &str, &str)]) -> Content {
    let parse = |json: &&str| record::parse(json, "beamline").expect("a valid extension");
    let policy = |(tenant, policy, json): &(&str, &str, &str)| StoredPolicy {
        tenant_id: (*tenant).to_owned(),
        policy_id: (*policy).to_owned(),
        document: RawValue::from_string((*json).to_owned()).expect("valid JSON"),
    };
    Content {
        revision: 1,
        extensions: extensions.iter().map(parse).collect(),
        policies: policies.iter().map(policy).collect(),
        ..Content::default()
    }
}

/// Hands the end of an answer to `take`, whatever came before it.
pub fn answer_to(take: impl FnOnce(Outgoing) + Send + 'static) -> Responder {
    Responder::new(EndOf(take))
}

struct EndOf<F>(F);

impl<F: FnOnce(Outgoing) + Send + 'static> AnswerSink for EndOf<F> {
    fn answer(self: Box<Self>, answer: Outgoing) {
        (self.0)(answer);
    }

    fn begin(self: Box<Self>, _: Outgoing) -> Box<dyn PartSink> {
        self
    }
}

impl<F: FnOnce(Outgoing) + Send + 'static> PartSink for EndOf<F> {
    fn part(&mut self, _: Bytes) -> Result<(), TooManyParts> {
        Ok(())
    }

    fn end(self: Box<Self>, end: Outgoing) {
        (self.0)(end);
    }
}
