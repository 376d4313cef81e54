//! Administration without a transport: an operation gets a place and a limit of time, is
//! authorised, carried out and answered.
//!
//! An edge reads the request, names the caller, and carries the answer back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use beamline_actors::ports::StoreError;
use beamline_contract::admin::{self, Effect, RefusalCode};
use beamline_contract::fields::Fields;
use beamline_contract::for_each_operation;
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

mod access;
mod audit;
mod authorization;
mod body;
mod breakers;
mod caller;
mod changes;
mod configs;
mod extensions;
mod health;
mod heard;
mod keys;
mod lanes;
mod large;
mod log_level;
mod nonces;
mod notes;
mod operation;
mod pipelines;
mod policies;
mod refusal;
mod requests;
mod said;
mod stats;
mod surroundings;
mod targets;
mod tree;
mod warnings;
mod wrong_keys;

use authorization::{Denied, Request, Tried, identify, permit};
use caller::Caller;
use lanes::Lanes;
use large::{LARGE, LargeBodies};
use nonces::Nonces;
use operation::{Perform, apart, blocking, by_size};
use wrong_keys::{Slowed, WrongKeys};

pub use access::{Access, ConfiguredKey};
pub use caller::{Asking, Credentials};
pub use heard::{Heard, Listener, covers};
pub use lanes::Admission;
pub use refusal::Refusal;
pub use surroundings::{AdminSettings, Identity, Listeners, Replicas, Surroundings, Whom};

/// The operations of this router; all clones share their room.
#[derive(Debug, Clone)]
pub struct Administration {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    surroundings: Arc<Surroundings>,
    lanes: Lanes,
    large: LargeBodies,
    nonces: Nonces,
    wrong_keys: WrongKeys,
    /// What is still at work is answered that the router ends.
    cut: CancellationToken,
}

/// A request whose caller is known.
#[derive(Debug)]
struct Asked {
    caller: Caller,
    body: Arc<Fields>,
    /// Of the whole body.
    bytes: usize,
}

/// For the wait and the work. A store that is away is given up before this.
const OPERATION_LIMIT: Duration = Duration::from_secs(15);

impl Administration {
    pub fn new(surroundings: Surroundings) -> Self {
        let wrong_keys = WrongKeys::new(surroundings.metrics.wrong_keys.clone());
        let shared = Shared {
            wrong_keys,
            surroundings: Arc::new(surroundings),
            lanes: Lanes::default(),
            large: LargeBodies::default(),
            nonces: Nonces::default(),
            cut: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A place for the operation of that name, before any work is done for it.
    pub fn admit(&self, name: &str) -> Result<Admission, Refusal> {
        self.shared.lanes.admit(operation::waits_for(name))
    }

    /// Answers what is at work that the router ends.
    pub fn cut_off(&self) {
        self.shared.cut.cancel();
    }

    /// Carries out the operation of that name. The answer is JSON, a refusal too.
    pub async fn run_named(
        &self,
        admission: Admission,
        name: &str,
        payload: Bytes,
        asking: Asking,
    ) -> String {
        let largest_answer = asking.largest_answer;
        let answer = match self.by_name(admission, name, payload, asking).await {
            Ok(answer) => answer,
            // Without a place by now: who only waits for the answer to a wrong key needs none.
            Err(denied) => self.denied(denied).await.into_json(),
        };
        if answer.len() <= largest_answer {
            return answer;
        }
        Refusal::too_long(answer.len(), largest_answer)
            .leaving_open(operation::writes(name))
            .into_json()
    }

    /// Who asks, and what the body says.
    async fn read(&self, payload: Bytes, asking: Asking) -> Result<Asked, Denied> {
        if payload.len() <= LARGE {
            return self.read_now(&payload, &asking);
        }
        let rooms = &self.shared.large;
        let room = if asking.credentials.authorization.is_some() {
            let _turn = rooms.doors.turn().await?;
            let (this, payload, asking) = (self.clone(), payload.clone(), asking.clone());
            // A wrong key is found before the body is read.
            blocking(move || this.identify(&payload, &asking, &Fields::default())).await?;
            &rooms.callers
        } else {
            &rooms.strangers
        };
        let _turn = room.turn().await?;
        let this = self.clone();
        blocking(move || this.read_now(&payload, &asking)).await
    }

    fn read_now(&self, payload: &[u8], asking: &Asking) -> Result<Asked, Denied> {
        let body = body::read(payload)?;
        let caller = self.identify(payload, asking, &body)?;
        Ok(Asked {
            caller,
            body: Arc::new(body),
            bytes: payload.len(),
        })
    }

    /// An answer to a wrong key comes late when there were many.
    async fn denied(&self, denied: Denied) -> Refusal {
        let Denied { refusal, tried } = denied;
        let shared = &self.shared;
        if refusal.code() == RefusalCode::Unauthorized {
            shared.surroundings.audit.note_without_key();
        }
        let Some(Tried(key_id)) = tried else {
            return refusal;
        };
        let slowed = shared.wrong_keys.note(key_id.as_deref(), Instant::now());
        let Some(Slowed { wait, place }) = slowed else {
            return refusal;
        };
        // A right key would have opened: whoever guesses learns nothing from an early answer.
        if place.is_some() && !shared.surroundings.draining.load(Ordering::Relaxed) {
            let _cut = shared.cut.run_until_cancelled(sleep(wait)).await;
        }
        refusal
    }

    fn identify(&self, payload: &[u8], asking: &Asking, body: &Fields) -> Result<Caller, Denied> {
        let all = &self.shared.surroundings;
        let access = &all.settings.access;
        let request = Request {
            asking,
            payload,
            body,
        };
        identify(access, &all.registry.snapshot(), request, SystemTime::now())
    }

    /// Carries out one operation.
    async fn run<O: Perform>(
        &self,
        admission: &Admission,
        asked: &Asked,
    ) -> Result<O::Answer, Refusal> {
        let Asked {
            caller,
            body,
            bytes,
        } = asked;
        permit(caller, body, O::ROLE, O::REACH)?;
        let may_have_changed = O::EFFECT == Effect::Writes;
        let mut caller = caller.clone();
        if may_have_changed {
            caller.if_revision = body::if_revision(body)?;
        }
        let shared = &self.shared;
        let until = Instant::now() + OPERATION_LIMIT;
        let _permit = tokio::select! {
            turn = admission.turn() => turn?,
            () = shared.cut.cancelled() => return Err(Refusal::shutting_down(false)),
        };
        let read = Arc::clone(body);
        let request = by_size(*bytes, move || O::read(&body::of_operation(&read))).await?;
        let work = self.taken_once(may_have_changed, &caller, request);
        tokio::select! {
            done = timeout_at(until, work) => {
                done.unwrap_or_else(|_elapsed| Err(Refusal::too_late(may_have_changed)))
            }
            () = shared.cut.cancelled() => Err(Refusal::shutting_down(may_have_changed)),
        }
    }

    /// What is signed is carried out once. A write also at other replicas, whatever came of it:
    /// what was refused may be possible a moment later, when somebody sends it again who was not
    /// asked.
    async fn taken_once<O: Perform>(
        &self,
        writes: bool,
        caller: &Caller,
        request: O,
    ) -> Result<O::Answer, Refusal> {
        let all = &self.shared.surroundings;
        let Some(nonce) = caller.nonce.as_deref() else {
            return request.perform(all, caller).await;
        };
        if !self.shared.nonces.take(nonce) {
            return Err(Refusal::replayed());
        }
        let done = request.perform(all, caller).await;
        // What only looks is not worth a transaction: each replica answers it once.
        if !writes {
            return done;
        }
        match all.registry.spend(nonce).await {
            Err(StoreError::Replayed) => Err(Refusal::replayed()),
            Err(error) => {
                tracing::warn!(%error, key_id = nonce.key_id, "a signed request is not marked as taken");
                done
            }
            Ok(()) => done,
        }
    }

    /// An answer may be long: it is written apart, straight from what it holds. Through a `Value`,
    /// documents would lose digits and their layout.
    async fn written<O: Perform>(
        &self,
        admission: &Admission,
        asked: &Asked,
    ) -> Result<String, Refusal> {
        let answer = self.run::<O>(admission, asked).await?;
        apart(move || {
            serde_json::to_string(&answer).map_err(|error| Refusal::internal(&error.to_string()))
        })
        .await
    }
}

macro_rules! by_name {
    ($($operation:ident $name:literal $role:ident $reach:ident $effect:ident $answer:ident,)*) => {
        impl Administration {
            async fn by_name(
                &self,
                admission: Admission,
                name: &str,
                payload: Bytes,
                asking: Asking,
            ) -> Result<String, Denied> {
                let asked = self.read(payload, asking).await?;
                let answer = match name {
                    $($name => self.written::<admin::$operation>(&admission, &asked).await,)*
                    _ => Err(Refusal::unknown_operation(name)),
                };
                if let Err(refusal) = &answer {
                    let Asked { caller, body, .. } = &asked;
                    audit::note_refusal(&self.shared.surroundings, caller, name, body, refusal);
                }
                Ok(answer?)
            }
        }
    };
}

for_each_operation!(by_name);
